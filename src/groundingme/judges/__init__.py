"""Judges compare two answers to one sample: a file each, found by name.

A judge only writes questions and reads replies; which model is asked, in which order the two are
shown, and what happens when it fails is `scale.court`'s.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Sequence

import msgspec

from groundingme.registry import Registry
from groundingme.schema import Box, Sample

LETTERS = "AB"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One answer that is compared.

    Attributes:
        trajectory: Its index among the sample's.
        box: xyxy pixels of the upright image; None for "nothing matches".
        text: The reply as the model wrote it.
        reasoning: The model's reasoning, where the server keeps it apart.
    """

    trajectory: int
    box: Box | None = None
    text: str = ""
    reasoning: str = ""


class Ask(msgspec.Struct, frozen=True):
    """One question to the judging model.

    Attributes:
        prompt: The whole text.
        image: A JPEG file that is shown before it, or None.
    """

    prompt: str
    image: bytes | None = None


class Judge(abc.ABC):
    """Says which of two answers to trust more.

    Attributes:
        name: As users write it.
    """

    name: str

    @abc.abstractmethod
    def asks(self, sample: Sample, one: Candidate, other: Candidate) -> list[Ask | None]:
        """What to ask about two candidates, shown in this order; None needs no reply.

        Raises:
            ImageError: The judge needs the image, and it cannot be read.
        """

    @abc.abstractmethod
    def verdict(self, replies: Sequence[str]) -> int | None:
        """0 for the first, 1 for the second, None where the replies do not decide.

        Args:
            replies: One for each ask, in order; "" where none was needed.
        """


JUDGES: Registry[Callable[[], Judge]] = Registry("judge", "groundingme.judges")

_BOXED = re.compile(r"\\boxed\s*\{\s*(?:\\text\s*\{)?\s*([A-Z])\s*\}")
_BARE = re.compile(r"\W*([AB])\W*")


def read_letter(reply: str) -> int | None:
    r"""The one letter that a reply puts into \boxed{}, or that is all it says.

    Strict: two different letters, another letter or none is no verdict.

    Example:
        >>> read_letter(r"The second is closer. \boxed{B}")
        1
        >>> read_letter(r"\boxed{A} or \boxed{B}") is None
        True
    """
    answer = reply.rsplit("</think>", 1)[-1]
    found = set(_BOXED.findall(answer))
    if not found and (bare := _BARE.fullmatch(answer)):
        found = {bare[1]}
    letter = found.pop() if len(found) == 1 else ""
    return LETTERS.index(letter) if letter and letter in LETTERS else None
