"""Several trajectories of each sample, in one run folder: `groundingme sample` from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from groundingme import keys
from groundingme.asking import AUTO, Asking
from groundingme.cache import Cache
from groundingme.costs import Price, Spending
from groundingme.datasets import Dataset
from groundingme.errors import FatalError, RequestError, UsageError
from groundingme.evaluation import DEFAULT_OUT, check_numbers, damage_note, prepare
from groundingme.interrupting import run_to_end
from groundingme.models import Model, Request, Wrapped
from groundingme.progress import Progress, Silent
from groundingme.result import MAX_FAILED
from groundingme.runner import HOPELESS, RetryPolicy, ask
from groundingme.saving import save_samples
from groundingme.scale.selection import SAMPLED
from groundingme.scale.stopping import Rule
from groundingme.scale.trajectories import gather
from groundingme.schema import Generation, Sample
from groundingme.store import RunFolder


class Sampling(msgspec.Struct, kw_only=True):
    """What a session of sampling came to.

    Attributes:
        path: Run folder.
        trajectories: Of each sample, as asked for.
        replies: Kept in the folder by now.
        failed: Trajectories that failed in the end.
        missing: Trajectories that were not asked for, because of an interruption or a budget.
        saved: Trajectories that were not needed, with a stopping rule.
        interrupted: Whether Ctrl-C ended it.
        stopped: Why the budget ended it, in one line; "" where it did not.
        spending: Tokens and dollars of the folder.
        max_failed: Share of the trajectories that were asked for which may fail.
        notes: What a user should know.
    """

    path: Path
    trajectories: int
    replies: int = 0
    failed: int = 0
    missing: int = 0
    saved: int = 0
    interrupted: bool = False
    stopped: str = ""
    spending: Spending = msgspec.field(default_factory=lambda: Spending(price=None))
    max_failed: float = MAX_FAILED
    notes: tuple[str, ...] = ()

    @property
    def incomplete(self) -> str:
        """One line where too many trajectories failed, else ""."""
        asked = self.replies + self.failed
        if not self.failed or self.failed <= self.max_failed * asked:
            return ""
        return (
            f"{self.failed} of {asked} trajectories failed, more than --max-failed allows; the "
            "same command asks them again"
        )


def sample(
    model: str | Model,
    data: str | Dataset,
    *,
    n: int = 16,
    temperature: float = 0.7,
    adaptive: Rule | None = None,
    least: int = 2,
    coords: str = AUTO,
    prompt: str = AUTO,
    thinking: str | int | bool | None = None,
    split: str | None = None,
    subset: str = "",
    limit: int | None = None,
    concurrency: int | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    retry: RetryPolicy | None = None,
    max_failed: float = MAX_FAILED,
    max_tokens: int = 20480,
    jpeg_quality: int | None = None,
    price: str | Price | None = None,
    budget: float | None = None,
    cache: Cache | None = None,
    out: str | Path = DEFAULT_OUT,
    progress: Progress | None = None,
    **options: Any,
) -> Sampling:
    """Samples N trajectories of each sample.

    The same call continues an interrupted run, and one with a larger N adds to it. Where a server
    gives several replies to one request, the image is sent once.

    Args:
        model: As `evaluate` takes it, and so are all arguments that are not named here.
        data: Likewise.
        n: Trajectories of each sample, 2 or more.
        temperature: Above 0.
        adaptive: Stop a sample where this rule says that its answer is settled; None never does.
        least: Trajectories before the rule is asked.

    Raises:
        UsageError: An argument that cannot be; nothing was asked.
        FatalError: No request can succeed; what was done is kept.
    """
    if n < 2 or not 1 <= least <= n:
        raise UsageError(f"expected 2 trajectories or more, and least from 1 to {n}, got n {n} "
                         f"and least {least}")  # fmt: skip
    if not 0 < temperature < float("inf"):
        raise UsageError(
            f"expected a temperature above 0, got {temperature}; at 0 all trajectories are one"
        )
    check_numbers(
        concurrency=concurrency, rpm=rpm, tpm=tpm, max_tokens=max_tokens, temperature=temperature,
        limit=limit, max_failed=max_failed,
    )  # fmt: skip
    job = prepare(
        model, data, coords=coords, prompt=prompt, thinking=thinking, split=split, subset=subset,
        limit=limit, temperature=temperature, max_tokens=max_tokens, jpeg_quality=jpeg_quality,
        price=price, budget=budget, cache=cache, options=options, settings={SAMPLED: True},
    )  # fmt: skip
    dataset, how, spending = job.dataset, job.how, job.spending
    folder = RunFolder.find_or_create(out, job.run)
    with folder.lock():
        save_samples(dataset, folder.path)
        watcher = progress or Silent()
        for line in (folder.difference, how.warning):
            if line:
                watcher.note(line)
        session = _Session(folder, dataset, job.model, how, n, spending, watcher)
        damage = damage_note(folder)
        settings: dict[str, Any] = {
            "concurrency": concurrency,
            "rpm": rpm,
            "tpm": tpm,
            "retry": retry or RetryPolicy(),
            "temperature": temperature,
            "max_tokens": max_tokens,
            "jpeg_quality": jpeg_quality,
            "affords": None if budget is None else spending.affords,
            "hopeless": None if session.done() or max_failed == 1 else HOPELESS,
        }
        watcher.start(session.pseudo(), session.done(), how.coords)
        try:
            session.run(settings, adaptive, least)
        except FatalError as error:
            raise FatalError(
                error.kind,
                f"{error}; {len(session.known)} replies are kept in {folder.path}, and the same "
                "command continues there",
                status=error.status,
            ) from error
        finally:
            watcher.stop()
    missing = session.missing()
    return Sampling(
        path=folder.path,
        trajectories=n,
        replies=sum(not one.failure for one in session.known.values()),
        failed=sum(bool(one.failure) for one in session.known.values()),
        missing=0 if adaptive and not session.interrupted else missing,
        saved=missing if adaptive and not session.interrupted else 0,
        interrupted=session.interrupted,
        stopped=spending.stopped(missing),
        spending=spending,
        max_failed=max_failed,
        notes=(*([how.warning] if how.warning else []), *damage),
    )


class _Session:
    """Asks for what a folder lacks."""

    def __init__(
        self,
        folder: RunFolder,
        dataset: Dataset,
        model: Model,
        how: Asking,
        n: int,
        spending: Spending,
        watcher: Progress,
    ) -> None:
        self.folder, self.dataset, self.how, self.n = folder, dataset, how, n
        self.spending, self.watcher = spending, watcher
        self.known = {key: one for key, one in folder.trajectories().items() if key[1] < n}
        self.interrupted = False
        self._tries: set[tuple[str, int]] = set()
        self._model = _Several(model)
        spending.add_all(self.known.values())

    def pseudo(self) -> list[Sample]:
        """Every trajectory as a sample of its own, for the progress."""
        return [
            msgspec.structs.replace(one, id=f"{one.id} #{k}")
            for one in self.dataset
            for k in range(self.n)
        ]

    def done(self) -> dict[str, Generation]:
        """Replies that are there, likewise."""
        return {
            f"{id} #{k}": msgspec.structs.replace(one, id=f"{id} #{k}")
            for (id, k), one in self.known.items()
            if not one.failure
        }

    def missing(self) -> int:
        """Trajectories that nobody asked for."""
        return self.n * len(self.dataset) - len(self.known)

    def run(self, settings: Mapping[str, Any], rule: Rule | None, least: int) -> None:
        """Rounds of requests: one for all, or with a rule one trajectory after another."""
        goal = self.n if rule is None else least
        going: Sequence[Sample] = list(self.dataset)
        while going and not self.interrupted:
            while lacking := self._lacking(going, goal):
                if not self._round(lacking, settings):
                    return
            if rule is None or goal == self.n:
                return
            going = self._unsettled(going, rule, goal)
            goal += 1

    def _lacking(self, samples: Sequence[Sample], goal: int) -> dict[str, list[int]]:
        """Trajectories that a sample has no reply of and that were not tried in this session."""
        found: dict[str, list[int]] = {}
        for one in samples:
            for k in range(goal):
                said = self.known.get((one.id, k))
                if (said is None or said.failure) and (one.id, k) not in self._tries:
                    found.setdefault(one.id, []).append(k)
        return found

    def _round(self, lacking: Mapping[str, list[int]], settings: Mapping[str, Any]) -> bool:
        """One request for each sample; false where the session ends."""
        before = len(self._tries)
        self._model.wanted = {id: run_from(ks) for id, ks in lacking.items()}
        work = ask(
            self._model,
            [one for one in self.dataset if one.id in lacking],
            prompt=self.how.template,
            sink=self._sink,
            system=self.how.system,
            extra=self.how.extra,
            thinking=self.how.thinking,
            image_rule=self.how.image,
            tell=self.watcher.note,
            **settings,
        )
        self.interrupted = run_to_end(work)
        # A budget ends a round before its end, and then no further one begins.
        return not self.interrupted and len(self._tries) > before

    def _sink(self, generation: Generation) -> None:
        first, *others = self._model.wanted[generation.id]
        generation = msgspec.structs.replace(generation, trajectory=first)
        self._keep(generation)
        for one in self._model.others.pop(generation.id, []):
            # What is true of the request is true of all its replies.
            self._keep(
                msgspec.structs.replace(
                    keys.clean(one),
                    attempts=generation.attempts,
                    image_digest=generation.image_digest,
                    sent_width=generation.sent_width,
                    sent_height=generation.sent_height,
                    full_width=generation.full_width,
                    full_height=generation.full_height,
                    time=generation.time,
                )
            )
        if generation.failure:
            for k in others:
                self._keep(msgspec.structs.replace(generation, trajectory=k))

    def _keep(self, generation: Generation) -> None:
        key = (generation.id, generation.trajectory)
        self.folder.append(generation)
        self.known[key] = generation
        self._tries.add(key)
        self.spending.add(generation)
        shown = f"{generation.id} #{generation.trajectory}"
        self.watcher.update(msgspec.structs.replace(generation, id=shown))

    def _unsettled(self, samples: Sequence[Sample], rule: Rule, k: int) -> list[Sample]:
        if not samples:
            return []
        t = gather(samples, self.known, k, self.how.coords)
        settled = np.asarray(rule(t))
        return [one for one, done in zip(samples, settled.tolist(), strict=True) if not done]


def run_from(trajectories: Sequence[int]) -> list[int]:
    """The first numbers that follow one another: one request can number its replies so.

    Example:
        >>> run_from([2, 3, 4, 7])
        [2, 3, 4]
    """
    end = next(
        (at for at in range(1, len(trajectories)) if trajectories[at] != trajectories[0] + at),
        len(trajectories),
    )
    return list(trajectories[:end])


class _Several(Wrapped):
    """A model that gives several replies where it is asked for one; the others are laid aside.

    Attributes:
        wanted: Trajectories to ask for, by sample id.
        others: Replies beside the first, by sample id.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.wanted: dict[str, list[int]] = {}
        self.others: dict[str, list[Generation]] = {}
        self._alone = False

    async def generate(self, request: Request) -> Generation:
        ks = self.wanted[request.id]
        request = msgspec.structs.replace(request, trajectory=ks[0])
        n = 1 if self._alone else len(ks)
        try:
            first, *others = await self._model.choices(request, n)
        except RequestError as error:
            if n == 1 or error.kind != "bad-request":
                raise
            # Some servers refuse a number of replies; they are asked for one by one.
            first, *others = await self._model.choices(request, 1)
            self._alone = True
        self.others[request.id] = others[: n - 1]
        return first
