"""How exact must the true boxes be? Scores and rankings when the truth itself is another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from groundingme.geometry import Boxes
from groundingme.report.svg import Axis
from groundingme.studies import STUDIES, truth
from groundingme.studies.conditions import everyone
from groundingme.studies.estimates import Gain, edges, gain, in_percent, percent, turned
from groundingme.studies.figures import lines
from groundingme.studies.study import Done, Knob, Outcome, Setting, Study, Table

JITTERS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
"""Standard deviation of each edge, as a share of the box's width or height."""
SHOWN = JITTERS[3]
THRESHOLDS = (0.5, 0.75)
LADDER = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Accuracy against jitter, under alternative truths and thresholds, and doubtful samples."""
    scale = truth.Scale(done)
    moved = {one: truth.jittered(scale.targets, one, setting.seed) for one in JITTERS}
    others = list(truth.from_extra(scale.samples))
    for folder in setting.listed("tables"):
        others += truth.from_tables(Path(folder), scale.samples)
    doubts = {one: truth.doubts([run.scored for run in done], one) for one in THRESHOLDS}
    lost = {
        limit: gain(scale.hits(scale.targets, limit)[0], scale.hits(moved[SHOWN], limit)[0],
                    scale.clusters)
        for limit in THRESHOLDS
    }  # fmt: skip
    heads = [f"{name}, Acc@{limit:g}" for limit in THRESHOLDS for name in scale.names]
    heads += ["order kept at 0.5", "at 0.75"]
    tables = [
        Table(title="Accuracy when the truth is moved", columns=["edges moved", *heads],
              rows=[[f"{100 * one:g} %", *_cells(scale, boxes)] for one, boxes in moved.items()],
              note="Order kept: of the pairs of models that are clearly apart at IoU 0.5 with the "
              "data's own boxes; a dash where there is none."),
        Table(title="Where models agree against the truth",
              columns=["IoU", "what they agree on", "samples", "of all"],
              rows=[[f"{limit:g}", kind, *scale.doubtful(found, kind)]
                    for limit, found in doubts.items() for kind in truth.KINDS],
              note="Two models or more, and more than half of them. Models of one family make the "
              "same mistakes, so this is a list to look at and no verdict."),
    ]  # fmt: skip
    if others:
        tables.insert(1, Table(
            title="Accuracy under other true boxes",
            columns=["true boxes", "there", "IoU with the data's", *heads],
            rows=[[name, in_percent(scale.there(boxes)), scale.overlap(boxes),
                   *_cells(scale, boxes)] for name, boxes in others],
            note=f"There: positives with such a box at IoU {truth.SAME:g} or more with the data's; "
            "the others count as wrong.",
        ))  # fmt: skip
    if doubts[THRESHOLDS[0]]:
        tables.append(_list(scale, doubts[THRESHOLDS[0]]))
    by_amount = {
        f"{name}, Acc@{limit:g}": line
        for limit in THRESHOLDS
        for name, line in turned(
            {100 * amount: scale.spans(boxes, limit) for amount, boxes in moved.items()}
        ).items()
    }
    by_limit = turned({limit: scale.spans(scale.targets, limit) for limit in LADDER})
    return Outcome(
        finding=_finding(scale, lost, moved, doubts),
        tables=tables,
        figures=[
            lines("Accuracy against the error of the true boxes",
                  "All models see the same moved boxes.", by_amount,
                  Axis(low=0, high=100 * JITTERS[-1], ticks=[100 * one for one in JITTERS],
                       title="standard deviation of each true edge, % of the side")),
            lines("Accuracy against the threshold", "With the data's own boxes.", by_limit,
                  Axis(low=0.5, high=0.95, ticks=(0.5, 0.6, 0.7, 0.8, 0.9),
                       title="least IoU that is right")),
        ],
        values={
            "lost": {f"{limit:g}": -one.span.value for limit, one in lost.items()},
            "kept": {f"{one:g}": scale.kept(boxes, 0.5) for one, boxes in moved.items()},
            "doubts": {f"{limit:g}": [scale.samples[one.sample].id for one in found]
                       for limit, found in doubts.items()},
            "others": {name: scale.there(boxes) for name, boxes in others},
        },
        notes=[] if others else [
            "The data name no further boxes, so no other truth was tried; a build's tables "
            "(--set tables=FOLDER) give those of its detector under every suppression policy."
        ],
    )  # fmt: skip


def _cells(scale: truth.Scale, boxes: Boxes) -> list[object]:
    spans = [span for limit in THRESHOLDS for span in scale.spans(boxes, limit).values()]
    return [*spans, *(in_percent(scale.kept(boxes, limit)) for limit in THRESHOLDS)]


Doubts = Mapping[float, Sequence[truth.Doubt]]


def _list(scale: truth.Scale, found: Sequence[truth.Doubt]) -> Table:
    rows = []
    for one in sorted(found, key=lambda d: (-d.models, d.overlap))[:20]:
        sample = scale.samples[one.sample]
        agreed = None if np.isnan(one.box).any() else one.box
        rows.append([sample.id, one.kind, one.models, edges(sample.target, " "),
                     edges(agreed, " "), one.overlap])  # fmt: skip
    return Table(
        title="Samples to look at",
        columns=["sample", "what models agree on", "models", "true box", "their box", "IoU"],
        rows=rows,
        note=f"{len(rows)} of {len(found)} at IoU {THRESHOLDS[0]:g}, the most agreed on first.",
    )


def _finding(
    scale: truth.Scale, lost: Mapping[float, Gain], moved: Mapping[float, Boxes], doubts: Doubts
) -> str:
    first = (
        f"Edges moved by {100 * SHOWN:g} % of the side cost {scale.names[0]} "
        f"{percent(-lost[0.5].span.value + 0.0)} points at IoU 0.5 and "
        f"{percent(-lost[0.75].span.value + 0.0)} at 0.75"
    )
    if len(scale.names) == 1:
        return f"{first}. One model has no ranking to lose, and nobody to agree with."
    count = len(scale.pairs)
    if not count:
        first += "; no two models are clearly apart, so there is no ranking to lose."
    else:
        kept = [scale.kept(boxes, 0.5) == 1 for boxes in moved.values()]
        held = list(moved)[: kept.index(False)] if False in kept else list(moved)
        pairs = "the one pair of models that is clearly apart is" if count == 1 else (
            f"all {count} pairs of models that are clearly apart are"
        )  # fmt: skip
        first += f"; {pairs} in the same order up to {100 * max(held):g} %."
    parts = [f"{len(found)} at IoU {limit:g}" for limit, found in doubts.items()]
    return (
        f"{first} Models agree with each other against the truth in {' and '.join(parts)} of "
        f"{len(scale.samples)} samples."
    )


STUDIES.register(
    "boxes",
    Study(
        name="boxes",
        question="How much do errors of the true boxes change scores and rankings?",
        needs="one model or more, asked once; one data set with boxes. Two models or more show "
        "where the truth is in doubt; tables of a build show other detectors and policies",
        plan=everyone,
        reduce=reduce,
        knobs=(
            Knob(name="tables", default="",
                 text="folders of a build's stage detect, by commas: other true boxes"),
        ),
    ),
)  # fmt: skip
