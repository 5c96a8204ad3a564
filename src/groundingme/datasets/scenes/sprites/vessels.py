"""Mug, bottle, bucket, flowerpot, candle, lamp."""

from __future__ import annotations

import numpy as np

from groundingme.datasets.scenes.sprites.outlines import (
    arc,
    ellipse,
    line,
    loft,
    moved,
    poly,
    rect,
    ring,
    rounded,
    smooth,
    stroke,
)
from groundingme.datasets.scenes.sprites.toolkit import (
    HOLLOW,
    IVORY,
    Sketch,
    mix,
    shine,
    veil,
)


def mug(s: Sketch) -> None:
    """With writing; may have a handle."""
    if s.has("handle"):
        loop = smooth(
            (0.36, -0.78), (0.56, -0.8), (0.68, -0.62), (0.64, -0.4), (0.5, -0.26), (0.34, -0.2),
            closed=False,
        )  # fmt: skip
        s.body(stroke(loop, 0.12))
        s.over(stroke(moved(loop[4:-4], 0.006, 0.02), 0.035), veil(34))
    wall = np.concatenate(
        [
            arc(0, -0.9, 0.42, 0.1, 180, 360),
            smooth((0.42, -0.86), (0.41, -0.4), (0.36, -0.08), closed=False),
            arc(0, -0.07, 0.34, 0.07, 4, 176),
            smooth((-0.36, -0.08), (-0.41, -0.4), (-0.42, -0.86), closed=False),
        ]
    )
    s.body(wall)
    s.pattern(-0.42, -0.86, 0.42, 0)
    s.shade(-0.42, -0.9, 0.42, 0)
    s.inside(rect(-0.5, -0.045, 0.5, 0.1), veil(40))
    s.over(ellipse(0, -0.895, 0.415, 0.098), s.edge)
    s.over(ellipse(0, -0.895, 0.405, 0.09), s.light)
    s.over(ellipse(0, -0.885, 0.36, 0.07), mix(s.base, HOLLOW, 0.72))
    s.label(0, -0.43, 0.42, 0.44)


def bottle(s: Sketch) -> None:
    """With writing; may have a cap."""
    side = [(0.1, -0.98), (0.095, -0.76), (0.13, -0.68), (0.24, -0.58), (0.27, -0.46)]
    half = smooth(*side, closed=False)
    foot = np.concatenate([half, arc(0.2, -0.07, 0.07, 0.07, 0, 90)])
    s.body(np.concatenate([foot, (foot * (-1, 1))[::-1]]))
    s.pattern(-0.27, -0.6, 0.27, 0)
    s.inside(rect(0.09, -1, 0.3, 0), veil(26))
    s.inside(rect(0.18, -1, 0.3, 0), veil(28))
    s.inside(line(-0.19, -0.5, -0.19, -0.1, 0.055), shine(105))
    s.inside(line(-0.05, -0.92, -0.05, -0.76, 0.04), shine(105))
    if s.has("cap"):
        s.solid(rounded(-0.14, -1.12, 0.14, -0.9, 0.03), s.metal, mix(s.metal, HOLLOW, 0.6))
        for x in (-0.09, -0.03, 0.03, 0.09):
            s.over(rect(x - 0.009, -1.08, x + 0.009, -0.92), veil(90))
        s.over(rect(0.06, -1.11, 0.13, -0.91), veil(40))
    else:
        s.body(rounded(-0.13, -1.0, 0.13, -0.92, 0.035))
        s.over(ellipse(0, -0.985, 0.085, 0.022), HOLLOW)
    s.label(0, -0.28, 0.3, 0.3)


def bucket(s: Sketch) -> None:
    """Full or empty; may have a bail, which is its handle."""
    if s.has("bail"):
        bow = arc(0, -0.86, 0.49, 0.62, 180, 360)
        s.solid(stroke(bow, 0.055), (112, 116, 124), (60, 62, 70))
        s.solid(rounded(-0.13, -1.52, 0.13, -1.42, 0.045), (196, 170, 130), (104, 84, 60))
    wall = np.concatenate(
        [
            arc(0, -0.87, 0.5, 0.13, 180, 360),
            poly((0.49, -0.82), (0.36, -0.07)),
            arc(0, -0.07, 0.35, 0.07, 4, 176),
            poly((-0.36, -0.07), (-0.49, -0.82)),
        ]
    )
    s.body(wall)
    s.pattern(-0.5, -0.8, 0.5, 0)
    s.shade(-0.45, -0.8, 0.46, 0)
    s.over(ellipse(0, -0.87, 0.495, 0.127), s.edge)
    s.over(ellipse(0, -0.87, 0.48, 0.116), s.light)
    if s.thing.state == "full":
        s.over(ellipse(0, -0.865, 0.44, 0.098), (60, 128, 178))
        s.over(ellipse(0, -0.862, 0.425, 0.09), (156, 214, 244))
        s.over(ellipse(0.06, -0.85, 0.3, 0.055), (196, 234, 252))
        s.over(line(-0.28, -0.885, -0.02, -0.905, 0.022), shine(240))
        s.over(line(0.06, -0.85, 0.27, -0.858, 0.022), shine(240))
    else:
        s.over(ellipse(0, -0.865, 0.44, 0.098), HOLLOW)
        s.over(
            smooth((-0.42, -0.86), (0, -0.83), (0.42, -0.86), (0, -0.768)), mix(s.base, HOLLOW, 0.6)
        )
    if s.has("bail"):
        for x in (-0.46, 0.46):
            s.over(ellipse(x, -0.84, 0.045), (84, 88, 96))


def flowerpot(s: Sketch) -> None:
    """A pot with leaves; may have a flower."""
    leaf, rib = (104, 142, 92), (66, 98, 62)

    def blade(x1: float, y1: float, x2: float, y2: float, fat: float) -> None:
        dx, dy = x2 - x1, y2 - y1
        nx, ny = -dy * fat, dx * fat
        mx, my = x1 + 0.55 * dx, y1 + 0.55 * dy
        outline = smooth(
            (x1, y1), (mx + nx, my + ny), (x2 - 0.04 * dx, y2 - 0.04 * dy), (x2, y2),
            (x2 - 0.04 * dx, y2 - 0.04 * dy), (mx - nx, my - ny),
        )  # fmt: skip
        s.solid(outline, leaf, rib)
        s.over(line(x1 + 0.2 * dx, y1 + 0.2 * dy, x1 + 0.85 * dx, y1 + 0.85 * dy, 0.016), rib)

    if s.has("flower"):
        s.solid(line(0, -0.5, 0.02, -1.05, 0.045), rib)
    blade(0.0, -0.54, -0.16, -0.96, 0.24)
    blade(0.02, -0.54, 0.2, -1.0, 0.24)
    blade(-0.05, -0.54, -0.42, -0.78, 0.24)
    blade(0.05, -0.54, 0.44, -0.8, 0.24)
    if s.has("flower"):
        for x, y in ((0, -0.13), (0.124, -0.04), (0.076, 0.105), (-0.076, 0.105), (-0.124, -0.04)):
            s.solid(ellipse(0.02 + x, -1.14 + y, 0.09), IVORY, (170, 128, 132))
        s.solid(ellipse(0.02, -1.14, 0.085), (226, 168, 50), (150, 102, 30))
    s.body(loft(-0.33, 0.33, -0.5, -0.25, 0.25, 0, 0.03))
    s.pattern(-0.33, -0.46, 0.33, 0)
    s.shade(-0.33, -0.5, 0.33, 0)
    s.body(rounded(-0.4, -0.62, 0.4, -0.44, 0.03))
    s.shade(-0.4, -0.66, 0.4, -0.4)
    s.over(rect(-0.33, -0.445, 0.33, -0.405), veil(46))


def candle(s: Sketch) -> None:
    """Burning or not; may have a holder."""
    burning = s.thing.state == "burning"
    if burning:
        s.glow(0, -1.2, 0.62, 0.62, (255, 214, 110, 200))
    if s.has("holder"):
        tin, rim = (152, 150, 148), (84, 82, 82)
        s.solid(ring(ellipse(0.46, -0.1, 0.13), ellipse(0.46, -0.1, 0.07)), tin, rim)
        s.solid(loft(-0.42, 0.42, -0.14, -0.3, 0.3, 0, 0.03), tin, rim)
        s.inside(rect(0.12, -0.2, 0.5, 0.1), veil(46))
        s.inside(line(-0.32, -0.09, -0.02, -0.09, 0.026), shine(130))
    s.solid(line(0, -0.96, 0.012, -1.1, 0.035), (58, 50, 48))
    top = -0.96
    wax = np.concatenate(
        [
            arc(0, top, 0.19, 0.045, 180, 360),
            poly((0.19, -0.03)) if not s.has("holder") else poly((0.19, -0.1)),
            poly((-0.19, -0.03)) if not s.has("holder") else poly((-0.19, -0.1)),
        ]
    )
    foot = 0.0 if not s.has("holder") else -0.1
    wax[-2:, 1] = foot
    s.body(wax)
    if s.thing.surface == "striped":
        for at in range(5):
            y = -1.02 + 0.24 * at
            s.inside(poly((-0.2, y), (0.2, y + 0.16), (0.2, y + 0.26), (-0.2, y + 0.1)), s.accent)
    s.shade(-0.19, top, 0.19, foot)
    s.over(ellipse(0, top, 0.188, 0.043), s.edge)
    s.over(ellipse(0, top, 0.178, 0.036), s.light)
    s.body(
        smooth((-0.19, -0.95), (-0.1, -0.95), (-0.1, -0.8), (-0.145, -0.73), (-0.19, -0.8)), s.light
    )
    if s.has("holder"):
        s.over(loft(-0.23, 0.23, -0.19, -0.21, 0.21, -0.09, 0.02), (84, 82, 82))
        s.over(loft(-0.22, 0.22, -0.18, -0.2, 0.2, -0.1, 0.02), (186, 184, 180))
    s.over(line(0, top, 0.012, -1.1, 0.035), (58, 50, 48))
    if burning:
        s.solid(
            smooth((0, -1.02), (0.1, -1.13), (0.06, -1.28), (0.01, -1.44), (-0.07, -1.28),
                   (-0.1, -1.13)),
            (250, 150, 30), (214, 96, 14),
        )  # fmt: skip
        s.over(smooth((0, -1.05), (0.065, -1.13), (0, -1.32), (-0.065, -1.13)), (255, 222, 90))
        s.over(ellipse(0, -1.115, 0.03, 0.05), (255, 252, 226))


def lamp(s: Sketch) -> None:
    """A table lamp, lit or not; may have a pull cord."""
    lit = s.thing.state == "lit"
    stand, rim = (128, 124, 122), (72, 68, 70)
    if lit:
        s.glow(0, -0.62, 0.95, 0.8, (255, 226, 130, 215))
    s.solid(rounded(-0.045, -0.6, 0.045, -0.04, 0.02), stand, rim)
    s.solid(ellipse(0, -0.22, 0.085, 0.1), stand, rim)
    s.inside(ellipse(0.05, -0.2, 0.06, 0.1), veil(50))
    s.solid(np.concatenate([arc(0, -0.06, 0.27, 0.08, 180, 360), poly((0.27, 0), (-0.27, 0))]),
            stand, rim)  # fmt: skip
    s.inside(rect(0.06, -0.2, 0.4, 0.1), veil(44))
    s.inside(line(-0.17, -0.055, -0.02, -0.085, 0.022), shine(120))
    if s.has("cord"):
        s.solid(line(0.3, -0.44, 0.3, -0.2, 0.034), (92, 84, 80))
        s.solid(ellipse(0.3, -0.17, 0.055, 0.062), (92, 84, 80), (48, 42, 42))
    bulb = (255, 246, 190) if lit else (150, 152, 158)
    if lit:
        s.solid(ellipse(0, -0.43, 0.13, 0.12), bulb, (236, 190, 70))
    else:
        s.solid(ellipse(0, -0.43, 0.13, 0.12), bulb, (86, 88, 96))
        s.inside(ellipse(-0.04, -0.38, 0.03), shine(150))
    wide, narrow = 0.46, 0.25
    s.body(
        np.concatenate(
            [
                arc(0, -0.96, narrow, 0.04, 180, 360),
                poly((wide, -0.46)),
                arc(0, -0.46, wide, 0.06, 0, 180),
            ]
        )
    )
    s.pattern(-wide, -0.96, wide, -0.42, upright=False)
    if lit:
        s.inside(ellipse(0, -0.46, 0.34, 0.18), (255, 244, 170, 70))
        s.inside(ellipse(0, -0.44, 0.2, 0.12), (255, 250, 200, 150))
    else:
        s.shade(-0.4, -1, 0.4, -0.42)
    lip = arc(0, -0.46, wide - 0.01, 0.055, 4, 176)
    s.over(stroke(lip, 0.035), (255, 238, 150) if lit else s.edge)
    s.solid(ellipse(0, -1.0, 0.04, 0.045), stand, rim)
