"""What became of the records of a build, and who is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import msgspec

from groundingme.build.records import FATES, Picture
from groundingme.build.tables import Record


class Tally(msgspec.Struct):
    """What became of the records of some shards.

    Attributes:
        records: How many there are.
        reasons: Of those that go no further, how many for which reason; `failed` among them.
        boxes: Boxes by fate.
        failure: One of the failures, in its own words; "" where there is none.
    """

    records: int = 0
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    boxes: Counter[str] = msgspec.field(default_factory=Counter)
    failure: str = ""

    def add(self, other: Tally) -> None:
        """Counts the other's records, too."""
        self.records += other.records
        self.reasons.update(other.reasons)
        self.boxes.update(other.boxes)
        self.failure = self.failure or other.failure

    @classmethod
    def of(cls, records: Sequence[Record]) -> Tally:
        """What became of these."""
        tally = cls(len(records))
        for one in records:
            if one.failure:
                tally.reasons["failed"] += 1
                tally.failure = tally.failure or f"{one.id}: {one.failure}"
            elif one.fate:
                tally.reasons[one.fate.partition(" ")[0]] += 1
            if isinstance(one, Picture):
                for code, count in Counter(one.found.fates.tolist()).items():
                    tally.boxes[FATES[code]] += count
        return tally


class Watcher(Protocol):
    """Who is told how a build goes."""

    def start(self, stage: str, shards: int, done: int) -> None:
        """A stage begins; so many of its shards were there already."""

    def update(self, tally: Tally) -> None:
        """One more shard is there."""

    def stop(self) -> None:
        """The stage ended, or was interrupted."""

    def note(self, line: str) -> None:
        """Something that a person should read."""


class Silent:
    """Says nothing."""

    def start(self, stage: str, shards: int, done: int) -> None: ...
    def update(self, tally: Tally) -> None: ...
    def stop(self) -> None: ...
    def note(self, line: str) -> None: ...
