"""Data sets: one file a benchmark or format, read from a Hub id, a local copy, or a file.

Rows are read at once, images when they are asked for. A row that cannot be used becomes a sample
with `problem` set, so that it counts as failed and never disappears.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from groundingme import taxonomy
from groundingme.errors import DataError, UnknownNameError
from groundingme.registry import Registry, unknown
from groundingme.schema import Sample


class Dataset:
    """Samples in a fixed order.

    Attributes:
        name: Such as `groundingme`, for people.
        source: Where it was read from.
        samples: The rows, without image bytes.
    """

    def __init__(self, *, name: str, source: str, samples: Sequence[Sample]) -> None:
        self.name = name
        self.source = source
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {len(self)} samples from {self.source})"

    def find(self, id: str) -> Sample:
        """The sample of that id.

        Raises:
            UnknownNameError: There is none.
        """
        try:
            return self._by_id[id]
        except KeyError:
            raise unknown(f"sample of {self.name}", id, list(self._by_id)[:1000]) from None

    @functools.cached_property
    def _by_id(self) -> dict[str, Sample]:
        return {sample.id: sample for sample in self.samples}

    @functools.cached_property
    def fingerprint(self) -> str:
        """`sha256:` and hex digits over ids, descriptions, targets, sizes and subtasks.

        The same rows give the same fingerprint in whatever format they are stored.
        """
        digest = hashlib.sha256()
        for one in self.samples:
            target = None if one.target is None else [float(edge) for edge in one.target]
            digest.update(
                msgspec.json.encode(
                    [one.id, one.description, target, one.width, one.height]
                    + [one.subtask_l1, one.subtask_l2]
                )
            )
        return f"sha256:{digest.hexdigest()}"

    def select(self, subset: str = "", limit: int | None = None) -> Dataset:
        """The samples of a category or subtask, or the first ones.

        Args:
            subset: `L1` or `L1/L2`; "" for all.
            limit: Most samples, after `subset`.

        Raises:
            UnknownNameError: Neither the taxonomy nor this data set has that subtask.
        """
        samples = self.samples
        if subset:
            known = {row.name for row in taxonomy.SUBTASKS} | set(taxonomy.L1)
            known |= {name for one in samples for name in _names(one)}
            if subset not in known:
                raise unknown("subset", subset, known)
            samples = [one for one in samples if subset in _names(one)]
        if limit is not None:
            samples = samples[:limit]
        return Dataset(name=self.name, source=self.source, samples=samples)


def _names(sample: Sample) -> tuple[str, str]:
    return sample.subtask_l1, f"{sample.subtask_l1}/{sample.subtask_l2}"
