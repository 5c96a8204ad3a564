"""`data check` finds every kind of problem, once, and says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from groundingme.datasets import load_dataset
from groundingme.datasets.check import check

GOOD = {
    "image": "a.jpg",
    "description": "the cup",
    "bbox": [10, 10, 30, 30],
    "subtask_l1": "Discriminative",
    "subtask_l2": "Text",
    "width": 100,
    "height": 80,
}


def kinds(
    folder: Path, *changes: dict[str, Any], images: bool = True
) -> list[tuple[int, str, str]]:
    rows = [
        {"id": n, **GOOD, "description": f"cup {n}", **change} for n, change in enumerate(changes)
    ]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = list(check(load_dataset(str(folder)), images=images))
    for problem in found:
        assert problem.message
        assert problem.advice
    return [(problem.row, problem.kind, problem.level) for problem in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (100, 80), "teal").save(tmp_path / "a.jpg")
    turned = Image.new("RGB", (80, 100), "teal")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-50])
    (tmp_path / "zero.jpg").write_bytes(b"")
    return tmp_path


def test_a_clean_data_set_has_no_problems(folder: Path) -> None:
    turned_right = {"image": "turned.jpg"}  # 100 x 80 once it is upright
    rejection = {"bbox": None, "subtask_l1": "Rejection"}
    assert kinds(folder, {}, turned_right, rejection) == []


@pytest.mark.parametrize(
    ("change", "kind", "level"),
    [
        ({"bbox": [50, 10, 130, 30]}, "box-outside", "error"),
        ({"bbox": [-20, 10, 30, 30]}, "box-outside", "error"),
        ({"bbox": [30, 10, 10, 30]}, "box-order", "error"),
        ({"bbox": [30, 10, 30, 30]}, "box-empty", "error"),
        ({"bbox": [0.1, 0.1, 0.3, 0.5]}, "box-fractions", "error"),
        ({"bbox": [0, 0, 100, 80]}, "box-large", "warning"),
        ({"bbox": None}, "positive-without-box", "error"),
        ({"subtask_l1": "Rejection"}, "rejection-with-box", "warning"),
        ({"subtask_l1": "Discriminativ"}, "subtask", "warning"),
        ({"subtask_l2": "Counting"}, "subtask", "warning"),
        ({"subtask_l1": ""}, "subtask", "warning"),
        ({"width": 200}, "size", "error"),
        ({"image": "turned.jpg", "width": 80, "height": 100}, "size", "error"),
        ({"width": None, "height": None}, "size", "warning"),
        ({"image": "nowhere.jpg"}, "image-missing", "error"),
        ({"image": None}, "image-missing", "error"),
        ({"image": "cut.jpg"}, "image-truncated", "error"),
        ({"image": "zero.jpg"}, "image-empty", "error"),
        ({"bbox": [1, 2, 3]}, "row", "error"),
        ({"description": " "}, "row", "error"),
        ({"id": 0}, "row", "error"),
    ],
)
def test_one_problem_one_line(folder: Path, change: dict[str, Any], kind: str, level: str) -> None:
    assert kinds(folder, {}, change) == [(2, kind, level)]


def test_a_pixel_beyond_the_edge_is_rounding(folder: Path) -> None:
    assert kinds(folder, {"bbox": [60, 50, 101, 81]}) == []


def test_the_same_question_twice(folder: Path) -> None:
    same = {"description": "the  Red cup"}
    assert kinds(folder, {"description": "the red cup"}, same) == [(2, "duplicate", "warning")]


def test_without_images_rows_alone_are_checked(folder: Path) -> None:
    changes: list[dict[str, Any]] = [{"image": "nowhere.jpg"}, {"bbox": [50, 10, 130, 30]}]
    assert kinds(folder, *changes, images=False) == [(2, "box-outside", "error")]
