"""A picture of what each suppression policy keeps of one image's boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import drawing, geometry
from groundingme.build.suppress import POLICIES, suppress

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

SAYS = {
    "instances": "the class with more instances wins",
    "per-class": "the surer box wins, within a class",
    "agnostic": "the surer box wins",
    "containment": "the surer box wins; group boxes go, parts stay",
    "none": "as the detector found them",
}
"""Each policy in a phrase."""

_GAP, _HEAD, _KEPT, _LOST = 16, 58, 4, 2
_PAPER, _INK, _SOFT, _GREY = "#ffffff", "#1d2939", "#667085", "#475467"
_COLORS = (
    "#f79009", "#2e90fa", "#ee46bc", "#12b76a", "#7a5af8", "#06aed4", "#f04438", "#66c61c",
)  # fmt: skip
"""Of classes, the one with most boxes first."""


def draw_policies(
    picture: Image.Image,
    boxes: ArrayLike,
    labels: Sequence[str],
    scores: ArrayLike,
    *,
    iou: float = 0.7,
    containment: float = 0.9,
    policies: Sequence[str] = ("none", "per-class", "agnostic", "instances", "containment"),
    width: int = 560,
    columns: int = 3,
) -> Image.Image:
    """One image under several policies side by side.

    Kept boxes are in the colour of their class, with its name and their score; suppressed ones are
    dashed and grey. The last cell says how many boxes each class has.

    Args:
        picture: The upright image.
        boxes: Shape `(N, 4)`, xyxy pixels of it.
        labels: N names of classes.
        scores: Shape `(N,)`.
        iou: See `suppress`.
        containment: See `suppress`.
        policies: Names of `POLICIES`, in the order in which they are shown.
        width: Of one cell, in pixels.
        columns: Cells side by side.

    Returns:
        An RGB picture.

    Raises:
        UnknownNameError: No policy has that name.
        BoxError: The shapes do not fit each other.
    """
    from PIL import Image

    xyxy, sure = geometry.as_boxes(boxes), np.asarray(scores, dtype=np.float64)
    names = sorted(set(labels), key=lambda name: (-list(labels).count(name), name))
    codes = np.array([names.index(one) for one in labels], np.intp)
    scale = width / picture.width
    small = picture.convert("RGB").resize((width, max(1, round(picture.height * scale))))
    # Paler, so that boxes and names stand out.
    pale = Image.blend(small, Image.new("RGB", small.size, _PAPER), 0.35)
    cells = []
    for policy in policies:
        keep = suppress(xyxy, codes, sure, policy=policy, iou=iou, containment=containment).keep
        cells.append(_cell(pale, policy, xyxy * scale, codes, names, sure, keep))
    single = suppress(xyxy, codes, sure, policy="per-class", iou=iou).keep
    cells.append(_legend(cells[0].size, names, codes, single))
    columns = min(columns, len(cells))
    lines = -(-len(cells) // columns)
    high = cells[0].height
    sheet = Image.new(
        "RGB", (columns * (width + _GAP) + _GAP, lines * (high + _GAP) + _GAP), "#e4e7ec"
    )
    for at, cell in enumerate(cells):
        line, column = divmod(at, columns)
        sheet.paste(cell, (_GAP + column * (width + _GAP), _GAP + line * (high + _GAP)))
    return sheet


def _cell(
    picture: Image.Image,
    policy: str,
    boxes: NDArray[np.float64],
    codes: NDArray[np.intp],
    names: list[str],
    scores: NDArray[np.float64],
    keep: NDArray[np.bool_],
) -> Image.Image:
    from PIL import Image, ImageDraw

    canvas = picture.copy()
    draw = ImageDraw.Draw(canvas)
    shown = np.flatnonzero(geometry.validate(boxes) == geometry.FINE)
    for at in shown[~keep[shown]].tolist():
        _dashed(draw, *boxes[at].tolist())
    # The largest first, so that a box inside another one lies above it.
    kept = sorted(shown[keep[shown]].tolist(), key=lambda at: -float(geometry.area(boxes)[at]))
    for at in kept:
        for grow, line, ink in ((1, _KEPT + 2, _PAPER), (0, _KEPT, _color(codes[at]))):
            x1, y1, x2, y2 = boxes[at].tolist()
            draw.rectangle((x1 - grow, y1 - grow, x2 + grow, y2 + grow), outline=ink, width=line)
    taken: list[tuple[float, float, float, float]] = []
    for at in kept:
        text = f"{names[codes[at]]} {scores[at]:.2f}"
        _tag(draw, picture.size, boxes[at].tolist(), text, _color(codes[at]), taken)
    whole = Image.new("RGB", (picture.width, picture.height + _HEAD), _PAPER)
    whole.paste(canvas, (0, _HEAD))
    draw = ImageDraw.Draw(whole)
    draw.text((12, 8), policy, _INK, font=drawing.font(21))
    draw.text((12, 35), SAYS.get(policy, ""), _SOFT, font=drawing.font(14))
    count = f"{int(keep.sum())} of {len(keep)} kept"
    left = picture.width - 12 - draw.textlength(count, font=drawing.font(17))
    draw.text((left, 12), count, _INK, font=drawing.font(17))
    return whole


def _legend(
    size: tuple[int, int], names: list[str], codes: NDArray[np.intp], single: NDArray[np.bool_]
) -> Image.Image:
    from PIL import Image, ImageDraw

    whole = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(whole)
    draw.text((12, 8), "classes", _INK, font=drawing.font(21))
    draw.text((12, 35), "boxes found, and instances without repeats", _SOFT, font=drawing.font(14))
    top = _HEAD + 14
    room = max(1, (size[1] - top - 44) // 32)
    for at, name in enumerate(names[:room]):
        y = top + 32 * at
        found, instances = int((codes == at).sum()), int(((codes == at) & single).sum())
        draw.rectangle((16, y, 40, y + 20), outline=_color(at), width=_KEPT)
        said = f"{name}: {_many(found, 'box', 'boxes')}, {_many(instances, 'instance')}"
        draw.text((54, y), said, _INK, font=drawing.font(17))
    y = size[1] - 38
    _dashed(draw, 16, y, 40, y + 20)
    rest = f"; {len(names) - room} more classes" if len(names) > room else ""
    draw.text((54, y), f"suppressed{rest}", _SOFT, font=drawing.font(17))
    return whole


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _color(code: int) -> str:
    return _COLORS[code % len(_COLORS)]


def _dashed(draw: ImageDraw.ImageDraw, x1: float, y1: float, x2: float, y2: float) -> None:
    dash, step = 7, 12
    for ink, width in ((_PAPER, _LOST + 2), (_GREY, _LOST)):
        for x in np.arange(x1, x2, step).tolist():
            for y in (y1, y2):
                draw.line((x, y, min(x + dash, x2), y), fill=ink, width=width)
        for y in np.arange(y1, y2, step).tolist():
            for x in (x1, x2):
                draw.line((x, y, x, min(y + dash, y2)), fill=ink, width=width)


def _tag(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: list[float],
    text: str,
    color: str,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """The name of a box at its upper edge, or at its lower one where that place is taken."""
    font, high = drawing.font(14), 20
    wide = draw.textlength(text, font=font) + 10
    x = min(max(0.0, box[0]), max(0.0, size[0] - wide))
    places = [y for y in (box[1] - high, box[3], box[1], box[3] - high) if 0 <= y <= size[1] - high]
    spots = [(x, y, x + wide, y + high) for y in places or [0.0]]
    free = [one for one in spots if not any(_meet(one, other) for other in taken)]
    spot = (free or spots)[0]
    taken.append(spot)
    draw.rectangle(spot, fill=color)
    draw.text((spot[0] + 5, spot[1] + 2), text, _PAPER, font=font)


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


assert set(SAYS) == set(POLICIES)
