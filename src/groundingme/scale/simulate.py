"""Trajectories of a model that never was, whose truth is known: a test bench for selectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundingme.protocols import BOX, REJECTED, UNPARSED
from groundingme.scale.trajectories import Trajectories

SIDE = 1000.0


def simulate(
    samples: int = 1005,
    n: int = 16,
    *,
    success: float = 0.6,
    spread: float = 4.0,
    correlation: float = 0.5,
    null: float = 0.05,
    unparsed: float = 0.01,
    negatives: float = 0.2,
    jitter: float = 0.05,
    confident: float = 0.0,
    seed: int = 0,
) -> Trajectories:
    """Answers to made-up samples on pictures of 1000 x 1000 pixels.

    Args:
        samples: S.
        n: Trajectories of each.
        success: Mean chance of a right trajectory, in (0, 1).
        spread: How alike samples are: chances are Beta(success * spread, (1 - success) * spread).
        correlation: Share of wrong boxes that fall on the sample's one tempting wrong object
            rather than anywhere, in [0, 1].
        null: Chance that a wrong trajectory on a positive rejects.
        unparsed: Chance that a trajectory says nothing readable.
        negatives: Share of samples where nothing matches.
        jitter: Standard deviation of the edges of boxes, as a share of the side.
        confident: How far the mean confidence of right answers lies above that of wrong ones.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    shape = (samples, n)
    chance = rng.beta(success * spread, (1 - success) * spread, samples)
    nothing = rng.random(samples) < negatives
    right = rng.random(shape) < chance[:, None]
    target, tempting = _boxes(rng, (samples,)), _boxes(rng, (samples,))
    anywhere = _boxes(rng, shape)
    tempted = rng.random(shape) < correlation
    boxes = np.where(tempted[..., None], tempting[:, None], anywhere)
    boxes = np.where((right & ~nothing[:, None])[..., None], target[:, None], boxes)
    side = boxes[..., 2:] - boxes[..., :2]
    boxes = boxes + rng.normal(0, jitter, (*shape, 4)) * np.tile(side, 2)
    rejects = np.where(nothing[:, None], right, ~right & (rng.random(shape) < null))
    outcome = np.where(rejects, REJECTED, BOX)
    outcome = np.where(rng.random(shape) < unparsed, UNPARSED, outcome).astype(np.int8)
    boxes[outcome != BOX] = np.nan
    target[nothing] = np.nan
    sure = np.clip(0.5 + confident * (right - 0.5) + rng.normal(0, 0.15, shape), 0, 1)
    tokens = np.rint(rng.lognormal(6, 0.5, shape))
    return Trajectories(
        ids=[f"{row:05}" for row in range(samples)],
        subtask_l1=["Rejection" if one else "Discriminative" for one in nothing],
        subtask_l2=[""] * samples,
        negatives=nothing,
        targets=target,
        outcome=outcome,
        boxes=boxes,
        confidence=sure,
        reasoning=tokens - 20,
        tokens=tokens,
    )


def _boxes(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    corner = rng.uniform(0, 0.8, (*shape, 2)) * SIDE
    return np.concatenate([corner, corner + rng.uniform(0.05, 0.2, (*shape, 2)) * SIDE], axis=-1)
