"""What a judge of answers is worth: right verdicts, leanings, what it chooses, and its price."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import stats
from groundingme.protocols import BOX
from groundingme.report.svg import Span
from groundingme.scale import rulings
from groundingme.scale.rulings import NEITHER, ONE, OTHER, Bools, Pairs, Ruling, Spent, Verdicts
from groundingme.scale.selection import SampleRun
from groundingme.studies.estimates import Codes, Gain, corrected, gain, mean, share

SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Of the pairs that a cheap judge decides, handed over to a dear one."""


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """One judge in figures.

    Attributes:
        ruling: All it said.
        right: Share of the telling pairs that it rules rightly, in both orders.
        undecided: Share of them that it leaves open, or decides by the order.
        first: Share of its verdicts for the answer shown first; 0.5 is fair, NaN without order.
        longer: How much likelier than it should be it takes the longer reasoning, in [-0.5, 0.5].
        box: Likewise a box where the other answer is a rejection.
        score: Share of the samples right after a knockout by this judge.
        gain: Of that on the knockout that the larger cluster wins.
        spent: For the pairs that met in the knockouts.
    """

    ruling: Ruling
    right: Span
    undecided: float
    first: Span
    longer: Span
    box: Span
    score: Span
    gain: Gain
    spent: Spent

    @property
    def name(self) -> str:
        """Of the judge."""
        return self.ruling.name


class Hybrid(msgspec.Struct, frozen=True, kw_only=True):
    """Two judges, of which the dear one is asked where the cheap one is least sure.

    Attributes:
        cheap: Name of the judge that is asked first.
        dear: Name of the other.
        handed: Share of the pairs that met which went to the dear one.
        score: Share of the samples right.
        gain: Of that on the vote.
        spent: By both.
    """

    cheap: str
    dear: str
    handed: float
    score: Span
    gain: Gain
    spent: Spent


def right_after(run: SampleRun, pairs: Pairs, verdicts: Verdicts) -> tuple[Bools, Bools]:
    """Which samples are right after the knockouts, shape `(S,)`, and which pairs met, `(P,)`."""
    index, met = rulings.choose(pairs, verdicts)
    return run.t.right()[np.arange(len(run.t)), index], met


def weigh(run: SampleRun, pairs: Pairs, ruling: Ruling, vote: Bools, where: Codes) -> Worth:
    """The figures of a judge.

    Args:
        run: The answers.
        pairs: Of them.
        ruling: Of the judge.
        vote: Shape `(S,)`: which samples the vote has right.
        where: Shape `(S,)`: of `estimates.images`.
    """
    said, tell, at = ruling.both(), pairs.telling, where[pairs.row]
    longer = run.t.reasoning[pairs.row[:, None], pairs.sides]
    boxed = run.t.outcome[pairs.row[:, None], pairs.sides] == BOX
    chosen, met = right_after(run, pairs, said)
    return Worth(
        ruling=ruling,
        right=share((said == pairs.truth)[tell], at[tell]),
        undecided=float((said[tell] == NEITHER).mean()) if tell.any() else float("nan"),
        first=_first(ruling, at),
        longer=_leaning(said, longer > longer[:, ::-1], pairs, at),
        box=_leaning(said, boxed, pairs, at),
        score=share(chosen, where),
        gain=gain(vote, chosen, where),
        spent=ruling.spent(met),
    )


def weigh_all(run: SampleRun, pairs: Pairs, heard: Sequence[Ruling], where: Codes) -> list[Worth]:
    """The figures of all judges: the vote, then those whose gains on it are tested, by Holm."""
    said, _ = right_after(run, pairs, heard[0].both())
    vote, *others = [weigh(run, pairs, one, said, where) for one in heard]
    gains = corrected({one.name: one.gain for one in others})
    itself = Gain(vote.gain.span, float("nan"))
    return [
        msgspec.structs.replace(vote, gain=itself),
        *(msgspec.structs.replace(one, gain=gains[one.name]) for one in others),
    ]


def _first(ruling: Ruling, at: Codes) -> Span:
    if not ruling.sees_order:
        return Span(float("nan"))
    decided = ruling.winner != NEITHER
    first = ruling.winner == np.array([ONE, OTHER])
    return share(first[decided], np.stack([at, at], axis=1)[decided])


def _leaning(said: Verdicts, has: Bools, pairs: Pairs, at: Codes) -> Span:
    """The feature taken where it is right and where it is wrong: the mean of both, less a half."""
    used, right, took = rulings.leaning(said, has, pairs)
    columns = np.stack([took & right, right, took & ~right, ~right], axis=1).astype(np.float64)
    if not right.any() or right.all():
        return Span(float("nan"))

    def figure(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((sums[:, 0] / sums[:, 1] + sums[:, 2] / sums[:, 3]) / 2 - 0.5)

    ends = stats.bootstrap(columns, at[used], figure)
    return Span(float(figure(columns.sum(axis=0)[None])[0]), ends.low, ends.high)


def hybrids(
    run: SampleRun, pairs: Pairs, cheap: Worth, dear: Worth, vote: Bools, where: Codes
) -> list[Hybrid]:
    """The cheap judge with more and more of its pairs handed over to the dear one.

    A judge without margins hands over what it leaves undecided, or all.
    """
    found: dict[int, Hybrid] = {}
    for part in SHARES:
        doubt = rulings.doubts(cheap.ruling, part)
        verdicts = rulings.handed_over(cheap.ruling.both(), dear.ruling.both(), doubt)
        chosen, met = right_after(run, pairs, verdicts)
        ask = met & doubt
        one, other = cheap.ruling.spent(met), dear.ruling.spent(ask)
        found[int(doubt.sum())] = Hybrid(
            cheap=cheap.name,
            dear=dear.name,
            handed=float(ask.sum() / max(1, met.sum())),
            score=share(chosen, where),
            gain=gain(vote, chosen, where),
            spent=Spent(
                requests=one.requests + other.requests,
                tokens=one.tokens + other.tokens,
                seconds=one.seconds + other.seconds,
                dollars=one.dollars + other.dollars,
            ),
        )
    return list(found.values())


def agreeing(one: Ruling, other: Ruling) -> float:
    """Share of the pairs that both decide on which they agree; NaN where there is none."""
    a, b = one.both(), other.both()
    decided = (a != NEITHER) & (b != NEITHER)
    return float((a == b)[decided].mean()) if decided.any() else float("nan")


def bounds(run: SampleRun, pairs: Pairs, where: Codes) -> tuple[Span, Span]:
    """Scores of any one answer, and of a judge that never errs on these candidates."""
    best = share(right_after(run, pairs, pairs.truth)[0], where)
    return mean(run.t.right().mean(axis=1), where), best


def routed(run: SampleRun, pairs: Pairs, worths: Sequence[Worth], where: Codes) -> list[Hybrid]:
    """The vote, and the best judge that asks less, before the best that asks at all."""
    asking = [one for one in worths if one.spent.requests]
    if not asking:
        return []
    dear = max(asking, key=lambda one: one.score.value)
    vote, _ = right_after(run, pairs, worths[0].ruling.both())
    less = [one for one in worths if one.spent.requests < dear.spent.requests]
    cheap = {one.name: one for one in (worths[0], max(less, key=lambda one: one.score.value))}
    return [row for one in cheap.values() for row in hybrids(run, pairs, one, dear, vote, where)]


def thrifty(mixed: Sequence[Hybrid], most: Worth) -> Hybrid | None:
    """The hybrid that asks least within half a point of a judge; None where none asks less."""
    within = [one for one in mixed if one.score.value >= most.score.value - 0.005]
    least = min(within, key=lambda one: one.spent.requests, default=None)
    return least if least and least.spent.requests < most.spent.requests else None
