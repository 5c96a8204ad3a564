"""One training loop for all nets: a budget in processor time or steps, a curve, and resuming."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Step = Callable[[], tuple[Tensor, dict[str, float]]]
"""Draws a batch; its loss, and figures for the curve."""


class Clock:
    """Seconds of this process' processor time; on a GPU those of the wall.

    Processor time makes a run on shared cores as long a training as on idle ones.
    """

    def __init__(self, device: str) -> None:
        self._now = time.process_time if device == "cpu" else time.monotonic
        self._start = self._now()

    def seconds(self) -> float:
        """Since the start."""
        return self._now() - self._start


def train(
    net: nn.Module,
    step: Step,
    path: Path,
    *,
    seconds: float = math.inf,
    steps: int | None = None,
    device: str = "cpu",
    rate: float = 2e-3,
    floor: float = 0.01,
    decay: float = 0.02,
    keep: float = 60.0,
    say: Callable[[str], None] = print,
) -> None:
    """Trains a net for a time and writes its weights to `path`; continues where it was stopped.

    Args:
        net: Changed in place.
        step: Gives the loss of the next batch.
        path: Of the finished weights; `.part` and `.curve.jsonl` files lie beside it.
        seconds: Of processor time; of the wall on a GPU.
        steps: How many in place of a time; the same ones then give the same weights.
        device: As torch names it.
        rate: Highest learning rate.
        floor: Last learning rate, as a share of the highest.
        decay: Of the weights.
        keep: Seconds of the wall between two savings of what is needed to go on.
        say: Takes a line of progress.
    """
    if path.exists():
        net.load_state_dict(torch.load(path, map_location=device))
        return
    part, curve = path.with_suffix(".part"), path.with_suffix(".curve.jsonl")
    matrices = [weight for weight in net.parameters() if weight.ndim > 1]
    others = [weight for weight in net.parameters() if weight.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, rate, betas=(0.9, 0.98), weight_decay=decay, fused=True)
    before, done = 0.0, 0
    if part.exists():
        kept = torch.load(part, map_location=device)
        net.load_state_dict(kept["net"])
        optimizer.load_state_dict(kept["optimizer"])
        before, done = kept["seconds"], kept["steps"]
    clock = Clock(device)
    warming = 100 if steps is None else max(1, min(100, steps // 10))
    means: dict[str, float] = {}
    said = saved = time.monotonic()
    net.train()
    while True:
        spent = before + clock.seconds()
        share = spent / seconds if steps is None else done / steps
        if share >= 1:
            break
        warm = min(1.0, (done + 1) / warming)
        slope = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * slope
        loss, figures = step()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        done += 1
        for name, value in {"loss": float(loss.detach()), **figures}.items():
            means[name] = 0.97 * means.get(name, value) + 0.03 * value
        now = time.monotonic()
        if done % 50 == 0:
            line: dict[str, Any] = {"step": done, "seconds": round(spent, 1)}
            line |= {name: round(value, 4) for name, value in means.items()}
            with curve.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if now - said > 20:
                said = now
                shown = " ".join(f"{name} {value:.3f}" for name, value in means.items())
                say(f"{path.stem} {share:4.0%} step {done}: {shown}")
        if now - saved >= keep:
            saved = now
            kept = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            _save({**kept, "seconds": spent, "steps": done}, part)
    net.eval()
    _save(net.state_dict(), path)
    part.unlink(missing_ok=True)


def steps_done(path: Path) -> int:
    """Steps of a training to `path` that were kept when it was stopped; 0 where none were."""
    part = path.with_suffix(".part")
    return int(torch.load(part, map_location="cpu")["steps"]) if part.exists() else 0


def _save(value: Any, path: Path) -> None:
    fresh = path.with_suffix(".new")
    torch.save(value, fresh)
    fresh.replace(path)
