"""How many requests may be in flight, and when the next one may go: found out, or as told.

By Little's law N requests that are always in flight and take T seconds each are N / T requests a
second. Starting low, the number is doubled as long as that grows: more is sent after one round of
replies, but only many of them end the search, as latencies differ a lot. A server that refuses
(429, 503) says its limit exactly: each request that was refused is one too many. Now and then a
little more is tried again, ever more rarely where it was in vain, and ever more where it went
well. Nothing here reads a clock or waits: whoever asks gives the time.
"""

from __future__ import annotations

from typing import NamedTuple

START = 4
MOST = 256
GAIN = 0.3
"""Share of the added requests that must show in the replies a second: twice as many in flight pay
where at least 1.3 times as many replies come."""

CLEAR = 0.5
"""The same share where a settled number tries half as many more."""

FEW, MANY = 8, 64
"""Least replies to double the number, and least replies to say that more does not pay."""

BACK = 0.7
"""What is left of a number that did not pay, and after a timeout."""

LONGEST = 32
"""Most times that as many replies as twice the number are awaited until more is tried."""


class Bucket:
    """So much a minute: fills evenly, and what is there may be taken at once.

    In any minute no more than `per_minute` is taken, but for what the last taking had too much.

    Args:
        per_minute: Above 0.
    """

    def __init__(self, per_minute: float) -> None:
        self._most = max(1.0, per_minute / 60)
        kept_back = self._most if per_minute > 60 else 0.0
        self._rate = (per_minute - kept_back) / 60
        self._level = self._most
        self._seen: float | None = None

    def delay(self, amount: float, now: float) -> float:
        """Seconds until so much, or as much as ever is there at once, may be taken."""
        self._fill(now)
        missing = min(amount, self._most) - self._level
        return max(0.0, missing / self._rate) if missing > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> None:
        """Takes it even where it is not there; less than 0 gives back."""
        self._fill(now)
        self._level = min(self._most, self._level - amount)

    def _fill(self, now: float) -> None:
        if self._seen is not None:
            gained = max(0.0, now - self._seen) * self._rate
            self._level = min(self._most, self._level + gained)
        self._seen = now


class Sent(NamedTuple):
    """One request on its way.

    Attributes:
        time: When it was sent.
        level: Which setting of the limit it belongs to.
        tokens: What it is taken to cost.
    """

    time: float
    level: int
    tokens: float


class _Measured(NamedTuple):
    limit: int
    latency: float

    @property
    def throughput(self) -> float:
        return self.limit / self.latency


class Pacer:
    """Decides when a request may be sent.

    Args:
        concurrency: Most requests in flight; None finds it out.
        rpm: Most requests a minute, or None.
        tpm: Most tokens a minute, prompt and completion, or None. What a reply costs is known when
            it is there; a request is taken to cost what they cost on average, and the first one
            goes alone.

    Attributes:
        limit: Most requests in flight.
    """

    def __init__(
        self, concurrency: int | None = None, *, rpm: float | None = None, tpm: float | None = None
    ) -> None:
        self.limit = concurrency or START
        self._adaptive = concurrency is None
        self._requests = Bucket(rpm) if rpm else None
        self._tokens = Bucket(tpm) if tpm else None
        self._cost: float | None = None
        self._flying = 0
        self._blocked = 0.0
        self._level = 0
        self._full = float("-inf")
        self._sum, self._count = 0.0, 0
        self._phase = "doubling"
        self._before: _Measured | None = None
        self._step, self._patience = 1, 1
        self._cut, self._highest = float("-inf"), 0

    def delay(self, now: float) -> float:
        """Seconds until the next request may go; infinite where a reply must come first."""
        if self._flying >= self.limit:
            return float("inf")
        pause = max(0.0, self._blocked - now)
        if self._requests:
            pause = max(pause, self._requests.delay(1, now))
        if self._tokens:
            if self._cost is None and self._flying:
                return float("inf")
            pause = max(pause, self._tokens.delay(self._cost or 0.0, now))
        return pause

    def sent(self, now: float) -> Sent:
        """A request goes out."""
        self._flying += 1
        cost = self._cost or 0.0
        if self._requests:
            self._requests.take(1, now)
        if self._tokens:
            self._tokens.take(cost, now)
        if self._flying >= 0.9 * self.limit:
            self._full = now
        return Sent(now, self._level, cost)

    def answered(self, sent: Sent, now: float, tokens: int = 0) -> None:
        """Its reply is there."""
        self._flying -= 1
        if self._tokens and tokens:
            self._tokens.take(tokens - sent.tokens, now)
            self._cost = tokens if self._cost is None else 0.9 * self._cost + 0.1 * tokens
        if not self._adaptive:
            return
        # Where the limit was never reached, a latency says nothing about it.
        if sent.level == self._level and self._full >= sent.time:
            self._sum += now - sent.time
            self._count += 1
            if self._count % self.limit == 0:
                self._look(_Measured(self.limit, max(self._sum / self._count, 1e-9)))

    def refused(self, sent: Sent, now: float, retry_after: float | None) -> None:
        """The server has no room, and may say for how long: that holds for every request."""
        self._flying -= 1
        if self._tokens:
            self._tokens.take(-sent.tokens, now)
        if retry_after:
            self._blocked = max(self._blocked, now + retry_after)
        if not self._adaptive or self._flying >= self.limit:
            return
        if sent.time >= self._cut:
            self._cut, self._highest = now, self.limit
            if self._phase == "trying":
                self._in_vain()
            else:
                self._patience = 1
        # Not what is in flight now: a place may be empty for a moment, where we are slow.
        if self._phase != "settled":
            self._settle(self.limit, step=1)
        self.limit, self._step = max(self.limit - 1, 1), 1
        if self.limit < self._highest / 2:
            self._before = None
            self._set(self.limit, "doubling")

    def late(self, sent: Sent, now: float) -> None:
        """No reply came in time."""
        self._flying -= 1
        if self._adaptive and sent.time >= self._cut:
            self._cut, self._highest, self._patience = now, self.limit, 1
            self._settle(int(BACK * self.limit), step=1)

    def failed(self, sent: Sent) -> None:
        """It ended in a way that says nothing about the server's load."""
        self._flying -= 1

    def _look(self, here: _Measured) -> None:
        """One more round of replies came: as many as may be in flight."""
        if self._phase == "doubling":
            self._double(here)
        elif self._phase == "trying":
            self._try(here)
        elif self._count >= 2 * self._patience * self.limit and self.limit < MOST:
            self._before = here
            self._set(self.limit + self._step, "trying")

    def _double(self, here: _Measured) -> None:
        if self._paid(here, GAIN):
            if self._count >= min(FEW, 2 * self.limit):
                self._more(here)
        elif self._count >= max(MANY, 4 * self.limit):
            self._settle(round(BACK * self.limit), step=self.limit // 3)

    def _try(self, here: _Measured) -> None:
        assert self._before is not None
        if here.limit < min(max(1.5 * self._before.limit, 2 * START), MOST):
            self._step *= 2
            self._set(self.limit + self._step, "trying")
        elif self._count >= max(MANY, 4 * self.limit):
            if self._paid(here, CLEAR):
                self._more(here)
            else:
                self._in_vain()
                self._settle(self._before.limit, step=-(-self._before.limit // 2))

    def _paid(self, here: _Measured, share: float) -> bool:
        if self._before is None:
            return True
        more = here.limit / self._before.limit - 1
        return here.throughput >= self._before.throughput * (1 + share * more)

    def _more(self, here: _Measured) -> None:
        self._patience = 1
        # A handful of requests, in few replies, is nothing to compare with.
        self._before = here if self.limit >= START else None
        if self.limit < MOST:
            self._set(2 * self.limit, "doubling")
        else:
            self._settle(MOST, step=1)

    def _in_vain(self) -> None:
        self._patience = min(2 * self._patience, LONGEST)

    def _settle(self, limit: int, *, step: int) -> None:
        self._step = max(step, 1)
        self._set(limit, "settled")

    def _set(self, limit: int, phase: str) -> None:
        self.limit = min(max(limit, 1), MOST)
        self._phase = phase
        self._level += 1
        self._sum, self._count = 0.0, 0
