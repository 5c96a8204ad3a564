"""Contact sheets: every kind in every variety, for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from groundingme.datasets.scenes.catalog import AXES, KINDS, texts
from groundingme.datasets.scenes.render import draw
from groundingme.datasets.scenes.scene import Scene, Stage, Thing

if TYPE_CHECKING:
    from PIL.Image import Image


def varieties(name: str) -> Iterator[Thing]:
    """Things of one kind that show each colour, surface, part, state, text and count."""
    kind = KINDS[name]
    states = AXES[kind.axis].values if kind.axis else ("",)
    writing = texts(kind)
    counts = range(kind.count.least, kind.count.most + 1) if kind.count else range(1)
    parts = tuple(kind.parts)
    every = max(len(kind.colors), len(states) * (2 ** len(parts)), len(counts))
    for at in range(max(every, 12)):
        surface = kind.surfaces[at % len(kind.surfaces)]
        color = kind.colors[at % len(kind.colors)]
        color = {"wooden": "brown", "metal": "grey"}.get(surface, color)
        have = tuple(part for i, part in enumerate(parts) if (at + 1 >> i) & 1)
        state = states[(at // 2) % len(states)]
        yield Thing(
            kind=name, color=color, surface=surface, parts=have, state=state,
            text=writing[(at * 7) % len(writing)] if writing and at % 2 == 0 else "",
            count=counts[at % len(counts)], flip=at % 3 == 2,
            lean={"tilted": 20.0, "upright": 0.0}.get(state, 0.0),
        )  # fmt: skip


def contact_sheet(height: float = 96, columns: int = 12, enlarge: int = 1) -> Image:
    """One row of varieties a kind, each `height` pixels tall, the whole enlarged."""
    import msgspec
    from PIL import Image

    across, down = int(2.3 * height), int(1.9 * height)
    things = []
    for row, name in enumerate(KINDS):
        for column, thing in enumerate(varieties(name)):
            if column < columns:
                x, y = (column + 0.5) * across, (row + 0.85) * down
                y -= 0.35 * height if KINDS[name].floats else 0
                things.append(msgspec.structs.replace(thing, x=x, y=y, height=height))
    stage = Stage(name="wall", seed=4)
    scene = Scene(
        width=columns * across, height=len(KINDS) * down, stage=stage, things=tuple(things)
    )
    sheet = draw(scene)
    size = (sheet.width * enlarge, sheet.height * enlarge)
    return sheet.resize(size, Image.Resampling.NEAREST)


def scene_sheet(scenes: Sequence[Scene], columns: int = 4, width: int = 512) -> Image:
    """Scenes in rows, each scaled to fit a cell of `width` x 3/4 `width` pixels."""
    from PIL import Image

    cell = (width, width * 3 // 4)
    rows = -(-len(scenes) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), (255, 255, 255))
    for at, scene in enumerate(scenes):
        picture = draw(scene)
        picture.thumbnail(cell)
        left = at % columns * cell[0] + (cell[0] - picture.width) // 2
        top = at // columns * cell[1] + (cell[1] - picture.height) // 2
        sheet.paste(picture, (left, top))
    return sheet
