"""`groundingme compare`: runs side by side, and what the data can say of them."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundingme.cli.options import json_option, print_json, print_table
from groundingme.errors import UsageError
from groundingme.terminal import cell, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from groundingme.comparison import Comparison, Estimate

REJECTION = (
    "Acc@0.5 of positives", "N-acc", "T-acc", "balanced", "harmonic", "F1", "MCC", "AUROC",
    "AUROC matched",
)  # fmt: skip
"""Which measures of rejection the terminal shows; `--json` has all."""

CONFIDENCE = ("AURC", "Brier", "ECE")
"""What is said of runs that give confidences."""

_BESIDE = 4
"""Most runs that stand beside each other with their intervals."""


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@click.option("--protocol", default="strict", show_default=True, help="Whose scores to compare.")
@click.option("--flips", type=click.IntRange(0), default=10, show_default=True, help="How many samples to list that some have right and others wrong.")  # fmt: skip  # noqa: E501
@click.option("--slices", type=click.IntRange(0), default=5, show_default=True, help="How many groups of samples to list on which they differ most.")  # fmt: skip  # noqa: E501
@click.option("--csv", "csv_path", help="Write all flips to this file, one a row.")
@click.option("--resamples", type=click.IntRange(100), default=10_000, show_default=True, help="Of the bootstrap.")  # fmt: skip  # noqa: E501
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@json_option
def compare_command(
    runs: tuple[str, ...],
    protocol: str,
    flips: int,
    slices: int,
    csv_path: str | None,
    resamples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compare two RUNS or more that answered the same samples.

    Shows accuracies with 95 % intervals, the ranks that the data allow, which pairs they separate
    and where, what each run does wrong, and the samples on which the runs differ.
    """
    from groundingme.loading import compare
    from groundingme.wording import sentences

    if len(runs) < 2:
        raise UsageError("expected two runs or more to compare, got one; name another")
    found = compare(runs, protocol=protocol, resamples=resamples, seed=seed)
    if csv_path:
        write_flips(found, Path(csv_path))
    if as_json:
        print_json({**found.as_dict(), "sentences": sentences(found)})
        return
    for note in found.notes:
        say(f"Note: {note}.")
    print_table(_accuracies(found))
    if any(low != high for low, high in (one.rank for one in found.standings)):
        click.echo("Runs whose ranks overlap are not separated by these samples.")
    click.echo()
    for line in sentences(found):
        say(f"{line}.")
    if found.standings[0].rejection:
        print_table(_rejections(found))
    if any(not math.isnan(one.calibration[CONFIDENCE[0]].value) for one in found.standings):
        print_table(_confidences(found))
    print_table(_mistakes(found))
    if slices and found.disagreements:
        print_table(_slices(found, slices))
        click.echo("These were picked for their differences: leads to follow, not findings.")
    if flips and found.flips:
        print_table(_flips(found, flips))
    click.echo(
        f"{len(found.flips)} of {len(found.samples)} samples flip: some have them right, others "
        f"wrong."
    )
    if csv_path:
        say(f"Flips: {csv_path}")
    first = found.entries[0].path
    say(f"Next: groundingme show {first} --id ID", err=True)


def write_flips(found: Comparison, path: Path) -> None:
    """Writes every flip as a row: the sample, and right, outcome and IoU of each run.

    Raises:
        UsageError: The file cannot be written.
    """
    heads = ["id", "subtask_l1", "subtask_l2", "description"]
    for one in found.entries:
        heads += [f"{one.label} right", f"{one.label} outcome", f"{one.label} iou"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(map(cell, heads))
            for flip in found.flips:
                sample = found.samples[flip.index]
                row = [sample.id, sample.subtask_l1, sample.subtask_l2, sample.description]
                for entry, right in zip(found.entries, flip.right, strict=True):
                    score = entry.scores[flip.index]
                    row += [str(int(right)), score.outcome, f"{score.iou:.4f}"]
                writer.writerow(map(cell, row))
    except OSError as error:
        raise UsageError(
            f"expected a file that can be written, got {path} ({error.strerror}); name another"
        ) from None


def _table(title: str, headings: Sequence[str], left: int = 1) -> Table:
    """In the style of the other tables: the first `left` columns are text."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold",
        box=SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    for at, heading in enumerate(headings):
        # Text may fold; a figure may not, nor the longest word above it.
        width = 0 if at < left else min(14, max(map(len, re.split(r"[ /]", heading))))
        table.add_column(
            heading, justify="left" if at < left else "right", overflow="fold", min_width=width
        )
    return table


def _accuracies(found: Comparison) -> Table:
    groups = [name for name in found.standings[0].accuracy if "/" not in name]
    images = int(found.clusters.max()) + 1
    shown = f"{len(found.samples)} samples"
    if images < len(found.samples):
        shown += f" of {images} images"
    run = found.entries[0].run
    table = _table(
        f"Acc@0.5 in % on {run.data_name} · {shown} · {found.entries[0].scores.protocol} · "
        "95 % intervals",
        ["model", "rank", *groups],
    )
    for one in found.standings:
        best, worst = one.rank
        rank = str(best) if best == worst else f"{best} to {worst}"
        table.add_row(one.label, rank, *(_cell(one.accuracy[name]) for name in groups))
    return table


def _rejections(found: Comparison) -> Table:
    """Measures by runs with intervals; where the runs are many, runs by measures without."""
    known = found.standings[0].rejection
    names = [
        name
        for name in REJECTION
        if name in known and any(not math.isnan(s.rejection[name].value) for s in found.standings)
    ]
    title = "Pointing and rejecting, in %"
    if len(found.standings) > _BESIDE:
        table = _table(title, ["model", *names])
        for one in found.standings:
            table.add_row(one.label, *(_value(one.rejection[name]) for name in names))
        return table
    table = _table(title, ["", *(one.label for one in found.standings)])
    for name in names:
        table.add_row(name, *(_line(one.rejection[name]) for one in found.standings))
    return table


def _confidences(found: Comparison) -> Table:
    """What the confidence of each run is worth; lower is better."""
    table = _table("What the confidence is worth, in %: lower is better", ["model", *CONFIDENCE])
    for one in found.standings:
        table.add_row(one.label, *(_line(one.calibration[name]) for name in CONFIDENCE))
    return table


def _mistakes(found: Comparison) -> Table:
    table = _table("What became of the samples", ["model", *found.standings[0].mistakes])
    for one in found.standings:
        table.add_row(one.label, *(str(count or "·") for count in one.mistakes.values()))
    return table


def _slices(found: Comparison, most: int) -> Table:
    from groundingme.wording import p_value, points

    two = len(found.entries) == 2
    a, b = ("only A right", "only B right")
    if two:
        a, b = (f"only {one.label} right" for one in found.entries)
    heads = ["samples where", *(() if two else ("A", "B")), "n", a, b]
    heads += ["difference" if two else "A − B", "p (Holm)"]
    table = _table("Where they differ most", heads, left=1 if two else 3)
    for one in found.disagreements[:most]:
        pair = () if two else (found.entries[one.a].label, found.entries[one.b].label)
        table.add_row(one.group, *pair, str(one.samples), str(one.only_a), str(one.only_b),
                      points(one.difference), p_value(one.adjusted))  # fmt: skip
    return table


def _flips(found: Comparison, most: int) -> Table:
    labels = [one.label for one in found.entries]
    table = _table("Flips", ["id", "subtask", *labels, "description"], left=99)
    for flip in found.flips[:most]:
        sample = found.samples[flip.index]
        said = []
        for entry, right in zip(found.entries, flip.right, strict=True):
            score = entry.scores[flip.index]
            overlap = f" IoU {score.iou:.2f}" if score.outcome == "box" else ""
            said.append(f"{'right' if right else 'wrong'}, {score.outcome}{overlap}")
        subtask = f"{sample.subtask_l1}/{sample.subtask_l2}".strip("/")
        table.add_row(flip.id, subtask, *said, sample.description[:160])
    return table


def _cell(one: Estimate) -> str:
    """The figure, and below it the interval."""
    ends = _ends(one)
    return f"{_value(one)}\n{ends}" if ends else _value(one)


def _line(one: Estimate) -> str:
    """The figure, and beside it the interval."""
    ends = _ends(one)
    return f"{_value(one)} ({ends})" if ends else _value(one)


def _value(one: Estimate) -> str:
    from groundingme.result import percent

    return percent(one.value).replace("-", "−")


def _ends(one: Estimate) -> str:
    from groundingme.wording import points

    return "" if math.isnan(one.low) else f"{points(one.low)} to {points(one.high)}"
