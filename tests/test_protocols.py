"""Answers against targets: the protocols' table row by row, and slow readings of both protocols.

The published scorers' own figures are in `test_official`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundingme import metrics, protocols
from groundingme.errors import UnknownNameError
from groundingme.protocols import explain_difference, reading_hint, score
from groundingme.schema import Box, Generation, Sample

OFFICIAL = ("official", "official-lmms-eval")
TARGET = (100.0, 50.0, 400.0, 150.0)
REJECT = '{"bbox_2d": null}'
WORDS = "There is no matching object in the image."
SILENT = "I looked at the picture for a while."


def sample(id: str = "a", target: Box | None = TARGET, **fields: Any) -> Sample:
    size = {"width": 1000, "height": 200} | fields
    return Sample(id=id, description="the cup", target=target, **size)


def reply(text: str, id: str = "a", **fields: Any) -> dict[str, Generation]:
    return {id: Generation(id=id, text=text, **fields)}


def boxed(*numbers: float) -> str:
    return json.dumps({"bbox_2d": list(numbers)})


def one(
    asked: Sample, generations: Mapping[str, Generation], protocol: str, coords: str = "abs"
) -> tuple[str, str, float, bool, bool]:
    only = score([asked], generations, protocol=protocol, coords=coords)[0]
    assert only.id == asked.id
    assert (only.box is not None) == (only.outcome == "box")
    return only.outcome, only.reason, only.iou, only.center, only.scored


# The table in the module's docstring, in its order.


@pytest.mark.parametrize("target", [TARGET, None])
def test_without_a_generation_a_sample_failed(target: Box | None) -> None:
    asked, failed = sample(target=target), reply("", failure="timeout")
    assert one(asked, {}, "strict") == ("failed", "not-asked", 0, False, True)
    assert one(asked, failed, "strict") == ("failed", "timeout", 0, False, True)
    for protocol in OFFICIAL:
        assert one(asked, {}, protocol) == ("failed", "not-asked", 0, False, False)
        assert one(asked, failed, protocol) == ("failed", "timeout", 0, False, False)


def test_a_sample_with_a_problem_failed_whatever_was_answered() -> None:
    for asked, text in ((sample(problem="no image"), boxed(*TARGET)), (sample(problem="x"), "")):
        assert one(asked, reply(text), "strict") == ("failed", "bad-sample", 0, False, True)
        for protocol in OFFICIAL:
            assert one(asked, reply(text), protocol) == ("failed", "bad-sample", 0, False, False)


@pytest.mark.parametrize("target", [TARGET, None])
def test_a_reply_without_an_answer_is_unparsed(target: Box | None) -> None:
    asked, right = sample(target=target), float(target is None)
    assert one(asked, reply(SILENT), "strict") == ("unparsed", "no-answer", 0, False, True)
    for protocol in OFFICIAL:
        outcome, reason, iou, _, scored = one(asked, reply(SILENT), protocol)
        assert (outcome, reason, iou, scored) == ("rejected", "zeros", right, True)


def test_numbers_in_prose_are_a_box_under_the_official_protocols_alone() -> None:
    text = "I counted 100 50 400 150 of them."
    assert one(sample(), reply(text), "strict")[:3] == ("unparsed", "no-answer", 0)
    for protocol in OFFICIAL:
        assert one(sample(), reply(text), protocol) == ("box", "abs", 1, True, True)


@pytest.mark.parametrize("negative", [{"target": None}, {"subtask_l1": "Rejection"}])
@pytest.mark.parametrize(("text", "reason"), [(REJECT, "null"), (WORDS, "words")])
def test_a_rejection_is_right_where_nothing_matches(
    negative: dict[str, Any], text: str, reason: str
) -> None:
    # Under Rejection a target does not count: some data sets store the distractor's box there.
    asked = sample(**negative)
    assert one(asked, reply(text), "strict") == ("rejected", reason, 1, True, True)
    for protocol in OFFICIAL:
        assert one(asked, reply(text), protocol) == ("rejected", "zeros", 1, True, True)


def test_a_rejection_is_wrong_where_something_matches() -> None:
    assert one(sample(), reply(REJECT), "strict") == ("rejected", "null", 0, False, True)
    for protocol in OFFICIAL:
        assert one(sample(), reply(REJECT), protocol) == ("rejected", "zeros", 0, False, True)


def test_a_box_is_wrong_where_nothing_matches() -> None:
    for asked in (sample(target=None), sample(subtask_l1="Rejection")):
        text = boxed(*TARGET)
        assert one(asked, reply(text), "strict") == ("box", "json", 0, False, True)
        for protocol in OFFICIAL:
            assert one(asked, reply(text), protocol) == ("box", "abs", 0, False, True)


def test_a_box_is_read_as_declared_and_by_its_best_reading() -> None:
    thousandths = boxed(100, 250, 400, 750)
    assert one(sample(), reply(thousandths), "strict", "n1000") == ("box", "json", 1, True, True)
    wrong = one(sample(), reply(thousandths), "strict", "abs")
    assert wrong[:2] == ("box", "json")
    assert wrong[2] == 0
    for protocol in OFFICIAL:
        outcome, reason, iou, *_ = one(sample(), reply(thousandths), protocol, "abs")
        assert (outcome, reason) == ("box", "n999")
        assert 0.98 < iou < 1
    half = boxed(100, 50, 250, 150)
    for protocol in protocols.PROTOCOLS:
        assert one(sample(), reply(half), protocol)[2] == 0.5


@pytest.mark.parametrize("coords", ["n1", "n1000", "n1000-yxyx", "loc1000", "abs-qwen2.5-vl"])
def test_without_the_size_that_it_needs_a_box_is_unparsed(coords: str) -> None:
    asked = sample(width=0, height=0)
    text = reply(boxed(*TARGET))
    assert one(asked, text, "strict", coords) == ("unparsed", "unknown-size", 0, False, True)
    assert one(asked, text, "strict", "abs")[:3] == ("box", "json", 1)
    for protocol in OFFICIAL:
        assert one(asked, text, protocol, coords) == ("box", "abs", 1, True, True)


@pytest.mark.parametrize("size", [{"width": 0, "height": 0}, {"width": 1000, "height": 0}])
def test_the_size_as_sent_stands_in_for_an_unknown_one(size: dict[str, int]) -> None:
    text = reply(boxed(100, 250, 400, 750), sent_width=1000, sent_height=200)
    assert one(sample(**size), text, "strict", "n1000")[:3] == ("box", "json", 1)
    # A known size is not touched by it.
    text = reply(boxed(100, 250, 400, 750), sent_width=10, sent_height=10)
    assert one(sample(), text, "strict", "n1000")[2] == 1


def test_a_box_that_is_not_finite_in_pixels_is_unparsed() -> None:
    huge = reply(boxed(-1e308, 0, 1e308, 10))
    assert one(sample(), huge, "strict", "n1") == ("unparsed", "non-finite", 0, False, True)
    beyond = reply('{"bbox_2d": [0, 0, 1e999, 10]}')
    assert one(sample(), beyond, "strict")[:3] == ("unparsed", "non-finite", 0)
    for protocol in OFFICIAL:
        outcome, _, iou, _, scored = one(sample(), beyond, protocol)
        assert (outcome, scored) == ("box", True)
        assert iou == 0 or math.isnan(iou)


@pytest.mark.parametrize(
    "box", [(400, 50, 100, 150), (100, 150, 400, 50), (100, 50, 100, 150), (250, 100, 250, 100)]
)
def test_swapped_and_degenerate_boxes_stay_boxes_of_no_overlap(box: Box) -> None:
    outcome, _, iou, center, _ = one(sample(), reply(boxed(*box)), "strict")
    assert (outcome, iou, center) == ("box", 0, False)


def test_boxes_beyond_the_image_are_scored_without_clipping() -> None:
    asked = sample(target=(0, 0, 10, 10))
    assert one(asked, reply(boxed(-10, 0, 10, 10)), "strict")[2] == 0.5


def test_reasoning_and_finish_reason_reach_the_parser() -> None:
    assert one(sample(), reply("", finish_reason="content_filter"), "strict")[1] == "content-filter"
    asked = one(sample(), reply("", reasoning=f"So it is {boxed(*TARGET)}"), "strict")
    assert asked[:3] == ("box", "json", 1)


# Whole data sets.


def test_scores_come_in_the_order_of_the_data_set_and_column_by_column() -> None:
    samples = [
        sample("c", subtask_l1="Spatial", subtask_l2="Counting"),
        sample("a", None),
        sample(),
    ]
    samples[2] = sample("b")
    generations = reply(boxed(*TARGET), "c") | reply(REJECT, "a") | reply(REJECT, "stranger")
    scores = score(samples, generations, protocol="strict", coords="abs")
    assert (scores.protocol, scores.coords, len(scores)) == ("strict", "abs", 3)
    assert scores.ids == [s.id for s in scores] == ["c", "a", "b"]
    assert scores.subtask_l1 == ["Spatial", "", ""]
    assert scores.subtask_l2 == ["Counting", "", ""]
    assert scores.negatives.tolist() == [False, True, False]
    assert [s.outcome for s in scores] == ["box", "rejected", "failed"]
    assert scores[0].box == TARGET
    assert scores.boxes[0].tolist() == scores.written[0].tolist() == list(TARGET)
    assert bool(np.isnan(scores.boxes[1:]).all() and np.isnan(scores.written[1:]).all())
    assert score(samples, generations, protocol="official", coords="n1").coords == ""


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS)
def test_an_empty_data_set_has_scores(protocol: str) -> None:
    scores = score([], {}, protocol=protocol)
    assert (len(scores), list(scores)) == (0, [])
    assert (scores.boxes.shape, scores.written.shape) == ((0, 4), (0, 4))
    figures = metrics.summarize(scores)
    assert math.isnan(figures["ACC@0.5"])
    assert figures["samples"] == 0
    assert explain_difference(score([], {}, protocol="strict"), scores) == ""


def test_a_run_in_which_everything_failed() -> None:
    samples = [sample(str(i), None if i % 2 else TARGET) for i in range(6)]
    generations = {str(i): Generation(id=str(i), failure="connection") for i in range(4)}
    strict = metrics.summarize(score(samples, generations, protocol="strict"))
    assert (strict["ACC@0.5"], strict["IoU"], strict["scored"], strict["failed"]) == (0, 0, 6, 6)
    for protocol in OFFICIAL:
        scores = score(samples, generations, protocol=protocol)
        figures = metrics.summarize(scores)
        assert math.isnan(figures["ACC@0.5"])
        assert (figures["samples"], figures["scored"], figures["failed"]) == (6, 0, 6)
        explained = explain_difference(score(samples, generations, protocol="strict"), scores)
        assert explained == f"{protocol} leaves 6 failed samples out"


def test_unknown_names_are_named() -> None:
    with pytest.raises(UnknownNameError, match="official"):
        score([], {}, protocol="oficial")
    for protocol in protocols.PROTOCOLS:
        with pytest.raises(UnknownNameError, match="n1000"):
            score([], {}, protocol=protocol, coords="n10000")


# Against plain Python.

whole = st.integers(0, 999)
numbers = st.tuples(whole, whole, whole, whole)
target = st.none() | numbers.filter(lambda b: b[2] > b[0] and b[3] > b[1])
kind = st.sampled_from(["box", "rejected", "unparsed", "failed", "absent", "problem"])
case = st.tuples(target, kind, numbers, st.integers(1, 4000), st.integers(1, 4000), st.booleans())
Case = tuple[Any, str, tuple[int, int, int, int], int, int, bool]


def slow_iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def build(cases: list[Case]) -> tuple[list[Sample], dict[str, Generation]]:
    samples, generations = [], {}
    for i, (goal, what, written, width, height, rejection) in enumerate(cases):
        id = str(i)
        samples.append(
            Sample(
                id=id,
                description="",
                target=goal,
                width=width,
                height=height,
                subtask_l1="Rejection" if rejection else "Spatial",
                problem="no image" if what == "problem" else "",
            )
        )
        text = {"rejected": REJECT, "unparsed": SILENT}.get(what, boxed(*written))
        if what == "failed":
            generations[id] = Generation(id=id, failure="timeout")
        elif what != "absent":
            generations[id] = Generation(id=id, text=text)
    return samples, generations


@given(st.lists(case, max_size=12), st.sampled_from(["abs", "n1000", "n999", "n1000-yxyx"]))
def test_strict_is_what_plain_python_gives(cases: list[Case], coords: str) -> None:
    samples, generations = build(cases)
    scores = score(samples, generations, protocol="strict", coords=coords)
    assert bool(scores.scored.all())
    for ours, (goal, what, written, width, height, rejection) in zip(scores, cases, strict=True):
        negative = goal is None or rejection
        x1, y1, x2, y2 = written
        if coords == "n1000-yxyx":
            x1, y1, x2, y2 = y1, x1, y2, x2
        full = {"n999": 999, "abs": 0}.get(coords, 1000)
        sx, sy = (width / full, height / full) if full else (1.0, 1.0)
        box = (x1 * sx, y1 * sy, x2 * sx, y2 * sy)
        expected, center = 0.0, False
        if what == "rejected":
            expected, center = float(negative), negative
        elif what == "box" and not negative and x2 > x1 and y2 > y1:
            expected = slow_iou(box, goal)
            middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            center = goal[0] <= middle[0] <= goal[2] and goal[1] <= middle[1] <= goal[3]
        assert ours.outcome == {"absent": "failed", "problem": "failed"}.get(what, what)
        assert ours.iou == pytest.approx(expected, abs=1e-9)
        if expected > 1e-6:
            assert ours.center == center or coords != "abs"


@given(st.lists(case, max_size=12))
def test_official_is_what_plain_python_gives(cases: list[Case]) -> None:
    samples, generations = build(cases)
    scores = score(samples, generations, protocol="official")
    for ours, (goal, what, written, width, height, rejection) in zip(scores, cases, strict=True):
        goal = (0, 0, 0, 0) if goal is None or rejection else goal
        assert ours.scored == (what in ("box", "rejected", "unparsed"))
        if not ours.scored:
            assert (ours.outcome, ours.iou) == ("failed", 0)
            continue
        zeros = what != "box" or written == (0, 0, 0, 0)
        assert ours.outcome == ("rejected" if zeros else "box")
        if zeros or not any(goal):
            assert ours.iou == float(zeros and not any(goal))
            continue
        unit = 1 if max(written) <= 1 else 999
        scaled = tuple(
            n / unit * full for n, full in zip(written, (width, height) * 2, strict=True)
        )
        expected = max(slow_iou(goal, written), slow_iou(goal, scaled))
        assert ours.iou == pytest.approx(expected, abs=1e-9)


@given(st.lists(case, max_size=12), st.sampled_from(OFFICIAL))
def test_no_explanation_if_and_only_if_all_agree(cases: list[Case], protocol: str) -> None:
    samples, generations = build(cases)
    strict = score(samples, generations, protocol="strict")
    official = score(samples, generations, protocol=protocol)
    text = explain_difference(strict, official)
    same = bool(official.scored.all()) and bool((abs(strict.ious - official.ious) <= 1e-12).all())
    assert (text == "") == same
    assert "  " not in text
    assert "{" not in text
    assert "\n" not in text


# Why the protocols differ.


def explained(
    samples: list[Sample],
    generations: Mapping[str, Generation],
    coords: str = "abs",
    protocol: str = "official",
) -> str:
    strict = score(samples, generations, protocol="strict", coords=coords)
    return explain_difference(strict, score(samples, generations, protocol=protocol))


SWAPS = "swaps width and height of the resized image in 1 sample"


@pytest.mark.parametrize(
    ("asked", "text", "coords", "protocol", "cause"),
    [
        (sample(target=None), SILENT, "abs", "official",
         "counts 1 unparsable reply as a correct rejection"),
        (sample(target=None), "<box>(10,20),(30,40)</box>", "abs", "official",
         "counts 1 box that it cannot read as a correct rejection"),
        (sample(), "<box>(100,50),(400,150)</box>", "abs", "official", "cannot read 1 box"),
        (sample(target=(0.0, 0.0, 0.0, 0.0)), REJECT, "abs", "official",
         "takes 1 target of zeros for a rejection"),
        (sample(target=None), "Of 1 2 3 4 cups, no object matches the description.", "abs",
         "official", "takes 1 rejection for a box"),
        (sample(), "I counted 100 50 400 150 of them.", "abs", "official",
         "takes numbers in 1 unparsable reply for a box"),
        (sample(), boxed(*TARGET) + " and not {5 5 6 6}", "abs", "official",
         "takes other numbers for the answer in 1 reply"),
        (sample(), boxed(100, 250, 400, 750), "abs", "official",
         "picks a coordinate reading by the ground truth in 1 sample"),
        (sample(), boxed(250, 100, 750, 400), "n1000-yxyx", "official",
         "cannot read 1 box as n1000-yxyx"),
        (sample(), boxed(100, 250, 400, 750), "n1000", "official",
         "divides by 999 instead of 1000 in 1 sample"),
        # Seen as 308x280, so x is divided by 280 and y by 308, under both rules.
        (sample(width=300, height=280, target=(15.0, 14.0, 150.0, 140.0)),
         boxed(14, 15.4, 140, 154), "abs-qwen2.5-vl", "official-lmms-eval", SWAPS),
        (sample(width=300, height=280, target=(15.0, 14.0, 150.0, 140.0)),
         boxed(14, 15.4, 140, 154), "abs-mimo-vl", "official-lmms-eval", SWAPS),
        # Seen as 4396x2884 under the Qwen2.5-VL rule alone.
        (sample(width=7680, height=5046, target=(768.0, 504.6, 3840.0, 2523.0)),
         boxed(288.4, 439.6, 1442, 2198), "abs-qwen2.5-vl", "official-lmms-eval", SWAPS),
    ],
)  # fmt: skip
def test_each_cause_is_named(
    asked: Sample, text: str, coords: str, protocol: str, cause: str
) -> None:
    assert explained([asked], reply(text), coords, protocol) == f"{protocol} {cause}"


def test_causes_are_counted_and_joined() -> None:
    samples = [sample(str(i), None) for i in range(3)] + [sample("x"), sample("y"), sample("z")]
    generations = {str(i): Generation(id=str(i), text=SILENT) for i in range(3)}
    generations |= reply(boxed(100, 250, 400, 750), "x")
    assert explained(samples, generations) == (
        "official counts 3 unparsable replies as correct rejections, picks a coordinate reading "
        "by the ground truth in 1 sample, and leaves 2 failed samples out"
    )


def test_where_all_agree_nothing_is_explained() -> None:
    samples = [sample("x"), sample("y", None)]
    generations = reply(boxed(*TARGET), "x") | reply(REJECT, "y")
    for protocol in OFFICIAL:
        assert explained(samples, generations, protocol=protocol) == ""


def test_an_iou_that_lmms_eval_cannot_compute_is_named_as_such() -> None:
    # Infinity times zero: the width overflows, the height is none.
    text = reply(boxed(-1e308, 5, 1e308, 5))
    assert explained([sample()], text) == ""
    cause = explained([sample()], text, protocol="official-lmms-eval")
    assert cause == "official-lmms-eval computes no IoU for 1 box"


# Another format would fit better.


def written_as(
    coords: str, n: int, size: tuple[int, int] = (1600, 900)
) -> tuple[list[Sample], dict[str, Generation]]:
    """Positives with perfect answers, rounded as a model rounds."""
    from groundingme.geometry import COORD_FORMATS

    rng = np.random.default_rng(1)
    samples, generations = [], {}
    for i in range(n):
        x, y = rng.integers(0, (size[0] - 200, size[1] - 200)).tolist()
        goal = (float(x), float(y), float(x + 150), float(y + 120))
        samples.append(sample(str(i), goal, width=size[0], height=size[1]))
        digits = 4 if coords.startswith("n1-") or coords == "n1" else 0
        numbers = COORD_FORMATS[coords].from_pixels([goal], [size]).round(digits)[0].tolist()
        generations[str(i)] = Generation(id=str(i), text=boxed(*numbers))
    return samples, generations


@pytest.mark.parametrize("written", ["abs", "n1", "n1000", "n1000-yxyx", "abs-yxyx", "n1-yxyx"])
@pytest.mark.parametrize("declared", ["abs", "n1", "n1000", "n1000-yxyx"])
def test_the_format_that_fits_is_hinted_at(written: str, declared: str) -> None:
    hint = reading_hint(*written_as(written, 25), declared)
    if written == declared:
        assert hint == ""
    else:
        assert hint.startswith(f"read as {written} 100.0 % of positives would be right, as ")
        assert hint.endswith(f"declare it with --coords {written}")
        assert f"as {declared} " in hint


def test_resized_pixels_are_hinted_at() -> None:
    samples, generations = written_as("abs-qwen2.5-vl", 25, (7680, 5046))
    assert "--coords abs-qwen2.5-vl" in reading_hint(samples, generations, "abs")


def test_formats_a_thousandth_apart_are_no_reason_for_a_hint() -> None:
    assert reading_hint(*written_as("n999", 25), "n1000") == ""
    assert "--coords n1000" in reading_hint(*written_as("n999", 25), "abs")


def test_no_hint_from_few_boxes_or_without_any() -> None:
    assert reading_hint(*written_as("n1000", 19), "abs") == ""
    assert reading_hint(*written_as("n1000", 20), "abs") != ""
    assert reading_hint([], {}, "abs") == ""
    samples, generations = written_as("n1000", 30)
    assert reading_hint(samples, {}, "abs") == ""
    failed = {id: Generation(id=id, failure="timeout") for id in generations}
    assert reading_hint(samples, failed, "abs") == ""
    rejected = {id: Generation(id=id, text=REJECT) for id in generations}
    assert reading_hint(samples, rejected, "abs") == ""


def test_no_hint_for_a_small_gain() -> None:
    samples, generations = written_as("n1000", 20)
    more, rejected = written_as("abs", 200)
    samples += [sample(f"r{s.id}", s.target) for s in more]
    generations |= {f"r{id}": Generation(id=f"r{id}", text=REJECT) for id in rejected}
    # 20 of 220 positives: 9 %.
    assert reading_hint(samples, generations, "abs") == ""


def test_negatives_and_samples_not_asked_do_not_count_for_the_hint() -> None:
    samples, generations = written_as("n1000", 20)
    samples += [sample(f"n{i}", None) for i in range(300)]
    samples += [sample(f"u{i}") for i in range(300)]
    generations |= {f"n{i}": Generation(id=f"n{i}", text=REJECT) for i in range(300)}
    assert reading_hint(samples, generations, "abs").startswith("read as n1000 100.0 %")


def test_a_hint_for_an_unknown_format_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="coordinate format"):
        reading_hint([], {}, "n10000")
