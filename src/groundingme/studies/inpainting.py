"""Taking a thing out of a picture: its place is filled from what surrounds it.

The fill is the smooth surface that continues the surrounding colours (Laplace's equation with the
border as its values), solved on a coarse grid. It is the same on every machine, and needs no model
that could draw a new thing. On a plain background the thing is gone; on a busy one a soft patch
stays, which still shows no such thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from groundingme.schema import Box

if TYPE_CHECKING:
    from PIL import Image

GRID = 32
"""Cells of the coarse grid along each side."""

MARGIN = 0.04
"""How much more than the box is filled on each side, as a share of it: outlines and shadows."""

_ROUNDS = 1200
"""Of averaging over neighbours; the slowest wave on the grid has faded by then."""


def removed(picture: Image.Image, box: Box) -> Image.Image:
    """A copy of the picture without what is in the box.

    Args:
        picture: RGB.
        box: xyxy pixels; its part inside the picture is filled.
    """
    from PIL import Image

    width, height = picture.size
    mx, my = MARGIN * (box[2] - box[0]) + 2, MARGIN * (box[3] - box[1]) + 2
    x1, y1 = max(0, int(box[0] - mx)), max(0, int(box[1] - my))
    x2, y2 = min(width, int(box[2] + mx) + 1), min(height, int(box[3] + my) + 1)
    if x2 <= x1 or y2 <= y1:
        return picture.copy()
    pixels = np.asarray(picture, np.float64)
    sheet = np.full((GRID + 2, GRID + 2, 3), np.nan)
    across, down = _mean(x1, x2), _mean(y1, y2)
    if y1 > 0:
        sheet[0, 1:-1] = across @ pixels[y1 - 1, x1:x2]
    if y2 < height:
        sheet[-1, 1:-1] = across @ pixels[y2, x1:x2]
    if x1 > 0:
        sheet[1:-1, 0] = down @ pixels[y1:y2, x1 - 1]
    if x2 < width:
        sheet[1:-1, -1] = down @ pixels[y1:y2, x2]
    fill = _smooth(sheet).clip(0, 255).round().astype(np.uint8)
    made = picture.copy()
    patch = Image.fromarray(fill).resize((x2 - x1, y2 - y1), Image.Resampling.BICUBIC)
    made.paste(patch, (x1, y1))
    return made


def _mean(start: int, end: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Weights [GRID, n] that average n pixels into cells; a cell between two takes both."""
    n = end - start
    edges = np.linspace(0, n, GRID + 1)
    pixels = np.arange(n)
    share = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    share = np.maximum(share, 0.0)
    return np.asarray(share / share.sum(axis=1, keepdims=True))


def _smooth(
    sheet: np.ndarray[tuple[int, int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    """Fills a sheet from its border; a border of NaN is open: it takes what is inside.

    A picture that is filled as a whole becomes grey.
    """
    along = slice(1, -1)
    borders: list[tuple[Any, Any]] = [
        ((0, along), (1, along)), ((-1, along), (-2, along)),
        ((along, 0), (along, 1)), ((along, -1), (along, -2)),
    ]  # fmt: skip
    is_open = [(place, beside) for place, beside in borders if np.isnan(sheet[place]).any()]
    known = sheet[~np.isnan(sheet)].reshape(-1, 3)
    sheet = np.nan_to_num(sheet, nan=0.0)
    sheet[1:-1, 1:-1] = known.mean(axis=0) if len(known) else 128.0
    for _ in range(_ROUNDS):
        for place, beside in is_open:
            sheet[place] = sheet[beside]
        sheet[1:-1, 1:-1] = (
            sheet[:-2, 1:-1] + sheet[2:, 1:-1] + sheet[1:-1, :-2] + sheet[1:-1, 2:]
        ) / 4
    return sheet[1:-1, 1:-1]
