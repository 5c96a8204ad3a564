"""The published scorers' figures: against what those scorers gave, and against slow readings.

`data/official_small.jsonl` holds replies written for this project with what the published code
said of them; a name instead of figures is the exception that it raised.
"""

from __future__ import annotations

import gzip
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groundingme import metrics, official, protocols
from groundingme.schema import Generation, Sample

SMALL = Path(__file__).parent / "data" / "official_small.jsonl"
AGGREGATE, *CASES = [json.loads(line) for line in SMALL.read_text().splitlines()]


def same(ours: float, theirs: Any) -> bool:
    """Equal to the last bit; theirs may be a name of what JSON cannot hold."""
    theirs = float(theirs)
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs))


def chosen(case: dict[str, Any], *, lmms_eval: bool) -> tuple[list[float], float, bool, int]:
    target = case["target"] or [0, 0, 0, 0]
    choice = official.choose(
        [official.parse_official(case["reply"])],
        [target],
        [(case["width"], case["height"])],
        lmms_eval=lmms_eval,
    )
    center = official.centers([target], choice.boxes)
    return (
        choice.boxes[0].tolist(),
        float(choice.ious[0]),
        bool(center[0]),
        int(choice.readings[0]),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_one_reply_as_the_published_scorers_read_it(case: dict[str, Any]) -> None:
    numbers = official.parse_official(case["reply"])
    assert all(map(same, numbers, case["numbers"]))
    box, iou, _, _ = chosen(case, lmms_eval=False)
    assert all(map(same, box, case["official"]["box"]))
    assert same(iou, case["official"]["iou"])
    theirs = case["lmms_eval"]
    if not isinstance(theirs, str):
        box, iou, center, _ = chosen(case, lmms_eval=True)
        assert all(map(same, box, theirs["box"]))
        assert same(iou, theirs["iou"])
        assert center == theirs["center"]
        assert metrics.mean_accuracy(np.array([iou])) == theirs["macc"]


def as_samples(cases: list[dict[str, Any]]) -> tuple[list[Sample], dict[str, Generation]]:
    samples = [
        Sample(
            id=str(case["id"]),
            description="",
            target=tuple(map(float, case["target"])) if case["target"] else None,  # type: ignore[arg-type]
            width=case["width"],
            height=case["height"],
            subtask_l1=case["subtask_l1"],
            subtask_l2=case["subtask_l2"],
        )
        for case in cases
    ]
    return samples, {str(c["id"]): Generation(id=str(c["id"]), text=c["reply"]) for c in cases}


def test_the_aggregate_of_the_small_set_is_the_published_one() -> None:
    scores = protocols.score(*as_samples(CASES), protocol="official")
    figures = metrics.summarize(scores)
    published = AGGREGATE["aggregate"]
    assert {name: figures[name] for name in published} == published


def test_what_the_lmms_eval_task_cannot_compute_has_a_fate() -> None:
    raised = {case["id"]: case for case in CASES if isinstance(case["lmms_eval"], str)}
    assert {case["lmms_eval"] for case in raised.values()} == {"ZeroDivisionError", "ValueError"}
    for case in raised.values():
        box, iou, _, reading = chosen(case, lmms_eval=True)
        alone, alone_iou, _, _ = chosen(case, lmms_eval=False)
        assert iou == alone_iou
        assert box == alone
        assert official.READINGS[reading] in ("abs", "n1", "n999")


@pytest.fixture(scope="module")
def golden(shared: Path) -> list[dict[str, Any]]:
    with gzip.open(shared / "golden" / "official_scores.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def test_all_golden_cases_of_the_stand_alone_script(
    golden: list[dict[str, Any]], shared: Path
) -> None:
    cases = [
        {**c, "target": c["bbox"] if c["subtask_l1"] != "Rejection" else None}
        | {"reply": c["response"]}
        for c in golden
    ]
    assert len(cases) == 4000
    scores = protocols.score(*as_samples(cases), protocol="official")
    for case, ours in zip(golden, scores, strict=True):
        theirs = case["official"]
        box = list(ours.box or (0, 0, 0, 0))
        assert [x if math.isfinite(x) else None for x in box] == theirs["pred_bbox"]
        assert ours.iou == theirs["iou"]
        for name, threshold in (("acc_50", 0.5), ("acc_75", 0.75), ("acc_90", 0.9)):
            assert (ours.iou >= threshold) == theirs[name]
    published = json.loads((shared / "golden" / "official_scores.metrics.json").read_text())
    figures = metrics.summarize(scores)
    names = published["official_metrics"]
    assert {name: figures[name] for name in names} == names


def test_all_golden_cases_of_the_lmms_eval_task(golden: list[dict[str, Any]]) -> None:
    cases = [
        {**c, "target": c["bbox"] if c["subtask_l1"] != "Rejection" else None}
        | {"reply": c["response"]}
        for c in golden
    ]
    scores = protocols.score(*as_samples(cases), protocol="official-lmms-eval")
    for case, ours in zip(golden, scores, strict=True):
        theirs = case["lmms_eval"]
        box = list(ours.box or (0, 0, 0, 0))
        assert [x if math.isfinite(x) else None for x in box] == theirs["pred"]
        assert (None if math.isnan(ours.iou) else ours.iou) == theirs["iou"]
        assert ours.center == theirs["center_acc"]
        for name, threshold in (("acc_5", 0.5), ("acc_75", 0.75), ("acc_9", 0.9)):
            assert (ours.iou >= threshold) == theirs[name]
        assert metrics.mean_accuracy(np.array([ours.iou])) == theirs["macc"]


def digits_from(text: str, at: int) -> int:
    while at < len(text) and text[at].isdecimal():
        at += 1
    return at


def number_from(text: str, at: int) -> int:
    """Where the number that starts at `at` ends; `at` itself where none does."""
    start = at + (text[at : at + 1] == "-")
    end = digits_from(text, start)
    if end == start:
        return at
    if text[end : end + 1] == ".":
        fraction = digits_from(text, end + 1)
        return fraction if fraction > end + 1 else end
    return end


def four_from(text: str, at: int) -> tuple[list[str], int] | None:
    found: list[str] = []
    while True:
        end = number_from(text, at)
        if end == at:
            return None
        found.append(text[at:end])
        if len(found) == 4:
            return found, end
        at = end
        while at < len(text) and (text[at].isspace() or text[at] == ","):
            at += 1
        if at == end:
            return None


def slowly(text: str) -> list[float]:
    """The published reading, one character at a time and in quadratic time."""
    first, last = text.find("{"), text.rfind("}")
    if first >= 0 and '"bbox_2d"' in text[first + 1 : max(last, 0)]:
        try:
            box = json.loads(text[first : last + 1])["bbox_2d"]
            if box is None:
                return [0, 0, 0, 0]
            if isinstance(box, list) and len(box) == 4:
                return [float(number) for number in box]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            pass
    answer, at = ["0"] * 4, 0
    while at < len(text):
        match = four_from(text, at)
        answer, at = match or (answer, at + 1)
    return [float(number) for number in answer]


PIECES = st.sampled_from(
    [
        *"{}[]()-.,:\"' \n\t123",
        *("\u3000", "\xa0", "\x1c", "\x85", "\ufeff", "\ud800", "٣", "𝟙", "²", "½"),
        *("-0", "007", "1.5", ".5", "5.", "1e3", "1e400", "1.2.3", "-1.-2", "9" * 320),
        *("null", "true", "NaN", "Infinity", '"nan"', '" 7 "', '"1_0"', '"x"', "[1, 2, 3, 4]"),
        *('"bbox_2d"', '"bbox_2d": ', '{"bbox_2d": [', "]}", '"bbox\\u005f2d"', '"a": {'),
        *('{"bbox_2d": null}', '{"bbox_2d": [5, 6, 7, 8]}', "10 20,30\n40", "1.2.3 4 5 6", "see"),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
@example('{"a": 1} {"bbox_2d": [1, 2, 3, 4]}')
@example('}{"bbox_2d"')
@example('{"bbox_2d": [' + "1" * 4301 + ", 2, 3, 4]}")
@example('{"bbox_2d": ' + "[" * 5000 + "]" * 5000 + "} 1 2 3 4")
def test_any_reply_reads_as_the_slow_way_reads_it(text: str) -> None:
    assert all(map(same, official.parse_official(text), slowly(text)))


HOSTILE = {
    "open objects": '{"bbox_2d": [',
    "keys": '{"bbox_2d" ',
    "closed objects": '{"bbox_2d": 1}',
    "digits": "1",
    "dotted digits": "1.",
    "negative digits": "-1",
    "minus signs": "-",
    "three numbers": "11 22 33x",
    "wide gaps": "1" + " " * 999,
    "commas": "1,",
    "quotes": '"\\',
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("frame", ["{}", '{{"bbox_2d": {}}}'], ids=["bare", "in-braces"])
def test_hostile_replies_take_milliseconds(piece: str, frame: str) -> None:
    text = frame.format((piece * (200_000 // len(piece) + 1))[:200_000])
    start = time.thread_time()
    official.parse_official(text)
    # A quadratic search needs minutes here; this one 5 to 30 ms.
    assert time.thread_time() - start < 5


def test_of_readings_with_equal_iou_the_first_counts() -> None:
    # On a 999-pixel image, pixels and 0-999 are the same numbers.
    box, iou, _, reading = chosen(
        {"reply": "10 10 50 50", "target": [10, 10, 50, 50], "width": 999, "height": 999},
        lmms_eval=False,
    )
    assert (box, iou, official.READINGS[reading]) == ([10, 10, 50, 50], 1.0, "abs")


def test_the_ground_truth_picks_the_reading() -> None:
    reply = '{"bbox_2d": [0.25, 0.5, 0.5, 1]}'
    near = {"reply": reply, "target": [250, 250, 500, 500], "width": 1000, "height": 500}
    box, iou, _, reading = chosen(near, lmms_eval=False)
    assert (box, iou, official.READINGS[reading]) == ([250, 250, 500, 500], 1.0, "n1")
    far = {**near, "target": [0, 0, 1, 1]}
    assert chosen(far, lmms_eval=False)[0] == [0.25, 0.5, 0.5, 1]


def test_without_a_known_size_only_the_numbers_as_written_are_tried() -> None:
    case = {"reply": "1 1 5 5", "target": None, "width": 0, "height": 0}
    box, iou, _, _ = chosen(case, lmms_eval=True)
    # Scaled to nothing, the box would be 0, 0, 0, 0 and so a correct rejection.
    assert (box, iou) == ([1, 1, 5, 5], 0.0)


def test_the_lmms_eval_task_swaps_the_sides_of_the_resized_image() -> None:
    # 7680x5046 is resized to 4396x2884 by the Qwen2.5-VL rule with its 16,384 patches.
    target = [1000, 1000, 3000, 2000]
    perfect = [x * 4396 / 7680 if i % 2 == 0 else x * 2884 / 5046 for i, x in enumerate(target)]
    case = {
        "reply": json.dumps({"bbox_2d": perfect}),
        "target": target,
        "width": 7680,
        "height": 5046,
    }
    _, iou, _, _ = chosen(case, lmms_eval=True)
    assert iou < 0.5
