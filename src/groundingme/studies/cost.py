"""What N answers a sample and their judges cost in time, tokens and money, on which servers.

Response times are measured with 1, 2, 4, ... requests in flight. A queue that explains them says
how many servers a load needs; how far to trust it is seen where it predicts a level that it was
not shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.evaluation import spending_for
from groundingme.queueing import calibrate, percentile_of
from groundingme.report.svg import Axis, Span
from groundingme.scale import rulings
from groundingme.scale.curves import counts, scaling
from groundingme.scale.selection import SampleRun, load_sample_run
from groundingme.scale.trajectories import answered
from groundingme.studies import STUDIES
from groundingme.studies.changing import changed
from groundingme.studies.estimates import images, mean, percent
from groundingme.studies.hearing import JUDGE_KNOBS, asked, judge_names, warmth
from groundingme.studies.servers import (
    Fit,
    Load,
    Profile,
    held_out,
    load_of,
    measured,
    read_servers,
    response_times,
)
from groundingme.studies.study import (
    Condition,
    Done,
    Knob,
    Lines,
    Outcome,
    Setting,
    Study,
    Table,
)

LOADS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Of a server's capacity."""


def plan(setting: Setting) -> Sequence[Condition]:
    """Each server with requests in flight, then N answers of the first server's model."""
    judge_names(setting)
    levels, profiles = _levels(setting), _profiles(setting)
    models = {one if isinstance(one, str) else one.name: one for one in setting.models}
    n = int(setting.knobs["n"])
    if n < 2:
        raise UsageError(f"expected n of 2 or more, got {n}")
    made = []
    once = list({one.image.name if one.image else one.id: one for one in setting.dataset}.values())
    for one in profiles:
        for at, level in enumerate(levels):
            # Each picture once, as a server is quicker with one that it has seen before.
            part = Dataset(name=setting.dataset.name, source=setting.dataset.source,
                           samples=once[at :: len(levels)])  # fmt: skip
            mark = re.sub(r"[^a-z0-9]+", "-", f"{one.name}-{level}".lower())
            made.append(
                Condition(
                    name=f"{one.name}, {level} in flight",
                    model=models.get(one.model, one.model),
                    dataset=changed(part, mark, lambda sample: sample),
                    # A reply from the cache takes no time.
                    settings={**_where(one), "concurrency": level, "rpm": None, "tpm": None,
                              "cache": None},
                )
            )  # fmt: skip
    first = profiles[0]
    made.append(
        Condition(name=f"{n} answers", model=models.get(first.model, first.model),
                  dataset=setting.dataset, n=n,
                  settings={"temperature": warmth(setting), **_where(first)})
    )  # fmt: skip
    return made


def _levels(setting: Setting) -> list[int]:
    try:
        found = sorted({int(one) for one in str(setting.knobs["levels"]).split(",")})
        if len(found) < 3 or found[0] < 1:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"expected levels as three or more whole numbers from 1, such as 1,2,4,8, got "
            f"{setting.knobs['levels']!r}"
        ) from None
    return found


def _profiles(setting: Setting) -> list[Profile]:
    """Those of the file, or the models where they are."""
    names = [one if isinstance(one, str) else one.name for one in setting.models]
    if not (path := setting.knobs["servers"]):
        return [Profile(name=name, model=name) for name in names]
    return [
        msgspec.structs.replace(one, model=one.model or names[0])
        for one in read_servers(Path(path))
    ]


def _where(one: Profile) -> dict[str, Any]:
    return {"base_url": one.base_url} if one.base_url else {}


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """The queue of every server, what it predicts, and what N answers take on it."""
    levels, profiles = _levels(setting), _profiles(setting)
    sampled = done[-1]
    run = load_sample_run(sampled.path)
    fits = []
    for at, one in enumerate(profiles):
        mine = done[at * len(levels) :][: len(levels)]
        points = [response_times(d.path, k) for d, k in zip(mine, levels, strict=True)]
        fits.append(Fit(profile=one, points=points, server=calibrate(points)))
    rows, off = _checked(fits, setting.seed)
    tokens, dollars = _spent(run, setting)
    where = images(list(sampled.condition.dataset))
    scores = {round(one.k): Span(one.score, one.low, one.high)
              for one in scaling(run.t, where, ["majority"])["majority"]}  # fmt: skip
    per_hour, p95 = float(setting.knobs["rate"]), float(setting.knobs["p95"])
    loads = [load_of(fit, n, per_hour, p95) for fit in fits for n in scores]
    return Outcome(
        finding=_finding(off, loads, scores, per_hour, p95),
        tables=[
            Table(title="Servers as queues",
                  columns=["server", "requests at once", "seconds alone", "more for each other",
                           "requests an hour, at most", "$ an hour", "GPUs"],
                  rows=[[one.profile.name,
                         f"{one.server.slots}{' or more' if one.open_ended else ''}",
                         one.server.seconds, one.server.slowdown,
                         f"{3600 * one.server.capacity:,.0f}",
                         _or_dash(one.profile.dollars_per_hour), one.profile.gpus]
                        for one in fits],
                  note="Fitted to all levels. 'Or more': no limit was seen up to the highest."),
            Table(title="Measured, and predicted from the other levels, in seconds",
                  columns=["server", "in flight", "replies", "mean", "its prediction", "off by",
                           "p95", "prediction of it", "off by "], rows=rows,
                  note="The lowest and the highest level are not predicted: there the queue would "
                  "be asked for what it has not seen from both sides."),
            Table(title=f"N answers a sample, for {per_hour:,.0f} samples an hour of which 95 % "
                        f"are answered within {p95:g} s",
                  columns=["server", "N", "right", "tokens", "$ of tokens, per 1,000",
                           "seconds alone", "samples an hour, at most", "servers", "GPUs",
                           "$ an hour"],
                  rows=[[one.profile.name, one.n, scores[one.n], tokens * one.n,
                         1000 * dollars * one.n, one.alone, f"{one.most:,.0f}",
                         one.servers or "no number", one.gpus or "–", one.dollars]
                        for one in loads],
                  note="Right: the majority of N. Seconds alone: the median of a sample where "
                  "nobody else asks. The answers of a sample are asked for together."),
            _judged(setting, [sampled, *done[:-1]], run),
        ],
        figures=[_levels_figure(fits, setting.seed), _load_figure(fits[0], run.t.n)],
        values={
            "servers": {one.profile.name: {"slots": one.server.slots,
                                           "seconds": one.server.seconds,
                                           "slowdown": one.server.slowdown,
                                           "capacity": one.server.capacity} for one in fits},
            "off": off, "tokens": tokens, "dollars": dollars,
            "loads": [{"server": one.profile.name, "n": one.n, "servers": one.servers,
                       "alone": one.alone} for one in loads],
        },
    )  # fmt: skip


def _or_dash(value: float | None) -> float:
    return math.nan if value is None else value


def _checked(fits: Sequence[Fit], seed: int) -> tuple[list[list[Any]], dict[str, list[float]]]:
    """Rows of the table, and relative errors of means and percentiles that were held out."""
    rows: list[list[Any]] = []
    off: dict[str, list[float]] = {"mean": [], "p95": []}
    for fit in fits:
        for at, point in enumerate(fit.points):
            seen, guess = measured(point), held_out(fit.points, at, seed=seed)
            cells: list[Any] = [fit.profile.name, point.in_flight, len(point.seconds)]
            for key in ("mean", "p95"):
                value = getattr(seen, key)
                if guess is None:
                    cells += [value, "–", "–"]
                    continue
                error = getattr(guess, key) / value - 1
                off[key].append(error)
                cells += [value, getattr(guess, key), f"{100 * error:+.0f} %"]
            rows.append(cells)
    return rows, off


def _spent(run: SampleRun, setting: Setting) -> tuple[float, float]:
    """Tokens and dollars of one answer, on average; NaN where they are not known."""
    spending = spending_for(run.folder.run.model, setting.asking.get("price"), None)
    said = [one for one in run.generations.values() if not one.failure]
    counted = [one for one in said if one.completion_tokens is not None]
    if not counted:
        return math.nan, math.nan
    tokens = sum((one.prompt_tokens or 0) + (one.completion_tokens or 0) for one in counted)
    paid = [spending.price.of(one) if spending.price else None for one in counted]
    known = [one for one in paid if one is not None]
    return tokens / len(counted), sum(known) / len(counted) if known else math.nan


def _judged(setting: Setting, done: Sequence[Done], run: SampleRun) -> Table:
    """How much a judge is asked for N answers, and what that takes where one was asked."""
    pairs = rulings.pairs_of(run.t, int(setting.knobs["candidates"]))
    heard = asked(setting, done, run, pairs)
    every = np.ones(len(pairs), np.bool_)
    each = {one.name: one.spent(every) for one in heard}
    rows: list[list[Any]] = []
    for n in counts(run.t.n)[1:]:
        part = run.t.first(n)
        few = rulings.pairs_of(part, int(setting.knobs["candidates"]))
        one = few.candidates
        for way, met in (
            ("all compete", np.maximum(answered(part).sum(axis=1) - 1, 0)),
            ("different answers compete", np.array([max(0, len(row) - 1) for row in one])),
        ):
            requests = 2 * float(met.mean())
            longest = int(met.max(initial=0))
            costs = [
                cell
                for spent in each.values()
                for cell in (
                    requests * spent.tokens / max(1, spent.requests),
                    met.mean() * spent.seconds / max(1, spent.requests),
                    1000 * requests * spent.dollars / max(1, spent.requests),
                )
            ]
            rows.append([n, way, requests, longest, *(float(cell) for cell in costs)])
    return Table(
        title="What a judge of N answers is asked",
        columns=["N", "knockout", "requests a sample", "most rounds",
                 *(f"{name}: {what}" for name in each
                   for what in ("tokens", "seconds", "$ per 1,000"))],
        rows=rows,
        note="Each pair in both orders, which are asked together; rounds follow one another. "
        + ("Tokens, seconds and dollars from the judges' own replies here."
           if heard else "No judge was asked: name one with --set judge=MODEL."),
    )  # fmt: skip


def _finding(
    off: dict[str, list[float]], loads: Sequence[Load], scores: dict[int, Span],
    per_hour: float, p95: float,
) -> str:  # fmt: skip
    worst = {key: max(map(abs, found)) for key, found in off.items()}
    told = (
        f"Predicted from the other levels, the mean response time is off by at most "
        f"{percent(worst['mean'], 0)} % and its 95th percentile by {percent(worst['p95'], 0)} %, "
        f"at {len(off['mean'])} levels that the queue was not shown. "
    )
    name = loads[0].profile.name
    few, many = loads[0], next(one for one in loads if one.n == max(scores))
    need = [f"{one.servers} servers" if one.servers > 1 else
            "1 server" if one.servers else "more than any number of servers"
            for one in (few, many)]  # fmt: skip
    return told + (
        f"For {per_hour:,.0f} samples an hour of which 95 % are answered within {p95:g} s, one "
        f"answer a sample takes {need[0]} like {name}, and {many.n} answers take {need[1]}, with "
        f"{percent(scores[few.n].value)} % and {percent(scores[many.n].value)} % right."
    )


def _seconds_axis(most: float, title: str) -> Axis:
    step = 10.0 ** math.floor(math.log10(most))
    step = step / 2 if most / step < 2 else step
    high = step * math.ceil(most / step)
    ticks = [high * at / 4 for at in range(5)]
    return Axis(low=0, high=high, ticks=ticks, labels=[f"{one:.3g}" for one in ticks], title=title)


def _levels_figure(fits: Sequence[Fit], seed: int) -> Lines:
    """Means that were measured, and those predicted from the other levels."""
    series: dict[str, list[tuple[float, Span]]] = {}
    levels = [one.in_flight for one in fits[0].points]
    for fit in fits:
        name = fit.profile.name
        guesses = [held_out(fit.points, at, seed=seed) for at in range(len(levels))]
        series[f"{name}, measured"] = [
            (math.log2(one.in_flight), mean(one.seconds, np.arange(len(one.seconds))))
            for one in fit.points
        ]
        series[f"{name}, predicted from the others"] = [
            (math.log2(k), Span(one.mean))
            for k, one in zip(levels, guesses, strict=True) if one is not None
        ]  # fmt: skip
    highest = max(span.value if math.isnan(span.high) else span.high
                  for points in series.values() for _, span in points)  # fmt: skip
    ticks = [math.log2(k) for k in levels]
    return Lines(
        title="Response times, measured and predicted",
        text="Means with 95 % intervals; a prediction is from all other levels of that server.",
        series=series,
        x=Axis(low=ticks[0] - 0.2, high=ticks[-1] + 0.2, ticks=ticks,
               labels=[str(k) for k in levels], title="requests in flight"),
        y=_seconds_axis(highest, "seconds"),
    )  # fmt: skip


def _load_figure(fit: Fit, n: int) -> Lines:
    """The 95th percentile against the load, for 1 and for N answers a sample."""
    capacity = fit.server.capacity
    series = {
        f"{together} answer{'s' if together > 1 else ''} a sample": [
            (100 * load, Span(percentile_of(fit.server, load * capacity / together,
                                            together=together)))
            for load in LOADS
        ]
        for together in sorted({1, min(4, n), n})
    }  # fmt: skip
    highest = max(span.value for points in series.values() for _, span in points)
    return Lines(
        title="95th percentile of response times against the load",
        text=f"Simulated for {fit.profile.name}: samples arrive at random, and their answers "
        "are asked for together.",
        series=series,
        x=Axis(low=0, high=100, ticks=(0, 20, 40, 60, 80, 100),
               title="load, % of what the server can take"),
        y=_seconds_axis(highest, "seconds"),
    )  # fmt: skip


STUDIES.register(
    "cost",
    Study(
        name="cost",
        question="What do N answers and their judges cost in time, tokens and money, and how many "
        "servers does a load need?",
        needs="one model or more, or a file of servers (--set servers=FILE): each sample N times "
        "on the first, and each data set once on every server",
        models=("builtin/grounder",),
        data=("scenes:seed=11,n=240",),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob("n", 16, "answers sampled of each sample"),
            Knob("levels", "1,2,4,8", "requests in flight at which each server is measured"),
            Knob("servers", "", "TOML with [[server]] rows: name, model, base_url, "
                 "dollars_per_hour, gpus"),
            Knob("rate", 10000.0, "samples an hour that are to be answered"),
            Knob("p95", 10.0, "seconds within which 95 % of them are"),
            *JUDGE_KNOBS,
        ),
    ),
)  # fmt: skip
