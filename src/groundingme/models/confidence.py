"""How sure a model was of its answer, from the log-probabilities of its tokens.

The token on which everything turns is the first one of the value: `null` or the bracket of a box.
What the model would have said instead at that place is among the alternatives that the server
returns, so the two can be weighed against each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import msgspec

from groundingme.parsing import parse
from groundingme.schema import Answer

_VALUE = re.compile(r"[\"'“]?\w[\w ]{0,30}[\"'”]?\s{0,8}[:=]\s{0,8}")
_LEAD = " \t\r\n\"'`:="
_NULL = re.compile(r"n(?:u(?:l(?:l)?)?)?$|null\b|none\b|\[\]|nil\b", re.IGNORECASE)


class Token(msgspec.Struct, frozen=True):
    """One token as it was sampled.

    Attributes:
        text: Its characters.
        logprob: Natural logarithm of its probability, at most 0.
        others: Text and log-probability of the likeliest tokens at its place, itself included.
    """

    text: str
    logprob: float
    others: tuple[tuple[str, float], ...] = ()


class Confidence(msgspec.Struct, frozen=True, kw_only=True):
    """How sure a model was.

    Attributes:
        answer: Probability of what it answered against the other kind of answer, in [0, 1]: of a
            box against null, or of null against a box.
        coordinates: Mean log-probability of the tokens that write the four numbers; None where
            there are none.
    """

    answer: float
    coordinates: float | None = None


def from_tokens(text: str, tokens: Sequence[Token]) -> Confidence | None:
    """The confidence of a reply.

    Args:
        text: The reply, without reasoning that the server returned apart.
        tokens: Of the whole completion; what comes before `text` in it is skipped.

    Returns:
        None where the reply has no answer, where the tokens do not spell it, or where it is a
        rejection in words, which turns on no single token.
    """
    answer = parse(text)
    start = "".join(token.text for token in tokens).rfind(text)
    if answer.outcome == "unparsed" or answer.reason == "words" or not answer.span or start < 0:
        return None
    places = _places(tokens)
    end = answer.span[1]
    value = _value(text, answer)
    at = next((i for i, (_, stop) in enumerate(places) if stop > start + value), None)
    if at is None:
        return None
    box, null = _weigh(tokens[at])
    if box + null <= 0:
        return None
    chosen = box if answer.outcome == "box" else null
    numbers = [
        token.logprob
        for token, (first, stop) in zip(tokens, places, strict=True)
        if first >= start + value and stop <= start + end and re.search(r"\d", token.text)
    ]
    coordinates = sum(numbers) / len(numbers) if numbers and answer.outcome == "box" else None
    return Confidence(answer=chosen / (box + null), coordinates=coordinates)


def _places(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Where each token begins and ends in the whole completion, in characters."""
    places, at = [], 0
    for token in tokens:
        places.append((at, at + len(token.text)))
        at += len(token.text)
    return places


def _value(text: str, answer: Answer) -> int:
    """Where the value of the answer begins: behind its key, or at the answer itself."""
    assert answer.span
    begin, end = answer.span
    key = _VALUE.search(text, begin, end)
    return key.end() if key and answer.reason in ("json", "null") else begin


def _weigh(token: Token) -> tuple[float, float]:
    """Probability of a box and of null at a place; whatever is neither is left out."""
    box = null = 0.0
    for text, logprob in dict([(token.text, token.logprob), *token.others]).items():
        chance = math.exp(min(0.0, logprob))
        bare = text.lstrip(_LEAD)
        if _NULL.match(bare):
            null += chance
        elif bare[:1] in "[({<" or bare[:1].isdigit():
            box += chance if bare else 0.0
    return box, null
