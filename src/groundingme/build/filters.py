"""Which boxes of an image are no targets, and why: one reason a column.

==============  ==================================================================
``degenerate``  non-finite, or without an area inside the image
``small``       a side or the area below the limit: nobody can say what it is
``large``       more than a share of the image: no search is needed
``flat``        far longer than wide: a horizon, a cable
``border``      at the frame, so probably cut off; only where it is asked for
``few``         too few instances of its class in the image: the class alone finds it
==============  ==================================================================

Boxes are judged as the part of them that lies in the image. Every reason is looked at for every
box; a table that should sum up takes the first one, in the order above.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import geometry
from groundingme.errors import BoxError

REASONS = ("degenerate", "small", "large", "flat", "border", "few")
"""Why a box is dropped, the first that holds is the one that counts."""

Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
Pixels = Annotated[float, msgspec.Meta(ge=0.0)]


class FilterOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What makes a box a bad target.

    The first two are the paper's (arXiv 2512.17495); it publishes no others, and these
    defaults were chosen here.

    Attributes:
        min_instances: Fewest boxes of its class in the image, the box itself included. 1 keeps
            every class.
        max_share: Largest share of the image that a box may cover, in (0, 1].
        min_side: Shortest side of a box, in pixels.
        min_area: Smallest area of a box, in square pixels.
        max_aspect: Longest side over shortest side.
        margin: A box that comes this near to an edge of the image is at the border, in pixels.
        drop_border: Drop boxes at the border. Else they are only marked: the subtask Occlusion
            wants things that the frame cuts off.
    """

    min_instances: Annotated[int, msgspec.Meta(ge=1)] = 3
    max_share: Share = 0.5
    min_side: Pixels = 8.0
    min_area: Pixels = 100.0
    max_aspect: Annotated[float, msgspec.Meta(ge=1.0)] = 20.0
    margin: Pixels = 2.0
    drop_border: bool = False


class Filtered(NamedTuple):
    """What the filters say of N boxes.

    Attributes:
        keep: Shape `(N,)`, bool: no reason holds.
        reasons: Shape `(N, 6)`, bool: which of `REASONS` hold.
        first: Shape `(N,)`, int: position in `REASONS` of the first that holds, -1 for none.
        border: Shape `(N,)`, bool: whether the box is at the border, dropped for it or not.
    """

    keep: NDArray[np.bool_]
    reasons: NDArray[np.bool_]
    first: NDArray[np.intp]
    border: NDArray[np.bool_]


def filter_boxes(
    boxes: ArrayLike,
    labels: ArrayLike,
    size: tuple[float, float],
    options: FilterOptions | None = None,
) -> Filtered:
    """Which boxes of one image may be targets.

    Instances of a class are counted over all boxes that are given and not degenerate, also those
    that are dropped for another reason: a duck too small to ask for is still a duck that a
    description must tell its target from. So give it the boxes that suppression kept.

    Args:
        boxes: Shape `(N, 4)`, xyxy pixels.
        labels: Shape `(N,)`, the class of each as its place in a list of names, from 0.
        size: Width and height of the image in pixels.
        options: The limits; the defaults where there are none.

    Returns:
        What is kept, and why the others are not.

    Raises:
        BoxError: The shapes do not fit each other, or the image has no area.

    Example:
        >>> found = filter_boxes([[0, 0, 90, 90], [10, 10, 30, 30]], [0, 1], (100, 100))
        >>> [[REASONS[i] for i in row.nonzero()[0]] for row in found.reasons]
        [['large', 'few'], ['few']]
    """
    options = options or FilterOptions()
    columns, codes = inside(boxes, labels, size)
    x1, y1, x2, y2 = columns
    wide, high = x2 - x1, y2 - y1
    short, long, area = np.minimum(wide, high), np.maximum(wide, high), wide * high
    proper = np.greater(area, 0.0)
    border = proper & at_border(columns, size, options.margin)
    reasons = np.array(
        [
            ~proper,
            proper & ((short < options.min_side) | (area < options.min_area)),
            area > options.max_share * (size[0] * size[1]),
            proper & (long > options.max_aspect * short),
            border & options.drop_border,
            proper & (class_counts(codes, proper) < options.min_instances),
        ]
    )
    dropped = np.logical_or.reduce(reasons)
    first = np.where(dropped, reasons.argmax(axis=0), -1)
    return Filtered(~dropped, reasons.T, first, border)


def inside(
    boxes: ArrayLike, labels: ArrayLike, size: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The boxes as far as they lie in the image, and their classes.

    Returns:
        Shapes `(4, N)` and `(N,)`: x1, y1, x2 and y2 in a row each; boxes that are not proper (see
        `geometry.validate`) are zeros.

    Raises:
        BoxError: The shapes do not fit each other, or the image has no area.
    """
    xyxy, codes = geometry.as_boxes(boxes), np.asarray(labels)
    width, height = size
    if not (0 < width < np.inf and 0 < height < np.inf):
        raise BoxError(f"expected the width and height of an image in pixels, got {size}")
    if codes.shape != (len(xyxy),):
        raise BoxError(f"expected a label for each of {len(xyxy)} boxes, got shape {codes.shape}")
    x1, y1, x2, y2 = xyxy.T
    with np.errstate(all="ignore"):
        wide, high = x2 - x1, y2 - y1
        proper = (wide > 0) & (high > 0) & (wide < np.inf) & (high < np.inf)
        limits = np.array([[width], [height], [width], [height]], dtype=np.float64)
        cut = np.minimum(np.maximum(xyxy.T, 0.0), limits)
    return np.where(proper, cut, 0.0), codes.astype(np.intp)


def at_border(
    columns: NDArray[np.float64], size: tuple[float, float], margin: float
) -> NDArray[np.bool_]:
    """Whether each box comes within `margin` pixels of an edge of the image.

    Args:
        columns: Shape `(4, N)`, as `inside` gives it.
        size: Width and height of the image in pixels.
        margin: In pixels.

    Returns:
        Shape `(N,)`.
    """
    x1, y1, x2, y2 = columns
    low = np.less_equal(np.minimum(x1, y1), margin)
    return np.asarray(low | (x2 >= size[0] - margin) | (y2 >= size[1] - margin))


def class_counts(labels: NDArray[np.intp], counted: NDArray[np.bool_]) -> NDArray[np.intp]:
    """How many boxes of its class are counted, for each box; shape `(N,)`."""
    return np.bincount(labels[counted], minlength=labels.max(initial=0) + 1)[labels]
