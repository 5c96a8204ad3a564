"""Scenes as pictures, and where their things can be seen.

A thing is drawn enlarged into a sprite of its own (colours and silhouette), reduced and laid on
the picture, so that edges are smooth and a picture of any size costs what its things cost. Boxes
come from the corners of the silhouettes; pixels are asked only where things cover one another.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.datasets.scenes.backdrop import backdrop
from groundingme.datasets.scenes.catalog import KINDS
from groundingme.datasets.scenes.ground import blot
from groundingme.datasets.scenes.scene import Scene, Thing
from groundingme.datasets.scenes.sprites import extent, look, solids
from groundingme.datasets.scenes.sprites.outlines import Points
from groundingme.datasets.scenes.sprites.toolkit import RGB, RGBA
from groundingme.schema import Box

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.Image import Image

QUALITY = 92
"""Of JPEG files."""
MOST = 8_000_000
"""Most pixels of an enlarged sprite."""
LIMIT = 100_000.0
"""Farthest corner of a polygon from its sprite, in enlarged pixels."""
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

    def meets(self, other: Window) -> bool:
        """Whether both share a pixel."""
        return (
            self.x1 < other.x2 and other.x1 < self.x2 and self.y1 < other.y2 and other.y1 < self.y2
        )

    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.x2 <= self.x1 or self.y2 <= self.y1


def scaled(box: Box, x: float, y: float, height: float) -> Box:
    """A box about the foot of a body one high, for a body of that place and height."""
    x1, y1, x2, y2 = box
    return (x + x1 * height, y + y1 * height, x + x2 * height, y + y2 * height)


def reach(thing: Thing) -> Box:
    """Extent of the silhouette in the picture, beyond its frame too, in fractions of pixels."""
    return scaled(extent(thing), thing.x, thing.y, thing.height)


def whole(box: Box) -> Window:
    """The whole pixels that hold a box."""
    x1, y1, x2, y2 = box
    return Window(math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2))


def _zoom(thing: Thing, window: Window) -> int:
    """How much larger a sprite is drawn."""
    zoom = 4 if thing.height < 28 else 3 if thing.height < 60 else 2
    area = (window.x2 - window.x1) * (window.y2 - window.y1)
    while zoom > 1 and area * zoom * zoom > MOST:
        zoom -= 1
    return zoom


def _pixels(thing: Thing, points: Points, window: Window, zoom: int) -> NDArray[np.int32]:
    """Corners in the sprite's pixels, (N, 2)."""
    points = points * (thing.height * zoom)
    points += ((thing.x - window.x1) * zoom - 0.5, (thing.y - window.y1) * zoom - 0.5)
    if thing.height * zoom > 1000:
        np.clip(points, -LIMIT, LIMIT, out=points)
    return np.rint(points, out=points).astype(np.int32)


def _paths(corners: NDArray[np.int32], starts: Sequence[int]) -> list[list[int]]:
    """Corners of each shape, as x, y, x, y ..."""
    flat: list[int] = corners.ravel().tolist()
    return [flat[2 * start : 2 * stop] for start, stop in itertools.pairwise(starts)]


def silhouette(thing: Thing, window: Window) -> Image:
    """Opacity of the thing in that window, mode L."""
    from PIL import Image, ImageDraw

    zoom = _zoom(thing, window)
    size = ((window.x2 - window.x1) * zoom, (window.y2 - window.y1) * zoom)
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    seen = solids(thing)
    for path in _paths(_pixels(thing, seen.corners, window, zoom), seen.starts):
        draw.polygon(path, fill=255)
    return mask.reduce(zoom) if zoom > 1 else mask


class _Sheet:
    """An enlarged picture and its pens."""

    def __init__(self, size: tuple[int, int], color: RGB) -> None:
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", size, color)
        self.ink = ImageDraw.Draw(self.image)
        self.stain: ImageDraw.ImageDraw | None = None

    def paint(self, path: list[int], fill: RGBA) -> None:
        """A polygon, blended where its colour is translucent."""
        if fill[3] == 255:
            self.ink.polygon(path, fill=fill)
            return
        if self.stain is None:
            from PIL import ImageDraw

            self.stain = ImageDraw.Draw(self.image, "RGBA")
        self.stain.polygon(path, fill=fill)


def sprite(thing: Thing, window: Window) -> tuple[Image, Image]:
    """The thing in that window: its colours (RGB) and its opacity (L)."""
    from PIL import Image, ImageDraw

    zoom = _zoom(thing, window)
    size = ((window.x2 - window.x1) * zoom, (window.y2 - window.y1) * zoom)
    seen = look(thing)
    corners = _paths(_pixels(thing, seen.corners, window, zoom), seen.starts)
    parts = seen.shapes
    at = first = sum(shape.role == "glow" for shape in parts)
    # What is no thing's colour shows through at the rim, so it is the outline's.
    sheet = _Sheet(size, parts[at].edge or parts[at].fill[:3])
    mask = Image.new("L", size)
    cover = ImageDraw.Draw(mask)
    # The outer half of the outline falls outside the silhouette and is cut off.
    rim = max(1, round(2 * zoom * max(0.55, min(0.012 * thing.height, 0.7 + 0.005 * thing.height))))
    joint = "curve" if rim > 8 else None
    while at < len(parts):
        shape, path = parts[at], corners[at]
        stop = at + 1
        if shape.role == "over":
            sheet.paint(path, shape.fill)
            at = stop
            continue
        cover.polygon(path, fill=255)
        while stop < len(parts) and parts[stop].role == "inside":
            stop += 1
        # What the first shape's paint spills is covered by later shapes or cut off by the mask.
        if at == first or stop == at + 1:
            for part in range(at, stop):
                sheet.paint(corners[part], parts[part].fill)
        else:
            piece = _Sheet(size, shape.fill[:3])
            for part in range(at + 1, stop):
                piece.paint(corners[part], parts[part].fill)
            # A mask of bits is several times as fast as one of bytes.
            bits = Image.new("1", size)
            ImageDraw.Draw(bits).polygon(path, fill=1)
            sheet.image.paste(piece.image, None, bits)
        at = stop
        if shape.edge:
            sheet.ink.line(path + path[:2], fill=shape.edge, width=rim, joint=joint)
    if zoom > 1:
        return sheet.image.reduce(zoom), mask.reduce(zoom)
    return sheet.image, mask


def _ground(picture: Image, thing: Thing, hung: bool, mask: Image, window: Window) -> None:
    """The thing's light and shadow on what is behind all things."""
    from PIL import Image

    h = thing.height
    seen = look(thing)
    for shape, (start, stop) in zip(seen.shapes, itertools.pairwise(seen.starts), strict=True):
        if shape.role == "glow":
            points = seen.corners[start:stop]
            (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
            x, y = thing.x + h * float(x1 + x2) / 2, thing.y + h * float(y1 + y2) / 2
            rx, ry = h * float(x2 - x1) / 2, h * float(y2 - y1) / 2
            blot(picture, x, y, rx, ry, shape.fill[:3], shape.fill[3] / 255)
    if hung:
        shift = max(1, round(0.035 * h))
        soft = Image.new("L", mask.size)
        soft.paste(60, None, mask)
        picture.paste((24, 18, 30), (window.x1 + shift, window.y1 + shift), soft)
    elif not KINDS[thing.kind].floats:
        x1, _, x2, _ = reach(thing)
        half = 0.56 * (x2 - x1)
        x = (x1 + x2) / 2 + 0.06 * h
        blot(picture, x, thing.y, half, max(2.0, 0.2 * half), (24, 18, 30), 0.55)


def draw(scene: Scene) -> Image:
    """The picture of a scene, RGB."""
    picture = backdrop(scene.stage, scene.width, scene.height)
    frame = Window(0, 0, scene.width, scene.height)
    hung = scene.stage.name == "wall"
    placed = []
    for thing in scene.things:
        window = whole(reach(thing)).cut(frame)
        if not window.empty():
            colors, mask = sprite(thing, window)
            placed.append((window, colors, mask))
            # All light and shadow lies below all things, whose colours it must not change.
            _ground(picture, thing, hung, mask, window)
    for window, colors, mask in placed:
        picture.paste(colors, window[:2], mask)
    return picture


def measure(things: Sequence[Thing], width: int, height: int) -> tuple[Thing, ...]:
    """The things with `full`, `box` and `visible` as they are seen in a frame of that size.

    `things` are in the order of painting. A thing of which nothing can be seen has an empty box.
    """
    frame = Window(0, 0, width, height)
    fulls = [whole(reach(thing)) for thing in things]
    alone: dict[int, NDArray[np.uint8]] = {}

    def opacity(at: int) -> NDArray[np.uint8]:
        if at not in alone:
            alone[at] = np.asarray(silhouette(things[at], fulls[at]))
        return alone[at]

    seen: list[Thing] = []
    for at, (thing, full) in enumerate(zip(things, fulls, strict=True)):
        inside = full.cut(frame)
        over = [i for i in range(at + 1, len(things)) if fulls[i].meets(inside)]
        box, visible = inside, 1.0
        if inside.empty():
            box, visible = Window(0, 0, 0, 0), 0.0
        elif over or inside != full:
            left = _part(opacity(at), full, inside).astype(np.uint16)
            for i in over:
                shared = fulls[i].cut(inside)
                hide = _part(opacity(i), fulls[i], shared)
                view = _part(left, inside, shared)
                view *= np.uint16(255) - hide
                view //= np.uint16(255)
            box = _box(left, inside, opacity(at), full)
            visible = int(left.sum()) / max(1, int(opacity(at).sum())) if not box.empty() else 0.0
        x1, y1, x2, y2 = map(float, box)
        a, b, c, d = map(float, full)
        seen.append(
            msgspec.structs.replace(thing, full=(a, b, c, d), box=(x1, y1, x2, y2), visible=visible)
        )
    return tuple(seen)


def _part(pixels: NDArray[Any], window: Window, part: Window) -> NDArray[Any]:
    """A view of a part of a window's pixels."""
    return pixels[
        part.y1 - window.y1 : part.y2 - window.y1, part.x1 - window.x1 : part.x2 - window.x1
    ]


def _box(left: NDArray[Any], inside: Window, alone: NDArray[Any], full: Window) -> Window:
    """Extent of what is left of a thing inside a window, given also the whole of it."""
    now, then = _sides(left, inside), _sides(alone, full)
    if now is None or then is None:
        return Window(0, 0, 0, 0)
    # Sides that nothing touches are where the corners say, to the pixel.
    return Window(
        *(
            corner if side == bare else side
            for side, bare, corner in zip(now, then, full, strict=True)
        )
    ).cut(inside)


def _sides(pixels: NDArray[Any], window: Window) -> Window | None:
    """Extent of the pixels of a window that can be seen, or None."""
    there = pixels >= SEEN
    ys, xs = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not len(ys):
        return None
    x, y = window.x1, window.y1
    return Window(x + int(xs[0]), y + int(ys[0]), x + int(xs[-1]) + 1, y + int(ys[-1]) + 1)


def encode(picture: Image) -> bytes:
    """JPEG file of a picture."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()
