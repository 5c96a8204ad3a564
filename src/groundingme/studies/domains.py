"""Does a result carry over to other pictures? One model on several data sets, as is and matched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from groundingme.errors import UsageError
from groundingme.studies import STUDIES
from groundingme.studies.conditions import everyone
from groundingme.studies.estimates import Gain, Shares, answers, corrected, percent, shares, spread
from groundingme.studies.figures import dots
from groundingme.studies.matching import gap, matched, strata
from groundingme.studies.study import Condition, Done, Knob, Outcome, Setting, Study, Table


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
    return everyone(setting, dict(zip(names(setting), setting.datasets, strict=True)))


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Every model against itself on the first data set."""
    by = set(setting.listed("match"))
    if by - {"subtask", "size"}:
        raise UsageError(f"expected match as subtask, size or both, got {setting.knobs['match']!r}")
    groups = strata(setting.datasets, subtasks="subtask" in by, sizes="size" in by)
    masks = dict(zip(names(setting), matched(groups, setting.seed), strict=True))
    said = answers(done)
    right = shares(said, lambda one: one.share(one.right))
    alike = shares(said, lambda one: one.share(one.right, masks[one.name]))
    kept = shares(said, lambda one: one.share(one.rejected, one.negative))
    false = shares(said, lambda one: one.share(one.rejected, ~one.negative))
    kept_alike = shares(said, lambda one: one.share(one.rejected, one.negative & masks[one.name]))
    false_alike = shares(said, lambda one: one.share(one.rejected, ~one.negative & masks[one.name]))
    first, *others = names(setting)
    gaps = corrected(
        {
            (model, name): gap(row[first], row[name])
            for model, row in alike.items()
            for name in others
        }
    )
    size = int(masks[first].sum())
    cells = [(model, name) for model in said for name in masks]
    return Outcome(
        finding=_finding(right, kept, false, gaps, size),
        tables=[
            Table(title="Right on every data set",
                  columns=["model", "data", "samples", "right", "right, matched",
                           f"matched, against {first}", "p (Holm)"],
                  rows=[[model, name, len(masks[name]), right[model][name], alike[model][name],
                         *_against(gaps.get((model, name)))] for model, name in cells],
                  note=f"Matched: {size} samples of each data set, with equally many of every "
                  f"{' and '.join(sorted(by, reverse=True)) or 'kind'}, and of positives and "
                  "negatives."),
            Table(title="Rejection on every data set",
                  columns=["model", "data", "rejected where nothing matches",
                           "rejected where something does", "the first, matched",
                           "the second, matched"],
                  rows=[[model, name, *(one[model][name] for one in
                                        (kept, false, kept_alike, false_alike))]
                        for model, name in cells]),
        ],
        figures=[dots(
            "Right on every data set", "All samples, and subsets of the same make-up.",
            {
                f"{model}, {which}": row
                for which, found in (("all", right), ("matched", alike))
                for model, row in found.items() if which == "all" or size
            },
            written=_short,
        )],
        values={
            "matched": size,
            "right": right,
            "gaps": {model: {name: gaps[model, name].span for name in others} for model in said},
            "ids": [[data[int(at)].id for at in np.flatnonzero(mask)]
                    for data, mask in zip(setting.datasets, masks.values(), strict=True)],
        },
        notes=[] if size else [
            "No kind of sample (subtask, target size) is in every data set, so nothing can be "
            "matched; --set match=size or match= matches on less."
        ],
    )  # fmt: skip


def _short(name: str) -> str:
    """A name that fits beside a figure; its ends tell specs of one data set apart."""
    return name if len(name) <= 26 else f"{name[:7]}…{name[-16:]}"


def _against(found: Gain | None) -> list[object]:
    return ["–", "–"] if found is None or math.isnan(found.span.value) else [*found]


def _finding(
    right: Shares, kept: Shares, false: Shares, gaps: Mapping[tuple[str, str], Gain], size: int
) -> str:
    first = next(iter(next(iter(right.values()))))

    def change(of: Shares, model: str, name: str) -> float:
        return of[model][name].value - of[model][first].value

    model, name = max(
        gaps, key=lambda key: abs(gaps[key].span.value if size else change(right, *key))
    )
    said = (
        f"{model} is right in {percent(right[model][first].value)} % on {first} and in "
        f"{percent(right[model][name].value)} % on {name}, the largest change"
    )
    if size:
        found = gaps[model, name]
        verdict = "clear" if found.clear else "not clear of chance"
        said += (
            f"; on {size} matched samples of each it is {spread(found.span)} points, which is "
            f"{verdict}"
        )
    shifts = [key for key in gaps if not math.isnan(change(kept, *key))]
    if not shifts:
        return (
            f"{said}. No two data sets have samples that nothing matches to compare rejection on."
        )
    model, name = max(shifts, key=lambda key: abs(change(kept, *key)))
    moved = gap(kept[model][first], kept[model][name])
    return (
        f"{said}. Rejection shifts most for {model}: it rejects "
        f"{percent(kept[model][first].value)} % of what nothing matches on {first} and "
        f"{percent(kept[model][name].value)} % on {name} ({spread(moved.span)} points), and "
        f"{percent(false[model][first].value)} and {percent(false[model][name].value)} % of what "
        "something does."
    )


STUDIES.register(
    "domains",
    Study(
        name="domains",
        question="Do grounding and rejection carry over from one data set to another?",
        needs="one model or more, each asked once on two data sets or more (--data for each)",
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
