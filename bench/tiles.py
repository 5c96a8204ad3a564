"""Tiles of an 8K picture with Pillow, with pyvips, and as the studio makes them: time and pixels.

    pip install 'pyvips[binary]'
    python bench/tiles.py [--times 5]

Each round makes the same tiles in the three ways, one after the other. Processor time counts all
threads of the process; libvips has as many as VIPS_CONCURRENCY says.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import pyvips
from PIL import Image

from groundingme import images
from groundingme.studio import tiles

SIDES = (7680, 4320)
LEVELS = tiles.levels(SIDES)
COARSE = [at for at, size in enumerate(LEVELS) if max(size) <= tiles.COARSE]
WORK = {
    "levels up to 1,024 pixels": COARSE,
    "level of 1,920 pixels": [len(LEVELS) - 3],
    "full size": [len(LEVELS) - 1],
}

Made = list[bytes]
Make = Callable[[bytes, list[int]], Made]


def picture(format: str) -> bytes:
    """An 8K picture with detail everywhere."""
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 255, (540, 960, 3), dtype=np.uint8))
    fine = rng.integers(0, 12, (SIDES[1], SIDES[0], 1), dtype=np.uint8)
    pixels = np.asarray(rough.resize(SIDES, Image.Resampling.BICUBIC)) // 2 + fine
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **({"quality": 92} if format == "JPEG" else {}))
    return file.getvalue()


def with_pillow(data: bytes, wanted: list[int]) -> Made:
    """As `Tiles` does without pyvips, but for the files."""
    top = LEVELS[wanted[-1]]
    return cut(tiles._resized(images.open_upright(data, least=top), top), wanted)


def as_built(data: bytes, wanted: list[int]) -> Made:
    """As `Tiles` does with pyvips."""
    return cut(tiles._decoded(data, LEVELS[wanted[-1]]), wanted)


def cut(whole: Image.Image, wanted: list[int]) -> Made:
    made = []
    for at in wanted:
        level = tiles._resized(whole, LEVELS[at])
        made += [tiles._encode(level.crop(box)) for _, _, box in tiles._windows(level.size)]
    return made


def with_vips(data: bytes, wanted: list[int]) -> Made:
    """The same steps: decoded at a fraction where that will do, means of pixels, tiles as JPEG."""
    format, top = images.probe(data).format, LEVELS[wanted[-1]]
    load = {"access": "sequential", "fail_on": "error"}
    if format == "JPEG":
        at_least_twice = (n for n in (8, 4, 2, 1) if SIDES[0] / n >= 2 * top[0] or n == 1)
        load["shrink"] = next(at_least_twice)
    whole = shrunk(pyvips.Image.new_from_buffer(data, "", **load), top)
    made = []
    for at in wanted:
        level = shrunk(whole, LEVELS[at])
        for _, _, (left, top_edge, right, bottom) in tiles._windows((level.width, level.height)):
            tile = level.crop(left, top_edge, right - left, bottom - top_edge)
            # No profile of colours in a tile, as Pillow writes none.
            made.append(tile.jpegsave_buffer(Q=tiles.QUALITY, subsample_mode="off", keep="none"))
    return made


def shrunk(one: pyvips.Image, size: tiles.Size) -> pyvips.Image:
    """In memory, at a size."""
    if (one.width, one.height) != size:
        one = one.shrink(one.width / size[0], one.height / size[1])
    return one.copy_memory()


def apart(one: bytes, other: bytes) -> float:
    """Mean difference of two tiles, in values of 0 to 255."""
    a, b = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16) for data in (one, other)
    )
    return float(np.abs(a - b).mean())


def measured(make: Make, data: bytes, wanted: list[int]) -> tuple[float, float, Made]:
    """Milliseconds of processor and of wall time, and the tiles."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = make(data, wanted)
    return 1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall), made


WAYS = (with_pillow, with_vips, as_built)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    print(f"Pillow {Image.__version__}, libvips {pyvips.version(0)}.{pyvips.version(1)}, "
          f"load {os.getloadavg()[0]:.1f}; medians of {args.times}, ms")  # fmt: skip
    for format in ("JPEG", "PNG"):
        data = picture(format)
        for name, wanted in WORK.items():
            rounds = [[measured(make, data, wanted) for make in WAYS] for _ in range(args.times)]
            figures = [
                statistics.median(one[who][what] for one in rounds)
                for what in (0, 1) for who in range(len(WAYS))
            ]  # fmt: skip
            pillow, *others = (one[2] for one in rounds[0])
            off = max(
                statistics.mean(apart(a, b) for a, b in zip(pillow, other, strict=True))
                for other in others
            )
            print(
                f"{format} of {len(data) / 1e6:.1f} MB, {name}, {len(pillow)} tiles: processor "
                "{:.0f}, {:.0f}, {:.0f}; wall {:.0f}, {:.0f}, {:.0f}".format(*figures)
                + f"; mean difference {off:.2f} of 255"
            )


if __name__ == "__main__":
    main()
