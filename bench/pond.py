"""Draws the picture of docs/build-suppression.md: a pond, and what each policy keeps of it.

    python bench/pond.py docs/build-suppression.png

The boxes are written by hand, as a detector asked for `duck`, `bird` and `boat` gives them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from groundingme.build.policies import draw_policies

SIZE = (640, 420)
FINE = 3
"""Drawn so many times larger, then scaled down for smooth edges."""

DUCKS = [(80, 240, 1.0), (230, 300, 1.1), (318, 292, 1.0), (470, 340, 1.0), (420, 186, 0.72)]
"""Middle of each body, and size. The last one sits in the boat."""
HERON = (575, 150)

FOUND = [
    ("duck", (37, 195, 127, 271), 0.58),
    ("bird", (36, 193, 128, 273), 0.83),
    ("duck", (183, 250, 281, 334), 0.77),
    ("duck", (181, 257, 283, 336), 0.61),
    ("duck", (275, 247, 365, 323), 0.64),
    ("duck", (178, 243, 369, 340), 0.79),
    ("duck", (427, 295, 517, 371), 0.72),
    ("duck", (388, 153, 454, 209), 0.49),
    ("bird", (548, 69, 612, 210), 0.88),
    ("boat", (340, 150, 530, 255), 0.91),
]


def ellipse(draw: ImageDraw.ImageDraw, x: float, y: float, w: float, h: float, ink: str) -> None:
    draw.ellipse([FINE * v for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)], fill=ink)


def shape(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], ink: str) -> None:
    draw.polygon([(FINE * x, FINE * y) for x, y in points], fill=ink)


def duck(draw: ImageDraw.ImageDraw, x: float, y: float, size: float, *, swims: bool = True) -> None:
    if swims:
        ellipse(draw, x, y + 24 * size, 96 * size, 14 * size, "#5fa3c4")
    shape(
        draw,
        [
            (x - 44 * size, y - 16 * size),
            (x - 20 * size, y - 8 * size),
            (x - 26 * size, y + 12 * size),
        ],
        "#7a5c3a",
    )
    ellipse(draw, x - 4 * size, y + 6 * size, 74 * size, 40 * size, "#8d6b45")
    ellipse(draw, x - 8 * size, y + 4 * size, 44 * size, 22 * size, "#a98259")
    ellipse(draw, x + 22 * size, y - 8 * size, 20 * size, 34 * size, "#1f6b4f")
    ellipse(draw, x + 24 * size, y - 26 * size, 29 * size, 27 * size, "#23795a")
    shape(
        draw,
        [
            (x + 35 * size, y - 31 * size),
            (x + 46 * size, y - 23 * size),
            (x + 34 * size, y - 19 * size),
        ],
        "#f4b740",
    )
    ellipse(draw, x + 27 * size, y - 29 * size, 5 * size, 5 * size, "#101828")


def heron(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    for leg in (-4, 8):
        shape(
            draw,
            [(x + leg, y + 10), (x + leg + 3, y + 10), (x + leg + 3, y + 60), (x + leg, y + 60)],
            "#5d4a3a",
        )
    ellipse(draw, x, y, 56, 34, "#8fa1b5")
    shape(draw, [(x - 30, y + 20), (x - 8, y - 12), (x + 18, y + 8)], "#6d8096")
    shape(draw, [(x + 14, y + 4), (x + 26, y - 4), (x + 20, y - 62), (x + 12, y - 62)], "#b9c6d3")
    ellipse(draw, x + 14, y - 66, 24, 20, "#dde4eb")
    shape(draw, [(x + 4, y - 74), (x + 4, y - 62), (x - 26, y - 62)], "#f4b740")
    ellipse(draw, x + 10, y - 68, 4, 4, "#101828")


def pond() -> Image.Image:
    canvas = Image.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE), "#8cc3dc")
    draw = ImageDraw.Draw(canvas)
    shape(draw, [(0, 0), (640, 0), (640, 70), (0, 92)], "#d6ebf5")
    shape(
        draw, [(0, 92), (120, 66), (300, 84), (470, 60), (640, 72), (640, 120), (0, 128)], "#7fa46b"
    )
    for x, y, w in (
        (120, 170, 130),
        (300, 205, 170),
        (90, 350, 180),
        (380, 390, 220),
        (560, 300, 120),
    ):
        ellipse(draw, x, y, w, 7, "#a6d3e6")
    for x in (520, 534, 549, 606, 619, 630):
        shape(draw, [(x, 215), (x + 4, 215), (x + 8, 110)], "#4d7a43")
    ellipse(draw, 580, 212, 130, 22, "#6b8f57")
    heron(draw, *HERON)
    ellipse(draw, 435, 252, 190, 16, "#5fa3c4")
    duck(draw, *DUCKS[-1], swims=False)
    shape(draw, [(340, 200), (530, 200), (500, 252), (372, 252)], "#b5523b")
    shape(draw, [(340, 200), (530, 200), (524, 212), (347, 212)], "#d9826c")
    shape(draw, [(484, 200), (490, 200), (524, 152), (518, 150)], "#6b4a2f")
    for x, y, size in DUCKS[:-1]:
        duck(draw, x, y, size)
    return canvas.resize(SIZE, Image.Resampling.LANCZOS)


def main() -> None:
    labels, boxes, scores = zip(*FOUND, strict=True)
    sheet = draw_policies(pond(), list(boxes), labels, list(scores))
    sheet.save(Path(sys.argv[1]), optimize=True)


if __name__ == "__main__":
    main()
