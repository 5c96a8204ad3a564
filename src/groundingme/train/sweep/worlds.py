"""Drawn scenes to learn from, and drawn scenes that are shifted away from them.

The untouched matcher learns from everything that Scenes have, but only from descriptions of
something that is there. Mixtures, like the paper's, are narrower: short descriptions, ordinary
pictures, some kinds of things, some kinds of contradiction. Out of domain is what they leave out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from groundingme.datasets import Dataset
from groundingme.datasets.export import export
from groundingme.datasets.scenes.casting import Knobs
from groundingme.datasets.scenes.catalog import KINDS
from groundingme.datasets.scenes.generator import ask_about
from groundingme.datasets.scenes.presets import PRESETS, Preset, from_preset
from groundingme.schema import Sample
from groundingme.taxonomy import REJECTION, SUBTASKS
from groundingme.train.grounder.data import scene_of
from groundingme.train.grounder.questions import Exercise, Page, marks

HELD_OUT = tuple(KINDS)[::3]
"""Kinds of things that no description of a mixture means; they do stand in its pictures."""

SHORT = Knobs(facts=(1, 3))
"""Mixtures have one to three facts and relations in a description; Scenes have up to eight."""

TAUGHT: tuple[tuple[str, str], ...] = (
    *(("Discriminative", l2) for l2 in ("Appearance", "Component", "Text", "State")),
    ("Spatial", "Relationship"),
    ("Spatial", "Counting"),
    (REJECTION, "Appearance"),
    (REJECTION, "Component"),
)
"""Subtasks of mixtures. Not Occlusion, not Small, no contradicted text, no contradicted state."""

_ASKED = {False: 2, True: 5}
"""Questions tried of each subtask on a scene: positives, rejections."""

Quotas = Mapping[tuple[str, str], int]

IN_DOMAIN_SEED, SHIFTED_SEED, LARGE_SEED = 7001, 7002, 7003
"""Of the exams; the recipe and the mixtures never draw from the seeds of data sets."""


def short_page(split: str, number: int) -> Page:
    """The scene of that number in a split, with questions as mixtures have them."""
    scene, _ = scene_of(split, number)
    rng = random.Random(f"{split}:{number}:short")
    found: dict[str, Exercise] = {}
    for l1, l2 in TAUGHT:
        for _ in range(_ASKED[l1 == REJECTION]):
            question = ask_about(scene, l1, l2, rng, SHORT)
            if question is None:
                break
            meant = question.target if question.target >= 0 else question.near
            if scene.things[meant].kind not in HELD_OUT:
                found[question.description] = Exercise(
                    question.description, question.target, l1, l2, marks(question, scene)
                )
    return Page(number, scene, list(found.values()))


def make_short(folder: Path, split: str, shard: int, size: int) -> None:
    """Writes one shard of short pages, unless it is there."""
    path = folder / f"short.{shard:04d}.pages"
    if not path.exists():
        pages = [short_page(split, number) for number in range(shard * size, (shard + 1) * size)]
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.msgpack.encode(pages))
        fresh.replace(path)


def in_domain(positives: int, rejections: int) -> Dataset:
    """Questions like those of mixtures, on scenes of other seeds."""
    rows = {negative: [one for one in TAUGHT if (one[0] == REJECTION) == negative]
            for negative in (False, True)}  # fmt: skip
    quotas = _shared(rows[False], positives) | _shared(rows[True], rejections)
    preset = Preset(name="in-domain", knobs=SHORT, seed=IN_DOMAIN_SEED)
    samples = _drawn(preset, quotas, lambda kind: kind not in HELD_OUT, spare=2.0)
    return Dataset(name="in-domain", source="in-domain", samples=samples)


def out_of_domain(n: int, large: int) -> Dataset:
    """Harder scenes, shifted in all that mixtures leave out.

    Descriptions mean held-out kinds alone, in the paper's proportions of all twelve subtasks, and
    pictures, distractors and descriptions are those of `scenes-hard`.

    Args:
        n: Samples, those with 8K pictures included.
        large: Of subtask Small, on pictures of 7680 x 4320.
    """
    weights = {(row.l1, row.l2): row.samples for row in SUBTASKS}
    total = sum(weights.values())
    quotas = {name: round(n * weight / total) for name, weight in weights.items()}
    small = ("Limited", "Small")
    large = min(large, quotas[small])
    quotas[small] -= large
    hard = msgspec.structs.replace(PRESETS["scenes-hard"], seed=SHIFTED_SEED)
    vast = msgspec.structs.replace(PRESETS["scenes-8k"], seed=LARGE_SEED)
    samples = _drawn(hard, quotas, lambda kind: kind in HELD_OUT, spare=4.0)
    samples += _drawn(vast, {small: large}, lambda kind: kind in HELD_OUT, spare=5.0)
    return Dataset(name="out-of-domain", source="out-of-domain", samples=samples)


def _shared(names: list[tuple[str, str]], total: int) -> dict[tuple[str, str], int]:
    each, more = divmod(total, len(names))
    return {name: each + (number < more) for number, name in enumerate(names)}


def _drawn(
    preset: Preset, quotas: Quotas, wanted: Callable[[str], bool], spare: float
) -> list[Sample]:
    """The first samples of each subtask that mean a wanted kind of thing.

    Args:
        preset: Whose samples.
        quotas: Of each subtask.
        wanted: Says so of a kind.
        spare: How many are drawn for one that is kept, to begin with.
    """
    quotas = {name: count for name, count in quotas.items() if count}
    while quotas:
        count = round(spare * sum(quotas.values())) + 8 * len(quotas)
        whole = msgspec.structs.replace(preset, n=count, shares=dict(quotas))
        left = dict(quotas)
        found = []
        for one in from_preset(whole, preset.name):
            name = (one.subtask_l1, one.subtask_l2)
            if left[name] and wanted(one.detection_type):
                left[name] -= 1
                found.append(msgspec.structs.replace(one, id=f"{preset.name}-{one.id}"))
        if not any(left.values()):
            return found
        spare *= 1.5
    return []


def write_exam(dataset: Dataset, folder: Path, workers: int) -> None:
    """Draws an exam's pictures once, so that no model waits for them; goes on where stopped."""
    export(dataset, folder, layout="folder", workers=workers)
    (folder / DRAWN).touch()


DRAWN = ".drawn"
"""File that says that all pictures are there."""
