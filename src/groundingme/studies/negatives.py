"""How the design of negatives drives rejection: kind, source, number of changed words, picture.

A negative that was made from a true description has a twin: the description itself. A model that
rejects the one and not the other has seen the change; one that rejects both has not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groundingme import stats
from groundingme.datasets import Dataset
from groundingme.errors import DataError, UsageError
from groundingme.report.svg import Axis, Span
from groundingme.schema import Sample
from groundingme.studies import STUDIES
from groundingme.studies.designs import Negative, as_dataset, elsewhere, own, ruled, supplied
from groundingme.studies.estimates import Gain, gain, images, percent, points, rejected, share
from groundingme.studies.study import (
    Condition,
    Done,
    Dots,
    Knob,
    Outcome,
    Setting,
    Study,
    Table,
)
from groundingme.text_floor import text_floor

FEW = 10
"""Negatives of a design below which the finding does not speak of it."""


@functools.lru_cache(maxsize=2)
def _made(dataset: Dataset, most: int, files: str, seed: int) -> tuple[Any, ...]:
    """Negatives by condition, and why others were dropped."""
    found: dict[str, list[Negative]] = {}
    found["by rules"], dropped = ruled(dataset, most, seed)
    found["other image"] = elsewhere(dataset, most, seed)
    for path in filter(None, files.split(",")):
        folder = Path(path.strip())
        found[folder.name] = supplied(folder)
    return {name: rows for name, rows in found.items() if rows}, dropped


def _designs(setting: Setting) -> tuple[dict[str, list[Negative]], dict[str, int]]:
    made, dropped = _made(
        setting.dataset, int(setting.knobs["positives"]), str(setting.knobs["made"]), setting.seed
    )
    return made, dropped


def plan(setting: Setting) -> Sequence[Condition]:
    """The data as it is, and every source of negatives, for every model."""
    made, _ = _designs(setting)
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
    return [
        Condition(name=name, model=model, dataset=data)
        for model in setting.models
        for name, data in (
            ("as it is", setting.dataset),
            *((name, as_dataset(setting.dataset, name.replace(" ", "-"), rows))
              for name, rows in made.items()),
        )
    ]  # fmt: skip


class _Asked:
    """One model on all negatives, in one order."""

    def __init__(self, negatives: Sequence[Negative], done: Sequence[Done]) -> None:
        said: dict[tuple[int, str], bool] = {}
        for number, one in enumerate(done):
            flags = rejected(one.scored)
            said |= {(number, sample.id): bool(flag)
                     for sample, flag in zip(one.scored.samples, flags, strict=True)}  # fmt: skip
        self.label = done[0].condition.label
        where = {sample.id: number for number, one in enumerate(done)
                 for sample in one.condition.dataset}  # fmt: skip
        self.rejects = np.array([said[where[one.sample.id], one.sample.id] for one in negatives])
        self.twin = np.array([float(said.get((0, one.origin), math.nan)) for one in negatives])
        self._said = said

    def falsely(self, dataset: Dataset) -> Span:
        """Share of the positives that it rejects."""
        positives = [one for one in dataset if one.target]
        return share([self._said[0, one.id] for one in positives], images(positives))


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Rejection by design, against the twins and by size, and what the text alone gives away."""
    made, dropped = _designs(setting)
    negatives = [*own(setting.dataset), *(one for rows in made.values() for one in rows)]
    where = images([one.sample for one in negatives])
    per = len(made) + 1
    asked = [_Asked(negatives, done[at : at + per]) for at in range(0, len(done), per)]
    designs = list(dict.fromkeys(one.design for one in negatives))
    masks = {name: np.array([one.design == name for one in negatives]) for name in designs}
    shares = {one.label: {name: share(one.rejects[mask], where[mask])
                          for name, mask in masks.items()} for one in asked}  # fmt: skip
    twins = {one.label: _against_twins(one, masks, where) for one in asked}
    labels = [one.label for one in asked]
    falsely = {one.label: one.falsely(setting.dataset) for one in asked}
    sizes = _sizes(negatives)
    floors = _floors(setting.dataset, negatives)
    by_size = [
        [title, int(mask.sum()), *(share(one.rejects[mask], where[mask]) for one in asked)]
        for title, mask in sizes.items()
    ]
    return Outcome(
        finding=_finding(asked[0].label, shares, twins, falsely, masks),
        tables=[
            Table(title="Rejected, by how the negative was made",
                  columns=["design", "negatives", *labels],
                  rows=[*([name, int(masks[name].sum()), *(shares[label][name] for label in labels)]
                          for name in designs),
                        ["true descriptions", sum(bool(one.target) for one in setting.dataset),
                         *(falsely[label] for label in labels)]]),
            Table(title="More rejections than of the true description it was made from, in points",
                  columns=["design", *(f"{label}{end}" for label in labels for end in ("", ": p"))],
                  rows=[[name, *(cell for label in labels for cell in (
                            (_signed(twins[label][name][0].span), twins[label][name][1])
                            if name in twins[label] else ("–", "–")))]
                        for name in designs if any(name in twins[label] for label in labels)],
                  note="Paired by description, p by Holm over the designs of a model. A model that "
                  "rejects both has not seen the change."),
            Table(title="Rejected, by how much was changed",
                  columns=["changed", "negatives", *labels], rows=by_size,
                  note="Only negatives whose true description is known, in its own picture."),
            Table(title="What the text alone gives away",
                  columns=["source", "AUROC"], rows=floors,
                  note="How well a classifier that sees no picture tells the negatives of a source "
                  "from the true descriptions; 0.5 is nothing. Above it, rejection can be learned "
                  "without looking."),
        ],
        figures=[Dots(
            title="Rejected, by how the negative was made",
            text="True descriptions are to be accepted, all others to be rejected.",
            rows=[*designs, "true descriptions"],
            series={label: [*(points(shares[label][name]) for name in designs),
                            points(falsely[label])] for label in labels},
            x=Axis(low=0, high=100, ticks=(0, 20, 40, 60, 80, 100), title="rejected, %"),
        )],
        values={
            "rejected": shares, "falsely": falsely,
            "against_twins": {label: {name: one[0].span for name, one in found.items()}
                              for label, found in twins.items()},
            "counts": {name: int(mask.sum()) for name, mask in masks.items()},
            "dropped": dropped, "text_alone": {row[0]: row[1] for row in floors},
            "order": {name: sorted(labels, key=lambda label: -shares[label][name].value)
                      for name in designs},
        },
        notes=["Negatives by rules are checked against what the data set knows of the picture, and "
               "where that is not all of it some may be true of something there."],
    )  # fmt: skip


def _against_twins(
    one: _Asked, masks: dict[str, Any], where: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> dict[str, tuple[Gain, float]]:
    """What each design has over the descriptions that it was made from, with p after Holm."""
    found: dict[str, Gain] = {}
    for name, mask in masks.items():
        used = mask & ~np.isnan(one.twin)
        if used.any():
            found[name] = gain(one.twin[used], one.rejects[used], where[used])
    p = stats.holm([each.p for each in found.values()]).tolist()
    return {name: (each, at) for (name, each), at in zip(found.items(), p, strict=True)}


def _sizes(negatives: Sequence[Negative]) -> dict[str, Any]:
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


def _floors(dataset: Dataset, negatives: Sequence[Negative]) -> list[list[Any]]:
    positives = [one for one in dataset if one.target and not one.problem]
    rows: list[list[Any]] = []
    for source in dict.fromkeys(one.design.partition(":")[0] for one in negatives):
        mine: list[Sample] = [
            one.sample for one in negatives if one.design.partition(":")[0] == source
        ]
        if source == "other image":
            continue
        both = [*positives, *mine]
        try:
            found = text_floor(both, [one.image.name if one.image else one.id for one in both])
        except DataError:
            continue
        rows.append([source, f"{found.auroc.value:.2f} ({found.auroc.low:.2f} to "
                             f"{found.auroc.high:.2f})"])  # fmt: skip
    return rows


def _signed(one: Span) -> str:
    return f"{100 * one.value:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def _finding(
    first: str, shares: dict[str, dict[str, Span]],
    twins: dict[str, dict[str, tuple[Gain, float]]], falsely: dict[str, Span],
    masks: dict[str, Any],
) -> str:  # fmt: skip
    enough = [name for name, mask in masks.items() if mask.sum() >= FEW] or list(masks)
    mine = shares[first]
    most, least = (pick(enough, key=lambda name: mine[name].value) for pick in (max, min))
    told = (
        f"{first} rejects {percent(mine[most].value)} % of the negatives {most!r} and "
        f"{percent(mine[least].value)} % of {least!r}, against "
        f"{percent(falsely[first].value)} % of the true descriptions. "
    )
    blind = [
        name for name, (each, p) in twins[first].items()
        if name in enough and not (p <= 0.05 and each.span.low > 0)
    ]  # fmt: skip
    tested = [name for name in twins[first] if name in enough]
    if not tested:
        told += "None of them has a true description of its own to be compared with"
    elif blind:
        told += (
            f"Of {len(tested)} designs it shows no sign of having seen the change in "
            f"{', '.join(map(repr, blind))}"
        )
    else:
        told += f"In each of {len(tested)} designs it rejects more than the same words left true"
    if len(shares) > 1:
        orders = {
            tuple(sorted(shares, key=lambda label: -shares[label][name].value)) for name in enough
        }
        told += (
            f", and the ranking of the {len(shares)} models is the same under all designs"
            if len(orders) == 1
            else f", and the ranking of the {len(shares)} models depends on the design"
        )
    return f"{told}."


STUDIES.register(
    "negatives",
    Study(
        name="negatives",
        question="How does the design of negatives drive rejection?",
        needs="one model or more, asked the data once and up to seven negatives of each of 150 "
        "positives; folders of `groundingme negatives` where a model wrote some",
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes:seed=11,n=240",),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob("positives", 150, "of which negatives are made, at most"),
            Knob("made", "", "folders of `groundingme negatives`, with commas between them"),
        ),
    ),
)
