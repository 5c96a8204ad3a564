"""`groundingme sample` and `groundingme select`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import (
    asking_options,
    data_options,
    json_option,
    open_cache,
    pacing_options,
    print_json,
    provider_options,
    retry_options,
    retry_policy,
    server_options,
)
from groundingme.errors import JobError, UsageError
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.models import Model
    from groundingme.scale.court import Court, Purse
    from groundingme.scale.selection import Judged, Row, SampleRun
    from groundingme.scale.stopping import Rule

INTERRUPTED = 130


@click.command("sample")
@click.argument("model")
@data_options
@click.option("-n", "n", type=click.IntRange(2), default=16, show_default=True, help="Trajectories of each sample.")  # fmt: skip  # noqa: E501
@click.option("--temperature", type=float, default=0.7, show_default=True, help="Above 0.")
@click.option("--adaptive", metavar="RULE", help="Stop a sample early: posterior:0.8 (the leading answer is likely the commonest) or window:3 (the last 3 agree).")  # fmt: skip  # noqa: E501
@asking_options
@pacing_options
@click.option("--max-tokens", default=20480, show_default=True, help="Most tokens of a reply.")
@click.option("--jpeg-quality", type=click.IntRange(1, 95), help="Re-encode images. Default: the original bytes.")  # fmt: skip  # noqa: E501
@click.option("--price", metavar="PROMPT,COMPLETION", help="Dollars per million tokens. Default: from the table of prices.")  # fmt: skip  # noqa: E501
@click.option("--budget", type=float, help="Most dollars that the run may cost; it stops before.")
@click.option("--cache", "use_cache", is_flag=True, help="Take replies that any run paid for from the cache.")  # fmt: skip  # noqa: E501
@click.option("-o", "--out", default="runs", show_default=True, help="Folder of runs.")
@server_options
@retry_options
@click.option("--max-failed", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Share of trajectories that may fail; beyond it the exit code is 1.")  # fmt: skip  # noqa: E501
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def sample_command(
    model: str,
    adaptive: str | None,
    quiet: bool,
    use_cache: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Ask MODEL for several trajectories of each sample.

    The same command continues an interrupted run, and one with a larger -n adds to it. Look at the
    run with `groundingme select`.
    """
    from groundingme import progress
    from groundingme.scale.sampling import sample

    provider = provider_options(settings)
    result = sample(
        model,
        settings.pop("data"),
        adaptive=_rule(adaptive) if adaptive else None,
        cache=open_cache() if use_cache else None,
        retry=retry_policy(settings),
        progress=progress.Quiet() if quiet else progress.for_terminal(),
        **settings,
        **provider,
    )
    if as_json:
        print_json(
            {
                "run": str(result.path),
                "trajectories": result.trajectories,
                "replies": result.replies,
                "failed": result.failed,
                "missing": result.missing,
                "saved": result.saved,
                "prompt_tokens": result.spending.prompt_tokens,
                "completion_tokens": result.spending.completion_tokens,
                "dollars": result.spending.dollars if result.spending.price else None,
                "notes": list(result.notes),
            }
        )
    else:
        saved = f", {result.saved:,} not needed" if result.saved else ""
        failed = f", {result.failed:,} failed" if result.failed else ""
        click.echo(f"{result.replies:,} trajectories{failed}{saved}")
        for line in (*result.notes, result.spending.line()):
            if line:
                say(line)
        click.echo(f"Run: {result.path}")
    if result.interrupted:
        click.echo("Interrupted; the same command continues this run.", err=True)
        sys.exit(INTERRUPTED)
    if result.stopped:
        raise JobError(result.stopped)
    if not result.replies:
        raise JobError("expected replies, got none; look at generations.jsonl in the run's folder")
    if result.incomplete:
        raise JobError(result.incomplete)
    if not as_json:
        click.echo(f"Next: groundingme select {result.path}", err=True)


def _rule(text: str) -> Rule:
    from groundingme.scale import stopping

    name, _, value = text.partition(":")
    try:
        if name == "posterior":
            threshold = float(value or 0.8)
            if 0.5 < threshold < 1:
                return stopping.posterior(threshold)
        elif name == "window":
            length = int(value or 3)
            if length >= 2:
                return stopping.window(length)
    except ValueError:
        pass
    raise UsageError(
        "expected posterior:P with P between 0.5 and 1, or window:N with N of 2 or more, got "
        f"{text!r}"
    )


@click.command("select")
@click.argument("run_folder", metavar="RUN")
@click.option("--by", default="all", show_default=True, help="Selectors, with commas between them.")
@click.option("--judge", "judges", multiple=True, metavar="NAME", help="traces, answers, full, checklist, routed or presence; can be repeated.")  # fmt: skip  # noqa: E501
@click.option("--judge-model", metavar="MODEL", help="Any PROVIDER/NAME that answers the judge's questions.")  # fmt: skip  # noqa: E501
@click.option("--way", type=click.Choice(["clusters", "knockout"]), default="clusters", show_default=True, help="Compare one of each cluster, or all as the paper does.")  # fmt: skip  # noqa: E501
@click.option("--orders", type=click.Choice(["both", "random"]), default="both", show_default=True, help="Show each pair in both orders, or once in a random one.")  # fmt: skip  # noqa: E501
@pacing_options
@click.option("--max-tokens", default=8192, show_default=True, help="Most tokens of a judge's reply.")  # fmt: skip  # noqa: E501
@server_options
@retry_options
@click.option("--budget", type=float, help="Most dollars that judges may cost, earlier sessions included; beyond it the majority decides.")  # fmt: skip  # noqa: E501
@click.option("--judge-price", metavar="PROMPT,COMPLETION", help="Of the judge's model, in dollars per million tokens. Default: from the table of prices.")  # fmt: skip  # noqa: E501
@click.option("--price", metavar="PROMPT,COMPLETION", help="Of the sampled model, in dollars per million tokens.")  # fmt: skip  # noqa: E501
@click.option("--curve", "curve_path", metavar="FILE", help="Draw the score against N into this picture.")  # fmt: skip  # noqa: E501
@click.option("--page", "page_path", metavar="FILE", help="Write an HTML page: trajectories side by side, their boxes, what judges said.")  # fmt: skip  # noqa: E501
@click.option("--seed", default=0, show_default=True, help="Of chance, of orders and of intervals.")
@json_option
def select_command(
    run_folder: str,
    by: str,
    judges: tuple[str, ...],
    judge_model: str | None,
    curve_path: str | None,
    page_path: str | None,
    price: str | None,
    seed: int,
    as_json: bool,
    **settings: Any,
) -> None:
    """Choose one answer of the several that a RUN holds, in every way, and say what each is worth.

    Without --judge nothing is asked. What a judge says is kept in the run's folder, so the same
    command continues after an interruption and asks nothing twice.
    """
    from groundingme.costs import parse_price
    from groundingme.evaluation import spending_for
    from groundingme.interrupting import Interrupted
    from groundingme.scale.court import Purse
    from groundingme.scale.selection import load_sample_run, select

    if bool(judges) != bool(judge_model):
        raise UsageError(
            "expected --judge and --judge-model together, got one of them; such as "
            "--judge answers --judge-model openai/NAME"
        )
    budget, judge_price = settings.pop("budget"), settings.pop("judge_price")
    if (budget or judge_price) and not judges:
        raise UsageError("expected --judge with --budget and --judge-price, which are the judge's")
    run = load_sample_run(run_folder, images=any(name != "traces" for name in judges))
    purse = Purse(spending_for(judge_model or "", judge_price, budget))
    judged = _judged(run, judges, judge_model or "", seed, purse, settings) if judges else {}
    names = [name.strip() for name in by.split(",") if name.strip()]
    if names != ["all"]:
        names += judged
    try:
        rows = select(
            run, names, judged=judged, price=parse_price(price) if price else None, seed=seed
        )
    except Interrupted:
        click.echo("Interrupted; the same command goes on with the judge.", err=True)
        sys.exit(INTERRUPTED)
    if curve_path:
        from groundingme.scale.figures import draw_curve

        draw_curve(run, curve_path, seed=seed)
    if page_path:
        _write_page(run, rows, page_path, seed)
    if as_json:
        print_json(_as_json(run, rows))
    else:
        _print(run, rows)
    if line := purse.stopped():
        raise JobError(line)


def _print(run: SampleRun, rows: Sequence[Row]) -> None:
    from groundingme.cli.options import print_table
    from groundingme.scale.selection import table

    print_table(table(rows))
    click.echo(
        f"{len(run.t)} samples, {run.t.n} trajectories each. Mean and oracle are expectations: one "
        "trajectory at random, and a judge that is never wrong."
    )
    for note in run.notes:
        click.echo(f"Note: {note}.")


def _write_page(run: SampleRun, rows: Sequence[Row], path: str, seed: int) -> None:
    from pathlib import Path

    from groundingme.report.trajectories import trajectory_page
    from groundingme.saving import load_run_data
    from groundingme.store import write_atomically

    dataset, why = load_run_data(run.folder)
    if why:
        click.echo(f"Note: {why}.", err=True)
    text = trajectory_page(run, dataset, rows, seed=seed)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), text.encode())
    except OSError as error:
        raise UsageError(
            f"expected a page that can be written, got {path} ({error.strerror})"
        ) from None
    click.echo(f"Page: {Path(path).resolve().as_uri()}", err=True)


def _as_json(run: SampleRun, rows: Sequence[Row]) -> dict[str, Any]:
    import math

    import msgspec

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return None if isinstance(value, float) and math.isnan(value) else value

    return {
        "run": str(run.folder.path),
        "samples": len(run.t),
        "trajectories": run.t.n,
        "rows": [plain(msgspec.to_builtins(row)) for row in rows],
        "notes": list(run.notes),
    }


def _judged(
    run: SampleRun,
    names: Sequence[str],
    model: str,
    seed: int,
    purse: Purse,
    settings: dict[str, Any],
) -> dict[str, Judged]:
    """The judged selectors by the names of their rows."""
    from groundingme.judges import JUDGES
    from groundingme.models import load_model
    from groundingme.registry import unknown
    from groundingme.scale.judged import JUDGED, Presence, presence_then_place, routed

    known = [*JUDGES.names(), "routed", "presence"]
    for name in names:
        if name not in known:
            raise unknown("judge", name, known)
    asked: Model = load_model(model, **provider_options(settings))
    retry, way, asked_in = retry_policy(settings), settings.pop("way"), settings.pop("orders")

    def court(name: str, orders: Any = None) -> Court:
        from groundingme.scale.court import Court

        judge = Presence() if name == "presence" else JUDGES.get(name)()
        return Court(
            judge, asked, run.folder.path, orders=orders or asked_in, seed=seed, retry=retry,
            purse=purse, tell=lambda line: click.echo(line, err=True), **settings,
        )  # fmt: skip

    def one(name: str) -> Judged:
        def ask(hearing: Any) -> Any:
            if name == "routed":
                courts = [court("answers"), court("traces")]
                return routed(hearing, *courts), courts
            if name == "presence":
                courts = [court("presence", "given")]
                return presence_then_place(hearing, courts[0]), courts
            courts = [court(name)]
            return JUDGED[way](hearing, courts[0]), courts

        return ask

    label: Callable[[str], str] = lambda name: (  # noqa: E731
        name if name in ("routed", "presence") else f"{name}, {way}"
    )
    return {label(name): one(name) for name in names}
