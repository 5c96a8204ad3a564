"""How well kept boxes agree with boxes that people drew: precision and recall by class.

Boxes are matched as COCO matches them: in the order of their scores, each takes the free true box
of its class with the highest IoU, if that reaches the limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import geometry
from groundingme.errors import BoxError


class Matched(NamedTuple):
    """Which of N boxes of an image found which of M true ones.

    Attributes:
        labels: Shape `(N,)`, classes of the boxes.
        truth: Shape `(N,)`, int: index of the true box that each one found, -1 for none.
        ignored: Shape `(N,)`, bool: found nothing, and lies in a region of `ignore`.
        true_labels: Shape `(M,)`, classes of the true boxes.
    """

    labels: NDArray[np.intp]
    truth: NDArray[np.intp]
    ignored: NDArray[np.bool_]
    true_labels: NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Boxes counted over images, in arrays of a value each class.

    Attributes:
        boxes: Boxes that are judged.
        right: Those of them that found a true box.
        truth: True boxes.
        found: Those of them that were found. The same as `right` unless classes are ignored.
    """

    boxes: NDArray[np.intp]
    right: NDArray[np.intp]
    truth: NDArray[np.intp]
    found: NDArray[np.intp]

    @property
    def precision(self) -> float:
        """Share of all boxes that found a true one, in [0, 1]; NaN without boxes."""
        return _share(int(self.right.sum()), int(self.boxes.sum()))

    @property
    def recall(self) -> float:
        """Share of all true boxes that were found, in [0, 1]; NaN without any."""
        return _share(int(self.found.sum()), int(self.truth.sum()))

    def by_class(self) -> NDArray[np.float64]:
        """Precision and recall of each class, shape `(C, 2)`; NaN where there is nothing."""
        with np.errstate(invalid="ignore"):
            return np.column_stack([self.right / self.boxes, self.found / self.truth])


def match(
    boxes: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike,
    true_boxes: ArrayLike,
    true_labels: ArrayLike,
    *,
    iou: float = 0.5,
    agnostic: bool = False,
    ignore: ArrayLike | None = None,
) -> Matched:
    """Matches the boxes of one image with the true ones.

    Args:
        boxes: Shape `(N, 4)`, xyxy pixels.
        labels: Shape `(N,)`, whole numbers from 0.
        scores: Shape `(N,)`; equal scores take turns in the order of the rows.
        true_boxes: Shape `(M, 4)`, xyxy pixels.
        true_labels: Shape `(M,)`, in the same numbers.
        iou: Smallest IoU of a match, in (0, 1].
        agnostic: Match across classes.
        ignore: Shape `(M,)`, bool: regions that hold many things of a class, such as COCO's
            crowds. They need not be found; a box is not judged where it found nothing else and
            such a region of its class covers a share of at least `iou` of it.

    Returns:
        The matches; `tally` counts them.

    Raises:
        BoxError: The shapes do not fit each other.
    """
    found, wanted = geometry.as_boxes(boxes), geometry.as_boxes(true_boxes)
    names, true_names = np.asarray(labels), np.asarray(true_labels)
    crowd = np.zeros(len(wanted), bool) if ignore is None else np.asarray(ignore, dtype=bool)
    sure = np.asarray(scores, dtype=np.float64)
    lengths = [len(names), len(sure), len(true_names), len(crowd)]
    if lengths != [len(found), len(found), len(wanted), len(wanted)]:
        raise BoxError(
            f"expected a label and a score for each of {len(found)} boxes and a label for each of "
            f"{len(wanted)} true ones, got {lengths}"
        )
    names, true_names = names.astype(np.intp), true_names.astype(np.intp)
    alike = np.equal.outer(names, true_names) | agnostic
    overlap = np.where(alike & ~crowd, geometry.iou_matrix(found, wanted), 0.0)
    truth = np.full(len(found), -1, np.intp)
    for row in np.argsort(-sure, kind="stable").tolist() if len(wanted) else ():
        best = int(overlap[row].argmax())
        if overlap[row, best] >= iou:
            truth[row] = best
            overlap[:, best] = 0.0
    shared = _shared(found, wanted)
    inside = (shared > 0) & (shared >= iou * geometry.area(found)[:, None])
    ignored = (truth < 0) & (alike & crowd & inside).any(axis=1)
    return Matched(names, truth, ignored, np.where(crowd, -1, true_names))


def tally(matches: Iterable[Matched], classes: int) -> Agreement:
    """Counts the matches of many images by class.

    Args:
        matches: One an image.
        classes: How many classes there are.
    """
    counts = np.zeros((4, classes), np.intp)
    for one in matches:
        hit, real = one.truth >= 0, one.true_labels >= 0
        for row, labels in enumerate(
            (
                one.labels[~one.ignored],
                one.labels[hit],
                one.true_labels[real],
                one.true_labels[one.truth[hit]],
            )
        ):
            counts[row] += np.bincount(labels, minlength=classes)
    return Agreement(*counts)


def _shared(boxes: geometry.Boxes, others: geometry.Boxes) -> NDArray[np.float64]:
    """Square pixels that each box shares with each other one, shape `(N, M)`."""
    a, b = boxes[:, None, :], others[None, :, :]
    side = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.asarray(np.clip(side, 0.0, None).prod(axis=-1))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
