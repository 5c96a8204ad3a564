"""Reinforcement for real: a tiny Qwen3-VL through trl's own trainer, on the CPU."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_vl
from groundingme.errors import UsageError
from groundingme.train.tuning.options import TuneOptions

torch = pytest.importorskip("torch", reason="needs torch: groundingme[train]")
pytest.importorskip("trl", reason="needs groundingme[train]")
pytestmark = [
    pytest.mark.slow,
    # Warnings of libraries about their own insides, which differ with every version of them.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vl.write_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def mixture(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vl.mixture_of(squares, tmp_path_factory.mktemp("mixtures") / "m")


@pytest.fixture(scope="module")
def base(mixture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt the form of answers, and half of what they are to say."""
    folder = tmp_path_factory.mktemp("models")
    fresh = tiny_vl.build_qwen3_vl(folder / "fresh")
    taught = folder / "tiny-qwen3-vl"
    train(fresh, mixture, taught, tune="full", steps=44, rate=3e-3, batch=8, warmup=0.1)
    return taught


def train(
    model: Path, mixed: Path, out: Path, say: Callable[[str], None] = lambda line: None, **how: Any
) -> str:
    from groundingme.train.tuning.plans import plan
    from groundingme.train.tuning.running import run

    usual = {"batch": 4, "accumulate": 1, "held_out": 0.0, "workers": 0, "checkpointing": False,
             "log_every": 1}  # fmt: skip
    options = TuneOptions(**{**usual, **how})
    return run(plan(str(model), mixed, options), out, say=say).state


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def weights(out: Path, file: str = "adapter/adapter_model.safetensors") -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(out / file)


def test_rewards_change_weights_and_an_interrupted_run_goes_on(
    base: Path, mixture: Path, squares: Path, tmp_path: Path
) -> None:
    how = {"method": "grpo", "generations": 2, "steps": 4, "rate": 1e-3, "save_every": 2,
           "held_out": 0.25, "eval_every": 2}  # fmt: skip
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    told: list[str] = []
    assert train(base, mixture, straight, told.append, **how) == "finished"
    assert any("reward " in line for line in told)
    log = lines(straight / "log.jsonl")
    assert [line["step"] for line in log] == [1, 2, 3, 4]
    # Six rows are left, half of them negatives, so that a right rejection is paid 0.6.
    assert all(0 <= line["reward"] <= 1.1 for line in log)
    for line in log:
        parts = [line[f"rewards/{part}/mean"] for part in ("box", "rejection", "format")]
        assert all(part is None or 0 <= part <= 1 for part in parts)
    assert max(line["reward_std"] for line in log) > 0
    assert [line["step"] for line in lines(straight / "curve.jsonl")] == [0, 2, 4]
    moved = weights(straight)
    assert any(value.abs().max() > 0 for name, value in moved.items() if "lora_B" in name)

    def interrupt(line: str) -> None:
        if line.startswith("step 3/4, loss"):
            raise KeyboardInterrupt

    assert train(base, mixture, stopped, interrupt, **how) == "interrupted"
    assert (stopped / "checkpoints/checkpoint-2/whole").exists()
    assert train(base, mixture, stopped, told.append, **how) == "finished"
    assert any("Going on from" in line for line in told)
    again = weights(stopped)
    assert all(torch.allclose(again[name], moved[name], atol=1e-6) for name in moved)
    assert lines(stopped / "curve.jsonl") == lines(straight / "curve.jsonl")

    from groundingme import evaluate

    result = evaluate(
        f"transformers/{straight}", str(squares), out=tmp_path / "runs", coords="n1000",
        prompt=tiny_vl.PROMPT, max_tokens=64,
    )  # fmt: skip
    assert result.failed == 0
    assert len(result.scores) == 8


def test_all_weights_with_a_leash(base: Path, mixture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    how = {"method": "grpo", "tune": "full", "generations": 4, "steps": 2, "kl": 0.05,
           "iou_threshold": 0.5, "checkpointing": True}  # fmt: skip
    assert train(base, mixture, out, rate=1e-4, **how) == "finished"
    before, after = weights(base, "model.safetensors"), weights(out, "model.safetensors")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    # The vision tower is left alone.
    assert all(torch.equal(before[name], after[name]) for name in before if "visual.b" in name)
    assert all(math.isfinite(line["kl"]) for line in lines(out / "log.jsonl"))


def test_rewards_of_trl_are_those_of_the_scorer(base: Path, mixture: Path) -> None:
    from groundingme.train.tuning import grpo, rewards
    from groundingme.train.tuning.plans import plan

    planned = plan(str(base), mixture, TuneOptions(method="grpo", held_out=0.0))
    weights = grpo.weights_of(planned.options, planned.rows)
    replies = [row.answer for row in planned.rows[1:] + planned.rows[:1]]
    columns = [grpo.columns(row) for row in planned.rows]
    found = {
        part: grpo.paid(part, weights, "n1000")(
            [[{"role": "assistant", "content": reply}] for reply in replies],
            box=[one["box"] for one in columns],
            size=[one["size"] for one in columns],
            prompts=None,
        )
        for part in grpo.PARTS
    }
    sizes = [(row.width, row.height) for row in planned.rows]
    scores = rewards.strict(replies, [row.box for row in planned.rows], sizes, "n1000")
    told = [
        box if rejection is None else rejection
        for box, rejection in zip(found["box"], found["rejection"], strict=True)
    ]
    assert told == scores.ious.tolist()
    assert planned.told()["reward"]["rejection"] == weights.rejection == pytest.approx(0.6)
    assert planned.steps == math.ceil(3 * 8 * 8 / 16)


def test_what_cannot_be_compared_is_said(base: Path, mixture: Path) -> None:
    from groundingme.train.tuning import grpo
    from groundingme.train.tuning.plans import plan

    def said(**options: Any) -> str:
        with pytest.raises(UsageError) as caught:
            plan(str(base), mixture, TuneOptions(method="grpo", held_out=0.0, **options))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "multiple of --generations 8, got 3 x 4 x 1 = 12" in said(batch=3)
    assert "expected 32 rows or more for the 64 replies" in said(batch=16, generations=2)
    rows = plan(str(base), mixture, TuneOptions(held_out=0.0)).rows
    with pytest.raises(UsageError, match="got rejections alone"):
        grpo.check([row for row in rows if row.box is None], TuneOptions(method="grpo"), 1)
