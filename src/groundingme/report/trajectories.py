"""One page of a sample run: what each trajectory says, which agree, what judges said, the curve."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from groundingme.datasets import Dataset
from groundingme.protocols import BOX, OUTCOMES, REJECTED
from groundingme.report.marks import Mark
from groundingme.report.markup import Html, join, table, tag
from groundingme.report.page import head
from groundingme.report.pictures import Small, Wanted, shrink_all
from groundingme.report.svg import Axis, Series, line_chart
from groundingme.scale.court import VERDICTS
from groundingme.scale.select import curve, majority
from groundingme.scale.selection import Row, SampleRun
from groundingme.scale.trajectories import clusters, sizes

MOST = 120
"""Most samples on the page; those on which trajectories disagree come first."""
TEXT = 6000
"""Most characters of one reasoning or reply."""
BUDGET = 9_000_000
"""Bytes of all pictures."""

_SHOWN = ("majority", "median", "confidence")


def trajectory_page(
    run: SampleRun, dataset: Dataset, rows: Sequence[Row], *, most: int = MOST, seed: int = 0
) -> str:
    """The page as HTML text that opens from disk.

    Args:
        run: Stored trajectories.
        dataset: The same samples, with images where they are to be had.
        rows: Of `select`, for the table.
        most: Most samples.
        seed: Of the orders that the curve is averaged over.
    """
    t = run.t
    label = clusters(t)
    chosen = _chosen(run, most)
    kept = majority(t, np.random.default_rng(seed)).index
    verdicts = _verdicts(run.folder.path)
    wanted = [
        Wanted(source=source, boxes=())
        for at in chosen
        if (source := dataset.samples[at].image) is not None
    ]
    small = iter(shrink_all(wanted, BUDGET))
    pictures = {at: next(small) for at in chosen if dataset.samples[at].image is not None}
    cards = [
        _sample(
            run,
            at,
            label[at].tolist(),
            pictures.get(at),
            verdicts.get(t.ids[at], []),
            int(kept[at]),
        )
        for at in chosen
    ]
    model, data = run.folder.run.model, run.folder.run.data_name
    left = f" of {len(t)}, those first on which they disagree" if len(chosen) < len(t) else ""
    body = tag(
        "body",
        tag("main",
            tag("h1", f"{t.n} trajectories a sample"),
            tag("p", f"{model} on {data}, {len(t)} samples at a temperature of "
                     f"{run.folder.run.settings.get('temperature')}."),
            *(tag("p", note, class_="note") for note in run.notes),
            tag("section", tag("h2", "What each way of choosing is worth"), _table(rows)),
            tag("section", tag("h2", "Score against trajectories"), _curve(run, seed)),
            tag("section", tag("h2", "Samples"), tag("p", f"{len(cards)} samples{left}."), *cards),
            class_="trajectories"),
    )  # fmt: skip
    return (
        f"<!doctype html>\n{tag('html', head(f'{model}: {t.n} trajectories'), body, lang='en')}\n"
    )


def _chosen(run: SampleRun, most: int) -> list[int]:
    """Rows of the samples to show."""
    split = sizes(clusters(run.t)).max(axis=1)
    return [int(at) for at in np.argsort(split, kind="stable")[:most]]


def _verdicts(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What judges said, by sample id; the last word on each showing."""
    found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for file in sorted(path.glob(f"judges/*/{VERDICTS}")):
        for line in file.read_bytes().splitlines():
            try:
                one = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError:
                continue
            key = (file.parent.name, one.get("first"), one.get("second"))
            found.setdefault(str(one.get("id")), {})[key] = {**one, "judge": file.parent.name}
    return {id: list(rows.values()) for id, rows in found.items()}


def _percent(value: float) -> str:
    return "·" if np.isnan(value) else f"{100 * value:.1f}"


def _table(rows: Sequence[Row]) -> Html:
    return table(
        ("", "Acc@0.5", "95 %", "gain on mean", "trajectories", "tokens"),
        [
            (
                row.name,
                _percent(row.score),
                f"{_percent(row.low)} to {_percent(row.high)}",
                f"{100 * row.gain:+.1f} ({100 * row.gain_low:+.1f} to {100 * row.gain_high:+.1f})",
                f"{row.trajectories:.1f}",
                "·" if np.isnan(row.tokens) else f"{row.tokens:,.0f}",
            )
            for row in rows
        ],
        caption="Selectors",
    )


def _curve(run: SampleRun, seed: int) -> Html:
    names = [n for n in _SHOWN if n != "confidence" or np.isfinite(run.t.confidence).any()]
    points = curve(run.t, names, seed=seed, repeats=4)
    marks = {name: Mark(at, name) for at, name in enumerate(points)}
    scores = [100 * score for found in points.values() for _, score in found]
    low, high = 10 * np.floor(min(scores) / 10), 10 * np.ceil(max(scores) / 10)
    high = max(high, low + 10)
    ks = [k for k, _ in points["mean"]]
    x = Axis(
        low=0, high=float(np.log2(ks[-1])), ticks=[float(np.log2(k)) for k in ks],
        labels=[str(k) for k in ks], title="trajectories",
    )  # fmt: skip
    y = Axis(low=float(low), high=float(high), ticks=np.arange(low, high + 1, 5).tolist(),
             title="Acc@0.5, %")  # fmt: skip
    series = [
        Series(mark=marks[name], points=[(float(np.log2(k)), 100 * s) for k, s in found])
        for name, found in points.items()
    ]
    legend = join(
        (tag("span", mark.letter, " ", name, class_=mark.colour) for name, mark in marks.items()),
        " · ",
    )
    chart = line_chart("Score against the number of trajectories", series, x, y)
    values = table(
        ("", *map(str, ks)),
        [(name, *(f"{100 * s:.1f}" for _, s in found)) for name, found in points.items()],
        caption="Acc@0.5 by number of trajectories, %",
    )
    return tag("figure", chart, tag("p", legend), values)


def _sample(
    run: SampleRun,
    at: int,
    label: list[int],
    small: Small | None,
    verdicts: Sequence[Mapping[str, Any]],
    kept: int,
) -> Html:
    t, one = run.t, run.dataset.samples[at]
    groups = [k for k in dict.fromkeys(label) if k >= 0]
    marks = {leader: Mark(number, f"answer {number + 1}") for number, leader in enumerate(groups)}
    right = t.right()[at]
    lines = []
    for k in range(t.n):
        said = run.generations.get((t.ids[at], k))
        mark = marks.get(label[k])
        text = (said.reasoning or said.text)[:TEXT] if said else ""
        if said and said.failure:
            text = f"{said.failure}: {said.detail}"
        lines.append((
            str(k),
            tag("span", mark.letter, class_=mark.colour) if mark else "·",
            _answer(t.outcome[at, k], t.boxes[at, k].tolist()),
            "right" if right[k] else "wrong",
            tag("details", tag("summary", "what it says"), tag("pre", text)) if text else "",
        ))  # fmt: skip
    said_so = [
        tag("li", f"{v['judge']}: {_shown(v)}",
            *(tag("details", tag("summary", "its words"), tag("pre", str(reply)[:TEXT]))
              for reply in v.get("replies", []) if reply))
        for v in verdicts
    ]  # fmt: skip
    truth = "nothing matches" if t.negatives[at] else "one object matches"
    return tag(
        "article",
        tag("h3", f"{one.id} ", tag("small", f"{one.subtask_l1} / {one.subtask_l2} · {truth}")),
        tag("p", one.description),
        _picture(run, at, label, marks, small),
        tag("p", f"The majority takes trajectory {kept}."),
        table(("", "answer", "box", "", ""), lines, caption=f"Trajectories of {one.id}"),
        tag("ul", *said_so) if said_so else "",
    )


def _shown(verdict: Mapping[str, Any]) -> str:
    pair = f"A is trajectory {verdict.get('first')}, B is trajectory {verdict.get('second')}"
    if verdict.get("failure"):
        return f"{pair}; no reply ({verdict['failure']})"
    won = verdict.get("winner")
    return f"{pair}; {'undecided' if won is None else f'trajectory {won} wins'}"


def _answer(outcome: int, box: Sequence[float]) -> str:
    if outcome == BOX:
        return ", ".join(f"{edge:.0f}" for edge in box)
    return "nothing matches" if outcome == REJECTED else OUTCOMES[outcome]


def _picture(
    run: SampleRun,
    at: int,
    label: Sequence[int],
    marks: Mapping[int, Mark],
    small: Small | None,
) -> Html:
    if small is None or not small.data:
        said = small.problem if small else "this run is shown without pictures"
        return tag("p", f"No picture: {said}", class_="note")
    t, (w, h) = run.t, (small.width, small.height)
    source = "data:image/webp;base64," + base64.b64encode(small.data).decode()
    stroke = max(w, h) / 300
    parts = [tag("image", href=source, width=w, height=h)]

    def outline(box: Sequence[float], class_: str, width: float, dash: str | None) -> Html:
        x1, y1, x2, y2 = box
        return tag("rect", x=f"{x1:.1f}", y=f"{y1:.1f}", width=f"{max(0.0, x2 - x1):.1f}",
                   height=f"{max(0.0, y2 - y1):.1f}", class_=f"frame {class_}",
                   stroke_width=f"{width:.1f}", stroke_dasharray=dash or None)  # fmt: skip

    if not t.negatives[at]:
        parts.append(outline(t.targets[at].tolist(), "true", 3 * stroke, ""))
    for k, leader in enumerate(label):
        if t.outcome[at, k] == BOX and leader in marks:
            parts.append(
                outline(t.boxes[at, k].tolist(), marks[leader].colour, stroke, marks[leader].dash)
            )
    drawn = tag(
        "svg", *parts, viewBox=f"0 0 {w} {h}", role="img",
        aria_label="The image with every trajectory's box",
    )  # fmt: skip
    return tag("div", drawn, class_="picture")
