"""A training run before its weights are read: what is trained on what, and whether it can be."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from groundingme.errors import MissingDependencyError, UsageError
from groundingme.registry import unknown
from groundingme.train.conversation import Convention
from groundingme.train.mixture import Mixture, load_mixture
from groundingme.train.tuning import base as bases
from groundingme.train.tuning import grpo, memory
from groundingme.train.tuning import rows as mixture_rows
from groundingme.train.tuning.base import Base
from groundingme.train.tuning.memory import Estimate, Shape
from groundingme.train.tuning.options import TuneOptions
from groundingme.train.tuning.rows import Row
from groundingme.train.tuning.watching import is_sharded


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A run before its weights are read.

    Attributes:
        base: What is trained.
        options: How.
        mixture: What on.
        rows: To be trained on.
        held: To be evaluated.
        convention: How the mixture asks and answers.
        shape: Of the model.
        needed: Memory on one device.
        free: Bytes of it that are free there.
        device: Its name.
        processes: Devices that train together.
        bf16: Whether in bfloat16.
        steps: Optimizer steps.
        tokens: Of the longest row.
    """

    base: Base
    options: TuneOptions
    mixture: Path
    rows: list[Row]
    held: list[Row]
    convention: Convention
    shape: Shape
    needed: Estimate
    free: float
    device: str
    processes: int
    bf16: bool
    steps: int
    tokens: int

    def told(self) -> dict[str, Any]:
        """The plan in names and numbers."""
        shape, options = self.shape, self.options
        reward = {"reward": grpo.told(options, self.rows)} if options.method == "grpo" else {}
        return {
            "base": self.base.name,
            "family": self.base.family.name,
            "mixture": str(self.mixture),
            "method": f"{options.method}, {options.tune}",
            "rows": len(self.rows),
            "positives": sum(row.box is not None for row in self.rows),
            "rejections": sum(row.box is None for row in self.rows),
            "held_out": len(self.held),
            "parameters": shape.weights + shape.added,
            "trained": shape.trained,
            "steps": self.steps,
            "rows_a_step": options.batch * options.accumulate * self.processes,
            **reward,
            "rate": options.learning_rate,
            "longest_row_tokens": self.tokens,
            "bf16": self.bf16,
            "device": self.device,
            "processes": self.processes,
            "memory_gib": {
                name: round(getattr(self.needed, name) / memory.GIB, 2)
                for name in ("weights", "gradients", "optimizer", "activations", "total")
            },
            "free_gib": round(self.free / memory.GIB, 2),
        }


def plan(base: str, mixture: str | Path, options: TuneOptions) -> Plan:
    """Reads and checks everything but the weights.

    Raises:
        UsageError: Something cannot be used, does not fit together, or does not fit into memory.
    """
    checked = _read_mixture(Path(mixture))
    convention = checked.convention
    bases.check_quantizable(options)
    _check_trackers(options.track)
    opened = bases.open_base(base, options)
    _check_family(checked, opened)
    rows = mixture_rows.rows_of(checked)
    mixture_rows.check_sizes(rows, opened, convention.coords)
    training, held = mixture_rows.hold_out(rows, options.held_out, options.seed)
    bf16 = _bf16(options)
    bases.attention_of(options, bf16)
    shape = bases.shape_of(opened, options)
    tokens, image = mixture_rows.longest(rows, opened)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if options.method == "grpo":
        grpo.check(training, options, processes)
    gpu = torch.cuda.is_available()
    needed = memory.estimate(
        shape, tune=options.tune, bf16=bf16, checkpointing=options.checkpointing,
        batch=options.batch, tokens=tokens, image_tokens=image, gpu=gpu,
        shards=processes if is_sharded() else 1,
    )  # fmt: skip
    free, device = _free()
    return Plan(
        base=opened, options=options, mixture=Path(mixture), rows=training, held=held,
        convention=convention, shape=shape, needed=needed, free=free, device=device,
        processes=processes, bf16=bf16, tokens=tokens,
        steps=steps_of(len(training), options, processes),
    )  # fmt: skip


def _read_mixture(folder: Path) -> Mixture:
    """A mixture, whose images one process looks at for all."""
    mixture = load_mixture(folder, look=is_main())
    if not len(mixture):
        raise UsageError(f"expected rows to train on, got none in {folder}")
    return mixture


def _check_family(mixture: Mixture, base: Base) -> None:
    written = mixture.convention.family
    # InternVL 2.5, 3 and 3.5 are asked and answer alike.
    if written and not written.startswith(base.recipe.family):
        raise UsageError(
            f"expected a mixture for {base.family.name}, the family of {base.name}, got one for "
            f"{written} in {mixture.folder}; make one with groundingme mix --family "
            f"{base.family.name}"
        )


def steps_of(rows: int, options: TuneOptions, processes: int) -> int:
    """Optimizer steps, as transformers counts them."""
    if options.steps:
        return options.steps
    batches = math.ceil(math.ceil(rows * options.replies / processes) / options.batch)
    return math.ceil(options.epochs * math.ceil(batches / options.accumulate))


def is_main() -> bool:
    """Whether this process speaks for all that train together."""
    return int(os.environ.get("RANK", "0")) == 0


def _bf16(options: TuneOptions) -> bool:
    if options.bf16 is not None:
        return options.bf16
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def _free() -> tuple[float, str]:
    """Bytes that are free for this process, and where."""
    if torch.cuda.is_available():
        number = int(os.environ.get("LOCAL_RANK", "0"))
        return float(torch.cuda.mem_get_info(number)[0]), torch.cuda.get_device_name(number)
    return memory.free_ram() / int(os.environ.get("LOCAL_WORLD_SIZE", "1")), "the CPU"


def _check_trackers(names: Sequence[str]) -> None:
    if not names:
        return
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    there = get_available_reporting_integrations()
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise unknown("tracker", name, INTEGRATION_TO_CALLBACK)
        if name not in there:
            raise MissingDependencyError(
                f"expected the package of {name} for --track {name}, got none; pip install {name}"
            )
