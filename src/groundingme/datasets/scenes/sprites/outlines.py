"""Outlines: polygons as arrays of corners, (N, 2).

Lengths are in units of the body's height: the origin is the middle of the foot, y points down, so
the body lies between y = -1 and y = 0. Angles are degrees, clockwise from the right. Only
arithmetic that IEEE 754 defines to the last bit touches a point; sines are rounded first, so that
pixels are the same on every machine. Results are remembered: never change one in place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]
"""Corners of a polygon or of a path, (N, 2)."""


@lru_cache(maxsize=512)
def _turns(start: float, stop: float, count: int) -> Points:
    """Points on the unit circle, (count, 2), rounded beyond the doubts of a sine's last bit."""
    angles = np.deg2rad(np.linspace(start, stop, count))
    circle: Points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.rint(circle * 2**24) / 2**24


@lru_cache(maxsize=4096)
def arc(
    cx: float, cy: float, rx: float, ry: float, start: float, stop: float, count: int = 0
) -> Points:
    """An open piece of an ellipse."""
    count = count or max(6, int(abs(stop - start) / (7 if rx + ry > 0.3 else 14)))
    return moved(_turns(start, stop, count) * np.array((rx, ry)), cx, cy)


@lru_cache(maxsize=4096)
def ellipse(cx: float, cy: float, rx: float, ry: float | None = None) -> Points:
    """A whole ellipse; a circle without `ry`."""
    ry = rx if ry is None else ry
    size = rx + ry
    count = 64 if size > 0.5 else 40 if size > 0.2 else 20
    return moved(_turns(0, 360 - 360 / count, count) * np.array((rx, ry)), cx, cy)


def moved(points: Points, dx: float, dy: float) -> Points:
    """The points elsewhere."""
    there: Points = points + np.array((dx, dy))
    return there


@lru_cache(maxsize=4096)
def poly(*corners: tuple[float, float]) -> Points:
    """A polygon from its corners."""
    return np.array(corners, dtype=np.float64)


def rect(x1: float, y1: float, x2: float, y2: float) -> Points:
    """An upright rectangle."""
    return poly((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def rounded(x1: float, y1: float, x2: float, y2: float, radius: float) -> Points:
    """An upright rectangle with round corners."""
    return loft(x1, x2, y1, x1, x2, y2, radius)


@lru_cache(maxsize=2048)
def loft(
    top1: float, top2: float, y1: float, foot1: float, foot2: float, y2: float, radius: float
) -> Points:
    """A trapezoid with level top and foot and round corners."""
    n = 5 if radius < 0.04 else 9
    r = radius
    return np.concatenate(
        [
            moved(_turns(180, 270, n) * r, top1 + r, y1 + r),
            moved(_turns(270, 360, n) * r, top2 - r, y1 + r),
            moved(_turns(0, 90, n) * r, foot2 - r, y2 - r),
            moved(_turns(90, 180, n) * r, foot1 + r, y2 - r),
        ]
    )


@lru_cache(maxsize=16)
def _spline(steps: int) -> tuple[Points, ...]:
    """Weights of four neighbours along one piece of a Catmull-Rom curve, each (steps, 1)."""
    t = (np.arange(steps) / steps)[:, None]
    return (
        -0.5 * t + t * t - 0.5 * t * t * t,
        1 - 2.5 * t * t + 1.5 * t * t * t,
        0.5 * t + 2 * t * t - 1.5 * t * t * t,
        -0.5 * t * t + 0.5 * t * t * t,
    )


@lru_cache(maxsize=2048)
def smooth(*knots: tuple[float, float], closed: bool = True, steps: int = 8) -> Points:
    """A smooth curve through the knots, (N, 2)."""
    p = np.array(knots, dtype=np.float64)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = (weight[None] for weight in _spline(steps))
    curve = p[:-3, None] * a + p[1:-2, None] * b + p[2:-1, None] * c + p[3:, None] * d
    flat: Points = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, p[-2:-1]])


def stroke(path: Points, width: float) -> Points:
    """A line of that width with round ends; `path` must not turn sharply or cross itself."""
    return _stroke(path.tobytes(), width)


@lru_cache(maxsize=2048)
def _stroke(path_bytes: bytes, width: float) -> Points:
    path = np.frombuffer(path_bytes).reshape(-1, 2)
    half = width / 2
    step = path[1:] - path[:-1]
    step = step / np.sqrt((step * step).sum(axis=1, keepdims=True))
    normal = step[:, ::-1] * (-1.0, 1.0)
    side = np.empty_like(path)
    side[0], side[-1] = normal[0], normal[-1]
    if len(path) > 2:
        bend = (normal[1:] * normal[:-1]).sum(axis=1, keepdims=True)
        side[1:-1] = (normal[1:] + normal[:-1]) / np.maximum(1 + bend, 0.6)
    cap = _turns(0, 180, 9)[1:-1]
    tail = path[-1] + half * (cap[:, :1] * normal[-1] + cap[:, 1:] * step[-1])
    head = path[0] + half * (-cap[:, :1] * normal[0] - cap[:, 1:] * step[0])
    return np.concatenate([path + side * half, tail, (path - side * half)[::-1], head])


def loop(path: Points, width: float) -> Points:
    """A closed line of that width; the last point of `path` is not the first again."""
    step = np.roll(path, -1, axis=0) - path
    step = step / np.sqrt((step * step).sum(axis=1, keepdims=True))
    normal = step[:, ::-1] * (-1.0, 1.0)
    before = np.roll(normal, 1, axis=0)
    bend = (normal * before).sum(axis=1, keepdims=True)
    side = (normal + before) / np.maximum(1 + bend, 0.6) * (width / 2)
    return ring(path + side, path - side)


@lru_cache(maxsize=4096)
def line(x1: float, y1: float, x2: float, y2: float, width: float) -> Points:
    """A straight line of that width with round ends."""
    return stroke(poly((x1, y1), (x2, y2)), width)


def ring(outer: Points, inner: Points) -> Points:
    """What lies between two closed outlines, as one polygon."""
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
