"""What N answers a sample and their judges cost in time, tokens and money, on which servers.

Response times are measured with 1, 2, 4, ... requests in flight. A queue that explains them says
how many servers a load needs; how far to trust it is seen where it predicts a level that it was
not shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from groundingme.report.svg import Span
from groundingme.scale import rulings
from groundingme.scale.curves import scaling
from groundingme.scale.selection import SampleRun, load_sample_run
from groundingme.studies import STUDIES
from groundingme.studies.estimates import images, percent
from groundingme.studies.figures import doublings, highest, percents, up_to
from groundingme.studies.fitting import Check, Fit, Load, errors, fits_of, in_flight, load_of
from groundingme.studies.hearing import JUDGE_KNOBS, asked, demand, judge_names, several
from groundingme.studies.servers import profiles_of
from groundingme.studies.spending import spent_by
from groundingme.studies.study import Condition, Done, Knob, Lines, Outcome, Setting, Study, Table


def plan(setting: Setting) -> Sequence[Condition]:
    """Each server with requests in flight, then N answers of the first server's model."""
    judge_names(setting)
    profiles = profiles_of(setting)
    first = profiles[0]
    return [
        *(condition for one in profiles for condition in in_flight(setting, one)),
        several(setting, setting.named(first.model), first.where),
    ]


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """The queue of every server, what it predicts, and what N answers take on it."""
    sampled = done[-1]
    run = load_sample_run(sampled.path)
    fits = fits_of(setting, done)
    checks = {fit.profile.name: fit.checks(setting.seed) for fit in fits}
    off = errors(checks)
    tokens, dollars = spent_by(run, setting)
    where = images(list(sampled.condition.dataset))
    scores = {round(one.k): Span(one.score, one.low, one.high)
              for one in scaling(run.t, where, ["majority"])["majority"]}  # fmt: skip
    per_hour, p95 = float(setting.knobs["rate"]), float(setting.knobs["p95"])
    loads = [load_of(fit, n, per_hour, p95) for fit in fits for n in scores]
    return Outcome(
        finding=_finding(off, loads, scores),
        tables=[
            Table(title="Servers as queues",
                  columns=["server", "requests at once", "seconds alone", "more for each other",
                           "requests an hour, at most", "$ an hour", "GPUs"],
                  rows=[[one.profile.name,
                         f"{one.server.slots}{' or more' if one.open_ended else ''}",
                         one.server.seconds, one.server.slowdown,
                         f"{3600 * one.server.capacity:,.0f}",
                         one.profile.an_hour, one.profile.gpus]
                        for one in fits],
                  note="Fitted to all levels. 'Or more': no limit was seen up to the highest."),
            Table(title="Measured, and predicted from the other levels, in seconds",
                  columns=["server", "in flight", "replies", "mean", "its prediction", "off by",
                           "p95", "prediction of it", "off by "],
                  rows=[[name, *one.row] for name, mine in checks.items() for one in mine],
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
        figures=[_levels_figure(fits, checks), _load_figure(fits[0], run.t.n)],
        values={
            "servers": {one.profile.name: {key: getattr(one.server, key) for key in (
                "slots", "seconds", "slowdown", "capacity")} for one in fits},
            "off": off, "tokens": tokens, "dollars": dollars,
            "loads": [{"server": one.profile.name, "n": one.n, "servers": one.servers,
                       "alone": one.alone} for one in loads],
        },
    )  # fmt: skip


def _judged(setting: Setting, done: Sequence[Done], run: SampleRun) -> Table:
    """How much a judge is asked for N answers, and what that takes where one was asked."""
    candidates = int(setting.knobs["candidates"])
    heard = asked(setting, done, run, rulings.pairs_of(run.t, candidates))
    return Table(
        title="What a judge of N answers is asked",
        columns=["N", "knockout", "requests a sample", "most rounds",
                 *(f"{one.name}: {what}" for one in heard
                   for what in ("tokens", "seconds", "$ per 1,000"))],
        rows=demand(run, heard, candidates),
        note="Each pair in both orders, which are asked together; rounds follow one another. "
        + ("Tokens, seconds and dollars from the judges' own replies here."
           if heard else "No judge was asked: name one with --set judge=MODEL."),
    )  # fmt: skip


def _finding(
    off: Mapping[str, Sequence[float]], loads: Sequence[Load], scores: Mapping[int, Span]
) -> str:
    worst = {key: max(map(abs, found)) for key, found in off.items()}
    told = (
        f"Predicted from the other levels, the mean response time is off by at most "
        f"{percent(worst['mean'], 0)} % and its 95th percentile by {percent(worst['p95'], 0)} %, "
        f"at {len(off['mean'])} levels that the queue was not shown. "
    )
    few, many = loads[0], next(one for one in loads if one.n == max(scores))
    return told + (
        f"For {few.per_hour:,.0f} samples an hour of which 95 % are answered within {few.p95:g} s, "
        f"one answer a sample takes {few.needed} like {few.profile.name}, and {many.n} answers "
        f"take {many.needed}, with {percent(scores[few.n].value)} % and "
        f"{percent(scores[many.n].value)} % right."
    )


def _levels_figure(fits: Sequence[Fit], checks: Mapping[str, Sequence[Check]]) -> Lines:
    """Means that were measured, and those predicted from the other levels."""
    series = {}
    for fit in fits:
        name = fit.profile.name
        series[f"{name}, measured"] = [(math.log2(k), span) for k, span in fit.means()]
        series[f"{name}, predicted from the others"] = [
            (math.log2(one.level), Span(one.guess.mean)) for one in checks[name] if one.guess
        ]
    return Lines(
        title="Response times, measured and predicted",
        text="Means with 95 % intervals; a prediction is from all other levels of that server.",
        series=series,
        x=doublings([one.in_flight for one in fits[0].points], "requests in flight"),
        y=up_to(highest(series), "seconds"),
    )  # fmt: skip


def _load_figure(fit: Fit, n: int) -> Lines:
    """The 95th percentile against the load, for 1 and for N answers a sample."""
    series = {f"{together} answer{'s' if together > 1 else ''} a sample": fit.under(together)
              for together in sorted({1, min(4, n), n})}  # fmt: skip
    return Lines(
        title="95th percentile of response times against the load",
        text=f"Simulated for {fit.profile.name}: samples arrive at random, and their answers "
        "are asked for together.",
        series=series,
        x=percents("load, % of what the server can take"),
        y=up_to(highest(series), "seconds"),
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
