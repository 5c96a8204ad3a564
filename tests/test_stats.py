"""Intervals, tests and ranks: against scipy and statsmodels, by enumeration, and by simulation."""

from __future__ import annotations

import importlib.util
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundingme import stats

ALONE = np.arange(1000)


def share(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1]


def as_columns(hits: np.ndarray) -> np.ndarray:
    return np.stack([hits, np.ones(len(hits))], axis=1).astype(float)


def images(rng: np.random.Generator, samples: int) -> np.ndarray:
    """About two thirds as many images as samples, some of them with three or more."""
    return np.sort(rng.integers(0, samples, size=samples))


def answers(rng: np.random.Generator, clusters: np.ndarray, mean: float, alike: float):
    """Right and wrong at random; samples of one image are right together with that likeness."""
    common = rng.random(clusters.max() + 1) < mean
    return np.where(rng.random(len(clusters)) < math.sqrt(alike), common[clusters],
                    rng.random(len(clusters)) < mean)  # fmt: skip


# The bootstrap.


def test_the_bootstrap_agrees_with_scipy() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(0)
    for hits in (rng.random(200) < 0.4, rng.beta(2, 3, 300)):
        ours = stats.bootstrap(as_columns(hits), ALONE[: len(hits)], share, resamples=20_000)
        theirs = bootstrap((hits,), np.mean, n_resamples=20_000, method="percentile",
                           random_state=1).confidence_interval  # fmt: skip
        assert ours.low == pytest.approx(theirs.low, abs=0.005)
        assert ours.high == pytest.approx(theirs.high, abs=0.005)


def test_whole_images_are_drawn() -> None:
    """Two samples an image, always alike: as sure as half as many samples, and not more."""
    half = np.random.default_rng(0).random(200) < 0.5
    clusters = np.repeat(np.arange(200), 2)
    twice = stats.bootstrap(as_columns(np.repeat(half, 2)), clusters, share)
    once = stats.bootstrap(as_columns(half), np.arange(200), share)
    apart = stats.bootstrap(as_columns(np.repeat(half, 2)), np.arange(400), share)
    assert twice == pytest.approx(once, abs=0.01)
    assert apart.high - apart.low < 0.8 * (twice.high - twice.low)


def test_sums_are_those_of_samples_drawn_one_by_one() -> None:
    """The same moments as drawing images in a plain loop, groups of random size included."""
    rng = np.random.default_rng(3)
    clusters = images(rng, 40)
    columns = np.stack([rng.random(40) < 0.5, rng.random(40) < 0.3, rng.random(40)], axis=1)
    ours = stats.resampled_sums(columns, clusters, resamples=20_000, seed=5)
    names = np.unique(clusters)
    plain = []
    for _ in range(5000):
        drawn = rng.choice(names, size=len(names))
        plain.append(sum(columns[clusters == one].sum(axis=0) for one in drawn))
    np.testing.assert_allclose(ours.mean(axis=0), np.mean(plain, axis=0), rtol=0.03)
    np.testing.assert_allclose(np.cov(ours.T), np.cov(np.array(plain).T), atol=0.6)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    columns = as_columns(np.random.default_rng(1).random(100) < 0.5)
    first, again, other = (
        stats.resampled_sums(columns, ALONE[:100], resamples=50, seed=seed) for seed in (7, 7, 8)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_weights_and_sums_are_one_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "_CHUNK", 1000)
    rng = np.random.default_rng(2)
    clusters = images(rng, 90)
    parts = list(stats.resampled_weights(clusters, resamples=3000))
    assert len(parts) > 100
    weights = np.concatenate(parts)
    assert weights.shape == (3000, 90)
    same_image = clusters[:-1] == clusters[1:]
    assert same_image.any()
    assert (weights[:, :-1] == weights[:, 1:])[:, same_image].all()
    sums = stats.resampled_sums(np.eye(90), clusters, resamples=3000)
    assert sums.shape == (3000, 90)
    assert weights.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(weights.var(axis=0), sums.var(axis=0), rtol=0.25)


def test_chunks_do_not_change_how_many_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.random.default_rng(0).random((50, 2))
    for chunk in (1, 130, 10**6):
        monkeypatch.setattr(stats, "_CHUNK", chunk)
        drawn = stats.resampled_sums(columns, ALONE[:50], resamples=37)
        assert drawn.shape == (37, 2)
        assert np.isfinite(drawn).all()


def test_undefined_resamples_are_left_out() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan], [2.0, np.nan, np.nan]])
    low, high = stats.percentiles(values, level=1.0)
    assert low[:2].tolist() == [1, 2]
    assert high[:2].tolist() == [3, 2]
    assert np.isnan([low[2], high[2]]).all()


def test_what_cannot_be_resampled_is_an_error() -> None:
    with pytest.raises(ValueError, match="NaN"):
        stats.resampled_sums([1.0, np.nan], [0, 1])
    with pytest.raises(ValueError, match="cluster a row"):
        stats.resampled_sums([1.0, 2.0], [0, 1, 2])
    assert np.isnan(stats.resampled_sums(np.zeros((0, 2)), [], resamples=3)).all()


def test_clusters_may_have_any_numbers() -> None:
    sums = stats.cluster_sums([1.0, 2.0, 4.0], [700, 5, 700])
    assert sums.tolist() == [[2.0], [5.0]]


# Exact intervals.


@given(st.integers(1, 3000), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_binomial_interval_is_that_of_scipy(trials: int, part: float, level: float) -> None:
    from scipy.stats import binomtest

    hits = round(part * trials)
    ours = stats.binomial_interval(hits, trials, level=level)
    theirs = binomtest(hits, trials).proportion_ci(level, method="exact")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(st.floats(0.05, 3000), st.floats(0.05, 3000), st.floats(0, 1))
def test_the_incomplete_beta_function_is_that_of_scipy(a: float, b: float, x: float) -> None:
    from scipy.special import betainc

    assert stats.beta_share(x, a, b) == pytest.approx(betainc(a, b, x), abs=1e-10)


def test_worked_intervals() -> None:
    # Clopper and Pearson for 0 of n: 1 - 0.025 ** (1 / n).
    assert stats.binomial_interval(0, 50) == pytest.approx((0, 1 - 0.025 ** (1 / 50)))
    assert stats.binomial_interval(50, 50) == pytest.approx((0.025 ** (1 / 50), 1))
    assert stats.binomial_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="hits"):
        stats.binomial_interval(3, 2)


def test_shared_images_widen_the_exact_interval() -> None:
    half = np.random.default_rng(0).random(60) < 0.4
    clusters = np.repeat(np.arange(60), 2)
    assert stats.effective_size(np.repeat(half, 2), clusters) == pytest.approx(60, rel=0.02)
    twice = stats.exact_interval(np.repeat(half, 2), clusters)
    once = stats.exact_interval(half, ALONE[:60])
    assert twice == pytest.approx(once, abs=0.01)
    assert once == stats.binomial_interval(float(half.sum()), 60.0)


def test_the_effective_size_at_its_ends() -> None:
    clusters = np.repeat(np.arange(5), 4)
    assert stats.effective_size(np.zeros(20), clusters) == 5
    assert stats.effective_size(np.ones(20), clusters) == 5
    assert stats.effective_size([], []) == 0
    # Opposites within every image: more than independent, but never counted as more.
    assert stats.effective_size(np.tile([0, 1], 10), np.repeat(np.arange(10), 2)) <= 20
    assert all(math.isnan(end) for end in stats.exact_interval([], []))


def test_few_hits_or_few_misses_need_the_exact_interval() -> None:
    assert stats.needs_exact(np.arange(201) < 0)
    assert stats.needs_exact(np.arange(201) < 29)
    assert stats.needs_exact(np.arange(201) > 28)
    assert not stats.needs_exact(np.arange(201) < 30)


# Paired tests.


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int) -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    theirs = mcnemar([[5, only_a], [only_b, 7]], exact=True).pvalue
    assert stats.mcnemar(only_a, only_b) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 5)), max_size=24))
def test_swapped_images_are_counted_in_full(rows: list[tuple[int, int]]) -> None:
    """All ways of swapping the two models, image by image, in a plain loop."""
    totals: dict[int, int] = {}
    for gain, image in rows:
        totals[image] = totals.get(image, 0) + gain
    observed = abs(sum(totals.values()))
    swaps = [
        abs(sum(sign * total for sign, total in zip(signs, totals.values(), strict=True)))
        for signs in product((1, -1), repeat=len(totals))
    ]
    expected = sum(one >= observed for one in swaps) / len(swaps)
    found = stats.paired_test([r[0] for r in rows], [r[1] for r in rows]) if rows else 1.0
    assert found == pytest.approx(expected)


def test_a_large_paired_test_does_not_overflow() -> None:
    assert 0 < stats.mcnemar(5300, 5000) < 0.01
    assert stats.mcnemar(0, 0) == stats.mcnemar(4, 4) == 1


def test_holm_is_that_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for size in (1, 4, 12, 40):
        values = rng.random(size) ** 3
        np.testing.assert_allclose(stats.holm(values), multipletests(values, method="holm")[1])
    assert stats.holm([]).tolist() == []


# Ranks.


def test_ranks_follow_from_pairs() -> None:
    nothing = np.zeros((3, 3), dtype=bool)
    assert stats.rank_ranges(nothing).tolist() == [[1, 3]] * 3
    ordered = np.triu(np.ones((3, 3), dtype=bool), 1)
    assert stats.rank_ranges(ordered).tolist() == [[1, 1], [2, 2], [3, 3]]


def ranks_of(right: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """As a comparison does it: exact tests of all pairs, corrected by Holm."""
    k = len(right)
    pairs = [(a, b) for a in range(k) for b in range(a + 1, k)]
    gains = [right[a].astype(int) - right[b] for a, b in pairs]
    adjusted = stats.holm([stats.paired_test(gain, clusters) for gain in gains])
    better = np.zeros((k, k), dtype=bool)
    for (a, b), gain, p in zip(pairs, gains, adjusted, strict=True):
        if p <= 0.05:
            better[(a, b) if gain.sum() > 0 else (b, a)] = True
    return stats.rank_ranges(better)


def rank_coverage(sets: int, samples: int) -> tuple[float, float]:
    """How often all true ranks lie in their ranges, and how many ranks a range spans."""
    rng = np.random.default_rng(11)
    levels = np.array([0.60, 0.50, 0.50, 0.47, 0.30])
    best = 1 + (levels[None, :] > levels[:, None]).sum(axis=1)
    worst = len(levels) - (levels[None, :] < levels[:, None]).sum(axis=1)
    inside, width = 0, 0.0
    for _ in range(sets):
        clusters = images(rng, samples)
        luck = answers(rng, clusters, 0.5, 0.3)
        own = np.stack([answers(rng, clusters, p, 0.3) for p in levels])
        # Half of what decides is common to all models; the margins stay as they are.
        shared = np.where(luck, rng.random(samples) < 2 * levels[:, None],
                          rng.random(samples) < 2 * levels[:, None] - 1)  # fmt: skip
        right = np.where(rng.random((len(levels), samples)) < 0.5, shared, own)
        ranges = ranks_of(right, clusters)
        # Of a tie every rank is true.
        inside += bool(((ranges[:, 0] <= best) & (ranges[:, 1] >= worst)).all())
        width += float((ranges[:, 1] - ranges[:, 0]).mean())
    return inside / sets, width / sets


def test_true_ranks_lie_in_their_ranges() -> None:
    inside, width = rank_coverage(40, 300)
    assert inside >= 0.9
    assert 0 < width < 4


@pytest.mark.slow
def test_true_ranks_lie_in_their_ranges_in_many_data_sets() -> None:
    inside, width = rank_coverage(1000, 300)
    assert inside >= 0.94
    assert 0 < width < 3


# Coverage.


def coverage(sets: int, samples: int, mean: float, alike: float) -> dict[str, float]:
    """How often intervals of several kinds hold the truth."""
    rng = np.random.default_rng(17)
    found = dict.fromkeys(("bootstrap", "exact", "chosen", "difference"), 0)
    for at in range(sets):
        clusters = images(rng, samples)
        hits, others = (answers(rng, clusters, mean, alike) for _ in range(2))
        columns = np.stack([hits, others, np.ones(samples)], axis=1)
        drawn = stats.resampled_sums(columns, clusters, resamples=1000, seed=at)
        low, high = stats.percentiles(share(drawn[:, [0, 2]]))
        exact = stats.exact_interval(hits, clusters)
        chosen = exact if stats.needs_exact(hits) else (low, high)
        apart = stats.percentiles((drawn[:, 0] - drawn[:, 1]) / drawn[:, 2])
        found["bootstrap"] += low <= mean <= high
        found["exact"] += exact[0] <= mean <= exact[1]
        found["chosen"] += chosen[0] <= mean <= chosen[1]
        found["difference"] += apart[0] <= 0 <= apart[1]
    return {name: count / sets for name, count in found.items()}


def test_intervals_hold_the_truth() -> None:
    found = coverage(150, 300, 0.4, 0.5)
    assert 0.90 <= found["bootstrap"] <= 0.99
    assert 0.90 <= found["difference"] <= 0.99
    assert found["exact"] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_intervals_hold_the_truth_in_2000_data_sets(alike: float) -> None:
    found = coverage(2000, 1005, 0.4, alike)
    assert found["bootstrap"] == pytest.approx(0.95, abs=0.01)
    assert found["difference"] == pytest.approx(0.95, abs=0.01)
    assert 0.94 <= found["exact"] <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("samples", "mean"), [(201, 0.02), (201, 0.98), (50, 0.3), (200, 0.9)])
def test_small_cells_and_rare_hits_are_covered(samples: int, mean: float) -> None:
    found = coverage(2000, samples, mean, 0.3)
    assert found["exact"] >= 0.94
    assert found["chosen"] >= 0.94


@pytest.mark.slow
def test_equal_models_are_told_apart_in_at_most_five_of_a_hundred() -> None:
    rng = np.random.default_rng(23)
    alarms, family = 0, 0
    for _ in range(2000):
        clusters = images(rng, 200)
        gains = [
            answers(rng, clusters, 0.5, 0.6).astype(int) - answers(rng, clusters, 0.5, 0.6)
            for _ in range(4)
        ]
        values = [stats.paired_test(one, clusters) for one in gains]
        alarms += values[0] <= 0.05
        family += bool((stats.holm(values) <= 0.05).any())
    assert alarms / 2000 <= 0.055
    assert family / 2000 <= 0.055


def test_the_bench_measures_the_bootstrap() -> None:
    path = Path(__file__).resolve().parents[1] / "bench" / "intervals.py"
    spec = importlib.util.spec_from_file_location("bench_intervals", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.measure(samples=300, images=200, resamples=500, runs=2)
    assert set(found) >= {"figures_s", "auroc_s", "mean_iou_s"}
    assert all(value > 0 for value in found.values())
