"""What does each subtask add? Scores and rankings without it, and the fewest that keep them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from groundingme.report import papertables
from groundingme.report.svg import Axis, Span
from groundingme.stats import Floats
from groundingme.studies import STUDIES, items, subsets
from groundingme.studies.conditions import everyone
from groundingme.studies.counts import Counts, Spared, counted, published
from groundingme.studies.estimates import Bools, in_percent
from groundingme.studies.figures import lines
from groundingme.studies.study import Condition, Done, Knob, Lines, Outcome, Setting, Study, Table

LEAST = (1.0, 0.95, 0.9)
"""Shares of the pairs of models that a subset is to keep."""


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model once; none where the published figures are studied."""
    return [] if setting.knobs["published"] else everyone(setting)


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Subsets, leave-one-out, item response and correlation of one table of counts."""
    from_paper = bool(setting.knobs["published"])
    counts = published() if from_paper else counted(done)
    models, count = len(counts.models), len(counts.subtasks)
    masks = subsets.subsets(count, setting.seed)
    spared = counts.spared()
    chosen = [counts.smallest(masks, least) for least in LEAST if len(counts.pairs)]
    correlation = items.rank_correlation(counts.shares)
    fit = items.item_response(counts.hits, counts.trials)
    without, alone = counts.kept(subsets.without_one(count)), counts.kept(np.eye(count, dtype=bool))
    few = (f"With {models} models, what holds of models (correlation, separation, smallest subset) "
           "is about these models alone.")  # fmt: skip
    return Outcome(
        finding=_finding(counts, chosen, correlation, fit),
        subject=f"Published figures of {models} models on GroundingME ({papertables.SOURCE}); "
        "nothing was asked." if from_paper else "",
        tables=[
            Table(title="What each subtask adds",
                  columns=["subtask", "samples", "mean right",
                           "left out: largest change of a score", "of", "left out: pairs kept",
                           "alone: pairs kept"],
                  rows=[[name, int(counts.trials[at]), in_percent(counts.shares[:, at].mean()),
                         *counts.largest_change(at), in_percent(without[at]),
                         in_percent(alone[at])] for at, name in enumerate(counts.subtasks)]),
            _separation(counts, fit, correlation),
            Table(title="The smallest subsets that keep the ranking",
                  columns=["pairs kept, at least", "subtasks", "samples", "pairs kept",
                           "pairs with a model that it was not chosen on", "which"],
                  rows=[[f"{100 * one.least:g} %", len(one.which), one.samples,
                         in_percent(one.kept), in_percent(one.held_out),
                         ", ".join(counts.named(one.which))] for one in chosen],
                  note="Of several as small, the one with the fewest samples."),
            Table(title="Subtasks spared one after another",
                  columns=["left out", "subtasks left", "samples left", "pairs kept"],
                  rows=[[counts.subtasks[one.at], one.left, one.samples, in_percent(one.kept)]
                        for one in spared]),
            Table(title="Rank correlation of the subtasks over the models",
                  columns=["subtask", *map(str, range(1, count + 1))],
                  rows=[[f"{number} {name}", *("–" if math.isnan(v) else f"{v:.2f}" for v in row)]
                        for number, (name, row) in enumerate(
                            zip(counts.subtasks, correlation, strict=True), 1)],
                  note="Near 1: models that fail in the one fail in the other. It takes four "
                  "models, and says little below ten."),
        ],
        figures=[_figure(counts, masks, spared)] if len(counts.pairs) else [],
        values={
            "smallest": {f"{one.least:g}": counts.named(one.which) for one in chosen},
            "slope": dict(zip(counts.subtasks, fit.slope.tolist(), strict=True)),
            "ability": dict(zip(counts.models, fit.ability.tolist(), strict=True)),
            "spared": counts.named([one.at for one in spared]),
            "pairs": len(counts.pairs),
        },
        notes=["A ranking is kept in the pairs of models that "
               + ("differ in the total." if from_paper else "the paired test tells apart."),
               *([few] if models < 8 else [])],
    )  # fmt: skip


def _separation(counts: Counts, fit: items.Items, correlation: Floats) -> Table:
    signal = items.signal(counts.hits, counts.trials)
    rows = []
    for at, name in enumerate(counts.subtasks):
        near = items.most_alike(correlation, at)
        alike = "–" if near is None else f"{counts.subtasks[near]} {correlation[at, near]:.2f}"
        rows.append([name, float(fit.slope[at]), float(fit.easiness[at]),
                     in_percent(float(signal[at])), alike])  # fmt: skip
    return Table(
        title="Which subtasks separate the models",
        columns=["subtask", "separation", "easiness", "signal", "most alike"],
        rows=rows,
        note="Separation and easiness are the slope and the log-odds at mean ability of a "
        "two-parameter item response fit; a separation below 0 says that models which are "
        "otherwise weaker do better. Signal: the share of the models' variance that is more than "
        "sampling noise. Most alike: by rank correlation over the models.",
    )


def _figure(counts: Counts, masks: Bools, spared: Sequence[Spared]) -> Lines:
    count, shares = len(counts.subtasks), counts.kept(masks)
    floor = 20 * int(5 * min(shares))
    best, middle = subsets.by_size(masks, shares)
    series = {"the best subset of that size": best,
              "spared one after another": {one.left: Span(one.kept) for one in reversed(spared)},
              "all subsets: median, 5 to 95 %": middle}  # fmt: skip
    return lines(
        "How much of the ranking fewer subtasks keep",
        "Pairs of models in the order of the whole data set, against the number of subtasks.",
        {name: line for name, line in series.items() if line},
        Axis(low=0.5, high=count + 0.5, title="subtasks",
             ticks=range(1, count + 1) if count <= 12 else (1, count // 2, count)),
        Axis(low=floor, high=100, ticks=range(floor, 101, 20 if floor < 60 else 10),
             title="pairs kept, %"),
    )  # fmt: skip


def _finding(
    counts: Counts, chosen: Sequence[subsets.Choice], correlation: Floats, fit: items.Items
) -> str:
    models, count = len(counts.models), len(counts.subtasks)
    if chosen:
        all_of = chosen[0]
        first = (
            f"{len(all_of.which)} of {count} subtasks ({all_of.samples} of "
            f"{int(counts.trials.sum())} samples: {', '.join(counts.named(all_of.which))}) keep "
            f"all {len(counts.pairs)} pairs of the ranking of {models} models; chosen "
            f"without a model, they order {in_percent(all_of.held_out)} of its pairs."
        )
    elif models == 1:
        first = "One model has no ranking to keep."
    else:
        first = f"No pair of the {models} models is clearly apart, so there is no ranking to keep."
    alike = "Too few models to say which subtasks rank them alike"
    if pair := items.closest(correlation):
        later, earlier = counts.named(pair)
        alike = (
            f"{earlier} and {later} rank the models most alike (rank correlation "
            f"{correlation[pair]:.2f})"
        )
    if min(models, count) < 2:
        return f"{first} {alike}."
    most, least = counts.named([int(fit.slope.argmax()), int(np.abs(fit.slope).argmin())])
    return f"{first} {alike}; {most} separates them most, {least} least."


STUDIES.register(
    "subtasks",
    Study(
        name="subtasks",
        question="What does each subtask add to score and ranking, and which can be spared?",
        needs="several models, each asked once; one data set with subtasks. With published=true "
        "nothing is asked: the 25 models of the paper's table are studied",
        models=("builtin/grounder", "builtin/grounder-positive-only", "baseline/center",
                "baseline/whole", "baseline/random", "baseline/null"),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob(name="published", default=False,
                 text="true: the published figures of 25 models in place of runs"),
        ),
    ),
)  # fmt: skip
