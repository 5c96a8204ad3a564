"""How far people agree beyond chance: pure functions on arrays of their answers.

An answer is a whole number from 0, the code of a category; -1 where there is none. 1 is full
agreement, 0 what chance alone would give, and NaN says that it cannot be told: nobody answered
twice, or all answers are one category, so that nothing could have differed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import geometry

NONE = -1
"""Stands for no answer."""


def cohen_kappa(first: ArrayLike, second: ArrayLike) -> float:
    """Cohen's kappa of two people.

    Args:
        first: Shape `(N,)`, one person's answers.
        second: Shape `(N,)`, the other's. Items that not both answered are left out.

    Returns:
        In [-1, 1]; NaN where it is undefined.

    Raises:
        ValueError: The shapes differ.

    Source:
        Cohen, Educational and Psychological Measurement 20, 1960.

    Example:
        >>> round(cohen_kappa([0, 0, 1, 1], [0, 0, 1, 0]), 3)
        0.5
    """
    a, b = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two lists of one length, got shapes {a.shape} and {b.shape}")
    both = (a != NONE) & (b != NONE)
    a, b = a[both], b[both]
    if not len(a):
        return float("nan")
    size = int(max(a.max(), b.max())) + 1
    shares = np.bincount(a, minlength=size) @ np.bincount(b, minlength=size) / len(a) ** 2
    return _beyond(float((a == b).mean()), float(shares))


def fleiss_kappa(counts: ArrayLike) -> float:
    """Fleiss' kappa of several people.

    Args:
        counts: Shape `(N, K)`: how many people gave item n the category k; as many for each item.

    Returns:
        In [-1, 1]; NaN where it is undefined.

    Raises:
        ValueError: Items have different numbers of answers.

    Source:
        Fleiss, Psychological Bulletin 76, 1971.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        return float("nan")
    people = table.sum(axis=1)
    if (people != people[0]).any():
        raise ValueError("expected as many answers for each item, got different numbers")
    n = people[0]
    if n < 2:
        return float("nan")
    agreed = ((table**2).sum(axis=1) - n) / (n * (n - 1))
    shares = table.sum(axis=0) / table.sum()
    return _beyond(float(agreed.mean()), float(shares @ shares))


def krippendorff_alpha(answers: ArrayLike) -> float:
    """Krippendorff's alpha for categories without an order; people may have skipped items.

    Args:
        answers: Shape `(P, N)`: a row a person, a column an item; -1 for no answer.

    Returns:
        At most 1; NaN where it is undefined.

    Source:
        Krippendorff, Content Analysis, 2004, chapter 11; worked examples in "Computing
        Krippendorff's alpha-reliability", 2011.
    """
    table = np.asarray(answers, dtype=np.int64)
    if table.ndim != 2 or not table.size or table.max() < 0:
        return float("nan")
    counts = np.stack([(table == k).sum(axis=0) for k in range(int(table.max()) + 1)], axis=1)
    people = counts.sum(axis=1)
    counts, people = counts[people > 1].astype(np.float64), people[people > 1]
    total = float(people.sum())
    if not len(people):
        return float("nan")
    # Pairs within an item count by 1 / (m - 1), so that each answer weighs the same.
    differ = (people**2 - (counts**2).sum(axis=1)) / (people - 1)
    sums = counts.sum(axis=0)
    expected = (total**2 - float(sums @ sums)) / (total * (total - 1))
    return 1 - float(differ.sum()) / total / expected if expected else float("nan")


def mean_iou(boxes: ArrayLike, others: ArrayLike) -> float:
    """Mean IoU of two people's boxes.

    Args:
        boxes: Shape `(N, 4)`, xyxy pixels.
        others: Shape `(N, 4)`, of the same items.

    Returns:
        In [0, 1]; NaN when N is 0.
    """
    ious = geometry.iou(boxes, others)
    return float(ious.mean()) if len(ious) else float("nan")


def as_counts(answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The table that `fleiss_kappa` takes: items that the most usual number of people answered.

    Args:
        answers: Shape `(P, N)`, as `krippendorff_alpha` takes it.

    Returns:
        Shape `(M, K)`.
    """
    people = (answers != NONE).sum(axis=0)
    several = people[people > 1]
    if not len(several):
        return np.zeros((0, 0), np.int64)
    usual = np.bincount(several).argmax()
    chosen = answers[:, people == usual]
    return np.stack([(chosen == k).sum(axis=0) for k in range(int(chosen.max()) + 1)], axis=1)


def _beyond(observed: float, by_chance: float) -> float:
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")
