"""What made the proposals of a build: its stages and their settings, read from its folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundingme.build import tables
from groundingme.build.folders import DONE, Place
from groundingme.build.records import Picture, Target
from groundingme.build.tally import Tally
from groundingme.errors import DataError

_STAGE = re.compile(r"(\d\d)-([a-z]+)-[0-9a-f]+")
WITH_TARGETS = ("select", "describe", "negatives", "verify")
"""Stages of a build that hold targets. What `publish` turned down, people may still put right."""


def stages(work: Path) -> list[tuple[int, str, Path]]:
    """Number, name and folder of each finished stage, in order; of two settings, the newer."""
    found: dict[int, tuple[int, str, Path]] = {}
    for folder in work.iterdir():
        match = _STAGE.fullmatch(folder.name)
        if match and (folder / DONE).is_file():
            time, number = (folder / DONE).stat().st_mtime_ns, int(match[1])
            if number not in found or found[number][0] < time:
                found[number] = time, match[2], folder
    return [(number, name, folder) for number, (_, name, folder) in sorted(found.items())]


def history(last: Path) -> list[dict[str, Any]]:
    """What each stage up to one was told and what became of its records, for the card.

    Args:
        last: Folder of the last stage.

    Returns:
        As `build.stage.Context.history` gives it.
    """
    return list(_told(last))


def _told(last: Path) -> Iterator[dict[str, Any]]:
    before = Tally()
    holds: type[tables.Record] = Picture
    for _, name, folder in stages(last.parent):
        holds_before, holds = holds, Target if name in WITH_TARGETS else Picture
        place, tally = Place(name, folder, "", holds), Tally()
        for path in place.shards():
            tally.add(Tally.of(place.read(path)))
        reasons, boxes = tally.reasons.copy(), tally.boxes.copy()
        if holds is holds_before:
            # What an earlier stage turned down is still in the tables of the later ones.
            reasons -= before.reasons
            boxes -= before.boxes
            boxes["kept"] = tally.boxes["kept"]
        yield {
            "stage": name,
            "options": _options(folder),
            "records": tally.records,
            "goes_on": tally.records - sum(tally.reasons.values()),
            "reasons": dict(+reasons),
            "boxes": dict(+boxes),
        }
        if folder == last:
            return
        before = tally


def _options(folder: Path) -> Any:
    try:
        return msgspec.json.decode((folder / "stage.json").read_bytes()).get("options")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"expected the stage's settings in {folder.name}, got: {error}") from None
