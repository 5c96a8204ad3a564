"""One self-contained HTML page: runs side by side, and samples with their boxes drawn."""

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

if TYPE_CHECKING:
    from PIL import Image

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a8f4c; --bad: #c9372c }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child { text-align: left }
thead th { background: var(--soft) }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1rem }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden }
figure img { width: 100%; display: block; background: var(--soft) }
figcaption { padding: .5rem .75rem; font-size: .9rem }
.right { color: var(--good) } .wrong { color: var(--bad) }
"""


def page(results: Sequence[Result], dataset: Dataset, *, pictures: int = 24) -> str:
    """The page as HTML text; it needs no other file.

    Args:
        results: Runs on the same data set. The pictures show the last one.
        dataset: Where the pictures come from.
        pictures: How many samples to draw, spread evenly over the data set.
    """
    shown = results[-1]
    pairs = list(zip(dataset.samples, shown.scores, strict=True))
    count = min(pictures, len(pairs))
    chosen = [pairs[round(at * (len(pairs) - 1) / max(1, count - 1))] for at in range(count)]
    figures = []
    for sample, score in chosen:
        verdict = "right" if score.iou >= 0.5 else "wrong"
        picture = drawing.draw_sample(sample, score.box, width=640, caption=False)
        figures.append(
            f"<figure><img alt='{html.escape(sample.description, quote=True)}' "
            f"src='{_data_url(picture)}'><figcaption><b>{html.escape(sample.subtask_l1)} / "
            f"{html.escape(sample.subtask_l2)}</b> <span class={verdict}>{verdict}: {score.outcome}"
            f", IoU {score.iou:.2f}</span><br>{html.escape(sample.description)}"
            "</figcaption></figure>"
        )
    title = html.escape(f"{dataset.name}: {len(dataset)} samples, {len(results)} models")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
        f"<h2>Acc@0.5 in %, protocol {html.escape(shown.protocol)}</h2>"
        f"<div class=wide>{_accuracies(results)}</div>"
        f"<h2>What the models answered</h2><div class=wide>{_outcomes(results)}</div>"
        f"<h2>Samples, as {html.escape(shown.run.model)} answered them</h2>"
        "<p>Green is the target, red the answer.</p>"
        f"<div class=grid>{''.join(figures)}</div></html>"
    )


def save(results: Sequence[Result], dataset: Dataset, path: Path) -> None:
    """Writes `page` to a file."""
    path.write_text(page(results, dataset), encoding="utf-8")


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
