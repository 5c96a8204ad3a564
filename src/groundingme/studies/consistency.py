"""Does a model's answer move with the question? Changes whose effect on the answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from groundingme.datasets import Dataset
from groundingme.report.svg import Span
from groundingme.studies import STUDIES
from groundingme.studies.conditions import AS_IT_IS, by_model, everyone
from groundingme.studies.estimates import (
    Answers,
    Shares,
    images,
    in_percent,
    percent,
    share,
    spread,
)
from groundingme.studies.figures import dots, percents
from groundingme.studies.study import Condition, Done, Knob, Outcome, Setting, Study, Table, subtask
from groundingme.studies.transforming import CHANGES
from groundingme.studies.views import consistent

BOXES = Knob(
    name="boxes", default="truth",
    text="what is cropped and taken away: truth, or own (the model's answers, needs no labels)",
)  # fmt: skip


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model on the questions as they are, and on all changes that need no answer."""
    boxes = {one.id: one.target for one in setting.dataset}
    conditions = everyone(setting)
    # All models look at a picture before the next one is made.
    for change in CHANGES:
        if not (change.boxed and setting.knobs["boxes"] == "own"):
            data = change.applied(setting.dataset, boxes, setting.seed)
            conditions += everyone(setting, {change.name: data} if len(data) else {})
    return conditions


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """The changes that are made with a model's own boxes, where those are wanted."""
    if setting.knobs["boxes"] != "own":
        return []
    conditions = []
    for one in done[: len(setting.models)]:
        boxes = {score.id: score.box for score in one.scored.scores}
        for change in CHANGES:
            if change.boxed:
                data = change.applied(setting.dataset, boxes, setting.seed, "-own")
                conditions.append(
                    Condition(name=change.name, model=one.condition.model, dataset=data)
                )
    return [one for one in conditions if len(one.dataset)]


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """A score for every change and every subtask."""
    runs = by_model(done)
    clusters = dict(zip((one.id for one in setting.dataset), images(setting.dataset.samples),
                        strict=True))  # fmt: skip
    plain = {model: Answers(mine[AS_IT_IS]) for model, mine in runs.items()}
    found = {
        model: {name: consistent(plain[model].result, one.scored, one.condition.dataset.samples)
                for name, one in mine.items() if name != AS_IT_IS}
        for model, mine in runs.items()
    }  # fmt: skip
    names = [one.name for one in CHANGES if any(one.name in mine for mine in found.values())]

    def held(model: str, wanted: Sequence[str], ids: set[str]) -> Span:
        rows = [
            (hit, clusters[id])
            for name in wanted
            for id, hit in found[model].get(name, {}).items()
            if id in ids
        ]
        return share([hit for hit, _ in rows], [cluster for _, cluster in rows])

    everything = set(clusters)
    by_change = {model: {name: held(model, [name], everything) for name in names}
                 for model in runs}  # fmt: skip
    groups = {"all": everything, **_subtasks(setting.dataset)}
    by_group = {model: {group: held(model, names, ids) for group, ids in groups.items()}
                for model in runs}  # fmt: skip
    overall = {model: mine["all"] for model, mine in by_group.items()}
    whose = "the model's own answers" if setting.knobs["boxes"] == "own" else "the true ones"
    return Outcome(
        finding=_finding(by_change, overall),
        tables=[
            Table(title="Answers that stay the same under each change",
                  columns=["change", "what it does", "questions", "model", "consistent"],
                  rows=[[one.name, one.text, len(found[model][one.name]), model,
                         by_change[model][one.name]]
                        for one in CHANGES for model in runs if one.name in found[model]],
                  note=f"Targets that are cropped or taken away: {whose}. A change is left out "
                  "where its effect on the answer is not known."),
            Table(title="Consistency of each subtask",
                  columns=["model", "subtask", "all changes", *names],
                  rows=[[model, group, by_group[model][group],
                         *(percent(held(model, [name], ids).value) for name in names)]
                        for model in runs for group, ids in groups.items()],
                  note="Percent; the first column counts every pair of question and change once."),
            Table(title="Beside it, how often the unchanged questions are answered right",
                  columns=["model", "right", "rejected"],
                  rows=[[model, one.share(one.right), in_percent(float(one.rejected.mean()))]
                        for model, one in plain.items()],
                  note="Consistent is not right: a model that always rejects never changes its "
                  "answer."),
        ],
        figures=[dots("Answers that stay the same under each change",
                      "Share of questions whose answer, mapped back, is the one to the "
                      "unchanged question; intervals by image.",
                      by_change, percents("consistent, %"))],
        values={"overall": overall, "changes": by_change, "subtasks": by_group},
    )  # fmt: skip


def _subtasks(samples: Dataset) -> dict[str, set[str]]:
    """Ids of each subtask's samples, where subtasks are named."""
    found: dict[str, set[str]] = {}
    for one in samples:
        if one.subtask_l1:
            found.setdefault(subtask(one), set()).add(one.id)
    return dict(sorted(found.items()))


def _finding(by_change: Shares, overall: Mapping[str, Span]) -> str:
    """What holds least, of the most consistent model; and how the others compare."""
    best = max(overall, key=lambda model: np.nan_to_num(overall[model].value, nan=-1))
    spans = by_change[best]
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
        data=("scenes:seed=11,n=120",),
        plan=plan,
        then=then,
        reduce=reduce,
        knobs=(BOXES,),
    ),
)
