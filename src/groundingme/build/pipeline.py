"""Runs the stages of a build over shards: resumable, inspectable, each of them replaceable.

    WORK/
      build.json              the configuration as it was last run
      00-list-3f2a91c0/       one parquet file a shard: 00000.parquet, 00001.parquet, ...
      03-detect-88be01d4/     and stage.json: what the stage was told
      ...

The digits after a stage's name come from its options and those of every stage before it. So a
changed option gives the stage and all later ones new folders, the earlier ones are used again, and
two settings lie side by side. A shard stands under its final name only when it is whole; what
stands is not made again. Killed at any moment, the same command goes on and ends with the same
bytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from groundingme.build import tables
from groundingme.build.config import SHARD, Config
from groundingme.build.records import FATES, Picture, Target
from groundingme.build.stage import Context, Each, Stage, Whole, Words
from groundingme.cache import Cache
from groundingme.errors import DataError, JobError, RunError, UsageError
from groundingme.sharding import run_shards
from groundingme.store import kept, write_atomically

LIST = "list"
DONE = "done"
"""File that says how many shards a stage has, written when all of them are there."""
FINGERPRINTED = 64 * 2**20
"""Most bytes of a file named in an option whose content is looked at; of others only the size."""


class Tally(msgspec.Struct):
    """What became of the records of some shards.

    Attributes:
        records: How many there are.
        reasons: Of those that go no further, how many for which reason; `failed` among them.
        boxes: Boxes by fate.
        failure: One of the failures, in its own words; "" where there is none.
    """

    records: int = 0
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    boxes: Counter[str] = msgspec.field(default_factory=Counter)
    failure: str = ""

    def add(self, other: Tally) -> None:
        """Counts the other's records, too."""
        self.records += other.records
        self.reasons.update(other.reasons)
        self.boxes.update(other.boxes)
        self.failure = self.failure or other.failure

    @classmethod
    def of(cls, records: Sequence[tables.Record]) -> Tally:
        """What became of these."""
        tally = cls(len(records))
        for one in records:
            if one.failure:
                tally.reasons["failed"] += 1
                tally.failure = tally.failure or f"{one.id}: {one.failure}"
            elif one.fate:
                tally.reasons[one.fate.partition(" ")[0]] += 1
            if isinstance(one, Picture):
                for code, count in Counter(one.found.fates.tolist()).items():
                    tally.boxes[FATES[code]] += count
        return tally


class Watcher(Protocol):
    """Who is told how a build goes."""

    def start(self, stage: str, shards: int, done: int) -> None:
        """A stage begins; so many of its shards were there already."""

    def update(self, tally: Tally) -> None:
        """One more shard is there."""

    def stop(self) -> None:
        """The stage ended, or was interrupted."""

    def note(self, line: str) -> None:
        """Something that a person should read."""


class Silent:
    """Says nothing."""

    def start(self, stage: str, shards: int, done: int) -> None: ...
    def update(self, tally: Tally) -> None: ...
    def stop(self) -> None: ...
    def note(self, line: str) -> None: ...


class Place(msgspec.Struct, frozen=True):
    """Where the shards of one stage are.

    Attributes:
        name: Of the stage.
        folder: Of its shards.
        key: Digest of all that they follow from.
        holds: `Picture` or `Target`.
    """

    name: str
    folder: Path
    key: str
    holds: type[tables.Record]

    def shards(self) -> list[Path]:
        """The shards that are whole, in order."""
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def read(self, path: Path) -> list[Any]:
        """The records of one shard."""
        return tables.read_pictures(path) if self.holds is Picture else tables.read_targets(path)

    @property
    def is_done(self) -> bool:
        """Whether every shard is there."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / DONE).read_text()) == len(self.shards())
        return False


class _Shards:
    """The shards of a place, read as they are asked for."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._paths = place.shards()

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[list[Any]]:
        return map(self._place.read, self._paths)


class Build:
    """A configuration, a folder to work in, and the stages.

    Args:
        config: Checked.
        work: The folder; made where it is missing.
        stages: The table, in order.
        list_pictures: Gives the pictures of the source from its options.
        watcher: Told how it goes.
    """

    def __init__(
        self,
        config: Config,
        work: str | Path,
        stages: dict[str, Stage],
        list_pictures: Callable[[Any], Iterator[Picture]],
        watcher: Watcher | None = None,
    ) -> None:
        self.config = config
        self.work = Path(work)
        self.stages = stages
        self._list = list_pictures
        self._watcher = watcher or Silent()
        self.places = {one.name: one for one in self._places()}

    def _places(self) -> Iterator[Place]:
        """Every stage of the configuration with its folder; a stage that is left out ends it."""
        source = self.config.sections["source"]
        key = _digest("", LIST, source, self.config.shard, 1)
        yield Place(LIST, self.work / f"00-{LIST}-{key[:8]}", key, Picture)
        holds: type[tables.Record] = Picture
        for number, (name, stage) in enumerate(self.stages.items(), 1):
            options = self.config.sections[name]
            if options is None:
                continue
            key = _digest(key, name, options, self.config.seed, stage.version)
            holds = Target if name == "select" else holds
            yield Place(name, self.work / f"{number:02}-{name}-{key[:8]}", key, holds)

    def run(
        self,
        *,
        to: str | None = None,
        engine: str = "local",
        workers: int = 1,
        gpus: float = 0,
        address: str | None = None,
        retry_failed: bool = False,
        budget: float | None = None,
        cache: Cache | None = None,
    ) -> Place:
        """Runs every stage that is not done, up to one of them.

        Args:
            to: Last stage to run; None for all that the configuration has.
            engine: `local` or `ray`; see `sharding`.
            workers: That work at once on stages of pictures.
            gpus: For each worker.
            address: Of the Ray cluster.
            retry_failed: Whether records that failed are tried again, and all that follows.
            budget: Most US dollars that models may cost in all stages together.
            cache: Replies that were paid for once.

        Returns:
            The last stage's place.

        Raises:
            UsageError: A stage cannot be run as asked.
            JobError: Shards that could not be done; the others are kept.
        """
        if to is not None and to not in self.places:
            raise UsageError(
                f"expected a stage of this configuration, got {to!r}; it has "
                f"{', '.join(self.places)}"
            )
        self._claim()
        with self._lock():
            before: Place | None = None
            for place in self.places.values():
                if retry_failed and before is not None:
                    self._forget_failures(place, before)
                if not place.is_done:
                    self._start(place)
                    if before is None:
                        self._make_list(place)
                    else:
                        stage = self.stages[place.name]
                        if isinstance(stage, Each):
                            self._each(place, before, engine, workers, gpus, address)
                        else:
                            self._at_once(place, before, stage, budget, cache, retry_failed)
                    with kept(place.folder):
                        write_atomically(place.folder / DONE, str(len(place.shards())).encode())
                if not any(one.goes_on for shard in _Shards(place) for one in shard):
                    raise self._dead_end(place)
                before = place
                if place.name == to:
                    break
        assert before is not None
        return before

    def tally(self, name: str) -> Tally:
        """What became of a stage's records so far."""
        place, tally = self.places[name], Tally()
        for path in place.shards():
            tally.add(Tally.of(place.read(path)))
        return tally

    def tallies(self, to: str | None = None) -> Iterator[tuple[Place, Tally, Tally]]:
        """Every stage up to one of them: what became of its records, and what it turned down.

        What an earlier stage turned down is still in the tables of the later ones; the second
        tally leaves it out.
        """
        before = Tally()
        holds: type[tables.Record] = Picture
        for place in self.places.values():
            if place.name == to:
                return
            tally = self.tally(place.name)
            new = Tally(tally.records, +tally.reasons, +tally.boxes)
            if place.holds is holds:
                new.reasons -= before.reasons
                kept = new.boxes["kept"]
                new.boxes -= before.boxes
                new.boxes["kept"] = kept
            yield place, tally, new
            before, holds = tally, place.holds

    def _history(self, end: Place) -> list[dict[str, Any]]:
        """What each stage before one was told, and what became of its records."""
        return [
            {
                "stage": place.name,
                "options": self.config.sections.get(place.name),
                "records": tally.records,
                "goes_on": tally.records - sum(tally.reasons.values()),
                "reasons": dict(new.reasons),
                "boxes": dict(new.boxes),
            }
            for place, tally, new in self.tallies(end.name)
        ]

    def _dead_end(self, place: Place) -> JobError:
        tally = self.tally(place.name)
        why = ", ".join(f"{n} {reason}" for reason, n in tally.reasons.most_common())
        such = f", such as {tally.failure}" if tally.failure else ""
        return JobError(
            f"expected records that go on after {place.name}, got none of {tally.records}"
            + (f": {why}{such}" if why else "")
            + "; change its section, or the source"
        )

    def _claim(self) -> None:
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            told = {
                "seed": self.config.seed,
                "shard": self.config.shard,
                **{k: v for k, v in self.config.sections.items() if v is not None},
            }
            write_atomically(
                self.work / "build.json", msgspec.json.format(msgspec.json.encode(told))
            )
        except OSError as error:
            raise UsageError(
                f"expected a folder that can be written, got {self.work} ({error.strerror}); "
                "name another with --work"
            ) from None

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        import filelock

        lock = filelock.FileLock(self.work / ".lock", timeout=0)
        try:
            with lock:
                yield
        except filelock.Timeout:
            raise RunError(
                f"expected a folder that nobody works in, got {self.work}, where another process "
                "builds; wait for it, or name another with --work"
            ) from None

    def _start(self, place: Place) -> None:
        with kept(place.folder):
            place.folder.mkdir(exist_ok=True)
            for stray in place.folder.glob(".*.parquet.*"):
                stray.unlink(missing_ok=True)
            told = {"stage": place.name, "key": place.key, "seed": self.config.seed}
            told["options"] = self.config.sections.get(place.name)
            write_atomically(place.folder / "stage.json", msgspec.json.encode(told))

    def _forget_failures(self, place: Place, before: Place) -> None:
        """Removes the shards in which this stage failed at something, and what follows them."""
        old = {one.id for shard in _Shards(before) for one in shard if one.failure}
        hit = {
            path.name
            for path in place.shards()
            if any(one.failure and one.id not in old for one in place.read(path))
        }
        if not hit:
            return
        names = list(self.places)
        for name in names[names.index(place.name) :]:
            folder = self.places[name].folder
            (folder / DONE).unlink(missing_ok=True)
            by_shard = isinstance(self.stages[name], Each)
            for path in self.places[name].shards():
                if path.name in hit or not by_shard:
                    path.unlink()

    def _make_list(self, place: Place) -> None:
        self._watcher.start(LIST, 0, 0)
        try:
            pictures = list(self._list(self.config.sections["source"]))
            if not pictures:
                raise DataError("expected pictures in the source, got none; check [source] path")
            size = self.config.shard or min(SHARD, max(16, -(-len(pictures) // 16)))
            for number, start in enumerate(range(0, len(pictures), size)):
                with kept(place.folder):
                    tables.write(_shard(place, number), pictures[start : start + size], Picture)
            self._watcher.update(Tally(len(pictures)))
        finally:
            self._watcher.stop()

    def _each(
        self,
        place: Place,
        before: Place,
        engine: str,
        workers: int,
        gpus: float,
        address: str | None,
    ) -> None:
        names = [path.name for path in before.shards()]
        there = {path.name for path in place.shards()}
        todo = [name for name in names if name not in there]
        make = functools.partial(
            _make_worker, place.name, self.config.sections[place.name], self.config.seed,
            str(before.folder.resolve()), str(place.folder.resolve()),
        )  # fmt: skip
        errors: list[tuple[str, Exception]] = []
        self._watcher.start(place.name, len(names), len(there))
        try:
            for name, result in run_shards(
                make, todo, engine=engine, workers=workers, gpus=gpus, address=address
            ):
                if isinstance(result, UsageError):
                    raise result
                if isinstance(result, Exception):
                    errors.append((name, result))
                    self._watcher.note(f"{place.name}: shard {name} failed: {_line(result)}")
                else:
                    self._watcher.update(result)
        finally:
            self._watcher.stop()
        if errors:
            name, error = errors[0]
            raise JobError(
                f"{len(errors)} of {len(names)} shards of {place.name} could not be done, such as "
                f"{name}: {_line(error)}; the others are kept, and the same command goes on"
            )

    def _at_once(
        self,
        place: Place,
        before: Place,
        stage: Whole | Words,
        budget: float | None,
        cache: Cache | None,
        retry_failed: bool,
    ) -> None:
        options = self.config.sections[place.name]
        context = Context(
            folder=place.folder,
            seed=self.config.seed,
            tell=self._watcher.note,
            cache=cache,
            budget=budget,
            retry_failed=retry_failed,
            history=functools.partial(self._history, place),
        )
        shards = _Shards(before)
        self._watcher.start(place.name, len(shards) if isinstance(stage, Whole) else 1, 0)
        try:
            if isinstance(stage, Whole):
                done = stage.work(shards, options, context)
            else:
                targets = [one for shard in shards for one in shard]
                done = iter([stage.work(targets, options, context)])
            for number, records in enumerate(done):
                with kept(place.folder):
                    tables.write(_shard(place, number), records, place.holds)
                self._watcher.update(Tally.of(records))
        finally:
            self._watcher.stop()


def _make_worker(
    name: str, options: Any, seed: int, source: str, out: str
) -> Callable[[str], Tally]:
    """The function that does one shard; made once in each worker."""
    from groundingme.build.stages import STAGES

    stage = STAGES[name]
    assert isinstance(stage, Each)
    work = stage.make(options, seed)

    def do(shard: str) -> Tally:
        pictures = tables.read_pictures(Path(source, shard))
        done = work(pictures)
        tables.write(Path(out, shard), done, Picture)
        return Tally.of(done)

    return do


def _shard(place: Place, number: int) -> Path:
    return place.folder / f"{number:05}.parquet"


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _digest(before: str, name: str, options: Any, *rest: Any) -> str:
    """Hex digits of what a stage follows from."""
    files = [_content(value) for value in _texts(msgspec.to_builtins(options))]
    told = msgspec.json.encode((before, name, options, rest, files))
    return hashlib.sha256(told).hexdigest()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _content(text: str) -> str:
    """A digest of the file that an option names; "" where it names none."""
    with contextlib.suppress(OSError, ValueError):
        path = Path(text)
        if path.is_file():
            size = path.stat().st_size
            if size > FINGERPRINTED:
                return f"{size} bytes"
            return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def remove_others(build: Build) -> list[Path]:
    """Removes the folders of earlier settings; gives what was removed."""
    mine = {place.folder for place in build.places.values()}
    others = [
        path
        for path in sorted(build.work.glob("[0-9][0-9]-*-*"))
        if path.is_dir() and path not in mine
    ]
    for path in others:
        shutil.rmtree(path)
    return others
