"""Who works on which shard, whatever the workers are."""

from __future__ import annotations

import abc
import pickle  # nosec B403
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from groundingme.errors import JobError

S = TypeVar("S")
R = TypeVar("R")

AGAIN = 2
"""How often a shard is tried again whose worker died; and how many workers in a row may die while
they load."""


class Lost(JobError):  # noqa: N818 - what became of a shard
    """A worker died with a shard, again and again."""


class Worker:
    """Where one copy of the function is.

    Attributes:
        ready: Whether `make` has succeeded there.
        shard: Index of the shard in hand; None for none.
    """

    ready = False
    shard: int | None = None


class Ready:
    """A worker was made."""


class Unmade(NamedTuple):
    """`make` raised."""

    error: Exception


class Done(NamedTuple):
    """A shard has come to its end."""

    result: Any


class Died(NamedTuple):
    """A worker is gone, and what it had in hand with it."""

    how: str


Event = Ready | Unmade | Done | Died


class Crew(abc.ABC):
    """Workers of one kind."""

    @abc.abstractmethod
    def start(self) -> Any:
        """One more worker, which is made in the background."""

    @abc.abstractmethod
    def give(self, worker: Any, shard: Any) -> None:
        """Hands a shard to a worker that is ready and has none."""

    @abc.abstractmethod
    def wait(self, workers: Iterable[Any]) -> list[tuple[Any, Event]]:
        """What happened, after a while at the latest."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stops every worker at once."""


def scheduled(
    crew: Crew, shards: Sequence[S], most: int, stop: Callable[[], bool]
) -> Iterator[tuple[S, Any]]:
    """Yields what became of every shard: see `run_shards`."""
    waiting = deque(range(len(shards)))
    tried: Counter[int] = Counter()
    workers: list[Worker] = []
    stillborn = 0

    def busy() -> int:
        return sum(worker.shard is not None for worker in workers)

    def fill() -> None:
        """Every worker has something in hand, and there are as many as there is work for."""
        if waiting and stop():
            waiting.clear()
        for worker in workers:
            if waiting and worker.ready and worker.shard is None:
                worker.shard = waiting.popleft()
                crew.give(worker, shards[worker.shard])
        while len(workers) < min(most, len(waiting) + busy()):
            workers.append(crew.start())

    fill()
    while waiting or busy():
        finished: list[tuple[int, Any]] = []
        for worker, event in crew.wait(workers):
            index, worker.shard = worker.shard, None
            if isinstance(event, Unmade):
                raise event.error
            if isinstance(event, Ready):
                worker.ready, stillborn = True, 0
            elif isinstance(event, Done):
                assert index is not None
                finished.append((index, event.result))
            else:
                workers.remove(worker)
                stillborn += not worker.ready
                if stillborn > AGAIN:
                    raise JobError(
                        f"expected workers that load and stay, got {stillborn} in a row that died "
                        f"while loading; the last one: {event.how}"
                    )
                if index is None:
                    continue
                tried[index] += 1
                if tried[index] <= AGAIN:
                    waiting.append(index)
                else:
                    finished.append((index, _lost(tried[index], event.how)))
        # First, so that nobody waits while the caller looks at what came.
        fill()
        for index, result in finished:
            yield shards[index], result


def _lost(times: int, how: str) -> Lost:
    return Lost(
        f"expected a result, got a worker that died with this shard, {times} times; "
        f"the last one: {how}"
    )


def attempt(function: Callable[[S], R], shard: S) -> R | Exception:
    """What the function returns for a shard, or what it raises."""
    try:
        return function(shard)
    except Exception as error:  # noqa: BLE001 - the caller decides
        return error


def portable(result: Any) -> Any:
    """The same, but of an exception that cannot be read at the other end only what it says."""
    if not isinstance(result, Exception):
        return result
    try:
        pickle.loads(pickle.dumps(result))  # nosec B301
    except Exception:  # noqa: BLE001 - whatever a stranger's class does
        return JobError(f"{type(result).__name__}: {result}")
    return result
