"""Tables in the layout of the paper: subtasks grouped by category, then the total.

As Markdown, LaTeX (booktabs) and CSV, and for the terminal; with the published figures on request.
Every figure is Acc@0.5 in percent with one decimal.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from groundingme import taxonomy
from groundingme.comparison import ALL
from groundingme.report.contents import Contents

if TYPE_CHECKING:
    from rich.table import Table

TOTAL = "Total"
PUBLISHED = "published, not rerun"
OWN = "run"
SOURCE = "arXiv 2512.17495"

_SHORT = {
    "Appearance": "App", "Component": "Cmp", "Text": "Txt", "State": "Sta",
    "Relationship": "Rel", "Counting": "Cnt", "Occlusion": "Occ", "Small": "Sml",
}  # fmt: skip
_THINKING = " (thinking)"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        label: Name of the model or run.
        cells: Percent by column: `L1/L2`, `L1` and `Total`; a column may be missing.
        source: `PUBLISHED` or `OWN`.
        low: Of the total's 95 % interval, in percent; None where there is none. So is `high`.
        high: At least `low`.
    """

    label: str
    cells: dict[str, float]
    source: str
    low: float | None = None
    high: float | None = None

    def text(self, column: str) -> str:
        """One cell; a dash where it is not known."""
        return f"{self.cells[column]:.1f}" if column in self.cells else "–"


class PaperTable(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under the paper's columns.

    Attributes:
        columns: Each category's subtasks, then the category; the total last.
        lines: Published rows first.
        notes: What a reader has to know of them, one sentence each.
    """

    columns: list[str]
    lines: list[Line]
    notes: list[str]

    def groups(self) -> list[tuple[str, list[str]]]:
        """Categories with their columns, in order, without the total."""
        found: dict[str, list[str]] = {}
        for name in self.columns[:-1]:
            found.setdefault(name.partition("/")[0], []).append(name)
        return list(found.items())

    def sections(self) -> list[tuple[str, list[Line]]]:
        """Rows by source."""
        sources = dict.fromkeys(one.source for one in self.lines)
        return [(source, [o for o in self.lines if o.source == source]) for source in sources]


def published() -> list[Line]:
    """The paper's rows: 25 models, then those that were run again with thinking on.

    Source:
        arXiv 2512.17495, see the head of `published.csv`.
    """
    text = Path(__file__).with_name("published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    found = []
    for row in rows:
        label = row.pop("model") + (_THINKING if row.pop("thinking") == "on" else "")
        cells = {name: float(value) for name, value in row.items() if value}
        found.append(Line(label=label, cells=cells, source=PUBLISHED))
    return found


def make(contents: Contents | None = None, *, paper: bool = False) -> PaperTable:
    """The table of some runs, of the paper, or of both.

    Args:
        contents: The runs; None for the paper alone.
        paper: Whether the published rows come first.
    """
    own = _own(contents) if contents else []
    lines = [*(published() if paper else []), *own]
    named = dict.fromkeys(name for one in lines for name in one.cells)
    notes = _paper_notes(contents) if paper else []
    return PaperTable(columns=_ordered(named), lines=lines, notes=notes)


def _own(contents: Contents) -> list[Line]:
    return [
        Line(
            label=one.label,
            cells={
                TOTAL if name == ALL else name: 100 * cell.value
                for name, cell in one.accuracy.items()
                if not math.isnan(cell.value)
            },
            source=OWN,
            low=_percent(one.accuracy[ALL].low),
            high=_percent(one.accuracy[ALL].high),
        )
        for one in contents.standings
    ]


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else 100 * share


def _ordered(names: Sequence[str] | dict[str, None]) -> list[str]:
    known = [name for name in names if name != TOTAL]
    first = [*taxonomy.L1, *(name.partition("/")[0] for name in known)]
    subtasks = [row.name for row in taxonomy.SUBTASKS]
    found = []
    for category in dict.fromkeys(first):
        leaves = [name for name in known if name.startswith(f"{category}/")]
        leaves.sort(key=lambda n: subtasks.index(n) if n in subtasks else len(subtasks))
        found += leaves + ([category] if category in known else [])
    return [*found, TOTAL]


def _paper_notes(contents: Contents | None) -> list[str]:
    notes = [
        f"Published figures are from {SOURCE}, by its own scorer; nothing of them was run again."
    ]
    if contents is None:
        return notes
    protocol = contents.entries[0].scores.protocol
    if protocol != "official":
        notes.append(
            f"The runs are scored under {protocol}; --protocol official scores as the paper did."
        )
    if not _same_shape(contents):
        name = contents.entries[0].run.data_name
        notes.append(
            f"The runs answered {len(contents.samples):,} samples of {name}, not the 1,005 of the "
            "published benchmark, so their figures do not compare with the published ones."
        )
    else:
        notes.append("Which differences from a published figure mean something: groundingme power.")
    return notes


def _same_shape(contents: Contents) -> bool:
    """Whether the samples have the subtasks of the published benchmark, as many of each."""
    counts: dict[tuple[str, str], int] = {}
    for one in contents.samples:
        key = (one.subtask_l1, one.subtask_l2)
        counts[key] = counts.get(key, 0) + 1
    return counts == {(row.l1, row.l2): row.samples for row in taxonomy.SUBTASKS}


def short(column: str) -> str:
    """Name of a column under its category: `App`, or `all`."""
    leaf = column.partition("/")[2]
    return _SHORT.get(leaf, leaf) if leaf else "all"


def _leaf(column: str) -> str:
    """Name of a column by itself: `Dis App`, `Dis all`, `Total`."""
    category = column.partition("/")[0]
    return TOTAL if column == TOTAL else f"{category[:3]} {short(column)}"


def markdown(table: PaperTable) -> str:
    """As a Markdown table, with the notes below."""
    heads = ["Acc@0.5, %", *(_leaf(name) for name in table.columns)]
    lines = [_row(heads), _row(["---", *(["---:"] * len(table.columns))])]
    several = len(table.sections()) > 1 or table.lines[0].source == PUBLISHED
    for source, members in table.sections():
        if several:
            lines.append(_row([f"*{source}*", *([""] * len(table.columns))]))
        for one in members:
            cells = [one.label.replace("|", "\\|"), *(one.text(name) for name in table.columns)]
            lines.append(_row(cells))
    return "\n".join([*lines, "", *table.notes]).rstrip() + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--",
}  # fmt: skip


def escape(text: str) -> str:
    r"""Text as LaTeX shows it literally.

    >>> print(escape("50 % of a_b"))
    50 \% of a\_b
    """
    return "".join(_ESCAPES.get(sign, sign) for sign in text)


def latex(table: PaperTable) -> str:
    """As a LaTeX `tabular`; its document needs `booktabs`. The notes stand in comments."""
    groups = table.groups()
    spec = "l" + "".join(f"@{{\\quad}}{'r' * len(names)}" for _, names in groups) + "@{\\quad}r"
    heads, rules, at = [""], [], 2
    for category, names in groups:
        heads.append(f"\\multicolumn{{{len(names)}}}{{c}}{{{escape(category)}}}")
        rules.append(f"\\cmidrule(lr){{{at}-{at + len(names) - 1}}}")
        at += len(names)
    lines = [
        *(f"% {note}" for note in ("Acc@0.5 in percent. Needs \\usepackage{booktabs}.",
                                   *table.notes)),
        f"\\begin{{tabular}}{{{spec}}}",
        "\\toprule",
        " & ".join([*heads, ""]) + r" \\",
        " ".join(rules),
        " & ".join(["", *(escape(short(n)) for _, names in groups for n in names), TOTAL])
        + r" \\",
    ]  # fmt: skip
    several = len(table.sections()) > 1 or table.lines[0].source == PUBLISHED
    for source, members in table.sections():
        lines.append("\\midrule")
        if several:
            lines.append(f"\\multicolumn{{{at}}}{{l}}{{\\emph{{{escape(source)}}}}} \\\\")
        for one in members:
            cells = [escape(one.label), *(escape(one.text(name)) for name in table.columns)]
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def as_csv(table: PaperTable) -> str:
    """As CSV: `model`, `source`, the columns in percent, and the ends of the total's interval."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "source", *table.columns, f"{TOTAL} low", f"{TOTAL} high"])
    for one in table.lines:
        cells = [*(one.cells.get(name) for name in table.columns), one.low, one.high]
        shown = ["" if value is None else f"{value:.1f}" for value in cells]
        writer.writerow([one.label, one.source, *shown])
    return buffer.getvalue()


def terminal(table: PaperTable, *, width: int | None = None) -> tuple[Table, str]:
    """As a `rich` table: all columns, or the categories alone where the terminal is too narrow.

    Args:
        table: What to show.
        width: Characters a line; None for as many as it takes.

    Returns:
        The table, and a line on what it leaves out, or "".
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    columns, note = table.columns, ""
    label = max(len(one.label) for one in table.lines)
    if width is not None and label + 6 * len(columns) > width:
        columns = [name for name in columns if "/" not in name]
        note = "Subtasks are left out for want of width; --figures DIR writes all of them."
    shown = Table(title="Acc@0.5 in %", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column("", overflow="fold")
    for name in columns:
        category = "" if name == TOTAL else name.partition("/")[0][:3]
        heading = f"{category}\n{TOTAL if name == TOTAL else short(name)}"
        shown.add_column(heading, justify="right", no_wrap=True)
    for source, members in table.sections():
        if source == PUBLISHED or len(table.sections()) > 1:
            shown.add_row(source, style="bold")
        for one in members:
            shown.add_row(one.label, *(one.text(name) for name in columns))
        shown.add_section()
    return shown, note
