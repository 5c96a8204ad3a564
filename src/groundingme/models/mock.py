"""Scripted replies, for tests and for trying a setting without a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from groundingme.errors import DataError, RequestError, UsageError
from groundingme.models import PROVIDERS, Model, Request
from groundingme.schema import Generation

Script = Mapping[str, str] | Callable[[Request], str]


class Mock(Model):
    """Replies from a script.

    Args:
        name: Path of a JSONL with `{"id": ..., "reply": ...}` a line, or any name where `script`
            is given.
        script: Replies by sample id, or a function from the request; it may raise the errors
            that a model raises.
        latency: Seconds before each reply.
    """

    coords = "abs"

    def __init__(
        self, name: str, *, script: Script | None = None, latency: float | str = 0.0
    ) -> None:
        if isinstance(script, str):
            raise UsageError("expected a script as a dict or function from Python, got text")
        self.name = f"mock/{Path(name).name}"
        self._latency = float(latency)
        self._script = _read(Path(name)) if script is None else script

    async def generate(self, request: Request) -> Generation:
        if self._latency:
            await asyncio.sleep(self._latency)
        if callable(self._script):
            text = self._script(request)
        elif request.id in self._script:
            text = self._script[request.id]
        else:
            raise RequestError("no-reply", f"the script has no reply for {request.id!r}")
        return Generation(
            id=request.id, trajectory=request.trajectory, text=text, finish_reason="stop"
        )


class _Line(msgspec.Struct):
    id: str | int
    reply: str


def _read(path: Path) -> dict[str, str]:
    try:
        lines = msgspec.json.Decoder(_Line).decode_lines(path.read_bytes())
    except OSError as error:
        raise DataError(f"expected a script of replies at {path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise DataError(
            f'expected {{"id": ..., "reply": ...}} a line in {path}, got: {error}'
        ) from None
    return {str(line.id): line.reply for line in lines}


PROVIDERS.register("mock", Mock)
