"""A function over shards: what raises, what dies, what ends early, and that nobody is left."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import worked
from groundingme.errors import JobError, MissingDependencyError, RetryableError, UsageError
from groundingme.sharding import AGAIN, Lost, actors, run_shards

TESTS = Path(__file__).parent


def test_one_worker_is_this_process_and_begins_when_it_is_asked() -> None:
    results = run_shards(worked.squares, [1, 2, 3])
    assert list(results) == [(n, (n * n, os.getpid())) for n in (1, 2, 3)]
    never = run_shards(worked.broken, [1])
    never.close()
    with pytest.raises(ValueError, match="no weights"):
        list(run_shards(worked.broken, [1]))
    assert list(run_shards(worked.broken, [])) == []


def test_several_workers_are_other_processes() -> None:
    found = dict(run_shards(worked.squares, range(8), workers=2))
    assert {n: square for n, (square, _) in found.items()} == {n: n * n for n in range(8)}
    assert os.getpid() not in {process for _, process in found.values()}


def test_results_come_in_the_order_of_finishing(tmp_path: Path) -> None:
    came = []
    make = functools.partial(worked.gated, str(tmp_path))
    for shard, _ in run_shards(make, [0, 1, 2], workers=2):
        came.append(shard)
        # Both were handed over when they were there, and not with the last one.
        if len(came) == 2:
            worked.log(tmp_path / "open", "yes")
    assert came == [1, 2, 0]


def test_what_raises_and_what_dies_is_told_and_harms_no_other(tmp_path: Path) -> None:
    make = functools.partial(worked.careful, str(tmp_path))
    found = dict(run_shards(make, range(7), workers=2))
    assert {n: found[n] for n in (0, 4, 5, 6)} == {n: n for n in (0, 4, 5, 6)}
    late = found[1]
    assert isinstance(late, RetryableError)
    assert (str(late), late.kind, late.retry_after) == ("too late", "timeout", 2.5)
    odd = found[2]
    assert isinstance(odd, JobError)
    assert str(odd) == "OddError: left"
    lost = found[3]
    assert isinstance(lost, Lost)
    assert "3 times; the last one: signal 9" in str(lost)
    tried = worked.lines(tmp_path / "tried")
    assert tried.count("3") == AGAIN + 1
    assert tried.count("4") == 2
    # Two workers, and at most one more for each of the four deaths.
    assert 4 <= len(worked.lines(tmp_path / "made")) <= 6


def test_a_result_that_cannot_be_sent_is_an_error_of_its_shard() -> None:
    ((_, result),) = run_shards(worked.unsendable, [1], workers=2)
    assert isinstance(result, JobError)
    assert "unsendable" in str(result)


def test_workers_that_cannot_be_made_end_it() -> None:
    with pytest.raises(ValueError, match="no weights"):
        list(run_shards(worked.broken, [1, 2], workers=2))
    with pytest.raises(JobError, match=r"3 in a row that died while loading.*exit code 3"):
        list(run_shards(worked.stillborn, [1, 2], workers=2))


def test_no_shard_is_begun_after_a_stop(tmp_path: Path) -> None:
    make = functools.partial(worked.careful, str(tmp_path))
    found: list[int] = []
    for number, _ in run_shards(make, range(5, 25), workers=2, stop=lambda: len(found) >= 2):
        found.append(number)
    # Those in hand came to their end.
    assert sorted(worked.lines(tmp_path / "tried"), key=int) == [str(n) for n in sorted(found)]
    # One came alone, then two together; the two workers had their next ones by then.
    assert 2 <= len(found) <= 5
    assert list(run_shards(worked.squares, [1, 2], stop=lambda: True)) == []


def test_who_stops_listening_leaves_no_process() -> None:
    others = psutil.Process().children()
    results = run_shards(worked.sleepers, [0.01, 60.0, 60.0], workers=2)
    assert next(results) == (0.01, 0.01)
    there = [one for one in psutil.Process().children()
             if one not in others and "resource_tracker" not in said(one)]  # fmt: skip
    assert len(there) == 2
    results.close()
    assert not [one for one in there if one.is_running()]


def said(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_workers_end_with_their_parent(tmp_path: Path, name: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import worked\nfrom groundingme.sharding import run_shards\n"
        "if __name__ == '__main__':\n"
        "    for shard, _ in run_shards(worked.sleepers, [0.01, 0.01, 60.0, 60.0], workers=2):\n"
        "        print(shard, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], env={**os.environ, "PYTHONPATH": str(TESTS)},
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout
        assert parent.stderr
        parent.stdout.readline()
        parent.stdout.readline()
        workers = psutil.Process(parent.pid).children()
        assert len(workers) >= 2
        number = getattr(signal, name)
        if number == signal.SIGINT:
            # As a terminal does: to every process of the group.
            os.killpg(parent.pid, number)
        else:
            parent.send_signal(number)
        assert parent.wait(90) == -number
        _, left = psutil.wait_procs(workers, timeout=90)
        assert not left, left
        # That of the parent: no worker heard the signal.
        interrupts = re.findall("^KeyboardInterrupt", parent.stderr.read(), re.MULTILINE)
        assert len(interrupts) == (number == signal.SIGINT)


@pytest.mark.parametrize(
    ("visible", "gpus", "expected"), [(None, 2, ["0,1", "2,3"]), ("4,7", 1, ["4", "7"])]
)
def test_each_process_sees_its_own_gpus(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    gpus: float,
    expected: list[str],
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    make = functools.partial(worked.devices, str(tmp_path), 2)
    assert sorted(of for _, of in run_shards(make, [1, 2], workers=2, gpus=gpus)) == expected


def test_processes_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    each = max(1, (os.cpu_count() or 1) // 2)
    assert [of for _, of in run_shards(worked.threads, [1], workers=2)] == [str(each)]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert [of for _, of in run_shards(worked.threads, [1], workers=2)] == ["7"]


def test_two_share_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    make = functools.partial(worked.devices, str(tmp_path), 2)
    assert [of for _, of in run_shards(make, [1, 2], workers=2, gpus=0.5)] == ["0", "0"]


class LateRay:
    """Ray on a machine so busy that a node does not start in time, so many times."""

    def __init__(self, times: int) -> None:
        self._left = times
        self.started = 0

    def init(self, **given: object) -> None:
        if self._left:
            self._left -= 1
            raise Exception("The current node timed out during startup. This could happen ...")
        self.started += 1

    def shutdown(self) -> None:
        self.started = 0


def test_a_ray_that_starts_late_is_started_once_more() -> None:
    late = LateRay(1)
    actors._connect(late, "local")
    assert late.started == 1
    with pytest.raises(UsageError, match="at local, got: The current node timed out"):
        actors._connect(LateRay(2), "local")


def test_what_cannot_be_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="engine of local, ray, got 'dask'"):
        run_shards(worked.squares, [1], engine="dask")
    with pytest.raises(UsageError, match="1 worker or more, got 0"):
        run_shards(worked.squares, [1], workers=0)
    with pytest.raises(UsageError, match="0 GPUs a worker or more, got -1"):
        run_shards(worked.squares, [1], gpus=-1)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "groundingme\[ray\]"'):
        run_shards(worked.squares, [1], engine="ray")
