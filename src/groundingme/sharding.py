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

import abc
import atexit
import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from groundingme.errors import JobError, MissingDependencyError, UsageError

S = TypeVar("S")
R = TypeVar("R")
Make = Callable[[], Callable[[S], R]]
"""Called once in each worker; gives the function that is called with every shard."""

ENGINES = ("local", "ray")

AGAIN = 2
"""How often a shard is tried again whose worker died; and how many workers in a row may die while
they load."""

PATIENCE = 60.0
"""Seconds without any worker after which a person is told that the cluster has no room."""

_log = logging.getLogger(__name__)


def run_shards(
    make: Make[S, R],
    shards: Sequence[S],
    *,
    engine: str = "local",
    workers: int = 1,
    gpus: float = 0,
    address: str | None = None,
) -> Iterator[tuple[S, R | Exception]]:
    """Gives every shard to a function, and what became of it in the order of finishing.

    A shard whose function raised gives that exception, and the others go on. Where a worker died
    (killed, out of memory, its node gone), another one is started and its shard tried `AGAIN`
    times more; then the shard gives a `JobError`. Close the iterator to end early: workers are
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

    Yields:
        A shard, as given, and its result or exception.

    Raises:
        UsageError: No such engine, fewer than one worker, or Ray is missing or cannot be reached.
        JobError: Worker after worker died while it was made.
        Exception: Whatever `make` raised.
    """
    if engine not in ENGINES:
        raise UsageError(f"expected an engine of {', '.join(ENGINES)}, got {engine!r}")
    if workers < 1:
        raise UsageError(f"expected 1 worker or more, got {workers}")
    if not gpus >= 0:
        raise UsageError(f"expected 0 GPUs a worker or more, got {gpus}")
    if engine == "ray":
        import_ray()
    return _run(make, shards, engine, workers, gpus, address)


def import_ray() -> Any:
    """The module.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import ray
    except ImportError:
        raise MissingDependencyError(
            'expected ray for the engine ray, got none; pip install "groundingme[ray]"'
        ) from None
    return ray


def _run(
    make: Make[S, R],
    shards: Sequence[S],
    engine: str,
    workers: int,
    gpus: float,
    address: str | None,
) -> Iterator[tuple[S, R | Exception]]:
    if not shards:
        return
    if engine == "local" and workers == 1:
        function = make()
        for shard in shards:
            yield shard, _attempt(function, shard)
        return
    crew = _Actors(make, gpus, address) if engine == "ray" else _Processes(make, gpus)
    try:
        yield from _scheduled(crew, shards, workers)
    finally:
        crew.close()


def _attempt(function: Callable[[S], R], shard: S) -> R | Exception:
    try:
        return function(shard)
    except Exception as error:  # noqa: BLE001 - the caller decides
        return error


class _Worker:
    """Where one copy of the function is.

    Attributes:
        ready: Whether `make` has succeeded there.
        shard: Index of the shard in hand; None for none.
    """

    ready = False
    shard: int | None = None


W = TypeVar("W", bound=_Worker)


class _Ready:
    """A worker was made."""


class _Unmade(NamedTuple):
    """`make` raised."""

    error: Exception


class _Done(NamedTuple):
    """A shard has come to its end."""

    result: Any


class _Died(NamedTuple):
    """A worker is gone, and what it had in hand with it."""

    how: str


_Event = _Ready | _Unmade | _Done | _Died


class _Crew(abc.ABC):
    """Workers of one kind."""

    @abc.abstractmethod
    def start(self) -> Any:
        """One more worker, which is made in the background."""

    @abc.abstractmethod
    def give(self, worker: Any, shard: Any) -> None:
        """Hands a shard to a worker that is ready and has none."""

    @abc.abstractmethod
    def wait(self, workers: Iterable[Any]) -> list[tuple[Any, _Event]]:
        """What happened, after a while at the latest."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stops every worker at once."""


def _scheduled(crew: _Crew, shards: Sequence[S], most: int) -> Iterator[tuple[S, Any]]:
    waiting = deque(range(len(shards)))
    tried: Counter[int] = Counter()
    workers: list[_Worker] = []
    left, stillborn = len(shards), 0

    def fill() -> None:
        """Every worker has something in hand, and there are as many as there is work for."""
        for worker in workers:
            if waiting and worker.ready and worker.shard is None:
                worker.shard = waiting.popleft()
                crew.give(worker, shards[worker.shard])
        while len(workers) < min(most, left):
            workers.append(crew.start())

    fill()
    while left:
        finished: list[tuple[int, Any]] = []
        for worker, event in crew.wait(workers):
            index, worker.shard = worker.shard, None
            if isinstance(event, _Unmade):
                raise event.error
            if isinstance(event, _Ready):
                worker.ready, stillborn = True, 0
            elif isinstance(event, _Done):
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
        left -= len(finished)
        # First, so that nobody waits while the caller looks at what came.
        fill()
        for index, result in finished:
            yield shards[index], result


def _lost(times: int, how: str) -> JobError:
    return JobError(
        f"expected a result, got a worker that died with this shard, {times} times; "
        f"the last one: {how}"
    )


# Processes on this machine.


class _Process(_Worker):
    def __init__(self, process: Any, connection: Any, slot: int) -> None:
        self.process = process
        self.connection = connection
        self.slot = slot


class _Processes(_Crew):
    """Fresh Python processes, each at the end of a pipe."""

    def __init__(self, make: Callable[[], Any], gpus: float) -> None:
        self._make, self._gpus = make, gpus
        self._all: list[_Process] = []
        # Before multiprocessing would wait for them at the interpreter's end.
        atexit.register(self.close)

    def start(self) -> _Process:
        taken = {one.slot for one in self._all}
        slot = next(at for at in range(len(taken) + 1) if at not in taken)
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_work, args=(self._make, theirs, _devices(slot, self._gpus)))
        with _interrupts_blocked():
            process.start()
        theirs.close()
        worker = _Process(process, ours, slot)
        self._all.append(worker)
        return worker

    def give(self, worker: _Process, shard: Any) -> None:
        # Where it has died meanwhile, `wait` will say so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(shard)

    def wait(self, workers: Iterable[_Process]) -> list[tuple[_Process, _Event]]:
        owner: dict[Any, _Process] = {}
        for one in workers:
            owner[one.connection] = owner[one.process.sentinel] = one
        found = multiprocessing.connection.wait(list(owner))
        return [(one, self._event(one)) for one in dict.fromkeys(owner[it] for it in found)]

    def _event(self, worker: _Process) -> _Event:
        try:
            # A whole message counts, even of a process that has ended since.
            if worker.connection.poll():
                event: _Event = pickle.loads(worker.connection.recv_bytes())
                return event
        except (EOFError, ConnectionResetError):
            pass
        worker.process.join(1)
        self._remove(worker)
        code = worker.process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return _Died(f"{how}, as where memory runs out" if code == -9 else how)

    def _remove(self, worker: _Process) -> None:
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._all.remove(worker)

    def close(self) -> None:
        atexit.unregister(self.close)
        for worker in self._all:
            worker.process.terminate()
        deadline = time.monotonic() + 2
        for worker in list(self._all):
            worker.process.join(max(0.0, deadline - time.monotonic()))
            self._remove(worker)


def _work(make: Callable[[], Any], connection: Any, devices: str) -> None:
    """The whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    try:
        function = make()
    except Exception as error:  # noqa: BLE001 - raised again by the scheduler
        connection.send_bytes(_packed(_Unmade, error))
        return
    connection.send_bytes(pickle.dumps(_Ready()))
    while True:
        try:
            shard = connection.recv_bytes()
        except EOFError:
            return
        result = _attempt(lambda packed: function(pickle.loads(packed)), shard)
        connection.send_bytes(_packed(_Done, result))


def _end_with_parent() -> None:
    """However the parent ends, and whatever the main thread is doing."""
    parent = multiprocessing.parent_process()
    assert parent
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _packed(kind: type[_Done] | type[_Unmade], result: Any) -> bytes:
    try:
        return pickle.dumps(kind(_portable(result)))
    except Exception as problem:  # noqa: BLE001 - whatever a stranger's class does
        return pickle.dumps(kind(JobError(f"{type(problem).__name__}: {problem}")))


def _portable(result: Any) -> Any:
    """The same, but of an exception that cannot be read at the other end only what it says."""
    if not isinstance(result, Exception):
        return result
    try:
        pickle.loads(pickle.dumps(result))
    except Exception:  # noqa: BLE001 - whatever a stranger's class does
        return JobError(f"{type(result).__name__}: {result}")
    return result


def _devices(slot: int, gpus: float) -> str:
    """GPUs of the worker in a slot, counted from 0, as CUDA_VISIBLE_DEVICES wants them."""
    if not gpus:
        return ""
    first = int(slot * gpus)
    wanted = range(first, first + max(1, int(gpus)))
    known = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    return ",".join(known[at % len(known)] if known else str(at) for at in wanted)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """What starts meanwhile inherits it: Ctrl-C is for the parent alone."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# Actors of a Ray cluster. Ray would restart an actor by itself, but on a new node it loads the
# model before anybody knows, and a shard that kills its worker would do so for ever.


class _Actor(_Worker):
    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.pending = handle.load.remote()


class _Held:
    """What an actor is."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def load(self) -> _Event:
        try:
            self._function = self._make()
        except Exception as error:  # noqa: BLE001 - raised again by the scheduler
            return _Unmade(_portable(error))
        return _Ready()

    def run(self, shard: Any) -> _Event:
        return _Done(_portable(_attempt(self._function, shard)))


class _Actors(_Crew):
    def __init__(self, make: Callable[[], Any], gpus: float, address: str | None) -> None:
        self._make, self._gpus = make, gpus
        self._ray = import_ray()
        self._ours = not self._ray.is_initialized()
        if self._ours:
            _connect(self._ray, address)
        self._remote = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Held)
        self._all: list[_Actor] = []
        self._seen = time.monotonic()

    def start(self) -> _Actor:
        worker = _Actor(self._remote.remote(self._make))
        self._all.append(worker)
        return worker

    def give(self, worker: _Actor, shard: Any) -> None:
        worker.pending = worker.handle.run.remote(shard)

    def wait(self, workers: Iterable[_Actor]) -> list[tuple[_Actor, _Event]]:
        owner = {one.pending: one for one in workers if one.shard is not None or not one.ready}
        # Briefly, so that Ctrl-C is heard.
        found, _ = self._ray.wait(list(owner), num_returns=1, timeout=1)
        self._tell(owner.values())
        return [(owner[one], self._event(owner[one])) for one in found]

    def _event(self, worker: _Actor) -> _Event:
        from ray.exceptions import RayError, RayTaskError

        try:
            event: _Event = self._ray.get(worker.pending)
            return event
        except RayTaskError as error:
            # The result could not be sent: of what the function raises nothing comes so.
            return _Done(JobError(" ".join(str(error.cause).split())[:500]))
        except RayError as error:
            self._ray.kill(worker.handle)
            self._all.remove(worker)
            return _Died(" ".join(str(error).split())[:500])

    def _tell(self, workers: Iterable[_Actor]) -> None:
        now = time.monotonic()
        if any(one.ready for one in workers):
            self._seen = now
        elif now - self._seen > PATIENCE:
            self._seen = now
            there = self._ray.available_resources()
            _log.warning(
                "no worker has started for %.0f s: each asks for 1 CPU and %g GPUs, and free are "
                "%g CPUs and %g GPUs; still waiting",
                PATIENCE, self._gpus, there.get("CPU", 0), there.get("GPU", 0),
            )  # fmt: skip

    def close(self) -> None:
        for worker in self._all:
            self._ray.kill(worker.handle)
        if self._ours:
            self._ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    try:
        ray.init(
            address=address, include_dashboard=False, log_to_driver=False, logging_level="error"
        )
    except (OSError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise UsageError(
            f"expected a Ray cluster at {address or 'this machine'}, got: {said}; start one with "
            "`ray start --head`, or leave the address out"
        ) from None
