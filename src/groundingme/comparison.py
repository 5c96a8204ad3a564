"""Runs side by side: who is better, where, and whether the data can say so.

Runs are compared sample by sample, so they must have answered the same samples. Intervals are
bootstrap ones that draw whole images again, exact ones where a cell is small; a difference counts
only where McNemar's exact test, swapped image by image, stands after Holm's correction over its
family (all pairs on the whole data set, on the categories, on the subtasks) and its interval does
not reach 0. Ranks follow from the same tests, so a table never contradicts a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import mistakes, rejection, selective, slices, stats
from groundingme.alignment import Entry, image_keys
from groundingme.protocols import REJECTED
from groundingme.schema import Sample
from groundingme.stats import Floats

Bools = NDArray[np.bool_]

ALL = "all"
ALPHA = 0.05
MATCHED = "Discriminative"
"""The category whose descriptions are like those of Rejection."""

_AUROC_RESAMPLES = 2000
"""Every one of them sums over all samples, not over images that look alike."""


class Estimate(msgspec.Struct, frozen=True):
    """A figure and its 95 % interval; NaN where it is undefined.

    Attributes:
        value: In [0, 1], or [-1, 1] for MCC.
        low: NaN where there is no interval. So is `high`.
        high: At least `low`.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One run in the table.

    Attributes:
        entry: Index into the runs as they were given.
        label: Name of the run, unlike all others.
        rank: Best and worst rank that the data allow it.
        accuracy: Acc@0.5 by group: `all`, each category, each subtask.
        rejection: The measures of `rejection.MEASURES`, then `AUROC` and `AUROC matched`, `AUPR`,
            `FPR@95TPR`; empty where the data set has one kind of samples only.
        calibration: `AURC`, `Brier` and `ECE` of "the box is right", and
            `Acc at 5 % false rejections`, which has no interval; NaN without confidences.
        mistakes: Samples of each kind of `mistakes.KINDS`.
        efforts: Seconds and tokens, of all samples and by category.
    """

    entry: int
    label: str
    rank: tuple[int, int]
    accuracy: dict[str, Estimate]
    rejection: dict[str, Estimate]
    calibration: dict[str, Estimate]
    mistakes: dict[str, int]
    efforts: list[slices.Effort]


class Contrast(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs on one group of samples.

    Attributes:
        a: Index of the one run, as given.
        b: Index of the other.
        group: `all`, a category, `L1/L2`, or a slice's title.
        level: 0 for all, 1 for L-1, 2 for L-2, 3 for another slice.
        samples: In the group.
        difference: Acc@0.5 of A less that of B, in [-1, 1].
        low: Of its 95 % interval; NaN for a slice. So is `high`.
        high: At least `low`.
        only_a: Samples that A alone has right.
        only_b: Samples that B alone has right.
        p: Of the exact test, by itself.
        adjusted: The same after Holm's correction over its family.
    """

    a: int
    b: int
    group: str
    level: int
    samples: int
    difference: float
    low: float
    high: float
    only_a: int
    only_b: int
    p: float
    adjusted: float = 1.0

    @property
    def better(self) -> int | None:
        """Index of the run that the data show to be better, or None."""
        if not self.adjusted <= ALPHA or self.low <= 0 <= self.high:
            return None
        return self.a if self.difference > 0 else self.b


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """A sample that some runs have right and others wrong.

    Attributes:
        index: Of the sample.
        id: Its id.
        right: For each run, in the order given.
    """

    index: int
    id: str
    right: tuple[bool, ...]


class Comparison:
    """What `compare` found.

    Attributes:
        entries: The runs, cut to the samples that all of them answered, in the order given.
        samples: Those samples.
        clusters: Shape `(N,)`: which samples share an image.
        right: Shape `(K, N)`: whether each run has each sample right.
        mistakes: What became of every sample, one a run, in the order given.
        standings: One a run, the highest accuracy first.
        contrasts: Every pair on all samples, each category and each subtask.
        disagreements: Every pair on every slice of `slices.slices_of`, the clearest first. Chosen
            after the fact, so leads, not findings; `adjusted` is over all of them.
        flips: Samples that some have right and others wrong, those first on which the runs are
            most evenly split.
        notes: Lines that the reader should not miss.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        notes: Sequence[str] = (),
        resamples: int = stats.RESAMPLES,
        seed: int = 0,
        confident: bool = True,
    ) -> None:
        # Where confidences are left aside their figures are NaN, and most of the time is saved.
        self._confident = confident
        self.entries = list(entries)
        self.samples: list[Sample] = list(entries[0].samples)
        self.notes = list(notes)
        self.clusters = stats.cluster_codes(image_keys(entries))
        self.right = np.stack([one.scores.ious >= 0.5 for one in entries])
        self._scored = np.stack([one.scores.scored for one in entries])
        self.right &= self._scored
        self._groups = list(_groups(self.samples))
        self._draw(resamples, seed)
        self.contrasts = list(self._contrasts())
        others = mistakes.other_boxes(self.samples)
        self.mistakes = [mistakes.classify(one.scores, others) for one in entries]
        self.standings = self._standings(resamples, seed)
        self.disagreements = self._disagreements()
        self.flips = self._flips()

    def _draw(self, resamples: int, seed: int) -> None:
        """Column sums of all resamples: the same resamples for every run, so they are paired."""
        columns = []
        for right, scored, one in zip(self.right, self._scored, self.entries, strict=True):
            for group in self._groups:
                columns += [right & group.members, scored & group.members]
            columns += list(_rejection_columns(one, right).T)
        drawn = stats.resampled_sums(
            np.stack(columns, axis=1), self.clusters, resamples=resamples, seed=seed
        )
        width = 2 * len(self._groups)
        parts = drawn.reshape(resamples, len(self.entries), -1).transpose(1, 0, 2)
        with np.errstate(all="ignore"):
            # Shape (K, B, G), and (K, B, 5).
            self._shares = parts[:, :, 0:width:2] / parts[:, :, 1:width:2]
        self._rejections = parts[:, :, width:]

    def _contrasts(self) -> Iterator[Contrast]:
        found: list[Contrast] = []
        for a, b in combinations(range(len(self.entries)), 2):
            low, high = stats.percentiles(self._shares[a] - self._shares[b])
            for at, group in enumerate(self._groups):
                ends = float(low[at]), float(high[at])
                found.append(self._contrast(a, b, group, _LEVELS[group.dimension], ends))
        for level in sorted(set(_LEVELS.values())):
            family = [one for one in found if one.level == level]
            yield from _corrected(family)

    def _contrast(
        self, a: int, b: int, group: slices.Slice, level: int, ends: tuple[float, float]
    ) -> Contrast:
        rows = group.members & self._scored[a] & self._scored[b]
        gained = self.right[a][rows].astype(np.int64) - self.right[b][rows]
        return Contrast(
            a=a,
            b=b,
            group=group.title,
            level=level,
            samples=int(rows.sum()),
            difference=self._accuracy(a, group.members) - self._accuracy(b, group.members),
            low=ends[0],
            high=ends[1],
            only_a=int((gained > 0).sum()),
            only_b=int((gained < 0).sum()),
            p=stats.paired_test(gained, self.clusters[rows]),
        )

    def _accuracy(self, at: int, members: Bools) -> float:
        counted = int((self._scored[at] & members).sum())
        return int((self.right[at] & members).sum()) / counted if counted else math.nan

    def _disagreements(self) -> list[Contrast]:
        none = math.nan, math.nan
        found = [
            self._contrast(a, b, group, _LEVELS.get(group.dimension, 3), none)
            for a, b in combinations(range(len(self.entries)), 2)
            for group in slices.slices_of(self.samples)
        ]
        return sorted(_corrected(found), key=lambda one: (one.p, -abs(one.difference)))

    def _flips(self) -> list[Flip]:
        split = self.right.sum(axis=0)
        patterns: dict[bytes, int] = {}
        keyed = []
        for at in np.flatnonzero((split > 0) & (split < len(self.entries))).tolist():
            pattern = self.right[:, at].tobytes()
            # The first of each pattern, then the second of each, so that a short list has all.
            turn = patterns[pattern] = patterns.get(pattern, -1) + 1
            uneven = abs(2 * int(split[at]) - len(self.entries))
            keyed.append((uneven, turn, at))
        return [
            Flip(index=at, id=self.samples[at].id, right=tuple(self.right[:, at].tolist()))
            for _, _, at in sorted(keyed)
        ]

    def _standings(self, resamples: int, seed: int) -> list[Standing]:
        better = np.zeros((len(self.entries),) * 2, dtype=bool)
        for one in self.contrasts:
            if one.group == ALL and one.better is not None:
                better[one.better, one.a + one.b - one.better] = True
        ranks = stats.rank_ranges(better).tolist()
        order = sorted(range(len(ranks)), key=lambda at: -self._accuracy(at, self._everything))
        few = min(resamples, _AUROC_RESAMPLES)
        self._ranked = self._rank_confidences(few, seed)
        self._calibrated = self._calibrate(few, seed)
        return [self._standing(at, ranks[at]) for at in order]

    @property
    def _everything(self) -> Bools:
        return np.ones(len(self.samples), dtype=bool)

    def _standing(self, at: int, rank: Sequence[int]) -> Standing:
        entry = self.entries[at]
        low, high = stats.percentiles(self._shares[at])
        accuracy = {}
        for column, group in enumerate(self._groups):
            rows = group.members & self._scored[at]
            hits = self.right[at][rows]
            ends = stats.Interval(float(low[column]), float(high[column]))
            if group.dimension == "L-2" or stats.needs_exact(hits):
                ends = stats.exact_interval(hits, self.clusters[rows])
            accuracy[group.name] = Estimate(self._accuracy(at, group.members), *ends)
        return Standing(
            entry=at,
            label=entry.label,
            rank=(rank[0], rank[1]),
            accuracy=accuracy,
            rejection=self._rejection(at),
            calibration=self._calibrated[at],
            mistakes=self.mistakes[at].counts(),
            efforts=slices.efforts(entry.scores, entry.generations),
        )

    def _rejection(self, at: int) -> dict[str, Estimate]:
        """Every measure of rejection with its interval; none for samples of one kind."""
        entry = self.entries[at]
        negatives = entry.scores.negatives
        if negatives.all() or not negatives.any():
            return {}
        columns = _rejection_columns(entry, self.right[at])
        found = {}
        for name, measure in rejection.MEASURES.items():
            ends = _ends(measure(self._rejections[at]))
            if name in rejection.SHARES:
                whole, part = (rejection.COLUMNS.index(one) for one in rejection.SHARES[name])
                rows = columns[:, whole] > 0
                if stats.needs_exact(columns[rows, part]):
                    ends = stats.exact_interval(columns[rows, part], self.clusters[rows])
            found[name] = Estimate(float(measure(columns.sum(axis=0))), *ends)
        lost = found["false rejections"]
        found["T-acc"] = Estimate(1 - lost.value, 1 - lost.high, 1 - lost.low)
        return found | self._ranked[at]

    def _rank_confidences(self, resamples: int, seed: int) -> list[dict[str, Estimate]]:
        """How well each run's confidence tells negatives from positives."""
        negatives = [one.scores.negatives for one in self.entries]
        absent = [
            selective.absence(confidences(one), one.scores.outcome == REJECTED)
            for one in self.entries
        ]
        matched = np.array([one.subtask_l1 == MATCHED for one in self.samples], dtype=bool)
        found: list[dict[str, Estimate]] = [{} for _ in self.entries]
        for rules, rows in (
            (_RANKING, self._everything),
            (_MATCHED_RANKING, negatives[0] | matched),
        ):
            drawn: list[dict[str, list[Floats]]] = [{name: [] for name in rules} for _ in found]
            known = [at for at in range(len(found)) if not np.isnan(absent[at][rows]).all()]
            known = known if self._confident else []
            weights = stats.resampled_weights(self.clusters[rows], resamples=resamples, seed=seed)
            for part in weights if known else ():
                for at in known:
                    for name, rule in rules.items():
                        drawn[at][name].append(rule(absent[at][rows], negatives[at][rows], part))
            for at in range(len(found)):
                for name, rule in rules.items():
                    found[at][name] = Estimate(math.nan)
                    if at in known:
                        value = float(rule(absent[at][rows], negatives[at][rows]))
                        ends = _ends(np.concatenate(drawn[at][name]))
                        found[at][name] = Estimate(value, *ends)
        return found

    def _calibrate(self, resamples: int, seed: int) -> list[dict[str, Estimate]]:
        """What each run's confidence is worth; no interval where no resample differs."""
        stated = [_confidence_columns(one) for one in self.entries]
        known = [at for at, columns in enumerate(stated) if not np.isnan(columns["AURC"]).all()]
        known = known if self._confident else []
        drawn: list[dict[str, list[Floats]]] = [{name: [] for name in _CALIBRATION} for _ in stated]
        weights = stats.resampled_weights(self.clusters, resamples=resamples, seed=seed)
        for part in weights if known else ():
            for at in known:
                for name, rule in _CALIBRATION.items():
                    drawn[at][name].append(rule(stated[at][name], self.right[at], part))
        found = []
        for at, entry in enumerate(self.entries):
            figures = {
                name: Estimate(
                    float(rule(stated[at][name], self.right[at])),
                    *(_ends(np.concatenate(drawn[at][name])) if at in known else ()),
                )
                for name, rule in _CALIBRATION.items()
            }
            absent = selective.absence(stated[at]["AURC"], entry.scores.outcome == REJECTED)
            point = selective.accuracy_at_false_rejection(
                absent, entry.scores.negatives, self.right[at]
            )
            found.append(figures | {"Acc at 5 % false rejections": Estimate(point.accuracy)})
        return found

    def as_dict(self) -> dict[str, Any]:
        """All of it as one JSON-ready object; undefined figures are None."""
        labels = [one.label for one in self.entries]

        def contrast(one: Contrast) -> dict[str, Any]:
            better = None if one.better is None else labels[one.better]
            return {**msgspec.to_builtins(one), "a": labels[one.a], "b": labels[one.b],
                    "better": better}  # fmt: skip

        runs = [
            {**msgspec.to_builtins(one), "run": _place(self.entries[one.entry].path)}
            for one in self.standings
        ]
        found: dict[str, Any] = _without_nan(
            {
                "data": self.entries[0].run.data_name,
                "protocol": self.entries[0].scores.protocol,
                "samples": len(self.samples),
                "images": int(self.clusters.max()) + 1,
                "runs": runs,
                "contrasts": [contrast(one) for one in self.contrasts],
                "disagreements": [contrast(one) for one in self.disagreements],
                "flips": [
                    {"id": one.id, "right": dict(zip(labels, one.right, strict=True))}
                    for one in self.flips
                ],
                "notes": self.notes,
            }
        )
        return found


_RANKING = {
    "AUROC": selective.auroc,
    "AUPR": selective.average_precision,
    "FPR@95TPR": selective.fpr_at_tpr,
}
_CALIBRATION = {
    "AURC": selective.aurc,
    "Brier": selective.brier,
    "ECE": selective.calibration_error,
}
_MATCHED_RANKING = {"AUROC matched": selective.auroc}

_LEVELS = {ALL: 0, "L-1": 1, "L-2": 2}


def _groups(samples: Sequence[Sample]) -> Iterator[slices.Slice]:
    yield slices.Slice(ALL, ALL, np.ones(len(samples), dtype=bool))
    yield from slices.subtask_slices(
        [one.subtask_l1 for one in samples], [one.subtask_l2 for one in samples]
    )


def _corrected(family: Sequence[Contrast]) -> list[Contrast]:
    adjusted = stats.holm([one.p for one in family]).tolist()
    return [
        msgspec.structs.replace(one, adjusted=value)
        for one, value in zip(family, adjusted, strict=True)
    ]


def _ends(drawn: Floats) -> stats.Interval:
    """Of a percentile interval; NaN where all resamples agree, which says nothing of the spread."""
    low, high = stats.percentiles(drawn)
    if low == high:
        return stats.Interval(math.nan, math.nan)
    return stats.Interval(float(low), float(high))


def _rejection_columns(entry: Entry, right: Bools) -> Floats:
    scores = entry.scores
    columns = rejection.indicators(scores.negatives, scores.outcome == REJECTED, right)
    return columns * scores.scored[:, None]


def confidences(entry: Entry) -> Floats:
    """What a run states of its answers.

    Returns:
        Shape `(N,)`, in [0, 1]; NaN for a sample whose answer came without.
    """
    answered = entry.scores.outcome <= REJECTED
    known = [
        one.confidence if (one := entry.generations.get(id)) else None for id in entry.scores.ids
    ]
    numbers = np.array([np.nan if one is None else one for one in known], dtype=np.float64)
    return np.asarray(np.where(answered, np.clip(numbers, 0, 1), np.nan))


def _confidence_columns(entry: Entry) -> dict[str, Floats]:
    """What each figure of `_CALIBRATION` reads: of all answers, or of boxes alone."""
    sure = confidences(entry)
    boxed = np.where(entry.scores.outcome == REJECTED, np.nan, sure)
    return {"AURC": sure, "Brier": boxed, "ECE": boxed}


def _place(path: Path | None) -> str | None:
    return str(path) if path else None


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return value
