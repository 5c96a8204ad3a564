"""Charts as SVG: a frame with axes, lines with whiskers, dots with intervals, a radar.

Colours come from the style sheet by class, so a chart follows light and dark; a strict content
policy forbids style attributes, so everything else is a presentation attribute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from groundingme.report.marks import Mark
from groundingme.report.markup import Html, join, tag

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 44


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One axis.

    Attributes:
        low: Value at its start.
        high: Value at its end.
        ticks: Values to label.
        labels: One a tick; the values themselves by default.
        title: What the axis shows.
    """

    low: float
    high: float
    ticks: Sequence[float]
    labels: Sequence[str] = ()
    title: str = ""

    def text(self, at: int) -> str:
        """Label of a tick."""
        return self.labels[at] if self.labels else f"{self.ticks[at]:g}"


PERCENT = Axis(low=0, high=100, ticks=(0, 20, 40, 60, 80, 100))


class Span(NamedTuple):
    """A value and its interval; NaN ends where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """What one run adds to a chart.

    Attributes:
        mark: Of the run.
        points: x and y, from left to right.
        whiskers: Low and high of each point's interval; none by default.
        shapes: Whether points are drawn.
    """

    mark: Mark
    points: Sequence[tuple[float, float]]
    whiskers: Sequence[tuple[float, float]] = ()
    shapes: bool = True


def line_chart(
    label: str, series: Sequence[Series], x: Axis, y: Axis, *, diagonal: bool = False
) -> Html:
    """Lines in a frame.

    Args:
        label: What a reader of screens hears.
        series: Drawn in order.
        x: Horizontal axis.
        y: Vertical axis.
        diagonal: Draw the line on which x is y.
    """

    def place(one: tuple[float, float]) -> tuple[float, float]:
        across = (one[0] - x.low) / (x.high - x.low)
        up = (one[1] - y.low) / (y.high - y.low)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_frame(x, y, place)]
    if diagonal:
        (x1, y1), (x2, y2) = place((x.low, y.low)), place((x.high, y.high))
        parts.append(_line(x1, y1, x2, y2, "ideal"))
    for one in series:
        at = [place(point) for point in one.points]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in at)
        parts.append(
            tag("polyline", points=path, class_=f"line {one.mark.colour}",
                stroke_dasharray=one.mark.dash)
        )  # fmt: skip
        for (px, _), (low, high) in zip(at, one.whiskers, strict=False):
            ends = [place((x.low, end))[1] for end in (low, high)]
            parts.append(_line(px, ends[0], px, ends[1], f"whisker {one.mark.colour}"))
        if one.shapes:
            parts += [one.mark.point(px, py) for px, py in at]
    return tag(
        "svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label, class_="chart"
    )


def dot_chart(
    label: str, rows: Sequence[str], series: Sequence[tuple[Mark, Sequence[Span]]], x: Axis
) -> Html:
    """A point with its interval for each name and each mark: names from top to bottom.

    Args:
        label: What a reader of screens hears.
        rows: Names, on the left.
        series: One `Span` a row; a value of NaN leaves the place empty.
        x: Horizontal axis; a grid line stands at every tick.
    """
    step = 16 + 9 * len(series)
    left = 20 + 6.4 * min(36, max((len(name) for name in rows), default=0))
    width, height = WIDTH + 120, TOP + step * len(rows) + BOTTOM
    bottom = height - BOTTOM

    def across(value: float) -> float:
        return left + (value - x.low) / (x.high - x.low) * (width - RIGHT - left)

    parts = []
    for at, tick in enumerate(x.ticks):
        parts.append(_line(across(tick), TOP, across(tick), bottom, "grid"))
        parts.append(_text(across(tick), bottom + 17, x.text(at), "tick", "middle"))
    if x.low < 0 < x.high:
        parts.append(_line(across(0), TOP, across(0), bottom, "axis"))
    parts.append(_text((left + width - RIGHT) / 2, height - 6, x.title, "title", "middle"))
    for row, name in enumerate(rows):
        middle = TOP + step * (row + 0.5)
        shown = name if len(name) <= 36 else f"{name[:35]}…"
        parts.append(_text(left - 10, middle + 4, shown, "tick", "end"))
        for turn, (mark, spans) in enumerate(series):
            one = spans[row]
            if math.isnan(one.value):
                continue
            y = middle + 9 * (turn - (len(series) - 1) / 2)
            if not math.isnan(one.low):
                ends = [across(min(max(end, x.low), x.high)) for end in (one.low, one.high)]
                parts.append(_line(ends[0], y, ends[1], y, f"whisker {mark.colour}"))
            parts.append(mark.point(across(one.value), y, 3.6))
    return tag(
        "svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=label, class_="chart"
    )


def _frame(x: Axis, y: Axis, place: object) -> Html:
    assert callable(place)
    parts = []
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for at, tick in enumerate(y.ticks):
        _, height = place((x.low, tick))
        parts.append(_line(LEFT, height, right, height, "grid"))
        parts.append(_text(LEFT - 7, height + 4, y.text(at), "tick", "end"))
    for at, tick in enumerate(x.ticks):
        across, _ = place((tick, y.low))
        parts.append(_line(across, bottom, across, bottom + 4, "axis"))
        parts.append(_text(across, bottom + 17, x.text(at), "tick", "middle"))
    parts.append(_line(LEFT, bottom, right, bottom, "axis"))
    parts.append(_text((LEFT + right) / 2, HEIGHT - 6, x.title, "title", "middle"))
    if y.title:
        middle = (TOP + bottom) / 2
        parts.append(
            tag("text", y.title, class_="title", text_anchor="middle",
                transform=f"translate(12 {middle:.0f}) rotate(-90)")
        )  # fmt: skip
    return join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return tag(
        "line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_
    )


def _text(x: float, y: float, content: str, class_: str, anchor: str) -> Html:
    return tag("text", content, x=f"{x:.1f}", y=f"{y:.1f}", class_=class_, text_anchor=anchor)


def interval_strip(mark: Mark, value: float, low: float, high: float) -> Html:
    """A point with its interval on a scale from 0 to 100 %, for a cell of a table.

    Args:
        mark: Of the run.
        value: In [0, 1].
        low: NaN where there is no interval. So is `high`.
        high: At least `low`.
    """

    def across(share: float) -> float:
        return 4 + 152 * share

    parts = [_line(across(tick / 4), 3, across(tick / 4), 21, "grid") for tick in range(5)]
    if not math.isnan(low):
        parts.append(_line(across(low), 12, across(high), 12, f"whisker {mark.colour}"))
    if not math.isnan(value):
        parts.append(mark.point(across(value), 12, 4.5))
    return tag("svg", *parts, viewBox="0 0 160 24", class_="strip", aria_hidden="true")


def radar(label: str, axes: Sequence[str], series: Sequence[tuple[Mark, Sequence[float]]]) -> Html:
    """Shares on axes that start in one centre.

    Args:
        label: What a reader of screens hears.
        axes: Three names or more; `L1/L2` is written in two lines.
        series: Values in [0, 1], one an axis, for each run; NaN is drawn in the centre.
    """
    width, height, radius = 560, 430, 150
    cx, cy = width / 2, height / 2

    def place(at: int, share: float) -> tuple[float, float]:
        angle = 2 * math.pi * at / len(axes) - math.pi / 2
        return cx + radius * share * math.cos(angle), cy + radius * share * math.sin(angle)

    parts = []
    for ring in (0.25, 0.5, 0.75, 1.0):
        corners = (place(at, ring) for at in range(len(axes)))
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
        parts.append(tag("polygon", points=path, class_="ring"))
    for at, name in enumerate(axes):
        px, py = place(at, 1)
        parts.append(_line(cx, cy, px, py, "grid"))
        tx, ty = place(at, 1.1)
        side = (tx - cx) / radius
        anchor = "middle" if abs(side) < 0.2 else "start" if side > 0 else "end"
        above, _, below = name.rpartition("/")
        lines = [one for one in (above, below) if one]
        ty += 4 - (7 * (len(lines) - 1)) + 8 * (ty - cy) / radius
        for number, line in enumerate(lines):
            class_ = "tick" if number or len(lines) == 1 else "tick faint"
            parts.append(_text(tx, ty + 14 * number, line, class_, anchor))
    for mark, values in series:
        known = [0 if math.isnan(value) else value for value in values]
        at_places = [place(at, value) for at, value in enumerate(known)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in at_places)
        parts.append(
            tag("polygon", points=path, class_=f"line area {mark.colour}",
                stroke_dasharray=mark.dash)
        )  # fmt: skip
        parts += [mark.point(px, py, 3.5) for px, py in at_places]
    for ring in (0.5, 1.0):
        parts.append(
            _text(cx + 4, cy - radius * ring + 12, f"{100 * ring:.0f}", "tick faint", "start")
        )
    return tag(
        "svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=label, class_="radar"
    )


def stacked_bar(label: str, shares: Sequence[tuple[str, float, str]]) -> Html:
    """One bar of parts that add up to 1.

    Args:
        label: What a reader of screens hears.
        shares: Class, share in [0, 1] and text of each part; the text is written where it fits.
    """
    width, height = 600, 26
    parts, x = [], 0.0
    for class_, share, text in shares:
        wide = share * width
        if wide > 0:
            parts.append(
                tag("rect", tag("title", text), x=f"{x:.1f}", y=0, height=height,
                    width=f"{max(wide - 1, 0.8):.1f}", class_=f"part {class_}")
            )  # fmt: skip
        x += wide
    return tag(
        "svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=label, class_="bar"
    )


def patterns() -> Html:
    """Fills that tell parts of a bar apart without their colours; the style sheet names them."""
    drawn = {
        "sparse": 'M0 8L8 0', "dense": 'M0 4L4 0M4 8L8 4M0 8L8 0', "back": 'M0 0L8 8',
        "dots": 'M3 4h2', "upright": 'M4 0V8', "grid": 'M0 4H8M4 0V8',
    }  # fmt: skip
    made = [
        tag("pattern",
            tag("rect", width=8, height=8, class_=f"ground {name}"),
            tag("path", d=path, class_="stripe"),
            id=f"fill-{name}", width=8, height=8, patternUnits="userSpaceOnUse")
        for name, path in drawn.items()
    ]  # fmt: skip
    return tag("svg", tag("defs", *made), width=0, height=0, class_="patterns", aria_hidden="true")
