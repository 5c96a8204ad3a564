"""Numbers for what the nets read off a thing: one place for targets, outputs and features.

`read` gives raw numbers (`RAW`), the matcher sees probabilities (`FEATURES`); both are flat
vectors, cut by the slices below.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundingme.datasets.scenes.catalog import AXES, COLORS, KINDS, SURFACES
from groundingme.datasets.scenes.scene import Scene, Thing
from groundingme.models.builtin.words import ALPHABET, LONGEST_TEXT, spell

RUG = "rug"
"""Kind of the round rug on the ground: looked for and read, never meant."""

KIND_NAMES = (*KINDS, RUG)
COLOR_NAMES = tuple(COLORS)
SURFACE_NAMES = tuple(SURFACES)
PART_NAMES = tuple(sorted({part for kind in KINDS.values() for part in kind.parts}))
AXIS_NAMES = tuple(AXES)
COUNTS = 7
LETTERS = len(ALPHABET) + 1


def _cut(sizes: dict[str, int]) -> tuple[dict[str, slice], int]:
    slices, start = {}, 0
    for name, size in sizes.items():
        slices[name] = slice(start, start + size)
        start += size
    return slices, start


_ONE_OF = {"kind": len(KIND_NAMES), "color": len(COLORS), "surface": len(SURFACES)}
_PARTS, _AXES, _TEXT = len(PART_NAMES), len(AXES), LONGEST_TEXT * LETTERS

RAW, RAW_SIZE = _cut(
    {"thing": 1, "visible": 1, "written": 1, **_ONE_OF}
    | {"parts": _PARTS, "state": _AXES, "count": COUNTS}
)
"""Where raw numbers of each property are; `written`: whether anything is."""

FEATURES, FEATURE_SIZE = _cut(
    {"thing": 1, "visible": 1, "written": 1, **_ONE_OF, "present": _PARTS, "absent": _PARTS}
    | {"first": _AXES, "second": _AXES, "count": COUNTS, "text": _TEXT}
)
"""Where probabilities of each property are. `first` and `second` are an axis' two states; `text`
comes last, from a net of its own."""

PARTS_OF = np.zeros((len(KIND_NAMES), _PARTS), np.float32)
"""Which kinds can have which part; 0 or 1."""

AXES_OF = np.zeros((len(KIND_NAMES), _AXES), np.float32)
"""Which kinds have which axis; 0 or 1."""

for _number, _kind in enumerate(KINDS.values()):
    PARTS_OF[_number] = [part in _kind.parts for part in PART_NAMES]
    AXES_OF[_number] = [_kind.axis == axis for axis in AXIS_NAMES]

TARGETS = {"kind": 0, "color": 1, "surface": 2, "axis": 3, "state": 4, "count": 5}
_FIRST_PART = len(TARGETS)
_FIRST_LETTER = _FIRST_PART + _PARTS
TARGET_SIZE = _FIRST_LETTER + LONGEST_TEXT
PART_COLUMNS = slice(_FIRST_PART, _FIRST_LETTER)
LETTER_COLUMNS = slice(_FIRST_LETTER, TARGET_SIZE)


def target(thing: Thing) -> NDArray[np.int16]:
    """What should be read off a thing, [TARGET_SIZE]; -1 where a property does not apply.

    Columns: `TARGETS`, then each part (0 or 1), then the numbers of the characters.
    """
    kind = KINDS[thing.kind]
    row = np.full(TARGET_SIZE, -1, np.int16)
    row[TARGETS["kind"]] = KIND_NAMES.index(thing.kind)
    row[TARGETS["color"]] = COLOR_NAMES.index(thing.color)
    row[TARGETS["surface"]] = SURFACE_NAMES.index(thing.surface)
    if kind.axis:
        row[TARGETS["axis"]] = AXIS_NAMES.index(kind.axis)
        row[TARGETS["state"]] = AXES[kind.axis].values.index(thing.state)
    row[TARGETS["count"]] = thing.count
    for number, part in enumerate(PART_NAMES):
        if part in kind.parts:
            row[_FIRST_PART + number] = part in thing.parts
    row[LETTER_COLUMNS] = spell(thing.text)
    return row


def things(scene: Scene) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int16]]:
    """Boxes [n, 4] in pixels, visible shares [n] and targets [n, TARGET_SIZE].

    The scene's things in their order, and behind them the rug, where there is one.
    """
    boxes = [thing.box for thing in scene.things]
    visible = [thing.visible for thing in scene.things]
    rows = [target(thing) for thing in scene.things]
    if scene.stage.rug:
        x1, y1, x2, y2 = scene.stage.rug
        frame = (float(scene.width), float(scene.height))
        boxes.append((max(x1, 0.0), max(y1, 0.0), min(x2, frame[0]), min(y2, frame[1])))
        visible.append(1.0)
        row = np.full(TARGET_SIZE, -1, np.int16)
        row[TARGETS["kind"]] = KIND_NAMES.index(RUG)
        row[TARGETS["count"]] = 0
        row[LETTER_COLUMNS] = 0
        rows.append(row)
    n = len(boxes)
    return (
        np.array(boxes, np.float32).reshape(n, 4),
        np.array(visible, np.float32),
        np.array(rows, np.int16).reshape(n, TARGET_SIZE),
    )


def tables() -> dict[str, Any]:
    """What the runtime must know to say what it saw: names and slices, as JSON can hold them."""
    return {
        "kinds": [*(kind.nouns[0] for kind in KINDS.values()), RUG],
        "colors": list(COLOR_NAMES),
        "surfaces": list(SURFACE_NAMES),
        "features": {name: [part.start, part.stop] for name, part in FEATURES.items()},
    }
