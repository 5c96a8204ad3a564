"""A training run from its command to its folder.

tuned/Qwen3-VL-8B-Instruct--half--sft-lora/
    settings.json       what was asked for; the same command goes on, another one is refused
    checkpoints/        the last two, each marked when it is whole
    curve.jsonl         an evaluation of the held-out rows a line
    log.jsonl           loss and rate every few steps
    adapter/            LoRA's matrices
    model.safetensors   the model with its processor, for `groundingme eval transformers/...`
    training.json       what was done; its being there says that the run is finished
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import shlex
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch

from groundingme.asking import AUTO, prompt_for
from groundingme.errors import JobError, RunError, UsageError
from groundingme.models.families import find_family
from groundingme.models.transformers import fingerprint, first_line
from groundingme.store import write_atomically
from groundingme.train.conversation import Convention
from groundingme.train.tuning import finishing, memory, watching
from groundingme.train.tuning.job import CHECKPOINTS, Job
from groundingme.train.tuning.options import METHODS, UNMARKED
from groundingme.train.tuning.plans import Plan, is_main
from groundingme.train.tuning.stopping import Stopping
from groundingme.train.tuning.watching import LONGEST_ANSWER, Watcher

SETTINGS, READY = "settings.json", "trained"
"""Files: what was asked for; that training itself is over."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a session ended.

    Attributes:
        folder: Of the run.
        state: `finished`, `interrupted`, or `before`: it was finished already.
        convention: How the model is asked and answers.
        family: Name of its row in the table of families.
        main: Whether this process speaks for all.
    """

    folder: Path
    state: str
    convention: Convention
    family: str
    main: bool = True


def run(
    plan: Plan, out: str | Path | None = None, *, say: Callable[[str], None] = print
) -> Outcome:
    """Trains; the same plan and folder go on where a session ended.

    Args:
        plan: Made by `plan`.
        out: Folder of the run; by default one in `tuned/`, named after what is trained on what.
        say: Takes a line for the person who waits.

    Raises:
        UsageError: The folder holds something else, or memory does not suffice.
        JobError: Training failed; what was kept stays.
    """
    folder = Path(out) if out else Path("tuned") / _name(plan)
    main = is_main()
    end = Outcome(
        folder=folder,
        state="finished",
        convention=plan.convention,
        family=plan.base.family.name,
        main=main,
    )
    with _held(folder, main):
        if main:
            _begin(folder, plan)
        if (folder / finishing.CARD).exists():
            return msgspec.structs.replace(end, state="before")
        if not (folder / READY).exists() and not _train(plan, folder, say if main else _silent):
            return msgspec.structs.replace(end, state="interrupted")
        if main:
            say("Writing the model ...")
            full = plan.options.tune == "full"
            finishing.save_model(plan.base, folder, full=full, merge=plan.options.merge)
            finishing.write_card(folder, {**_settings(plan), "plan": plan.told()})
    return end


def _silent(line: str) -> None:
    return


def _name(plan: Plan) -> str:
    parts = (
        plan.base.name.rstrip("/").rpartition("/")[2],
        plan.mixture.resolve().name,
        f"{plan.options.method}-{plan.options.tune}",
    )
    return "--".join(parts)


def _settings(plan: Plan) -> dict[str, Any]:
    """What makes two runs one run."""
    options = msgspec.structs.asdict(plan.options)
    digest = hashlib.sha256((plan.mixture / "train.parquet").read_bytes()).hexdigest()
    return {
        "base": plan.base.name,
        "weights": fingerprint(Path(plan.base.name)),
        "mixture": f"sha256:{digest}",
        "processes": plan.processes,
        "options": {name: value for name, value in options.items() if name not in UNMARKED},
    }


def _begin(folder: Path, plan: Plan) -> None:
    """Writes the settings, or compares them with those that the folder was begun with."""
    path = folder / SETTINGS
    now = msgspec.json.decode(msgspec.json.encode(_settings(plan)))
    if not path.exists():
        write_atomically(path, msgspec.json.format(msgspec.json.encode(now), indent=2))
        return
    try:
        before = msgspec.json.decode(path.read_bytes())
        ours, theirs = ({**one, **one.pop("options")} for one in (now, before))
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.DecodeError) as error:
        raise RunError(
            f"expected the settings of a training run in {path}, got damaged ones ({error}); move "
            "the folder away"
        ) from None
    changed = [
        f"{name} {ours.get(name)!r}, not {theirs.get(name)!r}"
        for name in {**theirs, **ours}
        if ours.get(name) != theirs.get(name)
    ]
    if changed:
        raise UsageError(
            f"expected the settings that {folder} was begun with, got {'; '.join(changed)}; name "
            "another folder with -o, or take those back"
        )


@contextlib.contextmanager
def _held(folder: Path, main: bool) -> Iterator[None]:
    """Holds the folder for this run."""
    import filelock

    if not main:
        yield
        return
    try:
        there = folder.is_dir() and any(folder.iterdir())
        if there and not (folder / SETTINGS).exists():
            raise RunError(
                f"expected a new folder or one of a training run, got {folder} with other files; "
                "name another with -o"
            )
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock", timeout=0)
        with lock:
            yield
    except filelock.Timeout:
        raise RunError(
            f"expected {folder} to be free, got it held by another process; wait until that has "
            "finished, or end it"
        ) from None
    except OSError as error:
        raise RunError(
            f"expected a folder that can be written, got {folder} ({error.strerror or error}); "
            "name another with -o, or make room"
        ) from None


def _train(plan: Plan, folder: Path, say: Callable[[str], None]) -> bool:
    """Trains to the end, or until somebody asks for it: then False."""
    options = plan.options
    if options.check_memory:
        memory.check_fits(
            plan.needed, plan.free, plan.device, tune=options.tune, batch=options.batch
        )
    quiet()
    start = last_checkpoint(folder / CHECKPOINTS)
    say(f"Going on from {start}" if start else f"Loading {plan.base.name} ...")
    with Stopping() as stopping:
        watcher = Watcher(
            folder, plan.base, plan.held, plan.convention.coords, batch=options.eval_batch,
            every=options.eval_every or max(1, plan.steps // 10), stopping=stopping, say=say,
        )  # fmt: skip
        job = Job(
            base=plan.base, options=options, rows=plan.rows, coords=plan.convention.coords,
            bf16=plan.bf16, steps=plan.steps, folder=folder, watcher=watcher,
        )  # fmt: skip
        trainer = importlib.import_module(METHODS[options.method]).make_trainer(job)
        watcher.trainer = trainer
        mute(trainer)
        try:
            trainer.train(resume_from_checkpoint=str(start) if start else None)
        except KeyboardInterrupt:
            return False
        except torch.OutOfMemoryError as error:
            raise JobError(
                f"expected memory for a batch of {options.batch}, got: {first_line(error)}; the "
                "last checkpoint is kept; start another run with --batch 1 and a larger "
                "--accumulate, fewer --image-tokens, or --tune qlora"
            ) from None
        if watcher.failure:
            raise watcher.failure
        if trainer.state.global_step < trainer.state.max_steps:
            return False
        where = finishing.WEIGHTS if options.tune == "full" else finishing.ADAPTER
        trainer.save_model(str(folder / where))
        trainer.accelerator.wait_for_everyone()
        if trainer.args.should_save:
            write_atomically(folder / READY, b"", durable=True)
    return True


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; halves of one, as a killed process leaves, go."""
    found = sorted(
        (path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdigit()),
        key=lambda path: int(path.name.rpartition("-")[2]),
    )
    whole = [path for path in found if (path / watching.WHOLE).exists()]
    if is_main():
        for path in set(found) - set(whole):
            shutil.rmtree(path, ignore_errors=True)
    return whole[-1] if whole else None


def mute(trainer: Any) -> None:
    """Our own lines instead of the ones that go to standard output."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def quiet() -> None:
    """Lets transformers print errors alone, and no bars."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # It renames arguments of its own that trl still reads by the names of before.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")


def evaluation_of(outcome: Outcome) -> str:
    """The command that evaluates what was trained, asked and read as it was trained."""
    name = f"transformers/{outcome.folder}"
    named, how = find_family(str(outcome.folder)), outcome.convention
    words = ["groundingme", "eval", name, "--data", "groundingme"]
    if named is None or named.coords_under(how.prompt) != how.coords:
        words += ["--coords", how.coords]
    if prompt_for(AUTO, named, name)[1] != how.template:
        words += ["--prompt", how.template if how.prompt == "custom" else how.prompt]
    return shlex.join([*words, "--max-tokens", str(LONGEST_ANSWER)])


def end() -> None:
    """Takes leave of the other processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
