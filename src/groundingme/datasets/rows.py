"""One row of whatever table -> one `Sample`: types checked, nothing lost."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from groundingme.images import FileImage
from groundingme.schema import Box, ImageSource, Sample
from groundingme.taxonomy import REJECTION

IGNORED_BOX = "ignored_bbox"
"""Key in `Sample.extra` of a box that a rejection came with."""

MAX_TEXT = 100_000
"""Most characters of a description or another text of a sample."""
MAX_ID = 1_000
"""Most characters of an id."""

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
        if value is None:
            return ""
        if not isinstance(value, str):
            problems.append(f"expected {name} as text, got {shown(value)}")
            return shown(value)
        if len(value) > MAX_TEXT:
            problems.append(
                f"expected {name} of at most {MAX_TEXT:,} characters, got {len(value):,}"
            )
            value = value[:60]
        if not is_unicode(value):
            problems.append(f"expected {name} as Unicode, got half of a surrogate pair")
            value = value.encode(errors="replace").decode()
        return value

    id = row.get("id")
    if not _is_id(id):
        if not problems:
            problems.append(
                f"expected an id of at most {MAX_ID:,} characters or a whole number, "
                f"got {shown(id)}"
            )
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
            problems.append(f"expected bbox as four finite numbers or null, got {shown(box)}")
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


def path_problem(name: Any) -> str:
    """What is wrong with the path of an image, or ""."""
    if not isinstance(name, str) or not name or "\0" in name or len(name) > 4096:
        return f"expected image as a path, got {shown(name)}"
    return ""


def beside(folder: str, name: str) -> FileImage:
    """The image of that path, relative to a folder that it must not leave.

    A backslash stands for a slash, as Windows writes it.
    """
    path = os.path.join(folder, name.replace("\\", "/"))
    return FileImage(path=path, name=name, root=folder or os.curdir)


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
            id = f"{one.id} ({place})"
            while id in seen:
                id = f"{id}'"
            one = msgspec.structs.replace(one, id=id, problem=problem)
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
    problems.append(f"expected {name} as a number of pixels, got {shown(value)}")
    return 0


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= MAX_ID and is_unicode(value)
    # Python writes no whole number of more than 4,300 digits.
    return isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 10_000


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8, which half of a surrogate pair cannot."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def shown(value: Any) -> str:
    """Any value in at most 60 characters, for a message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= 60 else f"{text[:57]}..."
