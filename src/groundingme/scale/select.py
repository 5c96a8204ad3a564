"""Choose one answer of N: a function each, all on stored trajectories and without a model.

A selector takes `Trajectories` and a source of chance and gives a `Choice`. Selectors that ask a
judge are in `judged`. What could not be read or failed is never chosen where anything else is
there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.protocols import BOX
from groundingme.scale.trajectories import (
    Trajectories,
    agreement,
    answered,
    clusters,
    correct,
    sizes,
)

MOST_REPRESENTATIVES = 5
"""Clusters that a judge is shown at most."""


class Choice(msgspec.Struct, frozen=True, eq=False):
    """One answer to each of S samples.

    Attributes:
        outcome: Shape `(S,)`, index into `protocols.OUTCOMES`.
        boxes: Shape `(S, 4)`, xyxy pixels; NaN unless the outcome is box.
        index: Shape `(S,)`: the trajectory that it is; -1 for a box put together from several.
    """

    outcome: NDArray[np.int8]
    boxes: NDArray[np.float64]
    index: NDArray[np.intp]

    def right(self, t: Trajectories, threshold: float = 0.5) -> NDArray[np.bool_]:
        """Shape `(S,)`: whether each answer is right."""
        return correct(self.outcome, self.boxes, t.targets, t.negatives, threshold)


Selector: TypeAlias = Callable[[Trajectories, np.random.Generator], Choice]


def pick(t: Trajectories, index: NDArray[np.intp]) -> Choice:
    """The trajectories with those indices, shape `(S,)`."""
    rows = np.arange(len(t))
    return Choice(t.outcome[rows, index], t.boxes[rows, index], index)


def first(t: Trajectories, rng: np.random.Generator) -> Choice:
    """The first trajectory, whatever it says."""
    return pick(t, np.zeros(len(t), dtype=np.intp))


def random(t: Trajectories, rng: np.random.Generator) -> Choice:
    """Any trajectory, whatever it says."""
    return pick(t, rng.integers(0, t.n, len(t)).astype(np.intp))


def majority(t: Trajectories, rng: np.random.Generator) -> Choice:
    """The leader of the largest cluster, of equal ones the earlier; all rejections are one."""
    label = clusters(t)
    return pick(t, sizes(label).argmax(axis=1))


def medoid(t: Trajectories, rng: np.random.Generator) -> Choice:
    """The trajectory with the most IoU to all others; two rejections agree wholly."""
    return pick(t, np.where(answered(t), agreement(t).sum(axis=2), -1.0).argmax(axis=1))


def median(t: Trajectories, rng: np.random.Generator) -> Choice:
    """The coordinate-wise median of the largest cluster, or a rejection where that is one."""
    label = clusters(t)
    leader = sizes(label).argmax(axis=1)
    chosen = pick(t, leader)
    rows = np.flatnonzero(chosen.outcome == BOX)
    inside = label[rows] == leader[rows, None]
    boxes = chosen.boxes.copy()
    boxes[rows] = np.nanmedian(np.where(inside[..., None], t.boxes[rows], np.nan), axis=1)
    index = chosen.index.copy()
    index[rows] = -1
    return Choice(chosen.outcome, boxes, index)


def confidence(t: Trajectories, rng: np.random.Generator) -> Choice:
    """The cluster with the most confidence in total, by its most confident member.

    Without any confidence it is the majority; where only some have one, the others count with the
    mean of the sample.
    """
    label = clusters(t)
    known = np.isfinite(t.confidence)
    total = np.where(known, t.confidence, 0.0).sum(axis=1)
    mean = np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), 1.0)
    weights = np.where(known, t.confidence, mean[:, None])
    leader = sizes(label, weights).argmax(axis=1)
    inside = (label == leader[:, None]) & known
    best = np.where(inside, t.confidence, -1.0).argmax(axis=1)
    return pick(t, np.where(inside.any(axis=1), best, leader))


def longest(t: Trajectories, rng: np.random.Generator) -> Choice:
    """The answer with the longest reasoning: a control."""
    return pick(t, np.where(answered(t), np.nan_to_num(t.reasoning), -1.0).argmax(axis=1))


def shortest(t: Trajectories, rng: np.random.Generator) -> Choice:
    """The answer with the shortest reasoning: a control."""
    length = np.where(answered(t), np.nan_to_num(t.reasoning), np.inf)
    return pick(t, length.argmin(axis=1))


SELECTORS: dict[str, Selector] = {
    "first": first,
    "random": random,
    "majority": majority,
    "medoid": medoid,
    "median": median,
    "confidence": confidence,
    "longest": longest,
    "shortest": shortest,
}
"""All that need no judge, by name."""


def mean_of_n(t: Trajectories, threshold: float = 0.5) -> NDArray[np.float64]:
    """The expected score of one trajectory: shape `(S,)`, in [0, 1]."""
    return np.asarray(t.right(threshold).mean(axis=1))


def pass_at(t: Trajectories, k: int, threshold: float = 0.5) -> NDArray[np.float64]:
    """How likely at least one of K trajectories is right: what the best possible judge would get.

    The unbiased estimate from all N of Chen et al. 2021 (arXiv 2107.03374, section 2.1).

    Args:
        t: Answers.
        k: In 1 to N.
        threshold: Least IoU of a right box.

    Returns:
        Shape `(S,)`, in [0, 1].

    Raises:
        ValueError: K is not in 1 to N.
    """
    if not 1 <= k <= t.n:
        raise ValueError(f"expected k in 1 to {t.n}, got {k}")
    none = [math.comb(t.n - c, k) / math.comb(t.n, k) for c in range(t.n + 1)]
    return np.asarray(1.0 - np.array(none)[t.right(threshold).sum(axis=1)])


def representatives(t: Trajectories, most: int = MOST_REPRESENTATIVES) -> list[list[int]]:
    """The leaders of each sample's largest clusters, the largest first: what a judge need see."""
    size = sizes(clusters(t))
    order = np.argsort(-size, axis=1, kind="stable")[:, :most]
    return [[k for k in row if size[s, k] > 0] for s, row in enumerate(order.tolist())]
