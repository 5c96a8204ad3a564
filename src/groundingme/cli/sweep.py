"""`groundingme sweep`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import json_option, print_json, print_table
from groundingme.errors import MissingDependencyError
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.train.sweep.plan import Learner, Ratio
    from groundingme.train.sweep.running import Sweep

INTERRUPTED = 130


@click.command("sweep")
@click.argument("base")
@click.option("-o", "--out", default="sweep", show_default=True, help="Folder of everything; the same command goes on there.")  # fmt: skip  # noqa: E501
@click.option("--ratios", default="1:8,1:4,1:2,1:1,2:1", show_default=True, help="Negatives to positives in training; 0:1 is a control without negatives.")  # fmt: skip  # noqa: E501
@click.option("--seeds", type=click.IntRange(1), help="Models of each ratio.  [default: 3; 1 with --quick]")  # fmt: skip  # noqa: E501
@click.option("--max-loss", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Points that positives may lose for a ratio to be recommended.")  # fmt: skip  # noqa: E501
@click.option("--workers", type=click.IntRange(1), help="Processes that train.  [default: one a core]")  # fmt: skip  # noqa: E501
@click.option("--quick", is_flag=True, help="Very little of everything, to see that it works; the figures mean nothing.")  # fmt: skip  # noqa: E501
@click.option("--dry-run", is_flag=True, help="Say what would be done, and what is done.")
@json_option
def sweep_command(
    base: str,
    out: str,
    ratios: str,
    seeds: int | None,
    max_loss: float,
    workers: int | None,
    quick: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train BASE on mixtures of every ratio, evaluate each, and draw what is gained and lost.

    BASE builtin/grounder is the built-in grounder's matcher, trained on drawn scenes on any CPU.
    Ctrl-C loses a minute at most, and the same command goes on.
    """
    from groundingme.interrupting import Interrupted
    from groundingme.train.sweep import running
    from groundingme.train.sweep.plan import parse_ratios

    chosen = parse_ratios(ratios)
    numbers = list(range(seeds or (1 if quick else 3)))
    learner = _learner(base, Path(out), quick)
    if dry_run:
        _say_what(learner, chosen, numbers, out)
        return
    try:
        found = running.run(
            learner, chosen, numbers, Path(out),
            workers=workers or os.cpu_count() or 1, max_loss=max_loss,
        )  # fmt: skip
    except (Interrupted, KeyboardInterrupt):
        click.echo("Interrupted; the same command goes on.", err=True)
        sys.exit(INTERRUPTED)
    _show(found, as_json)


def _learner(base: str, out: Path, quick: bool) -> Learner:
    from groundingme.train.sweep import grounder

    return grounder.grounder(base, out, quick=quick)


def _say_what(learner: Learner, ratios: list[Ratio], seeds: list[int], out: str) -> None:
    from groundingme.train.sweep.plan import name_of
    from groundingme.train.sweep.running import steps

    jobs = list(steps(learner, ratios, seeds))
    left = sum(not done for _, done in jobs)
    models = ", ".join(name_of(one) for one in (None, *ratios))
    click.echo(f"Models of each of {len(seeds)} seeds: {models}")
    click.echo(f"Jobs: {len(jobs)}, of which {left} are left to do")
    for exam in learner.exams():
        click.echo(f"Evaluation {exam.domain.replace('-', ' ')}: {exam.data}")
    click.echo(f"Writes sweep.md, sweep.csv, sweep.json, sweep.png and sweep.svg into {out}")


def _show(found: Sweep, as_json: bool) -> None:
    from groundingme.train.sweep import figure, tables

    try:
        figure.write(found.reduced, found.out)
    except MissingDependencyError as error:
        say(str(error), err=True)
    if as_json:
        print_json(_as_json(found))
        return
    print_table(tables.terminal(found.reduced))
    for line in found.finding:
        click.echo(line)
    click.echo(f"Recommended: {found.advice.ratio or 'none'}. {found.advice.reason}")
    click.echo(f"Criterion: {found.advice.criterion}")
    click.echo(f"Files: {found.out / 'sweep.md'}, .csv, .json, .png, .svg", err=True)


def _as_json(found: Sweep) -> dict[str, Any]:
    import msgspec

    whole: dict[str, Any] = msgspec.to_builtins(found.reduced)
    advice = msgspec.to_builtins(found.advice)
    return {**whole, "finding": found.finding, "advice": advice, "out": str(found.out)}
