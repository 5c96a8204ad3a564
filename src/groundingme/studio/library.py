"""Runs as the studio shows them: found in their folder, opened once, kept while they stay the same.

A run is named by its folder. Nothing outside of the data roots is read, whatever a name or a link
says; see `inside`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundingme import mistakes, stats
from groundingme.alignment import Entry, image_keys
from groundingme.errors import GroundingMEError, RunError
from groundingme.evaluation import check_protocol
from groundingme.loading import load_scored
from groundingme.mistakes import Mistakes
from groundingme.result import Result
from groundingme.scale.court import VERDICTS, Verdict
from groundingme.scale.kept import load_verdicts
from groundingme.scale.selection import SAMPLED
from groundingme.schema import Generation, ImageSource, Run, Sample
from groundingme.stats import Floats
from groundingme.store import GENERATIONS, MANIFEST, RunFolder, list_runs
from groundingme.studio.data import Data
from groundingme.studio.errors import not_found
from groundingme.studio.keeping import Kept, Stamp, stamp_of
from groundingme.studio.live import is_running
from groundingme.studio.settings import Settings

SAMPLES = "samples.jsonl"
MOST_SAMPLES = 400_000
"""Samples of all opened runs that are held together."""
_PATIENCE = 10.0
"""A run in progress is read again when this many times as long has passed as reading it took."""


class Opened:
    """A run with its scores under one protocol, and columns made on first use.

    Attributes:
        id: Name of its folder.
        path: The folder.
        stamp: Of the files as they were read.
        entry: As comparisons take it.
        result: Rows, notes and spending.
        right: Shape `(N,)`.
    """

    def __init__(self, id: str, path: Path, stamp: Stamp, entry: Entry, result: Result) -> None:
        self.id = id
        self.path = path
        self.stamp = stamp
        self.entry = entry
        self.result = result
        self.right: NDArray[np.bool_] = (entry.scores.ious >= 0.5) & entry.scores.scored
        self._verdicts: tuple[Stamp, dict[str, list[tuple[str, Verdict]]]] | None = None

    def __len__(self) -> int:
        return len(self.entry.samples)

    @property
    def run(self) -> Run:
        """What was asked."""
        return self.entry.run

    @property
    def samples(self) -> Sequence[Sample]:
        """In the order of the data set, without pictures."""
        return self.entry.samples

    @cached_property
    def places(self) -> dict[str, int]:
        """Row of each sample by its id."""
        return {one.id: at for at, one in enumerate(self.samples)}

    @cached_property
    def texts(self) -> list[str]:
        """Id and description of each sample, as a search reads them."""
        return [f"{one.id}\n{one.description}".casefold() for one in self.samples]

    @cached_property
    def kinds(self) -> Mistakes:
        """What became of each sample."""
        return mistakes.classify(self.entry.scores, mistakes.other_boxes(self.samples))

    @cached_property
    def replies(self) -> list[Generation | None]:
        """One a sample, in their order."""
        return [self.entry.generations.get(one.id) for one in self.samples]

    @cached_property
    def tokens(self) -> Floats:
        """Completion tokens of each reply; NaN where nobody counted."""
        return _column(one.completion_tokens if one else None for one in self.replies)

    @cached_property
    def confidence(self) -> Floats:
        """What each reply says of itself; NaN where it says nothing."""
        return _column(one.confidence if one else None for one in self.replies)

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Which samples show the same image."""
        return stats.cluster_codes(image_keys([self.entry]))

    @cached_property
    def trajectories(self) -> dict[str, dict[int, Generation]]:
        """Replies by sample and trajectory; empty where each sample has one only."""
        found: dict[str, dict[int, Generation]] = {}
        if self.run.settings.get(SAMPLED):
            for (id, index), one in RunFolder.open(self.path).trajectories().items():
                found.setdefault(id, {})[index] = one
        return found

    @cached_property
    def n(self) -> int:
        """Trajectories of each sample."""
        return 1 + max((at for of in self.trajectories.values() for at in of), default=0)

    def verdicts(self) -> dict[str, list[tuple[str, Verdict]]]:
        """What judges said, by sample id; read again where a judge said more."""
        files = sorted(self.path.glob(f"judges/*/{VERDICTS}"))
        stamp = stamp_of(files)
        if self._verdicts is None or self._verdicts[0] != stamp:
            self._verdicts = stamp, load_verdicts(self.path) if files else {}
        return self._verdicts[1]


class _Read(NamedTuple):
    opened: Opened
    at: float
    took: float


class Library:
    """The runs of a folder, and the data sets under the roots.

    Args:
        settings: Of the studio.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = Data(settings)
        self._read: Kept[tuple[str, str], _Read] = Kept(MOST_SAMPLES, lambda read: len(read.opened))
        self._opening: Kept[tuple[str, str, Stamp], _Read] = Kept(0)

    def runs(self) -> list[RunFolder]:
        """All readable runs, the newest first."""
        found = [one for one in list_runs(self.settings.runs) if self._is_ours(one.path)]
        return found[::-1]

    def folder(self, id: str) -> RunFolder:
        """One run by the name of its folder.

        Raises:
            ApiError: 404 where there is none.
        """
        path = self.settings.runs / id
        if not is_name(id) or not self._is_ours(path):
            raise not_found("a run", id)
        try:
            return RunFolder.open(path)
        except RunError:
            raise not_found("a run", id) from None

    def open(self, id: str, protocol: str = "strict") -> Opened:
        """A run with its scores, as it is now.

        Raises:
            ApiError: 404 where there is none.
            UsageError: No such protocol, or the run cannot be read.
        """
        check_protocol(protocol)
        path = self.folder(id).path
        key = id, protocol
        stamp = run_stamp(path)
        known = self._read.find(key)
        if known and known.opened.stamp == stamp:
            return known.opened
        if known and is_running(path) and time.monotonic() - known.at < _PATIENCE * known.took:
            return known.opened
        # By way of a second key, so that many who come at once have it read once.
        read = self._opening.get((id, protocol, stamp), lambda: self._load(path, protocol, stamp))
        self._read.put(key, read)
        return read.opened

    def _load(self, path: Path, protocol: str, stamp: Stamp) -> _Read:
        began = time.monotonic()
        entry, result = load_scored(path, protocol=protocol)
        opened = Opened(path.name, path, stamp, entry, result)
        now = time.monotonic()
        return _Read(opened, now, now - began)

    def _is_ours(self, path: Path) -> bool:
        files = [path / name for name in (MANIFEST, GENERATIONS, SAMPLES, "judges")]
        return all(map(self.data.inside, files))

    def image(self, id: str, sample: str) -> ImageSource:
        """The picture of a sample of a run.

        Raises:
            ApiError: 404 where the run or the sample is not there, or its data are not to be had.
        """
        folder = self.folder(id)
        try:
            dataset = self.data.of_run(folder.run)
        except GroundingMEError as error:
            raise not_found(f"a picture ({error})", sample) from None
        return self.data.image(dataset, sample)


def is_name(id: str) -> bool:
    """Whether a text is the name of a folder, and no path."""
    return bool(id) and id not in (".", "..") and not set(id) & {"/", "\\", "\0", ":"}


def run_stamp(path: Path) -> Stamp:
    """What changes where a run does."""
    return stamp_of(path / name for name in (MANIFEST, SAMPLES, GENERATIONS))


def _column(values: Iterable[float | None]) -> Floats:
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)
