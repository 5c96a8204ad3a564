"""Replies of servers, of bounded size: one that never ends must not fill the memory."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from groundingme.errors import RequestError

if TYPE_CHECKING:
    import aiohttp

MOST_BYTES = 32 * 2**20
"""Most bytes of one reply, unpacked. The longest that models write is a thousandth of it."""


class _Count:
    """Bytes of a reply so far."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._size = 0

    def add(self, piece: bytes) -> bytes:
        """The piece, where the reply is still small enough.

        Raises:
            RequestError: It is not.
        """
        self._size += len(piece)
        if self._size > MOST_BYTES:
            raise RequestError(
                "too-large",
                f"expected a reply of at most {MOST_BYTES >> 20} MiB from {self._where}, got "
                "more; the rest was not read",
            )
        return piece


@functools.cache
def bounded_response() -> type[aiohttp.ClientResponse]:
    """For `aiohttp.ClientSession(response_class=...)`: reads no more than `MOST_BYTES`."""
    import aiohttp

    class Bounded(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            if self._body is None:
                count = _Count(str(self.url.origin()))
                try:
                    pieces = [count.add(piece) async for piece in self.content.iter_any()]
                except BaseException:
                    self.close()
                    raise
                self._body = b"".join(pieces)
            return await super().read()

    return Bounded


async def bound(response: Any) -> None:
    """For `event_hooks={"response": [bound]}` of an httpx client: does the same."""
    whole = response.aiter_bytes
    count = _Count(f"{response.url.scheme}://{response.url.netloc.decode()}")

    async def pieces(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        async for piece in whole(chunk_size):
            yield count.add(piece)

    response.aiter_bytes = pieces
