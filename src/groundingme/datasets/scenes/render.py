"""Scenes as pictures, and where their things can be seen.

A thing is drawn enlarged into a sprite of its own (colours and silhouette), reduced and laid on
the picture, so that edges are smooth and a picture of any size costs what its things cost. Boxes
come from the corners of the silhouettes; pixels are asked only where things cover one another.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from groundingme.datasets.scenes.backdrop import backdrop, blot
from groundingme.datasets.scenes.catalog import KINDS
from groundingme.datasets.scenes.scene import Scene, Thing
from groundingme.datasets.scenes.sprites import extent, shapes
from groundingme.datasets.scenes.sprites.toolkit import Shape
from groundingme.schema import Box

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 92
"""Of JPEG files."""
MOST = 20_000_000
"""Most pixels of an enlarged sprite."""
SEEN = 64
"""Opacity of 255 from which a pixel counts as the thing's."""


class Window(NamedTuple):
    """A rectangle of whole pixels; x2 and y2 lie outside."""

    x1: int
    y1: int
    x2: int
    y2: int

    def cut(self, other: Window) -> Window:
        """What both share; empty where x2 <= x1 or y2 <= y1."""
        return Window(
            max(self.x1, other.x1),
            max(self.y1, other.y1),
            min(self.x2, other.x2),
            min(self.y2, other.y2),
        )

    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.x2 <= self.x1 or self.y2 <= self.y1


def reach(thing: Thing) -> Box:
    """Extent of the silhouette in the picture, beyond its frame too, in fractions of pixels."""
    x1, y1, x2, y2 = extent(thing)
    h = thing.height
    return (thing.x + x1 * h, thing.y + y1 * h, thing.x + x2 * h, thing.y + y2 * h)


def whole(box: Box) -> Window:
    """The whole pixels that hold a box."""
    x1, y1, x2, y2 = box
    return Window(math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2))


def _zoom(thing: Thing, window: Window) -> int:
    """How much larger a sprite is drawn."""
    zoom = 4 if thing.height < 40 else 3 if thing.height < 140 else 2
    area = (window.x2 - window.x1) * (window.y2 - window.y1)
    while zoom > 1 and area * zoom * zoom > MOST:
        zoom -= 1
    return zoom


def _pixels(thing: Thing, parts: Sequence[Shape], window: Window, zoom: int) -> list[list[int]]:
    """Corners of each shape in the sprite, as x, y, x, y ..."""
    points = np.concatenate([shape.points for shape in parts])
    size = thing.height * zoom
    shift = ((thing.x - window.x1) * zoom - 0.5, (thing.y - window.y1) * zoom - 0.5)
    limit = 30_000.0
    flat = np.rint(np.clip(points * size + shift, -limit, limit)).astype(np.int32).ravel().tolist()
    corners: list[list[int]] = []
    at = 0
    for shape in parts:
        stop = at + 2 * len(shape.points)
        corners.append(flat[at:stop])
        at = stop
    return corners


def silhouette(thing: Thing, window: Window) -> Image:
    """Opacity of the thing in that window, mode L."""
    from PIL import Image, ImageDraw

    zoom = _zoom(thing, window)
    size = ((window.x2 - window.x1) * zoom, (window.y2 - window.y1) * zoom)
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    solids = [shape for shape in shapes(thing) if shape.role == "solid"]
    for corners in _pixels(thing, solids, window, zoom):
        draw.polygon(corners, fill=255)
    return mask.reduce(zoom) if zoom > 1 else mask


def sprite(thing: Thing, window: Window) -> tuple[Image, Image]:
    """The thing in that window: its colours (RGB) and its opacity (L)."""
    from PIL import Image, ImageDraw

    zoom = _zoom(thing, window)
    size = ((window.x2 - window.x1) * zoom, (window.y2 - window.y1) * zoom)
    parts = [shape for shape in shapes(thing) if shape.role != "glow"]
    corners = _pixels(thing, parts, window, zoom)
    first = parts[0]
    # What is no thing's colour shows through at the rim, so it is the outline's.
    colors = Image.new("RGB", size, first.edge or first.fill[:3])
    mask = Image.new("L", size)
    ink, stain, cover = ImageDraw.Draw(colors), ImageDraw.Draw(colors, "RGBA"), ImageDraw.Draw(mask)
    rim = max(1, round(2 * zoom * max(0.55, 0.012 * thing.height)))
    at = 0
    while at < len(parts):
        shape, points = parts[at], corners[at]
        at += 1
        if shape.role == "over":
            (ink if shape.fill[3] == 255 else stain).polygon(points, fill=shape.fill)
            continue
        cover.polygon(points, fill=255)
        stop = at
        while stop < len(parts) and parts[stop].role == "inside":
            stop += 1
        if stop == at:
            ink.polygon(points, fill=shape.fill[:3])
        else:
            _group(colors, points, shape, parts[at:stop], corners[at:stop])
            at = stop
        if shape.edge:
            ink.line(points + points[:2], fill=shape.edge, width=rim)
    if zoom > 1:
        return colors.reduce(zoom), mask.reduce(zoom)
    return colors, mask


def _group(
    colors: Image,
    points: list[int],
    shape: Shape,
    inner: Sequence[Shape],
    corners: Sequence[list[int]],
) -> None:
    """A solid shape with paint that is cut to it."""
    from PIL import Image, ImageDraw

    x1, y1 = max(0, min(points[::2])), max(0, min(points[1::2]))
    x2, y2 = min(colors.width, max(points[::2]) + 1), min(colors.height, max(points[1::2]) + 1)
    if x2 <= x1 or y2 <= y1:
        return
    piece = Image.new("RGB", (x2 - x1, y2 - y1), shape.fill[:3])
    ink, stain = ImageDraw.Draw(piece), ImageDraw.Draw(piece, "RGBA")
    for part, path in zip(inner, corners, strict=True):
        moved = [v - (y1 if i & 1 else x1) for i, v in enumerate(path)]
        (ink if part.fill[3] == 255 else stain).polygon(moved, fill=part.fill)
    mask = Image.new("L", piece.size)
    ImageDraw.Draw(mask).polygon(
        [v - (y1 if i & 1 else x1) for i, v in enumerate(points)], fill=255
    )
    colors.paste(piece, (x1, y1), mask)


def _ground(picture: Image, thing: Thing, hung: bool, mask: Image, window: Window) -> None:
    """The thing's shadow, and its light."""
    for shape in shapes(thing):
        if shape.role == "glow":
            low, high = shape.points.min(axis=0), shape.points.max(axis=0)
            middle, half = (low + high) / 2 * thing.height, (high - low) / 2 * thing.height
            blot(
                picture, thing.x + float(middle[0]), thing.y + float(middle[1]),
                float(half[0]), float(half[1]), shape.fill[:3], shape.fill[3] / 255,
            )  # fmt: skip
    h = thing.height
    if hung:
        shift = max(1, round(0.035 * h))
        soft = mask.point([v * 60 // 255 for v in range(256)])
        picture.paste((24, 18, 30), (window.x1 + shift, window.y1 + shift), soft)
    elif not KINDS[thing.kind].floats:
        x1, _, x2, _ = reach(thing)
        half = 0.56 * (x2 - x1)
        blot(
            picture,
            (x1 + x2) / 2 + 0.06 * h,
            thing.y,
            half,
            max(2.0, 0.2 * half),
            (24, 18, 30),
            0.55,
        )


def draw(scene: Scene) -> Image:
    """The picture of a scene, RGB."""
    picture = backdrop(scene.stage, scene.width, scene.height)
    frame = Window(0, 0, scene.width, scene.height)
    hung = scene.stage.name == "wall"
    for thing in scene.things:
        window = whole(reach(thing)).cut(frame)
        if window.empty():
            continue
        colors, mask = sprite(thing, window)
        _ground(picture, thing, hung, mask, window)
        picture.paste(colors, window[:2], mask)
    return picture


def measure(things: Sequence[Thing], width: int, height: int) -> tuple[Thing, ...]:
    """The things with `full`, `box` and `visible` as they are seen in a frame of that size.

    `things` are in the order of painting. A thing of which nothing can be seen has an empty box.
    """
    frame = Window(0, 0, width, height)
    fulls = [whole(reach(thing)) for thing in things]
    seen: list[Thing] = []
    for at, (thing, full) in enumerate(zip(things, fulls, strict=True)):
        inside = full.cut(frame)
        over = [
            (later, fulls[at + 1 + i].cut(inside))
            for i, later in enumerate(things[at + 1 :])
            if not fulls[at + 1 + i].cut(inside).empty()
        ]
        box, visible = inside, 1.0
        if inside.empty():
            box, visible = Window(0, 0, 0, 0), 0.0
        elif over or inside != full:
            box, visible = _seen(thing, full, inside, over)
        x1, y1, x2, y2 = map(float, box)
        seen.append(
            msgspec.structs.replace(
                thing, full=tuple(map(float, full)), box=(x1, y1, x2, y2), visible=visible
            )
        )
    return tuple(seen)


def _seen(
    thing: Thing, full: Window, inside: Window, over: Sequence[tuple[Thing, Window]]
) -> tuple[Window, float]:
    """Box and share of what frame and later things leave of one."""
    alone = np.asarray(silhouette(thing, full), dtype=np.int32)
    total = int(alone.sum())
    left = alone[
        inside.y1 - full.y1 : inside.y2 - full.y1, inside.x1 - full.x1 : inside.x2 - full.x1
    ]
    left = left.copy()
    for later, part in over:
        hide = np.asarray(silhouette(later, part), dtype=np.int32)
        rows = slice(part.y1 - inside.y1, part.y2 - inside.y1)
        columns = slice(part.x1 - inside.x1, part.x2 - inside.x1)
        left[rows, columns] = left[rows, columns] * (255 - hide) // 255
    there = left >= SEEN
    ys, xs = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not len(ys):
        return Window(0, 0, 0, 0), 0.0
    x1, y1 = inside.x1 + int(xs[0]), inside.y1 + int(ys[0])
    x2, y2 = inside.x1 + int(xs[-1]) + 1, inside.y1 + int(ys[-1]) + 1
    # Sides that nothing touches are where the corners say.
    box = Window(
        inside.x1 if x1 - inside.x1 <= 1 else x1,
        inside.y1 if y1 - inside.y1 <= 1 else y1,
        inside.x2 if inside.x2 - x2 <= 1 else x2,
        inside.y2 if inside.y2 - y2 <= 1 else y2,
    )
    return box, int(left.sum()) / max(1, total)


def encode(picture: Image) -> bytes:
    """JPEG file of a picture."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()
