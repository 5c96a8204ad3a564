"""Boxes, coordinate formats and vendors' resize rules: against slow readings and worked examples.

The sizes in the worked examples were computed by hand from the rules that each vendor states.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundingme import geometry, resizing
from groundingme.errors import BoxError, UnknownNameError
from groundingme.geometry import COORD_FORMATS, DEGENERATE, FINE, NON_FINITE, OUTSIDE, SWAPPED

NAN, INF = math.nan, math.inf

Numbers = tuple[float, float, float, float]

coordinate = st.floats(-1e5, 1e5) | st.integers(-20, 20).map(float)
any_box = st.tuples(coordinate, coordinate, coordinate, coordinate)
hostile = coordinate | st.sampled_from([NAN, INF, -INF, 1e308, -1e308, 5e-324, -0.0])
hostile_box = st.tuples(hostile, hostile, hostile, hostile)
side = st.integers(1, 12_000)
size = st.tuples(side, side)
fraction = st.floats(0, 1)


def slow_iou(a: Numbers, b: Numbers) -> float:
    """IoU from the lengths of two overlapping intervals a side."""
    for x1, y1, x2, y2 in (a, b):
        if not all(map(math.isfinite, (x1, y1, x2, y2))) or x2 <= x1 or y2 <= y1:
            return 0.0
    shared = 1.0
    for axis in (0, 1):
        begin, end = max(a[axis], b[axis]), min(a[axis + 2], b[axis + 2])
        if end <= begin:
            return 0.0
        shared *= end - begin
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    union = area_a + area_b - shared
    return shared / union if union > 0 else 0.0


@given(st.lists(st.tuples(any_box, any_box), max_size=8))
def test_iou_is_what_plain_python_gives(pairs: list[tuple[Numbers, Numbers]]) -> None:
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    expected = [slow_iou(x, y) for x, y in pairs]
    assert geometry.iou(a, b).tolist() == pytest.approx(expected, abs=1e-12)
    matrix = geometry.iou_matrix(a, b)
    assert matrix.shape == (len(a), len(b))
    assert matrix.ravel().tolist() == pytest.approx(
        [slow_iou(x, y) for x in a for y in b], abs=1e-12
    )


@given(hostile_box, hostile_box)
def test_iou_is_symmetric_and_a_fraction_for_any_floats(a: Numbers, b: Numbers) -> None:
    forth, back = geometry.iou([a], [b]), geometry.iou([b], [a])
    assert forth.tolist() == back.tolist()
    assert 0 <= forth[0] <= 1


@given(st.lists(fraction, min_size=4, max_size=4), st.floats(-1e4, 1e4), st.integers(1, 1000))
def test_iou_does_not_change_with_place_and_scale(
    corners: list[float], shift: float, scale: int
) -> None:
    a = np.array([0.0, 0.0, 1.0, 1.0])
    b = np.array([corners[0], corners[1], corners[0] + 1, corners[1] + 1])
    moved = geometry.iou([a * scale + shift], [b * scale + shift])[0]
    assert moved == pytest.approx(geometry.iou([a], [b])[0], abs=1e-9)


@given(any_box)
def test_a_proper_box_matches_itself_alone(box: Numbers) -> None:
    x1, y1, x2, y2 = box
    proper = x2 - x1 > 1e-3 and y2 - y1 > 1e-3
    if proper:
        assert geometry.iou([box], [box])[0] == 1.0
    elif x2 <= x1 or y2 <= y1:
        assert geometry.iou([box], [box])[0] == 0.0


@pytest.mark.parametrize(
    ("box", "fate", "iou", "center", "clipped"),
    [
        ((2, 2, 8, 8), FINE, 0.36, True, (2, 2, 8, 8)),
        ((0, 0, 10, 10), FINE, 1.0, True, (0, 0, 10, 10)),
        ((5, 0, 15, 10), OUTSIDE, 1 / 3, True, (5, 0, 10, 10)),
        ((-5, 0, 5, 10), OUTSIDE, 1 / 3, True, (0, 0, 5, 10)),
        ((-30, -30, -20, -20), OUTSIDE, 0.0, False, (0, 0, 0, 0)),
        ((40, 40, 50, 50), OUTSIDE, 0.0, False, (10, 10, 10, 10)),
        ((8, 2, 2, 8), SWAPPED, 0.0, False, (8, 2, 2, 8)),
        ((2, 8, 8, 2), SWAPPED, 0.0, False, (2, 8, 8, 2)),
        ((8, 8, 2, 2), SWAPPED, 0.0, False, (8, 8, 2, 2)),
        ((5, 2, 5, 8), DEGENERATE, 0.0, False, (5, 2, 5, 8)),
        ((2, 5, 8, 5), DEGENERATE, 0.0, False, (2, 5, 8, 5)),
        ((0, 0, 0, 0), DEGENERATE, 0.0, False, (0, 0, 0, 0)),
        ((20, 0, 5, 5), SWAPPED, 0.0, False, (10, 0, 5, 5)),
        ((NAN, 2, 8, 8), NON_FINITE, 0.0, False, (NAN, 2, 8, 8)),
        ((NAN, NAN, NAN, NAN), NON_FINITE, 0.0, False, (NAN, NAN, NAN, NAN)),
        ((0, 0, INF, 10), NON_FINITE, 0.0, False, (0, 0, 10, 10)),
        ((-INF, -INF, INF, INF), NON_FINITE, 0.0, False, (0, 0, 10, 10)),
        ((INF, 0, -INF, 5), NON_FINITE, 0.0, False, (10, 0, 0, 5)),
        ((-1e308, -1e308, 1e308, 1e308), OUTSIDE, 0.0, True, (0, 0, 10, 10)),
    ],
)
def test_each_kind_of_box_has_its_fate(
    box: Numbers, fate: int, iou: float, center: bool, clipped: Numbers
) -> None:
    image, target = [[10, 10]], [[0, 0, 10, 10]]
    assert geometry.validate([box], image).tolist() == [fate]
    assert geometry.validate([box]).tolist() == [FINE if fate == OUTSIDE else fate]
    assert geometry.FATES[fate] in (geometry.__doc__ or "") or fate == FINE
    assert geometry.iou([box], target)[0] == pytest.approx(iou)
    assert geometry.center_in([box], target).tolist() == [center]
    np.testing.assert_array_equal(geometry.clip([box], image), [clipped])


@given(st.lists(hostile_box, max_size=5))
def test_the_gravest_fate_is_named_and_nothing_warns(boxes: list[Numbers]) -> None:
    fates = geometry.validate(boxes, [(100, 100)] * len(boxes)).tolist()
    for (x1, y1, x2, y2), fate in zip(boxes, fates, strict=True):
        if not all(map(math.isfinite, (x1, y1, x2, y2))):
            assert fate == NON_FINITE
        elif x2 < x1 or y2 < y1:
            assert fate == SWAPPED
        elif x2 == x1 or y2 == y1:
            assert fate == DEGENERATE
        else:
            assert fate == (OUTSIDE if min(x1, y1) < 0 or max(x2, y2) > 100 else FINE)
    cut = geometry.clip(boxes, (100, 100))
    assert bool((np.isnan(cut) | ((cut >= 0) & (cut <= 100))).all())
    geometry.center_in(boxes, [(0, 0, 100, 100)] * len(boxes))


def test_the_edges_of_the_target_count_for_the_centre() -> None:
    boxes = [[-1, -1, 1, 1], [9, 9, 11, 11], [-1.1, -1, 1, 1], [9, 9, 11, 11.1]]
    assert geometry.center_in(boxes, [[0, 0, 10, 10]] * 4).tolist() == [True, True, False, False]


def test_area_is_zero_for_what_has_none() -> None:
    assert geometry.area([[0, 0, 2, 3], [2, 0, 0, 3], [1, 1, 1, 9]]).tolist() == [6, 0, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        [1, 2, 3, 4],
        [[1, 2, 3]],
        [[1, 2, 3, 4, 5]],
        [[[1, 2, 3, 4]]],
        [[1, 2, 3, 4], [1, 2]],
        [["a", "b", "c", "d"]],
        [[]],
        [[], []],
        "1 2 3 4",
        7,
        None,
    ],
)
def test_what_is_no_list_of_boxes_is_an_error_that_says_so(wrong: object) -> None:
    with pytest.raises(BoxError, match="expected boxes"):
        geometry.as_boxes(wrong)  # type: ignore[arg-type]


def test_an_empty_list_of_boxes_stays_one_everywhere() -> None:
    for empty in ([], (), np.empty((0, 4))):
        assert geometry.as_boxes(empty).shape == (0, 4)
    assert geometry.iou([], []).shape == (0,)
    assert geometry.iou_matrix([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert geometry.validate([], []).shape == (0,)
    assert geometry.clip([], []).shape == (0, 4)
    assert geometry.clip([], (10, 10)).shape == (0, 4)
    for form in COORD_FORMATS.values():
        assert form.to_pixels([], []).shape == (0, 4)
        assert form.from_pixels([], np.empty((0, 2))).shape == (0, 4)


def test_unequal_numbers_of_boxes_are_an_error() -> None:
    with pytest.raises(BoxError, match="got 1 and 2"):
        geometry.iou([[0, 0, 1, 1]], [[0, 0, 1, 1]] * 2)


@given(st.lists(any_box, max_size=5))
def test_xywh_goes_there_and_back(boxes: list[Numbers]) -> None:
    back = geometry.from_xywh(geometry.to_xywh(boxes))
    np.testing.assert_allclose(back, geometry.as_boxes(boxes), rtol=0, atol=1e-9)


def test_xywh_is_cocos() -> None:
    assert geometry.from_xywh([[10, 20, 30, 40]]).tolist() == [[10, 20, 40, 60]]
    assert geometry.to_xywh([[10, 20, 40, 60]]).tolist() == [[10, 20, 30, 40]]


@pytest.mark.parametrize("name", COORD_FORMATS)
@given(box=st.tuples(fraction, fraction, fraction, fraction), wh=size)
def test_every_format_goes_there_and_back(name: str, box: Numbers, wh: tuple[int, int]) -> None:
    form = COORD_FORMATS[name]
    full = np.tile(np.array(wh, dtype=float), 2)
    pixels = np.array([box]) * full
    written = form.from_pixels(pixels, [wh])
    back = form.to_pixels(written, [wh])
    if not form.bins:
        np.testing.assert_allclose(back, pixels, rtol=0, atol=1e-6 * max(wh))
        return
    assert form.scale is not None
    assert bool((written == np.floor(written)).all())
    assert 0 <= written.min() <= written.max() <= form.scale - 1
    assert bool((np.abs(back - pixels) <= full / form.scale * (1 + 1e-6)).all())
    # A token read and written again is the same token.
    assert form.from_pixels(back, [wh]).tolist() == written.tolist()


@pytest.mark.parametrize("name", [name for name, form in COORD_FORMATS.items() if not form.bins])
@given(boxes=st.lists(any_box, min_size=1, max_size=4), wh=size)
def test_continuous_formats_keep_swapped_and_outside_boxes(
    name: str, boxes: list[Numbers], wh: tuple[int, int]
) -> None:
    form, sizes = COORD_FORMATS[name], [wh] * len(boxes)
    back = form.to_pixels(form.from_pixels(boxes, sizes), sizes)
    np.testing.assert_allclose(back, boxes, rtol=1e-6, atol=1e-6)
    # Huge and not finite numbers pass through; nothing is made up for them.
    strange = form.to_pixels([[NAN, INF, -INF, 1.0]], [wh])
    assert np.isfinite(strange).sum() == 1


@pytest.mark.parametrize(
    ("name", "written", "pixels"),
    [
        ("abs", (100, 50, 400, 150), (100, 50, 400, 150)),
        ("abs-yxyx", (50, 100, 150, 400), (100, 50, 400, 150)),
        ("n1", (0.1, 0.25, 0.4, 0.75), (100, 50, 400, 150)),
        ("n1-yxyx", (0.25, 0.1, 0.75, 0.4), (100, 50, 400, 150)),
        ("n1000", (100, 250, 400, 750), (100, 50, 400, 150)),
        ("n1000-yxyx", (250, 100, 750, 400), (100, 50, 400, 150)),
        ("n999", (99.9, 249.75, 399.6, 749.25), (100, 50, 400, 150)),
        ("n999", (0, 0, 999, 999), (0, 0, 1000, 200)),
        ("loc1000", (100, 250, 400, 999), (100.5, 50.1, 400.5, 199.9)),
        ("loc1024", (256, 512, 1023, 768), (500, 50, 750, 199.8046875)),
        # 1000x200 is seen as 1008x196 (36 and 7 patches of 28).
        ("abs-qwen2.5-vl", (100.8, 49, 403.2, 147), (100, 50, 400, 150)),
        ("abs-mimo-vl", (100.8, 49, 403.2, 147), (100, 50, 400, 150)),
        ("abs-claude", (100, 50, 400, 150), (100, 50, 400, 150)),
        ("abs-claude-4.7", (100, 50, 400, 150), (100, 50, 400, 150)),
    ],
)
def test_worked_examples_of_every_format(name: str, written: Numbers, pixels: Numbers) -> None:
    form = geometry.coord_format(name)
    assert form.to_pixels([written], [(1000, 200)])[0].tolist() == pytest.approx(pixels)
    if not form.bins:
        assert form.from_pixels([pixels], [(1000, 200)])[0].tolist() == pytest.approx(written)


def test_each_row_is_read_in_its_own_image() -> None:
    sizes = [(1000, 200), (7680, 5046), (1000, 200)]
    boxes = COORD_FORMATS["abs-qwen2.5-vl"].to_pixels([[1008, 196, 4396, 2884]] * 3, sizes)
    assert boxes[0].tolist() == boxes[2].tolist() != boxes[1].tolist()
    assert boxes[1, 2:].tolist() == pytest.approx([7680, 5046])


def test_an_unknown_format_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownNameError, match="n1000"):
        geometry.coord_format("n10000")


@pytest.mark.parametrize(
    ("wh", "seen"),
    [
        # 7680*5046 exceeds 16,384 patches: both sides by sqrt(3.01697) to 4421.6 x 2905.1, down to
        # 157 x 103 patches.
        ((7680, 5046), (4396, 2884)),
        ((7680, 4320), (4760, 2688)),
        ((640, 480), (644, 476)),
        ((28, 28), (56, 56)),
        ((10, 10), (56, 56)),
        ((14, 1000), (28, 1008)),
        # Half a patch goes to the even multiple: 42 is 1.5 patches, 70 is 2.5.
        ((42, 2800), (56, 2800)),
        ((70, 2800), (56, 2800)),
    ],
)
def test_worked_examples_of_qwens_resize(wh: tuple[int, int], seen: tuple[int, int]) -> None:
    assert resizing.qwen25_vl(*wh) == seen
    assert resizing.qwen25_vl(*wh[::-1]) == seen[::-1]


@pytest.mark.parametrize(
    ("wh", "seen"),
    [
        # A quarter of Qwen's pixels: by sqrt(12.0679) to 2210.8 x 1452.5, down to 78 x 51 patches.
        ((7680, 5046), (2184, 1428)),
        ((640, 480), (644, 476)),
        # The short side grows to 28 first: 100 x 9 to 311 x 28, then 11 x 1 patches.
        ((100, 9), (308, 28)),
        # 20 x 100 to 28 x 140 is 5 patches, less than 8: by sqrt(1.6) up to 2 x 7.
        ((20, 100), (56, 196)),
        ((9, 9), (84, 84)),
    ],
)
def test_worked_examples_of_mimos_resize(wh: tuple[int, int], seen: tuple[int, int]) -> None:
    assert resizing.mimo_vl(*wh) == seen
    assert resizing.mimo_vl(*wh[::-1]) == seen[::-1]


@pytest.mark.parametrize(
    ("wh", "seen", "seen_47"),
    [
        ((640, 480), (640, 480), (640, 480)),
        ((1568, 784), (1568, 784), (1568, 784)),
        # 56 x 28 patches are 1,568; one pixel more begins another row of them, which a width of
        # 1567 saves: 784.499 rounds to 784.
        ((1568, 785), (1567, 784), (1568, 785)),
        ((3136, 1568), (1568, 784), (2576, 1288)),
        ((1569, 10), (1568, 10), (1569, 10)),
        # 4,784 tokens: 85 x 56 patches, so neither side reaches its limit of 2,576.
        ((7680, 5046), (1364, 896), (2380, 1564)),
    ],
)
def test_worked_examples_of_claudes_resize(
    wh: tuple[int, int], seen: tuple[int, int], seen_47: tuple[int, int]
) -> None:
    assert resizing.claude(*wh) == seen
    assert resizing.claude(*wh[::-1]) == seen[::-1]
    assert resizing.claude_47(*wh) == seen_47


@given(wh=size, rule=st.sampled_from([(resizing.qwen25_vl, 4, 16384), (resizing.mimo_vl, 8, 4096)]))
def test_qwens_rule_gives_whole_patches_within_bounds(wh: tuple[int, int], rule: object) -> None:
    resize, least, most = rule  # type: ignore[misc]
    if max(wh) > 200 * min(wh):
        return
    width, height = resize(*wh)
    assert width % 28 == height % 28 == 0
    assert least <= width * height / 28**2 <= most


@given(
    wh=size, rule=st.sampled_from([(resizing.claude, 1568, 1568), (resizing.claude_47, 2576, 4784)])
)
def test_claudes_rule_gives_the_largest_image_that_fits(wh: tuple[int, int], rule: object) -> None:
    resize, edge, tokens = rule  # type: ignore[misc]

    def fits(width: int, height: int) -> bool:
        patches = math.ceil(width / 28) * math.ceil(height / 28)
        return max(width, height) <= edge and patches <= tokens

    seen = resize(*wh)
    assert fits(*seen)
    if fits(*wh):
        assert seen == wh
        return
    long, short = max(wh), min(wh)
    larger = max(seen) + 1
    assert not fits(larger, max(1, round(larger * short / long)))
    assert min(seen) == max(1, round(max(seen) * short / long))
