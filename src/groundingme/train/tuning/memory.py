"""How much memory a run is likely to take, and what to change where that is too much.

Weights, gradients and the optimizer's two moments are counted exactly; activations are a rough
bound. On a GPU, frameworks take about a gigabyte more, which `OVERHEAD` covers.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from groundingme.errors import UsageError

GIB = 2**30
OVERHEAD = 1.0 * GIB
"""Of a GPU's context and fragments; of a CPU process nothing is added."""
ADAM = 8
"""Bytes of the two moments of a trained weight, float32 each."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What of a model decides on its memory.

    Attributes:
        weights: Parameters of the base model.
        linear: Those of them that 4-bit quantization reaches.
        trained: Parameters that are trained: all of LoRA's matrices, or those of `full`.
        added: Parameters of the adapter, which come on top of `weights`.
        layers: Of the language model.
        hidden: Width of the language model.
        inner: Width of its feed-forward layers.
        vocabulary: Size of the vocabulary.
        vision_layers: Of the vision tower.
        vision_hidden: Width of the vision tower.
        patches_per_token: Patches of the vision tower that become one token.
    """

    weights: int
    linear: int
    trained: int
    added: int
    layers: int
    hidden: int
    inner: int
    vocabulary: int
    vision_layers: int
    vision_hidden: int
    patches_per_token: int


class Estimate(msgspec.Struct, frozen=True):
    """Bytes on one device.

    Attributes:
        weights: Of the base model and the adapter.
        gradients: Of what is trained.
        optimizer: Its moments.
        activations: Kept for the backward pass of one batch, with the logits.
        overhead: See `OVERHEAD`.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    overhead: float = 0.0

    @property
    def total(self) -> float:
        """The sum."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.overhead


def estimate(
    shape: Shape,
    *,
    tune: str,
    bf16: bool,
    checkpointing: bool,
    batch: int,
    tokens: int,
    image_tokens: int,
    shards: int = 1,
    gpu: bool = False,
) -> Estimate:
    """What one device needs.

    Args:
        shape: Of the model.
        tune: `lora`, `qlora` or `full`.
        bf16: Whether activations are bfloat16, and the weights that an adapter leaves frozen; all
            others are float32.
        checkpointing: Whether activations within a layer are computed again.
        batch: Rows at once.
        tokens: Of the longest row, with those of its image.
        image_tokens: Of its image.
        shards: Devices among which weights, gradients and moments are divided (FSDP, ZeRO-3).
        gpu: Whether to add `OVERHEAD`.
    """
    wide = 2 if bf16 else 4
    own = shape.trained - shape.added
    frozen = shape.weights - own
    kept = 4 if tune == "full" else wide
    weights: float = frozen * kept + shape.trained * 4
    if tune == "qlora":
        # Half a byte, and a scale for each 64 weights that is quantized itself.
        weights += shape.linear * (0.52 - wide)
    return Estimate(
        weights=weights / shards,
        gradients=shape.trained * 4 / shards,
        optimizer=shape.trained * ADAM / shards,
        activations=_activations(shape, wide, checkpointing, batch, tokens, image_tokens),
        overhead=OVERHEAD if gpu else 0.0,
    )


def _activations(
    shape: Shape, wide: int, checkpointing: bool, batch: int, tokens: int, image_tokens: int
) -> float:
    # Inputs of a layer's products: about 10 vectors of the model's width and 4 of the inner one.
    layer = tokens * (10 * shape.hidden + 4 * shape.inner) * wide
    text = shape.layers * tokens * shape.hidden * wide + layer
    seen = image_tokens * shape.patches_per_token
    tower = seen * 18 * shape.vision_hidden * wide
    vision = shape.vision_layers * seen * shape.vision_hidden * wide + tower
    if not checkpointing:
        text, vision = shape.layers * layer, shape.vision_layers * tower
    # Logits, their float32 copy and its gradient.
    logits = tokens * shape.vocabulary * (wide + 4 + 4)
    return float(batch * (text + vision + logits))


def check_fits(needed: Estimate, free: float, where: str, *, tune: str, batch: int) -> None:
    """Stops a run that is not likely to fit.

    Args:
        needed: On one device.
        free: Bytes that this device has free.
        where: Its name, for the message.
        tune: `lora`, `qlora` or `full`.
        batch: Rows at once.

    Raises:
        UsageError: It does not fit; the message says what to change.
    """
    if needed.total <= free:
        return
    ways = []
    if batch > 1 and needed.total - needed.activations * (1 - 1 / batch) <= free:
        ways.append("--batch 1 with a larger --accumulate")
    if needed.activations > 0.3 * needed.total:
        ways.append("fewer --image-tokens")
    if tune == "full":
        ways.append("--tune lora")
    if tune == "lora":
        ways.append("--tune qlora")
    ways.append("more GPUs with --launch fsdp")
    raise UsageError(
        f"expected a run that fits into {free / GIB:.1f} GiB on {where}, got one that is "
        f"estimated at {needed.total / GIB:.1f} GiB (weights {needed.weights / GIB:.1f}, gradients "
        f"and optimizer {(needed.gradients + needed.optimizer) / GIB:.1f}, activations "
        f"{needed.activations / GIB:.1f}); try {', '.join(ways)}, or --no-check-memory to start "
        "all the same"
    )


def free_ram() -> float:
    """Bytes that this process may still take: of the machine, or of its control group."""
    return min(_machine(), _group())


def _machine() -> float:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    # Not Linux: all memory that there is.
    if hasattr(os, "sysconf"):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return float("inf")


def _group() -> float:
    folder = Path("/sys/fs/cgroup")
    try:
        most = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = float((folder / "memory.current").read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        # Files that were read are counted there, and given back when memory is needed.
        files = sum(float(line.split()[1]) for line in stat if line.startswith("inactive_file "))
        return float("inf") if most == "max" else float(most) - used + files
    except (OSError, ValueError):
        return float("inf")
