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

import contextlib
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import DataError
from groundingme.schema import Sample
from groundingme.studies.changing import MARK
from groundingme.studies.estimates import Bools
from groundingme.text_floor import text_floor

if TYPE_CHECKING:
    from groundingme.train.negatives import Made

OWN, RULE, OTHER = "own", "rule", "other image"


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


def as_dataset(dataset: Dataset, name: str, negatives: Iterable[Negative]) -> Dataset:
    """The negatives as what a condition asks."""
    samples: Sequence[Sample] = [one.sample for one in negatives]
    return Dataset(name=f"{dataset.name}{MARK}{name}", source=dataset.source, samples=samples)


def sizes_of(negatives: Sequence[Negative]) -> dict[str, Bools]:
    """Groups by number and by share of changed words; those of nobody are left out."""
    words = np.array([one.changed for one in negatives])
    part = np.array([one.share for one in negatives])
    groups = {
        "1 word": words == 1, "2 words": words == 2, "3 words or more": words >= 3,
        "under 5 % of the words": (part > 0) & (part < 0.05),
        "5 to 10 %": (part >= 0.05) & (part < 0.1), "10 % or more": part >= 0.1,
        "in words alone": np.array([one.specific == "description" for one in negatives]),
    }  # fmt: skip
    return {title: mask for title, mask in groups.items() if mask.any()}


def text_alone(dataset: Dataset, negatives: Sequence[Negative]) -> dict[str, str]:
    """By source, how well the text alone tells its negatives; none where that cannot be said."""
    positives = [one for one in dataset if one.target and not one.problem]
    by_source: dict[str, list[Sample]] = {}
    for one in negatives:
        by_source.setdefault(one.design.partition(":")[0], []).append(one.sample)
    found = {}
    for source, mine in by_source.items():
        both = [*positives, *mine]
        # The words of a negative in another picture are the true ones.
        with contextlib.suppress(DataError):
            if source != OTHER:
                images_of = [one.image.name if one.image else one.id for one in both]
                area = text_floor(both, images_of).auroc
                found[source] = f"{area.value:.2f} ({area.low:.2f} to {area.high:.2f})"
    return found
