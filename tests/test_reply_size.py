"""Replies without end: the sample fails, counted and with a reason, and the memory stays small."""

from __future__ import annotations

import contextlib
import gzip
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import groundingme
from groundingme.models.wire import MOST_BYTES
from groundingme.result import Result
from test_evaluation import make_data

STARTS = {
    "openai": b'{"choices": [{"message": {"content": "',
    "anthropic": b'{"type": "message", "content": [{"type": "text", "text": "',
    "google": b'{"candidates": [{"content": {"parts": [{"text": "',
}


ZIPPED = gzip.compress(STARTS["openai"] + bytes(2**28), 1)
"""256 MiB in one."""


class Endless:
    """A server that answers every request with one string that never ends."""

    def __init__(self, start: bytes, *, zipped: bool = False, status: int = 200) -> None:
        self._start, self._zipped, self._status = start, zipped, status
        self.sent: list[int] = []

    def __enter__(self) -> Endless:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.origin = "http://{}:{}".format(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 20)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        number = len(self.sent)
        self.sent.append(0)
        head = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n" % self._status
        head += b"Content-Encoding: gzip\r\n" * self._zipped
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in self._pieces():
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.sent[number] += len(piece)

    def _pieces(self) -> Iterator[bytes]:
        if self._zipped:
            yield ZIPPED
            return
        yield self._start
        while True:
            yield b"a" * 65536


def run(provider: str, server: Endless, data: Path, out: Path) -> Result:
    pytest.importorskip({"google": "google.genai"}.get(provider, provider))
    path = "/v1" if provider == "openai" else ""
    return groundingme.evaluate(
        f"{provider}/claude-opus-4-6", str(data), coords="abs", out=out,
        base_url=server.origin + path, timeout=60,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "a-key-0123456789")


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("provider", STARTS)
def test_a_reply_without_end_fails_its_sample(provider: str, status: int, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", samples=2)
    with Endless(STARTS[provider], status=status) as server:
        result = run(provider, server, data, tmp_path / "runs")
    assert result.failed == 2
    (said,) = [note for note in result.notes if note.startswith("failed, ")]
    assert said.startswith("failed, too-large: 2 samples")
    assert "at most 32 MiB" in said
    assert server.origin in said
    assert len(server.sent) == 2  # not asked again: the next one would be as long
    # The system holds up to some 40 MiB between the two.
    assert all(MOST_BYTES <= sent < MOST_BYTES + 2**26 for sent in server.sent)


MEMORY = """
import sys, groundingme
from pathlib import Path
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(one.split()[1]) for one in lines if one.startswith("VmHWM")) // 1024
url, data, out = sys.argv[1:]
groundingme.evaluate("baseline/null", data, out=out)
import aiohttp
before = peak()
result = groundingme.evaluate("openai/m", data, coords="abs", base_url=url, out=out, concurrency=1)
print(result.failed, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("zipped", [False, True])
def test_memory_is_bounded(tmp_path: Path, *, zipped: bool) -> None:
    """The limit twice, once in pieces and once whole; of what is zipped as well."""
    data = make_data(tmp_path / "data", samples=3)
    with Endless(STARTS["openai"], zipped=zipped) as server:
        arguments: list[Any] = [f"{server.origin}/v1", data, tmp_path / "runs"]
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, *map(str, arguments)],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
    failed, megabytes = map(int, done.stdout.split())
    assert failed == 3
    assert megabytes < 100
