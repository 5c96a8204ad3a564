"""Telling a person how a run goes: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, TextIO

from groundingme import protocols
from groundingme.schema import Generation, Sample
from groundingme.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    import rich.progress


class Progress(Protocol):
    """What `evaluate` tells of a run."""

    def note(self, line: str) -> None:
        """Something that the user should know, before the first request or while all waits."""

    def start(self, samples: Sequence[Sample], done: dict[str, Generation], coords: str) -> None:
        """Called once, before the first request.

        Args:
            samples: All samples of the run.
            done: Replies that an earlier session already has, by sample.
            coords: The model's declared coordinate format.
        """

    def update(self, generation: Generation) -> None:
        """Called for every finished sample, failed ones included."""

    def stop(self) -> None:
        """Called once at the end, however the run ended."""


class Tally:
    """Running figures of a run: how many are done and failed, accuracy so far, tokens."""

    def __init__(self, samples: Sequence[Sample], done: dict[str, Generation], coords: str) -> None:
        self.total = len(samples)
        self.done = self.failed = self.tokens = 0
        self._correct = 0.0
        self._unscored: deque[Generation] = deque()
        self._samples = {sample.id: sample for sample in samples}
        self._coords = coords
        self.resumed = len(done)
        for generation in done.values():
            self.update(generation)

    def update(self, generation: Generation) -> None:
        """Counts one more finished sample."""
        if generation.id not in self._samples:
            return
        self.done += 1
        self.failed += bool(generation.failure)
        self.tokens += (generation.prompt_tokens or 0) + (generation.completion_tokens or 0)
        self._unscored.append(generation)

    @property
    def accuracy(self) -> float:
        """Strict Acc@0.5 of the samples that are done, in [0, 1]; 0 when none are."""
        # Many at once cost little more than one. A bar asks from a thread of its own.
        fresh = [self._unscored.popleft() for _ in range(len(self._unscored))]
        if fresh:
            scores = protocols.score(
                [self._samples[one.id] for one in fresh],
                {one.id: one for one in fresh},
                protocol="strict",
                coords=self._coords,
            )
            self._correct += float((scores.ious >= 0.5).sum())
        return self._correct / self.done if self.done else 0.0

    def line(self) -> str:
        """The figures in a phrase."""
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"{self.done}/{self.total} done{failed}, Acc@0.5 so far {100 * self.accuracy:.1f}, "
            f"{_short(self.tokens)} tokens"
        )


class Silent:
    """Says nothing."""

    def note(self, line: str) -> None:
        return

    def start(self, samples: Sequence[Sample], done: dict[str, Generation], coords: str) -> None:
        return

    def update(self, generation: Generation) -> None:
        return

    def stop(self) -> None:
        return


class Quiet(Silent):
    """Says notes only."""

    def note(self, line: str) -> None:
        say(line, err=True)


class Bar(Quiet):
    """A live bar: done, failed, accuracy so far, tokens, time left."""

    def start(self, samples: Sequence[Sample], done: dict[str, Generation], coords: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress
        from rich.table import Column
        from rich.text import Text

        class Figures(ProgressColumn):
            """Worked out when the bar is drawn, ten times a second, and not for each reply."""

            def render(column, task: Task) -> Text:  # noqa: N805
                return Text.from_markup(self._figures())

        self._tally = Tally(samples, done, coords)
        self._bar: rich.progress.Progress = RichProgress(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            Figures(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=len(samples), completed=self._tally.done)
        self._bar.start()

    def update(self, generation: Generation) -> None:
        self._tally.update(generation)
        self._bar.update(self._task, completed=self._tally.done)

    def stop(self) -> None:
        self._bar.stop()

    def _figures(self) -> str:
        tally = self._tally
        failed = f"[red]{tally.failed} failed[/red]  " if tally.failed else ""
        accuracy = f"Acc@0.5 {100 * tally.accuracy:.1f}"
        return f"{failed}{accuracy}  {_short(tally.tokens)} tokens"


class Lines(Quiet):
    """The same in plain lines, for logs: at most one every `every` seconds, and one at the end."""

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._every = every

    def start(self, samples: Sequence[Sample], done: dict[str, Generation], coords: str) -> None:
        self._tally = Tally(samples, done, coords)
        self._began = self._said = time.monotonic()

    def update(self, generation: Generation) -> None:
        self._tally.update(generation)
        if time.monotonic() - self._said >= self._every:
            self._say()

    def stop(self) -> None:
        self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        tally, asked = self._tally, self._tally.done - self._tally.resumed
        left = ""
        if asked and tally.done < tally.total:
            seconds = (self._said - self._began) / asked * (tally.total - tally.done)
            left = f", about {duration(seconds)} left"
        print(f"{tally.line()}{left}", file=self._stream, flush=True)


def for_terminal() -> Progress:
    """A bar where standard error is a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()


def duration(seconds: float) -> str:
    """Seconds in the words that people use.

    >>> duration(42), duration(3 * 60 + 5), duration(7300)
    ('42 s', '3 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _short(count: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
