"""Every way in which a run can end early, and what the same command does then."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chat import ChatServer, Holding, Reply
from faults import QUOTA
from groundingme import store
from groundingme.errors import JobError
from groundingme.schema import Generation
from test_evaluation import make_data
from test_store import filled

SAMPLES = 60


def slowly(description: str) -> Reply:
    return Reply('{"bbox_2d": [25, 20, 75, 60]}', delay=0.1)


def command(base_url: str, data: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "groundingme", "eval", "openai/m", "--coords", "abs",
        "--data", str(data), "--base-url", base_url, "--out", str(out), "--json", *more,
    ]  # fmt: skip


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)


def ids(file: Path) -> list[str]:
    return [json.loads(line)["id"] for line in file.read_text().splitlines()]


def until_lines(out: Path, count: int, process: subprocess.Popen[str]) -> Path:
    """The replies of the run, as soon as there are so many."""
    for _ in range(1200):
        file = next(iter(out.glob("*/generations.jsonl")), None)
        if file and file.read_bytes().count(b"\n") >= count:
            return file
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the run does not come on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_in_order(tmp_path: Path, number: signal.Signals) -> None:
    data = make_data(tmp_path / "data", samples=SAMPLES)
    holding = Holding(lambda description: Reply('{"bbox_2d": [25, 20, 75, 60]}'), 4)
    with ChatServer(default=holding, keep=False) as server:
        arguments = command(server.base_url, data, tmp_path / "r", "--concurrency", "2")
        process = start(arguments)
        file = until_lines(tmp_path / "r", 4, process)
        while holding.held < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "the same command continues this run" in err
        found = json.loads(out)
        assert found["interrupted"] is True
        assert found["incomplete"].startswith("Not a result: ")
        assert not (file.parent / ".holder").exists()
        kept = ids(file)
        assert len(kept) == 4
        holding.answer_only(None)
        asked = len(server.asked)
        last = finish(arguments)
    assert last.returncode == 0, last.stderr
    assert len(server.asked) - asked == SAMPLES - len(kept)
    assert sorted(ids(file), key=int) == [str(n) for n in range(SAMPLES)]


def test_ctrl_c_works_while_a_quota_is_waited_for(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=SAMPLES)
    with ChatServer(default=lambda description: Reply(status=429, body=QUOTA)) as server:
        arguments = command(server.base_url, data, tmp_path / "r", "--on-quota", "pause")
        process = start(arguments)
        assert process.stderr
        lines = []
        while not lines or "waiting for quota" not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        assert "asking again in 60 s" in lines[-1]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(server.asked) <= 4


def test_the_second_process_says_who_holds_the_run(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=6)
    with ChatServer({"thing 5": [Reply(delay=300)]}) as server:
        arguments = command(server.base_url, data, tmp_path / "r")
        first = start(arguments)
        until_lines(tmp_path / "r", 5, first)
        second = finish(arguments)
        assert second.returncode == 2
        assert f"held by process {first.pid} on {os.uname().nodename} since 20" in second.stderr
        assert second.stderr.count("\n") == 1
        assert len(server.asked) == 6
        first.terminate()
        first.communicate(timeout=60)
        assert first.returncode == 130


def test_a_folder_that_is_read_only_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=4)
    with ChatServer() as server:
        out = tmp_path / "r"
        arguments = command(server.base_url, data, out)
        assert finish(arguments).returncode == 0
        (run,) = out.iterdir()
        (run / "generations.jsonl").write_bytes(b"")
        mount = subprocess.run(
            ["mount", "--bind", str(out), str(out)], capture_output=True, check=False
        )
        if mount.returncode:
            pytest.skip("needs to mount")
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(out)], check=True)
            asked = len(server.asked)
            done = finish(arguments)
            new = finish([*arguments, "--temperature", "1"])
        finally:
            subprocess.run(["umount", str(out)], check=True)
        assert done.returncode == new.returncode == 2
        for one in (done, new):
            assert "can be written" in one.stderr
            assert "Read-only file system" in one.stderr
            assert one.stderr.count("\n") == 1
        assert len(server.asked) == asked
        assert finish(arguments).returncode == 0


@pytest.mark.parametrize("left", [0, 4096, 24 * 1024])
def test_a_full_disk_is_one_line_and_the_run_goes_on(tmp_path: Path, left: int) -> None:
    """A disk of one megabyte, with so many bytes left when the run begins."""
    data = make_data(tmp_path / "data", samples=SAMPLES)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip("needs to mount")
    try:
        with (disk / "ballast").open("wb") as ballast:
            ballast.write(b"x" * (2**20 - left))
        with ChatServer(default=slowly, keep=False) as server:
            arguments = command(server.base_url, data, disk / "r", "--quiet", "--concurrency", "4")
            done = finish(arguments)
            assert done.returncode == 1, done.stderr
            assert "No space left on device" in done.stderr
            assert "the same command continues" in done.stderr
            assert done.stderr.count("\n") == 1
            file = next(iter((disk / "r").glob("*/generations.jsonl")), None)
            before = file.read_bytes() if file else b""
            assert left < 24 * 1024 or 0 < before.count(b"\n") < SAMPLES
            assert before == b"" or before.endswith(b"\n")
            asked = len(server.asked)
            (disk / "ballast").unlink()
            last = finish(arguments)
            assert last.returncode == 0, last.stderr
        assert len(server.asked) - asked == SAMPLES - before.count(b"\n")
        (file,) = (disk / "r").glob("*/generations.jsonl")
        assert file.read_bytes().startswith(before)
        assert sorted(ids(file), key=int) == [str(n) for n in range(SAMPLES)]
        assert not list(file.parent.glob(".*.json*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_that_takes_nothing(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    (folder.path / "generations.jsonl").unlink()
    (folder.path / "generations.jsonl").symlink_to("/dev/full")
    with folder.lock(), pytest.raises(JobError, match="No space left on device"):
        folder.append(Generation(id="a"))


def test_lines_are_brought_to_the_disk_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        real(file)

    folder = filled(tmp_path)
    monkeypatch.setattr(store, "SYNC_EVERY", 0.05)
    monkeypatch.setattr(os, "fsync", fsync)

    def until(count: int) -> None:
        deadline = time.monotonic() + 60
        while len(synced) < count and time.monotonic() < deadline:
            time.sleep(0.01)

    with folder.lock():
        until(1)
        before = (folder.path / "generations.jsonl").stat().st_size
        folder.append(Generation(id="a"))
        until(2)
        size = (folder.path / "generations.jsonl").stat().st_size
        assert synced == [before, size]
        time.sleep(0.3)
        assert synced == [before, size]  # nothing new, nothing to sync
    assert synced[-1] == size


def test_a_bar_and_a_pause_share_the_terminal(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=4)
    script = {"thing 1": [Reply(status=429, body=QUOTA)]}
    main, other = pty.openpty()
    with ChatServer(script) as server:
        arguments = command(server.base_url, data, tmp_path / "r", "--on-quota", "pause")
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=other)
        os.close(other)
        shown = b""
        deadline = time.monotonic() + 60
        while b"waiting for quota" not in shown and time.monotonic() < deadline:
            shown += os.read(main, 65536)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    os.close(main)
    assert b"waiting for quota, asking again in 60 s" in shown
