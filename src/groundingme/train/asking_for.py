"""Models that write negatives, and models that check them.

A check asks twice. First the unified prompt, through the ordinary engine: does the model reject
what nothing should match? Many models never reject anything, so a box alone says little. Where it
gave one, it is shown that object outlined and asked whether the statement is true of it in every
detail. Only a negative on which it then insists is dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from groundingme.build import prompts, variants
from groundingme.build.candidates import has_text
from groundingme.build.questions import Asked, Question, Shown, ask_all
from groundingme.build.reading import read
from groundingme.build.records import Change, Target
from groundingme.build.stage import Context
from groundingme.datasets import Dataset
from groundingme.errors import JobError
from groundingme.evaluation import evaluate
from groundingme.interrupting import Interrupted
from groundingme.progress import Silent
from groundingme.schema import Generation, Sample
from groundingme.train.around import Pictures
from groundingme.train.negatives import (
    KIND_NAMES,
    Made,
    Options,
    Positive,
    Tally,
    Tell,
    as_sample,
    judged,
    made_of,
)

CONFIRM = """\
In this picture one object is outlined in red. Is this statement true of that object, in every \
detail?

{description}

Answer yes or no, and nothing else."""


def by_model(
    positives: Sequence[Positive],
    pictures: Pictures,
    options: Options,
    asked: Asked,
    folder: Path,
    budget: float | None,
    tally: Tally,
    tell: Tell,
) -> Iterator[list[Made]]:
    """For each positive what a model made of it."""
    plan = list(_plan(positives, options))
    questions = [
        Question(
            f"{sample.id} {kind}",
            prompts.render_negative(_target(sample), kind, view="outline"),
            Shown(sample.image, sample.target, "outline"),
        )
        for (sample, _), kinds in plan
        for kind in kinds
        if sample.image is not None and sample.target is not None
    ]
    context = Context(folder=folder, seed=options.seed, tell=tell, budget=budget)
    replies = ask_all(questions, asked, context, stage="negatives")
    for (sample, look), kinds in plan:
        found = []
        around = pictures[look.digest]
        for kind in kinds:
            reply = replies[f"{sample.id} {kind}"]
            made = _read(reply, sample, kind, asked.model)
            if isinstance(made, str):
                tally.drop(kind, made)
                continue
            text, change = made
            if reason := judged(sample, text, change, "", around, options):
                tally.drop(kind, reason)
                continue
            found.append(made_of(sample, look, text, change, around, options))
        yield found


def _plan(positives: Sequence[Positive], options: Options) -> Iterator[tuple[Positive, list[str]]]:
    """Which kinds are asked of which positive: those that were asked least so far."""
    asked = Counter({KIND_NAMES[name]: 0 for name in options.kinds})
    for one in positives:
        able = [kind for kind in asked if kind != "Text" or has_text(one[0].description)]
        kinds = sorted(able, key=lambda kind: asked[kind])[: options.per_positive]
        asked.update(kinds)
        yield one, kinds


def _target(sample: Sample) -> Target:
    assert sample.target is not None
    assert sample.image is not None
    return Target(
        id=sample.id, picture=sample.image.name, where=sample.image.name, width=sample.width,
        height=sample.height, box=sample.target, label=sample.detection_type or "object",
        score=1.0, subtask_l1=sample.subtask_l1, subtask_l2=sample.subtask_l2,
        description=sample.description,
    )  # fmt: skip


def _read(reply: Generation, sample: Sample, kind: str, model: str) -> tuple[str, Change] | str:
    """Text and change, or why there is none."""
    if reply.failure:
        return "failed"
    answer = read(reply, words=(1, 10_000), english=False)
    if answer.problem:
        return answer.problem
    text = variants.ended_like(answer.description, sample.description)
    noun = sample.detection_type
    change = variants.change_of(sample.description, text, kind, model, noun=noun)
    return change if isinstance(change, str) else (text, change)


# ---- checking


class _Notes(Silent):
    """Passes on what a person should know of the check."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def note(self, line: str) -> None:
        self._tell(f"check: {line}")


def checked(
    made: Sequence[Made],
    checker: Asked,
    folder: Path,
    seed: int,
    budget: float | None,
    tally: Tally,
    tell: Tell,
) -> list[Made]:
    """Those on which the checking model does not insist, each with its verdict."""
    given = {"base_url": checker.base_url} if checker.base_url else {}
    dataset = Dataset(
        name="negatives", source=str(folder), samples=[as_sample(one) for one in made]
    )
    result = evaluate(
        checker.model, dataset, thinking=checker.thinking or None, max_tokens=checker.max_tokens,
        temperature=checker.temperature, concurrency=checker.concurrency, max_failed=1.0,
        price=checker.price or None, budget=budget, out=folder / "check", progress=_Notes(tell),
        **{**given, **checker.options},
    )  # fmt: skip
    if result.interrupted:
        raise Interrupted
    if result.stopped:
        raise JobError(f"check: {result.stopped}")
    scores = {one.id: one for one in result.scores}
    questions = [
        Question(
            one.id,
            CONFIRM.replace("{description}", one.text),
            Shown(one.sample.image, box, "outline"),
        )
        for one in made
        if (box := scores[one.id].box) is not None and one.sample.image is not None
    ]
    context = Context(folder=folder / "check", seed=seed, tell=tell, budget=budget)
    replies = ask_all(questions, checker, context, stage="check")
    kept = []
    for one in made:
        verdict: str = scores[one.id].outcome
        if verdict == "box":
            verdict = _insists(replies[one.id])
        if verdict == "insisted":
            tally.drop(one.change.kind, verdict)
        else:
            kept.append(msgspec.structs.replace(one, verdict=verdict))
    return kept


def _insists(reply: Generation) -> str:
    """`insisted`, `doubted`, or what kept the model from saying either."""
    if reply.failure:
        return "failed"
    words = re.findall(r"\b(yes|no)\b", reply.text.rpartition("</think>")[2].lower())
    if not words:
        return "unparsed"
    return "insisted" if words[-1] == "yes" else "doubted"
