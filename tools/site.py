"""Pages of the documentation that are made from the code when the site is built.

`mkdocs.yml` names this file as a hook. It adds the reference of the command (`reference/cli.md`),
draws the layers above their list in `design.md`, and gives links to files outside of `docs/` an
address.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

ROOT = Path(__file__).resolve().parents[1]

_LAYERS = re.compile(r"## Layers.*?(```\n(.*?)```)", re.DOTALL)
_ROOM = re.compile(r"(\d+| ) (\w+(?:\.py|/)) +(.*)")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./(?!assets)[^)]+\)")


class Room(NamedTuple):
    """One line of the list of layers.

    Attributes:
        layer: Its number; 0 is the lowest.
        name: Of the module, or of the package with a slash.
        what: What it holds.
    """

    layer: int
    name: str
    what: str


def rooms(design: str) -> list[Room]:
    """The list of layers in the text of docs/design.md, which tests/test_layers.py enforces."""
    block = _LAYERS.search(design)
    assert block, "docs/design.md has no list of layers"
    found: list[Room] = []
    for line in block[2].splitlines():
        match = _ROOM.match(line)
        assert match, line
        layer = int(match[1]) if match[1].strip() else found[-1].layer
        found.append(Room(layer, match[2], match[3]))
    return found


def picture(design: str) -> str:
    """The layers as HTML, the highest above: boxes that wrap, so that it fits a phone too."""
    rows: dict[int, list[str]] = {}
    for room in rooms(design):
        kind = "package" if room.name.endswith("/") else "module"
        note = html.escape(room.what, quote=True)
        box = f'<span class="{kind}" title="{note}">{room.name.removesuffix(".py")}</span>'
        rows.setdefault(room.layer, []).append(box)
    lines = [
        f'<div class="layer"><b>{layer}</b><div>{"".join(boxes)}</div></div>'
        for layer, boxes in sorted(rows.items(), reverse=True)
    ]
    text = "Each row imports from the rows below it alone. Point at a box to read what it holds."
    return (
        f'<figure class="layers" aria-label="The layers of the package">\n{"".join(lines)}\n'
        f"<figcaption>{text}</figcaption>\n</figure>\n"
    )


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, with the words that call them."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


def cli_reference() -> str:
    """Every command with its arguments and options, as Markdown."""
    from groundingme.cli import main

    parts = [
        "# Commands\n",
        "Made from the code of this version. `groundingme COMMAND --help` prints the same. Figures "
        "go to standard output, everything else to standard error. Exit codes: 0 done, 1 the job "
        "failed, 2 asked wrongly, 130 interrupted.\n",
    ]
    for path, command in commands(main, "groundingme"):
        parts += _described(path, command)
    return "\n".join(parts)


def _described(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"{'#' * min(3, 1 + len(path.split()))} {path}\n"
    yield f"```text\n{path} {usage}\n```\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        plain = paragraph.removeprefix("\b\n")
        yield f"```text\n{plain}\n```\n" if plain != paragraph else _prose(plain) + "\n"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in parameter.opts:
            yield f"- `{record[0]}`: {_prose(record[1])}"
    yield ""


def _prose(text: str) -> str:
    """Text of a help page as Markdown: what stands in back quotes stays, the rest is escaped."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece
        if piece.startswith("`")
        else re.sub(r"([*_\[\]])", r"\\\1", html.escape(piece, quote=False))
        for piece in pieces
    )


def on_config(config, **_):  # type: ignore[no-untyped-def]
    """Lists the page of every study."""
    pages = sorted(path.name for path in (ROOT / "docs" / "studies").glob("*.md"))
    (section,) = (entry for entry in config.nav if "Studies" in entry)
    section["Studies"] += [f"studies/{name}" for name in pages]
    return config


def on_files(files, config):  # type: ignore[no-untyped-def]
    """Adds the pages that are made here."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/cli.md", content=cli_reference()))
    return files


def on_page_markdown(markdown, page, **_):  # type: ignore[no-untyped-def]
    """Draws the layers, and names files that are not part of the site without a link."""
    if page.file.src_uri == "design.md":
        block = _LAYERS.search(markdown)
        assert block
        at = block.start(1)
        markdown = f"{markdown[:at]}{picture(markdown)}\n{markdown[at:]}"
    if "/" in page.file.src_uri:
        return markdown
    return _OUTSIDE.sub(r"\1", markdown)
