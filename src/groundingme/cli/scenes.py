"""`groundingme scenes`: make a data set of scenes, and look at what they are made of."""

from __future__ import annotations

import os

import click

from groundingme.cli.options import save_picture


@click.group("scenes")
def scenes_group() -> None:
    """Make data sets of drawn scenes with exact boxes, and look at them."""


@scenes_group.command("make")
@click.argument("spec", default="scenes")
@click.option("-o", "--out", required=True, help="Folder to write.")
@click.option(
    "--layout",
    type=click.Choice(("parquet", "folder", "coco", "tsv", "refcoco", "label-studio")),
    default="parquet",
    show_default=True,
    help="parquet: the published columns. folder: a JSONL beside images. Others: for that tool.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=lambda: os.cpu_count() or 1,
    help="Processes that draw. Default: one a core.",
)
def make_command(spec: str, out: str, layout: str, workers: int) -> None:
    """Draw the scenes of SPEC into a folder that --data takes.

    SPEC is scenes, scenes-hard, scenes-8k, or one of them with knobs, such as
    scenes:seed=1,n=200,width=512,height=512,distractors=3-6. An interrupted command goes on where
    it stopped.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from groundingme.datasets.export import export
    from groundingme.datasets.scenes.presets import make_dataset, parse_spec

    parse_spec(spec)
    click.echo(f"Composing {spec} ...", err=True)
    dataset = make_dataset(spec)
    columns = ("drawn", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(dataset))
        path = export(
            dataset,
            out,
            layout=layout,
            workers=workers,
            tick=lambda done: bar.update(task, completed=done),
        )
    click.echo(str(path))
    if layout != "coco":
        click.echo(f"Next: groundingme eval builtin/grounder --data {path}", err=True)


@scenes_group.command("kinds")
@click.option("-o", "--out", required=True, help="Picture to write.")
def kinds_command(out: str) -> None:
    """Draw every kind of thing in its variants on one sheet.

    `groundingme data show scenes` draws samples with their descriptions and boxes.
    """
    from groundingme.datasets.scenes.sheet import contact_sheet

    save_picture(contact_sheet(), out)
    click.echo(out)
