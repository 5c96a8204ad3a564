"""The table of model families: complete, without overlaps, with sources, and as the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chat import ChatServer
from groundingme import evaluate, resizing
from groundingme.asking import resolve
from groundingme.cli import main
from groundingme.errors import UsageError
from groundingme.geometry import COORD_FORMATS
from groundingme.models import Model, Request, load_model
from groundingme.models.families import (
    GRADES,
    Family,
    families,
    find_family,
    matching,
    parse_thinking,
    read_families,
)
from groundingme.parsing import parse
from groundingme.prompts import UNIFIED, UNIFIED_YXYX
from groundingme.schema import Generation
from perfect import questions
from served_names import FAMILY_OF, NO_FAMILY, PAPER

ROOT = Path(__file__).resolve().parents[1]


def openai(served: str) -> Model:
    return load_model(f"openai/{served}", base_url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize("served", FAMILY_OF)
def test_a_served_name_finds_its_row_and_no_other(served: str) -> None:
    for written in (served, served.upper(), f"/data/models/{served}"):
        assert [row.name for row in matching(written)] == [FAMILY_OF[served]]


@pytest.mark.parametrize("served", NO_FAMILY)
def test_a_name_of_something_else_finds_none(served: str) -> None:
    assert matching(served) == []


def test_every_row_has_a_name_in_the_list() -> None:
    assert set(FAMILY_OF.values()) == {row.name for row in families()}


def test_the_paper_s_models_are_all_there() -> None:
    rows = {model: row for row in families() for model in row.paper}
    assert len(PAPER) == 25
    assert set(rows) == set(PAPER)
    for model, served in PAPER.items():
        assert find_family(served) == rows[model]


def test_two_rows_are_none() -> None:
    both = "distilled-qwen3-vl-from-gemini-2.5-pro"
    assert len(matching(both)) == 2
    assert find_family(both) is None
    how = resolve(openai(both))
    assert (how.coords, how.source) == ("abs", "default")
    assert "several families (Qwen3-VL, Gemini 2.5)" in how.warning


@pytest.mark.parametrize("row", families(), ids=lambda row: row.name)
def test_what_a_family_writes_is_read_back(row: Family) -> None:
    for text in row.rejects:
        assert parse(text).outcome == "rejected", text
    if row.writes:
        answer = parse(row.write([0.125, 0.25, 0.5, 0.75]) if row.coords == "n1" else
                       row.write([125, 250, 500, 750]))  # fmt: skip
        assert answer.outcome == "box"
        scale = 1000 if row.coords == "n1" else 1
        assert answer.coords
        assert [scale * one for one in answer.coords] == [125, 250, 500, 750]
    assert row.prompt != "unified" or not row.coords.endswith("yxyx")


def test_a_rule_leaves_its_own_result_alone() -> None:
    for name, rule in resizing.RULES.items():
        for size in [(w, h) for w in range(30, 9000, 613) for h in range(30, 5000, 419)]:
            once = rule(*size)
            assert rule(*once) == once, (name, size)


@pytest.mark.parametrize(
    ("served", "coords", "prompt", "source"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", "n1000", UNIFIED, "family"),
        ("gemini-2.5-pro", "n1000-yxyx", UNIFIED_YXYX, "family"),
        ("google/gemma-4-31b-it", "n1000-yxyx", UNIFIED_YXYX, "family"),
        ("claude-opus-4-7", "abs-claude-4.7", UNIFIED, "family"),
        ("google/paligemma2-3b-mix-448", "loc1024", "detect {description}", "family"),
        ("microsoft/Phi-4-multimodal-instruct", "abs", UNIFIED, "default"),
        ("my-own-model", "abs", UNIFIED, "default"),
    ],
)
def test_auto(served: str, coords: str, prompt: str, source: str) -> None:
    how = resolve(openai(served))
    assert (how.coords, how.template, how.source) == (coords, prompt, source)
    assert bool(how.warning) == (source == "default" or "gemma-4" in served)
    if how.warning:
        assert f"groundingme calibrate openai/{served}" in how.warning
        assert "\n" not in how.warning
    given = resolve(openai(served), coords="n999", prompt="find {description}")
    assert (given.coords, given.template, given.warning) == ("n999", "find {description}", "")


def test_models_without_a_family_of_their_own_write_pixels_and_say_nothing() -> None:
    for name in ("baseline/center", "builtin/grounder"):
        how = resolve(load_model(name))
        assert (how.coords, how.source, how.warning) == ("abs", "provider", "")
    mock = load_model("mock/qwen3-vl", script={})
    assert resolve(mock).coords == "abs"
    with pytest.raises(UsageError, match="has no switch"):
        resolve(mock, thinking="on")


def test_no_native_prompt() -> None:
    with pytest.raises(UsageError, match="expected a model with a native prompt, got Llama 4"):
        resolve(openai("meta-llama/Llama-4-Scout"), prompt="native")
    assert resolve(openai("gpt-5.4"), prompt="native").coords == "n999"
    assert resolve(openai("gpt-5.4")).coords == "abs"


@pytest.mark.parametrize(
    ("served", "thinking", "extra"),
    [
        ("Qwen/Qwen3.5-27B", "off", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("Qwen/Qwen3.5-27B", True, {"chat_template_kwargs": {"enable_thinking": True}}),
        ("zai-org/GLM-4.5V", "off", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("doubao-seed-1-6-vision-250815", "on", {"thinking": {"type": "enabled"}}),
        ("doubao-seed-1-6-vision-250815", False, {"thinking": {"type": "disabled"}}),
        (
            "AIDC-AI/Ovis2.5-9B",
            "2,048",
            {"chat_template_kwargs": {"enable_thinking": True, "thinking_budget": 2048}},
        ),
        (
            "moonshotai/Kimi-K2.5",
            "off",
            {"thinking": {"type": "disabled"}, "chat_template_kwargs": {"thinking": False}},
        ),
        (
            "claude-sonnet-4-5",
            4000,
            {"thinking": {"type": "enabled", "budget_tokens": 4000}},
        ),
        ("Qwen/Qwen3-VL-8B-Thinking", "on", {}),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "off", {}),
        ("zai-org/GLM-4.1V-9B-Thinking", "on", {}),
        ("Qwen/Qwen3.5-27B", None, {}),
    ],
)
def test_thinking_becomes_the_family_s_switch(
    served: str, thinking: str | int | None, extra: dict[str, Any]
) -> None:
    how = resolve(openai(served), thinking=thinking)
    assert (how.extra, how.system) == (extra, "")
    assert how.template == UNIFIED


def test_thinking_by_words() -> None:
    assert resolve(openai("MiMo-VL-7B-RL"), thinking="off").template == f"{UNIFIED} /no_think"
    assert resolve(openai("MiMo-VL-7B-RL"), thinking="on").template == UNIFIED
    assert resolve(openai("gemma-4-31b"), thinking="on").system == "<|think|>"
    assert "<think>" in resolve(openai("InternVL3_5-8B"), thinking="on").system


@pytest.mark.parametrize(
    ("served", "thinking", "said"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", "on", "named 'thinking'"),
        ("Qwen/Qwen3-VL-8B-Thinking", "off", "named 'instruct'"),
        (
            "Qwen/Qwen2.5-VL-7B-Instruct",
            "on",
            "--thinking off for Qwen2.5-VL, got on: never thinks",
        ),
        ("zai-org/GLM-4.1V-9B-Thinking", "off", "--thinking on for GLM-4.1V, got off: always"),
        ("Qwen/Qwen3.5-27B", "500", "--thinking on or off for Qwen3.5"),
        ("google/gemma-3-27b-it", "off", "how it is switched is not known"),
        ("my-own-model", "on", "--extra-body"),
        ("my-own-model", "maybe", "on, off, or a budget of tokens, got 'maybe'"),
        ("my-own-model", "0", "got '0'"),
        ("my-own-model", "-5", "got '-5'"),
    ],
)
def test_thinking_that_cannot_be(served: str, thinking: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        resolve(openai(served), thinking=thinking)
    assert "\n" not in str(caught.value)


def test_a_provider_with_a_switch_of_its_own_gets_the_wish_alone() -> None:
    class Own(Model):
        name = "own/gemini-3-pro"
        switches_thinking = True

        async def generate(self, request: Request) -> Generation:
            raise NotImplementedError

    how = resolve(Own(), thinking=300)
    assert (how.thinking, how.extra, how.settings()["thinking"]) == (300, {}, 300)


def test_parse_thinking() -> None:
    assert [parse_thinking(one) for one in (None, True, False, "on", "off", 7, "7_000")] == [
        None, "on", "off", "on", "off", 7, 7000,
    ]  # fmt: skip


def test_what_goes_over_the_wire_and_what_makes_another_run(tmp_path: Path) -> None:
    data = questions({(64, 48): [(8, 8, 32, 32)]})
    with ChatServer() as server:

        def run(served: str, **settings: Any) -> Path:
            result = evaluate(
                f"openai/{served}", data, out=tmp_path, base_url=server.base_url, **settings
            )
            assert result.path
            return result.path

        first = run("Qwen/Qwen3.5-27B", extra_body={"chat_template_kwargs": {"a": 1}, "top_k": 1})
        off = run(
            "Qwen/Qwen3.5-27B",
            extra_body={"chat_template_kwargs": {"a": 1}, "top_k": 1},
            thinking="off",
        )
        assert first != off
        assert [body.get("chat_template_kwargs") for body in server.requests] == [
            {"a": 1},
            {"enable_thinking": False, "a": 1},
        ]
        assert server.requests[1]["top_k"] == 1
        assert run("Qwen/Qwen3.5-27B", coords="abs", thinking="off",
                   extra_body={"chat_template_kwargs": {"a": 1}, "top_k": 1}) == off  # fmt: skip
        assert len(server.requests) == 2  # coordinates are read at scoring
        run("Qwen/Qwen3.5-27B", thinking="off", prompt="native",
            extra_body={"chat_template_kwargs": {"a": 1}, "top_k": 1})  # fmt: skip
        assert server.asked[-1].startswith("Locate the object")
    settings = json.loads((off / "run.json").read_bytes())["settings"]
    assert settings["thinking"] == "off"
    assert settings["extra"] == {"chat_template_kwargs": {"enable_thinking": False}}


ROW = """
[[family]]
name = "a"
title = "A"
match = ['a']
coords = "n1000"
facts = { coords = "V" }
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("match", "matches"), "unknown field"),
        (("n1000", "n100"), "no coordinate format is named 'n100'"),
        (("['a']", "['(']"), "match '('"),
        (('coords = "V"', 'coords = "X"'), "does not begin with one of V, S, K, ?"),
        (('coords = "V"', 'coords = "V", native = "K"'), "facts on"),
        (("facts", 'native = "hello"\nfacts'), "a native prompt without {description}"),
        (("facts", 'writes = "[{1}, {2}]"\nfacts'), "each of {1} to {4} once"),
        (("facts", 'prompt = "native"\nfacts'), "prompt native without a native prompt"),
        (("facts", 'prompt = "unifed"\nfacts'), "neither native nor"),
        (("facts", 'image = { resize = "qwen" }\nfacts'), "no resize rule is named 'qwen'"),
        (("facts", 'image = { size = 3 }\nfacts'), "unknown field"),
        (("facts", 'thinking = { off = {} }\nfacts'), "how"),
        (("[[family]]", ROW + "[[family]]"), "its name stands twice"),
        (("[[family]]", "[[family"), "rows in"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named(
    change: tuple[str, str], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "families.toml"
    path.write_text(ROW)
    assert read_families(path)[0].name == "a"
    path.write_text(ROW.replace(*change, 1))
    with pytest.raises(UsageError, match=re.escape(said)):
        read_families(path)


def test_models_command() -> None:
    listed = CliRunner().invoke(main, ["models"])
    assert listed.exit_code == 0
    for row in families():
        assert row.title in listed.stdout
    rows = json.loads(CliRunner().invoke(main, ["models", "--json"]).stdout)["families"]
    assert [row["name"] for row in rows] == [row.name for row in families()]


@pytest.mark.parametrize("served", [*FAMILY_OF, "my-own-model", "openai/x", "baseline/center"])
def test_models_show(served: str) -> None:
    shown = CliRunner().invoke(main, ["models", "show", served])
    assert shown.exit_code == 0, shown.output
    row = find_family(served)
    assert (row.title if row else "none") in shown.stdout
    how = json.loads(CliRunner().invoke(main, ["models", "show", served, "--json"]).stdout)
    assert how["coords"] in COORD_FORMATS
    assert how["coords"] in shown.stdout
    assert how["why"] in shown.stdout
    if row:
        for fact, remark in row.facts.items():
            assert fact == "coords" or remark in shown.stdout


def page_rows() -> list[str]:
    """The table of docs/models.md, made from the rows."""
    lines = []
    for row in families():
        coords = f"`{row.coords}`" if row.coords else "calibrate"
        if row.native_coords:
            coords += f", native `{row.native_coords}`"
        writes = f"`{row.writes}`".replace("|", "\\|") if row.writes else ""
        ways = ", ".join(
            way for way in ("on", "off", "budget") if row.thinking and getattr(row.thinking, way)
            is not None
        )  # fmt: skip
        thinking = f"{row.thinking.how} ({ways})" if row.thinking else "?"
        thinking = thinking.replace("|", "\\|").replace("<", "\\<")
        lines.append(f"| {row.title} | {coords} | {row.grade('coords')} | {writes} | {thinking} |")
    return lines


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for line in page_rows():
        assert line in page, line
    for grade, said in GRADES.items():
        assert f"{grade} {said}" in page


if __name__ == "__main__":  # python tests/test_families.py prints the table for the page
    print("\n".join(page_rows()))
