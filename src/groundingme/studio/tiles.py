"""Thumbnails and deep-zoom tiles: made when they are asked for, kept on disk, made once.

The levels of a picture are those of the Deep Zoom format: the last one is the picture itself, each
one before it has half its sides, rounded up, down to a single pixel. All levels of up to `COARSE`
pixels a side are made together from one decoding, which a JPEG gives at a fraction of its size; of
the others each is made by itself when its first tile is asked for. One picture is decoded at a
time, so that memory holds one, and whoever asks for what is being made waits for it.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from groundingme import images
from groundingme.store import kept, write_atomically
from groundingme.studio import vips

if TYPE_CHECKING:
    from PIL import Image

TILE = 512
"""Sides of a tile in pixels."""
OVERLAP = 1
"""Pixels by which tiles reach into their neighbours."""
COARSE = 1024
"""Longest side of the levels that are made together."""
QUALITY = 85
THUMBS = (160, 320, 640, 1280)
"""Longest sides of thumbnails; another one is taken for the next larger of these."""
MOST_BYTES = 4 * 2**30
"""Of all files in the folder; beyond it the pictures that were used least recently go."""

_LOCKS = 64
Read = Callable[[], bytes]
Size = tuple[int, int]


def levels(size: Size) -> list[Size]:
    """Width and height of every level, from one pixel to the picture itself.

    Example:
        >>> levels((5, 2))
        [(1, 1), (2, 1), (3, 1), (5, 2)]
    """
    found = [size]
    while max(found[-1]) > 1:
        width, height = found[-1]
        found.append((math.ceil(width / 2), math.ceil(height / 2)))
    return found[::-1]


def descriptor(size: Size) -> str:
    """The `.dzi` of a picture."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpg" '
        f'Overlap="{OVERLAP}" TileSize="{TILE}"><Size Width="{size[0]}" Height="{size[1]}"/>'
        "</Image>\n"
    )


def window(size: Size, column: int, row: int) -> tuple[int, int, int, int] | None:
    """The part of a level that a tile shows, xyxy pixels; None where there is no such tile."""
    left, top = column * TILE, row * TILE
    if not (0 <= left < size[0] and 0 <= top < size[1]):
        return None
    return (
        max(0, left - OVERLAP),
        max(0, top - OVERLAP),
        min(size[0], left + TILE + OVERLAP),
        min(size[1], top + TILE + OVERLAP),
    )


class Tiles:
    """A folder of tiles and thumbnails, by the digests of their pictures.

    Args:
        folder: Made where it is missing.
        most: Bytes that it may hold.
    """

    def __init__(self, folder: Path, *, most: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most = most
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._decoding = threading.Lock()
        self._counting = threading.Lock()
        self._bytes: int | None = None

    def thumb(self, digest: str, side: int, read: Read) -> bytes:
        """A thumbnail as JPEG.

        Args:
            digest: Of the picture's bytes.
            side: Most pixels of its longer side; never enlarged.
            read: Gives the picture's bytes.

        Raises:
            ImageError: The picture cannot be used.
        """
        side = next((one for one in THUMBS if one >= side), THUMBS[-1])
        path = self._place(digest) / f"thumb-{side}.jpg"

        def make() -> None:
            data = read()
            found = images.probe(data)
            fit = min(1.0, side / max(found.width, found.height))
            size = max(1, round(found.width * fit)), max(1, round(found.height * fit))
            with self._decoding:
                small = _decoded(data, size)
            self._write(path, _encode(small))

        return self._made(digest, path, make)

    def tile(
        self, digest: str, size: Size, level: int, column: int, row: int, read: Read
    ) -> bytes | None:
        """A tile as JPEG; None where the picture has no such tile.

        Args:
            digest: Of the picture's bytes.
            size: Of the upright picture.
            level: From 0, one pixel, to the picture itself.
            column: From the left.
            row: From the top.
            read: Gives the picture's bytes.

        Raises:
            ImageError: The picture cannot be used.
        """
        known = levels(size)
        if not 0 <= level < len(known) or window(known[level], column, row) is None:
            return None
        path = self._place(digest) / str(level) / f"{column}_{row}.jpg"
        return self._made(digest, path, lambda: self._make_levels(digest, known, level, read))

    def _make_levels(self, digest: str, known: list[Size], level: int, read: Read) -> None:
        coarse = [at for at, size in enumerate(known) if max(size) <= COARSE]
        wanted = coarse if level in coarse else [level]
        top = wanted[-1]
        with self._decoding:
            picture = _decoded(read(), known[top])
            for at in wanted:
                self._write_level(self._place(digest) / str(at), _resized(picture, known[at]))

    def _write_level(self, folder: Path, picture: Image.Image) -> None:
        """All tiles of a level, in a folder that takes its name when they are there."""
        if folder.is_dir():
            return
        written = 0
        with kept(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
            try:
                for column, row, box in _windows(picture.size):
                    data = _encode(picture.crop(box))
                    (part / f"{column}_{row}.jpg").write_bytes(data)
                    written += len(data)
                with suppress(OSError):
                    # Another process may have been faster; its tiles are the same.
                    part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        self._count(written)

    def _made(self, digest: str, path: Path, make: Callable[[], None]) -> bytes:
        with suppress(FileNotFoundError):
            return self._used(path)
        with self._locks[int(digest[:8], 16) % _LOCKS]:
            with suppress(FileNotFoundError):
                return self._used(path)
            make()
            with kept(path):
                return self._used(path)

    def _used(self, path: Path) -> bytes:
        data = path.read_bytes()
        with suppress(OSError):
            os.utime(self._folder_of(path))
        return data

    def _place(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def _folder_of(self, path: Path) -> Path:
        return self._folder.joinpath(*path.relative_to(self._folder).parts[:2])

    def _write(self, path: Path, data: bytes) -> None:
        with kept(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        self._count(len(data))

    def _count(self, written: int) -> None:
        """Counts what was written, and makes room where there is too much."""
        with self._counting:
            if self._bytes is None:
                self._bytes = sum(size for _, size, _ in self._pictures())
            else:
                self._bytes += written
            if self._bytes <= self._most:
                return
            left = 0
            for _, size, folder in sorted(self._pictures(), reverse=True):
                left += size
                # Room for some more, so that not every tile has to make room again; what was
                # used last stays.
                if left > self._most * 0.8 and left > size:
                    shutil.rmtree(folder, ignore_errors=True)
                    left -= size
            self._bytes = left

    def _pictures(self) -> Iterator[tuple[int, int, str]]:
        """Time of the last use, bytes and folder of every picture."""
        for group in self._folder.glob("??/"):
            for one in os.scandir(group):
                with suppress(OSError):
                    size = sum(
                        (Path(place) / name).stat().st_size
                        for place, _, names in os.walk(one.path)
                        for name in names
                    )
                    yield one.stat().st_mtime_ns, size, one.path


def _windows(size: Size) -> Iterator[tuple[int, int, tuple[int, int, int, int]]]:
    for row in range(math.ceil(size[1] / TILE)):
        for column in range(math.ceil(size[0] / TILE)):
            box = window(size, column, row)
            assert box
            yield column, row, box


def _decoded(data: bytes, size: Size) -> Image.Image:
    return vips.reduced(data, size) or _resized(images.open_upright(data, least=size), size)


def _resized(picture: Image.Image, size: Size) -> Image.Image:
    from PIL import Image

    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.BOX)


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Colours in full: of a target of a few pixels half of them would be gone.
    picture.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
