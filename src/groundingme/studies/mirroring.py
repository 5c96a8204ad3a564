"""Descriptions of mirrored pictures: left becomes right, where a side is what the word means.

"Right behind the mug" and "the bag left open" name no side. Where it is not plain what a word
means, nothing is returned: a study leaves such a description out instead of asking a wrong one.
"""

from __future__ import annotations

import re

QUOTED = re.compile(r'"[^"\n]*"|“[^”\n]*”|«[^»\n]*»|‘[^’\n]*’(?!\w)|(?<!\w)\'[^\'\n]*\'(?!\w)')

_WRITING = re.compile(
    r"\b(?:text|word|words|letters?|lettering|numbers?|digits?|logo|written|writing|reads|reading"
    r"|says|saying|labell?ed|caption|initials?|clockwise|counter-?clockwise|o'clock)\b|\d",
    re.IGNORECASE,
)
"""What a mirrored picture shows back to front; a time and a sense of rotation are among it."""

_SIDE = re.compile(
    r"(?<![\w-])(left|right)((?:-?most|-?wards?|-?hand(?:ed)?|-?facing)?)(?![\w])", re.IGNORECASE
)
_BEFORE = re.compile(
    r"\b(?:the|his|her|its|their|far|upper|lower|top|bottom|back|front|rear|cent(?:er|re)|middle"
    r"|extreme|outer|immediate|to|on|at|from|facing|looking|turned|leaning|pointing|and|or|slightly"
    r"|further)\W*$",
    re.IGNORECASE,
)
"""Words before a side."""

_NO_SIDE = {
    "right": r"\s*(?:-?\s*angled?|way|side up|answer|size|now|there|here|behind|in|next|beside"
    r"|above|below|under|underneath|before|after|at|on|over|by|near|beyond|inside|outside|away|through"
    r"|against|across|between)\b",
    "left": r"\s*-?\s*(?:over|overs|behind|open|alone|out|unattended|standing|lying|hanging|empty"
    r"|untouched|uneaten|unfinished)\b",
}
"""What follows where the word means "directly", "correct" or "remaining"."""

_NEVER = re.compile(r"\s*-?\s*(?:angled?|way|side up|answer|size|now|overs?)\b", re.IGNORECASE)
"""What follows where it names no side whatever stands before: "at a right angle"."""

_AFTER = re.compile(
    r"\s*(?:$|[.,;:)!?]|(?:of|side|hand|arm|leg|foot|eye|ear|edge|corner|half|end|part|third|wing"
    r"|wheel|shoulder|knee|front|rear|back|page|lane|and|or|in the (?:picture|image|photo))\b)",
    re.IGNORECASE,
)
"""What follows a side."""


def has_writing(text: str) -> bool:
    """Whether a description speaks of what is written, or of what has a sense of rotation."""
    return bool(QUOTED.search(text) or _WRITING.search(text))


def mirrored(text: str) -> str | None:
    """The description of the mirrored picture; None where that is not certain.

    Example:
        >>> mirrored("the third mug from the left, right behind the leftmost bowl")
        'the third mug from the right, right behind the rightmost bowl'
        >>> mirrored("the leftover cake to the right of the bottle left open")
        'the leftover cake to the left of the bottle left open'
        >>> mirrored("the man left on the pier") is None
        True
    """
    if has_writing(text):
        return None
    parts, at = [], 0
    for match in _SIDE.finditer(text):
        side = _is_side(text, match)
        if side is None:
            return None
        parts.append(text[at : match.start()])
        parts.append(_other(match[1]) + match[2] if side else match[0])
        at = match.end()
    return "".join([*parts, text[at:]])


def _is_side(text: str, match: re.Match[str]) -> bool | None:
    """Whether the word names a side; None where nobody can tell."""
    after = text[match.end() :]
    if match[2]:
        return True
    if _NEVER.match(after):
        return False
    if _BEFORE.search(text[: match.start()]):
        return True
    if re.match(_NO_SIDE[match[1].lower()], after, re.IGNORECASE):
        return False
    return True if _AFTER.match(after) else None


def _other(side: str) -> str:
    other = "right" if side.lower() == "left" else "left"
    return other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other
