"""What the documents say is true: links, commands, options, examples, figures."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from groundingme.cli import main
from groundingme.datasets import FORMATS
from groundingme.geometry import COORD_FORMATS
from groundingme.metrics import summarize
from groundingme.protocols import PROTOCOLS, score

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
IDS = [page.name for page in PAGES]


def commands(text: str) -> list[str]:
    """Commands in indented blocks, continued lines joined, without comments."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r"^    (groundingme .*)$", joined, re.MULTILINE)
    found += re.findall(r"`(groundingme [^`]*)`", joined)
    return [re.split(r"\s{2,}#", command)[0] for command in found]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_and_options_exist(page: Path) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        command: click.Command = main
        words = shlex.split(line.replace("[options]", ""))[1:]
        while words and isinstance(command, click.Group):
            if words[0].startswith("-"):
                break
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        known = {name for one in command.params for name in one.opts} | {"--help", "-h"}
        used = {word for word in words if word.startswith("--")}
        assert used <= known | {"--version"}, line


def test_every_command_is_described() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in main.list_commands(click.Context(main)):
        assert f"groundingme {name}" in text or f"`{name}`" in text, name


def test_examples_of_the_python_interface() -> None:
    page = ROOT / "docs" / "scoring.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted >= 3
    assert result.failed == 0


def test_tables_name_what_there_is() -> None:
    scoring = (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")
    for name in (*COORD_FORMATS, *PROTOCOLS):
        assert f"`{name}`" in scoring, name
    for name in summarize(score([], {}, protocol="strict")):
        assert f"`{name}`" in scoring, name
    data = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for name in FORMATS.names():
        assert f"`{name}`" in data, name


def demo(tmp_path: Path, *options: str) -> list[str]:
    """What `groundingme demo` prints, without blank lines."""
    done = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "demo"), *options])
    assert done.exit_code == 0, done.output
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def shape(line: str) -> str:
    """A line without its figures, and without how wide its columns are."""
    return " ".join(re.sub(r"\d+(\.\d+)?|–|─+", "#", line).split())


def figures(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\w@])\d+(?:\.\d+)?", line)]


def readme_lines() -> dict[str, str]:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    return {shape(line): line for line in lines if line.strip()}


def test_readme_shows_what_the_demo_prints(tmp_path: Path) -> None:
    printed = demo(tmp_path, "--limit", "48")
    shown = readme_lines()
    assert len(printed) >= 7
    for line in printed:
        assert line.startswith("Report: file://") or shape(line) in shown, line
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert page.count('"answers":') == 48
    # One file, and nothing from outside but the name of SVG.
    assert set(re.findall(r"https?://[^\s\"'<\\]+", page)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.slow
def test_the_figures_in_the_readme(tmp_path: Path) -> None:
    """Other processors may round otherwise and turn a sample or two; not more."""
    shown = readme_lines()
    for line in demo(tmp_path):
        if not line.startswith("Report:"):
            expected, found = figures(shown[shape(line)]), figures(line)
            assert len(expected) == len(found)
            for one, other in zip(expected, found, strict=True):
                tolerance = 1.0 if "." in str(one) and one <= 100 else 10
                assert abs(one - other) <= tolerance, line
