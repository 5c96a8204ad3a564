"""Sampled runs in the report: what trajectories are worth, and samples with all of them."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from tests.chat import ChatServer, Reply

from groundingme.cli import main
from groundingme.datasets import load_dataset
from groundingme.evaluation import evaluate
from groundingme.loading import load_entry
from groundingme.protocols import BOX, REJECTED
from groundingme.report import page, trajectories
from groundingme.report.contents import Contents, gather
from groundingme.report.findings import findings
from groundingme.report.marks import Mark
from groundingme.report.sampled import Sampled, in_cluster, most_telling
from groundingme.scale import select
from groundingme.scale.kept import load_choices, load_verdicts
from groundingme.scale.sampling import sample
from groundingme.scale.select import Choice
from groundingme.scale.selection import load_sample_run
from groundingme.scale.trajectories import clusters, keep

DATA = "scenes:n=8,seed=3"
EVIL = "</pre><script>window.pwned = 1</script>"
N = 4


def replies(target: tuple[float, ...] | None, turn: int) -> list[Reply]:
    """Two right of four, one elsewhere and one rejection; of every other sample one right."""
    null = '{"bbox_2d": null}'
    right = null if target is None else f'{{"bbox_2d": {[round(edge) for edge in target]}}}'
    other = '{"bbox_2d": [1, 1, 9, 9]}'
    wrong = null if target else '{"bbox_2d": [50, 50, 90, 90]}'
    texts = [right, right, other, wrong] if turn % 2 else [other, other, wrong, right]
    return [Reply(f"{EVIL} {text}") for text in texts]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A greedy run, and the sampled one that a judge has heard."""
    out = tmp_path_factory.mktemp("runs")
    dataset = load_dataset(DATA)
    script = {one.description: replies(one.target, at) for at, one in enumerate(dataset)}

    def judge(prompt: str) -> Reply:
        return Reply(EVIL + " The second has every part of it. \\boxed{B}")

    with ChatServer(script, judge, several=True) as server:
        shared: dict[str, Any] = {"base_url": server.base_url, "out": out, "coords": "abs"}
        several = sample("openai/m", DATA, n=N, **shared)
        greedy = evaluate("openai/m", DATA, **shared)
        done = CliRunner().invoke(
            main,
            ["select", str(several.path), "--judge", "answers", "--judge-model", "openai/j",
             "--orders", "random", "--base-url", server.base_url],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    assert greedy.path
    return greedy.path, several.path


@pytest.fixture(scope="module")
def contents(runs: tuple[Path, Path]) -> Contents:
    return gather([load_entry(one) for one in runs], resamples=200)


@pytest.fixture(scope="module")
def text(contents: Contents) -> str:
    return page.page(contents, workers=1)


def section(text: str) -> str:
    found = re.search(r'<section id="trajectories".*?</section>', text, re.DOTALL)
    assert found
    return found[0]


def test_a_row_for_every_way_to_choose_and_each_judge(contents: Contents, text: str) -> None:
    (one,) = contents.sampled
    assert one.mark == contents.marks[1]
    rows = {row.name: row for row in one.rows}
    assert {"greedy", "mean", "majority", "oracle", "answers, clusters"} <= set(rows)
    assert rows["oracle"].score == 1.0
    assert rows["mean"].score == pytest.approx(3 / 8)
    assert rows["answers, clusters"].judge
    shown = section(text)
    for name in rows:
        assert f'<th scope="row">{name}</th>' in shown
    assert "How the judges did" in shown
    assert "Score against trajectories" in shown
    assert "Stopping early" in shown
    assert shown.count('class="chart"') == 2


def test_every_trajectory_stands_beside_the_others(contents: Contents, text: str) -> None:
    shown = section(text)
    cards = re.findall(r"<article.*?</article>", shown, re.DOTALL)
    assert len(cards) == 8
    verdicts = load_verdicts(contents.sampled[0].run.folder.path)
    for card in cards:
        id = re.search(r'<p class="facts">([^ ]+) ·', card)
        assert id
        assert card.count("<use href=") == N
        assert card.count("<image ") == 1, "one picture, shown again by every tile"
        assert card.count("what it says</summary>") == N
        assert card.count("its words</summary>") == len(verdicts[id[1]])
        assert card.count("The second has every part of it.") >= 2 * len(verdicts[id[1]])
        assert "taken by" in card
    assert EVIL not in shown
    assert "&lt;script&gt;window.pwned" in shown


def test_what_stands_elsewhere_is_the_first_trajectory_and_says_so(
    contents: Contents, text: str
) -> None:
    label = contents.marks[1].label
    assert any(f"{label} holds 4 trajectories of each sample" in one for one in contents.notes)
    first = load_sample_run(contents.entries[1].path or "").t.right()[:, 0]
    assert contents.right[1].tolist() == first.tolist()
    said = [one.text for one in findings(contents) if one.topic == "Trajectories"]
    assert len(said) == 1
    assert "a judge that never errs would find 100.0" in said[0].replace("\u00a0", " ")
    assert "groundingme sample openai/m" in text
    assert "-n 4" in text
    assert "groundingme eval openai/m" in text, "the greedy run beside it"


def test_a_report_without_a_sampled_run_has_no_such_section(runs: tuple[Path, Path]) -> None:
    alone = page.page(gather([load_entry(runs[0])], resamples=200), workers=1)
    assert 'id="trajectories"' not in alone
    assert 'href="#trajectories"' not in alone


def test_fewer_common_samples_cut_the_trajectories_too(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    few = evaluate("baseline/center", DATA, limit=3, out=tmp_path)
    assert few.path
    cut = gather([load_entry(runs[1]), load_entry(few.path)], resamples=200)
    assert cut.sampled[0].run.t.ids == [one.id for one in cut.samples]
    assert len(cut.sampled[0].run.t) == 3
    assert "All 3 samples" in section(page.page(cut, workers=1))


def test_the_command_writes_page_tables_and_figures(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    done = CliRunner().invoke(
        main,
        ["report", *map(str, runs), "-o", str(tmp_path / "r.html"), "--csv", str(tmp_path),
         "--figures", str(tmp_path / "fig"), "--workers", "1"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "trajectories.csv").read_text().splitlines()))
    assert {row["name"] for row in rows} >= {"majority", "oracle", "answers, clusters"}
    assert next(row for row in rows if row["name"] == "oracle")["score"] == "1.0"
    for name in ("scaling", "stopping"):
        for kind in ("svg", "pdf", "png"):
            assert (tmp_path / "fig" / f"{name}.{kind}").stat().st_size > 2000


def test_what_a_judge_chose_is_kept_until_trajectories_are_added(runs: tuple[Path, Path]) -> None:
    run = load_sample_run(runs[1])
    (name,) = found = load_choices(runs[1], run.t)
    assert name == "answers, clusters"
    choice, told = found[name]
    assert told[0].tally.pairs > 0
    assert set(choice.outcome.tolist()) <= {BOX, REJECTED}
    assert load_choices(runs[1], run.t.first(3)) == {}
    # A file that a crash or a hand has damaged is as good as none.
    (place,) = (runs[1] / "judges").glob("*.choice.json")
    whole = place.read_bytes()
    place.write_bytes(whole[:-20])
    assert load_choices(runs[1], run.t) == {}
    place.write_bytes(whole)


def of(contents: Contents, **changed: Any) -> Sampled:
    return msgspec.structs.replace(contents.sampled[0], **changed)


def test_samples_on_which_ways_disagree_come_first(contents: Contents) -> None:
    one = contents.sampled[0]
    t = one.run.t
    majority = select.majority(t, np.random.default_rng(0))
    agreed = of(contents, choices={"majority": majority})
    missed = ~majority.right(t)
    assert missed.any()
    assert not missed.all()
    order = most_telling(agreed, 8)
    assert sorted(order) == list(range(8))
    assert missed[order[: int(missed.sum())]].all(), "a right answer is there, another was taken"
    row = int(np.flatnonzero(~missed)[-1])
    index = majority.index.copy()
    index[row] = int(np.flatnonzero(~t.right()[row])[0])
    split = of(contents, choices={"majority": majority, "judge": select.pick(t, index)})
    assert most_telling(split, 8)[0] == row
    assert len(most_telling(split, 3)) == 3


def test_an_answer_of_no_trajectory_is_found_by_its_box(contents: Contents) -> None:
    t = keep(contents.sampled[0].run.t)
    label = clusters(t)
    best = select.majority(t, np.random.default_rng(0))
    nameless = Choice(best.outcome, best.boxes + 0.2, np.full(len(t), -1))
    assert in_cluster(t, nameless).tolist() == label[np.arange(len(t)), best.index].tolist()
    far = Choice(np.full(len(t), BOX, dtype=np.int8), np.full((len(t), 4), 7e4), nameless.index)
    assert (in_cluster(t, far) == -1).all()
    nothing = Choice(
        np.full(len(t), REJECTED, dtype=np.int8), np.full((len(t), 4), np.nan), nameless.index
    )
    for row, leader in enumerate(in_cluster(t, nothing).tolist()):
        assert (
            leader == -1 if REJECTED not in t.outcome[row] else t.outcome[row, leader] == REJECTED
        )


@pytest.mark.parametrize(
    "box", [(0, 0, 10, 10), (900, 500, 1000, 600), (400, 20, 420, 590), (0, 0, 1000, 600)]
)
def test_a_tile_holds_the_boxes_and_stays_in_the_picture(box: tuple[float, ...]) -> None:
    x1, y1, x2, y2 = trajectories.window(box, 1000, 600)
    assert 0 <= x1 <= box[0]
    assert y1 >= 0
    assert x2 <= 1000
    assert y2 <= 600
    assert x2 >= box[2]
    if box != (0, 0, 1000, 600):
        assert y1 <= box[1]
        assert y2 >= box[3]


def test_reasons_are_the_end_of_what_a_judge_says() -> None:
    assert trajectories.reason("<think>no</think> A is loose.\n\\boxed{B}") == "A is loose."
    long = trajectories.reason("first " + "word " * 200 + "the hat decides. \\boxed{A}")
    assert long.startswith("… word")
    assert long.endswith("the hat decides.")
    assert len(long) < 300


def test_texts_are_cut_where_they_do_not_fit(
    contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = contents.sampled[0].run
    long = {
        key: msgspec.structs.replace(one, reasoning="mmm " * 2500)
        for key, one in run.generations.items()
    }
    fat = of(contents, run=msgspec.structs.replace(run, generations=long))
    monkeypatch.setattr(trajectories, "TEXT_BYTES", 60_000)
    made, size = trajectories.sections([fat], workers=1)
    assert "Words are cut to 1,500 characters." in made
    assert made.count("characters left out]") == 8 * N
    assert size == len(made.encode()) < 1_500_000
    assert Mark(0, "x").label not in made[:10]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_it_opens_without_a_complaint(text: str, tmp_path: Path, width: int, scheme: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser",
                                                   "google-chrome"))), None)  # fmt: skip
    if program is None:
        pytest.skip("needs Chromium: apt install chromium")
    path = tmp_path / "report.html"
    path.write_text(text, encoding="utf-8")
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        opened.set_default_timeout(60_000)
        opened.on("console", lambda said: complaints.append(said.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto(path.as_uri())
        tile = opened.locator(".tiles li").first
        tile.scroll_into_view_if_needed()
        box = tile.locator("svg").bounding_box()
        assert box
        assert box["width"] > 60
        assert 0.7 < box["height"] / box["width"] < 0.8
        seen = tile.locator("use").bounding_box()
        assert seen
        assert seen["width"] > 60, "the picture is there again"
        tile.locator("summary").click()
        assert EVIL.split("<")[1][:4] in tile.locator("pre").inner_text()
        wide = opened.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0
        assert opened.evaluate("window.pwned") is None
        browser.close()
    assert complaints == []
