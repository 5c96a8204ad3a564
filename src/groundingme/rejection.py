"""How well a model tells descriptions that match something from those that match nothing.

A model that always answers "nothing matches" has a perfect N-acc, and one that never does has a
perfect T-acc, so neither is a score by itself; the balanced and harmonic scores, F1 and MCC weigh
both. Every measure is a function of five sums, so that one matrix product gives it in ten thousand
bootstrap resamples (`stats.resampled_sums`).

A *negative* is a sample that nothing in the image matches. To *reject* is to say so. A reply that
cannot be read, and a sample without one, reject nothing and point at nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

COLUMNS = ("positives", "found", "rejected positives", "negatives", "rejected negatives")


def indicators(negatives: ArrayLike, rejected: ArrayLike, right: ArrayLike) -> Floats:
    """What each sample adds to the five sums.

    Args:
        negatives: Shape `(N,)`: whether nothing matches.
        rejected: Shape `(N,)`: whether the model says so.
        right: Shape `(N,)`: whether the box is right (IoU of 0.5 or more); of positives only.

    Returns:
        Shape `(N, 5)`, zeros and ones, in the order of `COLUMNS`.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> indicators([True, False], [True, False], [True, True]).sum(axis=0).tolist()
        [1.0, 1.0, 0.0, 1.0, 1.0]
    """
    absent, said, good = (np.asarray(one, dtype=bool) for one in (negatives, rejected, right))
    if not absent.shape == said.shape == good.shape or absent.ndim != 1:
        raise ValueError(f"expected three of one shape (N,), got {absent.shape}, {said.shape}, "
                         f"{good.shape}")  # fmt: skip
    rows = (~absent, ~absent & good & ~said, ~absent & said, absent, absent & said)
    return np.stack(rows, axis=1).astype(np.float64)


def positive_accuracy(sums: ArrayLike) -> Floats:
    """Acc@0.5 where something matches.

    Args:
        sums: Shape `(..., 5)`: sums of `indicators`. So for all measures below.

    Returns:
        Shape `(...)`, in [0, 1]; NaN without positives.
    """
    positives, found, *_ = _columns(sums)
    return _share(found, positives)


def n_accuracy(sums: ArrayLike) -> Floats:
    """N-acc: the share of negatives that are rejected; the recall of rejection.

    Returns:
        Shape `(...)`, in [0, 1]; NaN without negatives.

    Source:
        GREC, arXiv 2308.16182.
    """
    *_, negatives, rejections = _columns(sums)
    return _share(rejections, negatives)


def false_rejection_rate(sums: ArrayLike) -> Floats:
    """The share of positives that are rejected.

    Returns:
        Shape `(...)`, in [0, 1]; NaN without positives.
    """
    positives, _, rejected, *_ = _columns(sums)
    return _share(rejected, positives)


def t_accuracy(sums: ArrayLike) -> Floats:
    """T-acc: the share of positives that are not rejected, wherever the box may be.

    Returns:
        Shape `(...)`, in [0, 1]; NaN without positives.

    Source:
        GREC, arXiv 2308.16182.
    """
    return 1 - false_rejection_rate(sums)


def balanced_score(sums: ArrayLike) -> Floats:
    """The mean of Acc@0.5 on positives and N-acc: one half for each kind, however many there are.

    Returns:
        Shape `(...)`, in [0, 1]; NaN without either kind. Always to reject gives 0.5.
    """
    return (positive_accuracy(sums) + n_accuracy(sums)) / 2


def harmonic_score(sums: ArrayLike) -> Floats:
    """The harmonic mean of Acc@0.5 on positives and N-acc: near the worse of the two.

    Returns:
        Shape `(...)`, in [0, 1]; NaN without either kind. Always to reject gives 0, and so does
        never to reject.
    """
    found, rejected = positive_accuracy(sums), n_accuracy(sums)
    total = np.asarray(found + rejected)
    return np.asarray(np.where(total == 0, 0.0, _share(2 * found * rejected, total)))


def rejection_precision(sums: ArrayLike) -> Floats:
    """The share of rejections that are right.

    Returns:
        Shape `(...)`, in [0, 1]; NaN where nothing is rejected.
    """
    _, _, wrong, _, rejections = _columns(sums)
    return _share(rejections, rejections + wrong)


def rejection_f1(sums: ArrayLike) -> Floats:
    """F1 of rejection: the harmonic mean of its precision and its recall (N-acc).

    It depends on how many negatives there are: always to reject gives 0.33 with a fifth of them.

    Returns:
        Shape `(...)`, in [0, 1]; NaN where nothing is rejected and there is nothing to reject.
    """
    _, _, wrong, negatives, rejections = _columns(sums)
    return _share(2 * rejections, rejections + wrong + negatives)


def rejection_mcc(sums: ArrayLike) -> Floats:
    """Matthews' correlation of "nothing matches" with "the model rejects".

    Returns:
        Shape `(...)`, in [-1, 1]; 0 for a model that always says the same, NaN without positives
        or negatives.

    Source:
        Matthews, Biochimica et Biophysica Acta 405, 1975.
    """
    positives, _, wrong, negatives, rejections = _columns(sums)
    said = rejections + wrong
    others = positives + negatives - said
    top = rejections * (positives - wrong) - wrong * (negatives - rejections)
    scale = np.sqrt(said * others * positives * negatives)
    same = np.asarray((said == 0) | (others == 0))
    known = np.asarray((positives > 0) & (negatives > 0))
    value = np.where(same, 0.0, _share(top, np.asarray(scale)))
    return np.asarray(np.where(known, value, np.nan))


MEASURES: dict[str, Callable[[ArrayLike], Floats]] = {
    "Acc@0.5 of positives": positive_accuracy,
    "N-acc": n_accuracy,
    "T-acc": t_accuracy,
    "false rejections": false_rejection_rate,
    "balanced": balanced_score,
    "harmonic": harmonic_score,
    "precision": rejection_precision,
    "F1": rejection_f1,
    "MCC": rejection_mcc,
}
"""Every measure by the name that tables give it."""

SHARES = {
    "Acc@0.5 of positives": ("positives", "found"),
    "N-acc": ("negatives", "rejected negatives"),
    "false rejections": ("positives", "rejected positives"),
}
"""Measures that are a share of samples: out of what, and which of them."""


def _columns(sums: ArrayLike) -> tuple[Floats, ...]:
    array = np.asarray(sums, dtype=np.float64)
    if array.shape[-1:] != (len(COLUMNS),):
        raise ValueError(f"expected sums of shape (..., {len(COLUMNS)}), got {array.shape}")
    return tuple(array[..., at] for at in range(len(COLUMNS)))


def _share(part: Floats, whole: Floats) -> Floats:
    with np.errstate(all="ignore"):
        return np.asarray(np.divide(part, whole))
