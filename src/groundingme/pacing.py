"""How many requests may be in flight, and when the next one may go: found out, or as told.

By Little's law N requests that are always in flight and take T seconds each are N / T requests a
second. Starting low, the number is doubled as long as that grows; where it no longer does, the
number is set to what fills the server at the latency it had before it was full. After a refusal
(429, 503) the number is sought between what went well and what did not, by halves. Now and then a
little more is tried again. Nothing here reads a clock or waits: whoever asks gives the time.
"""

from __future__ import annotations

from typing import NamedTuple

START = 4
MOST = 256
GAIN = 1.3
"""Requests a second after the number was doubled, against before, from which it paid."""

ROOM = 1.1
"""More requests than fill a server, so that it need not wait for us."""

STEP = 1.25
"""How far a settled number tries a little more; at least one more."""

CLOSE = 1.05
"""When what was refused is no more than this times what went well, the search ends."""

PATIENCE = 10
"""Windows until it does; doubled when it was in vain."""

BACK = 0.7
"""What is left of the number after a timeout, or refusals in a row."""


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
        full: Whether as many were in flight as may be, so that its latency says something.
        tokens: What it is taken to cost.
    """

    time: float
    level: int
    full: bool
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
        self._sum, self._count = 0.0, 0
        self._phase = "doubling"
        self._before: _Measured | None = None
        self._low, self._high = 0, 0
        self._windows = 0
        self._patience = PATIENCE
        self._since_cut = 0
        self._cut = float("-inf")

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
        return Sent(now, self._level, self._flying >= 0.9 * self.limit, cost)

    def answered(self, sent: Sent, now: float, tokens: int = 0) -> None:
        """Its reply is there."""
        self._flying -= 1
        if self._tokens and tokens:
            self._tokens.take(tokens - sent.tokens, now)
            self._cost = tokens if self._cost is None else 0.9 * self._cost + 0.1 * tokens
        if not self._adaptive:
            return
        self._since_cut += 1
        if sent.level == self._level and sent.full:
            self._sum += now - sent.time
            self._count += 1
            if self._count >= self._enough():
                self._judge(_Measured(self.limit, max(self._sum / self._count, 1e-9)))

    def refused(self, sent: Sent, now: float, retry_after: float | None) -> None:
        """The server has no room, and may say for how long: that holds for every request."""
        self._flying -= 1
        if self._tokens:
            self._tokens.take(-sent.tokens, now)
        if retry_after:
            self._blocked = max(self._blocked, now + retry_after)
        if not self._adaptive or sent.time < self._cut:
            return
        if self._phase == "trying" and self._before:
            self._patience *= 2
            self._set(self._before.limit, "settled")
        elif self._phase == "settled" and self._since_cut >= self.limit:
            self._set(self.limit - 1, "settled")
        else:
            self._high = self.limit
            if self._phase == "doubling":
                self._low = self._before.limit if self._before else 0
            if self._phase == "settled" or self._low >= self._high:
                self._low = int(self.limit * BACK)
            self._narrow()
        self._cut, self._since_cut = now, 0

    def late(self, sent: Sent, now: float) -> None:
        """No reply came in time."""
        self._flying -= 1
        if self._adaptive and sent.time >= self._cut:
            self._set(int(self.limit * BACK), "settled")
            self._cut, self._since_cut = now, 0

    def failed(self, sent: Sent) -> None:
        """It ended in a way that says nothing about the server's load."""
        self._flying -= 1

    def _enough(self) -> int:
        return self.limit if self._phase == "narrowing" else max(16, 2 * self.limit)

    def _judge(self, here: _Measured) -> None:
        """A window of replies at one limit is complete."""
        before = self._before
        if self._phase == "doubling":
            if before is None or here.throughput >= GAIN * before.throughput:
                self._before = here
                self._set(2 * self.limit, "doubling" if 2 * self.limit <= MOST else "settled")
            else:
                filled = round(ROOM * here.throughput * before.latency)
                self._set(min(max(filled, before.limit), here.limit), "settled")
        elif self._phase == "narrowing":
            self._low = here.limit
            self._narrow()
        elif self._phase == "trying":
            assert before is not None
            if here.throughput >= before.throughput * (1 + (here.limit / before.limit - 1) / 2):
                self._patience = 1
                self._set(here.limit, "settled")
            else:
                self._patience *= 2
                self._set(before.limit, "settled")
        else:
            self._windows += 1
            self._sum, self._count = 0.0, 0
            if self._windows >= self._patience and self.limit < MOST:
                self._before = here
                self._set(max(self.limit + 1, int(self.limit * STEP)), "trying")

    def _narrow(self) -> None:
        """The next step between what went well and what was refused."""
        if self._high <= max(self._low + 1, CLOSE * self._low):
            self._set(self._low, "settled")
        else:
            self._set((self._low + self._high) // 2, "narrowing")

    def _set(self, limit: int, phase: str) -> None:
        self.limit = min(max(limit, 1), MOST)
        self._phase = phase
        self._level += 1
        self._sum, self._count, self._windows = 0.0, 0, 0
