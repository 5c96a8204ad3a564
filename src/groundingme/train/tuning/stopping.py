"""Ending a training run in order when a person or a scheduler asks for it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from groundingme.terminal import say

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopping:
    """Ctrl-C, SIGTERM or a hang-up: asked once, the run ends behind its step, with a checkpoint.

    Asked twice, it ends at once, and what was kept before stays.

    Attributes:
        asked: Whether somebody did.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                if (number := getattr(signal, name, None)) is not None:
                    self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        say("Ending after this step, with a checkpoint; once more ends at once.", err=True)
