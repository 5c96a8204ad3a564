"""`groundingme power`: what differences a data set can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from groundingme.cli.options import data_options, json_option, print_json, print_table
from groundingme.errors import UsageError
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.planning import Plan

_PERCENT = click.FloatRange(0, 100, min_open=True, max_open=True)


@click.command("power")
@click.argument("runs", nargs=-1)
@data_options(required=False)
@click.option("--difference", type=_PERCENT, help="In points: also say how many samples it needs.")
@click.option("--accuracy", type=_PERCENT, default=50, show_default=True, help="Assumed mean of the two accuracies, in %.")  # fmt: skip  # noqa: E501
@click.option("--disagreement", type=_PERCENT, default=25, show_default=True, help="Assumed share of samples that exactly one model has right, in %.")  # fmt: skip  # noqa: E501
@click.option("--correlation", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Assumed likeness of two samples of one image.")  # fmt: skip  # noqa: E501
@click.option("--power", "wanted", type=_PERCENT, default=80, show_default=True, help="Chance to see the difference, in %.")  # fmt: skip  # noqa: E501
@click.option("--alpha", type=_PERCENT, default=5, show_default=True, help="Chance of a false alarm, in %.")  # fmt: skip  # noqa: E501
@json_option
def power_command(
    runs: tuple[str, ...],
    data: str | None,
    split: str | None,
    subset: str,
    limit: int | None,
    difference: float | None,
    accuracy: float,
    disagreement: float,
    correlation: float,
    wanted: float,
    alpha: float,
    as_json: bool,
) -> None:
    """Say what differences between two models a data set can show.

    Without arguments: the published benchmark. With --data: that data set. With two RUNS: their
    samples, and the disagreement measured on them instead of assumed.
    """
    import msgspec

    from groundingme import planning
    from groundingme.datasets import load_dataset
    from groundingme.loading import load_aligned

    if runs and data:
        raise UsageError("expected two runs or --data, got both; name one of them")
    shares = {"accuracy": accuracy / 100, "disagreement": disagreement / 100}
    if runs:
        entries, notes = load_aligned(runs) if len(runs) > 1 else ([], [])
        for note in notes:
            say(f"Note: {note}.", err=True)
        groups = planning.of_runs(entries)
        source = "measured on these two runs"
    elif data:
        chosen = load_dataset(data, split=split).select(subset=subset, limit=limit)
        groups = planning.of_dataset(chosen, **shares, correlation=correlation)
        source = f"assumed: accuracy {accuracy:g} %, disagreement {disagreement:g} %"
    else:
        groups = planning.published(**shares)
        source = f"assumed: accuracy {accuracy:g} %, disagreement {disagreement:g} %"
    if not groups[0].samples:
        raise UsageError("expected at least one sample, got none; choose another subset")
    plans = planning.plan(
        groups,
        difference=None if difference is None else difference / 100,
        wanted=wanted / 100,
        alpha=alpha / 100,
    )
    if as_json:
        rows = [_without_nan(msgspec.to_builtins(one)) for one in plans]
        print_json({"assumptions": source, "groups": rows})
        return
    _print(plans, difference, wanted, alpha, source)


def _print(
    plans: list[Plan],
    difference: float | None,
    wanted: float,
    alpha: float,
    source: str,
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=f"Smallest difference in points, seen with {wanted:g} % power at {alpha:g} %",
        title_justify="left", title_style="bold", header_style="bold",
        box=SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    heads = ["", "samples", "images", "disagreement", "same samples", "two sets"]
    if difference is not None:
        heads += [f"samples for {difference:g} points", "... in each of two sets"]
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left")
    for one in plans:
        group = one.group
        cells = [
            str(group.samples), str(group.images), f"{100 * group.disagreement:.1f}",
            _points(one.paired), _points(one.unpaired),
        ]  # fmt: skip
        if difference is not None:
            cells += [_count(one.needed_paired), _count(one.needed_unpaired)]
        _, nested, leaf = group.name.rpartition("/")
        table.add_row(f"  {leaf}" if nested else leaf, *cells)
    print_table(table)
    click.echo(f"Accuracies and disagreement are {source}.")
    if any(math.isnan(one.paired) for one in plans):
        click.echo("An en dash: no difference that is possible here would show.")


def _points(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def _count(samples: int | None) -> str:
    return "–" if samples is None else f"{samples:,}"


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
