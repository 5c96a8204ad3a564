"""How exact must the true boxes be? Scores and rankings when the truth itself is another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from groundingme.geometry import Boxes, iou
from groundingme.report.svg import PERCENT, Axis, Span
from groundingme.studies import STUDIES, subsets, truth
from groundingme.studies.estimates import Bools, Gain, better, gain, images, percent, points, share
from groundingme.studies.study import (
    Condition,
    Done,
    Knob,
    Lines,
    Outcome,
    Setting,
    Study,
    Table,
)

JITTERS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
"""Standard deviation of each edge, as a share of the box's width or height."""
SHOWN = JITTERS[3]
THRESHOLDS = (0.5, 0.75)
LADDER = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model once: what is changed is the truth, after the fact."""
    return [
        Condition(name="as it is", model=model, dataset=setting.dataset) for model in setting.models
    ]


class Scale:
    """Scores of all models under one truth after another.

    Args:
        done: The runs.
    """

    def __init__(self, done: Sequence[Done]) -> None:
        self.done, self.names = done, [one.condition.label for one in done]
        self.samples = done[0].scored.samples
        self.targets = truth.targets(self.samples)
        self.clusters = images(self.samples)
        self.pairs = np.argwhere(better(self.hits(self.targets, 0.5), self.clusters))

    def hits(self, boxes: Boxes, threshold: float) -> Bools:
        """Shape `(M, N)`."""
        return np.array([truth.hits(one.scored, boxes, threshold) for one in self.done])

    def spans(self, boxes: Boxes, threshold: float) -> list[Span]:
        """Share right of each model."""
        return [share(row, self.clusters) for row in self.hits(boxes, threshold)]

    def kept(self, boxes: Boxes, threshold: float) -> float:
        """Share of the clear pairs of models that are in the same order; NaN without any."""
        scores = self.hits(boxes, threshold).mean(axis=1)[None]
        return float(subsets.kept(scores, self.pairs)[0])


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Accuracy against jitter, under alternative truths and thresholds, and doubtful samples."""
    scale = Scale(done)
    moved = {one: truth.jittered(scale.targets, one, setting.seed) for one in JITTERS}
    others = list(truth.from_extra(scale.samples))
    for folder in str(setting.knobs["tables"]).split(","):
        if folder.strip():
            others += truth.from_tables(Path(folder.strip()), scale.samples)
    doubts = {one: truth.doubts([run.scored for run in done], one) for one in THRESHOLDS}
    heads = [f"{name}, Acc@{limit:g}" for limit in THRESHOLDS for name in scale.names]
    lost = {
        limit: gain(scale.hits(scale.targets, limit)[0], scale.hits(moved[SHOWN], limit)[0],
                    scale.clusters)
        for limit in THRESHOLDS
    }  # fmt: skip
    tables = [
        Table(title="Accuracy when the truth is moved",
              columns=["edges moved", *heads, "order kept at 0.5", "at 0.75"],
              rows=[[f"{100 * one:g} %", *_cells(scale, boxes)] for one, boxes in moved.items()],
              note="Order kept: of the pairs of models that are clearly apart at IoU 0.5 with the "
              "data's own boxes; a dash where there is none."),
        Table(title="Where models agree against the truth",
              columns=["IoU", "what they agree on", "samples", "of all"],
              rows=_doubt_rows(scale, doubts),
              note="Two models or more, and more than half of them. Models of one family make the "
              "same mistakes, so this is a list to look at and no verdict."),
    ]  # fmt: skip
    if others:
        tables.insert(1, Table(
            title="Accuracy under other true boxes",
            columns=["true boxes", "there", "IoU with the data's", *heads, "order kept at 0.5",
                     "at 0.75"],
            rows=[_other(scale, name, boxes) for name, boxes in others],
            note=f"There: positives with such a box at IoU {truth.SAME:g} or more with the data's; "
            "the others count as wrong.",
        ))  # fmt: skip
    if doubts[THRESHOLDS[0]]:
        tables.append(_list(scale, doubts[THRESHOLDS[0]]))
    return Outcome(
        finding=_finding(scale, lost, moved, doubts),
        tables=tables,
        figures=[_jitter_figure(scale, moved), _ladder_figure(scale)],
        values={
            "lost": {f"{limit:g}": -one.span.value for limit, one in lost.items()},
            "kept": {f"{one:g}": scale.kept(boxes, 0.5) for one, boxes in moved.items()},
            "doubts": {f"{limit:g}": [scale.samples[one.sample].id for one in found]
                       for limit, found in doubts.items()},
            "others": {name: _share_there(scale, boxes) for name, boxes in others},
        },
        notes=[] if others else [
            "The data name no further boxes, so no other truth was tried; a build's tables "
            "(--set tables=FOLDER) give those of its detector under every suppression policy."
        ],
    )  # fmt: skip


def _cells(scale: Scale, boxes: Boxes) -> list[object]:
    spans = [span for limit in THRESHOLDS for span in scale.spans(boxes, limit)]
    kept = [scale.kept(boxes, limit) for limit in THRESHOLDS]
    return [*spans, *(f"{percent(one)} %" if one == one else "–" for one in kept)]


def _share_there(scale: Scale, boxes: Boxes) -> float:
    positive = np.asarray(~np.isnan(scale.targets).any(axis=1))
    there = np.asarray(~np.isnan(boxes).any(axis=1))
    return float(there[positive].mean()) if positive.any() else np.nan


def _other(scale: Scale, name: str, boxes: Boxes) -> list[object]:
    there = ~np.isnan(boxes).any(axis=1)
    overlap = float(iou(boxes[there], scale.targets[there]).mean()) if there.any() else np.nan
    return [name, f"{percent(_share_there(scale, boxes))} %", overlap, *_cells(scale, boxes)]


def _doubt_rows(scale: Scale, doubts: dict[float, list[truth.Doubt]]) -> list[list[object]]:
    rows: list[list[object]] = []
    for limit, found in doubts.items():
        for kind in ("another box", "a box where nothing should match", "nothing where one should"):
            marks = np.zeros(len(scale.samples), bool)
            marks[[one.sample for one in found if one.kind == kind]] = True
            rows.append([f"{limit:g}", kind, int(marks.sum()), share(marks, scale.clusters)])
    return rows


def _list(scale: Scale, found: Sequence[truth.Doubt]) -> Table:
    rows = []
    for one in sorted(found, key=lambda d: (-d.models, d.overlap))[:20]:
        sample = scale.samples[one.sample]
        agreed = "–" if np.isnan(one.box).any() else " ".join(f"{edge:.0f}" for edge in one.box)
        true = " ".join(f"{edge:.0f}" for edge in sample.target) if sample.target else "–"
        rows.append([sample.id, one.kind, one.models, true, agreed, one.overlap])
    return Table(
        title="Samples to look at",
        columns=["sample", "what models agree on", "models", "true box", "their box", "IoU"],
        rows=rows,
        note=f"{len(rows)} of {len(found)} at IoU {THRESHOLDS[0]:g}, the most agreed on first.",
    )


def _jitter_figure(scale: Scale, moved: dict[float, Boxes]) -> Lines:
    series = {
        f"{name}, Acc@{limit:g}": [
            (100 * amount, points(scale.spans(boxes, limit)[at])) for amount, boxes in moved.items()
        ]
        for limit in THRESHOLDS
        for at, name in enumerate(scale.names)
    }
    x = Axis(low=0, high=100 * JITTERS[-1], ticks=[100 * one for one in JITTERS],
             title="standard deviation of each true edge, % of the side")  # fmt: skip
    return Lines(title="Accuracy against the error of the true boxes", series=series, x=x,
                 text="All models see the same moved boxes.", y=_PERCENT)  # fmt: skip


def _ladder_figure(scale: Scale) -> Lines:
    spans = [scale.spans(scale.targets, limit) for limit in LADDER]
    series = {
        name: [(limit, points(row[at])) for limit, row in zip(LADDER, spans, strict=True)]
        for at, name in enumerate(scale.names)
    }
    x = Axis(low=0.5, high=0.95, ticks=(0.5, 0.6, 0.7, 0.8, 0.9), title="least IoU that is right")
    return Lines(title="Accuracy against the threshold", text="With the data's own boxes.",
                 series=series, x=x, y=_PERCENT)  # fmt: skip


_PERCENT = Axis(low=0, high=100, ticks=PERCENT.ticks, title="right, %")


def _finding(
    scale: Scale,
    lost: dict[float, Gain],
    moved: dict[float, Boxes],
    doubts: dict[float, list[truth.Doubt]],
) -> str:
    first = (
        f"Edges moved by {100 * SHOWN:g} % of the side cost {scale.names[0]} "
        f"{percent(-lost[0.5].span.value + 0.0)} points at IoU 0.5 and "
        f"{percent(-lost[0.75].span.value + 0.0)} at 0.75"
    )
    if len(scale.names) == 1:
        return f"{first}. One model has no ranking to lose, and nobody to agree with."
    if not len(scale.pairs):
        first += "; no two models are clearly apart, so there is no ranking to lose."
    else:
        kept = [scale.kept(boxes, 0.5) == 1 for boxes in moved.values()]
        held = list(moved)[: kept.index(False)] if False in kept else list(moved)
        first += f"; {_pairs(len(scale.pairs))} in the same order up to {100 * max(held):g} %."
    parts = [f"{len(found)} at IoU {limit:g}" for limit, found in doubts.items()]
    return (
        f"{first} Models agree with each other against the truth in {' and '.join(parts)} of "
        f"{len(scale.samples)} samples."
    )


def _pairs(count: int) -> str:
    one = "the one pair of models that is clearly apart is"
    return one if count == 1 else f"all {count} pairs of models that are clearly apart are"


STUDIES.register(
    "boxes",
    Study(
        name="boxes",
        question="How much do errors of the true boxes change scores and rankings?",
        needs="one model or more, asked once; one data set with boxes. Two models or more show "
        "where the truth is in doubt; tables of a build show other detectors and policies",
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes:seed=11,n=240",),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob(name="tables", default="",
                 text="folders of a build's stage detect, by commas: other true boxes"),
        ),
    ),
)  # fmt: skip
