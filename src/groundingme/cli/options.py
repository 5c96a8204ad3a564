"""What several commands share: options, and how they print."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from groundingme.errors import UsageError
from groundingme.terminal import plain_console, visible_json

if TYPE_CHECKING:
    from PIL import Image
    from rich.table import Table

    from groundingme.cache import Cache
    from groundingme.distributed import Workers
    from groundingme.runner import RetryPolicy

Command = Callable[..., Any]


def data_options(command: Command | None = None, *, required: bool = True) -> Command:
    """`--data`, `--split`, `--subset` and `--limit`."""
    if command is None:
        return functools.partial(data_options, required=required)
    for option in (
        click.option("--limit", type=click.IntRange(1), help="The first N samples only."),
        click.option("--subset", default="", help="L1 or L1/L2, such as Rejection/Text."),
        click.option("--split", help="Of the data set, where it has several."),
        click.option("--data", required=required, help="Name, path or Hub id of a data set."),
    ):
        command = option(command)
    return command


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output."
)


def grouped(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which the help shows them."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def auto_or_number(context: click.Context, option: click.Parameter, text: str) -> int | None:
    """A callback for options that take `auto`, which becomes None, or a number of 1 or more."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(f"expected auto or a number of 1 or more, got {text!r}")
    return int(text)


asking_options = grouped(
    click.option("--coords", default="auto", show_default=True, help="How the model writes a box."),
    click.option(
        "--prompt",
        default="auto",
        show_default=True,
        help="unified, unified-yxyx, native, or a text with {description}.",
    ),
    click.option(
        "--thinking",
        metavar="on|off|N",
        help="Thinking, or a budget of N tokens. Default: the model's own way.",
    ),
)
"""How a model is asked and read."""

pacing_options = grouped(
    click.option(
        "--concurrency",
        metavar="auto|N",
        callback=auto_or_number,
        default="auto",
        show_default=True,
        help="Requests in flight at once; auto finds out what the server can take.",
    ),
    click.option("--rpm", type=click.FloatRange(min=1), help="Most requests a minute."),
    click.option("--tpm", type=click.FloatRange(min=1), help="Most tokens a minute."),
)
"""How fast a model is asked."""

retry_options = grouped(
    click.option(
        "--retries", type=click.IntRange(0), help="How often a failed request is asked again (7)."
    ),
    click.option(
        "--retry-for", type=click.FloatRange(min=0), help="Seconds after which it is not (900)."
    ),
    click.option(
        "--outage-for",
        type=click.FloatRange(min=0),
        help="Seconds to wait for a server that went away (900).",
    ),
    click.option(
        "--on-quota",
        type=click.Choice(["stop", "pause"]),
        default="stop",
        show_default=True,
        help="Pause: wait until it is refilled.",
    ),
)
"""When a model is asked again: see `retry_policy`."""

server_options = grouped(
    click.option("--base-url", help="Address of an OpenAI-compatible server, up to and with /v1."),
    click.option("--api-key-env", help="Environment variable that holds the key."),
    click.option("--extra-body", help="JSON object merged into every request."),
    click.option(
        "--header", "headers", multiple=True, metavar="NAME=VALUE", help="Sent with every request."
    ),
    click.option("--timeout", type=float, help="Seconds to wait for one reply."),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="NAME=VALUE",
        help="Further option of the provider.",
    ),
)
"""Where a model is, and what else its provider takes: see `provider_options`."""


worker_options = grouped(
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where the workers are: on this machine, or on a Ray cluster.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1),
        help="Most workers, each with a model of its own. Default: this process alone.",
    ),
    click.option("--ray-address", help="Of the cluster. Default: RAY_ADDRESS, or one here."),
    click.option(
        "--gpus-per-worker",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=True,
        help="GPUs of each worker; 0.5 shares one.",
    ),
    click.option(
        "--shard-size",
        type=click.IntRange(1),
        help="Samples given to a worker at once.",
    ),
)
"""Of commands that ask with several workers; `workers` takes them."""


def workers(settings: dict[str, Any]) -> Workers | None:
    """What `worker_options` say, taken out of `settings`; None for this process alone.

    Raises:
        UsageError: They contradict each other.
    """
    engine, number = settings.pop("engine"), settings.pop("workers")
    given = {
        "gpus": settings.pop("gpus_per_worker"),
        "address": settings.pop("ray_address"),
        "shard_size": settings.pop("shard_size"),
    }
    if number is None and engine == "ray":
        raise UsageError(
            "expected --workers N with --engine ray, got none; a good number is that of the "
            "cluster's CPUs, or of its GPUs divided by --gpus-per-worker"
        )
    if engine == "local" and (number or 1) == 1:
        if any(given.values()):
            raise UsageError(
                "expected --workers N, or --engine ray, with options for workers, got neither; "
                "add one of them"
            )
        return None
    from groundingme.distributed import Workers

    return Workers(engine=engine, number=number, **given)


def retry_policy(settings: dict[str, Any]) -> RetryPolicy:
    """What `retry_options` say, taken out of `settings`."""
    from groundingme.runner import RetryPolicy

    given: dict[str, Any] = {"on_quota": settings.pop("on_quota")}
    retries, longest = settings.pop("retries"), settings.pop("retry_for")
    if retries is not None:
        given["attempts"] = retries + 1
    if longest is not None:
        given["total"] = longest
    outage = settings.pop("outage_for")
    if outage is not None:
        given["outage"] = outage
    return RetryPolicy(**given)


def pairs(items: Iterable[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` items as a dict.

    Raises:
        UsageError: An item without `=`.
    """
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f"expected {option} NAME=VALUE, got {item!r}")
        found[name.strip()] = value.strip()
    return found


def json_object(text: str, option: str) -> dict[str, Any]:
    """A JSON object given on the command line.

    Raises:
        UsageError: It is none.
    """
    import json

    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"expected a JSON object for {option}, got {text!r}: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"expected a JSON object for {option}, got {text!r}")
    return value


def provider_options(settings: dict[str, Any]) -> dict[str, Any]:
    """What is meant for the provider, taken out of `settings`: see `server_options`.

    Raises:
        UsageError: One of them cannot be read.
    """
    provider: dict[str, Any] = {
        name: value
        for name in ("base_url", "api_key_env", "timeout")
        if (value := settings.pop(name, None)) is not None
    }
    if extra_body := settings.pop("extra_body", None):
        provider["extra_body"] = json_object(extra_body, "--extra-body")
    provider.update(pairs(settings.pop("options", ()), "--option"))
    if headers := settings.pop("headers", ()):
        provider["headers"] = pairs(headers, "--header")
    return provider


def open_cache() -> Cache:
    """The user's cache of replies."""
    from groundingme.cache import Cache

    return Cache()


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    import json

    click.echo(visible_json(json.dumps(value, ensure_ascii=False, allow_nan=False)))


def print_table(table: Table) -> None:
    """A table on standard output, as wide as it needs where that is no terminal."""
    import sys

    if not sys.stdout.isatty():
        plain_console(width=1000).print(table)
        return
    from groundingme.cli.folding import folded

    console = plain_console()
    for part in folded(table, console):
        console.print(part)


def save_picture(picture: Image.Image, path: str) -> None:
    """Writes a picture, making its folder.

    Raises:
        UsageError: The path cannot be written, or names no known format.
    """
    from pathlib import Path

    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except (OSError, ValueError) as error:
        said = (isinstance(error, OSError) and error.strerror) or error
        raise UsageError(
            f"expected a picture file that can be written, such as sheet.png, got {path}: {said}"
        ) from None
