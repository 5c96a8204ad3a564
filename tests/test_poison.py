"""Hostile files: each has a clear error or a counted fate, within bounded time and memory."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from groundingme import files, images
from groundingme.datasets import Dataset, load_dataset
from groundingme.datasets.check import check
from groundingme.errors import DataError, GroundingMEError, ImageError
from groundingme.predictions import read_predictions
from peak import peak_of

GOOD = b'{"id": "good", "image": "good.png", "description": "the cup", "bbox": [1, 2, 3, 4]}\n'


def picture(format: str = "PNG", size: tuple[int, int] = (16, 8), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format)
    return buffer.getvalue()


def folder(place: Path, lines: bytes) -> Path:
    place.mkdir(exist_ok=True)
    (place / "good.png").write_bytes(picture())
    file = place / "samples.jsonl"
    file.write_bytes(lines)
    return file


def row(**columns: Any) -> bytes:
    return json.dumps({"description": "the cup", **columns}).encode() + b"\n"


def kind_of(read: Callable[[], Any]) -> str:
    with pytest.raises(ImageError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return caught.value.kind


def sound(dataset: Dataset) -> list[str]:
    """The problems of a data set of which every id is its own and every sample can be written."""
    assert len({sample.id for sample in dataset}) == len(dataset)
    assert dataset.fingerprint.startswith("sha256:")
    assert all("\n" not in sample.problem for sample in dataset)
    return [sample.problem for sample in dataset if sample.problem]


# Images


def png(width: int, height: int, bits: int, color: int, channels: int) -> bytes:
    """A black PNG, without the memory that its pixels would take."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(1)
    line = bytes(1 + width * channels * bits // 8)
    packed = b"".join([*(packer.compress(line) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("bits", "color", "channels"), [(8, 6, 4), (16, 0, 1)], ids=["alpha", "16 bits of grey"]
)
def test_a_picture_that_is_let_in_is_converted_by_strips(
    tmp_path: Path, bits: int, color: int, channels: int
) -> None:
    side = 5000
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, bits, color, channels))
    assert path.stat().st_size < 1_000_000
    took, said = peak_of("print(images.open_upright(open(path, 'rb').read()).size)", path)
    assert said == f"({side}, {side})"
    # The decoded picture and the one in RGB take 4 bytes a pixel each.
    assert took < 10 * side * side / 2**20 + 20


def lie(data: bytes, at: int, form: str) -> bytes:
    """The image with another size in its header."""
    size = struct.pack(form, 10, 10)
    return data[:at] + size + data[at + len(size) :]


def test_a_picture_that_belies_its_header_is_no_picture() -> None:
    gif = lie(picture("GIF", (64, 48), "P"), 6, "<HH")
    assert kind_of(lambda: images.prepare(gif)) == "unreadable"
    webp = picture("WEBP", (64, 48))
    canvas = b"VP8X" + struct.pack("<IB3x", 10, 0) + 2 * (9).to_bytes(3, "little")
    body = canvas + webp[12:]
    lying = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    assert kind_of(lambda: images.probe(lying)) == "unreadable"


@pytest.mark.parametrize(
    "data",
    [
        picture("PNG")[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + picture("PNG")[24:],
        picture("GIF", (4, 4), "P")[:6] + b"\xff\xff\xff\xff" + bytes(50),
        picture("BMP")[:18] + struct.pack("<ii", 200_000, 200_000) + picture("BMP")[26:],
    ],
    ids=["PNG", "GIF", "BMP"],
)
def test_a_size_beyond_the_limit_is_never_decoded(data: bytes) -> None:
    assert kind_of(lambda: images.probe(data, whole=False)) == "too-large"


def test_a_chunk_that_unpacks_to_hundreds_of_megabytes_is_an_error(tmp_path: Path) -> None:
    plain = picture("PNG", mode="RGBA")
    body = b"a\0\0" + zlib.compress(bytes(60_000_000), 1)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body
    path = tmp_path / "text.png"
    path.write_bytes(
        plain[:33] + chunk + struct.pack(">I", zlib.crc32(b"zTXt" + body)) + plain[33:]
    )
    took, said = peak_of("images.prepare(open(path, 'rb').read())", path)
    assert "Decompressed data too large" in said
    assert took < 30


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", row(image="big.png"))
    with (tmp_path / "data" / "big.png").open("wb") as file:
        file.write(picture())
        file.truncate(10**9)
    took, said = peak_of("load_dataset(path)[0].image.read()", path)
    assert "at most 536870912 bytes" in said
    assert took < 20


# Paths


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/hostname", "sub/../../secret.png", "link.png", "linked/secret.png",
     "..\\secret.png", "../data-too/secret.png"],
)  # fmt: skip
def test_no_path_leaves_the_folder(tmp_path: Path, name: str) -> None:
    for other in (tmp_path, tmp_path / "data-too"):
        other.mkdir(exist_ok=True)
        (other / "secret.png").write_bytes(picture())
    file = folder(tmp_path / "data", row(image=name))
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data" / "linked").symlink_to(tmp_path)
    sample = load_dataset(str(file))[0]
    assert sample.image is not None
    assert kind_of(sample.image.read) == "outside"
    assert [one.kind for one in check(load_dataset(str(file)))] == ["image-outside"]


def test_whoever_runs_it_can_open_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(picture())
    image = load_dataset(str(folder(tmp_path / "data", row(image="../photos/a.png"))))[0].image
    assert image is not None
    with pytest.raises(ImageError, match=files.ROOTS):
        image.read()
    monkeypatch.setenv(files.ROOTS, os.pathsep.join(["/nowhere", str(tmp_path / "photos")]))
    assert image.read() == picture()


def test_paths_inside_are_read_however_they_are_written(tmp_path: Path) -> None:
    place = tmp_path / "data"
    inside = (place / "good.png", "./good.png", "sub/../good.png", "sub\\..\\good.png")
    file = folder(place, b"".join(row(image=str(name)) for name in inside))
    (place / "sub").mkdir()
    (tmp_path / "link").symlink_to(place)
    for path in (file, place, tmp_path / "link"):
        for sample in load_dataset(str(path)):
            assert sample.image is not None
            assert sample.image.read() == picture()


def test_the_links_of_the_hubs_cache_are_inside(tmp_path: Path) -> None:
    repo = tmp_path / "datasets--a--b"
    (repo / "blobs").mkdir(parents=True)
    (repo / "blobs" / "1234").write_bytes(picture())
    (tmp_path / "secret.png").write_bytes(picture())
    place = repo / "snapshots" / "main"
    place.mkdir(parents=True)
    file = folder(place, row(image="a.png") + row(image="b.png"))
    (place / "a.png").symlink_to("../../blobs/1234")
    (place / "b.png").symlink_to("../../../secret.png")
    first, second = load_dataset(str(file))
    assert first.image is not None
    assert second.image is not None
    assert first.image.read() == picture()
    assert kind_of(second.image.read) == "outside"


@pytest.mark.parametrize(
    "name", ["http://x.org/a.png", "file:///etc/passwd", "C:\\a.png", "x" * 300]
)
def test_addresses_and_paths_of_other_machines_fail_their_sample(tmp_path: Path, name: str) -> None:
    sample = load_dataset(str(folder(tmp_path / "data", row(image=name))))[0]
    assert not sample.problem, "it can still be scored"
    assert sample.image is not None
    assert kind_of(sample.image.read) in ("missing", "unreadable")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_device_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero"), tmp_path):
        assert kind_of(images.FileImage(str(path)).read) == "unreadable"


def test_a_parquet_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(picture())
    names = ["a.png", "../secret.png", str(tmp_path / "secret.png"), "\0", None]
    cells = [{"bytes": None, "path": name} for name in names]
    path = parquet(tmp_path / "data" / "x.parquet", len(names), image=cells)
    first, *others = load_dataset(str(path))
    assert first.image is not None
    assert first.image.read() == picture()
    kinds = [kind_of(one.image.read) for one in others if one.image]
    assert kinds == ["outside", "outside", "missing", "missing"]


# JSONL


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"\0\0\0\n", "no"),
        (b'{"id": "b", "description": "caf\xe9"}\n', "utf-8"),
        (b'{"id": "b", "description": ' + b"[" * 99_999 + b"}\n", "nested too deeply"),
        (b'{"id": "b", "description": ' + b"[" * 900 + b"]" * 900 + b"}\n", "as text"),
        (b'{"id": ' + b"[" * 900 + b"]" * 900 + b', "description": "x"}\n', "an id"),
        (b'{"id": ' + b"9" * 5000 + b', "description": "x"}\n', "out of range"),
        (row(id="x" * 5000), "an id"),
        (row(id="b", description="x" * 100_001), "100,000 characters"),
        (row(id="b", image="a\0b"), "as a path"),
        (row(id="b", image="x" * 5000), "as a path"),
        (b'{"id": "b", "description": "\\ud800"}\n', "none"),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_broken_line_is_one_broken_sample(tmp_path: Path, line: bytes, said: str) -> None:
    dataset = load_dataset(str(folder(tmp_path / "data", GOOD + line + row(id="last"))))
    assert len(dataset) == 3
    (problem,) = sound(dataset)
    assert said in problem
    assert len(problem) < 300


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    table = "index\tquestion\tanswer\n1\ta cup\tnull\n"
    (tmp_path / "x.tsv").write_bytes(table.encode(encoding))
    (tmp_path / "x.jsonl").write_bytes(GOOD.decode().encode(encoding))
    for name in ("x.tsv", "x.jsonl"):
        with pytest.raises(DataError, match="expected UTF-8"):
            load_dataset(str(tmp_path / name))
        with pytest.raises(DataError, match="expected UTF-8"):
            read_predictions(tmp_path / name)


def test_a_line_of_100_megabytes_is_one_broken_sample(tmp_path: Path) -> None:
    file = folder(tmp_path / "data", GOOD)
    with file.open("ab") as lines:
        lines.write(b'{"id": "long", "description": "')
        for _ in range(100):
            lines.write(b"x" * 10**6)
        lines.write(b'"}\n' + row(id="last"))
    took, said = peak_of("print([(one.id, one.problem) for one in load_dataset(path)])", file)
    assert "at most 16 MiB" in said
    assert "'good'" in said
    assert "'last'" in said
    assert took < 60


def test_a_sparse_file_is_refused_as_data_and_as_replies(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.truncate(3 * 10**8)
    took, said = peak_of("load_dataset(path)", path)
    assert "line 1: expected" in said
    assert took < 60
    took, said = peak_of("read_predictions(path)", path)
    assert "expected lines of" in said
    # The first 128 MiB, in which a header or a first reply could be, as bytes and as text.
    assert took < 500


def test_ids_that_collide_are_all_kept(tmp_path: Path) -> None:
    ids = ["a", "a (line 3)", "a", 7, "7", "a (line 3)"]
    lines = b"".join(row(id=id) for id in ids) + row() + b'{"id": 7, "description": "x"}\n'
    dataset = load_dataset(str(folder(tmp_path / "data", lines)))
    problems = sound(dataset)
    assert len(dataset) == 8
    assert len(problems) == 5
    assert all("unique" in one for one in problems)


def test_100_000_samples_take_seconds_and_little_memory(tmp_path: Path) -> None:
    place = tmp_path / "data"
    lines = b"".join(
        row(id=number, image=f"images/{number}.jpg", bbox=[1, 2, 3, 4], width=640, height=480)
        for number in range(100_000)
    )
    code = """
import time
began = time.process_time()
dataset = load_dataset(path)
dataset.fingerprint
print(len(dataset), time.process_time() - began)
"""
    took, said = peak_of(code, folder(place, lines))
    count, seconds = said.split()
    assert count == "100000"
    assert float(seconds) < 15
    assert took < 200


# TSV


def tsv(path: Path, *rows: bytes) -> Path:
    head = b"index\timage\tquestion\tanswer\twidth\theight\n"
    path.write_bytes(head + b"".join(rows))
    return path


IMAGE = base64.b64encode(picture())
NORMAL = b"1\t" + IMAGE + b"\ta cup\t[1, 2, 3, 4]\t16\t8\n"
LAST = b"9\t1\tlast\tnull\t16\t8\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"2\tabc\n", "6 cells, got 2"),
        (b"2\t1\tcaf\xe9\tnull\t16\t8\n", "UTF-8"),
        (b'2\t1\t"a cup\tnull\t16\t8\n', "6 cells"),
        (b'2\t1\t"a"\rcup\tnull\t16\t8\n', "6 cells"),
        (b"2\t1\ta cup\t" + b"[" * 50_000 + b"\t16\t8\n", "bbox"),
        (b"2\t1\ta cup\t[1, 2, 3, 1" + b"0" * 5000 + b"]\t16\t8\n", "bbox"),
        (b"2\t1\ta cup\tnull\t1e999\tNaN\n", "width"),
        (b"2\t7\ta cup\tnull\t16\t8\n", "earlier row"),
        (b"\t1\ta cup\tnull\t16\t8\n", "an id"),
        (b"1\t1\ta cup\tnull\t16\t8\n", "unique"),
        (b"\0\0\0\n", "cells"),
    ],
    ids=range(11),
)
def test_a_broken_row_of_a_tsv_is_one_broken_sample(tmp_path: Path, line: bytes, said: str) -> None:
    dataset = load_dataset(str(tsv(tmp_path / "x.tsv", NORMAL, line, LAST)))
    assert len(dataset) == 3
    (problem,) = sound(dataset)
    assert said in problem
    for sample in (dataset[0], dataset[2]):
        assert sample.image is not None
        assert sample.image.read() == picture()


def test_quotes_in_a_tsv(tmp_path: Path) -> None:
    rows = (
        NORMAL,
        b'2\t1\t"a ""red"" cup\nin two lines"\tnull\t16\t8\n',
        b'3\t1\ta 5" cup\tnull\t16\t8\n',
        b'4\t1\t""\tnull\t16\t8\n',
        LAST,
    )
    dataset = load_dataset(str(tsv(tmp_path / "x.tsv", *rows)))
    found = [sample.description for sample in dataset]
    assert found == ["a cup", 'a "red" cup\nin two lines', 'a 5" cup', "", "last"]


def test_stray_quotes_in_a_tsv_take_linear_time(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        path = tsv(tmp_path / "x.tsv", *[b'2\t1\ta" \t"b\tnull\t16\t8\n'] * count)
        code = (
            "import time\nbegan = time.process_time()\nload_dataset(path)\n"
            "print(time.process_time() - began)"
        )
        return float(peak_of(code, path)[1])

    assert seconds(3_000) < 3 * seconds(1_500) + 0.5


def test_a_tsv_row_of_300_megabytes_is_one_broken_sample(tmp_path: Path) -> None:
    path = tsv(tmp_path / "x.tsv", NORMAL)
    with path.open("ab") as file:
        file.write(b"2\t")
        for _ in range(300):
            file.write(b"A" * 10**6)
        file.write(b"\ta cup\tnull\t16\t8\n" + LAST)
    took, said = peak_of("print([(one.id, one.problem) for one in load_dataset(path)])", path)
    assert "at most 134217728 bytes" in said
    assert "'9'" in said
    assert took < 450


# Parquet


def parquet(path: Path, rows: int, **columns: Any) -> Path:
    table: dict[str, Any] = {
        "id": list(range(rows)), "description": ["a cup"] * rows, "bbox": [[1, 2, 3, 4]] * rows,
        "subtask_l1": ["Spatial"] * rows, "subtask_l2": [""] * rows, "image": [picture()] * rows,
    }  # fmt: skip
    pq.write_table(pa.table({**table, **columns}), path)
    return path


def test_a_parquet_with_broken_cells(tmp_path: Path) -> None:
    bad = pa.array([b"a cup", b"caf\xe9", None, b"x" * 200_000], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 4, bad.buffers(), bad.null_count)
    boxes = [[1.0, 2.0, 3.0, 4.0], [1.0], [float("nan")] * 4, None]
    dataset = load_dataset(
        str(parquet(tmp_path / "x.parquet", 4, description=text, bbox=boxes, id=[1, 1, None, 4]))
    )
    assert len(dataset) == 4
    assert len(sound(dataset)) == 3
    assert not dataset[0].problem


@pytest.mark.parametrize(
    "columns",
    [
        {"id": [b"a", b"b"]}, {"id": [1.5, 2.0]}, {"description": [[1], [2]]},
        {"bbox": ["x", "y"]}, {"bbox": [{"x": 1}, {"x": 2}]}, {"subtask_l1": [1, 2]},
        {"image": [1, 2]}, {"image": [{"a": 1}, {"a": 2}]}, {"width": ["a", "b"]},
    ],
    ids=range(9),
)  # fmt: skip
def test_a_parquet_with_other_types(tmp_path: Path, columns: dict[str, Any]) -> None:
    dataset = load_dataset(str(parquet(tmp_path / "x.parquet", 2, **columns)))
    problems = sound(dataset)
    for sample in dataset:
        assert sample.image is not None
        if "image" in columns:
            assert kind_of(sample.image.read) == "missing"
    assert len(problems) == (0 if "image" in columns else 2)


def test_further_pictures_in_a_parquet_are_not_held(tmp_path: Path) -> None:
    masks = [random.Random(at).randbytes(1_000_000) for at in range(40)]
    structs = [{"bytes": mask, "path": "x"} for mask in masks]
    path = parquet(tmp_path / "x.parquet", 40, mask=masks, other=structs)
    took, said = peak_of("print(len(load_dataset(path)))", path)
    assert said == "40"
    assert took < 40


def test_a_text_that_is_stored_once_and_repeated(tmp_path: Path) -> None:
    count = 2_000
    once = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * 1_000_000])
    path = tmp_path / "x.parquet"
    nothing = pa.nulls(count, pa.string())
    columns = {"id": pa.array(range(count)), "description": once, "bbox": nothing,
               "subtask_l1": nothing, "subtask_l2": nothing}  # fmt: skip
    # Without its schema the column is read as plain text.
    pq.write_table(pa.table(columns), path, store_schema=False)
    assert path.stat().st_size < 2_000_000
    took, said = peak_of("print(len(load_dataset(path)))", path)
    assert said == str(count)
    # Read at once it is 2 GB.
    assert took < 500


def test_a_damaged_parquet_is_an_error_and_no_crash(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "x.parquet", 20).read_bytes()
    code = f"""
import random
whole = {whole!r}
for seed in range(300):
    chance = random.Random(seed)
    data = bytearray(whole)
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    open(path, "wb").write(data)
    try:
        for sample in load_dataset(path):
            if sample.image is not None:
                sample.image.read()
    except GroundingMEError as error:
        assert "\\n" not in str(error)
print("done")
"""
    _, said = peak_of(code, tmp_path / "y.parquet")
    assert said == "done"


# RefCOCO's pickle


class Run:
    """Pickled, it asks whoever reads it to call a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


REF = {"ref_id": 1, "ann_id": 1, "image_id": 1, "split": "val", "category_id": 1,
       "sentences": [{"sent_id": 1, "raw": "a cup", "sent": "a cup"}]}  # fmt: skip


def refcoco(place: Path, refs: Any, instances: Any = None) -> Path:
    place.mkdir(exist_ok=True)
    data = refs if isinstance(refs, bytes) else pickle.dumps(refs)
    (place / "refs(unc).p").write_bytes(data)
    known = {"images": [{"id": 1, "file_name": "a.jpg", "width": 16, "height": 8}],
             "annotations": [{"id": 1, "bbox": [1, 2, 3, 4], "segmentation": [[1] * 9]}],
             "categories": [{"id": 1, "name": "cup"}]}  # fmt: skip
    (place / "instances.json").write_text(json.dumps(instances or known))
    return place


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps([Run(os.system, "touch /tmp/groundingme-was-here")]),
        pickle.dumps([Run(eval, "1")], protocol=0),
        pickle.dumps([Run(getattr, str, "format")]),
        b"cbuiltins\nexec\n(S'1'\ntR.",
        b"\x80\x02\x82\x01.",
        b"Pstranger\n.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x02]q\x00h\x00a.",
        pickle.dumps({"a": 1}),
        pickle.dumps([1, 2, 3]),
        b"",
        b"\x80\xff.",
    ],
    ids=range(13),
)
def test_a_pickle_runs_nothing(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(str(refcoco(tmp_path / "refcoco", data)))
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/groundingme-was-here").exists()


def test_a_broken_ref_is_one_broken_sample(tmp_path: Path) -> None:
    refs = [
        REF,
        {"split": "val"},
        {**REF, "sentences": None},
        {**REF, "sentences": [3]},
        {**REF, "ann_id": [1]},
        {**REF, "ann_id": 77, "sentences": [{"sent_id": 2, "raw": "x"}]},
        {**REF, "sentences": [{"sent_id": 10**5000, "raw": "x"}]},
        {**REF, "sentences": [{"sent_id": 3, "raw": "\ud800"}]},
    ]
    dataset = load_dataset(str(refcoco(tmp_path / "refcoco", refs)))
    assert len(dataset) == len(refs)
    assert len(sound(dataset)) == len(refs) - 1
    assert dataset[0].target == (1, 2, 4, 6)


def test_a_photo_named_by_a_pickle_stays_in_its_folders(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.jpg").write_bytes(picture())
    for number, name in enumerate(
        ["../elsewhere/secret.jpg", str(tmp_path / "elsewhere" / "secret.jpg"), "x\0y", "x" * 5000]
    ):
        photo = {"id": 1, "file_name": name}
        known = {"images": [photo], "annotations": [{"id": 1, "bbox": [1, 2, 3, 4]}]}
        (sample,) = load_dataset(str(refcoco(tmp_path / f"refcoco{number}", [REF], known)))
        assert sample.image is not None
        assert kind_of(sample.image.read) in ("missing", "unreadable")


# Replies made elsewhere


def workbook(path: Path, sheet: bytes, extra: bytes = b"") -> Path:
    import openpyxl

    buffer = io.BytesIO()
    book = openpyxl.Workbook()
    book.active.append(["index", "prediction"])
    book.save(buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name in source.namelist():
            out.writestr(name, sheet if name == "xl/worksheets/sheet1.xml" else source.read(name))
        if extra:
            with out.open("xl/sharedStrings.xml", "w", force_zip64=True) as file:
                for _ in range(1100):
                    file.write(extra)
    return path


SPACE = b' xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def cell(place: str, text: str) -> bytes:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'.encode()


def sheet(*rows: bytes, before: bytes = b"") -> bytes:
    header = b'<row r="1">' + cell("A1", "index") + cell("B1", "prediction") + b"</row>"
    body = header + b"".join(rows)
    return before + b"<worksheet" + SPACE + b"><sheetData>" + body + b"</sheetData></worksheet>"


def test_a_workbook_with_a_cell_at_the_far_end(tmp_path: Path) -> None:
    far = b'<row r="1048576">' + cell("XFD1048576", "x") + b"</row>"
    near = b'<row r="2">' + cell("A2", "1") + cell("B2", "a reply") + b"</row>"
    path = workbook(tmp_path / "x.xlsx", sheet(near, far))
    assert path.stat().st_size < 10_000
    took, said = peak_of("print(list(read_predictions(path).generations))", path)
    assert said == "['1']"
    # A million rows of 16,384 cells would be 137 GB.
    assert took < 200


def test_workbooks_that_unpack_to_gigabytes_or_name_files(tmp_path: Path) -> None:
    entities = b"".join(
        b'<!ENTITY %c "%s">' % (98 + at, b"&%c;" % (97 + at) * 10) for at in range(9)
    )
    laughs = b'<!DOCTYPE l [<!ENTITY a "' + b"x" * 100 + b'">' + entities + b"]>"
    outside = b'<!DOCTYPE l [<!ENTITY j SYSTEM "file:///etc/hostname">]>'
    used = b'<row r="2">' + cell("A2", "&j;") + cell("B2", "&j;") + b"</row>"
    for before in (laughs, outside):
        path = workbook(tmp_path / "x.xlsx", sheet(used, before=before))
        took, said = peak_of("print(read_predictions(path).generations)", path)
        assert "damaged" in said
        assert took < 100


def test_a_workbook_that_unpacks_to_more_than_is_let_in(tmp_path: Path) -> None:
    path = workbook(tmp_path / "x.xlsx", sheet(), b" " * 2**18)
    assert path.stat().st_size < 2**19
    took, said = peak_of("print(read_predictions(path).generations)", path)
    assert said.startswith("expected an xlsx of at most 256 MiB unpacked, got 275 MiB in")
    assert "save it as TSV" in said
    assert took < 20


def test_memory_of_a_workbook_goes_with_its_text(tmp_path: Path) -> None:
    replies = [
        b'<row r="%d">' % n
        + cell(f"A{n}", str(n))
        + cell(f"B{n}", f"{n} " + "x" * 30_000)
        + b"</row>"
        for n in range(2, 1002)
    ]
    path = workbook(tmp_path / "x.xlsx", sheet(*replies))
    took, said = peak_of("print(len(read_predictions(path).generations))", path)
    assert said == "1000"
    assert took < 3 * 30


REPLIES = (
    b'{"id":"a","reply":"x"}\n{"id":"b","reply":null}\n',
    b'index\tprediction\n1\tx\n2\t"y\n"\n',
    b'{"detailed_results":[{"id":1,"response":"x"}],"errors":["Sample 2: bad"]}',
    b'{"doc_id":1,"filtered_resps":["x"],"doc":{"id":3}}\n',
    b'[{"index":1,"prediction":"x","thinking":3}]',
)
SPLINTERS = (b"\0", b"null", b"[", b"{", b'"', b"\n", b"1e999", b"\xff", b"{}", b"[]", b"true",
             b"\\ud800", b"9" * 30, b"\t", b"\r", b"[" * 900)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_damaged_replies_are_read_or_an_error_in_one_line(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "x"
    for _ in range(400):
        data = bytearray(chance.choice(REPLIES))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.choice((0, 0, 1, 3))] = chance.choice(SPLINTERS)
        path.write_bytes(data)
        said = ""
        try:
            read_predictions(path)
        except GroundingMEError as error:
            said = str(error)
        assert "\n" not in said, bytes(data)
        assert len(said) < 1000
