"""Telling a person how a build goes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.build.tally import Tally, Watcher

EVERY = 10.0
"""Seconds between two lines where the output is no terminal."""


class _Rate:
    """Records of the stage in hand, and how fast they come."""

    def __init__(self, stage: str, shards: int, done: int) -> None:
        from groundingme.build.tally import Tally as Made

        self.stage, self.shards, self.done = stage, shards, done
        self.tally = Made()
        self._began = time.monotonic()

    def add(self, tally: Tally) -> None:
        self.tally.add(tally)
        self.done += 1

    def line(self) -> str:
        seconds = time.monotonic() - self._began
        rate = self.tally.records / seconds if seconds > 0 else 0.0
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.tally.reasons.most_common(3))
        down = f"; turned down: {reasons}" if reasons else ""
        return f"{self.tally.records} records, {rate:.1f}/s{down}"


class Lines:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self._rate: _Rate | None = None
        self._said = 0.0

    def start(self, stage: str, shards: int, done: int) -> None:
        self._rate = _Rate(stage, shards, done)
        self._said = time.monotonic()

    def update(self, tally: Tally) -> None:
        assert self._rate
        self._rate.add(tally)
        if time.monotonic() - self._said >= EVERY:
            self._say()

    def stop(self) -> None:
        self._say()

    def note(self, line: str) -> None:
        say(line, err=True)

    def _say(self) -> None:
        assert self._rate
        self._said = time.monotonic()
        place = f"{self._rate.done}/{self._rate.shards} shards, " if self._rate.shards else ""
        say(f"{self._rate.stage}: {place}{self._rate.line()}", err=True)


class Bar:
    """A bar a stage, with the rate and what was turned down."""

    def __init__(self) -> None:
        self._rate: _Rate | None = None
        self._bar: Any = None
        self._task: Any = None

    def start(self, stage: str, shards: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._rate = _Rate(stage, shards, done)
        self._bar = Progress(
            TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"), TimeElapsedColumn(), TimeRemainingColumn(),
            console=Console(stderr=True),
        )  # fmt: skip
        self._bar.start()
        self._task = self._bar.add_task(stage, total=shards or None, completed=done, figures="")

    def update(self, tally: Tally) -> None:
        assert self._rate
        self._rate.add(tally)
        self._bar.update(self._task, completed=self._rate.done, figures=self._rate.line())

    def stop(self) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            say(line, err=True)


def watcher_for_terminal() -> Watcher:
    """A bar on a terminal, lines elsewhere."""
    return Bar() if sys.stderr.isatty() else Lines()
