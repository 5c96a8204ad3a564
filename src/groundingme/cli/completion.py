"""`groundingme completion`: names and options at the press of Tab."""

from __future__ import annotations

import click

_LINES = {
    "bash": 'eval "$(groundingme completion bash)"     in ~/.bashrc',
    "zsh": 'eval "$(groundingme completion zsh)"      in ~/.zshrc',
    "fish": "groundingme completion fish | source     in ~/.config/fish/config.fish",
}


@click.command(
    "completion",
    help="Print what makes SHELL complete this command; add one line to its start file.\n\n\b\n"
    + "\n".join(_LINES.values()),
)
@click.argument("shell", type=click.Choice(list(_LINES)))
def completion_command(shell: str) -> None:
    """Prints the script that click makes for that shell."""
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(root.command, {}, "groundingme", "_GROUNDINGME_COMPLETE").source())
