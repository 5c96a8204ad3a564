"""What to tell whoever asked for what is not there: the clause that failed, and what is near.

A rejected description is asked again without each of its clauses, and with each alone. Where a box
comes back without a clause, that clause failed, and the box is the thing that all the rest fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from groundingme.datasets import Dataset
from groundingme.datasets.scenes.catalog import AXES, KINDS
from groundingme.result import Result
from groundingme.schema import Box, Sample
from groundingme.studies.changing import MARK
from groundingme.studies.clauses import Clause, clauses, only, without

WITHOUT, ALONE = "without one clause", "with one clause alone"

_STEMS = {
    "plain": r"plain|solid|without any pattern|one colou?r",
    "striped": r"strip", "dotted": r"dot|spot|polka", "checked": r"check|chequer",
    "wooden": r"wood", "metal": r"metal",
}  # fmt: skip
_OF_PART = {"car": "headlights", "house": "door"}
"""What is lit, or open, where it is not the thing itself."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """What to tell whoever asked.

    Attributes:
        rejected: Always true.
        because: The clause that failed; "" where none could be named.
        nearest: Box of the thing that fits the rest, xyxy pixels; None where none was found.
        fits: The description that the nearest thing fits.
        doubted: All clauses without which something was found.
    """

    rejected: bool = True
    because: str = ""
    nearest: Box | None = None
    fits: str = ""
    doubted: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A rejected description, clause by clause.

    Attributes:
        sample: Its sample.
        found: Its clauses.
        boxes: What was answered without each; None for a rejection or nothing readable.
        sure: Confidence of those answers; NaN where there is none.
        refused: Whether each alone was rejected.
    """

    sample: Sample
    found: Sequence[Clause]
    boxes: Sequence[Box | None]
    sure: Sequence[float]
    refused: Sequence[bool]

    def named(self, method: str) -> int:
        """Index of the clause that failed, -1 for none.

        Args:
            method: `left out`: without it something is found, with the highest confidence.
                `alone`: the noun with it alone is rejected. `both`: the first among those of
                the second, where there are any.
        """
        open_ends = [at for at, box in enumerate(self.boxes) if box is not None]
        refused = [at for at, no in enumerate(self.refused) if no]
        if method == "alone":
            return refused[0] if refused else -1
        if method == "both":
            open_ends = [at for at in open_ends if at in refused] or open_ends
        return max(open_ends, key=lambda at: np.nan_to_num(self.sure[at]), default=-1)

    def reason(self, method: str = "both") -> Reason:
        """What to tell whoever asked."""
        at = self.named(method)
        if at < 0:
            return Reason()
        return Reason(
            because=self.found[at].text,
            nearest=self.boxes[at],
            fits=without(self.sample.description, [self.found[at]]),
            doubted=tuple(
                one.text for one, box in zip(self.found, self.boxes, strict=True) if box is not None
            ),
        )


def parts(sample: Sample, name: str) -> Iterator[Sample]:
    """The questions about a sample's clauses, in their order."""
    found = clauses(sample.description)
    for at, one in enumerate(found):
        said = (
            without(sample.description, [one])
            if name == WITHOUT
            else only(sample.description, one, found)
        )
        id = f"{sample.id}{MARK}{name.split()[0]}-{at}"
        yield msgspec.structs.replace(sample, id=id, description=said, target=None)


def asked_of(plain: Result, others: Mapping[str, Result], dataset: Dataset) -> list[Asked]:
    """All that one model rejected, with what it said of their clauses."""
    said = {name: {row.id: row for row in one.scores} for name, one in others.items()}
    found = []
    rejected = {row.id for row in plain.scores if row.outcome == "rejected"}
    for sample in dataset:
        if sample.id not in rejected:
            continue
        ids = {name: [one.id for one in parts(sample, name)] for name in (WITHOUT, ALONE)}
        replies = [others[WITHOUT].generations.get(id) for id in ids[WITHOUT]]
        found.append(
            Asked(
                sample=sample,
                found=clauses(sample.description),
                boxes=[said[WITHOUT][id].box for id in ids[WITHOUT]],
                sure=[
                    one.confidence if one and one.confidence is not None else np.nan
                    for one in replies
                ],
                refused=[said[ALONE][id].outcome == "rejected" for id in ids[ALONE]],
            )
        )
    return found


def changed_clause(sample: Sample, found: Sequence[Clause]) -> int:
    """Index of the clause that says the fact which was changed; -1 where rules find none.

    Args:
        sample: With `extra["changed"]`, as Scenes have it: `to_fact` and `to`.
        found: Its clauses.
    """
    changed = sample.extra["changed"]
    fact, value = str(changed.get("to_fact", "")), str(changed["to"])
    kind = KINDS.get(sample.detection_type)
    stems = re.escape(value)
    if fact == "surface":
        stems = _STEMS.get(value, stems)
    elif fact in ("part", "no-part") and kind:
        stems = re.escape(kind.parts[value])
    elif fact == "state" and kind and kind.axis:
        axis = AXES[kind.axis]
        words = axis.phrases[axis.values.index(value)]
        stems = _OF_PART.get(sample.detection_type) or "|".join(map(re.escape, words))
    elif fact == "text":
        stems = f'"{stems}"'
    pattern = re.compile(rf"(?<![\w-])(?:{stems})", re.IGNORECASE)
    for at, one in enumerate(found):
        if not one.relation and pattern.search(one.text):
            return at
    return -1
