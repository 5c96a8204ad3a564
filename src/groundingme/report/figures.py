"""Figures and tables for a paper: `--figures DIR`.

Every figure is written as SVG, PDF and PNG, every table as LaTeX, Markdown and CSV. The same runs
give the same bytes of SVG: nothing in them depends on the day.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundingme import selective, slices, stats
from groundingme.comparison import ALL, Estimate, confidences
from groundingme.errors import MissingDependencyError, UsageError
from groundingme.metrics import accuracy
from groundingme.report import papertables
from groundingme.report.contents import Contents, boxed_confidences
from groundingme.report.marks import Mark
from groundingme.report.sampled import Sampled
from groundingme.scale.figures import frontier_panel, scaling_panel
from groundingme.store import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf", "png")
WIDTH = 3.5
"""Of one column of a paper, in inches."""

# After Okabe and Ito: told apart by people who do not see all colours, and in grey by the markers.
COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "X")
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
STYLE: dict[Any, Any] = {
    "font.size": 8.0, "axes.titlesize": 8.0, "axes.labelsize": 8.0, "legend.fontsize": 7.0,
    "xtick.labelsize": 7.0, "ytick.labelsize": 7.0, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.6, "lines.linewidth": 1.2,
    "lines.markersize": 3.5, "legend.frameon": False, "svg.hashsalt": "groundingme",
    "svg.fonttype": "none", "pdf.fonttype": 42, "axes.axisbelow": True, "grid.color": "#dddddd",
    "grid.linewidth": 0.5, "font.family": "DejaVu Sans", "text.usetex": False,
}  # fmt: skip
_LONGEST = 34
_SHARES = (-3, 103)
"""Ends of an axis of percents, so that a point at 0 or 100 is whole."""


def write(folder: str | Path, contents: Contents | None, *, paper: bool = False) -> list[Path]:
    """Writes all figures and tables.

    Args:
        folder: Made where it is missing; files of the same names are replaced.
        contents: The runs; None for the published table alone.
        paper: Whether the published rows stand beside them.

    Returns:
        The files, tables first.

    Raises:
        MissingDependencyError: matplotlib is not installed; the tables are written all the same.
        UsageError: The folder cannot be written.
    """
    place = Path(folder)
    table = papertables.make(contents, paper=paper)
    texts = {
        "table.md": papertables.markdown(table),
        "table.tex": papertables.latex(table),
        "table.csv": papertables.as_csv(table),
    }
    try:
        place.mkdir(parents=True, exist_ok=True)
        written = []
        for name, text in texts.items():
            write_atomically(place / name, text.encode())
            written.append(place / name)
        for name, figure in draw(contents, table).items():
            written += save(figure, place / name)
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {place} ({error.strerror}); name another"
        ) from None
    return written


def draw(contents: Contents | None, table: papertables.PaperTable) -> dict[str, Figure]:
    """The figures that the data allow, by name."""
    require_matplotlib()
    import matplotlib

    found: dict[str, Figure] = {}
    with matplotlib.rc_context(STYLE):
        for name, make in _FIGURES.items() if contents else ():
            assert contents
            figure = make(contents)
            if figure is not None:
                found[name] = figure
        found |= _trajectories(contents.sampled if contents else [])
        if any(one.source == papertables.PUBLISHED for one in table.lines):
            found["published"] = _published(table)
    return found


def _trajectories(sampled: Sequence[Sampled]) -> dict[str, Figure]:
    """Score against N and against tokens, of each run with several trajectories."""
    found = {}
    for one in sampled:
        end = f"-{one.mark.letter}" if len(sampled) > 1 else ""
        figure, axes = _canvas(3.4)
        scaling_panel(axes, one.scaling)
        _legend(figure, axes)
        found[f"scaling{end}"] = figure
        figure, axes = _canvas(3.4)
        counted = bool(np.isfinite(one.run.t.tokens).any())
        frontier_panel(axes, one.frontier, one.by_confidence, counted=counted)
        _legend(figure, axes)
        found[f"stopping{end}"] = figure
    return found


def require_matplotlib(what: str = "--figures") -> None:
    """Raises `MissingDependencyError` where matplotlib is not installed."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            f"expected matplotlib for {what}, got none (the tables are written); "
            "pip install 'groundingme[figures]'"
        )


def save(figure: Figure, path: Path, kinds: Sequence[str] = FORMATS) -> list[Path]:
    """Writes a figure in the house style as `PATH.KIND`, for each kind."""
    import matplotlib

    found = []
    with matplotlib.rc_context(STYLE):
        for kind in kinds:
            file = path.with_suffix(f".{kind}")
            date: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
            figure.savefig(file, dpi=300, bbox_inches="tight", metadata=date[kind])
            found.append(file)
    return found


def _canvas(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    # A figure by itself: pyplot would keep it, and ask for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Axes = figure.subplots()
    return figure, axes


def _name(text: str) -> str:
    # A dollar sign would start a formula.
    shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return shown.replace("$", r"\$")


def _look(mark: Mark) -> dict[str, Any]:
    at = mark.at % len(COLOURS)
    return {"color": COLOURS[at], "marker": MARKERS[at], "label": _name(mark.label)}


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=1)


def _whisker(axes: Axes, along: str, at: float, one: Estimate | stats.Interval, look: Any) -> None:
    low, high = 100 * one.low, 100 * one.high
    if math.isnan(low):
        return
    line = axes.hlines if along == "x" else axes.vlines
    line(at, low, high, colors=look["color"], linewidth=0.8)


def _leaderboard(contents: Contents) -> Figure:
    """Acc@0.5 of every run with its interval, the best on top."""
    standings = contents.standings
    figure, axes = _canvas(0.7 + 0.22 * len(standings))
    for row, one in enumerate(standings):
        look = _look(contents.marks[one.entry])
        whole = one.accuracy[ALL]
        axes.plot(100 * whole.value, row, linestyle="", **look)
        _whisker(axes, "x", row, whole, look)
    axes.set_yticks(range(len(standings)), [_name(one.label) for one in standings])
    axes.set_ylim(len(standings) - 0.5, -0.5)
    axes.set_xlim(_SHARES)
    axes.set_xlabel("Acc@0.5, % (95 % interval)")
    axes.grid(axis="x")
    return figure


def _subtasks(contents: Contents) -> Figure | None:
    """Acc@0.5 by subtask, with exact intervals."""
    by_entry = {one.entry: one for one in contents.standings}
    names = [name for name in contents.standings[0].accuracy if "/" in name]
    names = names or [name for name in contents.standings[0].accuracy if name != ALL]
    if len(names) < 2:
        return None
    figure, axes = _canvas(0.9 + 0.26 * len(names))
    _stripes(axes, names)
    for turn, mark in enumerate(contents.charted):
        look = _look(mark)
        cells = [by_entry[mark.at].accuracy[name] for name in names]
        rows = np.arange(len(names)) + _shift(turn, len(contents.charted))
        axes.plot([100 * one.value for one in cells], rows, linestyle="", **look)
        for row, one in zip(rows.tolist(), cells, strict=True):
            _whisker(axes, "x", row, one, look)
    axes.set_yticks(range(len(names)), [name.replace("/", ": ") for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(_SHARES)
    axes.set_xlabel("Acc@0.5, % (95 % interval)")
    axes.grid(axis="x")
    _legend(figure, axes)
    return figure


def _stripes(axes: Axes, names: Sequence[str]) -> None:
    """Shades every other category."""
    categories = list(dict.fromkeys(name.partition("/")[0] for name in names))
    for row, name in enumerate(names):
        if categories.index(name.partition("/")[0]) % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", linewidth=0, zorder=0)


def _shift(turn: int, count: int) -> float:
    """Side by side, so that whiskers do not hide each other."""
    return 0.0 if count < 2 else 0.6 * (turn / (count - 1) - 0.5)


def _thresholds(contents: Contents) -> Figure:
    """Accuracy against the IoU from which a box is right."""
    figure, axes = _canvas(2.4)
    steps = np.round(np.arange(0.05, 1.001, 0.05), 2).tolist()
    for mark in contents.charted:
        scores = contents.entries[mark.at].scores
        ious = scores.ious[scores.scored]
        shares = [100 * accuracy(ious, threshold=one) for one in steps]
        look = _look(mark)
        axes.plot(steps, shares, linestyle=DASHES[mark.at % len(DASHES)], markevery=(1, 4), **look)
    axes.axvline(0.5, color="#999999", linewidth=0.6, zorder=0)
    axes.set(
        xlim=(0, 1.02), ylim=_SHARES, xlabel="IoU from which a box is right", ylabel="right, %"
    )
    axes.grid(axis="y")
    _legend(figure, axes)
    return figure


def _sizes(contents: Contents) -> Figure | None:
    """Accuracy against the size of the target."""
    boxes = [
        (math.nan,) * 4 if one.target is None or negative else one.target
        for one, negative in zip(contents.samples, contents.negatives.tolist(), strict=True)
    ]
    bins = slices.quantile_slices("target", slices.target_sides(boxes), "px", parts=5)
    if not bins:
        return None
    figure, axes = _canvas(2.4)
    clusters = contents.comparison.clusters
    for turn, mark in enumerate(contents.charted):
        look, right = _look(mark), contents.right[mark.at]
        places = np.arange(len(bins)) + _shift(turn, len(contents.charted)) / 4
        shares = [100 * float(right[one.members].mean()) for one in bins]
        axes.plot(places, shares, linestyle=DASHES[mark.at % len(DASHES)], **look)
        for place, one in zip(places.tolist(), bins, strict=True):
            ends = stats.exact_interval(right[one.members], clusters[one.members])
            _whisker(axes, "y", place, ends, look)
    names = [one.name.removesuffix(" px").replace(" to ", "–") for one in bins]
    axes.set_xticks(range(len(bins)), names)
    axes.set(xlim=(-0.5, len(bins) - 0.5), ylim=_SHARES)
    axes.set(xlabel="square root of the target's area, pixels", ylabel="right, %")
    axes.grid(axis="y")
    _legend(figure, axes)
    return figure


def _rejection(contents: Contents) -> Figure | None:
    """What is rejected rightly against what is rejected wrongly."""
    if not contents.standings[0].rejection:
        return None
    figure, axes = _canvas(2.8)
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=0.6, zorder=0)
    axes.annotate(
        "a coin", (70, 64), rotation=45, rotation_mode="anchor", transform_rotates_text=True,
        color="#777777", fontsize=6,
    )  # fmt: skip
    for one in sorted(contents.standings, key=lambda standing: standing.entry):
        look = _look(contents.marks[one.entry])
        lost, kept = one.rejection["false rejections"], one.rejection["N-acc"]
        axes.plot(100 * lost.value, 100 * kept.value, linestyle="", **look)
        _whisker(axes, "y", 100 * lost.value, kept, look)
        _whisker(axes, "x", 100 * kept.value, lost, look)
    axes.set(
        xlim=_SHARES, ylim=_SHARES, xlabel="rejected though something matches, %",
        ylabel="rejected where nothing matches, %",
    )  # fmt: skip
    axes.set_aspect("equal")
    _legend(figure, axes)
    return figure


def _risk(contents: Contents) -> Figure | None:
    """Error rate where a run answers only what it is surest of."""
    known = [
        mark
        for mark in contents.charted
        if not np.isnan(confidences(contents.entries[mark.at])).all()
    ]
    if not known:
        return None
    figure, axes = _canvas(2.4)
    for mark in known:
        sure = confidences(contents.entries[mark.at])
        curve = selective.risk_coverage(sure, contents.right[mark.at])
        look = _look(mark)
        axes.plot(
            100 * curve.coverage, 100 * curve.risk, linestyle=DASHES[mark.at % len(DASHES)],
            markevery=0.2, **look,
        )  # fmt: skip
    axes.set(xlim=(0, 100), xlabel="samples answered, %", ylabel="wrong among those, %")
    axes.set_ylim(bottom=-1)
    axes.grid(axis="y")
    _legend(figure, axes)
    return figure


def _reliability(contents: Contents) -> Figure | None:
    """Stated confidence in a box beside what comes true."""
    figure, axes = _canvas(2.6)
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=0.6, zorder=0)
    drawn = False
    for mark in contents.charted:
        sure = boxed_confidences(contents.entries[mark.at])
        if np.isnan(sure).all():
            continue
        bins = selective.reliability(sure, contents.right[mark.at])
        some = np.flatnonzero(bins.counts >= 10)
        look = _look(mark)
        drawn = drawn or bool(len(some))
        axes.plot(
            100 * bins.stated[some], 100 * bins.right[some],
            linestyle=DASHES[mark.at % len(DASHES)], **look,
        )  # fmt: skip
        for at in some.tolist():
            hits = round(float(bins.right[at] * bins.counts[at]))
            ends = stats.binomial_interval(float(hits), float(bins.counts[at]))
            _whisker(axes, "y", 100 * float(bins.stated[at]), ends, look)
    axes.set(xlim=_SHARES, ylim=_SHARES, xlabel="stated confidence in the box, %",
             ylabel="right, %")  # fmt: skip
    axes.set_aspect("equal")
    _legend(figure, axes)
    return figure if drawn else None


_FIGURES: dict[str, Callable[[Contents], Figure | None]] = {
    "leaderboard": _leaderboard,
    "subtasks": _subtasks,
    "thresholds": _thresholds,
    "sizes": _sizes,
    "rejection": _rejection,
    "risk-coverage": _risk,
    "reliability": _reliability,
}


def _published(table: papertables.PaperTable) -> Figure:
    """Totals of the published rows, with the runs among them."""
    lines = sorted(table.lines, key=lambda one: -one.cells.get(papertables.TOTAL, 0.0))
    figure, axes = _canvas(0.8 + 0.17 * len(lines), WIDTH * 1.2)
    for row, one in enumerate(lines):
        own = one.source == papertables.OWN
        value = one.cells.get(papertables.TOTAL, 0.0)
        colour = COLOURS[1] if own else "#bbbbbb"
        axes.barh(row, value, color=colour, height=0.7, hatch="////" if own else None,
                  edgecolor="white", linewidth=0)  # fmt: skip
        if one.low is not None and one.high is not None:
            axes.hlines(row, one.low, one.high, colors="#000000", linewidth=0.8)
        axes.annotate(
            f"{value:.1f}", (one.high or value, row),
            xytext=(3, 0), textcoords="offset points", va="center", fontsize=6,
        )  # fmt: skip
    axes.set_yticks(range(len(lines)), [_name(one.label) for one in lines])
    for tick, one in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if one.source == papertables.OWN else "normal")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    several = len(table.sections()) > 1
    title = "grey: published, not rerun" + ("; hatched: runs" if several else "")
    axes.set_xlabel(f"Acc@0.5 of all samples, % ({title})")
    return figure
