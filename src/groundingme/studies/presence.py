"""Rejection as a decision: which threshold keeps to the false rejections that a deployer allows?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from groundingme.errors import UsageError
from groundingme.report.svg import Axis
from groundingme.studies import STUDIES, absence
from groundingme.studies.absence import GREEDY, OWN, SAMPLED, Decision, Score
from groundingme.studies.conditions import by_model
from groundingme.studies.conformal import Promised, least_images
from groundingme.studies.estimates import Answers, ninety, percent, points, spread
from groundingme.studies.figures import highest
from groundingme.studies.study import Condition, Done, Knob, Lines, Outcome, Setting, Study, Table

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Rates at which promises are tried out."""

KNOBS = (
    Knob("rate", 0.05, "share of true descriptions that may be rejected"),
    Knob("delta", 0.1, "how often the guaranteed threshold may break its promise"),
    Knob("samples", 8, "trajectories for a score by agreement; 0 for none"),
    Knob("draws", 2000, "calibrations drawn to try the promises out"),
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
    return [
        Condition(name=name, model=model, dataset=setting.dataset, n=count)
        for model in setting.models
        for name, count in ((GREEDY, 1), (SAMPLED, n))
        if count
    ]


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Thresholds from one half, what they give on the other, and promises tried out."""
    rate, delta = setting.knobs["rate"], setting.knobs["delta"]
    rows: list[Decision] = []
    found: list[Score] = []
    for mine in by_model(done).values():
        greedy, given = Answers(mine[GREEDY]), list(absence.scores(mine))
        first = absence.halves(greedy.clusters, setting.seed)
        rows += absence.decisions(greedy, given, first, rate, delta)
        found += given
    best = max(found, key=lambda one: np.nan_to_num(one.auroc), default=None)
    calibrating = len(np.unique(greedy.clusters[first & ~greedy.negative]))
    promised: Promised = {}
    if best and calibrating:
        promised = best.promises(calibrating, {*RATES, rate}, delta=delta,
                                 draws=setting.knobs["draws"], seed=setting.seed)  # fmt: skip
    notes = [
        f"{calibrating} images calibrate, the others test. Rejecting at most {percent(rate)} % "
        f"with probability {1 - delta:g} takes {least_images(rate, delta)} images or more."
    ]
    if not best:
        notes.append("No model gives a confidence, and none was sampled: there is no threshold.")
    return Outcome(
        finding=_finding(rows, best, promised, rate, delta),
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
                  rows=[[method, percent(asked), percent(one.mean, 2), percent(one.broken)]
                        for (method, asked), one in promised.items()],
                  note=f"{setting.knobs['draws']} calibrations by the {best.kind} of "
                  f"{best.greedy.model}, drawn with replacement from all images, which stand for "
                  "the world." if best else "Nothing to try out."),
        ],
        figures=[_figure(promised)] if promised else [],
        values={
            "rows": [one._asdict() for one in rows],
            "promised": {f"{method} {asked:g}": [one.mean, one.broken]
                         for (method, asked), one in promised.items()},
        },
        notes=notes,
    )  # fmt: skip


def _figure(promised: Promised) -> Lines:
    series = {
        method: [(100 * asked, points(ninety(one.lost, one.mean)))
                 for (of, asked), one in promised.items() if of == method]
        for method, _ in promised
    }  # fmt: skip
    top = 5 * math.ceil(max(20.0, highest(series)) / 5)
    # Both axes end alike, so that the diagonal is where promise and loss are equal.
    allowed, lost = (Axis(low=0, high=top, ticks=range(0, top + 1, 5),
                          title=f"{what}, % of true descriptions")
                     for what in ("allowed", "lost"))  # fmt: skip
    return Lines(
        title="False rejections: asked for and lost",
        text="Means over drawn calibrations; whiskers hold 90 % of them. On the dotted line what "
        "is lost is what was allowed, and below it the promise is kept.",
        series=series,
        x=allowed,
        y=lost,
        diagonal=True,
    )


def _finding(
    rows: Sequence[Decision], best: Score | None, promised: Promised, rate: float, delta: float
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
    if not promised:
        return said + "There was nothing to try the promise out on."
    guaranteed, plain = (percent(promised[by, rate].broken) for by in ("guaranteed", "plain"))
    return said + (
        f"Over drawn calibrations that promise breaks in {guaranteed} % ({percent(delta)} % are "
        f"allowed), a threshold without correction in {plain} %."
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
