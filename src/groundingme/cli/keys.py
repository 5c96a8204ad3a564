"""`groundingme keys`."""

from __future__ import annotations

import os
import sys

import click

from groundingme import keys
from groundingme.cli.options import json_option, print_json
from groundingme.errors import UsageError


@click.group("keys")
def keys_group() -> None:
    """Keep keys of hosted models in a file that you alone can read."""


@keys_group.command("set")
@click.argument("name")
@click.argument("rest", nargs=-1, metavar="")
def set_command(name: str, rest: tuple[str, ...]) -> None:
    """Keep the key NAME, such as OPENAI_API_KEY.

    Its value comes from a prompt, or from standard input where that is no terminal.
    """
    keys.check_name(name)
    if rest:
        raise UsageError(
            "expected the key at the prompt or on standard input, got it as an argument, which "
            "shells keep and other users can see; leave it out, and consider that key known"
        )
    if sys.stdin.isatty():
        value = click.prompt(f"Value of {name}", hide_input=True, err=True)
    else:
        value = sys.stdin.readline()
    path = keys.keep(name, value.strip())
    click.echo(f"Kept {name} in {path}.", err=True)
    if os.environ.get(name):
        click.echo(f"The variable {name} is set as well, and goes before it.", err=True)


@keys_group.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the names of keys that are kept or in the environment; never their values."""
    held = keys.kept()
    named = [name for name in keys.KNOWN if os.environ.get(name) and name not in held]
    rows = {
        name: "environment" if os.environ.get(name) else str(keys.path_of_keys())
        for name in (*held, *named)
    }
    if as_json:
        print_json({"keys": rows})
        return
    for name, where in rows.items():
        click.echo(f"{name}  {where}")
    if not rows:
        click.echo("No key is kept; groundingme keys set NAME keeps one.", err=True)


@keys_group.command("remove")
@click.argument("name")
def remove_command(name: str) -> None:
    """Forget the key NAME."""
    click.echo(f"Removed {name} from {keys.remove(name)}.", err=True)
