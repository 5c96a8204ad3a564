"""What the workers of the tests do: worker processes import it by name."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from groundingme.errors import FatalError, RetryableError
from groundingme.models import Model, Request
from groundingme.schema import Generation


def log(file: str | Path, line: object) -> None:
    """Adds a line at once, whoever else does so."""
    with open(file, "a", encoding="utf-8") as opened:
        opened.write(f"{line}\n")


def lines(file: str | Path) -> list[str]:
    path = Path(file)
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def squares() -> Callable[[int], tuple[int, int]]:
    """Gives the square and the process that found it."""
    return lambda number: (number * number, os.getpid())


def sleepers() -> Callable[[float], float]:
    return lambda seconds: (time.sleep(seconds), seconds)[1]


def _gated(folder: str, number: int) -> int:
    deadline = time.monotonic() + 300
    while number == 0 and not lines(f"{folder}/open") and time.monotonic() < deadline:
        time.sleep(0.01)
    return number


def gated(folder: str) -> Callable[[int], int]:
    """0 comes to its end when there is a line in the file `open`, and the others at once."""
    return functools.partial(_gated, folder)


def _careful(folder: str, number: int) -> int:
    log(f"{folder}/tried", number)
    if number == 1:
        raise RetryableError("timeout", "too late", retry_after=2.5)
    if number == 2:
        raise OddError("left", right="right")
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 4 and lines(f"{folder}/tried").count("4") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class OddError(Exception):
    """Cannot be read back by pickle."""

    def __init__(self, left: str, *, right: str) -> None:
        super().__init__(left)


def careful(folder: str) -> Callable[[int], int]:
    """1 and 2 raise; 3 kills its worker, and 4 does the first time."""
    log(f"{folder}/made", os.getpid())
    return functools.partial(_careful, folder)


def unsendable() -> Callable[[int], Any]:
    return lambda number: lambda: number


def broken() -> Callable[[int], int]:
    raise ValueError("no weights")


def stillborn() -> Callable[[int], int]:
    os._exit(3)


def _look(folder: str, workers: int, number: int) -> str | None:
    log(f"{folder}/looking", number)
    deadline = time.monotonic() + 60
    while len(lines(f"{folder}/looking")) < workers and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def devices(folder: str, workers: int) -> Callable[[int], str | None]:
    """Each waits until so many are at it, so that none of them does another's shard, too."""
    return functools.partial(_look, folder, workers)


def threads() -> Callable[[int], str | None]:
    return lambda number: os.environ.get("OMP_NUM_THREADS")


class Scripted(Model):
    """Rejects everything, but of samples that it was told to fail with.

    Attributes:
        folder: Where the ids that were asked are logged.
        fatal: Id that nothing can succeed after.
        deadly: Id that kills the worker.
        seconds: What each reply takes.
        patient: Ids whose replies wait until the fatal one was asked.
        first: So many are answered, and all later ones when there is a line in the file `open`;
            0 answers all.
    """

    name = "test/scripted"
    needs_image = False
    coords = "abs"

    def __init__(
        self,
        folder: Path,
        *,
        fatal: str = "",
        deadly: str = "",
        seconds: float = 0.0,
        patient: Sequence[str] = (),
        first: int = 0,
    ) -> None:
        self.folder, self.fatal, self.deadly, self.seconds = folder, fatal, deadly, seconds
        self.patient, self.first = patient, first

    async def generate(self, request: Request) -> Generation:
        log(self.folder / "asked", f"{request.id} {time.time():.3f} {os.getpid()}")
        await asyncio.sleep(self.seconds)
        while request.id in self.patient and self.fatal not in self.asked():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        while 0 < self.first < len(self.asked()) and not lines(self.folder / "open"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if request.id == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if request.id == self.fatal:
            raise FatalError("auth", "the key has expired", status=401)
        return Generation(id=request.id, text='{"bbox_2d": null}')

    def asked(self) -> list[str]:
        return [line.split()[0] for line in lines(self.folder / "asked")]
