"""`groundingme study`: the open questions of the field as experiments."""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import (
    json_option,
    open_cache,
    pacing_options,
    pairs,
    print_json,
    print_table,
    provider_options,
    retry_options,
    retry_policy,
    server_options,
)
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.studies.study import Outcome, Setting, Study

INTERRUPTED = 130


@click.command("study")
@click.argument("name")
@click.argument("models", nargs=-1)
@click.option("--data", multiple=True, help="Name, path or Hub id of a data set; several where the study takes several.")  # fmt: skip  # noqa: E501
@click.option("--split", help="Of the data set, where it has several.")
@click.option("--limit", type=click.IntRange(1), help="The first N samples of each data set only.")
@click.option("--set", "knobs", multiple=True, metavar="NAME=VALUE", help="An option of the study's own; `study list` names them.")  # fmt: skip  # noqa: E501
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--max-tokens", default=20480, show_default=True, help="Most tokens of a reply.")
@click.option("--price", metavar="PROMPT,COMPLETION", help="Dollars per million tokens. Default: from the table of prices.")  # fmt: skip  # noqa: E501
@click.option("--budget", type=float, help="Most dollars that the study may cost; it stops before.")
@click.option("--cache", "use_cache", is_flag=True, help="Take replies that any run paid for from the cache.")  # fmt: skip  # noqa: E501
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("studies"), show_default=True, help="Folder of studies.")  # fmt: skip  # noqa: E501
@pacing_options
@server_options
@retry_options
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked, and about what it would cost.")  # fmt: skip  # noqa: E501
@json_option
def study_command(
    name: str,
    models: tuple[str, ...],
    data: tuple[str, ...],
    split: str | None,
    limit: int | None,
    knobs: tuple[str, ...],
    seed: int,
    use_cache: bool,
    out: Path,
    quiet: bool,
    dry_run: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run the study NAME on MODELS, or `list` what there is.

    Without MODELS and --data, the built-in models answer drawn scenes: nothing but this package is
    needed. The same command goes on where it was interrupted.
    """
    from groundingme.interrupting import Interrupted
    from groundingme.studies import STUDIES, running

    if name == "list":
        _list(as_json=as_json)
        return
    study = STUDIES.get(name)
    given = running.knobs(study, pairs(knobs, "--set"))
    asking: dict[str, Any] = {"retry": retry_policy(settings), **provider_options(settings)}
    asking |= {key: value for key, value in settings.items() if value is not None}
    if use_cache:
        asking["cache"] = open_cache()
    setting = _setting(study, models, data, split, limit, out / study.name, given, asking, seed)
    if dry_run:
        _dry_run(study, setting, as_json=as_json)
        return
    try:
        outcome = running.run(
            study,
            setting,
            progress=functools.partial(_progress, quiet=quiet),
            tell=(lambda line: None) if quiet else (lambda line: say(line, err=True)),
        )
    except Interrupted:
        click.echo("Interrupted; the same command continues this study.", err=True)
        sys.exit(INTERRUPTED)
    _print(setting, outcome, as_json=as_json)


def _progress(*, quiet: bool) -> Any:
    from groundingme import progress

    return progress.Quiet() if quiet else progress.for_terminal()


def _setting(
    study: Study,
    models: tuple[str, ...],
    data: tuple[str, ...],
    split: str | None,
    limit: int | None,
    folder: Path,
    knobs: dict[str, Any],
    asking: dict[str, Any],
    seed: int,
) -> Setting:
    from groundingme.datasets import load_dataset
    from groundingme.studies.study import Setting

    return Setting(
        models=models or study.models,
        datasets=[load_dataset(one, split=split).select(limit=limit) for one in data or study.data],
        folder=folder,
        knobs=knobs,
        asking=asking,
        seed=seed,
    )


def _list(*, as_json: bool) -> None:
    from groundingme.studies import STUDIES

    found = [STUDIES.get(name) for name in STUDIES.names()]
    if as_json:
        rows = [
            {
                "name": one.name, "question": one.question, "needs": one.needs,
                "models": list(one.models), "data": list(one.data),
                "options": {knob.name: [knob.default, knob.text] for knob in one.knobs},
            }
            for one in found
        ]  # fmt: skip
        print_json(rows)
        return
    for one in found:
        say(one.name)
        say(f"  {one.question}")
        say(f"  Needs {one.needs}")
        say(f"  Offline: {' '.join(one.models)} on {', '.join(one.data)}")
        for knob in one.knobs:
            say(f"  --set {knob.name}={knob.default}: {knob.text}")
        say("")
    say("groundingme study NAME --dry-run says what it would ask, and about what it would cost.")


def _dry_run(study: Study, setting: Setting, *, as_json: bool) -> None:
    import msgspec
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from groundingme.studies import running
    from groundingme.studies.page import plain

    found = running.estimate(study, setting)
    if as_json:
        print_json(plain(msgspec.structs.asdict(found)))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("condition", "model", "samples", "replies each", "there"):
        table.add_column(title, justify="left" if title in ("condition", "model") else "right")
    for row in found.conditions:
        table.add_row(*(str(value) for value in row))
    print_table(table)
    how = "as counted in this folder so far" if found.measured else "a guess before the first reply"
    dollars = "price unknown" if math.isnan(found.dollars) else f"about ${found.dollars:.2f}"
    say(
        f"{found.requests:,} requests to go, about {found.prompt_tokens:,} prompt and "
        f"{found.completion_tokens:,} completion tokens ({how}), {dollars}."
    )
    if study.then is not None:
        say("Questions that depend on the answers may follow, and are not among them.")


def _print(setting: Setting, outcome: Outcome, *, as_json: bool) -> None:
    from groundingme.studies.page import cell, plain

    page = setting.folder / "study.html"
    if as_json:
        print_json(
            {
                "finding": outcome.finding,
                "values": plain(dict(outcome.values)),
                "page": str(page),
            }
        )
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    for one in outcome.tables:
        table = Table(title=one.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD,
                      pad_edge=False)  # fmt: skip
        for at, title in enumerate(one.columns):
            table.add_column(title, justify="right" if at else "left")
        for row in one.rows:
            table.add_row(*(cell(value) for value in row))
        print_table(table)
        if one.note:
            say(one.note)
    for line in outcome.notes:
        say(f"Note: {line}")
    say(outcome.finding)
    say(f"Page: {page.resolve().as_uri()}")
