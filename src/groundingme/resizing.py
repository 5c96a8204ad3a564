"""How vendors resize an image before their model sees it, so that its pixels can be undone.

Each rule takes width and height of the upright original in pixels and returns width and height
of what the model sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def multiple_of(
    width: int, height: int, *, factor: int, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """The Qwen-VL family's rule: sides rounded to a multiple, the area kept within bounds.

    Sides round to the nearest multiple of `factor` (half to even, at least one multiple). Where
    the area then leaves `[min_pixels, max_pixels]`, both original sides are scaled by the square
    root of the ratio and rounded down (too large) or up (too small) to a multiple. The vendor
    refuses aspect ratios above 200; here they are resized like any other.

    Source: Qwen2.5-VL's published processing code.

    Example:
        >>> multiple_of(640, 480, factor=28, min_pixels=3136, max_pixels=12845056)
        (644, 476)
    """
    w = max(factor, round(width / factor) * factor)
    h = max(factor, round(height / factor) * factor)
    if w * h > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        w = max(factor, math.floor(width / shrink / factor) * factor)
        h = max(factor, math.floor(height / shrink / factor) * factor)
    elif w * h < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        w = math.ceil(width * grow / factor) * factor
        h = math.ceil(height * grow / factor) * factor
    return w, h


def qwen25_vl(width: int, height: int) -> tuple[int, int]:
    """Qwen2.5-VL with its default bounds, 4 to 16,384 patches of 28 pixels."""
    return multiple_of(width, height, factor=28, min_pixels=4 * 28 * 28, max_pixels=16384 * 28 * 28)


def mimo_vl(width: int, height: int) -> tuple[int, int]:
    """MiMo-VL: 8 to 4,096 patches of 28 pixels; a side below 28 first grows to 28.

    The side grown to 28 keeps the aspect ratio. The maximum is the one that the published
    GroundingME scorer assumes; the vendor does not state it.
    """
    if max(width, height) >= 10 and min(width, height) < 28:
        if height < width:
            width, height = int(width * (28 / height)), 28
        else:
            width, height = 28, int(height * (28 / width))
    return multiple_of(width, height, factor=28, min_pixels=8 * 28 * 28, max_pixels=4096 * 28 * 28)


def _claude_fits(width: int, height: int, edge: int, tokens: int) -> bool:
    return max(width, height) <= edge and math.ceil(width / 28) * math.ceil(height / 28) <= tokens


def largest_fit(width: int, height: int, *, edge: int, tokens: int) -> tuple[int, int]:
    """Claude's rule: the largest image of the same shape within both limits; never enlarged.

    Args:
        width: In pixels.
        height: In pixels.
        edge: Longest side allowed, in pixels.
        tokens: Most patches of 28x28 pixels allowed, begun ones counted.

    Source: the vendor's vision guide states the limits; the rounding of the shorter side (to the
    nearest pixel) is ours and unverified, so a box may be off by half a pixel of the small image.

    Example:
        >>> largest_fit(3136, 1568, edge=1568, tokens=1568)
        (1568, 784)
    """
    if _claude_fits(width, height, edge, tokens):
        return width, height
    long, short = max(width, height), min(width, height)

    def shape(long_side: int) -> tuple[int, int]:
        short_side = max(1, round(long_side * short / long))
        return (long_side, short_side) if width >= height else (short_side, long_side)

    low, high = 1, min(long, edge)
    while low < high:
        middle = (low + high + 1) // 2
        if _claude_fits(*shape(middle), edge, tokens):
            low = middle
        else:
            high = middle - 1
    return shape(low)


def claude(width: int, height: int) -> tuple[int, int]:
    """Claude up to 4.6: sides up to 1,568 pixels and 1,568 tokens."""
    return largest_fit(width, height, edge=1568, tokens=1568)


def claude_47(width: int, height: int) -> tuple[int, int]:
    """Claude from 4.7: sides up to 2,576 pixels and 4,784 tokens."""
    return largest_fit(width, height, edge=2576, tokens=4784)


RULES: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "qwen2.5-vl": qwen25_vl,
    "mimo-vl": mimo_vl,
    "claude": claude,
    "claude-4.7": claude_47,
}
"""Rules by name. Each leaves its own result as it is, so an image may be resized beforehand."""
