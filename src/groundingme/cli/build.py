"""`groundingme build`: a benchmark from your own images, a stage at a time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import json_option, open_cache, print_json, print_table, save_picture

if TYPE_CHECKING:
    from groundingme.build.folders import Place
    from groundingme.build.pipeline import Build
    from groundingme.build.tally import Tally

WORK = "build"


class _Stages(click.Group):
    """Every stage is a command of its own, which runs up to it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from groundingme.build.stages import STAGES

        return [*super().list_commands(ctx), *STAGES]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        from groundingme.build.stages import STAGES

        if (found := super().get_command(ctx, name)) or name not in STAGES:
            return found

        @build_options
        def command(**settings: Any) -> None:
            _run(to=name, **settings)

        return click.Command(
            name,
            callback=command,
            params=getattr(command, "__click_params__", [])[::-1],
            help=f"{STAGES[name].summary} Runs what comes before it where that is missing.",
            short_help=STAGES[name].summary,
        )


@click.group("build", cls=_Stages)
def build_group() -> None:
    """Build a benchmark from your own images: tag, detect, describe, verify, publish.

    `groundingme build init` writes a configuration to start from, `groundingme build run` runs all
    of its stages, and each stage is a command of its own. Whatever is interrupted goes on where it
    stopped.
    """


def place_options(command: Any) -> Any:
    """The configuration, what is changed in it, and the folder."""
    for option in (
        click.option("--work", default=WORK, show_default=True, help="Folder to work in."),
        click.option(
            "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE",
            help="Change a value of the configuration; can be repeated.",
        ),
        click.option("--images", help="Folder, glob or archive of pictures: source.path."),
        click.argument("config", required=False),
    ):  # fmt: skip
        command = option(command)
    return command


def build_options(command: Any) -> Any:
    """Those, and how it is run."""
    for option in (
        click.option("--public", is_flag=True, help="With --push: for everybody to see."),
        click.option("--push", metavar="OWNER/NAME", help="Upload what was published to the Hub."),
        click.option("--retry-failed", is_flag=True, help="Try again what failed earlier."),
        click.option("--cache", is_flag=True, help="Replies paid for once are not asked again."),
        click.option(
            "--budget", type=click.FloatRange(0),
            help="Most US dollars that models may cost, in each stage.",
        ),
        click.option("--ray-address", help="Of a Ray cluster; else one here."),
        click.option(
            "--gpus-per-worker", type=click.FloatRange(0), default=0.0, help="With --engine ray."
        ),
        click.option(
            "--workers", type=click.IntRange(1), default=1, show_default=True,
            help="Shards in work at once.",
        ),
        click.option(
            "--engine", type=click.Choice(("local", "ray")), default="local", show_default=True
        ),
    ):  # fmt: skip
        command = option(command)
    return place_options(command)


@build_group.command("run")
@click.option("--to", help="Last stage to run.")
@build_options
def run_command(to: str | None, **settings: Any) -> None:
    """Run all stages of CONFIG that are not done.

    A changed value gives its stage and all later ones new folders; earlier ones are used again.
    """
    _run(to=to, **settings)


@build_group.command("init")
@click.argument("path", default="build.toml")
def init_command(path: str) -> None:
    """Write a configuration with every section, its values and what they mean."""
    from pathlib import Path

    from groundingme.build.template import TEMPLATE
    from groundingme.errors import UsageError

    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise UsageError(f"expected a new file, got {path}, which is there; name another") from None
    except OSError as error:
        raise UsageError(f"expected a file that can be written, got {path}: {error}") from None
    click.echo(path)
    click.echo(f"Next: edit it, then groundingme build run {path}", err=True)


@build_group.command("status")
@place_options
@json_option
def status_command(as_json: bool, **settings: Any) -> None:
    """Show what each stage did, and how many it turned down for which reason."""
    build = _open(**settings)
    rows = list(build.tallies())
    if as_json:
        print_json(
            {
                place.name: {
                    "done": place.is_done,
                    "folder": str(place.folder),
                    "shards": len(place.shards()),
                    "records": tally.records,
                    "reasons": dict(new.reasons),
                    "boxes": dict(new.boxes),
                }
                for place, tally, new in rows
            }
        )
        return
    print_table(_table(rows))
    _tell_failures(rows)


@build_group.command("look")
@click.option("--stage", help="Default: the last one that did something.")
@click.option("-o", "--out", default="sheet.png", show_default=True, help="Picture to write.")
@click.option("-n", "count", type=click.IntRange(1), default=12, show_default=True)
@click.option("--seed", type=int, default=0, help="Of which are shown.")
@click.option("--dropped", is_flag=True, help="Show what the stage turned down.")
@click.option(
    "--policies",
    is_flag=True,
    help="Show one picture with what each suppression policy keeps of its boxes.",
)
@click.option("--picture", default="", help="With --policies: which one. Default: the fullest.")
@place_options
def look_command(
    stage: str | None,
    out: str,
    count: int,
    seed: int,
    dropped: bool,
    policies: bool,
    picture: str,
    **settings: Any,
) -> None:
    """Draw a contact sheet of what a stage made."""
    from groundingme.build import look
    from groundingme.errors import UsageError

    build = _open(**settings)
    if policies:
        save_picture(look.policies(build, picture), out)
        click.echo(out)
        return
    done = [name for name, place in build.places.items() if place.shards()]
    if not done:
        raise UsageError(f"expected a build in {build.work}, got none; groundingme build run first")
    if stage and stage not in done:
        raise UsageError(f"expected a stage that has run ({', '.join(done)}), got {stage!r}")
    save_picture(look.sheet(build, stage or done[-1], count=count, seed=seed, dropped=dropped), out)
    click.echo(out)


@build_group.command("clean")
@place_options
def clean_command(**settings: Any) -> None:
    """Remove the folders of earlier settings."""
    from groundingme.build.pipeline import remove_others

    for path in remove_others(_open(**settings)):
        click.echo(str(path))


def _open(
    config: str | None,
    images: str | None,
    overrides: tuple[str, ...],
    work: str,
    watcher: Any = None,
) -> Build:
    from pathlib import Path

    from groundingme.build import config as configuration
    from groundingme.build.pipeline import Build
    from groundingme.build.sources import list_pictures
    from groundingme.build.stages import SECTIONS, STAGES
    from groundingme.errors import UsageError

    told = list(overrides)
    if images:
        told.insert(0, f"source.path={images!r}")
    if config is None and not told:
        if not Path("build.toml").exists():
            raise UsageError(
                "expected CONFIG or --images, got neither; groundingme build init writes a "
                "configuration"
            )
        config = "build.toml"
    loaded = configuration.load(config, SECTIONS, told)
    return Build(loaded, work, STAGES, list_pictures, watcher)


def _run(
    to: str | None,
    engine: str,
    workers: int,
    gpus_per_worker: float,
    ray_address: str | None,
    retry_failed: bool,
    budget: float | None,
    cache: bool,
    push: str | None,
    public: bool,
    **settings: Any,
) -> None:
    from groundingme.cli.watching import watcher_for_terminal
    from groundingme.interrupting import Interrupted

    build = _open(**settings, watcher=watcher_for_terminal())
    try:
        last = build.run(
            to=to,
            engine=engine,
            workers=workers,
            gpus=gpus_per_worker,
            address=ray_address,
            retry_failed=retry_failed,
            budget=budget,
            cache=open_cache() if cache else None,
        )
    except (Interrupted, KeyboardInterrupt):
        click.echo("Interrupted; the same command goes on.", err=True)
        sys.exit(130)
    print_table(_table([one for one in build.tallies() if one[0].is_done]))
    for line in _endings(build, last):
        click.echo(line, err=True)
    if push:
        from groundingme.build import publish

        data = build.places["publish"].folder / publish.DATA
        click.echo(publish.push(data, push, private=not public))


def _endings(build: Build, last: Place) -> list[str]:
    from groundingme.build.publish import DATA

    published = last.folder / DATA
    if last.name == "publish" and published.exists():
        return [f"Published: {published}", f"Next: groundingme eval MODEL --data {published}"]
    missing = [name for name in build.stages if build.config.sections[name] is None]
    if missing and last.name == list(build.places)[-1]:
        return [f"Next: a section [{missing[0]}] in the configuration goes on from here"]
    return []


def _table(rows: list[tuple[Place, Tally, Tally]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for name in ("records", "go on", "boxes kept"):
        table.add_column(name, justify="right")
    table.add_column("turned down")
    for place, tally, new in rows:
        reasons = new.reasons + _dropped(new)
        table.add_row(
            place.name if place.is_done else f"{place.name} (not done)",
            str(tally.records),
            str(tally.records - sum(tally.reasons.values())),
            str(tally.boxes["kept"]) if tally.boxes else "",
            ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()),
        )
    return table


def _tell_failures(rows: list[tuple[Place, Tally, Tally]]) -> None:
    from groundingme.terminal import say

    for place, tally, new in rows:
        if new.reasons["failed"]:
            said = f"{place.name}: {new.reasons['failed']} failed, such as {tally.failure}"
            say(f"{said}; --retry-failed tries them again", err=True)


def _dropped(tally: Tally) -> Any:
    from collections import Counter

    return Counter({f"boxes {k}": v for k, v in tally.boxes.items() if k != "kept"})
