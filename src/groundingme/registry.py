"""Named things of one kind, found by name, imported on first use.

>>> shapes: Registry[int] = Registry("shape", "groundingme.registry")
>>> shapes.register("square", 4)
4
>>> shapes.get("square")
4
>>> shapes.get("sqare")
Traceback (most recent call last):
...
groundingme.errors.UnknownNameError: no shape is named 'sqare'; did you mean 'square'? known: square
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

from groundingme.errors import UnknownNameError

T = TypeVar("T")

_SHOWN = 24
"""Most names that a message lists."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is in no table, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    shown = ", ".join(names[:_SHOWN]) + (f", ... ({len(names)})" if len(names) > _SHOWN else "")
    return UnknownNameError(f"no {kind} is named {name!r}{hint} known: {shown}")


class Registry(Generic[T]):
    """One table of names.

    Args:
        kind: What the entries are, for messages ("data set").
        package: Import path whose modules register the entries; its modules are imported when
            a name is first asked for.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}
        self._loading = False
        self._loaded = False
        self._lock = threading.RLock()

    def register(self, name: str, entry: T) -> T:
        """Adds an entry and returns it; a second one of the same name replaces the first."""
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UnknownNameError: No entry has that name; the message names the nearest.
        """
        self._load()
        try:
            return self._entries[name]
        except KeyError:
            raise unknown(self.kind, name, self._entries) from None

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def _load(self) -> None:
        if self._loaded:
            return
        # Another thread waits until all names are there; a module that is being imported does not.
        with self._lock:
            if self._loading:
                return
            self._loading = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
                importlib.import_module(f"{self._package}.{module.name}")
            self._loaded = True
