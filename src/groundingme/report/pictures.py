"""Small pictures for a page: each image is decoded once, and all of them fit a budget of bytes.

A sample gets a thumbnail of the whole image and, where its box would be too small there to be
recognized, a crop around it. How large they are follows from the budget: a few images are encoded
at every size of `LEVELS`, and the largest size that fits is taken for all.
"""

from __future__ import annotations

import bisect
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from groundingme import images
from groundingme.errors import ImageError
from groundingme.schema import Box, ImageSource

if TYPE_CHECKING:
    from PIL import Image

LEVELS = (
    (960, 74), (800, 72), (640, 70), (480, 72), (420, 60), (360, 56), (320, 52),
    (260, 46), (200, 40),
)  # fmt: skip
"""Longest side of a thumbnail in pixels, and the quality of its WebP.

480 stands out: JPEG decoders halve 960, 1920, 3840 and 7680 to it at once, without a resize.
"""

TINY = 40
"""A box whose shorter side is smaller than this many pixels of the thumbnail is shown in a crop."""
AROUND = 2.5
"""Side of a crop, in sides of its box."""
LEAST = 120
"""Least side of a crop, in pixels of the image."""
MOST = 0.35
"""Largest side of a crop, in longer sides of the image; a larger one would show nothing new."""

_SHARPER = 1.4
"""How many times the pixels of the thumbnail, along a side, make a crop worth its bytes."""
_PILOTS = 12
_FEW = 24
"""So few images are not worth other processes."""


class Wanted(msgspec.Struct, frozen=True):
    """One image to make small.

    Attributes:
        source: Where its bytes are.
        boxes: What to crop around, where it is small; None for nothing. One for each sample that
            shows the image.
    """

    source: ImageSource
    boxes: tuple[Box | None, ...]


class Crop(msgspec.Struct, frozen=True):
    """A part of an image.

    Attributes:
        window: xyxy pixels of the image.
        data: WebP; empty where the thumbnail holds as many pixels of it.
    """

    window: Box
    data: bytes


class Small(msgspec.Struct, frozen=True):
    """What became of an image.

    Attributes:
        width: Of the image, in pixels; 0 where it cannot be used.
        height: Likewise.
        data: The thumbnail as WebP; empty where the image cannot be used.
        crops: One for each of `Wanted.boxes`; None where the thumbnail shows enough.
        problem: Why there is no picture, or "".
    """

    width: int = 0
    height: int = 0
    data: bytes = b""
    crops: tuple[Crop | None, ...] = ()
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes of all its pictures."""
        return len(self.data) + sum(len(one.data) for one in self.crops if one)


def shrink_all(
    wanted: Sequence[Wanted],
    budget: int,
    *,
    workers: int | None = None,
    tick: Callable[[int], None] | None = None,
) -> list[Small]:
    """Thumbnails and crops of all images, in at most `budget` bytes together.

    Args:
        wanted: The images.
        budget: Bytes. Where even the smallest size exceeds it, that is what comes.
        workers: Processes; one a core by default.
        tick: Called with the number of images that are done.
    """
    level = _fitting(wanted, budget)
    made: list[Small] = []
    for one in _shrunk(wanted, level, workers or os.cpu_count() or 1):
        made.append(one)
        if tick:
            tick(len(made))
    while sum(one.size for one in made) > budget and level + 1 < len(LEVELS):
        level += 1
        made = [_reduce(one, level) for one in made]
    return made


def _fitting(wanted: Sequence[Wanted], budget: int) -> int:
    """Index of the largest level at which a few of the images say that all will fit."""
    step = max(1, len(wanted) // _PILOTS)
    made = [shrink(one, 0) for one in wanted[step // 2 :: step][:_PILOTS]]

    def fits(level: int) -> bool:
        mean = sum(_reduce(one, level).size for one in made) / max(1, len(made))
        # A tenth is left for the images that these do not speak for.
        return mean * len(wanted) * 1.1 <= budget

    return bisect.bisect_left(range(len(LEVELS) - 1), True, key=fits)


def _shrunk(wanted: Sequence[Wanted], level: int, workers: int) -> Iterator[Small]:
    """All of them in order, a bounded number at a time."""
    if workers <= 1 or len(wanted) < _FEW:
        yield from (shrink(one, level) for one in wanted)
        return
    # Spawned, not forked: threads of the caller may hold locks.
    import multiprocessing

    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        todo = iter(wanted)
        waiting = [pool.submit(shrink, one, level) for one in islice(todo, 4 * workers)]
        try:
            while waiting:
                yield waiting.pop(0).result()
                waiting.extend(pool.submit(shrink, one, level) for one in islice(todo, 1))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def shrink(wanted: Wanted, level: int) -> Small:
    """Decodes an image once, and makes its thumbnail and crops at a level of `LEVELS`."""
    from PIL import Image

    side, quality = LEVELS[level]
    try:
        data = wanted.source.read()
        found = images.probe(data)
        width, height = found.width, found.height
        fit = min(1.0, side / max(width, height))
        windows = [_window(box, width, height, fit) for box in wanted.boxes]
        closest = max([fit, *(_crop_scale(one, side) for one in windows if one)])
        # A scaled JPEG has twice these sides at least, so what is needed and no more.
        least = (math.ceil(width * closest / 2), math.ceil(height * closest / 2))
        picture = images.open_upright(data, least=least)
    except ImageError as error:
        return Small(problem=str(error))
    small = _resized(picture, (max(1, round(width * fit)), max(1, round(height * fit))))
    drawn = picture.width / width
    crops: list[Crop | None] = []
    for window in windows:
        if window is None:
            crops.append(None)
            continue
        if _crop_scale(window, side) < _SHARPER * fit:
            crops.append(Crop(window, b""))
            continue
        part = picture.crop(tuple(round(edge * drawn) for edge in window))  # type: ignore[arg-type]
        scale = _crop_scale(window, side)
        size = (round((window[2] - window[0]) * scale), round((window[3] - window[1]) * scale))
        crops.append(Crop(window, _encode(_resized(part, size, Image.Resampling.LANCZOS), quality)))
    return Small(width, height, _encode(small, quality), tuple(crops))


def _window(box: Box | None, width: int, height: int, fit: float) -> Box | None:
    """The square part of an image to crop, in its pixels; None where the thumbnail will do."""
    if box is None or not all(map(math.isfinite, box)):
        return None
    wide, high = box[2] - box[0], box[3] - box[1]
    if not 0 <= min(wide, high) * fit < TINY:
        return None
    side = min(max(AROUND * max(wide, high), LEAST), width, height)
    if side > MOST * max(width, height):
        return None
    edges = []
    for low, far, most in ((box[0], box[2], width), (box[1], box[3], height)):
        start = min(max((low + far - side) / 2, 0), most - side)
        edges.append((start, start + side))
    return edges[0][0], edges[1][0], edges[0][1], edges[1][1]


def _crop_scale(window: Box, side: int) -> float:
    """By how much a crop is scaled, never up."""
    return min(1.0, 0.6 * side / (window[2] - window[0]))


def _resized(
    picture: Image.Image, size: tuple[int, int], way: Image.Resampling | None = None
) -> Image.Image:
    from PIL import Image

    if picture.size == size:
        return picture
    return picture.resize(size, way or Image.Resampling.BILINEAR, reducing_gap=2.0)


def _encode(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()


def _reduce(one: Small, level: int) -> Small:
    """The same in a smaller size."""
    if one.problem:
        return one
    side, quality = LEVELS[level]

    def smaller(data: bytes, most: float) -> bytes:
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=("WEBP",)) as picture:
            scale = min(1.0, most / max(picture.size))
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            return _encode(_resized(picture.convert("RGB"), size), quality)

    crops = tuple(
        Crop(crop.window, smaller(crop.data, 0.6 * side)) if crop and crop.data else crop
        for crop in one.crops
    )
    return msgspec.structs.replace(one, data=smaller(one.data, side), crops=crops)
