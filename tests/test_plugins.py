"""This package's tasks inside other tools: the same replies get the same scores there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chat import ChatServer, Reply
from groundingme import evaluate, load_dataset, score
from groundingme.datasets.export import export

DATA = "scenes:seed=5,n=20"


def replies() -> dict[str, str]:
    """One reply a description: right, sloppy, null, prose, reasoning, nothing."""
    found = {}
    for number, one in enumerate(load_dataset(DATA)):
        box = [round(edge) for edge in one.target or (10, 10, 60, 60)]
        shifted = [box[0] + (box[2] - box[0]) // 3, box[1], box[2], box[3]]
        kinds = [
            json.dumps({"bbox_2d": box}),
            f"<think>maybe [1, 2, 3, 4]</think>```json\n{json.dumps({'bbox_2d': shifted})}\n```",
            '{"bbox_2d": null}',
            "I am not sure.",
            f"The box is {box}.",
            "",
        ]
        found[one.description] = kinds[number % len(kinds)]
    return found


def ours(tmp_path: Path) -> dict[str, tuple[str, float]]:
    said = replies()
    path = tmp_path / "replies.jsonl"
    lines = [
        json.dumps({"id": one.id, "reply": said[one.description]}) for one in load_dataset(DATA)
    ]
    path.write_text("\n".join(lines))
    return {one.id: (one.outcome, float(one.iou >= 0.5)) for one in score(path, DATA).scores}


@pytest.mark.slow
def test_inspect_gives_our_scores(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai", reason="needs inspect_ai")
    pytest.importorskip("openai", reason="needs openai, through which Inspect asks")
    said = replies()
    with ChatServer(default=lambda description: Reply(said[description])) as server:
        log = inspect(
            "eval", "groundingme/groundingme", "--model", "openai-api/local/some-model",
            "-T", f"data={DATA}", "--display", "none", "--log-format", "json",
            "--log-dir", str(tmp_path / "logs"), LOCAL_BASE_URL=server.base_url,
            LOCAL_API_KEY="none", HOME=str(tmp_path),
        )  # fmt: skip
    assert log.returncode == 0, log.stdout + log.stderr
    (path,) = (tmp_path / "logs").glob("*.json")
    kept = json.loads(path.read_text())
    assert kept["status"] == "success", kept.get("error")
    found = {}
    for sample in kept["samples"]:
        one = sample["scores"]["groundingme"]
        found[sample["id"]] = (one["metadata"]["outcome"], one["value"])
    expected = ours(tmp_path)
    assert found == expected
    assert len({outcome for outcome, _ in expected.values()}) == 3
    metrics = kept["results"]["scores"][0]["metrics"]
    right = [value for _, value in expected.values()]
    assert metrics["accuracy"]["value"] == pytest.approx(sum(right) / len(right))
    # What is sent is what `groundingme eval` sends.
    with ChatServer(default=lambda description: Reply(said[description])) as other:
        result = evaluate("openai/some-model", DATA, base_url=other.base_url, out=tmp_path / "runs")
    assert result.accuracy == pytest.approx(metrics["accuracy"]["value"])
    assert messages(server) == messages(other)


def inspect(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Inspect's own command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "inspect_ai", *arguments], capture_output=True, text=True,
        env={**os.environ, **settings}, check=False, timeout=300,
    )  # fmt: skip


def messages(server: ChatServer) -> list[str]:
    """What was asked, whatever else the bodies hold."""
    found = []
    for body in server.requests:
        (turn,) = body["messages"]
        image, text = turn["content"]
        assert (image["type"], text["type"]) == ("image_url", "text")
        found.append(text["text"] + image["image_url"]["url"])
    return sorted(found)


@pytest.mark.slow
def test_lmms_eval_gives_our_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lmms_eval", reason="needs lmms-eval")
    from lmms_eval import evaluator, tasks

    import groundingme.plugins.lmms_eval as plugin

    said = replies()
    folder = tmp_path / "data"
    export(load_dataset(DATA), folder, layout="parquet")
    task = tmp_path / "tasks"
    shutil.copytree(plugin.__path__[0], task)
    path = task / "groundingme_strict.yaml"
    local = f"{folder}\ndataset_kwargs:\n  token: false"
    path.write_text(path.read_text().replace("lirang04/GroundingME", local))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with ChatServer(default=lambda description: Reply(said[description])) as server:
        found = evaluator.simple_evaluate(
            model="openai",
            model_args=f"base_url={server.base_url},model_version=some-model,num_concurrent=1",
            tasks=["groundingme_strict"],
            task_manager=tasks.TaskManager(include_path=str(task), include_defaults=False),
        )
    got = {
        name.partition(",")[0]: value
        for name, value in found["results"]["groundingme_strict"].items()
        if isinstance(value, float) and "stderr" not in name
    }
    lines = tmp_path / "replies.jsonl"
    rows = [{"id": one.id, "reply": said[one.description]} for one in load_dataset(str(folder))]
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    ours = score(lines, str(folder)).metrics
    for name in ("ACC@0.5", "ACC@0.75", "mACC", "Rejection_ACC@0.5", "Spatial_Counting_ACC@0.5"):
        assert got[name] == pytest.approx(ours[name]), name
