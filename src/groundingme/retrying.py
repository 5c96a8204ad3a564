"""When to ask again, and what to do where all requests fail alike: no quota, or no server."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from groundingme.errors import FatalError, RetryableError

MANY = 10
"""So many samples that fail one after the other are no longer samples that the server dislikes."""

FRESH = 32
"""Most samples that are taken in hand while a server is away, to see whether it answers those."""

LONGEST_LOOK = 30.0
"""Most seconds between two looks at a server that is away."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """When to ask again after a failure that may pass.

    Attributes:
        attempts: Most requests for one sample, the first included; those that a quota refused,
            or that found the whole server away, are not counted.
        base: Seconds before the second request, doubled each time; the actual wait is drawn
            evenly from between half of it and all of it.
        longest: Most seconds to wait at once, where the server does not say how long.
        total: Seconds after which no further attempt starts. A server that asks to wait longer
            than that has no quota left.
        on_quota: `stop` ends the run where a quota is exhausted; `pause` waits until it is
            refilled, and one request at a time finds that out.
        probe: Seconds until the first such request, doubled each time.
        longest_probe: Most seconds between two of them.
        window: Seconds in which nothing but failures came, after which the whole server is taken
            to be away; a refused connection is enough by itself.
        outage: Seconds to wait for it, one request at a time, before the run ends.
    """

    attempts: int = 8
    base: float = 1.0
    longest: float = 60.0
    total: float = 900.0
    on_quota: Literal["stop", "pause"] = "stop"
    probe: float = 60.0
    longest_probe: float = 1800.0
    window: float = 5.0
    outage: float = 900.0

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after the given failed attempt, counted from 1."""
        if retry_after is not None:
            return max(retry_after, 0.0)
        most = min(self.base * 2 ** (attempt - 1), self.longest)
        return random.uniform(most / 2, most)


class Quota:
    """While a quota is exhausted one request asks again, ever more rarely; the others wait.

    Args:
        policy: How often.
        sleep: Waits, but not beyond the end of the session.
        tell: Told in a line that everything waits.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        sleep: Callable[[float], Awaitable[None]],
        tell: Callable[[str], None],
    ) -> None:
        self._policy = policy
        self._sleep = sleep
        self._tell = tell
        self._there = asyncio.Event()
        self._there.set()
        self._prober: str | None = None
        self._pause = policy.probe

    async def wait(self, id: str) -> None:
        """Returns when the request may be sent."""
        if self._prober != id:
            await self._there.wait()

    async def refused(self, id: str, error: FatalError) -> None:
        """Waits until it is worth asking again; `wait` comes next."""
        if self._prober not in (None, id):
            return
        self._prober = id
        self._there.clear()
        self._tell(f"waiting for quota, asking again in {self._pause:.0f} s: {error}")
        await self._sleep(self._pause)
        self._pause = min(2 * self._pause, self._policy.longest_probe)

    def leave(self, id: str) -> None:
        """The sample has come to its end, so the next one may find out."""
        if self._prober == id:
            self._prober = None
            self._pause = self._policy.probe
            self._there.set()


class Outage:
    """Notices that a server is away as a whole; then one request at a time looks for it.

    It is away where a connection is refused, or where for `RetryPolicy.window` seconds, or until
    a sample has no attempt left, nothing but failures came, for `MANY` samples or for all that are
    in hand. As those may be samples that the server dislikes, each next look is another sample's,
    and new ones are taken in hand for it. Where there are no new ones, and too few to tell, each
    goes on by itself.

    Args:
        policy: How long, and how often.
        tell: Told in a line when it goes and comes.
        room: Called when one more sample may be taken in hand.

    Attributes:
        extra: How many samples more than usual may be in hand.
    """

    def __init__(
        self, policy: RetryPolicy, tell: Callable[[str], None], room: Callable[[], None]
    ) -> None:
        self.extra = 0
        self._policy = policy
        self._tell = tell
        self._room = room
        self._failing: set[str] = set()
        self._first = 0.0
        self._blamed = False
        self._back = asyncio.Event()
        self._back.set()
        self._since = 0.0
        self._looks = 0
        self._pause = 0.0
        self._prober: str | None = None
        self._line: deque[str] = deque()
        self._moved = asyncio.Event()

    async def wait(self, id: str) -> None:
        """Returns when the sample may be asked: the server is there, or it is its turn to look."""
        if self._back.is_set():
            return
        if id in self._failing:
            self._line.append(id)
        else:
            self._line.appendleft(id)
        while not self._back.is_set():
            if self._prober is None and self._line[0] == id:
                self._prober = self._line.popleft()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._back.wait(), self._pause)
                return
            self._moved.clear()
            await self._moved.wait()

    def failed(
        self, id: str, error: RetryableError, *, last: bool, in_hand: int, more: bool, sure: bool
    ) -> bool:
        """Whether a failure is the server's, so that its sample asks again without a count.

        Args:
            id: The sample's.
            error: What it got.
            last: Whether the sample has no attempt left.
            in_hand: Samples that are in hand.
            more: Whether others are left.
            sure: Whether the server ever answered, so that it can have gone.

        Raises:
            FatalError: It has been away for too long.
        """
        if error.kind == "rate-limit":
            self.answered(id)
            return False
        now = time.monotonic()
        if not self._failing:
            self._first = now
        self._failing.add(id)
        refused = error.kind == "unreachable"
        if self._back.is_set():
            over = now - self._first >= self._policy.window or (last and len(self._failing) > 1)
            all_fail = len(self._failing) >= min(MANY, in_hand)
            if sure and (refused or (more and over and all_fail and not self._blamed)):
                self._pause_all(now, error)
            return sure and refused
        if self._prober == id:
            self._looked(now, error)
        if not (more or refused) and in_hand <= len(self._failing) < MANY:
            self._blamed = True
            self._open()
        return True

    def answered(self, id: str, *, from_server: bool = True) -> None:
        """A sample got an answer, if only a refusal of its own; maybe not from the server."""
        if from_server:
            self._failing.clear()
            self._blamed = False
            if not self._back.is_set():
                self._tell(f"the server is back after {time.monotonic() - self._since:.0f} s")
                self._open()
        elif self._prober == id:
            self._next()

    def stop(self) -> None:
        """The session ends: nobody waits any longer."""
        self._open()

    def _pause_all(self, now: float, error: RetryableError) -> None:
        self._since, self._looks, self._pause = now, 0, self._policy.base
        self._back.clear()
        self._tell(
            f"the server is away, looking for it for up to {self._policy.outage:.0f} s: {error}"
        )

    def _looked(self, now: float, error: RetryableError) -> None:
        self._looks += 1
        left = self._since + self._policy.outage - now
        if left <= 0:
            raise FatalError(
                error.kind,
                f"the server went away and did not come back in {now - self._since:.0f} s, in "
                f"which it was asked {self._looks} times: {error}",
                status=error.status,
            ) from error
        self._pause = min(2 * self._pause, LONGEST_LOOK, left)
        if error.kind != "unreachable":
            self.extra = min(self.extra + 1, FRESH)
            self._room()
        self._next()

    def _next(self) -> None:
        self._prober = None
        self._moved.set()

    def _open(self) -> None:
        self.extra = 0
        self._line.clear()
        self._back.set()
        self._next()
