"""The pipeline on real pictures: killed, changed, broken, repaired; the same bytes in the end."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from groundingme.build import config as configuration
from groundingme.build.pipeline import Build
from groundingme.build.sources import list_pictures
from groundingme.build.stages import SECTIONS, STAGES
from groundingme.build.tally import Silent, Tally
from groundingme.build.template import TEMPLATE
from groundingme.cli import main
from groundingme.datasets import load_dataset

PICTURES = 40

CONFIG = """\
seed = 3
shard = 8
[source]
path = "{photos}"
[dedupe]
distance = 0
[detect]
by = "file"
path = "{boxes}"
[filter]
min_instances = 2
[sort]
min_instances = 3
crowded = 4
[select]
per_subtask = {{ "Spatial/Counting" = 12, "Spatial/Relationship" = 12, "Limited/Occlusion" = 4 }}
[describe]
by = "rules"
[publish]
name = "drawn"
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos of rectangles, their boxes in a file, and a configuration."""
    place = tmp_path_factory.mktemp("source")
    (place / "photos").mkdir()
    draw = random.Random(7)
    with (place / "boxes.jsonl").open("w") as file:
        for number in range(PICTURES):
            image = Image.new("RGB", (320, 240), "#cfd8e3")
            pen = ImageDraw.Draw(image)
            boxes = []
            for at in range(draw.randint(4, 9)):
                x, y = 30 * at + draw.randint(0, 8), draw.randint(0, 180)
                box = [x, y, x + draw.randint(14, 26), y + draw.randint(14, 50)]
                pen.rectangle(box, fill=draw.choice(["#b42318", "#175cd3", "#027a48"]))
                boxes.append({"bbox": box, "label": draw.choice(["cup", "cup", "box"])})
            name = f"{number:03}.png"
            image.save(place / "photos" / name)
            file.write(json.dumps({"image": name, "objects": boxes}) + "\n")
    text = CONFIG.format(photos=place / "photos", boxes=place / "boxes.jsonl")
    (place / "build.toml").write_text(text)
    return place


def build(source: Path, work: Path, *overrides: str) -> Build:
    loaded = configuration.load(source / "build.toml", SECTIONS, overrides)
    return Build(loaded, work, STAGES, list_pictures)


def content(work: Path) -> dict[str, bytes]:
    """Every file of a build that says something, by its place."""
    found = {}
    for path in sorted(work.rglob("*")):
        inner = path.relative_to(work)
        if path.is_file() and inner.name not in (".lock", "done"):
            found[str(inner)] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted build leaves."""
    work = tmp_path_factory.mktemp("whole")
    build(source, work).run()
    return content(work)


def test_it_ends_in_a_data_set_and_every_picture_is_counted(source: Path, tmp_path: Path) -> None:
    mine = build(source, tmp_path)
    last = mine.run()
    dataset = load_dataset(str(last.folder / "data"))
    assert 5 <= len(dataset) <= 28
    assert all(one.target and one.description and one.image for one in dataset)
    for place, tally, _ in mine.tallies("select"):
        assert tally.records == PICTURES, place.name
        assert tally.records >= sum(tally.reasons.values())
    filtered = mine.tally("filter")
    suppressed = mine.tally("suppress")
    assert sum(filtered.boxes.values()) == sum(suppressed.boxes.values())
    published = mine.tally("publish")
    assert published.records - sum(published.reasons.values()) == len(dataset)


def test_a_second_run_does_nothing(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path).run()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    build(source, tmp_path).run()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before


def test_several_workers_leave_the_same_bytes(
    source: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    build(source, tmp_path).run(workers=2)
    assert content(tmp_path) == whole


def test_stopped_after_any_stage_it_goes_on_to_the_same_bytes(
    source: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    for name in STAGES:
        if name in build(source, tmp_path).places:
            build(source, tmp_path).run(to=name)
    assert content(tmp_path) == whole


def test_shards_that_are_missing_are_made_again_and_no_others(
    source: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    mine = build(source, tmp_path)
    mine.run()
    # As a kill in the middle of a stage leaves it: some shards, a half one, nothing behind it.
    for name in ("suppress", "filter", "sort", "select", "describe", "publish"):
        (mine.places[name].folder / "done").unlink()
    shards = mine.places["suppress"].shards()
    stays = shards[0].stat().st_mtime_ns
    for path in shards[2:]:
        path.unlink()
    (mine.places["suppress"].folder / f".{shards[2].name}.999").write_bytes(b"PAR1 half")
    build(source, tmp_path).run()
    assert shards[0].stat().st_mtime_ns == stays
    assert content(tmp_path) == whole


def test_a_changed_option_makes_its_stage_and_the_later_ones_anew(
    source: Path, tmp_path: Path
) -> None:
    first = build(source, tmp_path)
    first.run()
    second = build(source, tmp_path, "suppress.policy=none")
    second.run()
    same = [name for name in first.places if first.places[name] == second.places[name]]
    assert same == ["list", "source", "dedupe", "detect"]
    assert all(place.is_done for place in [*first.places.values(), *second.places.values()])


def test_a_changed_file_that_an_option_names_makes_its_stage_anew(
    source: Path, tmp_path: Path
) -> None:
    boxes = tmp_path / "boxes.jsonl"
    boxes.write_bytes((source / "boxes.jsonl").read_bytes())
    key = build(source, tmp_path, f"detect.path={boxes}").places["detect"].key
    boxes.write_text(boxes.read_text().replace('"cup"', '"mug"'))
    assert build(source, tmp_path, f"detect.path={boxes}").places["detect"].key != key


def test_a_broken_picture_is_counted_and_tried_again_when_asked(
    source: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((source / "photos").iterdir()):
        (photos / path.name).write_bytes(path.read_bytes())
    good = (photos / "003.png").read_bytes()
    (photos / "003.png").write_bytes(good[:200])
    told = (f"source.path={photos}",)
    mine = build(source, tmp_path / "work", *told)
    mine.run()
    assert mine.tally("source").reasons == {"failed": 1}
    assert mine.tally("detect").records == PICTURES
    (photos / "003.png").write_bytes(good)
    build(source, tmp_path / "work", *told).run()
    assert mine.tally("source").reasons == {"failed": 1}
    kept = mine.places["source"].shards()[1].stat().st_mtime_ns
    build(source, tmp_path / "work", *told).run(retry_failed=True)
    assert mine.tally("source").reasons == {}
    assert mine.places["source"].shards()[1].stat().st_mtime_ns == kept
    unbroken = build(source, tmp_path / "other", *told)
    unbroken.run()
    assert content(tmp_path / "work") == content(tmp_path / "other")


def test_a_stage_that_fails_on_a_shard_keeps_the_others(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundingme.build.boxes import SuppressOptions, make_suppress
    from groundingme.build.records import Picture
    from groundingme.build.stage import Each, PictureWork
    from groundingme.errors import JobError

    def make(options: SuppressOptions, seed: int) -> PictureWork:
        work = make_suppress(options, seed)

        def fails(pictures: list[Picture]) -> list[Picture]:
            if pictures[0].id == "008.png":
                raise MemoryError("no room")
            return work(pictures)

        return fails

    with monkeypatch.context() as patch:
        patch.setitem(STAGES, "suppress", Each(SuppressOptions, make, ""))
        with pytest.raises(JobError, match=r"1 of 5 shards of suppress could not be done.*no room"):
            build(source, tmp_path).run()
    mine = build(source, tmp_path)
    assert len(mine.places["suppress"].shards()) == 4
    assert mine.run().name == "publish"


def test_a_damaged_shard_is_named_and_made_again_when_it_is_removed(
    source: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    from groundingme.errors import DataError

    mine = build(source, tmp_path)
    mine.run(to="detect")
    broken = mine.places["detect"].shards()[1]
    broken.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=rf"{broken}.*delete the file and run again"):
        mine.run()
    broken.unlink()
    mine.run()
    assert content(tmp_path) == whole


def test_a_stage_after_which_nothing_goes_on_ends_the_build(source: Path, tmp_path: Path) -> None:
    from groundingme.errors import JobError

    with pytest.raises(JobError, match="go on after filter, got none of 40: 40 no-target"):
        build(source, tmp_path, "filter.min_instances=30").run()


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.output


def test_a_mistake_in_the_configuration_starts_nothing(source: Path, tmp_path: Path) -> None:
    path, work = tmp_path / "build.toml", tmp_path / "work"
    path.write_text((source / "build.toml").read_text().replace("crowded = 4", "crowdde = 4"))
    code, said = command("build", "run", str(path), "--work", str(work))
    assert code == 2
    line = path.read_text().splitlines().index("crowdde = 4") + 1
    assert f"line {line}, sort.crowdde: no key is named 'crowdde'; did you mean 'crowded'?" in said
    assert not work.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "expected CONFIG or --images"),
        (("run", "no.toml"), "got no file; groundingme build init writes"),
        (("runn",), "No such command"),
        (("run", "{config}", "--to", "verify"), "expected a stage of this configuration"),
        (("run", "--images", "no-such-folder", "--set", "detect.by=file", "--set",
          "detect.path={config}"), "no-such-folder"),
        (("look", "{config}", "--work", "nothing-here"), "got none; groundingme build run first"),
    ],
)  # fmt: skip
def test_mistakes_on_the_command_line(
    source: Path, tmp_path: Path, arguments: tuple[str, ...], said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, output = command(
        "build", *(one.format(config=source / "build.toml") for one in arguments)
    )
    assert code == 2, output
    assert said in output


def test_flags_alone_do_it(source: Path, tmp_path: Path) -> None:
    code, said = command(
        "build", "detect", "--images", str(source / "photos"), "--work", str(tmp_path / "w"),
        "--set", "detect.by=file", "--set", f"detect.path={source / 'boxes.jsonl'}",
    )  # fmt: skip
    assert code == 0, said
    rows = [line.split() for line in said.splitlines()]
    assert ["detect", str(PICTURES), str(PICTURES)] in [row[:3] for row in rows]


def test_status_and_look(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path / "w").run()
    place = (str(source / "build.toml"), "--work", str(tmp_path / "w"))
    code, said = command("build", "status", *place, "--json")
    assert code == 0
    told = json.loads(said)
    assert told["source"]["records"] == PICTURES
    assert all(stage["done"] for stage in told.values())
    for stage in ("detect", "filter", "describe"):
        out = tmp_path / f"{stage}.png"
        code, said = command("build", "look", *place, "--stage", stage, "--out", str(out))
        assert code == 0, said
        with Image.open(out) as picture:
            assert picture.width > 400
    out = tmp_path / "policies.png"
    code, said = command("build", "look", *place, "--policies", "--out", str(out))
    assert code == 0, said
    assert out.exists()
    code, said = command("build", "look", *place, "--policies", "--picture", "no-such")
    assert code == 2
    assert "expected the picture 'no-such'" in said
    code, said = command("build", "look", *place, "--stage", "dedupe", "--dropped")
    assert code == 2
    assert "got none; show others" in said


def test_clean_removes_earlier_settings_alone(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path, "suppress.policy=none").run()
    mine = build(source, tmp_path)
    mine.run()
    kept = content(tmp_path / mine.places["publish"].folder.name)
    code, said = command("build", "clean", str(source / "build.toml"), "--work", str(tmp_path))
    assert code == 0
    assert len(said.split()) == 6
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert folders == {place.folder.name for place in mine.places.values()}
    assert content(tmp_path / mine.places["publish"].folder.name) == kept


def test_init_writes_a_configuration_whose_defaults_are_true(tmp_path: Path) -> None:
    path = tmp_path / "build.toml"
    assert command("build", "init", str(path))[0] == 0
    assert path.read_text() == TEMPLATE
    plain = configuration.load(path, SECTIONS).sections
    assert command("build", "init", str(path))[0] == 2
    # Every default that stands behind a sign is what the section has without it.
    section = ""
    for line in TEMPLATE.splitlines():
        if line.startswith("["):
            section = line.strip("[]").partition("]")[0]
        name, equals, _ = line.removeprefix("# ").partition(" = ")
        options = plain.get(section)
        if not line.startswith("# ") or not equals or options is None or " " in name:
            continue
        if name in (
            "by",
            "model",
            "base_url",
            "models",
            "license",
            "layouts",
            "limit",
            "per_class",
        ):
            continue
        value = line.removeprefix("# ").split(" #")[0].split("=", 1)[1].strip()
        told = configuration.load(path, SECTIONS, [f"{section}.{name}={value}"]).sections[section]
        known = getattr(options, name, None)
        assert known is None or getattr(told, name) == known, line


@pytest.fixture
def running(source: Path, tmp_path: Path) -> list[str]:
    return [
        sys.executable, "-m", "groundingme", "build", "run", str(source / "build.toml"),
        "--work", str(tmp_path),
    ]  # fmt: skip


def test_killed_at_random_it_ends_with_the_same_bytes(
    running: list[str], tmp_path: Path, whole: dict[str, bytes]
) -> None:
    draw = random.Random(11)
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(running, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until = time.monotonic() + draw.uniform(0.4, 2.0)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills
    done = subprocess.run(running, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path) == whole


DIES = """
import os, pathlib, sys
from groundingme.cli import main

left, replace = int(sys.argv.pop(1)), pathlib.Path.replace

def dies(self, target):
    global left
    left -= 1
    if not left:
        os._exit(9)
    return replace(self, target)

pathlib.Path.replace = dies
main()
"""


@pytest.mark.parametrize("step", [1, 2, 13])
def test_killed_before_a_file_takes_its_name_it_leaves_no_half_one(
    running: list[str], source: Path, tmp_path: Path, whole: dict[str, bytes], step: int
) -> None:
    told = [sys.executable, "-c", DIES, *running[3:]]
    told.insert(3, str(step))
    died = 0
    while subprocess.run(told, capture_output=True, check=False).returncode == 9:
        died += 1
        assert any(path.name.rpartition(".")[2].isdigit() for path in tmp_path.rglob(".*.*"))
        if died == 4:
            break
    assert died
    build(source, tmp_path).run()
    assert content(tmp_path) == whole


def test_a_folder_of_a_data_set_killed_before_its_mark_is_used_again(
    source: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    last = build(source, tmp_path).run()
    (last.folder / "done").unlink()
    data = last.folder / "data"
    shutil.rmtree(data)
    data.mkdir()
    (data / "..groundingme-export.json.4711").write_text('{"finger')
    (last.folder / "00000.parquet").unlink()
    build(source, tmp_path).run()
    assert content(tmp_path) == whole


def test_a_second_process_changes_nothing_of_the_first(source: Path, tmp_path: Path) -> None:
    import filelock

    from groundingme.errors import RunError

    build(source, tmp_path).run(to="list")
    before = content(tmp_path)
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(RunError, match="another process"):
        build(source, tmp_path, "seed=4").run()
    assert content(tmp_path) == before


def test_a_second_process_is_told_who_works_there(
    source: Path, tmp_path: Path, running: list[str]
) -> None:
    import filelock

    tmp_path.mkdir(exist_ok=True)
    with filelock.FileLock(tmp_path / ".lock"):
        done = subprocess.run(running, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "another process builds; wait for it, or name another with --work" in done.stderr


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    found = pytest.importorskip("ray", reason='needs ray: pip install "groundingme[ray]"')
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield found
    found.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_leaves_the_same_bytes(
    ray: Any, source: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    build(source, tmp_path).run(engine="ray", workers=2)
    assert content(tmp_path) == whole


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_node_that_goes_in_the_middle_loses_nothing(
    ray: Any, source: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        node = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes(timeout=300)
        ray.init(address=cluster.address, log_to_driver=False)
        gone = threading.Event()

        class Watch(Silent):
            """Takes the node away when the first shard of the first stage is there."""

            def update(self, tally: Tally) -> None:
                if self.stage == "source" and not gone.is_set():
                    gone.set()
                    cluster.remove_node(node, allow_graceful=False)

            def start(self, stage: str, shards: int, done: int) -> None:
                self.stage = stage

        mine = build(source, tmp_path)
        mine.watcher = Watch()
        mine.run(engine="ray", workers=2)
        assert gone.is_set()
        assert content(tmp_path) == whole
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_the_datasets_library_reads_what_is_published(source: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    data = build(source, tmp_path / "w").run().folder / "data"
    there = datasets.load_dataset(str(data), split="test", cache_dir=str(tmp_path / "cache"))
    mine = load_dataset(str(data))
    assert [row["description"] for row in there] == [one.description for one in mine]
    assert [tuple(row["bbox"]) for row in there] == [one.target for one in mine]
    assert all(row["image"].size == (row["width"], row["height"]) for row in there)


def test_it_scores_the_same_in_every_layout_that_is_read(source: Path, tmp_path: Path) -> None:
    from groundingme import evaluate

    last = build(source, tmp_path / "w", 'publish.layouts=["folder", "tsv"]').run()
    found = {
        layout: evaluate("baseline/center", str(last.folder / layout), out=tmp_path / layout)
        for layout in ("data", "folder", "tsv")
    }
    rows = {
        name: dict(zip(result.scores.ids, result.scores.ious.tolist(), strict=True))
        for name, result in found.items()
    }
    assert rows["data"] == rows["folder"] == rows["tsv"]
    assert max(rows["data"].values()) > 0
