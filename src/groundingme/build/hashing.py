"""Perceptual hashes: 64 bits that stay nearly the same when a picture is saved anew or scaled.

The picture in grey at 32 x 32 pixels, its two-dimensional cosine transform, of that the 8 x 8
lowest frequencies; a bit says whether one of them is above their median. The first, the mean grey,
says nothing, so 63 bits tell pictures apart.

Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

_SIDE = 32
_LOW = 8


def perceptual(picture: Image.Image) -> int:
    """The hash of a picture, an unsigned 64-bit number; 0 where it is of one colour.

    Args:
        picture: Of any mode and size; a few hundred pixels suffice.
    """
    from PIL import Image

    small = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves = _waves()
    low = waves @ np.asarray(small, np.float64) @ waves.T
    # Rounded, so that the last digits of another processor change no bit of a flat picture.
    values = np.round(low.ravel(), 3)
    values[0] = 0.0
    bits = values > np.median(values[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def sharpness(picture: Image.Image) -> float:
    """Variance of the Laplacian of a picture in grey, of the size that it has."""
    grey = np.asarray(picture.convert("L"), np.float32)
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * inner).var(dtype=np.float64))


def distances(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits differ, in [0, 64]; the arrays are broadcast."""
    differing = np.bitwise_xor(hashes, others)
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(differing), np.uint8)
    return _count(differing)


def _count(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Bits that are set, for numpy before 2.0, by adding neighbours."""
    for mask, shift in ((0x5555555555555555, 1), (0x3333333333333333, 2), (0x0F0F0F0F0F0F0F0F, 4)):
        low = np.uint64(mask)
        numbers = (numbers & low) + ((numbers >> np.uint64(shift)) & low)
    return ((numbers * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)


@functools.cache
def _waves() -> NDArray[np.float64]:
    """Shape `(8, 32)`: the lowest rows of the cosine transform (DCT-II)."""
    order = np.arange(_LOW)[:, None]
    at = np.arange(_SIDE)[None, :]
    return np.asarray(np.cos(np.pi * order * (2 * at + 1) / (2 * _SIDE)), np.float64)
