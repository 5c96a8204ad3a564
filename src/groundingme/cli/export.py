"""`groundingme export`: a run as a file of another tool."""

from __future__ import annotations

from pathlib import Path

import click

from groundingme.terminal import say

_NAMES = ("vlmevalkit-xlsx", "vlmevalkit-tsv", "lmms-eval", "inspect", "coco", "csv", "parquet")


@click.command("export")
@click.argument("run")
@click.option("--to", required=True, type=click.Choice(_NAMES), help="Whose file to write.")
@click.option("-o", "--out", help="File to write. Default: named after the run, in this folder.")
@click.option("--protocol", default="strict", show_default=True, help="Whose scores to write.")
def export_command(run: str, to: str, out: str | None, protocol: str) -> None:
    """Write a RUN as a file that another tool reads.

    VLMEvalKit's predictions, lmms-eval's samples, an Inspect log, COCO results, or one table of
    samples, replies and scores as CSV or parquet.
    """
    from groundingme.exports import ENDINGS, export
    from groundingme.loading import load_entry

    entry = load_entry(run, protocol=protocol)
    path = Path(out) if out else Path(f"{Path(run).resolve().name}.{ENDINGS[to]}")
    for note in export(entry, to, path):
        say(f"Note: {note}", err=True)
    click.echo(f"{len(entry.samples)} samples: {path}")
