"""The paper's table, on a terminal, in Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from groundingme.train.sweep.advice import Advice
from groundingme.train.sweep.plan import UNTOUCHED
from groundingme.train.sweep.reduction import Cell, Reduced, Row

if TYPE_CHECKING:
    from rich.table import Table


def terminal(reduced: Reduced) -> Table:
    """The paper's rows, and the balanced scores."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=heading(reduced), title_justify="left", title_style="bold", box=SIMPLE_HEAD,
        pad_edge=False,
    )  # fmt: skip
    for name in ("", "samples", *reduced.columns):
        left = not name
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    domain = ""
    for row in reduced.rows:
        if not row.main and row.name != "Balanced score":
            continue
        if row.domain != domain:
            domain = row.domain
            table.add_section()
            table.add_row(domain, style="bold")
        cells = [share(row.cells[name]) for name in reduced.columns]
        table.add_row(row.name, str(row.samples), *cells)
    return table


def heading(reduced: Reduced) -> str:
    """What the numbers are."""
    seeds = len(reduced.seeds)
    mean = f"mean of {seeds} seeds" if seeds > 1 else "one seed, so intervals are over images alone"
    return f"Percent right by negatives : positives in training ({mean})"


def share(cell: Cell) -> str:
    """A figure in percent, with half the width of its interval."""
    return f"{100 * cell.value:.1f} ±{50 * (cell.high - cell.low):.1f}"


def span(cell: Cell, *, signed: bool = False) -> str:
    """A figure in percent, and its interval."""
    sign = "+" if signed else ""
    return f"{100 * cell.value:{sign}.1f} ({100 * cell.low:.1f} to {100 * cell.high:.1f})"


def markdown(reduced: Reduced, advice: Advice, finding: list[str]) -> str:
    """All figures as a document: the paper's table, what changes, the rest, the advice."""
    parts = [
        "# Training mixtures",
        *finding,
        f"Recommended: {advice.ratio or 'none'}. {advice.reason} Criterion: {advice.criterion}",
        "## Share right",
        f"{heading(reduced)}; in brackets the 95 % interval over images and seeds. Rejection: the "
        "share of descriptions without an answer that are rejected; all else: Acc@0.5.",
        _table(reduced, [one for one in reduced.rows if one.main], changes=False),
        "## Change against the untouched model, in points",
        _table(reduced, [one for one in reduced.rows if one.main], changes=True),
        "## Further figures",
        _table(reduced, [one for one in reduced.rows if not one.main], changes=False),
    ]
    return "\n\n".join(parts) + "\n"


def _table(reduced: Reduced, rows: list[Row], *, changes: bool) -> str:
    columns = reduced.ratios if changes else reduced.columns
    lines = [
        "| | samples | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for row in rows:
        found = row.changes if changes else row.cells
        cells = " | ".join(span(found[name], signed=changes) for name in columns)
        lines.append(f"| {row.domain}: {row.name} | {row.samples} | {cells} |")
    return "\n".join(lines)


def as_csv(reduced: Reduced) -> str:
    """One line a figure: in percent, with the ends of both intervals and every seed's own figure.

    Columns: domain, row, samples, ratio, value, low, high, change, change low, change high, then
    the seeds. Changes are empty for the untouched model.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head = ["domain", "row", "samples", "ratio", "value", "low", "high"]
    head += ["change", "change low", "change high", *(f"seed {one}" for one in reduced.seeds)]
    writer.writerow(head)
    for row in reduced.rows:
        for name in reduced.columns:
            cell, change = row.cells[name], row.changes.get(name)
            moved = _numbers(change) if name != UNTOUCHED and change else ["", "", ""]
            seeds = [f"{100 * one:.3f}" for one in cell.seeds]
            writer.writerow([row.domain, row.name, row.samples, name, *_numbers(cell), *moved,
                             *seeds])  # fmt: skip
    return buffer.getvalue()


def _numbers(cell: Cell) -> list[str]:
    return [f"{100 * one:.3f}" for one in (cell.value, cell.low, cell.high)]
