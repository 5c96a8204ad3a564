"""Tables on a narrow terminal: further columns go below, so that no figure is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

GAP = 3
"""Characters between two columns, at most."""

READABLE = 20
"""Text may fold into lines, but not into shorter ones than this."""


def folded(table: Table, console: Console) -> list[Table]:
    """The table, or where it is too wide several that begin with its first column.

    Figures (columns to the right) and columns that may not fold are as wide as they need; text
    folds.

    Args:
        table: Of texts.
        console: What it is for; its width in characters counts.

    Returns:
        One table or more. All columns are there, in their order; the title is over the first.
    """
    first, *rest = range(len(table.columns))
    widths = [_width(column, console) for column in table.columns]
    widths[first] = min(_longest(table.columns[first], console), max(READABLE, console.width // 2))
    parts: list[list[int]] = [[]]
    left = room = console.width - widths[first] - GAP
    for at in rest:
        if parts[-1] and widths[at] + GAP > left:
            parts.append([])
            left = room
        parts[-1].append(at)
        left -= widths[at] + GAP
    return [_part(table, [first, *part], widths, titled=part is parts[0]) for part in parts]


def _folds(column: Column) -> bool:
    return column.justify == "left" and not column.no_wrap


def _longest(column: Column, console: Console) -> int:
    """Characters of its longest line; what stands above figures may fold between its words."""
    head = console.measure(column.header)
    cells = (console.measure(cell).maximum for cell in column.cells)
    return max(head.maximum if _folds(column) else head.minimum, *cells, 0)


def _width(column: Column, console: Console) -> int:
    """Characters that a column needs."""
    longest = _longest(column, console)
    return min(READABLE, longest) if _folds(column) else longest


def _part(table: Table, chosen: list[int], widths: list[int], *, titled: bool) -> Table:
    """Some columns of a table, with all of its rows."""
    from rich.table import Table

    part = Table(
        title=table.title if titled else None, title_justify=table.title_justify,
        title_style=table.title_style, header_style=table.header_style, box=table.box,
        pad_edge=table.pad_edge,
    )  # fmt: skip
    for at in chosen:
        column = table.columns[at]
        free = _folds(column) and at != chosen[0]
        part.add_column(
            column.header, justify=column.justify, no_wrap=column.no_wrap and at != chosen[0],
            overflow="fold", width=None if free else widths[at],
        )  # fmt: skip
    columns = [list(table.columns[at].cells) for at in chosen]
    for cells, row in zip(zip(*columns, strict=True), table.rows, strict=True):
        part.add_row(*cells, style=row.style, end_section=row.end_section)
    return part
