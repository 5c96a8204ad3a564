"""A server that goes away in the middle of a run, for a while or for good."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import groundingme
from chat import ChatServer, Reply
from groundingme.errors import FatalError
from groundingme.progress import Silent
from groundingme.result import Result
from groundingme.retrying import Outage
from groundingme.runner import RetryPolicy
from test_evaluation import make_data

SAMPLES = 200
QUICK = RetryPolicy(attempts=3, base=0.1, window=0.5, outage=20)


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def run(server: ChatServer, data: Path, out: Path, **options: Any) -> Result:
    options.setdefault("retry", QUICK)
    options.setdefault("concurrency", 8)
    return groundingme.evaluate(
        "openai/m", str(data), coords="abs", base_url=server.base_url, out=out, timeout=5, **options
    )


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set, and a run on it of a server that stays."""
    here = tmp_path_factory.mktemp("peace")
    data = make_data(here / "data", samples=SAMPLES)
    with ChatServer(keep=False) as server:
        result = run(server, data, here / "runs")
    assert result.path
    return data, result.path


def same_scores(result: Result, quiet: Path) -> bool:
    assert result.path
    return all(
        (result.path / name).read_bytes() == (quiet / name).read_bytes()
        for name in ("scores.json", "scores.jsonl")
    )


class Failing:
    """A server that answers 502 to everything from the 60th request on, for some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.since = 0.0
        self.asked = self.refused = 0

    def __call__(self, description: str) -> Reply:
        self.asked += 1
        if self.asked == 60:
            self.since = time.monotonic()
        if self.since and time.monotonic() - self.since < self.seconds:
            self.refused += 1
            return Reply(status=502)
        return Reply(delay=0.01)


@pytest.mark.parametrize(("attempts", "lost"), [(6, 0), (3, 1)])
def test_a_server_that_fails_for_a_while(
    peace: tuple[Path, Path], tmp_path: Path, attempts: int, lost: int
) -> None:
    """All 8 in hand are refused up to four times, until the window is over; then one
    asks at a time, after 0.1, 0.2, 0.4 ... s."""
    data, quiet = peace
    told, failing = Told(), Failing(4)
    with ChatServer(default=failing, keep=False) as server:
        policy = RetryPolicy(attempts=attempts, base=0.1, window=0.5, outage=20)
        result = run(server, data, tmp_path, progress=told, retry=policy)
    assert result.failed == lost
    assert failing.refused <= 4 * 8 + 8
    assert failing.asked == SAMPLES - result.failed + failing.refused
    away, back = [line for line in told.lines if line.startswith("the server is")]
    assert "away, looking for it for up to 20 s" in away
    assert "502" in away
    assert back.startswith("the server is back after")
    assert lost or same_scores(result, quiet)


def test_without_looking_it_would_cost_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same server, and nobody who notices: what the test above is worth."""
    monkeypatch.setattr(Outage, "failed", lambda *given, **more: False)
    data = make_data(tmp_path / "data", samples=SAMPLES)
    failing = Failing(4)
    with ChatServer(default=failing, keep=False) as server:
        result = run(server, data, tmp_path / "runs", retry=RetryPolicy(attempts=3, base=0.1))
    assert result.failed > 15
    assert failing.refused > 60


def test_a_server_that_is_killed_and_started_again(
    peace: tuple[Path, Path], tmp_path: Path
) -> None:
    data, quiet = peace
    told = Told()

    def reply(description: str) -> Reply:
        if len(server.asked) == 60 and not told.lines:
            server.go_away()
            threading.Timer(3, server.come_back).start()
        return Reply(delay=0.05)

    with ChatServer(default=reply, keep=False) as server:
        result = run(server, data, tmp_path, progress=told)
        # What was in flight is asked again, and nothing else reached it.
        assert len(server.asked) <= SAMPLES + 8
    assert not result.failed
    assert any("connection refused" in line for line in told.lines)
    assert told.lines[-1].startswith("the server is back after")
    assert same_scores(result, quiet)


@pytest.mark.parametrize("killed", [True, False])
def test_a_server_that_goes_for_good(
    peace: tuple[Path, Path], tmp_path: Path, *, killed: bool
) -> None:
    """The run ends in time, nothing is recorded as failed, and the next one asks the rest."""
    data, quiet = peace
    gone = 0.0

    def reply(description: str) -> Reply:
        nonlocal gone
        if len(server.asked) >= 60 and not gone:
            gone = time.monotonic()
            if killed:
                server.go_away()
        return Reply(status=503) if gone and not killed else Reply(delay=0.02)

    policy = RetryPolicy(attempts=8, base=0.1, window=0.5, outage=2)
    with ChatServer(default=reply, keep=False) as server:
        with pytest.raises(FatalError, match="went away and did not come back in 2 s") as caught:
            run(server, data, tmp_path, retry=policy)
        assert time.monotonic() - gone < 2 + 40
        assert len(server.asked) <= 60 + 8 + 4 * 8 + 8
    assert "the same command continues there" in str(caught.value)
    (file,) = tmp_path.glob("*/generations.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert not any(one.get("failure") for one in lines)
    assert 40 < len(lines) < 70
    with ChatServer(keep=False) as server:
        result = run(server, data, tmp_path)
        asked = {one.removeprefix("thing ") for one in server.asked}
    assert asked == {str(n) for n in range(SAMPLES)} - {one["id"] for one in lines}
    assert len(server.asked) == len(asked)
    assert same_scores(result, quiet)


def test_the_command_ends_with_1_and_goes_on(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=40)
    gone = False

    def reply(description: str) -> Reply:
        nonlocal gone
        if len(server.asked) == 10 and not gone:
            gone = True
            server.go_away()
        return Reply(delay=0.02)

    with ChatServer(default=reply, keep=False) as server:
        command = [
            sys.executable, "-m", "groundingme", "eval", "openai/m", "--coords", "abs", "--json",
            "--data", str(data), "--base-url", server.base_url, "--out", str(tmp_path / "runs"),
            "--outage-for", "1",
        ]  # fmt: skip
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert ended.returncode == 1, ended.stderr
        assert "did not come back in" in ended.stderr
        server.come_back()
        again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["failed"] == 0


@pytest.mark.parametrize("at", [0, 60, SAMPLES - 6])
def test_samples_that_a_server_dislikes_are_no_outage(tmp_path: Path, at: int) -> None:
    """Six in a row, with four in hand, each of which is answered 500 whenever it is asked."""
    data = make_data(tmp_path / "data", samples=SAMPLES)
    script = {f"thing {n}": [Reply(status=500)] for n in range(at, at + 6)}
    policy = RetryPolicy(attempts=4, base=0.02, window=0.05, outage=20)
    told = Told()
    with ChatServer(script, default=lambda description: Reply(delay=0.01), keep=False) as server:
        result = run(server, data, tmp_path / "runs", retry=policy, concurrency=4, progress=told)
    failed = {one.id for one in result.scores if one.outcome == "failed"}
    assert failed == {str(n) for n in range(at, at + 6)}
    if at == 60:
        assert any(line.startswith("the server is away") for line in told.lines)
