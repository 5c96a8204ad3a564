"""Do grounding and rejection transfer to other styles and languages?

Styles are made by rule. Languages are supplied, or translated by a model whose translations are
translated back and left out where they come back as something else.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from groundingme import stats
from groundingme.build.questions import Asked, check_model
from groundingme.build.stage import Context
from groundingme.datasets import Dataset
from groundingme.errors import JobError, UsageError
from groundingme.registry import unknown
from groundingme.report.svg import Axis, Span
from groundingme.schema import Sample
from groundingme.studies import STUDIES
from groundingme.studies.changing import changed, origin
from groundingme.studies.estimates import (
    Gain,
    gain,
    images,
    negatives,
    percent,
    points,
    rejected,
    right,
    share,
)
from groundingme.studies.hearing import paid
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
from groundingme.studies.styles import STYLES
from groundingme.studies.translating import (
    FILE,
    LANGUAGES,
    Translation,
    in_language,
    keep,
    read_translations,
    translated,
)

ORIGINAL = "as it is"


def plan(setting: Setting) -> Sequence[Condition]:
    """The data as it is, in every style, and in the languages that were supplied."""
    data = setting.dataset
    styles = [one.strip() for one in str(setting.knobs["styles"]).split(",") if one.strip()]
    for name in styles:
        if name not in STYLES:
            raise unknown("style", name, STYLES)
    if setting.knobs["translator"]:
        check_model(setting.knobs["translator"])
    made = {ORIGINAL: data}
    for name in styles:
        made[name] = changed(data, name, partial(_styled, name=name, seed=setting.seed))
    if path := setting.knobs["translations"]:
        made |= _in_languages(data, read_translations(Path(path)))
        if all(name in (ORIGINAL, *styles) for name in made):
            raise UsageError(
                f"expected translations of samples in {data.source}, got none in {path}; ids have "
                "to be those of the data set"
            )
    return _for_all(setting, made)


def _styled(sample: Sample, name: str, seed: int) -> Sample:
    rng = random.Random(f"{seed}:{sample.id}:{name}")
    return msgspec.structs.replace(sample, description=STYLES[name](sample.description, rng))


def _said(sample: Sample, said: Mapping[str, Sample]) -> Sample | None:
    return said.get(sample.id)


def _in_languages(data: Dataset, translations: Sequence[Translation]) -> dict[str, Dataset]:
    found = {}
    for language in dict.fromkeys(one.language for one in translations):
        said = in_language(data, translations, language)
        if said:
            found[f"in {language}"] = changed(data, language, partial(_said, said=said))
    return found


def _for_all(setting: Setting, made: dict[str, Dataset]) -> list[Condition]:
    return [
        Condition(name=name, model=model, dataset=data)
        for model in setting.models
        for name, data in made.items()
    ]


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """The data in the languages that a model is asked to translate into."""
    knobs, asking = setting.knobs, setting.asking
    if not knobs["translator"]:
        return []
    budget = asking.get("budget")
    if budget is not None and (budget := budget - sum(paid(one, setting) for one in done)) <= 0:
        raise JobError("the budget is spent before the translations; a larger --budget goes on")
    url = knobs["translator-url"] or asking.get("base_url", "")
    translator = Asked(model=knobs["translator"], base_url=url, price=knobs["translator-price"],
                       concurrency=asking.get("concurrency"))  # fmt: skip
    checker = translator
    if knobs["checker"]:
        checker = msgspec.structs.replace(translator, model=knobs["checker"])
    names = [one.strip() for one in str(knobs["languages"]).split(",") if one.strip()]
    context = Context(folder=setting.folder / "translator", seed=setting.seed, budget=budget)
    found = translated(setting.dataset, names, translator, checker, context, float(knobs["back"]))
    keep(setting.folder, found)
    return _for_all(setting, _in_languages(setting.dataset, found))


class _Change:
    """One model under one style or language, against itself as the data is."""

    def __init__(self, done: Done, before: Done) -> None:
        self.label, self.name = done.condition.label, done.condition.name
        at = {one.id: row for row, one in enumerate(before.scored.samples)}
        rows = np.array([at[origin(one.id)] for one in done.scored.samples], dtype=np.intp)
        where = images(done.scored.samples)
        nothing = negatives(done.scored)
        hits, was = right(done.scored), right(before.scored)[rows]
        self.count = len(rows)
        self.found = share(hits[~nothing], where[~nothing])
        self.rejects = share(hits[nothing], where[nothing])
        self.falsely = share(rejected(done.scored)[~nothing], where[~nothing])
        self.found_gain = _gain(was, hits, where, ~nothing)
        self.rejects_gain = _gain(was, hits, where, nothing)


def _gain(was: Any, hits: Any, where: Any, mask: Any) -> Gain | None:
    return gain(was[mask], hits[mask], where[mask]) if mask.any() else None


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """What every style and language changes, for boxes and for rejections."""
    before = {one.condition.label: one for one in done if one.condition.name == ORIGINAL}
    changes = [_Change(one, before[one.condition.label]) for one in done]
    names = list(dict.fromkeys(one.name for one in changes))
    labels = list(before)
    tested = [one for one in changes if one.name != ORIGINAL]
    gains = {
        (one.label, one.name, what): each
        for one in tested
        for what, each in (("found", one.found_gain), ("rejected", one.rejects_gain))
        if each is not None
    }
    p = dict(zip(gains, stats.holm([one.p for one in gains.values()]).tolist(), strict=True))
    clear = {key for key, each in gains.items()
             if p[key] <= 0.05 and not each.span.low <= 0 <= each.span.high}  # fmt: skip
    rows = [
        [one.label, one.name, one.count, one.found, _cell(gains, p, (one.label, one.name, "found")),
         one.falsely, one.rejects, _cell(gains, p, (one.label, one.name, "rejected"))]
        for one in changes
    ]  # fmt: skip
    lost = _losses(setting)
    series = {}
    for label in labels:
        mine = {one.name: one for one in changes if one.label == label}
        missing = Span(float("nan"))
        series[f"{label}, found"] = [points(mine[n].found) if n in mine else missing for n in names]
        series[f"{label}, rightly rejected"] = [
            points(mine[n].rejects) if n in mine else missing for n in names
        ]
    notes = [] if any(name.startswith("in ") for name in names) else [
        "Languages need somebody who speaks them: supply translations (--set translations=FILE) "
        "or name a model (--set translator=MODEL). Here only styles were tried."
    ]  # fmt: skip
    return Outcome(
        finding=_finding(changes, gains, clear),
        tables=[
            Table(title="Boxes found and rejections made, by style and language",
                  columns=["model", "description", "samples", "found", "change",
                           "falsely rejected", "rightly rejected", "change "], rows=rows,
                  note="Changes in points from the same samples as they are, paired, with 95 % "
                  "intervals by image; a star where p is at most 0.05 after Holm's correction "
                  "over all of them."),
            *([Table(title="Translations", columns=["language", "used", "left out", "why"],
                     rows=lost, note="Left out where the way back brings other words; see "
                     f"{FILE}.")] if lost else []),
        ],
        figures=[Dots(title="Found and rightly rejected, by style and language",
                      text="Boxes of an IoU of 0.5 where something matches, rejections where "
                      "nothing does.",
                      rows=names, series=series,
                      x=Axis(low=0, high=100, ticks=(0, 20, 40, 60, 80, 100), title="right, %"))],
        values={
            "found": {one.label: {o.name: o.found for o in changes if o.label == one.label}
                      for one in changes},
            "rejected": {one.label: {o.name: o.rejects for o in changes if o.label == one.label}
                         for one in changes},
            "falsely": {one.label: {o.name: o.falsely for o in changes if o.label == one.label}
                        for one in changes},
            "clear": sorted("/".join(key) for key in clear),
            "samples": {one.name: one.count for one in changes},
        },
        notes=notes,
    )  # fmt: skip


def _cell(gains: dict[Any, Gain], p: dict[Any, float], key: tuple[str, str, str]) -> str:
    if key not in gains:
        return "–"
    one = gains[key].span
    star = " *" if p[key] <= 0.05 else ""
    return f"{100 * one.value:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f}){star}"


def _losses(setting: Setting) -> list[list[Any]]:
    """Of each language how many translations are used, and why others are not."""
    if not setting.knobs["translator"]:
        return []
    found = read_translations(setting.folder / FILE)
    rows: list[list[Any]] = []
    for language in dict.fromkeys(one.language for one in found):
        mine = [one for one in found if one.language == language]
        why = Counter(one.problem for one in mine if one.problem)
        told = ", ".join(f"{count} {name}" for name, count in why.most_common())
        rows.append([language, len(mine) - why.total(), why.total(), told])
    return rows


def _finding(
    changes: Sequence[_Change], gains: dict[Any, Gain], clear: set[tuple[str, str, str]]
) -> str:
    first = changes[0]
    mine = {one.name: one for one in changes if one.label == first.label}
    parts = []
    for what, field, verb in (
        ("found", "found", "finds"),
        ("rejected", "rejects", "rightly rejects"),
    ):
        tried = {name: each for (label, name, kind), each in gains.items()
                 if label == first.label and kind == what}  # fmt: skip
        if not tried:
            parts.append(f"there is nothing here that {first.label} {verb}")
            continue
        worst = min(tried, key=lambda name: tried[name].span.value)
        hurt = [n for n in tried if (first.label, n, what) in clear and tried[n].span.value < 0]
        before, after = (percent(getattr(mine[n], field).value) for n in (ORIGINAL, worst))
        if hurt:
            told = (
                f"{first.label} {verb} less in {len(hurt)} of {len(tried)} styles and languages, "
                f"least {worst!r}: {after} % against {before} %"
            )
        else:
            told = (
                f"{first.label} {verb} {before} %, and none of {len(tried)} styles and languages "
                "lowers that by more than chance"
            )
        parts.append(told)
    worst = max(mine.values(), key=lambda one: np.nan_to_num(one.falsely.value))
    if worst.name != ORIGINAL and worst.falsely.value > mine[ORIGINAL].falsely.value:
        parts[1] += (
            f", while of what is there it falsely rejects up to {percent(worst.falsely.value)} % "
            f"({worst.name!r}; {percent(mine[ORIGINAL].falsely.value)} % as it is)"
        )
    return ". ".join(one[:1].upper() + one[1:] if one.startswith("there") else one
                     for one in parts) + "."  # fmt: skip


STUDIES.register(
    "languages",
    Study(
        name="languages",
        question="Do grounding and rejection transfer to other languages and styles?",
        needs="one model or more, asked the data once for each style and language; for languages "
        "a file of translations or a model that translates, two requests a sample and language "
        "(not in the estimate of --dry-run)",
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes:seed=11,n=240",),
        plan=plan,
        then=then,
        reduce=reduce,
        knobs=(
            Knob("styles", ",".join(STYLES), "by rule; nothing for none"),
            Knob("translations", "", "JSONL of id, language and text"),
            Knob("translator", "", "PROVIDER/NAME that translates; none by default"),
            Knob("translator-url", "", "address of its server; that of the models by default"),
            Knob("translator-price", "", "PROMPT,COMPLETION in dollars per million tokens"),
            Knob("checker", "", "PROVIDER/NAME at the same address that translates back; the "
                 "translator by default"),
            Knob("languages", ",".join(LANGUAGES), "that the translator translates into"),
            Knob("back", 0.5, "share of words that the way back must bring, small words apart"),
        ),
    ),
)  # fmt: skip
