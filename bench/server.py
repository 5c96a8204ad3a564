"""A server that speaks just enough of the OpenAI protocol, after a fixed latency.

It counts a request's bytes and throws them away, so that ten megabytes cost it little more than
their way through the socket: the clients are measured, not the server. Runs as a process of its
own, prints `{"base_url": ...}` when it listens, and ends when its standard input does.

    python bench/server.py [LATENCY_MS]
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

REPLY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": '{"bbox_2d": [100, 200, 500, 600]}'},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
WHOLE = HEAD % len(REPLY) + REPLY

BUFFER = memoryview(bytearray(1 << 20))


class Connection(asyncio.BufferedProtocol):
    """One kept-alive connection; bodies must come with a Content-Length."""

    latency = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.head = b""
        self.left = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        at = 0
        while at < nbytes:
            if self.left:
                step = min(self.left, nbytes - at)
                self.left -= step
                at += step
                if not self.left:
                    self.answer()
                continue
            self.head += bytes(BUFFER[at:nbytes])
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            self.left = self.length(self.head[:end])
            at = nbytes - (len(self.head) - end - 4)
            self.head = b""

    @staticmethod
    def length(head: bytes) -> int:
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                return int(value)
        raise ValueError("expected a Content-Length")

    def answer(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self.latency, self.transport.write, WHOLE)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"base_url": f"http://127.0.0.1:{port}/v1"}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    Connection.latency = float(sys.argv[1] if len(sys.argv) > 1 else 50) / 1000
    asyncio.run(main())
