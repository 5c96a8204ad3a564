"""Whether a text is a description with exactly one fact changed, and which kind of fact.

================  ====================================================================
problem           the variant
================  ====================================================================
``same``          says the same words
``several``       differs in more than one place, or in too much of the text
``paraphrase``    puts a synonym, or a word for nearly the same, in place of a word
``wrong-kind``    changes a fact of another kind than was asked for, or what the object is
``duplicate``     is, but for little, a description of something in the same picture
``true``          says of the object what another description says of another object of
                  its class, or, where nothing else tells the object apart, the opposite
                  of what does, which is true of those others
================  ====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from groundingme.build.changing import own_spans
from groundingme.build.contradictions import KINDS
from groundingme.build.lexicon import (
    COLORS,
    FAMILIES,
    MATERIALS,
    OPPOSITES,
    PARTS,
    PATTERNS,
    POSTURES,
    RELATIVE,
    SHAPES,
    SIZED,
)
from groundingme.build.other_things import ABSENT, SWAP
from groundingme.build.records import Change

LONGEST_CHANGE = 6
"""Most words of one change."""
ALIKE = 0.9
"""Share of words that two descriptions share from which they are the same."""

_WORD = re.compile(r'"[^"\n]*"|“[^”\n]*”|[\w\'’#-]+|[^\w\s]')
_SYNONYMS = (
    {"grey", "gray"}, {"big", "large", "huge"}, {"small", "little", "tiny"},
    {"sitting", "seated"}, {"lying", "laying"}, {"closed", "shut"}, {"lit", "illuminated"},
    {"man", "guy", "gentleman", "male"}, {"woman", "lady", "female"}, {"mug", "cup"},
    {"couch", "sofa"}, {"wooden", "wood"}, {"metal", "metallic", "steel"},
    {"striped", "stripes", "stripy"}, {"checked", "checkered", "chequered", "plaid"},
    {"with", "has", "having"}, {"a", "an", "the", "one"}, {"blond", "blonde"},
    {"spotted", "dotted", "polka-dot"}, {"round", "circular"}, {"near", "by", "beside", "next"},
)  # fmt: skip
_NEGATIVE = frozenset({"not", "no", "without", "lacks", "lacking", "never"})
_COMPONENT = frozenset({"with", "without", "has", "have", "no", "lacks", "lacking", "wearing"})
_STATES = frozenset(POSTURES) | frozenset(
    word
    for before, after in OPPOSITES
    for word in re.findall(r"[a-z]{3,}", f"{re.sub(r'[(].*?[)]', ' ', before)} {after}")
    if word not in ("camera", "viewer", "the", "its", "from", "side", "down", "water")
)
_APPEARANCE = (
    frozenset(COLORS) | frozenset(MATERIALS) | frozenset(PATTERNS) | frozenset(SHAPES)
    | frozenset(RELATIVE) | {one for row in SIZED for one in row[:2]}
    | {"wood", "wool", "taller", "wider", "largest", "smallest"}
)  # fmt: skip
_PLACES = frozenset(
    {"left", "right", "above", "below", "under", "underneath", "beneath", "top", "bottom", "front",
     "behind", "foreground", "background", "inside", "outside", "before", "after"}
)  # fmt: skip
_PLACED = re.compile(
    r"\b(?:left|right|top|upper|lower|bottom)most\b|\b(?:topmost|lowest|highest|corner|edge|middle"
    r"|first|second|third|fourth|fifth|sixth|seventh|largest|smallest|closest|nearest|farthest"
    r"|foreground|background|next to|beside|behind|in front of|between|above|below|under|near)\b"
    r"|\b(?:on|to|at) the (?:far |very )?(?:left|right)\b",
    re.IGNORECASE,
)


def change_of(original: str, variant: str, kind: str, by: str, *, noun: str = "") -> Change | str:
    """What a variant changes, or a word of the table above.

    Args:
        original: A true description.
        variant: A text that should differ in one fact.
        kind: Which kind of fact; a name of `contradictions.KINDS`, or of `other_things`.
        by: Who changed it.
        noun: What the object is called; of another thing every description is false.

    Example:
        >>> change_of("a red cup", "an orange cup", "Appearance", "me").after
        'an orange'
        >>> change_of("a grey cup", "a gray cup", "Appearance", "me")
        'paraphrase'
    """
    assert kind in (*KINDS, ABSENT, SWAP)
    before, after = _WORD.findall(original), _WORD.findall(variant)
    folded = [[one.lower() for one in words] for words in (before, after)]
    if [one for one in folded[0] if one[:1].isalnum() or len(one) > 1] == [
        one for one in folded[1] if one[:1].isalnum() or len(one) > 1
    ] and _letters(original) == _letters(variant):
        return "same"
    places = [
        one[1:]
        for one in SequenceMatcher(None, folded[0], folded[1], autojunk=False).get_opcodes()
        if one[0] != "equal"
    ]
    if not places:
        # Only letters in another case differ: of writing that is a change.
        return "same" if kind != "Text" else "paraphrase"
    if len(places) > 1:
        return "several"
    start, end, other_start, other_end = places[0]
    was, became = before[start:end], after[other_start:other_end]
    longest = max(len(was), len(became))
    if longest > LONGEST_CHANGE or longest > max(2, 0.6 * len(before)):
        return "several"
    lower = (folded[0][start:end], folded[1][other_start:other_end])
    if _is_paraphrase(*lower):
        return "paraphrase"
    named = noun.lower().split()[-1:]
    renamed = bool(named) and named[0] in lower[0] and named[0] not in lower[1]
    if renamed != (kind == ABSENT) and (named or kind != ABSENT):
        return "wrong-kind"
    if kind == SWAP and not all(_PLACES & set(words) for words in lower):
        return "wrong-kind"
    for words in lower if kind in KINDS else ():
        found = kinds_of(words)
        if found and kind not in found:
            return "wrong-kind"
    return Change(kind=kind, before=" ".join(was), after=" ".join(became), by=by)


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text).lower()


def _is_paraphrase(was: Sequence[str], became: Sequence[str]) -> bool:
    if {*was, *became} & _NEGATIVE:
        return False
    gone, came = set(was) - set(became), set(became) - set(was)
    if gone and came and all(_near(a, b) for a in gone for b in came):
        return True
    return all(not re.search(r"\w", one) or one in ("a", "an", "the") for one in {*gone, *came})


def _near(one: str, other: str) -> bool:
    if any(one in group and other in group for group in _SYNONYMS):
        return True
    return other in COLORS.get(one, ()) or one in COLORS.get(other, ())


def kinds_of(words: Sequence[str]) -> set[str]:
    """Which kinds of facts words state, in lower case; none where rules cannot tell."""
    if any('"' in one or "“" in one or re.search(r"\d", one) for one in words):
        return {"Text"}
    found = set()
    known = set(words)
    if known & _APPEARANCE:
        found.add("Appearance")
    parts = PARTS | frozenset(FAMILIES)
    if known & _COMPONENT or known & parts or {one.rstrip("s") for one in known} & parts:
        found.add("Component")
    if known & _STATES:
        found.add("State")
    return found


def is_true_of_another(
    original: str, change: Change, others: int, elsewhere: Sequence[str]
) -> bool:
    """Whether, as far as words tell, another object of the class fits a contradiction.

    Args:
        original: The true description.
        change: What was made wrong in it.
        others: How many other objects of the class the picture has.
        elsewhere: Descriptions and drafts of those others.
    """
    if not others:
        return False
    words = re.findall(r"[\w'-]+", change.after.lower())
    # Without words of their own, opposites are judged by what is left below.
    told = [one for one in words if one not in _COMPONENT | _NEGATIVE | {"a", "an", "the"}]
    if told and any(all(_says(text, one) for one in told) for text in elsewhere):
        return True
    if not is_opposite(change):
        return False
    rest = original.replace(change.before, " ", 1) if change.before else original
    return count_facts(rest) == 0


def _says(text: str, word: str) -> bool:
    return any(True for _ in own_spans(text, (word,)))


def is_opposite(change: Change) -> bool:
    """Whether an object that lacks what was said has what is said now: open and closed."""
    words = {*change.before.lower().split(), *change.after.lower().split()}
    return change.kind == "State" or bool(words & (_COMPONENT | _NEGATIVE))


def count_facts(text: str) -> int:
    """How many things a description says beyond what its object is, as far as rules know words."""
    lower = text.lower()
    words = re.findall(r"[a-z'-]+", lower)
    known = sum(one in _APPEARANCE or one in _STATES for one in words)
    held = re.findall(
        r"\b(?:with|without|wearing|has|holding|in) (?:an? |the |his |her |its )", lower
    )
    quoted = re.findall(r'"[^"]+"|“[^”]+”|\d+', lower)
    return known + len(held) + len(quoted) + len(_PLACED.findall(lower))


def ended_like(text: str, original: str) -> str:
    """A text with a full stop at its end where, and only where, the original has one."""
    bare = text.rstrip(". ")
    return f"{bare}." if original.endswith(".") else bare if text.endswith(".") else text


def alike(one: str, other: str) -> bool:
    """Whether two descriptions are the same but for little.

    Shared words over all words, each counted as often as it comes.
    """
    a, b = sorted(_words(one)), sorted(_words(other))
    if not a or not b:
        return a == b
    shared = 0
    left = list(b)
    for word in a:
        if word in left:
            left.remove(word)
            shared += 1
    return shared / (len(a) + len(b) - shared) >= ALIKE


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
