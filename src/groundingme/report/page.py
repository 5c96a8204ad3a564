"""One self-contained HTML page: runs side by side, and samples with everybody's boxes drawn."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from groundingme import drawing
from groundingme.datasets import Dataset
from groundingme.result import OUTCOMES, Result, percent
from groundingme.schema import Sample, Score
from groundingme.taxonomy import REJECTION

if TYPE_CHECKING:
    from PIL import Image

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a8f4c; --bad: #c9372c }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.lead { font-size: 1.1rem; max-width: 60rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child { text-align: left }
thead th { background: var(--soft) }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1rem }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden }
figure img { width: 100%; display: block; background: var(--soft) }
figcaption { padding: .5rem .75rem; font-size: .9rem }
figcaption p { margin: .15rem 0 }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em }
.right { color: var(--good) } .wrong { color: var(--bad) }
"""

COLORS = ("#f04438", "#7a5af8", "#f79009", "#0ba5ec", "#ee46bc", "#667085")
"""Of each run's boxes, in order; the target is green."""


def page(
    results: Sequence[Result],
    dataset: Dataset,
    *,
    pictures: int = 24,
    lead: str = "",
    drawn: Sequence[Result] = (),
) -> str:
    """The page as HTML text; it needs no other file.

    Args:
        results: Runs on the same data set.
        dataset: Where the pictures come from.
        pictures: How many samples to draw, of every subtask alike, those first on which the runs
            differ.
        lead: A sentence on what the page shows.
        drawn: Runs whose boxes are in the pictures; without it all, as far as `COLORS` goes.
    """
    shown = list(drawn or results)[: len(COLORS)]
    figures = [_figure(dataset[at], at, shown) for at in _choose(dataset, shown, pictures)]
    title = html.escape(f"{dataset.name}: {len(dataset)} samples, {len(results)} models")
    keys = "".join(
        f"<span class=key style='background:{color}'></span>{html.escape(one.run.model)} &ensp; "
        for one, color in zip(shown, COLORS, strict=False)
    )
    said = f"<p class=lead>{html.escape(lead)}</p>" if lead else ""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{said}"
        f"<h2>Acc@0.5 in %, protocol {html.escape(results[0].protocol)}</h2>"
        f"<div class=wide>{_accuracies(results)}</div>"
        f"<h2>What the models answered</h2><div class=wide>{_outcomes(results)}</div>"
        "<h2>Samples</h2>"
        f"<p><span class=key style='background:{drawing.TARGET}'></span>target &ensp; {keys}</p>"
        f"<div class=grid>{''.join(figures)}</div></html>"
    )


def save(
    results: Sequence[Result],
    dataset: Dataset,
    path: Path,
    *,
    lead: str = "",
    drawn: Sequence[Result] = (),
) -> None:
    """Writes `page` to a file."""
    path.write_text(page(results, dataset, lead=lead, drawn=drawn), encoding="utf-8")


def _choose(dataset: Dataset, results: Sequence[Result], count: int) -> list[int]:
    """Samples to draw: every subtask in turn, and in each those first that divide the runs."""
    by_subtask: dict[tuple[str, str], list[int]] = {}
    for at, sample in enumerate(dataset):
        by_subtask.setdefault((sample.subtask_l1, sample.subtask_l2), []).append(at)
    scores = [result.scores for result in results]
    for rows in by_subtask.values():
        rows.sort(key=lambda at: len({bool(one.ious[at] >= 0.5) for one in scores}) == 1)
    chosen: list[int] = []
    turn = 0
    while len(chosen) < min(count, len(dataset)):
        chosen += [rows[turn] for rows in by_subtask.values() if turn < len(rows)]
        turn += 1
    order = {key: number for number, key in enumerate(by_subtask)}
    return sorted(
        chosen[:count],
        key=lambda at: (
            dataset[at].subtask_l1 == REJECTION,
            order[dataset[at].subtask_l1, dataset[at].subtask_l2],
        ),
    )


def _figure(sample: Sample, at: int, results: Sequence[Result]) -> str:
    colored = list(zip(results, COLORS, strict=False))
    scores = [one.scores[at] for one in results]
    boxes = [
        (score.box, color)
        for score, (_, color) in zip(scores, colored, strict=True)
        if score.box is not None
    ]
    picture = drawing.draw_sample(sample, width=640, caption=False, others=boxes)
    verdicts = "".join(
        f"<p><span class=key style='background:{color}'></span>{html.escape(one.run.model)}: "
        f"{_verdict(sample, score)}</p>"
        for score, (one, color) in zip(scores, colored, strict=True)
    )
    answer = "nothing matches" if sample.target is None else "one object"
    return (
        f"<figure><img alt='{html.escape(sample.description, quote=True)}' "
        f"src='{_data_url(picture)}'><figcaption><p><b>{html.escape(sample.subtask_l1)} / "
        f"{html.escape(sample.subtask_l2)}</b> ({answer})</p>"
        f"<p>{html.escape(sample.description)}</p>{verdicts}</figcaption></figure>"
    )


def _verdict(sample: Sample, score: Score) -> str:
    word = "right" if score.iou >= 0.5 else "wrong"
    boxed = score.outcome == "box" and sample.target is not None
    said = f"box, IoU {score.iou:.2f}" if boxed else score.outcome
    return f"<span class={word}>{word}</span>, {said}"


def _accuracies(results: Sequence[Result]) -> str:
    names = [row.name for row in results[0].rows() if row.level < 2]
    rows = []
    for result in results:
        by_name = {row.name: row.acc50 for row in result.rows()}
        rows.append([result.run.model, *(percent(by_name[name]) for name in names)])
    return _table(["model", *names], rows)


def _outcomes(results: Sequence[Result]) -> str:
    rows = [
        [result.run.model, *(str(int(result.metrics[name])) for name in OUTCOMES)]
        for result in results
    ]
    return _table(["model", *OUTCOMES], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
