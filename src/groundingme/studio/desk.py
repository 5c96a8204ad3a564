"""What looking at runs needs beside the library, one for each studio."""

from __future__ import annotations

import weakref
from typing import Any

from starlette.requests import Request

from groundingme.studio import sampled, shown
from groundingme.studio.board import Board
from groundingme.studio.comparing import Comparisons
from groundingme.studio.context import Studio, studio
from groundingme.studio.keeping import Kept, Stamp, stamp_of
from groundingme.studio.library import Library, Opened


class Desk:
    """What was computed for one studio; pictures of runs and data sets are found by it.

    Attributes:
        board: The leaderboard.
        comparisons: Runs side by side.
    """

    def __init__(self, parts: Studio) -> None:
        self.board = Board(parts.library, parts.settings.home)
        self.comparisons = Comparisons(parts.library)
        self._pages: Kept[tuple[str, str, Stamp], dict[str, Any]] = Kept(200)
        self._ways: Kept[tuple[str, Stamp], list[dict[str, Any]]] = Kept(50)
        data = parts.library.data
        parts.pictures.register("run", parts.library.image)
        parts.pictures.register("data", lambda name, id: data.image(data.find(name), id))

    def page(self, opened: Opened) -> dict[str, Any]:
        """`shown.run_page`, computed once."""
        key = opened.id, opened.entry.scores.protocol, opened.stamp
        return self._pages.get(key, lambda: shown.run_page(opened))

    def ways(self, opened: Opened) -> list[dict[str, Any]]:
        """`sampled.ways`, computed once."""
        judged = stamp_of(sorted(opened.path.glob("judges/*.choice.json")))
        return self._ways.get((opened.id, opened.stamp + judged), lambda: sampled.ways(opened))


_desks: weakref.WeakKeyDictionary[Library, Desk] = weakref.WeakKeyDictionary()


async def desk(request: Request) -> Desk:
    """The one of the studio that a request came to."""
    parts = await studio(request)
    found = _desks.get(parts.library)
    return found or _desks.setdefault(parts.library, Desk(parts))
