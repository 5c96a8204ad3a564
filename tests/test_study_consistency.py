"""The study of consistency: models whose answers are known, and every change by its pixels."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from groundingme.cli import main
from groundingme.datasets import Dataset
from groundingme.models import load_model
from groundingme.models.mock import Mock
from groundingme.schema import Sample
from groundingme.studies import STUDIES, running
from groundingme.studies.inpainting import removed
from groundingme.studies.mirroring import mirrored
from groundingme.studies.rewording import reworded
from groundingme.studies.study import Outcome, Setting
from groundingme.studies.transforming import CHANGES
from groundingme.studies.views import View, clipped, view_of
from squares import COLORS, Eyes, first, picture, seen, squares

KINDS = {one.name: one for one in CHANGES}


def studied(
    folder: Path, *models: Any, data: Dataset | None = None, boxes: str = "truth"
) -> Outcome:
    setting = Setting(models=models, datasets=[data or squares(4)], folder=folder,
                      knobs={"boxes": boxes})  # fmt: skip
    return running.run(STUDIES.get("consistency"), setting)


def shares(outcome: Outcome, model: str) -> dict[str, float]:
    return {name: span.value for name, span in outcome.values["changes"][model].items()}


def test_a_perfect_model_is_consistent_and_one_deaf_to_sides_fails_the_flip_alone(
    tmp_path: Path,
) -> None:
    outcome = studied(tmp_path, Eyes(), Eyes("deaf", first))
    assert shares(outcome, "eyes/perfect") == dict.fromkeys(KINDS, 1.0)
    deaf = shares(outcome, "eyes/deaf")
    # Two of five descriptions name a side.
    assert deaf.pop("flipped") == pytest.approx(3 / 5)
    assert set(deaf.values()) == {1.0}
    subtasks = outcome.values["subtasks"]["eyes/deaf"]
    assert subtasks["Discriminative/Appearance"].value == 1.0
    assert subtasks["Spatial/Relationship"].value < 1.0
    assert "eyes/perfect keeps its answer under 100.0" in outcome.finding
    assert "equally under every kind" in outcome.finding
    assert "eyes/deaf" in outcome.finding


def test_baselines_fail_what_they_cannot_know(tmp_path: Path) -> None:
    outcome = studied(tmp_path, load_model("baseline/center"), load_model("baseline/null"))
    center = shares(outcome, "baseline/center")
    kept = ("flipped", "scaled", "recompressed", "asked again")
    assert {center[name] for name in kept} == {1.0}
    assert {center[name] for name in ("cropped", "padded", "cropped away", "removed")} == {0.0}
    # Never to answer is consistent, and the page says that it is not right.
    assert set(shares(outcome, "baseline/null").values()) == {1.0}
    assert "always rejects" in outcome.tables[2].note


def test_no_labels_are_needed(tmp_path: Path) -> None:
    outcome = studied(tmp_path, Eyes(), data=squares(4, labels=False), boxes="own")
    assert shares(outcome, "eyes/perfect") == dict.fromkeys(KINDS, 1.0)
    assert list(outcome.values["subtasks"]["eyes/perfect"]) == ["all"]
    counts = {row[0]: row[2] for row in outcome.tables[0].rows}
    # "On the left" is no more where a thing was taken away; blue and yellow are.
    assert counts["removed"] == counts["cropped away"] == 8
    # With true boxes alone there is nothing that could be taken away.
    without = studied(tmp_path / "truth", Eyes(), data=squares(4, labels=False))
    assert "removed" not in shares(without, "eyes/perfect")


def test_a_stubborn_model_is_found_out_by_what_is_taken_away(tmp_path: Path) -> None:
    kept = {one.id: json.dumps({"bbox_2d": one.target}) for one in squares(2)}
    stubborn = Mock("stubborn", script=lambda request: kept[request.id.partition("~")[0]])
    found = shares(studied(tmp_path, stubborn, data=squares(2)), stubborn.name)
    assert found["removed"] == found["cropped away"] == 0.0
    assert found["paraphrased"] == found["recompressed"] == 1.0


def test_what_nobody_can_read_agrees_with_nothing_and_stays_in_the_count(tmp_path: Path) -> None:
    data = squares(2)
    broken = msgspec.structs.replace(data.samples[0], id="broken", problem="no such picture")
    data = Dataset(name="squares", source="test", samples=[*data.samples, broken])
    mute = Mock("mute", script=lambda request: "I see squares")
    outcome = running.run(
        STUDIES.get("consistency"),
        Setting(models=[mute], datasets=[data], folder=tmp_path, knobs={"boxes": "truth"},
                asking={"max_failed": 0.2}),
    )  # fmt: skip
    assert set(shares(outcome, mute.name).values()) == {0.0}
    assert {row[0]: row[2] for row in outcome.tables[0].rows}["asked again"] == 11


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("the third red mug from the left", "the third red mug from the right"),
        ("the dog left of the man", "the dog right of the man"),
        ("a lamp on the right side of the bed, right behind it",
         "a lamp on the left side of the bed, right behind it"),
        ("The rightmost chair", "The leftmost chair"),
        ("his left hand", "his right hand"),
        ("the right-hand door", "the left-hand door"),
        ("man, left", "man, right"),
        ("bottom left corner", "bottom right corner"),
        ("Left of the car.", "Right of the car."),
        ("the car that is cut off at the left edge", "the car that is cut off at the right edge"),
        ("the upright lamp by the bright sign", "the upright lamp by the bright sign"),
        ("the leftover pizza", "the leftover pizza"),
        ("the left-over pizza", "the left-over pizza"),
        ("a book left open on the table", "a book left open on the table"),
        ("the mug right next to the lamp", "the mug right next to the lamp"),
        ("two planks at a right angle", "two planks at a right angle"),
        ("the one the right way up", "the one the right way up"),
        ("the man left on the pier", None),
        ("the man who left the room", None),
        ('the sign that says "left"', None),
        ("the jersey with the number seven", None),
        ("the red mug", "the red mug"),
    ],
)  # fmt: skip
def test_mirrored_words(said: str, expected: str | None) -> None:
    assert mirrored(said) == expected
    if expected is not None:
        assert mirrored(expected) == said


def test_paraphrases_leave_quotes_alone_and_mind_the_article() -> None:
    assert reworded('the sign that says "largest"') is None
    assert reworded("A spotted mug. It is closed.") == "The dotted mug. It is shut."
    assert reworded("the largest bike left of the sofa") == (
        "the biggest bicycle on the left side of the couch"
    )


def sample(said: str, **settings: Any) -> Sample:
    image = picture("a.png", [("red", (40, 30, 100, 80)), ("blue", (200, 150, 230, 190))])
    return Sample(id="a", description=said, target=(40.0, 30.0, 100.0, 80.0), width=320, height=240,
                  image=image, **settings)  # fmt: skip


@pytest.mark.parametrize("name", ["flipped", "scaled", "padded", "cropped", "recompressed"])
def test_every_picture_shows_the_target_where_the_map_says(name: str) -> None:
    for seed in range(5):
        made = KINDS[name].make(sample("the red thing"), (40, 30, 100, 80), random.Random(seed))
        assert made is not None
        assert made.image is not None
        pixels = np.asarray(Image.open(io.BytesIO(made.image.read())).convert("RGB"))
        assert pixels.shape[:2] == (made.height, made.width)
        assert made.target == pytest.approx(seen(pixels, "red")[0], abs=1.01)
        view = view_of(made)
        assert view is not None
        assert view.back(made.target or (0, 0, 0, 0)) == pytest.approx((40, 30, 100, 80))


@pytest.mark.parametrize("name", ["cropped away", "removed"])
def test_what_is_taken_away_is_gone_and_the_rest_is_there(name: str) -> None:
    made = KINDS[name].make(sample("the red thing"), (40, 30, 100, 80), random.Random(0))
    assert made is not None
    assert made.image is not None
    assert made.target is None
    pixels = np.asarray(Image.open(io.BytesIO(made.image.read())).convert("RGB"))
    assert not seen(pixels, "red")
    assert seen(pixels, "blue")


def test_changes_do_not_apply_where_nothing_is_known_of_the_answer() -> None:
    def applies(name: str, said: str, **settings: Any) -> bool:
        one = sample(said, **settings)
        return KINDS[name].make(one, one.target, random.Random(0)) is not None

    assert not applies("removed", "the largest mug")
    assert not applies("removed", "the second mug from the left")
    assert applies("removed", "the chest of drawers to the left of the lamp")
    assert not applies("cropped", "the mug to the left of the lamp")
    assert not applies("padded", "the mug in the corner")
    assert not applies("flipped", "the mug", subtask_l1="Rejection", subtask_l2="Text")
    assert KINDS["removed"].make(sample("the mug"), None, random.Random(0)) is None
    assert KINDS["removed"].make(sample("the sky"), (0, 0, 320, 200), random.Random(0)) is None


def test_an_answer_outside_the_window_is_not_compared() -> None:
    assert clipped((0, 0, 10, 10), (6, 0, 20, 20)) is None
    assert clipped((0, 0, 10, 10), (4, 0, 20, 20)) == (4, 0, 10, 10)
    view = View(window=(10, 0, 20, 10), place=(0, 0, 20, 40), size=(20, 40), mirrored=True)
    assert view.forward((12, 1, 15, 2)) == (10, 4, 16, 8)
    assert view.back((10, 4, 16, 8)) == (12, 1, 15, 2)


def test_the_fill_continues_what_surrounds_it() -> None:
    across, down = np.meshgrid(np.arange(160.0), np.arange(120.0))
    slope = np.stack([40 + across, 30 + 1.5 * down, 200 - across / 2], axis=2)
    whole = Image.fromarray(slope.round().astype(np.uint8))
    holed = whole.copy()
    holed.paste(COLORS["red"], (50, 40, 100, 90))
    filled = np.asarray(removed(holed, (50, 40, 100, 90)), float)
    assert np.abs(filled - slope).max() < 3
    # At the frame there is nothing to continue from on one side.
    edge = np.asarray(removed(holed, (0, 40, 100, 90)), float)
    assert np.abs(edge[:, 110:] - slope[:, 110:]).max() < 1
    assert not seen(edge, "red")
    assert np.unique(np.asarray(removed(holed, (0, 0, 160, 120)))).tolist() == [128]


@pytest.mark.slow
def test_the_demonstration(tmp_path: Path) -> None:
    command = ["study", "consistency", "--data", "scenes:seed=11,n=24", "--out", str(tmp_path),
               "--quiet", "--json"]  # fmt: skip
    first_run = CliRunner().invoke(main, command)
    assert first_run.exit_code == 0, first_run.output
    found = json.loads(first_run.stdout)
    again = found["values"]["changes"]["builtin/grounder"]["asked again"]
    assert again["value"] == 1.0
    for name in ("study.json", "figure.svg", "study.html", "plan.json"):
        assert (tmp_path / "consistency" / name).stat().st_size > 500
    # Asked with its own answers, the runs with true boxes are no part of it.
    own = CliRunner().invoke(main, [*command, "--set", "boxes=own"])
    assert own.exit_code == 0, own.output
    conditions = json.loads((tmp_path / "consistency" / "plan.json").read_text())["conditions"]
    assert any(one["data"].endswith("removed-own-0") for one in conditions)
