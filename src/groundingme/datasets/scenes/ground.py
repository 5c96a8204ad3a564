"""Tools for backdrops: textured ground, soft spots, plain shapes.

A stretch of ground is one number a pixel, how bright it is: texture, gradients and joints are
added up there, and a palette turns the sum into colour at the end. That is several times as fast
as painting translucent layers in colour.
"""

from __future__ import annotations

import colorsys
import random
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from groundingme.datasets.scenes.scene import Stage
from groundingme.datasets.scenes.sprites.outlines import ellipse
from groundingme.schema import Box

if TYPE_CHECKING:
    from PIL.Image import Image

RGB: TypeAlias = tuple[int, int, int]
Polygon: TypeAlias = list[tuple[float, float]]

TILE = 256
STEP = 0.0032
"""How much one unit of brightness changes a colour; 128 is the colour itself."""
FINEST = 2_000_000
"""Most pixels of a stretch whose joints are drawn with smooth edges."""


def noise(seed: int, size: int) -> NDArray[np.float64]:
    """White noise in [0, 1), (size, size): a hash in whole numbers, the same on every machine."""
    x = np.arange(size * size, dtype=np.uint32) + np.uint32(seed * 7919)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return ((x ^ (x >> np.uint32(16))) / 2.0**32).reshape(size, size)


@lru_cache(maxsize=4)
def _texture(kind: str) -> NDArray[np.float64]:
    """A seamless texture about 0, roughly in -1 to 1, (TILE, TILE)."""
    from PIL import Image

    white, octaves = {
        "fine": (0.9, ((64, 64, 0.5), (8, 8, 0.5))),
        "blotchy": (0.45, ((4, 4, 1.3), (16, 16, 0.9), (64, 64, 0.5))),
        "streaky": (0.3, ((4, 128, 1.0), (2, 32, 1.0), (8, 256, 0.8))),
    }[kind]
    total: NDArray[np.float64] = white * (noise(3, TILE) - 0.5)
    for at, (columns, rows, weight) in enumerate(octaves):
        rough = np.floor(noise(11 + at, 256)[:rows, :columns] * 256).astype(np.uint8)
        # A period more on each side makes the enlarged tile seamless.
        small = Image.fromarray(np.tile(rough, (3, 3)))
        big = small.resize((3 * TILE, 3 * TILE), Image.Resampling.BICUBIC)
        middle = np.asarray(big)[TILE : 2 * TILE, TILE : 2 * TILE]
        total = total + weight * (middle / 255.0 - 0.5)
    return total


@lru_cache(maxsize=48)
def _tile(kind: str, strength: int, size: int) -> NDArray[np.int16]:
    """A texture in steps of brightness, (size, size); `strength` in hundredths."""
    from PIL import Image

    steps = np.rint(128 + _texture(kind) * (0.7 * strength / 100 / STEP))
    tile = Image.fromarray(np.clip(steps, 0, 255).astype(np.uint8))
    if size != TILE:
        tile = tile.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(tile).astype(np.int16)


@lru_cache(maxsize=64)
def spot(level: int) -> Image:
    """A soft round spot, mode L, 128 px: `level` / 32 of full in the middle, 0 at the rim."""
    from PIL import Image

    at = (np.arange(128) - 63.5) / 64
    away = np.clip(at[:, None] * at[:, None] + at[None] * at[None], 0, 1)
    soft = (1 - away) * (1 - away) * (255 * level / 32)
    return Image.fromarray(np.floor(np.minimum(soft, 255)).astype(np.uint8))


def blot(
    picture: Image, x: float, y: float, rx: float, ry: float, color: RGB, alpha: float
) -> None:
    """A soft spot of that colour about (x, y)."""
    from PIL import Image

    x1, y1 = int(x - rx), int(y - ry)
    w, h = max(2, int(2 * rx)), max(2, int(2 * ry))
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = min(x1 + w, picture.width), min(y1 + h, picture.height)
    if right <= left or bottom <= top:
        return
    part = (
        (left - x1) * 128 / w, (top - y1) * 128 / h, (right - x1) * 128 / w, (bottom - y1) * 128 / h
    )  # fmt: skip
    mask = spot(round(32 * alpha)).resize(
        (right - left, bottom - top), Image.Resampling.BILINEAR, box=part
    )
    picture.paste(color, (left, top, right, bottom), mask)


class Stretch:
    """The brightness of a rectangle of a backdrop, in steps about 128.

    Attributes:
        x1: Its left side, in pixels of the picture.
        y1: Its upper side.
        field: The steps, (height, width).
    """

    def __init__(self, box: Box, kind: str, strength: float, unit: float) -> None:
        self.x1, self.y1, x2, y2 = (round(v) for v in box)
        w, h = x2 - self.x1, y2 - self.y1
        size = TILE if unit < 1.3 else min(8 * TILE, int(TILE * unit))
        tile = _tile(kind, round(100 * strength), size)
        self.field = np.empty((h, w), dtype=np.int16)
        for y in range(0, h, size):
            for x in range(0, w, size):
                part = self.field[y : y + size, x : x + size]
                part[:] = tile[: part.shape[0], : part.shape[1]]

    def ramp(self, start: float, stop: float, part: float = 1.0, offset: float = 0.0) -> None:
        """From `start` to `stop` steps, downwards, over a part of the height from `offset` on."""
        h = len(self.field)
        y1, y2 = round(offset * h), round(min(1.0, offset + part) * h)
        if y2 > y1:
            rise = start + (stop - start) * (np.arange(y2 - y1) / (y2 - y1))
            self.field[y1:y2] += np.rint(rise).astype(np.int16)[:, None]

    def columns(self, starts: Iterable[float], wide: float, steps: int) -> None:
        """Upright bars."""
        for x in starts:
            a, b = round(x), max(round(x) + 1, round(x + wide))
            self.field[:, max(0, a) : max(0, b)] += np.int16(steps)

    def rows(self, starts: Iterable[float], tall: float, steps: int) -> None:
        """Level bars, by their height in the picture."""
        for y in starts:
            a = round(y) - self.y1
            b = max(a + 1, round(y + tall) - self.y1)
            self.field[max(0, a) : max(0, b)] += np.int16(steps)

    def bricks(self, wide: float, tall: float, joint: float, steps: int) -> None:
        """Joints of a brick wall."""
        h, w = self.field.shape
        x, y = np.arange(w), np.arange(h)
        lies = (y % tall) < joint
        even = (y // tall) % 2 == 0
        self.field[lies] += np.int16(steps)
        for parity, shift in ((True, 0.0), (False, wide / 2)):
            stands = ((x + shift) % wide) < joint
            self.field[np.ix_(~lies & (even == parity), stands)] += np.int16(steps)

    def marks(self, polygons: Sequence[tuple[Polygon, int]]) -> None:
        """Polygons in the picture's coordinates, each so many steps (-127 to 127) brighter."""
        from PIL import Image, ImageDraw

        h, w = self.field.shape
        k = 2 if h * w < FINEST else 1
        canvas = Image.new("L", (w * k, h * k), 128)
        draw = ImageDraw.Draw(canvas)
        for polygon, steps in polygons:
            corners = [
                round(v)
                for x, y in polygon
                for v in ((x - self.x1) * k - 0.5, (y - self.y1) * k - 0.5)
            ]
            draw.polygon(corners, fill=128 + steps)
        self.field += np.asarray(canvas.reduce(k) if k > 1 else canvas)
        self.field -= np.int16(128)

    def light(self, x: float, y: float, rx: float, ry: float, steps: int) -> None:
        """A soft spot about a point of the picture, so many steps brighter in the middle."""
        from PIL import Image

        h, w = self.field.shape
        x1, y1, x2, y2 = x - rx - self.x1, y - ry - self.y1, x + rx - self.x1, y + ry - self.y1
        a, b, c, d = max(0, int(x1)), max(0, int(y1)), min(w, int(x2)), min(h, int(y2))
        if c <= a or d <= b:
            return
        left, top = max(0.0, (a - x1) * 64 / rx), max(0.0, (b - y1) * 64 / ry)
        right, foot = min(128.0, (c - x1) * 64 / rx), min(128.0, (d - y1) * 64 / ry)
        soft = spot(max(1, round(steps * 32 / 255))).resize(
            (c - a, d - b), Image.Resampling.BILINEAR, box=(left, top, right, foot)
        )
        self.field[b:d, a:c] += np.asarray(soft)


class Backdrop:
    """A picture in the making.

    Attributes:
        picture: RGB.
        dice: The stage's chance.
        width: In pixels.
        height: In pixels.
        unit: 1 for a picture about 400 px high; all sizes scale with it.
        night: Whether all is darker and bluer.
    """

    def __init__(self, stage: Stage, width: int, height: int) -> None:
        from PIL import Image

        self.dice = random.Random(stage.seed)
        self.width, self.height = width, height
        self.unit = max(0.25, min(height, width * 0.75) / 384)
        self.night = stage.night
        self.picture = Image.new("RGB", (width, height))

    def tone(self, hue: float, saturation: float, value: float) -> RGB:
        """A colour; hue in turns."""
        r, g, b = colorsys.hsv_to_rgb(hue % 1, saturation, value)
        if self.night:
            r, g, b = 0.7 * r, 0.72 * g, 0.86 * b
        return (int(255 * r), int(255 * g), int(255 * b))

    def shade(self, color: RGB, factor: float) -> RGB:
        """The colour darker or lighter by that factor."""
        r, g, b = (min(255, int(part * factor)) for part in color)
        return (r, g, b)

    def between(self, low: float, high: float) -> float:
        """A number by chance."""
        return low + (high - low) * self.dice.random()

    def stretch(self, box: Box, kind: str, strength: float, grow: float = 1.0) -> Stretch:
        """A textured rectangle, cut to the picture, to be laid later."""
        x1, y1, x2, y2 = box
        cut = (max(0.0, x1), max(0.0, y1), min(self.width, x2), min(self.height, y2))
        return Stretch(cut, kind, strength, self.unit * grow)

    def lay(self, stretch: Stretch, color: RGB, above: RGB | None = None) -> None:
        """Puts a stretch down: 128 steps are that colour, 255 are `above` if one is given."""
        from PIL import Image

        h, w = stretch.field.shape
        if not h or not w:
            return
        at = np.arange(256)[:, None] - 128.0
        if above is None:
            table = np.array(color) * (1 + STEP * at)
        else:
            table = np.array(color) + (np.array(above) - np.array(color)) * np.maximum(at, 0) / 127
        palette = np.floor(np.clip(table, 0, 255)).astype(np.uint8).tobytes()
        steps = np.clip(stretch.field, 0, 255, out=stretch.field).astype(np.uint8)
        indexed = Image.frombuffer("P", (w, h), steps, "raw", "P", 0, 1)
        indexed.putpalette(palette)
        self.picture.paste(indexed.convert("RGB"), (stretch.x1, stretch.y1))

    def paint(self, polygons: Sequence[Polygon], color: RGB, alpha: float = 1.0) -> None:
        """Polygons of one colour, with smooth edges."""
        from PIL import Image, ImageDraw

        xs = [x for polygon in polygons for x, _ in polygon]
        ys = [y for polygon in polygons for _, y in polygon]
        x1, y1 = max(0, int(min(xs)) - 1), max(0, int(min(ys)) - 1)
        x2, y2 = min(self.width, int(max(xs)) + 2), min(self.height, int(max(ys)) + 2)
        if x2 <= x1 or y2 <= y1:
            return
        k = 2 if (x2 - x1) * (y2 - y1) < FINEST else 1
        mask = Image.new("L", ((x2 - x1) * k, (y2 - y1) * k))
        draw = ImageDraw.Draw(mask)
        for polygon in polygons:
            draw.polygon(
                [round(v) for x, y in polygon for v in ((x - x1) * k - 0.5, (y - y1) * k - 0.5)],
                fill=int(255 * alpha),
            )
        self.picture.paste(color, (x1, y1, x2, y2), mask.reduce(k) if k > 1 else mask)

    def bars(self, boxes: Iterable[Box], color: RGB) -> None:
        """Upright rectangles, at least a pixel thick."""
        for x1, y1, x2, y2 in boxes:
            a, b = round(x1), round(y1)
            self.picture.paste(color, (a, b, max(a + 1, round(x2)), max(b + 1, round(y2))))

    def rug(self, box: Box) -> None:
        """A round woven rug that fills the box."""
        x1, y1, x2, y2 = box
        cx, cy, rx, ry = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
        blot(self.picture, cx, cy + 0.04 * ry, 1.12 * rx, 1.14 * ry, (24, 18, 30), 0.5)
        hue = self.dice.random()
        outer = self.tone(hue, self.between(0.28, 0.4), self.between(0.6, 0.7))
        inner = self.tone(
            hue + self.between(-0.06, 0.06), self.between(0.08, 0.16), self.between(0.86, 0.93)
        )
        rings = ((1.0, outer), (0.93, inner), (0.88, outer), (0.74, inner), (0.7, outer),
                 (0.68, self.shade(inner, 0.96)))  # fmt: skip
        for size, color in rings:
            edge = [(cx + size * rx * x, cy + size * ry * y) for x, y in ellipse(0, 0, 1).tolist()]
            self.paint([edge], color)
