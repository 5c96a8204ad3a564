"""The study of presence: promises kept in simulation, worked examples, models of known odds."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from groundingme.cli import main
from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.models import Model, Request, load_model
from groundingme.schema import Generation, Sample
from groundingme.studies import STUDIES, conformal, running
from groundingme.studies.absence import halves, null_share
from groundingme.studies.conformal import METHODS, losses, p_value, threshold
from groundingme.studies.presence import KNOBS
from groundingme.studies.study import Outcome, Setting

DRAWS = 1000


def uniform_risks(method: str, n: int, rate: float, delta: float = 0.1) -> np.ndarray:
    """True losses at thresholds from n even scores: rejecting above t loses 1 - t."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(DRAWS):
        table = losses(rng.random(n), [False] * n, range(n))
        found.append(1 - min(1.0, threshold(table, method, rate, delta)))
    return np.array(found)


def tail(hits: int, n: int, p: float) -> float:
    """Of the binomial distribution."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(hits + 1))


def test_split_conformal_by_hand() -> None:
    """Of 99 scores the 95th is the bound at 5 %, ceil(100 * 0.95), and what is above goes."""
    table = losses(range(1, 100), [False] * 99, range(99))
    assert threshold(table, "conformal", 0.05) == 95
    # ceil(99 * 0.95) is 95 of 98, and ceil(20 * 0.95) the last of 19.
    assert threshold(losses(range(1, 99), [False] * 98, range(98)), "conformal", 0.05) == 95
    assert threshold(losses(range(1, 19), [False] * 18, range(18)), "conformal", 0.05) == math.inf
    assert threshold(losses(range(1, 20), [False] * 19, range(19)), "conformal", 0.05) == 19
    assert threshold(losses(range(1, 40), [False] * 39, range(39)), "conformal", 0.05) == 38


def test_the_binomial_tail_and_the_bound_for_shares() -> None:
    for hits, n, rate in ((0, 30, 0.1), (2, 300, 0.02), (5, 50, 0.2), (50, 50, 0.2)):
        assert p_value(hits / n, n, rate, whole=True) == pytest.approx(tail(hits, n, rate))
    # 2 of 300 may be lost at 2 % and 0.9, 3 may not.
    assert tail(2, 300, 0.02) <= 0.1 < tail(3, 300, 0.02)
    table = losses(range(300), [False] * 300, range(300))
    assert threshold(table, "guaranteed", 0.02, 0.1) == 297
    assert conformal.least_images(0.02, 0.1) == 114
    assert p_value(0, 114, 0.02, whole=True) <= 0.1 < p_value(0, 113, 0.02, whole=True)
    # Hoeffding's and Bentkus' bounds: at a share of 1 % of 200 where 5 % are asked for.
    hoeffding = math.exp(-200 * (0.01 * math.log(0.01 / 0.05) + 0.99 * math.log(0.99 / 0.95)))
    bentkus = math.e * tail(2, 200, 0.05)
    assert p_value(0.01, 200, 0.05, whole=False) == pytest.approx(min(hoeffding, bentkus))


def test_a_threshold_needs_no_samples_to_be_safe() -> None:
    empty = losses([0.4, 0.6], [True, True], [0, 1])
    assert [threshold(empty, one, 0.05) for one in METHODS] == [math.inf] * 3
    blind = losses([math.nan] * 9, [False] * 9, range(9))
    assert blind.thresholds.tolist() == [math.inf]


@pytest.mark.parametrize(
    ("n", "rate"), [(40, 0.1), pytest.param(150, 0.05, marks=pytest.mark.slow)]
)
def test_promises_are_kept_over_drawn_calibrations(n: int, rate: float) -> None:
    noise = 3 * 0.5 / math.sqrt(DRAWS)
    plain, mean = uniform_risks("plain", n, rate), uniform_risks("conformal", n, rate)
    kept = uniform_risks("guaranteed", n, rate)
    assert mean.mean() <= rate + 3 * mean.std() / math.sqrt(len(mean))
    # Not kept by rejecting nothing: with untied scores it loses at most 1 / (n + 1) of the rate.
    assert mean.mean() >= rate - 1 / (n + 1) - 0.003
    assert (kept > rate).mean() <= 0.1 + noise
    assert (kept > rate).mean() >= 0.01
    # Without a correction it is a coin's toss.
    assert (plain > rate).mean() > 0.35
    assert plain.mean() > mean.mean() > kept.mean()


def test_images_are_drawn_and_not_their_samples() -> None:
    """Ten descriptions an image that stand and fall together tell as much as one."""
    rng = np.random.default_rng(1)
    scores = rng.random(400)
    world = losses(scores, [False] * 400, range(400))

    def broken(images: bool) -> float:
        lost = []
        for _ in range(600):
            drawn = rng.choice(scores, 30)
            codes = np.repeat(range(30), 10) if images else range(300)
            at = threshold(losses(np.repeat(drawn, 10), [False] * 300, codes), "guaranteed", 0.1)
            lost.append((scores > at).mean())
        return float((np.array(lost) > 0.1).mean())

    # Binomial tails of 30 images at 10 %: none may be lost, or, with 300 samples, two.
    assert broken(images=True) == pytest.approx(0.9**30, abs=0.03)
    assert broken(images=False) == pytest.approx(tail(2, 30, 0.1), abs=0.06)
    assert world.losses.shape[0] == 400


def test_the_simulation_draws_what_the_thresholds_say() -> None:
    """The quick one, over counts, against thresholds of calibrations that are laid out."""
    rng = np.random.default_rng(3)
    absent, clusters = rng.random(60).round(2), np.repeat(range(30), 2)
    world = losses(absent, [False] * 60, clusters)
    for method in METHODS:
        quick = conformal.simulated(world, 80, method, 0.2, draws=50, seed=5)
        counts = np.random.default_rng(5).multinomial(80, np.full(30, 1 / 30), size=50)
        for row, loss in zip(counts, quick, strict=True):
            drawn = conformal.Losses(world.thresholds, np.repeat(world.losses, row, axis=0))
            at = threshold(drawn, method, 0.2)
            assert loss == pytest.approx(world.losses.mean(axis=0)[world.thresholds == at][0])


def test_the_share_of_nulls() -> None:
    outcome = np.array([[0, 1, 1, 1], [2, 3, 1, 0], [3, 3, 2, 2]], np.int8)
    assert null_share(outcome)[:2].tolist() == [0.75, 0.5]
    assert math.isnan(null_share(outcome)[2])


class Odds(Model):
    """Is as sure of absence as its odds say; boxes are right."""

    needs_image = False
    coords = "abs"

    def __init__(self, data: Dataset, *, blind: bool = False) -> None:
        self.name = "odds/blind" if blind else "odds/known"
        self._data, self._blind = data, blind

    async def generate(self, request: Request) -> Generation:
        sample = self._data.find(request.id)
        dice = random.Random(request.id)
        absent = (
            dice.random()
            if self._blind
            else dice.betavariate(*((8, 2) if sample.target is None else (2, 8)))
        )
        null = absent > 0.9 if request.temperature == 0 else (
            random.Random(f"{request.id}{request.trajectory}").random() < absent
        )  # fmt: skip
        box = None if null else list(sample.target or (0, 0, 5, 5))
        return Generation(id=request.id, trajectory=request.trajectory,
                          text=json.dumps({"bbox_2d": box}),
                          confidence=absent if null else 1 - absent)  # fmt: skip


def asked(n: int = 240) -> Dataset:
    samples = [
        Sample(id=str(at), description="a mug", width=100, height=100,
               target=None if at % 3 == 0 else (10.0, 10.0, 50.0, 50.0))
        for at in range(n)
    ]  # fmt: skip
    return Dataset(name="odds", source="made by the test", samples=samples)


def studied(folder: Path, data: Dataset, *models: Any, **knobs: Any) -> Outcome:
    known = {one.name: one.default for one in KNOBS} | {"draws": 300, "samples": 4} | knobs
    setting = Setting(models=models, datasets=[data], folder=folder, knobs=known)
    return running.run(STUDIES.get("presence"), setting)


def test_a_model_that_knows_gets_a_threshold_that_keeps_its_promise(tmp_path: Path) -> None:
    data = asked()
    outcome = studied(tmp_path, data, Odds(data), Odds(data, blind=True))
    rows = {(one["model"], one["score"], one["method"]): one for one in outcome.values["rows"]}
    kept = rows["odds/known", "confidence", "guaranteed"]
    assert kept["false"].value <= 0.08
    # By itself it rejects where it is surer than 90 %: far too seldom.
    assert kept["negatives"].value > rows["odds/known", "its own decision", ""]["negatives"].value
    assert kept["right"].value > rows["odds/known", "its own decision", ""]["right"].value
    blind = rows["odds/blind", "confidence", "guaranteed"]
    assert blind["negatives"].value < 0.15
    promised = outcome.values["promised"]
    assert promised["guaranteed 0.05"][1] <= 0.1 + 3 * 0.3 / math.sqrt(300)
    assert promised["conformal 0.05"][0] <= 0.05 + 0.01
    assert "odds/known" in outcome.finding
    # The test half is the other half: whole images, the same for all models.
    half = halves(np.repeat(range(120), 2), 0)
    assert half.sum() == 120
    assert (half[::2] == half[1::2]).all()


def test_it_says_what_it_cannot_do(tmp_path: Path) -> None:
    null = load_model("baseline/null")
    outcome = studied(tmp_path, asked(30), null, samples=0)
    assert "no threshold can be set" in outcome.finding
    sampled = studied(tmp_path, asked(30), null, samples=2)
    assert "rejects nothing" in sampled.finding
    with pytest.raises(UsageError, match="something matches"):
        studied(tmp_path, Dataset(name="n", source="none", samples=asked(30).samples[:1]), null)
    with pytest.raises(UsageError, match="expected rate and delta"):
        studied(tmp_path, asked(30), null, rate=1.0)
    # Without a single rejection in the data there is still a rate to keep to.
    only = Dataset(name="n", source="positives",
                   samples=[one for one in asked(180) if one.target])  # fmt: skip
    assert "– % of the negatives" in studied(tmp_path, only, Odds(only)).finding


@pytest.mark.slow
def test_the_demonstration(tmp_path: Path) -> None:
    command = ["study", "presence", "--data", "scenes:seed=11,n=60", "--out", str(tmp_path),
               "--set", "samples=2", "--set", "draws=200", "--quiet", "--json"]  # fmt: skip
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["values"]["rows"]
    assert {row["method"] for row in rows} == {"", *METHODS}
    assert all(row["false"]["value"] is not None for row in rows)
    assert (tmp_path / "presence" / "figure.svg").stat().st_size > 500
