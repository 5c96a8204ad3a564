"""Figures of shares, as most studies draw them: everything in percent from 0 to 100."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from groundingme.report.svg import PERCENT, Axis, Span
from groundingme.studies.estimates import points
from groundingme.studies.study import Dots, Lines

_MISSING = Span(float("nan"))


def percents(title: str = "right, %") -> Axis:
    """An axis from 0 to 100."""
    return msgspec.structs.replace(PERCENT, title=title)


def highest(series: Mapping[str, Sequence[tuple[float, Span]]]) -> float:
    """Of the values of all lines and the ends of their intervals."""
    spans = [span for line in series.values() for _, span in line]
    return max(span.value if math.isnan(span.high) else span.high for span in spans)


def doublings(numbers: Sequence[int], title: str) -> Axis:
    """An axis on which a number lies at its base-2 logarithm."""
    ticks = [math.log2(one) for one in numbers]
    return Axis(low=ticks[0] - 0.2, high=ticks[-1] + 0.2, ticks=ticks,
                labels=[str(one) for one in numbers], title=title)  # fmt: skip


def up_to(most: float, title: str, *, room: float = 0.0) -> Axis:
    """An axis from 0 to a round number that is not below the highest value, with five ticks.

    Args:
        most: The highest value, 0 or more.
        title: What the axis shows.
        room: Left at both ends, as a share of it, where points may lie on them.

    Example:
        >>> list(up_to(13.1, "seconds").ticks)
        [0.0, 3.75, 7.5, 11.25, 15.0]
    """
    step = 10.0 ** math.floor(math.log10(most)) if most else 1.0
    step = step / 2 if most and most / step < 2 else step
    high = max(1, math.ceil(most / step)) * step
    ticks = [high * at / 4 for at in range(5)]
    return Axis(low=-room * high, high=(1 + room) * high, ticks=ticks,
                labels=[f"{one:.3g}" for one in ticks], title=title)  # fmt: skip


def dots(
    title: str,
    text: str,
    shares: Mapping[str, Mapping[str, Span]],
    axis: Axis | None = None,
    *,
    written: Callable[[str], str] = str,
) -> Dots:
    """A figure of shares, a row for each name.

    Args:
        title: What it shows.
        text: How to read it.
        shares: Of each series by the name of the row, in [0, 1]; a row that a series lacks is left
            empty.
        axis: Of the values; `percents()` by default.
        written: What stands for a name beside its row.
    """
    names = list(dict.fromkeys(name for one in shares.values() for name in one))
    series = {
        name: [points(one.get(row, _MISSING)) for row in names] for name, one in shares.items()
    }
    rows = [written(name) for name in names]
    return Dots(title=title, text=text, rows=rows, series=series, x=axis or percents())


def lines(
    title: str,
    text: str,
    shares: Mapping[str, Mapping[int, Span] | Mapping[float, Span]],
    x: Axis,
    y: Axis | None = None,
) -> Lines:
    """A figure of shares against a number.

    Args:
        title: What it shows.
        text: How to read it.
        shares: Of each line by the number, from left to right, in [0, 1].
        x: Axis of the number.
        y: Axis of the values; `percents()` by default.
    """
    series = {
        name: [(float(at), points(span)) for at, span in one.items()]
        for name, one in shares.items()
    }
    return Lines(title=title, text=text, series=series, x=x, y=y or percents())
