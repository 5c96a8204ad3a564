"""Every data set layout as real files: what is read, what is broken, and what becomes of it."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from groundingme.datasets import FORMATS, load_dataset
from groundingme.errors import DataError, ImageError, UnknownNameError


def jpeg(width: int = 64, height: int = 48, color: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), color).save(buffer, "JPEG")
    return buffer.getvalue()


COLORS = ("red", "green", "blue", "teal", "navy", "gold", "gray", "pink")


def published_rows(count: int = 8) -> list[dict[str, Any]]:
    return [
        {
            "id": 100 + n,
            "description": f"the thing {n}",
            "image": {"bytes": jpeg(color=COLORS[n % 8]), "path": f"{n}.jpg"},
            "bbox": None if n % 4 == 3 else [n, 2, 30, 40],
            "detection_type": "thing",
            "subtask_l1": "Rejection" if n % 4 == 3 else "Spatial",
            "subtask_l2": "Text" if n % 4 == 3 else "Counting",
            "width": 64,
            "height": 48,
        }
        for n in range(count)
    ]


SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("description", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("bbox", pa.list_(pa.int64())),
        ("detection_type", pa.string()),
        ("subtask_l1", pa.string()),
        ("subtask_l2", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
    ]
)


def write_published(folder: Path, rows: list[dict[str, Any]], *, shards: int = 2) -> Path:
    """A local copy of the Hub repository."""
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: unknown\n---\n")
    size = -(-len(rows) // shards)
    for shard in range(shards):
        table = pa.Table.from_pylist(rows[shard * size : (shard + 1) * size], schema=SCHEMA)
        name = f"test-{shard:05}-of-{shards:05}.parquet"
        pq.write_table(table, folder / "data" / name, row_group_size=3)
    return folder


def test_published_parquet_from_a_local_copy(tmp_path: Path) -> None:
    rows = published_rows()
    dataset = load_dataset(str(write_published(tmp_path / "copy", rows)))
    assert dataset.name == "groundingme"
    assert [one.id for one in dataset] == [str(row["id"]) for row in rows]
    assert dataset[0].target == (0.0, 2.0, 30.0, 40.0)
    assert dataset[3].target is None
    assert (dataset[1].subtask_l1, dataset[1].subtask_l2) == ("Spatial", "Counting")
    assert (dataset[1].width, dataset[1].height) == (64, 48)
    for one, row in zip(dataset, rows, strict=True):
        assert one.image is not None
        assert one.image.read() == row["image"]["bytes"]
    # In any order, and one file alone.
    for index in (7, 0, 5, 5, 2):
        image = dataset[index].image
        assert image is not None
        assert image.read() == rows[index]["image"]["bytes"]
    one_file = tmp_path / "copy" / "data" / "test-00000-of-00002.parquet"
    assert len(load_dataset(str(one_file))) == 4


def test_a_parquet_with_plain_bytes_empty_cells_and_bad_rows(tmp_path: Path) -> None:
    rows = published_rows(5)
    for row in rows:
        row["image"] = row["image"]["bytes"]
    rows[0]["image"] = None
    rows[1]["bbox"] = [1, 2, 3]
    rows[2]["description"] = None
    rows[3]["bbox"] = [1, 2, 3, 4]  # on a rejection: ignored
    rows[4]["id"] = 101
    path = tmp_path / "odd.parquet"
    fields = [pa.field("image", pa.binary()) if f.name == "image" else f for f in SCHEMA]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), path)
    dataset = load_dataset(str(path))
    assert len(dataset) == 5
    image = dataset[0].image
    assert image is not None
    with pytest.raises(ImageError) as caught:
        image.read()
    assert caught.value.kind == "missing"
    assert "four finite numbers" in dataset[1].problem
    assert "description" in dataset[2].problem
    assert dataset[3].target is None
    assert dataset[3].problem == ""
    assert "unique" in dataset[4].problem
    assert len({one.id for one in dataset}) == 5


def test_a_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(DataError, match=r"expected a parquet file in .*damaged\.parquet"):
        load_dataset(str(path))


def test_memory_does_not_hold_a_row_group(tmp_path: Path) -> None:
    """120 images of 1 MB in one row group: reading all of them holds a few at most."""
    rows = published_rows(120)
    for n, row in enumerate(rows):
        row["image"]["bytes"] = jpeg() + bytes([n]) + os.urandom(1_000_000)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(
        table, tmp_path / "big.parquet", row_group_size=1000, use_content_defined_chunking=True
    )
    del rows, table
    code = (
        "import sys, resource\n"
        "from groundingme.datasets import load_dataset\n"
        "data = load_dataset(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "sizes = [len(one.image.read()) for one in data]\n"
        "assert min(sizes) > 1_000_000 and len(sizes) == 120\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.parquet")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 40 * 1024


def test_splits(tmp_path: Path) -> None:
    rows = published_rows(4)
    (tmp_path / "d").mkdir()
    for split in ("train", "dev"):
        pq.write_table(
            pa.Table.from_pylist(rows, schema=SCHEMA), tmp_path / "d" / f"{split}.parquet"
        )
    with pytest.raises(DataError, match="dev, train with --split"):
        load_dataset(str(tmp_path / "d"))
    assert len(load_dataset(str(tmp_path / "d"), split="dev")) == 4
    with pytest.raises(DataError, match="expected one of the splits dev, train"):
        load_dataset(str(tmp_path / "d"), split="test")


def hub_cache(home: Path, id: str, fill: Any) -> None:
    """What the Hub's client leaves in its cache after a download."""
    repository = home / "hub" / f"datasets--{id.replace('/', '--')}"
    sha = "a" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(sha)
    fill(repository / "snapshots" / sha)


def test_by_hub_id_and_by_name_from_the_local_cache(tmp_path: Path) -> None:
    hub_cache(tmp_path, "lirang04/GroundingME", lambda at: write_published(at, published_rows()))
    code = (
        "from groundingme import load_dataset\n"
        "print(len(load_dataset('groundingme')), len(load_dataset('lirang04/GroundingME')))"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env,
        cwd=tmp_path,
        check=False,
    )
    assert done.stdout.split() == ["8", "8"], done.stderr


def test_a_hub_id_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "groundingme", "data", "check", "nobody/nothing"],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nobody/nothing" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_refcocog_rej(tmp_path: Path) -> None:
    rows = [
        {
            "id": n,
            "image": {"bytes": jpeg(), "path": None},
            "original_exp": f"the red cup {n}",
            "original_bbox": [1, 2, 3, 4],
            "rejected_exp": f"the blue cup {n}",
            "width": 64,
            "height": 48,
        }
        for n in range(3)
    ]
    for split in ("train", "validation"):
        path = tmp_path / "RefCOCOg_rej" / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows[: 2 if split == "train" else 3]), path)
    dataset = load_dataset(str(tmp_path / "RefCOCOg_rej"))
    assert (dataset.name, len(dataset)) == ("refcocog_rej", 3)
    assert len(load_dataset(str(tmp_path / "RefCOCOg_rej"), split="train")) == 2
    # The papers' word for it, and that of the other data sets.
    assert len(load_dataset(str(tmp_path / "RefCOCOg_rej"), split="val")) == 3
    first = dataset[0]
    assert (first.description, first.target, first.subtask_l1) == (
        "the blue cup 0",
        None,
        "Rejection",
    )
    assert first.extra["original_exp"] == "the red cup 0"
    assert first.extra["original_bbox"] == [1, 2, 3, 4]


def test_refcoco_from_hub_parquet(tmp_path: Path) -> None:
    rows = [
        {
            "question_id": str(n),
            "image": {"bytes": jpeg(), "path": None},
            "question": "Please carefully observe the area circled in the image ...",
            "answer": [f"left cup {n}", f"cup on the left {n}"],
            "segmentation": [1.0] * 20,
            "bbox": [10.5, 4.0, 20.0, 30.0],
            "iscrowd": 0,
            "file_name": f"COCO_train2014_{n:012}_0.jpg",
        }
        for n in range(3)
    ]
    folder = tmp_path / "RefCOCOplus" / "data"
    folder.mkdir(parents=True)
    for split in ("val", "testA"):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    dataset = load_dataset(str(folder.parent))
    assert (dataset.name, len(dataset)) == ("refcoco+", 6)
    assert dataset[1].description == "cup on the left 0"
    assert dataset[1].target == (10.5, 4.0, 30.5, 34.0)
    assert dataset[1].image is not None
    assert dataset[1].image.read() == jpeg()
    assert [one.id for one in dataset][:3] == ["0-0", "0-1", "1-0"]


def test_refcoco_from_hub_parquet_without_images(tmp_path: Path) -> None:
    photos = tmp_path / "coco" / "train2014"
    photos.mkdir(parents=True)
    (photos / "COCO_train2014_000000000001.jpg").write_bytes(jpeg())
    row = {
        "ref_id": 7,
        "sentences": [{"raw": "Red cup", "sent": "red cup", "sent_id": 11},
                      {"raw": "cup left", "sent": "cup left", "sent_id": 12}],
        "bbox": [1.0, 2.0, 30.0, 40.0],
        "image_path": "coco/train2014/COCO_train2014_000000000001.jpg",
        "raw_image_info": json.dumps({"width": 64, "height": 48}),
        "category_id": 3,
    }  # fmt: skip
    (tmp_path / "refcocog").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "refcocog" / "validation.parquet")
    dataset = load_dataset(str(tmp_path / "refcocog"))
    assert (dataset.name, [one.id for one in dataset]) == ("refcocog", ["11", "12"])
    assert dataset[0].target == (1.0, 2.0, 30.0, 40.0)
    assert (dataset[0].width, dataset[0].height) == (64, 48)
    assert dataset[0].image is not None
    assert dataset[0].image.read() == jpeg()


def write_refs(folder: Path) -> Path:
    """The original download: a pickle of protocol 2, as Python 2 wrote it, and COCO's JSON."""
    folder.mkdir(parents=True)
    refs = [
        {
            "ref_id": 1, "ann_id": 5, "image_id": 9, "split": split, "category_id": 44,
            "file_name": "COCO_train2014_000000000009_5.jpg", "sent_ids": [n],
            "sentences": [{"raw": f"Cup {n}", "sent": f"cup {n}", "sent_id": n, "tokens": ["cup"]}],
        }
        for n, split in enumerate(["train", "val", "testA"])
    ]  # fmt: skip
    refs.append({**refs[1], "ann_id": 404, "sentences": [{"sent": "gone", "sent_id": 50}]})
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    (folder / "instances.json").write_text(
        json.dumps(
            {
                "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg",
                            "width": 64, "height": 48}],
                "annotations": [{"id": 5, "image_id": 9, "bbox": [10, 4, 20, 30]}],
                "categories": [{"id": 44, "name": "cup"}],
            }
        )
    )  # fmt: skip
    photos = folder.parent / "images" / "mscoco" / "images" / "train2014"
    photos.mkdir(parents=True)
    (photos / "COCO_train2014_000000000009.jpg").write_bytes(jpeg())
    return folder


def test_refcoco_as_first_published(tmp_path: Path) -> None:
    folder = write_refs(tmp_path / "refcoco")
    dataset = load_dataset(str(folder))
    assert (dataset.name, len(dataset)) == ("refcoco", 2)
    first = dataset[0]
    assert (first.id, first.description, first.detection_type) == ("1", "Cup 1", "cup")
    assert first.target == (10.0, 4.0, 30.0, 34.0)
    assert first.image is not None
    assert first.image.read() == jpeg()
    assert "annotation 404" in dataset[1].problem
    assert load_dataset(str(folder), split="testA")[0].id == "2"
    assert len(load_dataset(str(folder), split="validation")) == 2
    with pytest.raises(DataError, match="testA, train, val"):
        load_dataset(str(folder), split="test")


def test_a_pickle_can_run_no_code(tmp_path: Path) -> None:
    folder = write_refs(tmp_path / "refcoco")

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    (folder / "refs(unc).p").write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(DataError, match="mkdir"):
        load_dataset(str(folder))
    assert not (tmp_path / "owned").exists()


def test_vlmevalkit_tsv(tmp_path: Path) -> None:
    encoded = base64.b64encode(jpeg()).decode()
    header = ["index", "image", "question", "answer", "width", "height", "subtask_l1", "subtask_l2"]
    rows = [
        ["7", encoded, "the red cup", "[1, 2, 30, 40]", "64", "48", "Spatial", "Counting"],
        ["8", "7", 'the sign that says "a\tb\nc"', "", "64", "48", "Rejection", "Text"],
        ["9", encoded, "no box", "null", "64.0", "", "Rejection", "Text"],
        ["10", "55", "an image that is not there", "[1, 2, 3, 4]", "64", "48", "", ""],
        ["11", "A" * 101, "bad base64", "[1, 2, 3, 4]", "64", "48", "", ""],
    ]
    path = tmp_path / "groundingme.tsv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *rows])
        file.write("12\ttoo\tfew\n")
    dataset = load_dataset(str(path))
    assert (dataset.name, len(dataset)) == ("groundingme", 6)
    assert dataset[0].target == (1.0, 2.0, 30.0, 40.0)
    assert dataset[1].description == 'the sign that says "a\tb\nc"'
    assert dataset[1].target is None
    for index in (0, 1, 2):
        image = dataset[index].image
        assert image is not None
        assert image.read() == jpeg()
    assert (dataset[2].width, dataset[2].height) == (64, 0)
    assert "earlier row" in dataset[3].problem
    broken = dataset[4].image
    assert broken is not None
    with pytest.raises(ImageError):
        broken.read()
    assert "cells" in dataset[5].problem


def test_folder_written_by_hand(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(jpeg())
    lines = [
        '{"image": "images/a.jpg", "description": "the cup", "bbox": [1, 2, 30.5, 40], "my": 1}',
        "",
        '{"image": "images/a.jpg", "description": "the dog", "bbox": null}',
        '{"image": "images/a.jpg", "description": "", "bbox": null}',
        '{"image": 5, "description": "x"}',
        '{"image": "images/a.jpg", "description": "x", "bbox": ["1", 2, 3, 4]}',
        '{"image": "images/a.jpg", "description": "x", "width": -3}',
        "[1, 2]",
        "{half",
        '{"id": 1, "description": "the id of line 1 again"}',
    ]
    (tmp_path / "samples.jsonl").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    dataset = load_dataset(str(tmp_path))
    assert len(dataset) == 9
    assert dataset[0].id == "1"
    assert dataset[0].target == (1.0, 2.0, 30.5, 40.0)
    assert dataset[0].extra == {"my": 1}
    assert dataset[1].problem == ""
    expected = ("", "", "description", "path", "four finite", "width", "JSON object",
                "JSON object", "unique")  # fmt: skip
    for one, words in zip(dataset, expected, strict=True):
        assert words in one.problem
    assert len({one.id for one in dataset}) == 9


def test_the_fingerprint_depends_on_the_rows_not_on_the_layout(tmp_path: Path) -> None:
    rows = published_rows()
    parquet = load_dataset(str(write_published(tmp_path / "copy", rows)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "samples.jsonl").write_text(
        "\n".join(json.dumps({**row, "image": None}) for row in rows)
    )
    folder = load_dataset(str(tmp_path / "folder"))
    assert folder.fingerprint == parquet.fingerprint
    assert parquet.select(limit=3).fingerprint != parquet.fingerprint


def test_selection(tmp_path: Path) -> None:
    dataset = load_dataset(str(write_published(tmp_path / "copy", published_rows())))
    assert len(dataset.select(subset="Rejection")) == 2
    assert len(dataset.select(subset="Rejection/Text", limit=1)) == 1
    assert len(dataset.select(subset="Discriminative")) == 0
    with pytest.raises(UnknownNameError, match="did you mean 'Spatial'"):
        dataset.select(subset="Spacial")
    with pytest.raises(UnknownNameError):
        dataset.find("nowhere")


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("goundingme", UnknownNameError, "did you mean 'groundingme'"),
        ("no/such/path.jsonl", DataError, "no file or folder"),
        ("./nowhere", DataError, "no file or folder"),
        ("folder", DataError, "folder:PATH"),
        ("tsv:nowhere.tsv", DataError, "nowhere.tsv"),
        ("EMPTY", DataError, "expected a data set that is known"),
        ("EMPTY.jsonl", DataError, "empty file"),
        ("TEXT.jsonl", DataError, "line 1"),
    ],
)
def test_what_is_no_data_set_is_said_in_one_line(
    tmp_path: Path, spec: str, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "EMPTY.jsonl").write_text("")
    (tmp_path / "TEXT.jsonl").write_text("Dear reader\nthis is a letter\n")
    with pytest.raises(error) as caught:
        load_dataset(spec)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_format_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text('{"description": "x", "bbox": null}\n')
    assert len(load_dataset(f"folder:{tmp_path / 'odd.txt'}")) == 1
    names = FORMATS.names()
    assert {
        "folder",
        "groundingme",
        "tsv",
        "refcoco",
        "refcoco+",
        "refcocog",
        "refcocog_rej",
    } <= set(names)


def test_real_photos(shared: Path) -> None:
    dataset = load_dataset(str(shared / "assets" / "coco"))
    assert len(dataset) == 857
    assert not [one for one in dataset if one.problem]
    first = dataset[0].image
    assert first is not None
    with Image.open(io.BytesIO(first.read())) as picture:
        assert picture.size == (dataset[0].width, dataset[0].height)
