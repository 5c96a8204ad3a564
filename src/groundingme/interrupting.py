"""Work that a person may stop: it ends in order, and says that it was stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from types import FrameType
from typing import Any, Self


class Interrupted(Exception):  # noqa: N818 - no error
    """Ctrl-C, SIGTERM or a hang-up; what was done is kept."""


def run_to_end(work: Coroutine[Any, Any, None]) -> bool:
    """Runs to the end, or to Ctrl-C, SIGTERM or a hang-up, which return True."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            asyncio.run(_ended_by_signals(work))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return True
        return False
    # A notebook has a loop of its own in this thread, so the work gets another thread.
    failures: list[BaseException] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def target() -> None:
        try:
            loop.run_until_complete(task)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread below
            failures.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=target, name="groundingme-ask")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        return True
    if failures:
        raise failures[0]
    return False


async def _ended_by_signals(work: Coroutine[Any, Any, None]) -> None:
    """The work, cancelled by the signals that would kill the process; they are so again after."""
    task = asyncio.current_task()
    assert task
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Not where the system has none of them, in another thread, or where somebody listens.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await work


class Interruptible:
    """Work without an event loop: Ctrl-C, SIGTERM and a hang-up raise KeyboardInterrupt.

    Not inside `held`, at whose end they do.
    """

    def __init__(self) -> None:
        self._held = self._pending = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                usual = (signal.SIG_DFL, signal.default_int_handler)
                # Not where the system has none of them, or somebody listens.
                if number is not None and signal.getsignal(number) in usual:
                    self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if not self._held:
            raise KeyboardInterrupt
        self._pending = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """What is begun in here is also ended."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
