"""Data sets under the roots, and those that runs were asked on: for their pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from groundingme import files
from groundingme.datasets import FORMATS, Dataset, load_dataset
from groundingme.errors import DataError, GroundingMEError, UsageError
from groundingme.schema import ImageSource, Run
from groundingme.studio.errors import not_found
from groundingme.studio.keeping import Kept, stamp_of
from groundingme.studio.settings import Settings

DRAWN = "scenes"
DRAWN_SPEC = "scenes:n=200"
"""What the data set `scenes` of the list stands for."""

_DEEP = 4
"""Folders below a root in which data sets are looked for."""
_FRESH = 1.0
"""Seconds in which the files of a data set are not looked at again."""
_AGAIN = 5.0
"""Seconds until the folders are looked through again."""
_MOST_FOLDERS = 5_000
_MOST_FOUND = 500
_FIRST_LINE = 2**20
_ENDINGS = (".jsonl", ".parquet", ".tsv")
_PASSED = {"node_modules", "__pycache__", "site-packages"}


class Place(msgspec.Struct, frozen=True):
    """A data set that may be opened.

    Attributes:
        name: Its path from the root, or `scenes`.
        path: What `load_dataset` takes.
    """

    name: str
    path: str


class Data:
    """Data sets that the studio may read.

    Args:
        settings: Of the studio.
    """

    def __init__(self, settings: Settings) -> None:
        self._roots = [os.path.realpath(one) for one in (*settings.roots, settings.runs)]
        self._folders = list(dict.fromkeys(os.path.realpath(one) for one in settings.roots))
        self._places: tuple[list[Place], float] = [], -_AGAIN
        self._versions: Kept[tuple[str, str | None], tuple[tuple[object, ...], float]] = Kept(1_000)
        self._opened: Kept[tuple[object, ...], Dataset] = Kept(200_000, len)

    def inside(self, path: str | Path) -> bool:
        """Whether a path lies in one of the roots, all links followed; it need not exist."""
        try:
            real = os.path.realpath(path)
        except (OSError, ValueError):
            return False
        return any(real == one or real.startswith(one.rstrip(os.sep) + os.sep)
                   for one in self._roots)  # fmt: skip

    def places(self) -> list[Place]:
        """The data sets under the roots, `scenes` first, then by their paths."""
        known, at = self._places
        if time.monotonic() - at < _AGAIN:
            return known
        found = {DRAWN: DRAWN_SPEC}
        for root in self._folders:
            for path in _candidates(Path(root)):
                if len(found) > _MOST_FOUND:
                    break
                name = path.relative_to(root).as_posix()
                name = name if name != "." else Path(root).name
                while name in found:
                    name = f"{Path(root).name}/{name}"
                if self.inside(path):
                    found[name] = str(path)
        known = [Place(name, path) for name, path in found.items()]
        self._places = known, time.monotonic()
        return known

    def find(self, name: str) -> Dataset:
        """A data set of the list.

        Raises:
            ApiError: 404 where the list has none of that name.
            UsageError: It cannot be read.
        """
        place = next((one for one in self.places() if one.name == name), None)
        if place is None:
            raise not_found("a data set", name)
        return self._open(place.path, None)

    def of_run(self, run: Run) -> Dataset:
        """What a run was asked on, with its pictures.

        Raises:
            UsageError: The data are elsewhere, gone or changed.
        """
        split = run.settings.get("split")
        key = (*self._version(run.data, split), run.subset, run.limit)

        def make() -> Dataset:
            whole = self._open(run.data, split)
            return whole.select(subset=run.subset, limit=run.limit)

        chosen = self._opened.get(key, make)
        if chosen.fingerprint != run.data_fingerprint:
            raise DataError(f"{run.data} has changed since the run")
        return chosen

    def image(self, dataset: Dataset, sample: str) -> ImageSource:
        """The picture of a sample.

        Raises:
            ApiError: 404 where the data set lacks the sample or came without pictures.
        """
        try:
            source = dataset.find(sample).image
        except UsageError:
            raise not_found("a sample", sample) from None
        if source is None:
            raise not_found("a picture", sample)
        return source

    def _open(self, data: str, split: str | None) -> Dataset:
        key = self._version(data, split)
        return self._opened.get(key, lambda: load_dataset(str(key[0]), split=split))

    def _version(self, data: str, split: str | None) -> tuple[object, ...]:
        """What may be opened in place of `data`, and what changes where its files do."""
        known = self._versions.find((data, split))
        if known and time.monotonic() - known[1] < _FRESH:
            return known[0]
        place = self._allowed(data)
        path = Path(place)
        there = [path, *sorted(path.glob("*"))[:_MOST_FOUND]] if path.is_dir() else [path]
        version = place, split, stamp_of(there)
        self._versions.put((data, split), (version, time.monotonic()))
        return version

    def _allowed(self, data: str) -> str:
        """What may be opened: a path in the roots, a drawn data set, or the Hub's local cache."""
        if not data.strip() or "\0" in data:
            raise DataError(f"expected a data set, got {data!r}")
        name, colon, rest = data.partition(":")
        path = Path(data).expanduser()
        if path.exists():
            return self._checked(str(path), data)
        known = FORMATS.get(name) if name in FORMATS else None
        if known and known.make:
            return data
        if colon and Path(rest).expanduser().exists():
            return self._checked(f"{name}:{Path(rest).expanduser()}", data, rest)
        return _cached(rest if colon else data, name if colon or known else "")

    def _checked(self, place: str, data: str, path: str = "") -> str:
        if not self.inside(Path(path or place).expanduser()):
            raise DataError(
                f"expected data inside the studio's roots, got {data}; name its folder with --root"
            )
        return place


def _cached(data: str, name: str) -> str:
    """A data set of the Hub as far as it is on this machine; nothing is downloaded here."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    id = FORMATS.get(name).hub if name and "/" not in data else data
    owner = {FORMATS.get(one).hub.lower(): one for one in FORMATS.names()}
    try:
        folder = huggingface_hub.snapshot_download(id, repo_type="dataset", local_files_only=True)
    except (OSError, ValueError, HFValidationError, GroundingMEError):
        raise DataError(
            f"expected {data} in a root or in the Hub's local cache, got none; name its folder "
            "with --root, or load it once with: groundingme data"
        ) from None
    format = name or owner.get(id.lower(), "")
    return f"{format}:{folder}" if format else folder


def _candidates(root: Path) -> Iterator[Path]:
    """Files that may be data sets, and folders of such, without a look into them."""
    seen = 0
    for folder, names, entries in os.walk(root):
        here = Path(folder)
        deep = len(here.relative_to(root).parts)
        names[:] = sorted(one for one in names if not one.startswith(".") and one not in _PASSED)
        if deep >= _DEEP:
            names.clear()
        seen += 1
        if seen > _MOST_FOLDERS:
            return
        if "run.json" in entries:
            names.clear()
            continue
        for one in sorted(entries):
            if one.endswith(_ENDINGS) and not one.startswith(".") and _asks(here / one):
                yield here / one


def _asks(path: Path) -> bool:
    """Whether a file may hold questions: a JSONL begins with one that has a description."""
    if path.suffix != ".jsonl":
        return True
    try:
        with files.open_regular(path) as file:
            first = msgspec.json.decode(file.readline(_FIRST_LINE))
    except (OSError, UnicodeDecodeError, msgspec.DecodeError):
        return False
    return isinstance(first, dict) and "description" in first
