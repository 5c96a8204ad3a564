"""Planning a comparison: what differences a data set can show, group by group."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from groundingme import power, slices, stats, taxonomy
from groundingme.alignment import Entry, image_keys
from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.schema import Sample


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Samples that are to be compared on.

    Attributes:
        name: `all`, a category, or `L1/L2`.
        samples: How many.
        images: Of how many images, where that is known; else as many as samples.
        independent: How many independent samples they count like.
        accuracy: Mean of the two accuracies, assumed or measured, in (0, 1).
        disagreement: Share of samples that exactly one of two models has right.
    """

    name: str
    samples: int
    images: int
    independent: float
    accuracy: float
    disagreement: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a group can show.

    Attributes:
        group: The samples.
        paired: Smallest difference that two models on the same samples show, in [0, 1]; NaN where
            none would.
        unpaired: The same for two sets of samples of this size, such as a published figure.
        needed_paired: Independent samples that the wanted difference needs; None where none was
            named, or where it exceeds the disagreement.
        needed_unpaired: The same, in each of two sets.
    """

    group: Group
    paired: float
    unpaired: float
    needed_paired: int | None = None
    needed_unpaired: int | None = None


def plan(
    groups: Sequence[Group],
    *,
    difference: float | None = None,
    wanted: float = 0.8,
    alpha: float = 0.05,
) -> list[Plan]:
    """What each group can show.

    Args:
        groups: From `published`, `of_dataset` or `of_runs`.
        difference: To show, in (0, 1]; None for the smallest alone.
        wanted: Power, in (0, 1).
        alpha: Of two-sided tests.
    """
    found = []
    for one in groups:
        needed: list[int | None] = [None, None]
        if difference is not None and difference <= one.disagreement:
            needed[0] = power.samples_for_paired(
                difference, one.disagreement, power=wanted, alpha=alpha
            )
        if difference is not None and difference / 2 <= min(one.accuracy, 1 - one.accuracy):
            needed[1] = power.samples_for_unpaired(
                difference, one.accuracy, power=wanted, alpha=alpha
            )
        paired = unpaired = math.nan
        if one.independent >= 1 and one.disagreement > 0:
            paired = power.smallest_paired(
                one.independent, one.disagreement, power=wanted, alpha=alpha
            )
        if one.independent >= 1 and 0 < one.accuracy < 1:
            unpaired = power.smallest_unpaired(
                one.independent, one.accuracy, power=wanted, alpha=alpha
            )
        found.append(
            Plan(
                group=one,
                paired=paired,
                unpaired=unpaired,
                needed_paired=needed[0],
                needed_unpaired=needed[1],
            )
        )
    return found


def published(*, accuracy: float = 0.5, disagreement: float = 0.25) -> list[Group]:
    """The published benchmark: 1,005 samples, taken as independent."""
    rows = [("all", sum(one.samples for one in taxonomy.SUBTASKS))]
    for l1 in taxonomy.L1:
        subtasks = [one for one in taxonomy.SUBTASKS if one.l1 == l1]
        rows.append((l1, sum(one.samples for one in subtasks)))
        rows += [(one.name, one.samples) for one in subtasks]
    return [
        Group(name=name, samples=n, images=n, independent=float(n), accuracy=accuracy,
              disagreement=disagreement)
        for name, n in rows
    ]  # fmt: skip


def of_dataset(
    dataset: Dataset,
    *,
    accuracy: float = 0.5,
    disagreement: float = 0.25,
    correlation: float = 0.2,
) -> list[Group]:
    """A data set, by its subtasks and images.

    Args:
        dataset: Images with the same name are one image.
        accuracy: Assumed.
        disagreement: Assumed.
        correlation: Assumed of two samples of one image.
    """
    names = [one.image.name if one.image else f"sample {one.id}" for one in dataset]
    images = stats.cluster_codes(names)
    found = []
    for one in _groups(dataset):
        count = int(one.members.sum())
        distinct = len(np.unique(images[one.members]))
        found.append(
            Group(
                name=one.name,
                samples=count,
                images=distinct,
                independent=count / power.design_effect(count, distinct, correlation),
                accuracy=accuracy,
                disagreement=disagreement,
            )
        )
    return found


def of_runs(entries: Sequence[Entry]) -> list[Group]:
    """The samples of two aligned runs, with everything measured on them.

    Raises:
        UsageError: They are not two.
    """
    if len(entries) != 2:
        raise UsageError(f"expected two runs to measure a disagreement on, got {len(entries)}")
    samples = entries[0].samples
    clusters = stats.cluster_codes(image_keys(entries))
    a, b = (one.scores.ious >= 0.5 for one in entries)
    gained = a.astype(np.int64) - b
    found = []
    for one in _groups(samples):
        rows = one.members
        found.append(
            Group(
                name=one.name,
                samples=int(rows.sum()),
                images=len(np.unique(clusters[rows])),
                independent=stats.effective_size(gained[rows], clusters[rows]),
                accuracy=float((a[rows].mean() + b[rows].mean()) / 2),
                disagreement=float(np.abs(gained[rows]).mean()),
            )
        )
    return found


def _groups(samples: Sequence[Sample] | Dataset) -> list[slices.Slice]:
    """Everything, then each category with its subtasks."""
    everything = slices.Slice("all", "all", np.ones(len(samples), dtype=bool))
    l1, l2 = [one.subtask_l1 for one in samples], [one.subtask_l2 for one in samples]
    found = slices.subtask_slices(l1, l2)
    parents = [one.name for one in found if one.dimension == "L-1"]
    found.sort(key=lambda one: parents.index(one.name.partition("/")[0]))
    return [everything, *found]
