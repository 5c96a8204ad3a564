"""HTML and SVG as text that cannot be broken by what a model says.

Everything that is not `Html` is escaped when it is put into `Html`, so a reply or a name can stand
anywhere as it is.
"""

from __future__ import annotations

import html
from collections.abc import Iterable


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escape(content: object) -> Html:
    """`Html` as it is, anything else escaped, for content and attributes alike."""
    return content if isinstance(content, Html) else Html(html.escape(str(content), quote=True))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts in a row with something between, each escaped where it is no `Html`."""
    return Html(escape(between).join(escape(part) for part in parts))


_VOID = frozenset({"br", "col", "img", "input", "link", "meta"})


def tag(name: str, /, *content: object, **attributes: object) -> Html:
    """An element.

    Args:
        name: Of the element.
        *content: Escaped where it is no `Html`.
        **attributes: Underscores become hyphens and one at the end is dropped, so `class_` and
            `data_kind` work; None and False leave the attribute out, True writes its name alone.

    Example:
        >>> tag("p", "1 < 2", class_="note")
        '<p class="note">1 &lt; 2</p>'
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        written.append(f" {label}" if value is True else f' {label}="{escape(value)}"')
    opening = f"<{name}{''.join(written)}>"
    return Html(opening if name in _VOID else f"{opening}{join(content)}</{name}>")


def table(
    head: Iterable[object], rows: Iterable[Iterable[object]], *, class_: str = "", caption: str = ""
) -> Html:
    """A table that scrolls sideways by itself where it is wider than the page.

    Args:
        head: Column headings; a cell that is a `<th>` already stays as it is.
        rows: Of cells; the first cell of each is its heading.
        class_: Further classes of the table.
        caption: Read to those who cannot see where the table stands; shown above it.
    """
    top = tag("tr", *(_cell("th", cell, scope="col") for cell in head))
    body = []
    for row in rows:
        first, *others = row
        body.append(
            tag("tr", _cell("th", first, scope="row"), *(_cell("td", one) for one in others))
        )
    said = tag("caption", caption) if caption else ""
    inner = tag("table", said, tag("thead", top), tag("tbody", *body), class_=class_ or None)
    return tag("div", inner, class_="wide", tabindex=0, role="group", aria_label=caption or "Table")


def _cell(name: str, content: object, /, **attributes: object) -> Html:
    if isinstance(content, Html) and content.startswith(("<td", "<th")):
        return content
    return tag(name, content, **attributes)
