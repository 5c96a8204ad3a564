"""The engine ray: the scores of a local run, whatever dies. Skipped where ray is not installed."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import worked
from chat import ChatServer, Holding, Reply
from groundingme import evaluate
from groundingme.distributed import SHARDS, Workers
from groundingme.errors import JobError, RetryableError, UsageError
from groundingme.sharding import AGAIN, Lost, run_shards
from groundingme.store import RunFolder

pytestmark = [
    pytest.mark.slow,
    # Of Ray's own modules, and of sockets that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore"),
]
TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """The module, where there is one; its workers can import what the tests can."""
    found = pytest.importorskip("ray", reason='needs ray: pip install "groundingme[ray]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))
        patch.delenv("RAY_ADDRESS", raising=False)
        yield found
        found.shutdown()


@pytest.fixture
def machine(ray: Any) -> Any:
    """A Ray of two CPUs on this machine, which the tests share."""
    if not ray.is_initialized():
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    return ray


def kept(run: Path | None) -> list[str]:
    """Id of every line that a run keeps."""
    assert run
    text = (run / "generations.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["id"] for line in text.splitlines()]


def scores(run: Path | None) -> bytes:
    assert run
    return (run / "scores.jsonl").read_bytes()


def test_the_built_in_grounder_scores_as_on_one_machine(machine: Any, tmp_path: Path) -> None:
    alone = evaluate("builtin/grounder", "scenes:n=60", out=tmp_path / "alone")
    spread = evaluate(
        "builtin/grounder", "scenes:n=60", out=tmp_path / "spread",
        workers=Workers(engine="ray", number=2),
    )  # fmt: skip
    assert alone.path
    assert spread.path
    assert spread.path.name == alone.path.name
    assert scores(spread.path) == scores(alone.path)
    assert sorted(kept(spread.path)) == sorted(kept(alone.path))
    assert not (spread.path / SHARDS).exists()


def test_more_workers_than_cpus_do_not_wait_for_each_other(machine: Any) -> None:
    found = dict(run_shards(worked.squares, range(20), engine="ray", workers=5))
    assert {n: square for n, (square, _) in found.items()} == {n: n * n for n in range(20)}
    assert len({process for _, process in found.values()}) <= 2


def test_results_come_in_the_order_of_finishing(machine: Any, tmp_path: Path) -> None:
    came = []
    make = functools.partial(worked.gated, str(tmp_path))
    for shard, _ in run_shards(make, [0, 1, 2], engine="ray", workers=2):
        came.append(shard)
        if len(came) == 2:
            worked.log(tmp_path / "open", "yes")
    assert came == [1, 2, 0]


def test_what_raises_and_what_dies_is_told_and_harms_no_other(machine: Any, tmp_path: Path) -> None:
    make = functools.partial(worked.careful, str(tmp_path))
    found = dict(run_shards(make, range(7), engine="ray", workers=2))
    assert {n: found[n] for n in (0, 4, 5, 6)} == {n: n for n in (0, 4, 5, 6)}
    late = found[1]
    assert isinstance(late, RetryableError)
    assert (str(late), late.kind, late.retry_after) == ("too late", "timeout", 2.5)
    assert isinstance(found[2], JobError)
    lost = found[3]
    assert isinstance(lost, Lost)
    assert str(lost).endswith("the last one: its worker process has died")
    assert worked.lines(tmp_path / "tried").count("3") == AGAIN + 1


def test_workers_that_cannot_be_made_end_it(machine: Any) -> None:
    with pytest.raises(ValueError, match="no weights"):
        list(run_shards(worked.broken, [1, 2], engine="ray", workers=2))
    with pytest.raises(JobError, match="3 in a row that died while loading"):
        list(run_shards(worked.stillborn, [1, 2], engine="ray", workers=2))


def test_no_such_cluster(ray: Any) -> None:
    ray.shutdown()
    with pytest.raises(UsageError, match=r"expected a Ray cluster at 127.0.0.1:9, got.*refused"):
        list(run_shards(worked.squares, [1], engine="ray", address="127.0.0.1:9"))


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_an_ended_driver_goes_on_and_asks_nothing_twice(
    ray: Any, tmp_path: Path, name: str
) -> None:
    # So the end comes in the middle of the first shards, of which nothing has come back yet.
    holding = Holding(lambda words: Reply('{"bbox_2d": null}'), 12)
    with ChatServer(default=holding) as server:
        command = [
            sys.executable, "-m", "groundingme", "eval", "openai/m", "--data", "scenes:n=64",
            "--base-url", server.base_url, "--out", str(tmp_path / "runs"), "--concurrency", "2",
            "--quiet",
        ]  # fmt: skip
        spread = ["--engine", "ray", "--workers", "2", "--shard-size", "16"]
        with (tmp_path / "said").open("wb") as told, subprocess.Popen(
            [*command, *spread, "--ray-address", "local"], start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=told,
        ) as first:  # fmt: skip
            while holding.held < 4:
                assert first.poll() is None, (tmp_path / "said").read_text()
                time.sleep(0.05)
            workers = [one for one in descendants(first.pid) if "_Held" in said(one)]
            first.send_signal(getattr(signal, name))
            assert first.wait(90) == (-9 if name == "SIGKILL" else 130)
        (run,) = (tmp_path / "runs").iterdir()
        assert len(kept(run)) == (0 if name == "SIGKILL" else 12)
        # The workers end with their driver, after a moment.
        assert len(workers) == 2
        assert not psutil.wait_procs(workers, timeout=120)[1]
        holding.answer_only(None)
        subprocess.run(command, check=True, capture_output=True)
        assert len(RunFolder.open(run).generations()) == 64
        assert max(Counter(kept(run)).values()) == 1
        # Four were in flight, and nothing else was asked again.
        assert len(server.requests) == 64 + 4
        assert not (run / SHARDS).exists()


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def said(process: psutil.Process) -> str:
    """Its command line, or what it calls itself."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_lost_node_loses_nothing(ray: Any, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    ray.shutdown()
    (tmp_path / "log").mkdir()
    alone = evaluate(worked.Scripted(tmp_path), "scenes:n=60", out=tmp_path / "alone")
    model = worked.Scripted(tmp_path / "log", first=20)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        lost_at: list[int] = []

        def lose() -> None:
            """When both work, and most is still to be asked."""
            deadline = time.monotonic() + 300
            while len(processes()) < 2 or len(model.asked()) <= 20:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            lost_at.append(len(model.asked()))
            cluster.remove_node(nodes[0], allow_graceful=False)
            worked.log(model.folder / "open", "yes")

        def processes() -> set[str]:
            return {line.split()[2] for line in worked.lines(model.folder / "asked")}

        thread = threading.Thread(target=lose)
        thread.start()
        result = evaluate(
            model, "scenes:n=60", out=tmp_path / "spread", concurrency=1,
            workers=Workers(engine="ray", number=2, address=cluster.address, shard_size=5),
        )  # fmt: skip
        thread.join()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert 20 < lost_at[0] < 55
    assert len(processes()) >= 2
    assert result.failed == 0
    assert sorted(kept(result.path)) == sorted(one.id for one in result.samples)
    assert scores(result.path) == scores(alone.path)
    # What a lost node costs: the shard that it had in hand, asked again.
    assert len(model.asked()) <= 60 + 5


def test_no_process_outlives_its_driver(ray: Any, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import worked\nfrom groundingme.sharding import run_shards\n"
        "if __name__ == '__main__':\n"
        "    for shard, _ in run_shards(worked.sleepers, [0.01, 0.01, 600.0, 600.0],\n"
        "                               engine='ray', workers=2, address='local'):\n"
        "        print(shard, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], start_new_session=True, env=dict(os.environ),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as driver:  # fmt: skip
        assert driver.stdout
        driver.stdout.readline()
        there = descendants(driver.pid)
        assert any("_Held" in said(one) for one in there)
        driver.kill()
    # Two of Ray's own helpers look only now and then whether their node is there.
    _, left = psutil.wait_procs(there, timeout=120)
    assert not left, left
