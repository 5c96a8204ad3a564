"""Ask with several workers, on this machine or on a Ray cluster, what `runner` asks with one.

The samples are cut into shards, and each worker holds a model and asks a shard at a time, with the
ordinary `runner.ask`. What it gives goes into the one run folder, which this process alone writes.

What survives what:

====================  ========================================================================
a worker dies         Another one is started, and its shard asked again. A sample that takes
                      worker after worker along fails alone: see `LOST`.
this process ends,    Where the workers see the run folder, each writes its replies to a file
however               under `shards/` as they come, and whoever holds the run next takes them over;
                      so only requests in flight are lost. Where they do not, what they had in
                      hand of their shards is.
a worker cannot go    The others finish the shards in hand, and the run ends with its error.
on (wrong key)
====================  ========================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

import groundingme
from groundingme import keys
from groundingme.cache import Cache, Cached
from groundingme.errors import FatalError, UsageError
from groundingme.interrupting import Interruptible
from groundingme.models import Model, load_model
from groundingme.pacing import Pacer
from groundingme.runner import ask, usual_concurrency
from groundingme.schema import Generation, Sample
from groundingme.sharding import Lost, check_engine, run_shards
from groundingme.store import RunFolder, read_lines

LOST = "worker-died"
"""The failure of a sample with which worker after worker died."""

LARGEST = 64
SMALLEST = 8
"""Samples of a shard: enough for a batch, and few enough that a lost one costs little."""

SHARDS = "shards"
_MARK = "mark"


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        engine: `local` for processes on this machine, or `ray`.
        number: Most workers at once, each with a model of its own.
        gpus: For each worker; a fraction shares one.
        address: Of a Ray cluster: see `sharding.run_shards`.
        shard_size: Samples of a shard; None gives each worker about eight shards, of `SMALLEST` to
            `LARGEST` samples.
    """

    engine: str = "local"
    number: int = 1
    gpus: float = 0.0
    address: str | None = None
    shard_size: int | None = None

    def check(self, *, budget: float | None, cache: Cache | None) -> None:
        """Raises `UsageError` where several workers cannot do what is asked of them."""
        if budget is not None:
            raise UsageError(
                f"expected no budget with several workers, got ${budget:g}: none of them knows "
                "what the others spend; leave it out, or ask with one worker in this process"
            )
        if cache is not None and self.engine != "local":
            raise UsageError(
                f"expected no cache with the engine {self.engine}, got {cache.path}: other "
                "machines cannot use it; leave it out, or ask with the engine local"
            )
        if self.shard_size is not None and self.shard_size < 1:
            raise UsageError(f"expected a shard of 1 sample or more, got {self.shard_size}")
        if self.address is not None and self.engine != "ray":
            raise UsageError(
                f"expected the engine ray with the address of a cluster, got {self.engine}; "
                "add --engine ray, or leave the address out"
            )
        check_engine(self.engine, self.number, self.gpus)

    def size(self, samples: int) -> int:
        """Samples of a shard."""
        if self.shard_size is not None:
            return self.shard_size
        share = math.ceil(samples / (8 * self.number))
        return min(max(share, SMALLEST), LARGEST, math.ceil(samples / self.number))


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How each worker gets its model.

    Attributes:
        model: `PROVIDER/NAME`, or a model that can be pickled.
        options: For the provider, where a name is given.
        cache: File and size of a cache of replies on this machine; None for none.
        version: Of groundingme, which must be the same everywhere.
    """

    model: str | Model
    options: dict[str, Any]
    cache: tuple[str, int] | None = None
    version: str = groundingme.__version__

    @classmethod
    def of(cls, model: str | Model, options: Mapping[str, Any], cache: Cache | None) -> Recipe:
        """As `evaluate` was given them."""
        place = (str(cache.path.absolute()), cache.limit) if cache else None
        return cls(model=model, options=dict(options), cache=place)

    def load(self) -> Model:
        """The model.

        Raises:
            UsageError: As `load_model`, or another version of groundingme is installed here.
        """
        if self.version != groundingme.__version__:
            raise UsageError(
                f"expected groundingme {self.version} on every node, got "
                f"{groundingme.__version__} on {platform.node()}; install the same everywhere"
            )
        model = self.model
        if isinstance(model, str):
            model = load_model(model, **self.options)
        if self.cache:
            return Cached(model, Cache(self.cache[0], limit=self.cache[1]))
        return model


class _Shard(msgspec.Struct, frozen=True):
    samples: list[Sample]
    hopeless: int | None = None


class _Asked(msgspec.Struct, frozen=True):
    generations: list[Generation]
    error: FatalError | None = None


def ask_with_workers(
    recipe: Recipe,
    samples: Sequence[Sample],
    workers: Workers,
    folder: RunFolder,
    *,
    sink: Callable[[Generation], None],
    hopeless: int | None,
    concurrency: int | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    **asking: Any,
) -> bool:
    """Asks each sample once and hands every outcome to `sink`, a shard at a time.

    Args:
        recipe: How each worker gets its model.
        samples: In data set order.
        workers: Who asks.
        folder: Of the run; the caller holds its lock.
        sink: Keeps an outcome.
        hopeless: See `runner.ask`; the first samples of all are meant.
        concurrency: Samples in hand at once in each worker.
        rpm: Most requests a minute, of all workers together.
        tpm: Most tokens a minute, likewise.
        **asking: For `runner.ask`.

    Returns:
        Whether it was interrupted.

    Raises:
        UsageError: The workers cannot be had, or not so.
        FatalError: As `runner.ask`. Shards in hand are finished first.
    """
    if not samples:
        return False
    size = workers.size(len(samples))
    number = min(workers.number, math.ceil(len(samples) / size))
    limits = {"rpm": rpm and rpm / number, "tpm": tpm and tpm / number}
    with Interruptible() as interruptible:
        session = _Session(folder, sink, interruptible)
        make = functools.partial(
            _Asker, recipe, asking, concurrency, limits, str(session.shards), session.mark
        )

        def run(shards: list[_Shard]) -> list[Sample]:
            return session.run(
                run_shards(
                    make,
                    shards,
                    engine=workers.engine,
                    workers=workers.number,
                    gpus=workers.gpus,
                    address=workers.address,
                    stop=lambda: session.error is not None,
                )
            )

        try:
            with session:
                lost = run(list(_cut(samples, size, hopeless)))
                # One by one, so that a sample that takes its worker along takes nothing else.
                for sample in run([_Shard([one]) for one in lost]):
                    sink(_lost(sample, session.why))
        except KeyboardInterrupt:
            return True
    if session.error:
        raise session.error
    return False


def _lost(sample: Sample, why: str) -> Generation:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Generation(id=sample.id, failure=LOST, detail=why, time=now)


def _cut(samples: Sequence[Sample], size: int, hopeless: int | None) -> Iterator[_Shard]:
    for start in range(0, len(samples), size):
        yield _Shard(list(samples[start : start + size]), None if start else hopeless)


class _Asker:
    """What a worker does with a shard. Its model and its pace stay from one to the next."""

    def __init__(
        self,
        recipe: Recipe,
        asking: Mapping[str, Any],
        concurrency: int | None,
        limits: Mapping[str, float | None],
        shards: str,
        mark: str,
    ) -> None:
        self._model = recipe.load()
        self._asking = asking
        self._pacer = Pacer(concurrency or usual_concurrency(self._model), **limits)
        self._answered = False
        self._second = _second_copy(Path(shards), mark)

    def __call__(self, shard: _Shard) -> _Asked:
        found: list[Generation] = []

        def sink(generation: Generation) -> None:
            self._second(generation)
            found.append(generation)
            self._answered = self._answered or not generation.failure

        error = None
        try:
            asyncio.run(
                ask(
                    self._model,
                    shard.samples,
                    sink=sink,
                    hopeless=shard.hopeless,
                    pacer=self._pacer,
                    answered=self._answered,
                    **self._asking,
                )
            )
        except FatalError as fatal:
            error = FatalError(fatal.kind, keys.masked(str(fatal)), status=fatal.status)
        return _Asked(found, error)


def _second_copy(shards: Path, mark: str) -> Callable[[Generation], None]:
    """Writes replies where the next holder of the run finds them; nothing where that is not here.

    The mark tells the run's folder from another one of the same name on another machine.
    """
    try:
        if (shards / _MARK).read_text(encoding="utf-8") != mark:
            return lambda generation: None
        path = shards / f"{uuid.uuid4().hex}.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        return lambda generation: None

    def write(generation: Generation) -> None:
        with contextlib.suppress(OSError):
            os.write(file, msgspec.json.encode(generation) + b"\n")

    return write


def take_over(folder: RunFolder) -> None:
    """Adds what workers of a session that was killed left behind; the caller holds the lock."""
    shards = folder.path / SHARDS
    if not shards.is_dir():
        return
    known = folder.generations()
    for generation in _left_behind(shards, known):
        folder.append(generation)
    shutil.rmtree(shards, ignore_errors=True)


def _left_behind(shards: Path, known: Mapping[str, Generation]) -> Iterator[Generation]:
    """Replies that the run lacks, and failures of samples of which it knows nothing."""
    found: dict[str, Generation] = {}
    for path in sorted(shards.glob("*.jsonl")):
        for _, one in read_lines(path):
            if one is None or (one.id in known and (one.failure or not known[one.id].failure)):
                continue
            if one.id not in found or found[one.id].failure:
                found[one.id] = one
    yield from found.values()


class _Session:
    """One asking with workers: what came, what was lost, and why it ends before its end."""

    def __init__(
        self,
        folder: RunFolder,
        sink: Callable[[Generation], None],
        interruptible: Interruptible,
    ) -> None:
        self.shards = (folder.path / SHARDS).absolute()
        self.mark = uuid.uuid4().hex
        self.error: FatalError | None = None
        self.why = ""
        self._sink = sink
        self._interruptible = interruptible
        self._known: dict[str, Generation] = {}

    def __enter__(self) -> _Session:
        # Without it, a shard is lost with its worker; the run itself says what cannot be written.
        with contextlib.suppress(OSError):
            self.shards.mkdir(exist_ok=True)
            (self.shards / _MARK).write_text(self.mark, encoding="utf-8")
        return self

    def __exit__(self, *error: object) -> None:
        with self._interruptible.held():
            self._keep_what_is_left()
            shutil.rmtree(self.shards, ignore_errors=True)

    def run(
        self, results: Generator[tuple[_Shard, _Asked | Exception], None, None]
    ) -> list[Sample]:
        """Keeps what comes, and gives back the samples that were lost with their workers."""
        lost: list[Sample] = []
        with contextlib.closing(results):
            for shard, asked in results:
                with self._interruptible.held():
                    if isinstance(asked, Lost):
                        self.why = str(asked)
                        lost += shard.samples
                    elif isinstance(asked, Exception):
                        raise asked
                    else:
                        self._keep(asked.generations)
                        self.error = self.error or asked.error
        with self._interruptible.held():
            self._keep_what_is_left()
        return [one for one in lost if one.id not in self._known]

    def _keep(self, generations: Iterable[Generation]) -> None:
        for generation in generations:
            self._sink(generation)
            self._known[generation.id] = generation

    def _keep_what_is_left(self) -> None:
        """All workers are stopped by now, so nobody writes any more."""
        self._keep(list(_left_behind(self.shards, self._known)))
