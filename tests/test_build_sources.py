"""Sources of pictures, the first look at them, perceptual hashes, and duplicates."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from groundingme.build import duplicates as dedupe_module
from groundingme.build import hashing
from groundingme.build.duplicates import DedupeOptions, dedupe, duplicates
from groundingme.build.records import Picture
from groundingme.build.sources import SourceOptions, list_pictures, locate, make_look, place
from groundingme.build.stage import Context
from groundingme.errors import DataError, ImageError
from peak import peak_of


def encoded(seed: int = 0, size: tuple[int, int] = (64, 48), format: str = "JPEG") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, format)
    return buffer.getvalue()


def listed(path: object, **more: object) -> list[Picture]:
    return list(list_pictures(SourceOptions(path=str(path), **more)))  # type: ignore[arg-type]


def looked_at(path: object, **more: object) -> list[Picture]:
    options = SourceOptions(path=str(path), **more)  # type: ignore[arg-type]
    return make_look(options, 0)(list(list_pictures(options)))


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# Folders and globs


def test_a_folder_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.PNG", "a/.hidden.jpg", ".cache/x.jpg", "a/notes.txt", "c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded())
    found = listed(tmp_path)
    assert [one.id for one in found] == ["a/z.PNG", "b.jpg", "c.jpg"]
    assert found[0].where == f"{tmp_path}/./a/z.PNG"
    assert locate(found[0].where).read() == encoded()
    assert [one.id for one in listed(tmp_path, limit=2)] == ["a/z.PNG", "b.jpg"]
    assert [one.id for one in listed(tmp_path, pattern="a/*")] == ["a/z.PNG"]


def test_a_listing_is_lazy(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", {"1.jpg": encoded()})
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 100)
    pictures = list_pictures(SourceOptions(path=str(tmp_path)))
    assert next(pictures).id == "a.tar/1.jpg"
    with pytest.raises(DataError, match=r"plain tar in .*b\.tar"):
        next(pictures)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_what_cannot_be_followed_or_named_is_counted(tmp_path: Path) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    source.mkdir()
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(encoded())
    (source / "link.jpg").symlink_to(outside / "secret.jpg")
    (source / "folder").symlink_to(outside)
    with open(os.fsencode(source) + b"/caf\xe9.jpg", "wb") as file:
        file.write(encoded())
    found = {one.id: one.failure for one in looked_at(source)}
    assert set(found) == {"caf\\xe9.jpg", "folder", "link.jpg"}
    assert "UTF-8" in found["caf\\xe9.jpg"]
    assert "give its own path" in found["folder"]
    assert "inside" in found["link.jpg"]


def test_a_glob_has_the_folder_before_its_first_wildcard(tmp_path: Path) -> None:
    for name in ("x/1/a.jpg", "x/2/b.jpg", "x/2/b.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded())
    found = listed(tmp_path / "x" / "*" / "*")
    assert [one.id for one in found] == ["1/a.jpg", "2/b.jpg"]
    assert found[0].where == f"{tmp_path}/x/./1/a.jpg"
    assert [one.id for one in listed(tmp_path / "**" / "*.jpg")] == ["x/1/a.jpg", "x/2/b.jpg"]


@pytest.mark.parametrize("name", ["", "*.jpg", "none.tar", "none/*/x.jpg"])
def test_a_source_without_pictures_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"expected .*, got .*(known are|check the path)"):
        listed(tmp_path / name)


# Archives


def test_tars_in_the_layout_of_sa_1b(tmp_path: Path) -> None:
    for number in (0, 1):
        members = {}
        for picture in (2 * number + 1, 2 * number + 2):
            members[f"./sa_{picture}.jpg"] = encoded(picture)
            members[f"./sa_{picture}.json"] = b'{"annotations": []}'
        tar_of(tmp_path / f"sa_00000{number}.tar", members)
    found = listed(tmp_path / "sa_*.tar")
    assert [one.id for one in found] == [
        f"sa_00000{(n - 1) // 2}.tar/sa_{n}.jpg" for n in (1, 2, 3, 4)
    ]
    assert [locate(one.where).read() for one in found] == [encoded(n) for n in (1, 2, 3, 4)]
    assert [one.id for one in listed(tmp_path / "sa_000001.tar")] == [one.id for one in found[2:]]


def test_one_name_twice_in_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    tar_of(path, {"x.jpg": encoded(1)})
    tar_of(path, {"x.jpg": encoded(2)}, "a")
    found = listed(path)
    assert len({one.id for one in found}) == 2
    assert [locate(one.where).read() for one in found] == [encoded(1), encoded(2)]


@pytest.mark.parametrize("kind", ["compressed", "cut"])
def test_a_tar_that_cannot_be_read_is_one_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tar"
    tar_of(
        path, {f"{n}.jpg": encoded(n) for n in range(3)}, "w:gz" if kind == "compressed" else "w"
    )
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-11_500])
    with pytest.raises(DataError, match=r"plain tar in .*a\.tar"):
        listed(path)


def test_a_tar_that_was_cut_after_listing(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", {"x.jpg": encoded(1)})
    picture = listed(path)[0]
    path.write_bytes(path.read_bytes()[:700])
    assert "copy the tar again" in make_look(SourceOptions(path="x"), 0)([picture])[0].failure


def test_parquet_of_bytes_and_of_the_hub(tmp_path: Path) -> None:
    cells = [{"bytes": encoded(1), "path": "a.jpg"}, {"bytes": None, "path": None}]
    pq.write_table(pa.table({"label": [3, 4], "image": cells}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"mask": [b"x"], "jpg": [encoded(2)]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"label": [3, 4]}), tmp_path / "c.parquet")
    found = looked_at(tmp_path)
    assert [one.id for one in found] == ["a.parquet:0", "a.parquet:1", "b.parquet:0"]
    assert [bool(one.failure) for one in found] == [False, True, False]
    assert locate(found[2].where).read() == encoded(2)
    assert listed(tmp_path / "b.parquet", column="mask")[0].where.endswith("#mask:0")
    with pytest.raises(DataError, match="a column 'nope'"):
        listed(tmp_path / "b.parquet", column="nope")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match=r"parquet file in .*d\.parquet"):
        listed(tmp_path)


def test_a_data_set_on_the_hub_from_its_cache(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "datasets--someone--photos"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    pq.write_table(pa.table({"image": [encoded(1)]}), repository / "blobs" / "b1")
    (snapshot / "train.parquet").symlink_to("../../blobs/b1")
    code = (
        "from groundingme.build.sources import *\n"
        "o = SourceOptions(path='someone/photos')\n"
        "print([(p.id, p.width, p.failure) for p in make_look(o, 0)(list(list_pictures(o)))])"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[('train.parquet:0', 64, '')]", done.stderr


def test_the_tsv_of_hr_bench(tmp_path: Path) -> None:
    image = base64.b64encode(encoded(1, format="PNG")).decode()
    rows = [
        "index\tquestion\timage\tanswer",
        f"0\twhat?\t{image}\tA",
        "1\tthe same picture\t0\tB",
        f"0\tanother of one index\t{image}\tC",
        "3\ttoo few cells",
        f"4\twhat?\t{image[:-9]}!\tD",
    ]
    path = tmp_path / "hr_bench_8k.tsv"
    path.write_text("\n".join(rows) + "\n")
    found = looked_at(path)
    assert [one.id.partition(":")[2] for one in found] == ["0", "row 3", "row 4", "4"]
    assert [bool(one.failure) for one in found] == [False, False, True, True]
    assert (found[0].width, found[0].height) == (64, 48)
    assert locate(found[1].where).read() == encoded(1, format="PNG")
    (tmp_path / "labels.tsv").write_text("index\tquestion\n0\tx\n")
    assert len(listed(tmp_path)) == 4


# Locators


@given(st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1))
def test_a_place_says_any_name(name: str) -> None:
    if name in (".", ".."):
        return
    source = locate(place("/data/some#where", f"sub/{name}"))
    assert getattr(source, "path", None) == f"/data/some#where/sub/{name}"
    image = locate(place("/data/some#where", f"{name}.tar", "tar", "5+7")).image  # type: ignore[attr-defined]
    assert (image.path, image.start, image.size) == (f"/data/some#where/{name}.tar", 5, 7)


@pytest.mark.parametrize(
    "where",
    ["", "a.jpg", "/data/a.jpg", "tar:/d/./a.tar", "tar:/d/./a.tar#1", "tar:/d/./a.tar#-1+5",
     "tsv:/d/./a.tsv#1+2", "parquet:/d/./a.parquet#image:x"],
)  # fmt: skip
def test_a_line_that_is_no_place(where: str) -> None:
    with pytest.raises(DataError, match="expected where a picture is"):
        locate(where)


def test_nothing_outside_of_the_source_is_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "a.jpg").write_bytes(encoded())
    path = tar_of(tmp_path / "a.tar", {"x.jpg": encoded()})
    (source / "link.tar").symlink_to(path)
    pq.write_table(pa.table({"image": [encoded(1)]}), tmp_path / "a.parquet")
    for where in (
        place(str(source), "../a.jpg"),
        place(str(source), "../a.tar", "tar", "512+100"),
        place(str(source), "link.tar", "tar", "512+100"),
        place(str(source), "../a.parquet", "parquet", "image:0"),
    ):
        with pytest.raises(ImageError, match="inside") as caught:
            locate(where).read()
        assert caught.value.kind == "outside"


# The first look


def test_what_is_found_out(tmp_path: Path) -> None:
    image = Image.open(io.BytesIO(encoded(1, (200, 100))))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a-turned.jpg", exif=exif)
    (tmp_path / "b-small.jpg").write_bytes(encoded(2, (64, 48)))
    Image.new("RGB", (200, 200), "white").save(tmp_path / "c-flat.jpg")
    (tmp_path / "d-cut.jpg").write_bytes(encoded(3)[:-40])
    (tmp_path / "e-text.jpg").write_bytes(b"no picture")
    (tmp_path / "f-large.png").write_bytes(encoded(4, (400, 200), "PNG"))
    turned, small, flat, cut, text, large = looked_at(
        tmp_path, min_side=60, min_sharpness=1.0, max_pixels=60_000
    )
    assert (turned.width, turned.height, turned.fate) == (100, 200, "")
    data = (tmp_path / "a-turned.jpg").read_bytes()
    assert turned.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert turned.hash == hashing.perceptual(Image.open(io.BytesIO(data)).transpose(
        Image.Transpose.ROTATE_270
    ))  # fmt: skip
    assert turned.sharpness > 1
    assert (small.fate, flat.fate, flat.hash, flat.sharpness) == ("small", "blurred", 0, 0.0)
    assert "truncated" in cut.failure or "whole JPEG" in cut.failure
    assert "expected an image" in text.failure
    assert "60000 pixels" in large.failure
    assert make_look(SourceOptions(path="x"), 0)([cut])[0] is cut


def test_sharpness_falls_with_blur(shared: Path) -> None:
    path = sorted((shared / "assets" / "coco" / "images").glob("*.jpg"))[0]
    image = Image.open(path)
    blurred = [
        hashing.sharpness(image.filter(ImageFilter.GaussianBlur(radius)))
        for radius in (0, 1, 2, 4, 8)
    ]
    assert blurred == sorted(blurred, reverse=True)
    assert blurred[-1] < blurred[0] / 100


def test_an_8k_jpeg_is_not_decoded_whole(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "8k.jpg").write_bytes(encoded(1, (7680, 4320)))
    code = """
from groundingme.build.sources import SourceOptions, make_look, list_pictures
options = SourceOptions(path=path)
one = make_look(options, 0)(list(list_pictures(options)))[0]
print(one.width, one.height, one.failure)
"""
    megabytes, said = peak_of(code, source)
    assert said == "7680 4320 "
    # Decoded it has 99 MB.
    assert megabytes < 30


# Hashes


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Image.Image]:
    paths = sorted((shared / "assets" / "coco" / "images").glob("*.jpg"))[:260]
    return [Image.open(path).convert("RGB") for path in paths]


def hashes(photos: list[Image.Image]) -> np.ndarray:
    return np.array([hashing.perceptual(one) for one in photos], np.uint64)


def saved_anew(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def test_other_photos_have_other_hashes(photos: list[Image.Image]) -> None:
    mine = hashes(photos)
    apart = hashing.distances(mine[:, None], mine[None, :])[np.triu_indices(len(mine), 1)]
    # Measured over 33,670 pairs of 260 photos: 15 to 51, 31.5 on average.
    assert len(mine) == 260
    assert apart.min() > 8
    assert 29 < apart.mean() < 34
    assert not (duplicates(mine, 4) >= 0).any()


@pytest.mark.parametrize("change", ["quality 50", "half", "third", "brighter", "darker", "png"])
def test_a_hash_outlives(photos: list[Image.Image], change: str) -> None:
    def changed(one: Image.Image) -> Image.Image:
        if change.startswith("quality"):
            return saved_anew(one, 50)
        if change in ("half", "third"):
            share = 2 if change == "half" else 3
            return one.resize((one.width // share, one.height // share), Image.Resampling.LANCZOS)
        if change in ("brighter", "darker"):
            return ImageEnhance.Brightness(one).enhance(1.1 if change == "brighter" else 0.9)
        return one

    some = photos[::4]
    moved = hashing.distances(hashes(some), hashes([changed(one) for one in some]))
    assert (moved <= 4).mean() >= 0.97, np.bincount(moved)
    if change == "png":
        assert not moved.any()


def test_bits_are_counted_alike_without_numpy_2() -> None:
    numbers = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64)
    numbers[:3] = 0, 1, 2**64 - 1
    expected = [int(one).bit_count() for one in numbers]
    assert hashing._count(numbers).tolist() == expected
    assert hashing.distances(numbers, np.uint64(0)).tolist() == expected


# Duplicates


def one_after_another(mine: list[int], distance: int) -> list[int]:
    """The definition, every pair compared."""
    kept: list[int] = []
    firsts = []
    for at, one in enumerate(mine):
        near = [k for k in kept if (mine[k] ^ one).bit_count() <= distance]
        firsts.append(near[0] if near else -1)
        if not near:
            kept.append(at)
    return firsts


@st.composite
def clusters(draw: st.DrawFn) -> list[int]:
    """Hashes around a few others, as near-duplicates have them."""
    middles = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
    seed = draw(st.integers(0, 2**32 - 1))
    count, flips = draw(st.integers(0, 120)), draw(st.integers(0, 10))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        one = middles[rng.integers(len(middles))]
        for bit in rng.integers(0, 64, rng.integers(flips + 1)):
            one ^= 1 << int(bit)
        found.append(one)
    return found


@settings(max_examples=150)
@given(clusters(), st.integers(0, 8), st.sampled_from([(2, 0), (4, 50), (256, 2**22)]))
def test_duplicates_are_those_of_the_definition(
    mine: list[int], distance: int, sizes: tuple[int, int]
) -> None:
    # So small that every way through the code is taken.
    before = dedupe_module._FEW, dedupe_module._PAIRS
    dedupe_module._FEW, dedupe_module._PAIRS = sizes
    try:
        found = duplicates(np.array(mine, np.uint64), distance).tolist()
    finally:
        dedupe_module._FEW, dedupe_module._PAIRS = before
    assert found == one_after_another(mine, distance)


def test_many_hashes_take_no_square_of_time() -> None:
    rng = np.random.default_rng(0)
    mine = rng.integers(0, 2**64, 60_000, np.uint64)
    mine[50_000:] = mine[:10_000] ^ (np.uint64(1) << rng.integers(0, 64, 10_000, np.uint64))
    found = duplicates(mine, 4)
    assert (found[:50_000] == -1).all()
    assert (found[50_000:] == np.arange(10_000)).all()


class Shards:
    """Shards that can be read again."""

    def __init__(self, *shards: list[tuple[str, int, str]]) -> None:
        self._shards = shards

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[list[Picture]]:
        for shard in self._shards:
            yield [Picture(id, "", hash=hash, failure=failure) for id, hash, failure in shard]


def test_the_stage_names_the_first(tmp_path: Path) -> None:
    shards = Shards(
        [("a", 0b1111, ""), ("broken", 0, "unreadable"), ("b", 0b0111, "")],
        [("c", 2**63, ""), ("d", 0xFF << 20, ""), ("e", 2**63 + 1, "")],
    )
    found = list(dedupe(shards, DedupeOptions(distance=1), Context(tmp_path)))
    assert [[one.fate for one in shard] for shard in found] == [
        ["", "", "duplicate of a"],
        ["", "", "duplicate of c"],
    ]
    assert found[0][1].failure == "unreadable"
