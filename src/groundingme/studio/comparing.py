"""Two to four runs side by side, as the API says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from groundingme.alignment import align
from groundingme.comparison import ALL, Comparison
from groundingme.errors import UsageError
from groundingme.stats import RESAMPLES
from groundingme.studio.board import FEW_RESAMPLES, LARGE
from groundingme.studio.keeping import Kept, Stamp
from groundingme.studio.library import Library

MOST = 4
"""Runs that are compared at once."""


class Comparisons:
    """Compares runs, and keeps what was found while they stay the same.

    Args:
        library: Of the runs.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: Kept[tuple[object, ...], Comparison] = Kept(
            800_000, lambda one: len(one.samples) * len(one.entries)
        )

    def of(self, ids: Sequence[str], protocol: str) -> Comparison:
        """The comparison of some runs.

        Raises:
            ApiError: 404 where a run is not there.
            UsageError: Fewer than two or more than four, one twice, or runs of different samples.
        """
        if not 2 <= len(ids) <= MOST:
            raise UsageError(f"expected 2 to {MOST} runs to compare, got {len(ids)}")
        if len(set(ids)) < len(ids):
            raise UsageError("expected each run once, got one twice; name it once")
        opened = [self._library.open(id, protocol) for id in ids]
        stamps: tuple[Stamp, ...] = tuple(one.stamp for one in opened)

        def make() -> Comparison:
            entries, notes = align([one.entry for one in opened])
            large = len(entries[0].samples) > LARGE
            resamples = FEW_RESAMPLES if large else RESAMPLES
            return Comparison(entries, notes=notes, resamples=resamples, confident=False)

        return self._kept.get((tuple(ids), protocol, stamps), make)


def document(found: Comparison, ids: Sequence[str], offset: int, limit: int) -> dict[str, Any]:
    """What the page of a comparison shows.

    Args:
        found: The comparison.
        ids: Of its runs, in their order.
        offset: First of the flips.
        limit: Most flips.
    """
    return {
        "runs": runs(found, ids),
        "samples": len(found.samples),
        "pairs": pairs(found, ids),
        "groups": groups(found, ids),
        "flips": {
            "items": [
                {"id": one.id, "right": one.right, "description": text(found, one.index)}
                for one in found.flips[offset : offset + limit]
            ],
            "total": len(found.flips),
        },
        "agreement": agreement(found).tolist(),
        "wins": wins(found),
        "notes": found.notes,
    }


def text(found: Comparison, row: int) -> str:
    """Description of a sample."""
    return found.samples[row].description


def runs(found: Comparison, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The runs in the order given, with their figures."""
    standings = {one.entry: one for one in found.standings}
    return [
        {
            "id": id,
            "label": standings[at].label,
            "model": found.entries[at].run.model,
            "rank": standings[at].rank,
            "accuracy": standings[at].accuracy[ALL],
            "rejection": standings[at].rejection,
            "mistakes": standings[at].mistakes,
        }
        for at, id in enumerate(ids)
    ]


PAIR_COLUMNS = (
    "a", "b", "group", "samples", "difference", "low", "high", "only_a", "only_b", "p",
    "adjusted", "better",
)  # fmt: skip


def pairs(found: Comparison, ids: Sequence[str], *, every: bool = False) -> list[dict[str, Any]]:
    """Differences of pairs: on all samples, or on each group, too."""
    return [
        {
            "a": ids[one.a],
            "b": ids[one.b],
            "group": one.group,
            "samples": one.samples,
            "difference": one.difference,
            "low": one.low,
            "high": one.high,
            "only_a": one.only_a,
            "only_b": one.only_b,
            "p": one.p,
            "adjusted": one.adjusted,
            "better": None if one.better is None else ids[one.better],
        }
        for one in found.contrasts
        if every or one.group == ALL
    ]


def groups(found: Comparison, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Accuracy of every run on all samples, each category and each subtask."""
    standings = {one.entry: one for one in found.standings}
    return [
        {
            "group": name,
            "accuracy": [standings[at].accuracy[name] for at in range(len(ids))],
        }
        for name in found.standings[0].accuracy
    ]


def agreement(found: Comparison) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Shape `(K, K)`: share of samples that two runs both have right, or both wrong."""
    alike = found.right[:, None] == found.right[None]
    return np.asarray(alike.mean(axis=2), dtype=np.float64)


def wins(found: Comparison) -> list[list[int]]:
    """Samples that the row has right and the column wrong; in the diagonal all it has right."""
    right = found.right
    counts = (right[:, None] & ~right[None]).sum(axis=2)
    counts[np.diag_indices(len(right))] = right.sum(axis=1)
    return [[int(one) for one in row] for row in counts]
