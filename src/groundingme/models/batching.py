"""Questions that come one by one, answered in batches by one thread: for models in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from groundingme.errors import GroundingMEError
from groundingme.models import Request
from groundingme.schema import Generation

Outcome = Generation | GroundingMEError
Work = Callable[[Any], Sequence[Outcome]]
"""Answers a batch, in its order; an error in it belongs to one question, a raised one to all."""

_Waiting = tuple[Request, "asyncio.Future[Generation]"]


class Batches:
    """Collects questions into batches.

    A batch starts when it is full or when no further question has come for a moment. While one is
    being answered the next one fills up and is prepared, so that a device goes from one to the
    other: give it twice as many questions as fit into a batch (`Model.in_hand`).

    Args:
        work: Called in a thread of its own, always the same one, never twice at a time.
        size: Most questions of a batch.
        alike: Only questions with the same value are put into one batch.
        moment: Seconds without a further question after which a batch starts.
        prepare: Called in another thread before `work`, which gets what it returns in place of
            the questions: for what needs no device, such as decoding images.
    """

    def __init__(
        self,
        work: Work,
        size: int,
        *,
        alike: Callable[[Request], Hashable] = lambda request: None,
        moment: float = 0.05,
        prepare: Callable[[Sequence[Request]], Any] = lambda requests: requests,
    ) -> None:
        self._work = work
        self._size = size
        self._alike = alike
        self._moment = moment
        self._prepare = prepare
        self._waiting: deque[_Waiting] = deque()
        self._prepared: list[_Waiting] = []
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor] | None = None

    async def ask(self, request: Request) -> Generation:
        """The answer to one question.

        Raises:
            GroundingMEError: As `work` gave or raised it.
        """
        answer: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if len(self._waiting) >= self._size:
            self._full.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await answer

    async def aclose(self) -> None:
        """Waits for the batch in hand; questions that still wait are dropped."""
        for _, answer in (*self._waiting, *self._prepared):
            answer.cancel()
        self._waiting.clear()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._threads is not None:
            for thread in self._threads:
                thread.shutdown()
            self._threads = None

    async def _drain(self) -> None:
        self._full = asyncio.Event()
        if self._threads is None:
            self._threads = (
                ThreadPoolExecutor(1, thread_name_prefix="groundingme-prepare"),
                ThreadPoolExecutor(1, thread_name_prefix="groundingme-model"),
            )
        preparing, answering = self._threads
        before: asyncio.Task[None] | None = None
        while self._waiting or before:
            await self._collect(before)
            batch = self._prepared = self._next()
            prepared = await self._run(preparing, self._prepare, [one for one, _ in batch], batch)
            if before:
                await before
            before, self._prepared = None, []
            if not all(answer.done() for _, answer in batch):
                before = asyncio.create_task(self._answer(answering, prepared, batch))

    async def _collect(self, before: asyncio.Task[None] | None) -> None:
        """Waits until a batch is full; or, where the device waits, for no more than a moment."""
        while len(self._waiting) < self._size:
            count = len(self._waiting)
            self._full.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._moment)
            if len(self._waiting) == count and (before is None or before.done()):
                return

    async def _answer(
        self, thread: ThreadPoolExecutor, prepared: Any, batch: list[_Waiting]
    ) -> None:
        outcomes = await self._run(thread, self._work, prepared, batch)
        for (_, answer), outcome in zip(batch, outcomes or (), strict=bool(outcomes)):
            if answer.done():
                continue
            if isinstance(outcome, Generation):
                answer.set_result(outcome)
            else:
                answer.set_exception(outcome)

    async def _run(
        self,
        thread: ThreadPoolExecutor,
        step: Callable[[Any], Any],
        given: Any,
        batch: list[_Waiting],
    ) -> Any:
        """What a step makes of a batch; what it raises is handed to those who wait for it."""
        if not batch:
            return None
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, step, given)
        except Exception as error:  # noqa: BLE001
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return None

    def _next(self) -> list[_Waiting]:
        """The next batch, all alike; questions that nobody waits for any more are left out."""
        batch: list[_Waiting] = []
        others: list[_Waiting] = []
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
