"""Sweeps over ratios: figures against plain arithmetic, advice, tables, worlds, the command."""

from __future__ import annotations

import csv
import io
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from groundingme import rejection
from groundingme.cli import main
from groundingme.errors import UsageError
from groundingme.train.sweep import advice, reduction, running, tables, worlds
from groundingme.train.sweep.grounder import QUICK, Grounder
from groundingme.train.sweep.plan import name_of, sorted_ratios
from groundingme.train.sweep.reduction import Answers, Cell, Reduced, Row

COLUMNS = ["untouched", "1:4", "1:1"]


def answers(seeds: int = 3, images: int = 60, each: int = 2, seed: int = 0) -> Answers:
    """Random answers: positives fall and rejections rise from column to column."""
    rng = random.Random(seed)
    n = images * each
    negative = [number % 3 == 0 for number in range(n)]
    sums = np.zeros((len(COLUMNS), seeds, n, 5))
    for c in range(len(COLUMNS)):
        for s in range(seeds):
            says = [rng.random() < (0.15 + 0.3 * c if negative[i] else 0.05 * c) for i in range(n)]
            right = [rng.random() < 0.8 - 0.08 * c - 0.01 * s for _ in range(n)]
            sums[c, s] = rejection.indicators(negative, says, right)
    l1 = ["Rejection" if one else ("Discriminative", "Spatial")[i % 2]
          for i, one in enumerate(negative)]  # fmt: skip
    return Answers(
        columns=COLUMNS, sums=sums, clusters=np.arange(n) // each, l1=l1, l2=["Text"] * n
    )


# ---- figures


def test_figures_are_means_over_seeds() -> None:
    given = answers()
    found = reduction.rows("out-of-domain", given, resamples=200)
    table = {one.name: one for one in found}
    for c, column in enumerate(COLUMNS):
        by_seed = []
        for s in range(3):
            hits = there = 0
            for sample, name in zip(given.sums[c, s], given.l1, strict=True):
                if name == "Spatial":
                    there += 1
                    hits += int(sample[1])
            by_seed.append(hits / there)
        cell = table["Spatial"].cells[column]
        assert cell.seeds == pytest.approx(by_seed)
        assert cell.value == pytest.approx(sum(by_seed) / 3)
        assert cell.low < cell.value < cell.high
        if c:
            change = table["Spatial"].changes[column]
            assert change.value == pytest.approx(
                cell.value - table["Spatial"].cells["untouched"].value
            )
    balanced = table["Balanced score"].cells["1:1"].value
    positives, rejections = (table[name].cells["1:1"].value for name in ("Positives", "Rejection"))
    assert balanced == pytest.approx((positives + rejections) / 2)
    right = given.sums[2, :, :, [1, 4]].sum() / (3 * given.sums.shape[2])
    assert table["Total"].cells["1:1"].value == pytest.approx(right)


def test_interval_holds_images_and_seeds() -> None:
    """Against a bootstrap written out by hand, and Student's t from a table."""
    given = answers(seeds=3, images=120)
    members = np.array([name != "Rejection" for name in given.l1])
    row = reduction.row("x", "in-domain", given, members, rejection.positive_accuracy)
    right = given.sums[1, :, :, 1].mean(axis=0) - given.sums[0, :, :, 1].mean(axis=0)
    by_image: dict[int, list[float]] = {}
    for one, image, inside in zip(right, given.clusters, members, strict=True):
        if inside:
            by_image.setdefault(int(image), []).append(float(one))
    images = list(by_image.values())
    rng = random.Random(1)
    drawn = []
    for _ in range(3000):
        chosen = [one for image in rng.choices(images, k=len(images)) for one in image]
        drawn.append(sum(chosen) / len(chosen))
    drawn.sort()
    change = row.changes["1:4"]
    seeds = [b - a for a, b in zip(row.cells["untouched"].seeds, row.cells["1:4"].seeds,
                                   strict=True)]  # fmt: skip
    assert change.seeds == pytest.approx(seeds)
    mean = sum(seeds) / 3
    spread = math.sqrt(sum((one - mean) ** 2 for one in seeds) / 2)
    around = 4.302653 * spread / math.sqrt(3)
    low = mean - math.hypot(mean - drawn[75], around)
    high = mean + math.hypot(drawn[2925] - mean, around)
    assert change.low == pytest.approx(low, abs=0.006)
    assert change.high == pytest.approx(high, abs=0.006)


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.7062), (2, 4.30265), (9, 2.26216)])
def test_quantiles_of_students_t(freedom: int, expected: float) -> None:
    assert reduction.t_quantile(freedom) == pytest.approx(expected, abs=1e-4)


def test_nothing_rejected_is_not_certainly_nothing() -> None:
    """0 of 40 images by each of three seeds: the exact interval of 40, not of 120."""
    given = answers(images=40, each=1)
    sums = given.sums.copy()
    sums[0, :, :, 4] = 0
    changed = Answers(columns=COLUMNS, sums=sums, clusters=given.clusters, l1=given.l1, l2=given.l2)
    members = np.array([name == "Rejection" for name in given.l1])
    cell = reduction.row("x", "in-domain", changed, members, rejection.n_accuracy).cells
    count = int(members.sum())
    assert cell["untouched"].low == 0
    assert cell["untouched"].high == pytest.approx(1 - 0.025 ** (1 / count), abs=1e-6)


def test_one_seed_has_intervals_over_images_alone() -> None:
    assert reduction.spread(np.array([0.5])) == 0


# ---- advice


def cell(value: float, half: float = 0.01) -> Cell:
    return Cell(value, value - half, value + half, [value] * 3)


def reduced(positives: list[float], rejections: list[float], half: float = 0.01) -> Reduced:
    """Two domains of the same figures; `untouched` first."""
    names = ["untouched", "1:8", "1:4", "1:1"][: len(positives)]
    rows = []
    for domain in ("in-domain", "out-of-domain"):
        columns = {
            "Positives": positives,
            "Rejection": rejections,
            "Balanced score": [(a + b) / 2 for a, b in zip(positives, rejections, strict=True)],
            "False rejections": [one / 5 for one in rejections],
            "Rejection less false rejections": [4 * one / 5 for one in rejections],
        }
        for name, values in columns.items():
            cells = {one: cell(value, half) for one, value in zip(names, values, strict=True)}
            changes = {one: cell(value - values[0], half)
                       for one, value in zip(names[1:], values[1:], strict=True)}  # fmt: skip
            rows.append(
                Row(name=name, domain=domain, main=True, samples=9, cells=cells, changes=changes)
            )
    return Reduced(columns=names, seeds=[0, 1, 2], rows=rows)


def test_the_best_balanced_score_of_those_that_lose_little() -> None:
    told = reduced([0.90, 0.90, 0.88, 0.80], [0.0, 0.5, 0.7, 0.95])
    assert advice.advise(told, 2.0).ratio == "1:4"
    assert advice.advise(told, 1.9).ratio == "1:8"
    assert advice.advise(told, 20.0).ratio == "1:1"
    assert "does not exclude a loss above 2 points" in advice.advise(told, 2.0).reason
    assert "at most 2 points" in advice.advise(told, 2.0).criterion


def test_none_where_every_ratio_loses_more() -> None:
    found = advice.advise(reduced([0.90, 0.85, 0.84], [0.0, 0.5, 0.7]), 2.0)
    assert found.ratio is None
    assert "5.0 points" in found.reason
    assert "1:8" in found.reason


def test_none_where_nothing_is_gained() -> None:
    found = advice.advise(reduced([0.90, 0.90, 0.89], [0.2, 0.2, 0.2]), 2.0)
    assert found.ratio is None
    assert "untouched model's balanced score is as good: 55.0" in found.reason


def test_the_finding_follows_the_numbers() -> None:
    up = advice.finding(reduced([0.9, 0.88, 0.85, 0.80], [0.0, 0.5, 0.7, 0.95]))
    assert len(up) == 2
    assert "0.0 to 95.0 % in domain (clearly up, up with every step of the ratio)" in up[0]
    assert "90.0 to 80.0 % in domain (clearly down, down with every step of the ratio)" in up[0]
    assert "1:1 gains 76.0 points of rejection in domain and 76.0 out of domain (100 %" in up[1]
    assert "rejects 19.0 % of what is there" in up[1]
    bent = advice.finding(reduced([0.9, 0.88, 0.85, 0.86], [0.0, 0.5, 0.7, 0.95]))
    assert "90.0 to 86.0 % in domain (clearly down, not the same way at every step" in bent[0]
    flat = advice.finding(reduced([0.9, 0.9, 0.905], [0.0, 0.001, 0.002]))
    assert "no clear change" in flat[0]
    assert "nothing can be said of transfer" in flat[1]


def test_transfer_is_partial_where_less_is_gained() -> None:
    told = reduced([0.9, 0.88], [0.0, 1.0])
    rows = []
    for one in told.rows:
        if (one.domain, one.name) == ("out-of-domain", reduction.SKILL):
            values = {"untouched": cell(0.0), "1:8": cell(0.4)}
            one = Row(name=one.name, domain=one.domain, main=True, samples=9, cells=values,
                      changes={"1:8": cell(0.4)})  # fmt: skip
        rows.append(one)
    said = advice.finding(Reduced(columns=told.columns, seeds=told.seeds, rows=rows))[1]
    assert "80.0 points of rejection in domain and 40.0 out of domain (50 %" in said
    assert "transfer is partial" in said


def test_a_control_without_negatives_is_not_recommended() -> None:
    told = reduced([0.9, 0.9, 0.7], [0.0, 0.0, 0.9])
    names = {"untouched": "untouched", "1:8": "0:1", "1:4": "1:4"}
    rows = [
        Row(name=one.name, domain=one.domain, main=True, samples=9,
            cells={names[key]: value for key, value in one.cells.items()},
            changes={names[key]: value for key, value in one.changes.items()})
        for one in told.rows
    ]  # fmt: skip
    found = advice.advise(Reduced(columns=list(names.values()), seeds=[0], rows=rows), 2.0)
    assert found.ratio is None
    assert "at 1:4" in found.reason


# ---- tables


def whole() -> Reduced:
    rows = [one for domain in ("in-domain", "out-of-domain")
            for one in reduction.rows(domain, answers(), resamples=200)]  # fmt: skip
    return Reduced(columns=COLUMNS, seeds=[0, 1, 2], rows=rows)


def test_the_table_has_the_papers_layout() -> None:
    told = whole()
    main_rows = [(one.domain, one.name) for one in told.rows if one.main]
    assert main_rows == [
        ("in-domain", "Positives"),
        ("in-domain", "Rejection"),
        ("out-of-domain", "Discriminative"),
        ("out-of-domain", "Spatial"),
        ("out-of-domain", "Rejection"),
        ("out-of-domain", "Total"),
    ]
    text = tables.markdown(told, advice.advise(told, 2.0), advice.finding(told))
    assert "| | samples | untouched | 1:4 | 1:1 |" in text
    assert "| | samples | 1:4 | 1:1 |" in text
    shown = told.find("in-domain", "Rejection")
    assert shown
    assert tables.span(shown.cells["1:1"]) in text
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(told))))
    assert len(rows) == len(told.rows) * len(COLUMNS)
    first = next(one for one in rows if one["row"] == "Total" and one["ratio"] == "1:1")
    total = told.find("out-of-domain", "Total")
    assert total
    assert float(first["value"]) == pytest.approx(100 * total.cells["1:1"].value, abs=1e-3)
    assert float(first["change"]) == pytest.approx(100 * total.changes["1:1"].value, abs=1e-3)
    assert float(first["seed 2"]) == pytest.approx(100 * total.cells["1:1"].seeds[2], abs=1e-3)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from groundingme.train.sweep import figure

    assert [path.name for path in figure.write(whole(), tmp_path)] == ["sweep.png", "sweep.svg"]
    drawn = (tmp_path / "sweep.svg").read_text(encoding="utf-8")
    assert "rejected where nothing matches, %" in drawn
    assert "out of domain: Spatial" in drawn


# ---- worlds and mixtures


def test_in_domain_is_what_mixtures_have() -> None:
    found = worlds.in_domain(18, 6).samples
    assert sum(one.target is None for one in found) == 6
    assert {(one.subtask_l1, one.subtask_l2) for one in found} == set(worlds.TAUGHT)
    assert not {one.detection_type for one in found} & set(worlds.HELD_OUT)
    asked = [one for number in range(12) for one in worlds.short_page("train", number).exercises]
    assert {True, False} == {one.target >= 0 for one in asked}
    assert {(one.l1, one.l2) for one in asked} <= set(worlds.TAUGHT)


def test_out_of_domain_is_what_mixtures_lack() -> None:
    found = worlds.out_of_domain(40, 2).samples
    assert {one.detection_type for one in found} <= set(worlds.HELD_OUT)
    assert sum(one.width == 7680 for one in found) == 2
    assert len({one.id for one in found}) == len(found)
    assert {one.subtask_l1 for one in found} == {"Discriminative", "Spatial", "Limited",
                                                 "Rejection"}  # fmt: skip


def test_mixtures_are_exact_and_differ_in_their_shares_alone() -> None:
    pytest.importorskip("torch")
    from groundingme.errors import JobError
    from groundingme.train.sweep.lessons import epochs, mixed

    targets = np.array([-1, 3, 0, -1, 1] * 400)
    chosen = {}
    for ratio in sorted_ratios("1:8,1:4,1:2,1:1,2:1"):
        found = mixed(targets, ratio, 900, seed=5)
        assert len(set(found.tolist())) == 900
        negatives = int((targets[found] < 0).sum())
        assert negatives * ratio.positives == (900 - negatives) * ratio.negatives
        chosen[name_of(ratio)] = found
    few, many = (set(chosen[name][targets[chosen[name]] < 0].tolist()) for name in ("1:8", "2:1"))
    assert few < many
    order = epochs(chosen["1:1"], 3, seed=5)
    assert sorted(order[:900].tolist()) == sorted(chosen["1:1"].tolist())
    with pytest.raises(JobError, match="negatives for a mixture of 1800 at 2:1"):
        mixed(targets, sorted_ratios("2:1")[0], 1800, seed=5)


def test_a_training_by_steps_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from groundingme.train.grounder import loop

    def trained(path: Path, stop: int) -> torch.nn.Module:  # type: ignore[name-defined]
        torch.manual_seed(0)
        net = torch.nn.Linear(3, 1)
        number = loop.steps_done(path)

        def step() -> tuple[torch.Tensor, dict[str, float]]:  # type: ignore[name-defined]
            nonlocal number
            if number == stop:
                raise KeyboardInterrupt
            rng = np.random.default_rng(number)
            number += 1
            batch = torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32))
            return ((net(batch) - 1) ** 2).mean(), {}

        loop.train(net, step, path, steps=40, keep=0.0, say=lambda line: None)
        return net

    straight = trained(tmp_path / "a.pt", stop=-1)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b.pt", stop=17)
    assert loop.steps_done(tmp_path / "b.pt") == 17
    resumed = trained(tmp_path / "b.pt", stop=-1)
    assert torch.equal(straight.weight, resumed.weight)


# ---- the command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["builtin/grounder-positive-only"], "expected builtin/grounder, a Hub id or a folder"),
        (["builtin/grounder", "--positives", "x"], "expected no --positives with builtin/grounder"),
        (["Qwen/Qwen3-VL-2B-Instruct"], "expected --positives and --negatives"),
        (["a/b", "--positives", "x", "--negatives", "y", "--quick"], "expected --quick with"),
        (["builtin/grounder", "--ratios", "1to8"], "expected ratios of negatives to positives"),
        (["builtin/grounder", "--ratios", "1:2,2:4"], "1:2 and 2:4 are the same"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_a_line(arguments: list[str], said: str) -> None:
    found = CliRunner().invoke(main, ["sweep", *arguments, "--dry-run"])
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_dry_run_says_what_is_to_be_done(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        main, ["sweep", "builtin/grounder", "--dry-run", "-o", str(tmp_path / "s")]
    )
    assert found.exit_code == 0
    assert "3 seeds: untouched, 1:8, 1:4, 1:2, 1:1, 2:1" in found.stdout
    assert not (tmp_path / "s").exists()


def test_the_paper_s_sweep_as_its_script_writes_it() -> None:
    script = Path(__file__).resolve().parents[1] / "examples" / "paper" / "mixtures.sh"
    (told,) = re.findall(r'sweep "\$BASE" (--positives.*?) -o', script.read_text(), re.DOTALL)
    words = told.replace("\\\n", " ").replace('"$POSITIVES"', "data/refcocog").split()
    found = CliRunner().invoke(main, ["sweep", "a/b", *words, "--dry-run"])
    assert found.exit_code == 0, found.output
    assert "3 seeds: untouched, 1:8, 1:4, 1:2, 1:1, 2:1" in found.stdout
    for line in ("in domain: refcocog, val", "in domain: refcocog_rej, val",
                 "out of domain: groundingme"):  # fmt: skip
        assert f"Evaluation {line}" in found.stdout


def test_two_sweeps_are_not_mixed_in_one_folder(tmp_path: Path) -> None:
    running.claim(Grounder(tmp_path / "s"), tmp_path / "s")
    running.claim(Grounder(tmp_path / "s"), tmp_path / "s")
    with pytest.raises(UsageError, match="same settings"):
        running.claim(Grounder(tmp_path / "s", QUICK), tmp_path / "s")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError, match="empty folder"):
        running.claim(Grounder(tmp_path), tmp_path)


# ---- all of it, with very little of everything


def _quick(out: Path) -> list[str]:
    return [sys.executable, "-m", "groundingme", "sweep", "builtin/grounder", "--quick",
            "--ratios", "1:4,2:1", "--workers", "1", "-o", str(out)]  # fmt: skip


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_same_figures(tmp_path: Path) -> None:
    for package in ("torch", "onnx", "onnxscript", "matplotlib"):
        pytest.importorskip(package)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = subprocess.run(_quick(whole), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Recommended:" in done.stdout
    for name in ("sweep.json", "sweep.md", "sweep.csv", "sweep.png", "sweep.svg"):
        assert (whole / name).stat().st_size > 0
    assert len(list((whole / "runs").glob("*/run.json"))) == 6
    # What takes longest, and is made before any training, is taken over.
    for name in ("data", "exams"):
        shutil.copytree(whole / name, killed / name)
    shutil.copy(whole / "plan.json", killed)
    for number in range(2):
        process = subprocess.Popen(_quick(killed), env=env, stderr=subprocess.DEVNULL)
        wanted = killed / "models" / ("untouched-seed0", "1-4-seed0")[number]
        while process.poll() is None and not wanted.exists():
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal((signal.SIGKILL, signal.SIGINT)[number])
        assert process.wait(300) == (-signal.SIGKILL, 130)[number]
    done = subprocess.run(_quick(killed), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (killed / "sweep.csv").read_bytes() == (whole / "sweep.csv").read_bytes()


@pytest.mark.slow
def test_a_model_of_the_hub_is_tuned_on_every_ratio_and_compared(tmp_path: Path) -> None:
    for package in ("torch", "transformers", "trl", "peft", "datasets", "matplotlib"):
        pytest.importorskip(package)
    import tiny_vl

    base = tiny_vl.build_qwen3_vl(tmp_path / "tiny-qwen3-vl")
    data = tiny_vl.write_squares(tmp_path / "data", pictures=6)
    near = tiny_vl.write_squares(tmp_path / "near", size=(120, 96))
    far = tiny_vl.write_squares(tmp_path / "far", size=(96, 96))
    config = tmp_path / "little.yaml"
    config.write_text(
        "steps: 2\nbatch: 2\naccumulate: 1\nheld_out: 0\ncheckpointing: false\nworkers: 0\n",
        encoding="utf-8",
    )
    out = tmp_path / "sweep"
    command = [
        sys.executable, "-m", "groundingme", "sweep", base, "--positives", data, "--negatives",
        data, "--ratios", "1:2,1:1", "--total", "6", "--seeds", "1", "--config", config,
        "--in-domain", near, "--out-of-domain", far, "-o", out,
    ]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [str(word) for word in command], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = (out / "sweep.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(written)))
    assert {one["ratio"] for one in rows} == {"untouched", "1:2", "1:1"}
    assert {one["domain"] for one in rows} == {"in-domain", "out-of-domain"}
    for ratio in ("1-2", "1-1"):
        assert (out / "models" / f"{ratio}-seed0" / "training.json").exists()
        assert (out / "mixtures" / "seed0" / ratio / "manifest.json").exists()
    # The untouched model is asked once a data set, the two others as well.
    assert len(list((out / "runs").glob("*/run.json"))) == 6
