"""The figure of a sweep: rejection against positives, and what positives lose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundingme.errors import UsageError
from groundingme.report import figures
from groundingme.taxonomy import REJECTION
from groundingme.train.sweep.plan import DOMAINS
from groundingme.train.sweep.reduction import POSITIVES, TOTAL, Cell, Reduced, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
_LOW = 5.0
"""Percent rejected below which a point lies on the axis."""


def write(reduced: Reduced, folder: Path) -> list[Path]:
    """Writes `sweep.png` and `sweep.svg`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        UsageError: The folder cannot be written.
    """
    figures.require_matplotlib("a figure")
    import matplotlib

    with matplotlib.rc_context(figures.STYLE):
        figure = draw(reduced)
    try:
        return figures.save(figure, folder / "sweep", FORMATS)
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {folder} ({error.strerror})"
        ) from None


def draw(reduced: Reduced) -> Figure:
    """Two panels: rejection against positives in either domain; changes of positives by ratio."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _trade(left, reduced)
    _forgetting(right, reduced)
    return figure


def _trade(axes: Axes, reduced: Reduced) -> None:
    for at, domain in enumerate(DOMAINS):
        positives, rejected = (reduced.find(domain, name) for name in (POSITIVES, REJECTION))
        if not positives or not rejected:
            continue
        x, y = ([row.cells[name] for name in reduced.columns] for row in (positives, rejected))
        look = _look(at)
        axes.plot(_values(x), _values(y), label=domain.replace("-", " "), **look)
        _whiskers(axes, x, y, look["color"])
        for name, across, up in zip(reduced.columns, x, y, strict=True):
            _label(axes, name, 100 * across.value, 100 * up.value, look["color"])
    axes.set(
        xlabel="found where something matches (Acc@0.5), %",
        ylabel="rejected where nothing matches, %", ylim=(-3, 103),
    )  # fmt: skip
    axes.grid()
    axes.legend(loc="lower left")
    axes.set_title("gained and lost; negatives : positives in training")


def _label(axes: Axes, text: str, x: float, y: float, color: str) -> None:
    # Models that reject nothing lie side by side on the axis; their names stand upright.
    low = y < _LOW
    axes.annotate(
        text, (x, y), xytext=(0, 5) if low else (4, -7), textcoords="offset points", fontsize=6,
        color=color, rotation=70 if low else 0,
    )  # fmt: skip


def _forgetting(axes: Axes, reduced: Reduced) -> None:
    rows = _forgotten(reduced)
    places = range(len(reduced.ratios))
    for at, row in enumerate(rows):
        shift = 0.5 * (at / max(1, len(rows) - 1) - 0.5)
        x = [place + shift for place in places]
        cells = [row.changes[name] for name in reduced.ratios]
        look = _look(at)
        name = f"{row.domain.replace('-', ' ')}: {row.name}"
        axes.plot(x, _values(cells), label=name, **look)
        axes.vlines(x, *_ends(cells), colors=look["color"], linewidth=0.8)
    axes.axhline(0, color="#777777", linewidth=0.6, zorder=0)
    axes.set_xticks(list(places), reduced.ratios)
    axes.set(xlabel="negatives : positives in training",
             ylabel="Acc@0.5 against the untouched model, points")  # fmt: skip
    axes.grid(axis="y")
    axes.legend(loc="best", fontsize=6)
    axes.set_title("what is forgotten (95 % intervals)")


def _forgotten(reduced: Reduced) -> list[Row]:
    """Rows without rejections: positives in domain, the categories and the total out of it."""
    found = [reduced.find("in-domain", POSITIVES)]
    found += [
        row for row in reduced.rows
        if row.domain == "out-of-domain" and row.main and row.name not in (REJECTION, TOTAL)
    ]  # fmt: skip
    return [row for row in found if row]


def _look(at: int) -> dict[str, Any]:
    return {
        "color": figures.COLOURS[at % len(figures.COLOURS)],
        "marker": figures.MARKERS[at % len(figures.MARKERS)],
        "linestyle": figures.DASHES[at % len(figures.DASHES)],
    }


def _values(cells: Sequence[Cell]) -> list[float]:
    return [100 * one.value for one in cells]


def _ends(cells: Sequence[Cell]) -> tuple[list[float], list[float]]:
    return [100 * one.low for one in cells], [100 * one.high for one in cells]


def _whiskers(axes: Axes, x: Sequence[Cell], y: Sequence[Cell], color: str) -> None:
    axes.vlines(_values(x), *_ends(y), colors=color, linewidth=0.8)
    axes.hlines(_values(y), *_ends(x), colors=color, linewidth=0.8)
