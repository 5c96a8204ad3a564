"""Contradictions of two more kinds: another thing in the object's place, another place for it.

They are no subtasks of Rejection, so a benchmark has none of them; training data may. Both need to
know what else is in the picture, which their caller says: `absent` what is seen there, and of a
`swap` where the others of the class are.

Never swapped is what picks among several ("the leftmost", "the second from the left"): its
opposite picks another one, so it is true. Nor is anything beside it: it would pick among others.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from groundingme.build.changing import Edit, own_spans, relation_heads
from groundingme.build.lexicon import FIRST_HALVES, NOUNS, ORDINALS, RELATIONS, Noun
from groundingme.schema import Box

ABSENT, SWAP = "Absent", "Swap"

_RANK = re.compile(
    rf"\b(?:{'|'.join(ORDINALS)})\b(?=[^.;,]*\bfrom the (?:left|right|top|bottom|front)\b)",
    re.IGNORECASE,
)
_PICKS = re.compile(
    r"\b(?:left|right|top|bottom|upper|lower)most\b"
    r"|\b(?!(?:forest|west|rest|chest|vest|guest|nest|test|quest|breast|harvest)\b)\w+est\b"
    rf"|\b(?:{'|'.join(ORDINALS)}|last)\b",
    re.IGNORECASE,
)
_AFTER_HEAD = re.compile(
    r"\b(?:with|without|wearing|holding|carrying|in|on|that|which|who|whose|of|at|by|to|from|near"
    r"|next|behind|beside|between|under|above|below|over|standing|sitting|lying|riding|eating"
    r"|is|has|are)\b|[,.;:]",
    re.IGNORECASE,
)
_MODIFIERS = frozenset(
    re.findall(
        r"\w+",
        "hot stop fire parking dining wine traffic cell sports tennis baseball potted slice toy "
        "stuffed light board bathroom dish watch control cycle computer blade signal stuffed male "
        "female adult family folks skin screen monitor seat jet pan can fruit vegetable",
    )
)
"""Words of `NOUNS` that are no nouns, or not by themselves those things."""
FEW = 20
_NAMES = frozenset(
    {noun.name for noun in NOUNS.values()}
    | {word for noun in NOUNS.values() for word in noun.near if word not in _MODIFIERS}
)


class Swap(NamedTuple):
    """An opposite place.

    Attributes:
        edit: The word that changes.
        side: As in `lexicon.Placed`; "" for a place in an order that goes beyond the last.
    """

    edit: Edit
    side: str


def swaps(text: str) -> list[Swap]:
    """Every word that places the object, with its opposite.

    Example:
        >>> [(one.edit.after, one.side) for one in swaps("the cup to the left of a lamp")]
        [('right', 'right')]
        >>> swaps("the leftmost cup"), swaps("the first cup from the left")
        ([], [])
    """
    if _PICKS.search(text):
        return []
    heads = relation_heads(text)
    found: dict[int, Swap] = {}
    for row in RELATIONS:
        for match in own_spans(text, (), pattern=row.pattern, also=heads):
            after = row.after.capitalize() if match[0][0].isupper() else row.after
            edit = Edit(match.start(), match.end(), match[0], after)
            found.setdefault(match.start(), Swap(edit, row.side))
    return [found[at] for at in sorted(found)]


def may_be_there(side: str, box: Box, others: Iterable[Box]) -> bool:
    """Whether one of the others may be where a swap puts the object.

    What was left of a lamp and is said to be right of it now, could be any that lies farther to
    the right than the object does; how far the lamp is, nobody says.

    Args:
        side: Of the swap.
        box: The object's.
        others: Of all others of its class that are known.
    """
    places = list(others)
    if side == "depth":
        return bool(places)
    axis, sign = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}[side]

    def middle(one: Box) -> float:
        return (one[axis] + one[axis + 2]) / 2

    return any(sign * (middle(one) - middle(box)) > 0 for one in places)


def beyond(text: str, label: str, count: int, rng: random.Random) -> Edit | None:
    """A place in an order that is beyond the last: "the third cup from the left" of two.

    Args:
        text: The description.
        label: Class of the object, which the description must name: "the third thing" counts all.
        count: How many of the class there are in the picture: all of them.
        rng: Chooses how far beyond.
    """
    match = _RANK.search(text)
    choices = ORDINALS[count : count + 2]
    if match is None or not choices or ORDINALS.index(match[0].lower()) >= count:
        return None
    if not near(label) & words_in([text]):
        return None
    after = rng.choice(choices)
    if match[0][0].isupper():
        after = after.capitalize()
    return Edit(match.start(), match.end(), match[0], after)


def head_noun(text: str, label: str) -> tuple[int, int] | None:
    """Where the noun stands that says what the object is; None where that is not certain.

    Args:
        text: The description.
        label: Class of the object; "" where it is not known.

    Example:
        >>> text = "the old man on a bench"
        >>> text[slice(*head_noun(text, "person"))]
        'man'
    >>> text = "a yellow table lamp"
    >>> text[slice(*head_noun(text, "lamp"))]
    'table lamp'
    """
    cut = next((one.start() for one in _AFTER_HEAD.finditer(text) if one.start() > 0), len(text))
    head = text[:cut]
    words: Collection[str] = (label,) if label else ()
    found = [one.span() for one in own_spans(head, words)] if label else []
    if not found:
        known = near(label) & _NAMES if label else _NAMES
        found = [one.span() for one in own_spans(head, known)] if known else []
        # A noun before another word may be a part of its name: a dog house.
        found = [one for one in found if _ends(head[one[1] :])]
    if len(found) != 1:
        return None
    start, end = found[0]
    before = re.search(r"([a-z]+)[ -]$", text[:start], re.IGNORECASE)
    if before and before[1].lower() in FIRST_HALVES:
        start = before.start()
    again = re.findall(rf"\b{re.escape(text[start:end])}\b", text, re.IGNORECASE)
    return (start, end) if len(again) == 1 and not text[end:].startswith(("'s", "’s")) else None


def _ends(rest: str) -> bool:
    word = re.match(r"\s*([a-z-]*)", rest.lower())
    assert word
    return not word[1] or word[1].endswith(("ing", "est", "ed"))


def near(label: str) -> frozenset[str]:
    """Words that name a class or something that it may be taken for."""
    words = set(re.findall(r"[a-z]+", label.lower()))
    last = {label.lower().split()[-1]} if label.split() else set()
    for noun in NOUNS.values():
        if noun.name == label.lower() or noun.near & last:
            words |= noun.near
    return frozenset(words)


def words_in(texts: Iterable[str]) -> frozenset[str]:
    """All words of some texts, in lower case; plurals also as singulars."""
    words = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}
    return frozenset(words | {one[:-1] for one in words if one.endswith("s")})


def pool(labels: Iterable[str]) -> list[Noun]:
    """What may be put in an object's place, from the classes that a data set has.

    Where it has fewer than `FEW`, those of the lexicon as well; else not, since a noun that true
    descriptions never have would give a rejection away.
    """
    own = {
        label: NOUNS.get(label.lower(), Noun(label, near(label), ""))
        for label in sorted(set(labels))
        if label and not label.endswith("s")
    }
    return list((own if len(own) >= FEW else {**NOUNS, **own}).values())


def absent(
    text: str,
    label: str,
    nouns: Sequence[Noun],
    seen: frozenset[str],
    rng: random.Random,
    *,
    complete: bool,
) -> Edit | None:
    """Another noun in the place of the object's: of something that is not in the picture.

    Args:
        text: The description.
        label: Class of the object, or "".
        nouns: What may come in its place: see `pool`.
        seen: Words for what is in the picture.
        rng: Chooses the noun.
        complete: Whether `seen` says all that is there. Then something of the same setting is
            taken, which is subtle; else of another one, and never people, who are everywhere.
    """
    span = head_noun(text, label)
    if span is None:
        return None
    before = text[slice(*span)]
    own = near(label or before) | near(before)
    there = seen | words_in([text])
    choices = [one for one in nouns if not one.near & (own | there)]
    setting = next((one.setting for one in NOUNS.values() if one.near & own), "")
    if complete:
        choices = [one for one in choices if one.setting == setting] or choices
    else:
        choices = [one for one in choices if one.setting not in (setting, "people")]
        # A fruit in a red shirt is known for nonsense by the words alone.
        if setting == "people":
            choices = [one for one in choices if one.setting == "animals"] or choices
    if not choices:
        return None
    after = rng.choice(choices).name
    return Edit(*span, before, after.capitalize() if before[0].isupper() else after)
