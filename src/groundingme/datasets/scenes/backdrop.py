"""Where things stand: room, park, street, table, shelf, wall.

Pale and calm, so that things of every colour stand out, and free of anything that a description
could mean. All that varies comes from the stage's seed.
"""

from __future__ import annotations

import colorsys
import random
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from groundingme.datasets.scenes.scene import Stage
from groundingme.datasets.scenes.sprites.outlines import ellipse
from groundingme.schema import Box

if TYPE_CHECKING:
    from PIL.Image import Image

RGB: TypeAlias = tuple[int, int, int]
Polygon: TypeAlias = list[tuple[float, float]]

TILE = 256


def noise(seed: int, size: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """White noise in [0, 1), (size, size): a hash in whole numbers, the same on every machine."""
    x = np.arange(size * size, dtype=np.uint32) + np.uint32(seed * 7919)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return ((x ^ (x >> np.uint32(16))) / 2.0**32).reshape(size, size)


@lru_cache(maxsize=4)
def grain(kind: str) -> Image:
    """A tile of seamless texture about 128, mode L: `fine`, `blotchy` or `streaky`."""
    from PIL import Image

    total = noise(3, TILE) - 0.5
    if kind == "fine":
        total = 0.9 * total
        octaves: tuple[tuple[int, int, float], ...] = ((64, 64, 0.5), (8, 8, 0.5))
    elif kind == "blotchy":
        total = 0.45 * total
        octaves = ((4, 4, 1.3), (16, 16, 0.9), (64, 64, 0.5))
    else:
        total = 0.3 * total
        octaves = ((4, 128, 1.0), (2, 32, 1.0), (8, 256, 0.8))
    for at, (columns, rows, weight) in enumerate(octaves):
        rough = noise(11 + at, 256)[:rows, :columns]
        # A margin of one period on each side makes the enlarged tile seamless.
        small = Image.fromarray(np.tile(np.floor(rough * 256).astype(np.uint8), (3, 3)))
        big = small.resize((3 * TILE, 3 * TILE), Image.Resampling.BICUBIC)
        total = total + weight * (np.asarray(big)[TILE : 2 * TILE, TILE : 2 * TILE] / 255 - 0.5)
    return Image.fromarray(np.clip(np.floor(128 + 90 * total), 0, 255).astype(np.uint8))


@lru_cache(maxsize=1)
def spot() -> Image:
    """A soft round spot, mode L, 128 px: 255 in the middle, 0 at the rim."""
    from PIL import Image

    at = (np.arange(128) - 63.5) / 64
    away = np.clip(at[:, None] * at[:, None] + at[None] * at[None], 0, 1)
    soft = (1 - away) * (1 - away)
    return Image.fromarray(np.floor(255 * soft).astype(np.uint8))


def blot(
    picture: Image, x: float, y: float, rx: float, ry: float, color: RGB, alpha: float
) -> None:
    """A soft spot of that colour about (x, y)."""
    x1, y1 = int(x - rx), int(y - ry)
    w, h = max(2, int(2 * rx)), max(2, int(2 * ry))
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = min(x1 + w, picture.width), min(y1 + h, picture.height)
    if right <= left or bottom <= top:
        return
    part = (
        (left - x1) * 128 / w, (top - y1) * 128 / h, (right - x1) * 128 / w, (bottom - y1) * 128 / h
    )  # fmt: skip
    from PIL import Image

    mask = spot().point([int(v * alpha) for v in range(256)])
    mask = mask.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=part)
    picture.paste(color, (left, top, right, bottom), mask)


class Backdrop:
    """A picture in the making.

    Attributes:
        picture: RGB.
        dice: The stage's chance.
        unit: 1 for a picture about 400 px high; all sizes scale with it.
        dim: Factor of every colour; below 1 at night.
    """

    def __init__(self, stage: Stage, width: int, height: int) -> None:
        from PIL import Image

        self.dice = random.Random(stage.seed)
        self.width, self.height = width, height
        self.unit = max(0.25, min(height, width * 0.75) / 384)
        self.night = stage.night
        self.picture = Image.new("RGB", (width, height))

    def tone(self, hue: float, saturation: float, value: float) -> RGB:
        """A colour; hue in turns. At night darker and bluer."""
        r, g, b = colorsys.hsv_to_rgb(hue % 1, saturation, value)
        if self.night:
            r, g, b = 0.55 * r, 0.58 * g, 0.74 * b
        return (int(255 * r), int(255 * g), int(255 * b))

    def shade(self, color: RGB, factor: float) -> RGB:
        """The colour darker or lighter by that factor."""
        r, g, b = (min(255, int(part * factor)) for part in color)
        return (r, g, b)

    def between(self, low: float, high: float) -> float:
        """A number by chance."""
        return low + (high - low) * self.dice.random()

    def fill(self, box: tuple[float, float, float, float], color: RGB, kind: str, amount: float,
             grow: float = 1.0) -> None:  # fmt: skip
        """A rectangle with texture whose contrast is `amount` (of 1) and coarseness `grow`."""
        from PIL import Image

        x1, y1, x2, y2 = (round(v) for v in box)
        x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, self.width), min(y2, self.height)
        if x2 <= x1 or y2 <= y1:
            return
        tile = grain(kind)
        size = max(TILE, int(TILE * self.unit * grow))
        if self.unit * grow > 1.3:
            tile = tile.resize((size, size), Image.Resampling.BILINEAR)
        else:
            size = TILE
        if x2 - x1 < size or y2 - y1 < size:
            tile = tile.crop((0, 0, min(size, x2 - x1), min(size, y2 - y1)))
        lut = [
            min(255, max(0, int(part * (1 + amount * (v - 128) / 128))))
            for part in color
            for v in range(256)
        ]
        ink = Image.merge("RGB", (tile, tile, tile)).point(lut)
        region = self.picture if (x1, y1) == (0, 0) else None
        for y in range(y1, y2, ink.height):
            for x in range(x1, x2, ink.width):
                part = ink
                if x + ink.width > x2 or y + ink.height > y2:
                    part = ink.crop((0, 0, min(ink.width, x2 - x), min(ink.height, y2 - y)))
                (region or self.picture).paste(part, (x, y))

    def fade(
        self, box: tuple[float, float, float, float], color: RGB, start: float, stop: float
    ) -> None:
        """A veil from opacity `start` at the top to `stop` at the foot."""
        from PIL import Image

        x1, y1, x2, y2 = (round(v) for v in box)
        x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, self.width), min(y2, self.height)
        if x2 <= x1 or y2 <= y1:
            return
        ramp = Image.new("L", (1, 64))
        ramp.putdata([int(255 * (start + (stop - start) * at / 63)) for at in range(64)])
        mask = ramp.resize((1, y2 - y1), Image.Resampling.BILINEAR).resize((x2 - x1, y2 - y1))
        self.picture.paste(color, (x1, y1, x2, y2), mask)

    def paint(self, polygons: list[Polygon], color: RGB, alpha: float = 1.0) -> None:
        """Polygons of one colour, with smooth edges."""
        from PIL import Image, ImageDraw

        xs = [x for polygon in polygons for x, _ in polygon]
        ys = [y for polygon in polygons for _, y in polygon]
        if not xs:
            return
        x1, y1 = max(0, int(min(xs)) - 1), max(0, int(min(ys)) - 1)
        x2, y2 = min(self.width, int(max(xs)) + 2), min(self.height, int(max(ys)) + 2)
        if x2 <= x1 or y2 <= y1:
            return
        k = 2 if (x2 - x1) * (y2 - y1) < 3_000_000 else 1
        mask = Image.new("L", ((x2 - x1) * k, (y2 - y1) * k))
        draw = ImageDraw.Draw(mask)
        level = int(255 * alpha)
        for polygon in polygons:
            draw.polygon(
                [round(v) for x, y in polygon for v in ((x - x1) * k - 0.5, (y - y1) * k - 0.5)],
                fill=level,
            )
        self.picture.paste(color, (x1, y1, x2, y2), mask.reduce(k) if k > 1 else mask)

    def bars(self, boxes: list[tuple[float, float, float, float]], color: RGB) -> None:
        """Upright rectangles."""
        for x1, y1, x2, y2 in boxes:
            a, b = round(x1), round(y1)
            self.picture.paste(color, (a, b, max(a + 1, round(x2)), max(b + 1, round(y2))))


def _room_wall(b: Backdrop, horizon: float) -> None:
    hue = b.dice.random()
    wall = b.tone(hue, b.between(0.04, 0.17), b.between(0.84, 0.95))
    w, u = b.width, b.unit
    b.fill((0, 0, w, horizon), wall, "blotchy", b.between(0.03, 0.08))
    style = b.dice.random()
    if style < 0.4:
        step = b.between(26, 60) * u
        half = step * b.between(0.3, 0.55)
        stripe = b.shade(
            wall, b.between(1.02, 1.05) if b.dice.random() < 0.4 else b.between(0.94, 0.97)
        )
        b.bars([(i * step, 0, i * step + half, horizon) for i in range(int(w / step) + 1)], stripe)
    elif style < 0.65:
        rail = horizon - b.between(60, 110) * u
        b.fill((0, rail, w, horizon), b.shade(wall, b.between(0.93, 1.05)), "fine", 0.03)
        b.bars([(0, rail, w, rail + 2 * u)], b.shade(wall, 0.86))
        b.bars([(0, rail - 4 * u, w, rail)], b.shade(wall, 1.08))
    b.fade((0, 0, w, horizon), (20, 16, 30), b.between(0.1, 0.2), 0.0)
    if b.dice.random() < 0.6 and not b.night:
        x, wide, lean = b.between(-0.1, 0.8) * w, b.between(0.12, 0.3) * w, b.between(0.1, 0.4) * w
        b.paint([[(x + lean, 0), (x + lean + wide, 0), (x + wide, horizon), (x, horizon)]],
                (255, 252, 236), 0.16)  # fmt: skip


def room(b: Backdrop, stage: Stage) -> None:
    w, h, u = b.width, b.height, b.unit
    y = stage.horizon
    _room_wall(b, y)
    style = b.dice.random()
    if style < 0.65:
        floor = b.tone(b.between(0.06, 0.11), b.between(0.14, 0.3), b.between(0.72, 0.86))
        b.fill((0, y, w, h), floor, "streaky", 0.1)
        far, middle = b.between(9, 16) * u, b.between(0.3, 0.7) * w
        spread = b.between(3.0, 5.0)
        lines: list[Polygon] = []
        count = int(w / far) + 2
        for i in range(-count, count + 1):
            x = middle + i * far
            foot = middle + i * far * spread
            if max(x, foot) > -w and min(x, foot) < 2 * w:
                lines.append([(x, y), (x + 0.6 * u, y), (foot + 1.8 * u, h), (foot, h)])
        b.paint(lines, b.shade(floor, 0.8), 0.8)
    elif style < 0.85:
        floor = b.tone(b.dice.random(), b.between(0.03, 0.12), b.between(0.78, 0.9))
        b.fill((0, y, w, h), floor, "blotchy", 0.05)
        b.paint(_slabs(b, y, b.between(26, 44) * u), b.shade(floor, 0.88))
    else:
        floor = b.tone(b.dice.random(), b.between(0.08, 0.2), b.between(0.68, 0.82))
        b.fill((0, y, w, h), floor, "fine", 0.16)
    b.fade((0, y, w, y + 0.5 * (h - y)), (30, 24, 34), 0.16, 0.0)
    b.fade((0, y + 0.5 * (h - y), w, h), (255, 250, 236), 0.0, 0.1)
    board = b.tone(0.1, 0.04, b.between(0.86, 0.96))
    tall = b.between(9, 15) * u
    b.bars([(0, y - tall, w, y)], board)
    b.bars([(0, y - tall, w, y - tall + 1.5 * u)], b.shade(board, 1.05))
    b.bars([(0, y - 2 * u, w, y)], b.shade(board, 0.8))


def _slabs(b: Backdrop, y: float, far: float) -> list[Polygon]:
    """Joints between slabs on the ground, in perspective."""
    w, h, u = b.width, b.height, b.unit
    middle, spread = b.between(0.3, 0.7) * w, b.between(2.2, 3.2)
    lines: list[Polygon] = []
    count = int(w / far) + 2
    for i in range(-count, count + 1):
        x, foot = middle + i * far, middle + i * far * spread
        lines.append([(x, y), (x + 0.6 * u, y), (foot + 2 * u, h), (foot, h)])
    depth = 1.0
    while depth < spread:
        depth *= 1.17
        at = y + (depth - 1) / (spread - 1) * (h - y)
        lines.append([(0, at), (w, at), (w, at + 0.7 * depth * u), (0, at + 0.7 * depth * u)])
    return lines


def _sky(b: Backdrop, horizon: float) -> None:
    w, u = b.width, b.unit
    hue = b.between(0.53, 0.6)
    b.fill(
        (0, 0, w, horizon + 2),
        b.tone(hue, b.between(0.12, 0.28), b.between(0.9, 0.97)),
        "fine",
        0.02,
    )
    glow = b.tone(b.between(0.07, 0.15), b.between(0.02, 0.14), 0.99)
    b.fade((0, 0, w, horizon + 2), glow, 0.0, 0.85)
    cloud = b.tone(0.6, 0.02, 1.0)
    for _ in range(int(b.between(1, 5))):
        x, y, size = b.dice.random() * w, b.between(0.1, 0.7) * horizon, b.between(26, 70) * u
        for _ in range(3):
            b_x, b_y = b.between(-1, 1) * size, b.between(-0.2, 0.2) * size
            blot(b.picture, x + b_x, y + b_y, size, 0.4 * size, cloud, 0.6)


def _ridge(b: Backdrop, base: float, tall: float, rough: int) -> Polygon:
    """Outline of hills that stand on `base`."""
    w = b.width
    heights = [b.between(0.15, 1.0) * tall for _ in range(rough + 3)]
    points: Polygon = []
    for i in range(rough * 12 + 1):
        at = i / 12
        k, t = int(at), at - int(at)
        s = t * t * (3 - 2 * t)
        y = heights[k] * (1 - s) + heights[k + 1] * s
        points.append((i / (rough * 12) * w, base - y))
    return [*points, (float(w), base + 2), (0.0, base + 2)]


def park(b: Backdrop, stage: Stage) -> None:
    w, h, u = b.width, b.height, b.unit
    y = stage.horizon
    _sky(b, y)
    for layer in range(int(b.between(2, 4))):
        near = layer / 3
        tint = b.tone(b.between(0.36, 0.44) - 0.12 * near, 0.1 + 0.12 * near, 0.86 - 0.06 * near)
        b.paint(
            [_ridge(b, y, (66 - 38 * near) * u * b.between(0.7, 1.2), int(b.between(3, 6)))], tint
        )
    if b.dice.random() < 0.7:
        tint = b.tone(b.between(0.25, 0.34), 0.2, b.between(0.68, 0.76))
        x = -10 * u
        while x < w:
            r = b.between(7, 17) * u
            blot(b.picture, x, y - 0.4 * r, r, r, tint, 1.5)
            x += r * b.between(0.5, 1.2)
    grass = b.tone(b.between(0.2, 0.28), b.between(0.22, 0.34), b.between(0.74, 0.84))
    b.fill((0, y, w, h), grass, "blotchy", 0.1)
    if b.dice.random() < 0.45:
        x, wide = b.between(0.1, 0.9) * w, b.between(0.2, 0.5) * w
        foot = b.between(-0.2, 0.9) * w
        path = b.tone(0.11, 0.14, 0.86)
        b.paint([[(x, y), (x + 0.05 * w, y), (foot + wide, h), (foot, h)]], path, 0.85)
    b.fade((0, y, w, y + 0.35 * (h - y)), b.tone(0.2, 0.1, 0.95), 0.4, 0.0)
    blades: list[Polygon] = []
    for _ in range(90):
        depth = b.dice.random()
        at, size = y + (0.04 + depth * depth * 0.96) * (h - y), (2.5 + 6 * depth) * u
        x = b.dice.random() * w
        blades.append([(x - 0.18 * size, at), (x + b.between(-0.5, 0.5) * size, at - size),
                       (x + 0.18 * size, at)])  # fmt: skip
    b.paint(blades[:45], b.shade(grass, 0.84))
    b.paint(blades[45:], b.shade(grass, 1.1))


def street(b: Backdrop, stage: Stage) -> None:
    w, h, u = b.width, b.height, b.unit
    y = stage.horizon
    _sky(b, y)
    hue = b.between(0.5, 0.7)
    for layer in range(2):
        x = -b.between(0, 30) * u
        blocks: dict[RGB, list[Polygon]] = {}
        while x < w:
            wide = b.between(24, 62) * u
            tall = b.between(30, 120 - 34 * layer) * u
            tint = b.tone(hue + b.between(-0.05, 0.05), b.between(0.04, 0.12),
                          b.between(0.84, 0.9) - 0.06 * layer)  # fmt: skip
            blocks.setdefault(tint, []).append(
                [(x, y), (x, y - tall), (x + wide, y - tall), (x + wide, y)]
            )
            x += wide * b.between(0.85, 1.1)
        for tint, polygons in blocks.items():
            b.paint(polygons, tint)
    b.fade((0, 0.4 * y, w, y), b.tone(0.1, 0.04, 1.0), 0.0, 0.35)
    ground = b.tone(b.between(0.05, 0.65), b.between(0.02, 0.08), b.between(0.72, 0.84))
    b.fill((0, y, w, h), ground, "fine", 0.1)
    b.paint(_slabs(b, y, b.between(24, 50) * u), b.shade(ground, 0.88))
    kerb = b.shade(ground, 1.1)
    b.bars([(0, y, w, y + 4 * u)], kerb)
    b.bars([(0, y + 4 * u, w, y + 5.5 * u)], b.shade(ground, 0.75))
    b.fade((0, y, w, y + 0.4 * (h - y)), (40, 40, 56), 0.1, 0.0)


def table(b: Backdrop, stage: Stage) -> None:
    w, h, u = b.width, b.height, b.unit
    y = stage.horizon
    _room_wall(b, y)
    if b.dice.random() < 0.6:
        top = b.tone(b.between(0.06, 0.11), b.between(0.16, 0.32), b.between(0.74, 0.88))
        b.fill((0, y, w, h), top, "streaky", b.between(0.1, 0.2), 1.6)
        rows = int(b.between(2, 5))
        for i in range(1, rows):
            at = y + (i / rows) * (i / rows * 0.5 + 0.5) * (h - y)
            b.bars([(0, at, w, at + 1.2 * u)], b.shade(top, 0.84))
    else:
        top = b.tone(b.dice.random(), b.between(0.04, 0.16), b.between(0.84, 0.95))
        b.fill((0, y, w, h), top, "fine", 0.06)
        if b.dice.random() < 0.6:
            b.paint(_slabs(b, y, b.between(14, 30) * u), b.shade(top, b.between(0.9, 0.95)))
    b.bars([(0, y, w, y + 2 * u)], b.shade(top, 1.08))
    b.fade((0, y - 14 * u, w, y), (30, 24, 34), 0.0, 0.16)
    b.fade((0, y, w, h), (30, 24, 34), 0.0, 0.12)
    blot(b.picture, b.between(0.2, 0.8) * w, y + 0.4 * (h - y), 0.5 * w, 0.5 * (h - y),
         (255, 255, 250), 0.0 if b.night else 0.22)  # fmt: skip


def shelf(b: Backdrop, stage: Stage) -> None:
    w, h, u = b.width, b.height, b.unit
    wood = b.dice.random() < 0.6
    if wood:
        board = b.tone(b.between(0.06, 0.11), b.between(0.16, 0.32), b.between(0.74, 0.88))
    else:
        board = b.tone(b.dice.random(), b.between(0.02, 0.14), b.between(0.82, 0.94))
    back = b.shade(board, b.between(0.9, 0.96)) if b.dice.random() < 0.5 else b.tone(
        b.dice.random(), b.between(0.04, 0.14), b.between(0.84, 0.94))  # fmt: skip
    b.fill((0, 0, w, h), back, "streaky" if wood else "blotchy", 0.05)
    step = b.between(40, 90) * u
    if b.dice.random() < 0.5:
        b.bars([(i * step, 0, i * step + 1.2 * u, h) for i in range(1, int(w / step) + 1)],
               b.shade(back, 0.92))  # fmt: skip
    thick = b.between(7, 12) * u
    for y in stage.boards:
        b.fade((0, y - 26 * u, w, y), (30, 24, 34), 0.0, 0.1)
        b.fill((0, y - 1.5 * u, w, y + thick), board, "streaky" if wood else "fine", 0.12, 1.4)
        b.bars([(0, y - 1.5 * u, w, y + 1 * u)], b.shade(board, 1.08))
        b.bars([(0, y + thick - 1.2 * u, w, y + thick)], b.shade(board, 0.8))
        b.fade((0, y + thick, w, y + thick + 24 * u), (30, 24, 34), 0.3, 0.0)
    post = b.between(5, 10) * u
    for x1, x2, inner in ((0.0, post, post), (w - post, float(w), w - post)):
        b.fill((x1, 0, x2, h), b.shade(board, 0.96), "fine", 0.06)
        b.bars([(inner - 0.7 * u, 0, inner + 0.7 * u, h)], b.shade(board, 0.78))


def wall(b: Backdrop, stage: Stage) -> None:
    w, h, u = b.width, b.height, b.unit
    style = b.dice.random()
    if style < 0.45:
        color = b.tone(b.dice.random(), b.between(0.03, 0.16), b.between(0.82, 0.95))
        b.fill((0, 0, w, h), color, "blotchy", b.between(0.06, 0.14), b.between(1, 2))
    elif style < 0.8:
        pale = b.dice.random() < 0.6
        color = b.tone(b.between(0.02, 0.1), 0.05 if pale else b.between(0.14, 0.24),
                       b.between(0.84, 0.93) if pale else b.between(0.74, 0.84))  # fmt: skip
        b.fill((0, 0, w, h), color, "blotchy", 0.1)
        tall, wide = b.between(12, 18) * u, b.between(34, 52) * u
        joint = b.shade(color, 1.07 if not pale else 0.9)
        rows = int(h / tall) + 1
        b.bars([(0, i * tall, w, i * tall + 1.6 * u) for i in range(rows)], joint)
        b.bars(
            [
                (j * wide + (wide / 2 if i % 2 else 0), i * tall,
                 j * wide + (wide / 2 if i % 2 else 0) + 1.6 * u, (i + 1) * tall)
                for i in range(rows)
                for j in range(int(w / wide) + 1)
            ],
            joint,
        )  # fmt: skip
    else:
        color = b.tone(b.between(0.06, 0.12), b.between(0.1, 0.24), b.between(0.78, 0.9))
        b.fill((0, 0, w, h), color, "streaky", 0.14, 1.5)
        step = b.between(36, 60) * u
        b.bars(
            [(0, i * step, w, i * step + 1.6 * u) for i in range(int(h / step) + 1)],
            b.shade(color, 0.84),
        )
    blot(b.picture, b.between(0.2, 0.8) * w, b.between(0.1, 0.5) * h, 0.7 * w, 0.8 * h,
         (255, 253, 244), 0.0 if b.night else 0.3)  # fmt: skip
    b.fade((0, 0.5 * h, w, h), (30, 24, 34), 0.0, 0.14)


def _rug(b: Backdrop, box: Box) -> None:
    """A round woven rug that fills the box."""
    x1, y1, x2, y2 = box
    cx, cy, rx, ry = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
    blot(b.picture, cx, cy + 0.04 * ry, 1.12 * rx, 1.14 * ry, (24, 18, 30), 0.5)
    hue = b.dice.random()
    outer = b.tone(hue, b.between(0.28, 0.4), b.between(0.6, 0.7))
    inner = b.tone(hue + b.between(-0.06, 0.06), b.between(0.08, 0.16), b.between(0.86, 0.93))
    for size, color in ((1.0, outer), (0.93, inner), (0.88, outer), (0.74, inner), (0.7, outer),
                        (0.68, b.shade(inner, 0.96))):  # fmt: skip
        edge = [(cx + size * rx * x, cy + size * ry * y) for x, y in _circle()]
        b.paint([edge], color)


@lru_cache(maxsize=1)
def _circle() -> Polygon:
    """Corners of a round polygon of radius 1."""
    return [(x, y) for x, y in ellipse(0, 0, 1).tolist()]


STAGES = {
    "room": room, "park": park, "street": street, "table": table, "shelf": shelf, "wall": wall,
}  # fmt: skip
"""The painter of every stage."""


def backdrop(stage: Stage, width: int, height: int) -> Image:
    """The picture without its things, RGB."""
    made = Backdrop(stage, width, height)
    STAGES[stage.name](made, stage)
    if stage.rug:
        _rug(made, stage.rug)
    return made.picture
