"""Workers that are actors of a Ray cluster.

Ray could restart an actor by itself, but then the model is loaded again before anybody knows, and
a shard that kills its worker would do so for ever. So an actor that died is replaced by another
one, wherever the cluster has room, and the scheduler counts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from groundingme.errors import JobError, MissingDependencyError, UsageError
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

PATIENCE = 60.0
"""Seconds without any worker after which a person is told that the cluster has no room."""

_log = logging.getLogger(__name__)


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


class _Actor(Worker):
    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.pending = handle.load.remote()


class _Held:
    """What an actor is."""

    def __init__(self, make: Callable[[], Any], folder: str) -> None:
        self._make, self._folder = make, folder

    def load(self) -> Event:
        # As the driver's, so that paths mean the same; a node without it has only whole paths.
        with contextlib.suppress(OSError):
            os.chdir(self._folder)
        try:
            self._function = self._make()
        except Exception as error:  # noqa: BLE001 - raised again by the scheduler
            return Unmade(portable(error))
        return Ready()

    def run(self, shard: Any) -> Event:
        return Done(portable(attempt(self._function, shard)))


class Actors(Crew):
    """Ray actors, on this machine or a cluster's."""

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
        worker = _Actor(self._remote.remote(self._make, os.getcwd()))
        self._all.append(worker)
        return worker

    def give(self, worker: _Actor, shard: Any) -> None:
        worker.pending = worker.handle.run.remote(shard)

    def wait(self, workers: Iterable[_Actor]) -> list[tuple[_Actor, Event]]:
        owner = {one.pending: one for one in workers if one.shard is not None or not one.ready}
        # Briefly, so that Ctrl-C is heard.
        found, _ = self._ray.wait(list(owner), num_returns=1, timeout=1)
        self._tell(owner.values())
        return [(owner[one], self._event(owner[one])) for one in found]

    def _event(self, worker: _Actor) -> Event:
        from ray.exceptions import RayError, RayTaskError

        try:
            event: Event = self._ray.get(worker.pending)
            return event
        except RayTaskError as error:
            # The result could not be sent: of what the function raises nothing comes so.
            return Done(JobError(" ".join(str(error.cause).split())[:500]))
        except RayError as error:
            self._ray.kill(worker.handle)
            self._all.remove(worker)
            return Died(_how(error))

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


def _how(error: Exception) -> str:
    """Why an actor is gone, out of a page of advice."""
    found = re.search(r"is dead because (.*?)\.(?:\s|$)", str(error), re.DOTALL)
    return " ".join((found[1] if found else str(error)).split())[:300]


def _connect(ray: Any, address: str | None) -> None:
    asked = address or os.environ.get("RAY_ADDRESS", "")
    try:
        _knock(asked)
        with _sigterm_as_it_was():
            _init(ray, address)
    except Exception as error:  # noqa: BLE001 - of no class of its own where a node starts late
        said = " ".join(str(error).split())[:300]
        raise UsageError(
            f"expected a Ray cluster at {asked or 'this machine'}, got: {said}; start one with "
            "`ray start --head`, or leave the address out"
        ) from None


def _init(ray: Any, address: str | None) -> None:
    """Starts or joins; once more where a busy machine took longer to start than Ray waits."""
    given = {"include_dashboard": False, "log_to_driver": False, "logging_level": "critical"}
    try:
        ray.init(address=address, **given)
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        ray.shutdown()
        ray.init(address=address, **given)


def _knock(address: str) -> None:
    """Raises `OSError` where nobody listens: Ray itself would try for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextlib.contextmanager
def _sigterm_as_it_was() -> Iterator[None]:
    """Ray takes the signal for itself, and ends with a page of addresses in memory."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
