"""The study of domains: subsets of one make-up, differences of shares, models of known skill."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from tests.scripted import ELSEWHERE, TARGET, Scripted, dataset

from groundingme.cli import main
from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.models import Request
from groundingme.report.svg import Span
from groundingme.schema import Box
from groundingme.studies import STUDIES, running
from groundingme.studies.matching import gap, matched, strata
from groundingme.studies.study import Outcome, Setting

STUDY = STUDIES.get("domains")
EASY, HARD, NO = ("Discriminative", "Text"), ("Limited", "Small"), ("Rejection", "Text")


def made(name: str, easy: int, hard: int, none: int) -> Dataset:
    parts = [(EASY, easy), (HARD, hard), (NO, none)]
    samples = [
        msgspec.structs.replace(sample, id=f"{name}-{sample.id}")
        for subtask, count in parts
        for sample in dataset([subtask], count)
    ]
    return Dataset(name=name, source=name, samples=samples)


def knows_easy(request: Request) -> Box | None:
    """Right where the question is easy, whatever the data set; rejects at home only."""
    if "rejection" in request.id:
        return None if request.id.startswith("home") else TARGET
    return TARGET if "discriminative" in request.id else ELSEWHERE


def _study(folder: Path, *data: Dataset, match: str = "subtask,size") -> Outcome:
    setting = Setting(models=[Scripted("easy", knows_easy)], datasets=data, folder=folder,
                      knobs={"match": match})  # fmt: skip
    return running.run(STUDY, setting)


def test_matched_subsets_have_one_make_up_and_are_as_large_as_can_be() -> None:
    groups = [list("aaabbc"), list("abbbd"), list("aabbb")]
    masks = matched(groups, 0)
    for keys, mask in zip(groups, masks, strict=True):
        assert Counter(key for key, yes in zip(keys, mask, strict=True) if yes) == {"a": 1, "b": 2}
    assert [mask.tolist() for mask in matched(groups, 0)] == [mask.tolist() for mask in masks]
    assert not any(mask.any() for mask in matched([["a"], ["b"]], 0))


def test_strata_use_subtasks_only_where_all_data_name_them() -> None:
    one, two = made("one", 1, 1, 1), made("two", 1, 0, 1)
    assert len(set(strata([one, two], subtasks=True, sizes=True)[0])) == 3
    bare = [msgspec.structs.replace(s, subtask_l1="", subtask_l2="") for s in two]
    nameless = Dataset(name="bare", source="bare", samples=bare)
    assert len(set(strata([one, nameless], subtasks=True, sizes=True)[0])) == 2


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, table II: 56/70 against 48/80 from Wilson's intervals.
    found = gap(Span(0.6, 0.4904, 0.7005), Span(0.8, 0.6919, 0.8770))
    assert np.allclose(found.span, [0.2, 0.0524, 0.3339], atol=3e-4)
    assert found.p < 0.05
    assert gap(Span(0.5, 0.3, 0.7), Span(0.5, 0.2, 0.8)).p == 1


def test_a_difference_of_make_up_vanishes_when_matched(tmp_path: Path) -> None:
    outcome = _study(tmp_path, made("home", 40, 10, 20), made("away", 10, 40, 20))
    right = outcome.values["right"]["scripted/easy"]
    assert right["home"].value == 60 / 70
    assert right["away"].value == 10 / 70
    # Ten of either kind and twenty rejections: positives are equal, rejections alone differ.
    assert outcome.values["matched"] == 40
    assert outcome.values["gaps"]["scripted/easy"]["away"].value == -0.5
    assert "rejects 100.0 % of what nothing matches on home and 0.0 % on away" in outcome.finding
    positives = _study(tmp_path / "p", made("home", 40, 10, 0), made("away", 10, 40, 0))
    assert positives.values["gaps"]["scripted/easy"]["away"].value == 0
    assert "not clear of chance" in positives.finding
    assert positives.finding.endswith("No two data sets have samples that nothing matches to "
                                      "compare rejection on.")  # fmt: skip


def test_data_that_share_nothing_are_still_compared(tmp_path: Path) -> None:
    outcome = _study(tmp_path, made("home", 8, 0, 0), made("away", 0, 8, 0))
    assert outcome.values["matched"] == 0
    assert (
        "is right in 100.0 % on home and in 0.0 % on away, the largest change." in outcome.finding
    )
    assert "nothing can be matched" in outcome.notes[0]
    loose = _study(tmp_path / "l", made("home", 8, 0, 0), made("away", 0, 8, 0), match="size")
    assert loose.values["gaps"]["scripted/easy"]["away"].value == -1


def test_one_data_set_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected two data sets or more"):
        _study(tmp_path, made("home", 2, 0, 0))


@pytest.mark.slow
def test_the_demonstration(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        main, ["study", "domains", "--data", "scenes:seed=11,n=48",
               "--data", "scenes-hard:seed=11,n=48", "--out", str(tmp_path), "--json", "--quiet"],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    values = json.loads(found.stdout)["values"]
    assert values["matched"] > 20
    assert len(values["ids"][0]) == len(values["ids"][1]) == values["matched"]
    assert (tmp_path / "domains" / "figure.svg").is_file()
