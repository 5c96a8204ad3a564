"""Scenes and questions about them: every question proved to have one answer, or none.

    compose("Spatial", "Counting", rng)     a scene made for that subtask, and one question
    random_scene(rng), ask(scene, rng, 12)  a scene, and many questions on it, for training

Source of the subtasks: arXiv 2512.17495. The scenes and the wording are this project's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec

from groundingme.datasets.scenes import casting
from groundingme.datasets.scenes.casting import Knobs
from groundingme.datasets.scenes.catalog import AXES, COLORS, FIXED_COLOR, KINDS, texts
from groundingme.datasets.scenes.language import say
from groundingme.datasets.scenes.logic import (
    NO,
    READABLE,
    YES,
    Fact,
    Phrase,
    Pick,
    Relation,
    evaluate,
    only,
)
from groundingme.datasets.scenes.scene import GROUND, Scene, Thing
from groundingme.taxonomy import REJECTION, SUBTASKS


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A description of one thing in a scene, or of none.

    Attributes:
        description: In words.
        target: Index into `Scene.things`; -1 where nothing matches.
        l1: Name of the category.
        l2: Name of the subtask.
        phrase: What the description means.
        changed: For a rejection, the fact that was true and what it became.
        near: For a rejection, index of the thing that the description was made from; else -1.
    """

    description: str
    target: int
    l1: str
    l2: str
    phrase: Phrase
    changed: tuple[Fact, Fact] | None = None
    near: int = -1


Builder = Callable[[random.Random, Knobs, str], Scene | None]

_BUILDERS: dict[str, tuple[Builder, tuple[str, ...]]] = {
    "Appearance": (casting.discriminative, ("color", "color", "surface", "surface", "size")),
    "Component": (casting.discriminative, ("part",)),
    "Text": (casting.discriminative, ("text",)),
    "State": (casting.discriminative, ("state",)),
    "Relationship": (casting.relationship, ("",)),
    "Counting": (casting.counting, ("ordinal", "ordinal", "row", "row", "group", "count")),
    "Occlusion": (casting.occlusion, ("cover", "cover", "cut")),
    "Small": (casting.small, ("",)),
}
_TRIES = 400


def compose(
    l1: str, l2: str, rng: random.Random, knobs: Knobs | None = None, *, made_for: str = ""
) -> tuple[Scene, Question]:
    """A scene made for a subtask, and one question of it.

    Args:
        l1: Name of a category of `taxonomy.SUBTASKS`.
        l2: Name of its subtask.
        rng: Decides everything.
        knobs: How hard.
        made_for: Second-level subtask that the scene is made for, where it is not `l2`.

    Raises:
        ValueError: No such subtask, or knobs under which no scene can be made.
    """
    if (l1, l2) not in {(row.l1, row.l2) for row in SUBTASKS}:
        raise ValueError(f"expected a subtask of the taxonomy, got {l1}/{l2}")
    knobs = knobs or Knobs()
    for _ in range(_TRIES):
        scene = _scene(made_for or l2, rng, knobs, rejection=l1 == REJECTION)
        if scene is None:
            continue
        question = _question(scene, l1, l2, rng, knobs)
        if question is not None:
            return scene, question
    raise ValueError(f"expected knobs under which {l1}/{l2} can be asked, got {knobs}")


def random_scene(rng: random.Random, knobs: Knobs | None = None, *, small: float = 0.06) -> Scene:
    """A scene as the benchmark has them, for a subtask drawn at random.

    Args:
        rng: Decides everything.
        knobs: How hard.
        small: How often it is a large picture of tiny things, in [0, 1].
    """
    knobs = knobs or Knobs()
    others = [l2 for l2 in _BUILDERS if l2 != "Small"]
    while True:
        l2 = "Small" if rng.random() < small else rng.choice(others)
        scene = _scene(l2, rng, knobs, rejection=rng.random() < 0.2)
        if scene is not None:
            return scene


def ask_about(
    scene: Scene, l1: str, l2: str, rng: random.Random, knobs: Knobs | None = None
) -> Question | None:
    """A question of one subtask on a given scene, or None where it allows none."""
    return _question(scene, l1, l2, rng, knobs or Knobs())


def ask(scene: Scene, rng: random.Random, n: int, knobs: Knobs | None = None) -> list[Question]:
    """Up to `n` different questions on a scene, of every subtask that it allows."""
    knobs = knobs or Knobs()
    names = [(row.l1, row.l2) for row in SUBTASKS]
    found: dict[str, Question] = {}
    for _ in range(4 * n):
        l1, l2 = rng.choice(names)
        question = _question(scene, l1, l2, rng, knobs, tries=3)
        if question is not None:
            found.setdefault(question.description, question)
        if len(found) == n:
            break
    return list(found.values())


def _scene(l2: str, rng: random.Random, knobs: Knobs, *, rejection: bool) -> Scene | None:
    build, keys = _BUILDERS[l2]
    key = rng.choice(keys)
    if rejection and key == "size":
        key = "color"
    return build(rng, knobs, key)


def _question(
    scene: Scene, l1: str, l2: str, rng: random.Random, knobs: Knobs, *, tries: int = 12
) -> Question | None:
    for _ in range(tries):
        if l1 == REJECTION:
            question = _rejection(scene, l2, rng, knobs)
        else:
            question = _positive(scene, l1, l2, rng, knobs)
        if question is not None:
            return question
    return None


# ---- what is true of one thing


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
    return [one for one in facts if evaluate(Phrase(facts=(one,)), scene)[index] == YES]


def refer(scene: Scene, index: int, rng: random.Random, *, deep: bool = False) -> Phrase | None:
    """A short phrase that means that thing and no other; None where there is none.

    Args:
        scene: Any.
        index: Of the thing.
        rng: Decides which facts are named.
        deep: Whether the phrase should place the thing beside another one.
    """
    kind = scene.things[index].kind
    facts = true_facts(scene, index)
    rng.shuffle(facts)
    facts.sort(key=lambda one: one.name not in ("color", "surface"))
    extra = rng.choice((0, 0, 0, 1))
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
    relation = _relation(scene, index, rng, names=("left", "right", "front", "behind", "above"))
    if relation is None:
        return None
    placed = msgspec.structs.replace(phrase, relations=(relation,))
    return placed if only(evaluate(placed, scene)) == index else None


_RELATIONS = ("left", "right", "left", "right", "front", "behind", "above", "below", "between",
              "nearest", "farthest")  # fmt: skip


def _relation(
    scene: Scene,
    index: int,
    rng: random.Random,
    *,
    names: tuple[str, ...] = _RELATIONS,
    deep: bool = False,
) -> Relation | None:
    """A relation that a thing has to one or two others, which are named unmistakably."""
    others = [i for i in range(len(scene.things)) if i != index]
    name = rng.choice(names)
    count = 2 if name == "between" else 1
    if len(others) < count:
        return None
    phrases = []
    for other in rng.sample(others, count):
        phrase = refer(scene, other, rng, deep=deep)
        if phrase is None:
            return None
        phrases.append(phrase)
    if count == 2 and phrases[0].kind == phrases[1].kind and phrases[0] == phrases[1]:
        return None
    relation = Relation(name, tuple(phrases))
    if name in ("nearest", "farthest"):
        return relation
    return relation if evaluate(Phrase(relations=(relation,)), scene)[index] == YES else None


# ---- positives


def _positive(scene: Scene, l1: str, l2: str, rng: random.Random, knobs: Knobs) -> Question | None:
    found = _POSITIVES[l2](scene, rng, knobs)
    if found is None:
        return None
    index, phrase = found
    wanted = rng.randint(*knobs.facts)
    if only(evaluate(phrase, scene)) != index:
        return None
    phrase = _lengthen(scene, index, phrase, wanted, rng)
    assert only(evaluate(phrase, scene)) == index
    return Question(description=say(phrase, rng), target=index, l1=l1, l2=l2, phrase=phrase)


_OF_ANY = ("color", "surface", "text")
"""Facts that can be said of a thing without saying what it is."""


def _size(phrase: Phrase) -> int:
    return len(phrase.facts) + len(phrase.relations) + len(phrase.also) + (phrase.pick is not None)


def _lengthen(scene: Scene, index: int, phrase: Phrase, wanted: int, rng: random.Random) -> Phrase:
    """Adds what is true of the thing until the phrase says `wanted` things, where it can."""
    said = {fact.name + str(fact.value) for fact in phrase.facts}
    more: list[Fact | Relation] = [
        fact
        for fact in true_facts(scene, index)
        if fact.name + str(fact.value) not in said and (phrase.kind or fact.name in _OF_ANY)
    ]
    rng.shuffle(more)
    # People mention a pattern, and seldom that there is none.
    more.sort(key=lambda one: isinstance(one, Fact) and one.value == "plain")
    if more and rng.random() < 0.6:
        more = [one for one in more if not (isinstance(one, Fact) and one.value == "plain")]
    if wanted > 3 and not phrase.relations:
        relation = _relation(scene, index, rng, names=("left", "right", "front", "behind"))
        more.insert(rng.randint(0, len(more)), relation) if relation else None
    for one in more[: max(0, wanted - _size(phrase))]:
        longer = msgspec.structs.replace(phrase, also=(*phrase.also, one))
        if only(evaluate(longer, scene)) == index:
            phrase = longer
    return _merged(phrase)


def _merged(phrase: Phrase) -> Phrase:
    """Facts stated afterwards count as the noun phrase's own where nothing is chosen."""
    chooses = phrase.pick or any(one.name in ("nearest", "farthest") for one in phrase.relations)
    if chooses or not phrase.also:
        return phrase
    return msgspec.structs.replace(
        phrase,
        facts=(*phrase.facts, *(one for one in phrase.also if isinstance(one, Fact))),
        relations=(*phrase.relations, *(one for one in phrase.also if isinstance(one, Relation))),
        also=(),
    )


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
        others = [one for one in others if one.name in _OF_ANY]
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


def _appearance(scene: Scene, rng: random.Random, knobs: Knobs) -> Found:
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


def _component(scene: Scene, rng: random.Random, knobs: Knobs) -> Found:
    index = _any(scene, rng, lambda thing: bool(KINDS[thing.kind].parts))
    if index is None:
        return None
    thing = scene.things[index]
    part = rng.choice(list(KINDS[thing.kind].parts))
    key = Fact("part" if part in thing.parts else "no-part", part)
    phrase = _told_apart(scene, index, key, rng, kindless=False)
    return None if phrase is None else (index, phrase)


def _text(scene: Scene, rng: random.Random, knobs: Knobs) -> Found:
    index = _any(scene, rng, lambda thing: bool(thing.text))
    if index is None:
        return None
    phrase = _told_apart(scene, index, Fact("text", scene.things[index].text), rng)
    return None if phrase is None else (index, phrase)


def _state(scene: Scene, rng: random.Random, knobs: Knobs) -> Found:
    index = _any(scene, rng, lambda thing: bool(thing.state))
    if index is None:
        return None
    key = Fact("state", scene.things[index].state)
    phrase = _told_apart(scene, index, key, rng, kindless=False)
    return None if phrase is None else (index, phrase)


def _relationship(scene: Scene, rng: random.Random, knobs: Knobs) -> Found:
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
        relation = _relation(scene, index, rng, deep=rng.random() < 0.3)
        if relation is None:
            return None
        phrase = msgspec.structs.replace(base, relations=(relation,))
    answer = only(evaluate(phrase, scene))
    return (answer, phrase) if answer >= 0 else None


def _counting(scene: Scene, rng: random.Random, knobs: Knobs) -> Found:
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
    if among.count(YES) < 2 or among.count(YES) > 7 or 1 in among:
        return None
    rank = rng.randint(1, min(among.count(YES), 6))
    phrase = msgspec.structs.replace(base, pick=Pick(rng.choice(ways), rank))
    answer = only(evaluate(phrase, scene))
    return (answer, phrase) if answer >= 0 else None


def _occlusion(scene: Scene, rng: random.Random, knobs: Knobs) -> Found:
    hidden = [i for i, one in enumerate(scene.things) if one.visible <= 0.85]
    if not hidden:
        return None
    index = rng.choice(hidden)
    thing = scene.things[index]
    facts = [Fact("color", thing.color), Fact("surface", thing.surface)]
    facts += [Fact("cut", side) for side in ("left", "right")] + [Fact("covered")]
    facts = [one for one in facts if evaluate(Phrase(facts=(one,)), scene)[index] == YES]
    rng.shuffle(facts)
    facts.sort(key=lambda one: one.value == "plain")
    relations: list[Relation] = []
    if rng.random() < 0.5:
        relation = _relation(scene, index, rng, names=("hidden",))
        relations = [relation] if relation else []
    for count in range(len(facts) + 1):
        phrase = Phrase(kind=thing.kind, facts=tuple(facts[:count]), relations=tuple(relations))
        if only(evaluate(phrase, scene)) == index:
            return index, phrase
    return None


def _small(scene: Scene, rng: random.Random, knobs: Knobs) -> Found:
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
    relation = _relation(scene, index, rng)
    if relation is None:
        return None
    phrase = msgspec.structs.replace(phrase, relations=(relation,))
    answer = only(evaluate(phrase, scene))
    return (answer, phrase) if answer in tiny else None


_POSITIVES: dict[str, Callable[[Scene, random.Random, Knobs], Found]] = {
    "Appearance": _appearance,
    "Component": _component,
    "Text": _text,
    "State": _state,
    "Relationship": _relationship,
    "Counting": _counting,
    "Occlusion": _occlusion,
    "Small": _small,
}

# ---- rejections

_OF_SUBTASK = {
    "Appearance": ("color", "surface"),
    "Component": ("part", "no-part"),
    "Text": ("text",),
    "State": ("state",),
}


def _rejection(scene: Scene, l2: str, rng: random.Random, knobs: Knobs) -> Question | None:
    """A true description with one fact changed, so that it is true of nothing.

    What it was made from stays a near miss: it is true of the whole description but for that
    fact.
    """
    found = _POSITIVES[l2](scene, rng, knobs)
    if found is None or found[1].pick is not None:
        return None
    index, phrase = found
    phrase = _lengthen(scene, index, phrase, rng.randint(*knobs.facts), rng)
    keys = [one for one in phrase.facts if one.name in _OF_SUBTASK[l2]]
    # "plain" changed into "striped" is a change that nobody had noticed in the description.
    keys = [one for one in keys if one.value != "plain"]
    if not keys or only(evaluate(phrase, scene)) != index:
        return None
    key = rng.choice(keys)
    for other in _changes(key, scene.things[index], rng):
        facts = tuple(other if one == key else one for one in phrase.facts)
        changed = msgspec.structs.replace(phrase, facts=facts)
        if all(value == NO for value in evaluate(changed, scene)):
            return Question(
                description=say(changed, rng),
                target=-1,
                l1=REJECTION,
                l2=l2,
                phrase=changed,
                changed=(key, other),
                near=index,
            )
    return None


def _changes(fact: Fact, thing: Thing, rng: random.Random) -> list[Fact]:
    """Other values of a fact, in random order, those that could be taken for it first."""
    row = KINDS[thing.kind]
    if fact.name == "color":
        values = [one for one in COLORS if one != fact.value]
        if thing.surface in FIXED_COLOR:
            # "The red wooden box" of a brown one contradicts what such things can be.
            return []
        rng.shuffle(values)
        return [Fact("color", one) for one in values]
    if fact.name == "surface":
        values = [one for one in row.surfaces if one not in (fact.value, "plain")]
        values = [one for one in values if one not in FIXED_COLOR]
        rng.shuffle(values)
        return [Fact("surface", one) for one in values]
    if fact.name in ("part", "no-part"):
        return [Fact("no-part" if fact.name == "part" else "part", fact.value)]
    if fact.name == "state":
        return [Fact("state", one) for one in AXES[row.axis].values if one != fact.value]
    assert fact.name == "text"
    values = [one for one in texts(row) if one != fact.value]
    rng.shuffle(values)
    written = str(fact.value)
    values.sort(key=lambda one: -sum(a == b for a, b in zip(one, written, strict=False)))
    close = values[: max(1, len(values) // 4)]
    rng.shuffle(close)
    return [Fact("text", one) for one in [*close, *values[len(close) :]]]
