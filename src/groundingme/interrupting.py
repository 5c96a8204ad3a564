"""Work that a person may stop: it ends in order, and says that it was stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


def run_to_end(work: Coroutine[Any, Any, None]) -> bool:
    """Runs to the end, or to Ctrl-C, which returns True."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            asyncio.run(work)
        except KeyboardInterrupt:
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
