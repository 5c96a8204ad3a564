"""Servers as queues: measured with some requests in flight, fitted, checked, put under load."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.queueing import (
    Measured,
    Server,
    calibrate,
    percentile_of,
    servers_for,
    simulate_closed,
)
from groundingme.report.svg import Span
from groundingme.schema import Generation
from groundingme.store import RunFolder
from groundingme.studies.changing import changed
from groundingme.studies.estimates import mean
from groundingme.studies.servers import Profile, profiles_of
from groundingme.studies.study import Condition, Done, Setting

DRAWS = 4000
"""Requests that a prediction is simulated with."""
LOADS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Of a server's capacity."""


def response_times(path: Path, in_flight: int) -> Measured:
    """Seconds of the replies in a run folder, in the order in which they came.

    The first ones wait for a server that warms up, the last ones have fewer beside them: as many
    as there are in flight are left out at both ends, as long as half of them is left.

    Raises:
        UsageError: There are too few, or they took no time.
    """
    said: list[Generation] = list(RunFolder.open(path).generations().values())
    seconds: NDArray[np.float64] = np.array(
        [one.latency for one in said if not one.failure and not one.cached], np.float64
    )
    edge = min(in_flight, len(seconds) // 4)
    seconds = seconds[edge : len(seconds) - edge]
    if len(seconds) < 5:
        raise UsageError(
            f"expected 10 replies or more with {in_flight} in flight, got {len(said)}; "
            "name more data, fewer levels, or a larger --limit"
        )
    if not seconds.mean() > 0:
        raise UsageError(
            f"expected a model that takes time, got replies after 0 seconds in {path}; a baseline "
            "has no cost to measure"
        )
    return Measured(in_flight, seconds)


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """Response times at one level, in seconds.

    Attributes:
        mean: Their mean.
        p95: Their 95th percentile.
    """

    mean: float
    p95: float


def measured(one: Measured) -> Prediction:
    """Of what was measured."""
    return Prediction(mean=float(one.seconds.mean()), p95=float(np.quantile(one.seconds, 0.95)))


def predicted(server: Server, in_flight: int, *, seed: int = 0) -> Prediction:
    """With so many requests always in flight."""
    work = np.random.default_rng(seed).choice(server.spread, DRAWS)
    found = simulate_closed(server, in_flight, work)[in_flight:-in_flight]
    return Prediction(mean=float(found.mean()), p95=float(np.quantile(found, 0.95)))


def held_out(points: list[Measured], at: int, *, seed: int = 0) -> Prediction | None:
    """What the other levels predict for one between them; None for the outer ones."""
    levels = [one.in_flight for one in points]
    if not min(levels) < levels[at] < max(levels):
        return None
    server = calibrate([one for number, one in enumerate(points) if number != at])
    return predicted(server, levels[at], seed=seed)


MEASURES = ("mean", "p95")
"""Fields of a prediction."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One level as it was measured, and as the other levels predict it.

    Attributes:
        level: Requests in flight.
        replies: That were measured.
        seen: As measured.
        guess: As predicted; None for the lowest and the highest level.
    """

    level: int
    replies: int
    seen: Prediction
    guess: Prediction | None

    def figures(self, key: str) -> tuple[float, float]:
        """One of `MEASURES`, as measured and as predicted; NaN where it is not predicted."""
        return getattr(self.seen, key), getattr(self.guess, key, math.nan)

    def off(self, key: str) -> float:
        """Relative error of a prediction; NaN where there is none."""
        seen, guess = self.figures(key)
        return guess / seen - 1

    @property
    def row(self) -> list[object]:
        """Cells: level, replies; then of each measure the value, its prediction and the error."""
        cells: list[object] = [self.level, self.replies]
        for key in MEASURES:
            seen, guess = self.figures(key)
            known = not math.isnan(guess)
            cells += [
                seen,
                guess if known else "–",
                f"{100 * self.off(key):+.0f} %" if known else "–",
            ]
        return cells


def errors(checks: Mapping[str, Sequence[Check]]) -> dict[str, list[float]]:
    """Relative errors of all predictions, by measure."""
    found = {key: [one.off(key) for mine in checks.values() for one in mine] for key in MEASURES}
    return {key: [one for one in row if not math.isnan(one)] for key, row in found.items()}


class Fit(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A server as it was measured, and as the queue that explains it.

    Attributes:
        profile: Which.
        points: Response times at each level.
        server: Fitted to all of them.
    """

    profile: Profile
    points: list[Measured]
    server: Server

    @property
    def open_ended(self) -> bool:
        """Whether no limit was seen, so that the server may take more at once than is shown."""
        return self.server.slots >= max(one.in_flight for one in self.points)

    def checks(self, seed: int) -> list[Check]:
        """Every level against what the other levels predict for it."""
        return [
            Check(level=one.in_flight, replies=len(one.seconds), seen=measured(one),
                  guess=held_out(self.points, at, seed=seed))
            for at, one in enumerate(self.points)
        ]  # fmt: skip

    def means(self) -> list[tuple[int, Span]]:
        """Mean seconds at each level, by the requests in flight."""
        return [(one.in_flight, mean(one.seconds, np.arange(len(one.seconds))))
                for one in self.points]  # fmt: skip

    def under(self, together: int) -> list[tuple[float, Span]]:
        """The 95th percentile at each of `LOADS`, where so many requests are sent together."""
        rates = ((load, load * self.server.capacity / together) for load in LOADS)
        return [(100 * load, Span(percentile_of(self.server, rate, together=together)))
                for load, rate in rates]  # fmt: skip


def levels_of(setting: Setting) -> list[int]:
    """Requests in flight at which each server is measured, the fewest first.

    Raises:
        UsageError: The option `levels` does not say.
    """
    try:
        found = sorted({int(one) for one in setting.listed("levels")})
        if len(found) < 3 or found[0] < 1:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"expected levels as three or more whole numbers from 1, such as 1,2,4,8, got "
            f"{setting.knobs['levels']!r}"
        ) from None
    return found


def in_flight(setting: Setting, profile: Profile) -> Iterator[Condition]:
    """One server at every level, each with pictures of its own."""
    levels = levels_of(setting)
    # Each picture once, as a server is quicker with one that it has seen before.
    once = list({one.image.name if one.image else one.id: one for one in setting.dataset}.values())
    for at, level in enumerate(levels):
        part = Dataset(name=setting.dataset.name, source=setting.dataset.source,
                       samples=once[at :: len(levels)])  # fmt: skip
        mark = re.sub(r"[^a-z0-9]+", "-", f"{profile.name}-{level}".lower())
        yield Condition(
            name=f"{profile.name}, {level} in flight",
            model=setting.named(profile.model),
            dataset=changed(part, mark, lambda sample: sample),
            # A reply from the cache takes no time.
            settings={**profile.where, "concurrency": level, "rpm": None, "tpm": None,
                      "cache": None},
        )  # fmt: skip


def fits_of(setting: Setting, done: Sequence[Done]) -> list[Fit]:
    """The queue of every server, from the conditions of `in_flight` of one after another."""
    levels, found = levels_of(setting), []
    for at, profile in enumerate(profiles_of(setting)):
        mine = done[at * len(levels) :][: len(levels)]
        points = [response_times(one.path, k) for one, k in zip(mine, levels, strict=True)]
        found.append(Fit(profile=profile, points=points, server=calibrate(points)))
    return found


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What a number of answers a sample takes.

    Attributes:
        profile: The server.
        n: Answers of a sample, asked for together.
        alone: Median seconds of a sample where nobody else asks.
        most: Samples an hour that one server can take.
        servers: How many are needed; 0 where no number is enough.
        per_hour: Samples an hour that are asked for.
        p95: Seconds within which 95 % of them are to be answered.
    """

    profile: Profile
    n: int
    alone: float
    most: float
    servers: int
    per_hour: float
    p95: float

    @property
    def gpus(self) -> int:
        """In all."""
        return self.servers * self.profile.gpus

    @property
    def dollars(self) -> float:
        """An hour of them; NaN where that is not known."""
        return self.servers * self.profile.an_hour if self.servers else math.nan

    @property
    def needed(self) -> str:
        """How many servers, in words."""
        if not self.servers:
            return "more than any number of servers"
        return f"{self.servers} server{'s' * (self.servers > 1)}"


def load_of(fit: Fit, n: int, per_hour: float, p95: float) -> Load:
    """What a load takes.

    Args:
        fit: The server.
        n: Answers of a sample.
        per_hour: Samples an hour.
        p95: Seconds within which 95 % of them are to be answered.
    """
    calm = 1e-3 / (n * fit.server.seconds)
    return Load(
        profile=fit.profile,
        n=n,
        alone=percentile_of(fit.server, calm, 0.5, together=n, count=400),
        most=3600 * fit.server.capacity / n,
        servers=servers_for(fit.server, per_hour / 3600, p95, together=n),
        per_hour=per_hour,
        p95=p95,
    )
