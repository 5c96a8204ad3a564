"""Stop sampling once the answer is settled, and what that would have saved on stored runs.

The rule is that of adaptive consistency (Aggarwal et al. 2023, arXiv 2305.11860): with a Dirichlet
prior over the possible answers, stop where the leading one is likely the commonest. Here answers
are clusters of boxes, and all rejections are one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import comb
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from groundingme.scale.select import Choice, Selector, majority
from groundingme.scale.trajectories import Trajectories, clusters, keep, sizes

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
    counts = size.astype(np.intp)
    lead = counts.max(axis=1)
    # How likely an answer seen so often is commoner than one seen so much more often.
    most = range(int(lead.max(initial=0)) + 1)
    doubts = np.array([[1 - ahead(one, other) for other in most] for one in most])
    others = np.where(counts > 0, doubts[lead[:, None], counts], 0.0).sum(axis=1)
    doubt = np.where(lead > 0, others - doubts[lead, lead], 0.0) + doubts[lead, 0]
    return np.asarray(np.maximum(0.0, 1 - doubt))


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
    return replay_all(t, [rule], least)[0]


def replay_all(
    t: Trajectories, rules: Sequence[Rule], least: int = 2, choose: Selector = majority
) -> list[tuple[NDArray[np.intp], Choice]]:
    """The same for several rules at once, which costs hardly more than one.

    Args:
        t: All trajectories.
        rules: When to stop.
        least: Trajectories before a rule is asked at all, 1 or more.
        choose: Takes the answer among those that were needed.
    """
    rng = np.random.default_rng(0)
    # From all trajectories backwards, so that the earliest moment to stop is written last.
    choice = choose(t, rng)
    found = [(np.full(len(t), t.n, dtype=np.intp), copied(choice)) for _ in rules]
    for k in range(t.n - 1, least - 1, -1):
        part = keep(t.first(k))
        choice = choose(part, rng)
        for rule, (used, taken) in zip(rules, found, strict=True):
            stops = rule(part)
            used[stops] = k
            taken.outcome[stops], taken.boxes[stops] = choice.outcome[stops], choice.boxes[stops]
            taken.index[stops] = choice.index[stops]
    return found


def copied(choice: Choice) -> Choice:
    """The same answers in arrays of their own."""
    return Choice(choice.outcome.copy(), choice.boxes.copy(), choice.index.copy())


def spent(t: Trajectories, used: NDArray[np.intp]) -> NDArray[np.float64]:
    """Completion tokens of the trajectories that were used, shape `(S,)`; unknown ones count 1."""
    tokens = np.where(np.isfinite(t.tokens), t.tokens, 1.0)
    return np.asarray(np.where(np.arange(t.n) < used[:, None], tokens, 0.0).sum(axis=1))
