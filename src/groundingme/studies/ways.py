"""Ways to put one question: the rows of `ways.toml`, how each is asked, and how points are read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import protocols
from groundingme.geometry import coord_format
from groundingme.models import Model
from groundingme.models.posed import Posed
from groundingme.parsing import answer_of
from groundingme.report.svg import Span
from groundingme.result import Result
from groundingme.schema import Generation
from groundingme.studies.conditions import by_model
from groundingme.studies.estimates import Answers, Bools, Gain, corrected, gain, share
from groundingme.studies.study import Done

REFERENCE = "unified"
"""The unified prompt as the model's family is asked; every way is compared with it."""
POINTS = "points"
FORMATS = {"abs": "pixels", "n1000": "0-1000", "n1": "0-1", "abs-yxyx": "pixels, y first"}
"""What people call the formats that are asked for."""

_NUMBER = r"-?\d{1,12}(?:\.\d{1,12})?"
_POINT = re.compile(
    r"[\"']?point(?:_2d)?s?[\"']?\s{0,4}[:=]\s{0,4}"
    rf"(?:(null|none|\[\s*\])|[\[(]{{1,2}}\s*({_NUMBER})\s*,\s*({_NUMBER})\s*[\])])"
    rf"|<point>\s*(?:(null|none)|[\[(]?\s*({_NUMBER})\s*,\s*({_NUMBER})\s*[\])]?)\s*</point>",
    re.IGNORECASE,
)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way.

    Attributes:
        name: Unlike all others.
        kind: `wording`, `format`, `schema`, `order`, `system` or `null`; "" for the reference.
        prompt: A template with `{description}`; "" for the reference's.
        coords: The format that the prompt names; "" where it names none.
        schema: `boxes` or `points`.
        system: A system prompt.
        order: See `models.posed.ORDERS`.
    """

    name: str
    kind: str = ""
    prompt: str = ""
    coords: str = ""
    schema: str = "boxes"
    system: str = ""
    order: str = "image-first"

    def posed(self, model: str | Model) -> tuple[str | Model, dict[str, Any]]:
        """The model and the further arguments of `evaluate` with which it is asked so."""
        settings: dict[str, Any] = {}
        if self.prompt:
            settings["prompt"] = self.prompt
        if self.coords:
            settings["coords"] = self.coords
        options = {"system": self.system} if self.system else {}
        if self.order != "image-first":
            options["order"] = self.order
        if isinstance(model, str):
            return model, settings | options
        return (Posed(model, **options) if options else model), settings


@cache
def ways() -> tuple[Way, ...]:
    """The reference, then all others in the order of the table."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    rows = msgspec.convert(tomllib.loads(text)["ways"], list[Way])
    assert len({one.name for one in rows}) == len(rows)
    return (Way(name=REFERENCE), *rows)


def chosen(kinds: Sequence[str]) -> list[Way]:
    """The reference and the ways of these kinds; of all where none is named."""
    return [one for one in ways() if not one.kind or not kinds or one.kind in kinds]


def read_point(generation: Generation) -> tuple[float, float] | str | None:
    """The last point of a reply, None for a rejection, or `unparsed`.

    Example:
        >>> read_point(Generation(id="a", text='{"point_2d": [12, 30.5]}'))
        (12.0, 30.5)
        >>> read_point(Generation(id="a", text='{"point_2d": null}')) is None
        True
    """
    if generation.failure:
        return "unparsed"
    found = list(_POINT.finditer(generation.text))
    if found:
        _, x, y, _, also_x, also_y = found[-1].groups()
        if (x or also_x) is None:
            return None
        return float(x or also_x), float(y or also_y)
    return None if answer_of(generation).outcome == "rejected" else "unparsed"


def pointed(result: Result, coords: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which replies with points are right, and which are rejections; each of shape `(N,)`.

    Args:
        result: Of a run that asked for points.
        coords: Format in which the model writes; where it writes y first, points are read so.
    """
    known = coord_format(coords)
    hits, rejections = [], []
    for sample, negative in zip(result.samples, result.scores.negatives, strict=True):
        said = read_point(result.generations.get(sample.id, Generation(id="", failure="none")))
        rejections.append(said is None)
        if not isinstance(said, tuple) or negative or sample.target is None:
            hits.append(said is None and bool(negative))
            continue
        sent = result.generations[sample.id]
        size = (sample.width or sent.sent_width, sample.height or sent.sent_height)
        box = known.to_pixels([[*said, *said]], [size])[0]
        x1, y1, x2, y2 = sample.target
        hits.append(bool(x1 <= box[0] <= x2 and y1 <= box[1] <= y2))
    return np.array(hits, bool), np.array(rejections, bool)


def read_as(result: Result, formats: Sequence[str]) -> Mapping[str, NDArray[np.bool_]]:
    """Which positives would be right at IoU 0.5 if boxes were read in each format."""
    positive = ~np.asarray(result.scores.negatives, bool)
    found = {}
    for name in formats:
        scores = protocols.score(result.samples, result.generations, protocol="strict", coords=name)
        found[name] = np.asarray(scores.ious >= 0.5)[positive]
    return found


class Asked(msgspec.Struct, frozen=True, eq=False):
    """One model asked in one way.

    Attributes:
        way: Which.
        said: What it answered.
        hits: Shape `(N,)`: right at IoU 0.5, or with points the point lies in the true box.
        rejections: Shape `(N,)`.
        against: Gain over the reference on the same measure, p after Holm's correction over all
            ways of the model; None for the reference itself.
    """

    way: Way
    said: Answers
    hits: Bools
    rejections: Bools
    against: Gain | None = None

    @property
    def gained(self) -> Span | str:
        """Cell of `against`."""
        return self.against.span if self.against else "–"

    @property
    def worse(self) -> bool:
        """Whether it is clearly worse than the reference."""
        return self.against is not None and self.against.worse


def asked(chosen: Sequence[Way], done: Sequence[Done]) -> dict[str, list[Asked]]:
    """Every way of each model, the reference first.

    Args:
        chosen: The reference, and others.
        done: Every model in each of them.
    """
    found = {}
    for model, mine in by_model(done).items():
        rows, gains = [], {}
        first = Answers(mine[REFERENCE])
        for way in chosen:
            one = Answers(mine[way.name])
            hits, rejections, before = one.right, one.rejected, first.right
            if way.schema == POINTS:
                hits, rejections = pointed(one.result, one.result.run.coords)
                before = np.asarray(first.result.scores.centers, bool)
            rows.append(Asked(way, one, hits, rejections))
            if way.kind:
                gains[way.name] = gain(before, hits, first.clusters)
        gains = corrected(gains)
        found[model] = [
            msgspec.structs.replace(one, against=gains.get(one.way.name)) for one in rows
        ]
    return found


def reading(one: Asked) -> tuple[str, Span, Span, str]:
    """In which format the boxes of positives are right most often.

    Args:
        one: Asked for a format.

    Returns:
        That format, a key of `FORMATS`; the share right as asked, and the share right in that
        format; and its name where the model clearly wrote that instead, else "".
    """
    said, coords = one.said, one.way.coords
    keys = said.clusters[~said.negative]
    readings = read_as(said.result, list(FORMATS))
    best = max(FORMATS, key=lambda name: (readings[name].sum(), name == coords))
    clear = gain(readings[coords], readings[best], keys).clear
    instead = FORMATS[best] if best != coords and clear else ""
    return best, share(readings[coords], keys), share(readings[best], keys), instead


class Ahead(NamedTuple):
    """One model beside another, in all ways.

    Attributes:
        span: What it has over the other under the reference.
        ahead: Ways in which it is clearly ahead.
        behind: Ways in which the other is.
        neither: The rest.
    """

    span: Span
    ahead: int
    behind: int
    neither: int


def ahead(a: Sequence[Asked], b: Sequence[Asked]) -> Ahead:
    """What one model has over another; clearly is after Holm's correction over the ways."""
    gains = corrected(
        {
            one.way.name: gain(two.hits, one.hits, one.said.clusters)
            for one, two in zip(a, b, strict=True)
        }
    )
    first = sum(one.better for one in gains.values())
    second = sum(one.worse for one in gains.values())
    return Ahead(gains[REFERENCE].span, first, second, len(gains) - first - second)
