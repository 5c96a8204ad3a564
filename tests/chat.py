"""A real HTTP server that speaks the OpenAI protocol, scripted by the description it is asked for.

It runs in a thread of its own and keeps what it was sent:

    with ChatServer({"thing 1": [Reply(status=503), Reply("null")]}) as server: ...

asks of "thing 1" get 503 first and `null` from then on; other descriptions get `default`.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import web


class Reply(NamedTuple):
    """One answer of the server.

    Attributes:
        text: Content of the message.
        status: HTTP status.
        headers: Of the answer.
        body: The whole body instead of a chat completion.
        message: Fields of the message beside or instead of `content`.
        finish_reason: As the server says it.
        drop: Close the connection instead of answering.
        half: Close it in the middle of the body.
        stall: Send half of the body, and no more.
        delay: Seconds before the answer.
    """

    text: str | None = '{"bbox_2d": [10, 10, 50, 50]}'
    status: int = 200
    headers: Mapping[str, str] = {}
    body: str | bytes | None = None
    message: Mapping[str, Any] = {}
    finish_reason: str = "stop"
    drop: bool = False
    half: bool = False
    stall: bool = False
    delay: float = 0.0


class Holding:
    """A server's default reply: so many requests are answered, and all later ones are held.

    So a client with `n` requests in hand has kept all that was answered once `n` are held, and
    does not get any further, however long it takes to look at it.

    Args:
        answer: From a description to its reply.
        first: Requests to answer; None answers all.

    Attributes:
        held: Requests that got no answer, and get none.
    """

    def __init__(self, answer: Callable[[str], Reply], first: int | None) -> None:
        self._answer = answer
        self.answer_only(first)

    def answer_only(self, first: int | None) -> None:
        """Begins to count anew."""
        self._left = first
        self.held = 0

    def __call__(self, description: str) -> Reply:
        if self._left == 0:
            self.held += 1
            return Reply(delay=3600)
        if self._left is not None:
            self._left -= 1
        return self._answer(description)


class ChatServer:
    """The server; its address is `base_url`.

    Attributes:
        asked: Descriptions in the order in which they arrived.
        requests: Bodies of the requests, as JSON, where `keep` is set.
        headers: Headers of the requests.
        most: Most requests that were in flight at once.

    With `several`, a request with `n` gets as many choices, each the script's next reply.
    """

    def __init__(
        self,
        script: Mapping[str, Sequence[Reply]] | None = None,
        default: Callable[[str], Reply] = lambda description: Reply(),
        *,
        keep: bool = True,
        several: bool = False,
    ) -> None:
        self._several = several
        self._script = script or {}
        self._default = default
        self._keep = keep
        self.asked: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most = 0
        self._flying = 0
        self._turns: Counter[str] = Counter()
        self._ready = threading.Event()
        self._place: socket.socket | None = None

    def __enter__(self) -> ChatServer:
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
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/moved/chat/completions", self._moved)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runner = runner
        await self._listen(0)
        assert self._site._server is not None
        address = self._site._server.sockets[0].getsockname()  # type: ignore[attr-defined]
        self._port = address[1]
        self.origin = "http://{}:{}".format(*address)
        self.base_url = f"{self.origin}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()
        self._give_up_place()

    async def _listen(self, port: int) -> None:
        self._give_up_place()
        self._site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await self._site.start()

    def go_away(self) -> None:
        """Listens no more, and drops every connection, as a server that is killed."""

        async def away() -> None:
            await self._site.stop()
            # Nobody listens, but nobody else gets the port meanwhile.
            self._place = socket.socket()
            self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._place.bind(("127.0.0.1", self._port))
            assert self._runner.server is not None
            for connection in self._runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()

        asyncio.run_coroutine_threadsafe(away(), self._loop)

    def come_back(self) -> None:
        """Listens again at the same address."""
        asyncio.run_coroutine_threadsafe(self._listen(self._port), self._loop).result(60)

    def settle(self) -> None:
        """Returns when what clients sent before is in `asked`, though they may be gone since."""
        # The server reads what comes in turn, so all of that is read before this is answered.
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            connection.getresponse().read()

    def _give_up_place(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None

    async def _moved(self, request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/v1/chat/completions"})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        content = body["messages"][-1]["content"]
        description = next(part["text"] for part in content if part["type"] == "text")
        found = re.search(r"describes:\n(.*)\nEnsure", description, re.DOTALL)
        description = found[1] if found else description
        self.asked.append(description)
        if self._keep:
            self.requests.append(body)
        self.headers.append(dict(request.headers))
        self._flying += 1
        self.most = max(self.most, self._flying)
        try:
            reply = self._next(description)
            if reply.delay:
                await asyncio.sleep(reply.delay)
            if reply.drop:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            n = body.get("n", 1) if self._several else 1
            answer = self._made(reply, [self._next(description) for _ in range(n - 1)])
            if reply.half or reply.stall:
                return await self._half(request, answer, stall=reply.stall)
            return answer
        finally:
            self._flying -= 1

    def _next(self, description: str) -> Reply:
        turns = self._script.get(description)
        if turns:
            reply = turns[min(self._turns[description], len(turns) - 1)]
        else:
            reply = self._default(description)
        self._turns[description] += 1
        return reply

    async def _half(
        self, request: web.Request, answer: web.Response, *, stall: bool
    ) -> web.StreamResponse:
        """Headers that promise the whole body, and half of it."""
        assert isinstance(answer.body, bytes)
        whole = web.StreamResponse(headers={"Content-Type": "application/json"})
        whole.content_length = len(answer.body)
        await whole.prepare(request)
        await whole.write(answer.body[: len(answer.body) // 2])
        if stall:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 30)
        if request.transport is not None:
            request.transport.abort()
        return whole

    def _made(self, reply: Reply, others: Sequence[Reply] = ()) -> web.Response:
        if reply.body is not None:
            raw = reply.body.encode() if isinstance(reply.body, str) else reply.body
            return web.Response(status=reply.status, headers=reply.headers, body=raw)
        if reply.status != 200:
            error = {"error": {"message": "the server says no", "code": "no"}}
            return web.json_response(error, status=reply.status, headers=reply.headers)
        choices = [
            {
                "message": {"role": "assistant", "content": one.text, **one.message},
                "finish_reason": one.finish_reason,
            }
            for one in (reply, *others)
        ]
        return web.json_response(
            {
                "model": "served-name",
                "choices": choices,
                "usage": {
                    "prompt_tokens": 11,
                    "completion_tokens": 7 * len(choices),
                    "total_tokens": 11 + 7 * len(choices),
                    "completion_tokens_details": {"reasoning_tokens": 3 * len(choices)},
                },
            },
            headers=reply.headers,
        )
