"""The study of negatives on models that see one kind of fact, everything, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.perfect import picture, questions

from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.images import BytesImage
from groundingme.models import Request, load_model
from groundingme.models.mock import Mock
from groundingme.schema import Sample
from groundingme.studies import STUDIES, running
from groundingme.studies.designs import changed_words
from groundingme.studies.study import Outcome, Setting

STUDY = STUDIES.get("negatives")
BOX = json.dumps({"bbox_2d": [10, 10, 60, 60]})
NULL = json.dumps({"bbox_2d": None})


def data(count: int = 16) -> Dataset:
    samples = [
        Sample(
            id=str(number),
            description=f"the red {noun} with a lid that is open",
            target=(10.0, 10.0, 60.0, 60.0),
            width=160 + number,
            height=160,
            image=BytesImage(f"{number}.jpg", picture((160 + number, 160))),
            subtask_l1="Discriminative",
            subtask_l2="State",
            detection_type=noun,
        )
        for number, noun in enumerate(["box", "mug"] * (count // 2))
    ]
    return Dataset(name="things", source="here", samples=samples)


def sees(*facts: str) -> Callable[[Request], str]:
    """A model that rejects where one of these facts is missing from the description."""

    def reply(request: Request) -> str:
        return BOX if all(re.search(rf"\b{fact}\b", request.prompt) for fact in facts) else NULL

    return reply


def study(folder: Path, *scripts: Callable[[Request], str]) -> Outcome:
    knobs = {one.name: one.default for one in STUDY.knobs}
    models = [Mock(f"model-{at}", script=one) for at, one in enumerate(scripts)]
    return running.run(STUDY, Setting(models=models, datasets=[data()], folder=folder, knobs=knobs))


def test_a_model_that_sees_colours_alone_is_found_blind_for_the_rest(tmp_path: Path) -> None:
    outcome = study(tmp_path, sees("red"))
    found = outcome.values["rejected"]["mock/model-0"]
    assert found["rule: appearance"].value == 1.0
    assert found["rule: component"].value == found["rule: state"].value == 0.0
    assert found["other image"].value == 0.0
    assert outcome.values["falsely"]["mock/model-0"].value == 0.0
    assert outcome.values["against_twins"]["mock/model-0"]["rule: appearance"].value == 1.0
    assert "rejects 100.0 % of the negatives 'rule: appearance'" in outcome.finding
    blind = outcome.finding.partition("no sign of having seen the change in")[2]
    assert "'rule: component'" in blind
    assert "'rule: appearance'" not in blind


def test_a_model_that_rejects_everything_has_seen_nothing(tmp_path: Path) -> None:
    outcome = study(tmp_path, lambda request: NULL, sees("red", "with", "open"))
    found = outcome.values["rejected"]["mock/model-0"]
    assert all(one.value == 1.0 for one in found.values())
    twins = outcome.values["against_twins"]
    assert all(one.value == 0.0 for one in twins["mock/model-0"].values())
    assert twins["mock/model-1"]["rule: component"].value == 1.0
    assert twins["mock/model-1"]["rule: state"].value == 1.0
    # Both reject all of those, but only one of them the other pictures.
    assert outcome.values["order"]["other image"][0] == "mock/model-0"


def test_every_negative_is_counted_once(tmp_path: Path) -> None:
    outcome = study(tmp_path, sees("red"))
    counts = outcome.values["counts"]
    assert counts["rule: appearance"] == counts["other image"] == 16
    rows = {row[0]: row[1] for row in outcome.tables[2].rows}
    rules = sum(count for name, count in counts.items() if name.startswith("rule"))
    assert rows["1 word"] + rows.get("2 words", 0) + rows.get("3 words or more", 0) == rules


def test_words_that_changed_are_counted() -> None:
    assert changed_words("the red mug", "the blue mug") == (1, 1 / 3)
    assert changed_words("a mug with a lid", "a mug with no lid") == (1, 1 / 5)
    assert changed_words("a mug", "a mug that is open") == (3, 3 / 5)
    assert changed_words("a mug", "A mug.") == (0, 0.0)


def test_data_without_positives_is_refused(tmp_path: Path) -> None:
    only = Dataset(name="n", source="here", samples=[
        Sample(id="a", description="a cup", target=None, subtask_l1="Rejection")
    ])  # fmt: skip
    knobs = {one.name: one.default for one in STUDY.knobs}
    with pytest.raises(UsageError, match="expected positives"):
        running.planned(
            STUDY,
            Setting(models=[load_model("baseline/null")], datasets=[only], folder=tmp_path,
                    knobs=knobs),
        )  # fmt: skip


def test_data_of_which_nothing_can_be_made_is_refused(tmp_path: Path) -> None:
    made = questions({(160 + at, 40): [(1.0, 1.0, 30.0, 30.0)] for at in range(4)})
    knobs = {one.name: one.default for one in STUDY.knobs}
    with pytest.raises(UsageError, match="expected negatives, got none"):
        running.planned(
            STUDY,
            Setting(models=[load_model("baseline/null")], datasets=[made], folder=tmp_path,
                    knobs=knobs),
        )  # fmt: skip


@pytest.mark.slow
def test_the_demonstration_runs_with_negatives_of_the_command(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from groundingme.cli import main
    from groundingme.train.negatives import Options, make_negatives

    make_negatives("scenes:seed=11,n=40", out=tmp_path / "written",
                   options=Options(kinds=("appearance",)))  # fmt: skip
    out = CliRunner().invoke(
        main,
        ["study", "negatives", "--data", "scenes:seed=11,n=40", "--quiet", "--out", str(tmp_path),
         "--set", f"made={tmp_path / 'written'}"],
    )  # fmt: skip
    assert out.exit_code == 0, out.output
    written = json.loads((tmp_path / "negatives" / "study.json").read_text())
    shares = written["values"]["rejected"]["builtin/grounder"]
    # The same rule on the same positives.
    assert shares["written: appearance"]["value"] == shares["rule: appearance"]["value"]
    assert written["values"]["falsely"]["builtin/grounder-positive-only"]["value"] == 0.0
