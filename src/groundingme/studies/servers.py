"""The user's servers: where they are, what an hour costs, and how they were measured.

A file of them, in TOML:

    [[server]]
    name = "one H100"
    model = "openai/Qwen/Qwen3-VL-8B-Instruct"
    base_url = "http://localhost:8000/v1"
    dollars_per_hour = 2.5
    gpus = 1
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.models import Model
from groundingme.queueing import (
    Measured,
    Server,
    calibrate,
    percentile_of,
    servers_for,
    simulate_closed,
)
from groundingme.schema import Generation
from groundingme.store import RunFolder
from groundingme.studies.changing import changed
from groundingme.studies.study import Condition, Done, Setting

DRAWS = 4000
"""Requests that a prediction is simulated with."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server with its hardware.

    Attributes:
        name: For people.
        model: `PROVIDER/NAME`; "" for the study's first model.
        base_url: Of the server; "" for the provider's own, or for what runs in this process.
        dollars_per_hour: Of all of it; None where that is not known.
        gpus: How many it has.
    """

    name: str
    model: str = ""
    base_url: str = ""
    dollars_per_hour: float | None = None
    gpus: int = 1

    @property
    def where(self) -> dict[str, str]:
        """Arguments of `evaluate` that say where it is."""
        return {"base_url": self.base_url} if self.base_url else {}

    @property
    def an_hour(self) -> float:
        """Dollars; NaN where that is not known."""
        return math.nan if self.dollars_per_hour is None else self.dollars_per_hour


class _File(msgspec.Struct, forbid_unknown_fields=True):
    server: list[Profile]


def read_servers(path: Path) -> list[Profile]:
    """The profiles in a file.

    Raises:
        UsageError: It cannot be read, or two have one name.
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).server
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise UsageError(
            f"expected [[server]] rows with name, base_url, dollars_per_hour and gpus in {path}, "
            f"got: {error}"
        ) from None
    names = [one.name for one in found]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"expected servers of different names in {path}, got {names}")
    return found


def profiles_of(setting: Setting) -> list[Profile]:
    """Those of the file that the option `servers` names, or the models where they are."""
    if not (path := setting.knobs["servers"]):
        return [Profile(name=name, model=name) for name in setting.labels]
    return [
        msgspec.structs.replace(one, model=one.model or setting.labels[0])
        for one in read_servers(Path(path))
    ]


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


def in_flight(setting: Setting, profile: Profile, model: str | Model) -> Iterator[Condition]:
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
            model=model,
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
    """

    profile: Profile
    n: int
    alone: float
    most: float
    servers: int

    @property
    def gpus(self) -> int:
        """In all."""
        return self.servers * self.profile.gpus

    @property
    def dollars(self) -> float:
        """An hour of them; NaN where that is not known."""
        return self.servers * self.profile.an_hour if self.servers else math.nan


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
    )
