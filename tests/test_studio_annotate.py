"""Annotation in a real browser, against a studio in a process of its own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotating import BIG, Served, make_build
from groundingme import taxonomy

pytest.importorskip("fastapi", reason="needs the studio's libraries")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
STATIC = Path(taxonomy.__file__).parent / "studio" / "static" / "annotate"
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
QUIET = ("Failed to load resource", "net::ERR")
"""What Chromium says of requests to a server that a test has killed, or of a 409."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if PROGRAM is None:
        pytest.skip("needs Chromium: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("annotate") / "work")


@pytest.fixture(scope="module")
def served(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    one = Served(tmp_path_factory.mktemp("studio"), build).start()
    yield one
    one.stop()


class Tab:
    """A page of one person, and everything that it complained of."""

    def __init__(self, browser: Any, served: Served, name: str | None, *, context: Any = None,
                 width: int = 1440, height: int = 900, scheme: str = "light") -> None:  # fmt: skip
        self.own = context is None
        self.context = context or browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce",
            color_scheme=scheme,
        )  # fmt: skip
        self.served = served
        self.page = self.context.new_page()
        self.context.set_default_timeout(90_000)
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if self.own and name is not None:
            self.page.goto(f"{served.address}/static/icon.svg")
            who = self.ask("POST", "/api/session", {"name": name})
            assert who["person"]["name"] == name

    def _hear(self, said: Any) -> None:
        if said.type == "error" and not any(one in said.text for one in QUIET):
            self.complaints.append(said.text)

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        if self.own:
            self.context.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The API, as this person's page asks it."""
        request = self.context.request
        session = request.get(f"{self.served.address}/api/session", timeout=90_000).json()
        answer = request.fetch(
            f"{self.served.address}{path}", method=method, data=body,
            headers={"X-CSRF": session["csrf"]}, timeout=90_000,
        )  # fmt: skip
        assert answer.ok, answer.text()
        return answer.json()

    def go(self, path: str) -> Tab:
        self.page.goto(f"{self.served.address}{path}")
        return self

    def item(self, project: int, item: int, room: str = "items") -> Tab:
        self.go(f"/projects/{project}/{room}/{item}")
        self.page.locator(".viewer[data-state=drawn]").wait_for()
        return self

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, what: Any, wanted: Any = True, seconds: float = 90) -> None:
        """Waits until `what()` is `wanted`; the page's policy forbids Playwright's own waiting."""
        end = time.monotonic() + seconds
        while (found := what()) != wanted:
            assert time.monotonic() < end, f"expected {wanted}, got {found}"
            self.page.wait_for_timeout(50)

    def state(self) -> str:
        found: str = self.page.locator("[data-state].an-state").get_attribute("data-state")
        return found

    def saved(self) -> None:
        self.until(self.state, "saved")

    def shown(self) -> dict[str, Any]:
        """The item of the page's address, as the server has it."""
        found: dict[str, Any] = self.ask("GET", f"/api/items/{self.page.url.rsplit('/', 1)[1]}")
        return found

    def mine(self, item: int) -> dict[str, Any]:
        """What the server has."""
        found: dict[str, Any] = self.ask("GET", f"/api/items/{item}")["mine"]
        return found

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the picture is on the page, from the corners of the box."""
        box = [
            float(one) for one in self.page.locator(".pane").get_attribute("data-box").split(",")
        ]
        ends = []
        for corner in ("nw", "se"):
            seen = self.page.locator(f".editor .handle.{corner}").bounding_box()
            ends.append((seen["x"] + seen["width"] / 2, seen["y"] + seen["height"] / 2))
        scale = (ends[1][0] - ends[0][0]) / (box[2] - box[0])
        return ends[0][0] + (x - box[0]) * scale, ends[0][1] + (y - box[1]) * scale

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=3)
        mouse.move(*end, steps=3)
        mouse.up()


def make_project(
    tab: Tab, build: Path, name: str, **options: Any
) -> tuple[int, list[dict[str, Any]]]:
    made = tab.ask("POST", "/api/projects", {"name": name, "source": str(build), **options})
    return made["id"], tab.ask("GET", f"/api/projects/{made['id']}/queue")["items"]


@pytest.fixture
def ada(chromium: Any, served: Served) -> Iterator[Tab]:
    with Tab(chromium, served, "Ada") as tab:
        yield tab
        assert tab.complaints == []


def test_subtasks_are_those_of_the_taxonomy() -> None:
    text = (STATIC / "subtasks.js").read_text()
    for row in taxonomy.SUBTASKS:
        if row.l1 != taxonomy.REJECTION:
            assert f'["{row.l1}", "{row.l2}",' in text
    kinds = [row.l2 for row in taxonomy.SUBTASKS if row.l1 == taxonomy.REJECTION]
    assert f"KINDS = {json.dumps(kinds)}" in text


def test_drawn_box_is_what_the_api_returns(ada: Tab, build: Path) -> None:
    """On an 8K picture, zoomed so that one pixel of it is many of the screen."""
    project, items = make_project(ada, build, "Pixels")
    big = items[0]
    assert (big["width"], big["height"]) == BIG
    ada.item(project, big["id"])
    ada.press("z")
    ada.until(lambda: ada.at(5320, 2690)[0] - ada.at(5200, 2600)[0] > 240)
    wanted = [5200, 2600, 5320, 2690]
    start, end = ada.at(*wanted[:2]), ada.at(*wanted[2:])
    ada.press("b")
    ada.drag(start, end)
    ada.saved()
    assert ada.mine(big["id"])["box"] == wanted

    # A corner, a side, and the whole of it.
    ada.drag(ada.at(5320, 2690), ada.at(5331, 2695))
    ada.drag(ada.at(5200, 2647), ada.at(5190, 2647))
    ada.drag(ada.at(5250, 2640), ada.at(5257, 2637))
    ada.saved()
    ada.until(lambda: ada.mine(big["id"])["box"], [5197, 2597, 5338, 2692])


@pytest.mark.slow
def test_nudge_undo_and_redo(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Nudges")
    item = items[1]["id"]
    ada.item(project, item)
    x1, y1, x2, y2 = ada.mine(item)["box"]
    # Nudges within a second are one step of undo: on a busy machine they would take longer.
    ada.page.evaluate("() => { const at = performance.now(); performance.now = () => at; }")
    ada.press("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowDown", "Alt+ArrowRight")
    ada.until(lambda: ada.mine(item)["box"], [x1 + 2, y1 + 9, x2 + 3, y2 + 9])
    ada.press("Control+z")
    ada.until(lambda: ada.mine(item)["box"], [x1, y1, x2, y2])
    ada.press("Control+Shift+Z")
    ada.until(lambda: ada.mine(item)["box"], [x1 + 2, y1 + 9, x2 + 3, y2 + 9])
    ada.press("x")
    ada.until(lambda: ada.mine(item)["box"], None)


def test_three_items_by_keys_alone(ada: Tab, build: Path) -> None:
    project, _ = make_project(ada, build, "Keys")
    ada.go(f"/projects/{project}")
    ada.page.locator(".an-card").first.wait_for()
    ada.press("Enter")
    seen = []
    for n in range(3):
        ada.page.locator(".viewer[data-state=drawn]").wait_for()
        # The address may change once more while it is compared.
        ada.until(lambda: ada.page.locator(".an-name").inner_text() == ada.shown()["name"])
        item = ada.shown()["id"]
        seen.append(item)
        ada.press("ArrowRight", "5", "d", "Control+a")
        ada.page.keyboard.type(f"the thing number {n}")
        ada.press("Escape", "v", "End")
        ada.page.keyboard.type(" without a hat")
        ada.press("Escape", "c", "t", "r", "n")
        ada.page.keyboard.type("typed")
        ada.press("Escape", "Enter")
        ada.until(lambda item=item: ada.page.url.endswith(f"/{item}"), False)
        found = ada.ask("GET", f"/api/items/{item}")
        mine = found["mine"]
        assert found["status"] == "annotated"
        assert mine["description"] == f"the thing number {n}"
        assert (mine["subtask_l1"], mine["subtask_l2"]) == ("Spatial", "Relationship")
        assert mine["rejection"] == {
            "description": f"the thing number {n} without a hat", "kind": "Component",
        }  # fmt: skip
        assert mine["criteria"] == {
            "uniqueness": True, "clarity": True, "specificity": True, "accuracy": False,
        }  # fmt: skip
        assert mine["note"] == "typed"
        assert mine["seconds"] > 0
    assert len(set(seen)) == 3
    ada.press("k")
    ada.until(lambda: ada.page.url.endswith(f"/{seen[-1]}"))


@pytest.mark.slow
def test_changed_words_are_marked(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Words")
    rejection = next(one for one in items if one["subtask_l1"] == "Rejection")
    ada.item(project, rejection["id"])
    marks = ada.page.locator("[data-diff]")
    marks.wait_for()
    mine = ada.mine(rejection["id"])
    kept = list(marks.locator("del").all_inner_texts())
    assert kept == ["without"]
    assert marks.locator("ins").all_inner_texts() == ["that has"]
    assert (
        marks.inner_text().replace("without", "", 1).split()
        == mine["rejection"]["description"].split()
    )
    ada.press("o", "i")
    ada.until(ada.page.locator(".boxes .line.other").count, 2)
    ada.until(ada.page.locator(".boxes .line.c0").count, 1)


def test_a_kill_while_typing_loses_nothing(chromium: Any, build: Path, tmp_path: Path) -> None:
    served = Served(tmp_path, build).start()
    try:
        with Tab(chromium, served, "Ada") as ada:
            project, items = make_project(ada, build, "Power cut")
            item = items[1]["id"]
            ada.item(project, item)
            ada.press("d", "Control+a")
            ada.page.keyboard.type("Before the server died")
            served.kill()
            ada.page.keyboard.type(", and after it")
            ada.until(ada.state, "offline")
            assert "kept in this browser" in ada.page.locator(".an-warned").inner_text()
            served.start()
            ada.saved()
            assert ada.mine(item)["description"] == "Before the server died, and after it"

            # The tab goes, too, before the server comes back.
            served.kill()
            ada.page.keyboard.type(", twice")
            ada.until(ada.state, "offline")
            ada.page.close()
            served.start()
            with Tab(chromium, served, "Ada", context=ada.context) as again:
                again.item(project, item)
                again.saved()
                again.until(lambda: again.mine(item)["description"],
                            "Before the server died, and after it, twice")  # fmt: skip
                assert "Brought back" in again.page.locator(".an-notice").first.inner_text()
                assert again.complaints == []
    finally:
        served.stop()


@pytest.mark.slow
def test_closed_tab(ada: Tab, build: Path) -> None:
    """Closed before the debounced save: it is sent on the way out, or brought back."""
    project, items = make_project(ada, build, "Closed")
    item = items[2]["id"]
    ada.item(project, item)
    ada.press("d", "Control+a")
    ada.page.keyboard.type("typed and gone")
    ada.page.close()
    with Tab(None, ada.served, "Ada", context=ada.context) as again:
        again.item(project, item)
        again.until(lambda: again.mine(item)["description"], "typed and gone")
        again.until(again.page.locator("textarea").first.input_value, "typed and gone")


@pytest.mark.slow
def test_two_tabs_of_one_person(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Tabs")
    item = items[1]["id"]
    ada.item(project, item)
    with Tab(None, ada.served, "Ada", context=ada.context) as other:
        other.item(project, item)
        other.page.locator("[data-tabs]").wait_for()
        ada.page.locator("[data-tabs]").wait_for()
        # What one saves, the other takes up while it has nothing of its own.
        ada.press("n")
        ada.page.keyboard.type("from the first")
        ada.saved()
        note = other.page.locator("textarea").last
        other.until(note.input_value, "from the first")
        other.press("q")
        other.saved()
        mine = other.mine(item)
        assert mine["note"] == "from the first"
        assert mine["criteria"]["uniqueness"] is True
        assert other.complaints == []


def test_two_people_on_one_item(ada: Tab, chromium: Any, build: Path) -> None:
    """The second is told; what was saved in between is merged field by field."""
    project, items = make_project(ada, build, "Two people")
    item = items[1]["id"]
    ada.item(project, item)
    with Tab(chromium, ada.served, "Ben") as ben:
        ben.item(project, item)
        ben.page.locator("[data-here]").wait_for()
        assert "Ada is here" in ben.page.locator("[data-here]").inner_text()
        # Ben's work leaves when all of it is there, and after Ada's.
        ben.page.route("**/annotation", lambda route: route.abort())
        ben.press("d", "Control+a")
        ben.page.keyboard.type("Ben's words")
        ben.press("Escape", "q")
        ada.press("d", "Control+a")
        ada.page.keyboard.type("Ada's words")
        ada.saved()
        ben.page.unroute("**/annotation")
        merge = ben.page.locator("[data-merge]")
        merge.wait_for()
        # Nothing of Ada's was overwritten while Ben chooses.
        assert ada.mine(item)["description"] == "Ada's words"
        assert "Ada's" in merge.inner_text()
        assert "Ben's" in merge.inner_text()
        assert merge.locator("[data-field=description]").count() == 1
        ben.press("ArrowRight", "Enter")
        ben.saved()
        found = ben.mine(item)
        assert found["description"] == "Ada's words"
        assert found["criteria"]["uniqueness"] is True
        history = ben.ask("GET", f"/api/items/{item}/history")["items"]
        assert any("Ben's words" in json.dumps(one["after"]) for one in history)
        assert ben.complaints == []


def test_a_conflict_takes_no_words_from_who_is_typing(ada: Tab, chromium: Any, build: Path) -> None:
    project, items = make_project(ada, build, "Typing on")
    item = items[1]["id"]
    with Tab(chromium, ada.served, "Ben") as ben:
        ben.item(project, item)
        document = ada.mine(item)
        version = document.pop("version")
        document.pop("state")
        ada.ask("PUT", f"/api/items/{item}/annotation",
                {"version": version,
                 "annotation": {**document, "description": "Ada's"}})  # fmt: skip
        ben.press("d", "Control+a")
        ben.page.keyboard.type("Ben's")
        ben.until(ben.state, "conflict")
        ben.page.keyboard.type(" 2 words")
        assert ben.page.locator("[data-merge]").count() == 0
        ben.press("Escape")
        ben.page.locator("[data-merge]").wait_for()
        ben.press("ArrowLeft", "Enter")
        ben.saved()
        ben.until(lambda: ben.mine(item)["description"], "Ben's 2 words")
        assert ben.complaints == []


def test_reviewer_adjudicates(ada: Tab, chromium: Any, build: Path) -> None:
    project, items = make_project(ada, build, "Adjudication", overlap=2, blind=True)
    item = items[1]["id"]
    box = ada.mine(item)["box"]
    far = [box[0] + 60, box[1] + 40, box[2] + 60, box[3] + 40]
    with Tab(chromium, ada.served, "Ben") as ben, Tab(chromium, ada.served, "Cleo") as cleo:
        for who, said, where in ((ada, "Ada's description", box), (ben, "Ben's description", far)):
            mine = who.mine(item)
            document = {
                **mine,
                "description": said,
                "box": where,
                "criteria": {"clarity": who is ada},
            }
            for name in ("version", "state"):
                document.pop(name)
            who.ask("POST", f"/api/items/{item}/submit",
                    {"version": mine["version"], "annotation": document})  # fmt: skip
        cleo.go(f"/projects/{project}")
        cleo.page.locator(".an-card").first.wait_for()
        cleo.press("r")
        cleo.page.locator(".viewer[data-state=drawn]").wait_for()
        assert cleo.page.url.endswith(f"/review/{item}")
        cleo.until(cleo.page.locator(".boxes .line.c0").count, 1)
        cleo.until(cleo.page.locator(".boxes .line.c1").count, 1)
        assert "differ" in cleo.page.locator("[data-field=box]").get_attribute("class")
        # The box of the second, the words of the first.
        cleo.press("ArrowRight")
        cleo.page.locator("[data-field=description] [data-side=A]").click()
        cleo.press("Enter")
        cleo.until(lambda: cleo.ask("GET", f"/api/items/{item}")["status"], "accepted")
        decision = cleo.ask("GET", f"/api/items/{item}")["decision"]
        assert decision["document"]["box"] == far
        assert decision["document"]["description"] == "Ada's description"
        cleo.go(f"/projects/{project}/dashboard")
        cleo.page.locator("table").first.wait_for()
        assert "Ada and Ben" in cleo.page.locator("main").inner_text()
        assert cleo.complaints == []
        assert ben.complaints == []


@pytest.mark.slow
def test_pictures_without_proposals(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build / "pictures", "Pictures", kind="images")
    item = next(one["id"] for one in items if one["width"] < 2000)
    ada.item(project, item)
    pane = ada.page.locator(".pane").bounding_box()
    middle = (pane["x"] + pane["width"] / 2, pane["y"] + pane["height"] / 2)
    ada.press("Enter")
    ada.until(lambda: "no description" in ada.page.locator(".banner").inner_text())
    ada.page.keyboard.type("the thing in the middle")
    ada.press("Escape", "Enter")
    ada.until(lambda: "a box" in ada.page.locator(".banner").inner_text())
    ada.press("b")
    ada.drag((middle[0] - 50, middle[1] - 40), (middle[0] + 50, middle[1] + 40))
    ada.press("l")
    ada.page.keyboard.type("thing")
    ada.press("Escape", "1", "Control+Enter")
    ada.until(lambda: ada.ask("GET", f"/api/items/{item}")["status"], "annotated")
    mine = ada.mine(item)
    x1, y1, x2, y2 = mine["box"]
    width, height = next((one["width"], one["height"]) for one in items if one["id"] == item)
    assert abs((x1 + x2) / 2 - width / 2) <= 2
    assert abs((y1 + y2) / 2 - height / 2) <= 2
    assert mine["label"] == "thing"


@pytest.mark.slow
def test_skip_and_flag(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Skips")
    item = items[1]["id"]
    ada.item(project, item)
    ada.press("m")
    ada.until(lambda: ada.mine(item)["flag"])
    ada.press("s")
    ada.until(lambda: ada.ask("GET", f"/api/items/{item}")["status"], "skipped")
    ada.until(lambda: ada.page.url.endswith(f"/{item}"), False)


@pytest.mark.slow
def test_decided_while_somebody_types(ada: Tab, chromium: Any, build: Path) -> None:
    """The decision stands, the screen says so, and what was typed is in the history."""
    project, items = make_project(ada, build, "Decided")
    item = items[1]["id"]
    ada.item(project, item)
    with Tab(chromium, ada.served, "Cleo") as cleo:
        cleo.ask("POST", f"/api/items/{item}/decision", {"version": 0, "accept": True})
    ada.press("d")
    ada.page.keyboard.type(" typed too late")
    ada.until(ada.state, "decided")
    ada.page.get_by_role("button", name="Show the decision").click()
    ada.page.locator("[data-closed]").wait_for()
    assert "Cleo" in ada.page.locator("[data-closed]").inner_text()
    shown = ada.page.locator(".an-form textarea").first
    ada.until(shown.input_value, items[1]["description"])
    assert shown.is_disabled()
    history = ada.ask("GET", f"/api/items/{item}/history")["items"]
    assert any("typed too late" in json.dumps(one["after"]) for one in history)


@pytest.mark.slow
def test_history_and_its_undo(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "History")
    item = items[1]["id"]
    ada.item(project, item)
    before = ada.mine(item)["description"]
    # At once: what is typed slowly is saved in several pieces, each with an undo of its own.
    ada.page.locator("textarea").first.fill("something else")
    ada.saved()
    ada.press("Escape", "h")
    ada.page.locator("dialog .an-event button").first.click()
    ada.until(lambda: ada.mine(item)["description"], before)
    ada.press("Escape")
    ada.until(lambda: ada.page.locator("textarea").first.input_value(), before)


def test_a_late_answer_takes_nobody_back_from_where_they_went(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Slow walks")
    ada.item(project, items[0]["id"])
    held: list[Any] = []
    ada.page.route("**/next?**", lambda route: held.append(route))
    ada.press("j")
    ada.until(lambda: bool(held))
    ada.page.locator(".an-back").first.click()
    place = f"{ada.served.address}/projects/{project}"
    ada.until(lambda: ada.page.url.partition("?")[0], place)
    for route in held:
        route.continue_()
    ada.page.locator(".an-card").first.wait_for()
    ada.page.wait_for_timeout(300)
    assert ada.page.url.partition("?")[0] == place


def test_back_leads_back_while_the_item_is_on_its_way(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Slow items")
    first, second = items[1]["id"], items[-1]["id"]  # the next one would be there already
    ada.item(project, first)
    ada.page.locator(".an-back").first.click()
    held: list[Any] = []
    ada.page.route(f"**/api/items/{second}", lambda route: held.append(route))
    ada.page.locator(f".an-card a[href$='/items/{second}']").click()
    ada.until(lambda: bool(held))
    ada.press("k")
    ada.until(lambda: ada.page.url.endswith(f"/items/{first}"))
    for route in held:
        route.abort()


def test_does_anything_match(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "People reject", kind="presence")
    ada.go(f"/projects/{project}/match")
    for n in range(len(items)):
        ada.until(
            lambda n=n: ada.page.locator("[data-progress]").inner_text().startswith(f"{n} answered")
        )
        ada.page.locator("[data-question]").wait_for()
        ada.press("n" if n % 2 else "y")
    ada.page.locator("[data-done] table").wait_for()
    result = ada.ask("GET", f"/api/projects/{project}/dashboard")["presence"]
    assert result["all"]["n"] == len(items)
    shown = ada.page.locator("[data-done]").inner_text()
    assert f"{100 * result['positive']['accuracy']:.1f}" in shown


def test_answer_counts_when_the_next_question_is_there(ada: Tab, build: Path) -> None:
    project, _ = make_project(ada, build, "Slow questions", kind="presence")
    held: list[Any] = []
    ada.page.route("**/next?**", lambda route: held.append(route))
    ada.go(f"/projects/{project}/match")
    question = ada.page.locator("[data-question]")
    question.wait_for()
    first = question.inner_text()
    progress = ada.page.locator("[data-progress]")
    ada.until(lambda: len(held), 1)
    ada.press("y")
    ada.until(
        lambda: ada.ask("GET", f"/api/projects/{project}/dashboard")["presence"]["all"]["n"], 1
    )
    ada.press("n", "n")
    assert (progress.inner_text()[:1], question.inner_text()) == ("0", first)

    held.pop().abort()
    ada.until(lambda: len(held), 1)
    held.pop().abort()
    retry = ada.page.locator("[role=alert] button").first
    retry.wait_for()
    ada.page.unroute("**/next?**")
    retry.click()
    ada.until(lambda: progress.inner_text()[:1] if progress.count() else "", "1")
    assert question.inner_text() != first
    ada.press("n")
    ada.until(
        lambda: ada.ask("GET", f"/api/projects/{project}/dashboard")["presence"]["all"]["n"], 2
    )


@pytest.mark.slow
def test_project_is_made_in_the_browser(ada: Tab, build: Path) -> None:
    ada.go("/projects")
    ada.page.locator("[data-act=new]").wait_for()
    ada.press("n")
    ada.page.locator("dialog input[name=name]").fill("By hand")
    ada.page.locator("dialog input[name=source]").fill(str(build))
    ada.page.locator("dialog input[name=overlap]").fill("2")
    ada.page.locator("dialog button[type=submit]").click()
    ada.page.locator(".an-card").first.wait_for()
    made = ada.ask(
        "GET", ada.page.url.removeprefix(ada.served.address).replace("/projects", "/api/projects")
    )
    assert (made["name"], made["overlap"], made["blind"]) == ("By hand", 2, True)


@pytest.mark.slow
def test_export_leaves_by_the_browser(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Export")
    item = items[1]["id"]
    mine = ada.mine(item)
    ada.ask("POST", f"/api/items/{item}/submit", {"version": mine["version"]})
    ada.ask("POST", f"/api/items/{item}/decision", {"version": 1, "accept": True})
    ada.go(f"/projects/{project}")
    ada.page.get_by_role("button", name="Export").click()
    with ada.page.expect_download() as wait:
        ada.page.locator("[data-act=export]").click()
    text = Path(wait.value.path()).read_text()
    assert mine["description"] in text


@pytest.mark.slow
def test_phone_reviews_by_buttons(ada: Tab, chromium: Any, build: Path) -> None:
    project, items = make_project(ada, build, "Phone")
    item = items[1]["id"]
    ada.ask("POST", f"/api/items/{item}/submit", {"version": ada.mine(item)["version"]})
    with Tab(chromium, ada.served, "Cleo", width=390, height=844) as phone:
        phone.item(project, item, "review")
        wide = phone.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390
        phone.page.locator("[data-act=accept]").click()
        phone.until(lambda: phone.ask("GET", f"/api/items/{item}")["status"], "accepted")
        assert phone.complaints == []


@pytest.mark.slow
def test_keys_are_shown(ada: Tab, build: Path) -> None:
    project, items = make_project(ada, build, "Help")
    ada.item(project, items[1]["id"])
    ada.press("?")
    text = ada.page.locator("dialog").inner_text()
    for line in ("Draw the box", "Move it by 1 px", "Rejection variant", "Uniqueness: yes, no"):
        assert line in text
