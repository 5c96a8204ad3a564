"""A real HTTP server that answers as a vendor's API would, from a list of replies.

It runs in a thread of its own and keeps what it was sent:

    with VendorServer(Answer({"candidates": []}), Answer(status=500)) as server: ...

gives the first request the first answer and every later one the last.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web


class Answer(NamedTuple):
    """One answer of the server.

    Attributes:
        body: As JSON; text as it is.
        status: HTTP status.
        headers: Of the answer.
        drop: Close the connection instead of answering.
        delay: Seconds before the answer.
    """

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = {}
    drop: bool = False
    delay: float = 0.0


class Got(NamedTuple):
    """One request that arrived."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class VendorServer:
    """The server; its address is `origin`.

    Args:
        *answers: In order; the last one is for all later requests too.
        judge: Looks at each request first; what it returns is answered, None goes on.
    """

    def __init__(
        self, *answers: Answer, judge: Callable[[Got], Answer | None] | None = None
    ) -> None:
        self._answers = list(answers)
        self._judge = judge
        self.got: list[Got] = []
        self._ready = threading.Event()

    def __enter__(self) -> VendorServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.origin = "http://{}:{}".format(*site._server.sockets[0].getsockname())  # type: ignore[attr-defined]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        got = Got(request.path, request.headers.copy(), json.loads(await request.read()))
        answer = self._answers[min(len(self.got), len(self._answers) - 1)]
        self.got.append(got)
        answer = (self._judge and self._judge(got)) or answer
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if answer.drop:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer.body, str):
            return web.Response(text=answer.body, status=answer.status, headers=answer.headers)
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)
