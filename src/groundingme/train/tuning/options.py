"""The settings of a training run: one struct, from a file, from options, or from both."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from groundingme.build.config import allowed
from groundingme.errors import DataError, UsageError
from groundingme.registry import unknown

METHODS = {
    "sft": "groundingme.train.tuning.sft",
    "grpo": "groundingme.train.tuning.grpo",
}
"""The module of each method; it has `make_trainer(job)`: see `job.Job`."""

_Count = Annotated[int, Meta(ge=1)]
_Share = Annotated[float, Meta(ge=0, lt=1)]
_Above = Annotated[float, Meta(gt=0)]


class TuneOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a base model is trained. None stands for a default that depends on something else.

    Attributes:
        method: A name in `METHODS`.
        tune: `lora` adds small matrices and trains those; `qlora` does so over weights of 4 bits
            (bitsandbytes, on a GPU); `full` trains all weights of the language model.
        vision: Train the vision tower as well.
        epochs: Passes over the rows that are trained on.
        steps: Optimizer steps, in place of `epochs`.
        rate: Highest learning rate; by default 1e-4, with `full` 1e-5, and a tenth of those with
            `grpo`.
        schedule: Of the learning rate after its warm-up, as transformers names it.
        warmup: Share of the steps in which the rate rises to `rate`.
        decay: Of the weights.
        clip: Largest norm of the gradient.
        batch: Rows that one device sees at once; with `grpo`, replies.
        accumulate: Batches of one optimizer step. A step sees `batch` x `accumulate` x devices.
        generations: With `grpo`: sampled replies to one question, compared with each other.
        temperature: With `grpo`: of their sampling.
        kl: With `grpo`: weight of the divergence from the base model; 0 for none.
        box_weight: With `grpo`: what a box is worth, times its IoU.
        rejection_weight: With `grpo`: what a right rejection is worth; by default as much as a
            box, or less where rejecting everything would pay: see `rewards.balanced`.
        format_weight: With `grpo`: added for a box that can be read, and for a right rejection.
        iou_threshold: With `grpo`: a box counts 1 from this IoU on and 0 below; 0 for the IoU
            itself.
        rank: Of the LoRA matrices.
        alpha: Their scale; the update is multiplied by `alpha / rank`.
        dropout: In front of them.
        targets: Regular expression of the layers that get them, matched against the whole name;
            by default the family's: see `base.FAMILIES`.
        max_pixels: Largest image that the model sees; larger ones are shrunk by its processor.
        image_tokens: The same in tokens. By default what the processor says.
        bf16: Compute in bfloat16; by default where the GPU can.
        checkpointing: Keep few activations and compute the others again: less memory, a fifth
            slower.
        attention: `flash` is FlashAttention, which `auto` takes where it is installed.
        held_out: Share of the images whose rows are evaluated and not trained on; 0 for none.
        eval_every: Steps between two evaluations; by default a tenth of all.
        eval_batch: Rows answered at once there.
        save_every: Steps between two checkpoints; by default a tenth of all, at most 200.
        log_every: Steps between two lines of the log.
        seed: Of the adapter's first weights, the order of the rows and what is held out.
        workers: Processes that read and decode images, for each device.
        track: Trackers, as transformers names them (`wandb`, `mlflow`, `trackio`,
            `tensorboard`, ...).
        merge: Save the whole model at the end; else the adapter alone.
        revision: Branch, tag or commit of the base model on the Hub.
        check_memory: Stop before the start where memory is not likely to suffice.
    """

    method: str = "sft"
    tune: Literal["lora", "qlora", "full"] = "lora"
    vision: bool = False
    epochs: _Above = 3.0
    steps: _Count | None = None
    rate: _Above | None = None
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: _Share = 0.03
    decay: Annotated[float, Meta(ge=0)] = 0.0
    clip: _Above = 1.0
    batch: _Count = 4
    accumulate: _Count = 4
    generations: Annotated[int, Meta(ge=2)] = 8
    temperature: _Above = 1.0
    kl: Annotated[float, Meta(ge=0)] = 0.0
    box_weight: Annotated[float, Meta(ge=0)] = 1.0
    rejection_weight: Annotated[float, Meta(ge=0)] | None = None
    format_weight: Annotated[float, Meta(ge=0)] = 0.1
    iou_threshold: _Share = 0.0
    rank: _Count = 16
    alpha: _Above = 32.0
    dropout: _Share = 0.05
    targets: str = ""
    max_pixels: _Count | None = None
    image_tokens: _Count | None = None
    bf16: bool | None = None
    checkpointing: bool = True
    attention: Literal["auto", "flash", "sdpa", "eager"] = "auto"
    held_out: _Share = 0.02
    eval_every: _Count | None = None
    eval_batch: _Count = 16
    save_every: _Count | None = None
    log_every: _Count = 10
    seed: Annotated[int, Meta(ge=0)] = 0
    workers: Annotated[int, Meta(ge=0)] = 2
    track: tuple[str, ...] = ()
    merge: bool = True
    revision: str | None = None
    check_memory: bool = True

    @property
    def learning_rate(self) -> float:
        """The rate, with its default filled in."""
        usual = 1e-5 if self.tune == "full" else 1e-4
        return self.rate or (usual / 10 if self.method == "grpo" else usual)

    @property
    def replies(self) -> int:
        """How many replies of a pass are to the same row."""
        return self.generations if self.method == "grpo" else 1


DEFAULTS = TuneOptions()

GRPO_ONLY = (
    "generations", "temperature", "kl", "box_weight", "rejection_weight", "format_weight",
    "iou_threshold",
)  # fmt: skip
"""Options that no other method has a use for."""

UNMARKED = frozenset({"track", "workers", "eval_batch", "log_every", "check_memory", "attention"})
"""Options that may change between two sessions of one run: they change no more than rounding."""


PAPER = Path(__file__).resolve().parents[1] / "configs" / "paper.yaml"
"""The paper's run."""


def load_options(
    path: str | Path | None = None, given: Mapping[str, Any] | None = None
) -> TuneOptions:
    """Options from a file, overruled by those given.

    Args:
        path: A YAML or TOML file with names of `TuneOptions` as keys, or `paper` for the one that
            ships; None for none.
        given: By name; None stands for not given.

    Raises:
        UsageError: The file cannot be read, or an option is unknown, out of range or at odds with
            another.
    """
    file = PAPER if path == "paper" else path
    values = _read(Path(file)) if file else {}
    _check_names(values, f"{path}: ")
    fresh = {name: value for name, value in (given or {}).items() if value is not None}
    # One of the two budgets given anew takes the place of the other one in the file.
    for name, other in (("max_pixels", "image_tokens"), ("image_tokens", "max_pixels")):
        if name in fresh and other not in fresh:
            values.pop(other, None)
    _check_names(fresh, "")
    options = _converted({**values, **fresh}, f"{path}: " if path else "")
    _check(options)
    return options


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"expected a configuration at {path}, got no file; paper ships") from None
    except (OSError, ValueError) as error:
        raise DataError(f"expected a configuration at {path}, got: {error}") from None
    try:
        tree = tomllib.loads(text) if path.suffix == ".toml" else msgspec.yaml.decode(text)
    except (ValueError, msgspec.DecodeError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{path}: expected YAML, or TOML in a .toml file, got: {said}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise UsageError(f"{path}: expected lines such as 'tune: lora', got {str(tree)[:60]!r}")
    return tree


def _check_names(values: Mapping[str, Any], place: str) -> None:
    known = TuneOptions.__struct_fields__
    for name in values:
        if name not in known:
            raise UsageError(f"{place}{unknown('option of a training run', name, known)}")


def _converted(values: Mapping[str, Any], place: str) -> TuneOptions:
    for field in msgspec.structs.fields(TuneOptions):
        if field.name not in values:
            continue
        try:
            # YAML takes 1e-5 for text.
            msgspec.convert(values[field.name], field.type, strict=False)
        except msgspec.ValidationError:
            raise UsageError(
                f"{place}{field.name}: expected {allowed(field.type)}, got {values[field.name]!r}"
            ) from None
    return msgspec.convert(values, TuneOptions, strict=False)


def _check(options: TuneOptions) -> None:
    if options.method not in METHODS:
        raise unknown("method of training", options.method, METHODS)
    for name in GRPO_ONLY:
        if options.method != "grpo" and getattr(options, name) != getattr(DEFAULTS, name):
            raise UsageError(
                f"expected --{name.replace('_', '-')} with --method grpo, got it with "
                f"{options.method}; leave it out"
            )
    if options.max_pixels and options.image_tokens:
        raise UsageError("expected --max-pixels or --image-tokens, got both; leave one of them out")
    if options.tune == "full" and options.targets:
        raise UsageError(
            f"expected --targets with --tune lora or qlora, got {options.targets!r} with full; "
            "leave it out"
        )
