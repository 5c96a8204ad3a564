"""Which subtasks a ranking of models needs: scores of subsets, item response, rank correlation.

What a study of subtasks needs beyond words: `counted` or `published` counts, and functions of them.
All else here works on counts: hits `[M, K]` of M models in K subtasks, and trials `[K]`. Pairs
`[P, 2]` are what a subset has to keep: indices of the better and of the worse model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import taxonomy
from groundingme.report import papertables
from groundingme.report.svg import Span
from groundingme.stats import Floats, bootstrap
from groundingme.studies.estimates import better, images, right
from groundingme.studies.study import Done

Bools = NDArray[np.bool_]
Pairs = NDArray[np.int64]

EXHAUSTIVE = 13
"""Most subtasks of which all subsets are looked at; of more, 8,191 are drawn."""
_TIE = 1e-9


def subsets(count: int, seed: int = 0) -> Bools:
    """Subsets of `count` subtasks but the empty one, shape `(S, count)`; the whole comes last.

    All of them up to `EXHAUSTIVE` subtasks; else those of one, those without one, and drawn ones.
    """
    if count <= EXHAUSTIVE:
        numbers = np.arange(1, 2**count)
        return np.asarray(numbers[:, None] >> np.arange(count) & 1, bool)
    one = np.eye(count, dtype=bool)
    rng = np.random.default_rng(seed)
    drawn = rng.random((2**EXHAUSTIVE, count)) < rng.random((2**EXHAUSTIVE, 1))
    found = np.concatenate([one, ~one, drawn[drawn.any(axis=1)]])
    return np.concatenate([np.unique(found, axis=0), np.ones((1, count), bool)])


def scores(hits: ArrayLike, trials: ArrayLike, masks: ArrayLike) -> Floats:
    """Share of the samples of each subset that each model has right, shape `(S, M)`."""
    chosen = np.asarray(masks, np.float64)
    return np.asarray(
        chosen @ np.asarray(hits, np.float64).T / (chosen @ np.asarray(trials, np.float64))[:, None]
    )


def ordered(totals: ArrayLike) -> Pairs:
    """All pairs of models whose totals differ, the better one first, shape `(P, 2)`."""
    values = np.asarray(totals, np.float64)
    better, worse = np.nonzero(values[:, None] - values[None, :] > _TIE)
    return np.stack([better, worse], axis=1)


def kept(values: ArrayLike, pairs: Pairs) -> Floats:
    """Share of the pairs that scores put in the same order, shape `(S,)`; a tie counts half.

    Args:
        values: Shape `(S, M)`.
        pairs: Shape `(P, 2)`; without any, NaN.
    """
    order = _order(values, pairs)
    return order.mean(axis=1) if len(pairs) else np.full(len(order), np.nan)


def _order(values: ArrayLike, pairs: Pairs) -> Floats:
    """1 where scores `(S, M)` keep a pair, 0.5 where they tie, 0 else; shape `(S, P)`."""
    found = np.asarray(values, np.float64)
    gaps = found[:, pairs[:, 0]] - found[:, pairs[:, 1]]
    return np.asarray(0.5 * ((gaps > _TIE).astype(np.float64) + (gaps >= -_TIE)))


def nested(hits: ArrayLike, trials: ArrayLike, pairs: Pairs) -> list[tuple[int, float]]:
    """Subtasks in the order in which they can best be spared, with what is kept without them.

    Each step leaves out the one without which most pairs are kept; of several, the one with the
    most samples, so that the rest is cheap to ask. The last one stays.
    """
    sizes = np.asarray(trials)
    left = np.ones(len(sizes), bool)
    order = []
    while left.sum() > 1:
        at = np.flatnonzero(left)
        masks = np.repeat(left[None], len(at), axis=0)
        masks[np.arange(len(at)), at] = False
        shares = kept(scores(hits, trials, masks), pairs)
        best = max(range(len(at)), key=lambda i: (shares[i], sizes[at[i]]))
        left[at[best]] = False
        order.append((int(at[best]), float(shares[best])))
    return order


def smallest(shares: Floats, masks: Bools, trials: ArrayLike, least: float) -> int:
    """Row of the subset of fewest subtasks that keeps `least` or more; the cheapest of several."""
    rows = np.flatnonzero(shares >= least - _TIE)
    samples = masks @ np.asarray(trials)
    return min(rows.tolist(), key=lambda row: (int(masks[row].sum()), samples[row], -shares[row]))


def held_out(hits: ArrayLike, trials: ArrayLike, masks: Bools, pairs: Pairs, least: float) -> float:
    """How well a subset ranks a model that it was not chosen on, in [0, 1].

    For each model the subset is chosen by the pairs of the others, and then has to order the pairs
    with that model. NaN where no model leaves pairs of others behind.
    """
    order = _order(scores(hits, trials, masks), pairs)
    found, counts = 0.0, 0
    for model in np.unique(pairs).tolist():
        with_it = (pairs == model).any(axis=1)
        number = int(with_it.sum())
        if number == len(pairs):
            continue
        sums = order @ with_it
        others = (order.sum(axis=1) - sums) / (len(pairs) - number)
        found += float(sums[smallest(others, masks, trials, least)])
        counts += number
    return found / counts if counts else float("nan")


class Items(NamedTuple):
    """A fit of `item_response`.

    Attributes:
        ability: Shape `(M,)`, about mean 0 and deviation 1; the better the model, the higher.
        slope: Shape `(K,)`: how steeply a subtask's share of right answers rises with ability;
            0 separates nobody, below 0 the weaker models do better.
        easiness: Shape `(K,)`: log-odds of a right answer at ability 0.
    """

    ability: Floats
    slope: Floats
    easiness: Floats


def item_response(hits: ArrayLike, trials: ArrayLike, *, rounds: int = 100) -> Items:
    """Two-parameter item response on counts: log-odds of right = slope * ability + easiness.

    The most probable values under priors that keep them finite where a model has all or nothing
    right: ability N(0, 1), slope N(1, 1), easiness N(0, 3). Abilities and subtasks take turns, each
    by a Newton step of its own logistic regression.

    Args:
        hits: Shape `(M, K)`.
        trials: Shape `(K,)`.
        rounds: Of turns.

    Source:
        Birnbaum, in Lord and Novick, Statistical Theories of Mental Test Scores, 1968; modes as in
        Mislevy, Psychometrika 51, 1986.
    """
    right, asked = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    totals = right.sum(axis=1) / asked.sum()
    ability = (totals - totals.mean()) / (totals.std() or 1.0)
    slope, easiness = np.ones(len(asked)), np.zeros(len(asked))
    for _ in range(rounds):
        shares = _logistic(np.outer(ability, slope) + easiness)
        rest, weight = right - asked * shares, asked * shares * (1 - shares) + 1e-9
        a, c = (rest * ability[:, None]).sum(0) - (slope - 1), rest.sum(0) - easiness / 9
        aa = (weight * ability[:, None] ** 2).sum(0) + 1
        cc, ac = weight.sum(0) + 1 / 9, (weight * ability[:, None]).sum(0)
        size = aa * cc - ac**2
        slope = slope + np.clip((cc * a - ac * c) / size, -1, 1)
        easiness = easiness + np.clip((aa * c - ac * a) / size, -1, 1)
        shares = _logistic(np.outer(ability, slope) + easiness)
        rest, weight = right - asked * shares, asked * shares * (1 - shares) + 1e-9
        step = (rest @ slope - ability) / (weight @ slope**2 + 1)
        ability = ability + np.clip(step, -1, 1)
    # The same fit with both signs turned is as good; the better models are to have the higher one.
    if (ability * (totals - totals.mean())).sum() < 0:
        ability, slope = -ability, -slope
    return Items(ability, slope, easiness)


def _logistic(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))))


def signal(hits: ArrayLike, trials: ArrayLike) -> Floats:
    """Share of the models' variance in each subtask that is not sampling noise, `(K,)` in [0, 1].

    NaN where all models have the same share right.
    """
    shares = np.asarray(hits, np.float64) / np.asarray(trials, np.float64)
    if len(shares) < 2:
        return np.full(shares.shape[1], np.nan)
    seen = shares.var(axis=0, ddof=1)
    noise = (shares * (1 - shares)).mean(axis=0) / np.maximum(np.asarray(trials) - 1, 1)
    with np.errstate(all="ignore"):
        return np.where(seen > 0, np.clip(1 - noise / seen, 0, 1), np.nan)


def rank_correlation(columns: ArrayLike) -> Floats:
    """Spearman's correlation of every column with every other, `(K, K)`.

    NaN for a column whose values are all alike, and for fewer than four rows.
    """
    values = np.asarray(columns, np.float64)
    count = values.shape[1]
    if len(values) < 4:
        return np.full((count, count), np.nan)
    ranks = np.stack([_ranks(column) for column in values.T])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=1))
    with np.errstate(all="ignore"):
        return np.asarray(centred @ centred.T / np.outer(norms, norms))


def _ranks(values: Floats) -> Floats:
    """Ranks from 0; equal values share their mean rank."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[index])


def names(masks: Bools, subtasks: Sequence[str]) -> list[str]:
    """Names of the subtasks in one subset."""
    return [name for name, there in zip(subtasks, masks, strict=True) if there]


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
    pairs: Pairs
    changes: Sequence[Sequence[Span]]


def published() -> Counts:
    """The 25 models of the paper's main table; rounding gives the counts behind percentages."""
    lines = [one for one in papertables.published() if not one.label.endswith("(thinking)")]
    trials = np.array([one.samples for one in taxonomy.SUBTASKS], float)
    shares = [[one.cells[row.name] for row in taxonomy.SUBTASKS] for one in lines]
    hits = np.rint(np.array(shares) / 100 * trials)
    totals = hits.sum(axis=1) / trials.sum()
    without = scores(hits, trials, ~np.eye(len(trials), dtype=bool)) - totals
    return Counts(
        models=[one.label for one in lines],
        subtasks=[row.name for row in taxonomy.SUBTASKS],
        hits=hits,
        trials=trials,
        pairs=ordered(totals),
        changes=[[Span(float(value)) for value in row] for row in without],
    )


def counted(done: Sequence[Done]) -> Counts:
    """The same of runs; the pairs are those that the paired test tells apart."""
    samples = done[0].scored.samples
    of = [f"{one.subtask_l1}/{one.subtask_l2}".strip("/") or "no subtask" for one in samples]
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


def _change(hits: Floats, part: Floats, clusters: NDArray[np.int64]) -> Span:
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
