"""Whether a run is in progress, and how far it is."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from groundingme import protocols
from groundingme.schema import Generation, Run, Sample
from groundingme.store import GENERATIONS

_HOLDER = re.compile(r"process (\d{1,9}) on (\S+) since ")
_FRESH = 600.0
"""Seconds since its last reply after which a run held by another machine counts as left behind."""


def is_running(path: Path) -> bool:
    """Whether a process holds the run: one of this machine that lives, or a busy one elsewhere.

    The lock itself is not tried, as that would turn away a command that comes for it just then.
    """
    try:
        with (path / ".holder").open(encoding="utf-8") as file:
            holder = _HOLDER.match(file.read(300))
    except (OSError, UnicodeDecodeError):
        return False
    if holder is None:
        return False
    if holder[2] == socket.gethostname() and os.name == "posix":
        return _is_alive(int(holder[1]))
    with suppress(OSError):
        return time.time() - (path / GENERATIONS).stat().st_mtime < _FRESH
    return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


class Tail:
    """Reads the replies of a run as they come, each line once.

    Args:
        path: Run folder.
        run: Its manifest.
        samples: What is asked.
        protocol: Whose scores count.
    """

    def __init__(
        self, path: Path, run: Run, samples: Sequence[Sample], protocol: str = "strict"
    ) -> None:
        self._path = path / GENERATIONS
        self._run = run
        self._samples = {one.id: one for one in samples}
        self._protocol = protocol
        self._offset = 0
        self._decoder = msgspec.json.Decoder(Generation)
        self._failed: dict[str, bool] = {}
        self._right: dict[str, bool] = {}

    def read(self) -> dict[str, Any]:
        """Reads on, and says how many samples have a reply, have failed, and are right.

        Returns:
            `done`, `failed`, `samples`, and `accuracy` among the samples that were asked; None
            before the first.
        """
        new = self._new_replies()
        if new:
            samples = [self._samples[id] for id in new]
            scores = protocols.score(samples, new, protocol=self._protocol, coords=self._run.coords)
            right = (scores.ious >= 0.5) & scores.scored
            self._right.update(zip(scores.ids, right.tolist(), strict=True))
            self._failed.update({id: bool(one.failure) for id, one in new.items()})
        asked, failed = len(self._failed), sum(self._failed.values())
        return {
            "done": asked - failed,
            "failed": failed,
            "samples": len(self._samples),
            "accuracy": sum(self._right.values()) / asked if asked else None,
        }

    def _new_replies(self) -> dict[str, Generation]:
        """The first trajectories that came since, the latest reply of each sample."""
        found: dict[str, Generation] = {}
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    with suppress(msgspec.DecodeError, UnicodeDecodeError):
                        one = self._decoder.decode(line)
                        self._take(one, found)
        except FileNotFoundError:
            pass
        return found

    def _take(self, one: Generation, found: dict[str, Generation]) -> None:
        if one.trajectory or one.id not in self._samples:
            return
        known = found.get(one.id)
        replied = known is not None and not known.failure
        replied = replied or self._failed.get(one.id) is False
        if not (one.failure and replied):
            found[one.id] = one
