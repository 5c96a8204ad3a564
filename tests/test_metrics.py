"""Figures of scores: worked examples, and the same figures computed again in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundingme import metrics, taxonomy
from groundingme.protocols import OUTCOMES, Scores

THRESHOLDS = ("0.50", "0.55", "0.60", "0.65", "0.70", "0.75", "0.80", "0.85", "0.90", "0.95")
FIGURES = ("IoU", "ACC@0.5", "ACC@0.75", "ACC@0.9", "mACC", "Center_ACC")

iou = st.floats(0, 1) | st.sampled_from([float(text) for text in THRESHOLDS])
subtask = st.sampled_from([(row.l1, row.l2) for row in taxonomy.SUBTASKS] + [("Mine", "New")])
row = st.tuples(iou, st.booleans(), st.sampled_from(range(4)), st.booleans(), subtask)
Row = tuple[float, bool, int, bool, tuple[str, str]]


def scores_of(rows: Sequence[Row]) -> Scores:
    n = len(rows)
    return Scores(
        protocol="strict",
        coords="abs",
        ids=[str(i) for i in range(n)],
        subtask_l1=[r[4][0] for r in rows],
        subtask_l2=[r[4][1] for r in rows],
        negatives=np.zeros(n, dtype=bool),
        outcome=np.array([r[2] for r in rows], dtype=np.int8),
        reasons=[""] * n,
        written=np.full((n, 4), np.nan),
        boxes=np.full((n, 4), np.nan),
        ious=np.array([r[0] for r in rows], dtype=np.float64),
        centers=np.array([r[1] for r in rows], dtype=bool),
        scored=np.array([r[3] for r in rows], dtype=bool),
    )


def plain_figures(rows: Sequence[Row]) -> dict[str, float]:
    """The figures of one group, one sample after another."""
    counted = [r for r in rows if r[3]]
    n = len(counted)
    if not n:
        return dict.fromkeys(FIGURES, math.nan)

    def reached(threshold: str) -> float:
        return sum(r[0] >= float(threshold) for r in counted) / n

    return {
        "IoU": math.fsum(r[0] for r in counted) / n,
        "ACC@0.5": reached("0.5"),
        "ACC@0.75": reached("0.75"),
        "ACC@0.9": reached("0.9"),
        "mACC": sum(map(reached, THRESHOLDS)) / 10,
        "Center_ACC": sum(r[1] for r in counted) / n,
    }


def test_worked_examples() -> None:
    ious = np.array([1.0, 0.5, 0.49999, 0.75, 0.0])
    assert metrics.accuracy(ious) == 3 / 5
    assert metrics.accuracy(ious, threshold=0.75) == 2 / 5
    assert metrics.accuracy(ious, threshold=1.0) == 1 / 5
    # 10 of 10, 1, 0, 6 and 0 thresholds.
    assert metrics.mean_accuracy(ious) == pytest.approx(17 / 50)
    assert metrics.mean_iou(ious) == pytest.approx(2.74999 / 5)
    assert metrics.center_accuracy(np.array([True, False, True, True])) == 0.75


def test_an_iou_on_the_threshold_reaches_it() -> None:
    assert [str(t) for t in metrics.THRESHOLDS] == [str(float(text)) for text in THRESHOLDS]
    for count, text in enumerate(THRESHOLDS, start=1):
        assert metrics.accuracy(np.array([float(text)]), threshold=float(text)) == 1
        assert metrics.mean_accuracy(np.array([float(text)])) == count / 10
        below = math.nextafter(float(text), 0)
        assert metrics.accuracy(np.array([below]), threshold=float(text)) == 0
        assert metrics.mean_accuracy(np.array([below])) == (count - 1) / 10


def test_no_samples_give_nan_and_not_a_number_is_never_correct() -> None:
    for figure in (metrics.accuracy, metrics.mean_accuracy, metrics.mean_iou):
        assert math.isnan(figure(np.array([])))
    assert math.isnan(metrics.center_accuracy(np.array([], dtype=bool)))
    strange = np.array([math.nan, 1.0])
    assert metrics.accuracy(strange) == metrics.mean_accuracy(strange) == 0.5
    assert math.isnan(metrics.mean_iou(strange))


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, math.nan, math.inf])
def test_a_threshold_out_of_range_is_an_error(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold in"):
        metrics.accuracy(np.array([1.0]), threshold=threshold)


def test_anything_but_a_column_is_an_error() -> None:
    square, single = np.ones((2, 2)), np.float64(1)
    for wrong in (square, single):
        for figure in (metrics.accuracy, metrics.mean_accuracy, metrics.mean_iou):
            with pytest.raises(ValueError, match="shape"):
                figure(wrong)  # type: ignore[arg-type]


@given(st.lists(iou, min_size=1, max_size=40))
def test_figures_are_those_of_plain_python(ious: list[float]) -> None:
    column, n = np.array(ious), len(ious)
    assert metrics.accuracy(column) == sum(x >= 0.5 for x in ious) / n
    reached = [sum(x >= float(text) for text in THRESHOLDS) / 10 for x in ious]
    assert metrics.mean_accuracy(column) == pytest.approx(math.fsum(reached) / n, abs=1e-12)
    # To the last bit the plain sum, as the module promises.
    total = 0.0
    for x in ious:
        total += x
    assert metrics.mean_iou(column) == total / n


@given(st.lists(row, max_size=25))
def test_the_summary_is_that_of_plain_python(rows: list[Row]) -> None:
    figures = metrics.summarize(scores_of(rows))
    expected = plain_figures(rows)
    for l1 in {r[4][0] for r in rows}:
        members = [r for r in rows if r[4][0] == l1]
        expected |= {f"{l1}_{name}": v for name, v in plain_figures(members).items()}
    for pair in {r[4] for r in rows}:
        members = [r for r in rows if r[4] == pair]
        prefix = f"{pair[0]}_{pair[1]}_"
        expected |= {prefix + name: value for name, value in plain_figures(members).items()}
    expected |= {"samples": len(rows), "scored": sum(r[3] for r in rows)}
    for code, name in enumerate(OUTCOMES):
        expected[name] = sum(r[2] == code for r in rows)
    assert figures.keys() == expected.keys()
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_groups_come_in_the_taxonomys_order_and_unknown_ones_last() -> None:
    pairs = [("Zoo", "Cat"), *[(r.l1, r.l2) for r in reversed(taxonomy.SUBTASKS)], ("Spatial", "")]
    figures = metrics.summarize(scores_of([(1.0, True, 0, True, pair) for pair in pairs]))
    names = [name.removesuffix("_IoU") for name in figures if name.endswith("_IoU")]
    subtasks = [f"{r.l1}_{r.l2}" for r in taxonomy.SUBTASKS]
    assert names == [*taxonomy.L1, "Zoo", *subtasks, "Zoo_Cat"]


def test_samples_without_a_subtask_make_no_group() -> None:
    figures = metrics.summarize(scores_of([(1.0, True, 0, True, ("", ""))] * 3))
    assert list(figures)[:6] == list(FIGURES)
    assert list(figures)[6:] == ["samples", "scored", *OUTCOMES]


def test_an_empty_data_set_has_figures_of_nan_and_counts_of_zero() -> None:
    figures = metrics.summarize(scores_of([]))
    assert all(math.isnan(figures[name]) for name in FIGURES)
    assert {figures[name] for name in ("samples", "scored", *OUTCOMES)} == {0}


def test_a_group_without_a_scored_sample_is_nan_and_the_others_are_not() -> None:
    rows: list[Row] = [
        (0.0, False, 3, False, ("Spatial", "Counting")),
        (1.0, True, 0, True, ("Limited", "Small")),
    ]
    figures = metrics.summarize(scores_of(rows))
    assert math.isnan(figures["Spatial_ACC@0.5"])
    assert math.isnan(figures["Spatial_Counting_IoU"])
    assert figures["ACC@0.5"] == figures["Limited_Small_mACC"] == 1
    assert (figures["samples"], figures["scored"], figures["failed"]) == (2, 1, 1)


def test_outcomes_are_counted_within_a_mask_and_in_order() -> None:
    scores = scores_of([(0.0, False, code, False, ("", "")) for code in (0, 1, 1, 3)])
    assert metrics.count_outcomes(scores) == {"box": 1, "rejected": 2, "unparsed": 0, "failed": 1}
    assert list(metrics.count_outcomes(scores)) == list(OUTCOMES)
    mask = np.array([False, True, False, True])
    masked = metrics.count_outcomes(scores, mask)
    assert masked == {"box": 0, "rejected": 1, "unparsed": 0, "failed": 1}
