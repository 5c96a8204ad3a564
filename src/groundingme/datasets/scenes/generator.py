"""Scenes and questions about them: every question proved to have one answer, or none.

    compose("Spatial", "Counting", rng)     a scene made for that subtask, and one question
    random_scene(rng), ask(scene, rng, 12)  a scene, and many questions on it, for training

Source of the subtasks: arXiv 2512.17495. The scenes and the wording are this project's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from groundingme.datasets.scenes import casting
from groundingme.datasets.scenes.casting import Knobs
from groundingme.datasets.scenes.catalog import AXES, COLORS, FIXED_COLOR, KINDS, texts
from groundingme.datasets.scenes.finding import OF_ANY, POSITIVES, place_beside, true_facts
from groundingme.datasets.scenes.language import say
from groundingme.datasets.scenes.logic import (
    NO,
    Fact,
    Phrase,
    Relation,
    evaluate,
    only,
)
from groundingme.datasets.scenes.scene import Scene, Thing
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


# ---- positives


def _positive(scene: Scene, l1: str, l2: str, rng: random.Random, knobs: Knobs) -> Question | None:
    found = POSITIVES[l2](scene, rng)
    if found is None:
        return None
    index, phrase = found
    wanted = rng.randint(*knobs.facts)
    if only(evaluate(phrase, scene)) != index:
        return None
    phrase = _lengthen(scene, index, phrase, wanted, rng)
    assert only(evaluate(phrase, scene)) == index
    text = _worded(phrase, rng, knobs)
    if not text:
        return None
    return Question(description=text, target=index, l1=l1, l2=l2, phrase=phrase)


def _worded(phrase: Phrase, rng: random.Random, knobs: Knobs) -> str:
    """The phrase in as many words as the knobs allow; "" where they do not."""
    for _ in range(4):
        text = say(phrase, rng, paraphrase=knobs.paraphrase)
        if knobs.words[0] <= len(text.split()) <= knobs.words[1]:
            return text
    return ""


def _size(phrase: Phrase) -> int:
    return len(phrase.facts) + len(phrase.relations) + len(phrase.also) + (phrase.pick is not None)


_ALONG = ("left", "right", "front", "behind", "above", "below", "between")
"""Relations that add to a description without choosing."""


def _lengthen(scene: Scene, index: int, phrase: Phrase, wanted: int, rng: random.Random) -> Phrase:
    """Adds what is true of the thing until the phrase says `wanted` things, where it can."""
    said = {fact.name + str(fact.value) for fact in phrase.facts}
    more: list[Fact | Relation] = [
        fact
        for fact in true_facts(scene, index)
        if fact.name + str(fact.value) not in said and (phrase.kind or fact.name in OF_ANY)
    ]
    rng.shuffle(more)
    # People mention a pattern, and seldom that there is none.
    more.sort(key=lambda one: isinstance(one, Fact) and one.value == "plain")
    if more and rng.random() < 0.6:
        more = [one for one in more if not (isinstance(one, Fact) and one.value == "plain")]
    beside = {one.name for one in phrase.relations}
    for _ in range((wanted > 3) + (wanted > 5) + (wanted > 7) - len(beside)):
        extra = max(0, rng.randint(0, wanted) - 4)
        relation = place_beside(scene, index, rng, names=_ALONG, extra=extra)
        if relation and relation.name not in beside:
            beside.add(relation.name)
            more.insert(rng.randint(0, min(len(more), 3)), relation)
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
    found = POSITIVES[l2](scene, rng)
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
        text = _worded(changed, rng, knobs)
        if text and all(value == NO for value in evaluate(changed, scene)):
            return Question(
                description=text,
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
