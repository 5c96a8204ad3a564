"""From drawn scenes to figures: draw, build, measure, train without negatives, sweep.

Each stage goes on where it was stopped and is skipped where it is done. Everything but the clock
is the ordinary code: `groundingme mix`, `train`, `sweep` and `eval` do the work.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from transformers import TrainerCallback

from groundingme.datasets import Dataset, load_dataset
from groundingme.datasets.export import export
from groundingme.datasets.layouts import Tick
from groundingme.errors import JobError, MissingDependencyError, UsageError
from groundingme.interrupting import Interrupted
from groundingme.registry import unknown
from groundingme.store import write_atomically
from groundingme.terminal import say
from groundingme.train.mixing import mix
from groundingme.train.mixture import load_mixture
from groundingme.train.scratch import flops, fresh
from groundingme.train.sweep import figure, hub, running
from groundingme.train.sweep.plan import Exam, sorted_ratios
from groundingme.train.tuning import memory, plans, sft
from groundingme.train.tuning import running as tuning
from groundingme.train.tuning.job import Job
from groundingme.train.tuning.options import TuneOptions
from groundingme.train.tuning.plans import Plan
from groundingme.train.tuning.stopping import Stopping
from groundingme.train.tuning.watching import Watcher

BASE_SEED, POSITIVES_SEED, NEGATIVES_SEED, IN_SEED, OUT_SEED = range(9101, 9106)
"""Of the scenes; no two data sets share a picture."""
NAME = "qwen3-vl"
"""In the folder of every model, from which its family is known."""
WARM = 5
"""First steps of a measurement, in which kernels are chosen and memory is taken."""


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything.

    Attributes:
        size: A name of `fresh.SIZES`.
        minutes: Of training without negatives.
        samples: Scenes of that training.
        mixture: Scenes of each kind to make mixtures from.
        total: Samples of each mixture.
        exam: Scenes of each of both exams.
        ratios: Of the mixtures.
        seeds: Trainings of each ratio.
        epochs: Passes over a mixture.
        width: Of pictures, in pixels.
        height: Of pictures, in pixels.
        batch: Rows of a step.
        rate: Highest learning rate of the training without negatives; the mixtures have a fifth.
        measured: Steps whose time is taken.
        workers: Processes that draw scenes, and that decode them in training.
    """

    size: str = "medium"
    minutes: float = 10.0
    samples: int = 40_000
    mixture: int = 6_000
    total: int = 6_000
    exam: int = 1005
    ratios: str = "1:8,1:4,1:2,1:1,2:1"
    seeds: int = 1
    epochs: float = 1.0
    width: int = 448
    height: int = 336
    batch: int = 64
    rate: float = 3e-4
    measured: int = 30
    workers: int = 8


TINY = Amount(
    size="tiny", minutes=0.05, samples=16, mixture=8, total=6, exam=12, ratios="1:1", width=256,
    height=256, batch=4, measured=3, workers=1,
)  # fmt: skip
"""Very little of everything, for a CPU; the figures mean nothing."""


def tell(line: str) -> None:
    """A line for the person who waits."""
    say(line, err=True)


def check(amount: Amount) -> None:
    """Whether a run can begin.

    Raises:
        UsageError: A size of no known name, or ratios that cannot be read.
    """
    if amount.size not in fresh.SIZES:
        raise unknown("size", amount.size, fresh.SIZES)
    sorted_ratios(amount.ratios)


# ---- scenes


def draw(amount: Amount, out: Path) -> None:
    """Draws all scenes on several cores, once."""
    small = f"width={amount.width},height={amount.height},small_width=1280"
    specs = {
        "base": f"scenes:seed={BASE_SEED},n={amount.samples},rejections=0,{small}",
        "positives": f"scenes:seed={POSITIVES_SEED},n={amount.mixture},rejections=0,{small}",
        "negatives": f"scenes:seed={NEGATIVES_SEED},n={amount.mixture},rejections=1,{small}",
        "in-domain": f"scenes:seed={IN_SEED},n={amount.exam},{small}",
        "out-of-domain": f"scenes-hard:seed={OUT_SEED},n={amount.exam},{small}",
    }
    for name, spec in specs.items():
        dataset = load_dataset(spec)
        tick = _ticking(f"drawing {name}", len(dataset))
        export(dataset, out / "scenes" / name, layout="folder", workers=amount.workers, tick=tick)


def _ticking(what: str, of: int) -> Tick:
    said, each = 0, max(1, of // 5)

    def tick(done: int) -> None:
        nonlocal said
        if done // each > said:
            said = done // each
            tell(f"{what}: {done} of {of}")

    return tick


def scenes(out: Path, name: str) -> Dataset:
    """One of the data sets that were drawn."""
    return load_dataset(str(out / "scenes" / name))


# ---- the base


def prepare(amount: Amount, out: Path, seed: int) -> Plan:
    """A fresh model and a mixture without negatives, as a plan of one step."""
    drawn = scenes(out, "base")
    mixed = mix(drawn, drawn, out=out / "base-mixture", ratios="0:1", family=NAME)[0]
    folder = out / f"{NAME}-fresh"
    if not (folder / "config.json").exists():
        size = fresh.SIZES[amount.size]
        image_tokens = (amount.width // fresh.SIDE + 1) * (amount.height // fresh.SIDE + 1)
        fresh.build(size, _texts(mixed.folder), folder, image_tokens=image_tokens, seed=seed)
    return plans.plan(str(folder), mixed.folder, TuneOptions(**_base_options(amount, seed)))


def _texts(folder: Path) -> Iterator[str]:
    for row in load_mixture(folder, look=False).rows():
        yield row["prompt"][0]["content"]
        yield row["completion"][0]["content"]
    yield from ['{"bbox_2d": null}'] * 100


def _base_options(amount: Amount, seed: int) -> dict[str, Any]:
    return {
        "tune": "full", "vision": True, "steps": 1, "rate": amount.rate, "decay": 0.05,
        "batch": amount.batch, "accumulate": 1, "held_out": 0.0, "checkpointing": False,
        "workers": amount.workers if amount.workers > 1 else 0, "seed": seed,
        "save_every": 1000,
    }  # fmt: skip


class Clock(TrainerCallback):
    """Takes the time of steps, without the first ones.

    Args:
        warm: Steps that are left out.
    """

    def __init__(self, warm: int) -> None:
        self._warm = warm
        self._began = 0.0
        self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Starts behind the warm steps and takes the time behind every later one."""
        if state.global_step < self._warm:
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.monotonic()
        if state.global_step == self._warm:
            self._began = now
        self.seconds = (now - self._began) / max(1, state.global_step - self._warm)


def measure(planned: Plan, out: Path, steps: int) -> float:
    """Seconds of a step, the mean of some steps that are thrown away."""
    path = out / "measured.json"
    if path.exists():
        return float(json.loads(path.read_bytes())["seconds_a_step"])
    tell(f"taking the time of {steps} steps")
    tuning.quiet()
    folder = out / "measuring"
    folder.mkdir(exist_ok=True)
    options = msgspec.structs.replace(planned.options, steps=WARM + steps)
    clock = Clock(WARM)
    with Stopping() as stopping:
        watcher = Watcher(
            folder, planned.base, [], planned.convention.coords, batch=1, every=WARM + steps,
            stopping=stopping, say=lambda line: None,
        )  # fmt: skip
        trainer = sft.make_trainer(
            Job(
                base=planned.base, options=options, rows=planned.rows,
                coords=planned.convention.coords, bf16=planned.bf16, steps=WARM + steps,
                folder=folder, watcher=watcher,
            )
        )  # fmt: skip
        watcher.trainer = trainer
        tuning.mute(trainer)
        trainer.add_callback(clock)
        trainer.args.save_strategy = "no"
        trainer.train()
        if stopping.asked:
            raise Interrupted
    shutil.rmtree(folder)
    write_atomically(path, json.dumps({"seconds_a_step": clock.seconds}).encode())
    return clock.seconds


def train_base(amount: Amount, out: Path, planned: Plan, seconds: float) -> Path:
    """Trains on scenes without negatives for as many steps as fit into the minutes.

    Raises:
        Interrupted: Somebody stopped it; the same call goes on.
    """
    folder = out / f"{NAME}-scenes"
    steps = max(1, round(60 * amount.minutes / seconds))
    options = msgspec.structs.replace(planned.options, steps=steps)
    whole = msgspec.structs.replace(planned, options=options, steps=steps)
    if tuning.run(whole, folder, say=tell).state == "interrupted":
        raise Interrupted
    return folder


# ---- mixtures


def sweep(amount: Amount, out: Path, base: Path) -> running.Sweep:
    """The ordinary sweep over ratios, from the base that never saw a negative."""
    options = {
        "tune": "full", "vision": True, "epochs": amount.epochs, "rate": amount.rate / 5,
        "batch": amount.batch, "accumulate": 1, "held_out": 0.0, "checkpointing": False,
        "workers": amount.workers if amount.workers > 1 else 0,
    }  # fmt: skip
    learner = hub.Tuned(
        base=str(base), out=out / "sweep", positives=str(out / "scenes" / "positives"),
        negatives=str(out / "scenes" / "negatives"), total=amount.total, options=options,
        asked=[
            Exam(domain="in-domain", data=str(out / "scenes" / "in-domain")),
            Exam(domain="out-of-domain", data=str(out / "scenes" / "out-of-domain")),
        ],
        max_tokens=64,
    )  # fmt: skip
    ratios = sorted_ratios(amount.ratios)
    found = running.run(learner, ratios, range(amount.seeds), out / "sweep", tell=tell)
    try:
        figure.write(found.reduced, out / "sweep")
    except MissingDependencyError as error:
        tell(str(error))
    return found


# ---- figures


def speed(planned: Plan, seconds: float) -> dict[str, Any]:
    """What a step of the base's training did, and what share of the chip's peak that is.

    Args:
        planned: Of the base.
        seconds: Of a step.
    """
    told = tokens_of(planned)
    rows = planned.options.batch
    counted = flops.training(planned.base.config, round(told["row"]), round(told["image"]))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    peak = flops.peak_of(device)
    rate = counted * rows / seconds
    return {
        "device": device,
        "torch": str(torch.__version__),
        "bf16": planned.bf16,
        "parameters": planned.shape.weights,
        "rows_a_step": rows,
        "tokens_a_row": told["row"],
        "image_tokens_a_row": told["image"],
        "seconds_a_step": seconds,
        "rows_a_second": rows / seconds,
        "tokens_a_second": told["row"] * rows / seconds,
        "flops_a_row": counted,
        "flops_a_second": rate,
        "peak_flops_a_second": peak,
        "share_of_peak": rate / peak if peak else None,
    }


def tokens_of(planned: Plan, some: int = 64) -> dict[str, float]:
    """Mean tokens of a row and of its picture, without padding, over the first rows."""
    rows = planned.rows[:some]
    processor = planned.base.processor
    texts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [{"type": "image"}, {"type": "text", "text": row.question}],
                },
                {"role": "assistant", "content": row.answer},
            ],
            tokenize=False,
        )
        for row in rows
    ]
    words = [len(ids) for ids in processor.tokenizer(texts)["input_ids"]]
    images = [planned.base.tokens(row.width, row.height) for row in rows]
    image = sum(images) / len(rows)
    # One mark of the text stands for all tokens of the picture.
    return {"row": sum(words) / len(rows) - 1 + image, "image": image}


def trained(folder: Path) -> dict[str, Any]:
    """Steps, seconds, tokens and loss of the base's training, from its log.

    Raises:
        JobError: There is no log.
    """
    path = folder / "log.jsonl"
    if not path.exists():
        raise JobError(f"expected the log of the training in {path}, got none; train it again")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: lines[-1][name] for name in ("step", "seconds", "num_tokens", "loss")}


def run(amount: Amount, out: Path, seed: int = 0) -> dict[str, Any]:
    """All stages; writes `scratch.json`.

    Args:
        amount: Of everything.
        out: Folder of everything; the same call goes on there.
        seed: Of weights and order.

    Raises:
        UsageError: It cannot begin, `out` was begun with another amount, or memory does not
            suffice.
        JobError: A training failed, or too many samples have no reply.
        Interrupted: Stopped; the same call goes on.
    """
    check(amount)
    _claim(amount, out, seed)
    draw(amount, out)
    planned = prepare(amount, out, seed)
    tell(f"{planned.shape.weights:,} parameters")
    memory.check_fits(planned.needed, planned.free, planned.device, tune="full", batch=amount.batch)
    seconds = measure(planned, out, amount.measured)
    measured = speed(planned, seconds)
    share = measured["share_of_peak"]
    tell(
        f"{measured['tokens_a_second']:,.0f} tokens a second"
        + (f", {100 * share:.1f} % of the chip's peak" if share is not None else "")
    )
    base = train_base(amount, out, planned, seconds)
    found = sweep(amount, out, base)
    told = {
        "amount": msgspec.structs.asdict(amount),
        "seed": seed,
        "speed": measured,
        "base": trained(base),
        "finding": found.finding,
        "rows": msgspec.to_builtins(found.reduced.rows),
        "columns": found.reduced.columns,
    }
    encoded = msgspec.json.format(msgspec.json.encode(told), indent=1)
    write_atomically(out / "scratch.json", encoded + b"\n")
    return told


def _claim(amount: Amount, out: Path, seed: int) -> None:
    """Keeps runs of two amounts from being mixed in one folder."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "amount.json"
    mine = msgspec.json.encode({**msgspec.structs.asdict(amount), "seed": seed})
    if not path.exists():
        write_atomically(path, mine)
    elif path.read_bytes() != mine:
        raise UsageError(
            f"expected the settings that {out} was begun with, got others; name another --out"
        )
