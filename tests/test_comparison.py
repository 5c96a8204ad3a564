"""Runs side by side: alignment, verdicts, sentences, the two commands, and their errors."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from groundingme import Dataset, power, stats
from groundingme.cli import main
from groundingme.comparison import Comparison
from groundingme.errors import UsageError
from groundingme.loading import compare
from groundingme.saving import save_samples
from groundingme.schema import Generation, Run, Sample
from groundingme.store import RunFolder
from groundingme.wording import p_value, sentence, sentences

GROUPS = (("Discriminative", "Text"), ("Spatial", "Counting"), ("Limited", "Small"),
          ("Rejection", "Text"))  # fmt: skip
TARGET = (100.0, 100.0, 200.0, 200.0)
RIGHT, BESIDE = '{"bbox_2d": [100, 100, 200, 200]}', '{"bbox_2d": [300, 300, 400, 400]}'
NULL = '{"bbox_2d": null}'

Maker = Callable[..., Path]


def questions(count: int, *, word: str = "thing") -> list[Sample]:
    """A quarter of the samples in each category, spread evenly."""
    return [
        Sample(
            id=f"{at:04}",
            description=f"the {word} {'of some kind ' * (at % 5)}number {at}",
            target=None if at % 4 == 3 else TARGET,
            width=1000, height=800,
            subtask_l1=GROUPS[at % 4][0], subtask_l2=GROUPS[at % 4][1],
        )
        for at in range(count)
    ]  # fmt: skip


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Writes a run folder in which the samples of the given numbers are right."""

    def write(
        model: str,
        right: Sequence[int] | np.ndarray,
        samples: Sequence[Sample] | None = None,
        *,
        count: int = 80,
        per_image: int = 1,
        settings: dict[str, object] | None = None,
        confidence: Sequence[float] | None = None,
        lacking: Sequence[int] = (),
    ) -> Path:
        asked = list(samples) if samples is not None else questions(count)
        dataset = Dataset(name="set", source="set.jsonl", samples=asked)
        run = Run(model=model, data="set.jsonl", data_name="set", samples=len(asked),
                  data_fingerprint=dataset.fingerprint, settings=settings or {})  # fmt: skip
        folder = RunFolder.find_or_create(tmp_path / "runs", run)
        chosen = set(np.asarray(right).tolist())
        with folder.lock():
            save_samples(dataset, folder.path)
            for at, one in enumerate(asked):
                good = int(one.id) in chosen
                if at in lacking:
                    continue
                if one.target is None:
                    text = NULL if good else BESIDE
                else:
                    text = RIGHT if good else (BESIDE if at % 2 else NULL)
                folder.append(
                    Generation(
                        id=one.id, text=text, latency=0.1, prompt_tokens=100, completion_tokens=9,
                        image_digest=f"sha256:{int(one.id) // per_image}",
                        confidence=None if confidence is None else confidence[at],
                    )
                )  # fmt: skip
        return folder.path

    return write


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in args])


def members(group: int, count: int = 80) -> list[int]:
    return [at for at in range(count) if at % 4 == group]


# What is found.


def test_figures_of_two_runs(make: Maker) -> None:
    """A has 60 of 80 right, all of Spatial among them; B the same without Spatial."""
    a = [at for at in range(80) if at % 4 != 2]
    b = [at for at in a if at % 4 != 1]
    found = compare([make("x/a", a), make("x/b", b)])
    assert [one.label for one in found.standings] == ["x/a", "x/b"]
    assert [one.rank for one in found.standings] == [(1, 1), (2, 2)]
    first, second = found.standings
    assert first.accuracy["all"].value == 0.75
    assert second.accuracy["all"].value == 0.5
    assert first.accuracy["Spatial"] == first.accuracy["Spatial/Counting"]
    assert first.accuracy["Spatial"].high == 1
    assert second.accuracy["Spatial"].low == 0
    assert 0 < second.accuracy["Spatial"].high < 0.2
    contrasts = {one.group: one for one in found.contrasts}
    assert contrasts["all"].difference == 0.25
    assert (contrasts["all"].only_a, contrasts["all"].only_b) == (20, 0)
    assert contrasts["all"].low < 0.25 < contrasts["all"].high
    assert contrasts["all"].p == pytest.approx(stats.mcnemar(20, 0))
    assert contrasts["Spatial"].adjusted == pytest.approx(4 * stats.mcnemar(20, 0))
    assert contrasts["Limited"].better is None
    assert [one.id for one in found.flips] == [f"{at:04}" for at in members(1)]
    assert found.disagreements[0].group in ("Spatial", "Spatial/Counting")
    assert first.mistakes["right"] == 60
    assert second.mistakes["false rejection"] == 20
    assert second.mistakes["wrong object"] == 20
    assert first.efforts[0].replies == 80
    assert first.efforts[0].completion_tokens == 9


def test_the_interval_of_a_difference_is_paired(make: Maker) -> None:
    """Where both are right and wrong together, far less is in doubt than of either alone."""
    rng = np.random.default_rng(0)
    a = np.flatnonzero(rng.random(400) < 0.5)
    b = np.union1d(np.setdiff1d(a, a[:4]), np.setdiff1d(np.arange(400), a)[:9])
    found = compare([make("x/a", a, count=400), make("x/b", b, count=400)])
    gap = found.contrasts[0]
    width = gap.high - gap.low
    alone = found.standings[0].accuracy["all"]
    assert width < 0.5 * (alone.high - alone.low)
    assert gap.low < gap.difference < gap.high
    expected = 1.96 * math.sqrt(13) / 400
    assert width / 2 == pytest.approx(expected, rel=0.1)


def test_samples_of_one_image_are_drawn_together(make: Maker) -> None:
    alike = [at for at in range(400) if (at // 4) % 2]
    alone = compare([make("x/a", alike, count=400), make("x/b", [], count=400)])
    shared = compare(
        [make("y/a", alike, count=400, per_image=4), make("y/b", [], count=400, per_image=4)]
    )
    assert len(set(shared.clusters.tolist())) == 100
    wide, narrow = (one.standings[0].accuracy["all"] for one in (shared, alone))
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(2, rel=0.1)
    assert shared.contrasts[0].p == pytest.approx(stats.mcnemar(50, 0))


def test_more_runs_share_one_correction_and_ranks(make: Maker) -> None:
    runs = [
        make("x/best", range(60), count=80),
        make("x/same", [*range(58), 70, 71], count=80),
        make("x/worst", range(10), count=80),
    ]
    found = compare(runs)
    ranks = {one.label: one.rank for one in found.standings}
    assert ranks == {"x/best": (1, 2), "x/same": (1, 2), "x/worst": (3, 3)}
    whole = [one for one in found.contrasts if one.group == "all"]
    assert [one.adjusted for one in whole] == stats.holm([one.p for one in whole]).tolist()
    for one in whole:
        separated = one.better is not None
        apart = set(range(*_span(ranks, found, one.a))) & set(range(*_span(ranks, found, one.b)))
        assert separated != bool(apart)
    # On samples 58, 59, 70 and 71 two against one; evenly split patterns come in turn.
    patterns = [one.right for one in found.flips]
    assert len(set(patterns[:2])) == 2


def _span(ranks: dict[str, tuple[int, int]], found: Comparison, at: int) -> tuple[int, int]:
    best, worst = ranks[found.entries[at].label]
    return best, worst + 1


def test_rejection_and_confidence(make: Maker) -> None:
    """A rejects half of the negatives, and is surest where it is right."""
    rights = [*members(0), *members(1), *members(2), *members(3)[:10]]
    sure = [0.9 if at in rights else 0.6 for at in range(80)]
    found = compare([make("x/a", rights, confidence=sure), make("x/b", rights)])
    a, b = found.standings
    assert a.label == "x/a"
    figures = {name: one.value for name, one in a.rejection.items()}
    assert figures["N-acc"] == 0.5
    assert figures["T-acc"] == 1
    assert figures["balanced"] == 0.75
    assert figures["AUROC"] == figures["AUROC matched"] == pytest.approx(1.0)
    assert figures["FPR@95TPR"] == 0
    assert a.rejection["N-acc"].low < 0.5 < a.rejection["N-acc"].high
    assert a.rejection["T-acc"].low < 1 == a.rejection["T-acc"].high
    assert math.isnan(b.rejection["AUROC"].value)
    aurc = a.calibration["AURC"]
    assert aurc.low <= aurc.value <= aurc.high
    assert aurc.value < 0.02
    assert a.calibration["Acc at 5 % false rejections"].value == 1
    assert math.isnan(b.calibration["AURC"].value)
    assert math.isnan(b.calibration["Brier"].value)
    assert math.isnan(b.calibration["Brier"].low)


def test_positives_alone_have_no_measures_of_rejection(make: Maker) -> None:
    samples = [one for one in questions(80) if one.target]
    found = compare([make("x/a", range(40), samples), make("x/b", range(60), samples)])
    assert found.standings[0].rejection == {}
    assert run("compare", *(one.path for one in found.entries)).exit_code == 0


def test_the_same_seed_gives_the_same_figures(make: Maker) -> None:
    runs = [make("x/a", range(50)), make("x/b", range(30))]
    first, again, other = (compare(runs, seed=seed, resamples=200).as_dict() for seed in (1, 1, 2))
    assert first == again
    assert first["contrasts"] != other["contrasts"]


# Sentences.


def test_sentences_say_where_and_by_how_much(make: Maker) -> None:
    a = [at for at in range(400) if at % 4 != 2]
    b = [at for at in a if at % 4 != 1]
    found = compare([make("x/a", a, count=400), make("x/b", b, count=400)])
    said = sentence(found, 1, 0)
    assert said.startswith("x/a is better on all samples by 25.0 points (")
    assert "and on Spatial by 100.0 points (" in said
    assert "Counting" not in said
    assert said.endswith("; elsewhere the data cannot tell them apart")


def test_each_run_can_be_better_somewhere(make: Maker) -> None:
    found = compare(
        [make("x/a", members(0, 400), count=400), make("x/b", members(3, 400), count=400)]
    )
    said = sentence(found, 0, 1)
    assert "x/a is better on Discriminative by 100.0 points" in said
    assert "x/b is better on Rejection by 100.0 points" in said
    assert "overall the data cannot tell them apart" in said


def test_equal_runs_are_not_told_apart(make: Maker) -> None:
    found = compare([make("x/a", range(40)), make("x/b", [*range(1, 40), 77, 78])])
    said = sentence(found, 0, 1)
    assert said.startswith("The data cannot tell x/a and x/b apart: x/b is 1.2 points ahead")
    assert "(−" in said
    assert [one.rank for one in found.standings] == [(1, 2), (1, 2)]
    twins = compare([make("x/a", range(40)), make("x/c", range(40))])
    assert "the same 80 samples right and wrong" in sentence(twins, 0, 1)


def test_many_runs_are_compared_with_their_neighbours(make: Maker) -> None:
    runs = [make(f"x/m{at}", range(15 * at), count=80) for at in range(6)]
    found = compare(runs, resamples=200)
    assert len(sentences(found)) == 5
    assert len(sentences(found, most=15)) == 15


# Which samples.


def test_runs_that_were_limited_are_compared_on_what_is_common(make: Maker) -> None:
    a, b = make("x/a", range(80)), make("x/b", range(30), questions(80)[:40])
    found = compare([a, b])
    assert len(found.samples) == 40
    assert found.standings[0].accuracy["all"].value == 1
    assert found.standings[1].accuracy["all"].value == 0.75
    assert "the 40 samples that all runs were asked" in found.notes[0]
    assert "x/a 80, x/b 40" in found.notes[0]


def test_another_order_of_the_same_samples_is_put_right(make: Maker) -> None:
    found = compare([make("x/a", [5]), make("x/b", [5], questions(80)[::-1])])
    assert found.flips == []
    assert found.notes == []


def test_runs_on_other_samples_are_an_error(make: Maker) -> None:
    a, b = make("x/a", range(80)), make("x/b", range(80), questions(80, word="stuff"))
    done = run("compare", a, b)
    assert done.exit_code == 2
    assert "another description or target for sample '0000' in x/b" in done.stderr
    assert done.stderr.count("\n") == 1
    strangers = questions(100)[90:]
    done = run("compare", a, make("x/c", range(80), strangers))
    assert done.exit_code == 2
    assert "got none in common" in done.stderr


def test_what_was_not_asked_counts_and_is_named(make: Maker) -> None:
    found = compare([make("x/a", range(80), lacking=range(60, 80)), make("x/b", range(80))])
    assert found.standings[1].accuracy["all"].value == 0.75
    assert found.standings[1].mistakes["failed"] == 20
    assert any("x/a was not asked 20 of 80 samples" in note for note in found.notes)


def test_runs_of_one_model_are_named_by_what_differs(make: Maker) -> None:
    on = make("x/a", range(60), settings={"thinking": "on", "max_tokens": 9})
    off = make("x/a", range(50), settings={"thinking": "off", "max_tokens": 9})
    found = compare([on, off])
    assert [one.label for one in found.entries] == ["x/a (thinking=on)", "x/a (thinking=off)"]
    assert found.notes == ["the runs differ in thinking"]


def test_a_run_is_not_compared_with_itself(make: Maker) -> None:
    a = make("x/a", range(60))
    for runs in ([a, a], [a, a.parent / ".." / "runs" / a.name]):
        with pytest.raises(UsageError, match="twice"):
            compare(runs)
    assert run("compare", a).exit_code == 2
    assert run("compare", a, a.parent).exit_code == 2
    assert run("compare", a, make("x/b", []), "--protocol", "strikt").exit_code == 2


def test_a_control_that_sends_one_grey_image_does_not_merge_images(make: Maker) -> None:
    plain = make("x/a", range(60))
    grey = make("x/a", range(20), per_image=1000, settings={"control": "grey"})
    found = compare([grey, plain])
    assert len(set(found.clusters.tolist())) == 80


def test_official_scores_leave_failed_samples_out(make: Maker) -> None:
    runs = [make("x/a", range(80), lacking=range(60, 80)), make("x/b", range(60))]
    found = compare(runs, protocol="official")
    a = next(one for one in found.standings if one.label == "x/a")
    assert a.accuracy["all"].value == 1
    assert found.contrasts[0].samples == 60
    assert found.contrasts[0].difference == pytest.approx(0.25)
    assert found.contrasts[0].only_a == 0


# The commands.


def test_what_compare_prints(make: Maker, tmp_path: Path) -> None:
    a, b = make("x/a", range(70)), make("x/b", range(20))
    file = tmp_path / "out" / "f.csv"
    done = run("compare", a, b, "--flips", "3", "--slices", "2", "--csv", file)
    assert done.exit_code == 0, done.output
    for part in ("80 samples", "rank", "x/a is better on all samples", "Pointing and rejecting",
                 "What became of the samples", "Where they differ most", "50 of 80 samples flip",
                 "right, box IoU 1.00"):  # fmt: skip
        assert part in done.stdout, part
    assert done.stdout.count("the thing") == 3
    with file.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 50
    assert {row["x/a right"] for row in rows} == {"1"}
    assert {row["x/b outcome"] for row in rows} == {"box", "rejected"}
    blocked = run("compare", a, b, "--csv", a / "run.json" / "f.csv")
    assert blocked.exit_code == 2
    assert "file that can be written" in blocked.stderr


def test_compare_as_json(make: Maker) -> None:
    done = run("compare", make("x/a", range(70)), make("x/b", range(20)), "--json")
    found = json.loads(done.stdout)
    assert found["samples"] == found["images"] == 80
    assert found["runs"][0]["label"] == "x/a"
    assert found["runs"][0]["rejection"]["AUROC"]["value"] is None
    assert found["contrasts"][0]["better"] == "x/a"
    assert len(found["flips"]) == 50
    assert found["sentences"] == [found["sentences"][0]]


def test_power_of_the_published_benchmark() -> None:
    done = run("power", "--difference", "5", "--json")
    groups = {row["group"]["name"]: row for row in json.loads(done.stdout)["groups"]}
    assert len(groups) == 17
    assert groups["all"]["group"]["samples"] == 1005
    assert groups["all"]["paired"] == pytest.approx(power.smallest_paired(1005, 0.25))
    assert groups["all"]["needed_paired"] == power.samples_for_paired(0.05, 0.25)
    assert groups["Spatial"]["paired"] > groups["all"]["paired"]
    text = run("power").stdout
    assert "Smallest difference in points" in text
    assert "assumed: accuracy 50 %, disagreement 25 %" in text


def test_power_of_two_runs_is_measured(make: Maker) -> None:
    a, b = make("x/a", range(60)), make("x/b", range(40))
    done = run("power", a, b, "--json")
    found = json.loads(done.stdout)["groups"][0]
    assert found["group"]["disagreement"] == 0.25
    assert found["group"]["accuracy"] == 0.625
    assert found["group"]["independent"] == pytest.approx(80, rel=0.02)
    assert run("power", a).exit_code == 2
    assert run("power", a, b, "--data", "scenes").exit_code == 2


def test_power_of_a_data_set_counts_its_images(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    target = {"description": "d", "bbox": [0, 0, 4, 4]}
    rows = [{"id": str(at), "image": f"{'ab'[at % 2]}.png", **target} for at in range(60)]
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = run("power", "--data", tmp_path, "--correlation", "0.5", "--json")
    group = json.loads(done.stdout)["groups"][0]["group"]
    assert (group["samples"], group["images"]) == (60, 2)
    assert group["independent"] == pytest.approx(60 / (1 + 29 * 0.5))
    assert "–" in run("power", "--data", tmp_path, "--correlation", "1").stdout


def simulated(samples: int, difference: float, disagreement: float, sets: int) -> float:
    """How often the exact test shows the difference."""
    rng = np.random.default_rng(1)
    gain = (disagreement + difference) / 2
    drawn = rng.multinomial(samples, [gain, disagreement - gain, 1 - disagreement], size=sets)
    kinds, at = np.unique(drawn[:, :2], axis=0, return_inverse=True)
    seen = np.array([stats.mcnemar(*row) <= 0.05 for row in kinds.tolist()])
    return float(seen[at].mean())


@pytest.mark.parametrize("samples", [50, 201, 1005])
@pytest.mark.parametrize("disagreement", [0.15, 0.25, 0.4])
def test_the_smallest_difference_is_seen_as_often_as_promised(
    samples: int, disagreement: float
) -> None:
    gap = power.smallest_paired(samples, disagreement)
    if math.isnan(gap):
        assert (samples, disagreement) == (50, 0.15)
        return
    assert 0.79 <= simulated(samples, gap, disagreement, 20_000) <= 0.89
    assert power.samples_for_paired(gap, disagreement) == pytest.approx(samples, abs=1)


def test_unpaired_power_is_that_of_statsmodels_and_of_simulation() -> None:
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_effectsize, proportions_ztest

    gap = power.smallest_unpaired(500, 0.4)
    effect = proportion_effectsize(0.4 + gap / 2, 0.4 - gap / 2)
    # Theirs uses the arcsine of the proportions, which comes to nearly the same.
    assert NormalIndPower().power(effect, 500, 0.05) == pytest.approx(0.8, abs=0.01)
    rng = np.random.default_rng(0)
    hits = rng.binomial(500, [0.4 + gap / 2, 0.4 - gap / 2], size=(1500, 2))
    seen = np.mean([proportions_ztest(row, [500, 500])[1] <= 0.05 for row in hits])
    assert seen == pytest.approx(0.8, abs=0.03)
    assert power.samples_for_unpaired(gap, 0.4) == pytest.approx(500, abs=1)


def test_what_power_cannot_say() -> None:
    with pytest.raises(ValueError, match="disagreement"):
        power.paired_power(100, 0.3, 0.2)
    with pytest.raises(ValueError, match="accuracies"):
        power.unpaired_power(100, 0.5, 0.1)
    assert math.isnan(power.smallest_paired(5, 0.2))
    assert math.isnan(power.smallest_unpaired(3, 0.05))
    assert power.design_effect(100, 100, 0.9) == 1


def test_a_probability_never_reads_as_nothing() -> None:
    said = {p: p_value(p) for p in (0.0, 1e-9, 0.0004, 0.000999, 0.001, 0.0424, 1.0)}
    assert said == {
        0.0: "<0.001", 1e-9: "<0.001", 0.0004: "<0.001", 0.000999: "<0.001",
        0.001: "0.001", 0.0424: "0.042", 1.0: "1.000",
    }  # fmt: skip
    assert p_value(math.nan) == "–"
