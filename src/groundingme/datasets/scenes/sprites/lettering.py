"""A stroke font, so that no font file decides pixels: capitals and digits as a sign painter's."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from groundingme.datasets.scenes.sprites.outlines import Points, arc, loop, moved, stroke

WEIGHT = 0.17
"""Thickness of a stroke, in heights of a capital between its strokes' middles."""
GAP = 0.17
"""Free space between two letters."""

Path = list[tuple[float, float]]


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> Path:
    """Piece of an ellipse, clockwise degrees from the right (y points down)."""
    count = max(4, int(abs(stop - start) / 10))
    return [(x, y) for x, y in arc(cx, cy, rx, ry, start, stop, count).tolist()]


def _letters() -> dict[str, tuple[float, list[Path]]]:
    """Width and strokes of every letter, in heights of a capital; y points down from its top."""
    stem: Path = [(0, 0), (0, 1)]
    bowl: Path = [(0, 0), *_arc(0.27, 0.28, 0.29, 0.28, -90, 90), (0, 0.56)]
    six = _arc(0.3, 0.68, 0.3, 0.32, 0, 360)
    hook: Path = [(0.5, 0.0), (0.3, 0.1), (0.13, 0.27), (0.03, 0.48), (0.0, 0.68)]
    return {
        "A": (0.72, [[(0, 1), (0.36, 0), (0.72, 1)], [(0.14, 0.66), (0.58, 0.66)]]),
        "B": (
            0.58,
            [
                stem,
                [(0, 0), *_arc(0.28, 0.235, 0.24, 0.235, -90, 90), (0, 0.47)],
                [(0, 0.47), *_arc(0.3, 0.735, 0.28, 0.265, -90, 90), (0, 1)],
            ],
        ),
        "C": (0.64, [_arc(0.38, 0.5, 0.38, 0.5, -48, -312)]),
        "D": (0.62, [stem, [(0, 0), *_arc(0.2, 0.5, 0.42, 0.5, -90, 90), (0, 1)]]),
        "E": (0.5, [stem, [(0, 0), (0.5, 0)], [(0, 0.49), (0.42, 0.49)], [(0, 1), (0.5, 1)]]),
        "F": (0.5, [stem, [(0, 0), (0.5, 0)], [(0, 0.5), (0.42, 0.5)]]),
        "G": (
            0.7,
            [
                _arc(0.38, 0.5, 0.38, 0.5, -48, -325),
                [(0.7, 0.54), (0.7, 0.8)],
                [(0.7, 0.54), (0.42, 0.54)],
            ],
        ),
        "H": (0.62, [stem, [(0.62, 0), (0.62, 1)], [(0, 0.5), (0.62, 0.5)]]),
        "I": (0.0, [stem]),
        "J": (0.46, [[(0.46, 0), (0.46, 0.7), *_arc(0.23, 0.72, 0.23, 0.28, 0, 165)]]),
        "K": (0.62, [stem, [(0.58, 0), (0, 0.6)], [(0.2, 0.4), (0.62, 1)]]),
        "L": (0.48, [[(0, 0), (0, 1), (0.48, 1)]]),
        "M": (0.84, [[(0, 1), (0, 0), (0.42, 0.64), (0.84, 0), (0.84, 1)]]),
        "N": (0.64, [[(0, 1), (0, 0), (0.64, 1), (0.64, 0)]]),
        "O": (0.78, [_arc(0.39, 0.5, 0.39, 0.5, 0, 360)]),
        "P": (0.56, [stem, bowl]),
        "Q": (0.8, [_arc(0.39, 0.5, 0.39, 0.5, 0, 360), [(0.5, 0.7), (0.8, 1.04)]]),
        "R": (0.6, [stem, bowl, [(0.24, 0.56), (0.6, 1)]]),
        "S": (
            0.56,
            [
                [
                    *_arc(0.28, 0.245, 0.25, 0.245, -32, -262),
                    *_arc(0.27, 0.735, 0.29, 0.265, -82, 152),
                ]
            ],
        ),
        "T": (0.62, [[(0, 0), (0.62, 0)], [(0.31, 0), (0.31, 1)]]),
        "U": (0.6, [[(0, 0), (0, 0.66), *_arc(0.3, 0.68, 0.3, 0.32, 176, 4), (0.6, 0.66),
                     (0.6, 0)]]),
        "V": (0.7, [[(0, 0), (0.35, 1), (0.7, 0)]]),
        "W": (1.0, [[(0, 0), (0.25, 1), (0.5, 0.12), (0.75, 1), (1.0, 0)]]),
        "X": (0.64, [[(0, 0), (0.64, 1)], [(0.64, 0), (0, 1)]]),
        "Y": (0.66, [[(0, 0), (0.33, 0.5), (0.66, 0)], [(0.33, 0.5), (0.33, 1)]]),
        "Z": (0.6, [[(0, 0), (0.6, 0), (0, 1), (0.6, 1)]]),
        "0": (0.56, [_arc(0.28, 0.5, 0.28, 0.5, 0, 360)]),
        "1": (0.28, [[(0, 0.2), (0.26, 0), (0.26, 1)]]),
        "2": (0.58, [[*_arc(0.28, 0.28, 0.28, 0.28, -165, 32), (0.02, 1)], [(0, 1), (0.58, 1)]]),
        "3": (
            0.56,
            [_arc(0.26, 0.24, 0.24, 0.24, -155, 88), _arc(0.26, 0.735, 0.3, 0.265, -92, 155)],
        ),
        "4": (0.64, [[(0.46, 1), (0.46, 0), (0, 0.7), (0.64, 0.7)]]),
        "5": (
            0.56,
            [[(0.52, 0), (0.08, 0), (0.05, 0.46)], _arc(0.25, 0.67, 0.31, 0.33, -132, 150)],
        ),
        "6": (0.6, [six, hook]),
        "7": (0.56, [[(0, 0), (0.56, 0), (0.18, 1)]]),
        "8": (
            0.56,
            [_arc(0.28, 0.24, 0.23, 0.24, 0, 360), _arc(0.28, 0.74, 0.28, 0.26, 0, 360)],
        ),
        "9": (0.6, [[(0.6 - x, 1 - y) for x, y in part] for part in (six, hook)]),
    }  # fmt: skip


def _polygons(path: Path) -> list[Points]:
    """A stroke as polygons, none of which turns sharply or crosses itself."""
    p = np.array(path, dtype=np.float64)
    keep = np.concatenate([[True], (np.abs(p[1:] - p[:-1]) > 1e-6).any(axis=1)])
    p = p[keep]
    if np.abs(p[0] - p[-1]).max() < 1e-6:
        return [loop(p[:-1], WEIGHT)]
    step = p[1:] - p[:-1]
    step /= np.sqrt((step * step).sum(axis=1, keepdims=True))
    sharp = (step[1:] * step[:-1]).sum(axis=1) < 0.75
    ends = [0, *(np.flatnonzero(sharp) + 1).tolist(), len(p) - 1]
    return [stroke(p[a : b + 1], WEIGHT) for a, b in pairwise(ends)]


@lru_cache(maxsize=1)
def _font() -> dict[str, tuple[float, list[Points]]]:
    """Width of every letter and the polygons of its strokes."""
    return {
        letter: (width, [polygon for path in paths for polygon in _polygons(path)])
        for letter, (width, paths) in _letters().items()
    }


@lru_cache(maxsize=1024)
def write(text: str, width: float, height: float) -> tuple[Points, ...]:
    """Polygons of a text as large as fits a box of that size, whose middle is the origin."""
    font = _font()
    pen = 0.0
    strokes: list[Points] = []
    for letter in text:
        across, polygons = font[letter]
        strokes += [moved(polygon, pen + WEIGHT / 2, WEIGHT / 2) for polygon in polygons]
        pen += across + WEIGHT + GAP
    pen -= GAP
    tall = 1 + WEIGHT
    scale = min(width / pen, height / tall)
    # A long word may be condensed by a quarter instead of shrinking.
    lift = min(1.3, height / tall / scale)
    shift = (pen / 2, tall / 2)
    return tuple((polygon - shift) * (scale, scale * lift) for polygon in strokes)
