"""Ask a model every sample once: bounded concurrency, bounded memory, retries, nothing lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec

from groundingme import images, prompts
from groundingme.errors import FatalError, ImageError, RequestError, RetryableError
from groundingme.models import Model, Request, Thinking
from groundingme.schema import Generation, Sample

BYTES_IN_FLIGHT = 256 * 2**20
"""Most bytes of encoded images held at once: 36 photographs of 8K. A larger one passes alone."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """When to ask again after a failure that may pass.

    Attributes:
        attempts: Most requests for one sample, the first included.
        base: Seconds before the second request, doubled each time; the actual wait is drawn
            evenly from between half of it and all of it.
        longest: Most seconds to wait at once, whatever the server asks for.
        total: Seconds after which no further attempt starts.
    """

    attempts: int = 6
    base: float = 1.0
    longest: float = 60.0
    total: float = 900.0

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after the given failed attempt, counted from 1."""
        if retry_after is not None:
            return min(max(retry_after, 0.0), self.longest)
        most = min(self.base * 2 ** (attempt - 1), self.longest)
        return random.uniform(most / 2, most)


async def ask(
    model: Model,
    samples: Sequence[Sample],
    *,
    prompt: str,
    sink: Callable[[Generation], None],
    concurrency: int = 16,
    retry: RetryPolicy | None = None,
    temperature: float = 0.0,
    max_tokens: int = 20480,
    jpeg_quality: int | None = None,
    trajectory: int = 0,
    system: str = "",
    extra: Mapping[str, Any] | None = None,
    thinking: Thinking = None,
    image_rule: images.ImageRule | None = None,
    affords: Callable[[int], bool] | None = None,
) -> None:
    """Asks each sample once and hands every outcome to `sink`, in order of finishing.

    A sample that cannot be asked (broken row or image) or answered (retries used up) gives a
    generation with `failure` set. Images are read in order by one thread; at most
    `BYTES_IN_FLIGHT` of them are held.

    Args:
        model: Closed at the end.
        samples: In data set order.
        prompt: Template with `{description}`.
        sink: Called in the event loop's thread.
        concurrency: Requests in flight at once.
        retry: The default is `RetryPolicy()`.
        temperature: 0 is greedy.
        max_tokens: Most tokens of a completion.
        jpeg_quality: None sends the original bytes.
        trajectory: Recorded in each generation.
        system: System prompt; "" for none.
        extra: Further fields of an OpenAI-compatible request, from the model's family.
        thinking: What was asked for: see `models.Request`.
        image_rule: What the model's server and coordinates ask of an image.
        affords: Whether one more request may go out, given the number in flight. Where it says
            no with none in flight, the rest is not asked, and not recorded as failed.

    Raises:
        FatalError: No request can succeed, or the first one to finish found nobody who answers.
            Requests in flight are finished and handed over first; the rest is not asked, and not
            recorded as failed.
    """
    policy = retry or RetryPolicy()
    waiting = deque(samples)
    budget = _Budget(BYTES_IN_FLIGHT)
    turn = asyncio.Lock()
    fatal: list[FatalError] = []
    heard = False
    in_flight = 0
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()

    def prepared(sample: Sample) -> Request:
        return request_for(
            model, sample, prompt=prompt, temperature=temperature, max_tokens=max_tokens,
            jpeg_quality=jpeg_quality, trajectory=trajectory, system=system, extra=extra,
            thinking=thinking, image_rule=image_rule,
        )  # fmt: skip

    async def affordable() -> bool:
        while affords is not None and not affords(in_flight):
            if not in_flight:
                return False
            finished.clear()
            await finished.wait()
        return True

    async def worker(reader: ThreadPoolExecutor) -> None:
        nonlocal heard, in_flight
        while not fatal:
            async with turn:
                if not waiting or not await affordable() or fatal:
                    return
                sample = waiting.popleft()
                await budget.room()
                try:
                    if sample.problem:
                        raise ImageError("bad-sample", sample.problem)
                    request = await loop.run_in_executor(reader, prepared, sample)
                except ImageError as error:
                    kind = "bad-sample" if sample.problem else "image"
                    sink(_failed(sample.id, trajectory, kind, str(error), attempts=0))
                    continue
                held = len(request.image.data) if request.image else 0
                budget.take(held)
                in_flight += 1
            try:
                generation = await _attempts(model, request, policy)
                heard = heard or generation.failure != "unreachable"
                if not heard:
                    raise FatalError(
                        "unreachable",
                        f"{generation.detail} (asked {generation.attempts} times, not one reply "
                        "yet); start the server, or check its address",
                    )
                sink(generation)
            except FatalError as error:
                fatal.append(error)
            finally:
                # While this worker waits for its next turn it must not hold the last image.
                del request
                budget.give(held)
                in_flight -= 1
                finished.set()

    with ThreadPoolExecutor(1, thread_name_prefix="groundingme-read") as reader:
        tasks = [asyncio.create_task(worker(reader)) for _ in range(min(concurrency, len(samples)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await model.aclose()
    if fatal:
        raise fatal[0]


def request_for(
    model: Model,
    sample: Sample,
    *,
    prompt: str,
    temperature: float = 0.0,
    max_tokens: int = 20480,
    jpeg_quality: int | None = None,
    trajectory: int = 0,
    system: str = "",
    extra: Mapping[str, Any] | None = None,
    thinking: Thinking = None,
    image_rule: images.ImageRule | None = None,
) -> Request:
    """What a model is asked of one sample; the arguments are those of `ask`.

    Raises:
        ImageError: The image cannot be used.
    """
    image = None
    width, height = sample.width, sample.height
    if sample.image is None and model.needs_image:
        raise ImageError("missing", "expected an image, got a data set without images")
    if sample.image is not None and model.needs_image:
        image = images.prepare(sample.image.read(), jpeg_quality=jpeg_quality, rule=image_rule)
        full = image.full or (image.width, image.height)
        width, height = width or full[0], height or full[1]
    elif sample.image is not None and not (width and height):
        found = images.probe(sample.image.read())
        width, height = found.width, found.height
    return Request(
        id=sample.id,
        prompt=prompts.render(prompt, sample.description),
        image=image,
        width=width,
        height=height,
        temperature=temperature,
        max_tokens=max_tokens,
        trajectory=trajectory,
        system=system,
        extra=dict(extra or {}),
        thinking=thinking,
    )


async def _attempts(model: Model, request: Request, policy: RetryPolicy) -> Generation:
    began = time.monotonic()
    attempt = 0
    while True:
        attempt += 1
        try:
            generation = await model.generate(request)
        except RetryableError as error:
            pause = policy.wait(attempt, error.retry_after)
            spent = time.monotonic() - began
            if attempt >= policy.attempts or spent + pause > policy.total:
                return _failed(request.id, request.trajectory, error.kind, str(error), attempt)
            await asyncio.sleep(pause)
        except FatalError:
            raise
        except RequestError as error:
            return _failed(request.id, request.trajectory, error.kind, str(error), attempt)
        else:
            image = request.image
            full = (image and image.full) or (0, 0)
            return msgspec.structs.replace(
                generation,
                attempts=attempt,
                image_digest=image.digest if image else "",
                sent_width=image.width if image else 0,
                sent_height=image.height if image else 0,
                full_width=full[0],
                full_height=full[1],
                time=_now(),
            )


def _failed(id: str, trajectory: int, kind: str, detail: str, attempts: int) -> Generation:
    return Generation(
        id=id,
        trajectory=trajectory,
        failure=kind,
        detail=" ".join(detail.split())[:500],
        attempts=attempts,
        time=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class _Budget:
    """Bytes held at once; the next image waits until there is room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        await self._room.wait()

    def take(self, amount: int) -> None:
        self._used += amount
        self._settle()

    def give(self, amount: int) -> None:
        self._used -= amount
        self._settle()

    def _settle(self) -> None:
        if self._used < self._limit:
            self._room.set()
        else:
            self._room.clear()
