"""Figures of a set of scores: pure functions on arrays, and `summarize` for all of them.

Sums run from the first sample to the last, one plain addition at a time, as in the published
script: other orders of summing, numpy's own included, differ in the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from groundingme import taxonomy
from groundingme.protocols import OUTCOMES, Scores

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5, 0.55, ..., 0.95: each the float nearest to its two decimals, as in the published scorer."""


def accuracy(ious: NDArray[np.float64], *, threshold: float = 0.5) -> float:
    """Acc@threshold: the share of samples whose IoU reaches the threshold.

    Args:
        ious: Shape `(N,)`, in [0, 1]; 0 where nothing usable was answered. NaN never reaches it.
        threshold: Smallest IoU that counts as correct, in (0, 1].

    Returns:
        A fraction in [0, 1]; NaN when N is 0.

    Raises:
        ValueError: `ious` is not 1-D, or `threshold` is outside (0, 1].

    Source:
        arXiv 2512.17495, section 4; `>=`, as in its published scorer.

    Example:
        >>> accuracy(np.array([0.5, 0.49, 1.0, 0.0]))
        0.5
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"expected a threshold in (0, 1], got {threshold}")
    return _mean(np.asarray(ious) >= threshold)


def mean_accuracy(ious: NDArray[np.float64]) -> float:
    """mAcc: the mean of Acc@0.50, Acc@0.55, ..., Acc@0.95.

    Args:
        ious: Shape `(N,)`, in [0, 1].

    Returns:
        A fraction in [0, 1]; NaN when N is 0.

    Raises:
        ValueError: `ious` is not 1-D.

    Source:
        arXiv 2512.17495; summed as in its task for lmms-eval, a share of thresholds per sample.

    Example:
        >>> mean_accuracy(np.array([0.5, 0.94]))
        0.5
    """
    reached = sum((np.asarray(ious) >= threshold).astype(np.int64) for threshold in THRESHOLDS)
    return _mean(np.asarray(reached) / len(THRESHOLDS))


def mean_iou(ious: NDArray[np.float64]) -> float:
    """The mean IoU.

    Args:
        ious: Shape `(N,)`, in [0, 1].

    Returns:
        A fraction in [0, 1]; NaN when N is 0, and where an IoU is NaN.

    Raises:
        ValueError: `ious` is not 1-D.
    """
    return _mean(ious)


def center_accuracy(centers: NDArray[np.bool_]) -> float:
    """The share of samples whose box has its centre in the target.

    Args:
        centers: Shape `(N,)`; true for a correct rejection.

    Returns:
        A fraction in [0, 1]; NaN when N is 0.

    Raises:
        ValueError: `centers` is not 1-D.
    """
    return _mean(centers)


def count_outcomes(scores: Scores, mask: NDArray[np.bool_] | None = None) -> dict[str, int]:
    """How many samples are `box`, `rejected`, `unparsed` and `failed`, in this order.

    Args:
        scores: Of N samples; those outside the denominator are counted, too.
        mask: Shape `(N,)`: which samples to count; all of them by default.
    """
    outcome = scores.outcome if mask is None else scores.outcome[mask]
    counts = np.bincount(outcome, minlength=len(OUTCOMES)).tolist()
    return dict(zip(OUTCOMES, counts, strict=True))


def summarize(scores: Scores) -> dict[str, float]:
    """Every figure by name.

    For all samples `IoU`, `ACC@0.5`, `ACC@0.75`, `ACC@0.9`, `mACC` and `Center_ACC`; the same
    for each category as `Rejection_ACC@0.5` and for each subtask as `Spatial_Counting_ACC@0.5`,
    in the taxonomy's order, then those that it does not know. Then counts of the whole data set:
    `samples`, `scored` (the denominator), `box`, `rejected`, `unparsed`, `failed`.

    Returns:
        Fractions in [0, 1], NaN where the denominator is empty, and counts.

    Source:
        The published script's names and figures; `mACC`, `Center_ACC` and the subtasks' figures
        beside `ACC@0.5` are ours.
    """
    figures: dict[str, float] = {}
    for prefix, group in _groups(scores):
        rows = group & scores.scored
        ious = scores.ious[rows]
        figures[f"{prefix}IoU"] = mean_iou(ious)
        for threshold in (0.5, 0.75, 0.9):
            figures[f"{prefix}ACC@{threshold}"] = accuracy(ious, threshold=threshold)
        figures[f"{prefix}mACC"] = mean_accuracy(ious)
        figures[f"{prefix}Center_ACC"] = center_accuracy(scores.centers[rows])
    figures["samples"] = len(scores)
    figures["scored"] = int(scores.scored.sum())
    figures.update(count_outcomes(scores))
    return figures


def _groups(scores: Scores) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Name prefix and members, shape `(N,)`, of the whole, each category and each subtask."""
    yield "", np.ones(len(scores), dtype=bool)
    pairs = list(zip(scores.subtask_l1, scores.subtask_l2, strict=True))
    codes = {pair: code for code, pair in enumerate(dict.fromkeys(pairs))}
    code = np.array([codes[pair] for pair in pairs], dtype=np.int64)
    known = dict.fromkeys((row.l1, row.l2) for row in taxonomy.SUBTASKS)
    for l1 in dict.fromkeys((*taxonomy.L1, *(pair[0] for pair in codes))):
        members = [codes[pair] for pair in codes if pair[0] == l1]
        if l1 and members:
            yield f"{l1}_", np.isin(code, members)
    for pair in dict.fromkeys((*known, *codes)):
        if all(pair) and pair in codes:
            yield f"{pair[0]}_{pair[1]}_", code == codes[pair]


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise ValueError(f"expected values of shape (N,), got {column.shape}")
    return float(np.add.accumulate(column)[-1]) / len(column) if len(column) else float("nan")
