"""`groundingme sweep`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import json_option, print_json, print_table
from groundingme.errors import MissingDependencyError, UsageError
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.train.mixing import Ratio
    from groundingme.train.sweep.plan import Learner
    from groundingme.train.sweep.running import Sweep

INTERRUPTED = 130


@click.command("sweep")
@click.argument("base")
@click.option("-o", "--out", default="sweep", show_default=True, help="Folder of everything; the same command goes on there.")  # fmt: skip  # noqa: E501
@click.option("--ratios", default="1:8,1:4,1:2,1:1,2:1", show_default=True, help="Negatives to positives in training; 0:1 is a control without negatives.")  # fmt: skip  # noqa: E501
@click.option("--seeds", type=click.IntRange(1), help="Models of each ratio.  [default: 3; 1 with --quick]")  # fmt: skip  # noqa: E501
@click.option("--max-loss", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Points that positives may lose for a ratio to be recommended.")  # fmt: skip  # noqa: E501
@click.option("--positives", metavar="DATA", help="Of the mixtures; for any BASE but the built-in one.")  # fmt: skip  # noqa: E501
@click.option("--negatives", metavar="DATA", help="Of the mixtures.")
@click.option("--split", help="Of both, such as train.")
@click.option("--negatives-split", help="Of the negatives, where it is another.")
@click.option("--total", type=click.IntRange(1), help="Samples of each mixture.  [default: as many as there are for every ratio]")  # fmt: skip  # noqa: E501
@click.option("--config", metavar="FILE", help="YAML or TOML as groundingme train takes it; `paper` ships.")  # fmt: skip  # noqa: E501
@click.option("--in-domain", multiple=True, metavar="DATA[@SPLIT]", help="Evaluated; can be repeated.  [default: refcocog@val, refcocog_rej@val]")  # fmt: skip  # noqa: E501
@click.option("--out-of-domain", multiple=True, metavar="DATA[@SPLIT]", help="Likewise.  [default: groundingme]")  # fmt: skip  # noqa: E501
@click.option("--limit", type=click.IntRange(1), help="The first N samples of each evaluation.")
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
    **tuning: Any,
) -> None:
    """Train BASE on mixtures of every ratio, evaluate each, and draw what is gained and lost.

    BASE builtin/grounder is the built-in grounder's matcher, trained on drawn scenes on any CPU.
    Any other is a Hub id or a folder, tuned on --positives and --negatives. Ctrl-C loses little,
    and the same command goes on.
    """
    from groundingme.interrupting import Interrupted
    from groundingme.train.sweep import running
    from groundingme.train.sweep.plan import sorted_ratios

    chosen = sorted_ratios(ratios)
    numbers = list(range(seeds or (1 if quick else 3)))
    learner = _learner(base, Path(out), quick, tuning)
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


def _learner(base: str, out: Path, quick: bool, tuning: dict[str, Any]) -> Learner:
    from groundingme.train.sweep.grounder import QUICK, Amount, Grounder

    if base == Grounder.name:
        given = [name for name, value in tuning.items() if value]
        if given:
            option = given[0].replace("_", "-")
            raise UsageError(f"expected no --{option} with {base}, which draws its own scenes")
        return Grounder(out, QUICK if quick else Amount())
    if base.startswith("builtin/"):
        raise UsageError(f"expected {Grounder.name}, a Hub id or a folder, got {base!r}")
    if not tuning["positives"] or not tuning["negatives"]:
        raise UsageError(
            f"expected --positives and --negatives to tune {base} on, got none; such as "
            "--positives data/refcocog --negatives refcocog_rej"
        )
    if quick:
        raise UsageError(
            f"expected --quick with {Grounder.name} only; give --total, --limit and --config"
        )
    return _tuned(base, out, tuning)


def _tuned(base: str, out: Path, tuning: dict[str, Any]) -> Learner:
    import msgspec

    from groundingme.train.sweep import hub
    from groundingme.train.sweep.plan import DOMAINS
    from groundingme.train.tuning.options import load_options

    config = tuning.pop("config")
    options = msgspec.to_builtins(load_options(config)) if config else {}
    options.pop("seed", None)
    limit = tuning.pop("limit")
    asked = []
    for domain in DOMAINS:
        texts = tuning.pop(domain.replace("-", "_")) or hub.EXAMS[domain]
        asked += hub.exams(domain, texts, limit)
    return hub.Tuned(base=base, out=out, options=options, asked=asked, **tuning)


def _say_what(learner: Learner, ratios: list[Ratio], seeds: list[int], out: str) -> None:
    from groundingme.train.sweep.plan import name_of
    from groundingme.train.sweep.running import steps

    jobs = list(steps(learner, ratios, seeds))
    left = sum(not done for _, done in jobs)
    models = ", ".join(name_of(one) for one in (None, *ratios))
    click.echo(f"Models of each of {len(seeds)} seeds: {models}")
    click.echo(f"Jobs: {len(jobs)}, of which {left} are left to do")
    for exam in learner.exams():
        split = f", {exam.split}" if exam.split else ""
        click.echo(f"Evaluation {exam.domain.replace('-', ' ')}: {exam.data}{split}")
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
