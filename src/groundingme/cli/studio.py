"""`groundingme studio`: the web app."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.studio.database import Database
    from groundingme.studio.settings import Settings

HOME = ".groundingme-studio"


def _settings_options(command: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option(
            "--db",
            default="",
            envvar="GROUNDINGME_DB",
            show_envvar=True,
            help="URL of the database. Default: a file in --home.",
        ),
        click.option(
            "--home", default=HOME, show_default=True, help="Folder of its database and tiles."
        ),
        click.option(
            "--root", "roots", multiple=True,
            help="Folder that projects may be read from; can be repeated. Default: this one.",
        ),
        click.option("--runs", default="runs", show_default=True, help="Folder of runs."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group("studio", invoke_without_command=True)
@_settings_options
@click.option("--model", "models", multiple=True, help="Model to ask on the try-it page.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--login", is_flag=True, help="Ask for a token on this machine, too.")
@click.option("--readonly", is_flag=True, help="Nothing can be written.")
@click.option("--open/--no-open", "opens", default=True, help="Open the browser.")
@click.pass_context
def studio_group(
    context: click.Context,
    runs: str,
    roots: tuple[str, ...],
    home: str,
    db: str,
    models: tuple[str, ...],
    host: str,
    port: int,
    login: bool,
    readonly: bool,
    opens: bool,
) -> None:
    """See runs, compare models, annotate and review, in the browser.

    On any address but this machine's own, people log in with tokens: groundingme studio person.
    """
    from groundingme.studio.settings import Settings, kept_secret

    settings = Settings(
        runs=Path(runs),
        roots=tuple(map(Path, roots or (".",))),
        home=Path(home),
        database=db,
        models=models,
        host=host,
        port=port,
        login=login,
        readonly=readonly,
        secret=kept_secret(Path(home)),
    )
    context.obj = settings
    if context.invoked_subcommand is None:
        _serve(settings, opens)


@studio_group.command("person")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(("annotator", "reviewer", "admin")),
    help="Default: annotator; of somebody who is there, the role stays.",
)
@click.pass_obj
def person_command(settings: Settings, name: str, role: str | None) -> None:
    """Add a person, or give one a new token, and print the token once."""
    from groundingme.studio.people import give_token

    with _database(settings) as database:
        click.echo(give_token(database, name, role))


@studio_group.command("backup")
@click.argument("path")
@click.pass_obj
def backup_command(settings: Settings, path: str) -> None:
    """Write all that people made into a file."""
    with _database(settings) as database:
        database.backup(Path(path))
    click.echo(path)


@studio_group.command("restore")
@click.argument("path")
@click.pass_obj
def restore_command(settings: Settings, path: str) -> None:
    """Put a backup into the database, which must be empty."""
    with _database(settings) as database:
        database.restore(Path(path))
    click.echo(path)


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    from groundingme.studio.database import Database

    database = Database(settings.database_url)
    try:
        yield database
    finally:
        database.close()


def _serve(settings: Settings, opens: bool) -> None:
    import sys
    import webbrowser

    import uvicorn

    from groundingme.studio.app import create_app

    app = create_app(settings)
    listening = _listen(settings)
    port = listening.getsockname()[1]
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{shown}:{port}/"
    say(f"Studio: {address}  (Ctrl-C ends it)", err=True)
    if opens:
        webbrowser.open(address)
    # Requests are short: a thread that waits for its turn must not wait the usual 5 ms each time.
    sys.setswitchinterval(0.0005)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))
    server.run(sockets=[listening])


def _listen(settings: Settings) -> socket.socket:
    from groundingme.errors import UsageError

    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends answers without delay only where the protocol is named; else the second of two
    # packets waits 40 ms for the first to be acknowledged.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise UsageError(
            f"expected a free address, got {settings.host}:{settings.port} ({error.strerror}); "
            "choose another --port, or 0 for any"
        ) from None
    return listening
