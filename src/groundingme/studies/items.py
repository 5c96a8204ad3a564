"""Subtasks as the items of a test: how well each separates models, and which are alike.

Hits `[M, K]` are of M models in K subtasks, trials `[K]` how often each subtask was asked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from groundingme.stats import Floats


class Items(NamedTuple):
    """A fit of `item_response`.

    Attributes:
        ability: Shape `(M,)`, about mean 0 and deviation 1; the better the model, the higher.
        slope: Shape `(K,)`: how steeply a subtask's share of right answers rises with ability;
            0 separates nobody, below 0 the weaker models do better.
        easiness: Shape `(K,)`: log-odds of a right answer at ability 0.
    """

    ability: Floats
    slope: Floats
    easiness: Floats


def item_response(hits: ArrayLike, trials: ArrayLike, *, rounds: int = 100) -> Items:
    """Two-parameter item response on counts: log-odds of right = slope * ability + easiness.

    The most probable values under priors that keep them finite where a model has all or nothing
    right: ability N(0, 1), slope N(1, 1), easiness N(0, 3). Abilities and subtasks take turns, each
    by a Newton step of its own logistic regression.

    Args:
        hits: Shape `(M, K)`.
        trials: Shape `(K,)`.
        rounds: Of turns.

    Source:
        Birnbaum, in Lord and Novick, Statistical Theories of Mental Test Scores, 1968; modes as in
        Mislevy, Psychometrika 51, 1986.
    """
    right, asked = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    totals = right.sum(axis=1) / asked.sum()
    ability = (totals - totals.mean()) / (totals.std() or 1.0)
    slope, easiness = np.ones(len(asked)), np.zeros(len(asked))
    for _ in range(rounds):
        shares = _logistic(np.outer(ability, slope) + easiness)
        rest, weight = right - asked * shares, asked * shares * (1 - shares) + 1e-9
        a, c = (rest * ability[:, None]).sum(0) - (slope - 1), rest.sum(0) - easiness / 9
        aa = (weight * ability[:, None] ** 2).sum(0) + 1
        cc, ac = weight.sum(0) + 1 / 9, (weight * ability[:, None]).sum(0)
        size = aa * cc - ac**2
        slope = slope + np.clip((cc * a - ac * c) / size, -1, 1)
        easiness = easiness + np.clip((aa * c - ac * a) / size, -1, 1)
        shares = _logistic(np.outer(ability, slope) + easiness)
        rest, weight = right - asked * shares, asked * shares * (1 - shares) + 1e-9
        step = (rest @ slope - ability) / (weight @ slope**2 + 1)
        ability = ability + np.clip(step, -1, 1)
    # The same fit with both signs turned is as good; the better models are to have the higher one.
    if (ability * (totals - totals.mean())).sum() < 0:
        ability, slope = -ability, -slope
    return Items(ability, slope, easiness)


def _logistic(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))))


def signal(hits: ArrayLike, trials: ArrayLike) -> Floats:
    """Share of the models' variance in each subtask that is not sampling noise, `(K,)` in [0, 1].

    NaN where all models have the same share right.
    """
    shares = np.asarray(hits, np.float64) / np.asarray(trials, np.float64)
    if len(shares) < 2:
        return np.full(shares.shape[1], np.nan)
    seen = shares.var(axis=0, ddof=1)
    noise = (shares * (1 - shares)).mean(axis=0) / np.maximum(np.asarray(trials) - 1, 1)
    with np.errstate(all="ignore"):
        return np.where(seen > 0, np.clip(1 - noise / seen, 0, 1), np.nan)


def rank_correlation(columns: ArrayLike) -> Floats:
    """Spearman's correlation of every column with every other, `(K, K)`.

    NaN for a column whose values are all alike, and for fewer than four rows.
    """
    values = np.asarray(columns, np.float64)
    count = values.shape[1]
    if len(values) < 4:
        return np.full((count, count), np.nan)
    ranks = np.stack([_ranks(column) for column in values.T])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=1))
    with np.errstate(all="ignore"):
        return np.asarray(centred @ centred.T / np.outer(norms, norms))


def most_alike(correlation: Floats, at: int) -> int | None:
    """The column that goes most with one; None where no correlation is known."""
    row = np.where(np.arange(len(correlation)) == at, np.nan, correlation[at])
    return None if np.isnan(row).all() else int(np.nanargmax(row))


def closest(correlation: Floats) -> tuple[int, int] | None:
    """The two columns that go together most, the earlier one last; None where none are known."""
    below = np.where(np.tri(len(correlation), k=-1, dtype=bool), correlation, np.nan)
    if np.isnan(below).all():
        return None
    at, other = np.unravel_index(np.nanargmax(below), below.shape)
    return int(at), int(other)


def _ranks(values: Floats) -> Floats:
    """Ranks from 0; equal values share their mean rank."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[index])
