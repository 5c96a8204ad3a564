"""Teaches `match.Match`, first on scenes whose reading is simulated, then on real readings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from groundingme.models.builtin.seeing import places
from groundingme.models.builtin.words import LONGEST_TEXT, encode
from groundingme.train.grounder import labels
from groundingme.train.grounder.loop import Step
from groundingme.train.grounder.match import Match
from groundingme.train.grounder.questions import Page, mixture

Floats = NDArray[np.float32]

_BLOCK = 8
"""Batches that are drawn at once, so that questions of about one length come together."""


class Reading(msgspec.Struct, frozen=True):
    """What is seen in one picture.

    Attributes:
        features: As `nets.Features` gives them, [n, F].
        places: As `seeing.places` gives them, [n, 6].
        thing: Index of the scene's thing that each of them is; -1 for none, [n].
    """

    features: Floats
    places: Floats
    thing: NDArray[np.int64]


def simulated(page: Page, rng: np.random.Generator) -> Reading:
    """A reading of a scene that was never drawn: right as a rule, unsure and wrong at times."""
    boxes, visible, target = labels.things(page.scene)
    n = len(boxes)
    sharp = rng.uniform(3.5, 9.0, (n, 1))
    fine = (visible > 0.45)[:, None]

    def one_of(wanted: NDArray[np.int64], count: int, wrong: float) -> Floats:
        slip = rng.random(wanted.shape) < wrong
        shown = np.where(slip | (wanted < 0), rng.integers(0, count, wanted.shape), wanted)
        logits = rng.normal(0, 1, (*wanted.shape, count)) + np.where(
            np.arange(count) == shown[..., None], sharp.reshape(n, *[1] * wanted.ndim), 0
        )
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        return np.asarray(odds / odds.sum(-1, keepdims=True), np.float32)

    column = {name: target[:, number].astype(np.int64) for name, number in labels.TARGETS.items()}
    kind = one_of(column["kind"], len(labels.KIND_NAMES), 0.01)
    parts = target[:, labels.PART_COLUMNS].astype(np.int64)
    axis = np.arange(len(labels.AXIS_NAMES)) == column["axis"][:, None]

    def yes(truth: NDArray[np.bool_], known: NDArray[np.bool_]) -> Floats:
        side = np.where(truth ^ (rng.random(truth.shape) < 0.015), 1.0, -1.0)
        side = np.where(known, side, rng.normal(0, 0.6, truth.shape))
        return np.asarray(
            1 / (1 + np.exp(-side * sharp + rng.normal(0, 1, side.shape))), np.float32
        )

    has = yes(parts > 0, fine & (parts >= 0))
    state = yes(np.repeat(column["state"][:, None] > 0, axis.shape[1], 1), fine & axis)
    can, on = kind @ labels.PARTS_OF, kind @ labels.AXES_OF
    letters = target[:, labels.LETTER_COLUMNS].astype(np.int64)
    text = one_of(np.where(fine, letters, -1), labels.LETTERS, 0.02).reshape(n, -1)
    seen = np.clip(visible[:, None] + rng.normal(0, 0.05, (n, 1)), 0.01, 0.99)
    features = np.concatenate(
        [
            1 / (1 + np.exp(-sharp)),
            seen,
            np.where(fine, yes(letters[:, :1] > 0, fine), 0.5),
            kind,
            one_of(column["color"], len(labels.COLOR_NAMES), 0.02),
            one_of(column["surface"], len(labels.SURFACE_NAMES), 0.02),
            can * has,
            can * (1 - has),
            on * (1 - state),
            on * state,
            one_of(column["count"], labels.COUNTS, 0.02),
            text,
        ],
        1,
    ).astype(np.float32)
    width, height = page.scene.width, page.scene.height
    side = np.maximum(boxes[:, 2:] - boxes[:, :2], 4)
    moved = boxes + rng.normal(0, 0.015, (n, 4)) * np.tile(side, 2)
    frame = [width, height, width, height]
    moved = np.clip(moved, 0, frame)
    real = np.arange(n)
    real[len(page.scene.things) :] = -1
    keep = rng.random(n) > 0.015
    order = rng.permutation(n)[keep]
    return Reading(features[order], places(moved[order], width, height), real[order])


class Desk:
    """Pages with readings, ready to be drawn as batches.

    Args:
        pages: Scenes and questions.
        readings: One a page, or None to simulate a new one whenever a page comes up.
        vocabulary: Numbers of words.
        negatives: Share of rejections in a batch; 0 never draws one.
        seed: Of drawing.
    """

    def __init__(
        self,
        pages: list[Page],
        readings: list[Reading] | None,
        vocabulary: dict[str, int],
        negatives: float,
        seed: int,
    ) -> None:
        self._pages, self._readings = pages, readings
        self._seed = seed
        self._rng = np.random.default_rng([seed, 3])
        flat = [
            (number, exercise)
            for number, one in enumerate(pages)
            for exercise in one.exercises
            if exercise.target >= 0 or negatives > 0
        ]
        self._page_of = np.array([number for number, _ in flat])
        exercises = [exercise for _, exercise in flat]
        self._share = np.cumsum(mixture(exercises, negatives))
        self._target = np.array([exercise.target for exercise in exercises])
        self._marks = [np.array(exercise.marks, np.int64) for exercise in exercises]
        coded = [encode(exercise.description, vocabulary) for exercise in exercises]
        self._words = [words for words, _ in coded]
        self._characters = [characters for _, characters in coded]
        self._waiting: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return len(self._target)

    @property
    def targets(self) -> NDArray[np.int64]:
        """Index of the thing that each question means; -1 for none."""
        return self._target

    def draw(self, size: int) -> dict[str, Tensor]:
        """A batch of questions of about one length."""
        if not self._waiting:
            self._waiting = self._alike(self._pool(size * _BLOCK), size)
        return self.batch(self._waiting.pop())

    def numbered(
        self, number: int, size: int = 64, order: NDArray[np.int64] | None = None
    ) -> dict[str, Tensor]:
        """The batch of that number, the same one whatever was drawn before.

        Args:
            number: From 0.
            size: Questions in it.
            order: Questions by their numbers, as they come up; None draws them at random.
        """
        block, place = divmod(number, _BLOCK)
        # Decides on the order within the block; what is simulated is decided by the batch.
        self._rng = np.random.default_rng([self._seed, 4, block])
        whole = size * _BLOCK
        pool = self._pool(whole) if order is None else order[block * whole : (block + 1) * whole]
        batches = self._alike(pool, size)
        self._rng = np.random.default_rng([self._seed, 5, number])
        return self.batch(batches[place])

    def _pool(self, size: int) -> NDArray[np.int64]:
        found = np.searchsorted(self._share, self._rng.random(size))
        return np.minimum(found, len(self) - 1)

    def _alike(self, pool: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
        """The questions of a pool in batches of about one length, in random order."""
        pool = pool[np.argsort([len(self._words[one]) for one in pool], kind="stable")]
        batches = [pool[start : start + size] for start in range(0, len(pool), size)]
        self._rng.shuffle(batches)
        return batches

    def batch(self, numbers: NDArray[np.int64]) -> dict[str, Tensor]:
        """Those questions as arrays; `target` is the number of things for none, -1 for missed."""
        seen: dict[int, Reading] = {}
        for one in self._page_of[numbers].tolist():
            if one not in seen:
                page = self._pages[one]
                kept = self._readings
                seen[one] = kept[one] if kept else simulated(page, self._rng)
        readings = [seen[one] for one in self._page_of[numbers].tolist()]
        b = len(numbers)
        n = max(1, *(len(one.thing) for one in readings))
        t = max(len(self._words[one]) for one in numbers)
        features = np.zeros((b, n, labels.FEATURE_SIZE), np.float32)
        where = np.zeros((b, n, 6), np.float32)
        where[..., 2:] = 1
        there = np.zeros((b, n), np.float32)
        words = np.zeros((b, t), np.int64)
        characters = np.zeros((b, t, LONGEST_TEXT), np.int64)
        target = np.full(b, n, np.int64)
        bits = np.zeros((b, n), np.int64)
        for row, (number, one) in enumerate(zip(numbers.tolist(), readings, strict=True)):
            m, length = len(one.thing), len(self._words[number])
            features[row, :m], where[row, :m], there[row, :m] = one.features, one.places, 1
            words[row, :length] = self._words[number]
            characters[row, :length] = self._characters[number]
            bits[row, :m] = np.where(one.thing >= 0, self._marks[number][one.thing], 0)
            if self._target[number] >= 0:
                found = np.flatnonzero(one.thing == self._target[number])
                target[row] = found[0] if len(found) else -1
        arrays: dict[str, Any] = {
            "features": features,
            "places": where,
            "there": there,
            "words": words,
            "characters": characters,
            "target": target,
            "marks": np.stack([bits & 1, (bits >> 1) & 1, (bits >> 2) & 1], -1).astype(np.float32),
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


INPUTS = ("features", "places", "there", "words", "characters")


def loss(net: Match, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy over the things and none, and of the marks on the way."""
    scores, marks = net(*(batch[name] for name in INPUTS))
    target = batch["target"]
    known = target >= 0
    answer = functional.cross_entropy(scores[known], target[known])
    each = functional.binary_cross_entropy_with_logits(marks, batch["marks"], reduction="none")
    mask = batch["there"][..., None].expand(each.shape)
    way = (each * mask).sum() / mask.sum()
    right = (scores[known].argmax(1) == target[known]).float().mean()
    return answer + way, {"right": float(right), "marks": float(way.detach())}


def step(net: Match, desks: Sequence[Desk], device: str, size: int = 64) -> Step:
    """Batches from several desks in turn."""
    turn = itertools.cycle(desks)

    def draw() -> tuple[Tensor, dict[str, float]]:
        batch = {name: array.to(device) for name, array in next(turn).draw(size).items()}
        return loss(net, batch)

    return draw
