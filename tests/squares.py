"""Pictures of coloured squares, and a model that finds them by looking: its answers are known."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from groundingme.datasets import Dataset
from groundingme.images import BytesImage
from groundingme.models import Model, Request
from groundingme.models.builtin.words import description
from groundingme.schema import Box, Generation, Sample

COLORS = {"red": (230, 30, 30), "blue": (30, 30, 230), "yellow": (235, 225, 20),
          "green": (20, 190, 40), "black": (10, 10, 10)}  # fmt: skip
BACKGROUND = (225, 225, 225)
SIZE = (320, 240)

Things = list[tuple[str, tuple[int, int, int, int]]]


def picture(name: str, things: Things, size: tuple[int, int] = SIZE) -> BytesImage:
    drawn = Image.new("RGB", size, BACKGROUND)
    for color, (x1, y1, x2, y2) in things:
        ImageDraw.Draw(drawn).rectangle((x1, y1, x2 - 1, y2 - 1), fill=COLORS[color])
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG")
    return BytesImage(name, buffer.getvalue())


def seen(pixels: np.ndarray, color: str) -> list[Box]:
    """Squares of one colour, from left to right."""
    far = np.abs(pixels.astype(int) - COLORS[color]).sum(axis=2)
    mask = far < 120
    columns = np.flatnonzero(mask.sum(axis=0) >= 4)
    found = []
    for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
        if len(run) >= 4:
            rows = np.flatnonzero(mask[:, run].sum(axis=1) >= 4)
            edges = (run[0], rows[0], run[-1] + 1, rows[-1] + 1)
            found.append(tuple(float(edge) for edge in edges))
    return found  # type: ignore[return-value]


Choice = Callable[[str, list[Box]], Box | None]


def by_side(said: str, found: list[Box]) -> Box | None:
    """The one that is meant; the first where no side is named."""
    return (found[-1] if "right" in said else found[0]) if found else None


def first(said: str, found: list[Box]) -> Box | None:
    """Deaf to "left" and "right"."""
    return found[0] if found else None


class Eyes(Model):
    """Finds "the COLOUR square", and chooses among several as it is told to."""

    coords = "abs"

    def __init__(self, name: str = "perfect", choose: Choice = by_side) -> None:
        self.name = f"eyes/{name}"
        self._choose = choose

    async def generate(self, request: Request) -> Generation:
        assert request.image is not None
        pixels = np.asarray(Image.open(io.BytesIO(request.image.data)).convert("RGB"))
        said = description(request.prompt).lower()
        color = next(one for one in COLORS if one in said)
        box = self._choose(said, seen(pixels, color))
        return Generation(
            id=request.id, trajectory=request.trajectory, text=json.dumps({"bbox_2d": box})
        )


def squares(n: int = 8, *, labels: bool = True) -> Dataset:
    """Pictures with two red squares, a blue and a yellow one; green is asked for and not there."""
    samples = []
    for at in range(n):
        x, y = 20 + 3 * at, 30 + 2 * at
        red, other = (x, y, x + 40, y + 40), (240, 150, 280, 190)
        blue, yellow = (100 + 2 * at, 170, 140 + 2 * at, 210), (150, 60, 190, 100 + at)
        image = picture(f"{at}.png", [("red", red), ("red", other), ("blue", blue),
                                      ("yellow", yellow)])  # fmt: skip
        asked = [
            ("the red square on the left", red, "Spatial"),
            ("the red square on the right", other, "Spatial"),
            ("a blue square", blue, "Discriminative"),
            ("a tiny yellow square", yellow, "Discriminative"),
            ("a green square", None, "Rejection"),
        ]
        for number, (said, box, l1) in enumerate(asked):
            target = tuple(map(float, box)) if box and labels else None
            samples.append(
                Sample(
                    id=f"{at}-{number}", description=said, target=target, width=SIZE[0],
                    height=SIZE[1], image=image, subtask_l1=l1 if labels else "",
                    subtask_l2={"Spatial": "Relationship"}.get(l1, "Appearance") if labels else "",
                )
            )  # fmt: skip
    return Dataset(name="squares", source="made by the test", samples=samples)
