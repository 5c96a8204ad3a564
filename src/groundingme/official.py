"""The published scorers' figures, to the last digit, in time linear in a reply's length.

Two scorers are published with the benchmark: a stand-alone script (its VLMEvalKit form computes
the same) and a task for lmms-eval. Both read a reply by a few rules (`parse_official`), read the
four numbers in several coordinate spaces, and count the reading nearest to the ground truth
(`choose`). They write a rejection as the box 0, 0, 0, 0, in the ground truth as in the answer.

Behaviour from arXiv 2512.17495 and its published code; see `protocols` for what this means for a
data set. What those scorers cannot compute has a fate of its own here:

==================  ===========================================================================
no text at all      There, the sample fails. Here it has no generation to begin with.
division by zero    lmms-eval task only: where two boxes have a union of area 0 it stops the
                    whole run. Here the IoU is 0, as in the stand-alone script.
refused sizes       lmms-eval task only: it stops where sides differ by more than 200 times or
                    are both below 10 pixels. Here the two resized readings are not tried.
unknown sizes       Always known there. Here only the numbers as written are tried.
nesting             Python's JSON reader gives up on values nested about a thousand deep; how
                    deep exactly depends on the caller's stack, there as here.
==================  ===========================================================================
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import resizing
from groundingme.geometry import Boxes, as_boxes

READINGS = ("abs", "n1", "n999", "abs-mimo-vl", "abs-qwen2.5-vl")
"""The readings tried, in this order, by the coordinate format that each comes nearest to.

Of `n1` and `n999` each box gets one: fractions where no number is above 1. The last two, with
width and height of the resized image swapped, belong to the lmms-eval task."""

_read_json = json.JSONDecoder().raw_decode

_NUMBER = r"\d++(?:\.\d++)?+"
_GAP = r"[\s,]++"
# Published: four numbers with gaps between, found from left to right, and nothing possessive. A
# number before a gap can end in one place only, so giving characters back never helps; and a
# match that fails at the first digit of a run fails the same way at the others, so those need no
# look. Both together keep the search linear.
_FOUR_NUMBERS = re.compile(
    rf"((?:-|(?<![-\d])){_NUMBER}){_GAP}(-?{_NUMBER}){_GAP}(-?{_NUMBER}){_GAP}(-?{_NUMBER})"
)


def parse_official(text: str) -> list[float]:
    """Reads a reply as the published scorers do.

    What stands from the first `{` to the last `}` is loaded as JSON where `"bbox_2d"` stands
    between; its value is a list of four, or null. Whatever goes wrong there leads to the last run
    of four numbers in the whole text, with blanks or commas between.

    Args:
        text: The reply, verbatim, thinking included.

    Returns:
        Four numbers as written, maybe not finite; 0, 0, 0, 0 for null, and for a reply with
        neither JSON nor four numbers in it.

    Example:
        >>> parse_official('It is {"bbox_2d": ["1", 2, 3e1, 40.5]}.')
        [1.0, 2.0, 30.0, 40.5]
        >>> parse_official("not 1, 2, 3, 4, 5 but 10 20,30 40")
        [10.0, 20.0, 30.0, 40.0]
        >>> parse_official("I see no such cup.")
        [0.0, 0.0, 0.0, 0.0]
    """
    first, last = text.find("{"), text.rfind("}")
    if 0 <= first < last and text.find('"bbox_2d"', first + 1, last) >= 0:
        try:
            value, end = _read_json(text, first)
            if end == last + 1:
                box = value["bbox_2d"]
                if box is None:
                    return [0.0] * 4
                if isinstance(box, list) and len(box) == 4:
                    return [float(number) for number in box]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            pass
    last_match = deque(_FOUR_NUMBERS.finditer(text), maxlen=1)
    return [float(number) for number in last_match[0].groups()] if last_match else [0.0] * 4


class Choice(NamedTuple):
    """The readings that count, for N samples.

    Attributes:
        boxes: Shape `(N, 4)`, xyxy pixels; may hold what is not finite.
        ious: Shape `(N,)`; NaN is possible under the lmms-eval task only.
        readings: Shape `(N,)`, index into `READINGS`.
    """

    boxes: Boxes
    ious: NDArray[np.float64]
    readings: NDArray[np.int8]


def choose(
    written: ArrayLike, targets: ArrayLike, sizes: ArrayLike, *, lmms_eval: bool = False
) -> Choice:
    """For each sample the reading with the highest IoU against its target; the first among equals.

    Args:
        written: Shape `(N, 4)`, numbers as `parse_official` gives them.
        targets: Shape `(N, 4)`, xyxy pixels; 0, 0, 0, 0 where nothing matches.
        sizes: Shape `(N, 2)`, width and height of each image in pixels; 0 where unknown.
        lmms_eval: As the lmms-eval task does it, with two readings more.
    """
    boxes, goals = as_boxes(written), as_boxes(targets)
    wh = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    wh = np.where((wh > 0).all(axis=1, keepdims=True), wh, np.nan)
    ious = overlap(goals, boxes, lmms_eval=lmms_eval)
    readings = np.zeros(len(boxes), dtype=np.int8)
    best = boxes
    others = _scaled(boxes, wh)
    if lmms_eval:
        others += _resized(boxes, wh)
    # A comparison with NaN is false, so a reading that cannot be had (NaN) never wins, and an IoU
    # of NaN is never beaten: so it is in Python's `max`, which the published code uses.
    for index, other in enumerate(others, start=1):
        others_ious = overlap(goals, other, lmms_eval=lmms_eval)
        better = others_ious > ious
        ious = np.where(better, others_ious, ious)
        best = np.where(better[:, None], other, best)
        readings[better] = index
    return Choice(best, ious, readings)


def overlap(
    targets: ArrayLike, boxes: ArrayLike, *, lmms_eval: bool = False
) -> NDArray[np.float64]:
    """The published IoU, row by row, with its arithmetic in its order.

    Unlike `geometry.iou` it takes swapped sides as negative areas, and 0, 0, 0, 0 for a rejection
    that only another rejection matches.

    Args:
        targets: Shape `(N, 4)`, xyxy pixels.
        boxes: Shape `(N, 4)`, xyxy pixels.
        lmms_eval: Divide by any union but 0; otherwise a union that is not positive gives 0.

    Returns:
        Shape `(N,)`. NaN and -0.0 are possible with `lmms_eval` only.
    """
    a, b = as_boxes(targets), as_boxes(boxes)
    # Python's max(a, b) and min(a, b) keep `a` unless b is beyond it, which decides NaN.
    left = np.where(b[:, :2] > a[:, :2], b[:, :2], a[:, :2])
    right = np.where(b[:, 2:] < a[:, 2:], b[:, 2:], a[:, 2:])
    with np.errstate(all="ignore"):
        sides = right - left
        sides = np.where(sides > 0, sides, 0.0)
        shared = sides[:, 0] * sides[:, 1]
        area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
        area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        union = area_a + area_b - shared
        ratio = shared / union
    usable = union != 0 if lmms_eval else union > 0
    ious = np.where(usable, ratio, 0.0)
    return np.where((a == 0).all(axis=1), (b == 0).all(axis=1).astype(np.float64), ious)


def centers(targets: ArrayLike, boxes: ArrayLike) -> NDArray[np.bool_]:
    """Whether each box's centre lies in its target, edges included, as the lmms-eval task has it.

    Args:
        targets: Shape `(N, 4)`, xyxy pixels; 0, 0, 0, 0 where nothing matches, so that a box
            centred on the image's corner counts there.
        boxes: Shape `(N, 4)`, xyxy pixels.

    Returns:
        Shape `(N,)`.
    """
    a, b = as_boxes(targets), as_boxes(boxes)
    with np.errstate(all="ignore"):
        middle = (b[:, :2] + b[:, 2:]) / 2
    return np.asarray(((a[:, :2] <= middle) & (middle <= a[:, 2:])).all(axis=1))


def _scaled(boxes: Boxes, wh: NDArray[np.float64]) -> list[Boxes]:
    fractions = (boxes <= 1).all(axis=1, keepdims=True)
    full = np.tile(wh, 2)
    with np.errstate(all="ignore"):
        return [
            np.where(fractions, boxes * full, np.nan),
            np.where(fractions, np.nan, boxes / 999 * full),
        ]


def _resized(boxes: Boxes, wh: NDArray[np.float64]) -> list[Boxes]:
    # As published, x is divided by the resized height and y by the resized width.
    distinct, index = np.unique(wh, axis=0, return_inverse=True, equal_nan=True)
    frames = np.array([_resized_frames(w, h) for w, h in distinct]).reshape(-1, 2, 2)
    full = np.tile(wh, 2)
    with np.errstate(all="ignore"):
        return [boxes / np.tile(frames[index.reshape(-1), rule], 2) * full for rule in (0, 1)]


def _resized_frames(width: float, height: float) -> list[tuple[float, float]]:
    """Height and width of the resized image under the MiMo-VL and Qwen2.5-VL rules; NaN: none."""
    refused = not max(width, height) >= 10 or max(width, height) / min(width, height) > 200
    if refused:
        return [(np.nan, np.nan), (np.nan, np.nan)]
    w, h = int(width), int(height)
    qwen_w, qwen_h = resizing.qwen25_vl(w, h)
    # The published MiMo-VL rule grows a side below 28 pixels and leaves the other as it is.
    if min(w, h) < 28:
        w, h = (w, 28) if h < w else (28, h)
    mimo_w, mimo_h = resizing.multiple_of(
        w, h, factor=28, min_pixels=8 * 28 * 28, max_pixels=4096 * 28 * 28
    )
    return [(mimo_h, mimo_w), (qwen_h, qwen_w)]
