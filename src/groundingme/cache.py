"""Replies that were paid for once: a cache across runs, addressed by what was asked.

The key is a digest over the model, its server and settings, the whole prompt, the parameters, the
trajectory and the bytes of the image as sent. Only whole replies are kept: never a failure, never
an empty one, never one that a filter cut. One SQLite file holds all; every entry carries a
checksum, and one that does not fit it is dropped and asked again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from groundingme.errors import JobError, UsageError
from groundingme.models import Model, Request, Wrapped
from groundingme.schema import Generation

LIMIT = 2 * 2**30
"""Most bytes of replies; the longest unused go first."""

_MADE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, body BLOB NOT NULL, checksum BLOB NOT NULL,
    model TEXT NOT NULL, used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON replies (used);
"""


def default_path() -> Path:
    """Where the cache lies: GROUNDINGME_CACHE, or the user's cache folder."""
    if given := os.environ.get("GROUNDINGME_CACHE"):
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "groundingme" / "replies.sqlite"


def key_of(model: Model, request: Request) -> str:
    """The address of a reply: equal for requests that ask the same in the same way."""
    asked = {
        "model": model.name,
        "server": model.server,
        "settings": model.settings(),
        "prompt": request.prompt,
        "system": request.system,
        "extra": request.extra,
        "thinking": request.thinking,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "trajectory": request.trajectory,
        "image": request.image.digest if request.image else "",
        **({"order": "text-first"} if request.text_first else {}),
        # Where a reply is written for a size that differs from the image's own.
        "size": (request.width, request.height),
    }
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


class Cache:
    """Replies on disk, shared by runs and processes.

    Args:
        path: The SQLite file; made where it is missing. One that is damaged beyond reading is put
            aside, with `.damaged` behind its name, and a new one begun.
        limit: Most bytes of replies.

    Raises:
        UsageError: The file cannot be written.
    """

    def __init__(self, path: str | Path | None = None, *, limit: int = LIMIT) -> None:
        self.path = Path(path) if path else default_path()
        self.limit = limit
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._base = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self.path.replace(self.path.with_name(f"{self.path.name}.damaged"))
                self._base = self._open()
        except (OSError, sqlite3.Error) as error:
            raise UsageError(
                f"expected a cache that can be written, got {self.path} ({error}); name another "
                "file in GROUNDINGME_CACHE"
            ) from None
        self._bytes = self.size()[1]

    def _open(self) -> sqlite3.Connection:
        # Whichever thread lets the cache go closes it.
        base = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("PRAGMA synchronous=NORMAL")
            base.executescript(_MADE)
            base.execute("SELECT count(*) FROM replies").fetchone()
        except sqlite3.Error:
            base.close()
            raise
        return base

    def __del__(self) -> None:
        # Of a connection that is dropped unclosed Python complains from 3.13 on.
        with contextlib.suppress(AttributeError):  # it was never opened
            self.close()

    def get(self, key: str) -> Generation | None:
        """A reply, or None where there is none that is whole."""
        with self._said():
            row = self._base.execute(
                "SELECT body, checksum FROM replies WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                return None
            body, checksum = row
            with contextlib.suppress(msgspec.DecodeError, TypeError):
                if hashlib.sha256(body).digest() == checksum:
                    found = msgspec.msgpack.decode(body, type=Generation)
                    self._base.execute(
                        "UPDATE replies SET used = ? WHERE key = ?", (time.time(), key)
                    )
                    return found
            self._base.execute("DELETE FROM replies WHERE key = ?", (key,))
        return None

    def put(self, key: str, model: str, generation: Generation) -> None:
        """Keeps a reply, unless it is a failure, empty or filtered."""
        if generation.failure or not generation.text.strip():
            return
        if generation.finish_reason == "content_filter":
            return
        body = msgspec.msgpack.encode(generation)
        with self._said():
            self._base.execute(
                "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)",
                (key, body, hashlib.sha256(body).digest(), model, time.time()),
            )
            self._bytes += len(body)
            if self._bytes > self.limit:
                self._shrink()

    def size(self) -> tuple[int, int]:
        """How many replies, and their bytes."""
        with self._said():
            row = self._base.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0) FROM replies"
            ).fetchone()
        return int(row[0]), int(row[1])

    def models(self) -> list[tuple[str, int, int, float]]:
        """Model, replies, bytes and time of the last use, the largest first."""
        with self._said():
            rows = self._base.execute(
                "SELECT model, count(*), sum(length(body)), max(used) FROM replies "
                "GROUP BY model ORDER BY 3 DESC"
            ).fetchall()
        return [(str(m), int(n), int(b), float(u)) for m, n, b, u in rows]

    def clear(self, model: str | None = None, *, unused_days: float = 0.0) -> int:
        """Drops replies, and says how many.

        Args:
            model: Of that model alone.
            unused_days: Only those that nobody used for so long.
        """
        before = time.time() - 86400 * unused_days
        with self._said():
            gone = self._base.execute(
                "DELETE FROM replies WHERE used <= ? AND (? IS NULL OR model = ?)",
                (before, model, model),
            ).rowcount
            self._base.execute("VACUUM")
        self._bytes = self.size()[1]
        return int(gone)

    def close(self) -> None:
        """Frees the file."""
        self._base.close()

    def _shrink(self) -> None:
        """Drops the longest unused until a tenth of the room is free."""
        room = int(0.9 * self.limit)
        self._bytes = self.size()[1]
        for key, size in self._base.execute(
            "SELECT key, length(body) FROM replies ORDER BY used"
        ).fetchall():
            if self._bytes <= room:
                break
            self._base.execute("DELETE FROM replies WHERE key = ?", (key,))
            self._bytes -= size

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JobError(
                f"expected to use the cache {self.path}, got: {error}; mend or remove it, or run "
                "without --cache"
            ) from None


class Cached(Wrapped):
    """A model whose replies are looked up first.

    Replies from the cache have `cached` set: they cost nothing in this run.
    """

    def __init__(self, model: Model, cache: Cache) -> None:
        super().__init__(model)
        self._cache = cache

    async def generate(self, request: Request) -> Generation:
        return (await self.choices(request, 1))[0]

    async def choices(self, request: Request, n: int) -> list[Generation]:
        asked = [
            msgspec.structs.replace(request, trajectory=request.trajectory + at) for at in range(n)
        ]
        keys = [key_of(self._model, one) for one in asked]
        found: list[Generation] = []
        for one, key in zip(asked, keys, strict=True):
            known = self._cache.get(key)
            if known is None:
                break
            found.append(
                msgspec.structs.replace(known, id=one.id, trajectory=one.trajectory, cached=True)
            )
        if found:
            # What the cache lacks is asked for with the next request.
            return found
        fresh = (
            [await self._model.generate(request)]
            if n == 1
            else await self._model.choices(request, n)
        )
        for key, reply in zip(keys, fresh, strict=False):
            self._cache.put(key, self.name, reply)
        return fresh
