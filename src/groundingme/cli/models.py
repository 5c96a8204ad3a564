"""`groundingme models` and `groundingme calibrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import (
    json_option,
    print_json,
    print_table,
    provider_options,
    server_options,
)

if TYPE_CHECKING:
    from groundingme.asking import Asking
    from groundingme.models.families import Family
    from groundingme.readings import Calibration


@click.group("models", invoke_without_command=True)
@json_option
@click.pass_context
def models_group(ctx: click.Context, as_json: bool) -> None:
    """List the model families that are known, and how each writes a box."""
    if ctx.invoked_subcommand is not None:
        return
    import msgspec

    from groundingme.models.families import families

    rows = families()
    if as_json:
        print_json({"families": msgspec.to_builtins(rows)})
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in ("family", "coordinates", "known from", "writes", "prompt", "thinking"):
        table.add_column(heading, no_wrap=heading != "writes")
    for row in rows:
        cells = (row.title, row.coords or "calibrate", row.grade("coords"), row.writes, row.prompt)
        table.add_row(*map(_plain, cells), _plain(_ways(row)))
    print_table(table)
    from groundingme.models.families import GRADES

    click.echo("known from: " + "; ".join(f"{grade} {said}" for grade, said in GRADES.items()))


@models_group.command("show")
@click.argument("name")
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Say how the model NAME would be asked and read, and why.

    NAME is PROVIDER/NAME, or the name that a server knows the model by.
    """
    from groundingme.asking import resolve
    from groundingme.models import PROVIDERS, Model, load_model

    class Named(Model):
        server = None

        async def generate(self, request: Any) -> Any:
            raise NotImplementedError

    known = name.partition("/")[0] in PROVIDERS.names() and "/" in name
    if name.startswith("google/") and not name.startswith("google/gemini"):
        known = False  # an organization on the Hub, such as in google/gemma-3-27b-it
    model: Model = Named()
    model.name = name if known else f"openai/{name}"
    if known and name.partition("/")[0] in ("baseline", "builtin"):
        model = load_model(name)
    elif name.startswith("mock/"):
        model.coords = "abs"
    how = resolve(model)
    if as_json:
        print_json(_as_dict(how))
        return
    provider = PROVIDERS.get(how.model.partition("/")[0])
    for heading, said in _lines(how, own_switch=getattr(provider, "switches_thinking", False)):
        click.echo(f"{heading:<12} {said}")


def _lines(how: Asking, *, own_switch: bool) -> list[tuple[str, str]]:
    """What `models show` says, line by line.

    Args:
        how: What was decided.
        own_switch: Whether the provider switches thinking by itself.
    """
    from groundingme.models.families import GRADES

    row = how.family
    lines = [
        ("model", how.model),
        ("family", row.title if row else "none"),
        ("coordinates", f"{how.coords}: {how.why}"),
    ]
    if how.warning and how.source == "calibration":
        lines.append(("", how.warning))
    elif how.warning and (row is None or row.boxes):
        lines.append(("", f"to find out: groundingme calibrate {how.model}"))
    lines.append(("prompt", how.prompt))
    if not row:
        return lines
    fact = row.facts
    if row.writes:
        lines.append(("writes", f"{_example(row, how)}   {fact['writes']}"))
        lines.append(("", "for a box from (64, 96) to (320, 432) in a picture of 640 x 480"))
    lines.extend(("rejects", f"{text}   {fact['rejects']}") for text in row.rejects)
    if row.native:
        under = f" ({row.native_coords})" if row.native_coords else ""
        lines.append(("native", f"{row.native}{under}   {fact['native']}"))
    if row.thinking:
        shown = f"; shows as {row.thinking.shows}" if row.thinking.shows else ""
        lines.append(("thinking", f"{row.thinking.how}{shown}   {fact['thinking']}"))
        if own_switch:
            lines.append(("", "--thinking becomes the switch of the vendor's own SDK"))
        else:
            lines += [(f"  {name}", _sent(row, name)) for name in _names_of_ways(row)]
    for kind in ("instruct", "thinking"):
        advised = getattr(row.sampling, kind)
        if advised:
            said = ", ".join(f"{key} {value:g}" for key, value in advised.items())
            lines.append(("sampling", f"{kind}: {said}   {fact['sampling']}"))
    if "image" in fact:
        lines.append(("images", f"{_image(row)}   {fact['image']}"))
    used = [f"{grade} {said}" for grade, said in GRADES.items() if _graded(row, grade)]
    lines.append(("known from", "; ".join(used)))
    return lines


def _graded(row: Family, grade: str) -> bool:
    return any(
        part.startswith(grade) for remark in row.facts.values() for part in remark.split("; ")
    )


def _as_dict(how: Asking) -> dict[str, Any]:
    import msgspec

    return {
        "model": how.model,
        "coords": how.coords,
        "source": how.source,
        "why": how.why,
        "warning": how.warning,
        "prompt": how.prompt,
        "template": how.template,
        "family": msgspec.to_builtins(how.family),
    }


def _example(row: Family, how: Asking) -> str:
    """A box in a picture of 640 x 480, as the family writes it."""
    from groundingme.geometry import coord_format

    form = coord_format(row.coords or how.coords)
    numbers = form.from_pixels([[64, 96, 320, 432]], [[640, 480]])[0].tolist()
    return row.write(numbers)


def _names_of_ways(row: Family) -> list[str]:
    return [name for name in ("on", "off", "budget") if getattr(row.thinking, name) is not None]


def _ways(row: Family) -> str:
    return ", ".join(_names_of_ways(row)) if row.thinking else "?"


def _sent(row: Family, name: str) -> str:
    """What switching thinking so adds to a request."""
    import json

    way = getattr(row.thinking, name)
    parts = []
    if way.served:
        parts.append(f"a checkpoint named {way.served!r}")
    if way.extra:
        parts.append(json.dumps(way.extra))
    if way.suffix:
        parts.append(f"{way.suffix!r} at the end of the prompt")
    if way.system:
        parts.append(f"the system prompt {way.system!r}")
    return " and ".join(parts) or "nothing is sent"


def _image(row: Family) -> str:
    rule = row.image
    parts = []
    if rule.resize:
        size = f" from {rule.from_pixels} pixels on" if rule.from_pixels else ""
        parts.append(f"resized before sending by the rule of {rule.resize}{size}")
    if rule.max_bytes:
        parts.append(f"at most {rule.max_bytes} bytes")
    return ", ".join(parts)


def _plain(text: str) -> str:
    """Text in which `rich` sees no markup."""
    from rich.markup import escape

    return escape(text)


@click.command("calibrate")
@click.argument("model")
@click.option("--prompt", default="auto", show_default=True, help="As in eval.")
@click.option("--thinking", metavar="on|off|N", help="As in eval.")
@click.option("--concurrency", default=8, show_default=True, help="Requests in flight at once.")
@click.option("--max-tokens", default=20480, show_default=True, help="Most tokens of a reply.")
@server_options
@click.option("--no-save", is_flag=True, help="Say what was found, and keep nothing.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def calibrate_command(
    model: str,
    no_save: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Find out which coordinate format MODEL writes, and keep it for later runs.

    Thirty easy questions about drawn pictures are asked. MODEL is PROVIDER/NAME.
    """
    from groundingme import progress
    from groundingme.asking import resolve
    from groundingme.calibration import calibrate, surprise
    from groundingme.models import load_model
    from groundingme.readings import path_of_calibrations

    provider = provider_options(settings)
    asked = load_model(model, **provider)
    how = resolve(asked, prompt=settings["prompt"], thinking=settings["thinking"])
    found = calibrate(
        asked,
        save=not no_save,
        progress=progress.Quiet() if quiet else progress.for_terminal(),
        **settings,
    )
    warnings = [line for line in (found.doubt, surprise(found, how)) if line]
    kept = str(path_of_calibrations()) if found.usable and not no_save else None
    if as_json:
        import msgspec

        print_json({**msgspec.to_builtins(found), "warnings": warnings, "kept": kept})
        return
    _print(found)
    for line in warnings:
        click.echo(f"Warning: {line}", err=True)
    if kept:
        click.echo(f"Kept in {kept}; runs with --coords auto read {found.model} so.", err=True)
    elif not no_save:
        click.echo(
            "Nothing is kept; look at what the model says with groundingme eval and show.", err=True
        )


def _print(found: Calibration) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from groundingme.result import percent

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("format", no_wrap=True)
    for heading in ("mean IoU", "Acc@0.5"):
        table.add_column(heading, justify="right")
    for fit in found.fits:
        style = "bold" if fit.coords == found.coords else ""
        table.add_row(fit.coords, percent(fit.iou), percent(fit.acc50), style=style)
    print_table(table)
    alike = f" ({', '.join(found.alike)} cannot be told from it here)" if found.alike else ""
    click.echo(
        f"{found.model} writes {found.coords}{alike}: {found.boxes} boxes in {found.asked} "
        f"replies, margin {found.margin:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f}"
    )
