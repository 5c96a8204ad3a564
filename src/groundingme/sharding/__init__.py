"""One function over many shards: in this process, in several, or on a Ray cluster.

    def make() -> Callable[[list[str]], int]:       # once in each worker: loads the model
        model = load()
        return lambda names: model.count(names)

    for shard, result in run_shards(make, shards, engine="ray", workers=8, gpus=1):
        ...

One scheduler serves both engines: it gives a shard to a worker that is ready, starts another
worker where one has died, and tries that shard again. What a shard gave is handed over as soon as
it is there, so the caller can keep it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from groundingme.errors import UsageError
from groundingme.sharding.scheduling import AGAIN as AGAIN
from groundingme.sharding.scheduling import Crew, attempt, scheduled
from groundingme.sharding.scheduling import Lost as Lost

S = TypeVar("S")
R = TypeVar("R")
Make = Callable[[], Callable[[S], R]]
"""Called once in each worker; gives the function that is called with every shard."""

ENGINES = ("local", "ray")


def run_shards(
    make: Make[S, R],
    shards: Sequence[S],
    *,
    engine: str = "local",
    workers: int = 1,
    gpus: float = 0,
    address: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[tuple[S, R | Exception], None, None]:
    """Gives every shard to a function, and what became of it in the order of finishing.

    A shard whose function raised gives that exception, and the others go on. Where a worker died
    (killed, out of memory, its node gone), another one is started and its shard tried `AGAIN`
    times more; then the shard gives `Lost`. Close the iterator to end early: workers are
    stopped at once.

    Args:
        make: Called once in each worker. Must be picklable for more than one worker and for Ray:
            a function of a module, or a `functools.partial` of one.
        shards: Picklable, and so are the results.
        engine: `local` or `ray`. With `local` and one worker everything runs in this process.
        workers: Most workers at once. On a cluster with less room fewer do all the work.
        gpus: For each worker; a fraction shares one. Worker processes on this machine see only
            theirs, in `CUDA_VISIBLE_DEVICES`.
        address: Of a Ray cluster, such as `auto` or `ray://head:10001`. None takes RAY_ADDRESS or
            a cluster that runs on this machine, and else starts one here.
        stop: Asked before each shard; once true, those in hand come to their end, and no other
            one is begun.

    Yields:
        A shard, as given, and its result or exception.

    Raises:
        UsageError: No such engine, fewer than one worker, or Ray is missing or cannot be reached.
        JobError: Worker after worker died while it was made.
        Exception: Whatever `make` raised.
    """
    check_engine(engine, workers, gpus)
    return _run(make, shards, engine, workers, gpus, address, stop)


def check_engine(engine: str, workers: int, gpus: float) -> None:
    """Raises `UsageError` where `run_shards` would."""
    if engine not in ENGINES:
        raise UsageError(f"expected an engine of {', '.join(ENGINES)}, got {engine!r}")
    if workers < 1:
        raise UsageError(f"expected 1 worker or more, got {workers}")
    if not gpus >= 0:
        raise UsageError(f"expected 0 GPUs a worker or more, got {gpus}")
    if engine == "ray":
        from groundingme.sharding.actors import import_ray

        import_ray()


def _run(
    make: Make[S, R],
    shards: Sequence[S],
    engine: str,
    workers: int,
    gpus: float,
    address: str | None,
    stop: Callable[[], bool],
) -> Generator[tuple[S, R | Exception], None, None]:
    if not shards:
        return
    if engine == "local" and workers == 1:
        function = make()
        for shard in shards:
            if stop():
                return
            yield shard, attempt(function, shard)
        return
    crew = _crew(make, engine, workers, gpus, address)
    try:
        yield from scheduled(crew, shards, workers, stop)
    finally:
        crew.close()


def _crew(make: Make[S, R], engine: str, workers: int, gpus: float, address: str | None) -> Crew:
    if engine == "ray":
        from groundingme.sharding.actors import Actors

        return Actors(make, gpus, address)
    from groundingme.sharding.processes import Processes

    return Processes(make, gpus, workers)
