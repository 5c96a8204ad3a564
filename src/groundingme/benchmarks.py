"""Figures of other benchmarks, as their own published scorers compute them.

GREC (gRefCOCO) asks for none, one or many boxes; Ref-L4 for one, with figures by size. They differ
from ours in details that move numbers, which each function names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from groundingme import geometry
from groundingme.metrics import THRESHOLDS
from groundingme.slices import SIZES, size_bins
from groundingme.stats import Floats


class Grec(NamedTuple):
    """Figures of generalized referring expression comprehension, in [0, 1] or NaN.

    Attributes:
        precision: Pr@(F1=1, IoU>=0.5): the share of samples answered without any error.
        n_accuracy: N-acc: the share of samples without a target that get no box.
        t_accuracy: T-acc: the share of samples with targets that get a box, right or wrong.
    """

    precision: float
    n_accuracy: float
    t_accuracy: float


def grec(
    predicted: Sequence[ArrayLike],
    targets: Sequence[ArrayLike],
    *,
    threshold: float = 0.5,
    generalized: bool = False,
) -> Grec:
    """gRefCOCO's three figures.

    Args:
        predicted: Of each sample the boxes given, shape `(P, 4)`, xyxy pixels; none for a
            rejection. P and T differ from sample to sample.
        targets: Of each sample the boxes asked for, shape `(T, 4)`; none where nothing matches.
        threshold: Smallest overlap that makes a match.
        generalized: Whether overlap is the generalized IoU. The paper says IoU; the published
            scorer computes the generalized one, which is lower, so published figures need True.

    Raises:
        ValueError: The lengths differ.

    Source:
        He, Ding, Liu and Jiang, GREC, arXiv 2308.16182, and its published scorer.

    Example:
        >>> grec([[[0, 0, 9, 9]], []], [[[0, 0, 9, 9], [20, 0, 29, 9]], []])
        Grec(precision=0.5, n_accuracy=1.0, t_accuracy=1.0)
    """
    given = [np.asarray(one, dtype=np.float64).reshape(-1, 4) for one in predicted]
    asked = [np.asarray(one, dtype=np.float64).reshape(-1, 4) for one in targets]
    if len(given) != len(asked):
        raise ValueError(f"expected as many answers as targets, got {len(given)}, {len(asked)}")
    perfect = [
        set_f1(a, b, threshold=threshold, generalized=generalized) == 1
        for a, b in zip(given, asked, strict=True)
    ]
    empty = np.array([not len(one) for one in given], dtype=bool)
    absent = np.array([not len(one) for one in asked], dtype=bool)
    return Grec(_mean(np.array(perfect)), _mean(empty[absent]), _mean(~empty[~absent]))


def set_f1(
    predicted: ArrayLike,
    targets: ArrayLike,
    *,
    threshold: float = 0.5,
    generalized: bool = False,
) -> float:
    """F1 of a set of boxes against a set of targets, for one sample.

    The pair that overlaps most is matched first, then the next among the boxes left, as long as
    the overlap reaches the threshold. A second box on a target is an error.

    Args:
        predicted: Shape `(P, 4)`, xyxy pixels.
        targets: Shape `(T, 4)`.
        threshold: Smallest overlap that makes a match.
        generalized: See `grec`.

    Returns:
        In [0, 1]; 1 where neither has a box, 0 where one of them alone has.
    """
    a = np.asarray(predicted, dtype=np.float64).reshape(-1, 4)
    b = np.asarray(targets, dtype=np.float64).reshape(-1, 4)
    if not len(a) or not len(b):
        return float(len(a) == len(b))
    overlaps = generalized_iou(a, b) if generalized else geometry.iou_matrix(a, b)
    matched = 0
    while matched < min(len(a), len(b)):
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        if overlaps[row, column] < threshold:
            break
        matched += 1
        overlaps[row, :] = overlaps[:, column] = -1
    return 2 * matched / (len(a) + len(b))


def generalized_iou(boxes: ArrayLike, others: ArrayLike) -> Floats:
    """IoU less the share of the common hull that neither covers; shape `(N, M)`, in (-1, 1].

    Source:
        Rezatofighi et al., CVPR 2019.

    Example:
        >>> generalized_iou([[0, 0, 1, 1]], [[0, 0, 1, 1], [2, 0, 3, 1]]).round(4).tolist()
        [[1.0, -0.3333]]
    """
    a = np.asarray(boxes, dtype=np.float64)[:, None, :]
    b = np.asarray(others, dtype=np.float64)[None, :, :]
    side = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(side, 0, None).prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1)
    union = union - shared
    hull = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    area = hull.prod(axis=-1)
    with np.errstate(all="ignore"):
        return np.asarray(shared / union - (area - union) / area)


def ref_l4(
    ious: ArrayLike, targets: ArrayLike, classes: Sequence[str] | None = None
) -> dict[str, float]:
    """Ref-L4's figures: by annotation, by size bin, and as a mean over classes.

    An IoU must be above the threshold, not on it, as in the published scorer; ours counts a box
    on the threshold.

    Args:
        ious: Shape `(N,)`, in [0, 1].
        targets: Shape `(N, 4)`, xyxy pixels.
        classes: The class of each sample; None leaves out the means over classes.

    Returns:
        In [0, 1], NaN for an empty bin: `Acc@0.5`, `Acc@0.75`, `Acc@0.9`, `mAcc`; `small Acc@0.5`,
        `small mAcc` and so for `medium` and `large`; `class Acc@0.5`, `class mAcc`.

    Source:
        Chen et al., Ref-L4, arXiv 2406.16866, and its published scorer.
    """
    overlaps = np.asarray(ious, dtype=np.float64)
    reached = {threshold: overlaps > threshold for threshold in THRESHOLDS}
    shares = np.mean(list(reached.values()), axis=0)
    figures = {f"Acc@{threshold}": _mean(reached[threshold]) for threshold in (0.5, 0.75, 0.9)}
    figures["mAcc"] = _mean(shares)
    bins = size_bins(targets)
    for code, size in enumerate(SIZES):
        figures[f"{size} Acc@0.5"] = _mean(reached[0.5][bins == code])
        figures[f"{size} mAcc"] = _mean(shares[bins == code])
    if classes is not None:
        names = np.asarray(classes, dtype=object)
        groups = [names == name for name in dict.fromkeys(classes)]
        figures["class Acc@0.5"] = _mean(np.array([reached[0.5][one].mean() for one in groups]))
        figures["class mAcc"] = _mean(np.array([shares[one].mean() for one in groups]))
    return figures


def _mean(values: ArrayLike) -> float:
    column = np.asarray(values, dtype=np.float64)
    return float(column.mean()) if len(column) else float("nan")
