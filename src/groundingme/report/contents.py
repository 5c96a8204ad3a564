"""What a report is made of: aligned runs, their comparison, and the samples with their pictures."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.alignment import Entry, align
from groundingme.comparison import Comparison, Standing, confidences
from groundingme.datasets import Dataset
from groundingme.evaluation import load_run_data, score
from groundingme.mistakes import Mistakes
from groundingme.protocols import BOX
from groundingme.report.marks import Mark
from groundingme.report.sampled import Sampled, sampled_runs
from groundingme.schema import Sample
from groundingme.stats import Floats
from groundingme.store import RunFolder

PICTURED = 6
"""Most runs that a chart or a picture draws; tables have all of them."""


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the sections of a report read.

    Attributes:
        comparison: Of one run or more, on the samples that all of them were asked.
        marks: One a run, in the order given.
        notes: Lines that the reader should not miss.
        lead: A sentence of the caller's own for the summary, or "".
        sampled: The runs that hold several trajectories of each sample.
    """

    comparison: Comparison
    marks: list[Mark]
    notes: list[str]
    lead: str = ""
    sampled: list[Sampled] = []

    @property
    def entries(self) -> list[Entry]:
        """The runs, in the order given."""
        return self.comparison.entries

    @property
    def samples(self) -> list[Sample]:
        """What was asked, with images where they are to be had."""
        return self.comparison.samples

    @property
    def mistakes(self) -> list[Mistakes]:
        """What became of every sample, one a run."""
        return self.comparison.mistakes

    @property
    def right(self) -> NDArray[np.bool_]:
        """Shape `(K, N)`."""
        return self.comparison.right

    @property
    def negatives(self) -> NDArray[np.bool_]:
        """Shape `(N,)`: whether nothing matches."""
        return self.entries[0].scores.negatives

    @property
    def standings(self) -> list[Standing]:
        """The runs, the highest accuracy first."""
        return self.comparison.standings

    @property
    def images(self) -> int:
        """How many images the samples show."""
        return int(self.comparison.clusters.max()) + 1

    @property
    def charted(self) -> list[Mark]:
        """The runs that charts draw: the best, in the order given."""
        best = {one.entry for one in self.standings[:PICTURED]}
        return [mark for mark in self.marks if mark.at in best]


def gather(
    entries: Sequence[Entry],
    *,
    dataset: Dataset | None = None,
    lead: str = "",
    resamples: int = 10_000,
) -> Contents:
    """Aligns runs, compares them, and finds their pictures.

    Args:
        entries: Runs, scored; one or more.
        dataset: Where the pictures are; None looks where the runs say that their data are.
        lead: A sentence of the caller's own for the summary.
        resamples: Of the bootstrap.

    Raises:
        UsageError: The runs share no sample, or asked different things.
    """
    runs, notes = align(entries) if len(entries) > 1 else (list(entries), [])
    pictured, missing = _pictured(runs, dataset)
    runs = [msgspec.structs.replace(one, samples=pictured) for one in runs]
    comparison = Comparison(runs, resamples=resamples)
    sampled = sampled_runs(runs, pictured)
    return Contents(
        comparison=comparison,
        marks=[Mark(at, one.label) for at, one in enumerate(runs)],
        notes=[*notes, *missing, *map(_first_alone, sampled), *_run_notes(runs)],
        lead=lead,
        sampled=sampled,
    )


def boxed_confidences(entry: Entry) -> Floats:
    """Shape `(N,)`: what a run states of each box that it gives; NaN for everything else."""
    sure = confidences(entry)
    return np.where(entry.scores.outcome == BOX, sure, np.nan)


def _pictured(runs: Sequence[Entry], dataset: Dataset | None) -> tuple[list[Sample], list[str]]:
    """The common samples with images and further columns, where the data set is to be had."""
    samples = list(runs[0].samples)
    if any(one.image for one in samples):
        return samples, []
    why = ""
    for run in runs if dataset is None else ():
        if run.path is None:
            continue
        found, why = load_run_data(RunFolder.open(run.path))
        if not why:
            dataset = found
            break
    if dataset is None:
        return samples, [why or "no pictures: the runs do not say where their data are"]
    known = {one.id: one for one in dataset}
    strangers = 0
    for at, sample in enumerate(samples):
        other = known.get(sample.id)
        if other is not None and _question(other) == _question(sample):
            samples[at] = other
        else:
            strangers += 1
    if strangers:
        return samples, [
            f"{strangers} of {len(samples)} samples have no picture: {dataset.source} asks "
            "something else under their ids, or lacks them"
        ]
    return samples, []


def _question(sample: Sample) -> tuple[object, ...]:
    return sample.description, sample.target


def _first_alone(one: Sampled) -> str:
    return (
        f"{one.mark.label} holds {one.run.t.n} trajectories of each sample; all of them are under "
        "Trajectories, and everything else here is of the first of each"
    )


def _run_notes(entries: Sequence[Entry]) -> list[str]:
    """What scoring each run again has to say of it."""
    found = []
    for entry in entries:
        if entry.path is None:
            continue
        result = score(entry.path, protocol=entry.scores.protocol)
        found += [f"{entry.label}: {one}" for one in (result.difference, *result.notes) if one]
    return found
