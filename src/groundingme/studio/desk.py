"""What looking at runs needs beside the library, one for each studio."""

from __future__ import annotations

import weakref

from starlette.requests import Request

from groundingme.studio.board import Board
from groundingme.studio.comparing import Comparisons
from groundingme.studio.context import Studio, studio
from groundingme.studio.library import Library


class Desk:
    """Leaderboard and comparisons of one studio; pictures of runs and data sets are found by it.

    Attributes:
        board: The leaderboard.
        comparisons: Runs side by side.
    """

    def __init__(self, parts: Studio) -> None:
        self.board = Board(parts.library, parts.settings.home)
        self.comparisons = Comparisons(parts.library)
        data = parts.library.data
        parts.pictures.register("run", parts.library.image)
        parts.pictures.register("data", lambda name, id: data.image(data.find(name), id))


_desks: weakref.WeakKeyDictionary[Library, Desk] = weakref.WeakKeyDictionary()


def desk(request: Request) -> Desk:
    """The one of the studio that a request came to."""
    parts = studio(request)
    found = _desks.get(parts.library)
    return found or _desks.setdefault(parts.library, Desk(parts))
