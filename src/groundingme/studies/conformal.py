"""Thresholds for rejecting with a promise: how many true descriptions are rejected at most.

A sample is rejected where its score of absence is above a threshold. The loss of an image is
the share of its true descriptions that are rejected; it falls as the threshold rises. Images are
what is drawn independently, so promises are made of new images, not of new samples.

==============  =================================================================================
`plain`         the lowest threshold that keeps to the rate on the calibration images; no promise
`conformal`     the mean loss of a new image is at most the rate, over all calibrations; with one
                description an image this is split conformal prediction
`guaranteed`    with probability 1 - delta the calibration is such that the mean loss is at most
                the rate
==============  =================================================================================

Sources: Angelopoulos, Bates, Fisch, Lei and Schuster, "Conformal Risk Control", ICLR 2024, for
`conformal`; Bates, Angelopoulos, Lei, Malik and Jordan, JACM 68, 2021, and Angelopoulos, Bates,
Candès, Jordan and Lei, "Learn then Test", Annals of Applied Statistics 19, 2025, for `guaranteed`
with its p-values (exact binomial, else Hoeffding and Bentkus).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import stats
from groundingme.stats import Floats

METHODS = ("plain", "conformal", "guaranteed")

_TINY = 1e-12


class Losses(NamedTuple):
    """False rejections of every image at every threshold.

    Attributes:
        thresholds: Shape `(T,)`, rising, the last one infinite: reject nothing.
        losses: Shape `(N, T)`, in [0, 1], falling along the second axis.
    """

    thresholds: Floats
    losses: Floats


def losses(absent: ArrayLike, negatives: ArrayLike, clusters: ArrayLike) -> Losses:
    """The losses of all images that have a true description.

    Args:
        absent: Shape `(M,)`: score of absence of each sample; NaN is above none.
        negatives: Shape `(M,)`: whether nothing matches.
        clusters: Shape `(M,)`: number of the image of each.

    Example:
        >>> losses([0.2, 0.8, 0.9], [False, False, True], [0, 0, 1]).losses.tolist()
        [[0.5, 0.0, 0.0, 0.0]]
    """
    score = np.asarray(absent, np.float64)
    thresholds = np.append(np.unique(score[np.isfinite(score)]), np.inf)
    positive = ~np.asarray(negatives, bool)
    score = np.where(np.isnan(score), -np.inf, score)[positive]
    codes = stats.cluster_codes(np.asarray(clusters)[positive].tolist())
    hits = (score[:, None] > thresholds).astype(np.float64)
    count = np.bincount(codes).astype(np.float64)
    sums = np.zeros((len(count), len(thresholds)))
    np.add.at(sums, codes, hits)
    return Losses(thresholds, sums / count[:, None])


def threshold(table: Losses, method: str, rate: float, delta: float = 0.1) -> float:
    """The lowest threshold that a method allows; infinite where it allows none.

    Args:
        table: Of the calibration images.
        method: Of `METHODS`.
        rate: Highest share of true descriptions that may be rejected, in (0, 1).
        delta: Probability with which `guaranteed` may be wrong, in (0, 1).

    Example:
        >>> table = losses(range(1, 100), [False] * 99, range(99))
        >>> [threshold(table, method, 0.05) for method in METHODS]
        [95.0, 95.0, 98.0]
    """
    means = table.losses.mean(axis=0)[None] if len(table.losses) else np.ones((1, 1))
    n = len(table.losses)
    if not n:
        return math.inf
    return float(table.thresholds[_first(means, n, _whole(table.losses), method, rate, delta)[0]])


def _whole(shares: Floats) -> bool:
    """Whether every loss is 0 or 1, as with one description an image."""
    return bool(np.isin(shares, (0.0, 1.0)).all())


def _first(
    means: Floats, n: int, whole: bool, method: str, rate: float, delta: float
) -> NDArray[np.int64]:
    """Index of the lowest threshold from which on all are allowed, for each row of `(B, T)`."""
    if method == "plain":
        allowed = means <= rate + _TINY
    elif method == "conformal":
        allowed = (n * means + 1) / (n + 1) <= rate + _TINY
    else:
        values, back = np.unique(means, return_inverse=True)
        fine = np.array([p_value(one, n, rate, whole=whole) <= delta for one in values.tolist()])
        allowed = fine[back].reshape(means.shape)
    # Rejecting nothing breaks no promise.
    allowed[:, -1] = True
    refused = ~allowed[:, ::-1]
    last = np.where(refused.any(axis=1), refused.argmax(axis=1), means.shape[1])
    return np.asarray(means.shape[1] - last)


@functools.lru_cache(1 << 14)
def p_value(mean: float, n: int, rate: float, *, whole: bool) -> float:
    """How likely so small a mean loss is where the true one is above the rate.

    Args:
        mean: Of n independent losses in [0, 1].
        n: 1 or more.
        rate: In (0, 1).
        whole: Whether all losses are 0 or 1: then it is exact.

    Example:
        >>> round(p_value(2 / 300, 300, 0.02, whole=True), 4)
        0.0602
    """
    hits = math.ceil(n * mean - 1e-9)
    tail = 1.0 if hits >= n else stats.beta_share(1 - rate, n - hits, hits + 1)
    if whole:
        return tail
    small = min(mean, rate)
    bound = small * math.log(small / rate) if small > 0 else 0.0
    bound += (1 - small) * math.log((1 - small) / (1 - rate))
    return min(1.0, math.exp(-n * bound), math.e * tail)


def least_images(rate: float, delta: float) -> int:
    """Images that `guaranteed` needs where it sees not one false rejection.

    Example:
        >>> least_images(0.02, 0.1)
        114
    """
    return math.ceil(math.log(delta) / math.log1p(-rate))


def simulated(
    table: Losses, n: int, method: str, rate: float, *, delta: float = 0.1, draws: int = 2000,
    seed: int = 0,
) -> Floats:  # fmt: skip
    """True losses of calibrations drawn from a population, to see whether a promise is kept.

    Args:
        table: The population: all its images are equally likely.
        n: Images of a calibration, drawn with replacement.
        method: Of `METHODS`.
        rate: That is asked for.
        delta: Of `guaranteed`.
        draws: Calibrations.
        seed: Of the draws.

    Returns:
        Shape `(draws,)`: the population's mean loss at each calibration's threshold.
    """
    rng = np.random.default_rng(seed)
    size = len(table.losses)
    counts = rng.multinomial(n, np.full(size, 1 / size), size=draws)
    means = counts @ table.losses / n
    # Sums of equal shares differ in their last bits.
    chosen = _first(means.round(12), n, _whole(table.losses), method, rate, delta)
    return np.asarray(table.losses.mean(axis=0)[chosen])


class Promise(NamedTuple):
    """A rate that was promised, and what came of it.

    Attributes:
        rate: That was asked for.
        lost: Shape `(draws,)`: of `simulated`.
    """

    rate: float
    lost: Floats

    @property
    def mean(self) -> float:
        """What was lost on average."""
        return float(self.lost.mean())

    @property
    def broken(self) -> float:
        """Share of the calibrations that lost more."""
        return float((self.lost > self.rate + 1e-9).mean())


Promised = Mapping[tuple[str, float], Promise]
"""By method and rate."""


def promises(
    table: Losses, n: int, rates: Iterable[float], *, delta: float, draws: int, seed: int
) -> Promised:
    """Every method at every rate, from the lowest; none where the population is empty."""
    return {
        (method, rate): Promise(
            rate, simulated(table, n, method, rate, delta=delta, draws=draws, seed=seed)
        )
        for method in METHODS
        for rate in sorted(rates)
        if len(table.losses)
    }
