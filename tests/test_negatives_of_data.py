"""Negatives of a data set: what rules may swap and rename, what is checked, what is written."""

from __future__ import annotations

import importlib.util
import json
import random
import re
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from chat import ChatServer, Reply
from groundingme.build.changing import applied
from groundingme.build.other_things import absent, beyond, head_noun, may_be_there, pool, swaps
from groundingme.build.questions import Asked
from groundingme.build.records import Change
from groundingme.build.variants import change_of
from groundingme.cli import main
from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import UsageError
from groundingme.images import BytesImage
from groundingme.schema import Box, Sample
from groundingme.train.negatives import Options, Result, make_negatives
from test_mixture import SIZE, jpeg

SWAPS = [
    ("the cup to the left of a lamp", "the cup to the right of a lamp", "right"),
    ("the cup on the right side of the lamp", "the cup on the left side of the lamp", "left"),
    ("the cup left of the lamp that is right of it",
     "the cup right of the lamp that is right of it", "right"),
    ("a man on the left", "a man on the right", "right"),
    ("left man", "right man", "right"),
    ("a cat under the table", "a cat on top of the table", "above"),
    ("The clock above the sofa.", "The clock below the sofa.", "below"),
    ("the bottom sandwich", "the top sandwich", "above"),
    ("the car behind the bus", "the car in front of the bus", "depth"),
    ("the woman in the background", "the woman in the foreground", "depth"),
    ("A lit mug. It is to the right of a jar.", "A lit mug. It is to the left of a jar.", "left"),
]  # fmt: skip
NO_SWAPS = [
    "the leftmost cup", "the second boat from the left", "the person farthest to the left",
    "the largest cup to the left of a lamp", "the left hand of a man", "a person facing left",
    "man with a bag in his left hand", "a man holding an umbrella above his head",
    "the car in front of the camera", "top of the tree", 'a sign "left of the bar"', "a red mug",
]  # fmt: skip


@pytest.mark.parametrize(("true", "false", "side"), SWAPS, ids=[row[0] for row in SWAPS])
def test_what_is_swapped(true: str, false: str, side: str) -> None:
    found = swaps(true)
    assert [(applied(true, one.edit), one.side) for one in found] == [(false, side)]
    assert isinstance(change_of(true, false, "Swap", "me"), Change)


@pytest.mark.parametrize("text", NO_SWAPS)
def test_what_is_never_swapped(text: str) -> None:
    assert swaps(text) == []


def test_who_may_be_where_a_swap_puts_it() -> None:
    box: Box = (40, 40, 60, 60)
    left, right, lower = (0, 40, 20, 60), (70, 40, 90, 60), (40, 70, 60, 90)
    assert may_be_there("right", box, [left, right])
    assert not may_be_there("right", box, [left, lower])
    assert may_be_there("left", box, [left])
    assert may_be_there("below", box, [lower])
    assert not may_be_there("above", box, [lower, left])
    assert may_be_there("depth", box, [left]), "a box does not tell who is in front"
    assert not may_be_there("depth", box, [])


def test_places_beyond_the_last() -> None:
    for seed in range(5):
        edit = beyond("the second boat from the left", "boat", 3, random.Random(seed))
        assert edit
        assert edit.after in ("fourth", "fifth")
    rng = random.Random(0)
    assert beyond("the second thing from the left", "boat", 3, rng) is None, "of all things"
    assert beyond("the fourth boat from the left", "boat", 3, rng) is None, "what is known is wrong"
    assert beyond("the second boat", "boat", 3, rng) is None
    assert beyond("the second boat from the left", "boat", 10, rng) is None, "no more ordinals"


@pytest.mark.parametrize(
    ("text", "label", "noun"),
    [
        ("the old man on a bench", "person", "man"),
        ("man in red sitting on a couch", "", "man"),
        ("the only potted plant in the picture", "potted plant", "potted plant"),
        ("The yellow mug has a handle.", "cup", "mug"),
        ("a brown table lamp", "lamp", "table lamp"),
        ("zebra drinking water", "", "zebra"),
        ("the dog house", "", ""),
        ("a man's hat", "", ""),
        ("tennis player hitting the ball", "", ""),
        ("two zebras", "", ""),
        ("a group of people", "", ""),
        ("the cup beside another cup", "cup", ""),
        ("something red", "cup", ""),
    ],
)
def test_the_noun_that_says_what_it_is(text: str, label: str, noun: str) -> None:
    span = head_noun(text, label)
    assert (text[slice(*span)] if span else "") == noun


def test_another_thing_in_its_place() -> None:
    nouns = pool([])
    seen = frozenset({"cup", "mug", "glass", "bottle", "plate"})

    def all_of(text: str, label: str, *, complete: bool) -> set[str]:
        edits = [
            absent(text, label, nouns, seen, random.Random(seed), complete=complete)
            for seed in range(200)
        ]
        assert all(edits)
        assert all(
            change_of(text, applied(text, one), "Absent", "me", noun=label) for one in edits if one
        )
        return {one.after for one in edits if one}

    there = all_of("the red cup on a tray", "cup", complete=True)
    assert there >= {"fork", "toaster"}, "what usually stands beside it"
    assert not there & {"cup", "bottle", "plate", "wine glass", "car"}
    away = all_of("the red cup on a tray", "cup", complete=False)
    assert away >= {"car", "dog"}
    assert not away & {"fork", "toaster", "person"}
    assert all_of("a man in red", "person", complete=False) <= {
        "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe",
        "rabbit", "pig", "monkey", "goat",
    }  # fmt: skip
    assert absent("the dog house", "", nouns, seen, random.Random(0), complete=False) is None
    own = pool([f"thing{at}" for at in range(30)])
    assert len(own) == 30, "a data set with many classes needs no others"


@pytest.mark.parametrize(
    ("true", "variant", "kind", "problem"),
    [
        ("the red dog", "the red cat", "Absent", ""),
        ("the red dog", "the blue dog", "Absent", "wrong-kind"),
        ("a dog left of a car", "a dog right of a car", "Swap", ""),
        ("a red dog left of a car", "a blue dog left of a car", "Swap", "wrong-kind"),
        ("a dog left of a car", "a cat left of a car", "Swap", "wrong-kind"),
        ("a dog by a car", "a dog near a car", "Swap", "paraphrase"),
    ],
)
def test_what_a_model_may_change(true: str, variant: str, kind: str, problem: str) -> None:
    found = change_of(true, variant, kind, "m", noun="dog")
    assert (found if isinstance(found, str) else "") == problem


# ---- on Scenes, where the truth is known


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "bench" / "negatives.py"
    spec = importlib.util.spec_from_file_location("bench_negatives", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shares(bench: ModuleType, n: int, seed: int) -> dict[str, Counter[str]]:
    return {way: counts for way, kind, counts in bench.measure(n, seed) if kind == "all"}


def test_nearly_all_are_untrue_of_everything(bench: ModuleType) -> None:
    found = next(counts for _, kind, counts in bench.measure(60, 21) if kind == "all")
    assert found.total() >= 100
    assert found["untrue"] >= 0.94 * (found.total() - found["undecided"])
    assert found["true"] <= 3


@pytest.mark.slow
def test_what_is_known_of_a_picture_makes_fewer_true(bench: ModuleType) -> None:
    found = shares(bench, 200, 21)
    known, alone, none = (
        counts["true"] / (counts.total() - counts["undecided"]) for counts in found.values()
    )
    assert known <= 0.015
    assert known <= alone <= none
    assert none > 0.02, "without a check some are true by chance"


# ---- a data set of negatives


def sample(id: str, picture: int, text: str, box: Box | None, label: str = "mug", **more: Any) -> Sample:  # fmt: skip  # noqa: E501
    return Sample(
        id=id, description=text, target=box, width=SIZE[0], height=SIZE[1],
        image=BytesImage(f"{picture}.jpg", jpeg(picture)), detection_type=label, **more,
    )  # fmt: skip


LEFT, MIDDLE, RIGHT = (2.0, 10.0, 18.0, 40.0), (24.0, 10.0, 40.0, 40.0), (46.0, 10.0, 62.0, 40.0)


def mugs(pictures: int = 3) -> Dataset:
    rows = []
    for at in range(pictures):
        rows += [
            sample(f"{at}a", at, "the red mug with a lid", LEFT),
            sample(f"{at}b", at, "the open box on the table", MIDDLE, "box"),
            sample(f"{at}c", at, 'a sign that says "STOP"', RIGHT, "sign"),
            sample(f"{at}r", at, "a green mug", None),
        ]
    return Dataset(name="mugs", source="here", samples=rows)


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.folder / "changes.jsonl").read_text().splitlines()]


def test_they_are_read_back_with_every_change_on_record(tmp_path: Path) -> None:
    data = mugs()
    result = make_negatives(data, out=tmp_path / "n", options=Options(per_positive=2))
    made = load_dataset(str(result.folder))
    assert made.name == "refcocog_rej"
    told = records(result)
    assert [one.id for one in made] == [one["id"] for one in told]
    for one, change in zip(made, told, strict=True):
        origin = data.find(change["source_id"])
        assert one.id == f"{origin.id}-{change['kind']}"
        assert one.target is None
        assert (one.subtask_l1, one.width, one.height) == ("Rejection", *SIZE)
        assert one.extra["original_exp"] == origin.description
        assert one.extra["original_bbox"] == list(map(int, origin.target or ()))
        assert one.image is not None
        assert origin.image is not None
        assert one.image.read() == origin.image.read(), "the original bytes"
        assert change["before"].lower() in origin.description.lower()
        assert change["after"].lower() in one.description.lower()
        assert change["by"] == "rules"
        assert change["specific"] == "image"
        assert change["checks"] == {"others": 2, "complete": False, "model": ""}
    manifest = json.loads((result.folder / "negatives.json").read_text())
    assert manifest == result.manifest
    assert manifest["negatives"] == len(made) == manifest["specific"]["image"]
    assert manifest["source"]["passed_over"] == {"rejection": 3}
    assert manifest["source"]["positives"] == 9
    assert Counter(one["kind"] for one in told) == manifest["kinds"]
    assert max(Counter(one["source_id"] for one in told).values()) == 2


def test_the_same_bytes_again_and_after_an_interruption(tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        return {one.name: one.read_bytes() for one in sorted(folder.iterdir())}

    first = make_negatives(mugs(), out=tmp_path / "a").folder
    whole = files(first)
    assert files(make_negatives(mugs(), out=tmp_path / "b").folder) == whole
    for name in ("negatives.json", "train-00000-of-00001.parquet", "changes.jsonl"):
        (first / name).unlink()
        make_negatives(mugs(), out=first)
        assert files(first) == whole
    with pytest.raises(UsageError, match=r"made with other settings \(seed\)"):
        make_negatives(mugs(), out=first, options=Options(seed=1))
    other = files(make_negatives(mugs(), out=tmp_path / "c", options=Options(seed=1)).folder)
    assert other["changes.jsonl"] != whole["changes.jsonl"]


def test_what_may_be_true_of_another_is_dropped_and_counted(tmp_path: Path) -> None:
    rows = [
        sample("lid", 0, "the mug with a lid", LEFT),
        sample("left", 0, "the mug left of the box", MIDDLE),
        sample("under", 0, "the mug under the lamp", RIGHT),
        sample("box", 0, "the box with a lid", (2, 2, 10, 8), "box"),
    ]
    data = Dataset(name="d", source="d", samples=rows)
    kinds = ("component", "swap")
    every = make_negatives(data, out=tmp_path / "all", options=Options(kinds=kinds, check="none"))
    assert {one["id"] for one in records(every)} == {
        "lid-component", "left-swap", "under-swap", "box-component"
    }  # fmt: skip
    assert {one["specific"] for one in records(every)} == {"description"}
    checked = make_negatives(data, out=tmp_path / "some", options=Options(kinds=kinds))
    # Another mug may lack a lid, and one stands to the right; none is higher, and no box is there.
    assert {one["id"] for one in records(checked)} == {"under-swap", "box-component"}
    assert checked.manifest["dropped"] == {
        "component": {"no-rule": 2, "true": 1}, "swap": {"no-rule": 2, "true": 1},
    }  # fmt: skip
    with pytest.raises(UsageError, match="expected negatives, got none"):
        make_negatives(data, out=tmp_path / "x", options=Options(kinds=("text",)))


def test_a_near_duplicate_of_what_is_said_of_another_is_dropped(tmp_path: Path) -> None:
    rows = [
        sample("a", 0, "the closed box", LEFT, "box"), sample("b", 0, "the open box", RIGHT, "box"),
    ]  # fmt: skip
    data = Dataset(
        name="d", source="d", samples=[*rows, sample("c", 0, "an open lid", MIDDLE, "lid")]
    )
    result = make_negatives(data, out=tmp_path / "n", options=Options(kinds=("state",)))
    assert result.manifest["dropped"] == {"state": {"duplicate": 2}}


def test_what_all_objects_of_a_picture_say(tmp_path: Path) -> None:
    objects = [{"kind": "mug", "bbox": list(box)} for box in (LEFT, MIDDLE, RIGHT)]
    row = sample("a", 0, "the second mug from the left", MIDDLE, extra={"objects": objects})
    data = Dataset(name="d", source="d", samples=[row])
    result = make_negatives(data, out=tmp_path / "n", options=Options(kinds=("swap",)))
    told = records(result)[0]
    assert told["after"] in ("fourth", "fifth")
    assert told["checks"] == {"others": 2, "complete": True, "model": ""}
    bare = Dataset(name="d", source="d", samples=[sample("a", 0, row.description, MIDDLE)])
    with pytest.raises(UsageError, match="got none"):
        make_negatives(bare, out=tmp_path / "m", options=Options(kinds=("swap",)))
    lines = {"image": "0.jpg", "objects": [{"label": "mug", "bbox": list(box)} for box in (LEFT, RIGHT)]}  # fmt: skip  # noqa: E501
    (tmp_path / "boxes.jsonl").write_text(json.dumps(lines) + "\n")
    given = Options(kinds=("swap",), boxes=str(tmp_path / "boxes.jsonl"))
    from_file = make_negatives(bare, out=tmp_path / "o", options=given)
    assert records(from_file)[0]["checks"] == told["checks"]


# ---- models


def asked_for(prompt: str) -> str:
    found = re.search(r"true of .*:\n\n(.*)\n\nWrite a variant", prompt)
    assert found, prompt
    return found[1]


def says(text: str) -> Reply:
    return Reply(json.dumps({"description": text}))


def test_a_model_writes_them(tmp_path: Path) -> None:
    def reply(prompt: str) -> Reply:
        text = asked_for(prompt)
        if '"Absent"' in prompt:
            return says(
                text.replace("mug", "kettle").replace("box", "crate").replace("sign", "jar")
            )
        if '"Appearance"' in prompt:
            return says(text.replace("red", "green").replace("open", "round"))
        return Reply("UNCLEAR")

    with ChatServer(default=reply) as server:
        asked = Asked(model="openai/m", base_url=server.base_url)
        options = Options(kinds=("appearance", "absent"), per_positive=2)
        result = make_negatives(mugs(1), out=tmp_path / "n", options=options, asked=asked)
        first = len(server.asked)
        assert first == 6
        (result.folder / "negatives.json").unlink()
        again = make_negatives(mugs(1), out=tmp_path / "n", options=options, asked=asked)
        assert again.manifest == result.manifest
        assert len(server.asked) == first, "nothing is asked twice"
        assert server.requests[0]["messages"][0]["content"][0]["type"] == "image_url"
    texts = {one.id: one.description for one in load_dataset(str(result.folder))}
    assert texts == {
        "0a-appearance": "the green mug with a lid", "0a-absent": "the red kettle with a lid",
        "0b-absent": "the open crate on the table", "0c-absent": 'a jar that says "STOP"',
    }  # fmt: skip
    assert {one["by"] for one in records(result)} == {"openai/m"}
    assert result.manifest["dropped"] == {"appearance": {"same": 1, "wrong-kind": 1}}


def test_a_failed_request_is_counted_and_asked_again(tmp_path: Path) -> None:
    def reply(prompt: str) -> Reply:
        # A server that refuses everything is given up at once, so only one fails.
        if "STOP" in prompt and not mended:
            return Reply(status=400)
        text = asked_for(prompt).replace("mug", "kettle").replace("box", "crate")
        return says(text.replace("sign", "jar"))

    mended: list[bool] = []
    with ChatServer(default=reply) as server:
        asked = Asked(model="openai/m", base_url=server.base_url, concurrency=1)
        given = {"options": Options(kinds=("absent",)), "asked": asked, "out": tmp_path / "n"}
        once = make_negatives(mugs(1), **given)
        assert once.manifest["dropped"] == {"absent": {"failed": 1}}
        mended.append(True)
        then = make_negatives(mugs(1), **given)
        assert then.manifest["dropped"] == {}
        assert len(load_dataset(str(then.folder))) == 3
        assert len(server.asked) == 4


def test_a_model_checks_them(tmp_path: Path) -> None:
    def reply(prompt: str) -> Reply:
        if "outlined in red" in prompt:
            return Reply("Yes." if "box" in prompt or "open" in prompt else "<think>yes?</think>No")
        return Reply('{"bbox_2d": null}' if "says" in prompt else '{"bbox_2d": [2, 10, 18, 40]}')

    with ChatServer(default=reply) as server:
        checker = Asked(model="openai/m", base_url=server.base_url)
        options = Options(kinds=("component", "text", "state"), check="model")
        result = make_negatives(mugs(1), out=tmp_path / "n", options=options, checker=checker)
        asked = len(server.asked)
        make_negatives(mugs(1), out=tmp_path / "n", options=options, checker=checker)
        assert len(server.asked) == asked == 5
    verdicts = {one["id"]: one["checks"]["model"] for one in records(result)}
    assert verdicts == {"0a-component": "doubted", "0c-text": "rejected"}
    assert result.manifest["dropped"]["state"] == {"insisted": 1, "no-rule": 2}
    with pytest.raises(UsageError, match="checking model with --check model"):
        make_negatives(mugs(1), out=tmp_path / "x", options=Options(check="model"))


def test_what_is_specific(tmp_path: Path) -> None:
    rows = [*mugs(1).samples, sample("alone", 9, "a red mug", LEFT)]
    data = Dataset(name="d", source="d", samples=rows)
    ids = {}
    for which in ("image", "description", "both"):
        options = Options(specific=which)  # type: ignore[arg-type]
        result = make_negatives(data, out=tmp_path / which, options=options)
        ids[which] = {one["source_id"] for one in records(result)}
    assert ids["description"] == {"alone"}
    assert ids["image"] == {"0a", "0b", "0c"}
    assert ids["both"] == ids["image"] | ids["description"]


# ---- the command


def test_the_command(tmp_path: Path) -> None:
    spec = "scenes:n=8,seed=4,width=320,height=256"
    out = str(tmp_path / "n")
    run = CliRunner().invoke(main, ["negatives", spec, "-o", out, "--json", "--quiet"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    assert told["negatives"] == len(load_dataset(out)) > 0
    again = CliRunner().invoke(main, ["negatives", spec, "-o", out])
    assert again.exit_code == 0
    assert f"{told['negatives']} negatives of " in again.stdout
    assert f"groundingme mix {spec} {out}" in again.stderr
    for args, said in (
        (["--kind", "apearance"], "did you mean 'appearance'?"),
        (["--kind", "text,text"], "expected different kinds"),
        (["--model", "gpt"], "no provider is named"),
        (["--seed", "2"], "other settings"),
        (["--check", "model"], "--check model"),
        (["--temperature", "1"], "got rules"),
        (["--boxes", "nowhere.json"], "expected boxes at nowhere.json"),
    ):
        result = CliRunner().invoke(main, ["negatives", spec, "-o", out, *args])
        assert result.exit_code == 2, result.output
        assert said in result.output.splitlines()[-1]


@pytest.mark.slow
def test_real_photos(shared: Path, tmp_path: Path) -> None:
    place = shared / "assets" / "coco"
    if not place.exists():
        pytest.skip(f"needs real photos at {place}")
    there = {
        row["image"]: Counter(one["category"] for one in row["objects"])
        for row in map(json.loads, (place / "boxes.jsonl").read_text().splitlines())
    }
    source = load_dataset(str(place))
    for boxes, most in ((str(place / "boxes.jsonl"), 0.0), ("", 0.01)):
        options = Options(boxes=boxes)
        result = make_negatives(source, out=tmp_path / f"n{bool(boxes)}", options=options)
        told = records(result)
        assert len(told) > 500
        wrong = 0
        for one in told:
            image = source.find(one["source_id"]).image
            assert image is not None
            wrong += one["kind"] == "absent" and there[Path(image.name).name][one["after"]] > 0
        assert wrong <= most * len(told)
