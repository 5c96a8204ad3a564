"""`groundingme train`: fine-tune a model on a mixture."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import grouped, json_option, print_json
from groundingme.errors import UsageError
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.train.tuning.running import Outcome

CONFIGS = Path(__file__).resolve().parents[1] / "train" / "configs"
"""Files that ship: a run's settings, and how Accelerate starts several processes."""
INTERRUPTED = "Interrupted; the same command goes on."
LAUNCHES = ("ddp", "fsdp", "deepspeed-zero3", "cpu")


def _print_config(context: click.Context, option: click.Parameter, name: str | None) -> None:
    if name is None or context.resilient_parsing:
        return
    from groundingme.registry import unknown

    found = {path.stem: path for path in CONFIGS.glob("*.yaml")}
    if name not in found:
        raise unknown("configuration", name, found)
    click.echo(found[name])
    context.exit()


def _switch(name: str, says: str) -> Any:
    return click.option(f"--{name}/--no-{name}", default=None, help=says)


_what = grouped(
    click.option("--config", metavar="FILE", help="YAML or TOML with any of these; `paper` ships."),
    click.option("--method", help="How it learns: sft (usual), or grpo, by reward."),
    click.option(
        "--tune",
        type=click.Choice(["lora", "qlora", "full"]),
        help="What is trained: small matrices (usual), the same over 4 bits, or all weights.",
    ),
    _switch("vision", "Train the vision tower as well."),
    click.option("--epochs", type=float, help="Passes over the mixture (3)."),
    click.option("--steps", type=int, help="Optimizer steps instead."),
    click.option("--rate", type=float, help="Highest learning rate (1e-4; full, grpo lower)."),
    click.option("--batch", type=int, help="Rows that a device sees at once (4)."),
    click.option("--accumulate", type=int, help="Batches of a step (4)."),
    click.option("--generations", type=int, help="grpo: replies to one question (8)."),
    click.option("--temperature", type=float, help="grpo: of these replies (1)."),
    click.option("--kl", type=float, help="grpo: weight of staying near BASE (0)."),
    click.option("--box-weight", type=float, help="grpo: pay of a box, times IoU (1)."),
    click.option(
        "--rejection-weight",
        type=float,
        help="grpo: pay of a right rejection. Default: 1, or what keeps null from paying always.",
    ),
    click.option("--format-weight", type=float, help="grpo: pay of what can be read (0.1)."),
    click.option("--iou-threshold", type=float, help="grpo: boxes pay 1 from here on, else 0."),
    click.option("--rank", type=int, help="Of LoRA's matrices (16)."),
    click.option("--alpha", type=float, help="Their scale (32)."),
    click.option("--targets", metavar="REGEX", help="Layers that get them. Default: the family's."),
    click.option("--max-pixels", type=int, help="Largest image that the model sees."),
    click.option("--image-tokens", type=int, help="The same in tokens."),
    _switch("bf16", "Compute in bfloat16. Default: where the GPU can."),
    _switch("checkpointing", "Save memory by computing activations twice (usual)."),
    click.option(
        "--attention",
        type=click.Choice(["auto", "flash", "sdpa", "eager"]),
        help="auto: FlashAttention where it is installed.",
    ),
    click.option("--held-out", type=float, help="Share of the images that is evaluated (0.02)."),
    click.option("--eval-every", type=int, help="Steps between evaluations (a tenth of all)."),
    click.option("--save-every", type=int, help="Steps between checkpoints."),
    click.option("--seed", type=int, help="Of order, first weights and what is held out (0)."),
    click.option("--workers", type=int, help="Processes that decode images (2)."),
    click.option(
        "--track", multiple=True, help="Tracker: wandb, mlflow, trackio, tensorboard, ..."
    ),
    _switch("merge", "Save the whole model at the end (usual), or the adapter alone."),
    click.option("--revision", help="Of the base model on the Hub."),
    _switch("check-memory", "Stop before the start where memory is not likely to suffice."),
)


@click.command("train")
@click.argument("base", required=False)
@click.argument("mixture", required=False)
@_what
@click.option("-o", "--out", metavar="DIR", help="Folder of the run. Default: one in tuned/.")
@click.option("--launch", type=click.Choice(LAUNCHES), help="Start a process for each GPU.")
@click.option("--processes", type=click.IntRange(1), help="With --launch: how many.")
@click.option("--dry-run", is_flag=True, help="Print what would be done: weights, memory, steps.")
@click.option(
    "--print-config",
    metavar="NAME",
    callback=_print_config,
    is_eager=True,
    expose_value=False,
    help="Where a shipped file is: paper, ddp, fsdp, deepspeed-zero3.",
)
@json_option
def train_command(
    base: str | None,
    mixture: str | None,
    config: str | None,
    out: str | None,
    launch: str | None,
    processes: int | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Fine-tune the model BASE, a Hub id or a folder, on MIXTURE.

    A mixture is a folder that `groundingme mix` made. The same command goes on where it was
    interrupted, and does nothing where it has finished.
    """
    from groundingme.train.tuning.options import load_options

    if base is None or mixture is None:
        raise UsageError(
            "expected BASE and MIXTURE, such as Qwen/Qwen3-VL-8B-Instruct and mixtures/1-2, got "
            f"{base or 'neither'}; groundingme mix makes a mixture"
        )
    given["track"] = given["track"] or None
    options = load_options(config, given)
    if processes and not launch:
        raise UsageError(f"expected --launch with --processes {processes}, got none; add it")
    _needs_packages()
    if launch and not dry_run:
        _launch(launch, processes)
    try:
        from groundingme.train.tuning import running
        from groundingme.train.tuning.plans import plan

        planned = plan(base, mixture, options)
        if dry_run:
            _show(planned.told(), as_json=as_json)
            return
        outcome = running.run(planned, out, say=lambda line: say(line, err=True))
    except KeyboardInterrupt:
        # Before the first step, or while the model is written.
        say(INTERRUPTED, err=True)
        sys.exit(130)
    if outcome.main:
        _report(outcome, as_json=as_json)
    running.end()
    if outcome.state == "interrupted":
        sys.exit(130)


def _needs_packages() -> None:
    import importlib.util

    from groundingme.errors import MissingDependencyError

    for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"expected the packages of training, got no {name}; "
                "pip install 'groundingme[train]'"
            )


def _launch(name: str, processes: int | None) -> None:
    """Becomes Accelerate's launcher, which starts this command once for each process."""
    command = [sys.executable, *launcher(name, processes or _gpus(name))]
    os.execv(sys.executable, command)  # nosec B606


def launcher(name: str, processes: int) -> list[str]:
    """What starts one of `LAUNCHES`, with this process' own arguments.

    Accelerate's, with a file that ships; on the CPU, where that would need MPI, torch's own.
    """
    own, words = [], iter(sys.argv[1:])
    for word in words:
        if word in ("--launch", "--processes"):
            next(words, None)
        elif not word.startswith(("--launch=", "--processes=")):
            own.append(word)
    if name == "cpu":
        starts = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    else:
        file = str(CONFIGS / f"{name}.yaml")
        starts = ["-m", "accelerate.commands.launch", "--config_file", file]
        starts += ["--num_processes", str(processes)]
    return [*starts, "-m", "groundingme", *own]


def _gpus(name: str) -> int:
    """How many processes there are to be where nobody says it."""
    import torch

    if name == "cpu":
        return 2
    if not torch.cuda.device_count():
        raise UsageError(
            f"expected GPUs for --launch {name}, got none; --launch cpu tries a command out"
        )
    return int(torch.cuda.device_count())


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(value, dict):
            shown = ", ".join(f"{part} {size}" for part, size in value.items())
        click.echo(f"{name.replace('_', ' '):20}{shown}")


def _report(outcome: Outcome, *, as_json: bool) -> None:
    from groundingme.train.tuning.running import evaluation_of

    if outcome.state == "interrupted":
        say(INTERRUPTED, err=True)
        return
    if outcome.state == "before":
        say("Finished already; nothing was done.", err=True)
    command = evaluation_of(outcome)
    if as_json:
        print_json({"folder": str(outcome.folder), "state": outcome.state, "next": command})
        return
    say(f"Model: {outcome.folder}")
    say(f"Next: {command}", err=True)
