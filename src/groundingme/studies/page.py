"""What a study writes: `study.json`, tables as CSV, figures as SVG, and a page to open."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from groundingme import __version__
from groundingme.report.charts import figure
from groundingme.report.document import head
from groundingme.report.marks import Mark, legend
from groundingme.report.markup import Html, join, table, tag
from groundingme.report.svg import Series, Span, dot_chart, line_chart
from groundingme.store import write_atomically
from groundingme.studies.estimates import percent, spread
from groundingme.studies.study import Done, Dots, Lines, Outcome, Setting, Study, Table

# Colours of the page in daylight, since a file alone has no style sheet of its own.
_STYLE = """
svg{background:#fff}text{fill:#555;font:12px system-ui,sans-serif}text.tick{fill:#1b1b1b}
text.head{fill:#1b1b1b;font-weight:600;font-size:14px}
.grid{stroke:#ddd}.axis{stroke:#666}.ideal{stroke:#666;stroke-dasharray:2 4}
.line{fill:none;stroke:var(--run);stroke-width:2}.whisker{stroke:var(--run);stroke-width:2;opacity:.75}
.point{fill:var(--run);stroke:#fff}
.c0{--run:#0072b2}.c1{--run:#d55e00}.c2{--run:#b0508a}.c3{--run:#b59b00}.c4{--run:#222}
.c5{--run:#2b9fd8}.c6{--run:#e69f00}
"""


def save(study: Study, setting: Setting, done: Sequence[Done], outcome: Outcome) -> None:
    """Writes all of it into the study's folder; files of the same names are replaced."""
    found = {
        "study": study.name,
        "question": study.question,
        "finding": outcome.finding,
        "values": plain(outcome.values),
        "tables": [plain(msgspec.structs.asdict(one)) for one in outcome.tables],
        "notes": list(outcome.notes),
        "subject": outcome.subject,
        "models": setting.labels,
        "data": [one.name for one in setting.datasets],
        "options": dict(setting.knobs),
        "seed": setting.seed,
        "runs": [f"runs/{one.path.name}" for one in done],
        "version": __version__,
    }
    text = msgspec.json.format(msgspec.json.encode(found), indent=1)
    write_atomically(setting.folder / "study.json", text + b"\n")
    for number, one in enumerate(outcome.tables, 1):
        name = f"table-{number}-{_slug(one.title)}.csv"
        write_atomically(setting.folder / name, _csv(one).encode())
    for number, drawn in enumerate(outcome.figures, 1):
        name = "figure.svg" if number == 1 else f"figure-{number}.svg"
        write_atomically(setting.folder / name, standalone(drawn).encode())
    page = _page(study, setting, done, outcome)
    write_atomically(setting.folder / "study.html", page.encode())


def plain(value: Any) -> Any:
    """The same as JSON takes it: a `Span` as three numbers, NaN as null."""
    if isinstance(value, Span):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.item() if hasattr(value, "item") else value


def cell(value: Any) -> str:
    """A cell as people read it."""
    if isinstance(value, Span):
        return spread(value)
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3g}"
    return str(value)


def _csv(one: Table) -> str:
    """A `Span` takes three columns, in percent."""
    wide = {
        at for at in range(len(one.columns)) if any(isinstance(row[at], Span) for row in one.rows)
    }
    heads = [
        name
        for at, column in enumerate(one.columns)
        for name in ((column, f"{column} low", f"{column} high") if at in wide else (column,))
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    for row in one.rows:
        cells: list[str] = []
        for at, value in enumerate(row):
            if isinstance(value, Span):
                cells += [percent(end, 2) for end in value]
            else:
                cells += [cell(value)] + ["", ""] * (at in wide)
        writer.writerow(cells)
    return buffer.getvalue()


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40]


def _chart(one: Dots | Lines) -> tuple[list[Mark], Html]:
    marks = [Mark(at, name) for at, name in enumerate(one.series)]
    if isinstance(one, Dots):
        rows = list(zip(marks, one.series.values(), strict=True))
        return marks, dot_chart(one.title, one.rows, rows, one.x)
    lines = [
        Series(
            mark=mark,
            points=[(x, span.value) for x, span in points],
            whiskers=[(span.low, span.high) for _, span in points]
            if not any(math.isnan(span.low) for _, span in points)
            else (),
            shapes=len(points) <= 30,
        )
        for mark, points in zip(marks, one.series.values(), strict=True)
    ]
    return marks, line_chart(one.title, lines, one.x, one.y, diagonal=one.diagonal)


def standalone(one: Dots | Lines) -> str:
    """A figure as an SVG file with its title and the names of its marks, in daylight."""
    marks, chart = _chart(one)
    match = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart)
    assert match
    width, height = float(match[1]), float(match[2])
    named = marks if len(marks) > 1 or marks[0].label else []
    parts = [
        tag("style", Html(_STYLE)),
        tag("text", one.title, x=12, y=20, class_="head"),
        Html(chart.replace("<svg ", f'<svg x="0" y="30" width="{width}" height="{height}" ', 1)),
    ]
    for at, mark in enumerate(named):
        y = 30 + height + 16 + 18 * at
        parts += [
            tag("line", x1=14, y1=y, x2=46, y2=y, class_=f"line {mark.colour}",
                stroke_dasharray=mark.dash),
            mark.point(30, y),
            tag("text", mark.label, x=54, y=y + 4, class_="tick"),
        ]  # fmt: skip
    full = 30 + height + 18 * len(named) + 10
    return tag(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width:g} {full:g}",
        width=f"{width:g}", height=f"{full:g}", role="img", aria_label=one.title,
    )  # fmt: skip


def _values(one: Dots | Lines) -> Html:
    if isinstance(one, Dots):
        rows = [
            [name, *(_number(spans[at]) for spans in one.series.values())]
            for at, name in enumerate(one.rows)
        ]
        return table(["", *(name or "value" for name in one.series)], rows)
    return table(
        ["line", one.x.title or "x", one.y.title or "y"],
        [
            [name, f"{x:g}", _number(span)]
            for name, points in one.series.items()
            for x, span in points
        ],
    )


def _number(one: Span) -> str:
    if math.isnan(one.value):
        return "–"
    ends = "" if math.isnan(one.low) else f" ({one.low:.3g} to {one.high:.3g})"
    return f"{one.value:.3g}{ends}"


def _figure(one: Dots | Lines) -> Html:
    marks, chart = _chart(one)
    names = legend(marks) if len(marks) > 1 else Html("")
    return join([names, tag("div", figure(one.title, one.text, chart, _values(one)))])


def _page(study: Study, setting: Setting, done: Sequence[Done], outcome: Outcome) -> str:
    models = ", ".join(setting.labels)
    data = ", ".join(f"{one.name} ({len(one)} samples)" for one in setting.datasets)
    body = tag(
        "body",
        tag("main",
            tag("h1", f"Study: {study.name}"),
            tag("p", study.question, class_="headline"),
            tag("p", outcome.subject or f"{models} on {data}; seed {setting.seed}.",
                class_="facts"),
            tag("section",
                tag("h2", "Finding"), tag("p", outcome.finding),
                *(tag("p", one, class_="note") for one in outcome.notes),
                *(_figure(one) for one in outcome.figures)),
            *(tag("section", tag("h2", one.title),
                  table(one.columns, [[cell(value) for value in row] for row in one.rows]),
                  tag("p", one.note, class_="note") if one.note else "")
              for one in outcome.tables),
            tag("section", tag("h2", "Runs"),
                table(["condition", "model", "samples", "folder"],
                      [[one.condition.name, one.condition.label, len(one.condition.dataset),
                        f"runs/{one.path.name}"] for one in done])),
            class_="alone study"),
    )  # fmt: skip
    return f"<!doctype html>\n{tag('html', head(f'Study: {study.name}'), body, lang='en')}\n"
