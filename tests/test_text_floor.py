"""The text floor: what descriptions alone give away, and whom it warns of."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from groundingme import text_floor
from groundingme.cli import main
from groundingme.errors import DataError
from groundingme.loading import load_entry
from groundingme.report import floor as report_floor
from groundingme.report.contents import gather
from groundingme.schema import Sample
from reported import make_data, make_runs

NOUNS = ("cup", "lamp", "dog", "chair", "sign", "bottle", "hat", "car", "plate", "tree")
COLOURS = ("red", "green", "blue", "white", "black", "yellow", "brown", "grey")


def samples(count: int, *, leak: float, seed: int = 0) -> tuple[list[Sample], list[str]]:
    """Descriptions of which every third matches nothing; a share of those says "without"."""
    rng = random.Random(seed)
    found, groups = [], []
    for at in range(count):
        negative = at % 3 == 0
        text = f"the {rng.choice(COLOURS)} {rng.choice(NOUNS)} beside the {rng.choice(NOUNS)}"
        if negative and rng.random() < leak:
            text += " without a handle"
        l1 = "Rejection" if negative else rng.choice(("Discriminative", "Spatial"))
        found.append(
            Sample(id=str(at), description=text, target=None if negative else (0, 0, 9, 9),
                   subtask_l1=l1, subtask_l2="Text")
        )  # fmt: skip
        groups.append(f"image {at // 2}")
    return found, groups


def test_fit_is_logistic_regression() -> None:
    """Against scikit-learn, on the same columns."""
    made, _ = samples(90, leak=0.5)
    rows = text_floor.features([one.description for one in made])
    rows = np.hstack([rows, np.ones((len(rows), 1))]).astype(np.float64)
    truth = np.array([one.target is None for one in made])
    for c in (0.1, 10.0):
        weights = text_floor.fit(rows @ rows.T, truth, c=c)
        other = LogisticRegression(C=c, fit_intercept=False, tol=1e-10, max_iter=5000)
        other.fit(rows, truth)
        ours = rows @ (rows.T @ weights)
        assert ours == pytest.approx(other.decision_function(rows), abs=1e-4)


def test_features_are_of_length_one() -> None:
    rows = text_floor.features(["the red cup", "the red cup", "", "ein Häuschen 物体"])
    lengths = np.linalg.norm(rows, axis=1)
    assert lengths == pytest.approx([1, 1, 0, 1], abs=1e-5)
    assert (rows[0] == rows[1]).all()
    assert (rows >= 0).all()


def test_a_giveaway_is_found_and_its_absence_too() -> None:
    given = text_floor.text_floor(*samples(300, leak=1.0))
    assert given.auroc.value > 0.99
    assert given.matched.value > 0.99
    assert (given.samples, given.negatives, given.images) == (300, 100, 150)
    half = text_floor.text_floor(*samples(300, leak=0.5))
    assert 0.6 < half.auroc.value < 0.9
    assert half.auroc.low < half.auroc.value < half.auroc.high
    nothing = text_floor.text_floor(*samples(300, leak=0.0))
    assert nothing.auroc.low < 0.5 < nothing.auroc.high
    assert nothing.auroc.high < 0.65


def test_no_image_is_in_two_folds() -> None:
    """A word that only one image has tells nothing of that image's other samples.

    Split at random, each description would find its twin and be guessed right.
    """
    rng = random.Random(1)
    made, groups = [], []
    for image in range(150):
        negative = rng.random() < 0.4
        for copy in range(2):
            made.append(
                Sample(id=f"{image} {copy}", description=f"zq{image}x{image * 7} thing",
                       target=None if negative else (0, 0, 1, 1))
            )  # fmt: skip
            groups.append(image)
    truth = np.array([one.target is None for one in made])
    apart = text_floor.text_floor(made, groups)
    assert apart.auroc.value < 0.65
    mixed = text_floor.suspicions(
        [one.description for one in made], truth, np.arange(len(made)), seed=0
    )
    from groundingme.selective import auroc

    assert float(auroc(mixed, truth)) > 0.9


def test_the_same_seed_gives_the_same_figures() -> None:
    made = samples(120, leak=0.5)
    one, two = text_floor.text_floor(*made), text_floor.text_floor(*made)
    assert text_floor.as_dict(one) == text_floor.as_dict(two)
    assert (text_floor.guess(*made) == text_floor.guess(*made)).all()


def test_too_little_to_say_anything() -> None:
    with pytest.raises(DataError, match="20 samples or more with a match, and as many without"):
        text_floor.text_floor(*samples(50, leak=1.0))
    made, _ = samples(300, leak=1.0)
    with pytest.raises(DataError, match="on 5 images, got 200 and 100 on 1"):
        text_floor.text_floor(made, ["one"] * 300)


def test_large_sets_are_sampled_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_floor, "MOST", 200)
    made, groups = samples(900, leak=1.0)
    found = text_floor.text_floor(made, groups)
    assert found.samples == 200
    assert found.images == 100
    read = ~np.isnan(text_floor.guess(made, groups))
    assert int(read.sum()) == 200
    assert all(read[at] == read[at + 1] for at in range(0, 900, 2))
    assert "drawn from 900 samples" in " ".join(text_floor.sentences(found, total=900))


def test_verdict_by_hand() -> None:
    """Ten samples; the text ranks the negatives 9, 7, 5 and the positives 8, 6, 4, 3, 2, 1, 0."""
    negatives = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=bool)
    suspicion = np.array([9, 7, 5, 8, 6, 4, 3, 2, 1, 0], dtype=float)
    clusters = np.arange(10)
    # The model spends one false rejection, so the line lies between 8 and 6: 9 and 7 are caught.
    model = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1], dtype=bool)
    found = text_floor.verdict(suspicion, negatives, model, clusters)
    assert found.model == pytest.approx(1 / 3)
    assert found.text == pytest.approx(2 / 3)
    assert found.false == pytest.approx(1 / 7)
    assert found.difference.value == pytest.approx(-1 / 3)
    assert not found.beats
    # None spent: the line is at 8. All spent: everything is rejected.
    assert text_floor.verdict(suspicion, negatives, np.zeros(10, bool), clusters).text == (
        pytest.approx(1 / 3)
    )
    always = text_floor.verdict(suspicion, negatives, np.ones(10, bool), clusters)
    assert (always.model, always.text) == (1.0, 1.0)
    assert not always.beats


def test_who_looks_beats_the_floor() -> None:
    made, groups = samples(300, leak=0.3)
    guesses = text_floor.guess(made, groups)
    truth = np.array([one.target is None for one in made])
    clusters = np.array([at // 2 for at in range(300)])
    assert text_floor.verdict(guesses, truth, truth, clusters).beats
    # Who rejects by the word alone does as the classifier does.
    reads = np.array(["without" in one.description for one in made])
    assert not text_floor.verdict(guesses, truth, reads, clusters).beats


def test_the_report_warns(tmp_path: Path) -> None:
    """`careful` rejects 20 of 24 by looking; `eager` rejects nothing."""
    runs = make_runs(make_data(tmp_path / "pointing"))
    contents = gather([load_entry(one) for one in runs])
    said = report_floor.warnings(contents)
    assert [one.split(" does not")[0] for one in said] == ["mock/eager"]
    assert "it rejects 0.0\u00a0% of what matches nothing" in said[0]
    from groundingme.report.findings import findings

    assert said[0] in [one.text for one in findings(contents)]


def write(folder: Path, made: list[Sample]) -> Path:
    folder.mkdir()
    rows = [
        {"id": one.id, "image": f"{int(one.id) // 2}.png", "description": one.description,
         "bbox": one.target, "subtask_l1": one.subtask_l1, "subtask_l2": one.subtask_l2}
        for one in made
    ]  # fmt: skip
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def test_the_command(tmp_path: Path) -> None:
    """No image is needed: the data set has the names of some that are not there."""
    data = write(tmp_path / "leaky", samples(300, leak=1.0)[0])
    done = CliRunner().invoke(main, ["data", "floor", str(data)])
    assert done.exit_code == 0, done.output
    assert "300 samples (100 match nothing) of 150 images" in done.stdout
    assert "can be guessed without an image" in done.stdout
    read = json.loads(CliRunner().invoke(main, ["data", "floor", str(data), "--json"]).stdout)
    assert read["auroc"] > 0.99
    assert read["auroc_low"] <= read["auroc"] <= read["auroc_high"]
    fair = write(tmp_path / "fair", samples(300, leak=0.0)[0])
    told = CliRunner().invoke(main, ["data", "floor", str(fair), "--no-images"])
    assert "does not show that the text gives anything away" in told.stdout
    refused = CliRunner().invoke(main, ["data", "floor", str(data), "--subset", "Rejection"])
    assert refused.exit_code == 2
    assert "the text floor needs both kinds" in refused.output
