"""Scores of absence: how likely it is, by what a model says, that nothing matches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundingme import selective
from groundingme.report.svg import Span
from groundingme.scale.selection import load_sample_run
from groundingme.stats import Floats
from groundingme.studies import conformal
from groundingme.studies.estimates import Answers, Bools, Codes
from groundingme.studies.study import Done

GREEDY, SAMPLED = "greedy", "sampled"
OWN = "its own decision"


class Score(NamedTuple):
    """A score of absence of one model.

    Attributes:
        kind: `confidence` or `agreement`.
        absent: Shape `(N,)`, higher where nothing seems to match; NaN where there is none.
        greedy: What the model answers by itself.
    """

    kind: str
    absent: Floats
    greedy: Answers

    @property
    def auroc(self) -> float:
        """How well it tells negatives from positives."""
        return float(selective.auroc(self.absent, self.greedy.negative))

    def promises(
        self, n: int, rates: Iterable[float], *, delta: float, draws: int, seed: int
    ) -> conformal.Promised:
        """Calibrations of n images drawn from all of them; see `conformal.promises`."""
        one = self.greedy
        table = conformal.losses(self.absent, one.negative, one.clusters)
        return conformal.promises(table, n, rates, delta=delta, draws=draws, seed=seed)

    def decided(self, threshold: float) -> tuple[Bools, Bools]:
        """What is rejected above a threshold, and what is right then; each of shape `(N,)`.

        Where the model rejects by itself and the score does not, no box is known and the sample is
        wrong.
        """
        said = np.nan_to_num(self.absent, nan=-np.inf) > threshold
        no = self.greedy.negative
        return said, np.where(no, said, self.greedy.right & ~no & ~said)


def scores(runs: Mapping[str, Done]) -> Iterator[Score]:
    """The scores that a model gives.

    Args:
        runs: `GREEDY`, with one answer a sample, and `SAMPLED`, with several, where there is one.
    """
    greedy = Answers(runs[GREEDY])
    said = greedy.result.generations
    sure = [said[row.id].confidence if row.id in said else None for row in greedy.result.samples]
    answered = [row.outcome in ("box", "rejected") for row in greedy.result.scores]
    stated = np.where(answered, np.array(sure, np.float64), np.nan)
    found = [Score("confidence", selective.absence(stated, greedy.rejected), greedy)]
    if SAMPLED in runs:
        outcome = load_sample_run(runs[SAMPLED].path).t.outcome
        found.append(Score("agreement", null_share(outcome), greedy))
    return (one for one in found if not np.isnan(one.absent).all())


def null_share(outcome: NDArray[np.int8]) -> Floats:
    """Share of rejections among the answers of each sample; NaN where nothing was answered.

    Args:
        outcome: Shape `(S, N)`, of `scale.trajectories.Trajectories`.
    """
    nulls, boxes = (outcome == 1).sum(axis=1), (outcome == 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(nulls / (nulls + boxes))


def halves(clusters: Codes, seed: int) -> Bools:
    """Which samples calibrate: those of one half of the images."""
    kinds = np.unique(clusters)
    drawn = np.random.default_rng(seed).permutation(kinds)[: len(kinds) // 2]
    return np.asarray(np.isin(clusters, drawn))


class Decision(NamedTuple):
    """What one model does under one threshold, on the half that did not calibrate.

    Attributes:
        model: Name.
        score: Of absence; `OWN` without one.
        method: How the threshold was found; "" without one.
        threshold: What is above it is rejected.
        false: Share of the true descriptions that is rejected.
        negatives: Share rejected of what nothing matches.
        right: Share right of all.
    """

    model: str
    score: str
    method: str
    threshold: float
    false: Span
    negatives: Span
    right: Span


def decision(
    one: Answers, score: str, method: str, at: float, said: Bools, hits: Bools, where: Bools
) -> Decision:
    """The figures of a decision.

    Args:
        one: What the model answers by itself.
        score: See `Decision`; likewise `method`, and `at`, its threshold.
        method: See there.
        at: See there.
        said: Shape `(N,)`: what is rejected.
        hits: Shape `(N,)`: what is right.
        where: Shape `(N,)`: the samples that count.
    """
    no = one.negative
    return Decision(one.model, score, method, at, one.share(said, where & ~no),
               one.share(said, where & no), one.share(hits, where))  # fmt: skip


def decisions(
    one: Answers, given: Iterable[Score], first: Bools, rate: float, delta: float
) -> Iterator[Decision]:
    """What a model decides by itself, then by each of its scores under every method.

    Args:
        one: What the model answers by itself.
        given: Its scores.
        first: Shape `(N,)`: of `halves`; the others count.
        rate: Of `conformal.threshold`; likewise `delta`.
        delta: See there.
    """
    yield decision(one, OWN, "", math.nan, one.rejected, one.right, ~first)
    for score in given:
        table = conformal.losses(score.absent[first], one.negative[first], one.clusters[first])
        for method in conformal.METHODS:
            at = conformal.threshold(table, method, rate, delta)
            yield decision(one, score.kind, method, at, *score.decided(at), ~first)
