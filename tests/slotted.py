"""A real HTTP server with slots: it works on so many requests at once, and the others wait."""

from __future__ import annotations

import asyncio
import random

from aiohttp import web
from tests.chat import ChatServer, Reply


class Slots:
    """Work on so many requests at once, with the arguments of `SlottedServer`."""

    def __init__(
        self, slots: int, seconds: float, *, slowdown: float = 0.0, even: bool = True
    ) -> None:
        self._seconds, self._slowdown, self._even = seconds, slowdown, even
        self._room = asyncio.Semaphore(slots)
        self._working = 0
        self._dice = random.Random(0)

    async def work(self) -> None:
        """One request, from its arrival to its end."""
        async with self._room:
            mean = self._seconds + self._slowdown * self._working
            self._working += 1
            await asyncio.sleep(mean if self._even else self._dice.expovariate(1 / mean))
            self._working -= 1


class SlottedServer(ChatServer):
    """Answers `null`, after a time that depends on what else is being worked on.

    Args:
        slots: Requests at once.
        seconds: Mean of the time that a request takes alone.
        slowdown: Added for each other request that is worked on as it begins.
        even: Whether all take the mean; otherwise times are exponential.
    """

    def __init__(
        self, slots: int, seconds: float, *, slowdown: float = 0.0, even: bool = True
    ) -> None:
        super().__init__(default=lambda description: Reply("null"), keep=False)
        self._slots = Slots(slots, seconds, slowdown=slowdown, even=even)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        await self._slots.work()
        return await super()._answer(request)
