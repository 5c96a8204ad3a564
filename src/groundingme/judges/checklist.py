"""The description split into clauses, each verified on the crop of each candidate."""

from __future__ import annotations

import re
from collections.abc import Sequence

from groundingme.judges import JUDGES, Ask, Candidate, Judge
from groundingme.judges.pictures import pair
from groundingme.judges.words import VIEW
from groundingme.schema import Sample

_BREAKS = re.compile(
    r"\s*[,;.]\s+(?:and\s+)?|(?<!\bon)(?<!\bin)(?<!\bof)(?<!\bto)\s+(?:and\s+)?(?=(?:with|without|which|that|who|whose|standing|"
    r"sitting|lying|holding|wearing|located|positioned|placed)\b)|\s+and\s+(?=(?:is|has|it)\b)",
    re.IGNORECASE,
)
_LINK = re.compile(r"(?:that|which|who)?\s*(?:is|are|was|were)?", re.IGNORECASE)
_LINE = re.compile(r"^\W*(\d+)\W+(yes|no)\b", re.IGNORECASE | re.MULTILINE)


def clauses(description: str) -> list[str]:
    """The parts of a description that can be checked one by one; quoted text stays whole.

    Example:
        >>> clauses("the red mug with a handle, standing left of the lamp")
        ['the red mug', 'with a handle', 'standing left of the lamp']
    """
    quoted: list[str] = []

    def hide(found: re.Match[str]) -> str:
        quoted.append(found[0])
        return f"\0{len(quoted) - 1}\0"

    hidden = re.sub(r'"[^"]*"|“[^”]*”', hide, description.strip().rstrip("."))
    parts = [part.strip() for part in _BREAKS.split(hidden)]
    joined: list[str] = []
    for part in filter(None, parts):
        # "that is", "lying on the sofa": the verb alone says nothing.
        if joined and _LINK.fullmatch(joined[-1]):
            joined[-1] += f" {part}"
        else:
            joined.append(part)
    whole = [re.sub(r"\0(\d+)\0", lambda m: quoted[int(m[1])], part) for part in joined]
    return whole or [description]


class Checklist(Judge):
    """Counts the clauses that hold; a rejection beats a box that misses one."""

    name = "checklist"

    def asks(self, sample: Sample, one: Candidate, other: Candidate) -> list[Ask | None]:
        return [self._ask(sample, candidate) for candidate in (one, other)]

    def _ask(self, sample: Sample, candidate: Candidate) -> Ask | None:
        if candidate.box is None:
            return None
        parts = clauses(sample.description)
        listed = "\n".join(f"{number}. {part}" for number, part in enumerate(parts, 1))
        prompt = (
            "The picture shows at the top a scene with one object in a blue box, and below it what "
            f"the box holds, enlarged. {VIEW}\n\nSomebody described an object as: "
            f"{sample.description}\n\nCheck each part on the object in the box:\n{listed}\n\n"
            "Answer one line for each part and nothing else: its number and yes or no, such as "
            "`1. yes`."
        )
        return Ask(prompt, pair(sample, (candidate,)))

    def verdict(self, replies: Sequence[str]) -> int | None:
        held = [_held(reply) if reply else None for reply in replies]
        asked = [bool(reply) for reply in replies]
        if all(asked):
            first, second = held
            if first is None or second is None or first == second:
                return None
            return int(second > first)
        if not any(asked):
            return None
        at = asked.index(True)
        share = held[at]
        return None if share is None else at if share == 1.0 else 1 - at


def _held(reply: str) -> float | None:
    """Share of the numbered lines that say yes; None where there are none, or they contradict."""
    answer = reply.rsplit("</think>", 1)[-1]
    said: dict[str, str] = {}
    for number, word in _LINE.findall(answer):
        if said.setdefault(number, word.lower()) != word.lower():
            return None
    return sum(word == "yes" for word in said.values()) / len(said) if said else None


JUDGES.register("checklist", Checklist)
