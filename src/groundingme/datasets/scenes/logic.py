"""What a description means, as a value, and which things of a scene it is true of.

A `Phrase` is a description before it is put into words. `evaluate` says for every thing whether
the phrase is true of it, in three values: `NO`, `UNSURE`, `YES`. `UNSURE` is whatever a careful
person could argue about: a cup hardly to the left of a lamp, a handle that something covers, a
word too small to read. A sample is made only where exactly one thing is `YES` and all others are
`NO`, or, for a rejection, where all are `NO`. So no sample rests on a near miss.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import msgspec

from groundingme.datasets.scenes.catalog import AXES, KINDS, SECOND_COLORS
from groundingme.datasets.scenes.scene import GROUND, Scene, Thing, size_at

NO, UNSURE, YES = 0, 1, 2


class Fact(msgspec.Struct, frozen=True):
    """Something that one thing alone shows, or its place among the others.

    Attributes:
        name: `color`, `surface`, `part`, `no-part`, `state`, `text`, `count`, `covered`,
            `cut` (by the frame; value: the side), `row` (value: `2 top`), `group` (its size),
            `rug`.
        value: Of that fact.
    """

    name: str
    value: str | int = ""


class Pick(msgspec.Struct, frozen=True):
    """One of several things that are alike.

    Attributes:
        by: `left`, `right`, `top`, `bottom`: counted from there. `large`, `small`, `near`, `far`
            (from the viewer), `most`, `fewest` (of the repeated detail).
        rank: From 1.
    """

    by: str
    rank: int = 1


class Relation(msgspec.Struct, frozen=True):
    """Where a thing is, beside others.

    Attributes:
        name: `left`, `right`, `above`, `below`, `front`, `behind`, `between`, `nearest`,
            `farthest`, `hidden` (partly, by the other).
        others: What it is compared with: two for `between`, else one.
    """

    name: str
    others: tuple[Phrase, ...]


class Phrase(msgspec.Struct, frozen=True, kw_only=True):
    """A description of one thing.

    Attributes:
        kind: A name of `catalog.KINDS`; "" says nothing of the kind.
        facts: All of them hold.
        relations: All of them hold; `nearest` and `farthest` choose among what the rest leaves.
        pick: Chooses among what facts and relations leave.
        also: Facts and relations stated afterwards of the one that is meant.
    """

    kind: str = ""
    facts: tuple[Fact, ...] = ()
    relations: tuple[Relation, ...] = ()
    pick: Pick | None = None
    also: tuple[Fact | Relation, ...] = ()


def evaluate(phrase: Phrase, scene: Scene) -> list[int]:
    """`NO`, `UNSURE` or `YES` for each thing of the scene, in its order."""
    things = scene.things
    truth = [YES if not phrase.kind else _is_kind(thing, phrase.kind) for thing in things]
    for fact in phrase.facts:
        truth = _both(truth, _fact(fact, scene))
    for relation in phrase.relations:
        if relation.name not in _CHOOSING:
            truth = _both(truth, _relation(relation, scene))
    for relation in phrase.relations:
        if relation.name in _CHOOSING:
            truth = _choose_by_distance(truth, relation, scene)
    if phrase.pick:
        truth = _choose(truth, phrase.pick, scene)
    for one in phrase.also:
        truth = _both(truth, _fact(one, scene) if isinstance(one, Fact) else _relation(one, scene))
    return truth


def only(truth: Sequence[int]) -> int:
    """The index of the one thing that is meant; -1 where none is, -2 where that is not certain."""
    if UNSURE in truth or truth.count(YES) > 1:
        return -2
    return list(truth).index(YES) if YES in truth else -1


def _both(a: Sequence[int], b: Sequence[int]) -> list[int]:
    return list(map(min, a, b))


# ---- one thing alone
_LEAST_VISIBLE = 0.3
_WHOLE = 0.97
READABLE = {"kind": 12.0, "color": 9.0, "surface": 40.0, "part": 40.0, "state": 40.0,
            "count": 44.0, "text": 44.0}  # fmt: skip
"""Height in pixels of a body below which a fact cannot be seen for certain."""


def _is_kind(thing: Thing, kind: str) -> int:
    if thing.kind != kind:
        return NO
    seen = thing.visible >= _LEAST_VISIBLE and thing.height >= READABLE["kind"]
    return YES if seen else UNSURE


def _seen(thing: Thing, what: str, *, whole: bool) -> bool:
    return thing.height >= READABLE[what] and thing.visible >= (_WHOLE if whole else _LEAST_VISIBLE)


def _if(truth: bool, seen: bool) -> int:
    if not seen:
        return UNSURE
    return YES if truth else NO


def _fact(fact: Fact, scene: Scene) -> list[int]:
    if fact.name in _OF_SCENE:
        return _OF_SCENE[fact.name](fact.value, scene)
    return [of_thing(thing, fact, scene) for thing in scene.things]


def of_thing(thing: Thing, fact: Fact, scene: Scene) -> int:
    """Whether one thing has a fact that no other thing decides."""
    kind, name, value = KINDS[thing.kind], fact.name, fact.value
    if name == "color":
        if thing.surface in ("striped", "checked") and value in SECOND_COLORS[thing.color]:
            return UNSURE
        return _if(thing.color == value, _seen(thing, "color", whole=False))
    if name == "surface":
        return _if(thing.surface == value, _seen(thing, "surface", whole=False))
    if name in ("part", "no-part"):
        if value not in kind.parts:
            return NO
        has = value in thing.parts
        return _if(has == (name == "part"), _seen(thing, "part", whole=True))
    if name == "state":
        if not kind.axis or value not in AXES[kind.axis].values:
            return NO
        return _if(thing.state == value, _seen(thing, "state", whole=True))
    if name == "text":
        if not thing.text:
            return NO if not kind.text else _if(False, thing.visible >= _WHOLE)
        return _if(thing.text == value, _seen(thing, "text", whole=True))
    if name == "count":
        return _if(thing.count == value, _seen(thing, "count", whole=True)) if kind.count else NO
    if name == "covered":
        return _share(_covered(thing, scene))
    if name == "cut":
        return _share(_beyond(thing, scene, str(value)))
    raise AssertionError(name)


def _share(share: float) -> int:
    """Whether so much of a thing is hidden that everybody would say so."""
    if share >= 0.15:
        return YES
    return NO if share <= 0.01 else UNSURE


def _beyond(thing: Thing, scene: Scene, side: str) -> float:
    x1, y1, x2, y2 = thing.full
    if side in ("left", "right"):
        out = -x1 if side == "left" else x2 - scene.width
        return max(0.0, out) / max(1.0, x2 - x1)
    out = -y1 if side == "top" else y2 - scene.height
    return max(0.0, out) / max(1.0, y2 - y1)


def _covered(thing: Thing, scene: Scene) -> float:
    """Share of a thing's area that others hide; 0 where the frame alone cuts it."""
    if any(_beyond(thing, scene, side) > 0 for side in ("left", "right", "top", "bottom")):
        return 0.0
    return 1.0 - thing.visible


# ---- facts that need the whole scene


def rows_of(scene: Scene) -> list[int]:
    """Row of each thing on a shelf or wall, from 0 at the top; -1 everywhere else."""
    boards = scene.stage.boards
    if not boards:
        return [-1] * len(scene.things)
    return [
        min(range(len(boards)), key=lambda row: abs(boards[row] - thing.y))
        for thing in scene.things
    ]


def _in_row(value: str | int, scene: Scene) -> list[int]:
    rank, end = str(value).split()
    count = len(scene.stage.boards)
    wanted = int(rank) - 1 if end == "top" else count - int(rank)
    return [YES if row == wanted and wanted >= 0 else NO for row in rows_of(scene)]


def groups_of(scene: Scene) -> list[int] | None:
    """Size of the group that each thing stands in; None where groups are not plain to see.

    A group is what small gaps hold together: gaps between groups are at least three times as
    wide as any gap within one.
    """
    things = scene.things
    links: list[tuple[float, int, int]] = []
    for i, a in enumerate(things):
        for j in range(i + 1, len(things)):
            b = things[j]
            dx = max(a.box[0], b.box[0]) - min(a.box[2], b.box[2])
            dy = max(a.box[1], b.box[1]) - min(a.box[3], b.box[3])
            links.append((math.hypot(max(0.0, dx), max(0.0, dy)), i, j))
    near = 0.3 * max((thing.height for thing in things), default=0.0)
    parent = list(range(len(things)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for gap, i, j in links:
        if gap <= near:
            parent[root(i)] = root(j)
    if any(near < gap < 3 * near and root(i) != root(j) for gap, i, j in links):
        return None
    roots = [root(i) for i in range(len(things))]
    return [roots.count(one) for one in roots]


def _in_group(value: str | int, scene: Scene) -> list[int]:
    sizes = groups_of(scene)
    if sizes is None:
        return [UNSURE] * len(scene.things)
    return [YES if size == value else NO for size in sizes]


def _on_rug(value: str | int, scene: Scene) -> list[int]:
    rug = scene.stage.rug
    if rug is None:
        return [NO] * len(scene.things)
    middle = ((rug[0] + rug[2]) / 2, (rug[1] + rug[3]) / 2)
    radii = ((rug[2] - rug[0]) / 2, (rug[3] - rug[1]) / 2)
    found = []
    for thing in scene.things:
        half = (thing.full[2] - thing.full[0]) / 2
        reach = [
            math.hypot((x - middle[0]) / radii[0], (thing.y - middle[1]) / radii[1])
            for x in (thing.x - half, thing.x, thing.x + half)
        ]
        if KINDS[thing.kind].floats:
            found.append(NO if min(reach) > 1.1 else UNSURE)
        elif max(reach) <= 0.97:
            found.append(YES)
        else:
            found.append(NO if min(reach) >= 1.05 else UNSURE)
    return found


_OF_SCENE: dict[str, Callable[[str | int, Scene], list[int]]] = {
    "row": _in_row,
    "group": _in_group,
    "rug": _on_rug,
}

# ---- relations

_CHOOSING = ("nearest", "farthest")


def center(thing: Thing) -> tuple[float, float]:
    """Middle of the visible box, in pixels."""
    x1, y1, x2, y2 = thing.box
    return (x1 + x2) / 2, (y1 + y2) / 2


def _relation(relation: Relation, scene: Scene) -> list[int]:
    others = []
    for phrase in relation.others:
        found = only(evaluate(phrase, scene))
        if found == -2:
            return [UNSURE] * len(scene.things)
        if found == -1:
            return [NO] * len(scene.things)
        others.append(found)
    rule = _RULES[relation.name]
    return [
        NO if i in others else rule(thing, [scene.things[other] for other in others], scene)
        for i, thing in enumerate(scene.things)
    ]


def _side(along: float, across: float, reach: float) -> int:
    """A direction: `along` it, in pixels; `across` it; sizes of both things together along it.

    It holds inside a cone of 45 degrees once the middles are well apart, and fails on the other
    side. What lies between is nobody's clear "left of".
    """
    if along >= 0.45 * reach and abs(across) <= along:
        return YES
    return NO if along <= -0.02 * reach else UNSURE


def _left(a: Thing, others: Sequence[Thing], scene: Scene) -> int:
    (ax, ay), (bx, by) = center(a), center(others[0])
    reach = (a.box[2] - a.box[0] + others[0].box[2] - others[0].box[0]) / 2
    return _side(bx - ax, by - ay, reach)


def _right(a: Thing, others: Sequence[Thing], scene: Scene) -> int:
    (ax, ay), (bx, by) = center(a), center(others[0])
    reach = (a.box[2] - a.box[0] + others[0].box[2] - others[0].box[0]) / 2
    return _side(ax - bx, by - ay, reach)


def _above(a: Thing, others: Sequence[Thing], scene: Scene) -> int:
    b = others[0]
    on_ground = scene.stage.name in GROUND
    if on_ground and not (KINDS[a.kind].floats or KINDS[b.kind].floats):
        # Higher up in the picture is farther away there, and "above" would be argued about.
        return UNSURE
    (ax, ay), (bx, by) = center(a), center(b)
    reach = (a.box[3] - a.box[1] + b.box[3] - b.box[1]) / 2
    return _side(by - ay, (bx - ax) * 1.3, reach * 1.6)


def _below(a: Thing, others: Sequence[Thing], scene: Scene) -> int:
    (ax, ay), (bx, by) = center(a), center(others[0])
    if _above(a, others, scene) == UNSURE and scene.stage.name in GROUND:
        return UNSURE
    reach = (a.box[3] - a.box[1] + others[0].box[3] - others[0].box[1]) / 2
    return _side(ay - by, (bx - ax) * 1.3, reach * 1.6)


def _front(a: Thing, others: Sequence[Thing], scene: Scene) -> int:
    b = others[0]
    if scene.stage.name not in GROUND or KINDS[a.kind].floats or KINDS[b.kind].floats:
        return UNSURE
    nearer = (a.y - b.y) / scene.height
    apart = abs(center(a)[0] - center(b)[0])
    width = (a.full[2] - a.full[0] + b.full[2] - b.full[0]) / 2
    if nearer >= 0.05 and apart <= 0.75 * width:
        return YES
    return NO if nearer <= -0.005 else UNSURE


def _behind(a: Thing, others: Sequence[Thing], scene: Scene) -> int:
    return _front(others[0], [a], scene)


def _between(a: Thing, others: Sequence[Thing], scene: Scene) -> int:
    (ax, ay), (bx, by), (cx, cy) = center(a), center(others[0]), center(others[1])
    length = math.hypot(cx - bx, cy - by)
    if length < 1:
        return UNSURE
    along = ((ax - bx) * (cx - bx) + (ay - by) * (cy - by)) / length**2
    off = abs((ax - bx) * (cy - by) - (ay - by) * (cx - bx)) / length**2
    if 0.15 <= along <= 0.85 and off <= 0.2:
        return YES
    return NO if along <= -0.15 or along >= 1.15 or off >= 0.6 else UNSURE


def _hidden(a: Thing, others: Sequence[Thing], scene: Scene) -> int:
    b = others[0]
    overlap = min(a.full[2], b.full[2]) > max(a.full[0], b.full[0]) and min(
        a.full[3], b.full[3]
    ) > max(a.full[1], b.full[1])
    if not overlap or scene.things.index(b) < scene.things.index(a):
        return NO
    return _share(_covered(a, scene))


_RULES: dict[str, Callable[[Thing, Sequence[Thing], Scene], int]] = {
    "left": _left,
    "right": _right,
    "above": _above,
    "below": _below,
    "front": _front,
    "behind": _behind,
    "between": _between,
    "hidden": _hidden,
}

# ---- choosing among several

_DISTANCE_RATIO = {True: 1.7, False: 1.4}
"""How much farther the second nearest has to be; on the ground depth cannot be measured by eye."""


def _choose_by_distance(truth: list[int], relation: Relation, scene: Scene) -> list[int]:
    found = only(evaluate(relation.others[0], scene))
    if found == -1:
        return [NO] * len(truth)
    others = [NO if i == found else value for i, value in enumerate(truth)]
    if found == -2 or UNSURE in others:
        return [min(value, UNSURE) for value in others]
    there = center(scene.things[max(found, 0)])
    ratio = _DISTANCE_RATIO[scene.stage.name in GROUND]
    distance = [math.dist(center(thing), there) for thing in scene.things]
    left = [i for i, value in enumerate(others) if value == YES]
    if relation.name == "nearest":
        left.sort(key=lambda i: distance[i])
        clear = [distance[i] >= ratio * distance[left[0]] for i in left]
    else:
        left.sort(key=lambda i: -distance[i])
        clear = [distance[i] * ratio <= distance[left[0]] for i in left]
    return _first(len(truth), left, clear)


def _first(count: int, ranked: Sequence[int], clear: Sequence[bool]) -> list[int]:
    """The first of `ranked`, where all others are clearly behind it; else they tie with it."""
    result = [NO] * count
    if ranked:
        unclear = [i for i, far in zip(ranked[1:], clear[1:], strict=True) if not far]
        result[ranked[0]] = UNSURE if unclear else YES
        for i in unclear:
            result[i] = UNSURE
    return result


def _choose(truth: list[int], pick: Pick, scene: Scene) -> list[int]:
    left = [i for i, value in enumerate(truth) if value != NO]
    if any(truth[i] == UNSURE for i in left):
        return [min(value, UNSURE) for value in truth]
    if pick.by in ("left", "right", "top", "bottom"):
        return _ordinal(len(truth), left, pick, scene)
    unsure = [UNSURE if i in left else NO for i in range(len(truth))]
    things = scene.things
    if any(things[i].visible < _WHOLE for i in left):
        return unsure
    if pick.by in ("near", "far"):
        if scene.stage.name not in GROUND or any(KINDS[things[i].kind].floats for i in left):
            return unsure
        sign = -1 if pick.by == "near" else 1
        left.sort(key=lambda i: sign * things[i].y)
        gap = 0.05 * scene.height
        return _first(
            len(truth), left, [sign * (things[i].y - things[left[0]].y) >= gap for i in left]
        )
    if pick.by in ("most", "fewest"):
        if any(not things[i].count or things[i].height < READABLE["count"] for i in left):
            return unsure
        sign = -1 if pick.by == "most" else 1
        left.sort(key=lambda i: sign * things[i].count)
        return _first(len(truth), left, [things[i].count != things[left[0]].count for i in left])
    assert pick.by in ("large", "small")
    if len({things[i].kind for i in left}) > 1:
        return unsure
    # Of two things at different distances the larger one has to be larger in the picture as well
    # as in the room.
    sign = -1 if pick.by == "large" else 1
    seen = [thing.height for thing in things]
    real = [thing.height / size_at(scene.stage, thing.y, scene.height) for thing in things]
    left.sort(key=lambda i: sign * seen[i])
    first = left[0] if left else -1

    def beaten(i: int) -> bool:
        if sign < 0:
            return seen[first] >= 1.25 * seen[i] and real[first] >= 1.15 * real[i]
        return seen[i] >= 1.25 * seen[first] and real[i] >= 1.15 * real[first]

    return _first(len(truth), left, [beaten(i) for i in left])


def _ordinal(count: int, left: list[int], pick: Pick, scene: Scene) -> list[int]:
    horizontal = pick.by in ("left", "right")
    rows = rows_of(scene)
    # Where things stand in several rows, people count along a row before they change to the next.
    if (not horizontal and scene.stage.name in GROUND) or len({rows[i] for i in left}) > 1:
        return [UNSURE if i in left else NO for i in range(count)]
    place = [center(thing)[0 if horizontal else 1] for thing in scene.things]
    left.sort(key=lambda i: place[i], reverse=pick.by in ("right", "bottom"))
    for before, after in itertools.pairwise(left):
        a, b = scene.things[before], scene.things[after]
        size = min(a.box[2] - a.box[0], b.box[2] - b.box[0]) if horizontal else min(
            a.box[3] - a.box[1], b.box[3] - b.box[1]
        )  # fmt: skip
        if abs(place[before] - place[after]) < max(0.4 * size, 0.012 * scene.width):
            return [UNSURE if i in left else NO for i in range(count)]
    return [
        YES if pick.rank <= len(left) and i == left[pick.rank - 1] else NO for i in range(count)
    ]
