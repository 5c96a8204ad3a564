"""`groundingme demo`: the main job on scenes drawn here, with the built-in models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundingme.cli.options import json_option, print_json, print_table
from groundingme.errors import UsageError
from groundingme.result import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from groundingme.result import Result

MODELS = ("builtin/grounder-positive-only", "builtin/grounder", "baseline/center", "baseline/null")

SHOWN = 360
"""Samples with a picture on the page, which is to be there within the minute; the command that it
names last makes one with all of them."""
MAX_BYTES = 6_000_000


@click.command("demo")
@click.option("-o", "--out", default="demo", show_default=True, help="Folder to write.")
@click.option("--limit", type=click.IntRange(1), help="The first N samples only.")
@json_option
def demo_command(out: str, limit: int | None, as_json: bool) -> None:
    """Evaluate the two built-in models on drawn scenes, and write a page to open.

    Nothing is downloaded. One model was trained with descriptions that match nothing, one without;
    two baselines that look at no picture show what a score is worth.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {out} ({error.strerror}); name another"
        ) from None
    showcase(folder / "runs", folder / "report.html", limit=limit, as_json=as_json)


def showcase(runs: Path, report: Path, *, limit: int | None = None, as_json: bool = False) -> None:
    """Evaluates `MODELS` on the scenes, prints one table, and writes one page.

    Args:
        runs: Folder of runs; an interrupted one goes on there.
        report: HTML file to write; the pictures are drawn into a folder beside it.
        limit: The first N samples only.
        as_json: Print one JSON object instead of the table.
    """
    from groundingme.datasets import load_dataset
    from groundingme.datasets.export import export
    from groundingme.evaluation import evaluate
    from groundingme.loading import load_entry
    from groundingme.progress import for_terminal
    from groundingme.report import page

    folder = report.with_name("scenes" if limit is None else f"scenes-{limit}")
    click.echo(f"Drawing the scenes into {folder} ...", err=True)
    drawn = load_dataset("scenes").select(limit=limit)
    # Drawn once, on all cores, for all models.
    dataset = load_dataset(str(export(drawn, folder, layout="folder", workers=os.cpu_count() or 1)))
    dataset.name = "scenes"
    results = []
    for model in MODELS:
        click.echo(f"Asking {model} ...", err=True)
        results.append(evaluate(model, dataset, out=runs, progress=for_terminal()))
        if results[-1].interrupted:
            click.echo("Interrupted; the same command goes on.", err=True)
            raise SystemExit(130)
    lead = gap(results[0], results[1])
    runs_found = [load_entry(one.path) for one in results if one.path]
    page.save(runs_found, report, dataset=dataset, lead=lead, most=SHOWN, max_bytes=MAX_BYTES)
    address = report.resolve().as_uri()
    if as_json:
        print_json({"results": [one.as_dict() for one in results], "report": address})
        return
    print_table(_comparison(results))
    click.echo(lead)
    click.echo(f"Report: {address}")
    if len(dataset) > SHOWN:
        every = " ".join(str(one.path) for one in results[:2])
        click.echo(f"All pictures: groundingme report {every} -o all.html", err=True)
    click.echo(
        "Next: groundingme eval openai/MODEL --base-url http://localhost:8000/v1 --data scenes",
        err=True,
    )


def gap(without: Result, with_negatives: Result) -> str:
    """What training with descriptions that match nothing changed, in one sentence."""
    negatives = int(without.scores.negatives.sum())
    if negatives in (0, len(without.scores)):
        return "All samples are of one kind; the gap between pointing and rejecting needs both."

    def positives(result: Result) -> float:
        return float((result.scores.ious[~result.scores.negatives] >= 0.5).mean())

    def rejections(result: Result) -> int:
        return int((result.scores.ious[result.scores.negatives] >= 0.5).sum())

    return (
        f"Trained on positives alone, the model rejects {rejections(without)} of {negatives} "
        f"descriptions that match nothing, and finds {percent(positives(without))} % of the "
        f"others; with negatives it rejects {rejections(with_negatives)} and finds "
        f"{percent(positives(with_negatives))} %."
    )


def _comparison(results: Sequence[Result]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    names = [row.name for row in results[0].rows() if row.level < 2]
    table = Table(
        title=f"Acc@0.5 in % on {results[0].run.data_name} · {results[0].protocol}",
        title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    table.add_column("model", no_wrap=True)
    for name in (*names, "box", "rejected", "unparsed", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in results:
        rows = {row.name: row for row in one.rows()}
        counts = rows["all"].outcomes.values()
        shares = (percent(rows[name].acc50) for name in names)
        table.add_row(one.run.model, *shares, *map(str, counts))
    return table
