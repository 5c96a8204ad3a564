"""`groundingme negatives` and `groundingme mix`: data to train on."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import json_option, pairs, print_json
from groundingme.errors import UsageError
from groundingme.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groundingme.build.questions import Asked

INTERRUPTED = 130
RULES = "rules"


@contextmanager
def _interruptible() -> Iterator[None]:
    from groundingme.interrupting import Interrupted, Interruptible

    try:
        with Interruptible():
            yield
    except (Interrupted, KeyboardInterrupt):
        click.echo("Interrupted; the same command goes on.", err=True)
        sys.exit(INTERRUPTED)


def _tell(line: str) -> None:
    say(line, err=True)


def _silent(line: str) -> None:
    return


@click.command("negatives")
@click.argument("data")
@click.option("-o", "--out", default="negatives", show_default=True, help="Folder to write: a data set.")  # fmt: skip  # noqa: E501
@click.option("--kind", "kinds", default="appearance,component,text,state,absent,swap", show_default=True, help="What is made wrong, with commas between.")  # fmt: skip  # noqa: E501
@click.option("--model", default=RULES, show_default=True, metavar="rules|PROVIDER/NAME", help="Who makes them wrong.")  # fmt: skip  # noqa: E501
@click.option("--per-positive", type=click.IntRange(1), default=1, show_default=True, help="Most negatives of one positive, each of another kind.")  # fmt: skip  # noqa: E501
@click.option("-n", "--limit", type=click.IntRange(1), help="Of the first N positives only.")
@click.option("--split", help="Of the data set. Default: train, where it has one.")
@click.option("--check", type=click.Choice(["boxes", "model", "none"]), default="boxes", show_default=True, help="Against what the data set knows of the picture, or by a model as well.")  # fmt: skip  # noqa: E501
@click.option("--check-model", metavar="PROVIDER/NAME", help="Who checks, with --check model.")
@click.option("--specific", type=click.Choice(["image", "description", "both"]), default="both", show_default=True, help="Keep those that were checked against the picture, those from words alone, or both.")  # fmt: skip  # noqa: E501
@click.option("--boxes", metavar="FILE", help="All boxes of the pictures, in a layout that build reads: makes checks surer.")  # fmt: skip  # noqa: E501
@click.option("--base-url", help="Address of an OpenAI-compatible server, for --model.")
@click.option("--check-base-url", help="The same for --check-model. Default: that of --model.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Further option of the provider; can be repeated.")  # fmt: skip  # noqa: E501
@click.option("--temperature", type=click.FloatRange(0, 2), default=0.0, show_default=True, help="Of --model.")  # fmt: skip  # noqa: E501
@click.option("--max-tokens", type=click.IntRange(1), default=4096, show_default=True, help="Most tokens of a reply.")  # fmt: skip  # noqa: E501
@click.option("--thinking", metavar="on|off|N", default="", help="Thinking, or a budget of N tokens. Default: the model's own way.")  # fmt: skip  # noqa: E501
@click.option("--price", metavar="PROMPT,COMPLETION", default="", help="Dollars per million tokens. Default: from the table of prices.")  # fmt: skip  # noqa: E501
@click.option("--budget", type=click.FloatRange(0), help="Most dollars that writing may cost, and checking as well.")  # fmt: skip  # noqa: E501
@click.option("--concurrency", type=click.IntRange(1), help="Requests in flight at once. Default: as many as the server can take.")  # fmt: skip  # noqa: E501
@click.option("--seed", default=0, show_default=True, help="Of every choice.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def negatives_command(
    data: str,
    out: str,
    kinds: str,
    model: str,
    split: str | None,
    check_model: str | None,
    base_url: str | None,
    check_base_url: str | None,
    options: tuple[str, ...],
    budget: float | None,
    boxes: str | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Make wrong variants of the true descriptions in DATA, which nothing in the picture matches.

    What is written has the columns of RefCOCOg_rej, so --data and `groundingme mix` read it. Each
    change is on record in changes.jsonl, and what was dropped is counted in negatives.json. The
    same command goes on where it was interrupted.
    """
    from groundingme.build.questions import Asked
    from groundingme.train.negatives import Options, make_negatives, parse_kinds, sentences

    given = {
        name: settings.pop(name) for name in ("max_tokens", "thinking", "price", "concurrency")
    }
    temperature = settings.pop("temperature")
    asked = None
    if model != RULES:
        asked = Asked(
            model=model, base_url=base_url or "", options=pairs(options, "--option"),
            temperature=temperature, **given,
        )  # fmt: skip
    elif temperature or (base_url and not check_model):
        raise UsageError("expected --model PROVIDER/NAME with options for a model, got rules")
    with _interruptible():
        made = make_negatives(
            data,
            out=out,
            options=Options(kinds=parse_kinds(kinds), boxes=boxes or "", **settings),
            asked=asked,
            checker=_checker(check_model, check_base_url or base_url, options, given),
            split=split,
            budget=budget,
            tell=_silent if quiet else _tell,
        )
    if as_json:
        print_json({"folder": str(made.folder), **made.manifest})
        return
    for line in sentences(made.manifest):
        say(line)
    click.echo(f"Data set: {made.folder}")
    click.echo(f"Next: groundingme mix {data} {made.folder}", err=True)


def _checker(
    model: str | None, base_url: str | None, options: tuple[str, ...], given: dict[str, Any]
) -> Asked | None:
    from groundingme.build.questions import Asked

    if model is None:
        return None
    return Asked(model=model, base_url=base_url or "", options=pairs(options, "--option"), **given)


@click.command("mix")
@click.argument("positives", required=False)
@click.argument("negatives", required=False)
@click.option("-o", "--out", default="mixtures", show_default=True, help="Folder to write, with one folder a ratio in it.")  # fmt: skip  # noqa: E501
@click.option("--ratio", "ratios", default="1:8,1:4,1:2,1:1,2:1", show_default=True, help="Negatives to positives, with commas between.")  # fmt: skip  # noqa: E501
@click.option("--total", type=click.IntRange(1), help="Samples of each mixture. Default: as many as every ratio can have.")  # fmt: skip  # noqa: E501
@click.option("--seed", default=0, show_default=True, help="Of the order in which images and samples are taken.")  # fmt: skip  # noqa: E501
@click.option("--family", default="qwen3-vl", show_default=True, help="Whose way of asking and answering: a family, or a model's name.")  # fmt: skip  # noqa: E501
@click.option("--coords", default="auto", show_default=True, help="How it writes a box. Default: as its family.")  # fmt: skip  # noqa: E501
@click.option("--prompt", default="auto", show_default=True, help="unified, unified-yxyx, native, or a text with {description}.")  # fmt: skip  # noqa: E501
@click.option("--apart", multiple=True, metavar="DATA", help="Data set of evaluation: none of its images is used; can be repeated.")  # fmt: skip  # noqa: E501
@click.option("--split", help="Of both data sets. Default: train, where there is one.")
@click.option("--negatives-split", help="Of the negatives, where it is another.")
@click.option("--also", default="", metavar="TOOLS", help="Write files for ms-swift, llama-factory, or both with a comma.")  # fmt: skip  # noqa: E501
@click.option("--check", "checked", multiple=True, metavar="FOLDER", help="Make nothing; read a mixture and say what is wrong with it; can be repeated.")  # fmt: skip  # noqa: E501
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def mix_command(
    positives: str | None,
    negatives: str | None,
    also: str,
    checked: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Mix POSITIVES and NEGATIVES, two data sets, into data to train on, once for each ratio.

    The numbers are exact, and ratios differ in nothing else: a mixture with more negatives holds
    those of one with fewer, and so for positives. Questions and answers are written as `eval` asks
    and reads the family. The same command adds ratios that are not there yet.
    """
    from groundingme.train.mixing import mix
    from groundingme.train.mixture import load_mixture

    if checked:
        if positives:
            raise UsageError("expected --check alone, or POSITIVES and NEGATIVES, got both")
        found = [load_mixture(one) for one in checked]
    else:
        if not positives or not negatives:
            raise UsageError("expected POSITIVES and NEGATIVES, two data sets, got fewer")
        tools = [one.strip() for one in also.split(",") if one.strip()]
        with _interruptible():
            found = mix(
                positives, negatives, also=tools, tell=_silent if quiet else _tell, **settings
            )
    if as_json:
        print_json({"mixtures": [{"folder": str(one.folder), **one.manifest} for one in found]})
        return
    for one in found:
        counts = one.manifest["counts"]
        say(
            f"{one.folder}: {counts['negatives']:,} negatives and {counts['positives']:,} "
            f"positives for {one.manifest['family']['title']}"
        )
    if not checked:
        click.echo(f"Next: groundingme train MODEL {found[0].folder}", err=True)
