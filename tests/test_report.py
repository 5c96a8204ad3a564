"""The report: what it says, that nothing in it can run or leak, and how it works in a browser."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from groundingme import geometry
from groundingme.cli import main
from groundingme.datasets import load_dataset
from groundingme.images import BytesImage, FileImage
from groundingme.loading import load_entry
from groundingme.report import commands, findings, gallery, page, pictures, svg
from groundingme.report.contents import Contents, gather
from groundingme.report.marks import Mark
from groundingme.report.markup import Html, join, table, tag
from groundingme.schema import Run
from reported import SAMPLES, SUBTASKS, XSS, make_data, make_runs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("report") / "pointing")


@pytest.fixture(scope="module")
def runs(data: Path) -> list[Path]:
    return make_runs(data)


@pytest.fixture(scope="module")
def contents(runs: list[Path]) -> Contents:
    return gather([load_entry(one) for one in runs])


@pytest.fixture(scope="module")
def text(contents: Contents) -> str:
    return page.page(contents, workers=1)


def payload(text: str) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    read: dict[str, Any] = json.loads(found[1])
    return read


def thumbnails(text: str) -> list[bytes]:
    found = re.search(r'<script type="text/plain" id="pictures">(.*?)</script>', text, re.DOTALL)
    assert found
    return [base64.b64decode(line) for line in found[1].split("\n")]


def words(text: str) -> str:
    """What a person reads, without markup."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


# What it says.


def test_the_summary_says_what_the_data_say(text: str) -> None:
    said = words(text)
    # 110 of 120, and 96 - 12 = 84 of 120.
    assert "mock/careful has 91.7 %" in said
    assert "of 120 samples right, more than the other." in said
    assert "mock/careful rejects 83.3 %" in said
    assert "of the 24 descriptions that match nothing, and wrongly 2.1 %" in said
    assert "mock/eager rejects none of the 24 descriptions that match nothing." in said
    assert "Always to say that nothing matches would get 20.0 % right" in said
    assert "Of the 36 mistakes of mock/eager, 24 are boxes where nothing matches." in said
    assert "mock/careful is better on all samples by 21.7 points" in said
    assert "does worst on Spatial/Counting: 50.0 %" in said
    assert "2 replies without a readable answer count as wrong" in said


def test_the_tables_hold_the_figures_of_the_comparison(contents: Contents, text: str) -> None:
    said = words(text)
    for one in contents.standings:
        whole = one.accuracy["all"]
        assert f"{100 * whole.value:.1f} {100 * whole.low:.1f}–{100 * whole.high:.1f}" in said
        for name, count in one.mistakes.items():
            assert name in said
            assert count == 0 or str(count) in said
    # Right while the other is wrong, and the other way round: 12 + 20 and 5 + 1.
    careful, eager = contents.right
    assert int((careful & ~eager).sum()) == 31
    assert int((eager & ~careful).sum()) == 5
    matrix = re.search(r'<table class="figures matrix">.*?</table>', text, re.DOTALL)
    assert matrix
    assert re.findall(r">(\d+)<", matrix[0]) == ["110", "31", "5", "84"]


def test_the_gallery_holds_every_sample_with_its_answers(contents: Contents, text: str) -> None:
    found = payload(text)
    assert [one["id"] for one in found["samples"]] == [one.id for one in contents.samples]
    kinds = found["kinds"]
    for at, sample in enumerate(found["samples"]):
        for run, answer in enumerate(sample["answers"]):
            score = contents.entries[run].scores[at]
            assert kinds[answer["kind"]] == kinds[int(contents.mistakes[run].kind[at])]
            assert bool(answer["right"]) == (score.iou >= 0.5)
            if score.box:
                assert answer["box"] == pytest.approx(score.box, abs=0.05)
    by_id = {one["id"]: one for one in found["samples"]}
    assert by_id["s000"]["answers"][0]["reply"] == XSS
    assert kinds[by_id["s002"]["answers"][0]["kind"]] == "sloppy box"
    assert kinds[by_id["s003"]["answers"][0]["kind"]] == "wrong object"
    assert kinds[by_id["s005"]["answers"][0]["kind"]] == "false rejection"
    assert kinds[by_id["s004"]["answers"][0]["kind"]] == "missed rejection"
    assert kinds[by_id["s001"]["answers"][0]["kind"]] == "unparsed"


def test_a_tiny_target_in_an_8k_picture_is_legible(contents: Contents, text: str) -> None:
    found, images = payload(text), thumbnails(text)
    tiny = [one for one in found["samples"] if one["l2"] == "Small"]
    assert len({one["picture"] for one in tiny}) == 1  # one thumbnail, and one crop, for all
    assert len({one["crop"] for one in tiny}) == 1
    sample = tiny[0]
    assert sample["size"] == [7680, 4320]
    x1, y1, x2, y2 = sample["window"]
    assert x1 < 6000
    assert y1 < 3000
    assert x2 > 6040
    assert y2 > 3030
    with Image.open(io.BytesIO(images[sample["crop"]])) as crop:
        assert crop.width == pytest.approx(x2 - x1, abs=1)  # every pixel of the original
        scale = crop.width / (x2 - x1)
        inside = crop.convert("RGB").getpixel(
            (round((6020 - x1) * scale), round((3015 - y1) * scale))
        )
    assert isinstance(inside, tuple)
    assert np.abs(np.array(inside) - (0xD5, 0x5E, 0x00)).max() < 30
    with Image.open(io.BytesIO(images[sample["picture"]])) as thumbnail:
        assert max(thumbnail.size) <= pictures.LEVELS[0][0]


def test_one_run_is_enough(runs: list[Path]) -> None:
    alone = gather([load_entry(runs[0])])
    text = page.page(alone, workers=1)
    assert "The model rejects 83.3" in words(text)
    assert "Where runs disagree" not in text
    assert len(payload(text)["runs"]) == 1


def test_without_pictures_it_says_why(runs: list[Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(runs[0], moved)
    manifest = msgspec.json.decode((moved / "run.json").read_bytes())
    manifest["data"] = str(tmp_path / "nowhere" / "samples.jsonl")
    (moved / "run.json").write_bytes(msgspec.json.encode(manifest))
    text = page.page(gather([load_entry(moved)]), workers=1)
    assert "no pictures: " in words(text)
    assert not any("picture" in one for one in payload(text)["samples"])


def test_a_broken_picture_stays_in_the_gallery(
    runs: list[Path], data: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    (copy / "images" / "000.jpg").write_bytes(b"no image")
    (copy / "images" / "001.jpg").unlink()
    dataset = load_dataset(str(copy))
    text = page.page(gather([load_entry(runs[0])], dataset=dataset), workers=1)
    first, second, third = payload(text)["samples"][:3]
    assert "unreadable" in first["problem"] or "expected an image" in first["problem"]
    assert "no file" in second["problem"]
    assert "picture" in third


def test_samples_of_another_data_set_are_not_taken_for_these(
    runs: list[Path], data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data, other)
    lines = (other / "samples.jsonl").read_text().splitlines()
    row = json.loads(lines[7])
    lines[7] = json.dumps({**row, "description": "something else"})
    (other / "samples.jsonl").write_text("\n".join(lines) + "\n")
    found = gather([load_entry(runs[0])], dataset=load_dataset(str(other)))
    assert found.samples[7].description == row["description"]
    assert found.samples[7].image is None
    assert any("1 of 120 samples have no picture" in one for one in found.notes)


def test_official_scores_are_shown_as_such(runs: list[Path]) -> None:
    found = gather([load_entry(one, protocol="official") for one in runs])
    text = page.page(found, workers=1, most=5)
    assert "protocol official" in words(text)
    assert "--protocol official" in html.unescape(text)


def test_a_large_set_is_sampled_and_says_so(contents: Contents, text: str) -> None:
    small = page.page(contents, workers=1, most=30)
    samples = payload(small)["samples"]
    assert len(samples) == 30
    assert len({one["id"] for one in samples}) == 30
    assert {(one["l1"], one["l2"]) for one in samples} == set(SUBTASKS)
    assert "30 of 120 samples are shown" in words(small)
    # The figures are those of all samples all the same.
    assert words(small).split("Samples")[0] == words(text).split("Samples")[0]
    differ = sum(len({answer["right"] for answer in one["answers"]}) == 2 for one in samples)
    assert differ >= 15


def test_long_replies_are_cut_and_say_so(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert gallery._cut("x" * 50, 100) == "x" * 50
    cut = gallery._cut("a" * 500 + "b" * 500, 90)
    assert cut == "a" * 60 + "\n[... 910 characters left out ...]\n" + "b" * 30
    entry = load_entry(runs[0])
    long = {
        id: msgspec.structs.replace(one, text=one.text + "x" * 5000, reasoning="é" * 5000)
        for id, one in entry.generations.items()
    }
    found = gather([msgspec.structs.replace(entry, generations=long)])
    # 120 replies of one byte a character and as many reasonings of two: 180,000 fit in 200,000.
    monkeypatch.setattr(gallery, "TEXT_BYTES", 200_000)
    made = gallery.gallery(found, 10_000_000, workers=1)
    assert "Replies and reasoning are cut to 500 characters each" in made.note
    answers = [one for sample in made.data["samples"] for one in sample["answers"]]
    assert all(len(one["reply"]) + 8 > 540 and len(one["reasoning"]) < 560 for one in answers)
    assert "characters left out" in answers[0]["reply"]


def test_pictures_fit_their_budget() -> None:
    rng = np.random.default_rng(0)
    noise = []
    for at in range(12):
        buffer = io.BytesIO()
        pixels = rng.integers(0, 255, (500, 700, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        noise.append(pictures.Wanted(BytesImage(f"{at}", buffer.getvalue()), ((5, 5, 15, 15),)))
    sizes = []
    for budget in (10_000_000, 600_000, 150_000):
        made = pictures.shrink_all(noise, budget, workers=1)
        sizes.append(sum(one.size for one in made))
        assert sizes[-1] <= budget
    assert sizes[0] > sizes[1] > sizes[2]


def test_pictures_are_the_same_from_other_processes(data: Path) -> None:
    files = sorted((data / "images").glob("0*.jpg"))[:30]
    wanted = [pictures.Wanted(FileImage(path=str(one)), ((30, 40, 50, 60),)) for one in files]
    told: list[int] = []
    many = pictures.shrink_all(wanted, 10**7, workers=2, tick=told.append)
    assert many == pictures.shrink_all(wanted, 10**7, workers=1)
    assert told == list(range(1, 31))


# That nothing in it can run, or leave.


def test_the_policy_names_the_scripts_that_are_there_and_no_other(text: str) -> None:
    policy = html.unescape(re.search(r'Security-Policy" content="([^"]*)"', text)[1])  # type: ignore[index]
    for name, pattern in (("script-src", r"<script>(.*?)</script>"),
                          ("style-src", r"<style>(.*?)</style>")):  # fmt: skip
        inline = re.findall(pattern, text, re.DOTALL)
        assert len(inline) == 1
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert not re.search(r'\sstyle="', text)
    assert not re.search(r"\son\w+=", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))


def test_nothing_comes_from_outside(text: str) -> None:
    addresses = set(re.findall(r"https?://[^\s\"'<\\]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert "@import" not in text
    assert not re.search(r'(src|href)="(?!#|data:)', text)


def test_what_a_model_says_is_no_markup(text: str) -> None:
    assert "<img src=x" not in text
    assert "<script>window" not in text
    assert text.count("</script>") == 3


def test_markup_escapes_everything_but_itself() -> None:
    assert tag("p", "<b>", title='"x"') == '<p title="&quot;x&quot;">&lt;b&gt;</p>'
    assert tag("p", Html("<b></b>")) == "<p><b></b></p>"
    assert join(["<", Html("<i>")], " & ") == "&lt; &amp; <i>"
    assert tag("input", disabled=True, hidden=False, id=None) == "<input disabled>"
    assert "&lt;x&gt;" in table(["<x>"], [["<x>", "1"]])
    name = Mark(1, "<script>/x").name()
    assert "<script>" not in name
    assert "&lt;script&gt;/<wbr>x" in name


def test_marks_differ_by_more_than_colour() -> None:
    marks = [Mark(at, f"run {at}") for at in range(12)]
    assert len({one.letter for one in marks}) == 12
    assert Mark(26, "x").letter == "A1"
    looks = {(one.dash, one.point(0, 0).split("points=")[-1].split(" class")[0]) for one in marks}
    assert len(looks) == 12


def test_a_chart_puts_points_where_they_belong() -> None:
    axis = svg.Axis(low=0, high=10, ticks=(0, 10))
    chart = svg.line_chart(
        "x", [svg.Series(mark=Mark(0, "m"), points=[(0, 0), (10, 10)])], axis, axis
    )
    corners = re.search(r'<polyline points="([^"]*)"', chart)
    assert corners
    right, bottom = svg.WIDTH - svg.RIGHT, svg.HEIGHT - svg.BOTTOM
    assert corners[1] == f"{svg.LEFT:.1f},{bottom:.1f} {right:.1f},{svg.TOP:.1f}"


# The command.


def invoke(*args: str | Path) -> Any:
    return CliRunner().invoke(main, ["report", *map(str, args)])


def test_the_command_writes_the_page_and_its_tables(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report.html"
    done = invoke(*runs, "-o", out, "--csv", tmp_path / "tables", "--workers", 1, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["bytes"] == out.stat().st_size < page.MAX_BYTES
    assert said["samples"] == SAMPLES
    assert said["runs"] == ["mock/careful", "mock/eager"]
    names = {"leaderboard.csv", "subtasks.csv", "mistakes.csv", "samples.csv"}
    assert {one.name for one in (tmp_path / "tables").iterdir()} == names
    with (tmp_path / "tables" / "leaderboard.csv").open() as file:
        board = list(csv.DictReader(file))
    assert [one["run"] for one in board] == ["mock/careful", "mock/eager"]
    assert float(board[0]["acc"]) == pytest.approx(110 / 120)
    assert board[1]["N-acc"] == "0.0"
    with (tmp_path / "tables" / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(one["mock/eager right"]) for one in rows) == 84
    assert rows[0]["mock/careful outcome"] == "unparsed"
    # The same tables are links in the page.
    links = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]*)"', out.read_text())
    assert base64.b64decode(links[0]) == (tmp_path / "tables" / "leaderboard.csv").read_bytes()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere"], "expected a run folder"),
        (["RUN", "RUN"], "twice"),
        (["RUN", "--protocol", "strikt"], "strict"),
        (["RUN", "-o", "."], "expected a file to write"),
        (["RUN", "-o", "/proc/no/report.html", "--samples", "1"], "can be written"),
        (["RUN", "--data", "nowhere"], "nowhere"),
        ([], "expected a run folder"),
    ],
)
def test_a_mistake_is_one_line(runs: list[Path], args: list[str], said: str) -> None:
    done = invoke(*[str(runs[0]) if one == "RUN" else one for one in args])
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_commands_make_the_run_again() -> None:
    run = Run(
        model="openai/Q w", data="my data", data_name="d", data_fingerprint="", samples=1,
        subset="Spatial/Counting", limit=5, prompt="find {description}",
        settings={"temperature": 0.5, "max_tokens": 20480, "jpeg_quality": None,
                  "extra_body": {"a": 1}, "thinking": True, "image": {"resize": "x"}},
        coords="n1000",
    )  # fmt: skip
    command, hidden = commands.eval_command(run, Path("/runs/one"))
    assert command == (
        "groundingme eval 'openai/Q w' --data 'my data' --subset Spatial/Counting --limit 5 "
        "--prompt 'find {description}' --coords n1000 --temperature 0.5 --extra-body '{\"a\":1}' "
        "--thinking on --out /runs"
    )
    assert hidden == ["image"]


def test_findings_are_silent_where_there_is_nothing_to_say(runs: list[Path]) -> None:
    found = gather([load_entry(one) for one in runs])
    topics = [one.topic for one in findings.findings(found)]
    assert topics[0] == "Overall"
    assert "Confidence" in topics
    for entry in found.entries:
        for id, one in list(entry.generations.items()):
            entry.generations[id] = msgspec.structs.replace(one, confidence=None)  # type: ignore[index]
    assert "Confidence" not in [one.topic for one in findings.findings(found)]
    assert "needs confidences" in words(page.page(found, workers=1, most=1)) or (
        "need confidences" in words(page.page(found, workers=1, most=1))
    )


def test_crops_lie_in_the_picture_and_hold_the_box() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        width, height = rng.integers(200, 8000, 2).tolist()
        x1, y1 = rng.uniform(0, width - 20), rng.uniform(0, height - 20)
        box = (x1, y1, x1 + rng.uniform(1, 20), y1 + rng.uniform(1, 20))
        window = pictures._window(box, width, height, min(1.0, 400 / max(width, height)))
        if window is None:
            continue
        assert 0 <= window[0] < window[2] <= width + 1e-6
        assert 0 <= window[1] < window[3] <= height + 1e-6
        inside = geometry.iou([window], [box])[0] * (window[2] - window[0]) ** 2
        assert inside == pytest.approx((box[2] - box[0]) * (box[3] - box[1]), rel=1e-6)
    assert pictures._window((0, 0, float("inf"), 5), 100, 100, 1.0) is None
