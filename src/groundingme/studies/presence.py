"""Rejection as a decision: which threshold keeps to the false rejections that a deployer allows?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from groundingme.errors import UsageError
from groundingme.report.svg import Axis, Span
from groundingme.studies import STUDIES, conformal
from groundingme.studies.absence import (
    GREEDY,
    OWN,
    SAMPLED,
    Decision,
    Score,
    decision,
    halves,
    scores,
)
from groundingme.studies.conditions import by_model
from groundingme.studies.conformal import METHODS, Promised, losses
from groundingme.studies.estimates import Answers, percent, spread
from groundingme.studies.study import Condition, Done, Knob, Lines, Outcome, Setting, Study, Table

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Rates at which promises are tried out."""

KNOBS = (
    Knob(name="rate", default=0.05, text="share of true descriptions that may be rejected"),
    Knob(
        name="delta", default=0.1, text="how often the guaranteed threshold may break its promise"
    ),
    Knob(name="samples", default=8, text="trajectories for a score by agreement; 0 for none"),
    Knob(name="draws", default=2000, text="calibrations drawn to try the promises out"),
)


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model once, and with several trajectories.

    Raises:
        UsageError: No description is true, or an option is out of its range.
    """
    rate, delta, n = (setting.knobs[name] for name in ("rate", "delta", "samples"))
    if not (0 < rate < 1 and 0 < delta < 1) or n < 0 or n == 1 or setting.knobs["draws"] < 1:
        raise UsageError(
            f"expected rate and delta between 0 and 1, samples of 0 or from 2, and draws from 1, "
            f"got rate {rate:g}, delta {delta:g}, samples {n}, draws {setting.knobs['draws']}"
        )
    if all(one.target is None for one in setting.dataset):
        raise UsageError(
            f"expected descriptions that something matches in {setting.dataset.source}, got none; "
            "false rejections are counted on them"
        )
    conditions = []
    for model in setting.models:
        conditions.append(Condition(name=GREEDY, model=model, dataset=setting.dataset))
        if n:
            conditions.append(Condition(name=SAMPLED, model=model, dataset=setting.dataset, n=n))
    return conditions


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Thresholds from one half, what they give on the other, and promises tried out."""
    rate, delta = setting.knobs["rate"], setting.knobs["delta"]
    rows: list[Decision] = []
    found: list[Score] = []
    for mine in by_model(done).values():
        greedy = Answers(mine[GREEDY])
        truth, clusters = greedy.negative, greedy.clusters
        first = halves(clusters, setting.seed)
        rows.append(decision(greedy, OWN, "", math.nan, greedy.rejected, greedy.right,
                         ~first))  # fmt: skip
        for score in scores(mine):
            found.append(score)
            table = losses(score.absent[first], truth[first], clusters[first])
            for method in METHODS:
                at = conformal.threshold(table, method, rate, delta)
                rows.append(decision(greedy, score.kind, method, at, *score.decided(at), ~first))
    best = max(found, key=lambda one: np.nan_to_num(one.auroc), default=None)
    calibrating = len(np.unique(clusters[first & ~truth]))
    promised: Promised = {}
    if best and calibrating:
        table = losses(best.absent, best.greedy.negative, best.greedy.clusters)
        promised = conformal.promises(
            table, calibrating, {*RATES, rate}, delta=delta, draws=setting.knobs["draws"],
            seed=setting.seed,
        )  # fmt: skip
    broken = {key: float((lost > key[1] + 1e-9).mean()) for key, lost in promised.items()}
    notes = [
        f"{calibrating} images calibrate, the others test. Rejecting at most "
        f"{percent(rate)} % with probability {1 - delta:g} takes "
        f"{conformal.least_images(rate, delta)} images or more."
    ]
    tried = "Nothing to try out."
    if best:
        tried = (
            f"{setting.knobs['draws']} calibrations by the {best.kind} of {best.greedy.model}, "
            "drawn with replacement from all images, which stand for the world."
        )
    else:
        notes.append("No model gives a confidence, and none was sampled: there is no threshold.")
    return Outcome(
        finding=_finding(rows, best, broken, rate, delta),
        tables=[
            Table(title=f"Rejecting with at most {percent(rate)} % of true descriptions lost",
                  columns=["model", "score", "threshold by", "threshold", "false rejections",
                           "negatives rejected", "right"],
                  rows=rows,
                  note="On the half that did not calibrate. plain: as if the calibration were the "
                  "world; conformal: kept on average; guaranteed: kept with probability "
                  f"{1 - delta:g}. What is above the threshold is rejected; inf rejects nothing. "
                  "Where the model rejects by itself and the score does not, no box is known and "
                  "the sample is wrong."),
            Table(title="How well each score tells negatives from positives",
                  columns=["model", "score", "AUROC"],
                  rows=[[one.greedy.model, one.kind, one.auroc] for one in found]),
            Table(title="Promises tried out on drawn calibrations",
                  columns=["threshold by", "asked for, %", "lost on average, %",
                           "calibrations that lose more, %"],
                  rows=[[method, percent(asked), percent(float(lost.mean()), 2),
                         percent(broken[method, asked])]
                        for (method, asked), lost in promised.items()],
                  note=tried),
        ],
        figures=[_figure(promised)] if promised else [],
        values={
            "rows": [one._asdict() for one in rows],
            "promised": {f"{method} {asked:g}": [float(lost.mean()), broken[method, asked]]
                         for (method, asked), lost in promised.items()},
        },
        notes=notes,
    )  # fmt: skip


def _figure(promised: Promised) -> Lines:
    series: dict[str, list[tuple[float, Span]]] = {}
    for (method, asked), lost in promised.items():
        low, high = np.quantile(lost, (0.05, 0.95))
        mean = Span(100 * float(lost.mean()), 100 * float(low), 100 * float(high))
        series.setdefault(method, []).append((100 * asked, mean))
    top = max([20.0, *(end.high for line in series.values() for _, end in line)])
    high_end = 5 * math.ceil(top / 5)
    # Both axes end alike, so that the diagonal is where promise and loss are equal.
    both: dict[str, Any] = {"low": 0, "high": high_end, "ticks": range(0, high_end + 1, 5)}
    return Lines(
        title="False rejections: asked for and lost",
        text="Means over drawn calibrations; whiskers hold 90 % of them. On the dotted line what "
        "is lost is what was allowed, and below it the promise is kept.",
        series=series,
        x=Axis(**both, title="allowed, % of true descriptions"),
        y=Axis(**both, title="lost, % of true descriptions"),
        diagonal=True,
    )


def _finding(
    rows: Sequence[Decision],
    best: Score | None,
    broken: Mapping[tuple[str, float], float],
    rate: float,
    delta: float,
) -> str:
    if best is None:
        return ("No model gave a score of absence, so no threshold can be set. Ask for "
                "log-probabilities, or sample trajectories.")  # fmt: skip
    model = best.greedy.model
    mine = {(one.score, one.method): one for one in rows if one.model == model}
    kept, own = mine[best.kind, "guaranteed"], mine[OWN, ""]
    if kept.threshold == math.inf:
        said = (
            f"So few calibration images, or so weak a score, promise nothing at "
            f"{percent(rate)} %: the guaranteed threshold of {model} rejects nothing. "
        )
    else:
        said = (
            f"With {percent(rate)} % of true descriptions allowed to be lost, the guaranteed "
            f"threshold on the {best.kind} of {model} loses {spread(kept.false)} % and rejects "
            f"{spread(kept.negatives)} % of the negatives, where its own decision rejects "
            f"{percent(own.negatives.value)} %. "
        )
    if not broken:
        return said + "There was nothing to try the promise out on."
    return said + (
        f"Over drawn calibrations that promise breaks in {percent(broken['guaranteed', rate])} % "
        f"({percent(delta)} % are allowed), a threshold without correction in "
        f"{percent(broken['plain', rate])} %."
    )


STUDIES.register(
    "presence",
    Study(
        name="presence",
        question="Which threshold rejects what is not there and keeps to a promised error?",
        needs="one model or more with a confidence, or sampled (--set samples=N replies a sample); "
        "one data set with boxes and rejections, some hundred images",
        data=("scenes:seed=11,n=400",),
        plan=plan,
        reduce=reduce,
        knobs=KNOBS,
    ),
)
