"""Does a result hang on how a question is put? Wording, format, schema, order, system, null."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import stats
from groundingme.report.svg import PERCENT, Span
from groundingme.studies import STUDIES
from groundingme.studies.estimates import (
    Bools,
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
from groundingme.studies.ways import POINTS, REFERENCE, Way, pointed, read_as, ways

FORMATS = {"abs": "pixels", "n1000": "0-1000", "n1": "0-1", "abs-yxyx": "pixels, y first"}


class Asked(msgspec.Struct, frozen=True, eq=False):
    """One model asked in one way.

    Attributes:
        model: Its name.
        way: Which.
        done: The run.
        hits: Shape `(N,)`: right at IoU 0.5, or with points the point lies in the true box.
        rejections: Shape `(N,)`.
        against: Gain over the reference on the same measure; for the reference itself, none.
        p: Of `against` after Holm's correction over all ways of the model.
    """

    model: str
    way: Way
    done: Done
    hits: Bools
    rejections: Bools
    against: Gain
    p: float = 1.0

    @property
    def worse(self) -> bool:
        """Whether it is clearly worse than the reference."""
        return self.p <= 0.05 and self.against.span.high < 0


def chosen(setting: Setting) -> list[Way]:
    """The reference and the ways of the kinds that were asked for."""
    kinds = {one.strip() for one in str(setting.knobs["kinds"]).split(",") if one.strip()}
    return [one for one in ways() if not one.kind or not kinds or one.kind in kinds]


def plan(setting: Setting) -> Sequence[Condition]:
    """Every model in every way."""
    found = []
    for model in setting.models:
        for way in chosen(setting):
            posed, settings = way.posed(model)
            found.append(Condition(name=way.name, model=posed, dataset=setting.dataset,
                                   settings=settings))  # fmt: skip
    return found


def asked(setting: Setting, done: Sequence[Done]) -> list[list[Asked]]:
    """One list a model: the reference first."""
    clusters = images(done[0].scored.samples)
    found, each = [], chosen(setting)
    for at in range(0, len(done), len(each)):
        first = done[at].scored
        rows = []
        for way, one in zip(each, done[at : at + len(each)], strict=True):
            hits, rejections = right(one.scored), rejected(one.scored)
            before = right(first)
            if way.schema == POINTS:
                hits, rejections = pointed(one.scored, one.scored.run.coords)
                before = np.asarray(first.scores.centers, bool)
            against = gain(before, hits, clusters)
            rows.append(Asked(one.condition.label, way, one, hits, rejections, against, against.p))
        adjusted = [1.0, *stats.holm([one.against.p for one in rows[1:]])]
        found.append([
            msgspec.structs.replace(one, p=float(p)) for one, p in zip(rows, adjusted, strict=True)
        ])  # fmt: skip
    return found


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Mean, spread and worst case of every model; formats; pairs of models under every way."""
    models = asked(setting, done)
    result = done[0].scored
    clusters, negative = images(result.samples), negatives(result)
    spans = [[share(one.hits, clusters) for one in rows] for rows in models]
    readings = [one for rows in models for one in _format_rows(rows)]
    pairs = [_pair(a, b, clusters) for a, b in combinations(models, 2)]
    names = [rows[0].model for rows in models]
    each = [one.way for one in models[0]]
    scored = [
        [way.kind or "reference", way.name, *(row[at] for row in spans),
         *(rows[at].against.span if at else "–" for rows in models)]
        for at, way in enumerate(each)
    ]  # fmt: skip
    tables = [
        Table(title="Mean, spread and worst case", columns=["model", REFERENCE, "mean of all ways",
              "standard deviation, points", "worst", "worst way", "best", "best way",
              "clearly worse than the reference"],
              rows=[_spread_row(rows, row) for rows, row in zip(models, spans, strict=True)]),
        Table(title="Right in every way", rows=scored,
              columns=["kind", "way", *names, *(f"{name}: against {REFERENCE}" for name in names)],
              note="Right at IoU 0.5; with points, the point lies in the true box, and the "
              "reference is taken by the centre of its box."),
        Table(title="Rejections", rows=_rejection_rows(models, negative, clusters),
              columns=["way", "model", "rejected where nothing matches",
                       "rejected where something does"]),
    ]  # fmt: skip
    if readings:
        tables.append(Table(
            title="Does the model write the format that it is asked for?",
            columns=["model", "asked for", "boxes right as asked", "best reading",
                     "boxes right so", "verdict"],
            rows=[row for row, _ in readings],
            note="The same replies read in every format; positives only.",
        ))  # fmt: skip
    if pairs:
        tables.append(Table(
            title="Two models under every way",
            columns=["pair", REFERENCE, "ways in which the first is clearly ahead",
                     "the second", "neither"],
            rows=[row for row, _ in pairs],
            note="Clearly: the paired test after Holm's correction over the ways.",
        ))  # fmt: skip
    failing = {(str(row[0]), str(row[1])): verdict for row, verdict in readings if verdict}
    return Outcome(
        finding=_finding(models, spans, failing, [one for _, one in pairs], bool(readings)),
        tables=tables,
        figures=[Dots(
            title="Right in every way to ask",
            text="Share of all samples; the first row is the unified prompt.",
            rows=[one.name for one in each],
            series={name: [points(one) for one in row]
                    for name, row in zip(names, spans, strict=True)},
            x=msgspec.structs.replace(PERCENT, title="right, %"),
        )],
        values={
            "right": {name: {way.name: span.value for way, span in zip(each, row, strict=True)}
                      for name, row in zip(names, spans, strict=True)},
            "failing": {f"{model}: {way}": verdict for (model, way), verdict in failing.items()},
            "worse": {rows[0].model: [one.way.name for one in rows if one.worse]
                      for rows in models},
        },
        notes=_notes(names),
    )  # fmt: skip


def _notes(names: Sequence[str]) -> list[str]:
    """What the demonstration cannot show."""
    local = [name for name in names if name.startswith("builtin/")]
    if not local:
        return []
    return [
        f"{' and '.join(local)} find the description in the unified prompt only, write pixels and "
        "JSON whatever is asked, and are told neither an order nor a system prompt: in other "
        "wordings the whole prompt is read as the description."
    ]


def _spread_row(rows: Sequence[Asked], spans: Sequence[Span]) -> list[object]:
    values = np.array([one.value for one in spans])
    low, high = int(np.argmin(values)), int(np.argmax(values))
    worse = [one.way.name for one in rows if one.worse]
    return [
        rows[0].model, spans[0], f"{percent(float(values.mean()))} %",
        f"{100 * float(values.std(ddof=1)) if len(values) > 1 else math.nan:.1f}",
        spans[low], rows[low].way.name, spans[high], rows[high].way.name,
        f"{len(worse)} of {len(rows) - 1}",
    ]  # fmt: skip


def _rejection_rows(
    models: Sequence[Sequence[Asked]],
    negative: Bools,
    clusters: NDArray[np.int64],
) -> list[list[object]]:
    return [
        [one.way.name, one.model, share(one.rejections[negative], clusters[negative]),
         share(one.rejections[~negative], clusters[~negative])]
        for rows in models for one in rows if one.way.kind in ("", "null")
    ]  # fmt: skip


def _format_rows(rows: Sequence[Asked]) -> list[tuple[list[object], str]]:
    """A row of the table for each format, and in which format the model wrote instead, or ""."""
    found: list[tuple[list[object], str]] = []
    for one in rows:
        if one.way.kind != "format":
            continue
        result = one.done.scored
        keys = images(
            [s for s, no in zip(result.samples, negatives(result), strict=True) if not no]
        )
        readings = read_as(result, list(FORMATS))
        as_asked = readings[one.way.coords]
        best = max(FORMATS, key=lambda name: (readings[name].sum(), name == one.way.coords))
        other = gain(as_asked, readings[best], keys)
        instead = FORMATS[best] if best != one.way.coords and other.clear else ""
        verdict = "follows" if not one.worse else "worse than the reference"
        if instead:
            verdict = f"fails: writes {instead}"
        cells: list[object] = [one.model, one.way.name, share(as_asked, keys), FORMATS[best],
                 share(readings[best], keys), verdict]  # fmt: skip
        found.append((cells, instead))
    return found


def _pair(
    a: Sequence[Asked], b: Sequence[Asked], clusters: NDArray[np.int64]
) -> tuple[list[object], tuple[str, str, int, int, int]]:
    """How often each of two models is clearly ahead."""
    gains = [gain(two.hits, one.hits, clusters) for one, two in zip(a, b, strict=True)]
    clear = stats.holm([one.p for one in gains]) <= 0.05
    ahead = sum(bool(yes) and one.span.low > 0 for yes, one in zip(clear, gains, strict=True))
    behind = sum(bool(yes) and one.span.high < 0 for yes, one in zip(clear, gains, strict=True))
    names, neither = (a[0].model, b[0].model), len(gains) - ahead - behind
    cells = [f"{names[0]} over {names[1]}", gains[0].span, ahead, behind, neither]
    return cells, (*names, ahead, behind, neither)


def _finding(
    models: Sequence[Sequence[Asked]],
    spans: Sequence[Sequence[Span]],
    failing: dict[tuple[str, str], str],
    pairs: Sequence[tuple[str, str, int, int, int]],
    formats: bool,
) -> str:
    parts = []
    for rows, row in zip(models, spans, strict=True):
        low, high = min(row), max(row)
        parts.append(
            f"{rows[0].model} is right in {percent(low.value)} % ({rows[row.index(low)].way.name}) "
            f"to {percent(high.value)} % ({rows[row.index(high)].way.name})"
        )
    first = f"Over {len(models[0])} ways to ask, {', '.join(parts)}"
    for a, b, ahead, behind, neither in pairs[:1]:
        first += (
            f"; {a} is clearly ahead of {b} in {ahead} ways, behind in {behind}, and in {neither} "
            "neither is"
        )
    if not formats:
        return f"{first}. No coordinate format was asked for."
    if not failing:
        return f"{first}. No model keeps to another coordinate format than the one it is asked for."
    said = []
    for model in dict.fromkeys(model for model, _ in failing):
        of = {way: verdict for (name, way), verdict in failing.items() if name == model}
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
        models=("builtin/grounder", "builtin/grounder-positive-only"),
        data=("scenes:seed=11,n=120",),
        plan=plan,
        reduce=reduce,
        knobs=(
            Knob(name="kinds", default="",
                 text="only these, by commas: wording, format, schema, order, system, null"),
        ),
    ),
)  # fmt: skip
