"""Boxes that stand in a model's words: where in the text, and where in the picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from groundingme import protocols
from groundingme.geometry import coord_format
from groundingme.parsing import answer_of
from groundingme.schema import Box, Generation, Sample

MOST = 200
"""Most boxes of a text that are linked."""
_LONGEST = 200_000
"""Characters of a text that are looked at."""
_NUMBER = r"([-+]?+\d{1,7}+(?:\.\d{1,12}+)?+)"
_BETWEEN = r"[\s\"')\]]{0,6}+[,;\s]{1,6}+[\s\"'(\[]{0,6}+"
_FOUR = re.compile(
    rf"[\[(<>]{{1,3}}+[\s\"']{{0,4}}+{_NUMBER}{_BETWEEN}{_NUMBER}{_BETWEEN}{_NUMBER}{_BETWEEN}"
    rf"{_NUMBER}[\s\"']{{0,4}}+[\])<]{{1,3}}+"
)
_TWO_POINTS = re.compile(
    rf"\(?{_NUMBER},\s?{_NUMBER}\)?\s{{1,3}}(?:to|and|-|–|->)\s{{1,3}}\(?{_NUMBER},\s?{_NUMBER}\)?"
)
_LOCATED = re.compile(r"(?:<\|?loc_?(\d{1,5})\|?>\s?){4}")
_ROOM = 0.02
"""Share of a side by which a box may leave its picture and still be taken for one."""


def spans(sample: Sample, generation: Generation, coords: str) -> list[dict[str, Any]]:
    """Boxes in a reply and its reasoning.

    Args:
        sample: Whose picture it is.
        generation: The reply.
        coords: Name of the model's coordinate format.

    Returns:
        `field` (`text` or `reasoning`), `start` and `end` in characters, `box` in pixels, in the
        order of the text. Numbers that are no box of this picture in that format are left out.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    answer = answer_of(generation)
    if answer.coords and answer.span:
        box = _to_pixels(answer.coords, sample, generation, coords)
        if box:
            start, end = answer.span
            found[answer.source, start] = _span(answer.source, start, end, box)
    for field, text in (("reasoning", generation.reasoning), ("text", generation.text)):
        for start, end, numbers in _fours(text[:_LONGEST]):
            if any(
                one["field"] == field and start < one["end"] and one["start"] < end
                for one in found.values()
            ):
                continue
            box = _to_pixels(numbers, sample, generation, coords)
            if box and _is_inside(box, sample, generation):
                found[field, start] = _span(field, start, end, box)
            if len(found) >= MOST:
                break
    return sorted(found.values(), key=lambda one: (one["field"] == "text", one["start"]))


def _span(field: str, start: int, end: int, box: Box) -> dict[str, Any]:
    return {"field": field, "start": start, "end": end, "box": box}


def _fours(text: str) -> Iterator[tuple[int, int, Box]]:
    for pattern in (_FOUR, _TWO_POINTS):
        for match in pattern.finditer(text):
            a, b, c, d = map(float, match.groups())
            yield *match.span(), (a, b, c, d)
    for match in _LOCATED.finditer(text):
        a, b, c, d = map(float, re.findall(r"\d+", match[0])[-4:])
        yield *match.span(), (a, b, c, d)


def _to_pixels(numbers: Box, sample: Sample, generation: Generation, coords: str) -> Box | None:
    """Pixels of the original, as `protocols.score` reads them; None where that gives no box."""
    sizes, sent = protocols.frames([sample], {sample.id: generation})
    with np.errstate(all="ignore"):
        scale = np.divide(sizes, sent, out=np.ones_like(sizes), where=sent > 0)
        pixels = coord_format(coords).to_pixels(np.array([numbers]), sent) * np.tile(scale, 2)
    if not np.isfinite(pixels).all():
        return None
    x1, y1, x2, y2 = pixels[0].tolist()
    return x1, y1, x2, y2


def _is_inside(box: Box, sample: Sample, generation: Generation) -> bool:
    sizes, _ = protocols.frames([sample], {sample.id: generation})
    width, height = float(sizes[0, 0]), float(sizes[0, 1])
    x1, y1, x2, y2 = box
    if not (x1 < x2 and y1 < y2):
        return False
    if not (width and height):
        return True
    low = x1 >= -_ROOM * width and y1 >= -_ROOM * height
    return low and x2 <= (1 + _ROOM) * width and y2 <= (1 + _ROOM) * height
