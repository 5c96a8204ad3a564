"""Test-Time Scaling without a model: clusters, selectors, contests and stopping rules."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundingme import stats
from groundingme.protocols import BOX, FAILED, REJECTED, UNPARSED
from groundingme.scale import curves, select, stopping
from groundingme.scale.knockout import expected, knockout, play
from groundingme.scale.simulate import simulate
from groundingme.scale.trajectories import Trajectories, agreement, clusters, keep, sizes

A, B, C = (0.0, 0.0, 100.0, 100.0), (300.0, 300.0, 400.0, 400.0), (600.0, 0.0, 700.0, 100.0)
NONE = None
BAD = "unparsed"
Written = tuple[float, ...] | str | None


def made(*rows: list[Written], target: tuple[float, ...] | None = A) -> Trajectories:
    """Trajectories from boxes, NONE and BAD, one row a sample."""
    outcome = np.array(
        [[BOX if isinstance(x, tuple) else UNPARSED if x == BAD else REJECTED for x in row]
         for row in rows], dtype=np.int8,
    )  # fmt: skip
    boxes = np.array([[x if isinstance(x, tuple) else (np.nan,) * 4 for x in row] for row in rows])
    s, n = outcome.shape
    return Trajectories(
        ids=[str(i) for i in range(s)],
        subtask_l1=[""] * s,
        subtask_l2=[""] * s,
        negatives=np.full(s, target is None),
        targets=np.array([target or (np.nan,) * 4] * s, dtype=np.float64),
        outcome=outcome,
        boxes=boxes.astype(np.float64),
        confidence=np.full((s, n), np.nan),
        reasoning=np.arange(s * n, dtype=np.float64).reshape(s, n),
        tokens=np.full((s, n), 10.0),
    )


def near(box: tuple[float, ...], by: float) -> tuple[float, ...]:
    return tuple(edge + by for edge in box)


RNG = np.random.default_rng(0)


def test_agreement_is_iou_and_two_rejections_agree() -> None:
    t = made([A, (50.0, 0.0, 150.0, 100.0), NONE, NONE, BAD])
    assert agreement(t)[0] == pytest.approx(
        np.array(
            [[1, 1 / 3, 0, 0, 0], [1 / 3, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0] * 5]
        )
    )


def test_clusters_are_led_by_the_one_that_most_agree_with() -> None:
    # The second box overlaps both its neighbours; they do not overlap each other by half.
    t = made([near(A, -15), A, near(A, 15), B, NONE, BAD])
    assert clusters(t)[0].tolist() == [1, 1, 1, 3, 4, -1]
    assert sizes(clusters(t))[0].tolist() == [0, 3, 0, 1, 1, 0]


def test_equal_clusters_go_to_the_earlier_leader() -> None:
    assert clusters(made([near(B, 9), B, A, A]))[0].tolist() == [0, 0, 2, 2]
    assert select.majority(made([near(B, 9), B, A, A]), RNG).index[0] == 0
    assert select.majority(made([NONE, A]), RNG).index[0] == 0


def test_every_answer_is_in_one_cluster_and_agrees_with_its_leader() -> None:
    t = simulate(200, 9, seed=4)
    label, shared = clusters(t), agreement(t)
    for s, row in enumerate(label.tolist()):
        for k, leader in enumerate(row):
            assert (leader == -1) == (t.outcome[s, k] >= UNPARSED)
            if leader >= 0:
                assert row[leader] == leader
                assert shared[s, k, leader] >= 0.5


def test_a_box_without_area_is_an_answer_of_its_own() -> None:
    t = made([(5.0, 5.0, 5.0, 5.0), BAD])
    assert clusters(t)[0].tolist() == [0, -1]


def test_selectors_on_a_worked_example() -> None:
    t = made([B, near(A, 10), A, near(A, -10), NONE, BAD])
    choice = {name: one(t, RNG) for name, one in select.SELECTORS.items()}
    assert choice["first"].index[0] == 0
    assert choice["majority"].index[0] == 2
    assert choice["medoid"].index[0] == 2
    assert choice["median"].index[0] == -1
    assert choice["median"].boxes[0].tolist() == list(A)
    assert choice["confidence"].index[0] == 2, "without confidence it is the majority"
    assert choice["longest"].index[0] == 4, "what cannot be read is not chosen"
    assert choice["shortest"].index[0] == 0
    assert select.mean_of_n(t)[0] == pytest.approx(3 / 6)


def test_rejections_are_one_cluster() -> None:
    t = made([A, B, NONE, C, NONE], target=None)
    for name in ("majority", "medoid", "median", "confidence"):
        choice = select.SELECTORS[name](t, RNG)
        assert choice.outcome[0] == REJECTED, name
        assert choice.right(t).tolist() == [True]


def test_confidence_can_outvote_the_majority() -> None:
    t = made([A, A, B])
    t.confidence[0] = (0.2, 0.3, 0.9)
    assert select.confidence(t, RNG).index[0] == 2
    t.confidence[0] = (0.2, 0.3, np.nan)
    assert select.confidence(t, RNG).index[0] == 1, "an unknown one counts with the mean, 0.25"


def test_nothing_readable_is_no_crash() -> None:
    t = made([BAD, BAD])
    t.outcome[0, 1] = FAILED
    for name, one in select.SELECTORS.items():
        assert not one(t, RNG).right(t).any(), name
    assert select.representatives(t) == [[]]
    used, choice = stopping.replay(t, stopping.posterior())
    assert used.tolist() == [2]
    assert not choice.right(t).any()


def test_pass_at_k_counts_subsets() -> None:
    t = made([A, B, A, C, BAD])
    right = t.right()[0]
    for k in range(1, 6):
        subsets = list(itertools.combinations(range(5), k))
        share = sum(any(right[i] for i in one) for one in subsets) / len(subsets)
        assert select.pass_at(t, k)[0] == pytest.approx(share)
    with pytest.raises(ValueError, match="k in 1 to 5, got 6"):
        select.pass_at(t, 6)


def test_representatives_are_the_largest_clusters() -> None:
    t = made([B, NONE, A, near(A, 5), NONE, A, C])
    assert select.representatives(t) == [[2, 1, 0, 6]]
    assert select.representatives(t, most=2) == [[2, 1]]


def test_a_knockout_asks_once_less_than_it_has_candidates() -> None:
    seen = []

    def larger(one: int, other: int) -> int:
        seen.append((one, other))
        return max(one, other)

    assert play(knockout([3, 9, 2, 5]), larger) == (9, 3)
    assert seen == [(3, 9), (9, 2), (9, 5)]
    assert play(knockout([7]), larger) == (7, 0)


def judged(t: Trajectories, judge: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A knockout over all trajectories with a judge of that accuracy."""
    right = t.right()
    won = []
    for row in right.tolist():

        def better(one: int, other: int, row: list[bool] = row) -> int:
            if row[one] == row[other]:
                return one if rng.random() < 0.5 else other
            good, bad = (one, other) if row[one] else (other, one)
            return good if rng.random() < judge else bad

        won.append(row[play(knockout(range(len(row))), better)[0]])
    return np.array(won)


@pytest.mark.parametrize("judge", [0.5, 0.65, 0.9])
def test_the_knockout_meets_theory(judge: float) -> None:
    # Equal chances for all samples (a large spread): the theory is for independent candidates.
    t = simulate(6000, 8, success=0.4, spread=1e9, null=0, unparsed=0, negatives=0)
    share = judged(t, judge, np.random.default_rng(1)).mean()
    theory = expected(t.right().mean(), 8, judge)
    assert share == pytest.approx(theory, abs=3 * math.sqrt(theory * (1 - theory) / 6000))


def test_a_judge_that_tosses_a_coin_gains_nothing() -> None:
    assert expected(0.37, 16, 0.5) == pytest.approx(0.37)
    t = simulate(3000, 8, seed=2)
    gain = judged(t, 0.5, np.random.default_rng(5)).mean() - select.mean_of_n(t).mean()
    assert abs(gain) < 0.025


def test_oracle_judge_majority_and_mean_come_in_that_order() -> None:
    t = simulate(2000, 16, success=0.45, correlation=0.9, seed=3)
    oracle = select.pass_at(t, 16).mean()
    judge = judged(t, 0.9, np.random.default_rng(3)).mean()
    majority = select.majority(t, RNG).right(t).mean()
    mean = select.mean_of_n(t).mean()
    assert oracle > judge + 0.01 > majority + 0.02 > mean + 0.03


def test_the_median_of_jittered_boxes_is_tighter_than_one_of_them() -> None:
    t = simulate(1500, 16, success=0.8, null=0, negatives=0, jitter=0.12, seed=6)
    tight = select.median(t, RNG).right(t, 0.8).mean()
    assert tight > select.majority(t, RNG).right(t, 0.8).mean() > select.mean_of_n(t, 0.8).mean()


def test_confidence_helps_where_it_means_something() -> None:
    t = simulate(1500, 8, success=0.5, correlation=0.9, confident=0.5, seed=7)
    gain = select.confidence(t, RNG).right(t).mean() - select.majority(t, RNG).right(t).mean()
    assert gain > 0.02


@given(st.integers(0, 12), st.integers(0, 12))
def test_ahead_is_the_chance_that_one_beta_is_over_a_half(lead: int, other: int) -> None:
    grid = (np.arange(20000) + 0.5) / 20000
    density = grid**lead * (1 - grid) ** other
    assert stopping.ahead(lead, other) == pytest.approx(
        density[grid > 0.5].sum() / density.sum(), abs=1e-4
    )


def test_settled_bounds_the_dirichlet_posterior_from_below() -> None:
    rng = np.random.default_rng(8)
    for counts in ((5, 1, 0), (8, 3, 1), (3, 3, 0), (12, 0, 0)):
        drawn = rng.dirichlet(np.array([*(c for c in counts if c), 0]) + 1, 40000)
        exact = (drawn.argmax(axis=1) == 0).mean()
        bound = stopping.settled(np.array([counts], dtype=float))[0]
        assert bound <= exact + 0.01
        assert bound > exact - 0.12 or exact < 0.6


def test_a_window_wants_the_same_answer_several_times() -> None:
    rule = stopping.window(3)
    assert rule(made([B, A, A, near(A, 4)], [A, A, B, A], [A, BAD, BAD, BAD])).tolist() == [
        True, False, False,
    ]  # fmt: skip
    assert not rule(made([A, A])).any()


def test_replay_stops_at_the_first_moment_that_the_rule_allows() -> None:
    t = made([A, A, A, B, B, B, B, B], [A, B, C, NONE, B, B, B, B])
    used, choice = stopping.replay(t, stopping.window(3))
    assert used.tolist() == [3, 7]
    assert choice.right(t).tolist() == [True, False]
    assert stopping.spent(t, used).tolist() == [30.0, 70.0]


@pytest.mark.parametrize("rule", [stopping.posterior(0.8), stopping.window(2)])
def test_stopping_early_keeps_the_accuracy_for_a_third_of_the_tokens(rule: stopping.Rule) -> None:
    t = simulate(1005, 16, success=0.67, spread=0.7, correlation=0.7, seed=9)
    full = select.majority(t, RNG).right(t).mean()
    used, choice = stopping.replay(t, rule)
    assert stopping.spent(t, used).sum() <= t.tokens.sum() / 3
    assert choice.right(t).mean() > full - 1.96 * math.sqrt(full * (1 - full) / len(t))


def test_the_curve_ends_at_what_all_trajectories_give() -> None:
    t = simulate(800, 6, seed=10)
    images = np.arange(800) // 2
    points = curves.scaling(t, images, orders=2)
    assert [one.k for one in points["majority"]] == [1, 2, 4, 6]
    assert points["majority"][-1].score == pytest.approx(
        select.majority(t, RNG).right(t).mean(), abs=0.02
    )
    assert points["oracle"][-1].score == pytest.approx(t.right().any(axis=1).mean())
    assert points["oracle"][0].score == pytest.approx(points["mean"][0].score)
    assert "random" not in points
    for found in points.values():
        assert all(one.low < one.score < one.high for one in found)


def test_the_curve_has_the_intervals_of_a_direct_bootstrap_of_images() -> None:
    t = simulate(400, 4, seed=2)
    images = np.repeat(np.arange(80), 5)
    found = curves.scaling(t, images, ["majority"], orders=1)["mean"][0]
    rng = np.random.default_rng(7)
    values = select.mean_of_n(t).reshape(80, 5)
    drawn = [values[rng.integers(0, 80, 80)].mean() for _ in range(4000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.004)
    assert found.high == pytest.approx(high, abs=0.004)


def test_selectors_without_anything_to_go_by_are_left_out() -> None:
    t = made([A, A, B], [A, B, B])
    assert "confidence" not in curves.selectors(t)
    assert "longest" in curves.selectors(t)
    same = msgspec.structs.replace(t, reasoning=np.full((2, 3), 5.0))
    assert "longest" not in curves.selectors(same)


def test_the_frontier_compares_with_all_trajectories_pair_by_pair() -> None:
    t = simulate(600, 8, seed=4)
    images = np.arange(600)
    found = curves.frontier(t, images, orders=1)
    whole = found["fixed N"][-1]
    assert (whole.name, whole.share, whole.less, whole.p) == ("8", 1.0, 0.0, 1.0)
    one = found["fixed N"][0]
    assert one.k == 1
    assert one.less == pytest.approx(one.score - whole.score)
    assert one.less_low < one.less < one.less_high < 0
    assert one.p < 0.001
    # The same from its parts: one order, one rule, the exact test of the samples that changed.
    mixed = t.shuffled(np.random.default_rng(0))
    used, choice = stopping.replay(mixed, stopping.window(3))
    point = next(p for p in found["window"] if p.name == "window:3")
    right, all_right = choice.right(mixed), select.majority(mixed, RNG).right(mixed)
    assert point.k == pytest.approx(used.mean())
    assert point.score == pytest.approx(right.mean())
    lost, won = int((all_right & ~right).sum()), int((right & ~all_right).sum())
    assert point.p == pytest.approx(stats.mcnemar(lost, won))
    assert [p.share for p in found["posterior"]] == sorted(p.share for p in found["posterior"])


def test_several_rules_at_once_are_each_what_they_are_alone() -> None:
    t = simulate(200, 7, seed=5)
    rules = [stopping.posterior(0.7), stopping.window(2), stopping.window(3)]
    for rule, (used, choice) in zip(rules, stopping.replay_all(t, rules), strict=True):
        slow_used, slow = np.full(len(t), t.n), select.majority(t, RNG).outcome.copy()
        for row in range(len(t)):
            alone = t.of([row])
            for k in range(2, t.n):
                if rule(alone.first(k))[0]:
                    slow_used[row] = k
                    slow[row] = select.majority(alone.first(k), RNG).outcome[0]
                    break
        assert used.tolist() == slow_used.tolist()
        assert choice.outcome.tolist() == slow.tolist()


def test_what_is_kept_is_what_would_be_computed() -> None:
    t = simulate(50, 6, seed=6)
    order = np.argsort(np.random.default_rng(1).random((50, 6)), axis=1)[:, :4]
    part = keep(t).take(order)
    assert part.label is None
    assert np.array_equal(agreement(part), agreement(t.take(order)))
    assert np.array_equal(clusters(keep(part)), clusters(t.take(order)))
    assert np.array_equal(keep(t).of([3, 1]).label, clusters(t)[[3, 1]])
