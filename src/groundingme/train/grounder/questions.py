"""Questions on scenes, on disk and as batches: what the matching net is taught with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.datasets.scenes.generator import Question, ask
from groundingme.datasets.scenes.logic import YES, Phrase, Relation, evaluate, only
from groundingme.datasets.scenes.scene import Scene
from groundingme.models.builtin.words import SPECIAL, tokens
from groundingme.taxonomy import REJECTION, SUBTASKS
from groundingme.train.grounder.data import scene_of

_OF_ONE = ("color", "surface", "part", "no-part", "state", "text", "count", "covered", "cut")


class Exercise(msgspec.Struct, frozen=True, array_like=True):
    """One question.

    Attributes:
        description: In words.
        target: Index of the thing that is meant; -1 for none.
        l1: Category.
        l2: Subtask.
        marks: Per thing, bits of what `marks` says.
        weight: How often it is drawn, beside others of its subtask.
    """

    description: str
    target: int
    l1: str
    l2: str
    marks: list[int]
    weight: float = 1.0


COMPOSED = 6.0
"""Weight of a question that its scene was made for. Asked of any scene, some subtasks lean towards
their easy questions: ordinals, where the benchmark has groups and rows as well."""


class Page(msgspec.Struct, frozen=True, array_like=True):
    """A scene by its number, and questions on it."""

    number: int
    scene: Scene
    exercises: list[Exercise]


def marks(question: Question, scene: Scene) -> list[int]:
    """Steps on the way to the answer, as bits per thing, which the first rounds are taught.

    1: all that the noun phrase says of the thing alone is true of it. 2: it is a landmark of a
    landmark. 4: it is a landmark of the thing that is meant.
    """
    phrase = question.phrase
    facts = tuple(one for one in phrase.facts if one.name in _OF_ONE)
    alone = Phrase(kind=phrase.kind, facts=facts)
    bits = [int(value == YES) for value in evaluate(alone, scene)]
    for other in _others(phrase):
        found = only(evaluate(other, scene))
        if found >= 0:
            bits[found] |= 4
        for deeper in _others(other):
            found = only(evaluate(deeper, scene))
            if found >= 0:
                bits[found] |= 2
    return bits


def _others(phrase: Phrase) -> Iterable[Phrase]:
    for one in (*phrase.relations, *phrase.also):
        if isinstance(one, Relation):
            yield from one.others


def page(split: str, number: int, questions: int) -> Page:
    """The scene of that number and questions; no benchmark ever draws from these seeds."""
    scene, first = scene_of(split, number)
    asked = ask(scene, random.Random(f"{split}:{number}:ask"), questions)
    weighed = [(first, COMPOSED)] if first else []
    weighed += [(one, 1.0) for one in asked]
    exercises = [
        Exercise(one.description, one.target, one.l1, one.l2, marks(one, scene), weight)
        for one, weight in weighed
    ]
    return Page(number, scene, exercises)


def make_questions(folder: Path, split: str, shard: int, size: int, questions: int) -> None:
    """Writes one shard of pages, unless it is there."""
    path = folder / f"{split}.{shard:04d}.pages"
    if path.exists():
        return
    pages = [page(split, number, questions) for number in range(shard * size, (shard + 1) * size)]
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.msgpack.encode(pages))
    fresh.replace(path)


def load_questions(folder: Path, split: str, shard: int | None = None) -> list[Page]:
    """All pages of a split or of one of its shards, in order."""
    pages: list[Page] = []
    for path in sorted(folder.glob(f"{split}.{'*' if shard is None else f'{shard:04d}'}.pages")):
        pages += msgspec.msgpack.decode(path.read_bytes(), type=list[Page])
    return pages


def vocabulary(pages: Iterable[Page]) -> list[str]:
    """All words that come up at least twice, behind the special ones."""
    counts: Counter[str] = Counter()
    for one in pages:
        for exercise in one.exercises:
            counts.update(word for word, _ in tokens(exercise.description))
    words = sorted(word for word, count in counts.items() if count > 1 and word not in SPECIAL)
    return [*SPECIAL, *words]


def mixture(exercises: list[Exercise], negatives: float) -> NDArray[np.float64]:
    """How likely each exercise is drawn: rejections with a share of their own, evenly.

    Positives half evenly over the subtasks, half in the benchmark's proportions.
    """
    names = [(one.l1, one.l2) for one in exercises]
    size = {(row.l1, row.l2): row.samples for row in SUBTASKS}
    positives = [name for name in dict.fromkeys(names) if name[0] != REJECTION]
    rejections = [name for name in dict.fromkeys(names) if name[0] == REJECTION]
    total = sum(size[name] for name in positives)
    share = {name: negatives / len(rejections) for name in rejections}
    for name in positives:
        share[name] = (1 - negatives) * (0.5 / len(positives) + 0.5 * size[name] / total)
    heavy = dict.fromkeys(names, 0.0)
    for name, one in zip(names, exercises, strict=True):
        heavy[name] += one.weight
    weights = np.array(
        [share[name] * one.weight / heavy[name] for name, one in zip(names, exercises, strict=True)]
    )
    return np.asarray(weights / weights.sum())
