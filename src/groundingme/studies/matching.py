"""Data sets made comparable: subsets of the same make-up, and differences between them."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from groundingme import slices
from groundingme.datasets import Dataset
from groundingme.report.svg import Span
from groundingme.schema import Sample
from groundingme.studies.estimates import Gain
from groundingme.studies.truth import targets
from groundingme.taxonomy import REJECTION


def strata(datasets: Sequence[Dataset], *, subtasks: bool, sizes: bool) -> list[list[Hashable]]:
    """What each sample is alike in, one list a data set.

    Always whether something matches. Where every data set names subtasks, the subtask, if asked
    for; of positives the size bin of the target, if asked for (see `slices.size_bins`).
    """
    named = subtasks and all(any(one.subtask_l1 for one in data) for data in datasets)
    found: list[list[Hashable]] = []
    for data in datasets:
        bins = slices.size_bins(targets(data.samples)) if sizes else np.zeros(len(data), int)
        found.append([
            (_negative(one), (one.subtask_l1, one.subtask_l2) if named else (),
             -1 if _negative(one) else int(size))
            for one, size in zip(data, bins, strict=True)
        ])  # fmt: skip
    return found


def _negative(sample: Sample) -> bool:
    return sample.target is None or sample.subtask_l1 == REJECTION


def matched(groups: Sequence[Sequence[Hashable]], seed: int) -> list[NDArray[np.bool_]]:
    """Subsets with as many samples of every stratum in each data set, as large as they can be.

    Args:
        groups: Stratum of every sample, one list a data set.
        seed: Of which samples are drawn where a data set has more than are needed.

    Returns:
        Shape `(N,)` each; all of them have equally many true values, none where no stratum is in
        every data set.
    """
    counts = [Counter(one) for one in groups]
    least = {key: min(one[key] for one in counts) for key in counts[0]}
    found = []
    for keys in groups:
        members: dict[Hashable, list[int]] = defaultdict(list)
        for at, key in enumerate(keys):
            members[key].append(at)
        mask = np.zeros(len(keys), bool)
        rng = random.Random(seed)
        for key, number in least.items():
            mask[rng.sample(members[key], number)] = True
        found.append(mask)
    return found


def gap(before: Span, after: Span) -> Gain:
    """How far a share of other samples lies from one, from the two 95 % intervals.

    The interval is Newcombe's, which stays sound where a share is 0 or 1; p is the normal test
    with the half of it that points to 0.

    Source:
        Newcombe, Statistics in Medicine 17, 1998, method 10.

    Example:
        >>> one = gap(Span(0.8, 0.7, 0.9), Span(0.5, 0.4, 0.6))
        >>> [round(end, 4) for end in one.span]
        [-0.3, -0.4414, -0.1586]
    """
    difference = after.value - before.value
    down = math.hypot(after.value - after.low, before.high - before.value)
    up = math.hypot(after.high - after.value, before.value - before.low)
    toward = up if difference < 0 else down
    if math.isnan(toward) or not toward:
        return Gain(Span(difference, difference - down, difference + up), 1.0)
    p = math.erfc(abs(difference) / (toward / 1.959964) / math.sqrt(2))
    return Gain(Span(difference, difference - down, difference + up), p)
