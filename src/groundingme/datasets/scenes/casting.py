"""Which things come together in a scene, so that a subtask can be asked about it.

Each builder draws things that are alike where the question will tell them apart, and places them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

import msgspec

from groundingme.datasets.scenes import layout
from groundingme.datasets.scenes.catalog import (
    AXES,
    FIXED_COLOR,
    KINDS,
    texts,
)
from groundingme.datasets.scenes.render import reach
from groundingme.datasets.scenes.scene import GROUND, Scene, Stage, Thing, size_at


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a data set of scenes easy or hard. Ranges are (least, most), both included.

    Attributes:
        width: Of every picture in pixels; 0 draws one of several sizes.
        height: Of every picture in pixels; 0 draws one of several sizes.
        small_width: Of pictures for the subtask Small, in pixels; its height is 9/16 of that.
        distractors: Things of the target's kind beside the target.
        clutter: Things of other kinds.
        size: Height of an average thing in front, as a share of the picture's height.
        small_size: Height of a tiny target, in pixels.
        visible: Share of an occluded target that can be seen.
        facts: Facts and relations in a description.
        words: Words in a description.
        paraphrase: 0 words alike always, 1 the same words in varying structures, 2 all varies.
        similar: How often a distractor differs from the target in one fact only, in [0, 1].
    """

    width: int = 0
    height: int = 0
    small_width: int = 1920
    distractors: tuple[int, int] = (1, 4)
    clutter: tuple[int, int] = (2, 5)
    size: tuple[float, float] = (0.26, 0.38)
    small_size: tuple[float, float] = (20.0, 44.0)
    visible: tuple[float, float] = (0.4, 0.8)
    facts: tuple[int, int] = (1, 8)
    words: tuple[int, int] = (1, 70)
    paraphrase: int = 2
    similar: float = 0.5


_SIZES = ((640, 480), (768, 576), (800, 600), (1024, 768), (768, 512), (960, 640), (640, 640),
          (512, 512), (1024, 576))  # fmt: skip


def picture_size(rng: random.Random, knobs: Knobs) -> tuple[int, int]:
    """Width and height of a picture, in pixels."""
    if knobs.width and knobs.height:
        return knobs.width, knobs.height
    return rng.choice(_SIZES)


def draw_thing(rng: random.Random, kind: str, **fixed: object) -> Thing:
    """A thing of that kind with everything else at random, except for what is given."""
    row = KINDS[kind]
    surface = str(
        fixed.get("surface")
        or ("plain" if rng.random() < 0.4 and "plain" in row.surfaces else rng.choice(row.surfaces))
    )
    state = rng.choice(AXES[row.axis].values) if row.axis else ""
    values: dict[str, object] = {
        "color": rng.choice(row.colors),
        "surface": surface,
        "parts": tuple(part for part in row.parts if rng.random() < 0.5),
        "state": state,
        "text": rng.choice(texts(row)) if row.text and rng.random() < 0.6 else "",
        "count": rng.randint(row.count.least, row.count.most) if row.count else 0,
        "flip": rng.random() < 0.5,
    }
    if row.text == "word" and not values["text"]:
        values["text"] = rng.choice(texts(row))
    values.update(fixed)
    return _consistent(Thing(kind=kind, **values), rng)  # type: ignore[arg-type]


def _consistent(thing: Thing, rng: random.Random) -> Thing:
    lean = 0.0
    if thing.state == "tilted":
        lean = rng.choice((-1, 1)) * float(rng.randint(16, 26))
    # A bottle's label hides whatever pattern the glass has.
    surface = "plain" if thing.kind == "bottle" and thing.text else thing.surface
    color = FIXED_COLOR.get(surface, thing.color)
    return msgspec.structs.replace(thing, lean=lean, color=color, surface=surface)


def vary(thing: Thing, key: str, rng: random.Random) -> Thing:
    """The same thing with another value of one fact: `color`, `surface`, `part`, ..."""
    row = KINDS[thing.kind]
    change: dict[str, object] = {}
    if key == "surface" and len(row.surfaces) > 1:
        change["surface"] = rng.choice([one for one in row.surfaces if one != thing.surface])
        if thing.kind == "bottle":
            change["text"] = ""
        if thing.surface in FIXED_COLOR:
            change["color"] = rng.choice(row.colors)
    elif key == "part" and row.parts:
        part = rng.choice(list(row.parts))
        kept = [one for one in thing.parts if one != part]
        change["parts"] = tuple(kept if part in thing.parts else [*kept, part])
    elif key == "state" and row.axis:
        change["state"] = next(one for one in AXES[row.axis].values if one != thing.state)
    elif key == "text" and row.text:
        change["text"] = rng.choice([one for one in texts(row) if one != thing.text])
    elif key == "count" and row.count:
        counts = range(row.count.least, row.count.most + 1)
        change["count"] = rng.choice([one for one in counts if one != thing.count])
    elif thing.surface in FIXED_COLOR:
        change["surface"] = "plain"
        change["color"] = rng.choice([one for one in row.colors if one != thing.color])
    else:
        change["color"] = rng.choice([one for one in row.colors if one != thing.color])
    change["flip"] = rng.random() < 0.5
    return _consistent(msgspec.structs.replace(thing, **change), rng)


def _kinds(key: str, *, floats: bool = True) -> list[str]:
    """Kinds of which a fact can be asked."""
    needs: dict[str, Callable[[str], bool]] = {
        "part": lambda kind: bool(KINDS[kind].parts),
        "state": lambda kind: bool(KINDS[kind].axis),
        "text": lambda kind: bool(KINDS[kind].text),
        "count": lambda kind: KINDS[kind].count is not None,
    }
    able = needs.get(key)
    return [
        kind
        for kind, row in KINDS.items()
        if (able is None or able(kind)) and (floats or not row.floats)
    ]


def cast(rng: random.Random, knobs: Knobs, key: str, *, floats: bool = True) -> list[Thing]:
    """A target, things of its kind that differ from it, and others; the target first.

    Args:
        rng: Decides.
        knobs: How many, and how similar.
        key: The fact that should tell them apart: `color`, `surface`, `part`, `state`, `text`,
            `count`, or `place` where only their place does.
        floats: Whether things may hang in the air.
    """
    kind = rng.choice(_kinds(key, floats=floats))
    fixed: dict[str, object] = {}
    if key == "text":
        fixed["text"] = rng.choice(texts(KINDS[kind]))
    target = draw_thing(rng, kind, **fixed)
    things = [target]
    for _ in range(rng.randint(*knobs.distractors)):
        if key == "place":
            alike = rng.random() < 0.6
            things.append(
                msgspec.structs.replace(target, flip=rng.random() < 0.5)
                if alike
                else vary(target, rng.choice(("color", "surface")), rng)
            )
        elif rng.random() < knobs.similar:
            things.append(vary(target, key, rng))
        else:
            things.append(draw_thing(rng, kind))
    others = [one for one in _kinds("", floats=floats) if one != kind]
    things += [draw_thing(rng, rng.choice(others)) for _ in range(rng.randint(*knobs.clutter))]
    return things


def _shrinking(
    attempt: Callable[[float], list[Thing] | None], unit: float, least: float
) -> list[Thing] | None:
    """Tries a layout with ever smaller things."""
    while unit >= least:
        placed = attempt(unit)
        if placed is not None:
            return placed
        unit *= 0.88
    return None


def on_ground(
    things: Sequence[Thing], rng: random.Random, knobs: Knobs, *, sizes: Sequence[float] = ()
) -> Scene | None:
    """Things scattered on the ground of a room, park or street."""
    width, height = picture_size(rng, knobs)
    stage = layout.make_stage(rng.choice(GROUND), width, height, rng)
    factors = sizes or [rng.uniform(0.9, 1.1) for _ in things]
    unit = height * rng.uniform(*knobs.size)
    placed = _shrinking(
        lambda unit: layout.scatter(things, factors, stage, width, height, rng, unit=unit),
        unit, 0.12 * height,
    )  # fmt: skip
    return layout.finish(placed, stage, width, height) if placed else None


def on_table(
    things: Sequence[Thing],
    rng: random.Random,
    knobs: Knobs,
    *,
    gaps: Sequence[float] | None = None,
    sizes: Sequence[float] = (),
) -> Scene | None:
    """Things side by side on a table, in their order."""
    width, height = picture_size(rng, knobs)
    stage = layout.make_stage("table", width, height, rng)
    factors = sizes or [1.0 for _ in things]
    y = round(stage.horizon + (height - stage.horizon) * rng.uniform(0.45, 0.75))
    jitter = 0.0 if gaps is not None else 0.02 * height
    placed = _shrinking(
        lambda unit: layout.line(
            things, factors, width, float(y), rng, unit=unit, gaps=gaps, jitter=jitter
        ),
        height * rng.uniform(0.26, 0.38), 0.1 * height,
    )  # fmt: skip
    return layout.finish(placed, stage, width, height) if placed else None


def in_grid(
    things: Sequence[Thing], rng: random.Random, knobs: Knobs, *, name: str = ""
) -> Scene | None:
    """Things in rows on a shelf or wall."""
    width, height = picture_size(rng, knobs)
    count = len(things)
    rows = 2 if count <= 8 else rng.choice((2, 3)) if count <= 10 else 3
    name = name or rng.choice(("shelf", "shelf", "wall"))
    stage = layout.make_stage(name, width, height, rng, rows=rows)
    bounds = [round(count * row / rows) for row in range(rows + 1)]
    lines = [things[a:b] for a, b in itertools.pairwise(bounds)]
    if not all(lines):
        return None
    placed = _shrinking(
        lambda unit: layout.grid(lines, stage.boards, width, rng, unit=unit),
        0.62 * 0.9 * height / rows, 0.08 * height,
    )  # fmt: skip
    return layout.finish(placed, stage, width, height) if placed else None


def discriminative(rng: random.Random, knobs: Knobs, key: str) -> Scene | None:
    """Things of one kind that differ in one fact, among others."""
    where = rng.random()
    things = cast(rng, knobs, key, floats=where < 0.65)
    if key == "size":
        things = cast(rng, knobs, "place", floats=False)
        sizes = [rng.uniform(0.7, 0.8) for _ in things]
        sizes[0] = rng.choice((1.25, 0.5))
        return on_ground(things, rng, knobs, sizes=sizes)
    rng.shuffle(things)
    if where < 0.65:
        return on_ground(things, rng, knobs)
    if where < 0.8 and len(things) <= 7:
        return on_table(things, rng, knobs)
    return in_grid(things, rng, knobs)


def relationship(rng: random.Random, knobs: Knobs, key: str) -> Scene | None:
    """Things that are alike but for their places."""
    where = rng.random()
    things = cast(rng, knobs, "place", floats=where < 0.55)
    rng.shuffle(things)
    if where < 0.12:
        return _with_rug(things, rng, knobs)
    if where < 0.55:
        return on_ground(things, rng, knobs)
    if where < 0.7 and len(things) <= 7:
        return on_table(things, rng, knobs)
    return in_grid(things, rng, knobs)


def _with_rug(things: Sequence[Thing], rng: random.Random, knobs: Knobs) -> Scene | None:
    width, height = picture_size(rng, knobs)
    stage = layout.make_stage("room", width, height, rng)
    ground = height - stage.horizon
    half_w, half_h = width * rng.uniform(0.17, 0.24), ground * rng.uniform(0.22, 0.3)
    x, y = width * rng.uniform(0.35, 0.65), stage.horizon + ground * rng.uniform(0.5, 0.62)
    stage = msgspec.structs.replace(
        stage,
        rug=tuple(float(round(v)) for v in (x - half_w, y - half_h, x + half_w, y + half_h)),
    )
    standing = [thing for thing in things if not KINDS[thing.kind].floats]
    factors = [rng.uniform(0.9, 1.1) for _ in standing]
    placed = _shrinking(
        lambda unit: layout.scatter(standing, factors, stage, width, height, rng, unit=unit),
        height * rng.uniform(0.22, 0.3), 0.12 * height,
    )  # fmt: skip
    return layout.finish(placed, stage, width, height) if placed else None


def counting(rng: random.Random, knobs: Knobs, key: str) -> Scene | None:
    """Rows, lines and groups of things; or things with a detail that is counted."""
    if key == "count":
        return discriminative(rng, knobs, "count")
    kind = rng.choice(_kinds("place", floats=False))
    first = draw_thing(rng, kind)

    def again() -> Thing:
        changed = vary(first, rng.choice(("color", "surface", "part", "state")), rng)
        return changed if rng.random() < 0.6 else msgspec.structs.replace(first)

    if key == "group":
        sizes = rng.choice(((2, 3), (3, 2), (1, 3), (3, 1), (2, 4), (4, 2), (2, 1, 3), (3, 1, 2)))
        gaps = [
            gap for size in sizes for gap in [1.6, *([0.12] * (size - 1))]
        ][1:]  # fmt: skip
        return on_table([again() for _ in gaps] + [first], rng, knobs, gaps=gaps)
    others = [one for one in _kinds("", floats=False) if one != kind]
    same = rng.randint(3, 6)
    things = [first, *(again() for _ in range(same - 1))]
    if key == "row":
        more = rng.randint(6, 12) - same
        things += [draw_thing(rng, rng.choice(others)) for _ in range(max(0, more))]
        rng.shuffle(things)
        return in_grid(things, rng, knobs)
    things += [draw_thing(rng, rng.choice(others)) for _ in range(rng.randint(0, 2))]
    rng.shuffle(things)
    return on_table(things, rng, knobs) if rng.random() < 0.6 else on_ground(things, rng, knobs)


def occlusion(rng: random.Random, knobs: Knobs, key: str) -> Scene | None:
    """A thing that another partly covers, or that the frame cuts."""
    width, height = picture_size(rng, knobs)
    stage = layout.make_stage(rng.choice((*GROUND, "table")), width, height, rng)
    things = cast(rng, knobs, rng.choice(("color", "surface")), floats=False)
    target, rest = things[0], things[1:]
    unit = height * rng.uniform(*knobs.size) * 1.1
    low, high = (0.35, 0.9) if stage.name != "table" else (0.4, 0.6)
    for _ in range(8):
        y = stage.horizon + (height - stage.horizon) * rng.uniform(low, high)
        size = unit * size_at(stage, y, height) * KINDS[target.kind].height
        hidden = layout.put(target, rng.uniform(0.15, 0.85) * width, y, size)
        if key == "cut":
            box = reach(hidden)
            share = 1 - rng.uniform(*knobs.visible)
            out = share * (box[2] - box[0])
            x = hidden.x - box[0] - out if rng.random() < 0.5 else hidden.x + width - box[2] + out
            fixed = [layout.put(hidden, x, y, size)]
        else:
            cover = _cover(rng, hidden, stage, unit, height, knobs)
            fixed = [hidden, cover]
        scene = layout.finish(fixed, stage, width, height)
        seen = scene.things[0].visible
        if knobs.visible[0] <= seen <= knobs.visible[1]:
            break
    else:
        return None
    factors = [rng.uniform(0.85, 1.1) for _ in rest]
    placed = _shrinking(
        lambda unit: layout.scatter(
            rest, factors, stage, width, height, rng, unit=unit, fixed=fixed
        ),
        unit, 0.12 * height,
    )  # fmt: skip
    return layout.finish(placed, stage, width, height) if placed else None


def _cover(
    rng: random.Random, hidden: Thing, stage: Stage, unit: float, height: int, knobs: Knobs
) -> Thing:
    """A thing that stands in front of another, a little to its side."""
    kind = rng.choice([one for one in _kinds("", floats=False) if one != hidden.kind])
    other = draw_thing(rng, kind)
    x1, _, x2, _ = reach(hidden)
    y = min(hidden.y + 0.03 * height + rng.uniform(0, 0.03) * height, 0.97 * height)
    size = unit * size_at(stage, y, height) * KINDS[kind].height * rng.uniform(0.8, 1.1)
    there = layout.put(other, hidden.x, y, size)
    box = reach(there)
    side = rng.choice((-1, 1))
    covered = (1 - rng.uniform(*knobs.visible)) * 1.25 * (x2 - x1)
    x = there.x + (x2 - covered - box[0] if side > 0 else x1 + covered - box[2])
    return layout.put(there, x, y, size)


def small(rng: random.Random, knobs: Knobs, key: str) -> Scene | None:
    """Tiny things in a large picture, with a few large ones beside them."""
    width = knobs.small_width
    height = round(width * 9 / 16)
    stage = layout.make_stage(rng.choice(GROUND), width, height, rng)
    things = cast(rng, knobs, rng.choice(("color", "place")), floats=False)
    others = [one for one in _kinds("", floats=False) if one != things[0].kind]
    things += [draw_thing(rng, rng.choice(others)) for _ in range(rng.randint(2, 4))]
    marks = [draw_thing(rng, rng.choice(others)) for _ in range(rng.randint(1, 3))]
    unit = rng.uniform(*knobs.small_size) / (0.75 * KINDS[things[0].kind].height)
    large = height * rng.uniform(0.16, 0.26) / unit
    factors = [rng.uniform(0.9, 1.15) for _ in things] + [
        large * rng.uniform(0.8, 1) for _ in marks
    ]
    placed = layout.scatter([*things, *marks], factors, stage, width, height, rng, unit=unit)
    return layout.finish(placed, stage, width, height) if placed else None
