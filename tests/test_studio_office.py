"""In a real browser: logging in, what each role can do, giving out work, files in and out, axe."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotating import Served
from test_studio_annotate import Tab, ada, build, chromium, make_project, served
from test_studio_browser import axe

__all__ = ["ada", "axe", "build", "chromium", "served"]

pytestmark = pytest.mark.slow


@pytest.fixture
def guarded(build: Path, tmp_path: Path) -> Iterator[Served]:
    """A studio that asks for a token."""
    one = Served(tmp_path, build, "--login").start()
    yield one
    one.stop()


def token(served: Served, name: str, role: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "groundingme", "studio", "--home", str(served.home), "person", name,
         "--role", role],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_token_opens_the_door_to_what_the_role_may(
    chromium: Any, guarded: Served, build: Path
) -> None:
    admin, worker = (token(guarded, *one) for one in (("Ann", "admin"), ("Bob", "annotator")))
    with Tab(chromium, guarded, None) as ann:
        ann.go("/projects")
        ann.page.locator("input[name=token]").fill("gm-wrong")
        ann.page.locator(".signin button").click()
        ann.until(lambda: "a token that is known" in ann.page.locator(".banner").inner_text())
        ann.page.locator("input[name=token]").fill(admin)
        ann.page.locator(".signin button").click()
        ann.page.locator("[data-act=new]").wait_for()
        cookie = next(one for one in ann.context.cookies() if one["name"] == "groundingme")
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        project, items = make_project(ann, build, "Behind a door")
        with Tab(chromium, guarded, None) as bob:
            bob.go(f"/projects/{project}")
            bob.page.locator("input[name=token]").fill(worker)
            bob.page.locator(".signin button").click()
            bob.page.locator(".an-card").first.wait_for()
            names = set(bob.page.locator(".head button, .head a.button").all_inner_texts())
            words = {re.split(r"\s", name.strip())[0] for name in names}
            assert words == {"Annotate", "Dashboard"}
            bob.go("/projects")
            bob.page.locator(".an-project").first.wait_for()
            assert bob.page.locator("[data-act=new]").count() == 0
            bob.item(project, items[1]["id"])
            bob.press("n")
            bob.page.keyboard.type("seen")
            bob.saved()
            bob.press("Escape", "Enter")
            bob.until(lambda: bob.ask("GET", f"/api/items/{items[1]['id']}")["status"], "annotated")
            bob.page.get_by_title("Bob").click()
            bob.page.get_by_role("button", name="Leave").click()
            bob.page.locator("input[name=token]").wait_for()
            assert bob.complaints == []
        assert ann.complaints == []


def test_work_is_given_by_name_and_flags_are_found(ada: Tab, chromium: Any, build: Path) -> None:
    project, items = make_project(ada, build, "Given")
    with Tab(chromium, ada.served, "Ben") as ben:
        ada.go(f"/projects/{project}?l1=Spatial")
        wanted = [one["id"] for one in items if one["subtask_l1"] == "Spatial"]
        ada.page.locator(".an-card").first.wait_for()
        ada.page.get_by_role("button", name="Assign").click()
        ada.page.locator("dialog select").select_option(label="Ben")
        ada.page.locator("[data-act=give]").click()
        said = ada.page.locator("[data-said]")
        said.wait_for()
        assert said.inner_text().startswith(f"{len(wanted)} item")
        ben.go(f"/projects/{project}?mine=1")
        ben.page.locator(".an-card").first.wait_for()
        ben.until(lambda: ben.page.locator(".an-card").count(), len(wanted))
        ben.press("Enter")
        ben.page.locator(".viewer[data-state=drawn]").wait_for()
        assert int(re.findall(r"items/(\d+)", ben.page.url)[0]) == wanted[0]
        ben.press("m")
        ben.until(lambda: ben.mine(wanted[0])["flag"])
        ben.press("Enter")
        ben.until(lambda: ben.ask("GET", f"/api/items/{wanted[0]}")["status"], "annotated")
        assert ben.complaints == []
    ada.press("Escape")
    ada.go(f"/projects/{project}")
    ada.page.locator(".an-card").first.wait_for()
    ada.page.get_by_label("Only flagged").check()
    ada.until(lambda: ada.page.locator(".an-card").count(), 1)
    assert "flagged" in ada.page.locator(".an-card").inner_text()
    ada.press("r")
    ada.page.locator("[data-flag]").wait_for()
    assert "flagged by Ben" in ada.page.locator("[data-flag]").inner_text()
    assert ada.page.url.endswith(f"/review/{wanted[0]}?flag=1")


def test_a_file_comes_in(ada: Tab, build: Path, tmp_path: Path) -> None:
    project, items = make_project(ada, build, "Import")
    item = ada.ask("GET", f"/api/items/{items[1]['id']}")
    row = {
        "id": item["name"], "image": item["name"].partition("#")[0], "description": "from a file",
        "bbox": [10, 20, 60, 90], "subtask_l1": "Limited", "subtask_l2": "Small",
    }  # fmt: skip
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps({**row, "id": "x", "image": "y.png"}))
    ada.go(f"/projects/{project}")
    ada.page.get_by_role("button", name="Import").click()
    ada.page.locator("dialog input[type=file]").set_input_files(str(file))
    ada.page.locator("dialog button.main").click()
    job = ada.page.locator("[data-job=done]")
    job.wait_for()
    assert "imported: 1" in job.inner_text()
    assert "y.png" in job.inner_text()
    ada.page.locator(".an-counts").get_by_text("1 annotated").wait_for()
    mine = ada.mine(item["id"])
    assert (mine["description"], mine["box"]) == ("from a file", [10, 20, 60, 90])


def test_accepted_items_are_published(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Publish")
    done = next(one["id"] for one in items[1:] if one["subtask_l1"] != "Rejection")
    ada.ask("POST", f"/api/items/{done}/decision", {"version": 0, "accept": True})
    ada.go(f"/projects/{project}")
    ada.page.get_by_role("button", name="Publish").click()
    ada.page.locator("dialog input[name=name]").fill("By people")
    ada.page.locator("dialog button.main").click()
    job = ada.page.locator("[data-job=done]")
    job.wait_for()
    assert "1 sample published" in job.inner_text()
    folder = Path(job.locator("pre").inner_text())
    assert "By people" in (folder / "README.md").read_text()

    # It is there for whoever comes back, until it is closed.
    ada.go(f"/projects/{project}")
    job.wait_for()
    job.locator("[data-act=stop]").click()
    job.wait_for(state="detached")
    ada.go(f"/projects/{project}")
    ada.page.locator(".an-card").first.wait_for()
    assert job.count() == 0


def test_an_archive_is_made_and_fetched(ada: Tab, build: Path, tmp_path: Path) -> None:
    project, items = make_project(ada, build, "Export")
    ada.go(f"/projects/{project}")
    ada.page.get_by_role("button", name="Export").click()
    ada.page.locator("dialog select").select_option("all")
    ada.page.locator("input[value=coco]").check()
    ada.page.locator("[data-act=export]").click()
    ada.page.locator("[data-job=done]").wait_for()
    with ada.page.expect_download() as found:
        ada.page.locator("[data-act=download]").click()
    assert found.value.suggested_filename == "Export-coco.zip"
    path = tmp_path / "got.zip"
    found.value.save_as(path)
    with zipfile.ZipFile(path) as file:
        told = json.loads(file.read("Export/annotations.json"))
    assert len(told["expressions"]) >= len(items)


def test_a_job_at_work_is_found_again_and_cancelled(ada: Tab, build: Path) -> None:
    """What the server says of a job is held here, so that it is at work for as long as wanted."""
    project, _ = make_project(ada, build, "Held")
    job = {
        "id": "0a", "kind": "import", "title": "many.jsonl", "project": project, "state": "running",
        "done": 400, "total": 1000, "result": None, "error": None, "started": "", "ended": None,
        "file": None, "person": {"id": 0, "name": "Ben"},
    }  # fmt: skip

    def cancel(route: Any) -> None:
        job["state"] = "cancelling"
        route.fulfill(json=job)

    ada.page.route(f"**/api/projects/{project}/jobs", lambda r: r.fulfill(json={"items": [job]}))
    ada.page.route("**/api/jobs/0a", lambda route: route.fulfill(json=job))
    ada.page.route("**/api/jobs/0a/cancel", cancel)
    words = ada.page.locator("[data-words]")
    for _ in range(2):
        ada.go(f"/projects/{project}")
        ada.page.locator("[data-job=running]").wait_for()
        assert "many.jsonl by Ben" in ada.page.locator("[data-job]").inner_text()
    assert words.inner_text() == "400 of 1,000 records"
    job["done"] = 600
    ada.until(words.inner_text, "600 of 1,000 records")
    ada.page.locator("[data-act=stop]").click()
    ada.page.locator("[data-job=cancelling]").wait_for()
    job.update(state="cancelled", ended="x")
    ada.page.locator("[data-job=cancelled]").wait_for()
    assert words.inner_text().startswith("Cancelled after 600 of 1,000 records.")


def test_a_job_that_ended_with_its_server_is_said_to_have(ada: Tab, build: Path) -> None:
    project, _ = make_project(ada, build, "Gone")
    job = {
        "id": "0b", "kind": "publish", "title": "x", "project": project, "state": "running",
        "done": 0, "total": 0, "result": None, "error": None, "started": "", "ended": None,
        "file": None, "person": {"id": 0, "name": "Ben"},
    }  # fmt: skip
    ada.page.route(f"**/api/projects/{project}/jobs", lambda r: r.fulfill(json={"items": [job]}))
    ada.go(f"/projects/{project}")
    ada.page.locator("[data-job=lost]").wait_for()
    ada.page.locator("[data-act=stop]").click()
    ada.page.locator("[data-job]").wait_for(state="detached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_where_people_work(
    chromium: Any, served: Served, build: Path, axe: str, scheme: str
) -> None:
    with Tab(chromium, served, "Ada", scheme=scheme) as ada:
        project, items = make_project(ada, build, f"Axe {scheme}")
        flagged, done = items[1]["id"], items[2]["id"]
        ada.ask("POST", f"/api/items/{done}/submit", {"version": 0})
        for path, there in (
            ("/projects", ".an-project"),
            (f"/projects/{project}", ".an-card"),
            (f"/projects/{project}/items/{flagged}", ".viewer[data-state=drawn]"),
            (f"/projects/{project}/review/{done}", ".viewer[data-state=drawn]"),
            (f"/projects/{project}/dashboard", "table"),
            ("/people", "table"),
        ):
            ada.go(path)
            ada.page.locator(there).first.wait_for()
            ada.page.evaluate(axe)
            found = ada.page.evaluate("axe.run({resultTypes: ['violations']})")
            assert found["passes"], path
            serious = [
                (one["id"], [node["target"] for node in one["nodes"]][:5])
                for one in found["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert serious == [], path
        assert ada.complaints == []
