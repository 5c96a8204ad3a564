"""The documents as data: pages, their blocks, and the commands in them.

A block that stands right behind `<!-- run -->` is run by a test, in the order of its page;
`<!-- run: server -->` means against a server, `<!-- run: NAME -->` that the block is a file to
write.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCED = re.compile(
    r"^(?:<!-- run(?::? *)(?P<how>[^>]*?) -->\n)?(?P<indent> *)```(?P<language>\w*)[^\n]*\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_INDENTED = re.compile(r"(?:\A|\n\n)((?:(?: {4}[^\n]*|)\n)*(?: {4}[^\n]*)(?=\n|\Z))")


class Block(NamedTuple):
    """One block of code.

    Attributes:
        language: As the fence says, or as it looks: `sh`, `python`, `toml`, ...; "" where unknown.
        text: Without indentation.
        how: None where no test runs it; else what stands behind `run:`.
    """

    language: str
    text: str
    how: str | None = None


def blocks(text: str) -> list[Block]:
    """Every block of a page: the fenced ones, then the indented ones, each in their order."""
    found = []
    for match in _FENCED.finditer(text):
        how = match["how"] if match[0].startswith("<!--") else None
        found.append(Block(match["language"], textwrap.dedent(match["text"]), how))
    rest = _FENCED.sub("", text)
    # Further paragraphs of a list's entry are indented, too.
    for match in _INDENTED.finditer(rest):
        before = rest[: match.start()].rsplit("\n\n", 1)[-1]
        if not re.match(r"\s*(?:[-*]|\d+\.) ", before.lstrip("\n")):
            code = textwrap.dedent(match[1].strip("\n"))
            found.append(Block(_looks_like(code), code + "\n"))
    return found


def _looks_like(code: str) -> str:
    if re.match(r"(?:\w+=\S+ )*(?:groundingme|pip|make|python|git|pre-commit) ", code):
        return "sh"
    if re.match(r"(?:from|import|class|def) ", code):
        return "python"
    return "toml" if re.match(r"\[\w+\]\n", code) else ""


def commands(text: str) -> list[str]:
    """Every `groundingme ...` line of the blocks, whole, without comments."""
    found = []
    for block in blocks(text):
        if block.language in ("sh", "", "console", "bash"):
            for line in block.text.replace("\\\n", " ").splitlines():
                match = re.match(r"(?:\$ )?(?:\w+=\S+ )*(groundingme .*)", line.strip())
                if match:
                    found.append(re.split(r"\s+#\s", match[1])[0].strip())
    return found


def mentioned(text: str) -> list[str]:
    """Every `groundingme ...` between back quotes in the text; of `a|b` the first."""
    found = re.findall(r"(?<!`)`(groundingme [^`\n]*)`", text)
    return [re.sub(r"(\w+)(?:\|\w+)+", r"\1", one) for one in found]


def words(command: str) -> list[str]:
    """A command's words without its own name and without what only stands for further ones."""
    return [word for word in shlex.split(command)[1:] if word not in ("...", "[options]")]
