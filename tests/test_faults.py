"""A server that fails in every way: each sample has one fate, and the scores are the same."""

from __future__ import annotations

import email.utils
import json
import math
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

import groundingme
from chat import ChatServer, Reply
from faults import ENDING, PASSING, QUOTA, Moody
from groundingme.errors import FatalError, UsageError
from groundingme.progress import Silent
from groundingme.result import OUTCOMES, Result
from groundingme.runner import RetryPolicy
from test_evaluation import make_data

QUICK = RetryPolicy(attempts=4, base=0.01, probe=0.05, longest_probe=0.1)
REPLIES = (
    Reply('{"bbox_2d": [25, 20, 75, 60]}'),
    Reply('{"bbox_2d": null}'),
    Reply("I cannot help with that."),
    Reply('{"bbox_2d": [25, 20, 7', finish_reason="length"),
    Reply(None, finish_reason="content_filter"),
)


def answer(description: str) -> Reply:
    return REPLIES[zlib.crc32(description.encode()) % len(REPLIES)]


def run(server: ChatServer, data: Path, out: Path, **options: Any) -> Result:
    options.setdefault("retry", QUICK)
    options.setdefault("timeout", 30)
    return groundingme.evaluate(
        "openai/m", str(data), coords="abs", base_url=server.base_url, out=out, **options
    )


def fates(result: Result) -> dict[str, str]:
    """What became of each sample, after it was seen that the counts add up."""
    assert sum(int(result.metrics[name]) for name in OUTCOMES) == result.run.samples
    assert len({one.id for one in result.scores}) == len(result.scores) == result.run.samples
    return {one.id: one.outcome for one in result.scores}


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set, and a run on it of a server without faults."""
    here = tmp_path_factory.mktemp("peace")
    data = make_data(here / "data", samples=150)
    with ChatServer(default=answer, keep=False) as server:
        result = run(server, data, here / "runs")
    assert len(server.asked) == 150
    assert set(fates(result).values()) == {"box", "rejected", "unparsed"}
    assert result.path
    return data, result.path


@pytest.mark.parametrize(("seed", "share"), [(1, 0.1), (2, 0.5), (3, 0.5)])
def test_half_of_all_requests_may_fail(
    peace: tuple[Path, Path], tmp_path: Path, seed: int, share: float
) -> None:
    data, quiet = peace
    moody = Moody(answer, share, seed)
    with ChatServer(default=moody, keep=False) as server:
        result = run(server, data, tmp_path, timeout=1)
        for _ in range(10):
            failed = {id for id, fate in fates(result).items() if fate == "failed"}
            asked = len(server.asked)
            if not failed:
                break
            result = run(server, data, tmp_path, timeout=1)
            again = {one.removeprefix("thing ") for one in server.asked[asked:]}
            assert again == failed  # all that failed, and nothing else
    assert not result.failed
    assert len(moody.met) > len(PASSING) / 2
    assert share < 0.5 or sum(moody.met.values()) > 100
    assert result.path
    for name in ("scores.json", "scores.jsonl"):
        assert (result.path / name).read_bytes() == (quiet / name).read_bytes()


def test_sessions_that_end_early_add_up_to_a_whole_run(
    peace: tuple[Path, Path], tmp_path: Path
) -> None:
    data, quiet = peace
    moody = Moody(answer, 0.3, 4, {**PASSING, **ENDING})
    ended = set()
    with ChatServer(default=moody, keep=False) as server:
        for _ in range(100):
            try:
                result = run(server, data, tmp_path, timeout=1)
            except FatalError as error:
                ended.add(error.kind)
                continue
            fates(result)
            if not result.failed:
                break
    assert ended == {"auth", "not-found", "quota"}
    assert result.path
    for name in ("scores.json", "scores.jsonl"):
        assert (result.path / name).read_bytes() == (quiet / name).read_bytes()
    lines = (result.path / "generations.jsonl").read_text().splitlines()
    replies = [one["id"] for one in map(json.loads, lines) if "failure" not in one]
    assert sorted(replies, key=int) == [str(n) for n in range(150)]  # none twice


def patience(name: str) -> float:
    """Seconds to wait for a reply: only of what never comes they must be over soon."""
    return 3 if name in ("stalled", "never") else 60


@pytest.mark.parametrize("name", PASSING)
def test_each_fault_passes(tmp_path: Path, name: str) -> None:
    data = make_data(tmp_path / "data", samples=3)
    with ChatServer({"thing 1": [PASSING[name](), Reply("null")]}) as server:
        result = run(server, data, tmp_path / "runs", timeout=patience(name))
    assert fates(result) == {"0": "box", "1": "rejected", "2": "box"}
    assert server.asked.count("thing 1") == 2


@pytest.mark.parametrize(
    ("name", "kind"),
    {
        "429": "rate-limit",
        "502": "server",
        "dropped before": "connection",
        "dropped within": "connection",
        "stalled": "timeout",
        "no JSON": "bad-reply",
        "no choices": "bad-reply",
        "no content": "bad-reply",
    }.items(),
)
def test_a_fault_that_stays_is_a_failure_with_its_reason(
    tmp_path: Path, name: str, kind: str
) -> None:
    data = make_data(tmp_path / "data", samples=3)
    policy = RetryPolicy(attempts=2, base=0.01)
    with ChatServer({"thing 1": [PASSING[name]()]}) as server:
        result = run(server, data, tmp_path / "runs", retry=policy, timeout=patience(name))
    assert fates(result) == {"0": "box", "1": "failed", "2": "box"}
    assert any(f"failed, {kind}: 1 sample" in note for note in result.notes)


@pytest.mark.parametrize("name", ["401", "404", "quota", "402"])
def test_what_cannot_get_better_stops_at_once(tmp_path: Path, name: str) -> None:
    """An expired key in the middle: what was answered stays, and hardly anything is asked."""
    data = make_data(tmp_path / "data", samples=200)
    script = {f"thing {n}": [ENDING[name]()] for n in range(50, 200)}
    with ChatServer(script, keep=False) as server:
        with pytest.raises(FatalError, match="are kept in"):
            run(server, data, tmp_path / "runs", concurrency=8)
        assert 50 < len(server.asked) < 60
    (file,) = tmp_path.glob("runs/*/generations.jsonl")
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(kept) == 50
    assert not any(one.get("failure") for one in kept)


def test_nothing_is_asked_again_once_the_run_stops(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=3)
    script = {
        # All three are under way when this comes.
        "thing 1": [Reply(status=503, headers={"Retry-After": "60"}, delay=2)],
        "thing 2": [Reply(status=401, delay=3)],
    }
    began = time.monotonic()
    with ChatServer(script) as server, pytest.raises(FatalError):
        run(server, data, tmp_path / "runs")
    assert time.monotonic() - began < 40
    assert server.asked.count("thing 1") == 1


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def test_a_pause_until_there_is_quota_again(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=40)
    refused: list[float] = []

    def reply(description: str) -> Reply:
        if len(server.asked) >= 20 and len(refused) < 12:
            refused.append(time.monotonic())
            return Reply(status=429, body=QUOTA)
        return Reply("null")

    told = Told()
    policy = RetryPolicy(on_quota="pause", probe=0.05, longest_probe=0.2)
    with ChatServer(default=reply) as server:
        result = run(server, data, tmp_path / "runs", retry=policy, progress=told, concurrency=8)
    assert set(fates(result).values()) == {"rejected"}
    waits = [line for line in told.lines if line.startswith("waiting for quota, asking again in")]
    # Those in flight were refused once each; from then on one asks, ever more rarely.
    assert 12 - 7 <= len(waits) <= 12
    assert refused[-1] - refused[-2] > 0.19
    assert refused[-3] - refused[-4] > 0.09
    assert "no money left" in waits[0]


def test_who_asks_to_wait_for_hours_has_no_quota(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=3)
    slow = Reply(status=429, headers={"Retry-After": "7200"})
    with (
        ChatServer({"thing 1": [slow, Reply("null")]}) as server,
        pytest.raises(FatalError, match="asks to wait 7200 s") as caught,
    ):
        run(server, data, tmp_path / "runs")
    assert caught.value.kind == "quota"
    with ChatServer({"thing 1": [slow, Reply("null")]}) as server:
        policy = RetryPolicy(on_quota="pause", probe=0.05)
        assert not run(server, data, tmp_path / "paused", retry=policy).failed


def test_retry_after_may_be_a_date(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=1)
    times: list[float] = []

    def reply(description: str) -> Reply:
        times.append(time.monotonic())
        # Dates have whole seconds, so the wait is between 2 and 3 of them.
        date = email.utils.formatdate(time.time() + 3, usegmt=True)
        return Reply("null") if times[1:] else Reply(status=429, headers={"Retry-After": date})

    with ChatServer(default=reply) as server:
        result = run(server, data, tmp_path / "runs")
    assert times[1] - times[0] >= 1
    assert not result.failed


def test_failed_samples_alone_are_asked_again(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=20)
    with pytest.raises(UsageError, match="got none in"):
        groundingme.evaluate("baseline/null", str(data), out=tmp_path / "new", retry_failed=True)
    assert not (tmp_path / "new").exists()
    script = {"thing 3": [Reply(status=400), Reply("null")], "thing 10": [Reply(status=401)]}
    with ChatServer(script) as server:
        with pytest.raises(FatalError):
            run(server, data, tmp_path / "runs", concurrency=1)
        asked = len(server.asked)
        result = run(server, data, tmp_path / "runs", retry_failed=True)
        assert server.asked[asked:] == ["thing 3"]
        assert fates(result)["3"] == "rejected"
        assert result.failed == 10  # never asked


def test_a_server_that_answers_nothing_is_given_up(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=200)
    for number, reply in enumerate((Reply(status=400), Reply(status=503), Reply(body="<html>"))):
        policy = RetryPolicy(attempts=2, base=0.01)
        with ChatServer(default=lambda description, reply=reply: reply, keep=False) as server:  # type: ignore[misc]
            with pytest.raises(FatalError, match="the first 10 samples all failed, such as"):
                run(server, data, tmp_path / str(number), retry=policy, concurrency=4)
            assert len(server.asked) <= 2 * 13


def test_failures_that_hit_some_are_no_reason_to_stop(tmp_path: Path) -> None:
    """One reply among the first ten, or in an earlier session, or somebody who insists."""
    data = make_data(tmp_path / "data", samples=30)
    refusing = {f"thing {n}": [Reply(status=400)] for n in range(30) if n != 5}
    with ChatServer(refusing) as server:
        assert run(server, data, tmp_path / "one", concurrency=1).failed == 29
        assert run(server, data, tmp_path / "one", concurrency=1).failed == 29
        assert len(server.asked) == 30 + 29
    refusing = {f"thing {n}": [Reply(status=400)] for n in range(29)}
    with ChatServer(refusing) as server:
        assert run(server, data, tmp_path / "two", max_failed=1.0).failed == 29
        with pytest.raises(UsageError, match="share from 0 to 1"):
            run(server, data, tmp_path / "two", max_failed=5)


def test_a_result_without_replies_shows_no_figure(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=4)
    with ChatServer(default=lambda description: Reply(status=400)) as server:
        result = run(server, data, tmp_path / "runs")
    assert math.isnan(result.accuracy)
    assert all(math.isnan(row.acc50) for row in result.rows())
    assert repr(result).startswith("No score: none of 4 samples has a reply.")
    assert "<table>" not in result._repr_html_()
    assert "No score" in result._repr_html_()
    again = groundingme.score(tmp_path / "runs" / (result.path or Path()).name)
    assert again.without_score


def test_the_number_in_flight_is_found_out(tmp_path: Path) -> None:
    """A server with room for 6: what it refuses comes again, and it is refused rarely."""
    data = make_data(tmp_path / "data", samples=150)
    refused: list[str] = []

    def reply(description: str) -> Reply:
        if server._flying > 6:
            refused.append(description)
            return Reply(status=429)
        return Reply("null", delay=0.25)

    with ChatServer(default=reply, keep=False) as server:
        result = run(server, data, tmp_path / "runs")
    assert set(fates(result).values()) == {"rejected"}
    assert 5 <= server.most <= 10
    assert len(refused) <= 30


def test_who_asks_to_wait_is_left_alone_by_every_request(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=40)
    times: list[float] = []
    busy = Reply(status=429, headers={"Retry-After": "3"})

    def reply(description: str) -> Reply:
        times.append(time.monotonic())
        return busy if len(times) == 20 else Reply("null", delay=0.01)

    with ChatServer(default=reply) as server:
        assert not run(server, data, tmp_path / "runs", concurrency=2).failed
    # One may have been under way when the server said so.
    assert sum(one - times[19] < 2.9 for one in times[20:]) <= 1


def test_requests_a_minute_hold_on_the_wire(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=20)
    times: list[float] = []

    def reply(description: str) -> Reply:
        times.append(time.monotonic())
        return Reply("null")

    with ChatServer(default=reply) as server:
        began = time.monotonic()
        run(server, data, tmp_path / "runs", rpm=300)
        # Five at once, and the others at five a second.
        assert times[-1] - began >= 2.5
        for wrong in (0, -1, float("nan")):
            with pytest.raises(UsageError, match="rpm of 1 or more"):
                run(server, data, tmp_path / "runs", rpm=wrong)
