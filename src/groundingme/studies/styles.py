"""The same description in another style, by rule: terse, formal, child-like, noisy.

What stands in quotes is writing in the picture, and stays as it is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import partial

import msgspec

from groundingme.datasets import Dataset
from groundingme.registry import unknown
from groundingme.schema import Sample
from groundingme.studies.changing import changed
from groundingme.studies.mirroring import QUOTED
from groundingme.studies.study import Setting

_FILLER = re.compile(
    r"\b(?:the|a|an|that is|which is|who is|it is|it has|there is|that has|which has|of colour|"
    r"it|is|are|has)\b\s*",
    re.IGNORECASE,
)
_CHILDISH = {
    "large": "big", "huge": "really big", "small": "little", "nearest": "closest",
    "beneath": "under", "above": "over", "adjacent": "next", "partly": "kind of",
    "lacks": "has not got", "wearing": "with",
}  # fmt: skip


def _outside_quotes(text: str, change: Callable[[str], str]) -> str:
    """The text with what is not in quotes changed."""
    parts, at = [], 0
    for quoted in QUOTED.finditer(text):
        parts += [change(text[at : quoted.start()]), quoted[0]]
        at = quoted.end()
    return "".join([*parts, change(text[at:])])


def terse(text: str, rng: random.Random) -> str:
    """Without articles and verbs.

    Example:
        >>> terse('The red mug that is on the table. It has a lid.', random.Random(0))
        'red mug on table. lid.'
    """
    said = _outside_quotes(text, lambda part: _FILLER.sub("", part))
    return re.sub(r"\s{2,}", " ", said).strip()


def formal(text: str, rng: random.Random) -> str:
    """As in a letter."""
    return f"I should be obliged if you would identify the following: {_lower(text)}"


def childish(text: str, rng: random.Random) -> str:
    """As a child asks."""

    def simple(part: str) -> str:
        return re.sub(
            rf"\b(?:{'|'.join(_CHILDISH)})\b", lambda found: _CHILDISH[found[0].lower()], part,
            flags=re.IGNORECASE,
        )  # fmt: skip

    said = _lower(_outside_quotes(text, simple)).rstrip(".")
    return f"Look look, can you see {said}? Where is it?"


def noisy(text: str, rng: random.Random) -> str:
    """A typing error in every fourth longer word: letters swapped, doubled or left out."""

    def mistype(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() >= 0.25:
            return word
        at = rng.randrange(1, len(word) - 1)
        way = rng.randrange(3)
        if way == 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[:at] + word[at] * (2 if way == 1 else 0) + word[at + 1 :]

    return _outside_quotes(text, lambda part: re.sub(r"\b[A-Za-z]{4,}\b", mistype, part))


def _lower(text: str) -> str:
    first = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if first.lower() in ("the", "a", "an", "one") else text


STYLES: dict[str, Callable[[str, random.Random], str]] = {
    "terse": terse,
    "formal": formal,
    "child-like": childish,
    "noisy": noisy,
}
"""By name; each takes a description and a source of chance."""


def in_styles(setting: Setting) -> dict[str, Dataset]:
    """The data in each style that the option `styles` names.

    Raises:
        UnknownNameError: There is no such style.
    """
    names = setting.listed("styles")
    for name in names:
        if name not in STYLES:
            raise unknown("style", name, STYLES)
    return {
        name: changed(setting.dataset, name, partial(styled, name=name, seed=setting.seed))
        for name in names
    }


def styled(sample: Sample, name: str, seed: int) -> Sample:
    """The sample in the style of this name."""
    rng = random.Random(f"{seed}:{sample.id}:{name}")
    return msgspec.structs.replace(sample, description=STYLES[name](sample.description, rng))
