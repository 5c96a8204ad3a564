"""Shapes, colours and the sketch that a kind's drawing fills."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from groundingme.datasets.scenes.catalog import COLORS
from groundingme.datasets.scenes.scene import Thing
from groundingme.datasets.scenes.sprites import lettering
from groundingme.datasets.scenes.sprites.outlines import (
    Points,
    arc,
    ellipse,
    line,
    moved,
    poly,
    rect,
    rounded,
    smooth,
    stroke,
)

RGB: TypeAlias = tuple[int, int, int]
RGBA: TypeAlias = tuple[int, int, int, int]
Role: TypeAlias = Literal["solid", "inside", "over", "glow"]


class Shape(NamedTuple):
    """One polygon of a thing, painted in order.

    Attributes:
        points: Its corners, (N, 2).
        fill: Red, green, blue, alpha.
        role: `solid` belongs to the silhouette; `inside` is cut to the last solid shape; `over`
            lies on what is there; `glow` is a soft light behind the thing, no part of it.
        edge: Colour of its outline, or None.
    """

    points: Points
    fill: RGBA
    role: Role
    edge: RGB | None = None


STEEL: RGB = (176, 182, 190)
CHARCOAL: RGB = (66, 68, 76)
CREAM: RGB = (252, 243, 220)
IVORY: RGB = (250, 246, 234)
GOLD: RGB = (222, 176, 62)
GLASS: RGB = (198, 220, 232)
HOLLOW: RGB = (48, 42, 44)

ACCENTS: dict[str, RGB] = {
    "red": CREAM,
    "orange": (122, 50, 8),
    "yellow": (136, 84, 8),
    "green": CREAM,
    "blue": CREAM,
    "purple": CREAM,
    "pink": (140, 44, 96),
    "brown": CREAM,
    "black": CREAM,
    "white": (84, 98, 122),
    "grey": (56, 60, 70),
}
"""Colour of stripes, dots, checks and writing on each base colour."""


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """`one` with a share in [0, 1] of `other`."""
    r, g, b = (round(a + (z - a) * share) for a, z in zip(one, other, strict=True))
    return (r, g, b)


def luma(color: RGB) -> float:
    """Brightness in [0, 255]."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def veil(alpha: int) -> RGBA:
    """Translucent shade."""
    return (18, 12, 32, alpha)


def shine(alpha: int) -> RGBA:
    """Translucent light."""
    return (255, 255, 255, alpha)


class Sketch:
    """Collects the shapes of one thing in its own frame: not leaning, not mirrored.

    Attributes:
        thing: What is drawn.
        shapes: What has been drawn so far.
        base: The thing's colour.
        edge: A dark shade of it, for outlines.
        dark: A darker shade.
        light: A lighter shade.
        accent: Colour of patterns and writing.
        metal: A grey that stands out from the base.
    """

    def __init__(self, thing: Thing) -> None:
        self.thing = thing
        self.shapes: list[Shape] = []
        base = COLORS[thing.color]
        self.base = base
        bright = luma(base) > 200
        self.edge = mix(base, (16, 12, 30), 0.4 if bright else 0.45)
        self.dark = mix(base, (16, 10, 40), 0.16 if bright else 0.26)
        self.light = mix(base, (255, 255, 255), 0.3)
        self.accent = ACCENTS[thing.color]
        self.metal = STEEL if luma(base) < 132 else CHARCOAL

    def has(self, part: str) -> bool:
        """Whether the thing has that optional part."""
        return part in self.thing.parts

    def solid(self, points: Points, fill: RGB, edge: RGB | None = None) -> None:
        """A shape of the silhouette."""
        self.shapes.append(Shape(points, (*fill, 255), "solid", edge))

    def body(self, points: Points, fill: RGB | None = None) -> None:
        """A shape of the silhouette in the thing's colour, with its outline."""
        self.solid(points, fill or self.base, self.edge)

    def inside(self, points: Points, fill: RGB | RGBA) -> None:
        """Paint cut to the last solid shape; none may come `over` it in between."""
        if self.shapes[-1].role not in ("solid", "inside"):
            raise ValueError(f"{self.thing.kind}: inside after {self.shapes[-1].role}")
        rgba = fill if len(fill) == 4 else (*fill, 255)
        last = self.shapes[-1]
        if last.role == "solid" and rgba[3] < 255:
            # On one flat colour the result is known, and opaque paint is cheaper.
            rgba = (*mix(last.fill[:3], rgba[:3], rgba[3] / 255), 255)
        self.shapes.append(Shape(points, rgba, "inside"))

    def over(self, points: Points, fill: RGB | RGBA) -> None:
        """Paint on top of all so far; it must not leave the silhouette by meaning to."""
        rgba = fill if len(fill) == 4 else (*fill, 255)
        self.shapes.append(Shape(points, rgba, "over"))

    def glow(self, cx: float, cy: float, rx: float, ry: float, fill: RGBA) -> None:
        """A soft light behind the thing."""
        self.shapes.append(Shape(ellipse(cx, cy, rx, ry), fill, "glow"))

    def shade(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Light from the left on an upright round body in that rectangle."""
        w = x2 - x1
        mild = 0.7 if self.thing.color == "yellow" else 1.0
        self._nested(
            rect(x1 + 0.66 * w, y1 - 0.1, x2 + 0.1, y2 + 0.1),
            rect(x1 + 0.84 * w, y1 - 0.1, x2 + 0.1, y2 + 0.1),
            round(28 * mild),
        )
        y = 0.16 * (y2 - y1)
        self.inside(line(x1 + 0.15 * w, y1 + y, x1 + 0.15 * w, y2 - y, w / 11), shine(88))

    def _nested(self, whole: Points, part: Points, alpha: int) -> None:
        """A veil, and a second one on a part of it."""
        flat = self.shapes[-1].role == "solid"
        self.inside(whole, veil(alpha))
        shaded = self.shapes[-1].fill[:3]
        self.inside(part, mix(shaded, veil(0)[:3], alpha / 255) if flat else veil(alpha))

    def bulge(self, cx: float, cy: float, rx: float, ry: float) -> None:
        """Light from the upper left on a ball-like body."""
        mild = 0.7 if self.thing.color == "yellow" else 1.0
        outer = arc(cx, cy, 1.12 * rx, 1.12 * ry, -62, 152)
        wide, narrow = (
            np.concatenate([outer, arc(cx - shift * rx, cy - shift * ry, rx, ry, 152, -62)])
            for shift in (0.3, 0.14)
        )
        self._nested(wide, narrow, round(27 * mild))
        self.inside(ellipse(cx - 0.4 * rx, cy - 0.46 * ry, 0.2 * rx, 0.16 * ry), shine(150))

    def pattern(self, x1: float, y1: float, x2: float, y2: float, upright: bool = False) -> None:
        """The thing's surface, laid inside the last solid shape, which that rectangle holds.

        `upright` turns stripes and grain from lying to standing.
        """
        surface = self.thing.surface
        if surface == "striped":
            self._stripes(x1, y1, x2, y2, upright)
        elif surface == "dotted":
            self._dots(x1, y1, x2, y2)
        elif surface == "checked":
            self._checks(x1, y1, x2, y2)
        elif surface == "wooden":
            self._grain(x1, y1, x2, y2, upright)
        elif surface == "metal":
            self._sheen(x1, y1, x2, y2)

    def _stripes(self, x1: float, y1: float, x2: float, y2: float, upright: bool) -> None:
        size = x2 - x1 if upright else y2 - y1
        count = max(2, round(size / 0.25))
        pitch = size / count
        for at in range(count):
            start = (at + 0.33) * pitch
            stop = start + 0.36 * pitch
            if upright:
                self.inside(rect(x1 + start, y1 - 0.1, x1 + stop, y2 + 0.1), self.accent)
            else:
                self.inside(rect(x1 - 0.1, y1 + start, x2 + 0.1, y1 + stop), self.accent)

    def _dots(self, x1: float, y1: float, x2: float, y2: float) -> None:
        rows = max(2, round((y2 - y1) / 0.2))
        columns = max(2, round((x2 - x1) / 0.23))
        dx, dy = (x2 - x1) / columns, (y2 - y1) / rows
        radius = 0.31 * min(dx, dy)
        for row in range(rows):
            for column in range(columns + row % 2):
                x = x1 + (column + (0 if row % 2 else 0.5)) * dx
                self.inside(ellipse(x, y1 + (row + 0.5) * dy, radius), self.accent)

    def _checks(self, x1: float, y1: float, x2: float, y2: float) -> None:
        rows = max(2, round((y2 - y1) / 0.17))
        columns = max(3, round((x2 - x1) / 0.17))
        dx, dy = (x2 - x1) / columns, (y2 - y1) / rows
        for row in range(rows):
            for column in range(row % 2, columns, 2):
                x, y = x1 + column * dx, y1 + row * dy
                cell = rect(x + 0.04 * dx, y + 0.04 * dy, x + 0.96 * dx, y + 0.96 * dy)
                self.inside(cell, self.accent)

    def _grain(self, x1: float, y1: float, x2: float, y2: float, upright: bool) -> None:
        """Boards of alternating tone with grain in them."""
        a1, a2, b1, b2 = (y1, y2, x1, x2) if upright else (x1, x2, y1, y2)
        count = max(1, round((b2 - b1) / 0.2))
        pitch = (b2 - b1) / count
        pale, seam = (174, 120, 70), (66, 36, 16)

        def lay(points: Points, fill: RGB | RGBA) -> None:
            self.inside(points[:, ::-1] if upright else points, fill)

        for board in range(count):
            top = b1 + board * pitch
            if board % 2 == 0:
                lay(rect(a1 - 0.1, top, a2 + 0.1, top + pitch), (*pale, 225))
            for at in (0.32, 0.7):
                wave = 0.1 * pitch * (1 if board % 2 else -1)
                y = top + at * pitch
                third = (a2 - a1) / 3
                lay(
                    stroke(
                        smooth(
                            (a1 - 0.02, y), (a1 + third, y + wave), (a2 - third, y - wave),
                            (a2 + 0.02, y), closed=False, steps=5,
                        ),
                        0.02,
                    ),
                    (*seam, 190),
                )  # fmt: skip
            if board:
                lay(rect(a1 - 0.1, top - 0.013, a2 + 0.1, top + 0.013), (*seam, 230))

    def _sheen(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Slanting bands of light, and rivets in the corners."""
        w, h = x2 - x1, y2 - y1
        slant = 0.35 * h

        def band(start: float, stop: float, fill: RGBA) -> None:
            a, b = x1 - slant + start * (w + slant), x1 - slant + stop * (w + slant)
            self.inside(poly((a + slant, y1), (b + slant, y1), (b, y2), (a, y2)), fill)

        band(0.14, 0.34, shine(165))
        band(0.39, 0.45, shine(165))
        band(0.62, 0.8, (30, 36, 50, 80))
        band(0.84, 0.9, shine(120))
        inset = 0.12 * min(w, h)
        for x in (x1 + inset, x2 - inset):
            for y in (y1 + inset, y2 - inset):
                self.inside(ellipse(x, y, 0.022), (60, 64, 74, 255))

    def write(
        self, cx: float, cy: float, width: float, height: float, fill: RGB | None = None
    ) -> None:
        """The thing's text in a box about that middle; never mirrored."""
        for glyph in lettering.write(self.thing.text, width, height):
            shape = glyph * (-1.0, 1.0) if self.thing.flip else glyph
            self.over(moved(shape, cx, cy), fill or self.accent)

    def label(self, cx: float, cy: float, width: float, height: float) -> None:
        """The thing's text, on a patch of its plain colour where a pattern would disturb it."""
        if not self.thing.text:
            return
        if self.thing.surface != "plain":
            x, y = width / 2 + 0.06, height / 2 + 0.06
            self.over(rounded(cx - x - 0.02, cy - y - 0.02, cx + x + 0.02, cy + y + 0.02, 0.1),
                      self.accent)  # fmt: skip
            self.over(rounded(cx - x, cy - y, cx + x, cy + y, 0.09), self.base)
        self.write(cx, cy, width, height)
