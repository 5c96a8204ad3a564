"""Where things stand: room, park, street, table, shelf, wall.

Pale and calm, so that things of every colour stand out, and free of anything that a description
could mean. All that varies comes from the stage's seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from groundingme.datasets.scenes.ground import RGB, Backdrop, Polygon
from groundingme.datasets.scenes.scene import Stage

if TYPE_CHECKING:
    from PIL.Image import Image


def _room_wall(b: Backdrop, horizon: float) -> None:
    w, u = b.width, b.unit
    wall = b.tone(b.dice.random(), b.between(0.04, 0.17), b.between(0.84, 0.95))
    made = b.stretch((0, 0, w, horizon), "blotchy", b.between(0.04, 0.09))
    style = b.dice.random()
    if style < 0.4:
        step = b.between(26, 60) * u
        half = step * b.between(0.3, 0.55)
        made.columns(
            (i * step for i in range(int(w / step) + 1)), half, -9 if b.dice.random() < 0.6 else 8
        )
    elif style < 0.65:
        rail = horizon - b.between(60, 110) * u
        made.rows([rail], horizon - rail, round(b.between(-20, 14)))
        made.rows([rail], 2 * u, -34)
        made.rows([rail - 5 * u], 5 * u, 18)
    made.ramp(-b.between(28, 50), 0)
    if b.dice.random() < 0.6 and not b.night:
        x, wide, lean = b.between(-0.1, 0.8) * w, b.between(0.12, 0.3) * w, b.between(0.1, 0.4) * w
        made.marks([([(x + lean, 0), (x + lean + wide, 0), (x + wide, horizon), (x, horizon)], 15)])
    b.lay(made, wall)


def _slabs(b: Backdrop, y: float, far: float, steps: int) -> list[tuple[Polygon, int]]:
    """Joints between slabs on the ground, in perspective."""
    w, h, u = b.width, b.height, b.unit
    spread = b.between(2.2, 3.2)
    lines = _boards(b, y, far, spread, steps)
    depth = 1.0
    while depth < spread:
        depth *= 1.17
        at = y + (depth - 1) / (spread - 1) * (h - y)
        foot = at + 0.7 * depth * u
        lines.append(([(0.0, at), (float(w), at), (float(w), foot), (0.0, foot)], steps))
    return lines


def _boards(
    b: Backdrop, y: float, far: float, spread: float, steps: int
) -> list[tuple[Polygon, int]]:
    """Joints that run towards the horizon at `y`, `far` apart there."""
    w, h, u = b.width, float(b.height), b.unit
    middle = b.between(0.3, 0.7) * w
    lines: list[tuple[Polygon, int]] = []
    count = int(w / far) + 2
    for i in range(-count, count + 1):
        x, foot = middle + i * far, middle + i * far * spread
        if max(x, foot) > -0.5 * w and min(x, foot) < 1.5 * w:
            lines.append(([(x, y), (x + 0.7 * u, y), (foot + 1.9 * u, h), (foot, h)], steps))
    return lines


def room(b: Backdrop, stage: Stage) -> None:
    """A wall, and below the horizon a floor of boards, slabs or carpet with a skirting board."""
    w, h, u = b.width, b.height, b.unit
    y = stage.horizon
    _room_wall(b, y)
    style = b.dice.random()
    box = (0.0, y, float(w), float(h))
    if style < 0.65:
        floor = b.tone(b.between(0.06, 0.11), b.between(0.14, 0.3), b.between(0.74, 0.86))
        made = b.stretch(box, "streaky", 0.1)
        made.marks(_boards(b, y, b.between(9, 16) * u, b.between(3.0, 5.0), -50))
    elif style < 0.85:
        floor = b.tone(b.dice.random(), b.between(0.03, 0.12), b.between(0.78, 0.9))
        made = b.stretch(box, "blotchy", 0.05)
        made.marks(_slabs(b, y, b.between(26, 44) * u, -34))
    else:
        floor = b.tone(b.dice.random(), b.between(0.08, 0.2), b.between(0.7, 0.82))
        made = b.stretch(box, "fine", 0.16)
    made.ramp(-44, 0, 0.5)
    made.ramp(0, 16, 0.5, 0.5)
    b.lay(made, floor)
    board = b.tone(0.1, 0.04, b.between(0.86, 0.96))
    tall = b.between(9, 15) * u
    b.bars([(0, y - tall, w, y)], board)
    b.bars([(0, y - tall, w, y - tall + 1.5 * u)], b.shade(board, 1.05))
    b.bars([(0, y - 2 * u, w, y)], b.shade(board, 0.8))


def _cloud(b: Backdrop, x: float, y: float, size: float) -> None:
    """A soft cloud `size` pixels long about (x, y)."""
    from PIL import Image, ImageDraw

    puff = Image.new("L", (96, 48))
    draw = ImageDraw.Draw(puff)
    draw.ellipse((18, 27, 78, 36), 200)
    for _ in range(5):
        cx, r = b.between(28, 68), b.between(6, 12)
        cy = 31 - 0.6 * r
        draw.ellipse((round(cx - 1.3 * r), round(cy - r), round(cx + 1.3 * r), round(cy + r)), 215)
    puff = puff.reduce(4)
    w, h = max(4, round(size)), max(3, round(size / 2))
    mask = puff.resize((w, h), Image.Resampling.BICUBIC)
    left, top = round(x - w / 2), round(y - h / 2)
    cut = (max(0, -left), max(0, -top), min(w, b.width - left), min(h, b.height - top))
    if cut[0] < cut[2] and cut[1] < cut[3]:
        box = (left + cut[0], top + cut[1], left + cut[2], top + cut[3])
        b.picture.paste(b.tone(0.6, 0.02, 1.0), box, mask.crop(cut))


def _sky(b: Backdrop, horizon: float) -> None:
    w, u = b.width, b.unit
    high = b.tone(b.between(0.53, 0.6), b.between(0.14, 0.32), b.between(0.9, 0.97))
    low = b.tone(b.between(0.07, 0.15), b.between(0.02, 0.16), 0.99)
    made = b.stretch((0, 0, w, horizon + 2), "fine", 0.02)
    made.ramp(0, 116)
    b.lay(made, high, low)
    for _ in range(int(b.between(1, 5))):
        _cloud(b, b.dice.random() * w, b.between(0.1, 0.66) * horizon, b.between(70, 190) * u)


def _ridge(b: Backdrop, base: float, tall: float, rough: int) -> Polygon:
    """Outline of hills that stand on `base`."""
    w = b.width
    heights = [b.between(0.15, 1.0) * tall for _ in range(rough + 3)]
    points: Polygon = []
    for i in range(rough * 12 + 1):
        k, t = i // 12, i % 12 / 12
        s = t * t * (3 - 2 * t)
        points.append((i / (rough * 12) * w, base - heights[k] * (1 - s) - heights[k + 1] * s))
    return [*points, (float(w), base + 2), (0.0, base + 2)]


def _trees(b: Backdrop, y: float) -> Polygon:
    """Outline of a far line of trees."""
    points: Polygon = [(0.0, y + 1)]
    x, u = 0.0, b.unit
    while x < b.width:
        r, tall = b.between(5, 12) * u, b.between(6, 13) * u
        points += [
            (x + r * dx, y - tall * dy)
            for dx, dy in (
                (0.05, 0.5),
                (0.3, 0.86),
                (0.7, 1.0),
                (1.15, 0.97),
                (1.6, 0.8),
                (1.85, 0.5),
            )
        ]
        x += 1.9 * r
    return [*points, (float(b.width), y + 1)]


def park(b: Backdrop, stage: Stage) -> None:
    """Sky, hills and at times trees; below the horizon grass, at times with a path."""
    w, h, u = b.width, b.height, b.unit
    y = stage.horizon
    _sky(b, y)
    for layer in range(int(b.between(2, 4))):
        near = layer / 3
        tint = b.tone(b.between(0.38, 0.46) - 0.13 * near, 0.1 + 0.12 * near, 0.87 - 0.06 * near)
        tall = (66 - 38 * near) * u * b.between(0.7, 1.2)
        b.paint([_ridge(b, y, tall, int(b.between(3, 6)))], tint)
    if b.dice.random() < 0.7:
        b.paint([_trees(b, y)], b.tone(b.between(0.25, 0.36), 0.22, b.between(0.68, 0.76)))
    grass = b.tone(b.between(0.13, 0.29), b.between(0.18, 0.36), b.between(0.75, 0.87))
    made = b.stretch((0, y, w, h), "blotchy", 0.12)
    marks: list[tuple[Polygon, int]] = []
    for at in range(45):
        depth = b.dice.random()
        foot, size = y + (0.04 + depth * depth * 0.96) * (h - y), (3 + 7 * depth) * u
        x, lean = b.dice.random() * w, b.between(-0.3, 0.3)
        for spread, tall in ((-0.4, 0.75), (0.0, 1.0), (0.45, 0.8)):
            left = x + 0.3 * spread * size
            tip = (left + (spread + lean) * size, foot - tall * size)
            marks.append(
                ([(left - 0.1 * size, foot), tip, (left + 0.1 * size, foot)], -40 if at % 2 else 28)
            )
    made.marks(marks)
    made.ramp(34, 0, 0.4)
    b.lay(made, grass)
    if b.dice.random() < 0.4:
        x, wide = b.between(0.1, 0.9) * w, b.between(0.2, 0.5) * w
        foot = b.between(-0.2, 0.9) * w
        b.paint([[(x, y), (x + 0.05 * w, y), (foot + wide, h), (foot, h)]],
                b.tone(0.11, 0.14, 0.86), 0.8)  # fmt: skip


def street(b: Backdrop, stage: Stage) -> None:
    """Sky over two rows of houses; below the horizon slabs, up to the kerb."""
    w, h, u = b.width, b.height, b.unit
    y = stage.horizon
    _sky(b, y)
    hue = b.between(0.5, 0.7)
    for layer in range(2):
        x = -b.between(0, 30) * u
        while x < w:
            wide, tall = b.between(24, 62) * u, b.between(30, 120 - 34 * layer) * u
            tint = b.tone(hue + b.between(-0.05, 0.05), b.between(0.04, 0.12),
                          b.between(0.85, 0.91) - 0.06 * layer)  # fmt: skip
            top = max(0.0, y - tall)
            b.bars([(max(0.0, x), top, min(x + wide, w), y)], tint)
            b.bars([(max(0.0, x + 0.8 * wide), top, min(x + wide, w), y)], b.shade(tint, 0.97))
            if b.dice.random() < 0.3:
                b.bars([(max(0.0, x + 0.3 * wide), top - 8 * u, min(x + 0.6 * wide, w), top)], tint)
            x += wide * b.between(0.85, 1.1)
    ground = b.tone(b.between(0.05, 0.65), b.between(0.02, 0.08), b.between(0.74, 0.85))
    made = b.stretch((0, y, w, h), "fine", 0.1)
    made.marks(_slabs(b, y, b.between(24, 50) * u, -36))
    made.ramp(-30, 0, 0.4)
    made.rows([y], 4 * u, 26)
    made.rows([y + 4 * u], 1.5 * u, -60)
    b.lay(made, ground)


def table(b: Backdrop, stage: Stage) -> None:
    """A wall, and below the horizon the top of a table, of wood or with a cloth."""
    w, h, u = b.width, b.height, b.unit
    y = stage.horizon
    _room_wall(b, y)
    box = (0.0, y, float(w), float(h))
    if b.dice.random() < 0.6:
        top = b.tone(b.between(0.06, 0.11), b.between(0.16, 0.32), b.between(0.76, 0.88))
        made = b.stretch(box, "streaky", b.between(0.1, 0.2), 1.6)
        count = int(b.between(2, 5))
        made.rows(
            (y + i / count * (i / count * 0.5 + 0.5) * (h - y) for i in range(1, count)),
            1.3 * u, -46,
        )  # fmt: skip
    else:
        top = b.tone(b.dice.random(), b.between(0.04, 0.16), b.between(0.84, 0.94))
        made = b.stretch(box, "fine", 0.06)
        if b.dice.random() < 0.6:
            made.marks(_slabs(b, y, b.between(14, 30) * u, round(b.between(-26, -14))))
    made.ramp(0, -34)
    made.rows([y], 2 * u, 26)
    made.light(b.between(0.2, 0.8) * w, y + 0.4 * (h - y), 0.5 * w, 0.5 * (h - y), 26)
    b.lay(made, top)


def shelf(b: Backdrop, stage: Stage) -> None:
    """A back wall, the boards that the stage names, and a post at either side."""
    w, h, u = b.width, b.height, b.unit
    wood = b.dice.random() < 0.6
    if wood:
        board = b.tone(b.between(0.06, 0.11), b.between(0.16, 0.32), b.between(0.76, 0.88))
    else:
        board = b.tone(b.dice.random(), b.between(0.02, 0.14), b.between(0.82, 0.94))
    back = b.tone(b.dice.random(), b.between(0.04, 0.14), b.between(0.84, 0.94))
    if b.dice.random() < 0.5:
        back = b.shade(board, b.between(0.9, 0.96))
    made = b.stretch((0, 0, w, h), "streaky" if wood else "blotchy", 0.05)
    step = b.between(40, 90) * u
    if b.dice.random() < 0.5:
        made.columns((i * step for i in range(1, int(w / step) + 1)), 1.2 * u, -26)
    thick = b.between(7, 12) * u
    for y in stage.boards:
        made.ramp(0, -26, 26 * u / h, (y - 26 * u) / h)
        made.ramp(-70, 0, 24 * u / h, (y + thick) / h)
    b.lay(made, back)
    for y in stage.boards:
        plank = b.stretch((0, y - 1.5 * u, w, y + thick), "streaky" if wood else "fine", 0.14, 1.4)
        plank.rows([y - 1.5 * u], 2.5 * u, 26)
        plank.rows([y + thick - 1.3 * u], 2 * u, -56)
        b.lay(plank, board)
    post = b.between(5, 10) * u
    for x1, x2, inner in ((0.0, post, post), (w - post, float(w), w - post)):
        b.bars([(x1, 0, x2, h)], b.shade(board, 0.97))
        b.bars([(inner - 0.7 * u, 0, inner + 0.7 * u, h)], b.shade(board, 0.78))


def wall(b: Backdrop, stage: Stage) -> None:
    """A wall alone: painted, of bricks, or of planks."""
    w, h, u = b.width, b.height, b.unit
    style = b.dice.random()
    box = (0.0, 0.0, float(w), float(h))
    color: RGB
    if style < 0.45:
        color = b.tone(b.dice.random(), b.between(0.03, 0.16), b.between(0.84, 0.95))
        made = b.stretch(box, "blotchy", b.between(0.06, 0.14), b.between(1, 2))
    elif style < 0.8:
        pale = b.dice.random() < 0.6
        color = b.tone(b.between(0.02, 0.1), 0.05 if pale else b.between(0.14, 0.24),
                       b.between(0.84, 0.93) if pale else b.between(0.76, 0.84))  # fmt: skip
        made = b.stretch(box, "blotchy", 0.1)
        made.bricks(
            b.between(34, 52) * u, b.between(12, 18) * u, max(1.0, 1.6 * u), -24 if pale else 22
        )
    else:
        color = b.tone(b.between(0.06, 0.12), b.between(0.1, 0.24), b.between(0.8, 0.9))
        made = b.stretch(box, "streaky", 0.09, 1.5)
        step = b.between(36, 60) * u
        made.rows((i * step for i in range(int(h / step) + 1)), 1.6 * u, -46)
    made.light(b.between(0.2, 0.8) * w, b.between(0.1, 0.5) * h, 0.7 * w, 0.8 * h, 26)
    made.ramp(0, -34, 0.5, 0.5)
    b.lay(made, color)


STAGES = {
    "room": room, "park": park, "street": street, "table": table, "shelf": shelf, "wall": wall,
}  # fmt: skip
"""The painter of every stage."""


def backdrop(stage: Stage, width: int, height: int) -> Image:
    """The picture without its things, RGB."""
    made = Backdrop(stage, width, height)
    STAGES[stage.name](made, stage)
    if stage.rug:
        made.rug(stage.rug)
    return made.picture
