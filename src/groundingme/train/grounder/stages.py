"""The stages of the recipe. Each leaves its result in the folder and is skipped where it is."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from groundingme.geometry import iou_matrix
from groundingme.models.builtin.nets import Nets
from groundingme.train.grounder.curves import draw_curves
from groundingme.train.grounder.data import in_workers, make_pictures, picture_of
from groundingme.train.grounder.questions import load_questions, make_questions, vocabulary

NEGATIVES = 0.35
"""Share of rejections that the first matcher is taught with."""

SHARD = 100
QUESTIONS = 12


class Plan(msgspec.Struct, frozen=True):
    """How much of everything.

    Attributes:
        out: Folder of data, weights and figures.
        minutes: Of processor time on each of two cores, all stages together.
        pictures: Training scenes that are drawn.
        pages: Training scenes that questions are asked on; the first of them are the drawn ones.
        device: As torch names it.
        seed: Of weights and batches.
        workers: Processes.
    """

    out: Path
    minutes: float = 42.0
    pictures: int = 4000
    pages: int = 16000
    device: str = "cpu"
    seed: int = 0
    workers: int = 2

    @property
    def data(self) -> Path:
        """Folder of the shards."""
        return self.out / "data"

    @property
    def weights(self) -> Path:
        """Folder of what the runtime needs."""
        return self.out / "weights"

    def seconds(self, share: float) -> float:
        """A share of the time."""
        return 60 * self.minutes * share


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)


def make_data(plan: Plan) -> None:
    """Draws scenes and asks questions."""
    plan.data.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
    for shard in range(-(-plan.pages // SHARD)):
        if shard * SHARD < plan.pictures:
            jobs.append((make_pictures, (plan.data, "train", shard, SHARD)))
        jobs.append((make_questions, (plan.data, "train", shard, SHARD, QUESTIONS)))
    jobs += [(make_questions, (plan.data, "val", shard, SHARD, QUESTIONS)) for shard in range(8)]
    in_workers(jobs, plan.workers, say, "scenes")


def train_look(plan: Plan) -> None:
    """Trains and exports the net that looks."""
    from groundingme.train.grounder import export, look_training, loop, nets

    _prepare(plan)
    net = _placed(nets.Look(), plan)
    step = look_training.step(net, plan.data, plan.device, plan.seed)
    path = plan.out / "look.pt"
    loop.train(net, step, path, seconds=plan.seconds(0.2), device=plan.device, say=say)
    export.export_look(net, plan.weights / "look.onnx")


def train_read(plan: Plan) -> None:
    """Trains and exports the net that reads."""
    from groundingme.train.grounder import export, loop, nets, read_training

    _prepare(plan)
    net = _placed(nets.Read(), plan)
    step = read_training.step(net, plan.data, plan.device, plan.seed)
    path = plan.out / "read.pt"
    loop.train(net, step, path, seconds=plan.seconds(0.4), device=plan.device, say=say)
    export.export_read(net, plan.weights / "read.onnx")


def train_spell(plan: Plan) -> None:
    """Trains and exports the net that reads writing."""
    from groundingme.train.grounder import export, loop, nets, read_training

    _prepare(plan)
    net = _placed(nets.Spell(), plan)
    step = read_training.spell_step(net, plan.data, plan.device, plan.seed)
    path = plan.out / "spell.pt"
    loop.train(net, step, path, seconds=plan.seconds(0.12), device=plan.device, say=say)
    export.export_spell(net, plan.weights / "spell.onnx")


def train_early_match(plan: Plan) -> None:
    """Trains a matcher on simulated readings, with positives only: both matchers start from it."""
    from groundingme.train.grounder import loop, match, match_training

    _prepare(plan)
    pages = load_questions(plan.data, "train")
    words = vocabulary(pages)
    (plan.out / "words.json").write_text(json.dumps(words), encoding="utf-8")
    numbers = {word: number for number, word in enumerate(words)}
    net = match.Match(len(words)).to(plan.device)
    desk = match_training.Desk(pages, None, numbers, 0.0, plan.seed)
    step = match_training.step(net, [desk], plan.device)
    path = plan.out / "early.pt"
    seconds = plan.seconds(0.7)
    loop.train(net, step, path, seconds=seconds, device=plan.device, rate=1.5e-3, say=say)


def train_match(plan: Plan, name: str, negatives: float) -> None:
    """Trains and exports a matcher on what the other nets read from drawn scenes."""
    import torch

    from groundingme.train.grounder import export, loop, match, match_training

    _prepare(plan)
    words = json.loads((plan.out / "words.json").read_text(encoding="utf-8"))
    numbers = {word: number for number, word in enumerate(words)}
    net = match.Match(len(words)).to(plan.device)
    net.load_state_dict(torch.load(plan.out / "early.pt", map_location=plan.device))
    pages = load_questions(plan.data, "train")
    seen = load_readings(plan.data, "train")
    # Simulated readings go on beside the real ones: their questions are many more.
    desks = [match_training.Desk(pages[: len(seen)], seen, numbers, negatives, plan.seed)]
    if len(pages) > len(seen):
        rest = pages[len(seen) :]
        desks.append(match_training.Desk(rest, None, numbers, negatives, plan.seed + 1))
    step = match_training.step(net, desks, plan.device)
    path = plan.out / f"{name}.pt"
    seconds = plan.seconds(0.28)
    loop.train(net, step, path, seconds=seconds, device=plan.device, rate=1e-3, say=say)
    export.export_match(net, plan.weights / f"{name}.onnx")


def _placed(net: Any, plan: Plan) -> Any:
    """A convolutional net on the device, in the order of channels that is fastest there."""
    import torch

    return net.to(plan.device, memory_format=torch.channels_last)


def _prepare(plan: Plan) -> None:
    import torch

    if plan.device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    plan.weights.mkdir(parents=True, exist_ok=True)


# ---- what the first two nets make of drawn scenes


def make_readings(folder: Path, weights: Path, split: str, shard: int) -> None:
    """Looks at and reads one shard of scenes as the runtime does, unless that is done."""
    path = folder / f"{split}.{shard:04d}.readings.npz"
    if path.exists():
        return
    import random

    nets = Nets(weights)
    pages = load_questions(folder, split, shard)
    arrays: dict[str, list[Any]] = {"features": [], "places": [], "thing": [], "length": []}
    for page in pages:
        rng = random.Random(f"{split}:{page.number}:seen")
        seen = nets.see(picture_of(page.scene, rng))
        truth = np.array([one.box for one in page.scene.things], np.float64).reshape(-1, 4)
        arrays["features"].append(seen.features.astype(np.float16))
        arrays["places"].append(seen.places)
        arrays["thing"].append(assigned(seen.boxes, truth))
        arrays["length"].append([len(seen.boxes)])
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        whole: dict[str, Any] = {name: np.concatenate(rows) for name, rows in arrays.items()}
        np.savez(file, allow_pickle=False, **whole)
    fresh.replace(path)


def assigned(
    boxes: np.ndarray[Any, np.dtype[np.float64]], truth: np.ndarray[Any, np.dtype[np.float64]]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For each box the index of the true one that it overlaps by half, best first; else -1."""
    found = np.full(len(boxes), -1, np.int64)
    shared = iou_matrix(boxes, truth)
    while shared.size and shared.max() >= 0.5:
        row, column = np.unravel_index(np.argmax(shared), shared.shape)
        found[row] = column
        shared[row, :] = shared[:, column] = 0
    return found


def load_readings(folder: Path, split: str) -> list[Any]:
    """All readings of a split, in the order of its pages."""
    from groundingme.train.grounder.match_training import Reading

    found = []
    for path in sorted(folder.glob(f"{split}.*.readings.npz")):
        with np.load(path) as arrays:
            cuts = np.cumsum(arrays["length"])[:-1]
            parts = [np.split(arrays[name], cuts) for name in ("features", "places", "thing")]
        found += [
            Reading(features.astype(np.float32), places, thing)
            for features, places, thing in zip(*parts, strict=True)
        ]
    return found


def read_all(plan: Plan) -> None:
    """Looks at and reads all drawn training scenes."""
    from groundingme.train.grounder import export

    words = json.loads((plan.out / "words.json").read_text(encoding="utf-8"))
    export.write_table(plan.weights, words, {})
    shards = -(-plan.pictures // SHARD)
    jobs: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (make_readings, (plan.data, plan.weights, "train", shard)) for shard in range(shards)
    ]
    in_workers(jobs, plan.workers, say, "readings")


def together(lanes: Sequence[Sequence[tuple[Callable[..., None], tuple[Any, ...]]]]) -> None:
    """Runs lanes of stages side by side, each lane in a process of one thread.

    Raises:
        RuntimeError: A lane failed; the others have been stopped.
    """
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_lane, args=(lane,)) for lane in lanes]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join()
            if process.exitcode:
                raise RuntimeError("expected the stage to finish, it failed; see above")
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _lane(stages: Sequence[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
    for stage, arguments in stages:
        stage(*arguments)
    # Exit without tearing down torch, which may crash when its types are freed last.
    os._exit(0)


def score(plan: Plan, each: int = 50) -> dict[str, Any]:
    """Chooses the offset of none on one half of unseen scenes and scores on the other.

    Args:
        plan: Of the run.
        each: Questions a subtask, in either half.
    """
    from groundingme.train.grounder import export, scoring

    names = ("match", "match-positive-only")
    jobs: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
    paths: dict[str, list[Path]] = {"choose": [], "score": []}
    for half in paths:
        for first in range(0, each, 10):
            path = plan.out / f"answers.{half}.{first:04d}.json"
            paths[half].append(path)
            last = min(each, first + 10)
            job = (plan.weights, names, f"val:{half}", first, last, path)
            jobs.append((scoring.make_answers, job))
    in_workers(jobs, plan.workers, say, "scored")
    choose, held = (scoring.load_answers(paths[half]) for half in paths)
    offsets = {"match": scoring.best_offset(choose["match"])}
    figures = {name: scoring.summary(held[name], offsets.get(name, 0.0)) for name in names}
    words = json.loads((plan.out / "words.json").read_text(encoding="utf-8"))
    export.write_table(plan.weights, words, offsets)
    draw_curves(plan.out, plan.out / "curves.png")
    (plan.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures
