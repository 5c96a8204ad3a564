"""Projects: what they are made from, who sees what, and that nothing typed is ever lost."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse
import zipfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from groundingme.build import tables
from groundingme.build.records import Change, Target
from groundingme.build.sources import place
from groundingme.datasets import load_dataset
from groundingme.datasets.export import export
from groundingme.errors import UsageError
from groundingme.studio import queue
from groundingme.studio.database import MIGRATIONS, Database
from groundingme.studio.models import Item, Project
from studio_app import (
    MakeApp,
    database_url,
    document,
    ended,
    enter,
    finished,
    give_role,
    make_app,
    postgres,
)

__all__ = ["database_url", "make_app", "postgres"]

SCENES = "scenes:seed=3,n=12,width=320,height=256"


def made(client: TestClient, source: str = SCENES, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/projects", json={"name": "P", "source": source, **more})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def item(client: TestClient, id: int = 1) -> dict[str, Any]:
    answer = client.get(f"/api/items/{id}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def save(client: TestClient, id: int, version: int, said: dict[str, Any]) -> Any:
    return client.put(f"/api/items/{id}/annotation", json={"version": version, "annotation": said})


def submit(client: TestClient, id: int, **changes: Any) -> dict[str, Any]:
    one = item(client, id)
    body = {"version": one["mine"]["version"], "annotation": document(one, **changes)}
    answer = client.post(f"/api/items/{id}/submit", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def build_folder(data: Path, photos: Path | None = None) -> Path:
    """A build's WORK folder with the tables of two stages, and its photos."""
    photos = photos or data / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    found = []
    for number, sample in enumerate(load_dataset("scenes:seed=8,n=6,width=320,height=256")):
        assert sample.image is not None
        (photos / f"{number}.jpg").write_bytes(sample.image.read())
        absent = sample.target is None
        found.append(
            Target(
                id=f"{number}.jpg#0",
                picture=f"{number}.jpg",
                where=place(str(photos), f"{number}.jpg"),
                width=sample.width,
                height=sample.height,
                box=sample.target or (10.4, 20.6, 50.2, 60.9),
                label=sample.detection_type or "thing",
                score=0.9,
                subtask_l1=sample.subtask_l1,
                subtask_l2=sample.subtask_l2,
                others=[(0.0, 0.0, 9.0, 9.0)],
                description=sample.description,
                original="a true one" if absent else "",
                changes=[Change(kind=sample.subtask_l2, before="red", after="blue", by="rules")]
                if absent
                else [],
                rank=number / 6,
                fate="no-rule" if number == 2 else "",
                failure="describe: timeout" if number == 3 else "",
            )
        )
    work = data / "work"
    for name, targets in (("08-select-0a1b2c3d", found[:1]), ("11-verify-0a1b2c3d", found)):
        (work / name).mkdir(parents=True)
        tables.write(work / name / "00000.parquet", targets, Target)
        (work / name / "done").write_text("1")
        told = {"stage": name[3:9], "options": {"models": ["a", "b"]} if "verify" in name else {}}
        (work / name / "stage.json").write_bytes(msgspec.json.encode(told))
    (work / "12-publish-0a1b2c3d").mkdir()
    (work / "build.json").write_text("{}")
    return work


# Sources


def test_of_a_build(make_app: MakeApp, tmp_path: Path, database_url: str) -> None:
    work = build_folder(tmp_path / "data")
    ann = enter(make_app(database=database_url), "Ann")
    told = made(ann, str(work))
    assert told["kind"] == "build"
    assert (told["counts"]["total"], told["counts"]["open"]) == (4, 4)
    assert told["left_out"] == {"no-rule": 1, "failed": 1}
    listed = ann.get(f"/api/projects/{told['id']}/queue").json()["items"]
    assert [one["name"] for one in listed] == [f"{n}.jpg#0" for n in (5, 4, 1, 0)]
    one = item(ann, listed[0]["id"])
    assert one["proposal"]["label"] == one["mine"]["label"]
    assert one["others"] == [[0, 0, 9, 9]]
    picture = ann.get(f"/api/pictures/{one['picture']}")
    assert picture.content == (tmp_path / "data" / "photos" / "5.jpg").read_bytes()
    assert (ann.get("/api/projects/1").json()) == told


def test_of_a_build_without_targets(make_app: MakeApp, tmp_path: Path) -> None:
    (tmp_path / "data" / "work" / "03-detect-00000000").mkdir(parents=True)
    (tmp_path / "data" / "work" / "build.json").write_text("{}")
    ann = enter(make_app(), "Ann")
    answer = ann.post("/api/projects", json={"name": "P", "source": "work"})
    assert answer.status_code == 400
    assert "run it up to select first" in answer.json()["error"]["message"]


def test_of_pictures(make_app: MakeApp, tmp_path: Path) -> None:
    photos = tmp_path / "data" / "photos"
    build_folder(tmp_path / "data", photos)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    ann = enter(make_app(), "Ann")
    told = made(ann, "photos")
    assert told["kind"] == "images"
    assert told["counts"]["total"] == 6
    assert sum(told["left_out"].values()) == 1
    one = item(ann)
    assert (one["width"], one["height"]) == (320, 256)
    assert one["mine"]["box"] is None
    answer = ann.post("/api/items/1/submit", json={"version": 0})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "incomplete")
    submit(ann, 1, box=[1.5, 2, 30, 40], description="the cup")
    assert item(ann)["annotations"][0]["box"] == [1.5, 2, 30, 40]


@pytest.mark.parametrize("layout", ["parquet", "folder", "tsv"])
def test_of_a_data_set(make_app: MakeApp, tmp_path: Path, layout: str) -> None:
    dataset = load_dataset(SCENES)
    export(dataset, tmp_path / "data" / "set", layout=layout)
    ann = enter(make_app(), "Ann")
    source = "set/test.tsv" if layout == "tsv" else "set"
    assert made(ann, source)["counts"]["total"] == len(dataset)
    for id, sample in enumerate(dataset, 1):
        one = item(ann, id)
        assert one["name"] == sample.id
        assert sample.image is not None
        picture = ann.get(f"/api/pictures/{one['picture']}")
        assert picture.content == sample.image.read()
        if sample.target is not None:
            assert one["mine"]["box"] == list(sample.target)
            assert one["mine"]["description"] == sample.description
        else:
            assert one["mine"]["rejection"]["description"] == sample.description


def test_nothing_outside_of_the_roots(make_app: MakeApp, tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    build_folder(outside)
    (data / "link").symlink_to(outside / "photos")
    (data / "set").mkdir(parents=True)
    (data / "set" / "samples.jsonl").symlink_to(outside / "secret.jsonl")
    (outside / "secret.jsonl").write_text('{"id": "hidden", "description": "hidden"}\n')
    ann = enter(make_app(), "Ann")
    tries = (
        "../outside/photos", str(outside / "photos"), "/etc", "/etc/passwd", "link", "set",
        "link/..",
        f"{data}/../outside/work", "..%2foutside%2fphotos", "%2e%2e/outside/photos",
        urllib.parse.quote(str(outside), safe=""), "x" * 5000, "", "a\0b", "~", "file:///etc",
        "groundingme", "lirang04/GroundingME", "folder:/etc", str(tmp_path),
    )  # fmt: skip
    for source in tries:
        answer = ann.post("/api/projects", json={"name": "P", "source": source})
        assert answer.status_code in (400, 404, 422), (source, answer.text)
        assert "hidden" not in answer.text
        assert "root:" not in answer.text
    assert ann.get("/api/projects").json()["total"] == 0


def test_a_table_cannot_name_pictures_elsewhere(make_app: MakeApp, tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    build_folder(outside)
    work = build_folder(data, outside / "photos")
    ann = enter(make_app(), "Ann")
    made(ann, str(work))
    key = item(ann)["picture"]
    assert ann.get(f"/api/pictures/{key}").status_code == 404
    ann = enter(make_app(roots=(data, outside / "photos")), "Ann")
    key = item(ann)["picture"]
    assert ann.get(f"/api/pictures/{key}").status_code == 200


# Working on items


def test_two_people_on_one_item(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann)
    start = document(item(ann))
    assert ann.post("/api/items/1/here").json()["items"] == []
    assert [one["name"] for one in bob.post("/api/items/1/here").json()["items"]] == ["Ann"]
    assert [one["name"] for one in ann.get("/api/items/1/presence").json()["items"]] == ["Bob"]
    mine, his = {**start, "description": "by Ann"}, {**start, "note": "by Bob"}
    assert save(ann, 1, 0, mine).json()["version"] == 1
    late = save(bob, 1, 0, his)
    assert late.status_code == 409
    error = late.json()["error"]
    assert error["kind"] == "conflict"
    assert (error["theirs"], error["yours"], error["base"]) == (mine, his, start)
    assert (error["version"], error["person"], error["decided"]) == (1, 1, False)
    kept = [one for one in item(ann)["annotations"] if one["name"] == "Ann"]
    assert kept[0]["description"] == "by Ann"
    events = ann.get("/api/items/1/history").json()["items"]
    assert [one["kind"] for one in events] == ["conflict", "save"]
    assert events[0]["after"] == his
    both = {**mine, "note": "by Bob"}
    assert save(bob, 1, error["version"], both).status_code == 200
    # Now it is Ann who comes too late, and what she started from is what she saved.
    late = save(ann, 1, 1, {**mine, "label": "thing"})
    assert late.status_code == 409
    assert (late.json()["error"]["theirs"], late.json()["error"]["base"]) == (both, mine)


def test_two_windows_of_one_person(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    ann, other, bob = enter(app, "Ann"), enter(app, "Ann"), enter(app, "Bob")
    made(ann, overlap=2)
    said = document(item(ann))
    assert save(ann, 1, 0, {**said, "note": "1"}).json()["version"] == 1
    # Side by side: another person's work is in nobody's way.
    assert save(bob, 1, 0, {**said, "note": "b"}).json()["version"] == 1
    late = save(other, 1, 0, {**said, "note": "2"})
    assert late.status_code == 409
    assert late.json()["error"]["theirs"]["note"] == "1"
    # An answer that was lost may be asked for again.
    assert save(ann, 1, 0, {**said, "note": "1"}).json()["version"] == 1
    assert save(ann, 1, 1, {**said, "note": "3"}).json()["version"] == 2


def test_many_at_once_lose_nothing(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    clients = [enter(app, f"n{n}") for n in range(6)]
    made(clients[0])
    start = document(item(clients[0]))
    answers: list[tuple[int, int, str]] = []

    def type_on(client: TestClient, who: int) -> None:
        version = 0
        for step in range(8):
            note = f"{who}.{step}"
            while True:
                answer = save(client, 1, version, {**start, "note": note})
                answers.append((answer.status_code, version, note))
                if answer.status_code == 200:
                    version = answer.json()["version"]
                    break
                version = answer.json()["error"]["version"]

    threads = [
        threading.Thread(target=type_on, args=(client, n)) for n, client in enumerate(clients)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    good = [version for code, version, _ in answers if code == 200]
    # Each version was left once: no edit was made on top of one that it had not seen.
    assert sorted(good) == list(range(48))
    assert {code for code, _, _ in answers} == {200, 409}
    events = clients[0].get("/api/items/1/history").json()["items"]
    notes = {one["after"]["document"]["note"] for one in events if one["kind"] == "save"}
    assert notes == {f"{who}.{step}" for who in range(6) for step in range(8)}


def test_after_a_decision_nothing_changes(make_app: MakeApp) -> None:
    app = make_app()
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann)
    give_role(ann, bob, "annotator")
    one = item(bob)
    submit(bob, 1, description="a good one")
    seen = item(ann)
    body = {"version": seen["version"], "accept": True, "annotation": document(seen, note="ok")}
    assert ann.post("/api/items/1/decision", json=body).json()["status"] == "accepted"
    assert ann.post("/api/items/1/decision", json=body).json()["status"] == "accepted"
    late = save(bob, 1, item(bob)["mine"]["version"], document(one, description="later"))
    assert late.status_code == 409
    assert late.json()["error"]["decided"] is True
    assert late.json()["error"]["theirs"]["description"] == "a good one"
    late = ann.post("/api/items/1/decision", json={"version": seen["version"], "accept": False})
    assert late.status_code == 409
    assert bob.post("/api/items/1/reopen", json={}).status_code == 403
    assert ann.post("/api/items/1/reopen", json={}).json()["status"] == "annotated"
    assert save(bob, 1, item(bob)["mine"]["version"], document(one, note="n")).status_code == 200


def test_undo(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann)
    give_role(ann, bob, "annotator")
    for note in ("one", "two"):
        now = item(ann)
        save(ann, 1, now["mine"]["version"], document(now, note=note))
    events = ann.get("/api/items/1/history").json()["items"]
    assert [one["after"]["document"]["note"] for one in events] == ["two", "one"]
    assert events[0]["before"] == events[1]["after"]

    def undo(client: TestClient, event: int) -> Any:
        return client.post("/api/items/1/undo", json={"event": event})

    assert undo(bob, events[0]["id"]).status_code == 403
    assert undo(ann, events[1]["id"]).status_code == 409
    assert undo(ann, events[0]["id"]).status_code == 200
    assert item(ann)["mine"]["note"] == "one"
    undone = ann.get("/api/items/1/history").json()["items"][0]
    assert (undone["kind"], undone["undoes"]) == ("undo", events[0]["id"])
    assert undo(ann, undone["id"]).status_code == 200
    assert item(ann)["mine"]["note"] == "two"
    decided = ann.post(
        "/api/items/1/decision", json={"version": item(ann)["version"], "accept": False}
    )
    assert decided.json()["status"] == "rejected"
    last = ann.get("/api/items/1/history").json()["items"][0]["id"]
    assert undo(ann, last).json()["status"] == "open"
    assert undo(ann, 10_000).status_code == 404


def test_boxes_are_kept_to_the_pixel(make_app: MakeApp) -> None:
    ann = enter(make_app(), "Ann")
    made(ann)
    start = document(item(ann))
    box = [10.25, 3.0, 319.5, 255.125]
    save(ann, 1, 0, {**start, "box": box})
    assert item(ann)["mine"]["box"] == box
    save(ann, 1, 1, {**start, "box": [-5, -5, 1e6, 1e6]})
    assert item(ann)["mine"]["box"] == [0, 0, 320, 256]
    for wrong in ([5, 5, 5, 9], [9, 9, 1, 1], [400, 1, 500, 9], [1, 2, 3], "x", [1, 2, 3, None]):
        assert save(ann, 1, 2, {**start, "box": wrong}).status_code == 422, wrong
    for number in ("NaN", "Infinity", "1e999"):
        body = f'{{"version": 2, "annotation": {{"box": [1, 1, 9, {number}]}}}}'
        answer = ann.put(
            "/api/items/1/annotation", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422), number


def test_bad_input_is_said_to_be_bad(make_app: MakeApp, database_url: str) -> None:
    ann = enter(make_app(database=database_url), "Ann")
    made(ann)
    start = document(item(ann))
    for path in (
        "/api/items/0", "/api/items/99", "/api/items/x", f"/api/items/{10**30}", "/api/projects/99",
        "/api/projects/1/queue?limit=5000", "/api/projects/1/queue?offset=-1",
        "/api/projects/1/queue?label=%00", "/api/projects/1/queue?status=x",
        f"/api/projects/1/next?after={10**30}", "/api/projects/1/export?layout=x",
        "/api/items/99/history", "/api/items/99/presence", "/api/projects/99/dashboard",
    ):  # fmt: skip
        answer = ann.get(path)
        assert answer.status_code in (404, 422), (path, answer.text)
        assert answer.json()["error"]["message"]
    for said in (
        {**start, "description": "a\0b"}, {**start, "description": "x" * 20_001},
        {**start, "rejection": {"kind": "none such"}}, {**start, "seconds": -1}, [], None,
        {**start, "criteria": {"uniqueness": "maybe"}},
    ):  # fmt: skip
        assert save(ann, 1, 0, said).status_code == 422, said  # type: ignore[arg-type]
    assert ann.put(
        "/api/items/1/annotation", content=b'{"version": 0, "annotation": {"note": "\\ud800"}}',
        headers={"Content-Type": "application/json"},
    ).status_code in (400, 422)  # fmt: skip
    assert ann.post("/api/items/99/here").status_code == 404
    assert save(ann, 99, 0, start).status_code == 404


# Assignment, blindness, adjudication


def test_overlap(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    people = [enter(app, name) for name in ("Ann", "Bob", "Cem")]
    made(people[0], overlap=2)
    taken: Counter[int] = Counter()
    for client in people[:2]:
        after = ""
        for _ in range(12):
            one = client.get(f"/api/projects/1/next{after}").json()["item"]
            taken[one["id"]] += 1
            submit(client, one["id"], description="a thing", box=[0, 0, 9, 9], rejection=None,
                   subtask_l1="Spatial", subtask_l2="Counting")  # fmt: skip
            after = f"?after={one['id']}"
        assert client.get("/api/projects/1/next").json()["item"] is None
    assert set(taken.values()) == {2}
    assert people[2].get("/api/projects/1/next").json()["item"] is None
    assert people[0].get("/api/projects/1").json()["counts"]["annotated"] == 12


def test_nobody_gets_what_another_has(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    clients = [enter(app, f"n{n}") for n in range(6)]
    made(clients[0])
    given: list[int] = []

    def take(client: TestClient) -> None:
        after = ""
        while one := client.get(f"/api/projects/1/next{after}").json()["item"]:
            if one["id"] in seen_by[client]:
                return
            seen_by[client].add(one["id"])
            given.append(one["id"])
            after = f"?after={one['id']}"

    seen_by: dict[TestClient, set[int]] = {one: set() for one in clients}
    threads = [threading.Thread(target=take, args=(one,)) for one in clients]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(given) == list(range(1, 13))


def test_items_are_given_by_name(
    make_app: MakeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come first, stay past the lease, and go no further than the overlap."""
    app = make_app(database=database_url)
    ann, bob, cleo = (enter(app, name) for name in ("Ann", "Bob", "Cleo"))
    made(ann)
    kinds = [one["subtask_l1"] for one in ann.get("/api/projects/1/queue").json()["items"]]
    wanted = [n for n, kind in enumerate(kinds, 1) if kind == "Spatial"][:2]
    assert len(wanted) == 2
    bobs = bob.get("/api/session").json()["person"]["id"]
    body = {"person": bobs, "count": 2}
    given = ann.post("/api/projects/1/assign?l1=Spatial", json=body).json()
    assert given == {"given": 2}
    monkeypatch.setattr("groundingme.studio.queue.LEASE", timedelta(0))
    first = bob.get("/api/projects/1/next").json()["item"]
    assert first["id"] == wanted[0]
    assert [one["name"] for one in first["assigned"]] == ["Bob"]
    mine = bob.get("/api/projects/1/queue?mine=1").json()["items"]
    assert [one["id"] for one in mine] == wanted
    taken = {cleo.get(f"/api/projects/1/next?after={n}").json()["item"]["id"] for n in range(1, 12)}
    assert not taken & set(wanted)
    # Cleo's are nobody's: one person an item, but hers are named now.
    body = {"person": cleo.get("/api/session").json()["person"]["id"]}
    assert ann.post("/api/projects/1/assign?l1=Spatial", json=body).json()["given"] == (
        kinds.count("Spatial") - 2
    )
    save(bob, wanted[0], 0, document(first))
    assert ann.post("/api/projects/1/take-back", json={"person": bobs}).json() == {"taken": 1}
    assert bob.get("/api/projects/1/queue?mine=1").json()["total"] == 1
    assert ann.post("/api/projects/1/assign", json={"person": 99}).status_code == 404


def test_flags_are_found(make_app: MakeApp, database_url: str) -> None:
    """By everybody; in a blind project an annotator finds their own alone."""
    app = make_app(database=database_url)
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann)
    made(ann, overlap=2, blind=True)
    give_role(ann, bob, "annotator")
    for id in (3, 5, 15, 17):
        one = item(ann, id)
        assert save(ann, id, 0, document(one, flag=True)).status_code == 200
    one = item(bob, 16)
    assert save(bob, 16, 0, document(one, flag=True)).status_code == 200

    def flagged(who: TestClient, project: int) -> list[int]:
        told = who.get(f"/api/projects/{project}/queue?flag=1").json()
        assert told["total"] == len(told["items"])
        assert all(one["flag"] for one in told["items"])
        return [one["id"] for one in told["items"]]

    assert flagged(bob, 1) == [3, 5]
    assert flagged(ann, 2) == [15, 16, 17]
    assert flagged(bob, 2) == [16]
    after = ann.get("/api/projects/1/next?flag=1&after=3").json()["item"]
    assert after["id"] == 5
    assert ann.get("/api/projects/1/next?flag=1&after=5").json()["item"]["id"] == 3
    version = item(ann, 3)["mine"]["version"]
    assert save(ann, 3, version, document(item(ann, 3), flag=False)).status_code == 200
    assert flagged(ann, 1) == [5]


def test_next_follows_the_queue(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    ann = enter(app, "Ann")
    made(ann)
    query = "l1=Discriminative&status=open"
    listed = [one["id"] for one in ann.get(f"/api/projects/1/queue?{query}").json()["items"]]
    assert len(listed) > 1
    seen, after = [], 0
    for _ in listed:
        place = f"&after={after}" if after else ""
        after = ann.get(f"/api/projects/1/next?{query}{place}").json()["item"]["id"]
        seen.append(after)
    assert seen == listed


def test_what_nobody_begins_goes_to_another(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann)
    assert ann.get("/api/projects/1/next").json()["item"]["id"] == 1
    begun = ann.get("/api/projects/1/next?after=1").json()["item"]
    save(ann, begun["id"], 0, document(begun, note="begun"))
    assert bob.get("/api/projects/1/next").json()["item"]["id"] == 3
    monkeypatch.setattr(queue, "LEASE", timedelta(0))
    assert bob.get("/api/projects/1/next?after=3").json()["item"]["id"] == 4
    cem = enter(app, "Cem")
    assert cem.get("/api/projects/1/next").json()["item"]["id"] == 1
    # What Ann has begun stays hers, and comes first when she comes back.
    assert ann.get("/api/projects/1/next?after=1").json()["item"]["id"] == begun["id"]


def test_the_second_annotator_is_blind(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    admin, ann, bob = enter(app, "Root"), enter(app, "Ann"), enter(app, "Bob")
    made(admin, overlap=2, blind=True)
    give_role(admin, ann, "annotator")
    give_role(admin, bob, "annotator")
    for client in (ann, bob):
        assert client.get("/api/projects/1/next").json()["item"]["id"] == 1
    save(ann, 1, 0, document(item(ann), description="AnnSecret"))
    ann.post("/api/items/1/here")
    submit(ann, 1, description="AnnSecret", note="AnnSecret", criteria={"uniqueness": True},
           subtask_l1="Spatial", subtask_l2="Counting", rejection=None,
           box=[1, 1, 50, 50])  # fmt: skip
    others = [item(bob, id) for id in range(2, 4)]

    def what_bob_sees() -> str:
        paths = [
            "/api/items/1", "/api/items/1/history", "/api/items/1/presence",
            "/api/projects/1/queue", "/api/projects/1/queue?status=annotated",
            "/api/projects/1/next", "/api/projects/1/dashboard", "/api/projects/1/export?which=all",
            "/api/projects/1/items.csv",
        ]  # fmt: skip
        return "".join(bob.get(path).text for path in paths) + bob.post("/api/items/1/here").text

    text = what_bob_sees()
    assert "AnnSecret" not in text
    assert '"Ann"' not in text
    one = item(bob)
    fresh = {**others[0], **{k: one[k] for k in ("version", "status", "annotations")}}
    assert (one["version"], one["status"], one["annotations"]) == (0, "open", [])
    assert [entry["name"] for entry in one["assigned"]] == ["Bob"]
    assert fresh["version"] == others[0]["version"]
    # Neither versions nor conflicts tell that somebody else was here.
    assert save(bob, 1, 0, document(one, note="x")).json() == {
        "version": 1, "state": "draft", "status": "open"
    }  # fmt: skip
    submit(bob, 1, description="BobSays", subtask_l1="Spatial", subtask_l2="Relationship",
           rejection=None, box=[1, 1, 50, 50])  # fmt: skip
    assert "AnnSecret" in bob.get("/api/items/1").text
    # Having seen it, he can no longer follow.
    seen = item(bob)
    assert save(bob, 1, seen["mine"]["version"], document(seen, note="y")).status_code == 403
    again = {"version": seen["mine"]["version"], "annotation": document(seen, note="y")}
    assert bob.post("/api/items/1/submit", json=again).status_code == 403
    assert bob.post("/api/items/1/skip", json=again).status_code == 403
    assert bob.post("/api/items/1/reopen", json={}).status_code == 403
    event = bob.get("/api/items/1/history").json()["items"][0]["id"]
    assert bob.post("/api/items/1/undo", json={"event": event}).status_code == 403


def test_a_reviewer_who_annotates_is_blind_too(make_app: MakeApp) -> None:
    app = make_app()
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann, overlap=2, blind=True)
    submit(ann, 1, description="AnnSecret", box=[0, 0, 9, 9])
    assert "AnnSecret" in bob.get("/api/items/1").text
    assert "AnnSecret" not in bob.get("/api/projects/1/next").text
    assert "AnnSecret" not in bob.get("/api/items/1").text + bob.get("/api/items/1/history").text


def test_adjudication(make_app: MakeApp) -> None:
    app = make_app()
    ann, bob, rita = enter(app, "Ann"), enter(app, "Bob"), enter(app, "Rita")
    made(ann, overlap=2)
    same = {"subtask_l1": "Spatial", "subtask_l2": "Counting", "rejection": None}
    submit(ann, 1, description="one", box=[0, 0, 100, 100], **same)
    assert submit(bob, 1, description="two", box=[0, 0, 100, 95], **same)["status"] == "annotated"
    submit(ann, 2, description="one", box=[0, 0, 100, 100], **same)
    assert submit(bob, 2, description="two", box=[0, 0, 100, 50], **same)["status"] == "conflict"
    assert rita.get("/api/projects/1/next?status=conflict").json()["item"]["id"] == 2
    seen = item(rita, 2)
    assert seen["differences"] == ["box"]
    assert [one["name"] for one in seen["annotations"]] == ["Ann", "Bob"]
    chosen = {k: v for k, v in seen["annotations"][0].items() if k in document(seen)}
    body = {"version": seen["version"], "accept": True, "annotation": chosen, "note": "Ann's"}
    assert rita.post("/api/items/2/decision", json=body).json()["status"] == "accepted"
    told = item(rita, 2)["decision"]
    assert (told["name"], told["note"], told["document"]) == ("Rita", "Ann's", chosen)
    assert rita.get("/api/projects/1/next?status=conflict").json()["item"] is None


def test_dashboard(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann, overlap=2)
    for id in range(1, 9):
        common: dict[str, Any] = {
            "description": "x", "rejection": None, "subtask_l1": "Spatial", "seconds": 4.0 + id,
        }  # fmt: skip
        kinds = ("Counting", "Relationship")
        submit(ann, id, box=[0, 0, 10, 10], subtask_l2=kinds[id % 2], **common,
               criteria={"uniqueness": id % 4 > 0})  # fmt: skip
        other = kinds[id % 2] if id < 7 else kinds[(id + 1) % 2]
        submit(bob, id, box=[0, 0, 10, 5], subtask_l2=other, **common,
               criteria={"uniqueness": id % 4 > 0})  # fmt: skip
    told = ann.get("/api/projects/1/dashboard").json()
    agreement = told["agreement"]
    assert agreement["items"] == 8
    assert agreement["mean_iou"] == pytest.approx(0.5)
    by_name = {one["name"]: one for one in agreement["questions"]}
    # 6 of 8 alike, and either kind as often: (0.75 - 0.5) / (1 - 0.5).
    assert agreement["pairs"][0]["cohen_kappa"]["subtask"] == pytest.approx(0.5)
    assert by_name["subtask"]["fleiss_kappa"] == pytest.approx(0.5)
    assert by_name["uniqueness"]["krippendorff_alpha"] == pytest.approx(1.0)
    assert by_name["accuracy"]["krippendorff_alpha"] is None
    assert [(one["name"], one["submitted"], one["seconds"]) for one in told["throughput"]] == [
        ("Ann", 8, 8.5), ("Bob", 8, 8.5)
    ]  # fmt: skip
    # Boxes of IoU 0.5 are not the same, so a reviewer must look at all of them.
    assert told["project"]["counts"]["conflict"] == 8
    assert told["presence"] is None


def test_presence_mode(make_app: MakeApp, database_url: str) -> None:
    app = make_app(database=database_url)
    admin, ann = enter(app, "Root"), enter(app, "Ann")
    give_role(admin, ann, "annotator")
    source = "scenes:seed=5,n=24,width=320,height=256"
    told = made(admin, source, kind="presence", name="Q")
    assert (told["kind"], told["blind"]) == ("presence", True)
    truth = {one.description: one.target is None for one in load_dataset(source)}
    absent = sum(truth.values())
    assert 0 < absent < 24
    after = ""
    for n in range(24):
        answer = ann.get(f"/api/projects/1/next{after}")
        one = answer.json()["item"]
        text = json.dumps({k: v for k, v in one.items() if k != "mine"})
        for word in ("Rejection", "proposal", "draft", "subtask", "label", "absent", "name"):
            assert word not in text.replace('"assigned"', "").replace('"name": "Ann"', ""), word
        assert one["mine"]["box"] is None
        wrong = n < 6
        body = {"version": one["mine"]["version"],
                "annotation": {"match": truth[one["description"]] is wrong}}  # fmt: skip
        assert ann.post(f"/api/items/{one['id']}/submit", json=body).status_code == 200
        assert "proposal" not in ann.get(f"/api/items/{one['id']}").json()
        after = f"?after={one['id']}"
    assert "Rejection" not in ann.get("/api/projects/1/queue").text
    assert ann.get("/api/projects/1/dashboard").status_code == 403
    figures = admin.get("/api/projects/1/dashboard").json()["presence"]
    assert (figures["all"]["n"], figures["all"]["right"]) == (24, 18)
    assert figures["rejection"]["n"] == absent
    assert figures["all"]["low"] < 0.75 < figures["all"]["high"]
    assert figures["people"][0]["all"]["accuracy"] == 0.75


def test_presence_mode_needs_descriptions(make_app: MakeApp, tmp_path: Path) -> None:
    build_folder(tmp_path / "data")
    ann = enter(make_app(), "Ann")
    body = {"name": "P", "source": "photos", "kind": "presence"}
    assert ann.post("/api/projects", json=body).status_code == 400


def test_only_mine_is_what_was_given_to_me_or_begun_by_me(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(database=database_url)
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann, overlap=2)
    made(ann, overlap=2)
    save(ann, 7, 0, document(item(ann, 7), note="opened by hand"))
    assert ann.get("/api/projects/1/next").json()["item"]["id"] == 7
    assert ann.get("/api/projects/1/next?after=7").json()["item"]["id"] == 8
    submit(ann, 3)
    save(bob, 5, 0, document(item(bob, 5), note="not Ann's"))
    save(ann, 15, 0, document(item(ann, 15), note="of another project"))
    mine = ann.get("/api/projects/1/queue?mine=1").json()
    assert ([one["id"] for one in mine["items"]], mine["total"]) == ([3, 7, 8], 3)
    page = ann.get("/api/projects/1/queue?mine=1&offset=1&limit=1").json()
    assert ([one["id"] for one in page["items"]], page["total"]) == ([7], 3)
    # Begun and not done, or given and not begun, from the place on and then from the start.
    for after, wanted in ((5, 7), (7, 8), (8, 9), (9, 10)):
        assert ann.get(f"/api/projects/1/next?after={after}").json()["item"]["id"] == wanted
    for after, wanted in ((3, 7), (7, 8), (10, 3)):
        found = ann.get(f"/api/projects/1/next?mine=1&after={after}").json()["item"]
        assert found["id"] == wanted


@pytest.mark.slow
def test_postgresql_compiles_no_questions(postgres: Any) -> None:
    database = Database(postgres.fresh())
    with database.session() as session:
        assert session.scalar(sa.text("SHOW jit")) == "off"
    database.close()


# Files in and out


def unpacked(answer: Any, folder: Path) -> Path:
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        file.extractall(folder)
    return folder


def accept_all(client: TestClient, count: int) -> None:
    for id in range(1, count + 1):
        one = item(client, id)
        body = {"version": one["version"], "accept": True}
        assert client.post(f"/api/items/{id}/decision", json=body).status_code == 200


@pytest.mark.parametrize("layout", ["parquet", "folder", "coco", "label-studio"])
def test_out_and_in_again(make_app: MakeApp, tmp_path: Path, layout: str) -> None:
    app = make_app()
    ann, bob = enter(app, "Ann"), enter(app, "Bob")
    made(ann)
    asked = {"layout": layout}
    assert ann.get("/api/projects/1/export", params=asked).status_code == 400
    job = ended(ann, ann.post("/api/projects/1/export", json=asked))
    assert (job["state"], job["error"]["kind"], job["file"]) == ("failed", "cannot", None)
    accept_all(ann, 12)
    job = ended(ann, ann.post("/api/projects/1/export", json=asked))
    assert (job["state"], job["done"], job["total"]) == ("done", 12, 12)
    folder = unpacked(ann.get(job["file"]), tmp_path / "out") / "P"
    assert job["result"]["name"] == f"P-{layout}.zip"
    (left,) = (tmp_path / "home" / "exports").iterdir()
    assert left.stat().st_size == job["result"]["bytes"]
    assert ann.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert ann.get(job["file"]).status_code == 404
    assert list((tmp_path / "home" / "exports").iterdir()) == []
    dataset = load_dataset(SCENES)
    if layout in ("parquet", "folder"):
        assert load_dataset(str(folder)).fingerprint == dataset.fingerprint
    # Into a project on the same pictures, by somebody else, who sees the same as was there.
    made(ann)
    file = next(
        one for one in folder.rglob("*")
        if one.suffix in (".parquet", ".jsonl", ".json") and not one.name.startswith(".")
    )  # fmt: skip
    with file.open("rb") as opened:
        told = finished(bob, bob.post("/api/projects/2/import", files={"file": opened}))
    assert (told["records"], told["imported"], told["problems"], told["unmatched"]) == (
        12,
        12,
        0,
        0,
    )
    for id, sample in enumerate(dataset, 13):
        said = item(bob, id)["annotations"][0]
        if sample.target is None:
            assert said["rejection"]["description"] == sample.description
        else:
            assert said["description"] == sample.description
            assert said["box"] == pytest.approx(list(sample.target))
        assert (said["subtask_l1"], said["subtask_l2"]) == (sample.subtask_l1, sample.subtask_l2)
    with file.open("rb") as opened:
        again = finished(bob, bob.post("/api/projects/2/import", files={"file": opened}))
    assert (again["kept"], again["imported"]) == (12, 0)


def test_boxes_of_other_tools_on_whole_pictures(make_app: MakeApp, tmp_path: Path) -> None:
    build_folder(tmp_path / "data")
    ann = enter(make_app(), "Ann")
    made(ann, "photos")
    about = {"original_width": 320, "original_height": 256, "type": "rectanglelabels"}
    quarter = {"x": 10, "y": 50, "width": 25, "height": 25, "rectanglelabels": ["cup"]}
    whole = {"x": 0, "y": 0, "width": 100, "height": 100, "rectanglelabels": ["sky"]}
    boxes = [{**about, "value": quarter}, {**about, "value": whole}]
    words = {"type": "textarea", "value": {"text": ["the cup"]}}
    tasks = [
        {"id": 7, "data": {"image": "/data/local-files/?d=images/1.jpg"},
         "annotations": [{"was_cancelled": True, "result": []}, {"result": [*boxes, words]}]},
        {"id": 8, "data": {"image": "/data/upload/1/none.jpg"}, "annotations": []},
        {"id": 9, "data": {"image": "2.jpg"}, "annotations": [{"result": [
            {**about, "value": {"x": "NaN", "y": None}}]}]},
        "no task", {"data": 5}, None,
    ]  # fmt: skip
    answer = ann.post(
        "/api/projects/1/import",
        files={"file": json.dumps(tasks).encode()},
        data={"submit": "true"},
    )
    told = finished(ann, answer)
    assert (told["imported"], told["added"], told["unmatched"], told["problems"]) == (2, 1, 4, 1)
    assert told["records"] == 7
    one = item(ann, 2)
    assert one["annotations"][0]["box"] == [32, 128, 112, 192]
    assert (one["annotations"][0]["label"], one["status"]) == ("cup", "annotated")
    new = ann.get("/api/projects/1/queue").json()["items"][-1]
    assert item(ann, new["id"])["annotations"][0]["box"] == [0, 0, 320, 256]
    coco = {
        "images": [{"id": 1, "file_name": "3.jpg"}], "categories": [{"id": 4, "name": "dog"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 4, "bbox": [1, 2, 30, 40]}],
    }  # fmt: skip
    answer = ann.post("/api/projects/1/import", files={"file": json.dumps(coco).encode()})
    told = finished(ann, answer)
    assert told["imported"] == 1
    said = item(ann, 4)["annotations"][0]
    assert (said["box"], said["label"], said["state"]) == ([1, 2, 31, 42], "dog", "draft")


@pytest.mark.parametrize(
    "data", [b"", b"[", b"{}", b"PAR1", b"\xff\xfe\x00", b"[" * 100_000, b'{"images": 5}', b"null"]
)
def test_files_that_are_none(make_app: MakeApp, data: bytes) -> None:
    ann = enter(make_app(), "Ann")
    made(ann)
    for layout in ("", "label-studio", "coco", "parquet", "jsonl"):
        answer = ann.post("/api/projects/1/import", files={"file": data}, data={"layout": layout})
        job = ended(ann, answer)
        if job["state"] == "failed":
            assert job["error"]["kind"] == "cannot", (layout, job)
            assert job["error"]["message"], layout
        else:
            assert job["result"]["imported"] == 0
    assert ann.get("/api/projects/1").json()["counts"]["open"] == 12


def test_lines_with_all_answers(make_app: MakeApp) -> None:
    ann = enter(make_app(), "Ann")
    made(ann)
    submit(ann, 1, note="a note")
    text = ann.get("/api/projects/1/export?which=all").text
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 12
    assert rows[0]["annotations"][0]["note"] == "a note"
    assert rows[0]["status"] == "annotated"
    table = ann.get("/api/projects/1/items.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert len(table.text.splitlines()) == 13


def test_publishing(make_app: MakeApp, tmp_path: Path) -> None:
    work = build_folder(tmp_path / "data")
    app = make_app()
    ann = enter(app, "Ann")
    made(ann, str(work))
    positive = next(
        one for one in ann.get("/api/projects/1/queue").json()["items"]
        if one["subtask_l1"] != "Rejection"
    )  # fmt: skip
    one = item(ann, positive["id"])
    changed = document(
        one, description="the small red cup", box=[5, 6, 70, 80],
        rejection={"description": "the small blue cup", "kind": "Appearance"},
    )  # fmt: skip
    body = {"version": one["version"], "accept": True, "annotation": changed}
    assert ann.post(f"/api/items/{one['id']}/decision", json=body).status_code == 200
    rejected = next(
        entry["id"] for entry in ann.get("/api/projects/1/queue").json()["items"]
        if entry["id"] != one["id"]
    )  # fmt: skip
    body = {"version": item(ann, rejected)["version"], "accept": False}
    assert ann.post(f"/api/items/{rejected}/decision", json=body).status_code == 200
    for _ in range(2):
        answer = ann.post("/api/projects/1/publish", json={"name": "my set", "license": "cc0-1.0"})
        told = finished(ann, answer)
    assert told["samples"] == 2
    dataset = load_dataset(told["folder"])
    plain, untrue = dataset.samples
    assert (plain.description, plain.target) == ("the small red cup", (5, 6, 70, 80))
    assert (untrue.description, untrue.target) == ("the small blue cup", None)
    lines = (Path(told["folder"]) / "provenance.jsonl").read_bytes().splitlines()
    first, second = (msgspec.json.decode(line) for line in lines)
    assert first["people"]["changed"]["description"]["after"] == "the small red cup"
    assert first["people"]["changed"]["box"]["before"] == list(one["proposal"]["box"])
    assert second["changes"] == [
        {"kind": "Appearance", "before": "red", "after": "blue", "by": "people"}
    ]
    assert "Ann" not in b"".join(lines).decode()
    card = (Path(told["folder"]) / "README.md").read_text()
    # The stages that made the proposals, what they turned down, their settings; then the people.
    rows = re.findall(r"^\| (select|verify|people) \| (\d+) \| (.*) \|$", card, re.MULTILINE)
    assert rows == [
        ("select", "1", ""),
        ("verify", "4", "1 no-rule, 1 failed"),
        ("people", "2", ""),
    ]
    assert '"models": [' in card


def test_nothing_to_publish(make_app: MakeApp) -> None:
    ann = enter(make_app(), "Ann")
    made(ann)
    job = ended(ann, ann.post("/api/projects/1/publish", json={"name": "x"}))
    assert (job["state"], job["error"]["kind"]) == ("failed", "cannot")


# Nothing is lost


def serve(home: Path, data: Path, url: str) -> tuple[subprocess.Popen[bytes], str]:
    """The real server, and its address."""
    command = [
        sys.executable, "-m", "groundingme", "studio", "--home", str(home), "--root", str(data),
        "--runs", str(data), "--port", "0", "--no-open", *(["--db", url] if url else []),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    assert "http://" in line, line
    return process, line.split()[1].rstrip("/")


def browser(address: str, name: str) -> httpx.Client:
    client = httpx.Client(base_url=address, timeout=30)
    deadline = time.monotonic() + 60
    while True:
        try:
            client.headers["X-CSRF"] = client.get("/api/session").json()["csrf"]
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    client.headers["X-CSRF"] = client.post("/api/session", json={"name": name}).json()["csrf"]
    return client


def test_killed_in_the_middle_of_typing(
    tmp_path: Path, database_url: str, make_app: MakeApp
) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    build_folder(data)
    ann = enter(make_app(database=database_url), "Ann")
    made(ann, "photos")
    process, address = serve(home, data, database_url)
    answered: dict[int, tuple[int, str]] = {}
    stop = threading.Event()

    def type_on(id: int) -> None:
        with contextlib.closing(browser(address, f"n{id}")) as client:
            start = document(client.get(f"/api/items/{id}").json())
            version = 0
            for step in range(10_000):
                if stop.is_set():
                    return
                note = f"{id}.{step}"
                try:
                    answer = save(client, id, version, {**start, "note": note})  # type: ignore[arg-type]
                except httpx.TransportError:
                    return
                if answer.status_code == 429:
                    # Of four writers one may be far ahead: nobody may change more than this.
                    stop.wait(0.2)
                    continue
                assert answer.status_code == 200, answer.text
                version = answer.json()["version"]
                answered[id] = (version, note)

    threads = [threading.Thread(target=type_on, args=(id,)) for id in range(1, 5)]
    for one in threads:
        one.start()
    deadline = time.monotonic() + 300
    try:
        while len(answered) < 4 or min(version for version, _ in answered.values()) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        stop.set()
        for one in threads:
            one.join()
    ann = enter(make_app(database=database_url), "Ann")
    for id, (version, note) in answered.items():
        kept = item(ann, id)["annotations"][0]
        # A request in flight may have been kept without an answer, but nothing answered is lost.
        assert kept["version"] in (version, version + 1), (id, version, kept["version"])
        events = ann.get(f"/api/items/{id}/history").json()["items"]
        notes = [one["after"]["document"]["note"] for one in events]
        assert note in notes
        assert len(notes) == kept["version"]


def test_a_backup_while_people_write(
    make_app: MakeApp, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(database=database_url)
    ann = enter(app, "Ann")
    made(ann)
    start = document(item(ann))
    stop = threading.Event()
    # However fast the disk is, nobody is slowed down.
    monkeypatch.setattr("groundingme.studio.people.WRITES", (1e9, 1e9))

    def type_on() -> None:
        version = 0
        while not stop.is_set():
            version = save(ann, 1, version, {**start, "note": str(version)}).json()["version"]

    thread = threading.Thread(target=type_on)
    thread.start()
    try:
        copies = [tmp_path / f"copy{n}.sqlite" for n in range(3)]
        for path in copies:
            time.sleep(0.2)
            app.state.studio.database.backup(path)
    finally:
        stop.set()
        thread.join()
    versions = []
    for path in copies:
        assert list(tmp_path.glob(f".{path.name}*")) == []
        with sqlite3.connect(path) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (version,) = copy.execute("SELECT version FROM item WHERE id = 1").fetchone()
            (events,) = copy.execute("SELECT count(*) FROM event WHERE item_id = 1").fetchone()
            (note,) = copy.execute("SELECT document ->> 'note' FROM annotation").fetchone() or ("",)
        copy.close()
        # One moment: the item, its annotation and its events belong together.
        assert (version, note) == (events, str(events - 1) if events else "")
        versions.append(version)
    assert versions == sorted(versions)
    other = make_app(home=tmp_path / "other", database=fresh_like(database_url))
    other.state.studio.database.restore(copies[-1])
    again = enter(other, "Ann")
    assert item(again)["version"] == versions[-1]
    assert save(again, 2, 0, document(item(again, 2), note="on")).status_code == 200
    with pytest.raises(UsageError, match="empty database"):
        other.state.studio.database.restore(copies[-1])


def test_a_database_that_was_restarted(
    make_app: MakeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that its end broke are replaced, not handed out."""
    app = make_app(database=database_url)
    database = app.state.studio.database
    if database.is_sqlite:
        pytest.skip("SQLite has no server")
    ann = enter(app, "Ann")
    monkeypatch.setattr("groundingme.studio.database.IDLE", 0.0)
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with database.session() as session:
        session.execute(sa.text(f"{others} AND datname = current_database()"))
    assert ann.get("/api/projects").status_code == 200
    assert ann.get("/api/projects").status_code == 200


def fresh_like(url: str) -> str:
    """Another empty database of the same kind."""
    if not url:
        return ""

    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"copy{os.getpid()}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return str(sa.make_url(url).set(database=name).render_as_string(hide_password=False))


def test_tables_are_those_of_the_models(make_app: MakeApp, database_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from groundingme.studio.models import Base

    app: FastAPI = make_app(database=database_url)
    with app.state.studio.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    """Of the first version: flags are found in the documents, data sets get their kind."""
    from alembic import command
    from alembic.config import Config

    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO person VALUES (1, 'Ann', 'admin', 1, '')")
        for id, score in ((1, 0.5), (2, 1.0)):
            connection.exec_driver_sql(
                "INSERT INTO project VALUES (?, 'P', 'build', '', 1, 0, '{}', '', 1)", (id,)
            )
            target = json.dumps({"score": score, "others": []})
            connection.exec_driver_sql(
                'INSERT INTO item (id, project_id, name, "order", status, version, label, '
                "subtask_l1, subtask_l2, target) VALUES (?, ?, '', 0, 'open', 0, '', '', '', ?)",
                (id, id, target),
            )
            connection.exec_driver_sql(
                "INSERT INTO annotation VALUES (?, ?, 1, 1, 'draft', ?, '')",
                (id, id, json.dumps({"flag": id == 1})),
            )
    engine.dispose()
    database = Database(url)
    with database.session() as session:
        rows = session.execute(
            sa.select(Project.kind, Item.flagged).join(Item).order_by(Project.id)
        ).all()
    database.close()
    assert rows == [("build", True), ("data", False)]


def test_databases_that_cannot_be_used(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    Database(url).close()
    with sqlite3.connect(tmp_path / "a.sqlite") as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
    file.close()
    with pytest.raises(UsageError, match="upgrade groundingme"):
        Database(url)
    for wrong in ("mysql://x/y", "nonsense", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(UsageError, match="sqlite:///FILE"):
            Database(wrong)
    with pytest.raises(UsageError, match="can be opened") as caught:
        Database("postgresql://ann:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)
    (tmp_path / "junk.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(UsageError):
        Database(f"sqlite:///{tmp_path / 'junk.sqlite'}")
