"""Suppression: worked cases, other people's implementations, and what must always hold."""

from __future__ import annotations

import runpy
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundingme import geometry
from groundingme.build import suppress as module
from groundingme.build.suppress import POLICIES, Suppressed, suppress
from groundingme.errors import BoxError, UnknownNameError, UsageError

DUCK, BIRD, BOAT = range(3)

# The pond of docs/build-suppression.md and its picture.
POND = [
    ("duck a", (37, 195, 127, 271), DUCK, 0.58),
    ("bird a", (36, 193, 128, 273), BIRD, 0.83),
    ("duck b", (183, 250, 281, 334), DUCK, 0.77),
    ("duck b again", (181, 257, 283, 336), DUCK, 0.61),
    ("duck c", (275, 247, 365, 323), DUCK, 0.64),
    ("ducks b and c", (178, 243, 369, 340), DUCK, 0.79),
    ("duck d", (427, 295, 517, 371), DUCK, 0.72),
    ("duck in the boat", (388, 153, 454, 209), DUCK, 0.49),
    ("bird e", (548, 69, 612, 210), BIRD, 0.88),
    ("boat", (340, 150, 530, 255), BOAT, 0.91),
]
ROOT = Path(__file__).resolve().parents[1]
NAMES = [row[0] for row in POND]


def pond() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes = np.array([row[1] for row in POND], float)
    return boxes, np.array([row[2] for row in POND]), np.array([row[3] for row in POND])


def losers(found: Suppressed) -> dict[str, str]:
    """Each suppressed box of the pond, and the one it lost to."""
    return {NAMES[i]: NAMES[by] for i, by in enumerate(found.by.tolist()) if by >= 0}


@pytest.mark.parametrize(
    ("policy", "lost"),
    [
        ("none", {}),
        ("per-class", {"duck b again": "duck b"}),
        # The surer box wins: the duck that is also a bird becomes a bird.
        ("agnostic", {"duck b again": "duck b", "duck a": "bird a"}),
        # Six instances of duck (the one found twice counts once) against two of bird.
        ("instances", {"duck b again": "duck b", "bird a": "duck a"}),
        # The box around two ducks goes, surer though it is; the duck in the boat stays.
        (
            "containment",
            {"duck b again": "duck b", "duck a": "bird a", "ducks b and c": "duck b"},
        ),
    ],
)
def test_the_pond(policy: str, lost: dict[str, str]) -> None:
    found = suppress(*pond(), policy=policy)
    assert losers(found) == lost
    assert (found.keep == (found.by < 0)).all()


def test_the_page_and_the_picture_show_this_pond() -> None:
    page = (ROOT / "docs" / "build-suppression.md").read_text(encoding="utf-8")
    names = ("duck", "bird", "boat")
    for name, box, label, score in POND:
        assert f"| {name} | {names[label]} | {', '.join(map(str, box))} | {score:.2f} |" in page
    drawn = runpy.run_path(str(ROOT / "bench" / "pond.py"))["FOUND"]
    assert drawn == [(names[label], box, score) for _, box, label, score in POND]
    overlap = geometry.iou_matrix(*[[row[1] for row in POND]] * 2)
    assert f"{overlap[0, 1]:.2f}" == "0.93"
    assert f"{overlap[2, 3]:.2f}" == "0.86"
    assert "IoU 0.93" in page
    assert "IoU 0.86" in page


def test_one_thing_found_often_is_one_instance() -> None:
    """Three boxes of one bird are one instance; two ducks are two, and win."""
    thing, other = [0.0, 0.0, 100.0, 100.0], [300.0, 0.0, 400.0, 100.0]
    boxes = [thing, [0, 0, 100, 98], [0, 2, 100, 100], thing, other]
    found = suppress(boxes, [BIRD, BIRD, BIRD, DUCK, DUCK], [0.9, 0.8, 0.7, 0.1, 0.1])
    assert found.by.tolist() == [3, 3, 3, -1, -1]


def test_instances_are_counted_before_any_class_loses_a_box() -> None:
    """Two birds, of which one is lost to the ducks, still outnumber the one boat."""
    ducks = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    birds = [[0, 0, 10, 10], [60, 0, 70, 10]]
    found = suppress(
        [*ducks, *birds, [60, 0, 70, 11]],
        [DUCK] * 3 + [BIRD] * 2 + [BOAT],
        [0.3] * 3 + [0.4] * 2 + [0.9],
    )
    assert found.by.tolist() == [-1, -1, -1, 0, -1, 4]


def test_broken_boxes_are_no_instances() -> None:
    broken = [[5, 5, 5, 5], [9, 9, 1, 1], [float("nan")] * 4, [0, 0, float("inf"), 1]]
    found = suppress(
        [[0, 0, 10, 10], *broken, [0, 0, 10, 11]], [BIRD] * 5 + [DUCK], [0.1] * 5 + [0.9]
    )
    assert found.by.tolist() == [5, -1, -1, -1, -1, -1]


def test_a_suppressed_box_suppresses_nothing() -> None:
    """b lies over a and c, which lie beside each other: a beats b, and c stays."""
    chain = [[0, 0, 100, 10], [15, 0, 115, 10], [30, 0, 130, 10]]
    assert geometry.iou(chain[:2], chain[1:]).tolist() == [85 / 115] * 2
    assert geometry.iou(chain[:1], chain[2:]).tolist() == [70 / 130]
    for policy in ("agnostic", "instances"):
        found = suppress(chain, [DUCK, BIRD, BOAT], [0.9, 0.8, 0.7], policy=policy)
        assert found.by.tolist() == [-1, 0, -1]


def test_ties() -> None:
    """Equal classes: the score, then the area, then what lies further left, then the label."""
    thin, full, moved = [0, 0, 100, 90], [0, 0, 100, 100], [1, 0, 101, 100]
    assert suppress([thin, full], [DUCK, BIRD], [0.6, 0.5]).by.tolist() == [-1, 0]
    assert suppress([thin, full], [DUCK, BIRD], [0.5, 0.5]).by.tolist() == [1, -1]
    assert suppress([moved, full], [DUCK, BIRD], [0.5, 0.5]).by.tolist() == [1, -1]
    assert suppress([full, full], [BIRD, DUCK], [0.5, 0.5]).by.tolist() == [1, -1]
    assert suppress([full, full], [DUCK, DUCK], [0.5, 0.5]).by.tolist() == [-1, 0]
    assert suppress([full, full], [DUCK, BIRD], [float("nan"), 0.0]).by.tolist() == [1, -1]


def test_exactly_at_the_limit_both_stay() -> None:
    boxes, above = [[0, 0, 10, 10], [0, 0, 10, 7]], [[0, 0, 10, 10], [0, 0, 10, 7.001]]
    assert suppress(boxes, [0, 0], [1, 0], iou=0.7).keep.all()
    assert not suppress(above, [0, 0], [1, 0], iou=0.7).keep.all()
    part = [[0, 0, 100, 100], [91, 0, 101, 10]]
    assert suppress(part, [0, 0], [1, 0], policy="containment", containment=0.9).keep.all()
    assert not suppress(part, [0, 0], [1, 0], policy="containment", containment=0.89).keep.all()


def test_parts_and_wholes() -> None:
    """Of one class the surer stays; of two classes both; a chain of boxes is no group."""
    whole, part, inner = [0, 0, 100, 100], [10, 10, 60, 60], [20, 20, 40, 40]

    def by(boxes: list[Any], labels: list[int], scores: list[float]) -> list[int]:
        return suppress(boxes, labels, scores, policy="containment").by.tolist()

    assert by([whole, part], [DUCK, DUCK], [0.9, 0.5]) == [-1, 0]
    assert by([whole, part], [DUCK, DUCK], [0.5, 0.9]) == [1, -1]
    assert by([whole, part], [DUCK, BIRD], [0.9, 0.5]) == [-1, -1]
    assert by([whole, part, inner], [DUCK] * 3, [0.9, 0.5, 0.4]) == [-1, 0, 0]
    # Two boxes side by side inside make it a group, which loses whatever its score.
    assert by([whole, part, [70, 70, 90, 90]], [DUCK] * 3, [0.9, 0.5, 0.4]) == [1, -1, -1]
    # Not where both are the same thing, found twice.
    assert by([whole, part, [10, 10, 60, 58]], [DUCK] * 3, [0.9, 0.5, 0.4]) == [-1, 0, 0]


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_and_one(policy: str) -> None:
    assert suppress([], [], [], policy=policy).keep.shape == (0,)
    assert suppress([[0, 0, 1, 1]], [3], [0.5], policy=policy).by.tolist() == [-1]


def test_errors() -> None:
    box = [[0, 0, 1, 1]]
    with pytest.raises(UnknownNameError, match="did you mean 'per-class'"):
        suppress(box, [0], [0], policy="perclass")
    with pytest.raises(UsageError, match=r"expected iou in \[0, 1\], got 70"):
        suppress(box, [0], [0], iou=70)
    with pytest.raises(UsageError, match="expected containment"):
        suppress(box, [0], [0], containment=float("nan"))
    with pytest.raises(BoxError, match="a label and a score for each of 1 boxes"):
        suppress(box, [0, 1], [0])
    for labels in ([-1], [0.5]):
        with pytest.raises(BoxError, match="whole numbers from 0"):
            suppress(box, labels, [0])


# Against implementations that share nothing with ours.


def literal(
    boxes: Any, labels: Any, scores: Any, policy: str, iou: float, containment: float
) -> list[int]:
    """The rules of the module's head, word for word, a pair at a time."""

    def area(box: Any) -> float:
        return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

    def shared(a: Any, b: Any) -> float:
        return area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])

    def over(i: int, j: int) -> bool:
        both = shared(boxes[i], boxes[j])
        return both > 0 and both / (area(boxes[i]) + area(boxes[j]) - both) > iou

    def held(i: int, j: int) -> bool:
        both = shared(boxes[i], boxes[j])
        small = min(area(boxes[i]), area(boxes[j]))
        return labels[i] == labels[j] and both > 0 and both / small > containment

    def greedy(first: Any, clash: Any) -> list[int]:
        by = [-1] * len(boxes)
        kept: list[int] = []
        order = sorted(
            range(len(boxes)),
            key=lambda i: (
                first(i),
                -scores[i],
                -area(boxes[i]),
                tuple(boxes[i]),
                labels[i],
                i,
            ),
        )
        for i in order:
            by[i] = next((k for k in kept if clash(k, i)), -1)
            if by[i] < 0:
                kept.append(i)
        return by

    def same(i: int, j: int) -> bool:
        return bool(labels[i] == labels[j]) and over(i, j)

    plain = greedy(lambda i: 0, same)
    single = [i for i, by in enumerate(plain) if by < 0]
    if policy == "per-class":
        return plain
    if policy == "agnostic":
        return greedy(lambda i: 0, over)
    if policy == "instances":
        return greedy(lambda i: -sum(labels[k] == labels[i] for k in single), over)

    def holds(i: int) -> list[int]:
        rank = {k: (area(boxes[k]), -scores[k], tuple(boxes[k]), k) for k in single}
        return [k for k in single if i in rank and rank[i] > rank[k] and held(i, k)]

    groups = [sum(not holds(k) for k in holds(i)) > 1 for i in range(len(boxes))]
    return greedy(lambda i: groups[i], lambda i, j: over(i, j) or held(i, j))


COORDINATE = st.integers(0, 12)


@st.composite
def detections(draw: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Few coordinates, classes and scores, so that boxes overlap and tie all the time."""
    rows = draw(
        st.lists(
            st.tuples(
                *[COORDINATE] * 2,
                st.integers(1, 8),
                st.integers(1, 8),
                st.integers(0, 2),
                st.sampled_from([0.2, 0.5, 0.9]),
            ),
            max_size=14,
        )
    )
    table = np.array(rows, float).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    return boxes, table[:, 4].astype(int), table[:, 5]


REAL = [name for name in POLICIES if name != "none"]
LIMIT = st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.9, 1.0])


@pytest.mark.parametrize("block", [512, 1, 3], ids=lambda block: f"block{block}")
@pytest.mark.parametrize("policy", REAL)
@settings(max_examples=60, deadline=None)
@given(found=detections(), iou=LIMIT, containment=LIMIT)
def test_the_literal_rules(
    policy: str, block: int, found: Any, iou: float, containment: float
) -> None:
    """Whole, and in blocks as thousands of boxes are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        ours = suppress(*found, policy=policy, iou=iou, containment=containment)
    assert ours.by.tolist() == literal(*found, policy, iou, containment)


@pytest.mark.parametrize("policy", REAL)
@settings(max_examples=60, deadline=None)
@given(found=detections(), iou=LIMIT, containment=LIMIT, seed=st.integers(0, 2**16))
def test_what_always_holds(
    policy: str, found: Any, iou: float, containment: float, seed: int
) -> None:
    boxes, labels, scores = found
    keep, by = suppress(*found, policy=policy, iou=iou, containment=containment)
    overlap = geometry.iou_matrix(boxes, boxes)
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(
        boxes[:, None, :2], boxes[None, :, :2]
    )
    inside = np.clip(sides, 0, None).prod(axis=2)
    inside = inside / np.minimum.outer(geometry.area(boxes), geometry.area(boxes))
    alike = labels[:, None] == labels
    clash = {
        "per-class": alike & (overlap > iou),
        "agnostic": overlap > iou,
        "instances": overlap > iou,
        "containment": (overlap > iou) | (alike & (inside > containment)),
    }[policy]
    np.fill_diagonal(clash, False)
    assert not clash[np.ix_(keep, keep)].any()
    lost = np.flatnonzero(~keep)
    assert clash[lost, by[lost]].all()
    assert keep[by[lost]].all()
    assert (by[keep] == -1).all()
    # The order of the rows does not matter, but for rows that are equal in everything.
    turn = np.random.default_rng(seed).permutation(len(labels))
    again = suppress(
        boxes[turn], labels[turn], scores[turn], policy=policy, iou=iou, containment=containment
    )

    def rows(mask: Any, at: Any) -> list[tuple[float, ...]]:
        table = np.column_stack([boxes, labels, scores])[at]
        return sorted(map(tuple, table[mask].tolist()))

    assert rows(again.keep, turn) == rows(keep, np.arange(len(labels)))


def crowd(boxes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Things found about four times each."""
    rng = np.random.default_rng(seed)
    things = max(1, boxes // 4)
    middle, side = rng.uniform(0, 2000, (things, 2)), rng.uniform(20, 200, (things, 2))
    of = rng.integers(0, things, boxes)
    noise = rng.normal(0, 6, (boxes, 4))
    xyxy = np.concatenate([middle[of] - side[of] / 2, middle[of] + side[of] / 2], axis=1) + noise
    return xyxy, rng.integers(0, 6, boxes), rng.random(boxes)


@pytest.mark.parametrize("boxes", [100, 2500])
@pytest.mark.parametrize("iou", [0.3, 0.7])
def test_opencv(boxes: int, iou: float) -> None:
    cv2 = pytest.importorskip("cv2")
    xyxy, labels, scores = crowd(boxes)
    # It keeps boxes in single precision: values that it holds exactly, and scores without ties.
    xyxy = np.round(xyxy)
    scores = (np.argsort(np.argsort(scores)) + 1) / 4096
    xywh = geometry.to_xywh(xyxy)
    kept = cv2.dnn.NMSBoxes(xywh.tolist(), scores.tolist(), 0.0, iou)
    ours = suppress(xyxy, labels, scores, policy="agnostic", iou=iou)
    assert sorted(np.asarray(kept).ravel().tolist()) == np.flatnonzero(ours.keep).tolist()
    per_class: list[int] = []
    for label in range(6):
        rows = np.flatnonzero(labels == label)
        kept = cv2.dnn.NMSBoxes(xywh[rows].tolist(), scores[rows].tolist(), 0.0, iou)
        per_class += rows[np.asarray(kept).ravel()].tolist()
    ours = suppress(xyxy, labels, scores, policy="per-class", iou=iou)
    assert sorted(per_class) == np.flatnonzero(ours.keep).tolist()


@pytest.mark.parametrize("policy", REAL)
def test_thousands_of_boxes_in_little_memory(policy: str) -> None:
    """Six thousand boxes of one thing: 36 million pairs clash, and are never held at once."""
    rng = np.random.default_rng(0)
    boxes = np.array([0, 0, 100, 100]) + rng.uniform(-1, 1, (6000, 4))
    tracemalloc.start()
    try:
        found = suppress(boxes, np.zeros(6000, int), rng.random(6000), policy=policy)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.keep.sum() == 1
    assert peak < 250e6


@pytest.mark.parametrize("policy", REAL)
def test_blocks_change_nothing(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand boxes in blocks of 512, and as one."""
    blocks = suppress(*crowd(2000, seed=3), policy=policy)
    monkeypatch.setattr(module, "BLOCK", 1 << 20)
    monkeypatch.setattr(module, "_PAIRS", 1 << 40)
    assert suppress(*crowd(2000, seed=3), policy=policy).by.tolist() == blocks.by.tolist()
