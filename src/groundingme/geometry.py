"""Boxes as `(N, 4)` float64 arrays, and the conventions in which models write them.

Inside the package a box is `x1, y1, x2, y2` in pixels of the upright original image. A
`CoordFormat` translates to and from what a model writes; `COORD_FORMATS` is the table of them.

What becomes of a box that is not proper (see `validate`):

==============  ===================================================================
non-finite      NaN or infinity: no box at all. Parsers call such a reply `unparsed`.
swapped         x2 < x1 or y2 < y1: kept as written, never sorted; its IoU is 0.
degenerate      x2 == x1 or y2 == y1: kept as written; its IoU is 0.
outside         Partly or wholly beyond the image (negative, or past the far edge):
                kept as written, and scored without clipping, as the published scorer does.
==============  ===================================================================
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import resizing
from groundingme.errors import BoxError
from groundingme.registry import unknown

Boxes = NDArray[np.float64]
"""Shape `(N, 4)`, float64."""

FINE, NON_FINITE, SWAPPED, DEGENERATE, OUTSIDE = range(5)
"""What `validate` says of a box; the names are in `FATES`."""

FATES = ("fine", "non-finite", "swapped", "degenerate", "outside")


def as_boxes(boxes: ArrayLike) -> Boxes:
    """Any sequence of boxes as an array of shape `(N, 4)`; an empty one gives `(0, 4)`.

    Raises:
        BoxError: The values are no numbers, or do not come four at a time.
    """
    try:
        array = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BoxError(f"expected boxes as numbers of shape (N, 4): {error}") from None
    if array.shape in ((0,), (0, 4)):
        return np.empty((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise BoxError(f"expected boxes of shape (N, 4), got {array.shape}")
    return array


def validate(boxes: ArrayLike, sizes: ArrayLike | None = None) -> NDArray[np.int8]:
    """What is wrong with each box, the gravest first.

    Args:
        boxes: Shape `(N, 4)`, xyxy.
        sizes: Shape `(N, 2)`, width and height of each box's image in pixels; without it no box
            is `OUTSIDE`.

    Returns:
        Shape `(N,)`: `FINE`, `NON_FINITE`, `SWAPPED`, `DEGENERATE` or `OUTSIDE`.

    Example:
        >>> validate([[0, 0, 5, 5], [5, 0, 0, 5], [0, 0, 0, 5], [float("nan"), 0, 1, 1]]).tolist()
        [0, 2, 3, 1]
        >>> validate([[-1, 0, 5, 5]], sizes=[[10, 10]]).tolist()
        [4]
    """
    xyxy = as_boxes(boxes)
    fate = np.zeros(len(xyxy), dtype=np.int8)
    x1, y1, x2, y2 = xyxy.T
    if sizes is not None:
        wh = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
        beyond = (x1 < 0) | (y1 < 0) | (x2 > wh[:, 0]) | (y2 > wh[:, 1])
        fate[beyond] = OUTSIDE
    fate[(x2 == x1) | (y2 == y1)] = DEGENERATE
    fate[(x2 < x1) | (y2 < y1)] = SWAPPED
    fate[~np.isfinite(xyxy).all(axis=1)] = NON_FINITE
    return fate


def area(boxes: ArrayLike) -> NDArray[np.float64]:
    """Area of each box in square pixels, shape `(N,)`; 0 for swapped and degenerate boxes."""
    xyxy = as_boxes(boxes)
    return np.asarray(np.clip(xyxy[:, 2:] - xyxy[:, :2], 0.0, None).prod(axis=1))


def iou(boxes: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union, row by row.

    Args:
        boxes: Shape `(N, 4)`, xyxy.
        others: Shape `(N, 4)`, xyxy, in the same pixels.

    Returns:
        Shape `(N,)`, in [0, 1]; 0 where either box is non-finite, swapped or degenerate.

    Raises:
        BoxError: The shapes differ or are not `(N, 4)`.

    Example:
        >>> iou([[0, 0, 10, 10]], [[5, 0, 15, 10]]).round(4).tolist()
        [0.3333]
    """
    a, b = as_boxes(boxes), as_boxes(others)
    if a.shape != b.shape:
        raise BoxError(f"expected as many boxes on both sides, got {len(a)} and {len(b)}")
    return _overlap(a, b)


def iou_matrix(boxes: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every box with every other, shape `(N, M)`, in [0, 1].

    Example:
        >>> iou_matrix([[0, 0, 2, 2]], [[0, 0, 2, 2], [2, 2, 4, 4]]).tolist()
        [[1.0, 0.0]]
    """
    return _overlap(as_boxes(boxes)[:, None, :], as_boxes(others)[None, :, :])


def _overlap(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    # Sides of up to 1e154 are exact enough; beyond, areas overflow, hence the quiet division.
    with np.errstate(all="ignore"):
        side = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        shared = np.clip(side, 0.0, None).prod(axis=-1)
        sides_a, sides_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
        union = sides_a.prod(axis=-1) + sides_b.prod(axis=-1) - shared
        ratio = shared / union
        proper = (sides_a > 0).all(axis=-1) & (sides_b > 0).all(axis=-1)
    return np.where(proper & np.isfinite(ratio), np.clip(ratio, 0.0, 1.0), 0.0)


def center_in(boxes: ArrayLike, targets: ArrayLike) -> NDArray[np.bool_]:
    """Whether the centre of each box lies in its target, edges included; shape `(N,)`.

    Non-finite, swapped and degenerate boxes do not count.
    """
    a, b = as_boxes(boxes), as_boxes(targets)
    with np.errstate(all="ignore"):
        center = (a[:, :2] + a[:, 2:]) / 2
    inside = ((b[:, :2] <= center) & (center <= b[:, 2:])).all(axis=1)
    return np.asarray(inside & (validate(a) == FINE))


def clip(boxes: ArrayLike, sizes: ArrayLike) -> Boxes:
    """Boxes cut to their images.

    Args:
        boxes: Shape `(N, 4)`, xyxy pixels.
        sizes: Shape `(N, 2)` or `(2,)`, width and height in pixels.

    Returns:
        Shape `(N, 4)`; a box wholly outside becomes degenerate on the nearest edge, and NaN
        stays NaN.

    Example:
        >>> clip([[-5, 2, 20, 30]], (10, 10)).tolist()
        [[0.0, 2.0, 10.0, 10.0]]
    """
    xyxy = as_boxes(boxes)
    wh = _as_sizes(sizes, len(xyxy))
    return np.clip(xyxy, 0.0, np.tile(wh, 2))


def _as_sizes(sizes: ArrayLike, n: int) -> NDArray[np.float64]:
    """Widths and heights, shape `(n, 2)`, from `(n, 2)`, `(2,)`, or `(0,)` where n is 0."""
    return np.broadcast_to(np.asarray(sizes, dtype=np.float64).reshape(-1, 2), (n, 2))


def from_xywh(boxes: ArrayLike) -> Boxes:
    """COCO's `x, y, width, height` as xyxy, shape `(N, 4)`."""
    xywh = as_boxes(boxes)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def to_xywh(boxes: ArrayLike) -> Boxes:
    """xyxy as COCO's `x, y, width, height`, shape `(N, 4)`."""
    xyxy = as_boxes(boxes)
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


class CoordFormat(msgspec.Struct, frozen=True, kw_only=True):
    """How a model writes the four numbers of a box.

    Attributes:
        name: As `--coords` takes it.
        scale: What the full width or height is written as; None where numbers are pixels.
        resize: Rule that gives the image which the pixels refer to; None for the original.
        order: `xyxy` or `yxyx`.
        bins: Whether numbers are indices of `scale` location bins.
        bin_offset: Where in its bin an index points to: 0 for the low edge, 0.5 for the middle.
        note: Who writes so, and where that is known from.
    """

    name: str
    scale: float | None = None
    resize: Callable[[int, int], tuple[int, int]] | None = None
    order: str = "xyxy"
    bins: bool = False
    bin_offset: float = 0.0
    note: str = ""

    def to_pixels(self, coords: ArrayLike, sizes: ArrayLike) -> Boxes:
        """Numbers as written -> xyxy pixels of the original image.

        Args:
            coords: Shape `(N, 4)`, in this format's order and space.
            sizes: Shape `(N, 2)`, width and height of each original image in pixels.

        Returns:
            Shape `(N, 4)`, float64, not clipped, not rounded. Non-finite, swapped and degenerate
            coordinates stay what they are.
        """
        written = as_boxes(coords)
        xyxy = written[:, [1, 0, 3, 2]] if self.order == "yxyx" else written
        wh, full = self._frames(sizes, len(xyxy))
        offset = self.bin_offset if self.bins else 0.0
        if full is None:
            return np.array(xyxy)
        return (xyxy + offset) / np.tile(full, 2) * np.tile(wh, 2)

    def from_pixels(self, boxes: ArrayLike, sizes: ArrayLike) -> Boxes:
        """xyxy pixels of the original image -> numbers as this format writes them.

        The inverse of `to_pixels`; continuous formats are not rounded. Location bins are whole
        numbers in [0, scale - 1], so a round trip through them moves an edge inside the image by
        at most one bin.

        Args:
            boxes: Shape `(N, 4)`, xyxy pixels.
            sizes: Shape `(N, 2)`, width and height of each original image in pixels.
        """
        xyxy = as_boxes(boxes)
        wh, full = self._frames(sizes, len(xyxy))
        written = np.array(xyxy) if full is None else xyxy / np.tile(wh, 2) * np.tile(full, 2)
        if self.bins:
            assert self.scale is not None
            # The tiny lift keeps an edge that stands exactly on a bin from falling into the one
            # before it by rounding error.
            written = np.clip(np.floor(written + 1e-9), 0, self.scale - 1)
        return written[:, [1, 0, 3, 2]] if self.order == "yxyx" else written

    def _frames(self, sizes: ArrayLike, n: int) -> tuple[Boxes, Boxes | None]:
        wh = _as_sizes(sizes, n)
        if self.scale is not None:
            return wh, np.full((n, 2), self.scale)
        if self.resize is None:
            return wh, None
        distinct, index = np.unique(wh, axis=0, return_inverse=True)
        resized = [self.resize(int(w), int(h)) if w > 0 and h > 0 else (w, h) for w, h in distinct]
        return wh, np.asarray(resized, dtype=np.float64).reshape(-1, 2)[index.reshape(-1)]


def _table(*rows: CoordFormat) -> dict[str, CoordFormat]:
    return {row.name: row for row in rows}


COORD_FORMATS: dict[str, CoordFormat] = _table(
    CoordFormat(name="abs", note="pixels of the original image, as the unified prompt implies"),
    CoordFormat(name="abs-yxyx", order="yxyx", note="the same, y first"),
    CoordFormat(
        name="abs-qwen2.5-vl",
        resize=resizing.qwen25_vl,
        note="Qwen2.5-VL: pixels after its own resize to multiples of 28 (vendor's code)",
    ),
    CoordFormat(
        name="abs-mimo-vl",
        resize=resizing.mimo_vl,
        note="MiMo-VL: as Qwen2.5-VL with at most 4096*28^2 pixels (maximum unverified)",
    ),
    CoordFormat(
        name="abs-claude",
        resize=resizing.claude,
        note="Claude up to 4.6: pixels of the image it sees, 1568 px / 1568 tokens (vendor)",
    ),
    CoordFormat(
        name="abs-claude-4.7",
        resize=resizing.claude_47,
        note="Claude from 4.7: pixels of the image it sees, 2576 px / 4784 tokens (vendor)",
    ),
    CoordFormat(name="n1", scale=1.0, note="fractions in [0, 1]: Ovis2.5"),
    CoordFormat(name="n1-yxyx", scale=1.0, order="yxyx", note="fractions in [0, 1], y first"),
    CoordFormat(name="n999", scale=999.0, note="0-999: DeepSeek-VL2, Keye-VL, CogVLM"),
    CoordFormat(name="n1000", scale=1000.0, note="0-1000: Qwen3-VL, InternVL, GLM-V, Seed, ..."),
    CoordFormat(
        name="n1000-yxyx", scale=1000.0, order="yxyx", note="0-1000, y first: Gemini, Gemma 4"
    ),
    CoordFormat(
        name="loc1000",
        scale=1000.0,
        bins=True,
        bin_offset=0.5,
        note="Florence-2: `<loc_0>` .. `<loc_999>`, the middle of the bin (vendor's code)",
    ),
    CoordFormat(
        name="loc1024",
        scale=1024.0,
        bins=True,
        order="yxyx",
        note="PaliGemma: `<loc0000>` .. `<loc1023>`, y first, the low edge of the bin",
    ),
)
"""Every coordinate format by name. Source: each vendor's documents and code, as noted."""


def coord_format(name: str) -> CoordFormat:
    """The format of that name.

    Raises:
        UnknownNameError: No format has that name.
    """
    try:
        return COORD_FORMATS[name]
    except KeyError:
        raise unknown("coordinate format", name, COORD_FORMATS) from None
