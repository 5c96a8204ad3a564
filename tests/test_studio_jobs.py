"""Jobs of the studio: they go on by themselves, can be cancelled, leave nothing half written."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from groundingme.build.publish import PublishOptions
from groundingme.datasets import load_dataset
from groundingme.errors import DataError
from groundingme.studio import exporting, importing, jobs, projects
from groundingme.studio.jobs import Cancelled, Job, Jobs
from groundingme.studio.people import Person
from studio_app import MakeApp, ended, enter, finished, give_role, make_app

__all__ = ["make_app"]

ANN = Person(1, "Ann", "admin")
SOURCE = "scenes:seed=3,n=6,width=320,height=256"


class Held:
    """Work that waits until it may go on, and notices meanwhile when it is cancelled."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, job: Job) -> dict[str, Any]:
        self.begun.set()
        while not self.may_go_on.wait(0.01):
            job.tick(1, 2)
        return {"samples": 2}


@pytest.fixture
def held() -> Iterator[Held]:
    one = Held()
    yield one
    one.may_go_on.set()


def wait(all_jobs: Jobs, job: Job) -> Job:
    thread = all_jobs._threads.get(job.id)
    if thread:
        thread.join(60)
    assert job.ended
    return job


def project(client: TestClient, *, accept: int = 0) -> int:
    answer = client.post("/api/projects", json={"name": "P", "source": SOURCE})
    assert answer.status_code == 201, answer.text
    id: int = answer.json()["id"]
    items = client.get(f"/api/projects/{id}/queue").json()["items"]
    positives = [one for one in items if one["subtask_l1"] != "Rejection"]
    for one in positives[:accept]:
        body = {"version": 0, "accept": True}
        assert client.post(f"/api/items/{one['id']}/decision", json=body).status_code == 200
    return id


def test_a_job_goes_on_and_says_how_far_it_is(held: Held) -> None:
    mine = Jobs()
    job = mine.start("export", "coco", 1, ANN, held)
    assert held.begun.wait(60)
    assert (job.state, job.is_at_work) == ("running", True)
    held.may_go_on.set()
    told = wait(mine, job).document()
    assert (told["state"], told["result"], told["error"]) == ("done", {"samples": 2}, None)
    assert [one.id for one in mine.of(1)] == [job.id]
    assert mine.of(2) == []


def test_a_cancelled_job_ends(held: Held) -> None:
    mine = Jobs()
    job = mine.start("export", "coco", 1, ANN, held)
    assert mine.cancel(job.id).state == "cancelling"
    assert wait(mine, job).state == "cancelled"
    # What has ended is not cancelled any more.
    assert mine.cancel(job.id).state == "cancelled"
    mine.forget(job.id)
    assert mine.of(1) == []


def test_a_project_has_one_job_and_the_server_a_few(held: Held) -> None:
    mine = Jobs()
    first = mine.start("export", "coco", 1, ANN, held)
    with pytest.raises(jobs.ApiError, match="got one at work, export by Ann"):
        mine.start("publish", "x", 1, ANN, held)
    with pytest.raises(jobs.ApiError, match="cancel it first"):
        mine.forget(first.id)
    others = [mine.start("export", "coco", n, ANN, held) for n in range(2, jobs.AT_ONCE + 1)]
    with pytest.raises(jobs.ApiError, match=f"fewer than {jobs.AT_ONCE}"):
        mine.start("export", "coco", 99, ANN, held)
    mine.close()
    assert {one.state for one in (first, *others)} == {"cancelled"}
    assert mine.of(1) == []


def test_what_goes_wrong_is_one_line() -> None:
    def fails(job: Job) -> None:
        raise DataError("expected\n  a picture, got none")

    def breaks(job: Job) -> None:
        raise KeyError("a fault")

    mine = Jobs()
    job = wait(mine, mine.start("export", "coco", 1, ANN, fails))
    assert job.error == {"kind": "cannot", "message": "expected a picture, got none"}
    job = wait(mine, mine.start("export", "coco", 1, ANN, breaks))
    assert job.state == "failed"
    assert (job.error or {})["kind"] == "fault"


def test_the_last_file_of_a_person_is_kept(tmp_path: Path) -> None:
    mine, ben = Jobs(), Person(2, "Ben", "reviewer")

    def writes(job: Job) -> dict[str, Any]:
        job.file = tmp_path / job.id
        job.file.write_bytes(b"x")
        return {}

    for who in (ANN, ben, ANN):
        wait(mine, mine.start("export", "coco", 1, who, writes))
    assert {one.name for one in tmp_path.iterdir()} == {one.id for one in mine.of(1)}
    assert [one.person.name for one in mine.of(1)] == ["Ann", "Ben"]
    mine.close()
    assert list(tmp_path.iterdir()) == []


def test_jobs_are_for_reviewers(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    app = make_app()
    ann, rita, bob = enter(app, "Ann"), enter(app, "Rita"), enter(app, "Bob")
    give_role(ann, rita, "reviewer")
    give_role(ann, bob, "annotator")
    id = project(ann)
    job = app.state.studio.jobs.start("publish", "x", id, ANN, held)
    paths = [f"/api/projects/{id}/jobs", f"/api/jobs/{job.id}", f"/api/jobs/{job.id}/file"]
    assert [bob.get(path).status_code for path in paths] == [403, 403, 403]
    assert [rita.get(path).status_code for path in paths] == [200, 200, 404]
    for path in ("export", "publish"):
        body = {"layout": "coco", "name": "x"}
        assert bob.post(f"/api/projects/{id}/{path}", json=body).status_code == 403
        answer = rita.post(f"/api/projects/{id}/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["job"]) == (409, job.id)
    assert bob.post(f"/api/jobs/{job.id}/cancel").status_code == 403
    assert rita.post(f"/api/jobs/{job.id}/cancel").json()["state"] == "cancelling"
    wait(app.state.studio.jobs, job)
    assert bob.delete(f"/api/jobs/{job.id}").status_code == 403
    assert rita.delete(f"/api/jobs/{job.id}").status_code == 204
    assert rita.get(f"/api/jobs/{job.id}").status_code == 404


def test_what_changes_nothing_is_exported_by_a_studio_that_is_read_only(make_app: MakeApp) -> None:
    id = project(enter(make_app(), "Ann"))
    ann = enter(make_app(readonly=True), "Ann")
    body = {"layout": "coco", "which": "all", "name": "x"}
    job = ended(ann, ann.post(f"/api/projects/{id}/export", json=body))
    assert ann.get(job["file"]).content.startswith(b"PK")
    assert ann.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert ann.post(f"/api/projects/{id}/publish", json=body).status_code == 403


def stops_at(most: int) -> jobs.Tick:
    def tick(done: int, total: int) -> None:
        if done >= most:
            raise Cancelled

    return tick


def publish(app: FastAPI, id: int, tick: jobs.Tick) -> dict[str, Any]:
    """As the job does."""
    parts = app.state.studio
    with parts.database.session() as session:
        one = projects.find(session, id)
        found = list(exporting.finals(session, one, "accepted"))
    options = PublishOptions(name="set", layouts=["coco"])
    return exporting.publish_project(parts.settings, one, found, options, tick)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes()
        for one in folder.rglob("*") if one.is_file() and one.suffix != ".lock"
    }  # fmt: skip


def test_cancelled_publishing_leaves_what_was_there(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    ann = enter(app, "Ann")
    id = project(ann, accept=3)
    told = finished(
        ann, ann.post(f"/api/projects/{id}/publish", json={"name": "set", "layouts": ["coco"]})
    )
    assert told["samples"] == 3
    published = tmp_path / "home" / "published"
    before = files(published)
    assert {"data", "coco"} == {Path(one).parts[1] for one in before}
    # Something else would be published now.
    again = ann.get(f"/api/projects/{id}/queue?status=accepted").json()["items"][0]["id"]
    assert ann.post(f"/api/items/{again}/reopen", json={}).status_code == 200
    for most in (0, 1, 2, 3, 4):
        with pytest.raises(Cancelled):
            publish(app, id, stops_at(most))
        assert files(published) == before
    assert publish(app, id, lambda done, total: None)["samples"] == 2
    assert len(load_dataset(told["folder"])) == 2
    names = {one.name for one in published.iterdir()}
    assert names == {f"{id}-set", f".{id}-set.lock"}


def test_cancelled_export_leaves_nothing(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    ann = enter(app, "Ann")
    id = project(ann, accept=3)
    parts = app.state.studio
    with parts.database.session() as session:
        found = list(exporting.finals(session, projects.find(session, id), "accepted"))
    for most in (0, 1, 3):
        with pytest.raises(Cancelled):
            exporting.archive(parts.settings, "P", found, "folder", stops_at(most))
        assert list((tmp_path / "home" / "exports").iterdir()) == []


def test_cancelled_import_keeps_what_came_in(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_AT_ONCE", 2)
    app = make_app()
    ann = enter(app, "Ann")
    id = project(ann)
    lines = ann.get(f"/api/projects/{id}/export?which=all").content
    parts = app.state.studio
    with pytest.raises(Cancelled):
        importing.put(parts.database, id, ANN, importing.parse(lines), tick=stops_at(4))
    count = ann.get(f"/api/projects/{id}").json()["counts"]
    assert (count["annotated"], count["open"]) == (4, 2)
    answer = ann.post(f"/api/projects/{id}/import", files={"file": lines})
    told = finished(ann, answer)
    assert (told["kept"], told["imported"]) == (4, 2)


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from groundingme.studio.app import create_app
from groundingme.studio.settings import Settings
from test_studio_jobs import publish

home = Path(sys.argv[1])
app = create_app(Settings(runs=home.parent / "runs", roots=(home.parent / "data",), home=home))
publish(app, int(sys.argv[2]), lambda done, total: os._exit(9) if done == 2 else None)
"""


@pytest.mark.slow
def test_a_server_that_is_killed_leaves_no_half_data_set(make_app: MakeApp, tmp_path: Path) -> None:
    id = project(enter(make_app(), "Ann"), accept=3)
    home, here = tmp_path / "home", Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), str(id), str(here)], check=False
    )
    assert done.returncode == 9
    published = home / "published"
    assert {one.name for one in published.iterdir()} == {f".{id}-set.part", f".{id}-set.lock"}
    make_app()
    assert [one.name for one in published.iterdir()] == [f".{id}-set.lock"]


def test_what_killed_servers_left_is_mended(make_app: MakeApp, tmp_path: Path) -> None:
    published, exports = tmp_path / "home" / "published", tmp_path / "home" / "exports"
    for name in (".1-a.part", ".1-a.old", ".1-b.old", "1-b", ".1-c.old", ".1-c.part"):
        (published / name).mkdir(parents=True)
        (published / name / "x").write_text(name)
    for name in ("a", "b"):
        (published / f".1-{name}.lock").touch()
    old = exports / "old.zip"
    exports.mkdir()
    old.touch()
    os.utime(old, (1, 1))
    (exports / "new.zip").touch()
    app = make_app()
    # Between the two renames; after them; and one whose lock is not there is not ours to touch.
    assert (published / "1-a" / "x").read_text() == ".1-a.old"
    assert (published / "1-b" / "x").read_text() == "1-b"
    left = {one.name for one in published.iterdir() if one.is_dir()}
    assert left == {"1-a", "1-b", ".1-c.old", ".1-c.part"}
    ann = enter(app, "Ann")
    id = project(ann)
    body = {"layout": "coco", "which": "all"}
    finished(ann, ann.post(f"/api/projects/{id}/export", json=body))
    assert not old.exists()
    assert (exports / "new.zip").exists()
