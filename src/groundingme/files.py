"""Files that strangers wrote: inside their folder, of bounded size, a line at a time.

A data set names its images by paths. Whoever made it could name any file of this machine, and a
run would send it to a server; so an image is read only from where the data set lies, after all
links are followed. Folders named in the environment variable `GROUNDINGME_IMAGE_ROOTS` (with `:`
between, on Windows `;`) are open to every data set.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from groundingme.errors import DataError

ROOTS = "GROUNDINGME_IMAGE_ROOTS"


def is_inside(path: str, root: str) -> bool:
    """Whether a file lies in a folder, or in one of `GROUNDINGME_IMAGE_ROOTS`, links followed.

    The Hub's cache keeps the files of a data set as links into a folder `blobs` of its own, which
    counts as inside.

    Args:
        path: A file; it need not exist.
        root: A folder, whose own links are the user's business.
    """
    real = os.path.realpath(path)
    roots = [root, *filter(None, os.environ.get(ROOTS, "").split(os.pathsep))]
    places = [os.path.realpath(one) for one in roots]
    # The folder `blobs` is not resolved: were it a link, it could lead anywhere.
    snapshots = next((one for one in Path(places[0]).parents if one.name == "snapshots"), None)
    if snapshots is not None:
        places.append(str(snapshots.parent / "blobs"))
    return any(real == one or real.startswith(one.rstrip(os.sep) + os.sep) for one in places)


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a file for reading, but no pipe or device, which could block or never end.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        number = os.open(path, flags)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from None
    file = os.fdopen(number, "rb") if stat.S_ISREG(os.fstat(number).st_mode) else None
    if file is None:
        os.close(number)
        raise OSError(errno.EINVAL, "no regular file")
    return file


def read_bounded(path: str | Path, most: int) -> bytes | None:
    """The bytes of a file; None where there are more than `most`.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            return None
        data = file.read(most + 1)
    return data if len(data) <= most else None


def lines(file: BinaryIO, most: int) -> Iterator[bytes | None]:
    """The lines of a file with their breaks; None for one of more than `most` bytes."""
    while line := file.readline(most + 1):
        if len(line) <= most:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(most + 1)
        yield None


def check_utf8(head: bytes, path: str | Path) -> None:
    """Refuses the first bytes of a text in UTF-16 or UTF-32.

    Raises:
        DataError: They are of one.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (b"\0" in head[:4] and head.strip(b"\0")):
        raise DataError(f"expected UTF-8 in {path}, got UTF-16 or UTF-32; save it as UTF-8")
