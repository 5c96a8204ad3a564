"""The study of reasons: clauses by rule, and models whose reasons are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from groundingme.cli import main
from groundingme.datasets import Dataset, load_dataset
from groundingme.models import Model, Request, load_model
from groundingme.models.builtin.words import description
from groundingme.schema import Box, Generation, Sample
from groundingme.studies import STUDIES, running
from groundingme.studies.clauses import clauses, only, without
from groundingme.studies.reasons import Asked, changed_clause
from groundingme.studies.study import Outcome, Setting


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("the red mug", ["red"]),
        ("a dog", []),
        ("A striped orange ball.", ["striped", "orange"]),
        ('the sign with the word "is open, red" on it', ['with the word "is open, red" on it']),
        ('the mug on which "V" is written', ['on which "V" is written']),
        ("the grey chair that has no cushion and is tilted, made of wood",
         ["grey", "has no cushion", "is tilted", "made of wood"]),
        ("a songbird that is holding its wings up", ["is holding its wings up"]),
        ("a toy car left of the red house that is open", ["left of the red house that is open"]),
        ("The white cat. It is awake. It has a bell.", ["white", "It is awake.", "It has a bell."]),
        ("man in the back wearing a blue shirt", ["wearing a blue shirt"]),
        ("the woman without a hat, standing next to the bus",
         ["without a hat", "standing next to the bus"]),
    ],
)  # fmt: skip
def test_clauses(said: str, expected: list[str]) -> None:
    found = clauses(said)
    assert [one.text for one in found] == expected
    for one in found:
        # Leaving out deletes and adds nothing but what grammar asks for.
        rest, alone = without(said, [one]), only(said, one, found)
        assert len(rest) < len(said)
        assert one.text.lower() not in rest.lower()
        assert one.text.lower() in alone.lower()
        assert not any(bad in rest for bad in ("  ", " ,", " .", "that and", "that.", "and."))


def test_every_fact_of_the_scenes_is_found_in_one_clause() -> None:
    """Also whether rules and scenes stay in step: of all that was changed, 95 % at least."""
    data = load_dataset("scenes:seed=3,n=150,rejections=0.9")
    found = [
        (one, changed_clause(one, clauses(one.description)))
        for one in data
        if "changed" in one.extra
    ]
    assert len(found) > 120
    assert sum(at >= 0 for _, at in found) >= 0.95 * len(found)
    for one, at in found:
        if at >= 0 and one.extra["changed"]["to_fact"] in ("color", "text"):
            assert str(one.extra["changed"]["to"]) in clauses(one.description)[at].text


NEAR = (10.0, 10.0, 40.0, 40.0)


class Literal(Model):
    """Answers the one thing there is where every clause is true of it; its facts are known."""

    needs_image = False
    coords = "abs"

    def __init__(self, false: str, *, name: str = "literal") -> None:
        self.name = f"literal/{name}"
        self._false = false

    async def generate(self, request: Request) -> Generation:
        box: Box | None = None if self._false in description(request.prompt) else NEAR
        return Generation(id=request.id, text=json.dumps({"bbox_2d": box}), confidence=0.8)


def asked(*said: str, to: str = "red") -> Dataset:
    changed = {"fact": "color", "from": "blue", "to": to, "to_fact": "color", "near": NEAR}
    samples = [
        Sample(id=str(at), description=text, target=None, width=100, height=100,
               subtask_l1="Rejection", subtask_l2="Appearance", extra={"changed": changed})
        for at, text in enumerate(said)
    ]  # fmt: skip
    return Dataset(name="clauses", source="made by the test", samples=samples)


SAID = ("The red mug that is open, with a lid. It is striped.", "the plain red box with a bow")


def studied(folder: Path, data: Dataset, *models: Any) -> Outcome:
    return running.run(
        STUDIES.get("interpretability"), Setting(models=models, datasets=[data], folder=folder)
    )


def test_the_false_clause_is_named_and_a_wrong_reason_is_counted_as_wrong(tmp_path: Path) -> None:
    outcome = studied(tmp_path, asked(*SAID), Literal("red"), Literal("with a", name="other"))
    right, other = (outcome.values["named"][f"literal/{one}"] for one in ("literal", "other"))
    for method in ("left out", "alone", "both"):
        assert right[method]["precision"].value == right[method]["recall"].value == 1.0
        assert other[method]["precision"].value == other[method]["recall"].value == 0.0
        assert right[method]["named"].value == other[method]["named"].value == 1.0
    assert right["left out"]["nearest thing shown"].value == 1.0
    # Of four clauses and of three, one is false.
    assert right["at random"]["precision"].value == pytest.approx((1 / 4 + 1 / 3) / 2)
    lines = (tmp_path / "reasons.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert first["rejected"] is True
    assert first["because"] == "red"
    assert first["fits"] == "The mug that is open, with a lid. It is striped."
    assert first["nearest"] == list(NEAR)
    assert "4 of 4 rejections" in outcome.finding


def test_where_no_clause_helps_no_reason_is_made_up(tmp_path: Path) -> None:
    outcome = studied(tmp_path, asked(*SAID), load_model("baseline/null"))
    named = outcome.values["named"]["baseline/null"]
    assert named["left out"]["named"].value == named["both"]["recall"].value == 0.0
    # A model that rejects everything refuses each clause alone, and that names the first.
    assert named["alone"]["named"].value == 1.0
    assert json.loads((tmp_path / "reasons.jsonl").read_text().splitlines()[0])["because"] == ""
    assert "0 of 2 rejections" in outcome.finding


def test_nothing_to_explain_and_nothing_known(tmp_path: Path) -> None:
    whole = studied(tmp_path / "a", asked(*SAID), load_model("baseline/whole"))
    assert "nothing to explain" in whole.finding
    bare = Dataset(
        name="b", source="test",
        samples=[msgspec.structs.replace(one, extra={}) for one in asked(*SAID, "a mug")],
    )  # fmt: skip
    outcome = studied(tmp_path / "b", bare, Literal("red"))
    assert "no changed fact is known" in outcome.finding


def test_of_two_open_ends_the_surer_one_that_fails_alone_is_named() -> None:
    sample = asked(SAID[0]).samples[0]
    found = clauses(SAID[0])
    one = Asked(sample=sample, found=found, boxes=[None, NEAR, NEAR, NEAR],
                sure=[0.9, 0.5, 0.95, 0.6], refused=[True, False, False, True])  # fmt: skip
    assert one.named("left out") == 2
    assert one.named("alone") == 0
    assert one.named("both") == 3
    assert one.reason().doubted == ("is open", "with a lid", "It is striped.")


@pytest.mark.slow
def test_the_demonstration(tmp_path: Path) -> None:
    command = ["study", "interpretability", "--limit", "40", "--out", str(tmp_path), "--quiet",
               "--json"]  # fmt: skip
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    named = json.loads(result.stdout)["values"]["named"]["builtin/grounder"]
    assert named["both"]["precision"]["value"] > named["at random"]["precision"]["value"] + 0.2
    assert (tmp_path / "interpretability" / "reasons.jsonl").stat().st_size > 500
