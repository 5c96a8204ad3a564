"""Which judge of two answers is worth its price, and where a cheap one may hand over to a dear one.

Each sample's distinct answers are paired, and every judge rules on every pair: those that cost
nothing, a second opinion of each model, and a judging model where one is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from groundingme import stats
from groundingme.errors import UsageError
from groundingme.report.svg import Axis, Span
from groundingme.scale import rulings
from groundingme.scale.rulings import Spent
from groundingme.scale.selection import load_sample_run
from groundingme.studies import STUDIES
from groundingme.studies.estimates import images, percent, points
from groundingme.studies.hearing import JUDGE_KNOBS, asked, free, judge_names, second, warmth
from groundingme.studies.study import (
    Condition,
    Done,
    Dots,
    Knob,
    Lines,
    Outcome,
    Setting,
    Study,
    Table,
)
from groundingme.studies.worth import (
    Hybrid,
    Worth,
    agreeing,
    attainable,
    hybrids,
    mean_score,
    pick_cheap,
    right_after,
    weigh,
)


def plan(setting: Setting) -> Sequence[Condition]:
    """N sampled answers of the first model, and one answer of every model as a second opinion."""
    n = int(setting.knobs["n"])
    if n < 2:
        raise UsageError(f"expected n of 2 or more, got {n}; one answer leaves nothing to judge")
    judge_names(setting)
    first = setting.models[0]
    return [
        Condition(name=f"{n} answers", model=first, dataset=setting.dataset, n=n,
                  settings={"temperature": warmth(setting)}),
        *(Condition(name="second opinion", model=one, dataset=setting.dataset)
          for one in setting.models),
    ]  # fmt: skip


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
    vote, _ = right_after(run, pairs, heard[0].both())
    worth = [weigh(run, pairs, one, vote, where) for one in heard]
    p = [math.nan, *stats.holm([one.gain.p for one in worth[1:]]).tolist()]
    paid = [one for one in worth if one.spent.requests]
    dear = max(paid, key=lambda one: one.score.value) if paid else None
    cheap = {one.name: one for one in (worth[0], pick_cheap(worth, dear))} if dear else {}
    mixed = [
        row for one in cheap.values() if dear
        for row in hybrids(run, pairs, one, dear, vote, where)
    ]  # fmt: skip
    s = len(run.t)
    facts = Table(
        title="Verdicts on pairs of which one answer is right",
        columns=["judge", "right", "undecided", "shown first wins", "for the longer", "for a box"],
        rows=[[one.name, one.right, f"{percent(one.undecided)} %", one.first, _signed(one.longer),
               _signed(one.box)] for one in worth],
        note=f"{int(pairs.telling.sum())} pairs. Undecided: no verdict, or another one when the "
        "order was changed. For the longer, for a box: points by which it takes the longer "
        "reasoning, or a box against a rejection, more often than it should, where right and "
        "wrong answers of that kind weigh the same; 0 is fair.",
    )  # fmt: skip
    prices = Table(
        title="What choosing by a judge gives and costs",
        columns=["judge", "right", "gain on the vote", "p", *_COSTS],
        rows=[["any one answer", mean_score(run, where), "", "", *[""] * len(_COSTS)],
              *([one.name, one.score, _signed(one.gain.span), at, *_each(one.spent, s)]
                for one, at in zip(worth, p, strict=True)),
              ["one that never errs", attainable(run, pairs, where), "", "", *[""] * len(_COSTS)]],
        note="Costs of a sample, its answers apart: for the pairs that meet in its knockout, in "
        "both orders. p by Holm over all judges.",
    )  # fmt: skip
    alike = Table(
        title="How often two judges agree where both decide",
        columns=["", *(one.name for one in worth)],
        rows=[[one.name, *(f"{percent(agreeing(one.ruling, other.ruling), 0)} %"
                           for other in worth)] for one in worth],
    )  # fmt: skip
    routed = Table(
        title="A cheap judge that hands over where it is least sure",
        columns=["first", "then", "pairs handed over", "right", "gain on the vote", *_COSTS],
        rows=[[one.cheap, one.dear, f"{percent(one.handed)} %", one.score, _signed(one.gain.span),
               *_each(one.spent, s)] for one in mixed],
        note="The first row of each two hands over only what the first leaves undecided. Judges "
        "were picked on the samples that they are shown on, which flatters them a little.",
    )  # fmt: skip
    return Outcome(
        finding=_finding(worth, p, dear, mixed, int(pairs.telling.sum()), s),
        tables=[facts, prices, alike, *([routed] if mixed else [])],
        figures=[_curve(worth, mixed, s), _dots(worth)],
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


_COSTS = ("requests", "tokens", "seconds", "$ per 1,000")


def _each(spent: Spent, samples: int) -> list[float]:
    """Cells of `_COSTS`."""
    found = (spent.requests, spent.tokens, spent.seconds, 1000 * spent.dollars)
    return [one / max(1, samples) for one in found]


def _signed(one: Span) -> str:
    """A difference in points, with its interval."""
    if math.isnan(one.value):
        return "–"
    ends = f" ({100 * one.low:+.1f} to {100 * one.high:+.1f})" if not math.isnan(one.low) else ""
    return f"{100 * one.value:+.1f}{ends}"


def _finding(
    worth: Sequence[Worth], p: Sequence[float], dear: Worth | None, mixed: Sequence[Hybrid],
    telling: int, samples: int,
) -> str:  # fmt: skip
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
    gaining = [
        one for one, at in zip(others, p[1:], strict=True)
        if at <= 0.05 and one.gain.span.low > 0
    ]  # fmt: skip
    if not gaining:
        return f"{told}. Choosing by a judge gains nothing on the vote that these samples show."
    most = max(gaining, key=lambda one: one.gain.span.value)
    each = most.spent.requests / samples
    told += f". Choosing by {most.name!r} gains {_signed(most.gain.span)} points on the vote for "
    told += f"{each:.2g} requests a sample" if each else "nothing"
    if mixed and dear is most:
        within = [one for one in mixed if one.score.value >= most.score.value - 0.005]
        least = min(within, key=lambda one: one.spent.requests, default=None)
        if least and least.spent.requests < most.spent.requests:
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
    most = max([x for found in series.values() for x, _ in found])
    step = 10 ** math.floor(math.log10(most)) if most else 1.0
    high = step * math.ceil(most / step) if most else 1.0
    return Lines(
        title="Right answers against requests to the judge",
        text="Each point a judge that decides the knockout of a sample's answers; the line asks "
        "the second judge about more and more pairs of which the first is least sure.",
        series=series,
        x=Axis(low=-0.03 * high, high=1.03 * high, ticks=[high * one / 4 for one in range(5)],
               labels=[f"{high * one / 4:.3g}" for one in range(5)],
               title="requests to a judge, a sample"),
        y=Axis(low=low, high=100, ticks=list(range(int(low), 101, 10)), title="right, %"),
    )  # fmt: skip


def _dots(worth: Sequence[Worth]) -> Dots:
    """Verdicts and the score that they lead to."""
    return Dots(
        title="Right verdicts, and right answers chosen by them",
        text="Verdicts on pairs of which one answer is right; answers of all samples.",
        rows=[one.name for one in worth],
        series={"verdicts": [points(one.right) for one in worth],
                "chosen answers": [points(one.score) for one in worth]},
        x=Axis(low=0, high=100, ticks=(0, 20, 40, 60, 80, 100), title="right, %"),
    )  # fmt: skip


STUDIES.register(
    "judges",
    Study(
        name="judges",
        question="Which judge of two answers is worth its price, and when need it be asked?",
        needs="one model, asked N times and once more; each further model gives a second opinion; "
        "with --set judge=MODEL a model that answers a judge's questions, up to 2 requests for "
        "each pair of a sample's answers (not in the estimate of --dry-run)",
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes:seed=11,n=240",),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob("n", 8, "answers sampled of each sample"),
            *JUDGE_KNOBS,
        ),
    ),
)
