"""The study of costs on a real HTTP server whose slots and delays are known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
from tests import virtual_time
from tests.perfect import questions
from tests.slotted import Slots, SlottedServer

from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.queueing import Measured, Server, calibrate, percentile_of
from groundingme.studies import STUDIES, running
from groundingme.studies.servers import read_servers
from groundingme.studies.study import Setting

STUDY = STUDIES.get("cost")


def data(count: int = 75) -> Dataset:
    made = questions({(160 + number, 40): [None] for number in range(count)})
    return Dataset(name="boxes", source="here", samples=list(made))


def setting(folder: Path, **knobs: Any) -> Setting:
    defaults = {one.name: one.default for one in STUDY.knobs}
    return Setting(
        models=["openai/slotted"], datasets=[data()], folder=folder,
        knobs=defaults | {"n": 2} | knobs, asking={"price": "1,10"},
    )  # fmt: skip


def servers(path: Path, address: str) -> str:
    path.write_text(
        f'[[server]]\nname = "two cards"\nbase_url = "{address}"\ndollars_per_hour = 3.0\n'
        "gpus = 2\n"
    )
    return str(path)


@pytest.mark.slow
def test_slots_and_delay_of_a_real_server_are_found(tmp_path: Path) -> None:
    with SlottedServer(3, 0.3) as server:
        one = setting(
            tmp_path / "study", servers=servers(tmp_path / "s.toml", server.base_url),
            levels="1,2,3,6,9", rate=100_000.0, p95=5.0,
        )  # fmt: skip
        outcome = running.run(STUDY, one)
    found = outcome.values["servers"]["two cards"]
    # A busy machine adds to every delay; more than 3 in 300 ms there cannot be.
    assert found["slots"] in (3, 4)
    assert 5 < found["capacity"] < 11
    assert len(outcome.values["off"]["mean"]) == 3
    assert min(map(abs, outcome.values["off"]["mean"])) < 0.3
    # 28 requests a second.
    loads = {row["n"]: row["servers"] for row in outcome.values["loads"]}
    assert loads[1] >= 3
    assert loads[2] >= 6
    # 11 prompt and 7 completion tokens.
    assert outcome.values["tokens"] == 18
    assert outcome.values["dollars"] == pytest.approx((11 + 70) / 1e6)
    row = outcome.tables[2].rows[0]
    assert row[7:] == [loads[1], 2 * loads[1], 3.0 * loads[1]]
    assert f"takes {loads[1]} servers like two cards" in outcome.finding


def test_levels_and_servers_are_checked_before_anything_is_asked(tmp_path: Path) -> None:
    for levels in ("1,2", "0,1,2", "1,x,3"):
        with pytest.raises(UsageError, match="three or more whole numbers"):
            running.planned(STUDY, setting(tmp_path, levels=levels))
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[server]]\nname = "a"\ngpu = 1\n')
    with pytest.raises(UsageError, match="gpu"):
        read_servers(wrong)
    wrong.write_text('[[server]]\nname = "a"\n[[server]]\nname = "a"\n')
    with pytest.raises(UsageError, match="different names"):
        read_servers(wrong)


def test_a_model_that_takes_no_time_has_no_cost(tmp_path: Path) -> None:
    one = msgspec.structs.replace(setting(tmp_path), models=["baseline/center"])
    with pytest.raises(UsageError, match="takes time"):
        running.run(STUDY, one)


Ask = Callable[[], Awaitable[None]]


async def _times(ask: Ask, in_flight: int, count: int) -> list[float]:
    left = iter(range(count))
    found: list[float] = []

    async def worker() -> None:
        for _ in left:
            seconds = await _one(ask)
            found.append(seconds)

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return found[in_flight : len(found) - in_flight]


async def _one(ask: Ask) -> float:
    now = asyncio.get_running_loop().time
    began = now()
    await ask()
    return now() - began


async def _arriving(ask: Ask, rate: float, count: int, seed: int) -> list[float]:
    now = asyncio.get_running_loop().time
    tasks, due = [], now()
    for gap in np.random.default_rng(seed).exponential(1 / rate, count).tolist():
        due += gap
        await asyncio.sleep(max(0.0, due - now()))
        tasks.append(asyncio.create_task(_one(ask)))
    return list(await asyncio.gather(*tasks))


async def predict(ask: Ask, loads: list[float]) -> tuple[Server, list[list[float]]]:
    """The queue from closed loops; rows of load, measured and predicted 95th percentile."""
    points = [Measured(k, np.array(await _times(ask, k, 100 * k))) for k in (1, 2, 4, 8)]
    found = calibrate(points)
    rows = []
    for load in loads:
        rate = load * found.capacity
        seen = await _arriving(ask, rate, 400, seed=1)
        rows.append(
            [load, float(np.quantile(seen, 0.95)), percentile_of(found, rate, 0.95, count=4000)]
        )
    return found, rows


def predict_open(server: SlottedServer, loads: list[float]) -> tuple[Server, list[list[float]]]:
    """The same of a real server."""
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a cup"}]}]}

    async def work() -> tuple[Server, list[list[float]]]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask() -> None:
                async with session.post(f"{server.base_url}/chat/completions", json=body) as reply:
                    await reply.read()

            return await predict(ask, loads)

    return asyncio.run(work())


def test_random_arrivals_wait_as_predicted() -> None:
    """By a clock that no other work on the machine delays; `bench/capacity.py` asks over HTTP."""
    found, rows = virtual_time.run(predict(Slots(4, 0.05, even=False).work, [0.5, 0.8]))
    assert found.slots == 4
    for load, seen, guess in rows:
        # 400 arrivals are few for a percentile of a busy queue.
        assert guess == pytest.approx(seen, rel=0.25 if load < 0.7 else 0.5)


@pytest.mark.slow
def test_the_demonstration_runs(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from groundingme.cli import main

    out = CliRunner().invoke(
        main,
        ["study", "cost", "--limit", "80", "--set", "n=4", "--quiet", "--out", str(tmp_path)],
    )
    assert out.exit_code == 0, out.output
    written = json.loads((tmp_path / "cost" / "study.json").read_text())
    assert written["values"]["servers"]["builtin/grounder"]["seconds"] > 0
    assert (tmp_path / "cost" / "figure-2.svg").exists()
