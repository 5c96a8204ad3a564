"""Does a result hang on how a question is put? Wording, format, schema, order, system, null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from groundingme.report.svg import Span
from groundingme.studies import STUDIES
from groundingme.studies.estimates import Shares, in_percent, percent, turned
from groundingme.studies.figures import dots
from groundingme.studies.study import Condition, Done, Knob, Outcome, Setting, Study, Table
from groundingme.studies.ways import FORMATS, REFERENCE, Ahead, Asked, ahead, asked, chosen, reading


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model in every way."""
    found = []
    for model in setting.models:
        for way in chosen(setting.listed("kinds")):
            posed, settings = way.posed(model)
            found.append(Condition(name=way.name, model=posed, dataset=setting.dataset,
                                   settings=settings))  # fmt: skip
    return found


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Mean, spread and worst case of every model; formats; pairs of models under every way."""
    ways = chosen(setting.listed("kinds"))
    models, each = asked(ways, done), {one.name: one for one in ways}
    right = {model: {one.way.name: one.said.share(one.hits) for one in rows}
             for model, rows in models.items()}  # fmt: skip
    formats = [(one, *reading(one)) for rows in models.values() for one in rows
               if one.way.kind == "format"]  # fmt: skip
    pairs = {(a, b): ahead(models[a], models[b]) for a, b in combinations(models, 2)}
    tables = [
        Table(title="Mean, spread and worst case", columns=["model", REFERENCE, "mean of all ways",
              "standard deviation, points", "worst", "worst way", "best", "best way",
              "clearly worse than the reference"],
              rows=[_spread_row(model, rows, right[model]) for model, rows in models.items()]),
        Table(title="Right in every way",
              columns=["kind", "way", *models, *(f"{one}: against {REFERENCE}" for one in models)],
              rows=[[each[name].kind or "reference", name, *row.values(),
                     *(rows[at].gained for rows in models.values())]
                    for at, (name, row) in enumerate(turned(right).items())],
              note="Right at IoU 0.5; with points, the point lies in the true box, and the "
              "reference is taken by the centre of its box."),
        Table(title="Rejections",
              columns=["way", "model", "rejected where nothing matches",
                       "rejected where something does"],
              rows=[[one.way.name, model, one.said.share(one.rejections, one.said.negative),
                     one.said.share(one.rejections, ~one.said.negative)]
                    for model, rows in models.items() for one in rows
                    if one.way.kind in ("", "null")]),
    ]  # fmt: skip
    if formats:
        tables.append(Table(
            title="Does the model write the format that it is asked for?",
            columns=["model", "asked for", "boxes right as asked", "best reading",
                     "boxes right so", "verdict"],
            rows=[[one.said.model, one.way.name, as_asked, FORMATS[best], as_best,
                   f"fails: writes {instead}" if instead else
                   "worse than the reference" if one.worse else "follows"]
                  for one, best, as_asked, as_best, instead in formats],
            note="The same replies read in every format; positives only.",
        ))  # fmt: skip
    if pairs:
        tables.append(Table(
            title="Two models under every way",
            columns=["pair", REFERENCE, "ways in which the first is clearly ahead",
                     "the second", "neither"],
            rows=[[f"{a} over {b}", *cells] for (a, b), cells in pairs.items()],
            note="Clearly: the paired test after Holm's correction over the ways.",
        ))  # fmt: skip
    failing: dict[str, dict[str, str]] = {}
    for one, *_, instead in formats:
        if instead:
            failing.setdefault(one.said.model, {})[one.way.name] = instead
    return Outcome(
        finding=_finding(right, failing, pairs, bool(formats)),
        tables=tables,
        figures=[dots("Right in every way to ask",
                      "Share of all samples; the first row is the unified prompt.", right)],
        values={
            "right": {model: {way: span.value for way, span in row.items()}
                      for model, row in right.items()},
            "failing": {f"{model}: {way}": instead for model, of in failing.items()
                        for way, instead in of.items()},
            "worse": {model: [one.way.name for one in rows if one.worse]
                      for model, rows in models.items()},
        },
        notes=_notes(list(models)),
    )  # fmt: skip


def _notes(models: Sequence[str]) -> list[str]:
    """What the demonstration cannot show."""
    local = [name for name in models if name.startswith("builtin/")]
    return [
        f"{' and '.join(local)} find the description in the unified prompt only, write pixels and "
        "JSON whatever is asked, and are told neither an order nor a system prompt: in other "
        "wordings the whole prompt is read as the description."
    ] if local else []  # fmt: skip


def _spread_row(model: str, rows: Sequence[Asked], right: Mapping[str, Span]) -> list[object]:
    values = np.array([one.value for one in right.values()])
    low, high = (pick(right, key=lambda way: right[way].value) for pick in (min, max))
    deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return [
        model, right[REFERENCE], in_percent(float(values.mean())), f"{100 * deviation:.1f}",
        right[low], low, right[high], high,
        f"{sum(one.worse for one in rows)} of {len(rows) - 1}",
    ]  # fmt: skip


def _finding(
    right: Shares,
    failing: Mapping[str, Mapping[str, str]],
    pairs: Mapping[tuple[str, str], Ahead],
    formats: bool,
) -> str:
    parts = []
    for model, row in right.items():
        low, high = (pick(row, key=lambda way: row[way]) for pick in (min, max))
        parts.append(
            f"{model} is right in {percent(row[low].value)} % ({low}) to "
            f"{percent(row[high].value)} % ({high})"
        )
    first = f"Over {len(next(iter(right.values())))} ways to ask, {', '.join(parts)}"
    for (a, b), one in list(pairs.items())[:1]:
        first += (
            f"; {a} is clearly ahead of {b} in {one.ahead} ways, behind in {one.behind}, and in "
            f"{one.neither} neither is"
        )
    if not formats:
        return f"{first}. No coordinate format was asked for."
    if not failing:
        return f"{first}. No model keeps to another coordinate format than the one it is asked for."
    said = []
    for model, of in failing.items():
        written = " or ".join(dict.fromkeys(of.values()))
        said.append(
            f"{model} fails the format{'s' * (len(of) > 1)} {', '.join(of)} (it writes {written})"
        )
    return f"{first}. {'; '.join(said)}."


STUDIES.register(
    "prompts",
    Study(
        name="prompts",
        question="How much do scores and conclusions depend on the way a question is put?",
        needs="one model or more, each asked 17 times; two models for a conclusion",
        data=("scenes:seed=11,n=120",),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob(name="kinds", default="",
                 text="only these, by commas: wording, format, schema, order, system, null"),
        ),
    ),
)  # fmt: skip
