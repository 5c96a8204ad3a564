"""How every kind of thing looks: vector shapes, in units of the body's height.

`shapes` gives what to paint, `extent` how far its silhouette reaches. A new kind is a function
from a `Sketch` in one of the modules here and a row in `DRAWN`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from groundingme.datasets.scenes.catalog import KINDS
from groundingme.datasets.scenes.scene import Thing
from groundingme.datasets.scenes.sprites import beings, furniture, goods, vessels
from groundingme.datasets.scenes.sprites.outlines import Points
from groundingme.datasets.scenes.sprites.toolkit import Shape, Sketch
from groundingme.schema import Box

DRAWN: dict[str, Callable[[Sketch], None]] = {
    "mug": vessels.mug,
    "bottle": vessels.bottle,
    "bucket": vessels.bucket,
    "lamp": vessels.lamp,
    "candle": vessels.candle,
    "book": goods.book,
    "box": goods.box,
    "umbrella": goods.umbrella,
    "chair": furniture.chair,
    "sign": furniture.sign,
    "car": beings.car,
    "house": furniture.house,
    "robot": beings.robot,
    "ball": goods.ball,
    "balloon": goods.balloon,
    "clock": furniture.clock,
    "flowerpot": vessels.flowerpot,
    "backpack": goods.backpack,
    "die": furniture.die,
    "cat": beings.cat,
    "bird": beings.bird,
    "dresser": furniture.dresser,
    "kite": goods.kite,
    "hat": goods.hat,
}
"""The drawing of every kind."""


@lru_cache(maxsize=512)
def _plain(thing: Thing) -> tuple[tuple[Shape, ...], Points]:
    """Shapes of a thing that neither leans nor is mirrored, and all their points together."""
    sketch = Sketch(thing)
    DRAWN[thing.kind](sketch)
    return tuple(sketch.shapes), np.concatenate([shape.points for shape in sketch.shapes])


def _bare(thing: Thing, flip: bool) -> Thing:
    """Only what its looks depend on, so that equal looks are drawn once."""
    return Thing(
        kind=thing.kind, color=thing.color, surface=thing.surface, parts=thing.parts,
        state=thing.state, text=thing.text, count=thing.count, flip=flip,
    )  # fmt: skip


def _turn(points: Points, lean: float, flip: bool) -> Points:
    """Points mirrored and turned about the foot, (N, 2)."""
    if flip:
        points = points * (-1.0, 1.0)
    if not lean:
        return points
    angle = np.deg2rad(lean)
    # Rounded, so that the last bit of a sine decides no pixel.
    c, s = round(float(np.cos(angle)) * 2**24) / 2**24, round(float(np.sin(angle)) * 2**24) / 2**24
    x, y = points[:, 0], points[:, 1]
    return np.stack([x * c - y * s, x * s + y * c], axis=1)


@lru_cache(maxsize=512)
def _silhouette(kind: str, parts: tuple[str, ...], state: str, count: int) -> Points:
    """All corners of the silhouette of an upright thing; its colours and writing do not matter."""
    thing = Thing(kind=kind, color="red", parts=parts, state=state, count=count)
    return np.concatenate([shape.points for shape in _plain(thing)[0] if shape.role == "solid"])


@lru_cache(maxsize=4096)
def _reach(
    kind: str, parts: tuple[str, ...], state: str, count: int, lean: float, flip: bool
) -> tuple[Box, float]:
    """Extent, and how far the thing is lifted."""
    corners = _turn(_silhouette(kind, parts, state, count), lean, flip)
    x1, y1 = corners.min(axis=0).tolist()
    x2, y2 = corners.max(axis=0).tolist()
    # What leans still stands on the ground, on its lowest corner.
    lift = y2 if lean and not KINDS[kind].floats else 0.0
    return (x1, y1 - lift, x2, y2 - lift), lift


def extent(thing: Thing) -> Box:
    """x1, y1, x2, y2 of the silhouette, in units of the body's height about the foot."""
    return _reach(thing.kind, thing.parts, thing.state, thing.count, thing.lean, thing.flip)[0]


@lru_cache(maxsize=128)
def _shapes(thing: Thing) -> tuple[Shape, ...]:
    plain, points = _plain(_bare(thing, thing.flip and bool(thing.text)))
    if not thing.lean and not thing.flip:
        return plain
    lift = _reach(thing.kind, thing.parts, thing.state, thing.count, thing.lean, thing.flip)[1]
    points = _turn(points, thing.lean, thing.flip) - (0.0, lift)
    turned: list[Shape] = []
    at = 0
    for shape in plain:
        stop = at + len(shape.points)
        turned.append(shape._replace(points=points[at:stop]))
        at = stop
    return tuple(turned)


def shapes(thing: Thing) -> tuple[Shape, ...]:
    """What to paint, in order, in units of the body's height about the foot."""
    return _shapes(thing)
