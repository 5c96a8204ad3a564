"""Negatives of several designs, made of one data set: descriptions of which nothing is true.

==============  ===================================================================================
design          where it comes from
==============  ===================================================================================
``own: KIND``   the rejections that the data set has, by their subtask
``rule: KIND``  a true description with one fact changed by rule, as far as is known true of nothing
``other image`` a true description with a picture in which nothing of its class is known
``FOLDER``      what `groundingme negatives` made, by rules or by a model
==============  ===================================================================================
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import DataError, UsageError
from groundingme.schema import Sample
from groundingme.studies.changing import MARK
from groundingme.studies.conditions import AS_IT_IS
from groundingme.studies.study import Setting

if TYPE_CHECKING:
    from groundingme.train.negatives import Made

OWN, RULE, OTHER = "own", "rule", "other image"
BY_RULES = "by rules"


class Negative(msgspec.Struct, frozen=True, kw_only=True):
    """One negative and how it was designed.

    Attributes:
        sample: What is asked.
        design: As the table above names it.
        origin: Id of the positive that it was made from; "" where that is not known.
        by: `rules`, a model's name, or "" where nobody says.
        changed: Words that differ from the true description; NaN where it is not known.
        share: Of the description's words, in [0, 1]; NaN likewise.
        specific: `image` where something in the picture speaks for its being false, `description`
            where it was made from the words alone, "" where nobody says.
    """

    sample: Sample
    design: str
    origin: str = ""
    by: str = ""
    changed: float = float("nan")
    share: float = float("nan")
    specific: str = ""


def changed_words(before: str, after: str) -> tuple[int, float]:
    """How many words differ, and their share of the words of the longer text.

    Example:
        >>> changed_words("the red mug with a lid", "the blue mug with a lid")[0]
        1
    """
    one, other = (re.findall(r"[\w'-]+", text.lower()) for text in (before, after))
    steps = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    count = sum(max(b - a, d - c) for tag, a, b, c, d in steps if tag != "equal")
    return count, count / max(1, len(one), len(other))


def own(dataset: Dataset) -> list[Negative]:
    """The rejections that a data set has."""
    return [
        Negative(sample=one, design=f"{OWN}: {(one.subtask_l2 or 'all').lower()}", specific="image")
        for one in dataset
        if one.target is None and not one.problem
    ]


def ruled(dataset: Dataset, most: int, seed: int) -> tuple[list[Negative], dict[str, int]]:
    """Negatives of every kind that rules can make of the first `most` positives.

    Returns:
        The negatives, and how many were dropped for which reason.
    """
    from groundingme.train.negatives import (
        KIND_NAMES,
        Options,
        Tally,
        by_rules,
        read_positives,
    )

    options = Options(per_positive=len(KIND_NAMES), limit=most, seed=seed)
    tally = Tally()
    positives, pictures = read_positives(dataset, options, tally)
    made = [
        one for found in by_rules(positives, pictures, options, dataset, tally) for one in found
    ]
    return [_ruled(one) for one in made], dict(tally.reasons())


def _ruled(one: Made) -> Negative:
    from groundingme.train.negatives import as_sample

    count, share = changed_words(one.sample.description, one.text)
    kind = one.change.kind.lower()
    return Negative(
        sample=msgspec.structs.replace(as_sample(one), id=f"{one.sample.id}{MARK}{kind}"),
        design=f"{RULE}: {kind}",
        origin=one.sample.id,
        by="rules",
        changed=count,
        share=share,
        specific=one.specific,
    )


def elsewhere(dataset: Dataset, most: int, seed: int) -> list[Negative]:
    """The first `most` positives, each with a picture in which nothing of its class is known.

    A picture of which only some objects are known may hold one all the same.
    """
    positives = [one for one in dataset if one.target and one.image and not one.problem]
    pictures = {one.image.name: one for one in dataset if one.image and not one.problem}
    holds = {name: _classes(dataset, name) for name in pictures}
    names = list(pictures)
    found = []
    for one in positives[:most]:
        order = random.Random(f"{seed}:{one.id}").sample(names, len(names))
        label = one.detection_type.lower()
        place = next((name for name in order if label and label not in holds[name]), None)
        if place is None:
            continue
        shown = pictures[place]
        made = msgspec.structs.replace(
            one, id=f"{one.id}{MARK}elsewhere", target=None, image=shown.image,
            width=shown.width, height=shown.height,
        )  # fmt: skip
        found.append(
            Negative(sample=made, design=OTHER, origin=one.id, changed=0.0, share=0.0,
                     specific="image")
        )  # fmt: skip
    return found


def _classes(dataset: Dataset, name: str) -> set[str]:
    """What is known to be in a picture."""
    found: set[str] = set()
    for one in dataset:
        if one.image and one.image.name == name:
            found.add(one.detection_type.lower())
            things = one.extra.get("objects")
            for thing in things if isinstance(things, list) else ():
                if isinstance(thing, Mapping):
                    found |= {str(thing.get(key, "")).lower() for key in ("kind", "label")}
    return found


def supplied(folder: Path) -> list[Negative]:
    """Negatives in a folder of `groundingme negatives`.

    Raises:
        DataError: It is none.
    """
    from groundingme.train.negatives import CHANGES

    told = {str(row.get("id")): row for row in _lines(folder / CHANGES)}
    found = []
    for one in load_dataset(str(folder)):
        if one.target is not None:
            continue
        before = str(one.extra.get("original_description", ""))
        count, share = changed_words(before, one.description) if before else (np.nan, np.nan)
        row = told.get(one.id, {})
        found.append(
            Negative(
                sample=one,
                design=f"{folder.name}: {str(row.get('kind') or one.subtask_l2 or 'all').lower()}",
                origin=str(row.get("source_id", "")),
                by=str(row.get("by", "")),
                changed=count,
                share=share,
                specific=str(row.get("specific", "")),
            )
        )
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
        yield from (msgspec.json.decode(line, type=dict) for line in lines if line)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            f"expected a file of `groundingme negatives`, got {path}: {error}"
        ) from None


Designs = Mapping[str, Sequence[Negative]]
"""Negatives by the name of the condition in which they are asked."""


@functools.lru_cache(maxsize=2)
def _made(
    dataset: Dataset, most: int, folders: tuple[str, ...], seed: int
) -> tuple[Designs, Mapping[str, int]]:
    by_rules, dropped = ruled(dataset, most, seed)
    found = {BY_RULES: by_rules, OTHER: elsewhere(dataset, most, seed)}
    found |= {Path(one).name: supplied(Path(one)) for one in folders}
    return {name: rows for name, rows in found.items() if rows}, dropped


def designs_of(setting: Setting) -> tuple[Designs, Mapping[str, int]]:
    """Negatives that are made of a setting's data, and why others were dropped."""
    most, folders = int(setting.knobs["positives"]), tuple(setting.listed("made"))
    return _made(setting.dataset, most, folders, setting.seed)


def checked(setting: Setting) -> Designs:
    """The negatives of every source.

    Raises:
        UsageError: There are no positives to make them of, or no negatives at all.
    """
    made, _ = designs_of(setting)
    if not any(one.target for one in setting.dataset):
        raise UsageError(
            f"expected positives to make negatives of, got none in {setting.dataset.source}; name "
            "other data, or a larger --limit"
        )
    if not made and not own(setting.dataset):
        raise UsageError(
            f"expected negatives, got none: {setting.dataset.source} has no rejections, no rule "
            "finds anything to change in its descriptions, and no class of an object is known for "
            "another picture; make some with `groundingme negatives` and --set made=FOLDER"
        )
    return made


def questions(dataset: Dataset, made: Designs) -> dict[str, Dataset]:
    """The data as it is, and the negatives that were made of it, by condition."""
    found = {AS_IT_IS: dataset}
    for name, rows in made.items():
        mark = name.replace(" ", "-")
        samples = [one.sample for one in rows]
        found[name] = Dataset(name=f"{dataset.name}{MARK}{mark}", source=dataset.source,
                              samples=samples)  # fmt: skip
    return found
