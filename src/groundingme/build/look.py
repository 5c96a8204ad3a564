"""Contact sheets: what a stage made, to be looked at by a person."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from groundingme import drawing, images
from groundingme.build.pipeline import Build
from groundingme.build.publish import as_dataset
from groundingme.build.records import FATES, KEPT, Picture, Target
from groundingme.build.sources import locate
from groundingme.errors import ImageError, UsageError

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

WIDTH = 480
"""Of each picture on the sheet, in pixels."""

_GAP = 12
_PAPER, _INK, _SOFT, _BACK = "#ffffff", "#1d2939", "#667085", "#e4e7ec"
_DROPPED = "#98a2b3"
_COLORS = (
    "#2e90fa", "#12b76a", "#f79009", "#ee46bc", "#7a5af8", "#06aed4", "#ef6820", "#66c61c",
    "#f04438", "#ca8504",
)  # fmt: skip
"""Of classes, in the order of their number of boxes."""


def sheet(
    build: Build, stage: str, *, count: int = 12, seed: int = 0, dropped: bool = False
) -> Image.Image:
    """A contact sheet of records that were drawn at random.

    Boxes that were kept are in the colour of their class, with its name; those that were turned
    down are grey, with the reason.

    Args:
        build: Where the stage ran.
        stage: Its name.
        count: Most records on the sheet.
        seed: Of which ones.
        dropped: Show those that the stage turned down, in place of those that go on.

    Returns:
        An RGB picture.

    Raises:
        UsageError: There is nothing of the kind.
    """
    place = build.places[stage]
    records = [
        one
        for path in place.shards()
        for one in place.read(path)
        if (_is_dropped(one) if dropped else one.goes_on)
    ]
    if not records:
        which = "that it turned down" if dropped else "that go on"
        raise UsageError(f"expected records of {stage} {which}, got none; show others")
    random.Random(seed).shuffle(records)
    return tiled([_drawn(one) for one in records[:count]])


def policies(build: Build, picture: str = "") -> Image.Image:
    """One picture of the build with what each suppression policy keeps of its boxes.

    Args:
        build: Where `detect` ran.
        picture: Id of the picture; "" for the one of which `suppress` turned down most boxes.

    Raises:
        UsageError: There is no such picture.
        ImageError: It cannot be opened any more.
    """
    from groundingme.build.policies import draw_policies

    place = build.places["suppress"]
    found = [one for path in place.shards() for one in place.read(path) if one.goes_on]
    if picture:
        found = [one for one in found if one.id == picture]
    if not found:
        which = f"the picture {picture!r}" if picture else "pictures"
        raise UsageError(
            f"expected {which} after suppress, got none; run that stage, or name another"
        )
    one = max(found, key=lambda each: int((each.found.fates != KEPT).sum()))
    return draw_policies(
        images.open_upright(locate(one.where).read()),
        one.found.boxes,
        one.found.labels,
        one.found.scores,
    )


def tiled(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one width in rows, about as wide as high."""
    from PIL import Image

    columns = min(len(pictures), max(1, math.ceil(math.sqrt(len(pictures) * 0.8))))
    rows = [pictures[at : at + columns] for at in range(0, len(pictures), columns)]
    heights = [max(one.height for one in row) for row in rows]
    size = (columns * (WIDTH + _GAP) + _GAP, sum(heights) + _GAP * (len(rows) + 1))
    whole = Image.new("RGB", size, _BACK)
    y = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, one in enumerate(row):
            whole.paste(one, (_GAP + column * (WIDTH + _GAP), y))
        y += height + _GAP
    return whole


def _is_dropped(record: Picture | Target) -> bool:
    if not record.goes_on:
        return True
    return isinstance(record, Picture) and bool((record.found.fates != KEPT).any())


def _drawn(record: Picture | Target) -> Image.Image:
    return _picture(record) if isinstance(record, Picture) else _target(record)


def _target(target: Target) -> Image.Image:
    (sample,) = as_dataset([target], "")
    grey = [(one, _DROPPED) for one in target.others]
    red = [(target.box, drawing.ANSWER)] if target.is_rejection else []
    picture = drawing.draw_sample(sample, width=WIDTH, caption=False, others=[*grey, *red])
    lines = [(_INK, target.description or "(no description yet)")]
    lines += [
        (drawing.ANSWER, f"{one.before or '(nothing)'} -> {one.after or '(nothing)'}")
        for one in target.changes
    ]
    said = [f"{one.model}: {'agrees' if one.agrees else one.outcome}" for one in target.verdicts]
    notes = [*target.flags, *said, target.fate, target.failure]
    head = f"{target.subtask_l1}/{target.subtask_l2}  {target.label}"
    return _captioned(picture, head, lines, ", ".join(filter(None, notes)))


def _picture(picture: Picture) -> Image.Image:
    from PIL import Image, ImageDraw

    try:
        whole = images.open_upright(locate(picture.where).read(), least=(WIDTH, WIDTH))
        shrink = WIDTH / max(whole.size)
        canvas = whole.resize([max(1, round(side * shrink)) for side in whole.size])
        scale = WIDTH / max(picture.width, picture.height, 1)
    except ImageError as error:
        canvas, scale = Image.new("RGB", (WIDTH, WIDTH * 3 // 4), "#f2f4f7"), 1.0
        text = textwrap.fill(str(error), 50)
        ImageDraw.Draw(canvas).text((12, 12), text, _SOFT, font=drawing.font(13))
    _boxes(ImageDraw.Draw(canvas), picture, scale)
    kept = len(picture.found.kept)
    figures = f"{kept} of {len(picture.found)} boxes kept" if len(picture.found) else ""
    lines = [(_INK, figures)] if figures else []
    if picture.tags:
        lines.append((_SOFT, ", ".join(picture.tags[:30])))
    return _captioned(canvas, picture.id, lines, picture.fate or picture.failure)


def _boxes(draw: ImageDraw.ImageDraw, picture: Picture, scale: float) -> None:
    found = picture.found
    _, names = found.codes()
    by_number = sorted(names, key=lambda name: (-found.labels.count(name), name))
    colors = {name: _COLORS[at % len(_COLORS)] for at, name in enumerate(by_number)}
    # What was turned down lies below what was kept, and all boxes below all names.
    tags = []
    for at in sorted(range(len(found)), key=lambda at: found.fates[at] == KEPT):
        x1, y1, x2, y2 = (float(edge) * scale for edge in found.boxes[at])
        if not (x2 > x1 and y2 > y1):
            continue
        is_kept = found.fates[at] == KEPT
        color = colors[found.labels[at]] if is_kept else _DROPPED
        draw.rectangle((x1, y1, x2, y2), outline=color, width=3 if is_kept else 1)
        reason = "" if is_kept else f" ({FATES[found.fates[at]]})"
        tags.append((x1, y1, found.labels[at] + reason, color))
    for tag in tags:
        _tag(draw, *tag)


def _tag(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, color: str) -> None:
    font = drawing.font(11)
    left, top, right, bottom = draw.textbbox((x + 3, max(0.0, y - 13)), text, font=font)
    draw.rectangle((left - 3, top - 1, right + 3, bottom + 1), fill=color)
    draw.text((x + 3, max(0.0, y - 13)), text, _PAPER, font=font)


def _captioned(
    picture: Image.Image, head: str, lines: Sequence[tuple[str, str]], note: str
) -> Image.Image:
    """A picture of at most `WIDTH` pixels with text below, on paper of that width."""
    from PIL import Image, ImageDraw

    size, step = 14, 19
    wrapped = [(_SOFT, head[:70])]
    for color, text in [*lines, (_SOFT, note)]:
        wrapped += [(color, one) for one in textwrap.wrap(text, 66)[:5]]
    whole = Image.new("RGB", (WIDTH, picture.height + step * len(wrapped) + 14), _PAPER)
    whole.paste(_BACK, (0, 0, WIDTH, picture.height))
    whole.paste(picture, ((WIDTH - picture.width) // 2, 0))
    draw = ImageDraw.Draw(whole)
    for number, (color, text) in enumerate(wrapped):
        place = (8, picture.height + 7 + step * number)
        draw.text(place, text, color, font=drawing.font(size))
    return whole
