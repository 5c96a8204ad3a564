"""Phrases in words: what `logic.evaluate` proves, said in many ways.

The wording never changes the meaning. What narrows a choice ("the third red mug from the left")
stays inside its noun phrase; what merely adds to a description may follow in a sentence of its
own ("It is open.").
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from groundingme.datasets.scenes.catalog import AXES, KINDS, SURFACES
from groundingme.datasets.scenes.logic import Fact, Phrase, Pick, Relation

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PLURALS = {"die": "dice", "box": "boxes", "gift box": "gift boxes",
            "chest of drawers": "chests of drawers"}  # fmt: skip
_THINGS = ("thing", "object", "item")

_FRONT_STATES = ("open", "closed", "lit", "unlit", "burning", "full", "empty", "smiling",
                 "frowning", "tilted", "upright", "sleeping")  # fmt: skip
_STATE_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("car", "lit"): ("with its headlights on", "with glowing headlights"),
    ("car", "unlit"): ("with its headlights off", "with unlit headlights"),
    ("house", "open"): ("with its door open", "with an open door"),
    ("house", "closed"): ("with its door closed", "with a closed door"),
}
"""Where only a part of the thing is in that state."""

_SURFACE_WORDS = {
    "plain": ("without any pattern", "in one colour only"),
    "striped": ("with stripes", "with a striped pattern"),
    "dotted": ("with dots", "with a dotted pattern"),
    "checked": ("with a checked pattern", "with checks"),
    "wooden": ("made of wood",),
    "metal": ("made of metal",),
}

_RELATION_WORDS = {
    "left": ("to the left of {}", "left of {}", "on the left side of {}"),
    "right": ("to the right of {}", "right of {}", "on the right side of {}"),
    "above": ("above {}", "higher than {}"),
    "below": ("below {}", "lower than {}"),
    "front": ("in front of {}", "just in front of {}"),
    "behind": ("behind {}", "right behind {}"),
    "between": ("between {} and {}", "in the middle between {} and {}"),
    "nearest": ("nearest to {}", "closest to {}"),
    "farthest": ("farthest from {}", "farthest away from {}"),
    "hidden": ("partly hidden by {}", "partly covered by {}", "partly hidden behind {}"),
}

_SIDES = {"left": "leftmost", "right": "rightmost", "top": "topmost", "bottom": "lowest"}
_PICK_WORDS = {
    "large": ("largest", "biggest"),
    "small": ("smallest",),
    "near": ("nearest to the viewer", "closest to the camera", "closest to the viewer"),
    "far": ("farthest from the viewer", "farthest from the camera", "farthest away"),
    "most": ("with the most {}",),
    "fewest": ("with the fewest {}",),
}


class _UsualWords(random.Random):
    """Takes the first of several words; order and structure still vary."""

    def choice(self, seq: Any) -> Any:
        return seq[0]


class _OneWay(_UsualWords):
    """Says the same thing the same way, always."""

    def random(self) -> float:
        return 0.0

    def shuffle(self, x: Any) -> None:
        pass


def say(phrase: Phrase, rng: random.Random, *, paraphrase: int = 2) -> str:
    """The phrase in words.

    Args:
        phrase: Any.
        rng: Every other state of it may word the phrase otherwise.
        paraphrase: 0 always takes the same words and the same structure, 1 the same words in
            varying structures, 2 varies both.
    """
    if paraphrase < 2:
        rng = (_OneWay, _UsualWords)[paraphrase](rng.randrange(1 << 30))
    chooses = phrase.pick is not None or any(
        one.name in ("nearest", "farthest") for one in phrase.relations
    )
    head, later = phrase, list(phrase.also)
    if not chooses:
        rng.shuffle(later)
        head, moved = _head(phrase, rng)
        later = [*moved, *later]
    article = "the" if chooses or rng.random() < 0.6 else "a"
    text = noun_phrase(head, rng, article=article)
    if not later and rng.random() < 0.5:
        return text
    sentences = [text[0].upper() + text[1:] + "."]
    sentences += [f"It {_predicate(one, phrase.kind, rng)}." for one in later]
    return " ".join(sentences)


def _head(phrase: Phrase, rng: random.Random) -> tuple[Phrase, list[Fact | Relation]]:
    """Splits off what is said in later sentences, so that no noun phrase grows unreadable."""
    facts, relations = list(phrase.facts), list(phrase.relations)
    rng.shuffle(facts)
    rng.shuffle(relations)
    keep = rng.choice((3, 1, 2, 2, 3, 4)) if len(facts) + len(relations) > 2 else 4
    kept_relations = relations[:1] if keep > 1 or not facts else []
    kept_facts = facts[: keep - len(kept_relations)]
    if not kept_facts and facts and not kept_relations:
        kept_facts = facts[:1]
    later: list[Fact | Relation] = [*facts[len(kept_facts) :], *relations[len(kept_relations) :]]
    rng.shuffle(later)
    return Phrase(kind=phrase.kind, facts=tuple(kept_facts), relations=tuple(kept_relations)), later


def noun_phrase(phrase: Phrase, rng: random.Random, *, article: str = "the") -> str:
    """A noun phrase with everything in it but `also`."""
    before, after = _around(phrase, rng)
    noun = rng.choice(KINDS[phrase.kind].nouns if phrase.kind else _THINGS)
    scopes = [one for one in phrase.facts if one.name in ("row", "group", "rug")]
    if phrase.pick:
        body = _picked(phrase, phrase.pick, before, noun, after, rng)
    else:
        words = " ".join([*before, noun, *after])
        if article == "a":
            article = "an" if words[0] in "aeiou" else "a"
        body = f"{article} {words}"
    places = [_place(fact, phrase.kind, rng) for fact in scopes]
    links = [_relation(one, rng) for one in phrase.relations]
    if links and (after or places) and not phrase.pick:
        body += ","
    return " ".join([body, *places, " and ".join(links)]).rstrip()


def _around(phrase: Phrase, rng: random.Random) -> tuple[list[str], list[str]]:
    """What stands before the noun, and what behind it."""
    state, surface, color, after = [], [], [], []
    facts = list(phrase.facts)
    rng.shuffle(facts)
    for fact in facts:
        if fact.name == "color":
            color.append(str(fact.value))
        elif fact.name == "surface":
            value = str(fact.value)
            if rng.random() < 0.7:
                surface.append(rng.choice(SURFACES[value]))
            else:
                after.append(rng.choice(_SURFACE_WORDS[value]))
        elif fact.name == "state":
            words = _state(phrase.kind, str(fact.value), rng)
            if words in _FRONT_STATES and rng.random() < 0.6:
                state.append(words)
            else:
                after.append(words if words.startswith("with ") else f"that is {words}")
        elif fact.name not in ("row", "group", "rug"):
            after.append(_behind(fact, phrase.kind, rng))
    clauses = [words.removeprefix("that ") for words in after if words.startswith("that ")]
    phrases = [words for words in after if not words.startswith("that ")]
    # A clause belongs to the noun before it, so it stands first: "a lamp that is lit, with a cord".
    behind = [f"that {' and '.join(clauses)}"] if clauses else []
    behind = [", ".join([*behind, *phrases])] if behind or phrases else []
    return state + (surface + color if rng.random() < 0.7 else color + surface), behind


def _state(kind: str, value: str, rng: random.Random) -> str:
    special = _STATE_WORDS.get((kind, value))
    if special:
        return rng.choice(special)
    axis = AXES[KINDS[kind].axis]
    return rng.choice(axis.phrases[axis.values.index(value)])


def _part(kind: str, part: str) -> str:
    words = KINDS[kind].parts[part]
    if words.split()[0].endswith("s"):
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _behind(fact: Fact, kind: str, rng: random.Random) -> str:
    """A fact as it follows a noun."""
    value = fact.value
    if fact.name == "part":
        return rng.choice(("with {}", "that has {}")).format(_part(kind, str(value)))
    if fact.name == "no-part":
        words = KINDS[kind].parts[str(value)]
        plain = _part(kind, str(value))
        return rng.choice((f"without {plain}", f"that has no {words}", f"lacking {plain}"))
    if fact.name == "text":
        return rng.choice(_text_words(str(value)))
    if fact.name == "count":
        assert isinstance(value, int)
        counted = _counted(kind, value)
        verb = ("showing {}", "that shows {}") if kind == "die" else ("with {}", "that has {}")
        return rng.choice(verb).format(counted)
    if fact.name == "covered":
        return rng.choice(("that is partly hidden", "that something partly covers"))
    assert fact.name == "cut", fact
    return rng.choice(
        (f"that is cut off at the {value} edge", f"that the {value} edge of the picture cuts off")
    )


def _text_words(value: str) -> tuple[str, ...]:
    what = "number" if value.isdigit() else "letter" if len(value) == 1 else "word"
    return (
        f'with the {what} "{value}" on it',
        f'that says "{value}"',
        f'marked "{value}"',
        f'on which "{value}" is written',
    )


def _counted(kind: str, value: int) -> str:
    count = KINDS[kind].count
    assert count is not None
    return f"{NUMBERS[value]} {count.one if value == 1 else count.many}"


def _place(fact: Fact, kind: str, rng: random.Random) -> str:
    if fact.name == "row":
        rank, end = str(fact.value).split()
        if rank == "1":
            return f"in the {end} row"
        return f"in the {ORDINALS[int(rank) - 1]} row from the {end}"
    if fact.name == "rug":
        return rng.choice(("on the round rug", "inside the circle of the rug"))
    assert isinstance(fact.value, int)
    if fact.value == 1:
        return rng.choice(("standing alone", "that stands by itself"))
    return f"in the group of {NUMBERS[fact.value]}"


def _relation(relation: Relation, rng: random.Random) -> str:
    others = [noun_phrase(other, rng) for other in relation.others]
    return rng.choice(_RELATION_WORDS[relation.name]).format(*others)


def _picked(
    phrase: Phrase, pick: Pick, before: Sequence[str], noun: str, after: Sequence[str],
    rng: random.Random,
) -> str:  # fmt: skip
    core = " ".join([*before, noun])
    many = " ".join([*before, _PLURALS.get(noun, f"{noun}s"), *after])
    tail = " ".join(["", *after])
    if pick.by in _SIDES:
        which = f"{ORDINALS[pick.rank - 1]}"
        if after:
            return f"of the {many}, the {which} one from the {pick.by}"
        if pick.rank == 1 and rng.random() < 0.6:
            return f"the {_SIDES[pick.by]} {core}"
        if rng.random() < 0.25:
            return f"of the {many}, the {which} one from the {pick.by}"
        return f"the {which} {core} from the {pick.by}"
    words = rng.choice(_PICK_WORDS[pick.by])
    if pick.by in ("large", "small"):
        if after or rng.random() < 0.3:
            return f"the {words} of the {many}"
        return f"the {words} {core}"
    if pick.by in ("most", "fewest"):
        count = KINDS[phrase.kind].count
        assert count is not None
        return f"the {core}{tail} {words.format(count.many)}"
    return f"the {core}{tail} that is {words}" if after else f"the {core} {words}"


def _predicate(one: Fact | Relation, kind: str, rng: random.Random) -> str:
    """What follows "It" in a sentence of its own."""
    if isinstance(one, Relation):
        return f"{rng.choice(('is', 'can be seen', 'is placed'))} {_relation(one, rng)}"
    value = one.value
    if one.name == "color":
        return rng.choice((f"is {value}", f"is of {value} colour"))
    if one.name == "surface":
        return (
            rng.choice(
                (f"is {SURFACES[str(value)][0]}", f"is {rng.choice(_SURFACE_WORDS[str(value)])}")
            )
            if str(value) in ("wooden", "metal")
            else f"is {rng.choice(SURFACES[str(value)][:2])}"
        )
    if one.name == "state":
        words = _state(kind, str(value), rng)
        return f"is shown {words}" if words.startswith("with ") else f"is {words}"
    if one.name == "part":
        return f"has {_part(kind, str(value))}"
    if one.name == "no-part":
        return rng.choice(("has no {}", "lacks the {}")).format(KINDS[kind].parts[str(value)])
    if one.name == "text":
        return rng.choice((f'says "{value}"', f'has "{value}" written on it'))
    if one.name == "count":
        assert isinstance(value, int)
        return f"{'shows' if kind == 'die' else 'has'} {_counted(kind, value)}"
    if one.name == "covered":
        return "is partly hidden"
    if one.name == "cut":
        return f"is cut off at the {value} edge of the picture"
    return f"is {_place(one, kind, rng)}"
