"""How many negatives made by rules are really untrue of everything in their picture.

    python bench/negatives.py                     300 positives, four a picture
    python bench/negatives.py --n 600 --seed 3 --show

Scenes know what every description means. A negative's changed word is put into that meaning, which
is evaluated over the scene: it should be a certain no for each thing. Three ways of making them are
compared: with all objects of a picture known, with its samples alone (about four a picture, as in
RefCOCOg), and with no check at all. `undecided` are those whose changed word may belong to either
of two facts.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from groundingme.build.records import Change
from groundingme.datasets import Dataset, load_dataset
from groundingme.datasets.scenes.catalog import AXES, KINDS, SURFACES
from groundingme.datasets.scenes.generator import ask
from groundingme.datasets.scenes.language import ORDINALS
from groundingme.datasets.scenes.logic import NO, YES, Fact, Phrase, Relation, evaluate
from groundingme.datasets.scenes.scene import Scene
from groundingme.schema import Sample
from groundingme.train import negatives

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
OPPOSITE = {
    "left": "right", "right": "left", "above": "below", "below": "above", "front": "behind",
    "behind": "front",
}  # fmt: skip


def _surface(word: str) -> str:
    return next((name for name, words in SURFACES.items() if word in words), word)


def _fact(fact: Fact, change: Change) -> Fact | None:
    """What a fact becomes by a change; None where it is another one that changes."""
    before, after = change.before.lower(), change.after.lower()
    if change.kind == "Appearance" and fact.name == "color" and fact.value == before:
        return Fact("color", after)
    if change.kind == "Appearance" and fact.name == "surface" and _surface(before) == fact.value:
        return Fact("surface", _surface(after))
    if change.kind == "Component" and fact.name == "count" and before in NUMBERS:
        return Fact("count", NUMBERS.index(after)) if NUMBERS.index(before) == fact.value else None
    if change.kind == "Component" and fact.name in ("part", "no-part") and before not in NUMBERS:
        return Fact("no-part" if fact.name == "part" else "part", fact.value)
    if change.kind == "Text" and fact.name == "text":
        return Fact("text", change.after)
    if change.kind == "State" and fact.name == "state":
        axis = next(one for one in AXES.values() if fact.value in one.values)
        return Fact("state", next(one for one in axis.values if one != fact.value))
    return None


def _kind(word: str) -> str:
    return next((name for name, row in KINDS.items() if word.lower() in row.nouns), word.lower())


def meant(phrase: Phrase, change: Change) -> Phrase | None:
    """The meaning of a changed description; None where words do not tell what changed."""
    if change.kind == "Absent":
        kind = _kind(change.after)
        # Of a kind that no scene has, nothing is true.
        return msgspec.structs.replace(phrase, kind=kind if kind in KINDS else "nothing")
    if change.kind == "Swap" and phrase.pick and change.after.lower() in ORDINALS:
        rank = ORDINALS.index(change.after.lower()) + 1
        pick = msgspec.structs.replace(phrase.pick, rank=rank)
        return msgspec.structs.replace(phrase, pick=pick)
    changed: list[Phrase] = []
    for field in ("facts", "relations", "also"):
        values = getattr(phrase, field)
        for at, one in enumerate(values):
            if isinstance(one, Fact):
                became: Any = _fact(one, change)
            elif change.kind == "Swap" and one.name in OPPOSITE:
                became = Relation(OPPOSITE[one.name], one.others)
            else:
                became = None
            if became is not None:
                new = (*values[:at], became, *values[at + 1 :])
                changed.append(msgspec.structs.replace(phrase, **{field: new}))
    return changed[0] if len(changed) == 1 else None


Asked = dict[str, tuple[Scene, Phrase]]
"""Scene and meaning of each sample, by its id."""


def positives(n: int, seed: int) -> tuple[Dataset, Asked]:
    """Positives of Scenes, up to four a picture."""
    samples: list[Sample] = []
    asked: Asked = {}
    for first in load_dataset(f"scenes:n={n},seed={seed},rejections=0"):
        image: Any = first.image
        scene, question = image.compose()
        more = ask(scene, random.Random(f"{seed}:{first.id}"), 6)
        found = [question, *(one for one in more if one.target >= 0)][:4]
        for at, one in enumerate(found):
            id = f"{first.id}.{at}"
            thing = scene.things[one.target]
            asked[id] = (scene, one.phrase)
            samples.append(
                msgspec.structs.replace(
                    first, id=id, description=one.description, target=thing.box,
                    detection_type=thing.kind,
                )
            )  # fmt: skip
        if len(samples) >= n:
            break
    return Dataset(name="scenes", source=f"seed {seed}", samples=samples[:n]), asked


def made(dataset: Dataset, check: str, kinds: tuple[str, ...]) -> Iterator[negatives.Made]:
    """The negatives of a data set by rules, every kind of every positive that can be had."""
    options = negatives.Options(kinds=kinds, per_positive=len(kinds), check=check)  # type: ignore[arg-type]
    tally = negatives.Tally()
    read, pictures = negatives.read_positives(dataset, options, tally)
    tried = negatives.by_rules(read, pictures, options, dataset, tally)
    yield from negatives.chosen(tried, options, tally)


def verdict(values: list[int]) -> str:
    return "true" if YES in values else "untrue" if set(values) <= {NO} else "unsure"


def measure(n: int, seed: int, show: bool = False) -> Iterator[tuple[str, str, Counter[str]]]:
    """Way, kind, and how many negatives are untrue, unsure, true or undecided."""
    dataset, asked = positives(n, seed)
    bare = Dataset(
        name=dataset.name, source=dataset.source,
        samples=[msgspec.structs.replace(one, extra={}) for one in dataset],
    )  # fmt: skip
    kinds = tuple(negatives.KIND_NAMES)
    for way, data, check in (
        ("all objects known", dataset, "boxes"),
        ("samples alone", bare, "boxes"),
        ("no check", bare, "none"),
    ):
        counts = {kind: Counter[str]() for kind in kinds}
        for one in made(data, check, kinds):
            scene, phrase = asked[one.sample.id]
            changed = meant(phrase, one.change)
            found = "undecided" if changed is None else verdict(evaluate(changed, scene))
            counts[one.change.kind.lower()][found] += 1
            if show and found in ("true", "unsure"):
                print(f"{way}, {found}: {one.sample.description!r} -> {one.text!r}")
        for kind in kinds:
            yield way, kind, counts[kind]
        yield way, "all", sum(counts.values(), Counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--show", action="store_true", help="print those that are not untrue")
    given = parser.parse_args()
    print(f"{given.n} positives of Scenes, seed {given.seed}")
    print(f"{'':20}{'':12}{'made':>6}{'untrue':>8}{'unsure':>8}{'true':>6}{'undecided':>11}")
    for way, kind, counts in measure(given.n, given.seed, given.show):
        cells = [counts.total(), *(counts[one] for one in ("untrue", "unsure", "true"))]
        print(
            f"{way:20}{kind:12}{cells[0]:6}{cells[1]:8}{cells[2]:8}{cells[3]:6}"
            f"{counts['undecided']:11}"
        )


if __name__ == "__main__":
    main()
