"""What happens beside the steps of a run: evaluation, the log, whole checkpoints, the end."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback

from groundingme import progress, rejection
from groundingme.errors import JobError
from groundingme.protocols import REJECTED, UNPARSED
from groundingme.store import write_atomically
from groundingme.train.tuning import rewards
from groundingme.train.tuning.base import Base
from groundingme.train.tuning.rows import Row, open_picture
from groundingme.train.tuning.stopping import Stopping

CURVE, LOG = "curve.jsonl", "log.jsonl"
LOGGED = (
    "loss", "learning_rate", "grad_norm", "mean_token_accuracy", "reward", "reward_std",
    "rewards/box/mean", "rewards/rejection/mean", "rewards/format/mean", "kl",
    "num_tokens",
)  # fmt: skip
"""What a line of the log has of what the trainers report."""
WHOLE = "whole"
"""A file in a checkpoint that was written to its end."""
LONGEST_ANSWER = 128
"""Tokens of an answer; those of a mixture take 30 at most."""


def is_sharded() -> bool:
    """Whether weights are divided among devices, as the launcher's environment says."""
    flags = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return any(os.environ.get(name, "").lower() in ("true", "1") for name in flags)


def figures(rows: Sequence[Row], replies: Sequence[str], coords: str) -> dict[str, Any]:
    """What replies are worth, positives and rejections apart.

    Args:
        rows: Of any number.
        replies: One a row.
        coords: Name of the coordinate format of the numbers in them.

    Returns:
        `positives` and `negatives` (counts); `acc50` and `false_rejections` of positives,
        `rejections` of negatives, `unparsed` of all, in [0, 1], None where there are no such rows.
    """
    sizes = [(row.width, row.height) for row in rows]
    scores = rewards.strict(replies, [row.box for row in rows], sizes, coords)
    rejected = scores.outcome == REJECTED
    sums = rejection.indicators(scores.negatives, rejected, scores.ious >= 0.5).sum(axis=0)
    unparsed = (scores.outcome == UNPARSED).mean() if rows else math.nan
    return {
        "positives": int((~scores.negatives).sum()),
        "negatives": int(scores.negatives.sum()),
        "acc50": _known(rejection.positive_accuracy(sums)),
        "rejections": _known(rejection.n_accuracy(sums)),
        "false_rejections": _known(rejection.false_rejection_rate(sums)),
        "unparsed": _known(unparsed),
    }


def _known(value: Any) -> float | None:
    number = float(np.asarray(value))
    return None if math.isnan(number) else round(number, 6)


def answers(model: Any, base: Base, rows: Sequence[Row], batch: int) -> list[str]:
    """Greedy replies, asked as `groundingme eval` asks.

    Args:
        model: On its device; its mode is the same afterwards.
        base: Whose processor it has.
        rows: To be asked.
        batch: How many at once.
    """
    processor, said = base.processor, []
    training = model.training
    model.eval()
    try:
        for at in range(0, len(rows), batch):
            said += _answered(model, processor, rows[at : at + batch])
    finally:
        model.train(training)
    return said


def _answered(model: Any, processor: Any, rows: Sequence[Row]) -> list[str]:
    texts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [{"type": "image"}, {"type": "text", "text": row.question}],
                }
            ],
            tokenize=False,
            add_generation_prompt=True,
        )
        for row in rows
    ]
    inputs = processor(
        images=[[open_picture(row.image)] for row in rows],
        text=texts,
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_tensors="pt",
    ).to(model.device, dtype=model.dtype)
    with torch.no_grad():
        written = model.generate(
            **inputs,
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            use_cache=True,
            synced_gpus=is_sharded(),
            pad_token_id=processor.tokenizer.pad_token_id,
        )
    fresh = written[:, inputs["input_ids"].shape[1] :]
    return list(processor.tokenizer.batch_decode(fresh, skip_special_tokens=True))


class Watcher(TrainerCallback):
    """Evaluates, logs, marks checkpoints and ends a run; the trainer is given after it is made.

    Args:
        folder: Of the run.
        base: What is trained.
        held: Rows to evaluate; empty for no evaluation.
        coords: Of the mixture.
        batch: Rows answered at once.
        every: Steps between two evaluations.
        stopping: Who may ask for the end.
        say: Takes a line for the person who waits.
    """

    def __init__(
        self,
        folder: Path,
        base: Base,
        held: Sequence[Row],
        coords: str,
        *,
        batch: int,
        every: int,
        stopping: Stopping,
        say: Callable[[str], None],
    ) -> None:
        self.trainer: Any = None
        self.failure: JobError | None = None
        self._folder = folder
        self._base = base
        self._held = list(held)
        self._coords = coords
        self._batch = batch
        self._every = every
        self._stopping = stopping
        self._say = say
        self._began = (time.monotonic(), 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Forgets what a killed session did after its checkpoint; evaluates an untrained model."""
        self._began = (time.monotonic(), state.global_step)
        if state.is_world_process_zero:
            for name in (CURVE, LOG):
                _cut(self._folder / name, state.global_step)
        if state.global_step == 0:
            self._evaluate(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Evaluates when it is time, and ends the run when that was asked for."""
        last = state.global_step >= state.max_steps
        due = control.should_log or last
        if state.global_step % self._every == 0 or last:
            self._evaluate(state)
        # What an evaluation logs takes the flag back.
        control.should_log = due
        if self._somebody_asked() and not last:
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Marks a checkpoint as whole: a killed process leaves half a one."""
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and path.is_dir():
            write_atomically(path / WHOLE, b"", durable=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        """Keeps a line, says it, and ends a run whose loss is no number."""
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            self.failure = JobError(
                f"expected a finite loss, got {loss} at step {state.global_step}; start again with "
                "a lower --rate and another -o"
            )
            control.should_training_stop = True
        if not state.is_world_process_zero:
            return
        line = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        line["seconds"] = round(time.monotonic() - self._began[0], 3)
        for name in LOGGED:
            if name in logs:
                line[name] = _finite(logs[name])
        _append(self._folder / LOG, line)
        reward = f", reward {line['reward']:.3g}" if line.get("reward") is not None else ""
        self._say(
            f"step {state.global_step}/{state.max_steps}, loss {loss:.4g}{reward}"
            f"{self._time_left(state)}"
        )

    def _time_left(self, state: Any) -> str:
        began, first = self._began
        done, left = state.global_step - first, state.max_steps - state.global_step
        if done <= 0 or left <= 0:
            return ""
        return f", about {progress.duration((time.monotonic() - began) / done * left)} left"

    def _somebody_asked(self) -> bool:
        """Whether any process was asked to end: all of them must do so at the same step."""
        asked = self._stopping.asked
        if self.trainer.args.world_size == 1:
            return asked
        flag = torch.tensor([float(asked)], device=self.trainer.args.device)
        return bool(self.trainer.accelerator.reduce(flag, "sum").item())

    def _evaluate(self, state: Any) -> None:
        if not self._held:
            return
        from accelerate.utils import gather_object

        args, accelerator = self.trainer.args, self.trainer.accelerator
        rank, world = args.process_index, args.world_size
        model = accelerator.unwrap_model(self.trainer.model)
        # As many for each process: where weights are divided, all of them work on every answer.
        own = list(range(rank, world * math.ceil(len(self._held) / world), world))
        asked = [self._held[number % len(self._held)] for number in own]
        said = answers(model, self._base, asked, self._batch)
        told = dict(gather_object(list(zip(own, said, strict=True))))
        replies = [told[number] for number in range(len(self._held))]
        found = figures(self._held, replies, self._coords)
        # Not trl's own way, which would empty the means that it keeps until its next line.
        Trainer.log(
            self.trainer,
            {f"held_out_{name}": value for name, value in found.items() if value is not None},
        )
        if not state.is_world_process_zero:
            return
        line = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4), **found}
        _append(self._folder / CURVE, line)
        self._say(f"step {state.global_step}/{state.max_steps}, held out: {_in_words(found)}")


def _finite(value: Any) -> float | None:
    """A logged number; None where trl, or arithmetic, had none."""
    return float(value) if value is not None and math.isfinite(value) else None


def _in_words(found: dict[str, Any]) -> str:
    parts = []
    if found["positives"]:
        parts.append(f"Acc@0.5 {100 * found['acc50']:.1f} of {found['positives']} positives")
    if found["negatives"]:
        parts.append(
            f"{100 * found['rejections']:.1f} % of {found['negatives']} negatives rejected"
        )
    if found["unparsed"]:
        parts.append(f"{100 * found['unparsed']:.1f} % cannot be read")
    return ", ".join(parts)


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _cut(path: Path, step: int) -> None:
    """Keeps the lines up to a step; a half line, as a killed process leaves, goes."""
    if not path.exists():
        return
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(text)["step"] <= step:
                kept.append(text + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    # At the very start nothing was done, and the evaluation of the untrained model comes again.
    write_atomically(path, "".join(kept if step else []).encode())
