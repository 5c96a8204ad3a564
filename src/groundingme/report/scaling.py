"""What several trajectories are worth, as a table and two charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from groundingme.report.charts import figure
from groundingme.report.findings import percent
from groundingme.report.marks import Mark
from groundingme.report.markup import Html, join, table, tag
from groundingme.report.sampled import Sampled
from groundingme.report.svg import PERCENT, Axis, Series, line_chart
from groundingme.scale.curves import Frontier, Point
from groundingme.scale.selection import Row
from groundingme.wording import p_value

_SHIFT = 0.035
"""Between whiskers of one number of trajectories, in doublings."""


def worth(one: Sampled) -> Html:
    """Every way to choose in a row."""
    t = one.run.t
    notes = [tag("p", note, class_="note") for note in one.run.notes]
    explained = (
        f"{t.n} trajectories of each of {len(t):,} samples, at a temperature of "
        f"{one.run.folder.run.settings.get('temperature')}. Mean and oracle are expectations: one "
        "trajectory at random, and a judge that is never wrong. p is that of a paired test against "
        "the majority, with Holm's correction. Read by the strict protocol."
    )
    return join([tag("p", explained, class_="explain"), *notes, _table(one.rows), _heard(one.rows)])


def _table(rows: Sequence[Row]) -> Html:
    priced = any(row.dollars is not None for row in rows)
    heads = ["", "Acc@0.5", "gain on one trajectory", "p", "trajectories", "tokens a sample"]
    return table(
        [*heads, *(["$"] if priced else [])],
        [
            [
                row.name,
                Html(f"{_share(row.score)}{_span(row.low, row.high)}"),
                Html(f"{_signed(row.gain)}{_span(row.gain_low, row.gain_high, _signed)}"),
                p_value(row.p),
                f"{row.trajectories:.1f}",
                "–" if math.isnan(row.tokens) else f"{row.tokens:,.0f}",
                *(["–" if row.dollars is None else f"{row.dollars:.2f}"] if priced else []),
            ]
            for row in rows
        ],
        class_="figures",
        caption="Ways to choose",
    )


def _heard(rows: Sequence[Row]) -> Html:
    """How the judges did."""
    heard = [(row.name, row.judge) for row in rows if row.judge]
    if not heard:
        return Html("")
    made = table(
        ["judge", "pairs", "undecided", "without a reply", "not asked", "first shown won"],
        [
            [name, j.pairs, j.undecided, j.failed, j.unasked, percent(j.first_share)]
            for name, j in heard
        ],
        class_="figures",
        caption="How the judges did",
    )
    said = (
        "Where a judge does not decide, does not reply or is not asked because its budget had "
        "ended, the larger cluster wins. Far from 50 %, the judge looks at the order."
    )
    return Html(tag("h3", "Judges") + made + tag("p", said, class_="note"))


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\u2212")


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _span(low: float, high: float, write: Callable[[float], str] | None = None) -> Html:
    if math.isnan(low):
        return Html("")
    write = write or _share
    return tag("small", f"{write(low)} to {write(high)}")


def curves(one: Sampled) -> Html:
    """The score against N, and against tokens."""
    return tag("div", _scaling(one.scaling), _frontier(one), class_="charts")


def _legend(marks: Sequence[Mark]) -> Html:
    """Lines by their names: letters belong to runs."""
    return tag("ul", *(tag("li", mark.swatch(), mark.label) for mark in marks), class_="legend")


def _scaling(points: Mapping[str, Sequence[Point]]) -> Html:
    names = sorted(points, key=lambda name: -points[name][-1].score)
    marks = [Mark(at, name) for at, name in enumerate(names)]
    ks = [one.k for one in points[names[0]]]
    series = []
    for mark in marks:
        shift = _SHIFT * (mark.at - (len(marks) - 1) / 2)
        series.append(
            Series(
                mark=mark,
                points=[(math.log2(p.k) + shift, 100 * p.score) for p in points[mark.label]],
                whiskers=[(100 * p.low, 100 * p.high) for p in points[mark.label]],
            )
        )
    ends = [end for one in series for pair in one.whiskers for end in pair]
    x = Axis(
        low=-0.2, high=math.log2(ks[-1]) + 0.2, ticks=[math.log2(k) for k in ks],
        labels=[f"{k:.0f}" for k in ks], title="trajectories of a sample",
    )  # fmt: skip
    chart = line_chart("Score against trajectories", series, x, _axis(ends))
    values = table(
        ["", *(f"{k:.0f}" for k in ks)],
        [
            [name, *(Html(f"{_share(p.score)}{_span(p.low, p.high)}") for p in points[name])]
            for name in names
        ],
        class_="figures",
        caption="Acc@0.5 by number of trajectories, %",
    )
    said = (
        "Acc@0.5 with 95 % intervals, each point the mean over random orders of the trajectories. "
        "The oracle takes a right answer where there is one: no judge gets above it."
    )
    return figure("Score against trajectories", said, Html(chart + _legend(marks)), values)


def _frontier(one: Sampled) -> Html:
    lines = {f"{name}, majority": found for name, found in one.frontier.items()}
    lines |= {f"{name}, by confidence": found for name, found in one.by_confidence.items()}
    marks = [Mark(at, name) for at, name in enumerate(lines)]
    series = [
        Series(mark=mark, points=[(100 * p.share, 100 * p.score) for p in lines[mark.label]])
        for mark in marks
    ]
    counted = bool((one.run.t.tokens >= 0).any())
    unit = "tokens" if counted else "trajectories"
    x = Axis(low=0, high=100, ticks=PERCENT.ticks, title=f"{unit}, % of those of all trajectories")
    y = _axis([point[1] for each in series for point in each.points])
    chart = line_chart(f"Score against {unit}", series, x, y)
    values = table(
        ["", unit, "trajectories", "Acc@0.5", "less than with all", "p"],
        [_stop(name, p) for name, found in lines.items() for p in found],
        class_="figures",
        caption=f"What stopping early keeps, by share of {unit}",
    )
    said = (
        "What is kept when a sample is stopped as soon as its answer is settled, beside the same "
        "number for all. Further left and higher is better; the values hold paired differences."
    )
    return figure("Stopping early", said, Html(chart + _legend(marks)), values)


def _stop(line: str, p: Frontier) -> list[object]:
    rule, _, by = line.partition(", ")
    name = f"{p.name} of all" if rule == "fixed N" else p.name
    return [
        f"{name}, {by}",
        percent(p.share),
        f"{p.k:.1f}",
        Html(f"{_share(p.score)}{_span(p.low, p.high)}"),
        Html(f"{_signed(p.less)}{_span(p.less_low, p.less_high, _signed)}"),
        p_value(p.p),
    ]


def _axis(values: Sequence[float]) -> Axis:
    """From and to whole tens around the values."""
    low = 10 * math.floor(min(values) / 10)
    high = min(100, max(10 * math.ceil(max(values) / 10), low + 10))
    step = 5 if high - low <= 40 else 10
    return Axis(low=low, high=high, ticks=range(low, high + 1, step), title="Acc@0.5, %")
