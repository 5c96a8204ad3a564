"""From scores to the paper's table: shares and changes with intervals over images and seeds.

A figure is the mean over seeds. Two things make it uncertain, and its interval holds both. Other
pictures: whole images are drawn again, each with what all seeds answered there (`stats`), and a
share with few hits or misses gets an exact interval. Other seeds: Student's t of the seeds' own
figures; with one seed there is nothing to say of it, and the table says so. The two distances on
either side are joined as the root of the sum of their squares (MOVER: Zou and Donner, Statistics
in Medicine 27, 2008). What image and seed do together is in both, so intervals are rather too wide.

A change is a mixture less the untouched model of the same seed, sample by sample on the same
pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import rejection, stats
from groundingme.errors import JobError
from groundingme.protocols import REJECTED
from groundingme.result import Result
from groundingme.stats import Floats, Interval
from groundingme.taxonomy import L1, REJECTION, SUBTASKS
from groundingme.train.sweep.plan import DOMAINS, UNTOUCHED, Domain

Measure = Callable[[Floats], Floats]

TOTAL = "Total"
POSITIVES = "Positives"
BALANCED = "Balanced score"
FALSE = "False rejections"
SKILL = "Rejection less false rejections"


class Cell(msgspec.Struct, frozen=True):
    """A figure, or a change of one, as fractions.

    Attributes:
        value: Mean over seeds.
        low: Of its 95 % interval.
        high: At least `low`.
        seeds: The figure of each seed.
    """

    value: float
    low: float
    high: float
    seeds: list[float]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table.

    Attributes:
        name: `Positives`, `Rejection`, a category, `Total`, ...
        domain: Of its samples.
        main: Whether it is one of the paper's.
        samples: In the denominator.
        cells: The figure of each model, by ratio, `untouched` first.
        changes: The same less the untouched model, without it.
    """

    name: str
    domain: Domain
    main: bool
    samples: int
    cells: dict[str, Cell]
    changes: dict[str, Cell]


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What all models made of one domain's samples.

    Attributes:
        columns: `untouched`, then the ratios.
        sums: Shape `(C, S, N, 5)`: `rejection.indicators` of each column, seed and sample.
        clusters: Shape `(N,)`: samples of one image share a number.
        l1: Category of each sample.
        l2: Subtask of each sample.
    """

    columns: list[str]
    sums: Floats
    clusters: NDArray[np.int64]
    l1: list[str]
    l2: list[str]


def gather(
    columns: Sequence[str], seeds: Sequence[int], results: Mapping[tuple[str, int], list[Result]]
) -> Answers:
    """The answers of one domain.

    Args:
        columns: `untouched`, then the ratios.
        seeds: Of the models.
        results: Of each column and seed: one a data set of the domain, in the same order.

    Raises:
        JobError: Two models answered different samples.
    """
    first = results[columns[0], seeds[0]]
    asked = [one.scores.ids for one in first]
    for found in results.values():
        if [one.scores.ids for one in found] != asked:
            raise JobError("expected all models to answer the same samples, got others; start anew")
    sums = [[np.concatenate([_indicators(one) for one in results[column, seed]]) for seed in seeds]
            for column in columns]  # fmt: skip
    keys = [(number, key) for number, one in enumerate(first) for key in _images(one)]
    return Answers(
        columns=list(columns),
        sums=np.array(sums),
        # The same picture in two data sets is one picture.
        clusters=stats.cluster_codes(key if key[:7] == "sha256:" else at for at, key in keys),
        l1=[name for one in first for name in one.scores.subtask_l1],
        l2=[name for one in first for name in one.scores.subtask_l2],
    )


def _indicators(result: Result) -> Floats:
    scores = result.scores
    return rejection.indicators(
        scores.negatives, scores.outcome == REJECTED, scores.scored & (scores.ious >= 0.5)
    )


def _images(result: Result) -> list[str]:
    found = []
    for id in result.scores.ids:
        reply = result.generations.get(id)
        found.append(reply.image_digest if reply and reply.image_digest else id)
    return found


# ---- figures with intervals


def total_accuracy(sums: Floats) -> Floats:
    """The share of right answers, boxes and rejections alike; NaN without samples."""
    with np.errstate(all="ignore"):
        return np.asarray((sums[..., 1] + sums[..., 4]) / (sums[..., 0] + sums[..., 3]))


def skill(sums: Floats) -> Floats:
    """What is rejected rightly less what is rejected wrongly; 0 for who rejects at random.

    Source:
        Youden's index, Cancer 3, 1950.
    """
    return rejection.n_accuracy(sums) - rejection.false_rejection_rate(sums)


_SHARES: dict[Measure, tuple[list[int], list[int]]] = {
    rejection.positive_accuracy: ([1], [0]),
    rejection.n_accuracy: ([4], [3]),
    rejection.false_rejection_rate: ([2], [0]),
    total_accuracy: ([1, 4], [0, 3]),
}
"""Measures that are a share of samples: columns of the hits, columns of the samples."""


def row(
    name: str,
    domain: Domain,
    answers: Answers,
    members: NDArray[np.bool_],
    measure: Measure,
    *,
    main: bool = False,
    resamples: int = stats.RESAMPLES,
) -> Row:
    """One figure of all models, and how it changes.

    Args:
        name: Of the row.
        domain: Of the samples.
        answers: Of all models.
        members: Shape `(N,)`: the samples that count.
        measure: From sums of shape `(..., 5)` to figures.
        main: Whether the paper has it.
        resamples: Of the bootstrap.
    """
    sums, clusters = answers.sums[:, :, members], answers.clusters[members]
    c, _, n, k = sums.shape
    # Columns of all models stand side by side, so that resamples are paired.
    wide = sums.mean(axis=1).transpose(1, 0, 2).reshape(n, c * k)
    drawn = measure(
        stats.resampled_sums(wide, clusters, resamples=resamples).reshape(resamples, c, k)
    )
    figures = measure(sums.sum(axis=2))
    means = measure(sums.mean(axis=1).sum(axis=1))
    low, high = stats.percentiles(drawn)
    cells, changes = {}, {}
    least = -1.0 if measure is skill else 0.0
    for at, column in enumerate(answers.columns):
        by_image = _exact(sums[at], clusters, measure) or Interval(float(low[at]), float(high[at]))
        cells[column] = _cell(float(means[at]), by_image, figures[at], least=least)
        if at:
            ends = stats.percentiles(drawn[:, at] - drawn[:, 0])
            by_image = Interval(float(ends[0]), float(ends[1]))
            difference = figures[at] - figures[0]
            changes[column] = _cell(float(means[at] - means[0]), by_image, difference, least=-1.0)
    samples = int(sums[0, 0][:, [0, 3]].sum())
    if measure in _SHARES:
        samples = int(sums[0, 0][:, _SHARES[measure][1]].sum())
    return Row(name=name, domain=domain, main=main, samples=samples, cells=cells, changes=changes)


def _exact(sums: Floats, clusters: NDArray[np.int64], measure: Measure) -> Interval | None:
    """Of a share with so few hits or misses that resampling sees too little; else None."""
    if measure not in _SHARES:
        return None
    hits, there = (sums[..., columns].sum(axis=-1) for columns in _SHARES[measure])
    inside = there[0] > 0
    if not any(stats.needs_exact(one[inside]) for one in hits):
        return None
    seeds = len(sums)
    return stats.exact_interval(hits[:, inside].ravel(), np.tile(clusters[inside], seeds))


def _cell(value: float, by_image: Interval, seeds: Floats, *, least: float) -> Cell:
    """The mean with both uncertainties; the interval stays in [`least`, 1]."""
    around = spread(seeds)
    low = math.hypot(max(0.0, value - by_image.low), around)
    high = math.hypot(max(0.0, by_image.high - value), around)
    return Cell(value, max(least, value - low), min(1.0, value + high), seeds.tolist())


def spread(seeds: Floats, level: float = stats.LEVEL) -> float:
    """Half the width of Student's interval for the mean over seeds; 0 for one seed.

    Example:
        >>> round(spread(np.array([0.90, 0.91, 0.92])), 4)
        0.0248
    """
    count = len(seeds)
    if count < 2:
        return 0.0
    return t_quantile(count - 1, level) * float(seeds.std(ddof=1)) / math.sqrt(count)


def t_quantile(freedom: int, level: float = stats.LEVEL) -> float:
    """How far from 0 Student's t lies with a chance of `level`, on both sides together.

    Example:
        >>> round(t_quantile(2), 3)
        4.303
    """
    x = stats.beta_quantile(1 - level, freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x)


# ---- the table


def rows(domain: Domain, answers: Answers, *, resamples: int = stats.RESAMPLES) -> list[Row]:
    """All rows of a domain: the paper's first."""
    negatives = answers.sums[0, 0, :, 3] > 0
    everything, both = np.ones_like(negatives), len(set(negatives.tolist()))
    l1, l2 = np.array(answers.l1), np.array(answers.l2)
    positives, rejected = rejection.positive_accuracy, rejection.n_accuracy
    plan: list[tuple[str, NDArray[np.bool_], Measure, bool]] = []
    if domain == "in-domain":
        plan += [(POSITIVES, ~negatives, positives, True), (REJECTION, negatives, rejected, True)]
    else:
        for name in L1:
            measure = rejected if name == REJECTION else positives
            plan.append((name, l1 == name, measure, True))
        if not any((l1 == name).any() for name in L1):
            plan.append((REJECTION, negatives, rejected, True))
        plan += [(TOTAL, everything, total_accuracy, True),
                 (POSITIVES, ~negatives, positives, False)]  # fmt: skip
    kinds = [one.l2 for one in SUBTASKS if one.l1 == REJECTION]
    plan += [(f"{REJECTION}/{kind}", negatives & (l1 == REJECTION) & (l2 == kind), rejected, False)
             for kind in kinds]  # fmt: skip
    plan += [
        (FALSE, ~negatives, rejection.false_rejection_rate, False),
        (SKILL, everything, skill, False),
        (BALANCED, everything, rejection.balanced_score, False),
    ]
    return [
        row(name, domain, answers, members, measure, main=main, resamples=resamples)
        for name, members, measure, main in plan
        if members.any() and not (name in (BALANCED, SKILL) and both < 2)
    ]


def find(found: Sequence[Row], domain: Domain, name: str) -> Row | None:
    """A row by its name; None where the data have no such samples."""
    return next((one for one in found if (one.domain, one.name) == (domain, name)), None)


class Reduced(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of a sweep.

    Attributes:
        columns: `untouched`, then the ratios.
        seeds: Of the models.
        rows: Of both domains.
    """

    columns: list[str]
    seeds: list[int]
    rows: list[Row]

    def find(self, domain: Domain, name: str) -> Row | None:
        """A row by its name; None where the data have no such samples."""
        return find(self.rows, domain, name)

    @property
    def ratios(self) -> list[str]:
        """The columns but `untouched`."""
        return [one for one in self.columns if one != UNTOUCHED]


def reduce(
    columns: Sequence[str],
    seeds: Sequence[int],
    results: Mapping[Domain, Mapping[tuple[str, int], list[Result]]],
    *,
    resamples: int = stats.RESAMPLES,
) -> Reduced:
    """All figures, from the results of each domain, column and seed."""
    found: list[Row] = []
    for domain in DOMAINS:
        if domain in results:
            answers = gather(columns, seeds, results[domain])
            found += rows(domain, answers, resamples=resamples)
    return Reduced(columns=list(columns), seeds=list(seeds), rows=found)
