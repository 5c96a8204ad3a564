"""Tables as CSV, a row at a time.

A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets a single quote before
it, so that a spreadsheet shows it and does not compute it: descriptions and replies are written by
strangers. Numbers are written as they are; a box is four columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_RISKY = ("=", "+", "-", "@", "\t", "\r")
_ROWS = 500
"""Rows that go out at once."""
_EDGES = ("x1", "y1", "x2", "y2")


def cell(value: Any) -> Any:
    """A value as it is written.

    Example:
        >>> cell("=HYPERLINK(1)"), cell(-0.5), cell(None), cell(True)
        ("'=HYPERLINK(1)", -0.5, '', 'true')
    """
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "replace").decode()
    return f"'{text}" if text.startswith(_RISKY) else text


def lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """CSV text in pieces: a head, then the rows.

    Args:
        columns: Names; one that ends with `:box` becomes four.
        rows: By column.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([name for column in columns for name in _names(column)])
    for number, row in enumerate(rows, 1):
        writer.writerow([cell(value) for column in columns for value in _values(column, row)])
        if number % _ROWS == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _names(column: str) -> list[str]:
    name, colon, _ = column.partition(":")
    return [f"{name}_{edge}" for edge in _EDGES] if colon else [name]


def _values(column: str, row: Mapping[str, Any]) -> list[Any]:
    name, colon, _ = column.partition(":")
    value = row.get(name)
    if not colon:
        return [value]
    return [None] * 4 if value is None else list(value)
