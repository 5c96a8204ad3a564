"""Ask a model every sample once: bounded concurrency, bounded memory, retries, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec

from groundingme import images, keys, prompts
from groundingme.errors import FatalError, ImageError, RequestError, RetryableError
from groundingme.models import Model, Request, Thinking
from groundingme.pacing import Pacer, Sent
from groundingme.retrying import Outage, Quota
from groundingme.retrying import RetryPolicy as RetryPolicy
from groundingme.schema import Generation, Sample

BYTES_IN_FLIGHT = 256 * 2**20
"""Most bytes of encoded images held at once: 36 photographs of 8K. A larger one passes alone."""

CONCURRENCY = 16
"""Samples in hand at once for a model in this process: twice a usual batch."""

HOPELESS = 10
"""When so many samples came to their end, and each of them failed, the rest is not asked."""


async def ask(
    model: Model,
    samples: Sequence[Sample],
    *,
    prompt: str,
    sink: Callable[[Generation], None],
    concurrency: int | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
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
    hopeless: int | None = HOPELESS,
    tell: Callable[[str], None] = lambda line: None,
    pacer: Pacer | None = None,
    answered: bool = False,
) -> None:
    """Asks each sample once and hands every outcome to `sink`, in order of finishing.

    A sample that cannot be asked (broken row or image) or answered (retries used up) gives a
    generation with `failure` set. Images are read in order by one thread; at most
    `BYTES_IN_FLIGHT` of them are held.

    Args:
        model: Closed at the end.
        samples: In data set order.
        prompt: Template with `{description}`.
        sink: Called in the event loop's thread. What it raises ends the asking at once.
        concurrency: Samples in hand at once. None finds out how many a server can take (see
            `pacing`), and is `Model.in_hand` where the model runs in this process.
        rpm: Most requests a minute.
        tpm: Most tokens a minute, prompt and completion.
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
        hopeless: Stop when the first so many samples all failed; None asks all the same.
        tell: Told in a line when everything waits.
        pacer: One that an earlier call has taught; in place of `concurrency`, `rpm` and `tpm`.
        answered: Whether the server has replied in an earlier call: one that did is waited for.

    Raises:
        FatalError: No request can succeed, none of the first ones did, or the server went away
            and did not come back in time (see `retrying`). Requests in flight are
            finished and handed over first, but none is asked again; the rest is not asked, and
            not recorded as failed.
    """

    def prepare(sample: Sample) -> Request:
        return request_for(
            model, sample, prompt=prompt, temperature=temperature, max_tokens=max_tokens,
            jpeg_quality=jpeg_quality, trajectory=trajectory, system=system, extra=extra,
            thinking=thinking, image_rule=image_rule,
        )  # fmt: skip

    if pacer is None:
        pacer = Pacer(concurrency or usual_concurrency(model), rpm=rpm, tpm=tpm)
    session = _Session(
        model,
        prepare,
        lambda generation: sink(keys.clean(generation)),
        retry or RetryPolicy(),
        pacer,
        trajectory,
        affords,
        hopeless,
        tell,
        answered,
    )
    try:
        await session.run(samples)
    finally:
        await model.aclose()


def usual_concurrency(model: Model) -> int | None:
    """Samples in hand at once where nobody says; None where the server's room is found out."""
    return None if model.paced else model.in_hand or CONCURRENCY


_FULL = (429, 503, 529)
"""HTTP statuses of a server that has no room at present."""


class _Stopped(Exception):  # noqa: N818 - no error
    """The session ends, so this sample is neither asked again nor recorded."""


class _Session:
    """One pass over the samples: what is in hand, and why it ends before its end."""

    def __init__(
        self,
        model: Model,
        prepare: Callable[[Sample], Request],
        sink: Callable[[Generation], None],
        policy: RetryPolicy,
        pacer: Pacer,
        trajectory: int,
        affords: Callable[[int], bool] | None,
        hopeless: int | None,
        tell: Callable[[str], None],
        answered: bool,
    ) -> None:
        self._model = model
        self._prepare = prepare
        self._sink = sink
        self._policy = policy
        self._pacer = pacer
        self._trajectory = trajectory
        self._affords = affords
        self._hopeless = hopeless
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._answered = answered
        self._failed = 0
        self._error: BaseException | None = None
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()
        self._line = asyncio.Lock()
        self._landed = asyncio.Event()
        self._more = True
        self._quota = Quota(policy, self._sleep, tell)
        self._outage = Outage(policy, tell, self._changed.set)

    async def run(self, samples: Sequence[Sample]) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="groundingme-read") as reader:
            try:
                for sample in samples:
                    if not await self._turn():
                        break
                    request = await self._read(sample, reader)
                    if request is not None:
                        self._start(request)
                    # While the next turn is waited for, the last image must not be held here.
                    del request
                self._more = False
                while self._tasks:
                    await asyncio.wait(self._tasks)
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._error:
            raise self._error

    async def _turn(self) -> bool:
        """Waits until one more sample may be taken in hand; false where none will be."""
        while not self._stopped.is_set():
            most = self._pacer.limit + self._outage.extra
            if len(self._tasks) < most and self._bytes < BYTES_IN_FLIGHT:
                if self._affords is None or self._affords(len(self._tasks)):
                    return True
                if not self._tasks:
                    return False
            self._changed.clear()
            await self._changed.wait()
        return False

    async def _read(self, sample: Sample, reader: ThreadPoolExecutor) -> Request | None:
        """What is asked of a sample; None where it cannot be asked, which is recorded."""
        try:
            if sample.problem:
                raise ImageError("bad-sample", sample.problem)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(reader, self._prepare, sample)
        except ImageError as error:
            kind = "bad-sample" if sample.problem else "image"
            self._sink(_failed(sample.id, self._trajectory, kind, str(error), attempts=0))
            return None

    def _start(self, request: Request) -> None:
        held = len(request.image.data) if request.image else 0
        task = asyncio.create_task(self._finish(request))
        self._tasks.add(task)
        self._bytes += held

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._bytes -= held
            self._changed.set()

        task.add_done_callback(done)

    async def _finish(self, request: Request) -> None:
        """Brings one sample to its end."""
        try:
            generation = await self._attempts(request)
            self._record(generation)
        except _Stopped:
            pass
        except FatalError as error:
            self._stop(error)
        except Exception as error:  # noqa: BLE001 - raised again by `run`
            self._stop(error)
            for task in self._tasks:
                task.cancel()

    def _record(self, generation: Generation) -> None:
        if generation.failure == "unreachable" and not self._answered and not self._failed:
            raise FatalError(
                "unreachable",
                f"{generation.detail} (asked {generation.attempts} times, not one reply yet); "
                "start the server, or check its address",
            )
        self._sink(generation)
        self._failed += bool(generation.failure)
        self._answered = self._answered or not generation.failure
        if self._hopeless and self._failed == self._hopeless and not self._answered:
            raise FatalError(
                generation.failure,
                f"the first {self._failed} samples all failed, such as {generation.id!r} "
                f"({generation.failure}): {generation.detail}; the rest was not asked",
            )

    def _stop(self, error: BaseException) -> None:
        self._error = self._error or error
        self._stopped.set()
        self._outage.stop()
        self._changed.set()
        self._landed.set()

    async def _sleep(self, seconds: float) -> None:
        """Waits, but not beyond the end of the session."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
            raise _Stopped

    async def _attempts(self, request: Request) -> Generation:
        try:
            return await self._asked_until_answered(request)
        finally:
            self._quota.leave(request.id)

    async def _asked_until_answered(self, request: Request) -> Generation:
        policy = self._policy
        spent, attempt = 0.0, 0
        while True:
            await self._quota.wait(request.id)
            await self._outage.wait(request.id)
            sent = await self._leave()
            attempt += 1
            try:
                generation = await self._once(request, sent)
            except RetryableError as error:
                if self._is_away(request, error, last=attempt >= policy.attempts):
                    attempt -= 1
                    continue
                pause = policy.wait(attempt, error.retry_after)
                spent += time.monotonic() - sent.time + pause
                if attempt >= policy.attempts or spent > policy.total:
                    return _failed(request.id, request.trajectory, error.kind, str(error), attempt)
                await self._sleep(pause)
            except FatalError as error:
                if error.kind != "quota" or policy.on_quota == "stop":
                    raise
                attempt -= 1
                self._outage.answered(request.id)
                await self._quota.refused(request.id, error)
            except RequestError as error:
                self._outage.answered(request.id)
                return _failed(request.id, request.trajectory, error.kind, str(error), attempt)
            else:
                self._outage.answered(request.id, from_server=not generation.cached)
                return _completed(generation, request, attempt)

    def _is_away(self, request: Request, error: RetryableError, *, last: bool) -> bool:
        resumed = self._hopeless is None and error.kind != "unreachable"
        return self._outage.failed(
            request.id,
            error,
            last=last,
            in_hand=len(self._tasks),
            more=self._more,
            sure=self._answered or resumed,
        )

    async def _leave(self) -> Sent:
        """Waits in line until one more request may be sent."""
        async with self._line:
            while not self._stopped.is_set():
                now = time.monotonic()
                pause = self._pacer.delay(now)
                if pause == 0:
                    return self._pacer.sent(now)
                self._landed.clear()
                with contextlib.suppress(TimeoutError):
                    longest = None if pause == float("inf") else pause
                    await asyncio.wait_for(self._landed.wait(), longest)
        raise _Stopped

    async def _once(self, request: Request, sent: Sent) -> Generation:
        """One request, of which the pacer learns how it went.

        Raises:
            FatalError: Of the kind `quota` also where the server asks to wait for too long.
        """
        try:
            generation = await self._model.generate(request)
        except RetryableError as error:
            wait = error.retry_after
            if wait is not None and wait > self._policy.total:
                self._pacer.failed(sent)
                raise FatalError(
                    "quota", f"{error} (it asks to wait {wait:.0f} s)", status=error.status
                ) from error
            self._pace(sent, error)
            raise
        except BaseException:
            self._pacer.failed(sent)
            raise
        else:
            tokens = (generation.prompt_tokens or 0) + (generation.completion_tokens or 0)
            self._pacer.answered(sent, time.monotonic(), tokens)
            return generation
        finally:
            self._landed.set()

    def _pace(self, sent: Sent, error: RetryableError) -> None:
        now = time.monotonic()
        if error.kind == "rate-limit" or error.status in _FULL:
            self._pacer.refused(sent, now, error.retry_after)
        elif error.kind == "timeout":
            self._pacer.late(sent, now)
        else:
            self._pacer.failed(sent)


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


def _completed(generation: Generation, request: Request, attempts: int) -> Generation:
    image = request.image
    full = (image and image.full) or (0, 0)
    return msgspec.structs.replace(
        generation,
        attempts=attempts,
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
