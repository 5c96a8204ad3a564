"""Rejection, confidence, mistakes, slices, other benchmarks: against scikit-learn and by hand."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from groundingme import benchmarks, mistakes, rejection, selective, slices, stats
from groundingme.protocols import score
from groundingme.schema import Generation, Sample
from test_metrics import scores_of

truths = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=60)
ranked = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), st.booleans()),
    min_size=2, max_size=40,
)  # fmt: skip


# Rejection.


def test_a_worked_example_of_rejection() -> None:
    """8 positives: 5 found, 1 rejected, 2 elsewhere. 4 negatives: 3 rejected."""
    negatives = [False] * 8 + [True] * 4
    rejected = [False] * 7 + [True] + [True] * 3 + [False]
    right = [True] * 5 + [False] * 7
    sums = rejection.indicators(negatives, rejected, right).sum(axis=0)
    assert sums.tolist() == [8, 5, 1, 4, 3]
    values = {name: float(measure(sums)) for name, measure in rejection.MEASURES.items()}
    assert values == {
        "Acc@0.5 of positives": 5 / 8,
        "N-acc": 3 / 4,
        "T-acc": 7 / 8,
        "false rejections": 1 / 8,
        "balanced": 11 / 16,
        "harmonic": pytest.approx(2 * (5 / 8) * (3 / 4) / (11 / 8)),
        "precision": 3 / 4,
        "F1": 3 / 4,
        "MCC": pytest.approx((3 * 7 - 1) / math.sqrt(4 * 8 * 8 * 4)),
    }


@given(truths)
def test_precision_recall_f1_and_mcc_are_those_of_scikit_learn(rows) -> None:
    from sklearn import metrics as sk

    negatives, rejected, right = (np.array(column) for column in zip(*rows, strict=True))
    sums = rejection.indicators(negatives, rejected, right).sum(axis=0)
    kwargs = {"zero_division": np.nan}
    for ours, theirs in (
        (rejection.rejection_precision, sk.precision_score(negatives, rejected, **kwargs)),
        (rejection.n_accuracy, sk.recall_score(negatives, rejected, **kwargs)),
        (rejection.rejection_f1, sk.f1_score(negatives, rejected, **kwargs)),
    ):
        assert float(ours(sums)) == pytest.approx(theirs, nan_ok=True)
    if 0 < negatives.sum() < len(rows):
        expected = sk.matthews_corrcoef(negatives, rejected)
        assert float(rejection.rejection_mcc(sums)) == pytest.approx(expected, abs=1e-12)
        # A right box is not rejected; scikit-learn sees only what is rejected.
        hits = np.where(negatives, rejected, right & ~rejected)
        expected = sk.balanced_accuracy_score(negatives, np.where(hits, negatives, ~negatives))
        assert float(rejection.balanced_score(sums)) == pytest.approx(expected)


def test_who_says_always_the_same_wins_nothing() -> None:
    negatives = np.arange(100) < 20
    for said in (True, False):
        sums = rejection.indicators(negatives, np.full(100, said), ~negatives).sum(axis=0)
        assert float(rejection.n_accuracy(sums)) == said
        assert float(rejection.t_accuracy(sums)) == (not said)
        assert float(rejection.balanced_score(sums)) == 0.5
        assert float(rejection.harmonic_score(sums)) == 0
        assert float(rejection.rejection_mcc(sums)) == 0


def test_measures_of_many_resamples_at_once() -> None:
    rng = np.random.default_rng(0)
    sums = rng.integers(0, 30, size=(7, 3, 5)).astype(float)
    sums[..., 1] = np.minimum(sums[..., 1], sums[..., 0])
    sums[..., 2] = np.minimum(sums[..., 2], sums[..., 0] - sums[..., 1])
    sums[..., 4] = np.minimum(sums[..., 4], sums[..., 3])
    for measure in rejection.MEASURES.values():
        many = measure(sums)
        assert many.shape == (7, 3)
        for at in itertools.product(range(7), range(3)):
            assert float(many[at]) == pytest.approx(float(measure(sums[at])), nan_ok=True)


def test_samples_of_one_kind_leave_measures_undefined() -> None:
    none = rejection.indicators([False, False], [True, False], [False, True]).sum(axis=0)
    for name in ("N-acc", "balanced", "harmonic", "MCC"):
        assert math.isnan(float(rejection.MEASURES[name](none))), name
    assert float(rejection.false_rejection_rate(none)) == 0.5
    with pytest.raises(ValueError, match="shape"):
        rejection.n_accuracy([1, 2, 3])
    with pytest.raises(ValueError, match="one shape"):
        rejection.indicators([True], [True, False], [True, False])


# Confidence.


@given(ranked)
def test_ranking_figures_are_those_of_scikit_learn(rows) -> None:
    from sklearn import metrics as sk

    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    if labels.all() or not labels.any():
        assert math.isnan(float(selective.auroc(scores, labels)))
        return
    assert float(selective.auroc(scores, labels)) == pytest.approx(sk.roc_auc_score(labels, scores))
    expected = sk.average_precision_score(labels, scores)
    assert float(selective.average_precision(scores, labels)) == pytest.approx(expected)
    fpr, tpr, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    expected = fpr[np.flatnonzero(tpr >= 0.95 - 1e-9)[0]]
    assert float(selective.fpr_at_tpr(scores, labels)) == pytest.approx(expected)


@given(ranked, st.integers(0, 5))
def test_weights_are_repetitions(rows, seed: int) -> None:
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(rows)))
    for figure in (selective.auroc, selective.average_precision, selective.fpr_at_tpr):
        many = figure(scores, labels, weights)
        for row, value in zip(weights, many, strict=True):
            repeated = figure(np.repeat(scores, row), np.repeat(labels, row))
            assert float(value) == pytest.approx(float(repeated), nan_ok=True)


def test_no_confidence_ranks_below_all_others() -> None:
    assert float(selective.auroc([np.nan, 0.0], [True, False])) == 0
    assert float(selective.auroc([0.0, np.nan], [True, False])) == 1
    sure = selective.absence([0.9, 0.8, np.nan], [True, False, True])
    assert sure[:2] == pytest.approx([0.9, 0.2])
    assert math.isnan(sure[2])


@given(ranked)
def test_the_risk_coverage_curve_is_the_mean_over_all_orders_of_ties(rows) -> None:
    rows = rows[:6]
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    curves = []
    for order in itertools.permutations(range(len(rows))):
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order)):
            wrong = np.cumsum([not right[at] for at in order])
            curves.append(wrong / np.arange(1, len(rows) + 1))
    expected = np.mean(curves, axis=0)
    found = selective.risk_coverage(confidence, right)
    np.testing.assert_allclose(found.risk, expected)
    assert found.coverage[-1] == 1
    assert selective.aurc(confidence, right) == pytest.approx(expected.mean())


def test_aurc_of_a_perfect_and_of_a_useless_confidence() -> None:
    right = np.arange(100) < 60
    assert selective.aurc(np.full(100, 0.5), right) == pytest.approx(0.4)
    best = selective.aurc(np.linspace(1, 0, 100), right)
    assert best == pytest.approx(sum((k - 60) / k for k in range(61, 101)) / 100)
    assert selective.aurc(np.linspace(0, 1, 100), right) > 0.4
    assert math.isnan(selective.aurc(np.full(3, np.nan), right[:3]))


def test_the_operating_point_by_trying_every_threshold() -> None:
    rng = np.random.default_rng(0)
    for rate in (0.0, 0.05, 0.2, 1.0):
        negatives = rng.random(80) < 0.3
        absent = np.round(rng.random(80), 1)
        found = rng.random(80) < 0.5
        point = selective.accuracy_at_false_rejection(absent, negatives, found, rate=rate)
        best = max(
            ((absent >= t)[negatives].mean(), t)
            for t in (*np.unique(absent), np.inf)
            if (absent >= t)[~negatives].mean() <= rate + 1e-12
        )
        assert point.n_accuracy == best[0]
        assert point.false_rejections <= rate
        said = absent >= point.threshold
        assert point.accuracy == np.where(negatives, said, found & ~said).mean()
    undefined = selective.accuracy_at_false_rejection([np.nan], [False], [True])
    assert math.isnan(undefined.accuracy)


def resampled(figure, stated, right, images, draws=1500):
    """The interval, slowly: images drawn one by one, and the figure of each draw by itself."""
    rng = np.random.default_rng(11)
    members = [np.flatnonzero(images == image) for image in np.unique(images)]
    found = []
    for _ in range(draws):
        rows = np.concatenate([members[at] for at in rng.integers(0, len(members), len(members))])
        found.append(float(figure(stated[rows], right[rows])))
    return np.quantile(found, [0.025, 0.975])


@pytest.mark.parametrize(
    "figure",
    [selective.aurc, selective.brier, selective.calibration_error],
    ids=lambda f: f.__name__,
)
def test_intervals_of_confidence_are_those_of_a_direct_bootstrap(figure) -> None:
    rng = np.random.default_rng(5)
    images = np.repeat(np.arange(60), 4)
    stated = np.round(rng.random(240), 1)
    # Samples of one image share their luck, so the clusters matter.
    right = np.repeat(rng.random(60) < 0.6, 4) ^ (rng.random(240) < 0.1)
    stated[rng.random(240) < 0.1] = np.nan
    weights = np.concatenate(list(stats.resampled_weights(images, resamples=1500, seed=3)))
    low, high = stats.percentiles(figure(stated, right, weights))
    assert [low, high] == pytest.approx(resampled(figure, stated, right, images), abs=0.02)
    alone = stats.percentiles(
        figure(stated, right, next(stats.resampled_weights(np.arange(240), resamples=1500)))
    )
    if figure is selective.aurc:
        assert high - low > 1.3 * (alone[1] - alone[0]), "whole images are drawn"


@pytest.mark.parametrize(
    "figure",
    [selective.aurc, selective.brier, selective.calibration_error],
    ids=lambda f: f.__name__,
)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.5, 0.9, math.nan]), st.booleans(),
                          st.integers(0, 3)), min_size=1, max_size=12))  # fmt: skip
def test_a_weight_is_as_many_copies(figure, rows) -> None:
    stated, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    weights = np.array([r[2] for r in rows])
    copies = np.repeat(np.arange(len(rows)), weights)
    assume(len(copies) and not np.isnan(stated[copies]).all())
    expected = float(figure(stated[copies], right[copies]))
    assert figure(stated, right, weights[None])[0] == pytest.approx(expected)
    if figure is selective.aurc:
        curve = selective.risk_coverage(stated[copies], right[copies])
        assert expected == pytest.approx(curve.risk.mean())


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_brier_is_that_of_scikit_learn(rows) -> None:
    from sklearn.metrics import brier_score_loss

    stated, right = (np.array(column) for column in zip(*rows, strict=True))
    expected = brier_score_loss(right, stated, labels=[False, True], pos_label=True)
    assert selective.brier(stated, right) == pytest.approx(expected)


def test_a_worked_reliability_diagram() -> None:
    """Guo et al.: bins (0, 0.5] and (0.5, 1]; gaps 0.3 - 0.5 and 0.8 - 1/3."""
    stated = np.array([0.2, 0.4, 0.6, 0.8, 1.0, np.nan])
    right = np.array([True, False, True, False, False, True])
    found = selective.reliability(stated, right, bins=2)
    assert found.counts.tolist() == [2, 3]
    assert found.stated == pytest.approx([0.3, 0.8])
    assert found.right == pytest.approx([0.5, 1 / 3])
    expected = 2 / 5 * 0.2 + 3 / 5 * (0.8 - 1 / 3)
    assert selective.calibration_error(stated, right, bins=2) == pytest.approx(expected)
    edges = selective.reliability([0.0, 0.1, 0.2, 1.0], [True] * 4)
    assert edges.counts.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert math.isnan(edges.right[2])
    with pytest.raises(ValueError, match="probabilities"):
        selective.brier([1.5], [True])


@pytest.mark.filterwarnings("ignore")
def test_bins_are_those_of_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(0)
    stated = rng.random(500)
    right = rng.random(500) < stated
    found = selective.reliability(stated, right, bins=8)
    expected, means = calibration_curve(right, stated, n_bins=8)
    np.testing.assert_allclose(found.right, expected)
    np.testing.assert_allclose(found.stated, means)


# Mistakes.


def reply(id: str, box: list[float] | None, **more) -> Generation:
    text = f'{{"bbox_2d": {"null" if box is None else box}}}'
    return Generation(id=id, text=text, **more)


def test_every_kind_of_mistake() -> None:
    target = (0.0, 0.0, 10.0, 10.0)
    others = [[[20, 0, 30, 10], [0, 0, 10, 4]]]
    cases = {
        "right": (target, reply("x", [0, 0, 10, 9])),
        "sloppy box": (target, reply("x", [0, 0, 10, 4.4])),
        "wrong object": (target, reply("x", [21, 0, 30, 10])),
        "false rejection": (target, reply("x", None)),
        "missed rejection": (None, reply("x", [0, 0, 1, 1])),
        "unparsed": (target, Generation(id="x", text="Hm.")),
        "failed": (target, Generation(id="x", failure="timeout")),
    }
    assert list(cases) == list(mistakes.KINDS)
    for kind, (box, generation) in cases.items():
        sample = Sample(id="x", description="d", target=box)
        scores = score([sample], {"x": generation}, protocol="strict")
        found = mistakes.classify(scores)
        assert mistakes.KINDS[found.kind[0]] == kind
        assert found.counts()[kind] == sum(found.counts().values()) == 1
        assert found.other.tolist() == [-1]
    rejected = score([Sample(id="x", description="d", target=None)], {"x": reply("x", None)},
                     protocol="strict")  # fmt: skip
    assert mistakes.classify(rejected).kind.tolist() == [mistakes.RIGHT]
    # With other objects known, 4.4 of 10 overlaps the flat one more than the target.
    sample = Sample(id="x", description="d", target=target)
    scores = score([sample], {"x": cases["sloppy box"][1]}, protocol="strict")
    found = mistakes.classify(scores, others)
    assert mistakes.KINDS[found.kind[0]] == "wrong object"
    assert found.other.tolist() == [1]
    scores = score([sample], {"x": cases["wrong object"][1]}, protocol="strict")
    assert mistakes.classify(scores, others).other.tolist() == [0]


def test_the_ends_of_sloppy() -> None:
    rows = [(iou, False, 0, True, ("", "")) for iou in (0.5, 0.4999, 0.05, 0.0499, 0.0)]
    kinds = [mistakes.KINDS[at] for at in mistakes.classify(scores_of(rows)).kind]
    assert kinds == ["right", "sloppy box", "sloppy box", "wrong object", "wrong object"]


def test_other_objects_are_read_from_what_data_sets_carry() -> None:
    objects = [
        {"kind": "mug", "color": "grey", "bbox": [0, 0, 10, 10]},
        {"kind": "cup", "color": "red", "bbox": [20, 0, 30, 10]},
        {"kind": "broken", "bbox": "none"},
    ]
    sample = Sample(id="x", description="d", target=(0, 0, 10, 10), extra={"objects": objects})
    assert mistakes.other_objects(sample) == [mistakes.OtherObject((20, 0, 30, 10), "red cup")]
    listed = msgspec.structs.replace(sample, extra={"distractors": [[1, 2, 3, 4], [5]]})
    assert mistakes.other_objects(listed) == [mistakes.OtherObject((1, 2, 3, 4))]
    plain = Sample(id="y", description="d", target=None)
    assert mistakes.other_boxes([plain]) is None
    boxes = mistakes.other_boxes([plain, sample])
    assert boxes is not None
    assert [len(one) for one in boxes] == [0, 1]


# Slices.


def test_slices_of_a_data_set() -> None:
    sides = (100, 127.99, 128, 256, 256.01, 500)
    samples = [
        Sample(
            id=str(at), description="word " * (at + 1), target=(0, 0, side, side),
            width=100 * (at + 1), height=100 * (at + 1), subtask_l1="Spatial",
            subtask_l2="Counting" if at % 2 else "Relationship", extra={"same_class": at},
        )
        for at, side in enumerate(sides)
    ]  # fmt: skip
    samples.append(Sample(id="n", description="none", target=None, subtask_l1="Rejection"))
    found = slices.slices_of(samples)
    names = {(one.dimension, one.name): int(one.members.sum()) for one in found}
    assert names["L-1", "Spatial"] == 6
    assert names["L-1", "Rejection"] == 1
    assert names["L-2", "Spatial/Counting"] == 3
    sized = [count for (dimension, _), count in names.items() if dimension == "target"]
    assert sized == [2, 2, 2]
    for dimension in ("image", "description", "same class"):
        parts = [one.members for one in found if one.dimension == dimension]
        # Each sample is in one slice at most; those without a value are in none.
        assert np.sum(parts, axis=0).max() == 1
        assert len(parts) == 4
    assert {one.title for one in found} >= {"Spatial", "Spatial/Counting"}


@given(st.lists(st.integers(0, 12), max_size=40), st.integers(2, 5))
def test_quantile_slices_share_the_samples_out(values: list[int], parts: int) -> None:
    found = slices.quantile_slices("x", values, "things", parts=parts)
    if len(set(values)) < 2:
        assert found == []
        return
    assert len(found) <= parts
    if found:
        assert np.sum([one.members for one in found], axis=0).tolist() == [1] * len(values)
    # Slices do not interleave.
    column = np.array(values)
    for low, high in itertools.pairwise(found):
        assert column[low.members].max() < column[high.members].min()


def test_what_answering_took() -> None:
    scores = scores_of([(1.0, True, 0, True, (l1, "")) for l1 in ("Spatial", "Limited", "Limited")])
    generations = {
        "0": Generation(id="0", latency=2.0, prompt_tokens=10, completion_tokens=4),
        "1": Generation(id="1", latency=4.0, prompt_tokens=20),
        "2": Generation(id="2", failure="timeout", latency=99.0),
    }
    found = {one.name: one for one in slices.efforts(scores, generations)}
    assert list(found) == ["all", "Spatial", "Limited"]
    assert (found["all"].replies, found["all"].seconds, found["all"].prompt_tokens) == (2, 3, 15)
    assert (found["Limited"].replies, found["Limited"].seconds) == (1, 4)
    assert math.isnan(found["Limited"].completion_tokens)
    assert math.isnan(slices.efforts(scores, {})[0].seconds)


# Other benchmarks.


def test_grec_on_a_worked_example() -> None:
    """Six samples: both found, one of two found, one box too many, a double, none rightly, none."""
    a, b, c = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]
    close = [0, 0, 10, 9]
    predicted = [[b, close], [a], [a, b], [a, close], [], [c]]
    targets = [[a, b], [a, b], [a], [a], [], []]
    f1 = [benchmarks.set_f1(p, t) for p, t in zip(predicted, targets, strict=True)]
    assert f1 == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3, 1, 0])
    assert benchmarks.grec(predicted, targets) == pytest.approx((2 / 6, 1 / 2, 1.0))
    missed = benchmarks.grec([[]], [[a]])
    assert missed.precision == missed.t_accuracy == 0
    assert math.isnan(missed.n_accuracy)
    with pytest.raises(ValueError, match="as many"):
        benchmarks.grec([[]], [])


def test_grec_by_the_published_scorers_overlap() -> None:
    """Shifted by a third both ways: IoU 0.5 less the hull's share is under the threshold."""
    target, shifted = [0, 0, 10, 10], [1.5, 1.5, 11.5, 11.5]
    iou = 8.5**2 / (200 - 8.5**2)
    giou = iou - (11.5**2 - (200 - 8.5**2)) / 11.5**2
    assert giou < 0.54 < iou
    assert benchmarks.generalized_iou([shifted], [target])[0, 0] == pytest.approx(giou)
    assert benchmarks.grec([[shifted]], [[target]], threshold=0.54).precision == 1
    strict = benchmarks.grec([[shifted]], [[target]], threshold=0.54, generalized=True)
    assert strict.precision == 0


def test_ref_l4_on_a_worked_example() -> None:
    targets = [[0, 0, side, side] for side in (50, 127, 128, 256, 300)]
    ious = np.array([0.5, 0.6, 0.95, 0.91, 0.0])
    found = benchmarks.ref_l4(ious, targets, ["cup", "cup", "dog", "dog", "dog"])
    # An IoU on the threshold is not above it: 0.5 fails at 0.5, 0.95 at 0.95.
    assert found["Acc@0.5"] == 3 / 5
    assert found["Acc@0.75"] == found["Acc@0.9"] == 2 / 5
    assert found["mAcc"] == pytest.approx((0 + 2 + 9 + 9 + 0) / 50)
    assert found["small Acc@0.5"] == 1 / 2
    assert found["medium Acc@0.5"] == 1
    assert found["medium mAcc"] == pytest.approx(0.9)
    assert found["large Acc@0.5"] == 0
    assert found["class Acc@0.5"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert math.isnan(benchmarks.ref_l4([0.7], targets[:1])["large mAcc"])
