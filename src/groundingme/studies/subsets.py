"""Which subtasks a ranking of models needs: scores of subsets, and the order that they keep.

All here works on counts (see `counts`): hits `[M, K]` of M models in K subtasks, and trials `[K]`.
Pairs `[P, 2]` are what a subset has to keep: indices of the better and of the worse model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme.report.svg import Span
from groundingme.stats import Floats
from groundingme.studies.estimates import Bools, ninety

Pairs = NDArray[np.int64]

EXHAUSTIVE = 13
"""Most subtasks of which all subsets are looked at; of more, 8,191 are drawn."""
_TIE = 1e-9


def subsets(count: int, seed: int = 0) -> Bools:
    """Subsets of `count` subtasks but the empty one, shape `(S, count)`; the whole comes last.

    All of them up to `EXHAUSTIVE` subtasks; else those of one, those without one, and drawn ones.
    """
    if count <= EXHAUSTIVE:
        numbers = np.arange(1, 2**count)
        return np.asarray(numbers[:, None] >> np.arange(count) & 1, bool)
    one = np.eye(count, dtype=bool)
    rng = np.random.default_rng(seed)
    drawn = rng.random((2**EXHAUSTIVE, count)) < rng.random((2**EXHAUSTIVE, 1))
    found = np.concatenate([one, ~one, drawn[drawn.any(axis=1)]])
    return np.concatenate([np.unique(found, axis=0), np.ones((1, count), bool)])


def without_one(count: int) -> Bools:
    """The subsets without one subtask, shape `(count, count)`; of a single subtask that itself."""
    return ~np.eye(count, dtype=bool) if count > 1 else np.ones((1, 1), bool)


def scores(hits: ArrayLike, trials: ArrayLike, masks: ArrayLike) -> Floats:
    """Share of the samples of each subset that each model has right, shape `(S, M)`."""
    chosen = np.asarray(masks, np.float64)
    return np.asarray(
        chosen @ np.asarray(hits, np.float64).T / (chosen @ np.asarray(trials, np.float64))[:, None]
    )


def ordered(totals: ArrayLike) -> Pairs:
    """All pairs of models whose totals differ, the better one first, shape `(P, 2)`."""
    values = np.asarray(totals, np.float64)
    better, worse = np.nonzero(values[:, None] - values[None, :] > _TIE)
    return np.stack([better, worse], axis=1)


def kept(values: ArrayLike, pairs: Pairs) -> Floats:
    """Share of the pairs that scores put in the same order, shape `(S,)`; a tie counts half.

    Args:
        values: Shape `(S, M)`.
        pairs: Shape `(P, 2)`; without any, NaN.
    """
    order = _order(values, pairs)
    return order.mean(axis=1) if len(pairs) else np.full(len(order), np.nan)


def _order(values: ArrayLike, pairs: Pairs) -> Floats:
    """1 where scores `(S, M)` keep a pair, 0.5 where they tie, 0 else; shape `(S, P)`."""
    found = np.asarray(values, np.float64)
    gaps = found[:, pairs[:, 0]] - found[:, pairs[:, 1]]
    return np.asarray(0.5 * ((gaps > _TIE).astype(np.float64) + (gaps >= -_TIE)))


def nested(hits: ArrayLike, trials: ArrayLike, pairs: Pairs) -> list[tuple[int, float]]:
    """Subtasks in the order in which they can best be spared, with what is kept without them.

    Each step leaves out the one without which most pairs are kept; of several, the one with the
    most samples, so that the rest is cheap to ask. The last one stays.
    """
    sizes = np.asarray(trials)
    left = np.ones(len(sizes), bool)
    order = []
    while left.sum() > 1:
        at = np.flatnonzero(left)
        masks = np.repeat(left[None], len(at), axis=0)
        masks[np.arange(len(at)), at] = False
        shares = kept(scores(hits, trials, masks), pairs)
        best = max(range(len(at)), key=lambda i: (shares[i], sizes[at[i]]))
        left[at[best]] = False
        order.append((int(at[best]), float(shares[best])))
    return order


def smallest(shares: Floats, masks: Bools, trials: ArrayLike, least: float) -> int:
    """Row of the subset of fewest subtasks that keeps `least` or more; the cheapest of several."""
    rows = np.flatnonzero(shares >= least - _TIE)
    samples = masks @ np.asarray(trials)
    return min(rows.tolist(), key=lambda row: (int(masks[row].sum()), samples[row], -shares[row]))


def held_out(hits: ArrayLike, trials: ArrayLike, masks: Bools, pairs: Pairs, least: float) -> float:
    """How well a subset ranks a model that it was not chosen on, in [0, 1].

    For each model the subset is chosen by the pairs of the others, and then has to order the pairs
    with that model. NaN where no model leaves pairs of others behind.
    """
    order = _order(scores(hits, trials, masks), pairs)
    found, counts = 0.0, 0
    for model in np.unique(pairs).tolist():
        with_it = (pairs == model).any(axis=1)
        number = int(with_it.sum())
        if number == len(pairs):
            continue
        sums = order @ with_it
        others = (order.sum(axis=1) - sums) / (len(pairs) - number)
        found += float(sums[smallest(others, masks, trials, least)])
        counts += number
    return found / counts if counts else float("nan")


class Choice(NamedTuple):
    """The smallest subset that keeps so many pairs.

    Attributes:
        least: Share of the pairs that it is to keep.
        which: Indices of its subtasks.
        samples: Of them.
        kept: Share that it keeps.
        held_out: Share of the pairs with a model that it keeps when chosen without that model.
    """

    least: float
    which: list[int]
    samples: int
    kept: float
    held_out: float


def choose(hits: ArrayLike, trials: ArrayLike, masks: Bools, pairs: Pairs, least: float) -> Choice:
    """That subset, with how it does on models that it was not chosen on."""
    shares = kept(scores(hits, trials, masks), pairs)
    row = smallest(shares, masks, trials, least)
    return Choice(
        least=least,
        which=np.flatnonzero(masks[row]).tolist(),
        samples=int(masks[row] @ np.asarray(trials)),
        kept=float(shares[row]),
        held_out=held_out(hits, trials, masks, pairs, least),
    )


def by_size(masks: Bools, shares: Floats) -> tuple[dict[int, Span], dict[int, Span]]:
    """What the best subset of each number of subtasks keeps, and the median with 90 % of all."""
    sizes = masks.sum(axis=1)
    found = {size: shares[sizes == size] for size in sorted(set(sizes.tolist()))}
    best = {size: Span(float(of.max())) for size, of in found.items()}
    return best, {size: ninety(of, float(np.quantile(of, 0.5))) for size, of in found.items()}
