"""A budget holds: nothing is asked that could exceed it, and the run goes on with a larger one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from groundingme import evaluate
from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.models import Model, Request
from groundingme.result import Result
from groundingme.schema import Generation, Sample

SAMPLES = [
    Sample(id=str(i), description="x", target=(0.0, 0.0, 5.0, 5.0), width=10, height=10)
    for i in range(40)
]


class Dear(Model):
    """Every reply costs 1,000 completion tokens, the third one 3,000."""

    name = "openai/dear"
    needs_image = False
    coords = "abs"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def generate(self, request: Request) -> Generation:
        self.asked.append(request.id)
        await asyncio.sleep(0.001)
        tokens = 3000 if request.id == "2" else 1000
        return Generation(
            id=request.id, text='{"bbox_2d": [0, 0, 5, 5]}', prompt_tokens=0,
            completion_tokens=tokens,
        )  # fmt: skip


def run(model: Dear, out: Path, budget: float | None, concurrency: int = 8) -> Result:
    data = Dataset(name="d", source="d", samples=SAMPLES)
    return evaluate(
        model, data, out=out, budget=budget, price="0,1000", concurrency=concurrency
    )  # one dollar per thousand tokens


@pytest.mark.parametrize("concurrency", [1, 8, 40])
def test_a_budget_is_never_exceeded(tmp_path: Path, concurrency: int) -> None:
    model = Dear()
    result = run(model, tmp_path, 20.0, concurrency)
    assert result.spending.dollars <= 20.0
    assert result.spending.dollars > 14.0
    assert len(model.asked) == len(set(model.asked)) < 40
    assert result.failed == 40 - len(model.asked)
    assert result.stopped.startswith("stopped at the budget of $20: $")
    assert result.metrics["samples"] == 40

    again = Dear()
    more = run(again, tmp_path, 100.0, concurrency)
    assert more.path == result.path
    assert not set(again.asked) & set(model.asked)
    assert (more.failed, more.stopped, more.spending.dollars) == (0, "", 42.0)


def test_earlier_sessions_count(tmp_path: Path) -> None:
    run(Dear(), tmp_path, 20.0)
    model = Dear()
    again = run(model, tmp_path, 20.0)
    assert model.asked == []
    assert again.stopped


def test_without_a_price_no_budget_can_be_kept(tmp_path: Path) -> None:
    data = Dataset(name="d", source="d", samples=SAMPLES)
    with pytest.raises(UsageError, match="expected a price for openai/dear to keep a budget"):
        evaluate(Dear(), data, out=tmp_path, budget=1.0)
    with pytest.raises(UsageError, match="expected a budget above 0 dollars"):
        evaluate(Dear(), data, out=tmp_path, budget=-1.0, price="1,1")


def test_every_run_says_tokens_and_money(tmp_path: Path) -> None:
    result = run(Dear(), tmp_path, None)
    assert "42,000 tokens (0 prompt, 42,000 completion), $42.0000" in repr(result)
    assert result.as_dict()["dollars"] == 42.0
    assert "dollars" not in (tmp_path / result.path.name / "scores.json").read_text()  # type: ignore[union-attr]
