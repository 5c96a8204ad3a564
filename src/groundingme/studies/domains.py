"""Does a result carry over to other pictures? One model on several data sets, as is and matched."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from groundingme import stats
from groundingme.errors import UsageError
from groundingme.report.svg import PERCENT, Span
from groundingme.studies import STUDIES
from groundingme.studies.estimates import (
    Bools,
    Gain,
    images,
    negatives,
    percent,
    points,
    rejected,
    right,
    share,
    spread,
)
from groundingme.studies.matching import gap, matched, strata
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


def names(setting: Setting) -> list[str]:
    """Names of the data sets, unlike each other."""
    given = [one.name for one in setting.datasets]
    return [f"{one} ({at + 1})" if given.count(one) > 1 else one for at, one in enumerate(given)]


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model on every data set."""
    if len(setting.datasets) < 2:
        raise UsageError(
            f"expected two data sets or more, got {setting.dataset.name} alone; name each with "
            "--data"
        )
    return [
        Condition(name=name, model=model, dataset=data)
        for model in setting.models
        for name, data in zip(names(setting), setting.datasets, strict=True)
    ]


class Place(msgspec.Struct, frozen=True, eq=False):
    """One model on one data set.

    Attributes:
        model: Its name.
        data: Name of the data set.
        all: Share right of all samples.
        part: Share right of the matched subset; NaN where that is empty.
        kept: Rejected where nothing matches.
        false: Rejected where something does.
        kept_part: As `kept`, in the matched subset; `false_part` likewise.
        false_part: See above.
    """

    model: str
    data: str
    all: Span
    part: Span
    kept: Span
    false: Span
    kept_part: Span
    false_part: Span


def measured(done: Done, mask: Bools) -> Place:
    """The figures of one run.

    Args:
        done: The run.
        mask: Shape `(N,)`: the matched subset.
    """
    result = done.scored
    keys, hits, gone, none = (
        images(result.samples), right(result), rejected(result), negatives(result)
    )  # fmt: skip

    def of(values: Bools, members: Bools) -> Span:
        return share(values[members], keys[members])

    return Place(
        done.condition.label, done.condition.name, share(hits, keys), of(hits, mask),
        of(gone, none), of(gone, ~none), of(gone, none & mask), of(gone, ~none & mask),
    )  # fmt: skip


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Every model against itself on the first data set."""
    by = {one.strip() for one in str(setting.knobs["match"]).split(",") if one.strip()}
    if by - {"subtask", "size"}:
        raise UsageError(f"expected match as subtask, size or both, got {setting.knobs['match']!r}")
    groups = strata(setting.datasets, subtasks="subtask" in by, sizes="size" in by)
    masks = matched(groups, setting.seed)
    each = len(setting.datasets)
    places = [measured(one, masks[at % each]) for at, one in enumerate(done)]
    models = [places[at : at + each] for at in range(0, len(places), each)]
    gaps = _gaps(models, "part")
    size = int(masks[0].sum())
    notes = [] if size else [
        "No kind of sample (subtask, target size) is in every data set, so nothing can be matched; "
        "--set match=size or match= matches on less."
    ]  # fmt: skip
    return Outcome(
        finding=_finding(models, gaps, size),
        tables=[
            Table(title="Right on every data set",
                  columns=["model", "data", "samples", "right", "right, matched",
                           f"matched, against {names(setting)[0]}", "p (Holm)"],
                  rows=_rows(setting, models, gaps),
                  note=f"Matched: {size} samples of each data set, with equally many of every "
                  f"{' and '.join(sorted(by, reverse=True)) or 'kind'}, and of positives and "
                  "negatives."),
            Table(title="Rejection on every data set",
                  columns=["model", "data", "rejected where nothing matches",
                           "rejected where something does", "the first, matched",
                           "the second, matched"],
                  rows=[[one.model, one.data, one.kept, one.false, one.kept_part, one.false_part]
                        for one in places]),
        ],
        figures=[Dots(
            title="Right on every data set", rows=[_short(one) for one in names(setting)],
            text="All samples, and subsets of the same make-up.",
            series={
                **{f"{row[0].model}, all": [points(one.all) for one in row] for row in models},
                **({f"{row[0].model}, matched": [points(one.part) for one in row]
                    for row in models} if size else {}),
            },
            x=msgspec.structs.replace(PERCENT, title="right, %"),
        )],
        values={
            "matched": size,
            "right": {row[0].model: {one.data: one.all for one in row} for row in models},
            "gaps": {row[0].model: {one.data: found.span for one, found in
                                    zip(row[1:], of, strict=True)}
                     for row, of in zip(models, gaps, strict=True)},
            "ids": [[data[int(at)].id for at in np.flatnonzero(mask)]
                    for data, mask in zip(setting.datasets, masks, strict=True)],
        },
        notes=notes,
    )  # fmt: skip


def _short(name: str) -> str:
    """A name that fits beside a figure; its ends tell specs of one data set apart."""
    return name if len(name) <= 26 else f"{name[:7]}…{name[-16:]}"


def _gaps(models: Sequence[Sequence[Place]], figure: str) -> list[list[Gain]]:
    """Every data set but the first against the first, p after Holm's correction over all."""
    found = [[gap(getattr(row[0], figure), getattr(one, figure)) for one in row[1:]]
             for row in models]  # fmt: skip
    adjusted = iter(stats.holm([one.p for row in found for one in row]))
    return [[Gain(one.span, float(next(adjusted))) for one in row] for row in found]


def _rows(
    setting: Setting, models: Sequence[Sequence[Place]], gaps: Sequence[Sequence[Gain]]
) -> list[list[object]]:
    rows: list[list[object]] = []
    for row, of in zip(models, gaps, strict=True):
        for at, (one, data) in enumerate(zip(row, setting.datasets, strict=True)):
            against: list[object] = ["–", "–"]
            if at and not math.isnan(of[at - 1].span.value):
                against = [of[at - 1].span, of[at - 1].p]
            rows.append([one.model, one.data, len(data), one.all, one.part, *against])
    return rows


def _finding(models: Sequence[Sequence[Place]], gaps: Sequence[Sequence[Gain]], size: int) -> str:
    flat = [(row[0], one, found) for row, of in zip(models, gaps, strict=True)
            for one, found in zip(row[1:], of, strict=True)]  # fmt: skip
    first, one, found = max(
        flat, key=lambda f: abs(f[2].span.value if size else f[1].all.value - f[0].all.value)
    )
    said = (
        f"{first.model} is right in {percent(first.all.value)} % on {first.data} and in "
        f"{percent(one.all.value)} % on {one.data}, the largest change"
    )
    if size:
        verdict = "clear" if found.clear else "not clear of chance"
        said += (
            f"; on {size} matched samples of each it is {spread(found.span)} points, which is "
            f"{verdict}"
        )
    shifts = [(start, other) for start, other, _ in flat
              if not math.isnan(start.kept.value) and not math.isnan(other.kept.value)]  # fmt: skip
    if not shifts:
        return (
            f"{said}. No two data sets have samples that nothing matches to compare rejection on."
        )
    start, other = max(shifts, key=lambda pair: abs(pair[1].kept.value - pair[0].kept.value))
    moved = gap(start.kept, other.kept)
    return (
        f"{said}. Rejection shifts most for {start.model}: it rejects "
        f"{percent(start.kept.value)} % of what nothing matches on {start.data} and "
        f"{percent(other.kept.value)} % on {other.data} ({spread(moved.span)} points), and "
        f"{percent(start.false.value)} and {percent(other.false.value)} % of what something does."
    )


STUDIES.register(
    "domains",
    Study(
        name="domains",
        question="Do grounding and rejection carry over from one data set to another?",
        needs="one model or more, each asked once on two data sets or more (--data for each)",
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes:seed=11,n=120", "scenes-hard:seed=11,n=120",
              "scenes:seed=11,n=120,size=0.10-0.14"),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob(name="match", default="subtask,size",
                 text="what subsets are matched on, besides positive or negative"),
        ),
    ),
)  # fmt: skip
