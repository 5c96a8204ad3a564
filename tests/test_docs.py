"""What the documents say is true: links, commands, options, examples, figures."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

import groundingme
from documents import IDS, PAGES, ROOT, blocks, commands, mentioned, words
from groundingme.cli import main
from groundingme.datasets import FORMATS
from groundingme.geometry import COORD_FORMATS
from groundingme.metrics import summarize
from groundingme.protocols import PROTOCOLS, score

LIMITED = (click.Choice, click.types.IntParamType, click.types.FloatParamType)
"""Types whose values can be checked without running the command."""

each_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def tool(name: str) -> ModuleType:
    """A script of the folder tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target and target != "reference/cli.md":
            assert (page.parent / target).exists(), target


def parsed(line: str, *, whole: bool) -> None:
    """Parses a command as click would, without running it; words in capitals stand for values.

    Args:
        line: Begins with `groundingme`.
        whole: Whether all that the command requires must be there.
    """
    command: click.Command = main
    context = click.Context(main, info_name="groundingme")
    rest = words(line)
    while True:
        try:
            values, rest, _ = command.make_parser(context).parse_args(list(rest))
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")
        for parameter in command.get_params(context):
            given = values.get(parameter.name)
            for value in given if isinstance(given, list | tuple) else [given]:
                if isinstance(value, str) and not re.fullmatch(r"[A-Z][A-Z_0-9]*", value):
                    checked(parameter, value, context, line)
            if whole and parameter.required:
                assert given, f"{line}: {parameter.name} is missing"
                assert isinstance(given, str | list | tuple), f"{line}: {parameter.name} is missing"
        if not rest or not isinstance(command, click.Group):
            break
        found = command.get_command(context, rest.pop(0))
        assert found is not None, line
        command, context = found, click.Context(found, parent=context, info_name=found.name)
    assert not rest, f"{line}: {rest} is too much"


def checked(parameter: click.Parameter, value: str, context: click.Context, line: str) -> None:
    """Whether a value is one of those that its option allows; files need not be there."""
    if isinstance(
        parameter.type, click.Choice | click.types.IntParamType | click.types.FloatParamType
    ):
        try:
            parameter.type.convert(value, parameter, context)
        except click.BadParameter as error:
            pytest.fail(f"{line}: {error.format_message()}")


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    for line in commands(read(page)):
        parsed(line, whole=True)
    for line in mentioned(read(page)):
        # A sentence may name an option without its value.
        parsed(re.sub(r"(--(?:budget|judge|workers|data))$", r"\1 1", line), whole=False)


def test_a_wrong_command_is_found() -> None:
    for wrong in (
        "eval --no-such",
        "export RUN --to word",
        "show",
        "power --power much",
        "nothing",
    ):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            parsed(f"groundingme {wrong}", whole=True)


@each_page
def test_blocks_are_well_formed(page: Path) -> None:
    """Python compiles and imports what is there; TOML, JSON and shell scripts can be read."""
    for block in blocks(read(page)):
        if block.language == "python" and not block.text.startswith(">>>"):
            imported(ast.parse(block.text))
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            assert json.loads(block.text)
        elif block.language == "sh":
            script = re.sub(r"\[options\]|<[^<>]*>", "", block.text)
            done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr


def imported(tree: ast.Module) -> None:
    """Imports what a piece of code imports from this package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("groundingme"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def test_every_command_is_described() -> None:
    text = "".join(read(page) for page in PAGES)
    for name in main.list_commands(click.Context(main)):
        assert f"groundingme {name}" in text or f"`{name}`" in text, name


def test_examples_of_the_python_interface() -> None:
    page = ROOT / "docs" / "scoring.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted >= 3
    assert result.failed == 0


def test_tables_name_what_there_is() -> None:
    scoring = read(ROOT / "docs" / "scoring.md")
    for name in (*COORD_FORMATS, *PROTOCOLS):
        assert f"`{name}`" in scoring, name
    for name in summarize(score([], {}, protocol="strict")):
        assert f"`{name}`" in scoring, name
    data = read(ROOT / "docs" / "data.md")
    for name in FORMATS.names():
        assert f"`{name}`" in data, name


def test_the_reference_has_every_public_name() -> None:
    reference = read(ROOT / "docs" / "reference" / "python.md")
    listed = set(re.findall(r"^::: (\S+)$", reference, re.MULTILINE))
    for name, module in groundingme._WHERE.items():
        assert {f"{module}.{name}", f"{groundingme.__name__}.{name}"} & listed, name
    for name in listed:
        module, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(module), last) or importlib.import_module(name)


def test_the_reference_has_every_option() -> None:
    made = tool("site").cli_reference()
    for path, command in tool("site").commands(main, "groundingme"):
        assert f"\n```text\n{path} " in made
        for parameter in command.params:
            for option in parameter.opts:
                if isinstance(parameter, click.Option) and not parameter.hidden:
                    assert option in made, f"{path} {option}"


def test_the_layers_are_drawn_from_their_list() -> None:
    design = read(ROOT / "docs" / "design.md")
    picture = tool("site").picture(design)
    for room in tool("site").rooms(design):
        assert f">{room.name.removesuffix('.py')}</span>" in picture
    assert picture.count('class="layer"') == len(
        {room.layer for room in tool("site").rooms(design)}
    )


def test_the_picture_of_the_gap_is_current() -> None:
    assert tool("gap").draw() == read(ROOT / "docs" / "gap.svg"), "run python tools/gap.py"


def test_gathered_figures_stand_where_they_are_explained() -> None:
    """A figure that is measured anew on its own page must not stay old on this one."""
    rows = re.findall(r"^\| (.+) \| (.+) \| .+ \| \[.+\]\((.+?)(?:#.*)?\) \|$",
                      read(ROOT / "docs" / "performance.md"), re.MULTILINE)  # fmt: skip
    assert len(rows) > 20
    for what, figure, target in rows:
        there = read(ROOT / "docs" / target)
        for number in re.findall(r"\d[\d,.]*\d|\d", figure.split("(")[0]):
            assert number in there, f"{what}: {number} is not in {target}"


def perform(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    """Runs the blocks of a page that are marked, in their order and in one folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(read(page)):
        if block.how is None:
            continue
        if block.how not in ("", "server"):
            Path(block.how).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
        else:
            script = block.text.replace("http://localhost:8000/v1", server)
            done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True)
            assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def pages_to_run() -> list[Any]:
    """Pages with marked blocks; those with commands of a whole tutorial are slow."""
    found = []
    for page, name in zip(PAGES, IDS, strict=True):
        marked = [block for block in blocks(read(page)) if block.how is not None]
        quick = all(block.language == "python" for block in marked)
        if marked and page.name != "extending.md":
            found.append(pytest.param(page, id=name, marks=[] if quick else [pytest.mark.slow]))
    return found


@pytest.mark.parametrize("page", pages_to_run())
def test_pages_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chat import ChatServer

    with ChatServer() as server:
        perform(page, tmp_path, monkeypatch, server.base_url)


def test_the_guide_to_extensions_runs(tmp_path: Path) -> None:
    """In a process of its own, since its examples register themselves."""
    marked = [
        block for block in blocks(read(ROOT / "docs" / "extending.md")) if block.how is not None
    ]
    assert len(marked) > 15
    script = "\n".join(block.text for block in marked)
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=tmp_path,
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_without_the_net(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="pip install 'groundingme[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "NO_PROXY": "", "ALL_PROXY": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(
            r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=[\"']?([^\"' >]+)", text
        )
        assert not [one for one in loaded if "://" in one and "canonical" not in one], page


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
