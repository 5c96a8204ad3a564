"""One row of whatever table -> one `Sample`: types checked, nothing lost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from groundingme.schema import Box, ImageSource, Sample
from groundingme.taxonomy import REJECTION

IGNORED_BOX = "ignored_bbox"
"""Key in `Sample.extra` of a box that a rejection came with."""

_COLUMNS = (
    "id", "image", "description", "bbox", "detection_type", "subtask_l1", "subtask_l2",
    "width", "height",
)  # fmt: skip


def to_sample(
    row: Mapping[str, Any], *, place: str, image: ImageSource | None, problem: str = ""
) -> Sample:
    """A sample from the published columns, however badly they are filled.

    Args:
        row: `id`, `description`, `bbox` (xyxy pixels, or None), `detection_type`, `subtask_l1`,
            `subtask_l2`, `width`, `height`; the others go to `Sample.extra`.
        place: Where the row is ("line 7"); its id where it has none.
        image: Where the picture is.
        problem: What is already known to be wrong.
    """
    problems = [problem] if problem else []

    def text(name: str) -> str:
        value = row.get(name)
        if value is None or isinstance(value, str):
            return value or ""
        problems.append(f"expected {name} as text, got {_shown(value)}")
        return str(value)

    id = row.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        if not problems:
            problems.append(f"expected an id as text or whole number, got {_shown(id)}")
        id = place
    description, l1 = text("description"), text("subtask_l1")
    if not description.strip() and not problems:
        problems.append("expected a description, got none")
    target: Box | None = None
    extra = {name: value for name, value in row.items() if name not in _COLUMNS}
    box = row.get("bbox")
    if l1 == REJECTION:
        if box is not None:
            extra[IGNORED_BOX] = box
    elif box is not None:
        target = to_box(box)
        if target is None:
            problems.append(f"expected bbox as four finite numbers or null, got {_shown(box)}")
    return Sample(
        id=str(id),
        description=description,
        target=target,
        width=_side(row.get("width"), "width", problems),
        height=_side(row.get("height"), "height", problems),
        image=image,
        subtask_l1=l1,
        subtask_l2=text("subtask_l2"),
        detection_type=text("detection_type"),
        problem="; ".join(problems),
        extra=extra,
    )


def to_box(value: Any) -> Box | None:
    """Four finite numbers as a box; None for anything else."""
    try:
        numbers = [float(number) for number in value if not isinstance(number, bool | str)]
        if len(numbers) != 4 or len(value) != 4 or not all(map(math.isfinite, numbers)):
            return None
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers[0], numbers[1], numbers[2], numbers[3]


def from_xywh(box: Box | None) -> Box | None:
    """COCO's `x, y, width, height` as xyxy."""
    return None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])


def unique(samples: Iterable[tuple[str, Sample]]) -> list[Sample]:
    """The samples of pairs (place, sample); of those with one id, the later ones get a problem.

    Replies are kept by id, so a second sample of that id could not be told from the first.
    """
    seen: dict[str, str] = {}
    kept = []
    for place, one in samples:
        if one.id in seen:
            said = f"expected ids that are unique, got {one.id!r} again, first in {seen[one.id]}"
            problem = f"{one.problem}; {said}" if one.problem else said
            one = msgspec.structs.replace(one, id=f"{one.id} ({place})", problem=problem)
        seen[one.id] = place
        kept.append(one)
    return kept


def _side(value: Any, name: str, problems: list[str]) -> int:
    if value is None:
        return 0
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        whole = int(value) if abs(value) < 1e9 else -1
        if whole == value and whole >= 0:
            return whole
    problems.append(f"expected {name} as a number of pixels, got {_shown(value)}")
    return 0


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
