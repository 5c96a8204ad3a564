"""`groundingme cache`: look at the replies that are kept, and drop some."""

from __future__ import annotations

import click

from groundingme.cli.options import json_option, open_cache, print_json, print_table


@click.group("cache", invoke_without_command=True)
@json_option
@click.pass_context
def cache_group(context: click.Context, as_json: bool) -> None:
    """Show what `eval --cache` and `sample --cache` keep: replies by model.

    The file is GROUNDINGME_CACHE, or replies.sqlite in the user's cache folder.
    """
    if context.invoked_subcommand:
        return
    cache = open_cache()
    count, size = cache.size()
    rows = cache.models()
    if as_json:
        models = {
            model: {"replies": n, "bytes": b, "last_used": used} for model, n, b, used in rows
        }
        found = {"path": str(cache.path), "replies": count, "bytes": size, "limit": cache.limit}
        print_json({**found, "models": models})
        return
    if rows:
        import datetime

        from rich import box
        from rich.table import Table

        table = Table("model", box=box.SIMPLE_HEAD, pad_edge=False)
        for head in ("replies", "MB", "last used"):
            table.add_column(head, justify="right")
        for model, n, b, used in rows:
            day = datetime.datetime.fromtimestamp(used, datetime.UTC).date().isoformat()
            table.add_row(model, f"{n:,}", f"{b / 1e6:.1f}", day)
        print_table(table)
    click.echo(f"{count:,} replies, {size / 1e6:.1f} of {cache.limit / 1e6:,.0f} MB: {cache.path}")


@cache_group.command("clear")
@click.option("--model", help="Of this PROVIDER/NAME alone.")
@click.option("--unused-days", type=click.FloatRange(0), default=0.0, help="Only what nobody used for so long.")  # fmt: skip  # noqa: E501
def clear_command(model: str | None, unused_days: float) -> None:
    """Drop replies: all, or some."""
    gone = open_cache().clear(model, unused_days=unused_days)
    click.echo(f"{gone:,} replies dropped")
