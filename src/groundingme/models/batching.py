"""Questions that come one by one, answered in batches by one thread: for models in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

from groundingme.errors import GroundingMEError
from groundingme.models import Request
from groundingme.schema import Generation

Outcome = Generation | GroundingMEError
Work = Callable[[Sequence[Request]], Sequence[Outcome]]
"""Answers a batch, in its order; an error in it belongs to one question, a raised one to all."""


class Batches:
    """Collects questions into batches.

    A batch starts when it is full or when no further question has come for a moment. While one is
    being answered the next one fills up.

    Args:
        work: Called in a thread of its own, always the same one, never twice at a time.
        size: Most questions of a batch.
        alike: Only questions with the same value are put into one batch.
        moment: Seconds without a further question after which a batch starts.
    """

    def __init__(
        self,
        work: Work,
        size: int,
        *,
        alike: Callable[[Request], Hashable] = lambda request: None,
        moment: float = 0.05,
    ) -> None:
        self._work = work
        self._size = size
        self._alike = alike
        self._moment = moment
        self._waiting: deque[tuple[Request, asyncio.Future[Generation]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def ask(self, request: Request) -> Generation:
        """The answer to one question.

        Raises:
            GroundingMEError: As `work` gave or raised it.
        """
        answer: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await answer

    async def aclose(self) -> None:
        """Waits for the batch in hand; questions that still wait are dropped."""
        for _, answer in self._waiting:
            answer.cancel()
        self._waiting.clear()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="groundingme-model")
        while self._waiting:
            while (before := len(self._waiting)) < self._size:
                await asyncio.sleep(self._moment)
                if len(self._waiting) == before:
                    break
            batch = self._next()
            if not batch:
                continue
            requests = [request for request, _ in batch]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._work, requests)
            except Exception as error:  # noqa: BLE001 - handed to those who wait for it
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if answer.done():
                    continue
                if isinstance(outcome, Generation):
                    answer.set_result(outcome)
                else:
                    answer.set_exception(outcome)

    def _next(self) -> list[tuple[Request, asyncio.Future[Generation]]]:
        """The next batch, all alike; questions that nobody waits for any more are left out."""
        batch: list[tuple[Request, asyncio.Future[Generation]]] = []
        others: list[tuple[Request, asyncio.Future[Generation]]] = []
        while self._waiting and len(batch) < self._size:
            one = self._waiting.popleft()
            if one[1].done():
                continue
            if batch and self._alike(one[0]) != self._alike(batch[0][0]):
                others.append(one)
            else:
                batch.append(one)
        self._waiting.extendleft(reversed(others))
        return batch
