"""Controls: which pictures a model gets, and that nothing else changes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from groundingme import controls, evaluate, score
from groundingme.alignment import image_keys
from groundingme.cli import main
from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import DataError, ImageError, UsageError
from groundingme.loading import compare, load_entry
from groundingme.models import Model, Request
from groundingme.schema import Generation

COLOURS = ("red", "lime", "blue", "yellow", "cyan")
SIZES = ((120, 80), (80, 120), (100, 100), (64, 32), (300, 20))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten samples on five pictures of one colour each."""
    folder = tmp_path / "colours"
    folder.mkdir()
    for colour, size in zip(COLOURS, SIZES, strict=True):
        Image.new("RGB", size, colour).save(folder / f"{colour}.png")
    rows = [
        {"id": f"s{at}", "image": f"{COLOURS[at % 5]}.png", "description": f"thing {at}",
         "bbox": [2, 3, 20, 19], "subtask_l1": "Spatial", "subtask_l2": "Counting",
         "width": SIZES[at % 5][0], "height": SIZES[at % 5][1]}
        for at in range(10)
    ]  # fmt: skip
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.fixture
def dataset(data: Path) -> Dataset:
    return load_dataset(str(data))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def colour(data: bytes) -> str:
    """The nearest of the five colours."""
    mean = pixels(data).reshape(-1, 3).mean(axis=0)
    known = {name: np.array(Image.new("RGB", (1, 1), name).getpixel((0, 0))) for name in COLOURS}
    return min(known, key=lambda name: float(np.abs(known[name] - mean).sum()))


class Seeing(Model):
    """Keeps what it is shown."""

    name = "mock/seeing"
    coords = "abs"

    def __init__(self) -> None:
        self.shown: dict[str, tuple[bytes, int, int]] = {}

    async def generate(self, request: Request) -> Generation:
        assert request.image
        self.shown[request.id] = (request.image.data, request.width, request.height)
        return Generation(id=request.id, text='{"bbox_2d": [2, 3, 20, 19]}')


def test_grey_is_grey_and_of_the_same_size(dataset: Dataset) -> None:
    for before, after in zip(dataset, controls.apply(dataset, "grey"), strict=True):
        assert after.image
        seen = pixels(after.image.read())
        assert seen.shape == (before.height, before.width, 3)
        assert (seen == controls.GREY).all()


@pytest.mark.parametrize("seed", range(20))
def test_no_image_stays_where_it_was(seed: int, dataset: Dataset) -> None:
    seen = {}
    for before, after in zip(dataset, controls.apply(dataset, f"shuffled:{seed}"), strict=True):
        assert before.image
        assert after.image
        data = after.image.read()
        own = Path(before.image.name).stem
        assert colour(data) != own
        assert pixels(data).shape == (before.height, before.width, 3)
        # Samples of one image share the other one, so intervals by image stay right.
        assert seen.setdefault(own, colour(data)) == colour(data)
    assert sorted(seen.values()) == sorted(COLOURS)


def test_seeds_draw_differently(dataset: Dataset) -> None:
    def drawn(control: str) -> list[str]:
        return [colour(one.image.read()) for one in controls.apply(dataset, control) if one.image]

    assert drawn("shuffled") == drawn("shuffled:0")
    assert len({tuple(drawn(f"shuffled:{seed}")) for seed in range(8)}) > 3


def test_nothing_but_the_image_changes(dataset: Dataset) -> None:
    for control in controls.CONTROLS:
        changed = controls.apply(dataset, control)
        assert changed.fingerprint == dataset.fingerprint
        for before, after in zip(dataset, changed, strict=True):
            assert (before.id, before.target, before.width, before.description) == (
                after.id, after.target, after.width, after.description,
            )  # fmt: skip
            assert before.image
            assert after.image
            assert after.image.name == before.image.name


def test_one_picture_under_two_names_is_not_another_one(data: Path) -> None:
    for name in COLOURS[1:4]:
        (data / f"{name}.png").write_bytes((data / "red.png").read_bytes())
    dataset = load_dataset(str(data))
    for before, after in zip(dataset, controls.apply(dataset, "shuffled"), strict=True):
        assert before.image
        assert after.image
        own = "cyan" if "cyan" in before.image.name else "red"
        assert colour(after.image.read()) == {"cyan": "red", "red": "cyan"}[own]


def test_a_broken_image_is_no_other_image(data: Path) -> None:
    (data / "red.png").write_bytes(b"no picture")
    dataset = load_dataset(str(data))
    for before, after in zip(dataset, controls.apply(dataset, "shuffled"), strict=True):
        assert before.image
        assert after.image
        if "red" in before.image.name:
            with pytest.raises(ImageError):
                after.image.read()
        else:
            assert colour(after.image.read()) != "red"


def test_a_run_with_a_control_is_another_run(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    first = evaluate(Seeing(), str(data), out=out)
    grey = Seeing()
    second = evaluate(grey, str(data), out=out, control="grey")
    assert first.path != second.path
    assert second.run.settings["control"] == "grey"
    assert "control" not in first.run.settings
    assert second.run.data_fingerprint == first.run.data_fingerprint
    assert len(grey.shown) == 10
    assert all((pixels(one) == controls.GREY).all() for one, _, _ in grey.shown.values())
    again = Seeing()
    assert evaluate(again, str(data), out=out, control="grey").path == second.path
    assert again.shown == {}
    third = evaluate(Seeing(), str(data), out=out, control="shuffled:0")
    assert third.run.settings["control"] == "shuffled"
    assert third.path not in (first.path, second.path)
    assert evaluate(Seeing(), str(data), out=out, control="shuffled:3").path != third.path


def test_targets_and_scores_are_of_the_data_set(data: Path, tmp_path: Path) -> None:
    for control in ("grey", "shuffled"):
        model = Seeing()
        result = evaluate(model, str(data), out=tmp_path / "runs", control=control)
        assert result.accuracy == 1.0
        assert {id: shown[1:] for id, shown in model.shown.items()} == {
            f"s{at}": SIZES[at % 5] for at in range(10)
        }
        assert result.path
        assert any(note.startswith("control: every image") for note in result.notes)
        assert any(note.startswith("control: every image") for note in score(result.path).notes)


def test_the_wrong_images_do_not_part_the_samples(data: Path, tmp_path: Path) -> None:
    """Grey pictures of one size have one digest; the samples still show five images."""
    real = evaluate(Seeing(), str(data), out=tmp_path / "runs")
    runs = [real] + [
        evaluate(Seeing(), str(data), out=tmp_path / "runs", control=one)
        for one in ("grey", "shuffled")
    ]
    wanted = [f"{COLOURS[at % 5]}.png" for at in range(10)]
    for run in runs:
        assert run.path
        keys = image_keys([load_entry(run.path)])
        pairs = dict(zip(keys, wanted, strict=True))
        assert [pairs[key] for key in keys] == wanted
        assert len(set(keys)) == 5
    found = compare([run.path for run in runs if run.path])
    assert "control=grey" in found.entries[1].label


def test_mistakes_are_told(data: Path, dataset: Dataset) -> None:
    for wrong in ("blurred", "grey:1", "shuffled:", "shuffled:x"):
        with pytest.raises(UsageError, match="expected the control grey, shuffled"):
            controls.apply(dataset, wrong)
    with pytest.raises(DataError, match="two images or more"):
        controls.apply(dataset.select(limit=1), "shuffled")


def test_the_command(data: Path, tmp_path: Path) -> None:
    words = ["eval", "baseline/center", "--data", str(data), "--control", "grey", "--quiet"]
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    assert "control: every image was replaced by even grey" in done.stdout
    refused = CliRunner().invoke(main, [*words[:-3], "--control", "sepia"])
    assert refused.exit_code == 2
    dry = CliRunner().invoke(main, [*words[:-1], "--dry-run"])
    assert dry.exit_code == 0, dry.output
