"""`evaluate` and `score` from Python, on real files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import groundingme
from groundingme.errors import DataError, UnknownNameError, UsageError
from groundingme.result import Result


def make_data(folder: Path, *, samples: int = 6) -> Path:
    """Positives and rejections in turn, on one 100 x 80 picture."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80), "teal").save(folder / "one.png")
    rows = [
        {
            "id": number,
            "image": "one.png",
            "description": f"thing {number}",
            "bbox": None if number % 2 else [25, 20, 75, 60],
            "subtask_l1": "Rejection" if number % 2 else "Discriminative",
            "subtask_l2": "Appearance",
            "width": 100,
            "height": 80,
        }
        for number in range(samples)
    ]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def test_result_shows_itself_as_text_and_in_a_notebook(tmp_path: Path) -> None:
    result = groundingme.evaluate(
        "baseline/center", str(make_data(tmp_path / "d")), out=tmp_path / "r"
    )
    assert isinstance(result, Result)
    assert result.accuracy == 0.5
    text = repr(result)
    assert "baseline/center" in text
    assert "Discriminative" in text
    markup = result._repr_html_()
    assert "<table>" in markup
    assert "Rejection" in markup
    assert [row.name for row in result.rows()] == [
        "all",
        "Discriminative",
        "Discriminative/Appearance",
        "Rejection",
        "Rejection/Appearance",
    ]


def test_inside_a_running_loop_as_in_a_notebook(tmp_path: Path) -> None:
    data = str(make_data(tmp_path / "d"))

    async def cell() -> Result:
        return groundingme.evaluate("baseline/null", data, out=tmp_path / "r")

    assert asyncio.run(cell()).accuracy == 0.5


def test_subset_and_limit(tmp_path: Path) -> None:
    data = str(make_data(tmp_path / "d"))
    rejections = groundingme.evaluate("baseline/null", data, subset="Rejection", out=tmp_path / "r")
    assert rejections.metrics["samples"] == 3
    assert rejections.accuracy == 1.0
    first = groundingme.evaluate("baseline/null", data, limit=1, out=tmp_path / "r")
    assert first.metrics["samples"] == 1
    assert first.accuracy == 0.0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"protocol": "lenient"}, UnknownNameError),
        ({"coords": "pixels"}, UnknownNameError),
        ({"prompt": "find it"}, UnknownNameError),
        ({"concurrency": 0}, UsageError),
        ({"subset": "Spatial"}, DataError),
    ],
)
def test_impossible_arguments_ask_nothing(
    tmp_path: Path, arguments: dict[str, object], error: type[Exception]
) -> None:
    data = str(make_data(tmp_path / "d"))
    with pytest.raises(error):
        groundingme.evaluate("baseline/null", data, out=tmp_path / "r", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("r/*/generations.jsonl"))


def test_replies_to_other_samples_are_named(tmp_path: Path) -> None:
    data = str(make_data(tmp_path / "d", samples=2))
    replies = tmp_path / "replies.jsonl"
    replies.write_text('{"id": "0", "reply": "null"}\n{"id": "77", "reply": "null"}\n')
    result = groundingme.score(replies, data)
    assert any("'77'" in note for note in result.notes)
    assert result.metrics["failed"] == 1  # sample 1 has no reply
    replies.write_text('{"id": "77", "reply": "null"}\n')
    with pytest.raises(DataError, match="'77'"):
        groundingme.score(replies, data)


def test_a_file_without_its_data_set_says_what_is_missing(tmp_path: Path) -> None:
    replies = tmp_path / "replies.jsonl"
    replies.write_text('{"id": "0", "reply": "null"}\n')
    with pytest.raises(UsageError, match="--data"):
        groundingme.score(replies)


def test_ctrl_c_leaves_a_run_that_the_same_command_finishes(tmp_path: Path) -> None:
    data = make_data(tmp_path / "d", samples=40)
    replies = tmp_path / "replies.jsonl"
    lines = [json.dumps({"id": str(n), "reply": '{"bbox_2d": null}'}) for n in range(40)]
    replies.write_text("\n".join(lines) + "\n")
    command = [
        sys.executable, "-m", "groundingme", "eval", f"mock/{replies}", "--data", str(data),
        "--out", str(tmp_path / "r"), "--concurrency", "2", "--option", "latency=0.25", "--json",
    ]  # fmt: skip
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    file = None
    for _ in range(1200):
        file = next(iter(tmp_path.glob("r/*/generations.jsonl")), None)
        if file and file.read_bytes().count(b"\n") >= 4:
            break
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=120)
    assert first.returncode == 130, err
    assert "same command" in err
    assert json.loads(out)["interrupted"] is True
    assert file is not None
    kept = file.read_text().splitlines()
    assert 4 <= len(kept) < 40

    second = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=dict(os.environ), check=False
    )
    assert second.returncode == 0, second.stderr
    figures = json.loads(second.stdout)
    assert figures["rejected"] == 40
    assert figures["failed"] == 0
    ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert sorted(ids, key=int) == [str(n) for n in range(40)]  # nothing lost, nothing twice
