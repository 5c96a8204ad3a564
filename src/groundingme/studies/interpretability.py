"""Why was a description rejected? The clause that failed, and the thing that all else fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from groundingme.datasets import Dataset
from groundingme.geometry import iou
from groundingme.report.svg import Span
from groundingme.store import write_atomically
from groundingme.studies import STUDIES
from groundingme.studies.changing import MARK
from groundingme.studies.conditions import AS_IT_IS, by_model, everyone
from groundingme.studies.estimates import edges, images, mean, percent, share, spread
from groundingme.studies.figures import dots, percents
from groundingme.studies.reasons import ALONE, WITHOUT, Asked, asked_of, changed_clause, parts
from groundingme.studies.study import Condition, Done, Outcome, Setting, Study, Table

METHODS = ("left out", "alone", "both", "at random")


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """What each model rejects, without one clause, and with one clause alone."""
    conditions = []
    for one in done[: len(setting.models)]:
        said = {row.id for row in one.scored.scores if row.outcome == "rejected"}
        samples = [sample for sample in setting.dataset if sample.id in said]
        for name in (WITHOUT, ALONE):
            asked = [part for sample in samples for part in parts(sample, name)]
            if asked:
                dataset = Dataset(name=f"{setting.dataset.name}{MARK}{name.split()[0]}",
                                  source=setting.dataset.source, samples=asked)  # fmt: skip
                conditions.append(Condition(name=name, model=one.condition.model, dataset=dataset))
    return conditions


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """How often the right clause is named, and the right thing shown."""
    rows, lines = [], []
    named: dict[str, dict[str, list[Span]]] = {}
    for model, runs in by_model(done).items():
        mine = {name: one.scored for name, one in runs.items()}
        found = asked_of(mine[AS_IT_IS], mine, setting.dataset) if WITHOUT in mine else []
        for one in found:
            told = {"model": model, "id": one.sample.id, "description": one.sample.description}
            lines.append({**told, **msgspec.structs.asdict(one.reason())})
        known = [one for one in found if "changed" in one.sample.extra]
        named[model] = {method: _measured(known, method) for method in METHODS}
        rows += [[model, method, len(known), *spans] for method, spans in named[model].items()]
    text = b"".join(msgspec.json.encode(one) + b"\n" for one in lines)
    write_atomically(setting.folder / "reasons.jsonl", text)
    reasons = sum(bool(one["because"]) for one in lines)
    columns = ["named", "precision", "recall", "nearest thing shown"]
    return Outcome(
        finding=_finding(named, len(lines), reasons),
        tables=[
            Table(title="How often the clause that was made false is named",
                  columns=["model", "clause found by", "rejections", *columns], rows=rows,
                  note="Of rejections of descriptions with one changed fact. left out: something "
                  "is found without it; alone: the noun with it alone is rejected; both: the two "
                  "agree, else the first; at random: any clause, in expectation. Nearest: the "
                  "answer without the clause is the thing whose fact was changed."),
            Table(title="Reasons, as a deployer would show them",
                  columns=["description", "because", "fits the rest", "nearest"],
                  rows=[[one["description"], one["because"] or "–", one["fits"] or "–",
                         edges(one["nearest"])] for one in lines[:8]],
                  note="All of them are in reasons.jsonl, a JSON object a line."),
        ],
        figures=[dots("The clause that was made false is named",
                      "Precision: of the clauses named. Intervals by image.",
                      {model: {method: spans[1] for method, spans in found.items()}
                       for model, found in named.items()},
                      percents("precision, %"))],
        values={
            "rejected": len(lines), "reasons": reasons,
            "named": {model: {method: dict(zip(columns, spans, strict=True))
                              for method, spans in found.items()}
                      for model, found in named.items()},
        },
    )  # fmt: skip


def _measured(known: Sequence[Asked], method: str) -> list[Span]:
    """Shares: named at all, right of those named, right of all, and the thing shown is right."""
    named, right, shown = [], [], []
    for one in known:
        truth = changed_clause(one.sample, one.found)
        if method == "at random":
            named.append(float(bool(one.found)))
            right.append(1 / len(one.found) if truth >= 0 else 0.0)
            near = [_is_near(one, at) for at in range(len(one.found))]
            shown.append(float(np.mean(near)) if near else 0.0)
        else:
            at = one.named(method)
            named.append(float(at >= 0))
            right.append(float(at >= 0 and at == truth))
            shown.append(float(at >= 0 and _is_near(one, at)))
    clusters = images([one.sample for one in known])
    some = np.array(named, bool)
    figure = mean if method == "at random" else share
    return [
        figure(named, clusters), figure(np.array(right)[some], clusters[some]),
        figure(right, clusters), figure(np.array(shown)[some], clusters[some]),
    ]  # fmt: skip


def _is_near(one: Asked, at: int) -> bool:
    box, near = one.boxes[at], one.sample.extra["changed"].get("near")
    return box is not None and near is not None and bool(iou([box], [near])[0] >= 0.5)


def _finding(named: Mapping[str, Mapping[str, Sequence[Span]]], told: int, reasons: int) -> str:
    if not told:
        return (
            "No model rejected anything, so there is nothing to explain. Data with descriptions "
            "that match nothing, and a model that rejects, would tell."
        )
    said = f"{reasons} of {told} rejections can be given a reason by asking clause by clause. "
    known = {model: one for model, one in named.items() if not np.isnan(one["both"][1].value)}
    if not known:
        return said + "How often it is the right one cannot be told: no changed fact is known."
    best = max(known, key=lambda model: known[model]["both"][2].value)
    _, precision, _, near = known[best]["both"]
    return said + (
        f"The clause that {best} is made to name is the false one in {spread(precision)} % "
        f"({percent(known[best]['at random'][1].value)} % at random), and the thing shown as "
        f"nearest is the right one in {spread(near)} %."
    )


STUDIES.register(
    "interpretability",
    Study(
        name="interpretability",
        question="Which clause of a rejected description failed, and is that the true reason?",
        needs="one model or more that rejects, asked about six times a rejection; one data set; "
        "precision needs to know what was changed, as Scenes do",
        models=("builtin/grounder",),
        data=("scenes:seed=11,n=160,rejections=0.6",),
        plan=everyone,
        then=then,
        reduce=reduce,
    ),
)
