"""Balanced selection: a worked case, and what must hold of any."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundingme import taxonomy
from groundingme.build.select import Selected, SelectOptions, select
from groundingme.errors import BoxError, UnknownNameError

NAMES = [row.name for row in taxonomy.SUBTASKS]
APPEARANCE, COUNTING, SMALL = map(
    NAMES.index, ("Discriminative/Appearance", "Spatial/Counting", "Limited/Small")
)


def pick(rows: list[tuple[int, int, int, list[int], float]], **options: Any) -> Selected:
    """Rows of image, box, class, subtasks and score."""
    suits = np.zeros((len(rows), 12), bool)
    for at, row in enumerate(rows):
        suits[at, row[3]] = True
    columns = [[row[i] for row in rows] for i in (0, 1, 2)]
    return select(*columns, suits, [row[4] for row in rows], SelectOptions(**options))


def test_worked_case() -> None:
    """Two images with three ducks each and a bird. Only one duck suits Small."""
    duck, bird, any_ = 7, 9, [APPEARANCE, COUNTING]
    rows = [
        (1, 0, duck, any_, 0.9),
        (1, 1, duck, [*any_, SMALL], 0.8),
        (1, 2, duck, any_, 0.7),
        (2, 0, duck, any_, 0.6),
        (2, 1, duck, any_, 0.5),
        (2, 2, duck, any_, 0.4),
        (2, 3, bird, [APPEARANCE], 0.3),
    ]
    quotas = {"Discriminative/Appearance": 2, "Spatial/Counting": 2, "Limited/Small": 2}
    for seed in range(20):
        found = pick(rows, per_subtask=quotas, per_image=3, seed=seed)
        supply = {one.subtask: one[1:] for one in found.supply if one.wanted}
        assert supply == {
            "Discriminative/Appearance": (2, 7, 2),
            "Spatial/Counting": (2, 6, 2),
            "Limited/Small": (2, 1, 1),
        }
        # Small is the scarcest and comes first; then Counting, from image 2 that has no target
        # yet and from both alike; then Appearance, which takes a duck and the bird.
        assert found.subtask[1] == SMALL
        assert found.subtask[3] == COUNTING
        assert found.subtask[6] == APPEARANCE
        assert (found.subtask[:3] >= 0).sum() + (found.subtask[3:] >= 0).sum() == 5
        assert abs((found.subtask[:3] >= 0).sum() - (found.subtask[3:] >= 0).sum()) == 1


def test_the_scarcest_is_filled_first() -> None:
    """One box suits both; whoever has no other gets it."""
    for scarce, other in ((APPEARANCE, COUNTING), (COUNTING, APPEARANCE)):
        found = pick([(0, 0, 0, [scarce, other], 0.5), (1, 0, 0, [other], 0.5)], per_subtask=1)
        assert found.subtask.tolist() == [scarce, other]


def test_images_in_turn_then_the_best_box() -> None:
    rows = [(image, box, 0, [APPEARANCE], box / 10) for image in range(3) for box in range(4)]
    found = pick(rows, per_subtask=3, per_image=2)
    assert found.subtask.reshape(3, 4).tolist() == [[-1, -1, -1, APPEARANCE]] * 3
    found = pick(rows, per_subtask=6, per_image=2)
    assert found.subtask.reshape(3, 4).tolist() == [[-1, -1, APPEARANCE, APPEARANCE]] * 3
    assert (pick(rows, per_subtask=9, per_image=2).subtask >= 0).sum() == 6


def test_classes_in_turn() -> None:
    """A hundred ducks and five birds: five of each, and then only ducks."""
    rows = [(image, 0, 0, [APPEARANCE], 0.5) for image in range(100)]
    rows += [(100 + image, 0, 1, [APPEARANCE], 0.5) for image in range(5)]
    for wanted, ducks in ((2, 1), (10, 5), (30, 25)):
        found = pick(rows, per_subtask=wanted)
        assert (found.subtask[:100] >= 0).sum() == ducks
        assert (found.subtask[100:] >= 0).sum() == wanted - ducks
    found = pick(rows, per_subtask=30, per_class=7)
    assert (found.subtask[:100] >= 0).sum() == 7


def test_chance_decides_by_the_seed() -> None:
    rows = [(image, 0, 0, [APPEARANCE], 0.5) for image in range(1000)]
    picks = [
        tuple(np.flatnonzero(pick(rows, per_subtask=50, seed=seed).subtask >= 0))
        for seed in (0, 0, 1)
    ]
    assert picks[0] == picks[1] != picks[2]
    # Of all images alike: the mean of 50 of 0 ... 999 has a standard deviation of 40.
    assert abs(np.mean(picks[0]) - 499.5) < 200


def test_no_candidates() -> None:
    found = pick([])
    assert found.subtask.shape == (0,)
    assert [(one.wanted, one.had, one.chosen) for one in found.supply] == [(50, 0, 0)] * 12


def test_errors() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'Spatial/Counting'"):
        pick([], per_subtask={"Spatial/Count": 3})
    with pytest.raises(BoxError, match="each box once, got box 5 of image 3 twice"):
        pick([(3, 5, 0, [0], 0.5), (3, 5, 1, [1], 0.5)])
    with pytest.raises(BoxError, match="12 columns of subtasks"):
        select([0], [0], [0], [[True]], [0.5])
    with pytest.raises(msgspec.ValidationError, match="per_image"):
        msgspec.convert({"per_image": 0}, SelectOptions)


@st.composite
def pools(draw: Any) -> tuple[Any, ...]:
    count = draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    return (
        rng.integers(0, 8, count),
        rng.permutation(count),
        rng.integers(0, 5, count),
        rng.random((count, 12)) < draw(st.sampled_from([0.05, 0.3, 0.9])),
        rng.integers(0, 3, count) / 2,
    )


@settings(max_examples=150, deadline=None)
@given(
    pool=pools(),
    wanted=st.one_of(st.integers(0, 8), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 8))),
    per_image=st.integers(1, 6),
    per_class=st.none() | st.integers(1, 10),
    seed=st.integers(0, 3),
)
def test_what_always_holds(
    pool: Any, wanted: Any, per_image: int, per_class: int | None, seed: int
) -> None:
    images, _, labels, suits, _ = pool
    options = SelectOptions(per_subtask=wanted, per_image=per_image, per_class=per_class, seed=seed)
    found = select(*pool, options)
    rows = np.flatnonzero(found.subtask >= 0)
    assert suits[rows, found.subtask[rows]].all()
    of_image, of_class = Counter(images[rows].tolist()), Counter(labels[rows].tolist())
    assert max(of_image.values(), default=0) <= per_image
    assert per_class is None or max(of_class.values(), default=0) <= per_class
    for at, one in enumerate(found.supply):
        assert one.subtask == NAMES[at]
        assert one.wanted == (wanted if isinstance(wanted, int) else wanted.get(NAMES[at], 0))
        assert one.had == suits[:, at].sum()
        assert one.chosen == (found.subtask == at).sum() <= one.wanted
        # Whoever got too little got all there was: no free candidate is within the caps.
        if one.chosen < one.wanted:
            for row in np.flatnonzero(suits[:, at] & (found.subtask < 0)):
                full = of_image[images[row]] >= per_image
                assert full or (per_class is not None and of_class[labels[row]] >= per_class)
    turn = np.random.default_rng(seed).permutation(len(images))
    again = select(*(column[turn] for column in pool), options)
    assert again.subtask.tolist() == found.subtask[turn].tolist()
    assert again.supply == found.supply


def test_a_million_candidates() -> None:
    rng = np.random.default_rng(0)
    count = 1_000_000
    images = np.sort(rng.integers(0, 60_000, count))
    suits = rng.random((count, 12)) < 0.3
    labels = rng.zipf(1.5, count) % 500
    began = time.process_time()
    found = select(images, np.arange(count), labels, suits, rng.random(count))
    spent = time.process_time() - began
    assert [one.chosen for one in found.supply] == [50] * 12
    rows = found.subtask >= 0
    assert np.bincount(images[rows]).max() == 1
    # Common classes are not preferred: no class has more than it would have in turns.
    assert max(np.bincount(labels[found.subtask == at]).max() for at in range(12)) == 1
    assert spent < 60
