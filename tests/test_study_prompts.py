"""The study of prompts on models that follow what they are asked, and on one that does not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from tests.chat import ChatServer
from tests.scripted import ELSEWHERE, TARGET, Scripted, dataset

from groundingme.cli import main
from groundingme.images import Encoded
from groundingme.models import Request, load_model
from groundingme.models.anthropic import Anthropic
from groundingme.models.vllm import turns
from groundingme.prompts import render
from groundingme.schema import Box, Generation
from groundingme.studies import STUDIES, running
from groundingme.studies.study import Outcome, Setting
from groundingme.studies.ways import read_point, ways

STUDY = STUDIES.get("prompts")
SUBTASKS = [("Spatial", "Counting"), ("Rejection", "Text")]
EACH = 20


def _truth(request: Request, least: int) -> Box | None:
    l1, _, number = request.id.split("-")
    if int(number) < least:
        return ELSEWHERE
    return None if l1 == "rejection" else TARGET


def obedient(name: str, least: int = 0) -> Scripted:
    """Right from sample number `least` on, in whatever format it is asked for."""

    def says(request: Request) -> str | Box | None:
        box, prompt = _truth(request, least), request.prompt
        if "point_2d" in prompt:
            middle = box and [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
            return json.dumps({"point_2d": middle})
        if box is None:
            return "There is no matching object." if "no matching object" in prompt else None
        x1, y1, x2, y2 = box
        width, height = request.width, request.height
        if "1000 wide" in prompt:
            return (x1 / width * 1000, y1 / height * 1000, x2 / width * 1000, y2 / height * 1000)
        if "fractions" in prompt:
            return (x1 / width, y1 / height, x2 / width, y2 / height)
        if "y before x" in prompt:
            return (y1, x1, y2, x2)
        if "<box>" in prompt:
            return f"<box>{x1}, {y1}, {x2}, {y2}</box>"
        return box

    return Scripted(name, says)


def pixels_only(name: str, least: int = 0) -> Scripted:
    """As good, but it writes JSON in pixels whatever it is asked for."""
    return Scripted(name, lambda request: _truth(request, least))


def _study(folder: Path, *models: Scripted, kinds: str = "") -> Outcome:
    setting = Setting(models=models, datasets=[dataset(SUBTASKS, EACH)], folder=folder,
                      knobs={"kinds": kinds})  # fmt: skip
    return running.run(STUDY, setting)


def test_every_way_is_a_prompt_for_one_description() -> None:
    kinds = {one.kind for one in ways()}
    assert kinds == {"", "wording", "format", "schema", "order", "system", "null"}
    for one in ways():
        if one.prompt:
            assert "a red {x} cup" in render(one.prompt, "a red {x} cup"), one.name
            assert one.prompt == one.prompt.strip(), one.name


def test_a_model_that_writes_pixels_only_fails_the_other_formats(tmp_path: Path) -> None:
    outcome = _study(tmp_path, pixels_only("stubborn"), obedient("obedient"))
    assert outcome.values["failing"] == {
        "scripted/stubborn: 0-1000": "pixels",
        "scripted/stubborn: 0-1": "pixels",
        "scripted/stubborn: yxyx": "pixels",
    }
    assert (
        "scripted/stubborn fails the formats 0-1000, 0-1, yxyx (it writes pixels)."
        in outcome.finding
    )
    right = outcome.values["right"]
    assert set(right["scripted/obedient"].values()) == {1.0}
    assert right["scripted/stubborn"]["pixels"] == 1.0
    # Rejections stay right; every box of another format is wrong.
    assert right["scripted/stubborn"]["0-1000"] == right["scripted/stubborn"]["yxyx"] == 0.5
    assert "points" in outcome.values["worse"]["scripted/stubborn"]
    assert outcome.values["worse"]["scripted/obedient"] == []
    # They are equally good but where one fails: four ways of seventeen.
    assert (
        "scripted/stubborn is clearly ahead of scripted/obedient in 0 ways, behind in 4"
        in outcome.finding
    )


def test_a_conclusion_that_holds_under_every_way(tmp_path: Path) -> None:
    outcome = _study(tmp_path, obedient("good"), obedient("poor", least=12), kinds="wording, null")
    assert (
        "scripted/good is clearly ahead of scripted/poor in 8 ways, behind in 0" in outcome.finding
    )
    assert outcome.finding.endswith("No coordinate format was asked for.")
    assert set(outcome.values["right"]["scripted/poor"].values()) == {0.4}


@pytest.mark.parametrize("least", [0, 99])
def test_one_model_with_all_or_nothing_right(tmp_path: Path, least: int) -> None:
    outcome = _study(tmp_path, obedient("only", least), kinds="format,schema")
    share = "0.0" if least else "100.0"
    assert f"is right in {share} % (unified) to {share} %" in outcome.finding
    assert "No model keeps to another coordinate format" in outcome.finding


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"point_2d": [3, 4.5]}', (3.0, 4.5)),
        ("```json\n[{'point_2d': [[3, 4]]}]\n```", (3.0, 4.0)),
        ("<point>3, 4</point>", (3.0, 4.0)),
        ("<point>(3, 4)</point>", (3.0, 4.0)),
        ('first {"point": [1, 1]}, no: {"point": [3, 4]}', (3.0, 4.0)),
        ('{"point_2d": null}', None),
        ("There is no matching object.", None),
        ('{"bbox_2d": [1, 2, 3, 4]}', "unparsed"),
        ("", "unparsed"),
    ],
)
def test_points_are_read(text: str, expected: object) -> None:
    assert read_point(Generation(id="a", text=text)) == expected


def test_system_prompt_and_order_reach_the_server_and_are_part_of_a_run() -> None:
    options = {"system": "Look closely.", "order": "text-first"}
    request = Request(id="a", prompt="Where?", image=Encoded(b"bytes", "image/jpeg", 3, 2))
    with ChatServer() as server:
        plain = load_model("openai/m", base_url=server.base_url)
        posed = load_model("openai/m", base_url=server.base_url, **options)

        async def ask() -> None:
            for model in (plain, posed):
                await model.generate(request)
                await model.aclose()

        asyncio.run(ask())
    usual, other = (body["messages"] for body in server.requests)
    assert [one["type"] for one in usual[0]["content"]] == ["image_url", "text"]
    assert other[0] == {"role": "system", "content": "Look closely."}
    assert [one["type"] for one in other[1]["content"]] == ["text", "image_url"]
    assert other[1]["content"][::-1] == usual[0]["content"]
    added = {"added_system": "Look closely.", "order": "text-first"}
    assert posed.settings() == plain.settings() | added


def test_the_order_of_other_providers() -> None:
    request = Request(id="a", prompt="Where?", image=Encoded(b"bytes", "image/jpeg", 3, 2))
    other = msgspec.structs.replace(request, text_first=True)
    claude = Anthropic("claude-x")
    for content in (lambda one: turns(one)[0]["content"],
                    lambda one: claude._fields(one)["messages"][0]["content"]):  # fmt: skip
        assert [part["type"] for part in content(request)][-1] == "text"
        assert content(other) == content(request)[::-1]


@pytest.mark.slow
def test_the_demonstration(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        main, ["study", "prompts", "--data", "scenes:seed=11,n=36", "--set", "kinds=format,order",
               "--out", str(tmp_path), "--json", "--quiet"],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    right = json.loads(found.stdout)["values"]["right"]["builtin/grounder"]
    # It reads the unified prompt, and is told no order.
    assert right["unified"] == right["text first"] > 0.6
    assert (tmp_path / "prompts" / "figure.svg").is_file()
