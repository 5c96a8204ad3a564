"""What became of each sample, and what kind of mistake was made.

=====================  ==========================================================================
`right`                IoU of 0.5 or more with the target, or a rejection where nothing matches
`sloppy box`           the right object, badly outlined: IoU from 0.05 up to 0.5
`wrong object`         IoU below 0.05; or, where the data set has the boxes of other objects, the
                       box overlaps one of them more than the target
`false rejection`      something matches, and the model says that nothing does
`missed rejection`     nothing matches, and the model gives a box
`unparsed`             a reply without a readable answer
`failed`               no reply
=====================  ==========================================================================

Every sample is one of them, and their counts add up to the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import geometry
from groundingme.geometry import Boxes
from groundingme.protocols import BOX, FAILED, REJECTED, UNPARSED, Scores
from groundingme.schema import Sample

KINDS = (
    "right", "sloppy box", "wrong object", "false rejection", "missed rejection", "unparsed",
    "failed",
)  # fmt: skip
"""What `Mistakes.kind` indexes."""

RIGHT, SLOPPY, WRONG_OBJECT, FALSE_REJECTION, MISSED_REJECTION, NOT_READ, NO_REPLY = range(7)

ENOUGH = 0.5
"""IoU from which a box is right."""
ELSEWHERE = 0.05
"""IoU below which a box is on something else, as far as the target alone can tell."""

_SAME = 0.95
"""IoU from which a listed object is the target itself."""
_LISTS = ("objects", "distractors")
"""Keys of `Sample.extra` that hold other objects' boxes."""


class Mistakes(NamedTuple):
    """One entry a sample.

    Attributes:
        kind: Shape `(N,)`, index into `KINDS`.
        other: Shape `(N,)`: which of the sample's other objects the box is on, by their order in
            `other_objects`; -1 where it is on none, or none are known.
    """

    kind: NDArray[np.int8]
    other: NDArray[np.int64]

    def counts(self, mask: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """How many of each kind, in the order of `KINDS`."""
        kind = self.kind if mask is None else self.kind[mask]
        counted = np.bincount(kind, minlength=len(KINDS)).tolist()
        return dict(zip(KINDS, counted, strict=True))


def classify(scores: Scores, others: Sequence[ArrayLike] | None = None) -> Mistakes:
    """Names the mistake of every sample.

    Args:
        scores: Of N samples.
        others: For each sample the boxes of its other objects, shape `(M, 4)`, xyxy pixels,
            without the target (see `other_objects`); None where the data set has none.
    """
    outcome, negatives = scores.outcome, scores.negatives
    right = scores.ious >= ENOUGH
    boxed = outcome == BOX
    n = len(scores)
    best, other = np.zeros(n), np.full(n, -1, dtype=np.int64)
    for i in np.flatnonzero(boxed).tolist() if others is not None else ():
        boxes = np.asarray(others[i], dtype=np.float64).reshape(-1, 4) if others else ()
        if len(boxes):
            overlaps = geometry.iou_matrix(scores.boxes[i : i + 1], boxes)[0]
            at = int(overlaps.argmax())
            best[i] = overlaps[at]
            other[i] = at if overlaps[at] >= ELSEWHERE else -1
    elsewhere = ~(scores.ious >= ELSEWHERE) | (best > scores.ious)
    kind = np.select(
        [
            outcome == FAILED,
            outcome == UNPARSED,
            right,
            negatives & boxed,
            outcome == REJECTED,
            elsewhere,
        ],
        [NO_REPLY, NOT_READ, RIGHT, MISSED_REJECTION, FALSE_REJECTION, WRONG_OBJECT],
        default=SLOPPY,
    ).astype(np.int8)
    other[(kind != WRONG_OBJECT) & (kind != MISSED_REJECTION)] = -1
    return Mistakes(kind, other)


class OtherObject(msgspec.Struct, frozen=True):
    """An object beside the target.

    Attributes:
        box: xyxy pixels.
        name: What the data set calls it, such as `grey mug`, or "".
    """

    box: tuple[float, float, float, float]
    name: str = ""


def other_objects(sample: Sample) -> list[OtherObject]:
    """The other objects whose boxes the data set carries, without the target.

    Read from `Sample.extra`: `objects` as Scenes has them (`{"bbox": [...], "kind": ..., "color":
    ...}`), or `distractors` as a list of boxes. What is no box is skipped.
    """
    found = []
    for listed in (sample.extra.get(name) for name in _LISTS):
        for one in listed if isinstance(listed, list | tuple) else ():
            box = _box(one.get("bbox") if isinstance(one, dict) else one)
            if box:
                found.append(OtherObject(box, _name(one)))
    if sample.target is None or not found:
        return found
    overlaps = geometry.iou_matrix([one.box for one in found], [sample.target])[:, 0]
    return [one for one, overlap in zip(found, overlaps, strict=True) if not overlap >= _SAME]


def other_boxes(samples: Sequence[Sample]) -> list[Boxes] | None:
    """`other_objects` of every sample as arrays for `classify`; None where no sample has any."""
    found = [other_objects(sample) for sample in samples]
    if not any(found):
        return None
    return [np.array([one.box for one in row], dtype=np.float64).reshape(-1, 4) for row in found]


def _box(value: Any) -> tuple[float, float, float, float] | None:
    try:
        x1, y1, x2, y2 = (float(edge) for edge in value)
    except (TypeError, ValueError):
        return None
    return x1, y1, x2, y2


def _name(one: Any) -> str:
    if not isinstance(one, dict):
        return ""
    return " ".join(str(one[key]) for key in ("color", "kind", "name") if one.get(key))
