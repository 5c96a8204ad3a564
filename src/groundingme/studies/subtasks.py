"""What does each subtask add? Scores and rankings without it, and the fewest that keep them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from groundingme.report import papertables
from groundingme.report.svg import Axis, Span
from groundingme.stats import Floats
from groundingme.studies import STUDIES, items, subsets
from groundingme.studies.counts import Counts, counted, published
from groundingme.studies.estimates import Bools, in_percent
from groundingme.studies.figures import lines
from groundingme.studies.study import (
    Condition,
    Done,
    Knob,
    Lines,
    Outcome,
    Setting,
    Study,
    Table,
    everyone,
)

LEAST = (1.0, 0.95, 0.9)
"""Shares of the pairs of models that a subset is to keep."""


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model once; none where the published figures are studied."""
    return [] if setting.knobs["published"] else everyone(setting)


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Subsets, leave-one-out, item response and correlation of one table of counts."""
    from_paper = bool(setting.knobs["published"])
    counts = published() if from_paper else counted(done)
    hits, trials, pairs = counts.hits, counts.trials, counts.pairs
    masks = subsets.subsets(len(trials), setting.seed)
    shares = subsets.kept(subsets.scores(hits, trials, masks), pairs)
    correlation = items.rank_correlation(hits / trials)
    fit = items.item_response(hits, trials)
    spared = subsets.nested(hits, trials, pairs)
    chosen = [subsets.choose(hits, trials, masks, pairs, least) for least in LEAST if len(pairs)]
    notes = [
        "A ranking is kept in the pairs of models that "
        + ("differ in the total." if from_paper else "the paired test tells apart.")
    ]
    if len(counts.models) < 8:
        notes.append(
            f"With {len(counts.models)} models, what holds of models (correlation, separation, "
            "smallest subset) is about these models alone."
        )
    return Outcome(
        finding=_finding(counts, chosen, correlation, fit),
        subject=f"Published figures of {len(counts.models)} models on GroundingME "
        f"({papertables.SOURCE}); nothing was asked." if from_paper else "",
        tables=[
            _added(counts),
            _separation(counts, fit, correlation),
            Table(title="The smallest subsets that keep the ranking",
                  columns=["pairs kept, at least", "subtasks", "samples", "pairs kept",
                           "pairs with a model that it was not chosen on", "which"],
                  rows=[[f"{100 * one.least:g} %", len(one.which), one.samples,
                         in_percent(one.kept), in_percent(one.held_out),
                         ", ".join(_names(counts, one))]
                        for one in chosen],
                  note="Of several as small, the one with the fewest samples."),
            Table(title="Subtasks spared one after another",
                  columns=["left out", "subtasks left", "samples left", "pairs kept"],
                  rows=_nested_rows(counts, spared)),
            _matrix(counts, correlation),
        ],
        figures=[_figure(masks, shares, spared)] if len(pairs) else [],
        values={
            "smallest": {f"{one.least:g}": _names(counts, one) for one in chosen},
            "slope": dict(zip(counts.subtasks, fit.slope.tolist(), strict=True)),
            "ability": dict(zip(counts.models, fit.ability.tolist(), strict=True)),
            "spared": [counts.subtasks[at] for at, _ in spared],
            "pairs": len(pairs),
        },
        notes=notes,
    )  # fmt: skip


def _added(counts: Counts) -> Table:
    hits, trials = counts.hits, counts.trials
    count = len(trials)
    whole = ~np.eye(count, dtype=bool) if count > 1 else np.ones((1, 1), bool)
    without = subsets.kept(subsets.scores(hits, trials, whole), counts.pairs)
    alone = subsets.kept(subsets.scores(hits, trials, np.eye(count, dtype=bool)), counts.pairs)
    rows = []
    for at, name in enumerate(counts.subtasks):
        most = max(range(len(counts.models)), key=lambda m: abs(counts.changes[at][m].value or 0))
        rows.append([
            name, int(trials[at]), in_percent(float((hits[:, at] / trials[at]).mean())),
            counts.changes[at][most], counts.models[most],
            in_percent(float(without[at])), in_percent(float(alone[at])),
        ])  # fmt: skip
    return Table(
        title="What each subtask adds",
        columns=["subtask", "samples", "mean right", "left out: largest change of a score", "of",
                 "left out: pairs kept", "alone: pairs kept"],
        rows=rows,
    )  # fmt: skip


def _separation(counts: Counts, fit: items.Items, correlation: Floats) -> Table:
    signal = items.signal(counts.hits, counts.trials)
    rows = []
    for at, name in enumerate(counts.subtasks):
        others = [n for n in range(len(signal)) if n != at and not math.isnan(correlation[at, n])]
        near = max(others, key=lambda n: correlation[at, n], default=None)
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


def _names(counts: Counts, choice: subsets.Choice) -> list[str]:
    return [counts.subtasks[at] for at in choice.which]


def _nested_rows(counts: Counts, spared: Sequence[tuple[int, float]]) -> list[list[object]]:
    left, samples, rows = len(counts.subtasks), int(counts.trials.sum()), []
    for at, share in spared:
        left, samples = left - 1, samples - int(counts.trials[at])
        rows.append([counts.subtasks[at], left, samples, in_percent(share)])
    return rows


def _matrix(counts: Counts, correlation: Floats) -> Table:
    numbers = [str(at) for at in range(1, len(counts.subtasks) + 1)]
    return Table(
        title="Rank correlation of the subtasks over the models",
        columns=["subtask", *numbers],
        rows=[
            [f"{at} {name}", *("–" if math.isnan(v) else f"{v:.2f}" for v in correlation[at - 1])]
            for at, name in enumerate(counts.subtasks, 1)
        ],
        note="Near 1: models that fail in the one fail in the other. It takes four models, and "
        "says little below ten.",
    )


def _figure(masks: Bools, shares: Floats, spared: Sequence[tuple[int, float]]) -> Lines:
    best, drawn, count = {}, {}, masks.shape[1]
    for size, of in subsets.by_size(masks, shares).items():
        best[size] = Span(float(of.max()))
        low, middle, high = (float(q) for q in np.quantile(of, (0.05, 0.5, 0.95)))
        drawn[size] = Span(middle, low, high)
    steps = {count - 1 - at: Span(one) for at, (_, one) in enumerate(spared)}
    low = min(float(one) for one in shares)
    floor = 20 * int(5 * low)
    ticks = tuple(range(1, count + 1)) if count <= 12 else (1, count // 2, count)
    series = {"the best subset of that size": best,
              "spared one after another": dict(sorted(steps.items())),
              "all subsets: median, 5 to 95 %": drawn}  # fmt: skip
    return lines(
        "How much of the ranking fewer subtasks keep",
        "Pairs of models in the order of the whole data set, against the number of subtasks.",
        {name: line for name, line in series.items() if line},
        Axis(low=0.5, high=count + 0.5, ticks=ticks, title="subtasks"),
        Axis(low=floor, high=100, ticks=range(floor, 101, 20 if floor < 60 else 10),
             title="pairs kept, %"),
    )  # fmt: skip


def _finding(
    counts: Counts,
    chosen: Sequence[subsets.Choice],
    correlation: Floats,
    fit: items.Items,
) -> str:
    count = len(counts.subtasks)
    if not chosen:
        first = (
            "One model has no ranking to keep." if len(counts.models) == 1
            else f"No pair of the {len(counts.models)} models is clearly apart, so there is no "
            "ranking to keep."
        )  # fmt: skip
    else:
        all_of = chosen[0]
        first = (
            f"{len(all_of.which)} of {count} subtasks ({all_of.samples} of "
            f"{int(counts.trials.sum())} samples: {', '.join(_names(counts, all_of))}) keep all "
            f"{len(counts.pairs)} pairs of the ranking of {len(counts.models)} models; chosen "
            f"without a model, they order {in_percent(all_of.held_out)} of its pairs."
        )
    upper = [(a, b) for a in range(count) for b in range(a) if not math.isnan(correlation[a, b])]
    alike = "Too few models to say which subtasks rank them alike"
    if upper:
        a, b = max(upper, key=lambda pair: correlation[pair])
        alike = (
            f"{counts.subtasks[b]} and {counts.subtasks[a]} rank the models most alike (rank "
            f"correlation {correlation[a, b]:.2f})"
        )
    if len(counts.models) < 2 or count < 2:
        return f"{first} {alike}."
    most, least = int(np.argmax(fit.slope)), int(np.argmin(np.abs(fit.slope)))
    return (
        f"{first} {alike}; {counts.subtasks[most]} separates them most, "
        f"{counts.subtasks[least]} least."
    )


STUDIES.register(
    "subtasks",
    Study(
        name="subtasks",
        question="What does each subtask add to score and ranking, and which can be spared?",
        needs="several models, each asked once; one data set with subtasks. With published=true "
        "nothing is asked: the 25 models of the paper's table are studied",
        models=("builtin/grounder", "builtin/grounder-positive-only", "baseline/center",
                "baseline/whole", "baseline/random", "baseline/null"),
        data=("scenes:seed=11,n=240",),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob(name="published", default=False,
                 text="true: the published figures of 25 models in place of runs"),
        ),
    ),
)  # fmt: skip
