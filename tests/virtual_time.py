"""An event loop whose clock jumps to the next thing that happens: minutes of waiting in no time.

What runs in it is the same from run to run, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Where others wait, it moves its clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "all wait for something that never comes"
        self.now += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Jumping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, work: Callable[..., T], *given: Any
    ) -> asyncio.Future[T]:
        """At once, in this thread: other threads know nothing of the clock."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(work(*given))
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            done.set_exception(error)
        return done


def run(work: Coroutine[Any, Any, T], *, seed: int = 0) -> T:
    """Runs `work` to its end; `time.monotonic` is the loop's clock, and chance is seeded."""
    loop = _Loop()
    random.seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", loop.time)
        try:
            return loop.run_until_complete(work)
        finally:
            loop.close()
