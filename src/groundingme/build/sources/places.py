"""Where a picture lies, as one line of text that any process with the same files can read.

    /data/photos/./2024/a.jpg                         a file
    tar:/data/sa1b/./sa_000000.tar#1536+483822        bytes of a plain tar
    parquet:/data/hub/./train-0.parquet#image:12      a row of a parquet file
    tsv:/data/hr/./hr_bench_8k.tsv#120+18200312:3     a cell, in base64, of a line of a TSV

What stands before `/./` is the source's folder, and nothing outside of it is read, links followed
(see `files`). The numbers are an offset and a length in bytes, a row, and a cell, all from 0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from groundingme import files
from groundingme.datasets.parquet import ParquetImage
from groundingme.datasets.tsv import TsvImage
from groundingme.errors import DataError, ImageError
from groundingme.images import MAX_BYTES, FileImage
from groundingme.schema import ImageSource

_ROOT = "/./"
_PLACE = re.compile(r"(?:(?P<kind>tar|parquet|tsv):)?(?P<root>.*?)/\./(?P<rest>.+)", re.DOTALL)


class TarImage(msgspec.Struct, frozen=True):
    """An image in a plain tar.

    Attributes:
        path: The tar.
        start: Offset of the image in bytes.
        size: Its length in bytes.
    """

    path: str
    start: int
    size: int

    @property
    def name(self) -> str:
        """`FILE:OFFSET`."""
        return f"{Path(self.path).name}:{self.start}"

    def read(self) -> bytes:
        """The encoded bytes.

        Raises:
            ImageError: `unreadable`, `truncated` or `too-large`.
        """
        if self.size > MAX_BYTES:
            raise ImageError(
                "too-large",
                f"expected an image of at most {MAX_BYTES} bytes in {self.name}, got {self.size}; "
                "make it smaller",
            )
        try:
            with files.open_regular(self.path) as file:
                file.seek(self.start)
                data = file.read(self.size)
        except OSError as error:
            raise ImageError(
                "unreadable", f"expected an image in {self.path}, got: {error.strerror}"
            ) from None
        if len(data) < self.size:
            raise ImageError(
                "truncated",
                f"expected {self.size} bytes in {self.name}, got {len(data)}; copy the tar again",
            )
        return data


class _Inside(msgspec.Struct, frozen=True):
    """An image in an archive that must lie in a folder."""

    image: TarImage | ParquetImage | TsvImage
    root: str

    @property
    def name(self) -> str:
        return self.image.name

    def read(self) -> bytes:
        if not files.is_inside(self.image.path, self.root):
            raise ImageError(
                "outside",
                f"expected a file inside {self.root}, got {self.image.path}; move it there, or "
                f"name its folder in {files.ROOTS}",
            )
        return self.image.read()


def place(root: str, inner: str, kind: str = "", at: str = "") -> str:
    """The line for a picture.

    Args:
        root: The source's folder, absolute.
        inner: Path below it, with slashes.
        kind: `tar`, `parquet`, `tsv`, or "" for a file.
        at: Where in that file.
    """
    prefix, suffix = (f"{kind}:", f"#{at}") if kind else ("", "")
    return f"{prefix}{root.rstrip('/')}{_ROOT}{inner}{suffix}"


def locate(where: str) -> ImageSource:
    """How the picture of a line can be read; nothing is opened yet.

    Raises:
        DataError: The line is none that `place` gives.
    """
    found = _PLACE.fullmatch(where)
    if found is None:
        raise _unknown(where)
    kind, root, rest = found["kind"], found["root"] or "/", found["rest"]
    if kind is None:
        return FileImage(path=os.path.join(root, rest), name=rest, root=root)
    inner, _, at = rest.rpartition("#")
    try:
        return _Inside(_READERS[kind](os.path.join(root, inner), at), root)
    except ValueError:
        raise _unknown(where) from None


def _unknown(where: str) -> DataError:
    return DataError(f"expected where a picture is, such as /data/photos/./a.jpg, got {where!r}")


def _tar(path: str, at: str) -> TarImage:
    start, size = _whole(at.split("+"), 2)
    return TarImage(path, start, size)


def _parquet(path: str, at: str) -> ParquetImage:
    column, _, row = at.rpartition(":")
    return ParquetImage(path, _whole([row], 1)[0], column)


def _tsv(path: str, at: str) -> TsvImage:
    start, size, cell = _whole(re.split(r"[+:]", at), 3)
    return TsvImage(path, f"byte {start}", start, size, cell)


def _whole(words: list[str], count: int) -> list[int]:
    numbers = [int(one) for one in words]
    if len(numbers) != count or min(numbers) < 0:
        raise ValueError(words)
    return numbers


_READERS: dict[str, Callable[[str, str], TarImage | ParquetImage | TsvImage]] = {
    "tar": _tar,
    "parquet": _parquet,
    "tsv": _tsv,
}
