"""Which boxes of an image suit which subtask, by geometry alone.

Looking at boxes says little: that something is behind something else, or can be told by its
colour, is for the describing model and for people to find. So these are candidates.

===============  ==================================================================
Appearance       one of at least `min_instances` of its class
Component        the same
State            the same
Text             the same, and a cue that it bears text
Relationship     the same, and something else near by
Counting         one of at least `crowded` of its class
Occlusion        one of at least `crowded`, and overlapped or cut off by the frame
Small            tiny in a picture of ultra-high resolution, whatever its class
===============  ==================================================================

The four of Rejection suit what their namesakes of Discriminative suit: a rejection is a true
description of such a box with one thing made wrong.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import taxonomy
from groundingme.build.filters import Pixels, Share, at_border, class_counts, inside
from groundingme.errors import BoxError


class CandidateOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What makes a box a candidate of a subtask.

    `min_instances` and `crowded` are the paper's (arXiv 2512.17495: most samples come
    from classes with more than 5 instances, Counting and Occlusion from scenes with 8 or more);
    the others were chosen here. The published instances have 0.16 % (lower quartile) to 2.7 %
    (upper quartile) of their images.

    Attributes:
        min_instances: Fewest boxes of its class in the image, the box itself included.
        crowded: The same for Counting and Occlusion.
        min_overlap: For Occlusion: share of the box that another box covers, in (0, 1].
        margin: For Occlusion: a box that comes this near to an edge of the image is cut off by
            it, in pixels.
        near: For Relationship: widest gap to another box, in lengths of this box's longer side.
        text: Whether a box of enough instances is a candidate of Text where nothing is known of it:
            for a describing model that reads; what bears no text is turned down after drafting.
        small_share: For Small: largest share of the image, in (0, 1].
        small_side: For Small: longest side of the box, in pixels.
        small_image: For Small: shortest longer side of the image, in pixels. The default is that
            of 4K; HR-Bench's images have about twice as much.
    """

    min_instances: Annotated[int, msgspec.Meta(ge=1)] = 5
    crowded: Annotated[int, msgspec.Meta(ge=1)] = 8
    min_overlap: Share = 0.1
    margin: Pixels = 2.0
    near: Annotated[float, msgspec.Meta(ge=0.0)] = 1.0
    text: bool = False
    small_share: Share = 0.001
    small_side: Pixels = 256.0
    small_image: Pixels = 3840.0


def candidates(
    boxes: ArrayLike,
    labels: ArrayLike,
    size: tuple[float, float],
    options: CandidateOptions | None = None,
    *,
    eligible: ArrayLike | None = None,
    text: ArrayLike | None = None,
) -> NDArray[np.bool_]:
    """Which boxes of one image suit which subtask.

    Args:
        boxes: Shape `(N, 4)`, xyxy pixels: every box that suppression kept, for all of them are
            instances, neighbours and things in front.
        labels: Shape `(N,)`, the class of each as its place in a list of names, from 0.
        size: Width and height of the image in pixels.
        options: The limits; the defaults where there are none.
        eligible: Shape `(N,)`, bool: boxes that may be targets, as the filters say; all of them
            where it is None.
        text: Shape `(N,)`, bool: boxes that seem to bear text. Where it is None nothing is known
            of it, and `options.text` says what then.

    Returns:
        Shape `(N, 12)`, bool: a column for each row of `taxonomy.SUBTASKS`.

    Raises:
        BoxError: The shapes do not fit each other, or the image has no area.
    """
    options = options or CandidateOptions()
    columns, codes = inside(boxes, labels, size)
    x1, y1, x2, y2 = columns
    area = (x2 - x1) * (y2 - y1)
    proper = np.greater(area, 0.0)
    count = class_counts(codes, proper)
    many, crowded = count >= options.min_instances, count >= options.crowded
    sides = np.maximum(x2 - x1, y2 - y1)
    covered, gap = _neighbours(columns, area)
    hidden = (covered >= options.min_overlap) | at_border(columns, size, options.margin)
    suits = {
        "Appearance": many,
        "Component": many,
        "State": many,
        "Text": many & _mask(text, len(area), "text", default=options.text),
        "Relationship": many & (gap <= options.near * sides),
        "Counting": crowded,
        "Occlusion": crowded & hidden,
        "Small": (area <= options.small_share * (size[0] * size[1]))
        & (sides <= options.small_side)
        & (max(size) >= options.small_image),
    }
    table = np.column_stack([suits[row.l2] for row in taxonomy.SUBTASKS])
    wanted = proper & _mask(eligible, len(area), "eligible", default=True)
    return np.asarray(table & wanted[:, None])


def _mask(mask: ArrayLike | None, count: int, name: str, *, default: bool) -> NDArray[np.bool_]:
    if mask is None:
        return np.full(count, default)
    array = np.asarray(mask, dtype=bool)
    if array.shape != (count,):
        raise BoxError(f"expected {name} for each of {count} boxes, got shape {array.shape}")
    return array


def _neighbours(
    columns: NDArray[np.float64], area: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much of each box another one covers at most, and how far the nearest other one is.

    Args:
        columns: Shape `(4, N)`, as `inside` gives it.
        area: Shape `(N,)`.

    Returns:
        Shapes `(N,)`: a share in [0, 1], and pixels between the edges (infinite for a lone box).
    """
    covered, gap = np.zeros(len(area)), np.full(len(area), np.inf)
    proper = np.flatnonzero(area > 0)
    if len(proper) < 2:
        return covered, gap
    x1, y1, x2, y2 = columns[:, proper]
    # A few rows at a time, so that thousands of boxes need no table of all pairs.
    block = max(1, (1 << 20) // len(proper))
    for start in range(0, len(proper), block):
        rows = proper[start : start + block]
        a1, b1, a2, b2 = columns[:, rows, None]
        wide = np.minimum(a2, x2) - np.maximum(a1, x1)
        high = np.minimum(b2, y2) - np.maximum(b1, y1)
        itself = np.arange(len(rows)), np.arange(start, start + len(rows))
        wide[itself] = -np.inf
        # Where boxes lie apart one of the two is negative: the gap between them.
        gap[rows] = np.maximum(-np.minimum(wide, high).max(axis=1), 0.0)
        shared = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
        covered[rows] = shared.max(axis=1) / area[rows]
    return covered, gap


_NUMBER = re.compile(r"(?<!\d)\d++(?!(?:st|nd|rd|th)\b)", re.IGNORECASE)
_QUOTES = ("“”", "„“", "„”", "«»", "»«", "‹›", "「」", "『』")
# Marks that are apostrophes or inches as well: one that opens stands at the start of a word, and
# one that closes at the end, so "dogs'" opens nothing.
_PLAIN_QUOTES = ('""', "''", "‘’")
_QUOTED = re.compile(
    "|".join(
        [rf"{a}[^{a}{b}]*+{b}" for a, b in map(tuple, _QUOTES)]
        + [rf"(?<!\w){a}(?!\s)[^{a}{b}]*+(?<!\s){b}(?!\w)" for a, b in map(tuple, _PLAIN_QUOTES)]
    )
)


def has_text(description: str) -> bool:
    """Whether a description speaks of text in the image: a number in digits, or a quoted string.

    The paper sorts drafted descriptions into Text so (arXiv 2512.17495). Ordinals such
    as `2nd` count places and not text, and an apostrophe opens no quotation.

    Example:
        >>> has_text('the bus with "EXPRESS" on its front'), has_text("jersey number 23")
        (True, True)
        >>> has_text("the 2nd bus from the left"), has_text("the dog's and the boys' ball")
        (False, False)
    """
    if _NUMBER.search(description):
        return True
    return any(re.search(r"\w", quoted[0]) for quoted in _QUOTED.finditer(description))
