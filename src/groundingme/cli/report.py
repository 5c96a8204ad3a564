"""`groundingme report`: runs as one page to open, send and print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from groundingme.cli.options import json_option, print_json
from groundingme.errors import UsageError


@click.command("report")
@click.argument("runs", nargs=-1, required=True)
@click.option("-o", "--out", default="report.html", show_default=True, help="HTML file to write.")
@click.option("--data", help="Where the pictures are. Default: where the runs say their data are.")
@click.option("--split", help="Of that data set, where it has several.")
@click.option("--protocol", default="strict", show_default=True, help="Whose scores to show.")
@click.option("--samples", type=click.IntRange(1), default=1500, show_default=True, help="Most samples in the gallery.")  # fmt: skip  # noqa: E501
@click.option("--csv", "csv_folder", help="Folder for the tables as CSV, too.")
@click.option("--workers", type=click.IntRange(1), help="Processes that decode images. Default: one a core.")  # fmt: skip  # noqa: E501
@json_option
def report_command(
    runs: tuple[str, ...],
    out: str,
    data: str | None,
    split: str | None,
    protocol: str,
    samples: int,
    csv_folder: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write one HTML page on one RUN or more that answered the same samples.

    The page needs no network and no other file: findings in words, intervals, subtasks, curves,
    mistakes, and the samples with every run's box.
    """
    from groundingme.datasets import load_dataset
    from groundingme.loading import load_entry
    from groundingme.report import page

    places = [Path(one).resolve() for one in runs]
    for place in places:
        if places.count(place) > 1:
            raise UsageError(f"expected each run once, got {place} twice; name it once")
    path = Path(out)
    if path.is_dir():
        raise UsageError(f"expected a file to write, got the folder {out}; add report.html to it")
    contents = page.save(
        [load_entry(one, protocol=protocol) for one in runs],
        path,
        dataset=load_dataset(data, split=split) if data else None,
        most=samples,
        workers=workers,
        tick=_tick() if sys.stderr.isatty() else None,
        csv_folder=Path(csv_folder) if csv_folder else None,
    )
    for note in contents.notes:
        click.echo(f"Note: {note}", err=True)
    size = path.stat().st_size
    if as_json:
        print_json(
            {"report": str(path), "bytes": size, "samples": len(contents.samples),
             "runs": [one.label for one in contents.marks], "notes": contents.notes}
        )  # fmt: skip
        return
    click.echo(f"Report: {path.resolve().as_uri()} ({size / 1e6:.1f} MB)")


def _tick() -> Callable[[int, int], None]:
    """Counts pictures on one line of the terminal."""

    def tick(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            click.echo(f"\r{done} of {total} images", err=True, nl=done == total)

    return tick
