"""Making runs comparable: the samples that all of them answered, and names that tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from groundingme.errors import UsageError
from groundingme.protocols import Scores
from groundingme.schema import Generation, Run, Sample


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One run to compare.

    Attributes:
        label: Name for people; unlike all others after `align`.
        run: What was asked.
        samples: What was asked about, in the order of `scores`.
        scores: Under one protocol.
        generations: By sample id.
        path: The run folder, or None.
        images: Name of each sample's image by sample id, where it is known.
    """

    label: str
    run: Run
    samples: Sequence[Sample]
    scores: Scores
    generations: Mapping[str, Generation]
    path: Path | None = None
    images: Mapping[str, str] = {}


def align(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Cuts runs to the samples that all of them answered.

    Args:
        entries: Two or more.

    Returns:
        The runs with the same samples in the same order, and lines on what was left out and on
        settings in which the runs differ.

    Raises:
        UsageError: They share no sample, or ask different things under the same id.
    """
    if len(entries) < 2:
        raise UsageError("expected two runs or more to compare, got one; name another")
    entries = labelled(entries)
    first = entries[0]
    asked = [{one.id: one for one in entry.samples} for entry in entries]
    common = [one.id for one in first.samples if all(one.id in rows for rows in asked)]
    if not common:
        raise UsageError(
            f"expected runs on the same samples, got none in common: "
            f"{first.label} answered {first.run.data}, and "
            f"{', '.join(f'{one.label} {one.run.data}' for one in entries[1:])}"
        )
    for entry, rows in zip(entries[1:], asked[1:], strict=True):
        for id in common:
            if _question(asked[0][id]) != _question(rows[id]):
                raise UsageError(
                    f"expected runs on the same samples, got another description or target for "
                    f"sample {id!r} in {entry.label} ({entry.run.data}) than in {first.label} "
                    f"({first.run.data}); compare runs of one data set"
                )
    notes = []
    if any(len(common) < len(rows) for rows in asked):
        sizes = ", ".join(f"{one.label} {len(one.samples)}" for one in entries)
        notes.append(
            f"compared on the {len(common)} samples that all runs were asked; answered in all: "
            f"{sizes}"
        )
    cut = [_cut(entry, common) for entry in entries]
    return cut, [*notes, *_unasked(cut), *_settings(cut)]


def _question(sample: Sample) -> tuple[Any, ...]:
    return sample.description, sample.target, sample.subtask_l1, sample.subtask_l2


def _cut(entry: Entry, ids: Sequence[str]) -> Entry:
    """The run with these samples alone, in this order."""
    places = {id: at for at, id in enumerate(entry.scores.ids)}
    rows = np.array([places[id] for id in ids], dtype=np.int64)
    taken: dict[str, Any] = {}
    for name in entry.scores.__struct_fields__:
        column = getattr(entry.scores, name)
        if isinstance(column, np.ndarray):
            taken[name] = column[rows]
        elif isinstance(column, list):
            taken[name] = [column[row] for row in rows.tolist()]
    by_id = {one.id: one for one in entry.samples}
    return msgspec.structs.replace(
        entry,
        samples=[by_id[id] for id in ids],
        scores=msgspec.structs.replace(entry.scores, **taken),
    )


def _unasked(entries: Sequence[Entry]) -> list[str]:
    """A line on each run that stopped early: what was not asked counts as wrong."""
    found = []
    for entry in entries:
        missing = sum(reason == "not-asked" for reason in entry.scores.reasons)
        if missing:
            found.append(
                f"{entry.label} was not asked {missing} of {len(entry.samples)} samples, which "
                "count as wrong; `groundingme eval` with the same arguments asks the rest"
            )
    return found


def _settings(entries: Sequence[Entry]) -> list[str]:
    """One line on settings that all runs have and that differ between them."""
    flat = [{"prompt": one.run.prompt, **one.run.settings} for one in entries]
    shared = [name for name in flat[0] if all(name in row for row in flat)]
    differing = [name for name in shared if any(row[name] != flat[0][name] for row in flat)]
    return [f"the runs differ in {', '.join(differing)}"] if differing else []


def labelled(entries: Sequence[Entry]) -> list[Entry]:
    """The same runs with names that tell them apart.

    A model that runs once goes by its name; one that runs more often also by the settings in which
    its runs differ, or else by its folder.
    """
    names = [one.label for one in entries]
    often = Counter(names)
    for at, entry in enumerate(entries):
        if often[entry.label] > 1:
            same = [one for one in entries if one.label == entry.label]
            names[at] = f"{entry.label} ({_difference(entry, same)})"
    repeated = Counter(names)
    for at, entry in enumerate(entries):
        if repeated[names[at]] > 1:
            folder = entry.path.name if entry.path else f"run {at + 1}"
            names[at] = f"{entry.label} ({folder})"
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"expected each run once, got {twice} twice; name it once")
    return [
        msgspec.structs.replace(entry, label=name)
        for entry, name in zip(entries, names, strict=True)
    ]


_LONGEST = 30


def _difference(entry: Entry, same: Sequence[Entry]) -> str:
    """The settings of a run that are not those of all runs of its model, such as `thinking=on`."""
    rows = [
        {"data": one.run.data_name, "limit": one.run.limit, "prompt": one.run.prompt,
         **one.run.settings}
        for one in same
    ]  # fmt: skip
    mine = rows[next(at for at, one in enumerate(same) if one is entry)]
    names = dict.fromkeys(name for row in rows for name in row)
    parts = []
    for name in names:
        if any(row.get(name) != rows[0].get(name) for row in rows):
            value = " ".join(str(mine.get(name)).split())
            parts.append(f"{name}={value[:_LONGEST]}{'...' if len(value) > _LONGEST else ''}")
    return ", ".join(parts[:3]) or (entry.path.name if entry.path else "again")


def image_keys(entries: Sequence[Entry]) -> list[str]:
    """What tells the images of samples apart: samples with the same key show the same image.

    The digest of the bytes that were sent, from the run that tells most images apart (a control
    that sends other images is left aside); else the image's name, else the sample itself.

    Args:
        entries: Aligned runs.

    Returns:
        One key a sample.
    """

    def digests(entry: Entry) -> list[str]:
        found = (entry.generations.get(one.id) for one in entry.samples)
        return [one.image_digest if one else "" for one in found]

    real = [one for one in entries if not one.run.settings.get("control")]
    unknown = [""] * len(entries[0].samples)
    best = max((digests(one) for one in real), key=lambda found: len(set(found)), default=unknown)
    names: dict[str, str] = {}
    for entry in entries:
        names.update(entry.images)
    return [
        digest or names.get(one.id, "") or f"sample {one.id}"
        for digest, one in zip(best, entries[0].samples, strict=True)
    ]
