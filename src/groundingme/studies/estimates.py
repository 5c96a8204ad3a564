"""Shares and differences with intervals, as every study gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import stats
from groundingme.report.svg import Span
from groundingme.result import Result
from groundingme.schema import Sample
from groundingme.stats import Floats
from groundingme.studies.changing import origin
from groundingme.studies.conditions import by_model
from groundingme.studies.study import Done

Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]
Shares = dict[str, dict[str, Span]]
"""One share a cell, in [0, 1]: by model, then by condition, subtask or whatever is compared."""
Key = TypeVar("Key")
Row = TypeVar("Row")
Column = TypeVar("Column")


class Gain(NamedTuple):
    """What one condition has over another on the same samples.

    Attributes:
        span: Difference of the shares, in [-1, 1], with its 95 % interval.
        p: Two-sided, of the paired test that swaps whole images.
    """

    span: Span
    p: float

    @property
    def clear(self) -> bool:
        """Whether the test and the interval agree that there is a difference."""
        return self.better or self.worse

    @property
    def better(self) -> bool:
        """Whether they agree that it is more."""
        return self.p <= 0.05 and self.span.low > 0

    @property
    def worse(self) -> bool:
        """Whether they agree that it is less."""
        return self.p <= 0.05 and self.span.high < 0


def images(samples: Sequence[Sample]) -> Codes:
    """Numbers that samples of one image share, for the functions below."""
    return stats.cluster_codes(one.image.name if one.image else one.id for one in samples)


def right(result: Result, threshold: float = 0.5) -> Bools:
    """Which samples are right at an IoU, in the order of the data set; failed ones are wrong."""
    return np.asarray(result.scores.ious >= threshold)


def negatives(result: Result) -> Bools:
    """Which samples have nothing that matches."""
    return np.asarray(result.scores.negatives, bool)


def rejected(result: Result) -> Bools:
    """Which samples were rejected, rightly or not."""
    return np.array([one.outcome == "rejected" for one in result.scores], bool)


class Answers:
    """What a model said under one condition, as columns in the order of its samples.

    Args:
        done: The run.

    Attributes:
        result: Of the run.
        clusters: Shape `(N,)`: of `images`.
        negative: Shape `(N,)`: whether nothing matches.
        right: Shape `(N,)`: whether it is right at IoU 0.5.
    """

    def __init__(self, done: Done) -> None:
        self.done, self.result = done, done.scored
        self.model, self.name = done.condition.label, done.condition.name
        self.clusters = images(self.result.samples)
        self.negative, self.right = negatives(self.result), right(self.result)

    @cached_property
    def rejected(self) -> Bools:
        """Shape `(N,)`: whether it was rejected, rightly or not."""
        return rejected(self.result)

    def before(self, plain: Answers) -> Bools:
        """Shape `(N,)`: whether the samples that these were made from are right in `plain`."""
        at = {sample.id: row for row, sample in enumerate(plain.result.samples)}
        return plain.right[[at[origin(sample.id)] for sample in self.result.samples]]

    def share(self, column: Bools, among: Bools | None = None) -> Span:
        """Share of a column's true values, of all samples or among some."""
        mask = np.ones(len(column), bool) if among is None else among
        return share(column[mask], self.clusters[mask])


Everyone = dict[str, dict[str, Answers]]
"""By model, then by the name of the condition, in the order of the plan."""


def answers(done: Sequence[Done]) -> Everyone:
    """What every model said under every condition."""
    return {
        model: {name: Answers(one) for name, one in mine.items()}
        for model, mine in by_model(done).items()
    }


def shares(said: Everyone, figure: Callable[[Answers], Span]) -> Shares:
    """One figure of every model under every condition."""
    return {
        model: {name: figure(one) for name, one in mine.items()} for model, mine in said.items()
    }


def share(hits: ArrayLike, clusters: ArrayLike) -> Span:
    """A share with its 95 % interval: the clustered bootstrap, or exact where it is near 0 or 1.

    Args:
        hits: Shape `(N,)`: 0 or 1.
        clusters: Shape `(N,)`: of `images`.

    Returns:
        In [0, 1]; all NaN where N is 0.
    """
    column = np.asarray(hits, np.float64)
    if not len(column):
        return Span(float("nan"))
    if stats.needs_exact(column):
        ends = stats.exact_interval(column, clusters)
    else:
        columns = np.stack([column, np.ones_like(column)], axis=1)
        ends = stats.bootstrap(columns, clusters, lambda sums: sums[:, 0] / sums[:, 1])
    return Span(float(column.mean()), float(ends.low), float(ends.high))


def mean(values: ArrayLike, clusters: ArrayLike) -> Span:
    """A mean of any numbers with its 95 % interval, by the clustered bootstrap."""
    column = np.asarray(values, np.float64)
    if not len(column):
        return Span(float("nan"))
    columns = np.stack([column, np.ones_like(column)], axis=1)
    ends = stats.bootstrap(columns, clusters, lambda sums: sums[:, 0] / sums[:, 1])
    return Span(float(column.mean()), float(ends.low), float(ends.high))


def ninety(values: Floats, value: float) -> Span:
    """A figure of drawn values, with the ends between which 90 % of them lie."""
    low, high = np.quantile(values, (0.05, 0.95))
    return Span(value, float(low), float(high))


def gain(before: ArrayLike, after: ArrayLike, clusters: ArrayLike) -> Gain:
    """What `after` has over `before` on the same samples.

    Args:
        before: Shape `(N,)`: 0 or 1.
        after: Shape `(N,)`.
        clusters: Shape `(N,)`.
    """
    differences: Floats = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    return Gain(mean(differences, clusters), stats.paired_test(differences, clusters))


def corrected(gains: Mapping[Key, Gain]) -> dict[Key, Gain]:
    """The same gains with p after Holm's correction over all of them."""
    p = stats.holm([one.p for one in gains.values()]).tolist()
    return {key: Gain(one.span, at) for (key, one), at in zip(gains.items(), p, strict=True)}


def turned(cells: Mapping[Row, Mapping[Column, Span]]) -> dict[Column, dict[Row, Span]]:
    """Rows as columns."""
    found: dict[Column, dict[Row, Span]] = {}
    for row, line in cells.items():
        for column, span in line.items():
            found.setdefault(column, {})[row] = span
    return found


def percent(value: float, digits: int = 1) -> str:
    """A share as text in percent, without the sign of it; a dash where it is undefined."""
    return "–" if np.isnan(value) else f"{100 * value:.{digits}f}"


def in_percent(value: float) -> str:
    """A share in percent with the sign of it; a dash where it is undefined."""
    return "–" if np.isnan(value) else f"{percent(value)} %"


def spread(one: Span) -> str:
    """A share in percent with its interval."""
    if np.isnan(one.low):
        return percent(one.value)
    return f"{percent(one.value)} ({percent(one.low)} to {percent(one.high)})"


def starred(one: Gain | None) -> str:
    """A gain in points, with a star where p is at most 0.05; a dash where there is none."""
    return "–" if one is None else signed(one.span) + (" *" if one.p <= 0.05 else "")


def signed(one: Span) -> str:
    """A difference in points with its sign and interval; a dash where it is undefined."""
    if np.isnan(one.value):
        return "–"
    ends = "" if np.isnan(one.low) else f" ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
    return f"{100 * one.value:+.1f}{ends}"


def edges(box: Iterable[float] | None, between: str = ", ") -> str:
    """A box in whole pixels; a dash where there is none."""
    return "–" if box is None else between.join(f"{edge:.0f}" for edge in box)


def points(one: Span) -> Span:
    """The same in percent, for an axis."""
    return Span(100 * one.value, 100 * one.low, 100 * one.high)


def better(hits: ArrayLike, clusters: ArrayLike) -> Bools:
    """Which of several models are clearly better than which.

    Args:
        hits: Shape `(M, N)`: 0 or 1 of each model on the same samples.
        clusters: Shape `(N,)`.

    Returns:
        Shape `(M, M)`: whether row beats column: by the paired test after Holm's correction over
        all pairs, and with an interval that does not reach 0.
    """
    rows = np.asarray(hits, np.float64)
    pairs = [(a, b) for a in range(len(rows)) for b in range(a)]
    gains = corrected({(a, b): gain(rows[b], rows[a], clusters) for a, b in pairs})
    found = np.zeros((len(rows), len(rows)), bool)
    for (a, b), one in gains.items():
        if one.clear:
            found[(a, b) if one.better else (b, a)] = True
    return found
