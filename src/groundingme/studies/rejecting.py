"""What models make of negatives of all designs, and what can be told without asking any."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from groundingme.datasets import Dataset
from groundingme.errors import DataError
from groundingme.report.svg import Span
from groundingme.schema import Sample
from groundingme.studies.designs import OTHER, Negative
from groundingme.studies.estimates import Answers, Bools, Codes, Gain, corrected, gain, share
from groundingme.studies.study import Done
from groundingme.text_floor import text_floor


class Asked:
    """One model on all negatives: the data's own, then those that were made.

    Args:
        negatives: All of them, in that order.
        done: The data as it is, then each source of the others.

    Attributes:
        plain: What it says of the data as it is.
        true: Shape `(M,)`: which of those samples have something that matches.
        falsely: Share of the positives that it rejects.
        rejects: Shape `(N,)`.
        twin: Shape `(N,)`: whether it rejects the true description too; NaN where none is known.
    """

    def __init__(self, negatives: Sequence[Negative], done: Iterable[Done]) -> None:
        plain, *made = map(Answers, done)
        samples = plain.result.samples
        self.plain, self.true = plain, np.array([bool(one.target) for one in samples])
        self.falsely = plain.share(plain.rejected, self.true)
        said = dict(zip((one.id for one in samples), plain.rejected.tolist(), strict=True))
        count = len(negatives) - sum(len(one.rejected) for one in made)
        first = np.array([said[one.sample.id] for one in negatives[:count]], bool)
        self.rejects = np.concatenate([first, *(one.rejected for one in made)])
        self.twin = np.array([float(said.get(one.origin, np.nan)) for one in negatives])

    def gains(self, masks: Mapping[str, Bools], where: Codes) -> dict[str, Gain]:
        """What each design has over the true descriptions that it was made from, after Holm."""
        used = {name: mask & ~np.isnan(self.twin) for name, mask in masks.items()}
        return corrected(
            {
                name: gain(self.twin[mask], self.rejects[mask], where[mask])
                for name, mask in used.items()
                if mask.any()
            }
        )

    def shares(self, masks: Mapping[str, Bools], where: Codes) -> dict[str, Span]:
        """What it rejects of each group."""
        return {name: share(self.rejects[mask], where[mask]) for name, mask in masks.items()}


def designs_in(negatives: Sequence[Negative]) -> dict[str, Bools]:
    """Groups by how they were made."""
    names = dict.fromkeys(one.design for one in negatives)
    return {name: np.array([one.design == name for one in negatives]) for name in names}


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
