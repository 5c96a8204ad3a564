"""How soon the studio shows something: a run, an 8K picture, and the next picture of a run.

    python bench/look.py [--times 3] [--keys 15] [--samples 1005]

Needs the extra `dev` and Debian's Chromium, which draws in software. Server and browser share the
machine, so say its load beside the figures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from playwright.sync_api import Browser, Page, sync_playwright

from annotating import Served, make_build
from groundingme import evaluate
from test_studio_annotate import ARGUMENTS, Tab, make_project

WATCH = """() => {
  const look = () => [document.querySelector("[data-sample]")?.dataset.sample,
                      document.querySelector(".viewer")?.dataset.state];
  let before, whole = false, words = false;
  addEventListener("keydown", () => {
    [before] = look(); whole = words = false;
    window.found = { start: performance.now() };
  }, true);
  new MutationObserver(() => {
    if (!window.found) return;
    const [sample, state] = look(), now = performance.now();
    if (!words && sample !== before) { words = true; window.found.words = now; }
    const is = sample !== before && state === "drawn";
    // The last time that it becomes whole counts: the old picture may stand there for a moment.
    if (is && !whole) window.found.picture = now;
    whole = is;
  }).observe(document, { subtree: true, childList: true, attributes: true,
                         attributeFilter: ["data-state", "data-sample"] });
}"""


def whole_8k(folder: Path, browser: Browser) -> tuple[float, float]:
    """Seconds from the address to an 8K picture drawn and its box editable: cold, and again."""
    build = make_build(folder / "work")
    served = Served(folder / "studio", build).start()
    try:
        with Tab(browser, served, "Ada") as tab:
            project, items = make_project(tab, build, "Street scenes")
        times = []
        for _ in range(2):
            with Tab(browser, served, "Ada") as tab:
                began = time.perf_counter()
                tab.go(f"/projects/{project}/items/{items[0]['id']}")
                tab.page.locator(".viewer[data-state=drawn]").wait_for()
                tab.page.locator(".editor .handle.nw").wait_for()
                times.append(time.perf_counter() - began)
        return times[0], times[1]
    finally:
        served.stop()


def next_samples(folder: Path, browser: Browser, keys: int) -> list[tuple[float, float]]:
    """Milliseconds from the key to text and boxes, and to the picture, of the next sample."""
    (folder / "studio" / "runs").mkdir(parents=True)
    run = evaluate("builtin/grounder", f"scenes:seed=6,n={keys + 3}", out=folder / "studio/runs")
    assert run.path is not None
    served = Served(folder / "studio", folder).start()
    found = []
    try:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page: Page = context.new_page()
        page.goto(f"{served.address}/runs/{run.path.name}")
        page.locator(".gallery a").first.click()
        page.locator(".viewer[data-state=drawn]").wait_for()
        page.evaluate(WATCH)
        for _ in range(keys):
            page.wait_for_timeout(700)
            page.keyboard.press("j")
            page.wait_for_timeout(700)
            one = page.evaluate("window.found")
            found.append((one["words"] - one["start"], one["picture"] - one["start"]))
        context.close()
    finally:
        served.stop()
    return found


def first_paints(folder: Path, browser: Browser, samples: int, times: int) -> list[float]:
    """Seconds from the address of a run to its first paint, nothing cached in the browser."""
    (folder / "studio" / "runs").mkdir(parents=True)
    run = evaluate("baseline/center", f"scenes:seed=6,n={samples}", out=folder / "studio/runs")
    assert run.path is not None
    served = Served(folder / "studio", folder).start()
    found = []
    try:
        for _ in range(times):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(f"{served.address}/runs/{run.path.name}")
            page.locator(".gallery a").first.wait_for()
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')")
            found.append(paint[0]["startTime"] / 1000)
            context.close()
    finally:
        served.stop()
    return found


def told(name: str, values: list[float], unit: str) -> None:
    """A line with the median and the range."""
    digits = 2 if unit == "s" else 0
    low, middle, high = (
        f"{one:.{digits}f}" for one in (min(values), statistics.median(values), max(values))
    )
    print(f"{name}: median {middle} {unit} ({low} to {high}), {len(values)} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--keys", type=int, default=15)
    parser.add_argument("--samples", type=int, default=1005)
    args = parser.parse_args()
    print("load before:", " ".join(f"{one:.1f}" for one in os.getloadavg()))
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=list(ARGUMENTS)
        )
        pairs = [whole_8k(Path(place) / str(at), browser) for at in range(args.times)]
        told("8K picture and its box, nothing cached", [one[0] for one in pairs], "s")
        told("the same again", [one[1] for one in pairs], "s")
        paints = first_paints(Path(place) / "paints", browser, args.samples, 2 * args.times)
        told(f"run of {args.samples} samples, first paint", paints, "s")
        keys = next_samples(Path(place) / "runs", browser, args.keys)
        told("next sample, text and boxes", [one[0] for one in keys], "ms")
        told("next sample, picture", [one[1] for one in keys], "ms")
        browser.close()
    print("load after:", " ".join(f"{one:.1f}" for one in os.getloadavg()))


if __name__ == "__main__":
    main()
