"""Ids, descriptions, replies and names of strangers, where people look at them."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from groundingme import evaluate
from groundingme.cli import main
from groundingme.loading import load_entry
from groundingme.models import Model, Request
from groundingme.report import page
from groundingme.schema import Generation
from groundingme.terminal import cell, plain_console, visible, visible_json

ESCAPE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r[/red] :smile: [bold]"
SCRIPT = "</script><script>pwned()</script><img src=x onerror=pwned()>'\" onload='pwned()'<!--"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Stranger(Model):
    """Says whatever `says` has for a sample."""

    coords = "abs"
    needs_image = False

    def __init__(self, name: str, says: dict[str, str]) -> None:
        self.name = name
        self.says = says

    async def generate(self, request: Request) -> Generation:
        text = self.says.get(request.id, '{"bbox_2d": [1, 2, 3, 4]}')
        return Generation(
            id=request.id,
            text=text,
            reasoning=text,
            finish_reason=text[:99],
            served_model=text[:99],
        )


def data(folder: Path, text: str, **columns: Any) -> Path:
    folder.mkdir()
    rows = []
    for at in range(4):
        Image.new("RGB", (64, 48)).save(folder / f"{at}.png")
        rows.append(
            {"id": f"{at}{text}", "description": text, "image": f"{at}.png", "bbox": [1, 2, 9, 9],
             "subtask_l1": f"one {text}", "subtask_l2": f"two {text}", "width": 64, "height": 48,
             "detection_type": text, **columns}
        )  # fmt: skip
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_what_steers_a_terminal_is_shown() -> None:
    shown = visible(f"a\tb\nc\r\nd {ESCAPE}\ud800")
    assert not STEERS.search(shown)
    assert shown.startswith("a\tb\nc\nd \\x1b[2J")
    assert "\\u202e\\x0d" in shown
    value = {"text": f"{ESCAPE}\u2028"}
    written = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(written) == value
    assert not STEERS.search(written)


def test_text_in_a_table_is_text() -> None:
    from rich.table import Table

    table = Table(title=ESCAPE)
    table.add_column(ESCAPE)
    table.add_row(ESCAPE)
    for terminal in (True, False):
        console = plain_console(width=200, force_terminal=terminal, color_system="truecolor")
        with console.capture() as printed:
            console.print(table)
            console.print(ESCAPE)
        text = re.sub("\x1b\\[[0-9;]*m", "", printed.get())
        assert not STEERS.search(text)
        assert text.count("[/red] :smile: [bold]") == 4


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """A data set and a run on it, full of escape sequences."""
    folder = data(tmp_path / "data", ESCAPE)
    says = {f"{at}{ESCAPE}": f"{ESCAPE} {at}" for at in range(3)}
    result = evaluate(Stranger(f"mock/{ESCAPE}", says), str(folder), out=tmp_path / "runs")
    assert result.path
    assert not STEERS.search(repr(result))
    return folder, result.path


def test_no_command_lets_a_stranger_steer_the_terminal(
    hostile: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, path = hostile
    replies = tmp_path / "replies.jsonl"
    replies.write_text(json.dumps({"id": f"0{ESCAPE}", "reply": ESCAPE}) + "\n", "utf-8")
    strange = tmp_path / "strange.jsonl"
    strange.write_text(json.dumps({ESCAPE: 1}) + "\n", "utf-8")
    broken = data(tmp_path / "broken", ESCAPE, bbox=[ESCAPE], image=ESCAPE)
    for line in (
        ("ls", path.parent),
        ("ls", path.parent, "--json"),
        ("show", path),
        ("show", path, "--wrong"),
        ("show", path, "--wrong", "--json"),
        ("show", path, "--id", f"1{ESCAPE}"),
        ("show", path, "--id", f"1{ESCAPE}", "--json"),
        ("show", path, "--id", f"none{ESCAPE}"),
        ("score", path, "--json"),
        ("score", replies, "--data", folder),
        ("score", strange, "--data", folder),
        ("score", replies, "--data", broken),
        ("compare", path, path),
        ("data", "check", folder),
        ("data", "check", broken),
        ("data", "check", broken, "--json"),
        ("data", "show", folder, "--out", tmp_path / "sheet.png"),
        ("data", "show", folder, "--id", ESCAPE),
        ("eval", f"mock/{ESCAPE}", "--data", folder),
        ("eval", "baseline/center", "--data", broken, "--out", tmp_path / "runs2"),
        ("eval", "baseline/center", "--data", ESCAPE),
        (ESCAPE,),
    ):
        done = run(*line)
        assert done.exception is None or isinstance(done.exception, SystemExit), line
        # The runner keeps standard output and standard error as they were written.
        assert not STEERS.search(done.output.replace("\r\n", "\n")), line
        assert done.output, line


class Page(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(name, value or "") for name, value in attrs]


def report(folder: Path, text: str, reply: str, *, runs: int = 2) -> tuple[str, Path]:
    data(folder, text)
    says = {f"{at}{text}": reply for at in range(3)}
    results = [
        evaluate(Stranger(f"mock/{number}{text}", says), str(folder), out=folder.parent / "runs")
        for number in range(runs)
    ]
    path = folder.parent / f"{folder.name}.html"
    page.save(
        [load_entry(str(one.path)) for one in results], path, csv_folder=folder.parent / "csv"
    )
    return path.read_text("utf-8"), path


def test_a_report_of_strangers_text_has_no_element_of_theirs(tmp_path: Path) -> None:
    hostile, _ = report(tmp_path / "a", SCRIPT, SCRIPT)
    harmless, _ = report(tmp_path / "b", "a cup", "a cup")
    for name in ("script", "img", "iframe", "object", "svg", "style", "link", "base", "form"):
        assert Page(hostile).tags.get(name) == Page(harmless).tags.get(name), name
    for name, value in Page(hostile).attributes:
        assert not name.startswith("on"), (name, value)
        assert not value.strip().lower().startswith(("javascript:", "data:text/html")), value
    assert "Content-Security-Policy" in hostile


@pytest.mark.slow
def test_a_report_of_replies_of_ten_megabytes_opens(tmp_path: Path) -> None:
    text, path = report(tmp_path / "a", "a cup", "<b>" + "x" * 10**7, runs=1)
    assert path.stat().st_size < page.MAX_BYTES
    assert Page(text).tags["html"] == 1
    assert text.rstrip().endswith("</html>")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1+1", " =1"])
def test_a_spreadsheet_sees_no_formula(text: str, tmp_path: Path) -> None:
    assert cell(text) == f"'{text}"
    assert cell("a=1") == "a=1"
    assert cell(-1) == -1
    if text == "=1+1":
        report(tmp_path / "a", text, text)
        for path in (tmp_path / "csv").glob("*.csv"):
            rows = list(csv.reader(io.StringIO(path.read_text("utf-8"))))
            assert rows
            assert not any(one.startswith(("=", "+", "@")) for row in rows for one in row)
