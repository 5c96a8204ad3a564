"""The curves of a report: what is computed for them, and how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from groundingme import selective, slices, stats
from groundingme.comparison import confidences
from groundingme.metrics import accuracy
from groundingme.report.contents import Contents, boxed_confidences
from groundingme.report.findings import percent
from groundingme.report.marks import legend
from groundingme.report.markup import Html, table, tag
from groundingme.report.svg import PERCENT, Axis, Series, line_chart

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 21))
_SIZE_PARTS = 5
_CURVE_POINTS = 160
_BIN = 10
"""Fewest boxes of a bin that is drawn."""


def curves(contents: Contents) -> Html:
    """All charts that the data allow, with one legend, and a line for each that they do not."""
    figures = [
        _thresholds(contents), _sizes(contents), _risk(contents), _reliability(contents)
    ]  # fmt: skip
    drawn = [one for one in figures if one.startswith("<figure")]
    missing = [one for one in figures if not one.startswith("<figure")]
    return Html(
        legend(contents.charted) + tag("div", *drawn, class_="charts") + Html("".join(missing))
    )


def figure(title: str, text: str, chart: Html, values: Html) -> Html:
    """A chart under its title, with its values folded in below."""
    more = tag("details", tag("summary", "Values"), values)
    return tag(
        "figure",
        tag("figcaption", tag("strong", title), tag("span", text)),
        chart,
        more,
    )


def _thresholds(contents: Contents) -> Html:
    """Accuracy against the IoU from which a box is right."""
    series, rows = [], []
    for mark in contents.charted:
        scores = contents.entries[mark.at].scores
        ious = scores.ious[scores.scored]
        shares = [accuracy(ious, threshold=one) for one in THRESHOLDS]
        points = [(one, 100 * share) for one, share in zip(THRESHOLDS, shares, strict=True)]
        series.append(Series(mark=mark, points=points))
        rows.append([mark.name(), *(percent(share) for share in shares[1::2])])
    x = Axis(low=0, high=1, ticks=(0, 0.25, 0.5, 0.75, 1), title="IoU from which a box is right")
    chart = line_chart(
        "Accuracy against the IoU threshold", series, x, _titled("right, % of all samples")
    )
    return figure(
        "How exact the boxes are",
        "A line that falls early has the right object but loose boxes. Acc@0.5 is read at 0.5.",
        chart,
        table(["run", *(f"{one:g}" for one in THRESHOLDS[1::2])], rows),
    )


def _sizes(contents: Contents) -> Html:
    """Accuracy against the size of the target, in bins of about as many samples each."""
    boxes = [
        (math.nan,) * 4 if one.target is None or negative else one.target
        for one, negative in zip(contents.samples, contents.negatives.tolist(), strict=True)
    ]
    sides = slices.target_sides(boxes)
    bins = slices.quantile_slices("target", sides, "px", parts=_SIZE_PARTS)
    if not bins:
        return _missing("Accuracy against target size needs targets of different sizes.")
    series, rows = [], []
    clusters = contents.comparison.clusters
    for turn, mark in enumerate(contents.charted):
        right = contents.right[mark.at]
        ends = [stats.exact_interval(right[one.members], clusters[one.members]) for one in bins]
        shares = [float(right[one.members].mean()) for one in bins]
        # Side by side, so that whiskers do not hide each other.
        shift = 0.1 * (turn - (len(contents.charted) - 1) / 2)
        series.append(
            Series(
                mark=mark,
                points=[(at + shift, 100 * share) for at, share in enumerate(shares)],
                whiskers=[(100 * one.low, 100 * one.high) for one in ends],
            )
        )
        cells = (
            f"{percent(share)} ({100 * one.low:.0f} to {100 * one.high:.0f})"
            for share, one in zip(shares, ends, strict=True)
        )
        rows.append([mark.name(), *cells])
    names = [one.name.removesuffix(" px").replace(" to ", "–") for one in bins]
    x = Axis(
        low=-0.5, high=len(bins) - 0.5, ticks=range(len(bins)), labels=names,
        title="√ of the target's area, in pixels",
    )  # fmt: skip
    chart = line_chart("Accuracy against target size", series, x, _titled("right, %"))
    return figure(
        "How small a target may be",
        "Samples with a target, in bins of about as many each, with exact 95 % intervals.",
        chart,
        table(["run", *(one.name for one in bins)], rows),
    )


def _risk(contents: Contents) -> Html:
    """How often a run is wrong where it answers only what it is surest of."""
    series, rows = [], []
    for mark in contents.charted:
        sure = confidences(contents.entries[mark.at])
        if np.isnan(sure).all():
            continue
        curve = selective.risk_coverage(sure, contents.right[mark.at])
        at = np.unique(np.linspace(0, len(sure) - 1, _CURVE_POINTS).round().astype(int))
        points = zip((100 * curve.coverage[at]).tolist(), (100 * curve.risk[at]).tolist(),
                     strict=True)  # fmt: skip
        series.append(Series(mark=mark, points=list(points), shapes=False))
        shown = [round(len(sure) * part / 10) - 1 for part in range(2, 11, 2)]
        rows.append([mark.name(), *(percent(float(curve.risk[max(0, one)])) for one in shown)])
    if not series:
        return _missing(
            "The risk-coverage curve and the reliability diagram need confidences, and no run "
            "gave any; a server that returns log-probabilities is asked for them with "
            "--option logprobs=true."
        )
    most = max(point[1] for one in series for point in one.points)
    high = min(100, max(10, math.ceil(most / 10) * 10))
    y = Axis(low=0, high=high, ticks=_ticks(high), title="wrong among those answered, %")
    x = Axis(low=0, high=100, ticks=PERCENT.ticks, title="share of samples answered, %")
    return figure(
        "What the confidence is worth",
        "Risk and coverage: answering only the surest samples, how many are wrong? "
        "A useful confidence rises from low on the left.",
        line_chart("Risk against coverage", series, x, y),
        table(["run", "20 %", "40 %", "60 %", "80 %", "100 %"], rows),
    )


def _reliability(contents: Contents) -> Html:
    """What a run states of its boxes beside what comes true."""
    series, rows = [], []
    for mark in contents.charted:
        sure = boxed_confidences(contents.entries[mark.at])
        if np.isnan(sure).all():
            continue
        bins = selective.reliability(sure, contents.right[mark.at])
        some = np.flatnonzero(bins.counts >= _BIN)
        hits = np.rint(bins.right[some] * bins.counts[some])
        ends = [
            stats.binomial_interval(float(hit), float(count))
            for hit, count in zip(hits, bins.counts[some], strict=True)
        ]
        series.append(
            Series(
                mark=mark,
                points=[(100 * float(bins.stated[at]), 100 * float(bins.right[at])) for at in some],
                whiskers=[(100 * one.low, 100 * one.high) for one in ends],
            )
        )
        rows += [
            [mark.name(), percent(float(bins.stated[at])), percent(float(bins.right[at])),
             str(int(bins.counts[at]))]
            for at in np.flatnonzero(bins.counts)
        ]  # fmt: skip
    if not series:
        return Html("")
    x = Axis(low=0, high=100, ticks=PERCENT.ticks, title="stated confidence in the box, %")
    return figure(
        "Whether the confidence is a probability",
        "Reliability: below the diagonal a run is surer than it is right. Of its boxes alone; "
        f"bins of fewer than {_BIN} stand in the values only.",
        line_chart("Reliability of the confidence", series, x, _titled("right, %"), diagonal=True),
        table(["run", "stated", "right", "boxes"], rows),
    )


def _missing(text: str) -> Html:
    return tag("p", text, class_="note")


def _titled(title: str) -> Axis:
    return Axis(low=0, high=100, ticks=PERCENT.ticks, title=title)


def _ticks(high: int) -> Sequence[float]:
    step = 20 if high > 50 else 10 if high > 20 else 5
    return range(0, high + 1, step)
