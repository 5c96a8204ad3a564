"""One fact of a description, changed by rule: `contradict(description, kind, rng)`.

Only what is said of the object itself is changed, not what is said of other things beside it
(after "to the left of", "next to" and the like), nor what stands in quotes, but for Text. Rules
know words and no pictures: a changed word may still be true of another object in the picture,
which `negatives` looks for and `verify` asks models about.

Words that pick the object ("the leftmost", "the second from the top") are never changed: their
opposite picks another object, so it is true.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from groundingme.build.changing import Edit, applied, is_own, own_spans, words_before
from groundingme.build.lexicon import (
    ANIMATE,
    COLORS,
    FAMILIES,
    MATERIALS,
    NOT_COLORED,
    OPPOSITES,
    PALETTES,
    PARTS,
    PATTERNS,
    PEOPLE_NOUNS,
    POSTURES,
    RELATIVE,
    SHAPES,
    SIZED,
)
from groundingme.build.records import Change

KINDS = ("Appearance", "Component", "Text", "State")
"""Second-level names of Rejection."""

_BREAK = r"(?=$|[,.;:!?]|\s(?:and|but|that|which|who|is|are|was|in|on|at|to|near|by|behind|beside|from|of|while|standing|sitting)\b)"  # noqa: E501
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def contradict(description: str, kind: str, rng: random.Random) -> tuple[str, Change] | None:
    """A variant of a description with exactly one error of the asked kind.

    Args:
        description: True, in English.
        kind: A name of `KINDS`.
        rng: Chooses the place and the word among those that fit best.

    Returns:
        The variant, and what was changed; None where no rule finds anything to change.

    Raises:
        KeyError: No such kind.

    Example:
        >>> contradict("A mug with a lid", "Component", random.Random(0))[0]
        'A mug without a lid'
    """
    for group in _RULES[kind]:
        edits = [one for one in group(description, rng) if one.after.lower() != one.before.lower()]
        if edits:
            edit = rng.choice(edits)
            text = applied(description, edit)
            return text, Change(kind=kind, before=edit.before, after=edit.after, by="rules")
    return None


# ---- Appearance


def _colors(text: str, rng: random.Random) -> Iterator[Edit]:
    said = {one for one in COLORS if re.search(rf"\b{one}\b", text, re.IGNORECASE)}
    for match in own_spans(text, COLORS):
        word = match[0].lower()
        follows = re.match(r"[ -]?([a-z]+)?", text[match.end() :].lower())
        noun = (follows and follows[1]) or ""
        before = words_before(text, match.start(), 2)
        if match[0][0].isupper() and not _begins(text, match.start()):
            continue
        if noun in NOT_COLORED or noun in PEOPLE_NOUNS or _negated(before):
            continue
        if word == "orange" and (not noun or _is_small(noun)) and not _is_predicate(before):
            continue
        near = {word, *COLORS[word], *said}
        palette = next((row for nouns, row in PALETTES if noun in nouns), None)
        if palette is None and (noun == "and" or text[match.end() :].startswith(" and ")):
            palette = next(
                (row for nouns, row in PALETTES if _later_noun(text, match) in nouns), None
            )
        choices = [one for one in palette or _PLAIN if one not in near]
        if before and before[-1] in ("light", "dark", "bright", "pale", "deep"):
            choices = [one for one in choices if one not in ("black", "white")]
        choices = [one for one in choices if not said & set(COLORS[one])]
        if choices:
            yield _edit(match, rng.choice(choices))


_PLAIN = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")


def _later_noun(text: str, match: re.Match[str]) -> str:
    """The noun behind "black and white"."""
    found = re.match(r" and [a-z]+ ([a-z]+)", text[match.end() :].lower())
    return found[1] if found else ""


def _materials(text: str, rng: random.Random) -> Iterator[Edit]:
    for match in own_spans(text, MATERIALS):
        word = match[0].lower()
        follows = re.match(r" ([a-z]+)", text[match.end() :].lower())
        noun = follows[1] if follows else ""
        before = words_before(text, match.start(), 2)
        made = before[-2:] in (["made", "of"], ["out", "of"])
        if _negated(before) or (before and before[-1] == "wine"):
            continue
        if not made and (not noun or _is_small(noun) or noun in MATERIALS[word].never):
            continue
        others = [one for one in MATERIALS[word].others if one not in text.lower()]
        if others:
            after = rng.choice(others)
            yield _edit(match, MATERIALS[after].noun if made else after)


def _families(table: dict[str, tuple[str, ...]]) -> Callable[[str, random.Random], Iterator[Edit]]:
    """A rule that puts another word of a family in a word's place."""

    def rule(text: str, rng: random.Random) -> Iterator[Edit]:
        for match in own_spans(text, table):
            others = [one for one in table[match[0].lower()] if one not in text.lower()]
            if re.match(r" (?:ball|globe|orb)s?\b", text[match.end() :]) and table is SHAPES:
                continue
            if others and not _negated(words_before(text, match.start(), 2)):
                yield _edit(match, rng.choice(others))

    return rule


def _sizes_of_parts(text: str, rng: random.Random) -> Iterator[Edit]:
    """Sizes that are no matter of taste: short sleeves, long hair."""
    for before, after, nouns in SIZED:
        pattern = rf"\b({before})(?=(?: [a-z]+)?[ -](?:{'|'.join(nouns)})\b)"
        for match in own_spans(text, (), pattern=pattern):
            yield _edit(match, after)


def _relative(text: str, rng: random.Random) -> Iterator[Edit]:
    """Sizes beside others, and in clauses that pick nothing."""
    pairs = (
        ("taller than it is wide", "wider than it is tall"),
        ("the largest of them", "the smallest of them"),
    )
    for pair in pairs:
        for before, after in (pair, pair[::-1]):
            for match in re.finditer(rf"(?:(?<=\bwhich is )|(?<=\bwho is )){before}", text):
                yield _edit(match, after)


def _vague_sizes(text: str, rng: random.Random) -> Iterator[Edit]:
    for match in own_spans(text, RELATIVE):
        follows = re.match(r" ([a-z]+)", text[match.end() :].lower())
        before = words_before(text, match.start(), 1)
        if not follows or _is_small(follows[1]) or (before and before[-1] in ("no", "as", "how")):
            continue
        yield _edit(match, RELATIVE[match[0].lower()])


# ---- Component


_PART = "|".join(sorted(PARTS, key=len, reverse=True))
_FILLER = (
    r"(?:(?!(?:with|and|or|of|that|in|on|any|two|three|four|open|closed|lit|unlit)\b)"
    r"[a-z'-]+ ){0,3}?"
)


def _with(text: str, rng: random.Random) -> Iterator[Edit]:
    """`with a lid` and `without a lid`."""
    phrase = rf"(?: (?:an?|the|its|his|her|their))? {_FILLER}(?:{_PART}){_BREAK}"
    for match in own_spans(text, (), pattern=rf"\b(?:without|with)\b(?={phrase})"):
        before = words_before(text, match.start(), 1)
        if before and (before[-1].endswith(("ed", "ing")) or before[-1] in ("along", "together")):
            continue
        rest = re.match(rf"{phrase}(.*)", text[match.end() :], re.IGNORECASE | re.DOTALL)
        # "with a lid and a spout" changed to "without" would change two things.
        if rest is None or re.match(r"\s+and\b", rest[1]):
            continue
        yield _edit(match, "with" if match[0].lower() == "without" else "without")


def _has(text: str, rng: random.Random) -> Iterator[Edit]:
    """`has a lid` and `has no lid`."""
    pattern = rf"\b(?:has|have)(?: no| an?)?(?= {_FILLER}(?:{_PART}){_BREAK})"
    for match in own_spans(text, (), pattern=pattern):
        verb, _, article = match[0].partition(" ")
        if article == "no":
            several = re.match(rf" {_FILLER}(?:{_PART})(?<=s)\b", text[match.end() :])
            yield _edit(match, verb if several else f"{verb} a")
        else:
            yield _edit(match, f"{verb} no")


def _wearing(text: str, rng: random.Random) -> Iterator[Edit]:
    """`wearing glasses` and `not wearing glasses`."""
    worn = "|".join(sorted(FAMILIES, key=len, reverse=True))
    pattern = (
        rf"\b(?:not )?wearing(?= (?:an? |the |his |her )?(?:[a-z-]+ ){{0,2}}?(?:{worn}){_BREAK})"
    )
    for match in own_spans(text, (), pattern=pattern):
        if " and " in re.split(r"[,.;]", text[match.end() :])[0]:
            continue
        after = "wearing" if match[0].lower().startswith("not") else "not wearing"
        yield _edit(match, after)


def _worn(text: str, rng: random.Random) -> Iterator[Edit]:
    """`wearing a hat` and `wearing a helmet`; a hat itself never becomes a helmet."""
    worn = "|".join(sorted(FAMILIES, key=len, reverse=True))
    held = r"\b(?:with|wearing|has|carrying|holding)(?: (?!and\b|in\b|on\b|of\b)[a-z'-]+){0,3}? $"
    for match in own_spans(text, (), pattern=rf"(?<![\w-])(?:{worn})(?!\w)"):
        others = [one for one in FAMILIES[match[0].lower()] if one not in text.lower()]
        if others and re.search(held, text[: match.start()].lower()):
            yield _edit(match, rng.choice(others))
    # "a beard and glasses": the second one is worn, too.
    both = rf"(?<= and )(?:{worn})(?!\w)"
    for match in own_spans(text, (), pattern=both):
        others = [one for one in FAMILIES[match[0].lower()] if one not in text.lower()]
        if others and re.search(r"\b(?:with|wearing)\b", text[: match.start()]):
            yield _edit(match, rng.choice(others))


def _counts_of_parts(text: str, rng: random.Random) -> Iterator[Edit]:
    """`with two handles` and `with three handles`."""
    plural = "|".join(f"{one}s" for one in sorted(PARTS, key=len, reverse=True))
    number = "|".join(_NUMBERS[1:])
    pattern = rf"(?:(?<=\bwith )|(?<=\bhas ))(?:{number})(?= (?:[a-z-]+ ){{0,2}}?(?:{plural})\b)"
    for match in own_spans(text, (), pattern=pattern):
        at = _NUMBERS.index(match[0].lower())
        yield _edit(match, _NUMBERS[at + 1 if at < 8 else at - 1])


# ---- Text

_QUOTED = re.compile(
    r'(?<=")[^"\n]{1,60}(?=")|(?<=“)[^”\n]{1,60}(?=”)|(?<=«)[^»\n]{1,60}(?=»)'
    r"|(?<=‘)[^’\n]{1,60}(?=’)|(?:(?<=\s')|(?<=^'))[^'\n]{1,60}(?='(?:[\s,.;:!?]|$))"
)
_WRITTEN = re.compile(
    r"(?:(?<=number )|(?<=numbered )|(?<=no\. )|(?<=No\. )|(?<=#)|(?<=route )|(?<=reads )"
    r"|(?<=reading )|(?<=says )|(?<=saying )|(?<=marked )|(?<=labeled )|(?<=labelled ))\d+"
    r"|(?<![\w.,:$€£])\d{1,6}(?= (?:is )?(?:(?:written|printed|painted|displayed) )?on (?:it|its|the|his|her|their)\b)"  # noqa: E501
)
_ALIKE = ("O0QD", "I1LJ", "B8", "S5", "Z27", "G6C", "UV", "MNW", "EF", "PR", "VY", "38", "17", "09")
"""Letters and digits that are taken for one another."""


def _writing(text: str, rng: random.Random) -> Iterator[Edit]:
    quoted = [
        one for one in _QUOTED.finditer(text)
        if one[0].strip() == one[0] and not re.match(r"\s*(?:and|or|with|on|,)\b", one[0])
    ]  # fmt: skip
    # Quotes come in pairs: what stands between two of them is not itself in quotes.
    if text.count('"') % 2 == 0:
        quoted = [one for one in quoted if text[: one.start()].count('"') % 2 or '"' not in text]
    for match in [*quoted, *_WRITTEN.finditer(text)]:
        changed = _respelled(match[0], rng)
        if changed and is_own(text, match.start()):
            yield Edit(match.start(), match.end(), match[0], changed)


def _respelled(written: str, rng: random.Random) -> str:
    """The text with one character changed or two swapped; "" where that cannot be."""
    digits = [at for at, one in enumerate(written) if one in "0123456789"]
    letters = [at for at, one in enumerate(written) if one.isalpha()]
    pairs = [
        at for at in (digits or letters)
        if written[at + 1 : at + 2].isalnum()
        and written[at].isdigit() == written[at + 1].isdigit()
        and written[at].islower() == written[at + 1].islower()
        and written[at].lower() != written[at + 1].lower()
        and not (at == 0 and written[1] == "0")
    ]  # fmt: skip
    singles = [at for at in (digits or letters) if written[at].isascii()]
    if pairs and (not singles or rng.random() < 0.3):
        at = rng.choice(pairs)
        return written[:at] + written[at + 1] + written[at] + written[at + 2 :]
    if not singles:
        return ""
    # The first letter is what people notice: an error inside is the subtle one.
    at = rng.choice([one for one in singles if one != singles[0]] or singles)
    return written[:at] + _another(written[at], rng, first=at == 0) + written[at + 1 :]


def _another(letter: str, rng: random.Random, *, first: bool) -> str:
    groups = ("0123456789", "AEIOU", "BCDFGHJKLMNPQRSTVWXYZ")
    upper = letter.upper()
    group = next(one for one in groups if upper in one)
    alike = "".join(one for one in _ALIKE if upper in one)
    choices = [one for one in group if one != upper and one not in alike]
    if first and letter.isdigit():
        choices = [one for one in choices if one != "0"]
    chosen = rng.choice(choices)
    return chosen.lower() if letter.islower() else chosen


# ---- State


def _opposites(text: str, rng: random.Random) -> Iterator[Edit]:
    for before, after in OPPOSITES:
        for match in own_spans(text, (), pattern=rf"(?<![\w-])(?:{before})(?![\w-])"):
            if not _negated(words_before(text, match.start(), 2)):
                yield _edit(match, after)


def _postures(text: str, rng: random.Random) -> Iterator[Edit]:
    """What living things do: a cup that sits stands, so of things it is no change."""
    head = re.split(r"\b(?:with|in|on|that|which|who|sitting|standing|lying)\b", text.lower())[0]
    if not set(re.findall(r"[a-z]+", head)) & ANIMATE:
        return
    for match in own_spans(text, POSTURES):
        follows = re.match(
            r" (lamp|desk|order|room|fan|water|shoes|track|machine)\b", text[match.end() :]
        )
        before = words_before(text, match.start(), 2)
        others = POSTURES[match[0].lower()]
        if before and before[-1] in ("a", "an", "the"):
            others = tuple(one for one in others if " " not in one)
        if others and not follows and not _negated(before):
            yield _edit(match, rng.choice(others))


# ---- all of them

_Rule = Callable[[str, random.Random], Iterator[Edit]]


def _all(*rules: _Rule) -> _Rule:
    def together(text: str, rng: random.Random) -> Iterator[Edit]:
        for rule in rules:
            yield from rule(text, rng)

    return together


_RULES: dict[str, tuple[_Rule, ...]] = {
    "Appearance": (
        _all(_colors, _materials, _families(PATTERNS), _families(SHAPES), _sizes_of_parts),
        _relative,
        _vague_sizes,
    ),
    "Component": (_all(_with, _has, _wearing, _counts_of_parts), _worn),
    "Text": (_writing,),
    "State": (_opposites, _postures),
}
"""Rules by kind, the surest first; those of a later group are tried where none before fits."""


def _edit(match: re.Match[str], after: str) -> Edit:
    before = match[0]
    if before[:1].isupper():
        after = after[:1].upper() + after[1:]
    return Edit(match.start(), match.end(), before, after)


def _begins(text: str, at: int) -> bool:
    """Whether a sentence begins there."""
    return at == 0 or text[:at].rstrip().endswith((".", "!", "?"))


def _negated(before: list[str]) -> bool:
    return bool(before) and (
        before[-1] in ("not", "no", "without", "never", "isn't", "aren't", "non", "nor")
        or before[-2:-1] in (["not"], ["without"])
    )


def _is_small(word: str) -> bool:
    return word in _SMALL


def _is_predicate(before: list[str]) -> bool:
    return bool(before) and before[-1] in ("is", "are", "wearing", "bright", "dark", "and", "in")


_SMALL = frozenset(
    re.findall(
        r"\w+",
        "in on with to at from that which who of is are was were behind beside between near next "
        "under over above below by for as while left right sitting standing lying and or but has",
    )
)
