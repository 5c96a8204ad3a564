"""What judges said of a sample run, as it lies in the run's folder: verdicts, and whom they chose.

A judged selection is kept beside the verdicts that it rests on, so that a later table or report
shows it without asking anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from groundingme.costs import Spending
from groundingme.errors import RunError
from groundingme.protocols import BOX
from groundingme.scale.court import VERDICTS, Tally, Verdict
from groundingme.scale.select import Choice
from groundingme.scale.trajectories import Trajectories
from groundingme.schema import Box
from groundingme.store import RunFolder, kept, write_atomically

_ENDING = ".choice.json"


class Heard(Protocol):
    """What a table tells of a judge."""

    @property
    def tally(self) -> Tally:
        """How many comparisons became of what."""

    @property
    def spending(self) -> Spending:
        """Tokens and dollars of its questions."""


class Told(msgspec.Struct, frozen=True):
    """A judge of an earlier session."""

    tally: Tally
    spending: Spending


class _Chosen(msgspec.Struct, frozen=True):
    """Outcome, trajectory (-1 for none of them) and box, of one sample."""

    outcome: int
    trajectory: int
    box: Box | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    trajectories: int
    judges: list[Told]
    chosen: dict[str, _Chosen]


def save_choice(
    folder: Path, name: str, t: Trajectories, choice: Choice, judges: Sequence[Heard]
) -> None:
    """Keeps what a judged selector chose; an earlier choice of that name is replaced.

    Raises:
        JobError: It could not be written.
    """
    chosen = {
        id: _Chosen(
            int(choice.outcome[row]),
            int(choice.index[row]),
            _box(choice.boxes[row].tolist()) if choice.outcome[row] == BOX else None,
        )
        for row, id in enumerate(t.ids)
    }
    told = [Told(one.tally, one.spending) for one in judges]
    file = _File(name=name, trajectories=t.n, judges=told, chosen=chosen)
    place = folder / "judges" / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}{_ENDING}"
    with kept(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, msgspec.json.encode(file))


def _box(edges: Sequence[float]) -> Box:
    x1, y1, x2, y2 = edges
    return x1, y1, x2, y2


def load_choices(folder: Path, t: Trajectories) -> dict[str, tuple[Choice, list[Told]]]:
    """Judged selections of exactly these trajectories, by name.

    Those of fewer or more trajectories, of other samples, and damaged ones are left out.
    """
    found: dict[str, tuple[Choice, list[Told]]] = {}
    for place in sorted((folder / "judges").glob(f"*{_ENDING}")):
        with suppress(OSError, msgspec.DecodeError):
            file = msgspec.json.decode(place.read_bytes(), type=_File)
            if file.trajectories == t.n and all(id in file.chosen for id in t.ids):
                found[file.name] = (_choice(file.chosen, t), file.judges)
    return found


def _choice(chosen: Mapping[str, _Chosen], t: Trajectories) -> Choice:
    rows = [chosen[id] for id in t.ids]
    boxes = [one.box or (np.nan,) * 4 for one in rows]
    return Choice(
        np.array([one.outcome for one in rows], dtype=np.int8),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array([one.trajectory for one in rows], dtype=np.intp),
    )


def load_verdicts(folder: Path) -> dict[str, list[tuple[str, Verdict]]]:
    """Name and model of the judge and its last word on each showing, by sample id."""
    decoder = msgspec.json.Decoder(Verdict)
    found: dict[str, dict[tuple[str, int, int], tuple[str, Verdict]]] = {}
    for file in sorted(folder.glob(f"judges/*/{VERDICTS}")):
        try:
            run = RunFolder.open(file.parent).run
            lines = file.read_bytes().splitlines()
        except (RunError, OSError):
            continue
        judge = f"{run.data_name}, {run.model}"
        for line in lines:
            with suppress(msgspec.DecodeError):
                one = decoder.decode(line)
                key = (file.parent.name, one.first, one.second)
                found.setdefault(one.id, {})[key] = (judge, one)
    return {id: list(said.values()) for id, said in found.items()}
