"""`groundingme report`: runs as one page to open, send and print."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundingme.cli.options import json_option, print_json, print_table
from groundingme.errors import UsageError
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.report.contents import Contents


@click.command("report")
@click.argument("runs", nargs=-1)
@click.option("-o", "--out", default="report.html", show_default=True, help="HTML file to write.")
@click.option("--data", help="Where the pictures are. Default: where the runs say their data are.")
@click.option("--split", help="Of that data set, where it has several.")
@click.option("--protocol", default="strict", show_default=True, help="Whose scores to show.")
@click.option("--samples", type=click.IntRange(1), default=1500, show_default=True, help="Most samples in the gallery.")  # fmt: skip  # noqa: E501
@click.option("--csv", "csv_folder", help="Folder for the tables as CSV, too.")
@click.option("--figures", help="Folder for figures (SVG, PDF, PNG) and tables (LaTeX, Markdown, CSV) of a paper.")  # fmt: skip  # noqa: E501
@click.option("--paper", is_flag=True, help="Show the published table, beside the runs where there are any.")  # fmt: skip  # noqa: E501
@click.option("--track", type=click.Choice(["mlflow", "wandb", "trackio"]), help="Log figures and page there, too.")  # fmt: skip  # noqa: E501
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
    figures: str | None,
    paper: bool,
    track: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write one HTML page on one RUN or more that answered the same samples.

    The page needs no network and no other file: findings in words, intervals, subtasks, curves,
    mistakes, and the samples with every run's box.
    """
    if not runs:
        if not paper:
            raise UsageError("expected a run folder or more, got none; `groundingme ls` lists runs")
        _show_paper(None, as_json=as_json)
        if figures:
            _write_figures(None, figures, paper=True)
        return
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
        say(f"Note: {note}", err=True)
    if figures:
        _write_figures(contents, figures, paper=paper)
    if track:
        _track(contents, path, track)
    size = path.stat().st_size
    if as_json:
        print_json(
            {"report": str(path), "bytes": size, "samples": len(contents.samples),
             "runs": [one.label for one in contents.marks], "notes": contents.notes}
        )  # fmt: skip
        return
    if paper:
        _show_paper(contents, as_json=False)
    click.echo(f"Report: {path.resolve().as_uri()} ({size / 1e6:.1f} MB)")


def _show_paper(contents: Contents | None, *, as_json: bool) -> None:
    """The paper's table, with the runs in it where there are any."""
    import msgspec

    from groundingme.report import papertables

    table = papertables.make(contents, paper=True)
    if as_json:
        print_json(msgspec.to_builtins(table))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    shown, left_out = papertables.terminal(table, width=width)
    print_table(shown)
    for note in filter(None, [*table.notes, left_out]):
        say(note)


def _write_figures(contents: Contents | None, folder: str, *, paper: bool) -> None:
    from groundingme.report.figures import write

    written = write(folder, contents, paper=paper)
    click.echo(f"{len(written)} figures and tables: {folder}", err=True)


def _track(contents: Contents, page: Path, to: str) -> None:
    from groundingme.report.tracking import track

    count = track(contents, page, to)
    click.echo(f"{count} run{'s' * (count > 1)} logged to {to}", err=True)


def _tick() -> Callable[[int, int], None]:
    """Counts pictures on one line of the terminal."""

    def tick(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            click.echo(f"\r{done} of {total} images", err=True, nl=done == total)

    return tick
