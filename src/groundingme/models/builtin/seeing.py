"""From a picture to what the grounder's nets are shown, and from their maps back to boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groundingme.geometry import iou_matrix

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

GREY = 128
"""Of every channel, where there is no picture."""

CROP = 64
"""Side of the crops, in pixels."""

LINE = (32, 64)
"""Height and width of a crop of writing, in pixels."""

CONTEXT = 1.4
"""Side of the square that is cropped, in longer sides of the box."""

MOST = 40
"""Most things seen in one picture."""

STRIDE = 4
"""Pixels of the canvas to one cell of the map of centres."""

LONG = 448
"""Longer side of the whole picture when it is looked at first, in pixels."""

SMALL = 56.0
"""Longest side of what a closer look may add, in pixels of that closer look."""


def scales(width: int, height: int) -> list[float]:
    """Scales at which a picture is looked at: whole, and closer where it is large."""
    long = max(width, height)
    looks = [min(LONG / long, 1.5)]
    if long > 1100:
        looks.append(min(1.0, 1120 / long))
    if long > 2800:
        looks.append(2240 / long)
    return looks


def canvas(picture: Image.Image, scale: float) -> tuple[Pixels, tuple[float, float]]:
    """The picture resized [H, W, 3], filled up with grey to multiples of 32; its two scales."""
    from PIL import Image

    width, height = picture.size
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    small = picture.resize((w, h), Image.Resampling.BILINEAR, reducing_gap=2.0)
    sheet = np.full((-(-h // 32) * 32, -(-w // 32) * 32, 3), GREY, np.uint8)
    sheet[:h, :w] = np.asarray(small)
    return sheet, (w / width, h / height)


def peaks(
    centres: Array, sides: Array, least: float, most: int = MOST
) -> tuple[NDArray[np.float64], Array]:
    """Boxes [n, 4] in pixels of the canvas and their scores [n], best first.

    Args:
        centres: Probability of a centre in each cell, [h, w].
        sides: Distances from the cell's centre to left, top, right, bottom, in pixels, [4, h, w].
        least: Lowest probability that counts.
        most: Number of boxes kept.
    """
    h, w = centres.shape
    framed = np.pad(centres, 1, constant_values=-1.0)
    around = np.max(
        [framed[y : y + h, x : x + w] for y in range(3) for x in range(3) if (y, x) != (1, 1)],
        axis=0,
    )
    rows, columns = np.nonzero((centres >= around) & (centres >= least))
    scores = centres[rows, columns]
    best = np.argsort(-scores, kind="stable")[: most * 2]
    rows, columns, scores = rows[best], columns[best], scores[best]
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    left, top, right, bottom = sides[:, rows, columns].astype(np.float64)
    boxes = np.stack([x - left, y - top, x + right, y + bottom], 1)
    keep = distinct(boxes, scores, 0.65)[:most]
    return boxes[keep], scores[keep]


def distinct(boxes: NDArray[np.float64], scores: Array, most: float) -> NDArray[np.int64]:
    """Rows of boxes that overlap no better one by more than `most`, best first."""
    order = np.argsort(-scores, kind="stable")
    shared = iou_matrix(boxes, boxes)
    keep: list[int] = []
    for row in order.tolist():
        if all(shared[row, other] <= most for other in keep):
            keep.append(row)
    return np.array(keep, np.int64)


def squares(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left, top and side [n, 3] of the square around each box that is cropped."""
    side = np.maximum(np.max(boxes[:, 2:] - boxes[:, :2], axis=1) * CONTEXT, 6.0)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.column_stack([middle - side[:, None] / 2, side])


def crop(picture: Image.Image, square: NDArray[np.float64]) -> Pixels:
    """What is in a square of the picture, [CROP, CROP, 3]; grey beyond the frame."""
    from PIL import Image

    x, y, side = square.tolist()
    unit = side / CROP
    width, height = picture.size
    left, top = max(0, int(np.ceil(-x / unit))), max(0, int(np.ceil(-y / unit)))
    right = min(CROP, int(np.floor((width - x) / unit)))
    bottom = min(CROP, int(np.floor((height - y) / unit)))
    sheet = np.full((CROP, CROP, 3), GREY, np.uint8)
    if right <= left or bottom <= top:
        return sheet
    box = (x + left * unit, y + top * unit, x + right * unit, y + bottom * unit)
    box = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height))
    part = picture.resize(
        (right - left, bottom - top), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0
    )
    sheet[top:bottom, left:right] = np.asarray(part)
    return sheet


def line(picture: Image.Image, box: NDArray[np.float64]) -> Pixels:
    """What is in a box with writing, stretched to `LINE`, [H, W, 3]."""
    from PIL import Image

    height, width = LINE
    w, h = picture.size
    x1, y1, x2, y2 = box.tolist()
    x1, y1 = min(max(x1, 0.0), w - 1.0), min(max(y1, 0.0), h - 1.0)
    edges = (x1, y1, min(max(x2, x1 + 1.0), w), min(max(y2, y1 + 1.0), h))
    part = picture.resize((width, height), Image.Resampling.BILINEAR, box=edges, reducing_gap=2.0)
    return np.asarray(part)


def refined(
    squares: NDArray[np.float64], edges: Array, width: int, height: int
) -> NDArray[np.float64]:
    """Boxes [n, 4] in pixels of the picture from edges read in crops, [n, 4], 0 to 1 across."""
    corner = np.tile(squares[:, :2], 2)
    boxes = corner + edges.astype(np.float64) * squares[:, 2:]
    frame = np.array([width, height, width, height], np.float64)
    return np.clip(boxes, 0.0, frame)


def places(boxes: NDArray[np.float64], width: int, height: int) -> Array:
    """Where boxes are [n, 6]: x1, y1, x2, y2, width and height of the frame, in longer sides."""
    long = float(max(width, height))
    frame = np.broadcast_to([width / long, height / long], (len(boxes), 2))
    return np.column_stack([boxes / long, frame]).astype(np.float32)
