"""Decoded pictures of every mode as RGB of 8 bits, a strip at a time.

A picture of the most pixels that are let in takes 0.7 GB decoded. What is made of it on the way to
RGB is made of 256 rows at a time, so that not five such copies are held at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from groundingme.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

_STRIP = 256
"""Rows that are converted at a time."""


def is_opaque(picture: Image.Image) -> bool:
    """Whether no pixel is transparent."""
    for _, strip in _strips(picture):
        layer = strip.convert("RGBA") if "transparency" in strip.info else strip
        if "A" in layer.getbands() and layer.getchannel("A").getextrema()[0] != 255:
            return False
    return True


def to_rgb(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture as RGB of 8 bits, upright, laid on white where it is transparent.

    Args:
        picture: Of any mode.
        orientation: EXIF orientation, 1 to 8.

    Raises:
        ImageError: `unsupported`, for pixels that no server shows.
    """
    from PIL import Image

    if picture.mode.startswith("I"):
        picture = _eight_bits(picture)
    if picture.mode in ("F", "LAB", "HSV"):
        raise ImageError(
            "unsupported",
            f"expected grey or RGB pixels of 8 or 16 bits, got mode {picture.mode}; convert it",
        )
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgb = _on_white(picture)
    else:
        rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    if orientation == 1:
        return rgb
    turn = (
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
    )[orientation - 2]
    return rgb.transpose(turn)


def _strips(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The picture by strips with their tops, so that one is converted at a time."""
    for top in range(0, picture.height, _STRIP):
        bottom = min(top + _STRIP, picture.height)
        yield top, picture.crop((0, top, picture.width, bottom))


def _on_white(picture: Image.Image) -> Image.Image:
    from PIL import Image

    rgb = Image.new("RGB", picture.size)
    for top, strip in _strips(picture):
        layer = strip.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        rgb.paste(Image.alpha_composite(paper, layer).convert("RGB"), (0, top))
    return rgb


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits as grey of 8: 65,535 becomes 255, rounded."""
    import numpy as np
    from PIL import Image

    grey = Image.new("L", picture.size)
    for top, strip in _strips(picture):
        values = np.asarray(strip).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65_535:
            raise ImageError(
                "unsupported",
                f"expected grey values of 8 or 16 bits, got {low} to {high}; convert it",
            )
        eight = ((values * 255 + 32_767) // 65_535).astype(np.uint8)
        grey.paste(Image.fromarray(eight), (0, top))
    return grey


def subsampling(picture: Image.Image) -> int:
    """Chroma sampling of a decoded JPEG as Pillow's encoder takes it; full where it is odd."""
    from PIL import JpegImagePlugin

    if not hasattr(picture, "layer"):
        return 0
    return max(0, JpegImagePlugin.get_sampling(picture))
