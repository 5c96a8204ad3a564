"""A run that is killed again and again ends with the scores of one that was left in peace."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from chat import ChatServer, Holding, Reply

SAMPLES = 400
KILLS = 20
MOST = 19
"""Requests that are answered between two kills, so that samples are left for the last run."""
REPLIES = (
    '{"bbox_2d": [25, 20, 75, 60]}',
    '```json\n{"bbox_2d": [20, 20, 70, 60]}\n```',
    '{"bbox_2d": null}',
    "There is no matching object.",
    "I cannot help with that.",
    "",
)


def reply(description: str) -> Reply:
    """The same words for the same question, whenever it is asked."""
    return Reply(REPLIES[zlib.crc32(description.encode()) % len(REPLIES)], delay=0.04)


def write_data(folder: Path) -> Path:
    folder.mkdir()
    Image.new("RGB", (100, 80), "teal").save(folder / "one.png")
    rows = [
        {
            "id": f"s{number}",
            "image": "one.png",
            "description": f"thing {number}",
            "bbox": None if number % 3 == 0 else [25, 20, 75, 60],
            "subtask_l1": "Rejection" if number % 3 == 0 else "Spatial",
            "subtask_l2": "Text" if number % 3 == 0 else "Counting",
            "width": 100,
            "height": 80,
        }
        for number in range(SAMPLES)
    ]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def whole_lines(file: Path) -> list[str]:
    """Ids of the finished requests: those whose line is whole."""
    if not file.exists():
        return []
    *lines, _ = file.read_bytes().split(b"\n")
    return [json.loads(line)["id"] for line in lines]


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    rng = random.Random(20)

    def command(base_url: str, out: Path) -> list[str]:
        return [
            sys.executable, "-m", "groundingme", "eval", "openai/m", "--data", str(data),
            "--base-url", base_url, "--out", str(out), "--concurrency", "4", "--json",
        ]  # fmt: skip

    holding = Holding(reply, None)
    with ChatServer(default=holding, keep=False) as server:
        peace = subprocess.run(
            command(server.base_url, tmp_path / "peace"), capture_output=True, check=True
        )
        assert sorted(server.asked) == sorted(f"thing {n}" for n in range(SAMPLES))

        server.asked.clear()
        killed = 0
        file = None
        while killed < KILLS:
            before = len(whole_lines(file)) if file else 0
            server.settle()
            holding.answer_only(MOST)
            asked = len(server.asked)
            process = subprocess.Popen(
                command(server.base_url, tmp_path / "killed"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            # Some fall into the start, most into the asking.
            if rng.random() < 0.8:
                while len(server.asked) == asked:
                    time.sleep(0.005)
                    assert process.poll() is None
                time.sleep(rng.uniform(0, 0.25))
            else:
                time.sleep(rng.uniform(0, 0.5))
            finished = set(whole_lines(file)) if file else set()
            process.kill()
            assert process.wait() == -signal.SIGKILL
            killed += 1
            file = next(iter((tmp_path / "killed").glob("*/generations.jsonl")), None)
            # What was finished before this session began was not asked in it.
            earlier = set(whole_lines(file)[:before]) if file else set()
            assert not earlier & {f"s{one.split()[1]}" for one in server.asked[asked:]}
            # And what was finished while it ran is still there.
            assert finished <= set(whole_lines(file) if file else [])

        assert file is not None
        finished = set(whole_lines(file))
        assert len(finished) > SAMPLES / 20
        server.settle()
        holding.answer_only(None)
        asked = len(server.asked)
        last = subprocess.run(
            command(server.base_url, tmp_path / "killed"), capture_output=True, check=True
        )
        rest = sorted(server.asked[asked:])
        assert rest == sorted(f"thing {n}" for n in range(SAMPLES) if f"s{n}" not in finished)

    one, other = (Path(json.loads(run.stdout)["run"]) for run in (peace, last))
    for name in ("scores.json", "scores.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert sorted(whole_lines(other / "generations.jsonl")) == sorted(f"s{n}" for n in range(SAMPLES))  # fmt: skip  # noqa: E501
    # The uninterrupted run is no empty measure.
    figures = json.loads(peace.stdout)
    assert all(figures[name] for name in ("box", "rejected", "unparsed"))
    assert 0 < figures["ACC@0.5"] < 1
