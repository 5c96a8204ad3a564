"""Workers that are processes on this machine."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle  # nosec B403
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from groundingme.errors import JobError
from groundingme.sharding.scheduling import (
    Crew,
    Died,
    Done,
    Event,
    Ready,
    Unmade,
    Worker,
    attempt,
    portable,
)


class _Process(Worker):
    def __init__(self, process: Any, connection: Any, slot: int) -> None:
        self.process = process
        self.connection = connection
        self.slot = slot


class Processes(Crew):
    """Fresh Python processes, each at the end of a pipe."""

    def __init__(self, make: Callable[[], Any], gpus: float, most: int) -> None:
        self._make, self._gpus = make, gpus
        self._threads = max(1, (os.cpu_count() or 1) // most)
        self._all: list[_Process] = []
        # Before multiprocessing would wait for them at the interpreter's end.
        atexit.register(self.close)

    def start(self) -> _Process:
        taken = {one.slot for one in self._all}
        slot = next(at for at in range(len(taken) + 1) if at not in taken)
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        # A number that the user gave goes before ours.
        threads = os.environ.get("OMP_NUM_THREADS", str(self._threads))
        share = {"OMP_NUM_THREADS": threads, **_devices(slot, self._gpus)}
        process = spawn.Process(target=_work, args=(share, self._make, theirs))
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

    def wait(self, workers: Iterable[_Process]) -> list[tuple[_Process, Event]]:
        owner: dict[Any, _Process] = {}
        for one in workers:
            owner[one.connection] = owner[one.process.sentinel] = one
        found = multiprocessing.connection.wait(list(owner))
        return [(one, self._event(one)) for one in dict.fromkeys(owner[it] for it in found)]

    def _event(self, worker: _Process) -> Event:
        try:
            # A whole message counts, even of a process that has ended since.
            if worker.connection.poll():
                event: Event = pickle.loads(worker.connection.recv_bytes())  # nosec B301
                return event
        except (EOFError, ConnectionResetError):
            pass
        worker.process.join(1)
        self._remove(worker)
        code = worker.process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Died(f"{how}, as where memory runs out" if code == -9 else how)

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


def _work(share: Mapping[str, str], make: Callable[[], Any], connection: Any) -> None:
    """The whole life of a worker process, with its share of the machine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(share)
    try:
        function = make()
    except Exception as error:  # noqa: BLE001 - raised again by the scheduler
        connection.send_bytes(_packed(Unmade, error))
        return
    connection.send_bytes(pickle.dumps(Ready()))
    while True:
        try:
            shard = connection.recv_bytes()
        except EOFError:
            return
        result = attempt(lambda packed: function(pickle.loads(packed)), shard)  # nosec B301
        connection.send_bytes(_packed(Done, result))


def _end_with_parent() -> None:
    """However the parent ends, and whatever the main thread is doing."""
    parent = multiprocessing.parent_process()
    assert parent
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _packed(kind: type[Done] | type[Unmade], result: Any) -> bytes:
    try:
        return pickle.dumps(kind(portable(result)))
    except Exception as problem:  # noqa: BLE001 - whatever a stranger's class does
        return pickle.dumps(kind(JobError(f"{type(problem).__name__}: {problem}")))


def _devices(slot: int, gpus: float) -> dict[str, str]:
    """GPUs of the worker in a slot, counted from 0."""
    if not gpus:
        return {}
    first = int(slot * gpus)
    wanted = range(first, first + max(1, int(gpus)))
    known = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    mine = [known[at % len(known)] if known else str(at) for at in wanted]
    return {"CUDA_VISIBLE_DEVICES": ",".join(mine)}


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
