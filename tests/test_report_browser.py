"""The report in a real browser: it opens from disk, filters, and runs nothing else."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from groundingme.loading import load_entry
from groundingme.report import page
from groundingme.report.contents import Contents, gather
from reported import SAMPLES, XSS, make_data, make_runs


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    data = make_data(tmp_path_factory.mktemp("report") / "pointing")
    return gather([load_entry(one) for one in make_runs(data)])


ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


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


@pytest.fixture(scope="module")
def report(contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.page(contents, workers=1), encoding="utf-8")
    return path


class Opened:
    """A page, and everything that it complained of or asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1440, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        self.page = self.context.new_page()
        self.context.set_default_timeout(90_000)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url[:40]))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(".card")

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def count(self) -> str:
        said: str = self.page.locator(".status span").inner_text()
        return said.split()[0]

    def reaches(self, condition: str) -> bool:
        """Whether a condition comes true; the page's policy forbids Playwright's own waiting."""
        end = time.monotonic() + 60
        while not self.page.evaluate(condition):
            if time.monotonic() > end:
                return False
            self.page.wait_for_timeout(100)
        return True

    def choose(self, name: str, value: str) -> None:
        self.page.locator(f"[name={name}]").select_option(value)


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_disk_without_a_complaint(
    chromium: Any, report: Path, width: int, scheme: str
) -> None:
    with Opened(chromium, report, width, scheme) as opened:
        wider = opened.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0
        opened.page.locator(".card").first.click()
        assert opened.page.locator("dialog").is_visible()
        assert opened.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert opened.complaints == []
        assert all(one.startswith(("file:", "data:")) for one in opened.asked), opened.asked


CONTRAST = """
() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].map((v) => v / 255);
  };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const behind = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) {
      layers.push(read(getComputedStyle(one).backgroundColor));
    }
    return layers.reverse().reduce((under, top) => over(top, under), [1, 1, 1]);
  };
  const light = (c) => {
    const [r, g, b] = c.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!own || !node.getClientRects().length) continue;
    if (node.closest("script, noscript, .mark-text, dialog:not([open])")) continue;
    const style = getComputedStyle(node);
    const under = behind(node);
    const ink = read(node instanceof SVGElement ? style.fill : style.color);
    ink[3] *= Number(style.opacity);
    const [a, b] = [light(over(ink, under)), light(under)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = node.className.baseVal ?? node.className;
    found.push([ratio, `${node.tagName}.${name}: ${node.textContent.trim().slice(0, 30)}`]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(chromium: Any, report: Path, scheme: str) -> None:
    with Opened(chromium, report, scheme=scheme) as opened:
        found = opened.page.evaluate(CONTRAST)
        assert len(found) > 300
        weak = [one for one in found if one[0] < 4.5]  # WCAG 2.2, AA
        assert weak == []


def test_filters_show_what_they_say(chromium: Any, report: Path, contents: Contents) -> None:
    careful, eager = contents.right
    with Opened(chromium, report) as opened:
        assert opened.count() == str(SAMPLES)
        opened.choose("subtask", "Spatial")
        assert opened.count() == "24"
        opened.choose("is1", "wrong")
        assert opened.count() == "12"
        opened.page.get_by_role("button", name="Show all").click()
        assert opened.count() == str(SAMPLES)
        opened.choose("agreement", "differ")
        assert opened.count() == str(int((careful != eager).sum()))
        opened.choose("agreement", "none")
        assert opened.count() == str(int((~careful & ~eager).sum()))
        opened.choose("agreement", "")
        opened.choose("is0", "right")
        opened.choose("is1", "wrong")
        assert opened.count() == str(int((careful & ~eager).sum()))
        opened.page.get_by_role("button", name="Show all").click()
        opened.choose("side", "none")
        assert opened.count() == "24"
        opened.page.get_by_role("button", name="Show all").click()
        opened.page.locator("[name=q]").fill("rather not SAY")
        assert opened.count() == "1"
        assert opened.page.locator(".card").count() == 1
        opened.page.locator("[name=q]").fill("s011")
        assert opened.count() == "1"
        opened.page.get_by_role("button", name="Show all").click()
        opened.choose("sort", "small")
        opened.page.locator(".card").first.click()
        assert "Small" in opened.page.locator(".sheet-top .at").inner_text()
        assert opened.complaints == []


def test_links_of_the_summary_lead_to_the_samples(chromium: Any, report: Path) -> None:
    with Opened(chromium, report) as opened:
        opened.page.get_by_role("link", name="Show the 24 missed").click()
        assert opened.count() == "24"
        assert opened.page.locator("[name=is1]").input_value() == "missed rejection"
        assert opened.reaches("scrollY > 1000")
        opened.page.locator(".matrix a").first.click()
        assert opened.count() == "31"


def test_the_keyboard_does_everything(chromium: Any, report: Path) -> None:
    with Opened(chromium, report) as opened:
        press = opened.page.keyboard.press
        press("/")
        assert opened.page.evaluate("document.activeElement.name") == "q"
        for _ in range(30):
            press("Tab")
            if opened.page.evaluate("document.activeElement.className") == "card":
                break
        assert opened.page.evaluate("document.activeElement.dataset.id") == "s000"
        press("Enter")
        title = opened.page.locator(".sheet-top .at")
        assert title.inner_text().startswith("s000")
        press("ArrowRight")
        press("ArrowRight")
        assert title.inner_text().startswith("s002")
        press("ArrowLeft")
        assert title.inner_text().startswith("s001")
        for _ in range(12):  # the focus stays in the open sample
            press("Tab")
            assert opened.page.evaluate("Boolean(document.activeElement.closest('dialog, body'))")
            assert not opened.page.evaluate("Boolean(document.activeElement.closest('main'))")
        press("Escape")
        assert not opened.page.locator("dialog").is_visible()
        assert opened.reaches("document.activeElement.dataset.id === 's001'")


def test_a_hostile_reply_stays_text(chromium: Any, report: Path) -> None:
    with Opened(chromium, report) as opened:
        opened.page.locator(".card").first.click()
        sheet = opened.page.locator("dialog")
        sheet.locator("summary").first.click()
        assert sheet.locator("pre").first.text_content() == XSS
        assert XSS in (sheet.locator("h3").text_content() or "")
        assert opened.page.locator("img, iframe, script[src], dialog script").count() == 0
        assert opened.page.evaluate("window.pwned") is None
        assert opened.complaints == []


def test_cards_are_made_as_they_come_near(chromium: Any, report: Path) -> None:
    with Opened(chromium, report) as opened:
        made = opened.page.locator(".card").count()
        assert 0 < made < SAMPLES
        down = "scrollTo(0, document.body.scrollHeight)"
        assert opened.reaches(f"({down}, document.querySelectorAll('.card').length === {SAMPLES})")
        broken = opened.page.evaluate(
            """() => Promise.all([...document.querySelectorAll("svg image")].slice(0, 40).map(
                (one) => { const i = new Image(); i.src = one.getAttribute("href");
                           return i.decode().then(() => i.naturalWidth > 0, () => false); }
            )).then((good) => good.filter((one) => !one).length)"""
        )
        assert broken == 0


def test_boxes_lie_over_the_picture(chromium: Any, report: Path, contents: Contents) -> None:
    with Opened(chromium, report) as opened:
        card = opened.page.locator(".card").nth(2)
        frame = card.locator("svg").first
        assert frame.get_attribute("viewBox") == "0 0 320 240"
        truth = card.locator("svg").first.locator(".box-line.true")
        edges = [float(truth.get_attribute(name)) for name in ("x", "y", "width", "height")]
        x1, y1, x2, y2 = contents.samples[2].target or (0, 0, 0, 0)
        assert edges == [x1, y1, x2 - x1, y2 - y1]
        picture, box = frame.bounding_box(), truth.bounding_box()
        scale = picture["width"] / 320
        assert box["x"] - picture["x"] == pytest.approx(x1 * scale, abs=2.5)
        assert box["y"] - picture["y"] == pytest.approx(y1 * scale, abs=2.5)


def test_boxes_can_be_hidden(chromium: Any, report: Path) -> None:
    with Opened(chromium, report) as opened:
        card = opened.page.locator(".card").nth(1)  # eager alone gave a box here
        assert card.locator(".box-line.c1").count() == 2  # the box, and the frame of its letter
        assert card.locator(".box-line.true").count() == 1
        opened.page.get_by_role("button", name="mock/eager").first.click()
        assert card.locator(".box-line.c1").count() == 0
        opened.page.get_by_role("button", name="truth", exact=True).click()
        assert card.locator(".box-line").count() == 0
        opened.page.get_by_role("button", name="truth", exact=True).click()
        assert card.locator(".box-line.true").count() == 1
        assert opened.complaints == []


def test_the_theme_can_be_chosen(chromium: Any, report: Path) -> None:
    with Opened(chromium, report, scheme="dark") as opened:
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = opened.page.evaluate(ground)
        opened.page.locator("#theme").click()
        light = opened.page.evaluate(ground)
        assert light != dark
        opened.page.locator("#theme").click()
        assert opened.page.evaluate(ground) == dark


def test_on_paper_there_are_no_controls(chromium: Any, report: Path) -> None:
    with Opened(chromium, report, scheme="dark") as opened:
        opened.page.emulate_media(media="print")
        assert not opened.page.locator("header nav").is_visible()
        assert not opened.page.locator("#filters").is_visible()
        assert opened.page.locator(".board").is_visible()
        assert opened.page.locator(".kinds a").first.is_visible()  # a figure, not only a link
        red, green, blue = re.findall(
            r"\d+", opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        )[:3]
        assert min(int(red), int(green), int(blue)) > 200
