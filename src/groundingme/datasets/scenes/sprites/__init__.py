"""How every kind of thing looks: vector shapes, in units of the body's height.

`look` gives what to paint, `solids` the silhouette, `extent` how far it reaches. A new kind is a
function from a `Sketch` in one of the modules here and a row in `DRAWN`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

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


class Look(NamedTuple):
    """A thing as it is painted, in units of the body's height about the foot.

    Attributes:
        shapes: What to paint, in order, glows first; their own corners are those of an upright
            thing.
        starts: Where the corners of each shape begin among all, and the end of the last.
        corners: Those of all shapes, one after another, as the thing stands, (N, 2).
    """

    shapes: tuple[Shape, ...]
    starts: tuple[int, ...]
    corners: Points


def _joined(shapes: Sequence[Shape]) -> Look:
    points = [shape.points for shape in shapes]
    starts = tuple(itertools.accumulate(map(len, points), initial=0))
    return Look(tuple(shapes), starts, np.concatenate(points))


@lru_cache(maxsize=512)
def _plain(thing: Thing) -> Look:
    """A thing that neither leans nor is mirrored."""
    sketch = Sketch(thing)
    DRAWN[thing.kind](sketch)
    return _joined(sorted(sketch.shapes, key=lambda shape: shape.role != "glow"))


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
def _silhouette(kind: str, parts: tuple[str, ...], state: str, count: int) -> Look:
    """The solid shapes of an upright thing; its colours and writing do not matter."""
    thing = Thing(kind=kind, color="red", parts=parts, state=state, count=count)
    return _joined([shape for shape in _plain(thing).shapes if shape.role == "solid"])


@lru_cache(maxsize=4096)
def _reach(
    kind: str, parts: tuple[str, ...], state: str, count: int, lean: float, flip: bool
) -> tuple[Box, float]:
    """Extent, and how far the thing is lifted."""
    corners = _turn(_silhouette(kind, parts, state, count).corners, lean, flip)
    x1, y1 = corners.min(axis=0).tolist()
    x2, y2 = corners.max(axis=0).tolist()
    # What leans still stands on the ground, on its lowest corner.
    lift = y2 if lean and not KINDS[kind].floats else 0.0
    return (x1, y1 - lift, x2, y2 - lift), lift


def extent(thing: Thing) -> Box:
    """x1, y1, x2, y2 of the silhouette, in units of the body's height about the foot."""
    return _reach(thing.kind, thing.parts, thing.state, thing.count, thing.lean, thing.flip)[0]


def _standing(plain: Look, thing: Thing) -> Look:
    """The look of an upright thing, mirrored and turned as the thing is."""
    if not thing.lean and not thing.flip:
        return plain
    lift = _reach(thing.kind, thing.parts, thing.state, thing.count, thing.lean, thing.flip)[1]
    return plain._replace(corners=_turn(plain.corners, thing.lean, thing.flip) - (0.0, lift))


@lru_cache(maxsize=128)
def look(thing: Thing) -> Look:
    """All that is painted of a thing."""
    return _standing(_plain(_bare(thing, thing.flip and bool(thing.text))), thing)


def solids(thing: Thing) -> Look:
    """The solid shapes of a thing alone, which are its silhouette."""
    return _standing(_silhouette(thing.kind, thing.parts, thing.state, thing.count), thing)


def shapes(thing: Thing) -> tuple[Shape, ...]:
    """What to paint, in order, each shape where it is."""
    seen = look(thing)
    return tuple(
        shape._replace(points=seen.corners[start:stop])
        for shape, (start, stop) in zip(seen.shapes, itertools.pairwise(seen.starts), strict=True)
    )
