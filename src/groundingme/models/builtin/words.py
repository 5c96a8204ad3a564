"""A description as the grounder's matcher reads it: word numbers, and what stands in quotes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groundingme.prompts import UNIFIED

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Characters that can be read; character `i` has number `i + 1`, 0 is none."""

LONGEST_TEXT = 5
LONGEST = 96
"""Most tokens of a description that are read."""

PAD, UNKNOWN, QUOTE = 0, 1, 2
SPECIAL = ("<pad>", "<unk>", "<quote>")

_TOKEN = re.compile(r'"([^"]*)"|“([^”]*)”|([a-z0-9]+(?:[-\'’][a-z]+)*)|([,.;:])', re.IGNORECASE)
_BEFORE, _AFTER = (part.strip() for part in UNIFIED.split("{description}"))
_LEAD = _BEFORE[-60:]
_TAIL = _AFTER[:60]


def description(prompt: str) -> str:
    """The referring expression in a unified prompt; another prompt is returned whole.

    Example:
        >>> from groundingme.prompts import UNIFIED, render
        >>> description(render(UNIFIED, "the red mug"))
        'the red mug'
        >>> description("find the cat")
        'find the cat'
    """
    start = prompt.find(_LEAD)
    end = prompt.rfind(_TAIL)
    if start < 0 or end < start + len(_LEAD):
        return prompt
    return prompt[start + len(_LEAD) : end].strip()


def tokens(text: str) -> list[tuple[str, str]]:
    """Pairs of (word in lower case, "") or (`<quote>`, the quoted text).

    Example:
        >>> tokens('The mug, marked "B".')
        [('the', ''), ('mug', ''), (',', ''), ('marked', ''), ('<quote>', 'B'), ('.', '')]
    """
    found = []
    for match in _TOKEN.finditer(text):
        straight, curly, word, mark = match.groups()
        quoted = straight if straight is not None else curly
        if quoted is not None:
            found.append((SPECIAL[QUOTE], quoted))
        else:
            found.append(((word or mark).lower(), ""))
    return found


def encode(text: str, vocabulary: Mapping[str, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the words [T] and of the quoted characters [T, LONGEST_TEXT].

    T is at least 1 and at most `LONGEST`. Words outside `vocabulary` are `UNKNOWN`; rows of
    characters are 0 where nothing is quoted.
    """
    read = tokens(text)[:LONGEST] or [(SPECIAL[UNKNOWN], "")]
    numbers = np.array([vocabulary.get(word, UNKNOWN) for word, _ in read], np.int64)
    characters = np.zeros((len(read), LONGEST_TEXT), np.int64)
    for row, (_, quoted) in zip(characters, read, strict=True):
        row[:] = spell(quoted)
    return numbers, characters


def spell(text: str) -> NDArray[np.int64]:
    """Numbers of the first `LONGEST_TEXT` characters of a text, filled up with 0."""
    numbers = [ALPHABET.find(letter) + 1 for letter in text.upper()[:LONGEST_TEXT]]
    return np.array(numbers + [0] * (LONGEST_TEXT - len(numbers)), np.int64)
