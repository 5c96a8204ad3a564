"""Does a model's answer move with the question? Changes whose effect on the answer is known."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from groundingme.geometry import iou
from groundingme.report.svg import PERCENT, Span
from groundingme.result import Result
from groundingme.schema import Box, Sample
from groundingme.studies import STUDIES
from groundingme.studies.changing import changed, origin
from groundingme.studies.estimates import Bools, images, percent, points, right, share, spread
from groundingme.studies.study import (
    Condition,
    Done,
    Dots,
    Knob,
    Outcome,
    Setting,
    Study,
    Table,
)
from groundingme.studies.transforming import CHANGES, Change, clipped, sized, view_of

PLAIN = "as it is"
_CONSISTENT = msgspec.structs.replace(PERCENT, title="consistent, %")
BOXES = Knob(
    name="boxes", default="truth",
    text="what is cropped and taken away: truth, or own (the model's answers, needs no labels)",
)  # fmt: skip


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model on the questions as they are, and on all changes that need no answer."""
    own = setting.knobs["boxes"] == "own"
    boxes = {one.id: one.target for one in setting.dataset}
    conditions = [
        Condition(name=PLAIN, model=model, dataset=setting.dataset) for model in setting.models
    ]
    # All models look at a picture before the next one is made.
    for change in CHANGES:
        if not (change.boxed and own):
            for model in setting.models:
                conditions += _conditions(setting, model, change, boxes)
    return conditions


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """The changes that are made with a model's own boxes, where those are wanted."""
    if setting.knobs["boxes"] != "own":
        return []
    conditions: list[Condition] = []
    for one in done[: len(setting.models)]:
        boxes = {score.id: score.box for score in one.scored.scores}
        for change in CHANGES:
            if change.boxed:
                conditions += _conditions(setting, one.condition.model, change, boxes, mark="-own")
    return conditions


def _conditions(
    setting: Setting,
    model: Any,
    change: Change,
    boxes: Mapping[str, Box | None],
    mark: str = "",
) -> Iterator[Condition]:
    """One, or none where the change applies to no sample."""

    def made(sample: Sample) -> Sample | None:
        dice = random.Random(f"{setting.seed}:{change.mark}:{sample.id}")
        whole = sized(sample)
        return whole and change.make(whole, boxes[sample.id], dice)

    mark = f"{change.mark}{mark}" + (f"-{setting.seed}" if change.boxed else "")
    dataset = changed(setting.dataset, mark, made)
    if len(dataset):
        yield Condition(name=change.name, model=model, dataset=dataset)


def consistent(plain: Result, other: Result, samples: Sequence[Sample]) -> dict[str, bool]:
    """Whether the answers to changed questions agree with those to the questions as they are.

    Args:
        plain: Of the questions as they are.
        other: Of the changed ones.
        samples: The changed ones, with their views.

    Returns:
        By id as it was before the change. Boxes agree at an IoU of 0.5 or more; what nobody can
        read, or what failed, agrees with nothing. A sample is not in it where the answer lay
        outside what is still shown.
    """
    before = {one.id: one for one in plain.scores}
    found = {}
    for sample, after in zip(samples, other.scores, strict=True):
        id, view = origin(sample.id), view_of(sample)
        was = before[id]
        if was.outcome not in ("box", "rejected"):
            found[id] = False
        elif was.box is None or (view and view.gone):
            found[id] = after.outcome == "rejected"
        else:
            seen = clipped(was.box, view.window) if view else was.box
            if seen is None:
                continue
            box = after.box and (view.back(after.box) if view else after.box)
            found[id] = box is not None and bool(iou([box], [seen])[0] >= 0.5)
    return found


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """A score for every change and every subtask."""
    plain = {one.condition.label: one.scored for one in done if one.condition.name == PLAIN}
    found = {
        (one.condition.label, one.condition.name): consistent(
            plain[one.condition.label], one.scored, one.condition.dataset.samples
        )
        for one in done
        if one.condition.name != PLAIN
    }
    clusters = dict(zip((one.id for one in setting.dataset), images(setting.dataset.samples),
                        strict=True))  # fmt: skip
    names = [one.name for one in CHANGES if any(key[1] == one.name for key in found)]

    def held(model: str, wanted: Sequence[str], ids: set[str]) -> Span:
        rows = [
            (hit, clusters[id])
            for name in wanted
            for id, hit in found.get((model, name), {}).items()
            if id in ids
        ]
        return share([hit for hit, _ in rows], [cluster for _, cluster in rows])

    everything = set(clusters)
    by_change = {model: [held(model, [name], everything) for name in names] for model in plain}
    overall = {model: held(model, names, everything) for model in plain}
    texts = {one.name: one.text for one in CHANGES}
    changes = [
        [name, texts[name], len(found[model, name]), model, by_change[model][at]]
        for at, name in enumerate(names)
        for model in plain
        if (model, name) in found
    ]
    subtasks: dict[str, set[str]] = {}
    for one in setting.dataset:
        if one.subtask_l1:
            name = f"{one.subtask_l1}/{one.subtask_l2}".strip("/")
            subtasks.setdefault(name, set()).add(one.id)
    groups = {"all": everything, **dict(sorted(subtasks.items()))}
    accuracy = {model: share(right(one), list(clusters.values())) for model, one in plain.items()}
    matrix = [
        [model, group, held(model, names, ids),
         *(percent(held(model, [name], ids).value) for name in names)]
        for model in plain
        for group, ids in groups.items()
    ]  # fmt: skip
    return Outcome(
        finding=_finding(names, by_change, overall),
        tables=[
            Table(title="Answers that stay the same under each change",
                  columns=["change", "what it does", "questions", "model", "consistent"],
                  rows=changes,
                  note=f"Targets that are cropped or taken away: {_whose(setting)}. A change is "
                  "left out where its effect on the answer is not known."),
            Table(title="Consistency of each subtask",
                  columns=["model", "subtask", "all changes", *names], rows=matrix,
                  note="Percent; the first column counts every pair of question and change once."),
            Table(title="Beside it, how often the unchanged questions are answered right",
                  columns=["model", "right", "rejected"],
                  rows=[[model, accuracy[model], _rejected(one)] for model, one in plain.items()],
                  note="Consistent is not right: a model that always rejects never changes its "
                  "answer."),
        ],
        figures=[Dots(title="Answers that stay the same under each change",
                      text="Share of questions whose answer, mapped back, is the one to the "
                      "unchanged question; intervals by image.",
                      rows=names, x=_CONSISTENT,
                      series={model: [points(one) for one in spans]
                              for model, spans in by_change.items()})],
        values={
            "overall": overall,
            "changes": {model: dict(zip(names, spans, strict=True))
                        for model, spans in by_change.items()},
            "subtasks": {row[0]: {one[1]: one[2] for one in matrix if one[0] == row[0]}
                         for row in matrix},
        },
    )  # fmt: skip


def _whose(setting: Setting) -> str:
    return "the model's own answers" if setting.knobs["boxes"] == "own" else "the true ones"


def _rejected(result: Result) -> str:
    said: Bools = np.array([one.outcome == "rejected" for one in result.scores], bool)
    return f"{percent(float(said.mean()))} %"


def _finding(
    names: Sequence[str], by_change: Mapping[str, Sequence[Span]], overall: Mapping[str, Span]
) -> str:
    """What holds least, of the most consistent model; and how the others compare."""
    best = max(overall, key=lambda model: np.nan_to_num(overall[model].value, nan=-1))
    spans = dict(zip(names, by_change[best], strict=True))
    said = f"{best} keeps its answer under {spread(overall[best])} % of all changes"
    known = {name: one.value for name, one in spans.items() if not np.isnan(one.value)}
    if not known or min(known.values()) == max(known.values()):
        said += ", and equally under every kind. "
    else:
        least = min(known, key=lambda name: known[name])
        said += f", and least under the change {least!r}: {spread(spans[least])} %. "
    others = [model for model in overall if model != best]
    if not others:
        return said + "That says nothing of how often it is right; the last table does."
    worst = min(others, key=lambda model: np.nan_to_num(overall[model].value, nan=-1))
    which = "the other model" if len(others) == 1 else "the least consistent"
    return said + f"For {which}, {worst}, it is {spread(overall[worst])} %."


STUDIES.register(
    "consistency",
    Study(
        name="consistency",
        question="Does an answer move with the question, under changes whose effect is known?",
        needs="one model or more, asked seven to eight times a sample; one data set, labels or not",
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes:seed=11,n=120",),
        plan=plan,
        then=then,
        reduce=reduce,
        knobs=(BOXES,),
    ),
)
