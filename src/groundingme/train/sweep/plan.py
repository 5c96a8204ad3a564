"""What a sweep is made of: ratios, exams, and a learner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from groundingme.errors import UsageError
from groundingme.train.mixing import RATIOS as RATIOS
from groundingme.train.mixing import Ratio, parse_ratios

Domain = Literal["in-domain", "out-of-domain"]
DOMAINS: tuple[Domain, ...] = ("in-domain", "out-of-domain")

UNTOUCHED = "untouched"


def sorted_ratios(text: str) -> list[Ratio]:
    """Ratios with commas between them, the fewest negatives first.

    Raises:
        UsageError: One cannot be read, or two are the same share.
    """
    found = sorted(parse_ratios(text), key=share)
    if len({share(one) for one in found}) < len(found):
        raise UsageError(f"expected ratios that differ, got {text}; 1:2 and 2:4 are the same")
    return found


def share(ratio: Ratio) -> float:
    """Of negatives, in [0, 1]."""
    return ratio.negatives / (ratio.negatives + ratio.positives)


def name_of(ratio: Ratio | None) -> str:
    """Of a column: `NEGATIVES:POSITIVES`, or `untouched`."""
    return f"{ratio.negatives}:{ratio.positives}" if ratio else UNTOUCHED


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
    return out / "models" / f"{ratio.name if ratio else UNTOUCHED}-seed{seed}"
