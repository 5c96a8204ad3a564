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
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundingme.build import tables
from groundingme.build.config import SHARD, Config
from groundingme.build.folders import DONE, Place, ReadShards, digest
from groundingme.build.records import Picture, Target
from groundingme.build.stage import Context, Each, Stage, Whole, Words
from groundingme.build.tally import Silent, Tally, Watcher
from groundingme.cache import Cache
from groundingme.errors import DataError, JobError, RunError, UsageError
from groundingme.sharding import run_shards
from groundingme.store import kept, remove_strays, write_atomically

LIST = "list"


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
        self.watcher = watcher or Silent()
        self.places = {one.name: one for one in self._places()}

    def _places(self) -> Iterator[Place]:
        """Every stage of the configuration with its folder; a stage that is left out ends it."""
        source = self.config.sections["source"]
        key = digest("", LIST, source, self.config.shard, 1)
        yield Place(LIST, self.work / f"00-{LIST}-{key[:8]}", key, Picture)
        holds: type[tables.Record] = Picture
        for number, (name, stage) in enumerate(self.stages.items(), 1):
            options = self.config.sections[name]
            if options is None:
                continue
            key = digest(key, name, options, self.config.seed, stage.version)
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
            budget: Most US dollars that models may cost in each stage.
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
        with self._claimed():
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
                if not any(one.goes_on for shard in ReadShards(place) for one in shard):
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

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[None]:
        """Holds the folder, without what a killed process left half written."""
        import filelock

        told = {
            "seed": self.config.seed,
            "shard": self.config.shard,
            **{k: v for k, v in self.config.sections.items() if v is not None},
        }
        held = filelock.FileLock(self.work / ".lock", timeout=0)
        with contextlib.ExitStack() as stack:
            try:
                self.work.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held)
                remove_strays(self.work, "build.json")
                for place in self.places.values():
                    remove_strays(place.folder)
                write_atomically(
                    self.work / "build.json", msgspec.json.format(msgspec.json.encode(told))
                )
            except filelock.Timeout:
                raise RunError(
                    f"expected a folder that nobody works in, got {self.work}, where another "
                    "process builds; wait for it, or name another with --work"
                ) from None
            except OSError as error:
                raise UsageError(
                    f"expected a folder that can be written, got {self.work} ({error.strerror}); "
                    "name another with --work"
                ) from None
            yield

    def _start(self, place: Place) -> None:
        with kept(place.folder):
            place.folder.mkdir(exist_ok=True)
            told = {"stage": place.name, "key": place.key, "seed": self.config.seed}
            told["options"] = self.config.sections.get(place.name)
            write_atomically(place.folder / "stage.json", msgspec.json.encode(told))

    def _forget_failures(self, place: Place, before: Place) -> None:
        """Removes the shards in which this stage failed at something, and what follows them."""
        old = {one.id for shard in ReadShards(before) for one in shard if one.failure}
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
        self.watcher.start(LIST, 0, 0)
        try:
            pictures = list(self._list(self.config.sections["source"]))
            if not pictures:
                raise DataError("expected pictures in the source, got none; check [source] path")
            size = self.config.shard or min(SHARD, max(16, -(-len(pictures) // 16)))
            for number, start in enumerate(range(0, len(pictures), size)):
                with kept(place.folder):
                    tables.write(_shard(place, number), pictures[start : start + size], Picture)
            self.watcher.update(Tally(len(pictures)))
        finally:
            self.watcher.stop()

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
        self.watcher.start(place.name, len(names), len(there))
        try:
            for name, result in run_shards(
                make, todo, engine=engine, workers=workers, gpus=gpus, address=address
            ):
                if isinstance(result, UsageError):
                    raise result
                if isinstance(result, Exception):
                    errors.append((name, result))
                    self.watcher.note(f"{place.name}: shard {name} failed: {_line(result)}")
                else:
                    self.watcher.update(result)
        finally:
            self.watcher.stop()
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
            tell=self.watcher.note,
            cache=cache,
            budget=budget,
            retry_failed=retry_failed,
            history=functools.partial(self._history, place),
        )
        shards = ReadShards(before)
        self.watcher.start(place.name, len(shards) if isinstance(stage, Whole) else 1, 0)
        try:
            if isinstance(stage, Whole):
                done = stage.work(shards, options, context)
            else:
                targets = [one for shard in shards for one in shard]
                done = iter([stage.work(targets, options, context)])
            for number, records in enumerate(done):
                with kept(place.folder):
                    tables.write(_shard(place, number), records, place.holds)
                self.watcher.update(Tally.of(records))
        finally:
            self.watcher.stop()


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
