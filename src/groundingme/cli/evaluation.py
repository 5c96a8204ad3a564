"""`groundingme eval` and `groundingme score`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import (
    asking_options,
    data_options,
    json_option,
    open_cache,
    pacing_options,
    provider_options,
    retry_options,
    retry_policy,
    server_options,
    worker_options,
    workers,
)
from groundingme.errors import JobError, UsageError
from groundingme.terminal import say, visible_json

if TYPE_CHECKING:
    from groundingme.result import Result

INTERRUPTED = 130


@click.command("eval")
@click.argument("model", required=False)
@data_options(required=False)
@click.option("--protocol", default="strict", show_default=True, help="Whose scores to print.")
@asking_options
@pacing_options
@click.option("--temperature", default=0.0, show_default=True, help="0 is greedy.")
@click.option("--max-tokens", default=20480, show_default=True, help="Most tokens of a reply.")
@click.option("--jpeg-quality", type=click.IntRange(1, 95), help="Re-encode images; 75 as the published script. Default: the original bytes.")  # fmt: skip  # noqa: E501
@click.option("--control", metavar="grey|shuffled", help="Show other images in place of the right ones: what is right without looking?")  # fmt: skip  # noqa: E501
@click.option("--price", metavar="PROMPT,COMPLETION", help="Dollars per million tokens. Default: from the table of prices.")  # fmt: skip  # noqa: E501
@click.option("--budget", type=float, help="Most dollars that the run may cost; it stops before.")
@click.option("--cache", "use_cache", is_flag=True, help="Take replies that any run paid for from the cache; see `groundingme cache`.")  # fmt: skip  # noqa: E501
@click.option("-o", "--out", default="runs", show_default=True, help="Folder of runs.")
@server_options
@worker_options
@retry_options
@click.option("--retry-failed", is_flag=True, help="Ask only what failed in an earlier session.")
@click.option("--max-failed", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Share of samples that may fail; beyond it the exit code is 1.")  # fmt: skip  # noqa: E501
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--dry-run", is_flag=True, help="Print the first request as JSON; send nothing.")
@json_option
def eval_command(
    model: str | None,
    data: str | None,
    quiet: bool,
    dry_run: bool,
    use_cache: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run MODEL on a data set, and score what it says.

    MODEL is PROVIDER/NAME, such as openai/Qwen/Qwen3-VL-8B-Instruct or baseline/center. The same
    command continues an interrupted run and asks nothing twice.

    Without MODEL, the two built-in models answer the scenes, and a page shows how they differ.
    """
    if model is None:
        _showcase(settings, as_json=as_json)
        return
    if data is None and not model.startswith("builtin/"):
        raise UsageError(
            "expected a data set for the model, got none; add --data groundingme for the "
            "benchmark, --data scenes for scenes drawn here, or a folder of your own"
        )
    from groundingme import progress
    from groundingme.evaluation import evaluate

    provider = provider_options(settings)
    retry = retry_policy(settings)
    crew = workers(settings)
    if dry_run:
        _dry_run(model, data or "scenes", settings, provider)
        return
    result = evaluate(
        model,
        data or "scenes",
        progress=progress.Quiet() if quiet else progress.for_terminal(),
        retry=retry,
        cache=open_cache() if use_cache else None,
        workers=crew,
        **settings,
        **provider,
    )
    report(result, as_json=as_json)
    if result.interrupted:
        click.echo("Interrupted; the same command continues this run.", err=True)
        sys.exit(INTERRUPTED)
    if result.stopped:
        raise JobError(result.stopped)
    if result.incomplete:
        raise JobError(
            f"{result.failed} of {result.run.samples} samples failed, more than --max-failed "
            "allows; mend what is said of them above, and the same command asks them again"
        )
    if result.failed:
        click.echo(
            f"{result.failed} of {result.run.samples} samples failed; "
            "the same command asks them again.",
            err=True,
        )
    if not as_json:
        click.echo(f"Next: groundingme show {result.path} --wrong", err=True)


def _dry_run(model: str, data: str, settings: dict[str, Any], provider: dict[str, Any]) -> None:
    import json

    from groundingme.dry_run import dry_run

    for name in (
        "protocol",
        "concurrency",
        "rpm",
        "tpm",
        "out",
        "price",
        "budget",
        "retry_failed",
        "max_failed",
    ):
        settings.pop(name)
    found = dry_run(model, data, **settings, **provider)
    click.echo(visible_json(json.dumps(found, ensure_ascii=False, indent=2)))


def _showcase(settings: dict[str, Any], *, as_json: bool) -> None:
    """`groundingme eval` alone; every option but these belongs to a model."""
    from pathlib import Path

    from groundingme.cli.demo import showcase

    context = click.get_current_context()
    given = [
        name
        for name in context.params
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        and name not in ("out", "limit", "as_json")
    ]
    if given:
        option = given[0].replace("_", "-")
        raise UsageError(f"expected a model with --{option}, got none; such as builtin/grounder")
    out = Path(settings["out"])
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"expected a folder of runs that can be written, got {out} ({error.strerror})"
        ) from None
    showcase(out, out / "report.html", limit=settings["limit"], as_json=as_json)


@click.command("score")
@click.argument("source", metavar="RUN_OR_FILE")
@data_options(required=False)
@click.option("--protocol", default="strict", show_default=True, help="Whose scores to print.")
@click.option("--coords", help="How the model writes a box; auto: as calibrated, else as its family. Default: as the run says, or abs.")  # fmt: skip  # noqa: E501
@json_option
def score_command(source: str, data: str | None, as_json: bool, **settings: Any) -> None:
    """Score a run again without a model, or replies that were made elsewhere.

    RUN_OR_FILE is a run folder, a JSONL with {"id": ..., "reply": ...} a line, the published
    script's results file, VLMEvalKit's xlsx or tsv, or lmms-eval's samples jsonl.
    """
    from groundingme.evaluation import score

    report(score(source, data, **settings), as_json=as_json)


def report(result: Result, *, as_json: bool) -> None:
    """Prints a result: a table for people, or one JSON object."""
    from groundingme.cli.options import print_json, print_table

    if as_json:
        print_json(result.as_dict())
        return
    if result.incomplete:
        say(result.incomplete)
    if not result.without_score:
        print_table(result.table())
    for line in result.lines():
        say(line)
    if result.path:
        click.echo(f"Run: {result.path}")
