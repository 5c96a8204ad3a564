"""How much a model's own confidence is worth: ranking, abstaining, calibration.

Three questions, three kinds of figures. Does the confidence tell descriptions that match nothing
from the others (AUROC, AUPR, FPR@95TPR of `absence`)? Does it tell right answers from wrong ones
(risk-coverage, AURC)? Is it a probability (Brier, ECE, reliability)? All depend on confidences that
a model gives; without any they are NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def absence(confidence: ArrayLike, rejected: ArrayLike) -> Floats:
    """How sure a model is that nothing matches.

    Args:
        confidence: Shape `(N,)`: probability of the answer given, in [0, 1]; NaN for none.
        rejected: Shape `(N,)`: whether that answer was a rejection.

    Returns:
        Shape `(N,)`, in [0, 1]: the confidence of a rejection, one minus that of a box; NaN where
        there is no confidence.
    """
    sure = np.asarray(confidence, dtype=np.float64)
    return np.asarray(np.where(np.asarray(rejected, dtype=bool), sure, 1 - sure))


def auroc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Area under the ROC curve: how often a true one scores above a false one; ties count half.

    Args:
        scores: Shape `(N,)`: higher for what should be true. NaN is below every number.
        labels: Shape `(N,)`: what is true, such as "nothing matches".
        weights: Shape `(N,)` or `(B, N)`: how often each sample counts; once by default.

    Returns:
        Shape `()` or `(B,)`, in [0, 1]; NaN without a true or without a false one.

    Raises:
        ValueError: The shapes do not fit.

    Example:
        >>> float(auroc([0.9, 0.8, 0.3, 0.1], [True, False, True, False]))
        0.75
    """
    true, false = _reached(scores, labels, weights)
    gained = np.diff(true, axis=-1, prepend=0)
    passed = false[..., -1:] - false + np.diff(false, axis=-1, prepend=0) / 2
    return _share((gained * passed).sum(axis=-1), true[..., -1] * false[..., -1])


def average_precision(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> Floats:
    """AUPR, as the mean precision over all true ones, without interpolation.

    It depends on how many are true: a score that knows nothing gets their share.

    Args:
        scores: Shape `(N,)`: higher for what should be true. NaN is below every number.
        labels: Shape `(N,)`.
        weights: Shape `(N,)` or `(B, N)`.

    Returns:
        Shape `()` or `(B,)`, in [0, 1]; NaN without a true one.

    Raises:
        ValueError: The shapes do not fit.
    """
    true, false = _reached(scores, labels, weights)
    gained = np.diff(true, axis=-1, prepend=0)
    precision = np.where(gained > 0, _share(true, true + false), 0.0)
    return _share((gained * precision).sum(axis=-1), true[..., -1])


def fpr_at_tpr(
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    tpr: float = 0.95,
) -> Floats:
    """FPR@95TPR: the share of false ones taken along when 95 % of the true ones are caught.

    With "nothing matches" as the truth: how many of the positives a model would reject in order to
    reject 95 % of the negatives.

    Args:
        scores: Shape `(N,)`: higher for what should be true. NaN is below every number.
        labels: Shape `(N,)`.
        weights: Shape `(N,)` or `(B, N)`.
        tpr: Share of true ones to catch, in (0, 1].

    Returns:
        Shape `()` or `(B,)`, in [0, 1], at the first threshold that reaches `tpr`; NaN without a
        true or without a false one.

    Raises:
        ValueError: The shapes do not fit.
    """
    true, false = _reached(scores, labels, weights)
    # 0.95 of 20 is 19 and no more, whatever the float says.
    enough = true >= tpr * true[..., -1:] * (1 - 1e-12)
    first = enough.argmax(axis=-1)[..., None]
    taken = np.take_along_axis(false, first, axis=-1)[..., 0]
    undefined = true[..., -1] == 0
    return np.asarray(np.where(undefined, np.nan, _share(taken, false[..., -1])))


class Curve(NamedTuple):
    """A risk-coverage curve, from the surest sample to all of them.

    Attributes:
        coverage: Shape `(N,)`: share of samples that are answered.
        risk: Shape `(N,)`: share of wrong ones among them.
    """

    coverage: Floats
    risk: Floats


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> Curve:
    """How often a model is wrong if it answers only where it is surest.

    Args:
        confidence: Shape `(N,)`; NaN is below every number.
        right: Shape `(N,)`.

    Returns:
        One point a sample. Samples of equal confidence come in no order, so within them the curve
        is its mean over all orders.

    Raises:
        ValueError: The shapes differ.

    Source:
        El-Yaniv and Wiener, JMLR 11, 2010.

    Example:
        >>> risk_coverage([0.9, 0.8, 0.1], [True, False, True]).risk.round(2).tolist()
        [0.0, 0.5, 0.33]
    """
    sure, good = _columns(confidence, right)
    values, group, counts = np.unique(-sure, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=~good, minlength=len(values)) / np.maximum(counts, 1)
    answered = np.arange(1, len(sure) + 1)
    risk = np.cumsum(np.repeat(wrong, counts)) / answered
    return Curve(answered / max(1, len(sure)), risk)


def aurc(confidence: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Area under the risk-coverage curve: the mean risk over all coverages. Lower is better.

    A confidence that knows nothing gets the overall share of wrong answers.

    Args:
        confidence: Shape `(N,)`; NaN is below every number.
        right: Shape `(N,)`.
        weights: Shape `(N,)` or `(B, N)`: how often each sample counts, whole numbers; once by
            default.

    Returns:
        Shape `()` or `(B,)`, in [0, 1]; NaN when N is 0 or where there is no confidence at all.

    Source:
        Geifman, Uziel and El-Yaniv, ICLR 2019.
    """
    wrong, kept = _reached(confidence, ~np.asarray(right, dtype=bool), weights)
    if np.isnan(np.asarray(confidence, dtype=np.float64)).all():
        return np.full(wrong.shape[:-1], np.nan)
    answered = (wrong + kept).astype(np.int64)
    before = np.concatenate([np.zeros_like(answered[..., :1]), answered[..., :-1]], axis=-1)
    errors = np.diff(wrong, axis=-1, prepend=0)
    count = answered - before
    rate = np.divide(errors, count, out=np.zeros(errors.shape), where=count > 0)
    # Within equal confidences the risk after i answers is (errors before + rate * (i - answers
    # before)) / i, and the sum of that over i takes the sums of 1 / i.
    inverse = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, answered.max(initial=0) + 1))])
    start = wrong - errors - rate * before
    area = (rate * count + start * (inverse[answered] - inverse[before])).sum(axis=-1)
    return _share(area, answered[..., -1].astype(np.float64))


class OperatingPoint(NamedTuple):
    """What rejecting above a threshold gives.

    Attributes:
        threshold: Of `absence`: at or above it, a sample is rejected.
        accuracy: Over all samples, in [0, 1].
        n_accuracy: Share of negatives rejected.
        false_rejections: Share of positives rejected, at most what was asked.
    """

    threshold: float
    accuracy: float
    n_accuracy: float
    false_rejections: float


def accuracy_at_false_rejection(
    absent: ArrayLike, negatives: ArrayLike, found: ArrayLike, *, rate: float = 0.05
) -> OperatingPoint:
    """Accuracy if a model rejected wherever it is surest that nothing matches, and no more often.

    The threshold is the lowest that rejects at most `rate` of the positives. It puts models that
    reject eagerly and models that hardly do on one footing.

    Args:
        absent: Shape `(N,)`: of `absence`; NaN is below every threshold.
        negatives: Shape `(N,)`: whether nothing matches.
        found: Shape `(N,)`: whether the box given is right. Where the model rejected by itself no
            box is known, and below the threshold such a sample is wrong.
        rate: Highest share of positives that may be rejected, in [0, 1].

    Returns:
        NaN figures without positives or without any confidence.
    """
    score, truth = _columns(absent, negatives)
    good = np.asarray(found, dtype=bool) & ~truth
    if truth.all() or np.isnan(np.asarray(absent, dtype=np.float64)).all():
        return OperatingPoint(math.nan, math.nan, math.nan, math.nan)
    # Above each candidate, and above none at all.
    candidates = np.unique(score[np.isfinite(score)])
    positives = np.sort(score[~truth])
    lost = 1 - np.searchsorted(positives, candidates, side="left") / len(positives)
    allowed = candidates[lost <= rate + 1e-12]
    threshold = float(allowed[0]) if len(allowed) else math.inf
    said = score >= threshold
    return OperatingPoint(
        threshold,
        float(np.where(truth, said, good & ~said).mean()),
        float(said[truth].mean()) if truth.any() else math.nan,
        float(said[~truth].mean()),
    )


def brier(probability: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Mean squared distance of a stated probability from what came true. Lower is better.

    Args:
        probability: Shape `(N,)`, in [0, 1]: that the box is right. NaN is left out.
        right: Shape `(N,)`.
        weights: Shape `(N,)` or `(B, N)`: how often each sample counts; once by default.

    Returns:
        Shape `()` or `(B,)`, in [0, 1]; NaN where no probability is stated. Always to say 0.5
        gives 0.25.

    Source:
        Brier, Monthly Weather Review 78, 1950.
    """
    stated, good, counts = _stated(probability, right, weights)
    return _share(counts @ (stated - good) ** 2, counts.sum(axis=-1))


class Bins(NamedTuple):
    """A reliability diagram.

    Attributes:
        edges: Shape `(M + 1,)`, from 0 to 1.
        counts: Shape `(M,)`.
        stated: Shape `(M,)`: mean probability; NaN where a bin is empty. So is `right`.
        right: Shape `(M,)`: share that is right.
    """

    edges: Floats
    counts: NDArray[np.int64]
    stated: Floats
    right: Floats


def reliability(probability: ArrayLike, right: ArrayLike, *, bins: int = 10) -> Bins:
    """What was stated beside what came true, in bins of equal width.

    Args:
        probability: Shape `(N,)`, in [0, 1]. NaN is left out.
        right: Shape `(N,)`.
        bins: M. A probability on an edge belongs to the bin below it.

    Source:
        Niculescu-Mizil and Caruana, ICML 2005.
    """
    stated, good, _ = _stated(probability, right)
    edges = np.linspace(0, 1, bins + 1)
    at = _bins(stated, bins)
    counts = np.bincount(at, minlength=bins)
    sums = (np.bincount(at, weights=one, minlength=bins) for one in (stated, good))
    means = [_share(one.astype(np.float64), counts.astype(np.float64)) for one in sums]
    return Bins(edges, counts, means[0], means[1])


def calibration_error(
    probability: ArrayLike,
    right: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int = 10,
) -> Floats:
    """ECE: the mean gap between stated probability and share right, weighted by bin.

    Args:
        probability: Shape `(N,)`, in [0, 1]. NaN is left out.
        right: Shape `(N,)`.
        weights: Shape `(N,)` or `(B, N)`: how often each sample counts; once by default.
        bins: Of equal width. With few samples a bin, noise alone makes it larger than 0.

    Returns:
        Shape `()` or `(B,)`, in [0, 1]; NaN where no probability is stated.

    Source:
        Guo, Pleiss, Sun and Weinberger, ICML 2017.
    """
    stated, good, counts = _stated(probability, right, weights)
    inside = np.eye(bins)[_bins(stated, bins)]
    gaps = np.abs(counts @ (inside * (stated - good)[:, None]))
    return _share(gaps.sum(axis=-1), counts.sum(axis=-1))


def _bins(stated: Floats, bins: int) -> NDArray[np.int64]:
    """A probability on an edge belongs to the bin below it."""
    return np.clip(np.ceil(stated * bins).astype(np.int64) - 1, 0, bins - 1)


def _stated(
    probability: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Probabilities that are there, what came true, and how often each counts."""
    _columns(probability, right)
    stated = np.asarray(probability, dtype=np.float64)
    known = ~np.isnan(stated)
    if ((stated[known] < 0) | (stated[known] > 1)).any():
        raise ValueError("expected probabilities in [0, 1]")
    counts = np.ones(len(stated)) if weights is None else np.asarray(weights, dtype=np.float64)
    return stated[known], np.asarray(right, dtype=np.float64)[known], counts[..., known]


def _columns(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Bools]:
    """Both as columns of one length, NaN scores below all others."""
    column, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    if column.ndim != 1 or column.shape != truth.shape:
        raise ValueError(f"expected two of one shape (N,), got {column.shape} and {truth.shape}")
    return np.where(np.isnan(column), -np.inf, column), truth


def _reached(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Floats]:
    """Weight of true and of false ones at or above each distinct score, from the highest down.

    Returns:
        Two of shape `(G,)` or `(B, G)`, growing to the totals in the last column.
    """
    column, truth = _columns(scores, labels)
    counts = np.ones(len(column)) if weights is None else np.asarray(weights, dtype=np.float64)
    if counts.shape[-1:] != column.shape:
        raise ValueError(f"expected weights of shape (..., {len(column)}), got {counts.shape}")
    if not len(column):
        empty = np.zeros((*counts.shape[:-1], 1))
        return empty, empty
    order = np.argsort(-column, kind="stable")
    ordered, ranked = column[order], truth[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return (
        _running(counts, order[ranked], np.cumsum(ranked, dtype=np.int64)[last]),
        _running(counts, order[~ranked], np.cumsum(~ranked, dtype=np.int64)[last]),
    )


def _running(counts: Floats, columns: NDArray[np.int64], taken: NDArray[np.int64]) -> Floats:
    """Sums over the first `taken` of some columns, for each entry of it."""
    sums = np.zeros((*counts.shape[:-1], len(columns) + 1))
    np.cumsum(counts[..., columns], axis=-1, out=sums[..., 1:])
    return sums[..., taken]


def _share(part: Floats, whole: Floats) -> Floats:
    with np.errstate(all="ignore"):
        return np.asarray(np.divide(part, whole))
