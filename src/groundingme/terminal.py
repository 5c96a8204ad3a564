"""Strangers' text on a terminal or in a spreadsheet: what could steer it is shown instead.

Ids, descriptions, replies and names of models come from elsewhere. An escape sequence in one of
them could hide or forge lines, or change the title of the window; a sign that turns the direction
of writing could make one text look like another; square brackets are markup to `rich`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

# All control characters but tab and line feed, the direction signs, the two Unicode line breaks,
# and what stands for a byte that is no text.
_STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""The text with everything that could steer a terminal written as an escape.

    Tabs and line feeds stay, and a carriage return before a line feed goes.

    >>> visible("a\x1b[31mb\tc\r\nd")
    'a\\x1b[31mb\tc\nd'
    """
    return _STEERS.sub(_escaped, text.replace("\r\n", "\n"))


def visible_json(text: str) -> str:
    """JSON text that can be looked at: the same value, with those characters as `\\uXXXX`."""
    return _STEERS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def cell(value: object) -> object:
    """A cell of a CSV that people open: text that a spreadsheet takes for a formula is quoted.

    >>> cell("=HYPERLINK(1)"), cell("a cup"), cell(-1.5)
    ("'=HYPERLINK(1)", 'a cup', -1.5)
    """
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value


def say(text: str, *, err: bool = False) -> None:
    """Prints a line in which there may be strangers' text."""
    click.echo(visible(text), err=err)


def plain_console(**settings: Any) -> Console:
    """A `rich` console for which text is text: no markup, no emoji names, nothing that steers."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str(visible(text), **how)

    return Plain(markup=False, emoji=False, highlight=False, **settings)
