"""Filters, candidates and agreement: worked cases, and independent counts."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundingme import geometry, taxonomy
from groundingme.build import agreement
from groundingme.build.candidates import CandidateOptions, candidates, has_text
from groundingme.build.filters import REASONS, FilterOptions, filter_boxes
from groundingme.errors import BoxError

SIZE = (1000, 800)
ROW = [[100 + 60 * i, 300, 140 + 60 * i, 340] for i in range(8)]
"""Eight boxes of 40 x 40 in a row, 20 apart, away from every edge."""


def why(box: Any, **options: Any) -> set[str]:
    """Reasons against a box whose class has three more instances."""
    found = filter_boxes([box, *ROW[:3]], [0] * 4, SIZE, FilterOptions(**options))
    assert found.keep[0] == (not found.reasons[0].any())
    assert found.first[0] == (found.reasons[0].argmax() if found.reasons[0].any() else -1)
    assert found.keep[1:].all()
    return {REASONS[i] for i in np.flatnonzero(found.reasons[0])}


@pytest.mark.parametrize(
    ("box", "options", "reasons"),
    [
        ([500, 500, 540, 540], {}, set()),
        ([500, 500, 500, 540], {}, {"degenerate"}),
        ([540, 500, 500, 540], {}, {"degenerate"}),
        ([float("nan"), 500, 540, 540], {}, {"degenerate"}),
        ([500, 500, float("inf"), 540], {}, {"degenerate"}),
        ([1000, 500, 1100, 600], {}, {"degenerate"}),
        ([500, 500, 507.9, 540], {}, {"small"}),
        ([500, 500, 508, 540], {}, set()),
        ([500, 500, 509, 509], {}, {"small"}),
        ([500, 500, 510, 510], {}, set()),
        ([995, 500, 1200, 700], {}, {"small", "flat"}),
        ([100, 100, 900, 600], {}, set()),
        ([100, 100, 900, 601], {}, {"large"}),
        ([-500, -500, 1500, 1500], {}, {"large"}),
        ([-500, 100, 500, 500], {}, set()),
        ([100, 500, 910, 540], {}, {"flat"}),
        ([100, 500, 900, 540], {}, set()),
        ([0, 500, 40, 540], {}, set()),
        ([0, 500, 40, 540], {"drop_border": True}, {"border"}),
        ([2, 500, 40, 540], {"drop_border": True}, {"border"}),
        ([2.1, 500, 40, 540], {"drop_border": True}, set()),
        ([500, 760, 540, 798], {"drop_border": True}, {"border"}),
        ([500, 500, 540, 540], {"min_instances": 5}, set()),
        ([500, 500, 540, 540], {"max_share": 0.001}, {"large"}),
    ],
)
def test_reasons(box: list[float], options: dict[str, Any], reasons: set[str]) -> None:
    if options.get("min_instances") == 5 or "max_share" in options:
        found = filter_boxes([box, *ROW[:3]], [0] * 4, SIZE, FilterOptions(**options))
        assert (found.reasons[:, REASONS.index("few")]).all() == (options.get("min_instances") == 5)
        assert (found.reasons[:, REASONS.index("large")]).all() == ("max_share" in options)
    else:
        assert why(box, **options) == reasons


def test_few_counts_every_instance_that_can_be_seen() -> None:
    """Boxes dropped for their size are instances; broken ones and other classes are none."""
    tiny, huge, broken = [10, 10, 12, 12], [0, 0, 1000, 700], [5, 5, 5, 5]
    found = filter_boxes([ROW[0], tiny, huge], [4, 4, 4], SIZE)
    assert found.first.tolist() == [-1, REASONS.index("small"), REASONS.index("large")]
    found = filter_boxes([ROW[0], ROW[1], broken, ROW[2]], [4, 4, 4, 3], SIZE)
    few, degenerate = REASONS.index("few"), REASONS.index("degenerate")
    assert found.first.tolist() == [few, few, degenerate, few]


def test_border_is_marked_even_where_it_is_kept() -> None:
    found = filter_boxes([[0, 0, 50, 50], *ROW[:3]], [0] * 4, SIZE)
    assert found.border.tolist() == [True, False, False, False]
    assert found.keep.all()


def test_nothing() -> None:
    assert filter_boxes([], [], SIZE).keep.shape == (0,)
    assert filter_boxes([], [], SIZE).reasons.shape == (0, len(REASONS))
    assert candidates([], [], SIZE).shape == (0, 12)


def test_errors() -> None:
    for work in (filter_boxes, candidates):
        with pytest.raises(BoxError, match="width and height of an image"):
            work([[0, 0, 1, 1]], [0], (0, 10))
        with pytest.raises(BoxError, match="a label for each of 1 boxes"):
            work([[0, 0, 1, 1]], [], SIZE)
    with pytest.raises(BoxError, match="expected text for each of 1 boxes"):
        candidates([[0, 0, 1, 1]], [0], SIZE, text=[True, False])


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (FilterOptions, {"max_share": 1.5}, "<= 1.0"),
        (FilterOptions, {"min_instances": 0}, ">= 1"),
        (FilterOptions, {"margin": -1.0}, ">= 0.0"),
        (FilterOptions, {"max_shares": 0.5}, "max_shares"),
        (CandidateOptions, {"min_overlap": 0.0}, "> 0.0"),
        (CandidateOptions, {"crowded": "many"}, "Expected `int`"),
    ],
)
def test_options_are_checked_where_they_are_read(
    kind: Any, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(values, kind)


# Candidates.


def suits(boxes: Any, labels: Any = None, size: Any = SIZE, **given: Any) -> list[set[str]]:
    """Subtasks of each box; those of Rejection have to be those of Discriminative."""
    labels = [0] * len(boxes) if labels is None else labels
    masks = {key: given.pop(key) for key in ("eligible", "text") if key in given}
    table = candidates(boxes, labels, size, CandidateOptions(**given), **masks)
    l1 = np.array([row.l1 for row in taxonomy.SUBTASKS])
    assert (table[:, l1 == "Rejection"] == table[:, l1 == "Discriminative"]).all()
    rest = [(i, row.l2) for i, row in enumerate(taxonomy.SUBTASKS) if row.l1 != "Rejection"]
    return [{name for i, name in rest if line[i]} for line in table]


PLAIN = {"Appearance", "Component", "State"}


def test_how_many_of_a_class() -> None:
    assert suits(ROW[:4], near=0.0) == [set()] * 4
    assert suits(ROW[:5], near=0.0) == [PLAIN] * 5
    assert suits(ROW, near=0.0) == [PLAIN | {"Counting"}] * 8
    assert suits(ROW, labels=[0] * 5 + [1] * 3, near=0.0) == [PLAIN] * 5 + [set()] * 3
    assert suits(ROW, near=0.0, min_instances=2, crowded=9) == [PLAIN] * 8


def test_relationship_wants_somebody_near() -> None:
    """Twenty pixels apart: near for a box of 40, until the limit is below half of its side."""
    assert suits(ROW[:5], near=0.5) == [PLAIN | {"Relationship"}] * 5
    assert suits(ROW[:5], near=0.49) == [PLAIN] * 5
    lone = [900, 700, 940, 740]
    assert suits([*ROW[:5], lone], near=1.0)[5] == PLAIN
    # A neighbour of another class is one as well, and so is one that overlaps.
    assert suits([*ROW[:5], lone, [930, 700, 990, 790]], [0] * 6 + [1])[5] == PLAIN | {
        "Relationship"
    }


def test_occlusion_wants_something_in_front_or_the_frame() -> None:
    over = [100, 300, 104, 340]  # Covers a tenth of the first of them.
    found = suits([*ROW, over], [0] * 8 + [1], near=0.0)
    assert [("Occlusion" in one) for one in found] == [True] + [False] * 8
    less = [100, 300, 103.9, 340]
    assert not any("Occlusion" in one for one in suits([*ROW, less], [0] * 8 + [1]))
    cut = [0, 100, 50, 150]
    assert "Occlusion" in suits([*ROW, cut])[8]
    assert "Occlusion" not in suits([*ROW[:6], cut])[6]


def test_small_wants_a_large_picture() -> None:
    tiny, wide = [100, 100, 150, 150], [100, 100, 400, 110]
    large, full_hd = (7680, 4320), (1920, 1080)
    assert suits([tiny], size=large) == [{"Small"}]
    assert suits([tiny], size=full_hd) == [set()]
    assert suits([wide], size=large) == [set()]
    assert suits([wide], size=large, small_side=300.0) == [{"Small"}]
    assert suits([[0, 0, 200, 200]], size=large) == [set()]


def test_text_wants_a_cue() -> None:
    assert suits(ROW[:5], near=0.0, text=[True] + [False] * 4) == [PLAIN | {"Text"}] + [PLAIN] * 4


def test_what_is_not_eligible_is_still_an_instance() -> None:
    found = suits(ROW, near=0.0, eligible=[False] + [True] * 7)
    assert found == [set()] + [PLAIN | {"Counting"}] * 7


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 40))
def test_neighbours_a_pair_at_a_time(seed: int, count: int) -> None:
    """The share that is covered and the gap, against loops over pairs."""
    from groundingme.build.candidates import _neighbours

    rng = np.random.default_rng(seed)
    low = rng.integers(0, 60, (count, 2)).astype(float)
    boxes = np.concatenate([low, low + rng.integers(1, 30, (count, 2))], axis=1)
    covered, gap = _neighbours(boxes.T, geometry.area(boxes))
    for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        shares, gaps = [0.0], [float("inf")]
        for j, (a1, b1, a2, b2) in enumerate(boxes.tolist()):
            if i == j:
                continue
            wide, high = min(x2, a2) - max(x1, a1), min(y2, b2) - max(y1, b1)
            shares.append(max(wide, 0) * max(high, 0) / ((x2 - x1) * (y2 - y1)))
            gaps.append(max(0, -wide, -high))
        assert covered[i] == max(shares)
        assert gap[i] == min(gaps)


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ('the bus with "EXPRESS" on it', True),
        ("the bus with “EXPRESS” on it", True),
        ("a door marked 'EXIT'", True),
        ("eine Tür mit «Ausgang»", True),
        ("das Schild „Ausgang“", True),
        ("写着「出口」的门", True),
        ("the player with number 23", True),
        ("lot A12", True),
        ("the 2nd bus from the left", False),
        ("the 21st bottle", False),
        ("the boys' ball beside the girls' hat", False),
        ("it's the man's", False),
        ("the third of five ducks", False),
        ('an empty "" pair and "..."', False),
        ("", False),
    ],
)
def test_has_text(description: str, text: bool) -> None:
    assert has_text(description) is text


def test_has_text_in_linear_time() -> None:
    for unit in ('"', "'a", '"a ', "“a", "«a ", "1st ", "a"):
        began = time.process_time()
        has_text(unit * 200_000)
        assert time.process_time() - began < 5
    began = time.process_time()
    has_text("1" * 200_000 + "st")
    assert time.process_time() - began < 5


# Agreement.


def scene(rng: np.random.Generator) -> tuple[Any, ...]:
    """Some true boxes, and boxes near them, of which some have the wrong class."""
    truths, boxes = int(rng.integers(1, 8)), int(rng.integers(1, 20))
    low = rng.uniform(0, 80, (truths, 2))
    true = np.concatenate([low, low + rng.uniform(10, 40, (truths, 2))], axis=1)
    true_labels = rng.integers(0, 3, truths)
    of = rng.integers(0, truths, boxes)
    found = true[of] + rng.normal(0, 3, (boxes, 4))
    labels = np.where(rng.random(boxes) < 0.8, true_labels[of], rng.integers(0, 3, boxes))
    return found, labels, rng.random(boxes), true, true_labels, rng.random(truths) < 0.2


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_pycocotools(agnostic: bool, iou: float) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    evaluate = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(4)
    for _ in range(40):
        found, labels, scores, true, true_labels, crowd = scene(rng)
        ours = agreement.match(
            found, labels, scores, true, true_labels, iou=iou, agnostic=agnostic, ignore=crowd
        )
        images, categories = [{"id": 1}], [{"id": i} for i in range(3)]
        truth = coco.COCO()
        truth.dataset = {
            "images": images,
            "categories": categories,
            "annotations": [
                {"id": i + 1, "image_id": 1, "category_id": int(label), "bbox": box, "area": 1.0}
                | {"iscrowd": int(many)}
                for i, (box, label, many) in enumerate(
                    zip(geometry.to_xywh(true).tolist(), true_labels, crowd, strict=True)
                )
            ],
        }
        truth.createIndex()
        theirs = coco.COCO()
        theirs.dataset = {
            "images": images,
            "categories": categories,
            "annotations": [
                {"id": i + 1, "image_id": 1, "category_id": int(label), "bbox": box, "area": 1.0}
                | {"iscrowd": 0, "score": float(score)}
                for i, (box, label, score) in enumerate(
                    zip(geometry.to_xywh(found).tolist(), labels, scores, strict=True)
                )
            ],
        }
        theirs.createIndex()
        judge = evaluate.COCOeval(truth, theirs, "bbox")
        judge.params.iouThrs = np.array([iou])
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.useCats = int(not agnostic)
        judge.evaluate()
        expected, ignored = np.full(len(found), -1), np.zeros(len(found), bool)
        for part in filter(None, judge.evalImgs):
            ids = np.array(part["dtIds"], int) - 1
            match, skip = part["dtMatches"][0].astype(int) - 1, part["dtIgnore"][0].astype(bool)
            expected[ids] = np.where(skip, -1, match)
            ignored[ids] = skip
        assert ours.truth.tolist() == expected.tolist()
        assert ours.ignored.tolist() == ignored.tolist()


def test_agreement_worked() -> None:
    true = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 5], [40, 0, 50, 10], [60, 0, 70, 10]]
    one = agreement.match(boxes, [0, 0, 0, 1, 1], [0.5, 0.9, 0.3, 0.9, 0.9], true, [0, 0, 0])
    # The surer box takes the first; exactly 0.5 is enough; the third has another class.
    assert one.truth.tolist() == [-1, 0, 1, -1, -1]
    both = agreement.tally([one, one], 2)
    assert (both.precision, both.recall) == (4 / 10, 4 / 6)
    assert both.by_class()[0].tolist() == [4 / 6, 4 / 6]
    assert both.by_class()[1, 0] == 0
    assert np.isnan(both.by_class()[1, 1])
    free = agreement.match(
        boxes, [0, 0, 0, 1, 1], [0.5, 0.9, 0.3, 0.9, 0.9], true, [0, 0, 0], agnostic=True
    )
    assert free.truth.tolist() == [-1, 0, 1, 2, -1]
    counted = agreement.tally([free], 2)
    assert counted.right.tolist() == [2, 1]
    assert counted.found.tolist() == [3, 0]


def test_agreement_of_nothing() -> None:
    empty = agreement.tally([agreement.match([], [], [], [], [])], 2)
    assert np.isnan([empty.precision, empty.recall]).all()
    none = agreement.tally([agreement.match([], [], [], [[0, 0, 1, 1]], [1])], 2)
    assert none.recall == 0
    wrong = agreement.tally([agreement.match([[0, 0, 1, 1]], [1], [1], [], [])], 2)
    assert wrong.precision == 0
    with pytest.raises(BoxError, match="a label and a score for each of 1 boxes"):
        agreement.match([[0, 0, 1, 1]], [], [1], [], [])
