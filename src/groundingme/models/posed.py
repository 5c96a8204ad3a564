"""The same question put in another way: with a system prompt, or the text before the image."""

from __future__ import annotations

from typing import Any

import msgspec

from groundingme.errors import UsageError
from groundingme.models import Model, Request
from groundingme.schema import Generation

ORDERS = ("image-first", "text-first")


class Posed(Model):
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
        self._model, self._system, self._order = model, system, order
        self.name = model.name
        self.needs_image = model.needs_image
        self.coords = model.coords
        self.server = model.server
        self.paced = model.paced
        self.in_hand = model.in_hand
        self.switches_thinking = model.switches_thinking

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

    async def aclose(self) -> None:
        await self._model.aclose()
