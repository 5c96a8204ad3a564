"""Samples as pictures: the target in green, an answer in red."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from groundingme import images
from groundingme.errors import ImageError
from groundingme.schema import Box, Sample

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

TARGET = "#12b76a"
ANSWER = "#f04438"
_PAPER = "#ffffff"
_INK = "#1d2939"
_SOFT = "#667085"


def draw_sample(
    sample: Sample,
    box: Box | None = None,
    *,
    width: int = 1200,
    caption: bool = True,
    others: Sequence[tuple[Box, str]] = (),
) -> Image.Image:
    """A sample with its target and, where there is one, an answer.

    Args:
        sample: Its image is decoded; one that cannot be is drawn as a note that says why.
        box: An answer, xyxy pixels of the upright image.
        width: Most pixels of the longer side of the picture.
        caption: Write id, subtask and description below.
        others: Further answers, each with its colour as `#rrggbb`.

    Returns:
        An RGB picture, at most `width` wide, plus the caption.
    """
    from PIL import Image, ImageDraw

    picture, scale = _picture(sample, width)
    draw = ImageDraw.Draw(picture)
    # The target lies on top, drawn thinner, so that both show where they agree.
    stroke = max(3, round(max(picture.size) / 250))
    for other, color in [*([(box, ANSWER)] if box is not None else []), *others]:
        outline(draw, picture, other, scale, color, stroke + 2)
    if sample.target is not None:
        outline(draw, picture, sample.target, scale, TARGET, stroke)
    if not caption:
        return picture
    size = max(13, picture.width // 45)
    head = f"{sample.id}   {sample.subtask_l1} / {sample.subtask_l2}".rstrip(" /")
    if sample.target is None:
        head += "   (nothing matches)"
    lines = textwrap.wrap(sample.description, max(20, int(picture.width / (size * 0.52))))[:6]
    sheet = Image.new(
        "RGB",
        (picture.width, picture.height + round(size * 1.45 * (len(lines) + 1)) + size),
        _PAPER,
    )
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    y = picture.height + size // 2
    for number, line in enumerate([head, *lines]):
        draw.text((size // 2, y), line, _INK if number else _SOFT, font=font(size))
        y += round(size * 1.45)
    return sheet


def contact_sheet(
    samples: Sequence[Sample],
    boxes: Mapping[str, Box | None] | None = None,
    *,
    columns: int = 3,
    width: int = 480,
) -> Image.Image:
    """Many samples on one sheet, in rows.

    Args:
        samples: At least one.
        boxes: Answers by sample id.
        columns: How many side by side.
        width: Of each picture, in pixels.
    """
    from PIL import Image

    gap = 12
    drawn = [draw_sample(one, (boxes or {}).get(one.id), width=width) for one in samples]
    columns = min(columns, len(drawn))
    rows = [drawn[at : at + columns] for at in range(0, len(drawn), columns)]
    heights = [max(one.height for one in row) for row in rows]
    sheet = Image.new(
        "RGB",
        (columns * (width + gap) + gap, sum(heights) + gap * (len(rows) + 1)),
        "#e4e7ec",
    )
    y = gap
    for row, height in zip(rows, heights, strict=True):
        for column, one in enumerate(row):
            x = gap + column * (width + gap) + (width - one.width) // 2
            sheet.paste(one, (x, y))
        y += height + gap
    return sheet


def _picture(sample: Sample, width: int) -> tuple[Image.Image, float]:
    """The image in at most `width` pixels a side, and how much it was scaled."""
    from PIL import Image, ImageDraw

    try:
        if sample.image is None:
            raise ImageError("missing", "this data set came without images")
        picture = images.open_upright(sample.image.read())
    except ImageError as error:
        w, h = sample.width or 4, sample.height or 3
        scale = width / max(w, h)
        picture = Image.new("RGB", (max(1, round(w * scale)), max(1, round(h * scale))), "#f2f4f7")
        said = textwrap.fill(f"no picture: {error}", 40)
        ImageDraw.Draw(picture).text((12, 12), said, _SOFT, font=font(max(12, width // 40)))
        return picture, scale
    longest = max(picture.size)
    # Small pictures are enlarged as well: a sheet of thumbnails would show nothing.
    scale = width / longest
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS), scale


def outline(
    draw: ImageDraw.ImageDraw, picture: Image.Image, box: Box, scale: float, color: str, stroke: int
) -> None:
    """Draws a box around what is in it, with a thin white rim.

    Args:
        draw: Of the picture.
        picture: Drawn upon.
        box: xyxy pixels of the original.
        scale: Pixels of the picture for each of the original.
        color: As `#rrggbb`.
        stroke: Pixels of its line.
    """
    w, h = picture.size
    x1, x2 = sorted(min(max(edge * scale, 0.0), w - 1) for edge in (box[0], box[2]))
    y1, y2 = sorted(min(max(edge * scale, 0.0), h - 1) for edge in (box[1], box[3]))
    # Drawn around the box, so that it covers nothing of a tiny target.
    for grow, line, ink in ((stroke + 1, stroke + 2, "#ffffff"), (stroke, stroke, color)):
        outer = (x1 - grow, y1 - grow, x2 + grow, y2 + grow)
        shown = (max(0, outer[0]), max(0, outer[1]), min(w - 1, outer[2]), min(h - 1, outer[3]))
        draw.rectangle(shown, outline=ink, width=line)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
