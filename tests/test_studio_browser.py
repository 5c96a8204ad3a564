"""The studio in a real browser: runs, samples, comparisons, asking a model."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from groundingme.cli import main
from reported import SAMPLES, XSS, make_data, make_runs
from test_report_browser import ARGUMENTS, CONTRAST

uvicorn = pytest.importorskip("uvicorn", reason="needs the studio's dependencies")


class Served:
    """A studio that answers on a port of this machine."""

    def __init__(self, folder: Path) -> None:
        from groundingme.studio.app import create_app
        from groundingme.studio.settings import Settings

        self.folder = folder
        data = make_data(folder / "pointing")
        self.careful, self.eager = (one.name for one in make_runs(data))
        self.runs = folder / "runs"
        done = CliRunner().invoke(
            main,
            ["sample", "builtin/grounder", "--data", str(data), "--limit", "6", "-n", "4",
             "--temperature", "2", "--out", str(self.runs)],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        known = {self.careful, self.eager}
        (self.sampled,) = (one.name for one in self.runs.iterdir() if one.name not in known)
        app = create_app(Settings(runs=self.runs, roots=(folder,), home=folder / "home"))
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]})
        self.thread.start()

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    @property
    def compared(self) -> str:
        return f"run={self.careful}&run={self.eager}"

    def pages(self) -> dict[str, str]:
        return {
            "runs": "/runs",
            "run": f"/runs/{self.careful}",
            "sample": f"/runs/{self.careful}/samples/s001",
            "trajectories": f"/runs/{self.sampled}/samples/s001",
            "compare": f"/compare?{self.compared}",
            "side": f"/compare/samples/s002?{self.compared}",
            "ask": "/ask",
        }


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("studio"))
    yield served
    served.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser",
                                                   "google-chrome"))), None)  # fmt: skip
    if program is None:
        pytest.skip("needs Chromium: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Opened:
    """A page of the studio, and everything that it complained of or asked for."""

    def __init__(
        self, browser: Any, studio: Served, path: str, width: int = 1440, scheme: str = "light"
    ) -> None:
        self.studio = studio
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.context.set_default_timeout(90_000)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("response", self.hear)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.go(path)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def hear(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")

    def go(self, path: str) -> None:
        self.page.goto(self.studio.url + path)
        self.page.wait_for_selector("main h1, main .empty h2")

    def settle(self) -> None:
        """Waits until what the page asked for is there."""
        self.page.wait_for_load_state("networkidle")
        assert self.reaches(
            "[...document.querySelectorAll('.viewer')].every((v) => v.dataset.state === 'drawn')"
        )

    def reaches(self, condition: str) -> bool:
        """Whether a condition comes true; the page's policy forbids Playwright's own waiting."""
        end = time.monotonic() + 60
        while not self.page.evaluate(condition):
            if time.monotonic() > end:
                return False
            self.page.wait_for_timeout(100)
        return True

    def clean(self) -> None:
        assert self.complaints == []
        local = (self.studio.url, "data:", "blob:")
        assert [one for one in self.asked if not one.startswith(local)] == []

    @property
    def address(self) -> str:
        return str(self.page.evaluate("location.href")).removeprefix(self.studio.url)

    def found(self) -> str:
        said: str = self.page.locator(".found [role=status]").inner_text()
        return said.split()[0]

    def finds(self, count: str) -> bool:
        return self.reaches(
            f"document.querySelector('.found [role=status]')?.textContent.startsWith('{count} ')"
        )


PAGES = ("runs", "run", "sample", "trajectories", "compare", "side", "ask")


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1440),
        *(pytest.param(*one, marks=pytest.mark.slow)
          for one in (("light", 390), ("dark", 1440), ("dark", 390))),
    ],
)  # fmt: skip
def test_every_page_opens_without_a_complaint(
    chromium: Any, studio: Served, width: int, scheme: str
) -> None:
    with Opened(chromium, studio, "/runs", width, scheme) as opened:
        for name in PAGES:
            opened.go(studio.pages()[name])
            opened.settle()
            wider = opened.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, name
            assert opened.page.locator("main h1").count() == 1, name
            assert "groundingme studio" in opened.page.title(), name
        opened.clean()


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The source of axe-core, from the npm registry, kept in the cache of tests."""
    folder = Path(request.config.cache.mkdir("axe"))  # type: ignore[union-attr]
    kept = folder / "axe.min.js"
    if not kept.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm, which brings axe-core")
        # Apart, and put in its place when it is whole: another process may want it just now.
        with tempfile.TemporaryDirectory(dir=folder) as apart:
            source = Path(apart, "node_modules", "axe-core", "axe.min.js")
            try:
                done = subprocess.run(
                    [npm, "install", "--prefix", apart, "--no-audit", "--no-fund", "axe-core@4"],
                    capture_output=True, text=True, timeout=180, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                pytest.skip("needs axe-core from the npm registry, which does not answer")
            if done.returncode or not source.exists():
                pytest.skip(f"needs axe-core from the npm registry: {done.stderr[-200:]}")
            source.replace(kept)
    return kept.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(chromium: Any, studio: Served, axe: str, scheme: str) -> None:
    with Opened(chromium, studio, "/runs", scheme=scheme) as opened:
        for name in PAGES:
            opened.go(studio.pages()[name])
            opened.settle()
            opened.page.evaluate(axe)
            if name == "trajectories":
                opened.page.keyboard.press("?")
                opened.page.wait_for_selector("dialog[open]")
            found = opened.page.evaluate("axe.run({resultTypes: ['violations']})")
            assert found["passes"], name
            serious = [
                (one["id"], [node["target"] for node in one["nodes"]][:5])
                for one in found["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert serious == [], name


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(chromium: Any, studio: Served, scheme: str) -> None:
    with Opened(chromium, studio, "/runs", scheme=scheme) as opened:
        for name in ("runs", "run", "compare"):
            opened.go(studio.pages()[name])
            opened.settle()
            weak = [
                one
                for one in opened.page.evaluate(CONTRAST)
                if one[0] < 4.5 and not one[1].startswith(("SPAN.unseen", "CAPTION"))
            ]
            assert weak == [], name


def test_runs_are_filtered_sorted_and_compared(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, "/runs") as opened:
        page = opened.page
        # By their figures, which the server may have computed a moment later than the list.
        assert opened.reaches(
            "/mock.(eager|careful)/.test(document.querySelector('tbody tr').innerText)"
        )
        first = page.locator("tbody tr").first
        page.locator("[name=model]").fill("care")
        assert opened.reaches("document.querySelectorAll('tbody tr').length === 1")
        assert opened.address == "/runs?model=care"
        page.reload()
        assert opened.reaches("document.querySelectorAll('tbody tr').length === 1")
        page.locator("[name=model]").fill("")
        page.get_by_role("button", name="Model").click()
        assert "sort=model" in opened.address
        assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Model")
        assert "builtin/grounder" in first.inner_text()
        for name in ("mock/careful", "mock/eager"):
            page.get_by_role("checkbox", name=f"Compare {name}").check()
        page.get_by_role("link", name="Compare 2").click()
        page.wait_for_selector("#flips tbody tr")
        assert opened.address.startswith("/compare?run=")
        page.go_back()
        page.wait_for_selector("h1:has-text('Runs')")
        assert page.locator("input:checked").count() == 2
        opened.clean()


def test_figures_that_come_later_are_asked_for(chromium: Any, studio: Served) -> None:
    """The server answers before all is computed; the page does not stay as it was then."""
    asked: list[str] = []
    nothing = {"value": None, "low": None, "high": None}

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) > 2:
            route.continue_()
            return
        found = route.fetch().json()
        for one in found["items"]:
            one.update(accuracy=nothing, rejection=nothing, rank=None, pending=True)
        route.fulfill(json={**found, "pending": len(found["items"])})

    with Opened(chromium, studio, "/ask") as opened:
        opened.page.route("**/api/runs?**", answer)
        opened.page.get_by_role("link", name="Runs").click()
        opened.page.wait_for_selector("tbody tr")
        assert opened.reaches("document.querySelectorAll('tbody .withstrip strong').length > 2")
        assert len(asked) > 2
        opened.clean()


@pytest.mark.slow
def test_the_way_back_waits_for_what_comes_late(chromium: Any, studio: Served) -> None:
    """Samples that come after the page: one is where one was, unless one has done something."""
    with Opened(chromium, studio, f"/runs/{studio.careful}") as opened:
        page = opened.page
        held: list[Any] = []
        for acts in (False, True):
            page.wait_for_selector(".samplecard")
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.locator(".gallery li:last-child a[href*=s119]").click()
            page.wait_for_selector("[data-sample=s119]")
            page.route("**/samples?**", lambda route: held.append(route))
            with page.expect_request("**/samples?**"):
                page.go_back()
            page.wait_for_timeout(2000)
            if acts:
                page.keyboard.press("Shift")
            for route in held:
                route.continue_()
            held.clear()
            page.unroute("**/samples?**")
            page.wait_for_selector(".samplecard")
            if acts:
                page.wait_for_timeout(300)
                assert page.evaluate("scrollY") < 1000
            else:
                assert opened.reaches("scrollY > 1000")
        opened.clean()


@pytest.mark.slow
def test_rows_are_walked_with_the_arrows(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, "/runs?sort=model") as opened:
        opened.page.wait_for_selector("tbody tr")
        opened.page.locator("[data-row]").first.focus()
        opened.page.keyboard.press("ArrowDown")
        opened.page.keyboard.press("ArrowDown")
        assert opened.page.evaluate("document.activeElement.textContent") == "mock/eager"
        opened.page.keyboard.press("Enter")
        opened.page.wait_for_selector(".gallery a")
        assert opened.address == f"/runs/{studio.eager}"


def test_a_cell_of_the_matrix_shows_its_samples(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.eager}") as opened:
        page = opened.page
        assert opened.finds("120")
        page.get_by_role("button", name="Counting, wrong: show the 12 samples").click()
        assert opened.finds("12")
        assert opened.address.endswith("?l1=Spatial&l2=Counting&right=false")
        assert opened.reaches("document.querySelectorAll('.samplecard .wrong').length === 12")
        page.reload()
        assert opened.finds("12")
        assert page.locator("[name=subtask]").input_value() == "Spatial/Counting"
        page.go_back()
        assert opened.finds("120")
        page.locator("[name=result]").select_option("missed rejection")
        assert opened.finds("24")
        page.locator("[name=query]").fill("number 114")
        assert opened.finds("1")
        assert "query=number+114" in opened.address
        page.get_by_role("button", name="Show all").click()
        assert opened.finds("120")
        opened.clean()


@pytest.mark.slow
def test_samples_download_as_csv(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.eager}?l1=Spatial&right=false") as opened:
        assert opened.finds("12")
        with opened.page.expect_download() as coming:
            opened.page.get_by_role("link", name="CSV of samples").click()
        text = Path(coming.value.path()).read_text(encoding="utf-8")
        assert len(text.strip().splitlines()) == 13


@pytest.mark.slow
def test_cards_are_made_as_they_come_near(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.careful}") as opened:
        page = opened.page
        assert opened.finds(str(SAMPLES))
        page.wait_for_selector(".samplecard")
        made = page.locator(".gallery > li").count()
        assert 0 < made < SAMPLES / 2
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        assert opened.reaches(
            "document.querySelector('.gallery li:last-child a')?.href.includes('s119')"
        )
        assert page.locator(".gallery > li").count() < SAMPLES / 2
        last = page.locator(".gallery li:last-child a")
        last.click()
        page.wait_for_selector("[data-sample=s119]")
        page.go_back()
        assert opened.reaches(
            "document.querySelector('.gallery li:last-child a')?.href.includes('s119')"
        )
        assert page.evaluate("scrollY") > 1000
        opened.clean()


@pytest.mark.slow
def test_the_gallery_is_walked_with_the_arrows(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.careful}") as opened:
        page = opened.page
        page.wait_for_selector(".samplecard")
        focused = "document.activeElement.closest('li')?.dataset.at"
        page.locator(".gallery a").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert opened.reaches(f"{focused} === '2'")
        page.keyboard.press("End")
        assert opened.reaches(f"{focused} === '119'")
        page.keyboard.press("Home")
        assert opened.reaches(f"{focused} === '0'")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-sample=s000]")


def screen(opened: Opened, box: tuple[float, ...], at: int = 0) -> dict[str, float]:
    """Where a box of the picture should lie on the screen, by what the viewer shows."""
    found: dict[str, float] = opened.page.evaluate(
        """([box, at]) => {
          const pane = document.querySelectorAll(".viewer .pane")[at].getBoundingClientRect();
          const viewer = OpenSeadragon.getViewer(document.querySelectorAll(".viewer .pane")[at]);
          const image = viewer.world.getItemAt(0);
          const a = image.imageToViewerElementCoordinates(new OpenSeadragon.Point(box[0], box[1]));
          const b = image.imageToViewerElementCoordinates(new OpenSeadragon.Point(box[2], box[3]));
          return { x: pane.x + a.x, y: pane.y + a.y, width: b.x - a.x, height: b.y - a.y };
        }""",
        [list(box), at],
    )
    return found


def test_boxes_lie_over_the_picture(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.careful}/samples/s002") as opened:
        opened.settle()
        truth = opened.page.locator(".boxes .line.truth")
        edges = [float(truth.get_attribute(name)) for name in ("x", "y", "width", "height")]
        assert edges == [22, 30, 60, 80]
        answer = opened.page.locator(".boxes .line.c0")
        edges = [float(answer.get_attribute(name)) for name in ("x", "y", "width", "height")]
        assert edges == [22, 30, 20, 80]
        for key in ("", "t", "+"):
            if key:
                opened.page.keyboard.press(key)
                opened.page.wait_for_timeout(500)
            wanted, got = screen(opened, (22, 30, 82, 110)), truth.bounding_box()
            for name in ("x", "y", "width", "height"):
                assert got[name] == pytest.approx(wanted[name], abs=6), (key, name)
        styles = [
            opened.page.locator(one).evaluate("(it) => getComputedStyle(it).strokeDasharray")
            for one in (".boxes .line.truth", ".boxes .line.c0")
        ]
        assert styles[0] == "none"
        assert styles[1] != "none"  # told apart without their colours
        opened.page.keyboard.press("b")
        assert opened.reaches("document.querySelectorAll('.boxes rect').length === 0")
        opened.clean()


def test_coordinates_in_the_text_light_their_box(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.sampled}/samples/s001") as opened:
        opened.settle()
        page = opened.page
        page.locator(".panel .coord").last.hover()
        assert opened.reaches("document.querySelector('.boxes .lit.line')")
        page.mouse.move(5, 5)
        assert opened.reaches("!document.querySelector('.boxes .lit.line')")
        page.locator(".panel .coord").first.focus()
        assert opened.reaches("document.querySelector('.boxes .lit.line')")
        zoom = "OpenSeadragon.getViewer(document.querySelector('.pane')).viewport.getZoom()"
        before = page.evaluate(zoom)
        page.keyboard.press("Enter")
        assert opened.reaches(f"{zoom} > {before}")
        rows = page.locator(".trajectories > li")
        assert rows.count() == 4
        rows.nth(1).get_by_role("button").first.click()
        assert rows.nth(1).locator("pre").count() >= 1
        page.keyboard.press("m")
        assert opened.reaches("document.querySelector('.boxes .quiet.shown')")
        opened.clean()


def test_next_and_previous_by_keys(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.careful}/samples/s000?right=false") as opened:
        opened.settle()
        page = opened.page
        seen = [page.locator(".stagepage").get_attribute("data-sample")]
        for key in ("ArrowRight", "j"):
            page.keyboard.press(key)
            page.wait_for_selector(f".stagepage:not([data-sample={seen[-1]}])")
            seen.append(page.locator(".stagepage").get_attribute("data-sample"))
        assert seen == ["s000", "s001", "s002"]
        assert opened.address.endswith("/samples/s002?right=false")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("[data-sample=s001]")
        page.go_back()
        page.wait_for_selector("[data-sample=s002]")
        page.keyboard.press("u")
        assert opened.finds("10")
        assert opened.address == f"/runs/{studio.careful}?right=false"
        opened.clean()


def test_a_hostile_reply_stays_text(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.careful}/samples/s000") as opened:
        opened.settle()
        page = opened.page
        said = [one.text_content() for one in page.locator(".panel pre").all()]
        assert XSS in said
        assert XSS in page.locator("h1").text_content()
        assert (
            page.locator(".panel img, .panel iframe, .panel script, .panel svg[onload]").count()
            == 0
        )
        opened.go(f"/runs/{studio.careful}")
        page.wait_for_selector(".samplecard")
        assert XSS in page.locator(".samplecard .said").first.text_content()
        opened.go(f"/compare/samples/s000?{studio.compared}")
        opened.settle()
        page.locator("summary").first.click()
        assert page.evaluate("window.pwned") is None
        opened.clean()


@pytest.mark.slow
def test_a_big_picture_opens_in_tiles(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.careful}/samples/s003") as opened:
        opened.settle()
        assert any(".dzi" in one for one in opened.asked)
        address = f"{studio.url}/api/runs/{studio.careful}/samples/s003"
        key = json.loads(opened.page.request.get(address).text())["picture"]
        assert f"{studio.url}/api/pictures/{key}" not in opened.asked  # never the whole
        opened.page.keyboard.press("t")
        line = "document.querySelector('.boxes .line.truth').getBoundingClientRect()"
        assert opened.reaches(f"{line}.width > 200")
        wanted = screen(opened, (6000, 3000, 6040, 3030))
        got = opened.page.locator(".boxes .line.truth").bounding_box()
        assert got["x"] == pytest.approx(wanted["x"], abs=6)
        assert got["width"] == pytest.approx(wanted["width"], abs=8)

        def middle() -> Any:
            shot = opened.page.screenshot(clip={
                "x": wanted["x"] + wanted["width"] / 2, "y": wanted["y"] + wanted["height"] / 2,
                "width": 4, "height": 4})  # fmt: skip
            return Image.open(io.BytesIO(shot)).convert("RGB").getpixel((1, 1))

        # The orange target itself, as soon as its tile is there.
        end = time.monotonic() + 60
        while not ((found := middle())[0] > 180 and max(found[1:]) < 140):
            assert time.monotonic() < end, found
            opened.page.wait_for_timeout(200)
        opened.clean()


def test_runs_side_by_side(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/compare?{studio.compared}") as opened:
        page = opened.page
        page.wait_for_selector("#flips tbody tr")
        flips = json.loads(page.request.get(f"{studio.url}/api/compare?{studio.compared}").text())
        total = flips["flips"]["total"]
        assert page.locator("#flips tbody tr").count() == total
        some = page.locator(".patterns button").first
        some.click()
        count = int(some.locator(".soft").inner_text())
        assert opened.reaches(f"document.querySelectorAll('#flips tbody tr').length === {count}")
        assert "flips=" in opened.address
        page.locator("#flips tbody a").first.click()
        page.wait_for_selector(".sidepanel")
        opened.settle()
        assert opened.address.startswith("/compare/samples/")
        assert page.locator(".sidepanel .viewer").count() == 2
        width = """OpenSeadragon.getViewer(document.querySelectorAll(".pane")[{}])
            .viewport.getBounds(true).width.toFixed(4)"""
        one, other = width.format(0), width.format(1)
        whole = page.evaluate(one)
        page.keyboard.press("+")
        assert opened.reaches(f"{one} === {other} && {one} !== '{whole}'")
        page.get_by_role("button", name="Zoom together").click()
        page.locator(".sidepanel .zoom button").first.click()
        assert opened.reaches(f"{one} !== {other}")
        here = opened.address
        page.keyboard.press("ArrowRight")
        assert opened.reaches(f"!location.href.endsWith({json.dumps(here)})")
        page.keyboard.press("u")
        page.wait_for_selector("#flips")
        opened.clean()


def test_a_model_is_asked(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, "/ask") as opened:
        page = opened.page
        page.locator("input[type=file]").set_input_files(
            {"name": "note.txt", "mimeType": "text/plain", "buffer": b"no picture"}
        )
        assert "expected a picture" in page.locator("[role=alert]").inner_text()
        page.locator("input[type=file]").set_input_files(studio.folder / "pointing/images/000.jpg")
        page.locator("textarea").fill("the orange thing")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".answer")
        opened.settle()
        said = page.locator(".answer .headline").inner_text()
        boxes = "document.querySelectorAll('.boxes .line.c0').length"
        assert ("It is here" in said and opened.reaches(f"{boxes} === 1")) or (
            "Nothing here matches" in said and not page.evaluate(boxes)
        )
        assert any(one.startswith("blob:") for one in opened.asked)
        opened.clean()


@pytest.mark.slow
def test_a_picture_can_be_picked(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, "/ask") as opened:
        page = opened.page
        page.locator(".askpage select").last.select_option("scenes")
        page.locator(".offered button").first.click()
        assert "key=" in opened.address
        assert page.locator("textarea").input_value()
        page.get_by_role("button", name="Ask", exact=True).click()
        page.wait_for_selector(".answer")
        page.reload()  # a link to the same question
        page.wait_for_selector(".viewer")
        assert page.locator("textarea").input_value()


@pytest.mark.slow
def test_a_dropped_picture_is_taken(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, "/ask") as opened:
        opened.page.evaluate(
            """async () => {
              const canvas = document.createElement("canvas");
              Object.assign(canvas, { width: 40, height: 30 });
              canvas.getContext("2d").fillRect(0, 0, 20, 20);
              const blob = await new Promise((done) => canvas.toBlob(done));
              const given = new DataTransfer();
              given.items.add(new File([blob], "a.png", { type: "image/png" }));
              document.querySelector(".dropzone").dispatchEvent(
                new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
            }"""
        )
        opened.page.wait_for_selector(".viewer[data-state=drawn]")


@pytest.mark.slow
def test_a_run_in_progress_is_followed(chromium: Any, studio: Served) -> None:
    """Its replies come one by one while the page is open."""
    live = studio.runs / "under-way"
    shutil.copytree(studio.runs / studio.eager, live)
    lines = (live / "generations.jsonl").read_text().splitlines(keepends=True)
    (live / "generations.jsonl").write_text("".join(lines[:30]))
    holder = live / ".holder"
    holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since now")
    try:
        with Opened(chromium, studio, "/runs") as opened:
            opened.page.wait_for_selector(".lives")
            assert opened.reaches("document.querySelector('.lives progress').value === 30")
            with (live / "generations.jsonl").open("a") as file:
                file.write("".join(lines[30:75]))
            assert opened.reaches("document.querySelector('.lives progress').value === 75")
            with (live / "generations.jsonl").open("a") as file:
                file.write("".join(lines[75:]))
            holder.unlink()
            assert opened.reaches("!document.querySelector('.lives')")
            opened.clean()
    finally:
        shutil.rmtree(live)


@pytest.mark.slow
def test_the_help_shows_the_keys_in_force(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.careful}/samples/s001") as opened:
        opened.settle()
        page = opened.page
        page.keyboard.press("?")
        said = page.locator("dialog").inner_text()
        for does in ("Next sample", "Zoom to the truth", "Go to Runs"):
            assert does in said
        page.keyboard.press("Escape")
        assert opened.reaches("!document.querySelector('dialog')")
        page.keyboard.press("g")
        page.keyboard.press("r")
        page.wait_for_selector("h1:has-text('Runs')")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "model"
        page.keyboard.type("?g r")  # text, not keys
        assert page.locator("dialog").count() == 0
        assert page.locator("[name=model]").input_value() == "?g r"


@pytest.mark.slow
def test_single_letters_can_be_switched_off(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, f"/runs/{studio.careful}/samples/s001") as opened:
        opened.settle()
        page = opened.page
        page.keyboard.press("?")
        page.get_by_role("checkbox").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("b")
        page.wait_for_timeout(300)
        assert page.locator(".boxes rect").count() > 0
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("[data-sample=s002]")


@pytest.mark.slow
def test_the_theme_is_remembered(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, "/runs", scheme="dark") as opened:
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = opened.page.evaluate(ground)
        opened.page.get_by_role("button", name="Dark or light").click()
        light = opened.page.evaluate(ground)
        assert light != dark
        opened.page.reload()
        opened.page.wait_for_selector("h1")
        assert opened.page.evaluate(ground) == light


@pytest.mark.slow
def test_what_is_not_there_is_said_in_one_line(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, "/runs") as opened:
        opened.page.goto(f"{studio.url}/runs/no-such-run")
        banner = opened.page.wait_for_selector("[role=alert]")
        assert "no-such-run" in banner.inner_text()
        opened.go("/nowhere/at/all")
        assert "No page has the address /nowhere/at/all" in opened.page.inner_text("main")
        opened.page.get_by_role("link", name="All runs").click()
        opened.page.wait_for_selector("h1:has-text('Runs')")


@pytest.mark.slow
def test_a_server_that_is_gone_is_said(chromium: Any, studio: Served) -> None:
    with Opened(chromium, studio, "/runs") as opened:
        opened.page.wait_for_selector("tbody tr")
        opened.context.set_offline(True)
        opened.page.locator("[data-row]").first.click()
        assert "does not answer" in opened.page.wait_for_selector("[role=alert]").inner_text()
        opened.context.set_offline(False)
        opened.page.get_by_role("button", name="Try again").first.click()
        opened.page.wait_for_selector("h1")


@pytest.mark.slow
def test_a_hundred_thousand_samples_scroll(chromium: Any, studio: Served) -> None:
    """The list itself is made up at the wire: what is tested is the page."""
    total = 100_000

    def answer(route: Any) -> None:
        asked = dict(re.findall(r"(offset|limit)=(\d+)", route.request.url))
        start, limit = int(asked.get("offset", 0)), int(asked["limit"])
        items = [
            {"id": f"n{at}", "description": f"thing {at}", "l1": "", "l2": "", "outcome": "box",
             "kind": "right", "right": True, "iou": 0.9, "confidence": None, "tokens": None,
             "latency": None, "target": [1, 1, 2, 2], "box": [1, 1, 2, 2], "width": 10,
             "height": 10, "picture": None}
            for at in range(start, min(total, start + limit))
        ]  # fmt: skip
        route.fulfill(json={"items": items, "total": total})

    with Opened(chromium, studio, "/ask") as opened:
        opened.page.route("**/samples?**", answer)
        opened.go(f"/runs/{studio.careful}")
        assert opened.finds("100,000")
        opened.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        assert opened.reaches(
            "document.querySelector('.gallery li:last-child a')?.href.includes('n99999')"
        )
        assert opened.page.locator(".gallery > li").count() < 100
        asked = [one for one in opened.asked if "/samples?" in one]
        assert len(asked) < 10  # what lies between was not asked
