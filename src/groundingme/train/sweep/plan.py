"""What a sweep is made of: ratios, exams, and a learner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from groundingme.errors import UsageError

Domain = Literal["in-domain", "out-of-domain"]
DOMAINS: tuple[Domain, ...] = ("in-domain", "out-of-domain")

UNTOUCHED = "untouched"


class Ratio(msgspec.Struct, frozen=True):
    """Negatives to positives in a training mixture.

    Attributes:
        negatives: Parts without an answer; 0 for a control that learns from positives alone.
        positives: Parts with one.

    Example:
        >>> Ratio.parse("1:4").share, Ratio(2, 1).name, Ratio(2, 1).folder
        (0.2, '2:1', '2to1')
    """

    negatives: int
    positives: int

    @classmethod
    def parse(cls, text: str) -> Ratio:
        """From `NEGATIVES:POSITIVES`.

        Raises:
            UsageError: It is something else, or has no positives.
        """
        left, colon, right = text.strip().partition(":")
        if colon and left.isdecimal() and right.isdecimal() and int(right) > 0:
            return cls(int(left), int(right))
        raise UsageError(
            f"expected a ratio as NEGATIVES:POSITIVES with whole numbers, got {text!r}; such as 1:4"
        )

    @property
    def share(self) -> float:
        """Of negatives, in [0, 1)."""
        return self.negatives / (self.negatives + self.positives)

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"{self.negatives}:{self.positives}"

    @property
    def folder(self) -> str:
        """As it can stand in the name of a folder."""
        return f"{self.negatives}to{self.positives}"


RATIOS = tuple(Ratio.parse(text) for text in ("1:8", "1:4", "1:2", "1:1", "2:1"))
"""The paper's (arXiv 2512.17495, data-mixture training)."""


def parse_ratios(text: str) -> list[Ratio]:
    """Ratios with commas between them, the fewest negatives first.

    Raises:
        UsageError: One cannot be read, none is left, or one is there twice.
    """
    found = [Ratio.parse(part) for part in text.split(",") if part.strip()]
    found.sort(key=lambda one: one.share)
    shares = [one.share for one in found]
    if not found or len(set(shares)) < len(shares):
        raise UsageError(f"expected ratios that differ, got {text!r}; such as 1:8,1:4,1:2")
    return found


def name_of(ratio: Ratio | None) -> str:
    """Of a column: the ratio, or `untouched`."""
    return ratio.name if ratio else UNTOUCHED


class Exam(msgspec.Struct, frozen=True, kw_only=True):
    """Questions that every model of a sweep is asked.

    Attributes:
        domain: Whether they are like the training's.
        data: What `--data` takes.
        split: Of it, where it has several.
        limit: The first N samples only.
    """

    domain: Domain
    data: str
    split: str | None = None
    limit: int | None = None


Job = tuple[str, ...]
"""Something that a learner does, in its own words; small, and the same for the same work."""


class Learner(Protocol):
    """Whatever can be trained on mixtures. Picklable, since its jobs run in other processes."""

    @property
    def name(self) -> str:
        """Of the untouched model, for people."""

    @property
    def parallel(self) -> bool:
        """Whether several jobs may run at once."""

    def about(self) -> dict[str, Any]:
        """All that decides on its results, as JSON; another `about` is another sweep."""

    def check(self, ratios: Sequence[Ratio]) -> None:
        """Raises `UsageError` where it cannot begin: a package is missing, a file, a number."""

    def jobs(self, ratios: Sequence[Ratio], seeds: Iterable[int]) -> list[list[Job]]:
        """All work in groups: a group begins when the one before is done."""

    def done(self, job: Job) -> bool:
        """Whether it need not be done."""

    def do(self, job: Job) -> None:
        """Does it, going on where it was stopped."""

    def model(self, ratio: Ratio | None, seed: int) -> tuple[str, dict[str, Any]]:
        """A trained model as `evaluate` takes it: its name, and options of its provider."""

    def exams(self) -> list[Exam]:
        """What models are asked; data sets are there once all jobs are done."""


def model_folder(out: Path, ratio: Ratio | None, seed: int) -> Path:
    """Where a trained model lies."""
    return out / "models" / f"{ratio.folder if ratio else UNTOUCHED}-seed{seed}"
