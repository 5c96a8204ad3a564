"""Batches of the matcher's training: positives alone, and mixtures in exact ratios."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundingme.errors import JobError
from groundingme.train.grounder import loop, match_training
from groundingme.train.grounder.match import Match
from groundingme.train.grounder.match_training import Desk
from groundingme.train.mixing import Ratio
from groundingme.train.sweep.plan import name_of

BATCH = 64


def mixed(targets: NDArray[np.int64], ratio: Ratio, size: int, seed: int) -> NDArray[np.int64]:
    """Questions of a mixture in the exact ratio.

    Of one seed, a mixture with more negatives has all those of one with fewer, and so for
    positives: mixtures differ in their shares alone.

    Args:
        targets: Of all questions; -1 where nothing matches.
        ratio: Of negatives to positives.
        size: Questions in the mixture.
        seed: Decides which.

    Returns:
        Shape `(size,)`: numbers of questions, each once.

    Raises:
        JobError: There are too few of a kind.
    """
    rng = np.random.default_rng([seed, 7])
    negatives, positives = ratio.counts(size)
    parts = []
    for kind, count, there in (
        ("positives", positives, targets >= 0),
        ("negatives", negatives, targets < 0),
    ):
        pool = rng.permutation(np.flatnonzero(there))
        if len(pool) < count:
            raise JobError(
                f"expected {count} {kind} for a mixture of {size} at {name_of(ratio)}, got "
                f"{len(pool)}; draw more scenes"
            )
        parts.append(pool[:count])
    return np.concatenate(parts)


def epochs(mixture: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """The questions of a mixture as they come up, each once an epoch."""
    rngs = (np.random.default_rng([seed, 8, number]) for number in range(count))
    return np.concatenate([rng.permutation(mixture) for rng in rngs])


def train_base(
    net: Match, desks: list[Desk], path: Path, *, steps: int, say: Callable[[str], None]
) -> None:
    """Trains on the desks in turn; goes on where it was stopped, to the same weights."""

    def batch(number: int) -> dict[str, Tensor]:
        turn, which = divmod(number, len(desks))
        return desks[which].numbered(turn, BATCH)

    _train(net, batch, path, steps=steps, rate=1.5e-3, say=say)


def train_mixture(
    net: Match, desk: Desk, order: NDArray[np.int64], path: Path, say: Callable[[str], None]
) -> None:
    """Trains on questions in an order; goes on where it was stopped, to the same weights."""
    steps = -(-len(order) // BATCH)

    def batch(number: int) -> dict[str, Tensor]:
        return desk.numbered(number, BATCH, order)

    _train(net, batch, path, steps=steps, rate=1e-3, say=say)


def _train(net: Match, batch: Callable[[int], dict[str, Tensor]], path: Path, **how: Any) -> None:
    numbers = itertools.count(loop.steps_done(path))

    def step() -> tuple[Tensor, dict[str, float]]:
        return match_training.loss(net, batch(next(numbers)))

    loop.train(net, step, path, keep=20.0, **how)


def prepared(words: int, shape: dict[str, int], seed: int) -> Match:
    """A fresh matcher; the same seed gives the same weights."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return Match(words, **shape)
