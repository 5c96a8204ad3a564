"""`groundingme doctor`: what it sees on a machine that is made so, and that it tells no secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from groundingme import doctor
from groundingme.cli import main


class Server:
    """A real HTTP server whose `/v1/models` answers what a test says."""

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"data": [{"id": "some/model"}, {"id": "other"}]}'
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                there = self.path == "/v1/models"
                self.send_response(outer.status if there else 404)
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *arguments: object) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever)
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without keys, a keyring, programs, or servers on their usual ports."""
    for name in (*doctor.keys.KNOWN, doctor.HUB_KEY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROUNDINGME_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(doctor, "SERVERS", {})
    monkeypatch.setattr(doctor, "_SECONDS", 60)
    (tmp_path / "bin").mkdir()
    return tmp_path


def named(name: str, base_urls: tuple[str, ...] = ()) -> doctor.Check:
    return next(one for one in doctor.examine(base_urls) if one.name == name)


def test_a_server_tells_its_models(server: Server) -> None:
    found = named(server.url, (server.url,))
    assert (found.state, found.found) == ("ok", "some/model, other")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"{}", "answers 500"),
        (200, b"<html>", "malformed"),
        (200, b'{"models": []}', "not as an OpenAI-compatible server"),
        (200, b'{"data": [1]}', "not as an OpenAI-compatible server"),
    ],
)
def test_a_server_that_is_none(server: Server, status: int, body: bytes, said: str) -> None:
    server.status, server.body = status, body
    found = named(server.url, (server.url,))
    assert found.state == "problem"
    assert said in found.found
    assert f"curl {server.url}/models" in found.fix


def test_nobody_listens_and_nothing_else_is_opened() -> None:
    urls = ("http://127.0.0.1:9/v1", "file:///etc/passwd")
    assert "refused" in named(urls[0], urls).found
    assert named(urls[1], urls).found == "no http address"


def test_keys_are_found_and_never_shown(monkeypatch: pytest.MonkeyPatch, bare: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-of-ours")
    doctor.keys.keep("GEMINI_API_KEY", "another-secret-of-ours")
    (bare / "hub").mkdir()
    (bare / "hub" / "token").write_text("hf_a-third-secret")
    for options in ([], ["--json"]):
        said = CliRunner().invoke(main, ["doctor", *options]).output
        assert "secret" not in said
    states = {one.name: one.state for one in doctor.examine() if one.area == "keys"}
    assert states == {
        "OPENAI_API_KEY": "ok", "GEMINI_API_KEY": "ok", "GOOGLE_API_KEY": "missing",
        "ANTHROPIC_API_KEY": "missing", "HF_TOKEN": "ok",
    }  # fmt: skip
    assert named("ANTHROPIC_API_KEY").fix == "groundingme keys set ANTHROPIC_API_KEY"


def test_a_keyring_that_others_can_read(bare: Path) -> None:
    path = doctor.keys.keep("OPENAI_API_KEY", "a-secret-of-ours")
    path.chmod(0o644)
    found = named("keyring")
    assert found.state == "problem"
    assert found.fix == f"chmod 600 {path}"
    path.chmod(0o600)
    assert named("OPENAI_API_KEY").state == "ok"


def test_gpus_as_their_program_tells(bare: Path) -> None:
    assert named("NVIDIA").state == "missing"
    program = bare / "bin" / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Some GPU, 80000 MiB, 79000 MiB'\n")
    program.chmod(0o755)
    assert named("GPU 0").found == "Some GPU, 79000 MiB free of 80000 MiB"
    program.write_text("#!/bin/sh\nexit 9\n")
    assert named("NVIDIA").state == "problem"


def test_extras_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["click>=8.1", "no-such-package>=1", 'nor-this; extra == "train"',
             'click>=8; extra == "dev"']  # fmt: skip
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: lines)
    core = named("requirements")
    assert (core.state, core.fix) == ("problem", "pip install no-such-package")
    extras = [one for one in doctor.examine() if one.area == "extras"]
    assert [(one.state, one.fix) for one in extras] == [
        ("missing", "pip install 'groundingme[train]'"), ("ok", "")
    ]  # fmt: skip


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage("/")
    assert usage.free >= 0
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage._replace(free=1 << 30))
    found = named("this folder")
    assert found.state == "problem"
    assert "make room" in found.fix


def test_the_command(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(main, ["doctor", "--base-url", server.url, "--json"])
    found = json.loads(done.output)
    assert done.exit_code == (0 if found["ok"] else 1)
    broken = CliRunner().invoke(main, ["doctor", "--base-url", "http://127.0.0.1:9/v1"])
    assert broken.exit_code == 1
    assert "!!  http://127.0.0.1:9/v1: Connection refused" in broken.output
    assert "see the lines with !!" in broken.output
