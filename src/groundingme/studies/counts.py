"""Counts of right answers by model and subtask: of runs, or as the paper publishes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from groundingme import taxonomy
from groundingme.report import papertables
from groundingme.report.svg import Span
from groundingme.stats import Floats, bootstrap
from groundingme.studies import subsets
from groundingme.studies.estimates import Bools, Codes, better, images, right
from groundingme.studies.study import Done, subtask


class Spared(NamedTuple):
    """A subtask that is left out, after others.

    Attributes:
        at: Its index.
        kept: Share of the pairs that the rest keeps.
        left: Subtasks of the rest.
        samples: Of those.
    """

    at: int
    kept: float
    left: int
    samples: int


class Counts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What every model has right in every subtask.

    Attributes:
        models: M names.
        subtasks: K names.
        hits: Shape `(M, K)`.
        trials: Shape `(K,)`.
        pairs: Shape `(P, 2)`: models whose order a subset has to keep, the better one first.
        changes: Interval of each model's change without a subtask, `[k][m]`, in [-1, 1].
    """

    models: Sequence[str]
    subtasks: Sequence[str]
    hits: Floats
    trials: Floats
    pairs: subsets.Pairs
    changes: Sequence[Sequence[Span]]

    @property
    def shares(self) -> Floats:
        """Shape `(M, K)`: of each subtask's samples, those that each model has right."""
        return self.hits / self.trials

    def kept(self, masks: Bools) -> Floats:
        """Share of the pairs that subsets `(S, K)` of the subtasks put in the same order."""
        return subsets.kept(subsets.scores(self.hits, self.trials, masks), self.pairs)

    def smallest(self, masks: Bools, least: float) -> subsets.Choice:
        """The smallest subset of these that keeps so many pairs."""
        return subsets.choose(self.hits, self.trials, masks, self.pairs, least)

    def spared(self) -> list[Spared]:
        """Subtasks in the order in which they can best be spared."""
        found, samples = [], int(self.trials.sum())
        order = subsets.nested(self.hits, self.trials, self.pairs)
        for number, (at, kept) in enumerate(order, 1):
            samples -= int(self.trials[at])
            found.append(Spared(at, kept, len(self.subtasks) - number, samples))
        return found

    def named(self, which: Sequence[int]) -> list[str]:
        """Names of some subtasks."""
        return [self.subtasks[at] for at in which]

    def largest_change(self, at: int) -> tuple[Span, str]:
        """The change without a subtask that is the largest, and the model whose it is."""
        most = max(range(len(self.models)), key=lambda m: abs(self.changes[at][m].value or 0))
        return self.changes[at][most], self.models[most]


def published() -> Counts:
    """The 25 models of the paper's main table; rounding gives the counts behind percentages."""
    lines = [one for one in papertables.published() if not one.label.endswith("(thinking)")]
    trials = np.array([one.samples for one in taxonomy.SUBTASKS], float)
    shares = [[one.cells[row.name] for row in taxonomy.SUBTASKS] for one in lines]
    hits = np.rint(np.array(shares) / 100 * trials)
    totals = hits.sum(axis=1) / trials.sum()
    without = subsets.scores(hits, trials, ~np.eye(len(trials), dtype=bool)) - totals
    return Counts(
        models=[one.label for one in lines],
        subtasks=[row.name for row in taxonomy.SUBTASKS],
        hits=hits,
        trials=trials,
        pairs=subsets.ordered(totals),
        changes=[[Span(float(value)) for value in row] for row in without],
    )


def counted(done: Sequence[Done]) -> Counts:
    """The same of runs; the pairs are those that the paired test tells apart."""
    samples = done[0].scored.samples
    of = [subtask(one) or "no subtask" for one in samples]
    known = [row.name for row in taxonomy.SUBTASKS]
    subtasks = sorted(set(of), key=lambda n: (known.index(n) if n in known else len(known), n))
    inside = np.array([[name == one for name in of] for one in subtasks], float)
    hits = np.array([right(one.scored) for one in done], float)
    clusters = images(samples)
    changes = [[_change(row, part, clusters) for row in hits] for part in inside]
    return Counts(
        models=[one.condition.label for one in done],
        subtasks=subtasks,
        hits=hits @ inside.T,
        trials=inside.sum(axis=1),
        pairs=np.argwhere(better(hits, clusters)),
        changes=changes,
    )


def _change(hits: Floats, part: Floats, clusters: Codes) -> Span:
    """What a model's score gains when the samples of `part` are left out."""
    if part.all():
        return Span(math.nan)

    def figure(sums: Floats) -> Floats:
        return np.asarray(
            (sums[:, 0] - sums[:, 2]) / (sums[:, 1] - sums[:, 3]) - sums[:, 0] / sums[:, 1]
        )

    columns = np.stack([hits, np.ones_like(hits), hits * part, part], axis=1)
    ends = bootstrap(columns, clusters, figure)
    return Span(float(figure(columns.sum(axis=0)[None])[0]), float(ends.low), float(ends.high))
