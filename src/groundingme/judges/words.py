"""Words that several judges share."""

from __future__ import annotations

from groundingme.judges import Candidate

LONGEST_TRACE = 12_000
"""Characters of a reasoning trace that a judge is shown."""

VIEW = "Left and right are the viewer's; in front means closer to the viewer."

ENDING = "End with one line that holds nothing but \\boxed{A} or \\boxed{B}."

CRITERIA = (
    "Weigh five things:\n"
    "1. Instruction: does it look for exactly what the description asks, every part of it?\n"
    "2. Observation: is what it says about the picture concrete, and does it hold together?\n"
    "3. Logic: does each step follow from the one before, without contradicting an earlier one?\n"
    "4. Rigour: does it check every clause on every object in question, and consider that no "
    "object may match?\n"
    "5. Conclusion: is the answer what its own reasoning leads to?\n"
)
"""The five criteria of the paper's trace judge, in our words."""


def trace(candidate: Candidate) -> str:
    """The reasoning, or the reply where there is none; a long one without its middle."""
    text = (candidate.reasoning or candidate.text).strip()
    if len(text) <= LONGEST_TRACE:
        return text or "(no reasoning)"
    half = LONGEST_TRACE // 2
    left = len(text) - 2 * half
    return f"{text[:half]}\n[... {left} characters left out ...]\n{text[-half:]}"


def answer(candidate: Candidate) -> str:
    """What the candidate answers, in words."""
    if candidate.box is None:
        return "no object in the picture matches the description"
    x1, y1, x2, y2 = (round(edge) for edge in candidate.box)
    return f"the object in the box from ({x1}, {y1}) to ({x2}, {y2}), in pixels"


def traces(one: Candidate, other: Candidate) -> str:
    """Both traces and answers."""
    parts = []
    for letter, candidate in zip("AB", (one, other), strict=True):
        parts.append(
            f"<reasoning {letter}>\n{trace(candidate)}\n</reasoning {letter}>\n"
            f"Answer {letter}: {answer(candidate)}.\n"
        )
    return "\n".join(parts)
