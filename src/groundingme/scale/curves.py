"""What more trajectories are worth: score against their number, and against the tokens they cost.

Trajectories of a sample come in no order, so every point is the mean over several random ones; its
interval draws whole images again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import stats
from groundingme.scale import stopping
from groundingme.scale.select import SELECTORS, mean_of_n, pass_at
from groundingme.scale.trajectories import Trajectories, keep

THRESHOLDS = (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
WINDOWS = (2, 3, 4, 6)
ORDERS = 4
RESAMPLES = 2_000

_EXPECTED = ("first", "random")
"""Selectors of one trajectory whatever it says: `mean` is what they give."""

Floats = NDArray[np.float64]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A score of some trajectories.

    Attributes:
        name: Such as `4`, `posterior:0.8` or `window:3`.
        k: Trajectories of a sample, on average.
        score: Acc@0.5, in [0, 1].
        low: Lower end of its 95 % interval, by image.
        high: Upper end.
    """

    name: str
    k: float
    score: float
    low: float
    high: float


class Frontier(Point, frozen=True, kw_only=True):
    """What a selector keeps of fewer trajectories.

    Attributes:
        share: Of the tokens of all trajectories, in [0, 1]; of their number where the server
            counts no tokens.
        less: Score less that of all trajectories.
        less_low: Lower end of its 95 % interval, paired, by image.
        less_high: Upper end.
        p: Of a paired test of that difference.
    """

    share: float
    less: float
    less_low: float
    less_high: float
    p: float


def counts(n: int) -> list[int]:
    """Numbers of trajectories at which a curve has points: 1, 2, 4, ... and N."""
    return sorted({*(2**i for i in range(n.bit_length()) if 2**i <= n), n})


def selectors(t: Trajectories) -> list[str]:
    """Selectors whose scores depend on N and on something that these trajectories have."""
    left_out = set(_EXPECTED)
    if not np.isfinite(t.confidence).any():
        left_out.add("confidence")
    if not np.ptp(np.nan_to_num(t.reasoning), axis=1).any():
        left_out |= {"longest", "shortest"}
    return [name for name in SELECTORS if name not in left_out]


def scaling(
    t: Trajectories,
    images: NDArray[np.int64],
    by: Sequence[str] | None = None,
    *,
    orders: int = ORDERS,
    seed: int = 0,
) -> dict[str, list[Point]]:
    """The score against N.

    Args:
        t: Answers.
        images: Shape `(S,)`: samples of one image share a number.
        by: Names in `SELECTORS`; those of `selectors` by default.
        orders: Random orders of the trajectories that a point is averaged over.
        seed: Of those orders, and of the intervals.

    Returns:
        Points for `mean`, each selector, and `oracle`, from 1 trajectory to N.
    """
    names = selectors(t) if by is None else by
    ks = counts(t.n)
    found = {(name, k): np.zeros(len(t)) for name in names for k in ks}
    rng = np.random.default_rng(seed)
    for mixed in _orders(t, rng, orders):
        for k in ks:
            part = keep(mixed.first(k))
            for name in names:
                found[name, k] += SELECTORS[name](part, rng).right(part) / orders
    mean = mean_of_n(t)
    columns = {
        **{("mean", k): mean for k in ks},
        **found,
        **{("oracle", k): pass_at(t, k) for k in ks},
    }
    low, high = _ends(list(columns.values()), images, seed)
    points: dict[str, list[Point]] = {}
    for at, ((name, k), right) in enumerate(columns.items()):
        points.setdefault(name, []).append(
            Point(name=str(k), k=k, score=float(right.mean()), low=low[at], high=high[at])
        )
    return points


def frontier(
    t: Trajectories,
    images: NDArray[np.int64],
    by: str = "majority",
    *,
    orders: int = ORDERS,
    seed: int = 0,
) -> dict[str, list[Frontier]]:
    """What a selector keeps for which share of the tokens, when stopped early or at a fixed N.

    Args:
        t: Answers.
        images: Shape `(S,)`: samples of one image share a number.
        by: Name in `SELECTORS`.
        orders: Random orders of the trajectories that a point is averaged over.
        seed: Of those orders, and of the intervals.

    Returns:
        Points for `fixed N`, `posterior` and `window`, by tokens.
    """
    choose = SELECTORS[by]
    ks = [k for k in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if k < t.n] + [t.n]
    windows = [length for length in WINDOWS if length < t.n]
    rules = [*map(stopping.posterior, THRESHOLDS), *map(stopping.window, windows)]
    names = [
        *(("fixed N", str(k)) for k in ks),
        *(("posterior", f"posterior:{threshold:g}") for threshold in THRESHOLDS),
        *(("window", f"window:{length}") for length in windows),
    ]
    shape = (len(names), len(t))
    hits, used, tokens = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    everything = stopping.spent(t, np.full(len(t), t.n)).sum()
    rng = np.random.default_rng(seed)
    for mixed in _orders(t, rng, orders):
        fixed = [(np.full(len(t), k), choose(mixed.first(k), rng)) for k in ks]
        stopped = stopping.replay_all(mixed, rules, choose=choose)
        for at, (count, choice) in enumerate([*fixed, *stopped]):
            hits[at] += choice.right(mixed)
            used[at] += count / orders
            tokens[at] += stopping.spent(mixed, count) / orders
    whole = hits[len(ks) - 1]
    low, high = _ends([*(hits / orders), *((hits - whole) / orders)], images, seed)
    points: dict[str, list[Frontier]] = {}
    for at, (line, name) in enumerate(names):
        points.setdefault(line, []).append(
            Frontier(
                name=name,
                k=float(used[at].mean()),
                score=float(hits[at].mean() / orders),
                low=low[at],
                high=high[at],
                share=float(tokens[at].sum() / everything),
                less=float((hits[at] - whole).mean() / orders),
                less_low=low[len(names) + at],
                less_high=high[len(names) + at],
                # Whole numbers: the sum over all orders, which the test scales away.
                p=stats.paired_test(hits[at] - whole, images),
            )
        )
    return {line: sorted(found, key=lambda one: one.share) for line, found in points.items()}


def _orders(t: Trajectories, rng: np.random.Generator, count: int) -> Iterator[Trajectories]:
    known = keep(t)
    return (keep(known.shuffled(rng)) for _ in range(count))


def _ends(
    columns: Sequence[Floats], images: NDArray[np.int64], seed: int
) -> tuple[list[float], list[float]]:
    """Ends of the intervals of means, by image."""
    values = np.stack([*columns, np.ones(len(images))], axis=1)
    sums = stats.resampled_sums(values, images, resamples=RESAMPLES, seed=seed)
    low, high = stats.percentiles(sums[:, :-1] / sums[:, -1:])
    return low.tolist(), high.tolist()
