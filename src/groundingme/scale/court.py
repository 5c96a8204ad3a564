"""A judge at work: pairs of answers go to a model, verdicts come back, and nothing is asked twice.

Everything that is asked is kept in a run folder of its own, `judges/...` inside the folder of the
trajectories, so that a later command, or one after Ctrl-C, asks only what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from groundingme.costs import Spending, find_price
from groundingme.errors import ImageError
from groundingme.images import BytesImage
from groundingme.interrupting import Interrupted, run_to_end
from groundingme.judges import Ask, Candidate, Judge
from groundingme.models import Model, Request
from groundingme.runner import RetryPolicy, ask
from groundingme.scale.knockout import Contest
from groundingme.schema import Generation, Run, Sample
from groundingme.store import RunFolder

Orders: TypeAlias = Literal["both", "random", "given"]

VERDICTS = "verdicts.jsonl"
BUDGET = "the budget had ended"
"""Failure of a verdict that was not asked for."""


class Case(msgspec.Struct, frozen=True):
    """Two answers to one sample."""

    sample: Sample
    one: Candidate
    other: Candidate


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one showing of a pair.

    Attributes:
        id: The sample's id.
        first: Trajectory shown as A.
        second: Trajectory shown as B.
        winner: Trajectory that the judge took; None where it did not decide.
        failure: Why there was no reply; "" where there was one.
        replies: The judge's words, one for each question.
        asks: Ids of the questions in the judge's run folder.
    """

    id: str
    first: int
    second: int
    winner: int | None
    failure: str = ""
    replies: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


class Tally(msgspec.Struct):
    """How a judge did, whatever is true.

    Attributes:
        pairs: Pairs that were decided upon.
        undecided: Of them, those without a winner: the majority decided.
        failed: Of those, the ones without a readable reply at all.
        unasked: Of the undecided, those that were not asked in full, because the budget had ended.
        shown: Showings that ended with a winner.
        first: Of them, those that went to the answer shown first.
    """

    pairs: int = 0
    undecided: int = 0
    failed: int = 0
    unasked: int = 0
    shown: int = 0
    first: int = 0

    @property
    def first_share(self) -> float:
        """Share of verdicts for the answer shown first: 0.5 without position bias; NaN of none."""
        return self.first / self.shown if self.shown else float("nan")


class Purse:
    """One budget for all judges of a command, with what their folders cost in earlier sessions.

    Args:
        spending: Price and budget of the judging model.
    """

    def __init__(self, spending: Spending) -> None:
        self.spending = spending
        self.unasked = 0
        self._counted: set[Path] = set()

    def open(self, folder: RunFolder, generations: Iterable[Generation]) -> None:
        """Counts what a folder holds, once."""
        if folder.path not in self._counted:
            self._counted.add(folder.path)
            self.spending.add_all(generations)

    def stopped(self) -> str:
        """Why questions were not asked, in one line; "" where the budget is not why."""
        if not self.unasked:
            return ""
        spent = self.spending
        return (
            f"stopped at the budget of ${spent.budget:g}: ${spent.dollars:.4f} are spent on the "
            f"judge, the next question could cost ${spent.largest:.4f}, and {self.unasked} "
            "comparisons fell back to the majority; the same command with a larger --budget goes on"
        )


class Court:
    """One judge, one model, and what it said so far.

    Args:
        judge: Writes the questions.
        model: Answers them.
        folder: The trajectories' run folder.
        orders: `both` shows each pair twice and counts only what agrees; `random` shows it once,
            in an order that the seed decides; `given` in the order of the case.
        seed: Of the orders.
        concurrency: Questions in flight at once; None finds out how many the server can take.
        max_tokens: Of a reply.
        retry: When to ask again.
        rpm: Most questions a minute.
        tpm: Most tokens a minute.
        purse: What may be spent; None knows no bounds. Where it is empty no judge is asked, and
            the majority decides.
        tell: Told in a line when everything waits.
    """

    def __init__(
        self,
        judge: Judge,
        model: Model,
        folder: Path,
        *,
        orders: Orders = "both",
        seed: int = 0,
        concurrency: int | None = 16,
        max_tokens: int = 8192,
        retry: RetryPolicy | None = None,
        rpm: float | None = None,
        tpm: float | None = None,
        purse: Purse | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.judge, self.model = judge, model
        self.orders, self.seed = orders, seed
        self.tally = Tally()
        self._purse = purse or Purse(Spending(price=find_price(model.name)))
        self.spending = Spending(price=self._purse.spending.price)
        self._max_tokens = max_tokens
        self._pace: dict[str, Any] = {
            "concurrency": concurrency, "rpm": rpm, "tpm": tpm, "retry": retry, "tell": tell,
        }  # fmt: skip
        run = Run(
            model=model.name,
            data=f"judge/{judge.name}",
            data_name=judge.name,
            data_fingerprint="",
            samples=0,
            prompt="{description}",
            settings={"judge": judge.name, "max_tokens": max_tokens, **model.settings()},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.folder = RunFolder.find_or_create(folder / "judges", run)
        self._known = {k: v for k, v in self.folder.generations().items() if not v.failure}
        self._purse.open(self.folder, self._known.values())
        self._used: set[str] = set()
        self._unasked: set[str] = set()

    def hear(self, cases: Sequence[Case]) -> list[int | None]:
        """The winning trajectory of each pair, or None; questions of all pairs go out at once.

        Raises:
            FatalError: The judging model cannot be asked at all.
            Interrupted: Ctrl-C.
        """
        ruled: list[int | None] = []
        for mine in self.show(cases):
            winners = {one.winner for one in mine}
            winner = winners.pop() if len(winners) == 1 else None
            self.tally.pairs += 1
            unasked = winner is None and any(one.failure == BUDGET for one in mine)
            self.tally.undecided += winner is None
            self.tally.unasked += unasked
            self.tally.failed += not unasked and all(one.failure for one in mine)
            self._purse.unasked += unasked
            ruled.append(winner)
        return ruled

    def show(self, cases: Sequence[Case]) -> list[list[Verdict]]:
        """What came of each showing of each pair, in the order of the cases.

        Raises:
            FatalError: The judging model cannot be asked at all.
            Interrupted: Ctrl-C.
        """
        shown = [(at, *pair) for at, case in enumerate(cases) for pair in self._showings(case)]
        asks = [self._asks(cases[at].sample, one, other) for at, one, other in shown]
        self._reply_to([ask for found in asks if isinstance(found, list) for ask in found if ask])
        verdicts = [
            self._verdict(cases[at].sample, one, other, found)
            for (at, one, other), found in zip(shown, asks, strict=True)
        ]
        self._write(verdicts)
        found_for: list[list[Verdict]] = [[] for _ in cases]
        for (at, *_), verdict in zip(shown, verdicts, strict=True):
            found_for[at].append(verdict)
        return found_for

    def _showings(self, case: Case) -> list[tuple[Candidate, Candidate]]:
        pair = (case.one, case.other)
        if self.orders == "both":
            return [pair, pair[::-1]]
        if self.orders == "given":
            return [pair]
        text = f"{self.seed}:{case.sample.id}:{pair[0].trajectory}:{pair[1].trajectory}"
        swap = hashlib.sha256(text.encode()).digest()[0] % 2
        return [pair[::-1] if swap else pair]

    def _asks(self, sample: Sample, one: Candidate, other: Candidate) -> list[Ask | None] | str:
        """Questions, or why there can be none."""
        try:
            return self.judge.asks(sample, one, other)
        except ImageError as error:
            return f"image: {error}"

    def _reply_to(self, asks: Sequence[Ask]) -> None:
        new = {key: one for one in asks if (key := key_of(one)) not in self._known}
        questions = [
            Sample(
                id=key,
                description=one.prompt,
                target=None,
                image=BytesImage(name=f"{key}.jpg", data=one.image) if one.image else None,
            )
            for key, one in new.items()
        ]
        for key in map(key_of, asks):
            if key in self._known and key not in self._used:
                self._used.add(key)
                self.spending.add(self._known[key])

        asked: set[str] = set()
        bounded = self._purse.spending.budget is not None

        def sink(generation: Generation) -> None:
            self.folder.append(generation)
            self._used.add(generation.id)
            self.spending.add(generation)
            self._purse.spending.add(generation)
            asked.add(generation.id)
            if not generation.failure:
                self._known[generation.id] = generation

        if not questions:
            return
        with self.folder.lock():
            stopped = run_to_end(
                ask(
                    _Text(self.model) if questions[0].image is None else self.model,
                    questions,
                    prompt="{description}",
                    sink=sink,
                    max_tokens=self._max_tokens,
                    affords=self._purse.spending.affords if bounded else None,
                    **self._pace,
                )
            )
        if stopped:
            raise Interrupted
        self._unasked = {one.id for one in questions} - asked

    def _verdict(
        self, sample: Sample, one: Candidate, other: Candidate, asks: list[Ask | None] | str
    ) -> Verdict:
        empty = Verdict(id=sample.id, first=one.trajectory, second=other.trajectory, winner=None)
        if isinstance(asks, str):
            return msgspec.structs.replace(empty, failure=asks)
        keys = [key_of(ask) if ask else "" for ask in asks]
        missing = [key for key in keys if key and key not in self._known]
        if missing:
            why = "no reply" if self._unasked.isdisjoint(missing) else BUDGET
            return msgspec.structs.replace(empty, failure=why, asks=tuple(keys))
        replies = tuple(self._known[key].text if key else "" for key in keys)
        at = self.judge.verdict(replies)
        if at is not None:
            self.tally.shown += 1
            self.tally.first += at == 0
        winner = None if at is None else (one, other)[at].trajectory
        return msgspec.structs.replace(empty, winner=winner, replies=replies, asks=tuple(keys))

    def _write(self, verdicts: Sequence[Verdict]) -> None:
        said = (one for one in verdicts if one.failure != BUDGET)
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in said)
        with (self.folder.path / VERDICTS).open("ab") as file:
            file.write(lines)


def key_of(one: Ask) -> str:
    """The id of a question: the same words and picture have the same."""
    digest = hashlib.sha256(one.prompt.encode())
    digest.update(b"\0" + (one.image or b""))
    return digest.hexdigest()[:32]


class _Text(Model):
    """A model that is asked without an image."""

    needs_image = False

    def __init__(self, model: Model) -> None:
        self.name, self.paced = model.name, model.paced
        self._model = model

    async def generate(self, request: Request) -> Generation:
        return await self._model.generate(request)

    async def aclose(self) -> None:
        await self._model.aclose()


def play_all(
    court: Court,
    contests: Mapping[str, Contest],
    case: Callable[[str, int, int], Case],
    fallback: Callable[[str, int, int], int],
) -> dict[str, int]:
    """Plays a contest a sample, one pair of each at a time, all samples side by side.

    Args:
        court: Judges.
        contests: Not begun, by sample id.
        case: A sample's pair.
        fallback: Decides where the court does not.

    Returns:
        The winning trajectory, by sample id.
    """
    waiting: dict[str, tuple[int, int]] = {}
    won: dict[str, int] = {}

    def step(id: str, move: Callable[[], tuple[int, int]]) -> None:
        try:
            waiting[id] = move()
        except StopIteration as end:
            waiting.pop(id, None)
            won[id] = int(end.value)

    for id, contest in contests.items():
        step(id, lambda contest=contest: next(contest))  # type: ignore[misc]
    while waiting:
        pairs = list(waiting.items())
        ruled = court.hear([case(id, *pair) for id, pair in pairs])
        for (id, pair), winner in zip(pairs, ruled, strict=True):
            decided = fallback(id, *pair) if winner is None else winner
            contest = contests[id]
            step(id, lambda contest=contest, decided=decided: contest.send(decided))  # type: ignore[misc]
    return won
