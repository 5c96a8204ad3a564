"""How exact must the true boxes be? Scores and rankings when the truth itself is moved a little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundingme.geometry import iou
from groundingme.report.svg import Axis, Span
from groundingme.studies import STUDIES
from groundingme.studies.estimates import images, negatives, percent, right, share
from groundingme.studies.study import Condition, Done, Lines, Outcome, Setting, Study, Table

JITTERS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
"""Standard deviation of each edge, as a share of the box's width or height."""
THRESHOLDS = (0.5, 0.75)


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model once: what is moved is the truth, after the fact."""
    return [
        Condition(name="as it is", model=model, dataset=setting.dataset) for model in setting.models
    ]


def jittered(
    targets: np.ndarray[tuple[int, int], np.dtype[np.float64]], amount: float, seed: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Boxes whose edges are moved by normal draws.

    Args:
        targets: Shape `(N, 4)`, xyxy pixels.
        amount: Standard deviation, as a share of the side.
        seed: The same draws for every model, so that models stay comparable.
    """
    rng = np.random.default_rng(seed)
    sides = np.tile(targets[:, 2:] - targets[:, :2], 2)
    moved = targets + rng.normal(0, 1, targets.shape) * amount * sides
    return np.concatenate(
        [np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], axis=1
    )


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Accuracy of every model against how much the truth is moved."""
    samples = done[0].scored.samples
    targets = np.array([one.target or (np.nan,) * 4 for one in samples], np.float64)
    positive = ~negatives(done[0].scored) & ~np.isnan(targets).any(axis=1)
    clusters = images(samples)
    curves: dict[str, list[tuple[float, Span]]] = {}
    rows, ranks = [], []
    for amount in JITTERS:
        shares = {}
        for one in done:
            # `right` stays what it is for rejections: no box of theirs is moved.
            for threshold in THRESHOLDS:
                hits = right(one.scored, threshold).copy()
                truth = jittered(targets[positive], amount, setting.seed)
                boxes = one.scored.scores.boxes[positive]
                overlap = np.nan_to_num(iou(boxes, truth))
                hits[positive] = overlap >= threshold
                shares[one.condition.label, threshold] = share(hits, clusters)
        order = sorted(done, key=lambda one: -shares[one.condition.label, 0.5].value)
        ranks.append([one.condition.label for one in order])
        for (model, threshold), span in shares.items():
            name = f"{model}, Acc@{threshold:g}"
            curves.setdefault(name, []).append((100 * amount, Span(*(100 * end for end in span))))
            rows.append([model, f"{100 * amount:g} %", f"Acc@{threshold:g}", span])
    held = [amount for amount, one in zip(JITTERS, ranks, strict=True) if one == ranks[0]]
    first = done[0].condition.label
    lost = {
        threshold: rows_value(rows, first, JITTERS[0], threshold)
        - rows_value(rows, first, JITTERS[3], threshold)
        for threshold in THRESHOLDS
    }
    finding = (
        f"Edges moved by {100 * JITTERS[3]:g} % of the side cost {first} "
        f"{percent(lost[0.5])} points at IoU 0.5 and {percent(lost[0.75])} at 0.75. "
    )
    finding += (
        "One model has no ranking to lose."
        if len(done) == 1
        else f"The ranking of the {len(done)} models is the same up to {100 * max(held):g} %."
    )
    x = Axis(low=0, high=100 * JITTERS[-1], ticks=[100 * one for one in JITTERS],
             title="standard deviation of each true edge, % of the side")  # fmt: skip
    y = Axis(low=0, high=100, ticks=(0, 20, 40, 60, 80, 100), title="right, %")
    return Outcome(
        finding=finding,
        tables=[Table(title="Accuracy when the truth is moved",
                      columns=["model", "edges moved", "measure", "right"], rows=rows)],
        figures=[Lines(title="Accuracy against the error of the true boxes",
                       text="All models see the same moved boxes.", series=curves, x=x, y=y)],
        values={"lost": {f"{key:g}": value for key, value in lost.items()}, "ranks": ranks},
    )  # fmt: skip


def rows_value(rows: Sequence[Sequence[object]], model: str, amount: float, least: float) -> float:
    """The share in one row of the table."""
    wanted = [model, f"{100 * amount:g} %", f"Acc@{least:g}"]
    span = next(row[3] for row in rows if list(row[:3]) == wanted)
    assert isinstance(span, Span)
    return span.value


STUDIES.register(
    "boxes",
    Study(
        name="boxes",
        question="How much do errors of the true boxes change scores and rankings?",
        needs="one model or more, asked once; one data set with boxes",
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes",),
        plan=plan,
        reduce=reduce,
        knobs=(),
    ),
)
