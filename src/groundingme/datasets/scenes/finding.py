"""Finds things in a scene that can be asked about, and phrases that mean them and nothing else.

`POSITIVES` has one function for each second-level subtask. It returns the index of a thing and a
phrase that is true of it, where the scene has one for that subtask.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec

from groundingme.datasets.scenes.catalog import KINDS
from groundingme.datasets.scenes.logic import (
    READABLE,
    UNSURE,
    YES,
    Fact,
    Phrase,
    Pick,
    Relation,
    evaluate,
    of_thing,
    only,
)
from groundingme.datasets.scenes.scene import GROUND, Scene, Thing

OF_ANY = ("color", "surface", "text")
"""Facts that can be said of a thing without saying what it is."""


def true_facts(scene: Scene, index: int) -> list[Fact]:
    """Every fact that a thing shows for certain, apart from its place."""
    thing = scene.things[index]
    row = KINDS[thing.kind]
    facts = [Fact("color", thing.color), Fact("surface", thing.surface)]
    facts += [Fact("part" if one in thing.parts else "no-part", one) for one in row.parts]
    if thing.state:
        facts.append(Fact("state", thing.state))
    if thing.text:
        facts.append(Fact("text", thing.text))
    if thing.count:
        facts.append(Fact("count", thing.count))
    return [one for one in facts if of_thing(thing, one, scene) == YES]


def refer(
    scene: Scene, index: int, rng: random.Random, *, deep: bool = False, extra: int = 0
) -> Phrase | None:
    """A short phrase that means that thing and no other; None where there is none.

    Args:
        scene: Any.
        index: Of the thing.
        rng: Decides which facts are named.
        deep: Whether the phrase should place the thing beside another one.
        extra: Facts to name beyond those that are needed, where there are as many.
    """
    kind = scene.things[index].kind
    facts = true_facts(scene, index)
    rng.shuffle(facts)
    facts.sort(key=lambda one: one.name not in ("color", "surface"))
    for count in range(len(facts) + 1):
        phrase = Phrase(kind=kind, facts=tuple(facts[:count]))
        if only(evaluate(phrase, scene)) == index:
            phrase = Phrase(kind=kind, facts=tuple(facts[: count + extra]))
            break
        if deep:
            placed = _placed(scene, index, phrase, rng)
            if placed is not None:
                return placed
    else:
        return None
    return (_placed(scene, index, phrase, rng) or phrase) if deep else phrase


def _placed(scene: Scene, index: int, phrase: Phrase, rng: random.Random) -> Phrase | None:
    relation = place_beside(scene, index, rng, names=("left", "right", "front", "behind", "above"))
    if relation is None:
        return None
    placed = msgspec.structs.replace(phrase, relations=(relation,))
    return placed if only(evaluate(placed, scene)) == index else None


_RELATIONS = ("left", "right", "left", "right", "front", "behind", "above", "below", "between",
              "nearest", "farthest")  # fmt: skip


def place_beside(
    scene: Scene,
    index: int,
    rng: random.Random,
    *,
    names: tuple[str, ...] = _RELATIONS,
    deep: bool = False,
    extra: int | None = None,
) -> Relation | None:
    """A relation that a thing has to one or two others, which are named unmistakably."""
    others = [i for i in range(len(scene.things)) if i != index]
    name = rng.choice(names)
    count = 2 if name == "between" else 1
    if len(others) < count:
        return None
    phrases = []
    more = rng.choice((0, 0, 0, 1)) if extra is None else extra
    for other in rng.sample(others, count):
        phrase = refer(scene, other, rng, deep=deep, extra=more)
        if phrase is None:
            return None
        phrases.append(phrase)
    if count == 2 and phrases[0].kind == phrases[1].kind and phrases[0] == phrases[1]:
        return None
    relation = Relation(name, tuple(phrases))
    if name in ("nearest", "farthest"):
        return relation
    return relation if evaluate(Phrase(relations=(relation,)), scene)[index] == YES else None


Found = tuple[int, Phrase] | None


def _told_apart(
    scene: Scene, index: int, key: Fact, rng: random.Random, *, kindless: bool = True
) -> Phrase | None:
    """A phrase with a certain fact, and as many others as make it unmistakable."""
    thing = scene.things[index]
    kind = "" if kindless and rng.random() < 0.06 else thing.kind
    facts = [key]
    others = [one for one in true_facts(scene, index) if one != key]
    if not kind:
        others = [one for one in others if one.name in OF_ANY]
    rng.shuffle(others)
    others.sort(key=lambda one: one.value == "plain")
    for one in [None, *others]:
        if one is not None:
            facts.append(one)
        phrase = Phrase(kind=kind, facts=tuple(facts))
        if only(evaluate(phrase, scene)) == index:
            break
    else:
        return None
    # The subtask's fact has to matter: without it the description should fit something else.
    rest = evaluate(Phrase(kind=kind, facts=tuple(facts[1:])), scene)
    needed = rest.count(YES) > 1
    return phrase if needed or rng.random() < 0.1 else None


def _whole(scene: Scene, able: Callable[[Thing], bool]) -> Iterator[int]:
    for index, thing in enumerate(scene.things):
        if able(thing) and thing.visible >= 0.999 and thing.height >= READABLE["surface"]:
            yield index


def _any(scene: Scene, rng: random.Random, able: Callable[[Thing], bool]) -> int | None:
    """A thing, rather one of a kind that the scene has several of."""
    able_ones = list(_whole(scene, able))
    if not able_ones:
        return None
    counts = [sum(other.kind == scene.things[i].kind for other in scene.things) for i in able_ones]
    return rng.choices(able_ones, [count**2 for count in counts])[0]


def _appearance(scene: Scene, rng: random.Random) -> Found:
    index = _any(scene, rng, lambda thing: True)
    if index is None:
        return None
    thing = scene.things[index]
    if rng.random() < 0.25:
        phrase = Phrase(kind=thing.kind, pick=Pick(rng.choice(("large", "small"))))
        truth = evaluate(phrase, scene)
        same = sum(one.kind == thing.kind for one in scene.things)
        return (only(truth), phrase) if only(truth) >= 0 and same > 1 else None
    key = Fact("color", thing.color) if rng.random() < 0.5 else Fact("surface", thing.surface)
    phrase_ = _told_apart(scene, index, key, rng)
    return None if phrase_ is None else (index, phrase_)


def _component(scene: Scene, rng: random.Random) -> Found:
    index = _any(scene, rng, lambda thing: bool(KINDS[thing.kind].parts))
    if index is None:
        return None
    thing = scene.things[index]
    part = rng.choice(list(KINDS[thing.kind].parts))
    key = Fact("part" if part in thing.parts else "no-part", part)
    phrase = _told_apart(scene, index, key, rng, kindless=False)
    return None if phrase is None else (index, phrase)


def _text(scene: Scene, rng: random.Random) -> Found:
    index = _any(scene, rng, lambda thing: bool(thing.text))
    if index is None:
        return None
    phrase = _told_apart(scene, index, Fact("text", scene.things[index].text), rng)
    return None if phrase is None else (index, phrase)


def _state(scene: Scene, rng: random.Random) -> Found:
    index = _any(scene, rng, lambda thing: bool(thing.state))
    if index is None:
        return None
    key = Fact("state", scene.things[index].state)
    phrase = _told_apart(scene, index, key, rng, kindless=False)
    return None if phrase is None else (index, phrase)


def _relationship(scene: Scene, rng: random.Random) -> Found:
    index = _any(scene, rng, lambda thing: True)
    if index is None:
        return None
    thing = scene.things[index]
    facts = tuple(
        one for one in true_facts(scene, index)
        if one.name in ("color", "surface") and one.value != "plain" and rng.random() < 0.35
    )  # fmt: skip
    base = Phrase(kind=thing.kind, facts=facts)
    before = evaluate(base, scene)
    if before.count(YES) < 2 and rng.random() < 0.9:
        return None
    kind = rng.random()
    if kind < 0.1 and scene.stage.name in GROUND:
        phrase = msgspec.structs.replace(base, pick=Pick(rng.choice(("near", "far"))))
    elif kind < 0.4 and scene.stage.rug:
        phrase = msgspec.structs.replace(base, facts=(*facts, Fact("rug")))
    else:
        relation = place_beside(scene, index, rng, deep=rng.random() < 0.3)
        if relation is None:
            return None
        phrase = msgspec.structs.replace(base, relations=(relation,))
    answer = only(evaluate(phrase, scene))
    return (answer, phrase) if answer >= 0 else None


def _counting(scene: Scene, rng: random.Random) -> Found:
    index = _any(scene, rng, lambda thing: True)
    if index is None:
        return None
    thing = scene.things[index]
    facts = tuple(
        one for one in true_facts(scene, index)
        if one.name in ("color", "surface") and one.value != "plain" and rng.random() < 0.2
    )  # fmt: skip
    if thing.count and rng.random() < 0.5:
        if rng.random() < 0.3:
            phrase = Phrase(kind=thing.kind, pick=Pick(rng.choice(("most", "fewest"))))
            answer = only(evaluate(phrase, scene))
            same = sum(one.kind == thing.kind for one in scene.things)
            return (answer, phrase) if answer >= 0 and same > 1 else None
        told = _told_apart(scene, index, Fact("count", thing.count), rng, kindless=False)
        return None if told is None else (index, told)
    ways = ["left", "left", "right", "right"]
    rows = len(scene.stage.boards)
    if scene.stage.name == "table" and rng.random() < 0.7:
        size = rng.choice((1, 2, 3, 4))
        facts = (*facts, Fact("group", size))
        if size == 1 or rng.random() < 0.3:
            phrase = Phrase(kind=thing.kind, facts=facts)
            answer = only(evaluate(phrase, scene))
            return (answer, phrase) if answer >= 0 else None
    elif rows and rng.random() < 0.75:
        rank = rng.randint(1, rows)
        facts = (*facts, Fact("row", f"{rank} {rng.choice(('top', 'bottom'))}"))
    kind = "" if rows and any(one.name == "row" for one in facts) and rng.random() < 0.4 else (
        thing.kind
    )  # fmt: skip
    base = Phrase(kind=kind, facts=facts)
    among = evaluate(base, scene)
    if among.count(YES) < 2 or among.count(YES) > 7 or UNSURE in among:
        return None
    rank = rng.randint(1, min(among.count(YES), 6))
    phrase = msgspec.structs.replace(base, pick=Pick(rng.choice(ways), rank))
    answer = only(evaluate(phrase, scene))
    return (answer, phrase) if answer >= 0 else None


def _occlusion(scene: Scene, rng: random.Random) -> Found:
    hidden = [i for i, one in enumerate(scene.things) if one.visible <= 0.85]
    if not hidden:
        return None
    index = rng.choice(hidden)
    thing = scene.things[index]
    facts = [Fact("color", thing.color), Fact("surface", thing.surface)]
    facts += [Fact("cut", side) for side in ("left", "right")] + [Fact("covered")]
    facts = [one for one in facts if of_thing(thing, one, scene) == YES]
    rng.shuffle(facts)
    facts.sort(key=lambda one: one.value == "plain")
    relations: list[Relation] = []
    if rng.random() < 0.5:
        relation = place_beside(scene, index, rng, names=("hidden",))
        relations = [relation] if relation else []
    for count in range(len(facts) + 1):
        phrase = Phrase(kind=thing.kind, facts=tuple(facts[:count]), relations=tuple(relations))
        if only(evaluate(phrase, scene)) == index:
            return index, phrase
    return None


def _small(scene: Scene, rng: random.Random) -> Found:
    tiny = [
        i for i, one in enumerate(scene.things)
        if one.height <= 0.05 * scene.height and one.height >= READABLE["kind"]
    ]  # fmt: skip
    if not tiny or scene.width < 1200:
        return None
    index = rng.choice(tiny)
    thing = scene.things[index]
    phrase = Phrase(kind=thing.kind)
    facts = [one for one in true_facts(scene, index) if one.name == "color"]
    if facts and rng.random() < 0.8:
        phrase = Phrase(kind=thing.kind, facts=tuple(facts))
    if only(evaluate(phrase, scene)) == index:
        return index, phrase
    relation = place_beside(scene, index, rng)
    if relation is None:
        return None
    phrase = msgspec.structs.replace(phrase, relations=(relation,))
    answer = only(evaluate(phrase, scene))
    return (answer, phrase) if answer in tiny else None


POSITIVES: dict[str, Callable[[Scene, random.Random], Found]] = {
    "Appearance": _appearance,
    "Component": _component,
    "Text": _text,
    "State": _state,
    "Relationship": _relationship,
    "Counting": _counting,
    "Occlusion": _occlusion,
    "Small": _small,
}
