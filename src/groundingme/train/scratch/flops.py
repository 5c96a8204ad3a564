"""Floating-point operations of a row of training, counted from the architecture, and of chips.

A product of matrices takes two operations for each weight and token. A step of training takes three
times a forward pass, one forward and two backward, and two times for the layer that takes the
pixels. Attention is counted whole, although half of the language model's is masked; norms, softmax
and rotations are not counted; neither is what checkpointing computes twice. These are the
conventions of model FLOPs utilization (Chowdhery et al., PaLM, 2022, appendix B).
"""

from __future__ import annotations

from typing import Any

PEAKS: dict[str, float] = {
    "NVIDIA H200 NVL": 835.5e12,
    "NVIDIA H200": 989.4e12,
    "NVIDIA H100 PCIe": 756.5e12,
    "NVIDIA H100 NVL": 835.5e12,
    "NVIDIA H100": 989.4e12,
    "NVIDIA A100": 312e12,
}
"""Dense bfloat16 operations a second, by how torch's name of the chip begins.

From NVIDIA's data sheets: half of what H100 and H200 are said to do with sparsity, and the A100's
figure without it.
"""


def peak_of(device: str) -> float | None:
    """Operations a second that a chip can do at most; None where it is not in the table."""
    return next((peak for name, peak in PEAKS.items() if device.startswith(name)), None)


def forward(config: Any, tokens: int, image_tokens: int) -> float:
    """Operations of one row forward.

    Args:
        config: Of a Qwen3-VL.
        tokens: Of the row, with those of its picture.
        image_tokens: Of its picture.
    """
    return _text(config.text_config, tokens) + _vision(config.vision_config, image_tokens)


def training(config: Any, tokens: int, image_tokens: int) -> float:
    """Operations of one row forward and backward, with all weights trained."""
    # Nothing is handed on to the pixels.
    return 3 * forward(config, tokens, image_tokens) - _pixels(config.vision_config, image_tokens)


def _text(config: Any, tokens: int) -> float:
    width, queries = config.hidden_size, config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    attention = 2 * width * queries + 2 * width * keys
    layer = attention + 3 * width * config.intermediate_size
    weights = config.num_hidden_layers * layer + width * config.vocab_size
    scores = 4 * config.num_hidden_layers * queries * tokens**2
    return float(2 * weights * tokens + scores)


def _vision(config: Any, image_tokens: int) -> float:
    width, merged = config.hidden_size, config.spatial_merge_size**2
    patches = image_tokens * merged
    layer = 4 * width**2 + 2 * width * config.intermediate_size
    weights = config.depth * layer
    scores = 4 * config.depth * width * patches**2
    wide = merged * width
    merger = wide**2 + wide * config.out_hidden_size
    mergers = 1 + len(config.deepstack_visual_indexes)
    merging = 2 * mergers * merger * image_tokens
    return float(_pixels(config, image_tokens) + 2 * weights * patches + scores + merging)


def _pixels(config: Any, image_tokens: int) -> float:
    """Of the layer that takes the pixels of each patch."""
    numbers = config.in_channels * config.temporal_patch_size * config.patch_size**2
    patches = image_tokens * config.spatial_merge_size**2
    return float(2 * numbers * config.hidden_size * patches)
