"""How sure a figure is: intervals, paired tests, corrections for many tests, ranks.

Samples that show the same image are not independent, so whole images are drawn again, never single
samples: a *cluster* is the set of samples of one image. Everything here is numpy alone and, where
it draws at random, gives the same numbers for the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95
_CHUNK = 2_000_000
"""Most numbers of one array of weights: 16 MB."""
_FEW = 30
"""Below so many samples of either kind, resampling sees too little of the rarer one."""


class Interval(NamedTuple):
    """Two ends of a confidence interval, low before high."""

    low: float
    high: float


def cluster_codes(keys: Iterable[Hashable]) -> NDArray[np.int64]:
    """Numbers keys by their first appearance.

    Example:
        >>> cluster_codes(["a.jpg", "b.jpg", "a.jpg"]).tolist()
        [0, 1, 0]
    """
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)


def cluster_sums(columns: ArrayLike, clusters: ArrayLike) -> Floats:
    """Sums of each cluster.

    Args:
        columns: Shape `(N, K)`, or `(N,)` for K = 1.
        clusters: Shape `(N,)`: whole numbers from 0; samples of one image share one.

    Returns:
        Shape `(C, K)`: the clusters that occur, in the order of their numbers.

    Raises:
        ValueError: The lengths differ, or a value is NaN.
    """
    values = np.asarray(columns, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    codes = np.asarray(clusters)
    if values.ndim != 2 or codes.shape != values.shape[:1]:
        raise ValueError(f"expected a cluster a row, got {codes.shape} for {values.shape}")
    if np.isnan(values).any():
        raise ValueError("expected numbers, got NaN; put 0 where nothing was answered")
    present, codes = np.unique(codes, return_inverse=True)
    sums = [np.bincount(codes, weights=column, minlength=len(present)) for column in values.T]
    return np.stack(sums, axis=1) if sums else np.zeros((len(present), 0))


def resampled_sums(
    columns: ArrayLike, clusters: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Column sums of bootstrap resamples that draw whole clusters with replacement.

    A share is the quotient of two columns, "right and in the group" by "in the group", so a
    group's size may differ from resample to resample, as it would in another data set. Clusters
    with the same sums are the same to every figure, so they are drawn together, which makes
    columns of zeros and ones cheap however many samples there are.

    Args:
        columns: Shape `(N, K)`, or `(N,)` for K = 1.
        clusters: Shape `(N,)`: whole numbers from 0.
        resamples: B.
        seed: The same one gives the same numbers.

    Returns:
        Shape `(B, K)`.

    Raises:
        ValueError: The lengths differ, or a value is NaN.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993; clusters as in Field and
        Welsh, Bootstrapping clustered data, 2007.
    """
    sums = cluster_sums(columns, clusters)
    kinds, counts = np.unique(sums, axis=0, return_counts=True)
    if not len(kinds):
        return np.full((resamples, sums.shape[1]), np.nan)
    rng = np.random.default_rng(seed)
    shares = counts / counts.sum()
    found = np.empty((resamples, sums.shape[1]))
    for part in _parts(resamples, len(kinds)):
        draws = rng.multinomial(len(sums), shares, size=part.stop - part.start)
        found[part] = draws.astype(np.float64) @ kinds
    return found


def resampled_weights(
    clusters: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[Floats]:
    """How often each sample is drawn, for figures that are no quotient of sums, such as AUROC.

    Args:
        clusters: Shape `(N,)`: whole numbers from 0.
        resamples: B.
        seed: The same one gives the same numbers.

    Yields:
        Shape `(b, N)`, whole numbers; the b of all parts add up to B.
    """
    present, codes = np.unique(np.asarray(clusters), return_inverse=True)
    rng = np.random.default_rng(seed)
    n = len(present)
    for part in _parts(resamples, max(n, len(codes))):
        draws = rng.multinomial(n, np.full(n, 1 / n), size=part.stop - part.start)
        yield draws.astype(np.float64)[:, codes]


def _parts(total: int, width: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(1, width))
    return (slice(start, min(start + step, total)) for start in range(0, total, step))


def percentiles(values: ArrayLike, *, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Ends of percentile intervals.

    Args:
        values: Shape `(B, ...)`: a figure in each resample. Resamples in which it is undefined
            (NaN) are left out.
        level: Share of the resamples between the ends.

    Returns:
        Low and high, each of shape `(...)`; NaN where no resample defines the figure.
    """
    drawn = np.asarray(values, dtype=np.float64)
    ends = ((1 - level) / 2, (1 + level) / 2)
    if not np.isnan(drawn).any():
        low, high = np.quantile(drawn, ends, axis=0)
        return low, high
    columns = drawn.reshape(len(drawn), -1)
    found = np.full((2, columns.shape[1]), np.nan)
    for at, column in enumerate(columns.T):
        known = column[~np.isnan(column)]
        if len(known):
            found[:, at] = np.quantile(known, ends)
    low, high = found.reshape(2, *drawn.shape[1:])
    return low, high


def bootstrap(
    columns: ArrayLike,
    clusters: ArrayLike,
    figure: Callable[[Floats], Floats],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Interval of one figure of column sums, by the clustered bootstrap.

    Args:
        columns: Shape `(N, K)`.
        clusters: Shape `(N,)`.
        figure: From sums of shape `(B, K)` to values of shape `(B,)`.
        resamples: B.
        seed: The same one gives the same interval.
        level: Of confidence.

    Example:
        >>> right = np.array([1, 1, 0, 1, 0, 0, 1, 1])
        >>> columns = np.stack([right, np.ones(8)], axis=1)
        >>> bootstrap(columns, np.arange(8), lambda sums: sums[:, 0] / sums[:, 1])
        Interval(low=0.25, high=0.875)
    """
    drawn = resampled_sums(columns, clusters, resamples=resamples, seed=seed)
    with np.errstate(all="ignore"):
        low, high = percentiles(figure(drawn), level=level)
    return Interval(float(low), float(high))


def binomial_interval(hits: float, trials: float, *, level: float = LEVEL) -> Interval:
    """The exact interval of a share of independent trials; never too narrow.

    Args:
        hits: In [0, `trials`]; need not be whole, so that an effective size can be given.
        trials: More than 0; with 0 nothing is known, and the interval is all of [0, 1].
        level: Of confidence, in (0, 1).

    Raises:
        ValueError: `hits` is outside [0, `trials`].

    Source:
        Clopper and Pearson, Biometrika 26, 1934.

    Example:
        >>> [round(end, 4) for end in binomial_interval(0, 201)]
        [0.0, 0.0182]
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"expected hits in [0, {trials}], got {hits}")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else beta_quantile(tail, hits, trials - hits + 1)
    high = 1.0 if hits == trials else beta_quantile(1 - tail, hits + 1, trials - hits)
    return Interval(low, high)


def effective_size(values: ArrayLike, clusters: ArrayLike) -> float:
    """How many independent samples would tell as much about a mean as these do.

    Args:
        values: Shape `(N,)`: such as 1 for right and 0 for wrong, or the difference of two models.
        clusters: Shape `(N,)`.

    Returns:
        N by the design effect of the clusters, at most N. Where all values are alike the effect
        cannot be seen, and it is the number of clusters.

    Source:
        Korn and Graubard, Survey Methodology 24, 1998.
    """
    column = np.asarray(values, dtype=np.float64)
    n = len(column)
    if not n:
        return 0.0
    residues = cluster_sums(column - column.mean(), clusters)[:, 0]
    count = len(residues)
    alike = bool((column == column[0]).all())
    variance = count / max(1, count - 1) * float(residues @ residues) / n**2
    if count < 2 or alike or not variance > 0:
        return float(count)
    return min(float(n), float(column.var()) / variance)


def exact_interval(hits: ArrayLike, clusters: ArrayLike, *, level: float = LEVEL) -> Interval:
    """The exact binomial interval of a share, with the effective size where images are shared.

    Args:
        hits: Shape `(N,)`: 0 or 1.
        clusters: Shape `(N,)`.
        level: Of confidence.

    Returns:
        NaN ends where N is 0.

    Source:
        Korn and Graubard, Survey Methodology 24, 1998; Clopper and Pearson's where no image is
        shared.
    """
    column = np.asarray(hits, dtype=np.float64)
    if not len(column):
        return Interval(math.nan, math.nan)
    codes = np.asarray(clusters)
    alone = len(np.unique(codes)) == len(codes)
    size = float(len(column)) if alone else effective_size(column, codes)
    # By way of the mean, 7 of 7 could come out as a hair more than 7.
    hits_there = column.sum() if alone else min(size, size * float(column.mean()))
    return binomial_interval(float(hits_there), size, level=level)


def needs_exact(hits: ArrayLike) -> bool:
    """Whether a share is too near to 0 or 1 for resampling: under 30 hits or under 30 misses.

    A model that rejects 0 of 201 rejects 0 of them in every resample; 0 to 0 would be no interval.
    """
    column = np.asarray(hits, dtype=bool)
    return bool(min(column.sum(), (~column).sum()) < _FEW)


def beta_quantile(share: float, a: float, b: float) -> float:
    """Where the distribution function of Beta(a, b) reaches `share`, by bisection.

    Args:
        share: In (0, 1).
        a: Above 0.
        b: Above 0.

    Returns:
        In [0, 1], to the last bits of a float.
    """
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if beta_share(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return high


def beta_share(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function: the share of Beta(a, b) up to `x`.

    Args:
        x: In [0, 1].
        a: Above 0.
        b: Above 0.

    Returns:
        In [0, 1].

    Source:
        The continued fraction of NIST's Digital Library of Mathematical Functions, 8.17.22, by
        Lentz's method.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        # On this side the fraction converges for the mirrored function.
        return 1 - beta_share(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x) - math.log(a)
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            step *= c * d
        value *= step
        if abs(step - 1) < 1e-15:
            break
    return min(1.0, math.exp(log_front) * value)


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's exact test of two models on the same independent samples.

    Args:
        only_a: Samples that A alone has right.
        only_b: Samples that B alone has right.

    Returns:
        Two-sided p in (0, 1]: how often a fair coin, thrown once for every sample on which they
        differ, would be at least so one-sided.

    Source:
        McNemar, Psychometrika 12, 1947, in its exact form.

    Example:
        >>> round(mcnemar(8, 1), 7)
        0.0390625
    """
    ones = np.concatenate([np.ones(only_a), -np.ones(only_b)])
    return paired_test(ones, np.arange(len(ones)))


def paired_test(differences: ArrayLike, clusters: ArrayLike) -> float:
    """McNemar's exact test where samples share images: whole images change sides.

    If A and B were equally good, what A gains over B on an image could as well be what B gains
    over A. The distribution of the total over all such swaps is computed in full, not drawn.

    Args:
        differences: Shape `(N,)`: 1 where A alone is right, -1 where B alone is, else 0.
        clusters: Shape `(N,)`.

    Returns:
        Two-sided p in (0, 1]; McNemar's own where no image is shared.

    Source:
        Fisher's randomization test, The Design of Experiments, 1935, on clusters.
    """
    gains = np.rint(cluster_sums(differences, clusters)[:, 0]).astype(np.int64)
    sizes = np.abs(gains[gains != 0])
    observed = abs(int(gains.sum()))
    if not observed:
        return 1.0
    # Shape (2 * total + 1,): the chance of each sum from -total to total.
    chances = np.ones(1)
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        spread = np.zeros(2 * size * count + 1)
        spread[:: 2 * size] = _fair_coins(int(count))
        chances = np.convolve(chances, spread)
    total = (len(chances) - 1) // 2
    return min(1.0, 2 * float(chances[: total - observed + 1].sum()))


def _fair_coins(count: int) -> Floats:
    """Chances of 0, 1, ..., `count` heads."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    return np.asarray(np.exp(logs[-1] - logs - logs[::-1] - count * math.log(2)))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's correction: the chance of even one false finding in the family stays below 5 %.

    Args:
        p_values: Shape `(M,)`, in [0, 1]: one family of tests.

    Returns:
        Shape `(M,)`: adjusted, in [0, 1]; a test is significant where this is at most 0.05.

    Source:
        Holm, Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * factors))
    return adjusted


def rank_ranges(better: Sequence[Sequence[bool]] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which ranks a model may have, from which pairs the data separate.

    Where the pairs come from tests whose family-wise error is held at 5 % (`holm` over all pairs),
    all true ranks lie in their ranges at once with a confidence of 95 %.

    Args:
        better: Shape `(K, K)`: whether the data show that row is better than column.

    Returns:
        Shape `(K, 2)`: best and worst rank, from 1 to K.

    Source:
        Mogstad, Romano, Shaikh and Wilhelm, Review of Economic Studies 91, 2024; pairwise as in Al
        Mohamad, Goeman and van Zwet, Biometrics 78, 2022.

    Example:
        >>> first_beats_last = np.zeros((3, 3), dtype=bool)
        >>> first_beats_last[0, 2] = True
        >>> rank_ranges(first_beats_last).tolist()
        [[1, 2], [1, 3], [2, 3]]
    """
    table = np.asarray(better, dtype=bool)
    return np.stack([1 + table.sum(axis=0), len(table) - table.sum(axis=1)], axis=1)
