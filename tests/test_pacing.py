"""How many requests are in flight: against simulated servers, with a clock of their own."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator

import pytest

from groundingme.pacing import MOST, START, Bucket, Pacer, Sent

Server = Callable[[float], tuple[float, str]]
"""From the time of a request to the time of its end and what comes: `ok`, `busy` or `late`."""


class Allowing:
    """So many at once; more are refused at once."""

    def __init__(self, room: int, latency: Callable[[], float]) -> None:
        self._room, self._latency = room, latency
        self._ends: list[float] = []

    def __call__(self, now: float) -> tuple[float, str]:
        self._ends = [end for end in self._ends if end > now]
        if len(self._ends) >= self._room:
            return now + 0.01, "busy"
        self._ends.append(now + self._latency())
        return self._ends[-1], "ok"


class Queueing:
    """So many at once; more wait in turn."""

    def __init__(self, room: int, latency: Callable[[], float]) -> None:
        self._latency = latency
        self._free = [0.0] * room

    def __call__(self, now: float) -> tuple[float, str]:
        end = max(now, heapq.heappop(self._free)) + self._latency()
        heapq.heappush(self._free, end)
        return end, "ok"


class Batching:
    """Every one in flight slows all of them a little, as in continuous batching."""

    def __init__(self, slope: float) -> None:
        self._slope = slope
        self._ends: list[float] = []

    def __call__(self, now: float) -> tuple[float, str]:
        self._ends = [end for end in self._ends if end > now]
        self._ends.append(now + 1.0 + self._slope * len(self._ends))
        return self._ends[-1], "ok"


def simulate(pacer: Pacer, server: Server, requests: int = 4000, start: float = 0.0) -> list[float]:
    """Times of the replies; a refused request comes again."""
    ends: list[tuple[float, int, Sent, str]] = []
    order = itertools.count()
    now, replies = start, []
    while len(replies) < requests:
        pause = pacer.delay(now)
        if pause == 0:
            end, what = server(now)
            heapq.heappush(ends, (end, next(order), pacer.sent(now), what))
        elif ends and ends[0][0] <= now + pause:
            now, _, sent, what = heapq.heappop(ends)
            if what == "ok":
                pacer.answered(sent, now, 100)
                replies.append(now)
            else:
                pacer.refused(sent, now, None)
        else:
            assert pause < float("inf")
            now += pause
    for _, _, sent, _ in ends:
        pacer.failed(sent)
    return replies


def speed(replies: list[float]) -> float:
    """Requests a second over the last half."""
    half = len(replies) // 2
    return half / (replies[-1] - replies[-1 - half])


def steady() -> float:
    return 1.0


def uneven(seed: int = 0) -> Callable[[], float]:
    """Latencies as of replies of very different lengths, 1 s in the mean."""
    chance = random.Random(seed)
    return lambda: chance.lognormvariate(-0.245, 0.7)


@pytest.mark.parametrize("latency", [lambda: steady, uneven], ids=["steady", "uneven"])
@pytest.mark.parametrize("kind", [Allowing, Queueing])
@pytest.mark.parametrize("room", [1, 3, 20, 100])
def test_it_settles_at_what_the_server_can_do(
    kind: Callable[..., Server], latency: Callable[[], Callable[[], float]], room: int
) -> None:
    pacer = Pacer()
    found = speed(simulate(pacer, kind(room, latency())))
    assert found >= 0.9 * room
    # Neither many refusals nor long waits are the price.
    assert pacer.limit <= (room if kind is Allowing else max(START + 2, 2.25 * room))


def test_a_server_that_never_fills_gets_as_much_as_we_ever_send() -> None:
    pacer = Pacer()
    simulate(pacer, Queueing(10_000, steady))
    assert pacer.limit == MOST


def test_gradual_slowing_does_not_stop_it_too_early() -> None:
    """64 in flight are answered 14 times as fast as 4 here, though each takes 1.6 times as long."""
    pacer = Pacer()
    simulate(pacer, Batching(0.01))
    assert pacer.limit >= 64


def test_it_starts_low_and_grows() -> None:
    pacer = Pacer()
    assert pacer.limit == START
    limits = []
    server = Queueing(64, steady)
    for part in range(5):
        simulate(pacer, server, 30, 1000.0 * part)
        limits.append(pacer.limit)
    assert limits == sorted(limits)
    assert limits[-1] > limits[0]


def test_it_follows_a_server_that_changes() -> None:
    pacer = Pacer()
    simulate(pacer, Allowing(40, steady), 3000)
    assert 36 <= pacer.limit <= 44
    assert speed(simulate(pacer, Allowing(10, steady), 3000, 1e5)) >= 0.9 * 10
    assert pacer.limit <= 13
    assert speed(simulate(pacer, Allowing(40, steady), 8000, 2e5)) >= 0.75 * 40


def test_a_refusal_tells_the_limit() -> None:
    """What stays in flight is what the server takes, and no other refusal is needed to know."""
    pacer, now = Pacer(), 0.0
    while pacer.limit < 16:
        sent = [pacer.sent(now) for _ in range(pacer.limit)]
        now += 1
        for one in sent:
            pacer.answered(one, now)
    sent = [pacer.sent(now) for _ in range(16)]
    for one in sent[11:]:
        pacer.refused(one, now + 0.01, None)
    assert pacer.limit == 11


def test_refusals_that_have_nothing_to_do_with_the_load_do_not_end_it() -> None:
    """One request in a hundred is refused, whatever is in flight."""
    chance, server = random.Random(0), Queueing(20, uneven())

    def refusing(now: float) -> tuple[float, str]:
        return (now + 0.01, "busy") if chance.random() < 0.01 else server(now)

    assert speed(simulate(Pacer(), refusing, 2000)) >= 0.9 * 20


def test_replies_that_come_together_count_alike() -> None:
    """A server of batches answers all at once, and each of the next ones is sent after another."""
    pacer, now, rounds = Pacer(), 0.0, 0
    while pacer.limit < 32:
        sent = [pacer.sent(now) for _ in range(pacer.limit)]
        now, rounds = now + 1, rounds + 1
        for one in sent:
            pacer.answered(one, now)
    assert rounds == 4


def test_a_fixed_number_stays() -> None:
    pacer = Pacer(7)
    simulate(pacer, Allowing(3, steady), 100)
    assert pacer.limit == 7
    pacer.late(pacer.sent(0.0), 1.0)
    assert pacer.limit == 7


def test_timeouts_take_some_off_once_a_round() -> None:
    pacer = Pacer()
    simulate(pacer, Queueing(40, steady), 2000)
    before = pacer.limit
    flying = [pacer.sent(1e6) for _ in range(10)]
    for one in flying:
        pacer.late(one, 1e6 + 1)
    assert pacer.limit == int(before * 0.7)


@pytest.mark.parametrize("concurrency", [None, 8])
def test_who_is_asked_to_wait_waits_with_all_requests(concurrency: int | None) -> None:
    pacer = Pacer(concurrency)
    first = pacer.sent(10.0)
    assert pacer.delay(10.0) == 0
    pacer.refused(first, 11.0, 5.0)
    assert pacer.delay(12.0) == 4.0
    pacer.refused(pacer.sent(12.0), 12.0, 1.0)  # a shorter wait does not shorten it
    assert pacer.delay(12.0) == 4.0
    assert pacer.delay(16.0) == 0


def taken(per_minute: float, amount: float, minutes: float = 5) -> Iterator[tuple[float, float]]:
    """When and how much is taken by somebody who always wants more."""
    bucket, now = Bucket(per_minute), 0.0
    while now < 60 * minutes:
        pause = bucket.delay(amount, now)
        now += pause
        if pause == 0:
            bucket.take(amount, now)
            yield now, amount


@pytest.mark.parametrize(
    ("per_minute", "amount"), [(1, 1), (7, 1), (60, 1), (61, 1), (500, 1), (10_000, 1), (6000, 700)]
)
def test_a_bucket_gives_its_rate_and_no_more(per_minute: float, amount: float) -> None:
    times = list(taken(per_minute, amount))
    most = 0.0
    for start, _ in times[:: max(1, len(times) // 200)]:
        most = max(most, sum(much for at, much in times if start <= at < start + 60 - 1e-6))
    assert most <= per_minute + (amount if amount > 1 else 0)
    assert sum(much for _, much in times) >= 0.95 * 5 * per_minute


def test_requests_a_minute() -> None:
    replies = simulate(Pacer(rpm=120), Queueing(50, steady), 1200)
    for start in range(0, 500, 7):
        assert sum(start <= at < start + 60 for at in replies) <= 120
    assert speed(replies) == pytest.approx(2, rel=0.03)


def test_tokens_a_minute_and_the_first_request_goes_alone() -> None:
    pacer = Pacer(64, tpm=60_000)
    first = pacer.sent(0.0)
    assert pacer.delay(1.0) == float("inf")
    pacer.answered(first, 2.0, 100)
    assert pacer.delay(3.0) == 0
    # 100 tokens a reply, so 600 replies a minute.
    replies = simulate(Pacer(64, tpm=60_000), Queueing(500, steady), 3000)
    assert speed(replies) == pytest.approx(10, rel=0.05)


def test_limits_are_no_reason_to_grow() -> None:
    pacer = Pacer(rpm=60)
    simulate(pacer, Queueing(500, steady), 500)
    assert pacer.limit == START
