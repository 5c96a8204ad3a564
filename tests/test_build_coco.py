"""The whole pipeline on real photos with people's boxes, to a data set that `eval` runs on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from groundingme import evaluate
from groundingme.build import config as configuration
from groundingme.build.pipeline import Build
from groundingme.build.sources import list_pictures
from groundingme.build.stages import SECTIONS, STAGES
from groundingme.datasets import load_dataset

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("GROUNDINGME_SHARED", ROOT.parent / "shared"))

pytestmark = pytest.mark.slow


@pytest.fixture
def photos() -> Path:
    place = SHARED / "assets" / "coco"
    if not place.exists():
        pytest.skip(f"needs real photos at {place}")
    return place


def test_real_photos_become_a_data_set(photos: Path, tmp_path: Path) -> None:
    told = [
        f"source.path={photos / 'images'}",
        "detect.by=file",
        f"detect.path={photos / 'boxes.jsonl'}",
        "sort.min_instances=3",
        "sort.crowded=4",
        'select.per_subtask={"Spatial/Relationship"=30, "Spatial/Counting"=30, '
        '"Limited/Occlusion"=20, "Rejection/Appearance"=15}',
        "describe.by=rules",
        'negatives.kinds=["Appearance"]',
        'publish.layouts=["coco"]',
    ]
    build = Build(
        configuration.load(None, SECTIONS, told), tmp_path / "work", STAGES, list_pictures
    )
    last = build.run(workers=2)
    dataset = load_dataset(str(last.folder / "data"))
    assert len(dataset) >= 40
    assert {one.subtask_l2 for one in dataset} >= {"Relationship", "Counting", "Occlusion"}

    truth = {
        row["image"]: [tuple(map(float, one["bbox"])) for one in row["objects"]]
        for row in map(json.loads, (photos / "boxes.jsonl").read_text().splitlines())
    }
    for line in (last.folder / "data" / "provenance.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert tuple(row["box"]) in truth[row["picture"]]

    result = evaluate("baseline/center", dataset, out=tmp_path / "runs")
    assert result.failed == 0
    assert len(result.scores) == len(dataset)
