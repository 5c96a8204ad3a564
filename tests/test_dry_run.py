"""A dry run shows the request that would be sent, and sends nothing."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from chat import ChatServer
from groundingme import evaluate
from groundingme.cli import main
from groundingme.dry_run import dry_run

DATA = "scenes:n=2,seed=4"


def test_it_is_the_request_that_a_run_sends(monkeypatch: pytest.MonkeyPatch, tmp_path: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-0123456789")
    options = {"thinking": "off", "extra_body": {"seed": 3}, "limit": 1}
    name = "openai/zai-org/GLM-4.5V"
    with ChatServer() as server:
        shown = dry_run(name, DATA, base_url=server.base_url, **options)
        assert server.requests == []
        evaluate(name, DATA, base_url=server.base_url, out=tmp_path, **options)
        (sent,) = server.requests
    image = sent["messages"][0]["content"][0]["image_url"]
    assert image["url"].startswith("data:image/jpeg;base64,/9j/")
    image["url"] = "data:image/jpeg;base64,..."
    assert shown["request"] == {"url": f"{server.base_url}/chat/completions", "body": sent}
    assert (shown["coords"], shown["samples"], shown["sample"]) == ("n1000", 1, "0000")
    assert "sk-a-secret" not in json.dumps(shown)


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(
        main, ["eval", "openai/x", "--data", DATA, "--base-url", "http://localhost:1/v1",
               "--coords", "abs", "--prompt", "find {description}", "--dry-run"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)["request"]["body"]
    assert body["messages"][0]["content"][1]["text"].startswith("find ")


def test_models_without_a_wire_show_the_prompt() -> None:
    shown = dry_run("baseline/null", DATA, prompt="{description}!")
    assert shown["image"] is None
    assert shown["request"]["prompt"].endswith("!")
