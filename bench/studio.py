"""Many people typing at once: how long an edit takes to be answered, and whether one is lost.

    python bench/studio.py                                   # SQLite, 20 people, 60 seconds
    python bench/studio.py --seconds 300
    python bench/studio.py --db postgresql://NAME@HOST/EMPTY_DATABASE
    python bench/studio.py --queue 100000                    # what a long queue costs, one person
    python bench/studio.py --queue 100000 --own 3000 30000   # and of people with so many each

Starts the real server on loopback and makes a project of small pictures. Each person takes an
item, edits it at `--rate` edits a second, submits it after 5 to 15 edits and takes the next. With
`--in-step` it is ten for everybody, so that all of them submit and ask for the next within half a
second. At the end the audit trail of every item is read: each edit that was answered must be in
it. The clients run in this process, so they share the cores with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

EDITS = 10
"""After which an item is submitted, on average."""
SPREAD = 5
"""By how many edits items differ from that."""


class Annotator:
    """One person in one browser."""

    def __init__(self, address: str, name: str, spread: int) -> None:
        self.http = aiohttp.ClientSession(address, cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.name = name
        self.dice, self.spread = random.Random(name), spread
        self.seconds: dict[str, list[float]] = {"edit": [], "submit": [], "next": []}
        self.answered: list[tuple[int, str]] = []
        self.failed: list[str] = []

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        async with self.http.request(method, path, **body) as answer:
            told = await answer.json()
            if answer.status not in (200, 201):
                raise RuntimeError(f"{answer.status} {told}")
            return told

    async def enter(self) -> None:
        for _ in range(2):
            csrf = (await self.ask("GET", "/api/session"))["csrf"]
            self.http.headers["X-CSRF"] = csrf
            if self.http.cookie_jar:
                break
            await self.ask("POST", "/api/session", json={"name": self.name})
        self.http.headers["X-CSRF"] = (await self.ask("GET", "/api/session"))["csrf"]

    async def timed(self, kind: str, method: str, path: str, **body: Any) -> Any:
        start = time.perf_counter()
        told = await self.ask(method, path, **body)
        self.seconds[kind].append(time.perf_counter() - start)
        return told

    async def work(self, seconds: float, rate: float, phase: float) -> None:
        await asyncio.sleep(phase)
        start = time.monotonic()
        step, after = 0, ""
        while time.monotonic() - start < seconds:
            item = (await self.timed("next", "GET", f"/api/projects/1/next{after}"))["item"]
            after = f"?after={item['id']}"
            said = {k: v for k, v in item["mine"].items() if k not in ("version", "state")}
            version = item["mine"]["version"]
            for _ in range(EDITS + self.dice.randint(-self.spread, self.spread)):
                step += 1
                wait = start + step / rate - time.monotonic()
                await asyncio.sleep(max(0.0, wait))
                if time.monotonic() - start > seconds:
                    return
                note = f"{self.name} {step}"
                said |= {
                    "note": note,
                    "description": "the cup " * 8,
                    "box": [1, 1, 20 + step % 9, 30],
                }
                try:
                    body = {"version": version, "annotation": said}
                    told = await self.timed(
                        "edit", "PUT", f"/api/items/{item['id']}/annotation", json=body
                    )
                except (RuntimeError, aiohttp.ClientError) as error:
                    self.failed.append(str(error)[:200])
                    continue
                version = told["version"]
                self.answered.append((item["id"], note))
            await self.timed(
                "submit", "POST", f"/api/items/{item['id']}/submit", json={"version": version}
            )


async def load(
    address: str, source: str, people: int, seconds: float, rate: float, spread: int
) -> None:
    annotators = [Annotator(address, f"person {n}", spread) for n in range(people)]
    try:
        for one in annotators:
            await one.enter()
        first = annotators[0]
        await first.ask("POST", "/api/projects", json={"name": "load", "source": source})
        start = time.monotonic()
        # Spread over the time between two edits: people do not type in step.
        phases = [n / people / rate for n in range(people)]
        await asyncio.gather(
            *(one.work(seconds, rate, phase) for one, phase in zip(annotators, phases, strict=True))
        )
        wall = time.monotonic() - start
        await report(annotators, wall, people * rate)
    finally:
        for one in annotators:
            await one.http.close()


async def report(annotators: list[Annotator], wall: float, asked: float) -> None:
    for kind in ("edit", "submit", "next"):
        times = 1000 * np.array([one for a in annotators for one in a.seconds[kind]])
        low, high, worst = np.quantile(times, (0.5, 0.95, 0.99))
        print(
            f"{kind:6} {len(times):6} p50 {low:6.0f} ms  p95 {high:6.0f} ms  p99 {worst:6.0f} ms  "
            f"most {times.max():6.0f} ms"
        )
    answered = [one for a in annotators for one in a.answered]
    failed = [one for a in annotators for one in a.failed]
    there = set()
    for id in sorted({id for id, _ in answered}):
        told = await annotators[0].ask("GET", f"/api/items/{id}/history")
        there |= {
            (id, event["after"]["document"]["note"])
            for event in told["items"]
            if event["kind"] == "save"
        }
    lost = [one for one in answered if one not in there]
    print(
        f"{len(answered)} edits answered in {wall:.0f} s ({len(answered) / wall:.1f} a second, "
        f"{asked:.0f} asked for), {len(failed)} refused, {len(lost)} lost"
    )
    for line in failed[:3]:
        print(" ", line)
    if lost or failed:
        raise SystemExit(1)


def pictures(folder: Path, count: int) -> None:
    from PIL import Image

    folder.mkdir()
    for n in range(count):
        Image.new("RGB", (64, 48), (n % 256, n // 256, 0)).save(folder / f"{n:05}.png")


def fill(url: str, folder: Path, count: int, own: list[int]) -> None:
    """A project of so many items of one picture; each fifth was flagged.

    For each number of `own` there is a person with as many, anywhere in the project: most were
    given and begun, a tenth given alone and a tenth begun alone.
    """
    import sqlalchemy as sa

    from groundingme.build.sources import place
    from groundingme.studio import documents, models, people, projects
    from groundingme.studio.database import Database, now

    target: dict[str, Any] = {
        "picture": "00000.png", "where": place(str(folder.resolve()), "00000.png"), "width": 64,
        "height": 48, "box": [9.0, 9.0, 30.0, 30.0], "score": 0.5, "others": [], "drafts": [],
        "description": "the cup", "original": "", "changes": [], "verdicts": [], "flags": [],
        "rank": 0.0, "absent": False, "subtask_l2": "Counting",
    }  # fmt: skip
    database = Database(url)
    with database.write() as session:
        who = people.add(session, "person 0", "admin", by=None)
        one = models.Project(
            name="long", kind="build", source="", overlap=1, blind=False, notes={}, created=now(),
            created_by=who.id,
        )  # fmt: skip
        session.add(one)
        session.flush()
        rows = [
            {**target, "id": str(n), "label": f"class {n % 50}",
             "subtask_l1": "Spatial" if n % 3 else "Limited"}
            for n in range(count)
        ]  # fmt: skip
        projects.add_items(session, one, rows)
        session.execute(sa.update(models.Item).where(models.Item.id % 5 == 0).values(flagged=True))
        ids = list(session.scalars(sa.select(models.Item.id)))
        said = documents.Document(
            box=(9.0, 9.0, 30.0, 30.0), label="cup", description="the cup left of the plate",
            subtask_l1="Spatial", subtask_l2="Counting", seconds=12.5,
        ).model_dump()  # fmt: skip
        for n, many in enumerate(own, start=1):
            person = people.add(session, f"person {n}", "admin", by=None).id
            chosen = list(enumerate(random.Random(n).sample(ids, many)))
            given = [
                {"item_id": id, "person_id": person, "created": now()}
                for at, id in chosen if at % 10 != 1
            ]  # fmt: skip
            begun = [
                {"item_id": id, "person_id": person, "version": 1, "document": said,
                 "state": "draft" if at % 10 == 3 else "submitted", "updated": now()}
                for at, id in chosen if at % 10 != 2
            ]  # fmt: skip
            session.execute(sa.insert(models.Assignment), given)
            session.execute(sa.insert(models.Annotation), begun)
        # PostgreSQL does so by itself within a minute.
        session.execute(sa.text("ANALYZE"))
    database.close()


async def walk(address: str, count: int, own: list[int]) -> None:
    """Asks for each view of a long queue six times; the first time apart."""
    views: tuple[tuple[str, str], ...] = (
        ("first page", "queue?limit=60"),
        ("last page", f"queue?limit=60&offset={count - 60}"),
        ("a subtask", "queue?limit=60&l1=Limited"),
        ("a class", "queue?limit=60&label=class%207"),
        ("flagged", "queue?limit=60&flag=1"),
        ("mine", "queue?limit=60&mine=1"),
        ("next", "next"),
        ("next after the middle", f"next?after={count // 2}"),
        ("next flagged after the middle", f"next?flag=1&after={count // 2}"),
        ("counts", ""),
    )
    # The dashboard reads every annotation, and of most items there are some now: not what is asked.
    views += () if own else (("dashboard", "dashboard"),)
    await _look(address, "person 0", views)
    for n, many in enumerate(own, start=1):
        mine = "queue?limit=60&mine=1"
        theirs = (
            (f"mine, {many:,}", mine),
            (f"mine, {many:,}, middle", f"{mine}&offset={many // 2}"),
            (f"mine, {many:,}, last page", f"{mine}&offset={max(0, many - 60)}"),
            (f"mine, {many:,}, open", f"{mine}&status=open"),
            (f"mine, {many:,}, next", f"next?mine=1&after={count // 2}"),
        )
        await _look(address, f"person {n}", theirs)


async def _look(address: str, name: str, views: tuple[tuple[str, str], ...]) -> None:
    one = Annotator(address, name, 0)
    try:
        await one.enter()
        for title, path in views:
            one.seconds["edit"] = []
            for _ in range(6):
                await one.timed("edit", "GET", f"/api/projects/1/{path}".rstrip("/"))
            first, *rest = (1000 * s for s in one.seconds["edit"])
            print(f"{title:30} first {first:6.0f} ms, then {np.median(rest):6.0f} ms")
    finally:
        await one.http.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--rate", type=float, default=2.0, help="edits of each a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--db", default="")
    parser.add_argument("--in-step", action="store_true", help="everybody submits after 10 edits")
    parser.add_argument("--queue", type=int, default=0, help="items of a queue to walk instead")
    parser.add_argument(
        "--own", type=int, nargs="*", default=[], help="with --queue: items of a person, of several"
    )
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spread = 0 if told.in_step else SPREAD
        items = int(1.3 * told.people * (told.seconds * told.rate / EDITS + 2))
        pictures(Path(folder) / "pictures", 1 if told.queue else items)
        if told.queue:
            url = told.db or f"sqlite:///{folder}/home/studio.sqlite"
            fill(url, Path(folder) / "pictures", told.queue, told.own)
        command = [
            sys.executable, "-m", "groundingme", "studio", "--home", f"{folder}/home",
            "--root", folder, "--runs", f"{folder}/runs", "--port", "0", "--no-open",
        ]  # fmt: skip
        command += ["--db", told.db] if told.db else []
        server = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            assert server.stderr is not None
            address = server.stderr.readline().decode().split()[1]
            asyncio.run(_when_up(address))
            if told.queue:
                asyncio.run(walk(address, told.queue, told.own))
                return
            asyncio.run(load(address, "pictures", told.people, told.seconds, told.rate, spread))
            times = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            used = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
            print(f"server: {used:.0f} s of CPU; load of the machine {os.getloadavg()[0]:.1f}")
        finally:
            server.terminate()
            server.communicate(timeout=20)


async def _when_up(address: str) -> None:
    async with aiohttp.ClientSession() as http:
        for _ in range(200):
            try:
                await (await http.get(f"{address}api/session")).read()
                return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()
