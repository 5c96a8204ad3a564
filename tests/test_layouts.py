"""A data set in the layouts of other tools, read back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from xml.etree import ElementTree

import pytest

from groundingme.datasets import Dataset, load_dataset
from groundingme.datasets.export import LAYOUTS, export


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return load_dataset("scenes:seed=5,n=24,width=320,height=256")


def asked(dataset: Dataset) -> list[tuple[object, ...]]:
    return sorted(
        (one.description, one.target and tuple(map(round, one.target)), one.width, one.height)
        for one in dataset
    )


@pytest.mark.parametrize("layout", ["parquet", "folder", "tsv"])
def test_what_is_written_reads_back(layout: str, scenes: Dataset, tmp_path: Path) -> None:
    assert layout in LAYOUTS
    there = load_dataset(str(export(scenes, tmp_path / layout, layout=layout)))
    assert [one.id for one in there] == [one.id for one in scenes]
    assert asked(there) == asked(scenes)
    assert [one.subtask_l2 for one in there] == [one.subtask_l2 for one in scenes]
    for mine, theirs in zip(scenes, there, strict=True):
        assert mine.image is not None
        assert theirs.image is not None
        assert theirs.image.read() == mine.image.read()


def test_refcoco_holds_the_positives_and_rejected_the_others(
    scenes: Dataset, tmp_path: Path
) -> None:
    folder = export(scenes, tmp_path / "out", layout="refcoco", split="test")
    positives = load_dataset(f"refcoco:{folder}", split="test")
    rejected = load_dataset(f"refcocog_rej:{folder / 'rejected'}", split="test")
    assert asked(positives) == asked(
        Dataset(name="", source="", samples=[one for one in scenes if one.target])
    )
    assert [one.description for one in rejected] == [
        one.description for one in scenes if one.target is None
    ]
    assert all(one.target is None for one in rejected)
    refs = pickle.loads((folder / "refs(groundingme).p").read_bytes())
    instances = json.loads((folder / "instances.json").read_text())
    boxes = {one["id"]: one["bbox"] for one in instances["annotations"]}
    # As its own tools ask: every ref has an annotation, and no sentence has two ids.
    assert all(boxes[ref["ann_id"]][2] > 0 for ref in refs)
    ids = [id for ref in refs for id in ref["sent_ids"]]
    assert len(ids) == len(set(ids)) == len(positives)


def test_label_studio_tasks_have_boxes_in_percent(scenes: Dataset, tmp_path: Path) -> None:
    path = export(scenes, tmp_path / "out", layout="label-studio")
    tasks = json.loads(path.read_text())
    assert len(tasks) == len(scenes)
    for task, sample in zip(tasks, scenes, strict=True):
        results = {one["from_name"]: one for one in task["predictions"][0]["result"]}
        assert results["description"]["value"]["text"] == [sample.description]
        assert ("box" in results) == (sample.target is not None)
        if sample.target:
            value = results["box"]["value"]
            back = (
                value["x"] * sample.width / 100,
                value["y"] * sample.height / 100,
                (value["x"] + value["width"]) * sample.width / 100,
                (value["y"] + value["height"]) * sample.height / 100,
            )
            assert back == pytest.approx(sample.target)
        image = task["data"]["image"].partition("?d=")[2]
        assert (path.parent / image).read_bytes()
    config = ElementTree.fromstring((path.parent / "config.xml").read_text())
    labels = {one.get("value") for one in config.iter("Label")}
    assert labels >= {one.detection_type for one in scenes if one.target}


def test_one_image_of_several_samples_is_written_once(scenes: Dataset, tmp_path: Path) -> None:
    import msgspec

    twice = Dataset(
        name="twice",
        source="here",
        samples=[*scenes, *(msgspec.structs.replace(one, id=f"1{one.id}") for one in scenes)],
    )
    path = export(twice, tmp_path / "out", layout="tsv")
    once = export(scenes, tmp_path / "once", layout="tsv")
    assert path.stat().st_size < 1.2 * once.stat().st_size
    there = load_dataset(str(path))
    assert there[30].image is not None
    assert scenes[6].image is not None
    assert there[30].image.read() == scenes[6].image.read()
