"""The Swin encoder on weights by name, for inference.

"Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", arXiv 2103.14030.
Windows of a square picture attend within themselves, in every other block shifted by half a
window; between stages two by two tokens become one. Tensors of tokens have the shape
`(batch, side, side, channels)`, those of windows `(batch * windows, window * window, channels)`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Tensor: TypeAlias = Any
"""A tensor of torch, which is imported only where it is used."""

EPSILON = 1e-5
"""Of the layer norms."""

MLP = 4
"""Channels inside of a block's perceptron, as a multiple of those outside."""

APART = -100.0
"""Added to the attention of tokens that only the shift brought together."""


class SwinConfig(msgspec.Struct, frozen=True):
    """Sizes; the defaults are Swin-L at 384 pixels.

    Attributes:
        image_size: Side of the square picture, in pixels; a multiple of `patch`.
        patch: Side of a patch, in pixels.
        width: Channels of the first stage, doubled with each further one.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        window: Side of a window, in tokens.
    """

    image_size: int = 384
    patch: int = 4
    width: int = 192
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (6, 12, 24, 48)
    window: int = 12

    @property
    def out_width(self) -> int:
        """Channels of the last stage."""
        return self.width << (len(self.depths) - 1)

    def side(self, stage: int) -> int:
        """Tokens along the side of the picture in a stage."""
        return self.image_size // self.patch >> stage

    def window_of(self, stage: int) -> int:
        """Side of a window in a stage: that of the whole picture where it is no larger."""
        return min(self.window, self.side(stage))

    def shift(self, stage: int, block: int) -> int:
        """By how many tokens the windows of a block are shifted."""
        return self.window // 2 if block % 2 and self.side(stage) > self.window else 0


def shapes(config: SwinConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights."""
    found: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (config.width, 3, config.patch, config.patch),
        "patch_embed.proj.bias": (config.width,),
        **norm_shapes("patch_embed.norm", config.width),
        **norm_shapes("norm", config.out_width),
    }
    for stage, depth in enumerate(config.depths):
        width, heads = config.width << stage, config.heads[stage]
        offsets = 2 * config.window_of(stage) - 1
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}"
            found |= norm_shapes(f"{at}.norm1", width)
            found[f"{at}.attn.relative_position_bias_table"] = (offsets * offsets, heads)
            found |= linear_shapes(f"{at}.attn.qkv", width, 3 * width)
            found |= linear_shapes(f"{at}.attn.proj", width, width)
            found |= norm_shapes(f"{at}.norm2", width)
            found |= linear_shapes(f"{at}.mlp.fc1", width, MLP * width)
            found |= linear_shapes(f"{at}.mlp.fc2", MLP * width, width)
        if stage < len(config.depths) - 1:
            at = f"layers.{stage}.downsample"
            found |= norm_shapes(f"{at}.norm", 4 * width)
            found[f"{at}.reduction.weight"] = (2 * width, 4 * width)
    return found


def linear_shapes(at: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Of a linear layer with a bias."""
    return {f"{at}.weight": (outputs, inputs), f"{at}.bias": (outputs,)}


def norm_shapes(at: str, width: int) -> dict[str, tuple[int, ...]]:
    """Of a layer norm."""
    return {f"{at}.weight": (width,), f"{at}.bias": (width,)}


def linear(x: Tensor, weights: Mapping[str, Tensor], at: str) -> Tensor:
    """The linear layer of that name."""
    from torch.nn import functional

    return functional.linear(x, weights[f"{at}.weight"], weights.get(f"{at}.bias"))


def norm(x: Tensor, weights: Mapping[str, Tensor], at: str, epsilon: float = EPSILON) -> Tensor:
    """The layer norm of that name."""
    from torch.nn import functional

    weight = weights[f"{at}.weight"]
    return functional.layer_norm(x, weight.shape, weight, weights[f"{at}.bias"], epsilon)


def encode(
    pictures: Tensor, weights: Mapping[str, Tensor], config: SwinConfig, at: str = ""
) -> Tensor:
    """Tokens of the last stage.

    Args:
        pictures: Shape `(batch, 3, image_size, image_size)`, normalised.
        weights: By name: see `shapes`.
        config: Sizes.
        at: What is written before the names.

    Returns:
        Shape `(batch, tokens, out_width)`, row by row.
    """
    from torch.nn import functional

    patches = functional.conv2d(
        pictures,
        weights[f"{at}patch_embed.proj.weight"],
        weights[f"{at}patch_embed.proj.bias"],
        stride=config.patch,
    )
    x = norm(patches.permute(0, 2, 3, 1), weights, f"{at}patch_embed.norm")
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            x = _block(x, weights, f"{at}layers.{stage}.blocks.{block}", config, stage, block)
        if stage < len(config.depths) - 1:
            x = _merge(x, weights, f"{at}layers.{stage}.downsample")
    return norm(x.flatten(1, 2), weights, f"{at}norm")


def _block(
    x: Tensor,
    weights: Mapping[str, Tensor],
    at: str,
    config: SwinConfig,
    stage: int,
    block: int,
) -> Tensor:
    from torch.nn import functional

    window, shift = config.window_of(stage), config.shift(stage, block)
    side = config.side(stage)
    seen = norm(x, weights, f"{at}.norm1")
    if shift:
        seen = seen.roll((-shift, -shift), (1, 2))
    table = weights[f"{at}.attn.relative_position_bias_table"]
    added = _added(table, side, window, shift).repeat(len(x), 1, 1, 1)
    windows = _attention(_windows(seen, window), weights, f"{at}.attn", config.heads[stage], added)
    mixed = _picture(windows, side, window)
    if shift:
        mixed = mixed.roll((shift, shift), (1, 2))
    x = x + mixed
    inside = linear(norm(x, weights, f"{at}.norm2"), weights, f"{at}.mlp.fc1")
    return x + linear(functional.gelu(inside), weights, f"{at}.mlp.fc2")


def _attention(
    x: Tensor, weights: Mapping[str, Tensor], at: str, heads: int, added: Tensor
) -> Tensor:
    """Attention within each window, of the shape that it was given.

    Four dimensions, because only for those torch has fused kernels.
    """
    from torch.nn import functional

    split = linear(x, weights, f"{at}.qkv").unflatten(-1, (3, heads, -1))
    query, key, value = split.permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=added)
    return linear(mixed.transpose(1, 2).flatten(2), weights, f"{at}.proj")


def _added(table: Tensor, side: int, window: int, shift: int) -> Tensor:
    """What is added to the attention of each pair of tokens.

    Returns:
        Shape `(windows of a picture, heads, tokens, tokens)`.
    """
    import torch

    tokens, parts = window * window, side // window
    offsets = torch.from_numpy(_offsets(window)).to(table.device)
    bias = table[offsets.flatten()].T.unflatten(1, (tokens, tokens))
    if not shift:
        return bias.expand(parts * parts, -1, -1, -1)
    apart = torch.from_numpy(_strangers(side, window, shift)).to(table.device)
    return bias + apart.unsqueeze(1).to(table.dtype) * APART


def _merge(x: Tensor, weights: Mapping[str, Tensor], at: str) -> Tensor:
    """Two by two tokens side by side, and half as many channels of them; column after column."""
    squares = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    joined = squares.permute(0, 1, 3, 4, 2, 5).flatten(3)
    return linear(norm(joined, weights, f"{at}.norm"), weights, f"{at}.reduction")


def _windows(x: Tensor, window: int) -> Tensor:
    parts = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return parts.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(0, 2)


def _picture(windows: Tensor, side: int, window: int) -> Tensor:
    """The tokens of pictures from their windows; the inverse of `_windows`."""
    count = side // window
    parts = windows.unflatten(1, (window, window)).unflatten(0, (-1, count, count))
    return parts.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)


@functools.cache
def _offsets(window: int) -> NDArray[np.int64]:
    """Row of the table of biases for each pair of a window's tokens, by how far they are apart."""
    row, column = np.divmod(np.arange(window * window), window)
    down = row[:, None] - row[None, :] + window - 1
    right = column[:, None] - column[None, :] + window - 1
    return np.asarray(down * (2 * window - 1) + right, np.int64)


@functools.cache
def _strangers(side: int, window: int, shift: int) -> NDArray[np.bool_]:
    """Which tokens of a shifted window come from different ends of the picture.

    Returns:
        Shape `(windows, tokens, tokens)`.
    """
    place = np.arange(side)
    region = (place >= side - window).astype(int) + (place >= side - shift)
    parts = side // window
    both = (3 * region[:, None] + region).reshape(parts, window, parts, window)
    regions = both.transpose(0, 2, 1, 3).reshape(parts * parts, window * window)
    return np.asarray(regions[:, :, None] != regions[:, None, :])
