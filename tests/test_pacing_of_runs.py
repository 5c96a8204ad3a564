"""How fast whole runs are with `--concurrency auto`, beside fixed numbers.

The runner and its pacer are the real ones; the server and the clock are simulated, so the figures
are the same on any machine. `bench/pacing.py` measures the same on the wire.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import cache

import pytest

import virtual_time
from groundingme.errors import RetryableError
from groundingme.models import Model, Request
from groundingme.runner import ask
from groundingme.schema import Generation
from test_runner import samples

REQUESTS = 1000
WAY = 0.002
"""Seconds to the server, and back."""


class Server(Model):
    """A server with room for so many requests of 0.5 s in the mean.

    Args:
        latency: Seconds of one request.
        room: How many at once, from the number of requests answered so far.
        queue: Whether others wait; else they are refused with 429.
        rpm: Most requests in a minute by the clock; the 429 of others says when it ends.
    """

    name = "mock/server"
    paced = True

    def __init__(
        self,
        latency: Callable[[], float],
        room: Callable[[int], int],
        *,
        queue: bool = False,
        rpm: float = float("inf"),
    ) -> None:
        self._latency, self._room, self._queue, self._rpm = latency, room, queue, rpm
        self._busy = 0
        self._left = asyncio.Condition()
        self._minute, self._asked = 0, 0
        self.answered = self.refused = 0
        self.end = 0.0

    async def generate(self, request: Request) -> Generation:
        await asyncio.sleep(WAY)
        self._admit(asyncio.get_running_loop().time())
        async with self._left:
            await self._left.wait_for(lambda: self._busy < self._room(self.answered))
            self._busy += 1
        await asyncio.sleep(self._latency())
        async with self._left:
            self._busy -= 1
            self.answered += 1
            self._left.notify()
        await asyncio.sleep(WAY)
        self.end = asyncio.get_running_loop().time()
        return Generation(id=request.id, text="null")

    def _admit(self, now: float) -> None:
        if now // 60 > self._minute:
            self._minute, self._asked = now // 60, 0
        if self._asked >= self._rpm:
            self.refused += 1
            raise RetryableError("rate-limit", "429", status=429, retry_after=60 - now % 60)
        if not self._queue and self._busy >= self._room(self.answered):
            self.refused += 1
            raise RetryableError("rate-limit", "429", status=429)
        self._asked += 1


def steady(seed: int) -> Callable[[], float]:
    return lambda: 0.5


def jittery(seed: int) -> Callable[[], float]:
    chance = random.Random(seed)
    return lambda: chance.uniform(0.4, 0.6)


def uneven(seed: int) -> Callable[[], float]:
    """As of replies of very different lengths."""
    chance = random.Random(seed)
    return lambda: 0.5 * chance.lognormvariate(-0.245, 0.7)


LATENCIES = {"steady": steady, "jittery": jittery, "uneven": uneven}


@cache
def whole_run(
    concurrency: int | None,
    latency: str,
    seed: int,
    rooms: tuple[int, int] = (20, 20),
    *,
    queue: bool = False,
    rpm: float = float("inf"),
    requests: int = REQUESTS,
    own_rpm: float | None = None,
) -> tuple[float, int]:
    """Replies a second from the first request to the last reply, and how many were refused.

    Args:
        rooms: The server's room in the first half of the run, and in the second one.
    """

    async def work() -> tuple[float, int]:
        server = Server(
            LATENCIES[latency](seed),
            lambda answered: rooms[answered >= requests / 2],
            queue=queue,
            rpm=rpm,
        )
        got: list[Generation] = []
        await ask(
            server,
            samples(requests),
            prompt="{description}",
            sink=got.append,
            concurrency=concurrency,
            rpm=own_rpm,
        )
        assert len(got) == requests
        assert not any(one.failure for one in got)
        return requests / server.end, server.refused

    return virtual_time.run(work(), seed=seed)


CASES = [("steady", 0), *[(name, seed) for name in ("jittery", "uneven") for seed in range(3)]]


@pytest.mark.parametrize(("latency", "seed"), CASES)
@pytest.mark.parametrize("queue", [False, True], ids=["refuses", "queues"])
def test_it_comes_within_a_tenth_of_the_best_fixed_number(
    latency: str, seed: int, *, queue: bool
) -> None:
    """Its start included, which is slow on purpose."""
    fixed = {n: whole_run(n, latency, seed, queue=queue)[0] for n in (4, 16, 20, 64)}
    found, refused = whole_run(None, latency, seed, queue=queue)
    assert found >= 0.9 * max(fixed.values()), fixed
    assert refused <= 20


@pytest.mark.parametrize("latency", ["steady", "uneven"])
@pytest.mark.parametrize("rooms", [(20, 8), (8, 20)], ids=["shrinks", "grows"])
@pytest.mark.parametrize("queue", [False, True], ids=["refuses", "queues"])
def test_a_room_that_changes_in_the_middle(
    rooms: tuple[int, int], latency: str, *, queue: bool
) -> None:
    """No fixed number but the right ones, changed at the right moment, would do better."""
    found, refused = whole_run(None, latency, 1, rooms, queue=queue)
    best = 1 / (sum(1 / room for room in rooms) / 2 * 0.5)
    assert found >= 0.85 * best
    assert refused <= 40


@pytest.mark.parametrize("latency", ["steady", "uneven"])
def test_a_limit_a_minute(latency: str) -> None:
    """Kept by ourselves it costs no refusal; told by `Retry-After` it costs a few each minute."""
    kept, refused = whole_run(None, latency, 1, rpm=600, own_rpm=600, requests=2000)
    assert kept >= 0.95 * 600 / 60
    assert refused == 0
    told, refused = whole_run(None, latency, 1, rpm=600, requests=2000)
    assert told >= 600 / 60
    assert refused <= 3 * 30
