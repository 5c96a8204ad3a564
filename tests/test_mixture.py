"""Mixtures: exact numbers, nested, apart from evaluation, and in the convention of evaluation."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundingme.cli import main
from groundingme.datasets import Dataset
from groundingme.errors import DataError, UsageError
from groundingme.images import BytesImage, FileImage
from groundingme.models.families import families
from groundingme.parsing import parse
from groundingme.prompts import UNIFIED, UNIFIED_YXYX, render
from groundingme.schema import Box, Sample
from groundingme.train import sources
from groundingme.train.conversation import convention
from groundingme.train.mixing import Ratio, Usable, in_turns, mix, parse_ratios
from groundingme.train.mixture import load_mixture
from groundingme.train.pictures import Look
from perfect import numbers

SIZE = (64, 48)


def jpeg(at: int, size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (at % 251, at * 7 % 251, 90)).save(out, "JPEG", **options)
    return out.getvalue()


def sample(id: str, picture: int, text: str, box: Box | None, **more: Any) -> Sample:
    image = more.pop("image", None) or BytesImage(f"{picture}.jpg", jpeg(picture))
    fields: dict[str, Any] = {"width": SIZE[0], "height": SIZE[1], "image": image, **more}
    return Sample(id=id, description=text, target=box, **fields)


def data(samples: list[Sample], name: str = "made") -> Dataset:
    return Dataset(name=name, source=name, samples=samples)


def sides(pictures: int = 6, each: int = 3) -> tuple[Dataset, Dataset]:
    """As many positives as negatives, `each` a picture."""
    rows = [(p, k) for p in range(pictures) for k in range(each)]
    good = [sample(f"{p}.{k}", p, f"thing {k} of {p}", (4.0, 5.0, 30.0 + k, 40.0)) for p, k in rows]
    bad = [sample(f"{p}.{k}", p, f"no thing {k} of {p}", None) for p, k in rows]
    return data(good, "good"), data(bad, "bad")


# ---- numbers


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 40_000))
def test_counts_are_exact(n: int, p: int, total: int) -> None:
    if not n + p:
        return
    negatives, positives = Ratio(n, p).counts(total)
    assert negatives + positives == total
    assert abs(negatives - Fraction(total * n, n + p)) <= Fraction(1, 2)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 300), st.integers(0, 300))
def test_the_largest_total_is_the_largest(n: int, p: int, have_n: int, have_p: int) -> None:
    ratio = Ratio(n, p)
    total = ratio.largest(have_n, have_p)
    a, b = ratio.counts(total)
    assert a <= have_n
    assert b <= have_p
    a, b = ratio.counts(total + 1)
    assert a > have_n or b > have_p


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), unique=True, max_size=40),
    st.integers(0, 3),
    st.integers(0, 40),
)
def test_an_order_that_goes_round_the_images(
    rows: list[tuple[int, int]], seed: int, prefix: int
) -> None:
    made = [
        Usable(Sample(id=f"{picture}.{k}", description="x", target=None), Look(str(picture)))
        for picture, k in rows
    ]
    order = in_turns(made, seed)
    assert sorted(one.sample.id for one in order) == sorted(one.sample.id for one in made)
    assert in_turns(random.Random(seed).sample(made, len(made)), seed) == order
    taken = Counter(one.look.digest for one in order[:prefix])
    all_of = Counter(one.look.digest for one in made)
    for digest, count in all_of.items():
        # An image that has less than another in the prefix has no more to give.
        behind = taken[digest] < max(taken.values(), default=0) - 1
        assert not behind or taken[digest] == count


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(any), min_size=2, max_size=4,
        unique=True,
    ),
    st.integers(2, 60),
)  # fmt: skip
def test_ratios_are_nested(parts: list[tuple[int, int]], total: int) -> None:
    """By the numbers alone: a prefix of each side, so the larger holds the smaller."""
    ratios = [Ratio(n, p) for n, p in parts]
    ordered = sorted(ratios, key=lambda one: Fraction(one.negatives, one.negatives + one.positives))
    counts = [one.counts(total) for one in ordered]
    assert [n for n, _ in counts] == sorted(n for n, _ in counts)
    assert [p for _, p in counts] == sorted((p for _, p in counts), reverse=True)


def test_ratios_in_words() -> None:
    assert parse_ratios("1:8, 2:1,0:1") == [Ratio(1, 8), Ratio(2, 1), Ratio(0, 1)]
    assert Ratio(1, 8).counts(30_000) == (3333, 26667)
    for text in ("", "1", "1:2:3", "a:b", "-1:2", "0:0", "1:1,1:1", "1:1,"):
        with pytest.raises(UsageError, match="expected"):
            parse_ratios(text)


def read(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "train.parquet").to_pylist()
    return rows


def test_what_is_written(tmp_path: Path) -> None:
    good, bad = sides()
    told: list[str] = []
    made = mix(good, bad, out=tmp_path / "m", ratios="1:3,1:1,2:1", tell=told.append)
    total = made[0].manifest["total"]
    ids = {}
    for one in made:
        rows = list(one.rows())
        n, p = (one.manifest["counts"][name] for name in ("negatives", "positives"))
        assert (n + p, len(rows), len(one)) == (total,) * 3
        assert sum(row["positive"] for row in rows) == p
        assert {row["id"] for row in rows} == {row["id"] for row in read(one.folder)}
        ids[one.manifest["ratio"]] = [
            {row["id"] for row in rows if row["positive"] == side} for side in (True, False)
        ]
        pictures = Counter(row["image"] for row in rows if not row["positive"])
        assert max(pictures.values()) - min(pictures.values()) <= 1 or len(pictures) < 6
        assert {Path(row["image"]).parent for row in rows} == {(tmp_path / "m/images").resolve()}
        assert all(Path(row["image"]).is_file() for row in rows)
    assert ids["1:3"][0] >= ids["1:1"][0] >= ids["2:1"][0]
    assert ids["1:3"][1] <= ids["1:1"][1] <= ids["2:1"][1]
    assert len(list((tmp_path / "m/images").iterdir())) == 6
    row = next(one for one in made[1].rows() if one["positive"])
    origin = good.find(row["source_id"])
    assert row["prompt"] == [{"role": "user", "content": render(UNIFIED, origin.description)}]
    said = json.loads(row["completion"][0]["content"])["bbox_2d"]
    assert origin.target is not None
    scale = [1000 / one for one in SIZE * 2]
    assert said == [round(edge * k) for edge, k in zip(origin.target, scale, strict=True)]
    assert (row["width"], row["height"], tuple(row["box"])) == (*SIZE, origin.target)
    negative = next(one for one in made[1].rows() if not one["positive"])
    assert negative["box"] is None
    assert negative["completion"] == [{"role": "assistant", "content": '{"bbox_2d": null}'}]


def test_more_ratios_later_and_the_same_bytes_after_an_interruption(tmp_path: Path) -> None:
    good, bad = sides()
    whole = tmp_path / "whole"
    mix(good, bad, out=whole, ratios="1:2,1:1", total=18)
    broken = tmp_path / "broken"
    mix(good, bad, out=broken, ratios="1:2", total=18)
    (broken / "1-2" / "manifest.json").unlink()
    next((broken / "images").iterdir()).unlink()
    mix(good, bad, out=broken, ratios="1:2,1:1", total=18)
    files = sorted(one.relative_to(whole) for one in whole.rglob("*") if one.is_file())
    assert files == sorted(one.relative_to(broken) for one in broken.rglob("*") if one.is_file())
    assert all((whole / one).read_bytes() == (broken / one).read_bytes() for one in files)
    with pytest.raises(UsageError, match=r"made with other settings .*seed"):
        mix(good, bad, out=whole, ratios="1:1", total=18, seed=1)
    other = mix(good, bad, out=tmp_path / "other", ratios="1:1", total=18, seed=1)[0]
    assert {row["id"] for row in read(other.folder)} != {row["id"] for row in read(whole / "1-1")}


def test_too_few(tmp_path: Path) -> None:
    good, bad = sides(3, 2)
    said = "--total 10 at 2:1, got 6 negatives and 6 positives; the largest total .* is 9$"
    with pytest.raises(UsageError, match=said):
        mix(good, bad, out=tmp_path, ratios="1:1,2:1", total=10)
    with pytest.raises(UsageError, match="got 0 negatives and 6 positives that are of use"):
        mix(good, good, out=tmp_path, ratios="1:1")
    assert not list(tmp_path.iterdir()), "nothing was written"


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    good, bad = sides(2, 2)
    huge = BytesImage("huge.png", _png((4000, 3000)))
    good.samples += [
        sample("again", 0, "Thing 0 of 0.", (4.0, 5.0, 30.0, 40.0)),
        sample("null", 0, "nothing at all", None),
        sample("gone", 0, "gone", (1, 2, 3, 4), image=FileImage(path=str(tmp_path / "no.jpg"))),
        sample("size", 0, "a thing", (1, 2, 3, 4), width=48, height=64),
        sample("swapped", 0, "that thing", (30, 2, 3, 4)),
        sample("mark", 0, "an <image> of it", (1, 2, 30, 40)),
        # In thousandths of 4,000 pixels, these two and a half become none.
        sample("tiny", 0, "a tiny thing", (1.0, 1, 2.5, 2.5), image=huge, width=4000, height=3000),
        Sample(id="row", description="", target=None, problem="expected a description"),
    ]
    bad.samples.append(sample("liar", 1, "thing 1 of 1", None))
    made = mix(good, bad, out=tmp_path / "m", ratios="1:1")[0]
    source = made.manifest["sources"]
    assert source["positives"]["left_out"] == {
        "box-order": 1, "duplicate": 1, "image-missing": 1, "image-token": 1, "rejection": 1,
        "rounded": 1, "row": 1, "size": 1,
    }  # fmt: skip
    assert source["negatives"]["left_out"] == {"contradicts": 1}
    assert source["positives"]["usable"] == source["negatives"]["usable"] == 4
    load_mixture(made.folder)


def _png(size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("1", size).save(out, "PNG")
    return out.getvalue()


def test_no_image_of_evaluation_under_whatever_name(tmp_path: Path) -> None:
    good, bad = sides(6, 2)
    held = [BytesImage(f"val2017/another-{at}.jpg", jpeg(at)) for at in (1, 4)]
    apart = data([sample(str(at), 0, "x", None, image=one) for at, one in enumerate(held)], "val")
    with_all = mix(good, bad, out=tmp_path / "all", ratios="1:1")[0]
    made = mix(good, bad, out=tmp_path / "m", ratios="1:1", apart=[apart])[0]
    mine = [{Path(one["image"]).read_bytes() for one in m.rows()} for m in (with_all, made)]
    assert all(one.data in mine[0] for one in held), "they would be there otherwise"
    assert not any(one.data in mine[1] for one in held)
    assert made.manifest["apart"][0]["left_out"] == {"samples": 8, "images": 2}
    assert made.manifest["sources"]["positives"]["left_out"] == {"apart": 4}


def test_pictures_that_not_every_reader_sees_alike_are_kept_upright(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    lying = BytesImage("lying.jpg", jpeg(3, SIZE, exif=turned))
    good = data([sample("a", 0, "a thing", (4, 5, 30, 60), image=lying, width=48, height=64)])
    bad = data([sample("b", 0, "no thing", None, image=lying, width=48, height=64)])
    made = mix(good, bad, out=tmp_path / "m", ratios="1:1", total=2)[0]
    row = next(load_mixture(made.folder).rows())
    with Image.open(row["image"]) as stored:
        assert (stored.size, dict(stored.getexif())) == ((48, 64), {})
    plain = mix(*sides(1, 1), out=tmp_path / "p", ratios="1:1")[0]
    assert Path(next(plain.rows())["image"]).read_bytes() == jpeg(0), "the original bytes"


# ---- the convention


SPEAKING = [one for one in families() if one.boxes and one.coords]


@pytest.mark.parametrize("family", SPEAKING, ids=lambda one: one.name)
@settings(max_examples=15)
@given(
    st.tuples(st.integers(200, 5000), st.integers(200, 5000)),
    st.tuples(*[st.floats(0, 1) for _ in range(4)]),
)
def test_what_is_trained_is_what_is_scored(
    family: Any, size: tuple[int, int], at: tuple[float, float, float, float]
) -> None:
    """The arithmetic of each family's numbers is written a second time in `perfect`."""
    if family.coords.startswith("abs-claude") and max(size) > 1100:
        return  # Larger pictures are resized by whoever sends them.
    x1, x2, y1, y2 = (*sorted(at[:2]), *sorted(at[2:]))
    box = (x1 * size[0], y1 * size[1], x2 * size[0], y2 * size[1])
    how = convention(family.name)
    said = parse(how.answer(box, size))
    assert said.outcome == "box"
    assert said.coords is not None
    right = numbers(how.coords, (x1, y1, x2, y2), size)
    room = 0.0005 if how.coords == "n1" else 1 if how.coords.startswith("loc") else 0.5
    assert all(abs(a - b) <= room + 1e-6 for a, b in zip(said.coords, right, strict=True))
    assert how.disagrees(how.answer(box, size), box, size) == ""
    assert parse(how.answer(None, size)).outcome == "rejected"
    assert how.disagrees(how.answer(None, size), None, size) == ""


def test_conventions() -> None:
    qwen = convention("Qwen/Qwen2.5-VL-7B-Instruct")
    assert (qwen.family, qwen.coords, qwen.resize) == ("qwen2.5-vl", "abs-qwen2.5-vl", "qwen2.5-vl")
    assert convention("gemma-4").template == UNIFIED_YXYX
    assert convention("paligemma").prompt == "native"
    assert convention("qwen3-vl", prompt="native").rejects == "[]"
    assert convention("qwen3-vl", coords="n1").answer((16, 12, 32, 24), SIZE) == (
        '{"bbox_2d": [0.250, 0.250, 0.500, 0.500]}'
    )
    own = convention("my-own-model", coords="n1000")
    assert (own.family, own.title, own.prompt) == ("", "my-own-model", "unified")
    for given_, said in (
        ({"family": "my-own-model"}, "say with --coords"),
        ({"family": "gemma-3"}, "groundingme calibrate finds out"),
        ({"family": "molmo"}, "writes points"),
        ({"family": "paligemma", "coords": "n1"}, "can write, got n1: fractions without"),
        ({"family": "qwen3-vl", "coords": "n10"}, "no coordinate format is named"),
        ({"family": "qwen3-vl", "prompt": "nice"}, "no prompt is named"),
    ):
        with pytest.raises(UsageError, match=said):
            convention(**given_)


def test_a_family_of_resized_pixels(tmp_path: Path) -> None:
    made = mix(*sides(1, 1), out=tmp_path / "m", ratios="1:1", family="qwen2.5-vl")[0]
    assert made.manifest["resize"] == "qwen2.5-vl"
    row = next(one for one in load_mixture(made.folder).rows() if one["positive"])
    # 64 x 48 pixels become 56 x 56 there.
    wanted = [round(4 * 56 / 64), round(5 * 56 / 48), round(30 * 56 / 64), round(40 * 56 / 48)]
    assert json.loads(row["completion"][0]["content"])["bbox_2d"] == wanted


# ---- what is wrong with a mixture


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Changes the first positive of a mixture."""

    def work(folder: Path) -> None:
        table = pq.read_table(folder / "train.parquet")
        rows = table.to_pylist()
        change(next(one for one in rows if one["positive"]))
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "train.parquet")

    return work


def manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        told = json.loads((folder / "manifest.json").read_text())
        change(told)
        (folder / "manifest.json").write_text(json.dumps(told))

    return work


def picture(work: Callable[[Path], object]) -> Callable[[Path], None]:
    def on_first(folder: Path) -> None:
        work(sorted((folder.parent / "images").iterdir())[0])

    return on_first


def cut_table(folder: Path) -> None:
    data = (folder / "train.parquet").read_bytes()
    (folder / "train.parquet").write_bytes(data[: len(data) // 2])


def drop_row(folder: Path) -> None:
    table = pq.read_table(folder / "train.parquet")
    pq.write_table(table.slice(1), folder / "train.parquet")


WRONG = {
    "a box that the answer does not say": (
        edit(lambda row: row.update(box=[8.0, 5.0, 30.0, 40.0])),
        "the box and the completion to say the same",
    ),
    "an answer in pixels": (
        edit(lambda row: row["completion"][0].update(content='{"bbox_2d": [4, 5, 30, 40]}')),
        r"which n1000 writes as 62.5, 104.167",
    ),
    "a box beside a rejection": (
        edit(lambda row: row.update(positive=False)), "a box on positives"
    ),
    "an answer in prose": (
        edit(lambda row: row["completion"][0].update(content="over there")),
        "read as unparsed",
    ),
    "another prompt": (
        edit(lambda row: row["prompt"][0].update(content="find it")),
        "the manifest's prompt",
    ),
    "a turned box": (edit(lambda row: row.update(box=[30.0, 5.0, 4.0, 40.0])), "x1 < x2"),
    "an image elsewhere": (
        edit(lambda row: row.update(image="../../../etc/hostname")), "expected an image"
    ),
    "another size": (edit(lambda row: row.update(width=65)), "one size of|to say the same"),
    "an id twice": (
        lambda folder: pq.write_table(
            pa.concat_tables([pq.read_table(folder / "train.parquet")] * 2),
            folder / "train.parquet",
        ),
        "ids that are unique",
    ),
    "a row less": (drop_row, "expected 3 positives and 3 negatives .* got"),
    "half a table": (cut_table, "expected rows of a mixture"),
    "no table": (lambda folder: (folder / "train.parquet").unlink(), "expected rows of a mixture"),
    "no manifest": (
        lambda folder: (folder / "manifest.json").unlink(), "groundingme mix makes them"
    ),
    "a manifest that is no JSON": (
        lambda folder: (folder / "manifest.json").write_text("{"), "got no JSON"
    ),
    "another version": (manifest(lambda told: told.update(version=9)), "version 1"),
    "other counts": (
        manifest(lambda told: told["counts"].update(negatives=4)), "3 positives and 4 negatives"
    ),
    "another format": (manifest(lambda told: told.update(coords="abs")), "to say the same"),
    "an unknown format": (
        manifest(lambda told: told.update(coords="n7")), "no coordinate format is named"
    ),
    "no counts": (manifest(lambda told: told.pop("counts")), "no usable 'counts'"),
    "an image that is gone": (picture(Path.unlink), "expected an image at .* or make the mixture"),
    "half an image": (
        picture(lambda path: path.write_bytes(path.read_bytes()[:-40])), "a whole JPEG image"
    ),
    "an image of another size": (
        picture(lambda path: path.write_bytes(jpeg(1, (20, 20)))), "expected 64 x 48 pixels"
    ),
    "another image": (picture(lambda path: path.write_bytes(jpeg(99))), "got other bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_broken_mixture_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    damage, said = WRONG[what]
    folder = mix(*sides(3, 1), out=tmp_path / "m", ratios="1:1")[0].folder
    load_mixture(folder)
    damage(folder)
    with pytest.raises(DataError, match=said):
        load_mixture(folder)
    result = CliRunner().invoke(main, ["mix", "--check", str(folder)])
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert result.output.startswith("groundingme: ")


# ---- files of other tools, the command


def test_files_of_other_tools(tmp_path: Path) -> None:
    good, bad = sides(2, 1)
    made = mix(good, bad, out=tmp_path / "m", ratios="1:1", also=["ms-swift", "llama-factory"])[0]
    lines = (made.folder / "ms-swift.jsonl").read_text().splitlines()
    rows = list(made.rows())
    assert len(lines) == len(rows) == 4
    info = json.loads((made.folder / "dataset_info.json").read_text())["groundingme"]
    listed = json.loads((made.folder / info["file_name"]).read_text())
    for line, other, row in zip(map(json.loads, lines), listed, rows, strict=True):
        assert line["images"] == [row["image"]]
        assert (made.folder / other["images"][0]).resolve() == Path(row["image"]).resolve()
        for one in (line, other):
            user, assistant = one[info["columns"]["messages"]]
            assert user["content"] == "<image>" + row["prompt"][0]["content"]
            assert assistant == row["completion"][0]
            assert user["content"].count("<image>") == len(one["images"])
    with pytest.raises(UsageError, match="expected one of ms-swift, llama-factory"):
        mix(good, bad, out=tmp_path / "n", also=["trl"])


def test_the_command(tmp_path: Path) -> None:
    out = str(tmp_path / "m")
    spec = "scenes:n=12,seed=2,rejections=0.5,width=320,height=256"
    args = ["mix", spec, spec, "-o", out, "--ratio", "1:1,2:1", "--total", "6", "--json"]
    run = CliRunner().invoke(main, args)
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)["mixtures"]
    assert [one["ratio"] for one in told] == ["1:1", "2:1"]
    assert [one["counts"] for one in told] == [
        {"negatives": 3, "positives": 3}, {"negatives": 4, "positives": 2},
    ]  # fmt: skip
    for args, said in (
        (["mix", spec], "expected POSITIVES and NEGATIVES"),
        (["mix", spec, spec, "-o", out, "--ratio", "1:1", "--seed", "3"], "other settings"),
        (["mix", spec, spec, "-o", out, "--total", "999"], "largest total"),
        (["mix", spec, spec, "--family", "gpt-4o"], "expected --coords"),
        (["mix", spec, spec, "--check", out], "--check alone"),
        (["mix", "--check", str(tmp_path)], "expected a mixture"),
        (["mix", "--check", out], "name one of 1-1, 2-1"),
    ):
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 2, result.output
        assert said in result.output.splitlines()[-1]


def test_a_split_of_evaluation_is_not_trained_on_by_itself(tmp_path: Path) -> None:
    spec, folder = "scenes:n=4,rejections=0,width=320,height=256", tmp_path / "d"
    run = CliRunner().invoke(main, ["scenes", "make", spec, "-o", str(folder)])
    assert run.exit_code == 0, run.output
    (shard,) = folder.rglob("*.parquet")
    assert len(sources.load(str(folder))) == 4
    for name in ("val", "test"):
        shutil.copy(shard, shard.with_name(f"{name}.parquet"))
    shard.unlink()
    with pytest.raises(UsageError, match=r"expected a split train of .* got test, val; name one"):
        sources.load(str(folder))
    assert (
        len(sources.load(str(folder), "val")) == len(sources.load(str(folder), "validation")) == 4
    )


@pytest.mark.slow
def test_the_data_sets_library_reads_it(tmp_path: Path) -> None:
    library = pytest.importorskip("datasets")
    made = mix(*sides(2, 2), out=tmp_path / "m", ratios="1:1")[0]
    table = library.load_dataset(
        "parquet", data_files=str(made.folder / "train.parquet"), split="train",
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    assert len(table) == len(made)
    assert {one["box"] is None for one in table} == {True, False}
    assert table[0]["prompt"][0]["role"] == "user"
