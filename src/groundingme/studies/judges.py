"""Which judge of two answers is worth its price, and where a cheap one may hand over to a dear one.

Each sample's distinct answers are paired, and every judge rules on every pair: those that cost
nothing, a second opinion of each model, and a judging model where one is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from groundingme.report.svg import Axis
from groundingme.scale import rulings
from groundingme.scale.rulings import Spent
from groundingme.scale.selection import load_sample_run
from groundingme.studies import STUDIES
from groundingme.studies.conditions import everyone
from groundingme.studies.estimates import images, in_percent, percent, points, signed
from groundingme.studies.figures import dots, up_to
from groundingme.studies.hearing import JUDGE_KNOBS, asked, free, judge_names, second, several
from groundingme.studies.study import Condition, Done, Knob, Lines, Outcome, Setting, Study, Table
from groundingme.studies.worth import Hybrid, Worth, agreeing, bounds, routed, thrifty, weigh_all

_COSTS = ("requests", "tokens", "seconds", "$ per 1,000")


def plan(setting: Setting) -> Sequence[Condition]:
    """N sampled answers of the first model, and one answer of every model as a second opinion."""
    judge_names(setting)
    return [several(setting), *everyone(setting, {"second opinion": setting.dataset})]


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Every judge on every pair, what each is worth, and hybrids of two."""
    run = load_sample_run(done[0].path)
    pairs = rulings.pairs_of(run.t, int(setting.knobs["candidates"]))
    heard = [
        *free(run, pairs),
        *(second(one, run, pairs, setting) for one in done[1:]),
        *asked(setting, done, run, pairs),
    ]
    where = images(list(done[0].condition.dataset))
    worth = weigh_all(run, pairs, heard, where)
    mixed = routed(run, pairs, worth, where)
    any_one, faultless = bounds(run, pairs, where)
    s, none = len(run.t), ["", "", *[""] * len(_COSTS)]
    facts = Table(
        title="Verdicts on pairs of which one answer is right",
        columns=["judge", "right", "undecided", "shown first wins", "for the longer", "for a box"],
        rows=[[one.name, one.right, in_percent(one.undecided), one.first, signed(one.longer),
               signed(one.box)] for one in worth],
        note=f"{int(pairs.telling.sum())} pairs. Undecided: no verdict, or another one when the "
        "order was changed. For the longer, for a box: points by which it takes the longer "
        "reasoning, or a box against a rejection, more often than it should, where right and "
        "wrong answers of that kind weigh the same; 0 is fair.",
    )  # fmt: skip
    prices = Table(
        title="What choosing by a judge gives and costs",
        columns=["judge", "right", "gain on the vote", "p", *_COSTS],
        rows=[["any one answer", any_one, *none],
              *([one.name, one.score, signed(one.gain.span), one.gain.p, *_each(one.spent, s)]
                for one in worth),
              ["one that never errs", faultless, *none]],
        note="Costs of a sample, its answers apart: for the pairs that meet in its knockout, in "
        "both orders. p by Holm over all judges.",
    )  # fmt: skip
    alike = Table(
        title="How often two judges agree where both decide",
        columns=["", *(one.name for one in worth)],
        rows=[[one.name, *(f"{percent(agreeing(one.ruling, other.ruling), 0)} %"
                           for other in worth)] for one in worth],
    )  # fmt: skip
    handing = Table(
        title="A cheap judge that hands over where it is least sure",
        columns=["first", "then", "pairs handed over", "right", "gain on the vote", *_COSTS],
        rows=[[one.cheap, one.dear, in_percent(one.handed), one.score, signed(one.gain.span),
               *_each(one.spent, s)] for one in mixed],
        note="The first row of each two hands over only what the first leaves undecided. Judges "
        "were picked on the samples that they are shown on, which flatters them a little.",
    )  # fmt: skip
    return Outcome(
        finding=_finding(worth, mixed, int(pairs.telling.sum()), s),
        tables=[facts, prices, alike, *([handing] if mixed else [])],
        figures=[
            _curve(worth, mixed, s),
            dots("Right verdicts, and right answers chosen by them",
                 "Verdicts on pairs of which one answer is right; answers of all samples.",
                 {"verdicts": {one.name: one.right for one in worth},
                  "chosen answers": {one.name: one.score for one in worth}}),
        ],
        values={
            "pairs": len(pairs), "telling": int(pairs.telling.sum()),
            **{key: {one.name: getattr(one, key) for one in worth}
               for key in ("right", "undecided", "first", "longer", "box", "score")},
            "gain": {one.name: one.gain.span for one in worth},
            "requests": {one.name: one.spent.requests for one in worth},
            "hybrids": [{"handed": one.handed, "score": one.score, "requests": one.spent.requests}
                        for one in mixed],
        },
    )  # fmt: skip


def _each(spent: Spent, samples: int) -> list[float]:
    """Cells of `_COSTS`."""
    found = (spent.requests, spent.tokens, spent.seconds, 1000 * spent.dollars)
    return [one / max(1, samples) for one in found]


def _finding(worth: Sequence[Worth], mixed: Sequence[Hybrid], telling: int, samples: int) -> str:
    vote, *others = worth
    if not telling or not others:
        return (
            "No sample has two different answers of which just one is right, so no judge can show "
            "what it knows here. More answers, or a higher temperature, make them."
        )
    best = max(worth, key=lambda one: one.right.value)
    told = f"Of {telling} pairs with one right answer, the judge {best.name!r} rules "
    told += f"{percent(best.right.value)} % rightly"
    if best is not vote:
        told += f", the larger cluster {percent(vote.right.value)} %"
    gaining = [one for one in others if one.gain.better]
    if not gaining:
        return f"{told}. Choosing by a judge gains nothing on the vote that these samples show."
    most = max(gaining, key=lambda one: one.gain.span.value)
    each = most.spent.requests / samples
    told += f". Choosing by {most.name!r} gains {signed(most.gain.span)} points on the vote for "
    told += f"{each:.2g} requests a sample" if each else "nothing"
    if not mixed or mixed[0].dear != most.name:
        return f"{told}."
    if least := thrifty(mixed, most):
        told += (
            f"; asked only about the {percent(least.handed, 0)} % of pairs of which "
            f"{least.cheap!r} is least sure, it gives {percent(least.score.value)} % against "
            f"{percent(most.score.value)} % for {least.spent.requests / samples:.2g}"
        )
    else:
        told += "; no hybrid keeps that for fewer"
    return f"{told}."


def _curve(worth: Sequence[Worth], mixed: Sequence[Hybrid], samples: int) -> Lines:
    """Score against requests: the judges as points, the hybrid as a line."""
    series = {one.name: [(one.spent.requests / samples, points(one.score))] for one in worth}
    for one in mixed:
        at = (one.spent.requests / samples, points(one.score))
        series.setdefault(f"{one.cheap}, then {one.dear}", []).append(at)
    spans = [span for found in series.values() for _, span in found]
    low = max(0, 10 * math.floor(min([one.low for one in spans if one.low >= 0], default=0) / 10))
    return Lines(
        title="Right answers against requests to the judge",
        text="Each point a judge that decides the knockout of a sample's answers; the line asks "
        "the second judge about more and more pairs of which the first is least sure.",
        series=series,
        x=up_to(max(x for found in series.values() for x, _ in found),
                "requests to a judge, a sample", room=0.03),
        y=Axis(low=low, high=100, ticks=list(range(int(low), 101, 10)), title="right, %"),
    )  # fmt: skip


STUDIES.register(
    "judges",
    Study(
        name="judges",
        question="Which judge of two answers is worth its price, and when need it be asked?",
        needs="one model, asked N times and once more; each further model gives a second opinion; "
        "with --set judge=MODEL a model that answers a judge's questions, up to 2 requests for "
        "each pair of a sample's answers (not in the estimate of --dry-run)",
        plan=plan,
        reduce=reduce,
        knobs=(Knob("n", 8, "answers sampled of each sample"), *JUDGE_KNOBS),
    ),
)
