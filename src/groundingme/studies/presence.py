"""Rejection as a decision: which threshold keeps to the false rejections that a deployer allows?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundingme import selective
from groundingme.errors import UsageError
from groundingme.report.svg import Axis, Span
from groundingme.scale.selection import load_sample_run
from groundingme.stats import Floats
from groundingme.studies import STUDIES, conformal
from groundingme.studies.conformal import METHODS, Losses, losses
from groundingme.studies.estimates import (
    Bools,
    images,
    negatives,
    percent,
    rejected,
    right,
    share,
    spread,
)
from groundingme.studies.study import Condition, Done, Knob, Lines, Outcome, Setting, Study, Table

GREEDY, SAMPLED = "greedy", "sampled"
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


class Score(NamedTuple):
    """A score of absence of one model.

    Attributes:
        model: Name.
        kind: `confidence` or `agreement`.
        absent: Shape `(N,)`, higher where nothing seems to match; NaN where there is none.
        found: Shape `(N,)`: whether the greedy box is right.
        said: Shape `(N,)`: whether the model rejects by itself.
    """

    model: str
    kind: str
    absent: Floats
    found: Bools
    said: Bools


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


def scores(done: Sequence[Done]) -> Iterator[Score]:
    """The scores that the models give."""
    greedy = {one.condition.label: one.scored for one in done if one.condition.name == GREEDY}
    for one in done:
        result = greedy[one.condition.label]
        said, found = rejected(result), right(result) & ~negatives(result)
        if one.condition.name == GREEDY:
            sure = [result.generations[row.id].confidence if row.id in result.generations else None
                    for row in result.samples]  # fmt: skip
            answered = np.array([row.outcome in ("box", "rejected") for row in result.scores], bool)
            stated = np.where(answered, np.array(sure, np.float64), np.nan)
            absent, kind = selective.absence(stated, said), "confidence"
        else:
            absent, kind = null_share(load_sample_run(one.path).t.outcome), "agreement"
        if not np.isnan(absent).all():
            yield Score(one.condition.label, kind, absent, found, said)


def null_share(outcome: NDArray[np.int8]) -> Floats:
    """Share of rejections among the answers of each sample; NaN where nothing was answered.

    Args:
        outcome: Shape `(S, N)`, of `scale.trajectories.Trajectories`.
    """
    nulls, boxes = (outcome == 1).sum(axis=1), (outcome == 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(nulls / (nulls + boxes))


def halves(clusters: NDArray[np.int64], seed: int) -> Bools:
    """Which samples calibrate: those of one half of the images."""
    kinds = np.unique(clusters)
    drawn = np.random.default_rng(seed).permutation(kinds)[: len(kinds) // 2]
    return np.asarray(np.isin(clusters, drawn))


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Thresholds from one half, what they give on the other, and promises tried out."""
    rate, delta = setting.knobs["rate"], setting.knobs["delta"]
    truth = negatives(done[0].scored)
    clusters = images(setting.dataset.samples)
    first = halves(clusters, setting.seed)
    rows: list[list[object]] = []
    auroc = []
    found = list(scores(done))
    for one in done:
        if one.condition.name == GREEDY:
            said, model = rejected(one.scored), one.condition.label
            hits = right(one.scored)
            rows.append([model, "its own decision", "", math.nan,
                         *_measures(said, hits, truth, clusters, ~first)])  # fmt: skip
        for score in found:
            if (score.model, score.kind == "agreement") == (
                one.condition.label, one.condition.name == SAMPLED
            ):  # fmt: skip
                auroc.append([score.model, score.kind,
                              float(selective.auroc(score.absent, truth))])  # fmt: skip
                table = losses(score.absent[first], truth[first], clusters[first])
                for method in METHODS:
                    at = conformal.threshold(table, method, rate, delta)
                    said = np.nan_to_num(score.absent, nan=-np.inf) > at
                    hits = np.where(truth, said, score.found & ~said)
                    rows.append([score.model, score.kind, method, at,
                                 *_measures(said, hits, truth, clusters, ~first)])  # fmt: skip
    best = max(found, key=lambda one: float(np.nan_to_num(selective.auroc(one.absent, truth))),
               default=None)  # fmt: skip
    calibrating = len(np.unique(clusters[first & ~truth]))
    population = losses(best.absent, truth, clusters) if best else None
    promised = _promised(population, calibrating, setting)
    needed = conformal.least_images(rate, delta)
    notes = [
        f"{calibrating} images calibrate, the others test. Rejecting at most "
        f"{percent(rate)} % with probability {1 - delta:g} takes {needed} images or more."
    ]
    if not found:
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
                  columns=["model", "score", "AUROC"], rows=auroc),
            Table(title="Promises tried out on drawn calibrations",
                  columns=["threshold by", "asked for, %", "lost on average, %",
                           "calibrations that lose more, %"],
                  rows=[[method, percent(asked), percent(float(lost.mean()), 2),
                         percent(float((lost > asked + 1e-9).mean()))]
                        for (method, asked), lost in promised.items()],
                  note=_tried(best, setting)),
        ],
        figures=[_figure(promised)] if promised else [],
        values={
            "rows": [{"model": row[0], "score": row[1], "method": row[2], "threshold": row[3],
                      "false": row[4], "negatives": row[5], "right": row[6]} for row in rows],
            "promised": {f"{method} {asked:g}": [float(lost.mean()),
                                                 float((lost > asked + 1e-9).mean())]
                         for (method, asked), lost in promised.items()},
        },
        notes=notes,
    )  # fmt: skip


def _measures(
    said: Bools, hits: Bools, truth: Bools, clusters: NDArray[np.int64], where: Bools
) -> list[Span]:
    """False rejections, negatives rejected and right answers, of the samples of a half."""
    masks = (where & ~truth, where & truth, where)
    columns = (said, said, hits)
    return [share(column[at], clusters[at]) for column, at in zip(columns, masks, strict=True)]


Promised = Mapping[tuple[str, float], Floats]


def _promised(population: Losses | None, n: int, setting: Setting) -> Promised:
    if population is None or not n or not len(population.losses):
        return {}
    asked = sorted({*RATES, setting.knobs["rate"]})
    settings = {"delta": setting.knobs["delta"], "draws": setting.knobs["draws"]}
    return {
        (method, one): conformal.simulated(
            population, n, method, one, seed=setting.seed, **settings
        )
        for method in METHODS
        for one in asked
    }


def _tried(best: Score | None, setting: Setting) -> str:
    if best is None:
        return "Nothing to try out."
    return (
        f"{setting.knobs['draws']} calibrations by the {best.kind} of {best.model}, drawn with "
        "replacement from all images, which stand for the world."
    )


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
    rows: Sequence[Sequence[object]], best: Score | None, promised: Promised, rate: float,
    delta: float,
) -> str:  # fmt: skip
    if best is None:
        return ("No model gave a score of absence, so no threshold can be set. Ask for "
                "log-probabilities, or sample trajectories.")  # fmt: skip
    mine = {row[2]: row for row in rows if row[:2] == [best.model, best.kind]}
    kept = mine["guaranteed"]
    lost, caught = kept[4], kept[5]
    assert isinstance(lost, Span)
    assert isinstance(caught, Span)
    own = next(row[5] for row in rows if row[0] == best.model and row[2] == "")
    assert isinstance(own, Span)
    if kept[3] == math.inf:
        said = (
            f"So few calibration images, or so weak a score, promise nothing at "
            f"{percent(rate)} %: the guaranteed threshold of {best.model} rejects nothing. "
        )
    else:
        said = (f"With {percent(rate)} % of true descriptions allowed to be lost, the guaranteed "
                f"threshold on the {best.kind} of {best.model} loses {spread(lost)} % and rejects "
                f"{spread(caught)} % of the negatives, where its own decision rejects "
                f"{percent(own.value)} %. ")  # fmt: skip
    broken = {method: float((promised[method, rate] > rate + 1e-9).mean())
              for method in METHODS if (method, rate) in promised}  # fmt: skip
    if not broken:
        return said + "There was nothing to try the promise out on."
    return said + (
        f"Over drawn calibrations that promise breaks in {percent(broken['guaranteed'])} % "
        f"({percent(delta)} % are allowed), a threshold without correction in "
        f"{percent(broken['plain'])} %."
    )


STUDIES.register(
    "presence",
    Study(
        name="presence",
        question="Which threshold rejects what is not there and keeps to a promised error?",
        needs="one model or more with a confidence, or sampled (--set samples=N replies a sample); "
        "one data set with boxes and rejections, some hundred images",
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes:seed=11,n=400",),
        plan=plan,
        reduce=reduce,
        knobs=KNOBS,
    ),
)
