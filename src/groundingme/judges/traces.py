"""The paper's judge: text alone, both reasoning traces, no image."""

from __future__ import annotations

from collections.abc import Sequence

from groundingme.judges import JUDGES, Ask, Candidate, Judge, read_letter
from groundingme.judges.words import CRITERIA, ENDING, VIEW, traces
from groundingme.schema import Sample


class Traces(Judge):
    """Compares how two trajectories reasoned."""

    name = "traces"

    def asks(self, sample: Sample, one: Candidate, other: Candidate) -> list[Ask | None]:
        prompt = (
            "Two assistants searched a picture, which you cannot see, for the object that a "
            "description names. Read how each of them reasoned and decide whose answer is more "
            f"likely right. {VIEW}\n\nDescription: {sample.description}\n\n"
            f"{traces(one, other)}\n{CRITERIA}"
            "Length is no merit, and neither is the order in which they are shown. "
            f"Say in a few sentences what decides it. {ENDING}"
        )
        return [Ask(prompt)]

    def verdict(self, replies: Sequence[str]) -> int | None:
        return read_letter(replies[0])


JUDGES.register("traces", Traces)
