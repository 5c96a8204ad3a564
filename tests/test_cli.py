"""The command as a user runs it: real processes, real files, standard output and exit codes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROWS = [
    ("a", "Discriminative", "Appearance", [25, 25, 75, 75]),
    ("b", "Spatial", "Counting", [0, 0, 10, 10]),
    ("c", "Rejection", "Text", None),
    ("d", "Rejection", "State", None),
]


def run(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `groundingme ARGS` and returns what came of it."""
    return subprocess.run(
        [sys.executable, "-m", "groundingme", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four samples of one 100 x 100 picture, two of them rejections."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    Image.new("RGB", (100, 100), "navy").save(folder / "one.png")
    lines = [
        {
            "id": id,
            "image": "one.png",
            "description": f"thing {id}",
            "bbox": box,
            "subtask_l1": l1,
            "subtask_l2": l2,
            "width": 100,
            "height": 100,
        }
        for id, l1, l2, box in ROWS
    ]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


def evaluate(model: str, data: Path, *args: str) -> dict[str, Any]:
    done = run("eval", model, "--data", data, "--out", data.parent / "runs", "--json", *args)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def write_replies(path: Path, replies: dict[str, str]) -> Path:
    lines = [json.dumps({"id": id, "reply": reply}) for id, reply in replies.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_always_null_wins_every_rejection_and_nothing_else(data: Path) -> None:
    figures = evaluate("baseline/null", data)
    assert figures["ACC@0.5"] == 0.5
    assert figures["Rejection_ACC@0.5"] == 1.0
    assert figures["Discriminative_ACC@0.5"] == 0.0
    assert figures["Spatial_Counting_ACC@0.5"] == 0.0
    outcomes = [figures[name] for name in ("box", "rejected", "unparsed", "failed")]
    assert outcomes == [0, 4, 0, 0]


def test_a_run_folder_scores_again_by_itself(data: Path) -> None:
    figures = evaluate("baseline/center", data)
    assert figures["Discriminative_ACC@0.5"] == 1.0  # the centred half is exactly its target
    run_folder = Path(figures["run"])
    (data / "samples.jsonl").unlink()
    again = run("score", run_folder, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == figures
    assert (run_folder / "scores.json").is_file()


def test_the_same_command_asks_nothing_twice(data: Path) -> None:
    first = evaluate("baseline/random", data)
    lines = (Path(first["run"]) / "generations.jsonl").read_text().splitlines()
    second = evaluate("baseline/random", data)
    assert second == first
    assert (Path(first["run"]) / "generations.jsonl").read_text().splitlines() == lines
    assert len(lines) == 4


def test_a_changed_setting_starts_another_run_and_says_which(data: Path) -> None:
    out = data.parent / "runs"
    run("eval", "baseline/random", "--data", data, "--out", out)
    other = run("eval", "baseline/random", "--data", data, "--out", out, "--max-tokens", "100")
    assert other.returncode == 0, other.stderr
    assert "max_tokens" in other.stderr
    assert len([path for path in out.iterdir() if (path / "run.json").is_file()]) == 2


def test_coords_are_read_at_scoring_so_they_do_not_ask_again(data: Path) -> None:
    first = evaluate("baseline/center", data)
    second = evaluate("baseline/center", data, "--coords", "n1000")
    assert second["run"] == first["run"]
    assert first["Discriminative_ACC@0.5"] == 1.0
    assert second["Discriminative_ACC@0.5"] == 0.0


def test_json_is_all_of_standard_output(data: Path) -> None:
    done = run("eval", "baseline/null", "--data", data, "--out", data.parent / "r", "--json")
    assert done.stdout.count("\n") == 1
    assert isinstance(json.loads(done.stdout), dict)


def test_the_table_leads_to_the_run_and_to_the_next_command(data: Path) -> None:
    done = run("eval", "baseline/null", "--data", data, "--out", data.parent / "runs")
    assert done.returncode == 0, done.stderr
    assert "Rejection" in done.stdout
    assert "Run: " in done.stdout
    assert "groundingme show" in done.stdout + done.stderr


def test_score_contract_on_plain_replies_without_pictures(data: Path, tmp_path: Path) -> None:
    (data / "one.png").unlink()
    replies = write_replies(
        tmp_path / "replies.jsonl",
        {
            "a": '{"bbox_2d": [25, 25, 75, 75]}',
            "b": "I cannot help with that.",
            "c": '{"bbox_2d": null}',
            "d": "I cannot help with that.",
        },
    )
    figures = {}
    for protocol in ("strict", "official"):
        done = run("score", replies, "--data", data, "--protocol", protocol, "--json")
        assert done.returncode == 0, done.stderr
        figures[protocol] = json.loads(done.stdout)
    assert figures["strict"]["ACC@0.5"] == 0.5
    assert figures["official"]["ACC@0.5"] == 0.75  # the refusal counts as a correct rejection
    assert figures["strict"]["unparsed"] == 2
    assert "1" in figures["strict"]["difference"]


def test_golden_aggregate_through_the_command(shared: Path, tmp_path: Path) -> None:
    columns = ("id", "description", "bbox", "subtask_l1", "subtask_l2", "width", "height")
    with gzip.open(shared / "golden" / "official_scores.jsonl.gz", "rt") as lines:
        cases = [json.loads(line) for line in lines]
    samples = [json.dumps({name: case[name] for name in columns}) for case in cases]
    (tmp_path / "samples.jsonl").write_text("\n".join(samples) + "\n")
    replies = write_replies(
        tmp_path / "replies.jsonl", {str(case["id"]): case["response"] for case in cases}
    )
    done = run("score", replies, "--data", tmp_path / "samples.jsonl", "--protocol", "official", "--json")  # fmt: skip  # noqa: E501
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    golden = json.loads((shared / "golden" / "official_scores.metrics.json").read_text())
    assert {name: figures[name] for name in golden["official_metrics"]} == golden[
        "official_metrics"
    ]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["evel"], "did you mean 'eval'"),
        (["eval", "baseline/centre", "--data", "DATA"], "did you mean"),
        (["eval", "nobody/x", "--data", "DATA"], "nobody"),
        (["eval", "baseline/null", "--data", "DATA", "--protocol", "strikt"], "'strict'"),
        (["eval", "baseline/null", "--data", "DATA", "--coords", "n100"], "coordinate format"),
        (["eval", "baseline/null", "--data", "DATA", "--prompt", "unifid"], "'unified'"),
        (["eval", "baseline/null", "--data", "nowhere"], "nowhere"),
        (["eval", "baseline/null", "--data", "DATA", "--subset", "Rejektion"], "'Rejection'"),
        (["eval", "openai/x", "--data", "DATA", "--extra-body", "[1]"], "JSON object"),
        (["eval", "openai/x", "--data", "DATA", "--header", "x"], "NAME=VALUE"),
        (["score", "nowhere.jsonl", "--data", "DATA"], "nowhere.jsonl"),
        (["score", "nowhere"], "nowhere"),
        (["show", "nowhere"], "nowhere"),
        (["data", "check", "nowhere"], "nowhere"),
        (["data", "show", "DATA", "--id", "zzz"], "zzz"),
        (["show", "RUN", "--id", "zzz"], "zzz"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(data: Path, args: list[str], said: str) -> None:
    run_folder = evaluate("baseline/null", data)["run"] if "RUN" in args else ""
    places = {"DATA": str(data), "RUN": run_folder}
    done = run(*[places.get(arg, arg) for arg in args], cwd=data.parent)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4  # one line, or click's usage and one line
    assert done.stdout == ""


def test_ls_show_and_wrong(data: Path) -> None:
    run_folder = Path(evaluate("baseline/center", data)["run"])
    listed = run("ls", run_folder.parent)
    assert run_folder.name in listed.stdout.replace("\n", "")
    whole = run("show", run_folder)
    assert "baseline/center" in whole.stdout
    one = run("show", run_folder, "--id", "b")
    assert "thing b" in one.stdout
    assert "[25, 25, 75, 75]" in one.stdout
    assert (run_folder / "pictures" / "b.png").is_file()
    wrong = run("show", run_folder, "--wrong")
    assert "3 of 4 samples are wrong" in wrong.stdout
    with Image.open(run_folder / "pictures" / "wrong.png") as sheet:
        assert sheet.width > 100


def test_data_check_and_show(data: Path) -> None:
    clean = run("data", "check", data)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    with (data / "samples.jsonl").open("a") as file:
        file.write('{"id": "e", "image": "two.png", "description": "x", "bbox": [0, 0, 500, 50]}\n')
    dirty = run("data", "check", data, "--json")
    assert dirty.returncode == 1
    found = json.loads(dirty.stdout)
    assert found["errors"] >= 1
    assert {problem["id"] for problem in found["problems"]} == {"e"}
    drawn = run("data", "show", data, "--out", data.parent / "sheet.png")
    assert drawn.returncode == 0, drawn.stderr
    with Image.open(data.parent / "sheet.png") as sheet:
        assert sheet.width > 100


def test_a_broken_image_fails_its_sample_and_counts(data: Path) -> None:
    (data / "one.png").write_bytes(b"")
    with (data / "samples.jsonl").open("a") as file:
        file.write("this is no JSON\n")
    replies = write_replies(data.parent / "m.jsonl", {id: "null" for id, *_ in ROWS})
    done = run("eval", f"mock/{replies}", "--data", data, "--out", data.parent / "runs", "--json")
    figures = json.loads(done.stdout)
    assert figures["failed"] == 5
    assert figures["samples"] == 5
    assert done.returncode == 1  # wholly failed: there is no score


def test_help_of_every_command() -> None:
    top = run("--help")
    assert top.returncode == 0
    for command in ("eval", "score", "ls", "show", "data", "demo"):
        assert command in top.stdout
        page = run(command, "--help")
        assert page.returncode == 0, page.stderr
        assert "Usage" in page.stdout
