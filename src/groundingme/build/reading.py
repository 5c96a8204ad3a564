"""A describing model's reply -> a description, or why it is none.

================  ===================================================================
problem           the reply
================  ===================================================================
``empty``         has no words
``cut``           ended at the token limit, or in the middle of its JSON
``error``         is the message of a server
``refused``       declines
``unclear``       says that nothing tells the object apart
``outline``       speaks of the outline, a box or the cut-out that the model was shown
``coordinates``   has pixels or coordinates
``language``      is not in English
``short``         has too few words
``long``          has too many words
================  ===================================================================
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import msgspec

from groundingme import rejection_words
from groundingme.build.prompts import GIVE_UP
from groundingme.schema import Generation

_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)(?:```|$)", re.DOTALL)
_LEAD = re.compile(
    r"(?:\W*(?:sure|certainly|of course|okay|ok)\b[^\n:]{0,60}[:.!]\s*)?"
    r"(?:\W*(?:here(?:'s| is)|this is|below is)\b[^\n:]{0,80}:\s*)?"
    r"(?:\W*(?:final |referring )?(?:description|expression|answer|output|caption)"
    r"[*_\"'`]{0,3}\s*:[*_]{0,3}\s*)?",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+", re.MULTILINE)
_QUOTES = ('""', "''", "“”", "‘’", "«»", "``", "**", "__")
_QUOTED = re.compile(r'"[^"\n]{0,80}"|“[^”\n]{0,80}”|«[^»\n]{0,80}»')

_OUTLINE = re.compile(
    r"\b(?:outlined|highlighted|bounding[ -]box(?:es)?|annotated|annotation)\b"
    r"|\bred[ -](?:out)?line\b|\bred rectangle\b|\b(?:the|this) (?:cut-?out|crop(?:ped)?)\b"
    r"|\b(?:in|inside|within|by|with) (?:a|the) (?:thin |bright )?red "
    r"(?:box|square|frame|border|rectangle|outline)\b"
    r"|\b(?:indicated|marked|enclosed|surrounded|circled) (?:in|by|with) (?:a |the )?red\b",
    re.IGNORECASE,
)
_COORDINATES = re.compile(
    r"\[\s*\d+(?:\.\d+)?\s*(?:,\s*\d+(?:\.\d+)?\s*){1,3}\]"
    r"|\(\s*\d{2,5}\s*,\s*\d{2,5}\s*\)|\bcoordinates?\b|\b\d+ ?(?:px|pixels)\b|\bbbox",
    re.IGNORECASE,
)
_ENGLISH = frozenset(
    re.findall(
        r"\w+",
        "a an and are at be by for from has have her his in into is it its near no not of off on "
        "one or out over that the their there this to two under up wearing which while who with",
    )
)
_UNCLEAR = re.compile(rf"\W*{GIVE_UP}\b", re.IGNORECASE)
_DENIAL = re.compile(
    r"\W*(?:there|no|nothing|none|null|i|the (?:image|picture|photo)|n/a)\b", re.IGNORECASE
)
"""How a reply begins that says that nothing is there; "a man with no hat" is none."""


class Read(NamedTuple):
    """What a reply gives.

    Attributes:
        description: "" where there is none.
        problem: A word of the table above; "" where there is a description.
    """

    description: str
    problem: str = ""


def read(reply: Generation, *, words: tuple[int, int], english: bool = True) -> Read:
    """The description in a reply that did not fail.

    Args:
        reply: Any.
        words: Fewest and most that a description may have.
        english: Whether it must be in English.

    Example:
        >>> read(Generation(id="1", text='**Description:** "A red mug on a tray."'), words=(3, 9))
        Read(description='A red mug on a tray.', problem='')
    """
    text = reply.text.rsplit("</think>", 1)[-1].strip()
    if not text:
        return Read("", "cut" if reply.finish_reason == "length" else "empty")
    if rejection_words.is_error(text):
        return Read("", "error")
    if text.lstrip("`json \n").startswith("{") and "}" not in text:
        return Read("", "cut")
    text = unwrapped(text)
    plain = _QUOTED.sub('""', text)
    problem = _problem(text, plain, reply, words, english)
    return Read("", problem) if problem else Read(text)


def unwrapped(text: str) -> str:
    """A reply without fences, labels, bullets and quotes around the whole, on one line."""
    if (fenced := _FENCE.search(text)) and fenced[1].strip():
        text = fenced[1].strip()
    text = _from_json(text)
    text = _BULLET.sub("", text)
    text = text[_LEAD.match(text).end() :]  # type: ignore[union-attr]
    text = " ".join(text.split())
    for _ in range(3):
        text = text.strip()
        pair = next((q for q in _QUOTES if text[:1] == q[0] and text[-1:] == q[1]), None)
        if pair is None or len(text) < 3 or pair[1] in text[1:-1].strip(pair):
            break
        text = text[1:-1]
    return text.strip()


def answer_fields(text: str) -> dict[str, str]:
    """The texts in the JSON object of a reply, by name; none where there is no such object."""
    start, end = text.find("{"), text.rfind("}")
    if not 0 <= start < end:
        return {}
    try:
        found = msgspec.json.decode(text[start : end + 1])
    except (msgspec.DecodeError, UnicodeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _from_json(text: str) -> str:
    """The description in a JSON object; anything else as it is."""
    found = answer_fields(text)
    names = ("description", "referring_expression", "expression", "caption", "text")
    return next((found[name] for name in names if name in found), text)


def _problem(
    text: str, plain: str, reply: Generation, words: tuple[int, int], english: bool
) -> str:
    if not re.search(r"\w", text):
        return "empty"
    if _UNCLEAR.match(text):
        return "unclear"
    if reply.finish_reason == "length" and not text.endswith((".", "!", "?", '."', ".”")):
        return "cut"
    if rejection_words.is_refusal(plain) or reply.finish_reason == "content_filter":
        return "refused"
    if _DENIAL.match(plain) and rejection_words.is_rejection(plain):
        return "unclear"
    if _OUTLINE.search(plain):
        return "outline"
    if _COORDINATES.search(plain):
        return "coordinates"
    if english and not is_english(plain):
        return "language"
    return length_problem(text, words)


def length_problem(text: str, words: tuple[int, int]) -> str:
    """`short`, `long` or ""."""
    n = len(text.split())
    return "short" if n < words[0] else "long" if n > words[1] else ""


def is_english(text: str) -> bool:
    """Whether a description reads as English: Latin letters, and the small words of English.

    Few words are not judged by the small ones among them.
    """
    text = _QUOTED.sub("", text)
    letters = [one for one in text if one.isalpha()]
    latin = sum(unicodedata.name(one, "").startswith("LATIN") for one in letters)
    if latin < 0.9 * len(letters):
        return False
    words = re.findall(r"[a-z]+", text.lower())
    return len(words) < 5 or sum(one in _ENGLISH for one in words) >= len(words) / 12
