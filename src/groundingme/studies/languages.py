"""Do grounding and rejection transfer to other styles and languages?

Styles are made by rule. Languages are supplied, or translated by a model whose translations are
translated back and left out where they come back as something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from groundingme.build.questions import check_model
from groundingme.studies import STUDIES, translating
from groundingme.studies.conditions import AS_IT_IS, everyone
from groundingme.studies.estimates import (
    Gain,
    Shares,
    answers,
    corrected,
    gain,
    percent,
    shares,
    starred,
)
from groundingme.studies.figures import dots
from groundingme.studies.spending import left
from groundingme.studies.study import Condition, Done, Knob, Outcome, Setting, Study, Table
from groundingme.studies.styles import STYLES, in_styles


def plan(setting: Setting) -> Sequence[Condition]:
    """The data as it is, in every style, and in the languages that were supplied."""
    made = {AS_IT_IS: setting.dataset, **in_styles(setting)}
    if setting.knobs["translator"]:
        check_model(setting.knobs["translator"])
    return everyone(setting, made | translating.supplied(setting))


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """The data in the languages that a model is asked to translate into."""
    if not setting.knobs["translator"]:
        return []
    budget = left(setting, done, "the translations")
    return everyone(setting, translating.asked(setting, budget))


Key = tuple[str, str, str]
"""A model, a style or language, and whether it is about what is found or what is rejected."""
FOUND, REJECTED = "found", "rejected"


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """What every style and language changes, for boxes and for rejections."""
    said = answers(done)
    gains = corrected(
        {
            (model, name, what): gain(was[mask], one.right[mask], one.clusters[mask])
            for model, mine in said.items()
            for name, one in mine.items()
            if name != AS_IT_IS
            for was in [one.before(mine[AS_IT_IS])]
            for what, mask in ((FOUND, ~one.negative), (REJECTED, one.negative))
            if mask.any()
        }
    )
    found = shares(said, lambda one: one.share(one.right, ~one.negative))
    rejects = shares(said, lambda one: one.share(one.right, one.negative))
    falsely = shares(said, lambda one: one.share(one.rejected, ~one.negative))
    counts = {name: len(one.right) for mine in said.values() for name, one in mine.items()}
    rows = [
        [model, name, counts[name], found[model][name], starred(gains.get((model, name, FOUND))),
         falsely[model][name], rejects[model][name], starred(gains.get((model, name, REJECTED)))]
        for model, mine in said.items()
        for name in mine
    ]  # fmt: skip
    lost = translating.losses(setting.folder) if setting.knobs["translator"] else []
    spoken = any(name.startswith(translating.IN) for name in counts)
    return Outcome(
        finding=_finding(found, rejects, falsely, gains),
        tables=[
            Table(title="Boxes found and rejections made, by style and language",
                  columns=["model", "description", "samples", "found", "change",
                           "falsely rejected", "rightly rejected", "change "], rows=rows,
                  note="Changes in points from the same samples as they are, paired, with 95 % "
                  "intervals by image; a star where p is at most 0.05 after Holm's correction "
                  "over all of them."),
            *([Table(title="Translations", columns=["language", "used", "left out", "why"],
                     rows=lost, note="Left out where the way back brings other words; see "
                     f"{translating.FILE}.")] if lost else []),
        ],
        figures=[dots("Found and rightly rejected, by style and language",
                      "Boxes of an IoU of 0.5 where something matches, rejections where nothing "
                      "does.",
                      {f"{model}, {what}": shown[model] for model in said
                       for what, shown in (("found", found), ("rightly rejected", rejects))})],
        values={
            "found": found, "rejected": rejects, "falsely": falsely,
            "clear": sorted("/".join(key) for key, one in gains.items() if one.clear),
            "samples": counts,
        },
        notes=[] if spoken else [
            "Languages need somebody who speaks them: supply translations "
            "(--set translations=FILE) or name a model (--set translator=MODEL). Here only styles "
            "were tried."
        ],
    )  # fmt: skip


def _finding(found: Shares, rejects: Shares, falsely: Shares, gains: Mapping[Key, Gain]) -> str:
    first = next(iter(found))
    parts = []
    for what, of, verb in (
        (FOUND, found, "finds"),
        (REJECTED, rejects, "rightly rejects"),
    ):
        tried = {name: one for (model, name, kind), one in gains.items()
                 if model == first and kind == what}  # fmt: skip
        if not tried:
            parts.append(f"There is nothing here that {first} {verb}")
            continue
        worst = min(tried, key=lambda name: tried[name].span.value)
        hurt = sum(one.worse for one in tried.values())
        before, after = (percent(of[first][name].value) for name in (AS_IT_IS, worst))
        if hurt:
            parts.append(
                f"{first} {verb} less in {hurt} of {len(tried)} styles and languages, "
                f"least {worst!r}: {after} % against {before} %"
            )
        else:
            parts.append(
                f"{first} {verb} {before} %, and none of {len(tried)} styles and languages "
                "lowers that by more than chance"
            )
    mine = {name: one.value for name, one in falsely[first].items()}
    worst = max(mine, key=lambda name: np.nan_to_num(mine[name]))
    if worst != AS_IT_IS and mine[worst] > mine[AS_IT_IS]:
        parts[1] += (
            f", while of what is there it falsely rejects up to {percent(mine[worst])} % "
            f"({worst!r}; {percent(mine[AS_IT_IS])} % as it is)"
        )
    return ". ".join(parts) + "."


STUDIES.register(
    "languages",
    Study(
        name="languages",
        question="Do grounding and rejection transfer to other languages and styles?",
        needs="one model or more, asked the data once for each style and language; for languages "
        "a file of translations or a model that translates, two requests a sample and language "
        "(not in the estimate of --dry-run)",
        plan=plan,
        then=then,
        reduce=reduce,
        knobs=(
            Knob("styles", ",".join(STYLES), "by rule; nothing for none"),
            *translating.KNOBS,
        ),
    ),
)  # fmt: skip
