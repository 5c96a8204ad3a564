"""What a stage is, and what it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from groundingme.build import tables
from groundingme.build.records import Picture, Target
from groundingme.cache import Cache


@dataclasses.dataclass(frozen=True)
class Context:
    """What a stage may use besides its options.

    Attributes:
        folder: Its own, where it keeps replies of models and the like.
        seed: Of everything that is drawn at random.
        tell: Told a line for people.
        cache: Replies that were paid for once; None for none.
        budget: Most US dollars that this stage may cost; None for no limit.
        retry_failed: Whether what failed earlier is tried again.
        history: Gives what each stage before was told and what became of its records, as dicts
            with `stage`, `options`, `records`, `goes_on`, `reasons` and `boxes` (new ones).
    """

    folder: Path
    seed: int = 0
    tell: Callable[[str], None] = lambda line: None
    cache: Cache | None = None
    budget: float | None = None
    retry_failed: bool = False
    history: Callable[[], list[dict[str, Any]]] = list


class Shards(Protocol):
    """The pictures of the stage before, a shard at a time; to be read as often as wanted."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[Picture]]: ...


PictureWork = Callable[[list[Picture]], list[Picture]]
"""Pictures in, the same pictures out, in the same order, with more known of them."""


class Each(NamedTuple):
    """A stage that looks at each shard of pictures by itself, wherever there is a free worker.

    Attributes:
        options: What can be set in its section of the configuration.
        make: `(options, seed)` -> the work; called once in each worker, where it loads models.
        summary: What it does, in a line.
        version: Raised where the same options give another result than before.
    """

    options: type[msgspec.Struct]
    make: Callable[[Any, int], PictureWork]
    summary: str
    version: int = 1


class Whole(NamedTuple):
    """A stage that needs all pictures: `work(shards, options, context)` gives shards again.

    Those of `Each` but for the work, which yields as many shards as it was given, of pictures or
    of targets.
    """

    options: type[msgspec.Struct]
    work: Callable[[Shards, Any, Context], Iterator[Sequence[tables.Record]]]
    summary: str
    version: int = 1


class Words(NamedTuple):
    """A stage over all targets, which asks models: `work(targets, options, context)`."""

    options: type[msgspec.Struct]
    work: Callable[[list[Target], Any, Context], list[Target]]
    summary: str
    version: int = 1


Stage = Each | Whole | Words
