"""Groups of samples that are alike in one respect: subtask, sizes, length, crowd.

A *slice* is a name and the samples in it. What it takes to answer them, in seconds and tokens, is
here too, by category.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import taxonomy
from groundingme.protocols import Scores
from groundingme.schema import Generation, Sample
from groundingme.stats import Floats

Bools = NDArray[np.bool_]

SIZES = ("small", "medium", "large")
SIZE_EDGES = (128.0, 256.0)
"""Square root of a target's area in pixels, at which Ref-L4 parts its size bins."""

_PARTS = 4


class Slice(NamedTuple):
    """Some samples of a data set.

    Attributes:
        dimension: In which respect they are alike, such as `description length`.
        name: Such as `9 to 14 words`.
        members: Shape `(N,)`.
    """

    dimension: str
    name: str
    members: Bools

    @property
    def title(self) -> str:
        """Name and dimension in one: subtasks, and `all`, go by their name alone."""
        by_name = self.dimension in ("all", "L-1", "L-2")
        return self.name if by_name else f"{self.dimension} {self.name}"


def size_bins(targets: ArrayLike) -> NDArray[np.int64]:
    """Ref-L4's size bin of each target.

    Args:
        targets: Shape `(N, 4)`, xyxy pixels; NaN where there is none.

    Returns:
        Shape `(N,)`, index into `SIZES`: the square root of the area is below 128, from 128 to 256
        with both ends, or above 256; -1 where there is no target.

    Source:
        Ref-L4, arXiv 2406.16866, and its published scorer for the ends.

    Example:
        >>> size_bins([[0, 0, 100, 100], [0, 0, 128, 128], [0, 0, 300, 300]]).tolist()
        [0, 1, 2]
    """
    side = target_sides(targets)
    low, high = SIZE_EDGES
    bins = np.where(side < low, 0, np.where(side <= high, 1, 2))
    return np.asarray(np.where(np.isnan(side), -1, bins), dtype=np.int64)


def target_sides(targets: ArrayLike) -> Floats:
    """Square root of each target's area, in pixels; shape `(N,)`, NaN where there is none."""
    boxes = np.asarray(targets, dtype=np.float64).reshape(-1, 4)
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.asarray(np.sqrt(sides.prod(axis=1)))


def quantile_slices(
    dimension: str, values: ArrayLike, unit: str, *, parts: int = _PARTS
) -> list[Slice]:
    """Slices of about as many samples each, cut at the data set's own quantiles.

    Args:
        dimension: What the values are.
        values: Shape `(N,)`; NaN belongs to no slice.
        unit: For the names, such as `words`.
        parts: Most slices; fewer where values repeat. With one value there is nothing to slice.

    Example:
        >>> [one.name for one in quantile_slices("length", [3, 4, 9, 20], "words", parts=2)]
        ['3 to 4 words', '9 to 20 words']
    """
    column = np.asarray(values, dtype=np.float64)
    known = column[~np.isnan(column)]
    if not len(known):
        return []
    inner = np.quantile(known, np.linspace(0, 1, parts + 1)[1:-1], method="inverted_cdf")
    at = np.searchsorted(np.unique(inner), column, side="left")
    found = []
    for code in range(parts):
        members = (at == code) & ~np.isnan(column)
        if members.any():
            low, high = column[members].min(), column[members].max()
            span = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
            found.append(Slice(dimension, f"{span} {unit}", members))
    return found if len(found) > 1 else []


def subtask_slices(l1: Sequence[str], l2: Sequence[str]) -> list[Slice]:
    """The categories and subtasks that occur, in the taxonomy's order, then unknown ones."""
    pairs = list(zip(l1, l2, strict=True))
    known = dict.fromkeys((*((row.l1, row.l2) for row in taxonomy.SUBTASKS), *pairs))
    there = [pair for pair in known if pair[0] and pair in set(pairs)]
    parents = np.asarray(l1, dtype=object)
    found = [
        Slice("L-1", name, np.asarray(parents == name, dtype=bool))
        for name in dict.fromkeys(pair[0] for pair in there)
    ]
    for pair in there:
        if pair[1]:
            members = np.array([one == pair for one in pairs], dtype=bool)
            found.append(Slice("L-2", f"{pair[0]}/{pair[1]}", members))
    return found


def slices_of(samples: Sequence[Sample]) -> list[Slice]:
    """Every slice that the data set allows, dimension by dimension.

    `L-1` and `L-2`; `target` by Ref-L4's size bins; `image` by the square root of its area,
    `description` by its words and `same class` by the number of things of the target's kind (where
    `Sample.extra` has `same_class`), each cut at its quartiles.
    """
    found = subtask_slices([one.subtask_l1 for one in samples], [one.subtask_l2 for one in samples])
    targets = np.array([one.target or (np.nan,) * 4 for one in samples], dtype=np.float64)
    bins = size_bins(targets)
    spans = ("under 128 px", "128 to 256 px", "over 256 px")
    sized = [
        Slice("target", f"{SIZES[code]} ({spans[code]})", bins == code)
        for code in range(len(SIZES))
        if (bins == code).any()
    ]
    found += sized if len(sized) > 1 else []
    for dimension, unit, measure in _MEASURED:
        values = np.array([measure(one) for one in samples], dtype=np.float64)
        found += quantile_slices(dimension, values, unit)
    return found


def _image_side(sample: Sample) -> float:
    area = sample.width * sample.height
    return float(np.sqrt(area)) if area > 0 else np.nan


def _same_class(sample: Sample) -> float:
    count = sample.extra.get("same_class")
    return float(count) if isinstance(count, int) else np.nan


_MEASURED: tuple[tuple[str, str, Callable[[Sample], float]], ...] = (
    ("image", "px", _image_side),
    ("description", "words", lambda one: float(len(one.description.split()))),
    ("same class", "things", _same_class),
)


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """What answering took. Medians and means over the samples with a reply.

    Attributes:
        name: A category, or `all`.
        replies: How many there are.
        seconds: Median latency; NaN without a reply.
        seconds_p95: What 95 % of the replies stayed within.
        prompt_tokens: Mean; NaN where the server did not count. So are the others.
        completion_tokens: Mean, reasoning included.
        reasoning_tokens: Mean.
    """

    name: str
    replies: int
    seconds: float
    seconds_p95: float
    prompt_tokens: float
    completion_tokens: float
    reasoning_tokens: float


def efforts(scores: Scores, generations: Mapping[str, Generation]) -> list[Effort]:
    """Latency and tokens of all samples and of each category.

    Args:
        scores: Whose ids and categories count.
        generations: By sample id; failures and absent ones are left out.
    """
    groups: dict[str, list[Generation]] = {"all": []}
    groups |= {name: [] for name in taxonomy.L1 if name in set(scores.subtask_l1)}
    for id, l1 in zip(scores.ids, scores.subtask_l1, strict=True):
        one = generations.get(id)
        if one and not one.failure:
            groups["all"].append(one)
            if l1:
                groups.setdefault(l1, []).append(one)
    return [_effort(name, replies) for name, replies in groups.items()]


def _effort(name: str, replies: Sequence[Generation]) -> Effort:
    latency = np.array([one.latency for one in replies])
    return Effort(
        name=name,
        replies=len(replies),
        seconds=float(np.median(latency)) if len(replies) else np.nan,
        seconds_p95=float(np.quantile(latency, 0.95)) if len(replies) else np.nan,
        prompt_tokens=_known_mean([one.prompt_tokens for one in replies]),
        completion_tokens=_known_mean([one.completion_tokens for one in replies]),
        reasoning_tokens=_known_mean([one.reasoning_tokens for one in replies]),
    )


def _known_mean(counts: Sequence[int | None]) -> float:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known else np.nan
