"""How sure a model was of its answer, from the log-probabilities of its tokens.

The token on which everything turns is the first one of the value: `null` or the bracket of a box.
What the model would have said instead at that place is among the alternatives that the server
returns, so the two can be weighed against each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from groundingme import geometry
from groundingme.parsing import parse
from groundingme.schema import Answer, Generation

ALTERNATIVES = 10
"""Likeliest tokens that are asked for at each place."""
AGREE = 0.5
"""Least IoU of two boxes that count as the same answer."""

_WINDOW = 4
"""Tokens before a token that decide how it is spelled."""
_VALUE = re.compile(r"[\"'“]?\w[\w ]{0,30}[\"'”]?\s{0,8}[:=]\s{0,8}")
_LEAD = " \t\r\n\"'`:="
_NULL = re.compile(r"n(?:u(?:l(?:l)?)?)?$|null\b|none\b|\[\]|nil\b", re.IGNORECASE)

_BOX = re.compile(r"[\[({\d]|<\|?(?:$|b?box|begin_of_box|det|loc|ref|object_ref|\d)", re.IGNORECASE)
"""How a box begins: not every token in angle brackets does, such as that of the end."""


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


def with_confidence(generation: Generation, tokens: Sequence[Token]) -> Generation:
    """The same reply with what its tokens say of it."""
    sure = from_tokens(generation.text, tokens)
    if sure is None:
        return generation
    return msgspec.structs.replace(
        generation, confidence=sure.answer, coordinate_logprob=sure.coordinates
    )


def agreement(answers: Sequence[Answer]) -> float | None:
    """The share of further answers that agree with the first one, in [0, 1].

    Two boxes agree from an IoU of 0.5 on, in whatever coordinate format: formats differ by the
    scale and order of axes, which leave an IoU as it is. Two rejections agree. What cannot be read
    agrees with nothing.

    Returns:
        None where the first one cannot be read, or there are no others.
    """
    first, *others = answers
    if first.outcome == "unparsed" or not others:
        return None
    if first.outcome == "rejected":
        return sum(one.outcome == "rejected" for one in others) / len(others)
    boxes = [one.coords or (math.nan,) * 4 for one in others]
    ious = geometry.iou(np.full((len(boxes), 4), first.coords), boxes)
    return float((ious >= AGREE).mean())


def spelled(decode: Callable[[list[int]], str], ids: Sequence[int]) -> list[str]:
    """The characters that each token adds to a text, blanks before words included."""
    pieces = []
    for at in range(len(ids)):
        before = list(ids[max(0, at - _WINDOW) : at])
        pieces.append(decode([*before, ids[at]])[len(decode(before) if before else "") :])
    return pieces


class Recorder:
    """A logits processor that keeps the likeliest tokens of every step of `generate`.

    Of whole distributions only the last one is held, until the token that was chosen from it is
    known.
    """

    def __init__(self) -> None:
        self._last: Any = None
        self._chosen: list[Any] = []
        self._likeliest: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self._settle(input_ids)
        self._last = scores.float().log_softmax(-1)
        self._likeliest.append(self._last.topk(min(ALTERNATIVES, scores.shape[-1])))
        return scores

    def _settle(self, input_ids: Any) -> None:
        if self._last is not None:
            self._chosen.append(self._last.gather(1, input_ids[:, -1:])[:, 0])
            self._last = None

    def tokens(
        self, written: Any, row: int, length: int, decode: Callable[[list[int]], str]
    ) -> list[Token]:
        """The first tokens of one reply.

        Args:
            written: What `generate` returned, shape `(batch, prompt and reply)`.
            row: Of the batch.
            length: How many tokens.
            decode: From ids to text.
        """
        self._settle(written)
        start = written.shape[1] - len(self._chosen)
        ids = written[row, start : start + length].tolist()
        made = []
        for step, piece in enumerate(spelled(decode, ids)):
            values, indices = (one[row].tolist() for one in self._likeliest[step])
            others = tuple((decode([i]), v) for i, v in zip(indices, values, strict=True))
            made.append(Token(piece, float(self._chosen[step][row]), others))
        return made


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
        elif _BOX.match(bare):
            box += chance
    return box, null
