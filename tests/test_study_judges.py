"""The study of judges on answers and judges that are made so that the finding is known."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.chat import ChatServer, Reply
from tests.perfect import questions

from groundingme.costs import parse_price
from groundingme.datasets import Dataset
from groundingme.errors import JobError, UnknownNameError, UsageError
from groundingme.models import Model, Request, load_model
from groundingme.scale import rulings
from groundingme.schema import Box, Generation
from groundingme.studies import STUDIES, page, running
from groundingme.studies.study import Outcome, Setting

STUDY = STUDIES.get("judges")
RIGHT: Box = (10.0, 10.0, 60.0, 60.0)
WRONG: Box = (100.0, 80.0, 150.0, 140.0)
COUNT = 16


def data() -> Dataset:
    made = questions({(160 + number, 160): [RIGHT] for number in range(COUNT)})
    return Dataset(name="boxes", source="here", samples=list(made))


class Divided(Model):
    """Four answers of two kinds; three agree, and are right for every other sample.

    The reasoning of the right answer holds the word "truly", and is the longer one for samples 0,
    1, 4, 5, ... Greedy it is right for three of four samples.
    """

    name, coords, needs_image = "mock/divided", "abs", False

    async def generate(self, request: Request) -> Generation:
        number = int(request.id.partition("x")[0]) - 160
        right = (request.trajectory < 3) == (number % 2 == 0)
        if not request.temperature:
            right = number % 4 != 3
        long = right == (number % 4 < 2)
        return Generation(
            id=request.id,
            trajectory=request.trajectory,
            text=json.dumps({"bbox_2d": RIGHT if right else WRONG}),
            reasoning=("truly" if right else "falsely") + " so it is" * (6 if long else 1),
            finish_reason="stop",
        )


def knowing(prompt: str) -> Reply:
    traces = re.findall(r"<reasoning [AB]>\n(.*)\n</reasoning", prompt)
    return Reply(r"\boxed{A}" if traces[0].startswith("truly") else r"\boxed{B}")


def first(prompt: str) -> Reply:
    return Reply(r"\boxed{A}")


def wordy(prompt: str) -> Reply:
    traces = re.findall(r"<reasoning [AB]>\n(.*)\n</reasoning", prompt)
    return Reply(r"\boxed{A}" if len(traces[0]) > len(traces[1]) else r"\boxed{B}")


def study(
    folder: Path, judge: Callable[[str], Reply] | None = None, **asking: Any
) -> tuple[Outcome, int]:
    """The outcome, and how many questions reached the judge."""
    knobs = {one.name: one.default for one in STUDY.knobs}
    knobs |= {"n": 4, "judges": "traces", "judge-price": "1,1"}
    with ChatServer(default=judge or first) as server:
        if judge:
            knobs |= {"judge": "openai/judge", "judge-url": server.base_url}
        setting = Setting(
            models=[Divided()], datasets=[data()], folder=folder, knobs=knobs, asking=asking
        )
        return running.run(STUDY, setting), len(server.asked)


def test_a_judge_that_knows_is_found_worth_its_price(tmp_path: Path) -> None:
    outcome, asked = study(tmp_path, knowing)
    found = outcome.values
    assert found["pairs"] == found["telling"] == COUNT
    # One pair a sample, in both orders.
    assert asked == 2 * COUNT == found["requests"]["traces"]
    assert found["right"]["traces"].value == 1.0
    assert found["score"]["traces"].value == 1.0
    assert found["right"]["larger cluster"].value == 0.5
    assert found["right"]["sides with mock/divided"].value == 0.75
    assert found["gain"]["traces"].value == 0.5
    assert found["first"]["traces"].value == 0.5
    assert found["longer"]["traces"].value == 0.0
    assert found["longer"]["longer reasoning"].value == 0.5
    assert "'traces' rules 100.0 % rightly, the larger cluster 50.0 %" in outcome.finding
    assert "gains +50.0" in outcome.finding
    assert "2 requests a sample" in outcome.finding
    # Price: 18 tokens a reply at a dollar a million.
    row = next(row for row in outcome.tables[1].rows if row[0] == "traces")
    assert row[4:] == [2.0, 36.0, pytest.approx(row[6]), pytest.approx(1000 * 36e-6)]


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    before, _ = study(tmp_path, knowing)
    again, asked = study(tmp_path, knowing)
    assert asked == 0
    assert page.plain(again.values) == page.plain(before.values)


def test_a_judge_that_looks_at_the_order_decides_nothing(tmp_path: Path) -> None:
    found = study(tmp_path, first)[0].values
    assert found["first"]["traces"].value == 1.0
    assert found["undecided"]["traces"] == 1.0
    assert found["right"]["traces"].value == 0.0
    # Then the larger cluster wins.
    assert found["score"]["traces"].value == found["score"]["larger cluster"].value == 0.5


def test_a_judge_that_likes_long_words_is_found_out(tmp_path: Path) -> None:
    found = study(tmp_path, wordy)[0].values
    assert found["longer"]["traces"].value == 0.5
    assert found["right"]["traces"].value == 0.5
    assert found["first"]["traces"].value == 0.5


def test_a_hybrid_asks_less(tmp_path: Path) -> None:
    found = study(tmp_path, knowing)[0].values["hybrids"]
    # The larger cluster is as sure of every pair, so the dear judge gets just the share handed on.
    mine = [one for one in found if one["handed"] in (0.0, 0.25, 0.5, 1.0)]
    requests = [one["requests"] for one in mine]
    assert {0, 8, 16, 32} <= set(requests)
    assert max(mine, key=lambda one: one["requests"])["score"].value == 1.0


def test_the_budget_holds_for_judges(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="--budget"):
        study(tmp_path, knowing, budget=5e-5, price=parse_price("0,0"))
    outcome, asked = study(tmp_path, knowing, budget=1.0, price=parse_price("0,0"))
    assert 0 < asked < 2 * COUNT
    assert outcome.values["right"]["traces"].value == 1.0


def test_unknown_judges_and_one_answer_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    knobs = {one.name: one.default for one in STUDY.knobs}
    setting = Setting(models=[Divided()], datasets=[data()], folder=tmp_path,
                      knobs=knobs | {"n": 1})  # fmt: skip
    with pytest.raises(UsageError, match="n of 2 or more"):
        running.planned(STUDY, setting)
    named = knobs | {"judge": "mock/x", "judges": "answer"}
    setting = Setting(models=[Divided()], datasets=[data()], folder=tmp_path, knobs=named)
    with pytest.raises(UnknownNameError, match="answers"):
        running.planned(STUDY, setting)


def test_without_pairs_the_finding_says_so(tmp_path: Path) -> None:
    knobs = {one.name: one.default for one in STUDY.knobs} | {"n": 2}
    setting = Setting(
        models=[load_model("baseline/center")], datasets=[data()], folder=tmp_path, knobs=knobs
    )
    outcome = running.run(STUDY, setting)
    assert outcome.finding.startswith("No sample has two different answers")
    assert math.isnan(outcome.values["right"]["larger cluster"].value)


def test_doubts_are_the_undecided_and_the_least_sure() -> None:
    said = np.array([[0, 0], [1, 1], [0, 1], [1, 1], [-1, -1]], np.int8)
    margin = np.array([0.9, 0.1, 0.5, 0.2, 0.0])
    one = rulings.Ruling(name="", winner=said, margin=margin, asks=[((), ())] * 5)
    assert one.both().tolist() == [0, 1, -1, 1, -1]
    assert rulings.doubts(one, 0).tolist() == [False, False, True, False, True]
    assert rulings.doubts(one, 1 / 3).tolist() == [False, True, True, False, True]
    assert rulings.doubts(one, 1).all()
    dear = np.array([1, 0, 1, -1, -1], np.int8)
    doubt = np.array([False, True, True, True, True])
    assert rulings.handed_over(one.both(), dear, doubt).tolist() == [0, 0, 1, 1, -1]


@pytest.mark.slow
def test_the_demonstration_runs(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from groundingme.cli import main

    out = CliRunner().invoke(
        main, ["study", "judges", "--limit", "60", "--quiet", "--out", str(tmp_path)]
    )
    assert out.exit_code == 0, out.output
    written = json.loads((tmp_path / "judges" / "study.json").read_text())
    right = written["values"]["right"]
    # A model that never rejects is no judge of rejections.
    assert (
        right["sides with builtin/grounder-positive-only"]["value"]
        < right["own confidence"]["value"]
    )
    assert (tmp_path / "judges" / "figure.svg").read_text().startswith("<svg")
