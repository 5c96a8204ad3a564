"""The same question put in another way: with a system prompt, or the text before the image."""

from __future__ import annotations

from typing import Any

import msgspec

from groundingme.errors import UsageError
from groundingme.models import Model, Request, Wrapped
from groundingme.schema import Generation

ORDERS = ("image-first", "text-first")


class Posed(Wrapped):
    """Any model, asked so.

    Args:
        model: The model that answers.
        system: System prompt; it stands behind the one that the model's family wants. "" for none.
        order: One of `ORDERS`. Built-in models and baselines see no order.

    Raises:
        UsageError: No such order.
    """

    def __init__(self, model: Model, *, system: str = "", order: str = "image-first") -> None:
        if order not in ORDERS:
            raise UsageError(f"expected order as {' or '.join(ORDERS)}, got {order!r}")
        super().__init__(model)
        self._system, self._order = system, order

    def settings(self) -> dict[str, Any]:
        """Adds what differs from the usual way."""
        added: dict[str, Any] = {"added_system": self._system} if self._system else {}
        if self._order != ORDERS[0]:
            added["order"] = self._order
        return {**self._model.settings(), **added}

    def _asked(self, request: Request) -> Request:
        return msgspec.structs.replace(
            request,
            system="\n".join(one for one in (request.system, self._system) if one),
            text_first=self._order == "text-first",
        )

    def preview(self, request: Request) -> dict[str, Any]:
        return self._model.preview(self._asked(request))

    async def generate(self, request: Request) -> Generation:
        return await self._model.generate(self._asked(request))

    async def choices(self, request: Request, n: int) -> list[Generation]:
        return await self._model.choices(self._asked(request), n)
