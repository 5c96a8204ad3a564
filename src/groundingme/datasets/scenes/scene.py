"""The scene graph: things with exact boxes, and how a picture of them is framed."""

from __future__ import annotations

import msgspec

from groundingme.schema import Box


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in a picture.

    Attributes:
        kind: A name of `catalog.KINDS`.
        color: A name of `catalog.COLORS`.
        surface: A name of `catalog.SURFACES`.
        parts: Names of the optional parts that it has.
        state: A value of its kind's axis, or "".
        text: What is written on it, or "".
        count: How many of its kind's repeated detail it has; 0 where it has none.
        lean: Clockwise angle in degrees; 0 stands straight.
        flip: Whether it is drawn mirrored (never its writing).
        x: Of the middle of its foot (of its body, where it floats), in pixels of the picture.
        y: Of its foot, in pixels of the picture, downwards.
        height: Of its body, without parts, in pixels of the picture.
        box: Its visible extent in the picture, parts included, in whole pixels.
        full: Its whole extent, behind other things and beyond the frame.
        visible: Share of its area that can be seen, in [0, 1].
    """

    kind: str
    color: str
    surface: str = "plain"
    parts: tuple[str, ...] = ()
    state: str = ""
    text: str = ""
    count: int = 0
    lean: float = 0.0
    flip: bool = False
    x: float = 0.0
    y: float = 0.0
    height: float = 100.0
    box: Box = (0.0, 0.0, 0.0, 0.0)
    full: Box = (0.0, 0.0, 0.0, 0.0)
    visible: float = 1.0


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Where the things stand.

    Attributes:
        name: `room`, `park`, `street` (things on the ground, nearer ones lower and larger), `table`
            (one line of things on a table top), `shelf` (rows of things on boards) or `wall`
            (things hung up in rows).
        seed: Of everything in the background that has no meaning.
        horizon: Height of the line where ground meets wall or sky, in pixels; 0 for a shelf
            or wall.
        boards: Heights of the shelf's boards, in pixels, from top to bottom.
        rug: A round rug on the ground, as the box around its ellipse in pixels, or None.
        night: Whether it is dark.
    """

    name: str
    seed: int = 0
    horizon: float = 0.0
    boards: tuple[float, ...] = ()
    rug: Box | None = None
    night: bool = False


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A picture before it is drawn.

    Attributes:
        width: In pixels.
        height: In pixels.
        stage: Background.
        things: In the order of painting, the farthest first.
    """

    width: int
    height: int
    stage: Stage
    things: tuple[Thing, ...]


GROUND = ("room", "park", "street")
"""Stages with depth: nearer things stand lower in the picture and are larger."""

_FAR = 0.5
"""Size at the horizon of what has size 1 at the lower edge."""


def size_at(stage: Stage, y: float, height: int) -> float:
    """How large a thing is that stands at `y`, beside one at the lower edge of the picture.

    Args:
        stage: Of the scene.
        y: Foot of the thing, in pixels.
        height: Of the picture, in pixels.

    Returns:
        A factor in (0, 1]; 1 everywhere on stages without depth.
    """
    if stage.name not in GROUND:
        return 1.0
    along = (y - stage.horizon) / max(1.0, height - stage.horizon)
    return _FAR + (1 - _FAR) * min(1.0, max(0.0, along))
