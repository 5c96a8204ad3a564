"""Data sets: one file a benchmark or format, read from a Hub id, a local copy, or a file.

    load_dataset("groundingme")                       by name: from the Hub, or its local cache
    load_dataset("lirang04/GroundingME")              by Hub id
    load_dataset("copies/GroundingME")                a local copy of a Hub repository
    load_dataset("my/samples.jsonl")                  a file, known by what is in it
    load_dataset("refcocog:data/refcocog")            a path, with the format named
    load_dataset("scenes:seed=1,n=50")                made on the spot, no file needed

Rows are read at once, images when they are asked for. A row that cannot be used becomes a sample
with `problem` set, so that it counts as failed and never disappears. A format registers a
`Format` under its name in `FORMATS`.
"""

from __future__ import annotations

import functools
import hashlib
import re
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
                    (
                        one.id,
                        one.description,
                        target,
                        one.width,
                        one.height,
                        one.subtask_l1,
                        one.subtask_l2,
                    )
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


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of data set is read.

    Attributes:
        summary: What it reads, in a line.
        load: Reads a path; the second argument is the split, or None for the usual one.
        detects: Whether a path holds this kind.
        hub: Hub id that the name alone stands for; "" where there is none.
        make: Makes a data set that is read from nowhere, from `NAME` or `NAME:KEY=VALUE,...`.
    """

    summary: str
    load: Callable[[Path, str | None], Dataset]
    detects: Callable[[Path], bool]
    hub: str = ""
    make: Callable[[str], Dataset] | None = None


FORMATS: Registry[Format] = Registry("data set", "groundingme.datasets")
"""Every format by name; its module is imported when a name is first asked for."""


def load_dataset(data: str, *, split: str | None = None) -> Dataset:
    """A data set by name, path or Hub id.

    Args:
        data: A name of `FORMATS`, a file or folder, `NAME:PATH`, or a Hub id `OWNER/NAME`. A
            path goes before a Hub id, and a Hub id before a name.
        split: Such as `test`; None takes the only one, or the one that the benchmark is run on.

    Raises:
        UnknownNameError: Nothing is known by that name.
        DataError: The path, the Hub's answer or the split is not what it should be.
    """
    if not data.strip() or "\0" in data:
        raise DataError(f"expected a data set's name, path or Hub id, got {data!r}")
    path = Path(data).expanduser()
    name, colon, rest = data.partition(":")
    if not path.exists() and name in FORMATS and (make := FORMATS.get(name).make):
        return make(data)
    if colon and rest and not path.exists():
        place = Path(rest).expanduser()
        if not place.exists():
            place = _from_hub(rest) if _is_hub_id(rest) else place
        if not place.exists():
            raise DataError(f"expected a file or folder at {rest}, got none; check the path")
        return FORMATS.get(name).load(place, split)
    if path.exists():
        return _read(path, split)
    if _is_hub_id(data):
        owner = {FORMATS.get(known).hub.lower(): known for known in FORMATS.names()}
        known = owner.get(data.lower())
        place = _from_hub(data)
        return FORMATS.get(known).load(place, split) if known else _read(place, split)
    if data in FORMATS and FORMATS.get(data).hub:
        return FORMATS.get(data).load(_from_hub(FORMATS.get(data).hub), split)
    if data in FORMATS:
        raise DataError(f"expected a path with the data set, got {data!r}; write {data}:PATH")
    if path.suffix or "/" in data:
        raise DataError(f"expected a data set at {data}, got no file or folder; check the path")
    names = ", ".join(FORMATS.names())
    try:
        FORMATS.get(data)
    except UnknownNameError as error:
        asked = re.split(r"[;?] known:", str(error))[0]
        asked += "?" if "did you mean" in asked else ""
        raise UnknownNameError(
            f"{asked}; expected a file or folder, a Hub id OWNER/NAME, or one of {names}"
        ) from None
    raise AssertionError(data)


def _read(path: Path, split: str | None) -> Dataset:
    for name in FORMATS.names():
        if FORMATS.get(name).detects(path):
            return FORMATS.get(name).load(path, split)
    kinds = "; ".join(f"{name} ({FORMATS.get(name).summary})" for name in FORMATS.names())
    raise DataError(f"expected a data set that is known, got {path}; known are: {kinds}")


def _is_hub_id(data: str) -> bool:
    owner, slash, name = data.partition("/")
    return bool(slash and owner and name) and "/" not in name and not data.startswith((".", "~"))


def _from_hub(id: str) -> Path:
    """Downloads a data set, or finds it in the Hub's local cache."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = ["*.parquet", "*.tsv", "*.jsonl", "*.json", "*.p", "*.jpg", "*.png"]
    try:
        return Path(
            huggingface_hub.snapshot_download(id, repo_type="dataset", allow_patterns=wanted)
        )
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        said = " ".join(str(error).split()).partition(". ")[0].partition(" An error")[0]
        said = said.removeprefix("Got: ")[:200].rstrip(".")
        raise DataError(
            f"expected {id} to be a path, or a data set on the Hub; neither could be had: {said}; "
            "check the name and the connection, or set HF_HOME to a cache that holds it"
        ) from None
