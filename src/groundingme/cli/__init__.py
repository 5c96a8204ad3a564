"""The `groundingme` command: parse, call one function, print.

Figures go to standard output, everything else to standard error. Exit codes: 0 done, 1 the job
failed, 2 asked wrongly, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

from groundingme import __version__
from groundingme.errors import GroundingMEError, UsageError
from groundingme.terminal import say

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "eval": ("groundingme.cli.evaluation", "eval_command", "Run a model on a data set and score."),
    "score": ("groundingme.cli.evaluation", "score_command", "Score replies without a model."),
    "models": ("groundingme.cli.models", "models_group", "How each model is asked and read."),
    "calibrate": (
        "groundingme.cli.models",
        "calibrate_command",
        "Find out how a model writes boxes.",
    ),
    "keys": ("groundingme.cli.keys", "keys_group", "Keep keys of hosted models."),
    "cache": ("groundingme.cli.cache", "cache_group", "Replies that were paid for once."),
    "ls": ("groundingme.cli.runs", "ls_command", "List the runs in a folder."),
    "show": ("groundingme.cli.runs", "show_command", "Look at a run, or at one of its samples."),
    "compare": ("groundingme.cli.compare", "compare_command", "Compare runs on the same samples."),
    "report": ("groundingme.cli.report", "report_command", "Write runs as one page to open."),
    "export": ("groundingme.cli.export", "export_command", "Write a run for another tool."),
    "power": ("groundingme.cli.power", "power_command", "What differences a data set can show."),
    "sample": ("groundingme.cli.scale", "sample_command", "Ask for several replies a sample."),
    "select": ("groundingme.cli.scale", "select_command", "Choose among them, in every way."),
    "negatives": (
        "groundingme.cli.mixture",
        "negatives_command",
        "Make wrong descriptions to train on.",
    ),
    "mix": ("groundingme.cli.mixture", "mix_command", "Mix positives and negatives to train on."),
    "data": ("groundingme.cli.data", "data_group", "List, check and draw data sets."),
    "scenes": ("groundingme.cli.scenes", "scenes_group", "Make drawn data sets with exact boxes."),
    "build": ("groundingme.cli.build", "build_group", "Build a benchmark from your own images."),
    "study": ("groundingme.cli.study", "study_command", "Run an open question as an experiment."),
    "train": ("groundingme.cli.training", "train_command", "Fine-tune a model on a mixture."),
    "sweep": ("groundingme.cli.sweep", "sweep_command", "Train on every ratio and compare."),
    "studio": (
        "groundingme.cli.studio",
        "studio_group",
        "See runs, compare, annotate, in the browser.",
    ),
    "doctor": ("groundingme.cli.doctor", "doctor_command", "What is installed, set and reachable."),
    "completion": (
        "groundingme.cli.completion",
        "completion_command",
        "Complete names and options in a shell.",
    ),
    "demo": ("groundingme.cli.demo", "demo_command", "See the main job on scenes drawn here."),
}


class Failure(click.ClickException):
    """An error for people: one line, and the exit code that fits it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # declared as a class variable in click

    def show(self, file: Any = None) -> None:
        """Prints it on standard error."""
        say(f"groundingme: {self.message}", err=True)


def _in_one_line(error: click.UsageError) -> click.ClickException:
    """What click says of wrong arguments, without its three lines of usage."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    command = error.ctx.command_path if error.ctx else "groundingme"
    said = " ".join(error.format_message().split()).rstrip(".")
    return Failure(f"{said}; see {command} --help", 2)


def _show_crash(*crash: Any) -> None:
    """Shows the traceback of a defect, without keys."""
    from groundingme import keys

    keys.show_crash(*crash)


class Commands(click.Group):
    """Imports a command when it is run, so that `--help` answers at once."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's; a defect is shown without keys."""
        sys.excepthook = _show_crash
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now, or None."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names with the lines of the table, so that help imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row[2]) for name, row in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table, so that Tab imports no command."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=row[2])
            for name, row in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; an unknown name is told with the nearest ones."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from groundingme.registry import unknown

            raise Failure(str(unknown("command", args[0], _COMMANDS)), 2)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click's; wrong arguments are told in one line."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _in_one_line(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; errors become one line and an exit code."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _in_one_line(error) from error
        except UsageError as error:
            raise Failure(str(error), 2) from error
        except GroundingMEError as error:
            raise Failure(str(error), 1) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="groundingme")
def main() -> None:
    """Measure how well a model grounds language in images, and whether it can reject."""
