"""Shares and differences with intervals, as every study gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import stats
from groundingme.report.svg import Span
from groundingme.result import Result
from groundingme.schema import Sample
from groundingme.stats import Floats

Bools = NDArray[np.bool_]


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
        return self.p <= 0.05 and not self.span.low <= 0 <= self.span.high


def images(samples: Sequence[Sample]) -> NDArray[np.int64]:
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


def gain(before: ArrayLike, after: ArrayLike, clusters: ArrayLike) -> Gain:
    """What `after` has over `before` on the same samples.

    Args:
        before: Shape `(N,)`: 0 or 1.
        after: Shape `(N,)`.
        clusters: Shape `(N,)`.
    """
    differences: Floats = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    return Gain(mean(differences, clusters), stats.paired_test(differences, clusters))


def percent(value: float, digits: int = 1) -> str:
    """A share as text in percent, without the sign of it; a dash where it is undefined."""
    return "–" if np.isnan(value) else f"{100 * value:.{digits}f}"


def spread(one: Span) -> str:
    """A share in percent with its interval."""
    if np.isnan(one.low):
        return percent(one.value)
    return f"{percent(one.value)} ({percent(one.low)} to {percent(one.high)})"


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
    gains = [gain(rows[b], rows[a], clusters) for a, b in pairs]
    found = np.zeros((len(rows), len(rows)), bool)
    for (a, b), one, p in zip(pairs, gains, stats.holm([g.p for g in gains]), strict=True):
        if p <= 0.05 and not one.span.low <= 0 <= one.span.high:
            found[(a, b) if one.span.value > 0 else (b, a)] = True
    return found
