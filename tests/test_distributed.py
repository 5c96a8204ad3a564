"""One run by several workers: the same scores, nothing lost, nothing twice. Ray: `test_ray`."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import psutil
import pytest
from click.testing import CliRunner

import worked
from chat import ChatServer, Holding, Reply
from groundingme import evaluate
from groundingme.cache import Cache
from groundingme.cli import main
from groundingme.datasets import load_dataset
from groundingme.distributed import LOST, SHARDS, Recipe, Workers, _Asker, _Shard
from groundingme.errors import FatalError, UsageError
from groundingme.runner import RetryPolicy
from groundingme.store import RunFolder

TWO = Workers(number=2, shard_size=4)


def of(run: Path | None, name: str = "scores.jsonl") -> bytes:
    assert run
    return (run / name).read_bytes()


def ids(run: Path | None) -> list[str]:
    """Of every line that the run keeps."""
    return [json.loads(line)["id"] for line in of(run, "generations.jsonl").splitlines()]


def test_two_processes_score_as_one(tmp_path: Path) -> None:
    alone = evaluate("baseline/center", "scenes:n=30", out=tmp_path / "alone")
    both = evaluate("baseline/center", "scenes:n=30", out=tmp_path / "both", workers=TWO)
    assert alone.path
    assert both.path
    assert both.path.name == alone.path.name
    assert of(both.path) == of(alone.path)
    assert sorted(ids(both.path)) == sorted(ids(alone.path))
    assert not (both.path / SHARDS).exists()
    # The same run: either way goes on with it, and asks nothing again.
    again = evaluate("baseline/center", "scenes:n=30", out=tmp_path / "both")
    assert again.path == both.path
    assert len(ids(again.path)) == 30


def test_a_sample_that_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    names = [one.id for one in load_dataset("scenes:n=12")]
    model = worked.Scripted(tmp_path, deadly=names[0])
    result = evaluate(model, "scenes:n=12", out=tmp_path / "runs", workers=TWO)
    assert {one.id: one.failure for one in result.generations.values() if one.failure} == {
        names[0]: LOST
    }
    assert "died with this shard" in result.generations[names[0]].detail
    assert len(result.generations) == 12
    assert max(Counter(ids(result.path)).values()) == 1
    # The same command asks what failed, and nothing else.
    before = len(model.asked())
    model.deadly = ""
    again = evaluate(model, "scenes:n=12", out=tmp_path / "runs", workers=TWO)
    assert again.failed == 0
    assert model.asked()[before:] == [names[0]]


def test_what_no_request_can_mend_ends_the_run(tmp_path: Path) -> None:
    names = [one.id for one in load_dataset("scenes:n=40")]
    # The shard beside it is not done before, however late the second worker comes.
    model = worked.Scripted(tmp_path, fatal=names[5], seconds=0.05, patient=names[:4])
    with pytest.raises(FatalError, match=r"the key has expired; .* of 40 samples are kept") as said:
        evaluate(
            model, "scenes:n=40", out=tmp_path / "runs", workers=TWO, concurrency=1, max_failed=1
        )
    assert (said.value.kind, said.value.status) == ("auth", 401)
    (run,) = (tmp_path / "runs").iterdir()
    # What was answered is kept, and most was never asked.
    assert sorted(ids(run)) == sorted(set(model.asked()) - {names[5]})
    assert len(model.asked()) <= 20


def test_requests_a_minute_are_those_of_all_workers(tmp_path: Path) -> None:
    model = worked.Scripted(tmp_path)
    evaluate(model, "scenes:n=16", out=tmp_path / "runs", workers=TWO, rpm=240)
    times = sorted(float(line.split()[1]) for line in worked.lines(tmp_path / "asked"))
    # Two of them at 120 a minute each: two at once, and then one in half a second. At 240 each it
    # would be one second.
    assert times[-1] - times[0] > 2.5


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    ["SIGKILL", pytest.param("SIGTERM", marks=SLOW), pytest.param("SIGINT", marks=SLOW)],
)
def test_an_ended_run_goes_on_and_asks_nothing_twice(tmp_path: Path, name: str) -> None:
    # So the end comes in the middle of the first shards, of which nothing has come back yet.
    holding = Holding(lambda words: Reply('{"bbox_2d": null}'), 12)
    with ChatServer(default=holding) as server:
        command = [
            sys.executable, "-m", "groundingme", "eval", "openai/m", "--data", "scenes:n=64",
            "--base-url", server.base_url, "--out", str(tmp_path), "--workers", "2",
            "--concurrency", "2", "--shard-size", "16", "--quiet",
        ]  # fmt: skip
        with subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as first:
            while holding.held < 4:
                assert first.poll() is None
                time.sleep(0.02)
            workers = psutil.Process(first.pid).children()
            number = getattr(signal, name)
            (os.killpg if number == signal.SIGINT else os.kill)(first.pid, number)
            code = first.wait(90)
        assert not psutil.wait_procs(workers, timeout=90)[1]
        assert code == (-9 if name == "SIGKILL" else 130)
        (run,) = tmp_path.iterdir()
        if name == "SIGKILL":
            assert ids(run) == []
            assert list((run / SHARDS).glob("*.jsonl"))
        else:
            assert len(ids(run)) == 12
        holding.answer_only(None)
        subprocess.run(command, check=True, capture_output=True)
        assert len(RunFolder.open(run).generations()) == 64
        assert max(Counter(ids(run)).values()) == 1
        # Four were in flight, and nothing else was asked again.
        assert len(server.requests) == 64 + 4
        assert not (run / SHARDS).exists()


def test_what_several_workers_cannot_do_is_said(tmp_path: Path) -> None:
    given: dict[str, Any] = {"out": tmp_path / "runs"}
    with pytest.raises(UsageError, match=r"no budget with several workers, got \$2"):
        evaluate("baseline/center", "scenes:n=3", workers=TWO, budget=2, price="1,1", **given)
    with pytest.raises(UsageError, match="no cache with the engine ray"):
        evaluate(
            "baseline/center", "scenes:n=3", workers=Workers(engine="ray"),
            cache=Cache(tmp_path / "cache"), **given,
        )  # fmt: skip
    with pytest.raises(UsageError, match="1 worker or more, got 0"):
        evaluate("baseline/center", "scenes:n=3", workers=Workers(number=0), **given)
    assert not (tmp_path / "runs").exists()


def test_a_server_that_went_away_is_waited_for_between_shards(tmp_path: Path) -> None:
    """A worker that was answered knows the server, and so its next shard does."""
    with ChatServer(default=lambda words: Reply('{"bbox_2d": null}', delay=0.02)) as server:
        asker = _Asker(
            Recipe(model="openai/m", options={"base_url": server.base_url}),
            {"prompt": "{description}", "retry": RetryPolicy(attempts=1, base=0.01, outage=0.5)},
            2, {}, str(tmp_path), "",
        )  # fmt: skip
        samples = list(load_dataset("scenes:n=8"))
        first = asker(_Shard(samples[:4]))
        assert [bool(one.failure) for one in first.generations] == [False] * 4
    second = asker(_Shard(samples[4:]))
    assert second.error
    assert "the server went away and did not come back" in str(second.error)


def test_every_node_has_the_same_version() -> None:
    with pytest.raises(UsageError, match=r"expected groundingme 0\.0 on every node, got"):
        Recipe(model="baseline/center", options={}, version="0.0").load()


def test_processes_share_the_cache(tmp_path: Path) -> None:
    model = worked.Scripted(tmp_path)
    cache = Cache(tmp_path / "cache")
    evaluate(model, "scenes:n=12", out=tmp_path / "one", workers=TWO, cache=cache)
    result = evaluate(model, "scenes:n=12", out=tmp_path / "two", workers=TWO, cache=cache)
    assert all(one.cached for one in result.generations.values())
    assert len(model.asked()) == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "ray"], "expected --workers N with --engine ray"),
        (["--shard-size", "3"], "expected --workers N, or --engine ray"),
        (["--workers", "2", "--ray-address", "auto"], "expected the engine ray"),
        (["--workers", "2", "--budget", "1", "--price", "1,1"], "expected no budget"),
    ],
)
def test_options_that_contradict(tmp_path: Path, options: list[str], said: str) -> None:
    command = ["eval", "baseline/center", "--data", "scenes:n=3", "--out", str(tmp_path / "runs")]
    result = CliRunner().invoke(main, [*command, *options])
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "runs").exists()


DOCS = Path(__file__).resolve().parents[1] / "docs" / "distributed.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOCS.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def used(line: str) -> None:
    """Fails where `groundingme eval` takes no such options."""
    words = shlex.split(line)
    assert words[:2] == ["groundingme", "eval"]
    command = main.get_command(click.Context(main), "eval")
    assert command
    command.make_context("eval", words[2:])


def test_start_up_scripts_can_be_read_by_a_shell() -> None:
    scripts = blocks("sh")
    assert len(scripts) == 2
    for script in scripts:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)
        (command,) = re.findall(r"groundingme eval .*", script.replace("\\\n", " "))
        used(command)


def test_the_ray_job_is_complete() -> None:
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    job = yaml.safe_load(text)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    used(job["spec"]["entrypoint"])
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        there = {one["name"] for one in pod["volumes"]}
        assert {one["name"] for box in pod["containers"] for one in box["volumeMounts"]} == there
