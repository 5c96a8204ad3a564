"""What is wrong with a data set, row by row, and what to do about it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from groundingme import images, taxonomy
from groundingme.datasets import Dataset
from groundingme.datasets.rows import IGNORED_BOX
from groundingme.errors import ImageError
from groundingme.schema import Sample


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with one row.

    Attributes:
        row: From 1, in the order of the data set.
        id: The sample's id.
        kind: A short stable word: `row`, `image-missing`, `image-unreadable`, `size`,
            `box-outside`, `box-order`, `box-empty`, `box-whole`, `rejection-with-box`,
            `positive-without-box`, `subtask`, `description`, `duplicate`, ...
        level: `error` where scores would be wrong or the sample fails; else `warning`.
        message: What was expected and what came.
        advice: What to do.
    """

    row: int
    id: str
    kind: str
    level: Literal["error", "warning"]
    message: str
    advice: str


def check(dataset: Dataset, *, images: bool = True) -> Iterator[Problem]:
    """Reads a whole data set and yields every problem, in the order of its rows.

    Args:
        dataset: Any.
        images: Decode every picture as well; without, rows alone are looked at.
    """
    asked: dict[tuple[str, str], int] = {}
    for row, sample in enumerate(dataset, 1):
        for kind, level, message, advice in _problems(sample, with_image=images):
            yield Problem(
                row=row, id=sample.id, kind=kind, level=level, message=message, advice=advice
            )
        if sample.image is None or sample.problem:
            continue
        question = (sample.image.name, " ".join(sample.description.lower().split()))
        first = asked.setdefault(question, row)
        if first != row:
            yield Problem(
                row=row,
                id=sample.id,
                kind="duplicate",
                level="warning",
                message=f"expected each question once, got the same as in row {first}",
                advice="drop one of them",
            )


_Found = Iterator[tuple[str, Literal["error", "warning"], str, str]]


def _problems(sample: Sample, *, with_image: bool) -> _Found:
    if sample.problem:
        yield "row", "error", sample.problem, "mend the row"
        return
    yield from _subtask(sample)
    width, height = sample.width, sample.height
    if with_image:
        if sample.image is None:
            yield "image-missing", "error", "expected an image, got none", "add its path"
        else:
            try:
                picture = images.open_upright(sample.image.read())
            except ImageError as error:
                yield f"image-{error.kind}", "error", str(error), "replace the image"
            else:
                yield from _size(sample, *picture.size)
                width, height = width or picture.width, height or picture.height
    yield from _box(sample, width, height)


def _size(sample: Sample, width: int, height: int) -> _Found:
    if not (sample.width or sample.height):
        yield (
            "size", "warning", "expected width and height, got none",
            f"write width {width} and height {height}, so that scoring needs no image",
        )  # fmt: skip
    elif (sample.width, sample.height) == (height, width) and width != height:
        yield (
            "size", "error",
            f"expected {width} x {height} as the upright image has, got {sample.width} x "
            f"{sample.height}, as it is stored",
            "write sizes and boxes for the image after its EXIF orientation",
        )  # fmt: skip
    elif (sample.width, sample.height) != (width, height):
        yield (
            "size", "error",
            f"expected {width} x {height} as the image has, got {sample.width} x {sample.height}",
            "correct the size, or use the image that the box was drawn on",
        )  # fmt: skip


def _subtask(sample: Sample) -> _Found:
    l1, l2 = sample.subtask_l1, sample.subtask_l2
    if not l1:
        if l2:
            yield "subtask", "warning", f"expected subtask_l1 with {l2!r}, got none", "add it"
        return
    if l1 not in taxonomy.L1:
        near = difflib.get_close_matches(l1, taxonomy.L1, n=1)
        known = ", ".join(taxonomy.L1)
        advice = f"did you mean {near[0]}?" if near else "rename it, or keep your own taxonomy"
        yield "subtask", "warning", f"expected subtask_l1 to be one of {known}; got {l1!r}", advice
    elif l2 and taxonomy.find(l1, l2) is None:
        known = ", ".join(row.l2 for row in taxonomy.SUBTASKS if row.l1 == l1)
        yield (
            "subtask", "warning",
            f"expected subtask_l2 of {l1} to be one of {known}; got {l2!r}",
            "rename it, or keep your own taxonomy",
        )  # fmt: skip


def _box(sample: Sample, width: int, height: int) -> _Found:
    if IGNORED_BOX in sample.extra:
        yield (
            "rejection-with-box", "warning",
            f"expected no box on a rejection, got {sample.extra[IGNORED_BOX]}; it is ignored",
            "write null",
        )  # fmt: skip
    if sample.target is None:
        if sample.subtask_l1 and sample.subtask_l1 != taxonomy.REJECTION:
            yield (
                "positive-without-box", "error",
                f"expected a box under {sample.subtask_l1}, got none; it is scored as a rejection",
                "add the box, or file it under Rejection",
            )  # fmt: skip
        return
    x1, y1, x2, y2 = sample.target
    shown = f"[{x1:g}, {y1:g}, {x2:g}, {y2:g}]"
    if x2 < x1 or y2 < y1:
        yield (
            "box-order", "error", f"expected x1 < x2 and y1 < y2, got {shown}; nothing matches it",
            "write the box as x1, y1, x2, y2; COCO's x, y, width, height need converting",
        )  # fmt: skip
        return
    if x1 == x2 or y1 == y2:
        yield (
            "box-empty", "error", f"expected a box with an area, got {shown}; nothing can match it",
            "draw the box, or write null where nothing matches",
        )  # fmt: skip
        return
    if not (width and height):
        return
    inside = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
    # Annotation tools round outwards, so a pixel beyond the edge is common and harmless.
    if x1 < -1 or y1 < -1 or x2 > width + 1 or y2 > height + 1:
        share = 100 * (1 - inside / ((x2 - x1) * (y2 - y1)))
        advice = "clip it to the image, or check that the box belongs to this image"
        if math.isclose(x2, x1 + width, abs_tol=1) or inside == 0:
            advice = "check that the box belongs to this image"
        yield (
            "box-outside", "error",
            f"expected a box inside {width} x {height}, got {shown}, {share:.0f} % of it outside",
            advice,
        )  # fmt: skip
    elif max(x2, y2) <= 1 and max(width, height) > 2:
        yield (
            "box-fractions", "error", f"expected pixels, got {shown}, which look like fractions",
            f"multiply by {width} and {height}",
        )  # fmt: skip
    elif inside > 0.5 * width * height:
        yield (
            "box-large", "warning",
            f"expected at most half of the image, got {100 * inside / (width * height):.0f} %",
            "such a target is easy to hit without looking; the benchmark leaves it out",
        )  # fmt: skip
