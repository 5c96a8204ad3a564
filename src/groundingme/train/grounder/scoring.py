"""Scores on scenes that no net was taught with, composed as the benchmark composes its own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from groundingme.datasets.scenes.generator import compose
from groundingme.geometry import iou_matrix
from groundingme.models.builtin.nets import Nets
from groundingme.taxonomy import REJECTION, SUBTASKS
from groundingme.train.grounder.data import picture_of

OFFSETS = np.arange(-3.0, 3.01, 0.25)
"""Of the logit of none: what a threshold may be chosen from."""


class Answered(msgspec.Struct, frozen=True):
    """What a matcher made of one question.

    Attributes:
        l1: Category.
        l2: Subtask.
        scores: Logit of each thing, and of none.
        overlaps: Of each thing's box with the true one; empty for a rejection.
        seen: Whether any box overlaps the true one by half.
    """

    l1: str
    l2: str
    scores: list[float]
    overlaps: list[float]
    seen: bool

    def right(self, offset: float) -> bool:
        """Whether the answer is right when `offset` is added to the logit of none."""
        scores = np.array(self.scores)
        scores[-1] += offset
        best = int(scores.argmax())
        none = best == len(scores) - 1
        return none if self.l1 == REJECTION else not none and self.overlaps[best] >= 0.5


def answers(
    weights: Path, names: Sequence[str], split: str, numbers: Sequence[int]
) -> dict[str, list[Answered]]:
    """Answers of each matcher to one question of every subtask for each number."""
    nets = Nets(weights)
    found: dict[str, list[Answered]] = {name: [] for name in names}
    for number in numbers:
        for row in SUBTASKS:
            rng = random.Random(f"{split}:{row.l1}:{row.l2}:{number}")
            scene, question = compose(row.l1, row.l2, rng)
            seen = nets.see(picture_of(scene, rng))
            shared: list[float] = []
            if question.target >= 0:
                truth = [scene.things[question.target].box]
                shared = iou_matrix(seen.boxes, truth)[:, 0].tolist()
            for name in names:
                scores = nets.match(name, seen, question.description).tolist()
                hit = max(shared, default=0.0) >= 0.5
                found[name].append(Answered(row.l1, row.l2, scores, shared, hit))
    return found


def make_answers(
    weights: Path, names: Sequence[str], split: str, first: int, last: int, path: Path
) -> None:
    """Writes answers to questions `first` to `last`, unless they are there."""
    if not path.exists():
        found = answers(weights, names, split, range(first, last))
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(found))
        fresh.replace(path)


def load_answers(paths: Sequence[Path]) -> dict[str, list[Answered]]:
    """All answers in these files, by matcher."""
    found: dict[str, list[Answered]] = {}
    for path in paths:
        part = msgspec.json.decode(path.read_bytes(), type=dict[str, list[Answered]])
        for name, rows in part.items():
            found.setdefault(name, []).extend(rows)
    return found


def summary(rows: Sequence[Answered], offset: float = 0.0) -> dict[str, Any]:
    """Shares of right answers in percent: positives, rejections, and every subtask."""

    def share(chosen: Sequence[Answered]) -> float:
        right = [one.right(offset) for one in chosen]
        return round(100 * sum(right) / max(1, len(right)), 1)

    positives = [one for one in rows if one.l1 != REJECTION]
    return {
        "offset": offset,
        "positives": share(positives),
        "rejection": share([one for one in rows if one.l1 == REJECTION]),
        "seen": round(100 * float(np.mean([one.seen for one in positives])), 1),
        "subtasks": {
            f"{row.l1}/{row.l2}": share([one for one in rows if (one.l1, one.l2) == row[:2]])
            for row in SUBTASKS
        },
    }


def best_offset(rows: Sequence[Answered]) -> float:
    """The offset with most right answers in the benchmark's proportions; of several the smallest.

    A subtask without answers counts for nothing.
    """
    present = {(row.l1, row.l2) for row in rows}
    size = {row.name: row.samples for row in SUBTASKS if row[:2] in present}
    means = []
    for offset in OFFSETS.tolist():
        subtasks = summary(rows, offset)["subtasks"]
        means.append(sum(subtasks[name] * samples for name, samples in size.items()))
    order = sorted(range(len(means)), key=lambda i: (-means[i], abs(OFFSETS[i])))
    return float(OFFSETS[order[0]])
