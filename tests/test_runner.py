"""Asking every sample once: concurrency, memory, retries, failures, cancellation."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

import virtual_time
from groundingme import runner
from groundingme.errors import FatalError, ImageError, RequestError, RetryableError
from groundingme.images import BytesImage
from groundingme.models import Model, Request
from groundingme.models.mock import Mock
from groundingme.runner import RetryPolicy, ask
from groundingme.schema import Generation, ImageSource, Sample

QUICK = RetryPolicy(attempts=3, base=0.01)


def png(width: int = 8, height: int = 6) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


def samples(count: int, image: ImageSource | None = None) -> list[Sample]:
    source = image or BytesImage("one.png", png())
    return [Sample(id=str(n), description=f"d{n}", target=None, image=source) for n in range(count)]


def run(model: Model, questions: list[Sample], **options: Any) -> dict[str, Generation]:
    """What came of each sample; none comes twice."""
    got: list[Generation] = []
    options.setdefault("retry", QUICK)
    asyncio.run(ask(model, questions, prompt="{description}", sink=got.append, **options))
    assert len({one.id for one in got}) == len(got)
    return {one.id: one for one in got}


def scripted(script: Callable[[Request], str]) -> Mock:
    return Mock("m", script=script)


class Busy(Model):
    """Counts the requests that are in flight, and answers none before `crowd` of them are."""

    def __init__(self, crowd: int) -> None:
        self.name = "mock/busy"
        self.now = self.most = 0
        self._crowd = crowd
        self._met = asyncio.Event()

    async def generate(self, request: Request) -> Generation:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.most >= self._crowd:
            self._met.set()
        await self._met.wait()
        await asyncio.sleep(0.01)
        self.now -= 1
        return Generation(id=request.id, text="null")


@pytest.mark.parametrize("concurrency", [1, 7, 100])
def test_as_many_in_flight_as_asked_for_and_no_more(concurrency: int) -> None:
    model = Busy(min(concurrency, 40))
    assert len(run(model, samples(40), concurrency=concurrency)) == 40
    assert model.most == min(concurrency, 40)


def test_what_is_kept_of_a_request() -> None:
    one = run(Mock("m", script={"0": "null"}), samples(1))["0"]
    assert one.text == "null"
    assert one.attempts == 1
    assert (one.sent_width, one.sent_height) == (8, 6)
    assert len(one.image_digest) == len("sha256:") + 64
    assert one.time.endswith("+00:00")


def failing(times: int, error: Exception) -> Callable[[Request], str]:
    left = itertools.count(-times)

    def script(request: Request) -> str:
        if next(left) < 0:
            raise error
        return "null"

    return script


def test_a_failure_that_passes_is_asked_again() -> None:
    one = run(scripted(failing(2, RetryableError("server", "503"))), samples(1))["0"]
    assert (one.text, one.failure, one.attempts) == ("null", "", 3)


def test_retries_have_an_end_and_the_failure_is_kept() -> None:
    one = run(scripted(failing(9, RetryableError("server", "it\nsays 503"))), samples(1))["0"]
    assert (one.text, one.failure, one.attempts) == ("", "server", 3)
    assert one.detail == "it says 503"


def test_a_failure_that_stays_is_not_asked_again_and_the_rest_goes_on() -> None:
    def script(request: Request) -> str:
        if request.id == "1":
            raise RequestError("bad-request", "400")
        return "null"

    got = run(scripted(script), samples(3))
    assert [got[id].failure for id in "012"] == ["", "bad-request", ""]
    assert got["1"].attempts == 1


def test_the_server_says_how_long_to_wait() -> None:
    began = time.monotonic()
    run(scripted(failing(1, RetryableError("rate-limit", "", retry_after=0.3))), samples(1))
    assert 0.3 <= time.monotonic() - began < 10


def test_waits_grow_and_are_bounded() -> None:
    policy = RetryPolicy(base=1, longest=5)
    for attempt, most in ((1, 1), (2, 2), (3, 4), (4, 5), (50, 5)):
        waits = [policy.wait(attempt, None) for _ in range(50)]
        assert most / 2 <= min(waits) <= max(waits) <= most
    assert policy.wait(1, 99) == 99  # the server knows better
    assert policy.wait(1, 0.25) == 0.25


def test_no_attempt_starts_when_the_time_is_up() -> None:
    policy = RetryPolicy(attempts=100, base=0.02, total=0.8)
    got: list[Generation] = []

    async def work() -> float:
        model = scripted(failing(99, RetryableError("server", "")))
        await ask(model, samples(1), prompt="{description}", sink=got.append, retry=policy)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(work()) <= 0.8
    # Of waits of 0.02, 0.04, 0.08, ... s or half as much, so many fit.
    assert 6 <= got[0].attempts <= 7


def test_what_every_request_would_share_stops_the_run_and_keeps_what_is_done() -> None:
    def script(request: Request) -> str:
        if request.id == "5":
            raise FatalError("auth", "401")
        return "null"

    got: list[Generation] = []
    with pytest.raises(FatalError, match="401"):
        asyncio.run(
            ask(
                scripted(script),
                samples(500),
                prompt="{description}",
                sink=got.append,
                concurrency=2,
                retry=QUICK,
            )
        )
    assert {"0", "1", "2", "3", "4"} <= {one.id for one in got}
    assert len(got) < 20
    assert not any(one.failure for one in got)


def test_where_nobody_answers_the_run_stops_with_the_first_sample() -> None:
    error = RetryableError("unreachable", "nobody answers")
    got: list[Generation] = []
    with pytest.raises(FatalError, match="asked 3 times, not one reply"):
        asyncio.run(
            ask(
                scripted(failing(999, error)),
                samples(50),
                prompt="{description}",
                sink=got.append,
                concurrency=4,
                retry=QUICK,
            )
        )
    assert got == []


class Broken:
    name = "broken.png"

    def read(self) -> bytes:
        raise ImageError("missing", "no file")


def test_a_sample_that_cannot_be_asked_fails_alone() -> None:
    questions = samples(3)
    questions[0] = Sample(id="0", description="d", target=None, image=Broken())
    questions[1] = Sample(id="1", description="", target=None, problem="no description")
    got = run(Mock("m", script={"2": "null"}), questions)
    assert (got["0"].failure, got["0"].detail, got["0"].attempts) == ("image", "no file", 0)
    assert (got["1"].failure, got["1"].detail) == ("bad-sample", "no description")
    assert got["2"].text == "null"


class Counted(bytes):
    """Bytes that tell how many of them are alive."""

    alive = most = 0

    def __new__(cls, data: bytes) -> Counted:
        made = super().__new__(cls, data)
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)
        return made

    def __del__(self) -> None:
        Counted.alive -= 1


class Fresh:
    """A picture that is read anew every time, as from a disk."""

    name = "fresh.png"
    data = png()

    def read(self) -> bytes:
        return Counted(self.data)


@pytest.mark.parametrize(("budget", "most"), [(1, 1), (3, 3), (1000, 8)])
def test_images_are_held_within_the_budget_and_let_go(
    monkeypatch: pytest.MonkeyPatch, budget: int, most: int
) -> None:
    monkeypatch.setattr(runner, "BYTES_IN_FLIGHT", budget * len(Fresh.data))
    monkeypatch.setattr(Counted, "most", 0)
    run(Busy(most), samples(50, Fresh()), concurrency=8)
    # One more is read while the last ones are in flight.
    assert most <= Counted.most <= most + 1
    assert Counted.alive == 0
