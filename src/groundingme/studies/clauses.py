"""The clauses of a description, and the description with some of them left out.

A clause says one thing more than the noun does: "red", "with a handle", "that is open", "to the
left of the lamp", "It is striped." Rules find them in English; whatever they do not know stays with
the noun. Leaving out is deleting, so nothing is ever said that the description did not say.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence

import msgspec

from groundingme.build.changing import Edit, applied
from groundingme.build.lexicon import COLORS, MATERIALS, PATTERNS, POSTURES, SHAPES
from groundingme.studies.mirroring import QUOTED

_WORDS = (
    {*COLORS, *MATERIALS, *PATTERNS, *POSTURES, *SHAPES}
    | {"plain", "solid-coloured", "solid-colored", "dotted", "spotted", "polka-dot", "chequered"}
    | {"checkered", "checked", "striped", "open", "closed", "shut", "lit", "unlit", "burning"}
    | {"full", "empty", "smiling", "frowning", "tilted", "upright", "sleeping", "awake", "asleep"}
    | {"broken", "folded", "wet", "dry", "clean", "dirty", "bare", "parked", "light", "dark"}
)
_ADJECTIVES = sorted((one for one in _WORDS if " " not in one), key=len, reverse=True)
_ADJECTIVE = re.compile(
    r"(?<![\w-])(?:wide |light |dark )?(?:"
    + "|".join(map(re.escape, _ADJECTIVES))
    + r")(?![\w-])\s+(?=\w)",
    re.IGNORECASE,
)  # fmt: skip
_RELATION = re.compile(
    r",?\s+(?:(?:is|are|that is|which is|located|placed|standing|sitting|lying)\s+)?"
    r"(?:just |right |directly |partly )*"
    r"(?:(?:to|on|at) the (?:left|right)(?: side)? of|(?:left|right) of|above|below|higher than"
    r"|lower than|in front of|behind|between|in the middle between|nearest to|closest to"
    r"|farthest (?:away )?from|next to|beside|near|underneath|under|on top of"
    r"|(?:hidden|covered) (?:by|behind))\b",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(
    r"(?<!\bis)(?<!\bare)(?<!\bon),?\s+(?=(?:with|without|lacking|that|which|who|marked|labell?ed"
    r"|wearing|holding|carrying|made of|in one colou?r|facing|showing|standing alone|on which"
    r"|in the (?:\w+ )?row|in the group|on the round rug)\b)|,\s+",
    re.IGNORECASE,
)
_JOINED = re.compile(
    r"\s+and\s+(?=(?:is|are|has|have|says|shows|lacks|stands|something"
    r"|the (?:left|right|top|bottom) edge)\b)"
)  # fmt: skip
_SENTENCE = re.compile(r"(?<=\.)\s+(?=(?:It|He|She|They)\b)")
_WHO = re.compile(r"(?:,?\s+)(?:that|which|who)\s+", re.IGNORECASE)


class Clause(msgspec.Struct, frozen=True):
    """One thing that a description says.

    Attributes:
        start: Where its words begin, with what goes when it goes.
        end: Where they end.
        text: Its words.
        relation: Whether it says where the thing is beside others.
    """

    start: int
    end: int
    text: str
    relation: bool = False


def clauses(description: str) -> list[Clause]:
    """The clauses of a description, in their order; none where it is but a noun.

    Example:
        >>> [one.text for one in clauses("A red mug that is open and has a lid, left of the box. It is new.")]
        ['red', 'is open', 'has a lid', 'left of the box', 'It is new.']
    """  # noqa: E501
    # What stands in quotes is one word to these rules.
    text = QUOTED.sub(lambda quoted: "Q" * len(quoted[0]), description)
    cuts = [0, *(one.end() for one in _SENTENCE.finditer(text)), len(text)]
    end = len(text[: cuts[1]].rstrip().rstrip("."))
    place = _RELATION.search(text, 0, end)
    body = place.start() if place else end
    marks = [one for one in _BOUNDARY.finditer(text, 1, body) if one.start()]
    starts = [one.start() for one in marks]
    spans = [
        (one.start(), one.end(), False)
        for one in _ADJECTIVE.finditer(text, 0, starts[0] if starts else body)
    ]
    for first, last in itertools.pairwise([*starts, body]):
        spans += [(start, stop, False) for start, stop in _conjuncts(text, first, last)]
    if place:
        spans.append((body, end, True))
    spans += [(start, stop, False) for start, stop in itertools.pairwise(cuts[1:])]
    found = [
        Clause(start, stop, re.sub(r"^(?:,\s*)?(?:and |that |which |who )?|,?( and)?$", "",
                                   description[start:stop].strip()).strip(), relation)
        for start, stop, relation in spans
    ]  # fmt: skip
    return [one for one in found if one.text]


def _conjuncts(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A relative clause in the parts that "and" joins; another one whole."""
    who = _WHO.match(text, start, end)
    joints = list(_JOINED.finditer(text, start, end)) if who else []
    if who is None or not joints:
        return [(start, end)]
    begins = [who.end(), *(one.end() for one in joints)]
    ends = [*(one.end() for one in joints), end]
    # The last one goes with the "and" before it.
    return [*zip(begins[:-1], ends[:-1], strict=True), (joints[-1].start(), ends[-1])]


def without(description: str, left_out: Collection[Clause]) -> str:
    """The description with clauses left out.

    Example:
        >>> said = "An orange mug that is open and has a lid. It is new."
        >>> first, second, *_ = clauses(said)
        >>> without(said, [first])
        'A mug that is open and has a lid. It is new.'
        >>> without(said, [second])
        'An orange mug that has a lid. It is new.'
        >>> without(said, clauses(said))
        'A mug.'
    """
    text, end = description, len(description)
    for one in sorted(left_out, key=lambda clause: -clause.start):
        # What joins two clauses belongs to both.
        end = min(one.end, end)
        text = applied(text, Edit(one.start, end, text[one.start : end], ""))
        end = one.start
    text = re.sub(r"\b(that|which|who)\s+and\s+", r"\1 ", text)
    text = re.sub(r"(?:,?\s+(?:that|which|who|and))+\s*(?=[,.]|$)", "", text)
    return re.sub(r"\s+(?=[,.])", "", re.sub(r"\s+", " ", text)).strip().rstrip(",")


def only(description: str, one: Clause, found: Sequence[Clause]) -> str:
    """The noun with one clause alone."""
    return without(description, [other for other in found if other is not one])
