"""The image and both answers, without the reasoning."""

from __future__ import annotations

from collections.abc import Sequence

from groundingme.judges import JUDGES, Ask, Candidate, Judge, read_letter
from groundingme.judges.pictures import pair
from groundingme.judges.words import CRITERIA, ENDING, VIEW, answer, traces
from groundingme.schema import Sample

_SHOWN = (
    "The picture shows at the top the whole scene, with box A in blue and box B in orange, and "
    "below it what each box holds, enlarged. An answer may also be that no object matches."
)


class Answers(Judge):
    """Looks at both boxes."""

    name = "answers"

    def asks(self, sample: Sample, one: Candidate, other: Candidate) -> list[Ask | None]:
        prompt = (
            f"{_SHOWN} {VIEW}\n\nDescription: {sample.description}\n\n"
            f"Answer A: {answer(one)}.\nAnswer B: {answer(other)}.\n\n"
            "Which answer fits the description better, in every part of it? An object that misses "
            "a part of the description does not match. Say in one sentence what decides it. "
            f"{ENDING}"
        )
        return [Ask(prompt, pair(sample, (one, other)))]

    def verdict(self, replies: Sequence[str]) -> int | None:
        return read_letter(replies[0])


class Full(Answers):
    """Looks at both boxes and reads how each came about."""

    name = "full"

    def asks(self, sample: Sample, one: Candidate, other: Candidate) -> list[Ask | None]:
        prompt = (
            f"{_SHOWN} Two assistants searched this picture for the object that a description "
            "names; read how each of them reasoned, check it against the picture, and decide "
            f"whose answer is right. {VIEW}\n\nDescription: {sample.description}\n\n"
            f"{traces(one, other)}\n{CRITERIA}"
            "What the picture shows counts more than how well something is argued. "
            f"Say in a few sentences what decides it. {ENDING}"
        )
        return [Ask(prompt, pair(sample, (one, other)))]


JUDGES.register("answers", Answers)
JUDGES.register("full", Full)
