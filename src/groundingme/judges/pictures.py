"""What judges are shown: the image with both boxes, and a crop around each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from groundingme import images
from groundingme.drawing import draw_sample
from groundingme.errors import ImageError
from groundingme.judges import LETTERS, Candidate
from groundingme.schema import Box, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

COLORS = ("#0072b2", "#e69f00")
"""Blue and orange of Okabe and Ito, which all people can tell apart."""
WIDTH = 1280
CROP = 560
ROOM = 0.35
"""Of the box's longer side, shown around it on each side."""


def pair(sample: Sample, candidates: Sequence[Candidate]) -> bytes:
    """The whole image with the boxes outlined, and below it each box enlarged, as a JPEG file.

    Args:
        sample: Its image is decoded; its target is not drawn.
        candidates: One or two; the first is A.

    Raises:
        ImageError: The image cannot be read.
    """
    from PIL import Image, ImageDraw, ImageFont

    if sample.image is None:
        raise ImageError("missing", "expected an image to judge by, got a data set without images")
    full = images.open_upright(sample.image.read())
    bare = msgspec.structs.replace(sample, target=None)
    boxes = [(c.box, COLORS[at]) for at, c in enumerate(candidates) if c.box is not None]
    whole = draw_sample(bare, width=WIDTH, caption=False, others=boxes)
    head, gap = 34, 10
    sheet = Image.new(
        "RGB", (max(whole.width, 2 * CROP + 3 * gap), whole.height + head + CROP + 2 * gap), "white"
    )
    sheet.paste(whole, (0, 0))
    ink = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(24)
    for at, candidate in enumerate(candidates):
        x = gap + at * (CROP + gap)
        said = "" if candidate.box is not None else ": nothing matches"
        ink.text((x, whole.height + 4), f"{LETTERS[at]}{said}", COLORS[at], font=font)
        if candidate.box is not None:
            sheet.paste(crop(full, candidate.box), (x, whole.height + head))
    return _jpeg(sheet)


def whole(sample: Sample) -> bytes:
    """The image alone, at most `WIDTH` pixels a side, as a JPEG file.

    Raises:
        ImageError: The image cannot be read.
    """
    if sample.image is None:
        raise ImageError("missing", "expected an image to judge by, got a data set without images")
    images.open_upright(sample.image.read())
    return _jpeg(
        draw_sample(msgspec.structs.replace(sample, target=None), width=WIDTH, caption=False)
    )


def _jpeg(picture: Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


def crop(full: Image, box: Box, *, room: float = ROOM, side: int = CROP) -> Image:
    """What is in and around a box, its longer side scaled to `side` pixels.

    Args:
        full: The picture, upright.
        box: xyxy pixels of it.
        room: Shown around the box on each side, as a share of its longer side.
        side: Pixels of the longer side of what is given.
    """
    from PIL import Image

    x1, x2 = sorted((box[0], box[2]))
    y1, y2 = sorted((box[1], box[3]))
    rim = room * max(x2 - x1, y2 - y1, 8.0)
    x1, y1 = min(max(0.0, x1 - rim), full.width - 2.0), min(max(0.0, y1 - rim), full.height - 2.0)
    x2, y2 = max(min(full.width, x2 + rim), x1 + 2), max(min(full.height, y2 + rim), y1 + 2)
    part = full.crop((int(x1), int(y1), int(x2), int(y2)))
    scale = side / max(part.size)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    return part.resize(size, Image.Resampling.LANCZOS)
