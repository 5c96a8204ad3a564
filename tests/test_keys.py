"""Keys: where they come from, who may read them, and that they show up nowhere."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import perfect
from groundingme import evaluate, keys
from groundingme.cli import main
from groundingme.errors import FatalError, UsageError
from groundingme.models import load_model
from groundingme.runner import RetryPolicy
from vendors import Answer, Got, VendorServer

KEY = "sk-Secret-0123456789_abcdefXYZ"
BOX = '{"bbox_2d": [1, 2, 3, 4]}'


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment, and nothing remembered of other tests."""
    for name in keys.KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keys, "_secrets", set())


def command(*args: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, ["keys", *args], input=typed)


def test_set_list_and_remove(own_configuration: Path) -> None:
    done = command("set", "OPENAI_API_KEY", typed=f"{KEY}\n")
    path = own_configuration / "keys.toml"
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"Kept OPENAI_API_KEY in {path}.\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in own_configuration.iterdir()] == ["keys.toml"]
    assert keys.find("OPENAI_API_KEY") == KEY
    assert command("set", "MY_KEY", typed='with"quotes\\and\\more').exit_code == 0
    assert keys.find("MY_KEY") == 'with"quotes\\and\\more'
    listed = command("list")
    assert listed.stdout == f"OPENAI_API_KEY  {path}\nMY_KEY  {path}\n"
    assert command("remove", "OPENAI_API_KEY").exit_code == 0
    assert keys.find("OPENAI_API_KEY") == ""
    assert keys.find("MY_KEY") != ""
    again = command("remove", "OPENAI_API_KEY")
    assert again.exit_code == 2
    assert "'OPENAI_API_KEY'" in again.stderr


def test_the_environment_goes_before_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keys.keep("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", "of-the-environment")
    assert keys.find("GEMINI_API_KEY") == "of-the-environment"
    assert json.loads(command("list", "--json").stdout) == {
        "keys": {"GEMINI_API_KEY": "environment"}
    }
    told = command("set", "GEMINI_API_KEY", typed=KEY)
    assert "goes before it" in told.stderr
    assert KEY not in told.output


def test_none_is_kept() -> None:
    listed = command("list")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "groundingme keys set NAME" in listed.stderr
    assert keys.find("OPENAI_API_KEY") == ""


@pytest.mark.parametrize(
    ("args", "typed", "said"),
    [
        (("set", KEY), None, "expected the name of a variable"),
        (("set", "OPENAI_API_KEY", KEY), None, "got it as an argument"),
        (("set", "OPENAI_API_KEY"), "", "got nothing"),
        (("set", "OPENAI_API_KEY"), f"{KEY} {KEY}", "got blanks"),
        (("set", "OPENAI_API_KEY"), "schlüssel-für-alles", "characters that no key has"),
        (("remove", KEY), None, "expected the name of a variable"),
    ],
)
def test_what_cannot_be_kept_is_said_without_showing_it(
    args: tuple[str, ...], typed: str | None, said: str, own_configuration: Path
) -> None:
    done = command(*args, typed=typed)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert KEY not in done.output
    assert "schlüssel" not in done.output
    assert not list(own_configuration.iterdir())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700 | 0o001])
def test_a_keyring_that_others_can_read_is_refused(mode: int) -> None:
    path = keys.keep("OPENAI_API_KEY", KEY)
    path.chmod(mode)
    with pytest.raises(UsageError, match=rf"has mode {mode:04o}; chmod 600 it") as caught:
        load_model("openai/m")
    assert str(path) in str(caught.value)
    assert command("list").exit_code == 2
    path.chmod(0o400)
    assert keys.find("OPENAI_API_KEY") == KEY


def test_a_keyring_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keys.keep("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(UsageError, match="belongs to the user number"):
        keys.find("OPENAI_API_KEY")


def test_with_a_variable_the_keyring_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    keys.keep("OPENAI_API_KEY", KEY).chmod(0o666)
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    assert keys.find("OPENAI_API_KEY") == "of-the-environment"


@pytest.mark.parametrize("content", [f"OPENAI_API_KEY = {KEY}", f"[a]\nb = '{KEY}'", "\xff"])
def test_a_damaged_keyring_is_said_without_showing_it(content: str) -> None:
    path = keys.keep("OPENAI_API_KEY", KEY)
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match="expected lines of NAME") as caught:
        keys.find("OPENAI_API_KEY")
    assert KEY not in str(caught.value)


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDINGME_CONFIG", str(Path(__file__) / "folder"))
    assert keys.find("OPENAI_API_KEY") == ""
    with pytest.raises(UsageError, match="set GROUNDINGME_CONFIG to another"):
        keys.keep("OPENAI_API_KEY", KEY)


def test_what_is_no_name_of_a_key_is_not_shown() -> None:
    with pytest.raises(UsageError, match="not shown") as caught:
        load_model("openai/m", api_key_env=KEY)
    assert KEY not in str(caught.value)


def test_secrets_of_headers_and_addresses_are_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        load_model("openai/m", headers={"Authorization": KEY}, timeout="soon")
    assert KEY not in str(caught.value)
    with pytest.raises(UsageError, match="'X-Key' and a value") as caught:
        load_model("openai/m", headers={"X-Key": f"{KEY}\n"})
    assert KEY not in str(caught.value)
    with pytest.raises(UsageError, match="without a user or password") as caught:
        load_model("openai/m", base_url=f"https://me:{KEY}@host/v1")
    assert KEY not in str(caught.value)
    load_model("openai/m", headers={"Authorization": f"Bearer {KEY}", "X-Title": "groundingme"})
    assert keys.masked(f"{KEY} of groundingme") == "*** of groundingme"


@pytest.mark.parametrize(
    "name", ["openai/m", "google/gemini-2.5-flash", "anthropic/claude-opus-4-6"]
)
def test_a_key_in_the_body_is_sent_and_not_kept(name: str) -> None:
    if module := PROVIDERS[name][3]:
        pytest.importorskip(module)
    body = {"api_key": KEY, "route": [{"Access-Token": f"{KEY}2", "stop_token": "<|end|>"}]}
    model = load_model(name, extra_body=body)
    shown = {"api_key": "***", "route": [{"Access-Token": "***", "stop_token": "<|end|>"}]}
    assert model.settings()["extra_body"] == shown
    assert body["api_key"] == KEY
    assert keys.masked(f"{KEY} {KEY}2") == "*** ***"


# What each API answers, and how it refuses, with the request's key in both.
def chat(said: str) -> Any:
    return {"choices": [{"message": {"content": said}, "finish_reason": "stop"}], "model": said}


def gemini(said: str) -> Any:
    content = {"parts": [{"text": said}], "role": "model"}
    return {"candidates": [{"content": content, "finishReason": "STOP"}], "modelVersion": said}


def claude(said: str) -> Any:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": said,
        "content": [{"type": "text", "text": said}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


PROVIDERS: dict[str, tuple[str, str, Callable[[str], Any], str]] = {
    "openai/m": ("OPENAI_API_KEY", "/v1", chat, ""),
    "google/gemini-2.5-flash": ("GEMINI_API_KEY", "", gemini, "google.genai"),
    "anthropic/claude-opus-4-6": ("ANTHROPIC_API_KEY", "", claude, "anthropic"),
}


class Leaky:
    """A server that says the key wherever it can; of three questions it refuses one."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        self._answer = answer
        self.asked = 0
        self.keys: set[str] = set()

    def __call__(self, got: Got) -> Answer:
        self.keys |= {value.removeprefix("Bearer ") for value in got.headers.values()} & {KEY}
        self.asked += 1
        if self.asked == 1:
            words = f"invalid header Bearer {KEY}"
            return Answer({"error": {"message": words, "code": 400, "status": words}}, status=400)
        said = BOX if self.asked == 2 else f"Your key {KEY} is nice"
        return Answer(self._answer(said))


@pytest.fixture(params=PROVIDERS)
def leaky(request: pytest.FixtureRequest) -> Iterator[tuple[str, Leaky, str]]:
    """Name of a model, the server's mind, and its address."""
    name, (variable, path, answer, module) = request.param, PROVIDERS[request.param]
    if module:
        pytest.importorskip(module)
    keys.keep(variable, KEY)
    keys._secrets.clear()
    mind = Leaky(answer)
    with VendorServer(Answer(), judge=mind) as server:
        yield name, mind, f"{server.origin}{path}"


# The SDK makes a class out of aiohttp's session, which aiohttp dislikes.
@pytest.mark.filterwarnings("ignore:Inheritance class Aiohttp:DeprecationWarning")
def test_a_kept_key_arrives_and_is_in_no_file_and_no_log(
    leaky: tuple[str, Leaky, str], tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    name, mind, address = leaky
    data = perfect.questions({(64, 48): [(8, 8, 32, 32)] * 3})
    with caplog.at_level(logging.DEBUG):
        result = evaluate(
            name, data, base_url=address, out=tmp_path, coords="abs", concurrency=1,
            retry=RetryPolicy(attempts=1),
        )  # fmt: skip
    assert mind.keys == {KEY}
    assert mind.asked == 3
    assert result.path
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"run.json", "generations.jsonl", "scores.json"} <= {file.name for file in files}
    for file in files:
        assert KEY.encode() not in file.read_bytes(), file
    assert b"***" in (result.path / "generations.jsonl").read_bytes()
    said = "".join(capfd.readouterr()) + caplog.text + repr(result) + result._repr_html_()
    assert "***" in said
    assert KEY not in said


CRASH = """
import sys
from groundingme import models
from groundingme.cli import main
{patch}
main(["eval", {name!r}, "--data", {data!r}, "--out", {out!r}, "--base-url", {url!r}, "--quiet",
      "--concurrency", "1", "--retries", "0"])
"""
PATCH = {
    "openai/m": "from groundingme.models.openai import OpenAI as owner",
    "google/gemini-2.5-flash": "from groundingme.models.google import Google as owner",
    "anthropic/claude-opus-4-6": "from groundingme.models.anthropic import Anthropic as owner",
}


def test_a_crash_shows_no_key(leaky: tuple[str, Leaky, str], tmp_path: Path) -> None:
    """A defect in the middle of a provider, whose message holds the key, in a real process."""
    name, mind, address = leaky
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jpg").write_bytes(perfect.picture((64, 48)))
    row = {"id": 1, "image": "a.jpg", "description": "thing", "bbox": [8, 8, 32, 32]}
    (data / "samples.jsonl").write_text(json.dumps(row))
    patch = PATCH[name] + textwrap.dedent(
        f"""
        def broken(self, *args):
            try:
                raise KeyError("first {KEY}")
            except KeyError:
                raise SystemError("a defect near {KEY}")
        owner._read = broken
        """
    )
    mind.asked = 1  # no refusal
    script = CRASH.format(
        patch=patch, name=name, data=str(data), out=str(tmp_path / "runs"), url=address
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True, text=True, timeout=120, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode != 0
    assert "a defect near ***" in done.stderr
    assert KEY not in done.stdout + done.stderr
    for file in (tmp_path / "runs").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def test_without_any_key_both_ways_are_named() -> None:
    pytest.importorskip("anthropic")
    data = perfect.questions({(64, 48): [None]})
    with (
        VendorServer(Answer()) as server,
        pytest.raises(FatalError, match="groundingme keys set ANTHROPIC_API_KEY"),
    ):
        evaluate("anthropic/claude-opus-4-6", data, base_url=server.origin, out="/nowhere")
