"""`groundingme ls` and `groundingme show`: what is there, and one sample of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundingme.cli.options import json_option, print_json, print_table, save_picture
from groundingme.errors import RunError, UsageError
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.datasets import Dataset
    from groundingme.schema import Generation, Sample, Score

DEFAULT = "runs"
SHEET = 24


@click.command("ls")
@click.argument("folder", default=DEFAULT)
@json_option
def ls_command(folder: str, as_json: bool) -> None:
    """List the runs in FOLDER (default: runs)."""
    from rich.table import Table

    from groundingme.evaluation import score
    from groundingme.result import percent
    from groundingme.store import RunFolder

    if not Path(folder).is_dir() and folder != DEFAULT:
        raise UsageError(f"expected a folder of runs, got none at {folder}; check the path")
    rows = []
    for path in sorted(Path(folder).glob("*/run.json")):
        try:
            run = RunFolder.open(path.parent)
            result = score(run.path)
        except RunError as error:
            say(f"left out: {error}", err=True)
            continue
        rows.append(
            {
                "run": str(run.path),
                "model": run.run.model,
                "data": run.run.data_name,
                "samples": run.run.samples,
                "done": run.run.samples - result.failed,
                "ACC@0.5": None if result.without_score else result.accuracy,
                "created": run.run.created,
            }
        )
    rows.sort(key=lambda row: (str(row["created"]), str(row["run"])))
    if as_json:
        print_json({"runs": rows})
        return
    if not rows:
        click.echo(f"No runs in {folder}; make one with: groundingme eval MODEL --data DATA")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "model", "data", "done", "Acc@0.5 (strict)", "created"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            str(row["run"]),
            str(row["model"]),
            str(row["data"]),
            f"{row['done']}/{row['samples']}",
            "–" if row["ACC@0.5"] is None else percent(float(row["ACC@0.5"])),  # type: ignore[arg-type]
            str(row["created"]),
        )
    print_table(table)


@click.command("show")
@click.argument("run")
@click.option("--id", "sample_id", help="One sample: its reply, its reading, and a picture.")
@click.option("--wrong", is_flag=True, help="The samples that are wrong, and a sheet of them.")
@click.option("--limit", type=click.IntRange(1, 999), default=SHEET, show_default=True, help="How many of them.")  # fmt: skip  # noqa: E501
@click.option("--protocol", default="strict", show_default=True, help="Whose scores to show.")
@click.option("-o", "--out", help="Picture to write. Default: in the run's folder.")
@json_option
def show_command(
    run: str,
    sample_id: str | None,
    wrong: bool,
    limit: int,
    protocol: str,
    out: str | None,
    as_json: bool,
) -> None:
    """Look at a run: its figures, one sample, or what went wrong."""
    from groundingme import drawing
    from groundingme.cli.evaluation import report
    from groundingme.evaluation import load_run_data, score
    from groundingme.store import RunFolder

    if sample_id and wrong:
        raise UsageError("expected --id or --wrong, got both; ask for one at a time")
    folder = RunFolder.open(run)
    result = score(run, protocol=protocol)
    if not sample_id and not wrong:
        report(result, as_json=as_json)
        click.echo(f"Next: groundingme show {folder.path} --wrong", err=True)
        return
    dataset, note = load_run_data(folder)
    if note:
        say(note, err=True)
    if sample_id:
        sample = dataset.find(sample_id)
        found = next(one for one in result.scores if one.id == sample_id)
        _show_one(sample, folder.generations().get(sample_id), found, as_json)
        picture = drawing.draw_sample(sample, found.box)
        name = f"{re.sub(r'[^A-Za-z0-9._-]', '_', sample_id)}.png"
    else:
        misses = [one for one in result.scores if one.iou < 0.5]
        _show_wrong(dataset, misses, len(result.scores), limit, as_json)
        if not misses:
            return
        drawn = misses[:limit]
        picture = drawing.contact_sheet(
            [dataset.find(one.id) for one in drawn], {one.id: one.box for one in drawn}
        )
        name = "wrong.png"
    path = out or str(folder.path / "pictures" / name)
    save_picture(picture, path)
    click.echo(f"Picture: {path}", err=as_json)


def _show_wrong(
    dataset: Dataset, misses: list[Score], total: int, limit: int, as_json: bool
) -> None:
    import msgspec
    from rich.table import Table

    if as_json:
        shown = [msgspec.to_builtins(one) for one in misses[:limit]]
        print_json({"wrong": len(misses), "samples": total, "shown": shown})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "subtask", "outcome", "reason", "IoU", "description"):
        table.add_column(heading, overflow="ellipsis", no_wrap=heading != "description")
    for one in misses[:limit]:
        sample = dataset.find(one.id)
        table.add_row(
            one.id,
            f"{sample.subtask_l1}/{sample.subtask_l2}".strip("/"),
            one.outcome,
            one.reason,
            f"{one.iou:.2f}",
            sample.description[:160],
        )
    print_table(table)
    click.echo(f"{len(misses)} of {total} samples are wrong (IoU below 0.5).")


def _show_one(sample: Sample, generation: Generation | None, score: Score, as_json: bool) -> None:
    import msgspec

    if not as_json:
        say(_describe(sample, generation, score))
        return
    print_json(
        {
            "id": sample.id,
            "description": sample.description,
            "target": sample.target,
            "generation": None if generation is None else msgspec.to_builtins(generation),
            "score": msgspec.to_builtins(score),
        }
    )


def _describe(sample: Sample, generation: Generation | None, score: Score) -> str:
    lines = [
        f"id           {sample.id}",
        f"subtask      {sample.subtask_l1}/{sample.subtask_l2}",
        f"image        {sample.image.name if sample.image else '-'}, "
        f"{sample.width} x {sample.height}",
        f"description  {sample.description}",
        f"target       {_box(sample.target)}",
    ]
    if sample.problem:
        lines.append(f"problem      {sample.problem}")
    if generation is None:
        lines.append("reply        not asked")
    elif generation.failure:
        lines.append(f"failed       {generation.failure}: {generation.detail}")
    else:
        if generation.reasoning:
            lines.append(f"reasoning    {generation.reasoning}")
        lines.append(f"reply        {generation.text}")
        tokens = f"{generation.prompt_tokens or '?'} + {generation.completion_tokens or '?'} tokens"
        lines.append(
            f"             {generation.finish_reason or 'no finish reason'}, {tokens}, "
            f"{generation.latency:.2f} s, {generation.attempts} attempts"
        )
    lines.append(f"reading      {score.outcome} ({score.reason}) {_box(score.box)}")
    lines.append(f"IoU          {score.iou:.4f}")
    return "\n".join(lines)


def _box(box: tuple[float, float, float, float] | None) -> str:
    return "none" if box is None else "[" + ", ".join(f"{edge:g}" for edge in box) + "]"
