"""`groundingme data ls`, `data check` and `data show`."""

from __future__ import annotations

import sys

import click

from groundingme.cli.options import json_option, print_json, print_table, save_picture
from groundingme.errors import DataError
from groundingme.terminal import say


@click.group("data")
def data_group() -> None:
    """List, check and draw data sets.

    DATA is a name (`groundingme data ls`), NAME:PATH, a Hub id, or a file or folder.
    """


@data_group.command("ls")
@json_option
def ls_command(as_json: bool) -> None:
    """List the formats that are known by name."""
    from rich.table import Table

    from groundingme.datasets import FORMATS

    if as_json:
        print_json({name: FORMATS.get(name).summary for name in FORMATS.names()})
        return
    table = Table("name", "what it reads", box=None, pad_edge=False)
    for name in FORMATS.names():
        table.add_row(name, FORMATS.get(name).summary)
    print_table(table)


@data_group.command("check")
@click.argument("data")
@click.option("--split", help="Of the data set, where it has several.")
@click.option("--no-images", is_flag=True, help="Check the rows alone.")
@json_option
def check_command(data: str, split: str | None, no_images: bool, as_json: bool) -> None:
    """Read a whole data set and list every problem, by row, with what to do.

    Exits with 1 when there is an error; warnings alone exit with 0.
    """
    import msgspec

    from groundingme.datasets import load_dataset
    from groundingme.datasets.check import check

    dataset = load_dataset(data, split=split)
    problems = []
    for problem in check(dataset, images=not no_images):
        problems.append(problem)
        if not as_json:
            say(
                f"row {problem.row} (id {problem.id}): {problem.level}: {problem.message}; "
                f"{problem.advice}"
            )
    errors = sum(problem.level == "error" for problem in problems)
    if as_json:
        print_json(
            {
                "data": dataset.source,
                "samples": len(dataset),
                "errors": errors,
                "warnings": len(problems) - errors,
                "problems": [msgspec.to_builtins(problem) for problem in problems],
            }
        )
    else:
        click.echo(
            f"{dataset.source}: {len(dataset)} samples, {errors} errors, "
            f"{len(problems) - errors} warnings"
        )
    if errors:
        sys.exit(1)


@data_group.command("show")
@click.argument("data")
@click.option("--split", help="Of the data set, where it has several.")
@click.option("--subset", default="", help="L1 or L1/L2, such as Rejection/Text.")
@click.option("--id", "ids", multiple=True, help="This sample; may be repeated.")
@click.option("--limit", type=click.IntRange(1, 999), default=12, show_default=True, help="How many to draw.")  # fmt: skip  # noqa: E501
@click.option("--seed", type=int, help="Draw samples at random instead of the first ones.")
@click.option("-o", "--out", default="samples.png", show_default=True, help="Picture to write.")
def show_command(
    data: str,
    split: str | None,
    subset: str,
    ids: tuple[str, ...],
    limit: int,
    seed: int | None,
    out: str,
) -> None:
    """Draw samples with their boxes on one sheet."""
    import random

    from groundingme import drawing
    from groundingme.datasets import load_dataset

    dataset = load_dataset(data, split=split).select(subset=subset)
    if ids:
        samples = [dataset.find(id) for id in ids]
    elif seed is None:
        samples = dataset.samples[:limit]
    else:
        samples = random.Random(seed).sample(dataset.samples, min(limit, len(dataset)))
    if not samples:
        raise DataError(f"expected at least one sample in {dataset.source}, got none")
    save_picture(drawing.contact_sheet(samples), out)
    click.echo(f"{len(samples)} samples of {dataset.source} drawn: {out}")


@data_group.command("floor")
@click.argument("data")
@click.option("--split", help="Of the data set, where it has several.")
@click.option("--subset", default="", help="L1 or L1/L2.")
@click.option("--no-images", is_flag=True, help="Tell images apart by name, without reading them.")
@json_option
def floor_command(
    data: str, split: str | None, subset: str, no_images: bool, as_json: bool
) -> None:
    """Find out how well rejections can be told from the text alone.

    A small classifier reads the descriptions, and no image. A model whose rejections are not
    better need not have looked.
    """
    from groundingme import text_floor
    from groundingme.datasets import load_dataset

    dataset = load_dataset(data, split=split).select(subset=subset)
    groups = text_floor.image_groups(dataset, read=not no_images)
    found = text_floor.text_floor(dataset.samples, groups)
    if as_json:
        print_json(text_floor.as_dict(found))
        return
    for line in text_floor.sentences(found, total=len(dataset)):
        say(line)
