"""Stop sampling once the answer is settled, and what that would have saved on stored runs.

The rule is that of adaptive consistency (Aggarwal et al. 2023, arXiv 2305.11860): with a Dirichlet
prior over the possible answers, stop where the leading one is likely the commonest. Here answers
are clusters of boxes, and all rejections are one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import comb
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from groundingme.scale.select import Choice, majority
from groundingme.scale.trajectories import Trajectories, clusters, sizes

Rule: TypeAlias = Callable[[Trajectories], NDArray[np.bool_]]
"""Shape `(S,)`: whether sampling can stop after these trajectories."""


@lru_cache(maxsize=4096)
def ahead(lead: int, other: int) -> float:
    """How likely the first of two answers is the commoner one, given how often each came.

    P(theta_1 > theta_2) for Dirichlet(1, 1, ...) after `lead` and `other` observations, which is
    P(Beta(lead + 1, other + 1) > 1/2) however many further answers there are: a binomial sum.

    Returns:
        In (0, 1); 1/2 where both came equally often.
    """
    n = lead + other + 1
    return float(sum(comb(n, k) for k in range(lead + 1)) / 2**n)


def settled(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """A lower bound of the posterior that the largest cluster is the commonest answer.

    One less the sum over all other clusters, and over one not yet seen, of how likely each is the
    commoner one (Bonferroni).

    Args:
        size: Shape `(S, N)`: sizes of clusters, 0 elsewhere.

    Returns:
        Shape `(S,)`, in [0, 1].
    """
    found = np.empty(len(size))
    for row, counts in enumerate(size.astype(int).tolist()):
        lead, *others = sorted((c for c in counts if c), reverse=True) or [0]
        doubt = sum(1 - ahead(lead, other) for other in (*others, 0))
        found[row] = max(0.0, 1 - doubt)
    return found


def posterior(threshold: float = 0.8) -> Rule:
    """Stop where the leading cluster is the commonest answer with that posterior, in (0, 1)."""
    return lambda t: settled(sizes(clusters(t))) >= threshold


def window(length: int = 3) -> Rule:
    """Stop where the last `length` trajectories gave the same answer."""

    def rule(t: Trajectories) -> NDArray[np.bool_]:
        if t.n < length:
            return np.zeros(len(t), dtype=bool)
        last = clusters(t)[:, -length:]
        return np.asarray((last >= 0).all(axis=1) & (last == last[:, :1]).all(axis=1))

    return rule


def replay(t: Trajectories, rule: Rule, least: int = 2) -> tuple[NDArray[np.intp], Choice]:
    """What a rule would have done with stored trajectories, taken in their order.

    Args:
        t: All trajectories.
        rule: When to stop.
        least: Trajectories before the rule is asked at all, 1 or more.

    Returns:
        How many trajectories each sample needed, shape `(S,)`, and the majority's answer among
        them.
    """
    used = np.full(len(t), t.n, dtype=np.intp)
    first = majority(t, np.random.default_rng(0))
    outcome, boxes, index = first.outcome.copy(), first.boxes.copy(), first.index.copy()
    going = np.ones(len(t), dtype=bool)
    for k in range(least, t.n):
        part = t.first(k)
        stops = going & rule(part)
        if stops.any():
            choice = majority(part, np.random.default_rng(0))
            outcome[stops], boxes[stops] = choice.outcome[stops], choice.boxes[stops]
            index[stops], used[stops] = choice.index[stops], k
            going &= ~stops
    return used, Choice(outcome, boxes, index)


def spent(t: Trajectories, used: NDArray[np.intp]) -> NDArray[np.float64]:
    """Completion tokens of the trajectories that were used, shape `(S,)`; unknown ones count 1."""
    tokens = np.where(np.isfinite(t.tokens), t.tokens, 1.0)
    return np.asarray(np.where(np.arange(t.n) < used[:, None], tokens, 0.0).sum(axis=1))
