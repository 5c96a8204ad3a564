"""A cache of bounded weight in which each thing is made once, and what tells a change of files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Stamp = tuple[tuple[int, int], ...]
"""Time of the last change, in nanoseconds, and size, of some files."""


class Kept(Generic[K, V]):
    """Least recently used things go first.

    Args:
        most: Weight that is kept; what was made last stays, whatever it weighs.
        weigh: Weight of a thing; 1 by default.
    """

    def __init__(self, most: float, weigh: Callable[[V], float] = lambda value: 1) -> None:
        self._most = most
        self._weigh = weigh
        self._things: OrderedDict[K, V] = OrderedDict()
        self._weight = 0.0
        self._lock = threading.Lock()
        self._making: dict[K, threading.Lock] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What is kept under a key, or else what `make` gives."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._things:
                    return self._things[key]
            try:
                made = make()
                self.put(key, made)
                return made
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def find(self, key: K) -> V | None:
        """What is kept under a key, or None."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
            return self._things.get(key)

    def put(self, key: K, value: V) -> None:
        """Keeps a thing in place of what was kept under its key."""
        with self._lock:
            if key in self._things:
                self._weight -= self._weigh(self._things.pop(key))
            self._things[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._most and len(self._things) > 1:
                _, gone = self._things.popitem(last=False)
                self._weight -= self._weigh(gone)


def stamp_of(files: Iterable[Path]) -> Stamp:
    """Time of the last change and size of each file; zeros where there is none."""
    found = []
    for file in files:
        try:
            known = file.stat()
            found.append((known.st_mtime_ns, known.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)
