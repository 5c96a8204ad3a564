"""The study of subtasks on counts, on models whose answers are given, and on published figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.scripted import ELSEWHERE, TARGET, Scripted, dataset

from groundingme.cli import main
from groundingme.models import Request
from groundingme.report import papertables
from groundingme.studies import STUDIES, items, running, subsets
from groundingme.studies import counts as counts_of
from groundingme.studies.study import Outcome, Setting

STUDY = STUDIES.get("subtasks")


def test_published_percentages_give_counts_that_give_the_published_totals() -> None:
    counts = counts_of.published()
    assert len(counts.models) == 25
    lines = {one.label: one.cells for one in papertables.published()}
    for model, hits in zip(counts.models, counts.hits, strict=True):
        total = 100 * hits.sum() / counts.trials.sum()
        assert abs(total - lines[model]["Total"]) < 0.11, model
        rejection = 100 * hits[8:].sum() / 201
        assert abs(rejection - lines[model]["Rejection"]) < 0.06, model


def test_scores_and_kept_pairs_of_a_worked_example() -> None:
    hits, trials = np.array([[9, 2], [6, 4], [6, 0]]), np.array([10, 10])
    pairs = subsets.ordered(hits.sum(axis=1))
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    masks = subsets.subsets(2)
    assert masks.tolist() == [[True, False], [False, True], [True, True]]
    found = subsets.scores(hits, trials, masks)
    assert found.tolist() == [[0.9, 0.6, 0.6], [0.2, 0.4, 0.0], [0.55, 0.5, 0.3]]
    # Alone, the first ties the last two models; the second turns the first pair round.
    assert subsets.kept(found, pairs).tolist() == pytest.approx([2.5 / 3, 2 / 3, 1])
    assert subsets.nested(hits, trials, pairs) == [(1, pytest.approx(2.5 / 3))]


def test_the_smallest_subset_is_the_one_that_a_search_by_hand_finds() -> None:
    rng = np.random.default_rng(3)
    trials = np.array([10, 20, 30, 40, 50])
    hits = rng.binomial(trials, rng.random((6, 5)))
    pairs = subsets.ordered(hits.sum(axis=1))
    masks = subsets.subsets(5)
    shares = subsets.kept(subsets.scores(hits, trials, masks), pairs)
    row = subsets.smallest(shares, masks, trials, 1.0)
    fewest = None
    for number in range(1, 32):
        inside = [at for at in range(5) if number >> at & 1]
        scores = [sum(one[at] for at in inside) / sum(trials[at] for at in inside) for one in hits]
        if all(scores[a] > scores[b] for a, b in pairs):
            key = (len(inside), sum(trials[at] for at in inside))
            fewest = min(fewest or key, key)
    assert (int(masks[row].sum()), int(masks[row] @ trials)) == fewest


def test_item_response_finds_what_the_answers_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    ability = rng.normal(size=40)
    slope, easiness = np.array([0.0, 0.5, 1.0, 2.0, -1.0]), np.array([0.0, 1.0, -1.0, 0.5, -0.5])
    trials = np.full(5, 150)
    hits = rng.binomial(trials, 1 / (1 + np.exp(-(np.outer(ability, slope) + easiness))))
    fit = items.item_response(hits, trials)
    assert np.corrcoef(fit.ability, ability)[0, 1] > 0.97
    scale = ability.std() / fit.ability.std()
    assert np.abs(fit.slope - slope * scale).max() < 0.35
    assert np.abs(fit.easiness - easiness).max() < 0.4


def test_rank_correlation_and_signal() -> None:
    columns = np.array([[1, 4, 2, 7], [2, 3, 2, 7], [3, 2, 5, 7], [4, 1, 9, 7]], float)
    found = items.rank_correlation(columns)
    assert found[0, 1] == pytest.approx(-1)
    # Ranks 0.5, 0.5, 2, 3 against 0, 1, 2, 3: by hand 4.5 / sqrt(5 * 4.5).
    assert found[0, 2] == pytest.approx(4.5 / np.sqrt(5 * 4.5))
    assert np.isnan(found[3]).all()
    assert np.isnan(items.rank_correlation(columns[:3])).all()
    rng = np.random.default_rng(1)
    alike = items.signal(rng.binomial(50, 0.5, (400, 1)), np.array([50]))
    apart = items.signal(rng.binomial(1000, rng.random((400, 1))), np.array([1000]))
    assert alike[0] < 0.15
    assert apart[0] > 0.99


SUBTASKS = [("Spatial", "Counting"), ("Limited", "Small"), ("Rejection", "Text")]


def _knows(name: str, **least: int) -> Scripted:
    """Right in a subtask from its sample number `least` on."""

    def says(request: Request) -> object:
        _, l2, number = request.id.split("-")
        hit = int(number) >= least.get(l2, 99)
        return (None if l2 == "text" else TARGET) if hit else ELSEWHERE

    return Scripted(name, says)  # type: ignore[arg-type]


def _study(folder: Path, *models: Scripted, each: int = 30) -> Outcome:
    setting = Setting(models=models, datasets=[dataset(SUBTASKS, each)], folder=folder,
                      knobs={"published": False})  # fmt: skip
    return running.run(STUDY, setting)


def test_a_subtask_that_alone_carries_the_ranking_is_found(tmp_path: Path) -> None:
    # All are equally good at counting and text; tiny things alone tell them apart.
    models = [_knows(f"m{at}", counting=10, text=20, small=at * 8) for at in range(4)]
    outcome = _study(tmp_path, *models)
    assert outcome.values["smallest"] == {
        "1": ["Limited/Small"], "0.95": ["Limited/Small"], "0.9": ["Limited/Small"]
    }  # fmt: skip
    assert outcome.values["spared"] == ["Spatial/Counting", "Rejection/Text"]
    assert "1 of 3 subtasks (30 of 90 samples: Limited/Small)" in outcome.finding
    assert "Limited/Small separates them most" in outcome.finding
    assert outcome.values["slope"]["Limited/Small"] == max(outcome.values["slope"].values())
    page = (tmp_path / "study.html").read_text()
    assert "Limited/Small" in page
    assert "scripted/m0" in page


def test_models_that_cannot_be_told_apart_have_no_ranking(tmp_path: Path) -> None:
    outcome = _study(tmp_path, _knows("a", counting=3), _knows("b", counting=4), each=6)
    assert "No pair of the 2 models is clearly apart" in outcome.finding
    assert not outcome.figures


@pytest.mark.parametrize("least", [0, 99])
def test_one_model_that_has_all_or_nothing_right(tmp_path: Path, least: int) -> None:
    outcome = _study(tmp_path, _knows("a", counting=least, small=least, text=least), each=3)
    assert outcome.finding.startswith("One model has no ranking to keep.")


def test_published_figures_need_no_run(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        main, ["study", "subtasks", "--set", "published=true", "--data", "scenes:n=12",
               "--out", str(tmp_path), "--json"],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert said["values"]["pairs"] == 299
    assert len(said["values"]["smallest"]["1"]) == 6
    page = (tmp_path / "subtasks" / "study.html").read_text()
    assert "nothing was asked" in page
    assert "builtin/grounder" not in page
    assert not (tmp_path / "subtasks" / "runs").exists()


@pytest.mark.slow
def test_the_demonstration(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        main, ["study", "subtasks", "--data", "scenes:seed=11,n=60", "--out", str(tmp_path),
               "--json", "--quiet"],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert len(said["values"]["ability"]) == 6
    best = max(said["values"]["ability"], key=said["values"]["ability"].get)
    assert best == "builtin/grounder"
    assert (tmp_path / "subtasks" / "figure.svg").is_file()
