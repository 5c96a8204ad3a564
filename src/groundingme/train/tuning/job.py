"""What a method of training gets, and what the trainers of all methods share."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import msgspec
import torch

from groundingme.train.tuning import base as bases
from groundingme.train.tuning.base import Base
from groundingme.train.tuning.options import TuneOptions
from groundingme.train.tuning.rows import Row
from groundingme.train.tuning.watching import Watcher

CHECKPOINTS = "checkpoints"
"""Folder in that of the run."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a method makes a trainer from.

    Attributes:
        base: What is trained.
        options: How.
        rows: To be trained on.
        coords: Of the numbers in the answers.
        bf16: Whether in bfloat16.
        steps: Optimizer steps.
        folder: Of the run.
        watcher: Goes into the trainer's callbacks.
    """

    base: Base
    options: TuneOptions
    rows: list[Row]
    coords: str
    bf16: bool
    steps: int
    folder: Path
    watcher: Watcher


def arguments(job: Job) -> dict[str, Any]:
    """What every method's trainer is configured with: fields of `TrainingArguments`."""
    options = job.options
    tenth = max(1, job.steps // 10)
    for name, value in (
        ("WANDB_PROJECT", "groundingme"),
        ("MLFLOW_EXPERIMENT_NAME", "groundingme"),
    ):
        os.environ.setdefault(name, value)
    return {
        "output_dir": str(job.folder / CHECKPOINTS),
        "max_steps": job.steps,
        "per_device_train_batch_size": options.batch,
        "gradient_accumulation_steps": options.accumulate,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": options.schedule,
        "warmup_steps": math.ceil(options.warmup * job.steps),
        "weight_decay": options.decay,
        "max_grad_norm": options.clip,
        "bf16": job.bf16,
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": options.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "seed": options.seed,
        "data_seed": options.seed,
        "save_steps": options.save_every or min(tenth, 200),
        "save_total_limit": 2,
        "logging_steps": options.log_every,
        "logging_first_step": True,
        # The default replaces a loss that is no number by one that is.
        "logging_nan_inf_filter": False,
        "report_to": list(options.track),
        "run_name": job.folder.name,
        "project": "groundingme",
        "disable_tqdm": True,
        "dataloader_num_workers": options.workers,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "remove_unused_columns": False,
        # Every row has a picture, so every trained weight is used in every step.
        "ddp_find_unused_parameters": None if options.vision else False,
    }


def adapter(job: Job) -> Any:
    """LoRA's configuration; None where all weights are trained."""
    if job.options.tune == "full":
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=job.options.rank,
        lora_alpha=job.options.alpha,
        lora_dropout=job.options.dropout,
        target_modules=bases.targets_of(job.base, job.options),
        task_type="CAUSAL_LM",
    )
