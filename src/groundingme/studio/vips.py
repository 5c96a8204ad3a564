"""Large PNG pictures through libvips, where pyvips is installed: in half of Pillow's time.

JPEG stays with Pillow, which decodes it with the same library in the same time (docs/studio-runs.md
has the figures). So do pictures with transparency, palettes, grey or 16 bits, whose way to RGB is
that of `images` alone.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from groundingme import images

if TYPE_CHECKING:
    from PIL import Image

LEAST = 4_000_000
"""Pixels from which it is worth it."""


@functools.cache
def library() -> Any | None:
    """The module pyvips; None where it, or libvips, is not installed."""
    try:
        import pyvips
    except (ImportError, OSError):
        return None
    return pyvips


def reduced(data: bytes, size: tuple[int, int]) -> Image.Image | None:
    """A PNG picture decoded and brought to a size, each pixel the mean of those it stands for.

    Args:
        data: The encoded picture.
        size: Width and height, not above its own.

    Returns:
        RGB of 8 bits; None where Pillow should do it: pyvips is missing, the picture is small or of
        another kind, or something is wrong with it.

    Raises:
        ImageError: The picture cannot be used.
    """
    from PIL import Image

    pyvips = library()
    if pyvips is None:
        return None
    found = images.probe(data)
    if not (found.format == "PNG" and found.plain and found.mode == "RGB"
            and found.width * found.height >= LEAST):  # fmt: skip
        return None
    try:
        one = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
        if (one.width, one.height) != size:
            one = one.shrink(one.width / size[0], one.height / size[1])
        if (one.width, one.height, one.bands, one.format) != (*size, 3, "uchar"):
            return None
        return Image.frombytes("RGB", size, bytes(one.write_to_memory()))
    except pyvips.Error:
        return None
