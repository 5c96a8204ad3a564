"""Descriptions from boxes alone: true by geometry, of exactly one box of its class, by a margin.

A description is a *head*, which picks the box ("the third cup from the left"), and sometimes a
*tail*, which says one more true thing of it ("which is wider than it is tall"). Heads rest on the
boxes of the class that the detector found and that no stage turned down: one that it missed can
make a description untrue. Nothing is said that only pixels tell.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from groundingme.build.records import Target
from groundingme.schema import Box

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

APART = 0.3
"""Two boxes are in order where their centres differ by so much of their mean size, and"""
APART_SIDE = 0.02
"""by so much of the picture's side."""
LARGER = 1.5
"""The largest is so many times the area of the next."""
NEARER = 0.6
"""The nearest is at most at so much of the distance of the next."""
LONGER = 1.5
"""What is taller than wide is so by this factor."""
CROWD = 10
"""Nobody counts places among so many, and detectors miss some of them."""

_PLURALS = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice",
    "foot": "feet", "tooth": "teeth", "goose": "geese", "knife": "knives", "leaf": "leaves",
    "shelf": "shelves", "loaf": "loaves", "wolf": "wolves", "scarf": "scarves", "die": "dice",
    "ox": "oxen", "potato": "potatoes", "tomato": "tomatoes", "bus": "buses",
}  # fmt: skip
_SAME = ("sheep", "broccoli", "fish", "deer", "aircraft", "furniture", "luggage", "bread", "dice")


def plural(noun: str) -> str:
    """The plural of a class name; of several words the last is put in it.

    Example:
        >>> plural("wine glass"), plural("person"), plural("scissors")
        ('wine glasses', 'people', 'scissors')
    """
    front, space, last = noun.rpartition(" ")
    if last in _PLURALS:
        last = _PLURALS[last]
    elif last.endswith(("ss", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = f"{last[:-1]}ies"
    elif not last.endswith("s") and last not in _SAME:
        last += "s"
    return front + space + last


class Head(NamedTuple):
    """A phrase that picks one box.

    Attributes:
        kind: `only`, `end`, `ordinal`, `size`, `corner`, `half` or `relation`.
        text: Without a tail; begins with "the" or a preposition.
    """

    kind: str
    text: str


_PREFERRED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "Counting": (("ordinal",), ("end", "half")),
    "Relationship": (("relation",), ("corner", "half", "end")),
    "Appearance": (("size", "end", "ordinal", "corner"), ("half", "relation")),
}
_ANY = (("end", "ordinal", "corner"), ("half", "relation", "size"))
PEOPLE = ("person", "man", "woman", "child", "boy", "girl", "baby", "player", "pedestrian")
NOT_BY_RULE = ("Text",)
"""Subtasks of which boxes say nothing."""


def describe(target: Target, boxes: Mapping[str, Sequence[Box]], rng: random.Random) -> str:
    """A description of a target; "" where no rule picks its box by a margin.

    Args:
        target: Of any subtask; of those in `NOT_BY_RULE` there is none.
        boxes: All boxes of the picture by class, the target's included.
        rng: Chooses among what is true.
    """
    if target.subtask_l2 in NOT_BY_RULE:
        return ""
    found = list(heads(target, boxes, rng))
    if not found:
        return ""
    for kinds in (*_PREFERRED.get(target.subtask_l2, _ANY), ("only",)):
        chosen = [one for one in found if one.kind in kinds]
        if chosen:
            break
    else:
        chosen = found
    head = rng.choice(chosen)
    tails = list(_tails(target, head, rng))
    wanted = 0.8 if target.subtask_l2 == "Appearance" else 0.4
    text = f"{head.text}, {rng.choice(tails)}" if tails and rng.random() < wanted else head.text
    return f"{text[0].upper()}{text[1:]}." if rng.random() < 0.5 else text


def heads(target: Target, boxes: Mapping[str, Sequence[Box]], rng: random.Random) -> Iterator[Head]:
    """Every phrase that picks a target's box among its class."""
    mine = target.box
    others = [tuple(map(float, box)) for box in target.others]
    size = (target.width, target.height)
    if not others:
        yield Head("only", f"the {target.label}")
        return
    pick = _Pick(mine, others, size, target.label, rng)  # type: ignore[arg-type]
    yield from pick.all()
    anchors = _anchors(target, boxes, rng)
    for name, box in anchors:
        yield from pick.relations(name, box)


class _Pick:
    """What tells one box from others of its class."""

    def __init__(
        self, mine: Box, others: Sequence[Box], size: tuple[int, int], noun: str, rng: random.Random
    ) -> None:
        self.mine, self.others, self.size = mine, others, size
        self.noun, self.many = noun, plural(noun)
        self.rng = rng

    def all(self) -> Iterator[Head]:
        yield from self.ordered()
        yield from self.sized()
        yield from self.corner()
        yield from self.half()

    def ordered(self) -> Iterator[Head]:
        ends = (
            (0, False, "left", ("the leftmost {}", "the {} farthest to the left")),
            (0, True, "right", ("the rightmost {}", "the {} farthest to the right")),
            (1, False, "top", ("the topmost {}", "the {} highest up in the picture")),
            (1, True, "bottom", ("the lowest {} in the picture", "the {} farthest down")),
        )
        for axis, backward, end, words in ends:
            rank = self._rank(axis, backward)
            if rank == 1:
                yield Head("end", self.rng.choice(words).format(self.noun))
            elif 1 < rank <= len(ORDINALS) and 2 * rank <= len(self.others) + 2 <= CROWD:
                yield Head("ordinal", self._nth(ORDINALS[rank - 1], end))

    def _nth(self, ordinal: str, end: str) -> str:
        count = len(self.others) + 1
        ways = [f"the {ordinal} {self.noun} from the {end}"]
        ways.append(f"counting from the {end}, the {ordinal} {self.noun}")
        if count < len(NUMBERS):
            ways.append(f"of the {NUMBERS[count]} {self.many}, the {ordinal} one from the {end}")
        return self.rng.choice(ways)

    def _rank(self, axis: int, backward: bool) -> int:
        """The box's place from one end; 0 where another is not clearly before or behind it."""
        rank = 1
        for other in self.others:
            if self._ordered(other, self.mine, axis, backward):
                rank += 1
            elif not self._ordered(self.mine, other, axis, backward):
                return 0
        return rank

    def _ordered(self, one: Box, other: Box, axis: int, backward: bool) -> bool:
        first, second = (other, one) if backward else (one, other)
        return is_before(first, second, axis, self.size)

    def sized(self) -> Iterator[Head]:
        areas = [_area(one) for one in self.others]
        mine = _area(self.mine)
        if mine >= LARGER * max(areas):
            words = ("the largest {} in the picture", "the {} that looks largest")
            yield Head("size", self.rng.choice(words).format(self.noun))
        elif mine * LARGER <= min(areas):
            words = ("the smallest {} in the picture", "the {} that looks smallest")
            yield Head("size", self.rng.choice(words).format(self.noun))

    def corner(self) -> Iterator[Head]:
        x, y = _share(self.mine, self.size)
        for right, side in ((False, "left"), (True, "right")):
            for low, level in ((False, "upper"), (True, "lower")):
                if not (_near(x, right, 0.3) and _near(y, low, 0.3)):
                    continue
                rest = (_share(one, self.size) for one in self.others)
                if not any(_near(u, right, 0.5) and _near(v, low, 0.5) for u, v in rest):
                    place = self.rng.choice(("in", "near"))
                    yield Head(
                        "corner",
                        f"the {self.noun} {place} the {level} {side} corner of the picture",
                    )

    def half(self) -> Iterator[Head]:
        middle = self.size[0] / 2
        slack = APART_SIDE * self.size[0]
        everyone = [self.mine, *self.others]
        if not all(one[2] <= middle + slack or one[0] >= middle - slack for one in everyone):
            return
        is_left = _center(self.mine)[0] < middle
        near = [one for one in self.others if (_center(one)[0] < middle) == is_left]
        if not near or len(near) == len(self.others):
            return
        inner = _Pick(self.mine, near, self.size, self.noun, self.rng)
        side = "left" if is_left else "right"
        for axis, backward, word in (
            (0, False, "leftmost"), (0, True, "rightmost"), (1, False, "topmost"),
            (1, True, "lowest"),
        ):  # fmt: skip
            if inner._rank(axis, backward) == 1:
                yield Head(
                    "half",
                    f"of the {self.many} in the {side} half of the picture, the {word} one",
                )

    def relations(self, name: str, anchor: Box) -> Iterator[Head]:
        """Heads that use another thing, which `name` picks."""
        for backward, word in ((False, "left"), (True, "right")):
            here = self._ordered(self.mine, anchor, 0, backward)
            if here and all(self._ordered(anchor, one, 0, backward) for one in self.others):
                yield Head("relation", f"the {self.noun} to the {word} of {name}")
        rest = min(_distance(one, anchor) for one in self.others)
        mine = _distance(self.mine, anchor)
        gap = min(_gap(one, anchor) for one in self.others)
        if mine <= NEARER * rest and _gap(self.mine, anchor) < gap:
            words = self.rng.choice(("closest to", "nearest to"))
            yield Head("relation", f"the {self.noun} {words} {name}")


def _anchors(
    target: Target, boxes: Mapping[str, Sequence[Box]], rng: random.Random
) -> Iterator[tuple[str, Box]]:
    """Things of other classes that a phrase picks for certain."""
    size = (target.width, target.height)
    for label, found in sorted(boxes.items()):
        if label == target.label:
            continue
        if len(found) == 1:
            yield f"the {label}", found[0]
            continue
        for at, box in enumerate(found):
            others = [one for number, one in enumerate(found) if number != at]
            ends = [one for one in _Pick(box, others, size, label, rng).all() if one.kind == "end"]
            if ends:
                yield rng.choice(ends).text, box


def _tails(target: Target, head: Head, rng: random.Random) -> Iterator[str]:
    """More that is true of the target."""
    width, height = target.box[2] - target.box[0], target.box[3] - target.box[1]
    # Of people it would be a strange thing to say.
    if target.label not in PEOPLE and height >= LONGER * width:
        yield "which is taller than it is wide"
    elif target.label not in PEOPLE and width >= LONGER * height:
        yield "which is wider than it is tall"
    if len(target.others) >= 2 and head.kind != "size":
        areas = [_area(one) for one in target.others]
        which = "who" if target.label in PEOPLE else "which"
        if _area(target.box) >= LARGER * max(areas):
            yield f"{which} is the largest of them"
        elif _area(target.box) * LARGER <= min(areas):
            yield f"{which} is the smallest of them"


def is_before(one: Box, other: Box, axis: int, size: tuple[int, int]) -> bool:
    """Whether a box clearly comes before another one, from the left (axis 0) or top (axis 1)."""
    mean = (one[axis + 2] - one[axis] + other[axis + 2] - other[axis]) / 2
    apart = max(APART * mean, APART_SIDE * size[axis])
    ahead = _center(other)[axis] - _center(one)[axis] >= apart
    return ahead and one[axis] <= other[axis] and one[axis + 2] <= other[axis + 2]


def _center(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _share(box: Box, size: tuple[int, int]) -> tuple[float, float]:
    x, y = _center(box)
    return x / max(1, size[0]), y / max(1, size[1])


def _near(share: float, far: bool, reach: float) -> bool:
    return share >= 1 - reach if far else share <= reach


def _distance(one: Box, other: Box) -> float:
    (a, b), (c, d) = _center(one), _center(other)
    return float(((a - c) ** 2 + (b - d) ** 2) ** 0.5)


def _gap(one: Box, other: Box) -> float:
    """Pixels between two boxes; 0 where they touch."""
    x = max(0.0, one[0] - other[2], other[0] - one[2])
    y = max(0.0, one[1] - other[3], other[1] - one[3])
    return float((x * x + y * y) ** 0.5)
