"""Running a study: every condition through the ordinary engine, then the reduction.

Each condition is a run folder, so that an interrupted study goes on where it stopped, a reply is
paid for once, and every other command reads the runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from groundingme.asking import AUTO
from groundingme.costs import Price, find_price, parse_price
from groundingme.errors import JobError, UsageError
from groundingme.evaluation import evaluate, prepare
from groundingme.interrupting import Interrupted
from groundingme.progress import Progress
from groundingme.registry import unknown
from groundingme.scale.sampling import sample
from groundingme.scale.selection import SAMPLED
from groundingme.schema import Run
from groundingme.store import RunFolder, list_runs, write_atomically
from groundingme.studies import page
from groundingme.studies.study import Condition, Done, Outcome, Setting, Study

FREE = ("builtin/", "baseline/", "mock/")
"""Beginnings of the names of models that cost no money."""
_PACE = frozenset({
    "adaptive", "budget", "cache", "concurrency", "least", "max_failed", "out", "price", "progress",
    "protocol", "retry", "retry_failed", "rpm", "tpm", "workers",
})  # fmt: skip
"""Arguments that are no part of what is asked."""

_PROMPT_TOKENS, _COMPLETION_TOKENS = 1500, 60
"""Of a request where no run in the folder has counted any; a guess, and said to be one."""


def knobs(study: Study, given: Mapping[str, str]) -> dict[str, Any]:
    """A study's own options with their values.

    Raises:
        UsageError: It has no such option, or a value cannot be read.
    """
    known = {one.name: one for one in study.knobs}
    for name in given:
        if name not in known:
            raise unknown(f"option of the study {study.name}", name, known)
    return {
        name: one.read(given[name]) if name in given else one.default for name, one in known.items()
    }


def planned(study: Study, setting: Setting) -> list[Condition]:
    """The conditions of a study.

    Raises:
        UsageError: The study cannot be run under this setting.
    """
    if len(setting.models) < study.least:
        raise UsageError(
            f"expected {study.least} models or more for the study {study.name}, got "
            f"{len(setting.models)}; name more"
        )
    conditions = list(study.plan(setting))
    keys = [(one.label, one.name) for one in conditions]
    assert len(set(keys)) == len(keys), "conditions of one model share a name"
    for one in conditions:
        if not len(one.dataset):
            raise UsageError(
                f"expected samples for {one.name!r} of the study {study.name}, got none in "
                f"{one.dataset.source} that it applies to; name other data, or a larger --limit"
            )
    return conditions


def run(
    study: Study,
    setting: Setting,
    *,
    progress: Callable[[], Progress] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Runs what is not there yet, reduces, and writes tables, figures and a page.

    Args:
        study: Which.
        setting: On what.
        progress: Makes what is told of a condition's replies.
        tell: Takes a line on every condition.

    Raises:
        UsageError: The study cannot be run under this setting; nothing was asked.
        Interrupted: Ctrl-C; the same call goes on.
        JobError: The budget is spent, or too many samples of a condition failed.
    """
    conditions = planned(study, setting)
    setting.folder.mkdir(parents=True, exist_ok=True)
    save_plan(study, setting, conditions)
    done: list[Done] = []
    spent = 0.0
    for number, condition in enumerate(_all(study, setting, conditions, done), 1):
        tell(f"{number} of {len(conditions)}: {condition.label}, {condition.name}")
        one, dollars = _asked(condition, setting, spent, progress)
        spent += dollars
        done.append(one)
    outcome = study.reduce(setting, done)
    page.save(study, setting, done, outcome)
    return outcome


def _all(
    study: Study, setting: Setting, conditions: list[Condition], done: Sequence[Done]
) -> Iterator[Condition]:
    """The planned conditions; once all are in `done`, those that follow, which join the plan."""
    yield from list(conditions)
    if study.then is not None:
        more = list(study.then(setting, done))
        conditions += more
        save_plan(study, setting, conditions)
        yield from more


def _asked(
    condition: Condition,
    setting: Setting,
    spent: float,
    progress: Callable[[], Progress] | None,
) -> tuple[Done, float]:
    """One condition, and the dollars of its folder."""
    arguments = {**setting.asking, **condition.settings, "out": setting.runs}
    if (budget := arguments.get("budget")) is not None:
        if budget - spent <= 0:
            raise JobError(
                f"the budget of ${budget:g} is spent before {condition.name!r}; the same command "
                "with a larger --budget goes on"
            )
        arguments["budget"] = budget - spent
    if progress is not None:
        arguments["progress"] = progress()
    if condition.n > 1:
        arguments.pop("protocol", None)
        sampling = sample(condition.model, condition.dataset, n=condition.n, **arguments)
        _check(condition, sampling.interrupted, sampling.stopped, sampling.incomplete)
        return Done(condition=condition, path=sampling.path), sampling.spending.dollars
    result = evaluate(condition.model, condition.dataset, **arguments)
    _check(condition, result.interrupted, result.stopped, result.incomplete)
    assert result.path is not None
    done = Done(condition=condition, path=result.path, result=result)
    return done, result.spending.dollars


def _check(condition: Condition, interrupted: bool, stopped: str, incomplete: str) -> None:
    if interrupted:
        raise Interrupted
    if stopped or incomplete:
        raise JobError(f"{condition.label}, {condition.name}: {stopped or incomplete}")


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a study would ask.

    Attributes:
        conditions: Name, model, samples, trajectories and replies that are there, of each.
        requests: Replies still to be had.
        prompt_tokens: Of those, about.
        completion_tokens: Likewise.
        dollars: Likewise; NaN where a price is not known.
        measured: Whether tokens are means of replies in the study's folder, and not a guess.
    """

    conditions: Sequence[tuple[str, str, int, int, int]]
    requests: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float
    measured: bool


def estimate(study: Study, setting: Setting) -> Estimate:
    """What `run` would ask, without asking it.

    Raises:
        UsageError: The study cannot be run under this setting.
    """
    conditions = planned(study, setting)
    there = list_runs(setting.runs) if setting.runs.exists() else []
    replies = {one.path: list(one.trajectories().values()) for one in there}
    counted = [
        (one.prompt_tokens, one.completion_tokens)
        for rows in replies.values()
        for one in rows
        if one.prompt_tokens is not None and one.completion_tokens is not None
    ]
    prompt, completion = _PROMPT_TOKENS, _COMPLETION_TOKENS
    if counted:
        prompt = round(sum(one[0] for one in counted) / len(counted))
        completion = round(sum(one[1] for one in counted) / len(counted))
    rows, requests, dollars = [], 0, 0.0
    for one in conditions:
        folder = RunFolder.find(setting.runs, _run_of(one, setting))
        had = sum(not reply.failure for reply in replies.get(folder.path, [])) if folder else 0
        wanted = len(one.dataset) * one.n
        left = max(0, wanted - had)
        rows.append((one.name, one.label, len(one.dataset), one.n, min(had, wanted)))
        requests += left
        dollars += _dollars(one, setting, left, prompt, completion)
    return Estimate(
        conditions=rows,
        requests=requests,
        prompt_tokens=requests * prompt,
        completion_tokens=requests * completion,
        dollars=dollars,
        measured=bool(counted),
    )


def _run_of(condition: Condition, setting: Setting) -> Run:
    """The run that a condition is, as `evaluate` and `sample` would call it."""
    several = condition.n > 1
    asked: dict[str, Any] = {
        "coords": AUTO, "prompt": AUTO, "thinking": None, "split": None, "subset": "",
        "limit": None, "temperature": 0.7 if several else 0.0, "max_tokens": 20480,
        "jpeg_quality": None, "control": None,
    }  # fmt: skip
    given = {**setting.asking, **condition.settings}
    asked |= {name: value for name, value in given.items() if name in asked}
    options = {
        name: value for name, value in given.items() if name not in asked and name not in _PACE
    }
    settings = {SAMPLED: True} if several else None
    return prepare(
        condition.model, condition.dataset, **asked, price=None, budget=None, cache=None,
        options=options, settings=settings,
    ).run  # fmt: skip


def _dollars(
    condition: Condition, setting: Setting, requests: int, prompt: int, completion: int
) -> float:
    if condition.label.startswith(FREE):
        return 0.0
    given = setting.asking.get("price")
    price: Price | None
    price = parse_price(given) if isinstance(given, str) else given or find_price(condition.label)
    if price is None:
        return math.nan
    return requests * (prompt * price.prompt + completion * price.completion) / 1e6


def save_plan(study: Study, setting: Setting, conditions: Sequence[Condition]) -> None:
    """Keeps what is run as `plan.json` in the study's folder."""
    rows = [
        {
            "name": one.name,
            "model": one.label,
            "data": one.dataset.name,
            "fingerprint": one.dataset.fingerprint,
            "samples": len(one.dataset),
            "trajectories": one.n,
            "settings": {name: str(value) for name, value in one.settings.items()},
        }
        for one in conditions
    ]
    plan = {"study": study.name, "seed": setting.seed, "options": dict(setting.knobs)}
    text = msgspec.json.format(msgspec.json.encode({**plan, "conditions": rows}), indent=1)
    write_atomically(setting.folder / "plan.json", text + b"\n")
