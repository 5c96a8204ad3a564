"""Figures of agreement against independent implementations and published examples."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

from groundingme.studio.agreement import (
    as_counts,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    mean_iou,
)

# "Computing Krippendorff's alpha-reliability" (2011), part C: nominal alpha 0.743; -1 is no answer.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, -1, -1, -1],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, -1, 3],
    [-1, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, -1],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, -1],
]
# Fleiss (1971) as worked in textbooks: 10 items, 14 people, 5 categories, kappa 0.210.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def plain_alpha(table: list[list[int]]) -> float:
    """Alpha by its definition: the matrix of coincidences, pair by pair."""
    pairs: Counter[tuple[int, int]] = Counter()
    for column in zip(*table, strict=True):
        said = [one for one in column if one >= 0]
        for a, b in itertools.permutations(range(len(said)), 2):
            pairs[said[a], said[b]] += 1 / (len(said) - 1)  # type: ignore[assignment]
    totals: Counter[int] = Counter()
    for (a, _), n in pairs.items():
        totals[a] += n
    n = sum(totals.values())
    observed = sum(count for (a, b), count in pairs.items() if a != b)
    expected = sum(totals[a] * totals[b] for a in totals for b in totals if a != b) / (n - 1)
    return 1 - observed / expected


def test_published_examples() -> None:
    assert krippendorff_alpha(OBSERVERS) == pytest.approx(0.743, abs=5e-4)
    assert plain_alpha(OBSERVERS) == pytest.approx(0.743, abs=5e-4)
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
def test_cohen(pairs: list[tuple[int, int]]) -> None:
    a, b = [one for one, _ in pairs], [other for _, other in pairs]
    mine = cohen_kappa(a, b)
    if len({*a, *b}) == 1:
        assert math.isnan(mine)
        return
    assert mine == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    counts = np.zeros((4, 4))
    np.add.at(counts, (a, b), 1)
    theirs = inter_rater.cohens_kappa(counts, return_results=False)
    assert mine == pytest.approx(float(theirs), abs=1e-12)
    missing = cohen_kappa([*a, -1, 0], [*b, 2, -1])
    assert missing == pytest.approx(mine)


@given(st.integers(2, 6).flatmap(
    lambda people: st.lists(
        st.lists(st.integers(0, 2), min_size=people, max_size=people), min_size=1, max_size=30
    )
))  # fmt: skip
def test_fleiss(items: list[list[int]]) -> None:
    answers = np.array(items).T
    counts = as_counts(answers)
    assert counts.sum(axis=1).tolist() == [len(answers)] * len(items)
    mine = fleiss_kappa(counts)
    if len({one for item in items for one in item}) == 1:
        assert math.isnan(mine)
        return
    assert mine == pytest.approx(float(inter_rater.fleiss_kappa(counts)), abs=1e-12)


@given(st.lists(
    st.lists(st.integers(-1, 2), min_size=3, max_size=3), min_size=1, max_size=30
))  # fmt: skip
def test_alpha(items: list[list[int]]) -> None:
    table = np.array(items).T
    mine = krippendorff_alpha(table)
    said = [[one for one in item if one >= 0] for item in items]
    if len({one for item in said if len(item) > 1 for one in item}) < 2:
        assert math.isnan(mine)
        return
    assert mine == pytest.approx(plain_alpha(table.tolist()), abs=1e-9)


def test_nothing_to_agree_on() -> None:
    empty = np.zeros((0, 0), int)
    for value in (cohen_kappa([], []), fleiss_kappa(empty), krippendorff_alpha(empty)):
        assert math.isnan(value)
    assert math.isnan(mean_iou(np.zeros((0, 4)), np.zeros((0, 4))))
    with pytest.raises(ValueError, match="one length"):
        cohen_kappa([0], [0, 1])
    with pytest.raises(ValueError, match="as many answers"):
        fleiss_kappa([[1, 1], [3, 0]])


def test_boxes() -> None:
    assert mean_iou([[0, 0, 10, 10], [0, 0, 2, 2]], [[0, 0, 10, 5], [0, 0, 2, 2]]) == 0.75
