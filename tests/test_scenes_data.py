"""Scenes as a data set: presets, knobs, reading back what was written, the command."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from groundingme.cli import main
from groundingme.datasets import Dataset, load_dataset
from groundingme.datasets.check import check
from groundingme.datasets.export import export
from groundingme.datasets.scenes.presets import PRESETS, SceneImage, parse_spec
from groundingme.errors import DataError, UsageError
from groundingme.images import BytesImage
from groundingme.schema import Sample
from groundingme.taxonomy import SUBTASKS

SMALL = "scenes:n=24,width=320,height=256,small_width=1280,seed=5"


@pytest.fixture(scope="module")
def small() -> Dataset:
    return load_dataset(SMALL)


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return load_dataset("scenes")


def test_the_default_has_the_papers_proportions(scenes: Dataset) -> None:
    counts = Counter((one.subtask_l1, one.subtask_l2) for one in scenes)
    assert counts == {(row.l1, row.l2): row.samples for row in SUBTASKS}
    assert len({one.id for one in scenes}) == 1005
    for one in scenes:
        assert (one.target is None) == (one.subtask_l1 == "Rejection")
        if one.target:
            x1, y1, x2, y2 = one.target
            assert 0 <= x1 < x2 <= one.width
            assert 0 <= y1 < y2 <= one.height


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("scenes", "9681a5c63d76d126"),
        ("scenes-hard", "5de41256960c469c"),
        ("scenes-8k", "cb5a150351994b42"),
    ],
)
def test_rows_of_the_presets_stay_what_they_were(name: str, digest: str) -> None:
    # Of 26 November 2026. Whoever changes rows on purpose changes what old scores mean.
    rows = [
        [one.id, one.description, one.target, one.width, one.height, one.extra]
        for one in load_dataset(name)
    ]
    found = hashlib.sha256(msgspec.json.encode(rows, order="sorted")).hexdigest()
    assert found.startswith(digest)


def test_the_first_rows_are_a_fair_sample(scenes: Dataset) -> None:
    counts = Counter(one.subtask_l1 for one in scenes.samples[:100])
    whole = Counter(one.subtask_l1 for one in scenes)
    for l1, count in whole.items():
        assert abs(counts[l1] - count * 100 / 1005) <= 3


def test_half_of_the_rejections_share_a_picture_with_a_positive(scenes: Dataset) -> None:
    names = Counter(one.image.name for one in scenes if one.image)
    shared = [
        one for one in scenes
        if one.subtask_l1 == "Rejection" and one.image and names[one.image.name] == 2
    ]  # fmt: skip
    assert 60 <= len(shared) <= 101
    assert max(names.values()) == 2


def test_pictures_have_the_size_that_the_rows_say(small: Dataset) -> None:
    assert not list(check(small))
    for one in small:
        assert one.image
        data = one.image.read()
        assert data == one.image.read()
        assert Image.open(io.BytesIO(data)).size == (one.width, one.height)


def test_other_seeds_are_other_samples() -> None:
    a, b = (load_dataset(f"scenes:n=12,seed={seed}") for seed in (0, 1))
    assert a.fingerprint != b.fingerprint
    assert a.fingerprint == load_dataset("scenes:n=12,seed=0").fingerprint
    assert not {x.description for x in a} & {y.description for y in b if len(y.description) > 40}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("scenes:n=0", "expected n of 1 or more, got 0"),
        ("scenes:n=many", "expected n as a whole number, got 'many'"),
        ("scenes:distractor=3", "did you mean 'distractors'?"),
        ("scenes:distractors", "expected KEY=VALUE"),
        ("scenes:distractors=7-3", "expected distractors as LEAST-MOST or a number, got '7-3'"),
        ("scenes:width=512", "expected width and height together"),
        ("scenes:similar=2", "expected similar between 0 and 1, got 2"),
        ("scenes:rejections=x", "expected similar as a number, got 'x'"),
    ],
)
def test_wrong_specs_are_said(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_dataset(spec)
    assert said.replace("similar as", "rejections as") in str(caught.value).replace(
        "similar as", "rejections as"
    )


def test_knobs_do_what_they_say() -> None:
    def things(spec: str) -> list[int]:
        return [one.extra["things"] for one in load_dataset(spec)]

    few = things("scenes:n=36,distractors=1,clutter=1")
    many = things("scenes:n=36,distractors=5-6,clutter=5-6")
    assert sum(few) * 1.5 < sum(many)
    rejecting = load_dataset("scenes:n=40,rejections=0.5")
    assert sum(one.target is None for one in rejecting) == 20
    assert not any(one.target is None for one in load_dataset("scenes:n=24,rejections=0"))
    hard, easy = load_dataset("scenes-hard:n=60"), load_dataset("scenes:n=60")
    for name, more in (("same_class", True), ("things", True)):
        totals = [sum(one.extra[name] for one in data) for data in (hard, easy)]
        assert (totals[0] > totals[1]) is more


def test_8k() -> None:
    data = load_dataset("scenes-8k:n=8")
    assert {(one.width, one.height) for one in data} == {(7680, 4320)}
    target = next(one.target for one in data if one.target)
    assert (target[2] - target[0]) * (target[3] - target[1]) < 0.001 * 7680 * 4320


def test_every_preset_parses() -> None:
    for name, preset in PRESETS.items():
        assert parse_spec(name) == preset


@pytest.mark.parametrize("layout", ["parquet", "folder"])
def test_what_is_written_reads_back(small: Dataset, tmp_path: Path, layout: str) -> None:
    again = load_dataset(str(export(small, tmp_path / "out", layout=layout)))
    columns = ("description", "target", "subtask_l1", "subtask_l2", "width", "height",
               "detection_type", "id")  # fmt: skip
    for one, other in zip(small, again, strict=True):
        assert [getattr(one, name) for name in columns] == [
            getattr(other, name) for name in columns
        ]
        assert one.image
        assert other.image
        assert one.image.read() == other.image.read()
    assert not list(check(again))


def test_parquet_has_the_published_columns(small: Dataset, tmp_path: Path) -> None:
    export(small, tmp_path / "out")
    [file] = (tmp_path / "out" / "data").iterdir()
    schema = pq.read_schema(file)
    assert schema.names == ["id", "description", "image", "bbox", "detection_type", "subtask_l1",
                            "subtask_l2", "width", "height"]  # fmt: skip
    assert str(schema.field("bbox").type) in ("list<element: int64>", "list<item: int64>")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features.keys() == set(schema.names)


def test_coco(small: Dataset, tmp_path: Path) -> None:
    path = export(small, tmp_path / "out", layout="coco")
    document = json.loads(path.read_text())
    boxes = {one["id"]: one["bbox"] for one in document["annotations"]}
    assert len(document["expressions"]) == len(small)
    for sample, row in zip(small, document["expressions"], strict=True):
        if sample.target is None:
            assert row["annotation_id"] is None
        else:
            x, y, w, h = boxes[row["annotation_id"]]
            assert (x, y, x + w, y + h) == sample.target
    for image in document["images"]:
        with Image.open(tmp_path / "out" / "images" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])


def test_an_interrupted_export_goes_on(small: Dataset, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(small, tmp_path / "out", layout="folder", tick=stop)
    images = tmp_path / "out" / "images"
    before = {file.name: file.stat().st_mtime_ns for file in images.iterdir()}
    assert 0 < len(before) < len(small)
    time.sleep(0.01)
    export(small, tmp_path / "out", layout="folder")
    after = {file.name: file.stat().st_mtime_ns for file in images.iterdir()}
    assert before.items() <= after.items()
    assert len(load_dataset(str(tmp_path / "out"))) == len(small)


def test_an_export_that_was_killed_leaves_nothing_half_written(
    small: Dataset, tmp_path: Path
) -> None:
    # Before its mark had its name, and later before an image had.
    (tmp_path / "..groundingme-export.json.4711").write_text('{"finger')
    export(small, tmp_path, layout="folder")
    (tmp_path / "images" / ".one.png.4711").write_bytes(b"half")
    export(small, tmp_path, layout="folder")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".4711")]


def test_an_export_removes_nothing_of_others(small: Dataset, tmp_path: Path) -> None:
    theirs = tmp_path / ".notes.2024"
    theirs.write_text("mine")
    with pytest.raises(UsageError, match="empty folder"):
        export(small, tmp_path, layout="folder")
    assert theirs.read_text() == "mine"


def test_an_export_never_mixes(small: Dataset, tmp_path: Path) -> None:
    export(small, tmp_path / "out", layout="folder")
    with pytest.raises(UsageError, match="got another data set in"):
        export(load_dataset("scenes:n=3"), tmp_path / "out", layout="folder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(UsageError, match="expected an empty folder, got files"):
        export(small, tmp_path / "full")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="expected a folder that can be written"):
        export(small, tmp_path / "file")


def test_an_export_names_the_sample_without_image(tmp_path: Path) -> None:
    sample = Sample(id="7", description="a cup", target=None)
    with pytest.raises(DataError, match="expected an image for sample '7', got none"):
        export(Dataset(name="x", source="x", samples=[sample]), tmp_path / "a", layout="folder")


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    samples = [
        Sample(id=str(i), description="x", target=(0, 0, 4, 4), width=8, height=8,
               image=BytesImage(name=f"{folder}/one.png", data=buffer.getvalue()))
        for i, folder in enumerate("ab")
    ]  # fmt: skip
    out = export(Dataset(name="x", source="x", samples=samples), tmp_path / "o", layout="folder")
    assert len(list((out / "images").iterdir())) == 2


def test_scene_images_travel_between_processes() -> None:
    image = load_dataset("scenes:n=1").samples[0].image
    assert isinstance(image, SceneImage)
    code = "import pickle,sys;sys.stdout.buffer.write(pickle.load(sys.stdin.buffer).read())"
    import pickle

    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(image), capture_output=True, check=True
    )
    assert done.stdout == image.read()


def test_the_command_makes_data_that_eval_takes(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main,
        ["scenes", "make", "scenes:n=6,seed=3", "--out", str(tmp_path / "o"), "--workers", "2"],
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "o")
    data = load_dataset(str(tmp_path / "o"))
    assert [one.description for one in data] == [
        one.description for one in load_dataset("scenes:n=6,seed=3")
    ]
    wrong = CliRunner().invoke(main, ["scenes", "make", "scenes:n=x", "--out", str(tmp_path / "p")])
    assert (wrong.exit_code, len(wrong.stderr.strip().splitlines())) == (2, 1)


def test_the_sheet(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["scenes", "kinds", "--out", str(tmp_path / "sheet.png")])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "sheet.png") as picture:
        assert min(picture.size) > 500
