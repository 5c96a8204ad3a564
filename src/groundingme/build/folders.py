"""Where the shards of each stage are, and what their folder is named after."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundingme.build import tables
from groundingme.build.records import Picture

DONE = "done"
"""File that says how many shards a stage has, written when all of them are there."""
FINGERPRINTED = 64 * 2**20
"""Most bytes of a file named in an option whose content is looked at; of others only the size."""


class Place(msgspec.Struct, frozen=True):
    """Where the shards of one stage are.

    Attributes:
        name: Of the stage.
        folder: Of its shards.
        key: Digest of all that they follow from.
        holds: `Picture` or `Target`.
    """

    name: str
    folder: Path
    key: str
    holds: type[tables.Record]

    def shards(self) -> list[Path]:
        """The shards that are whole, in order."""
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def read(self, path: Path) -> list[Any]:
        """The records of one shard."""
        return tables.read_pictures(path) if self.holds is Picture else tables.read_targets(path)

    @property
    def is_done(self) -> bool:
        """Whether every shard is there."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / DONE).read_text()) == len(self.shards())
        return False


class ReadShards:
    """The shards of a place, read as they are asked for."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._paths = place.shards()

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[list[Any]]:
        return map(self._place.read, self._paths)


def digest(before: str, name: str, options: Any, *rest: Any) -> str:
    """Hex digits of what a stage follows from."""
    files = [_content(value) for value in _texts(msgspec.to_builtins(options))]
    told = msgspec.json.encode((before, name, options, rest, files))
    return hashlib.sha256(told).hexdigest()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _content(text: str) -> str:
    """A digest of the file that an option names; "" where it names none."""
    with contextlib.suppress(OSError, ValueError):
        path = Path(text)
        if path.is_file():
            size = path.stat().st_size
            if size > FINGERPRINTED:
                return f"{size} bytes"
            return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""
