"""Where things stand: from a list of things without places to a scene that can be drawn.

Nothing overlaps unless it is asked to, so that every fact can be seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from groundingme.datasets.scenes.catalog import KINDS
from groundingme.datasets.scenes.render import measure, reach, scaled
from groundingme.datasets.scenes.scene import Scene, Stage, Thing, size_at
from groundingme.datasets.scenes.sprites import extent
from groundingme.schema import Box


def _snapped(x: float, y: float, height: float) -> tuple[float, float, float]:
    """A place and height to a quarter of a pixel, so that no last digit decides a pixel."""
    return round(x * 4) / 4, round(y * 4) / 4, max(4.0, round(height * 4) / 4)


def put(thing: Thing, x: float, y: float, height: float) -> Thing:
    """The thing at a place, to a quarter of a pixel."""
    x, y, height = _snapped(x, y, height)
    return msgspec.structs.replace(thing, x=x, y=y, height=height)


def _free(box: Box, others: Sequence[Box], gap: float) -> bool:
    """Whether a box is that far from all others."""
    x1, y1, x2, y2 = box
    for a, b, c, d in others:
        if not (x2 + gap <= a or c + gap <= x1 or y2 + gap <= b or d + gap <= y1):
            return False
    return True


def _inside(box: Box, width: int, height: int) -> bool:
    return box[0] >= 2 and box[1] >= 2 and box[2] <= width - 2 and box[3] <= height - 2


def finish(things: Sequence[Thing], stage: Stage, width: int, height: int) -> Scene:
    """A scene with measured boxes, painted from far to near.

    On the ground what stands lower is nearer; floating things hang at half the depth. Where a
    thing is meant to cover another, it has been placed in front by its foot.
    """
    order = sorted(range(len(things)), key=lambda i: (things[i].y, i))
    painted = [things[i] for i in order]
    return Scene(width=width, height=height, stage=stage, things=measure(painted, width, height))


def scatter(
    things: Sequence[Thing],
    sizes: Sequence[float],
    stage: Stage,
    width: int,
    height: int,
    rng: random.Random,
    *,
    unit: float,
    fixed: Sequence[Thing] = (),
) -> list[Thing] | None:
    """Places things on the ground at random, floating ones in the air above it.

    Args:
        things: Without places.
        sizes: Factor of each, on top of its kind's own height.
        stage: One of `GROUND`.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        rng: Decides the places.
        unit: Height in pixels of a body of height 1 at the lower edge.
        fixed: Already placed.

    Returns:
        `fixed` and `things`, or None where they do not fit.
    """
    placed, boxes = list(fixed), [reach(thing) for thing in fixed]
    order = sorted(range(len(things)), key=lambda i: -sizes[i] * KINDS[things[i].kind].height)
    found: dict[int, Thing] = {}
    gap = 0.06 * unit
    for i in order:
        kind = KINDS[things[i].kind]
        # The thing itself is put down once a place is found: most places are not free.
        bare = extent(things[i])
        for _ in range(50):
            if kind.floats:
                y = rng.uniform(0.3 * height, max(0.35 * height, stage.horizon + 0.12 * height))
                size = unit * 0.8
            else:
                y = stage.horizon + (0.06 + 0.91 * rng.random()) * (height - stage.horizon)
                size = unit * size_at(stage, y, height)
            x = rng.uniform(0.03, 0.97) * width
            x, y, tall = _snapped(x, y, size * kind.height * sizes[i])
            box = scaled(bare, x, y, tall)
            if _inside(box, width, height) and _free(box, boxes, gap):
                found[i] = put(things[i], x, y, tall)
                boxes.append(box)
                break
        else:
            return None
    return placed + [found[i] for i in range(len(things))]


def line(
    things: Sequence[Thing],
    sizes: Sequence[float],
    width: int,
    y: float,
    rng: random.Random,
    *,
    unit: float,
    gaps: Sequence[float] | None = None,
    jitter: float = 0.0,
) -> list[Thing] | None:
    """Places things side by side on one line, in their order.

    Args:
        things: Without places.
        sizes: Factor of each.
        width: Of the picture, in pixels.
        y: Foot of all of them, in pixels.
        rng: Decides what room is left over.
        unit: Height in pixels of a body of height 1.
        gaps: Room in units before each thing but the first; None spreads them over the width.
        jitter: Most that a foot stands higher or lower, in pixels.

    Returns:
        The things, or None where they do not fit.
    """
    bodies = [
        put(thing, 0, y + rng.uniform(-jitter, jitter), unit * KINDS[thing.kind].height * size)
        for thing, size in zip(things, sizes, strict=True)
    ]
    boxes = [reach(body) for body in bodies]
    needed = sum(box[2] - box[0] for box in boxes)
    free = 0.94 * width - needed - (unit * sum(gaps) if gaps is not None else 0.0)
    least = 0.12 * unit * (len(things) + 1) if gaps is None else 0.0
    if free < least:
        return None
    if gaps is None:
        shares = [rng.uniform(0.5, 1.5) for _ in range(len(things) + 1)]
        rooms = [free * share / sum(shares) for share in shares]
    else:
        lead = rng.uniform(0.1, 0.9) * free
        rooms = [lead, *(unit * gap for gap in gaps)]
    x = 0.03 * width
    placed = []
    for body, box, room in zip(bodies, boxes, rooms, strict=False):
        x += room
        placed.append(put(body, x - box[0], body.y, body.height))
        x += box[2] - box[0]
    return placed


def grid(
    rows: Sequence[Sequence[Thing]],
    boards: Sequence[float],
    width: int,
    rng: random.Random,
    *,
    unit: float,
) -> list[Thing] | None:
    """Places rows of things on boards, in columns that stand one below the other.

    Args:
        rows: From top to bottom; each from left to right.
        boards: Foot of each row, in pixels.
        width: Of the picture, in pixels.
        rng: Moves each a little.
        unit: Height in pixels of a body of height 1.
    """
    placed: list[Thing] = []
    for row, y in zip(rows, boards, strict=True):
        cell = 0.9 * width / len(row)
        for column, thing in enumerate(row):
            size = unit * min(1.0, KINDS[thing.kind].height)
            middle = 0.05 * width + (column + 0.5 + rng.uniform(-0.06, 0.06)) * cell
            body = put(thing, 0, y, size)
            box = reach(body)
            if box[2] - box[0] > 0.86 * cell:
                return None
            placed.append(put(body, middle - (box[0] + box[2]) / 2, y, size))
    return placed


def make_stage(name: str, width: int, height: int, rng: random.Random, *, rows: int = 0) -> Stage:
    """A stage of that name for a picture of that size, in pixels."""
    seed = rng.randrange(1 << 30)
    if name in ("shelf", "wall"):
        top, bottom = 0.06 * height, 0.95 * height
        boards = tuple(
            round(top + (bottom - top) * (row + 1) / rows - 0.01 * height) for row in range(rows)
        )
        return Stage(name=name, seed=seed, boards=tuple(map(float, boards)))
    low, high = (0.5, 0.62) if name == "table" else (0.3, 0.46)
    night = name in ("park", "street") and rng.random() < 0.12
    horizon = float(round(height * rng.uniform(low, high)))
    return Stage(name=name, seed=seed, horizon=horizon, night=night)
