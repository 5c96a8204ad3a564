"""Chair, sign, house, clock, die, dresser."""

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
    CHARCOAL,
    GLASS,
    HOLLOW,
    IVORY,
    RGB,
    Sketch,
    mix,
    shine,
    veil,
)


def chair(s: Sketch) -> None:
    """Seen from the front; may have armrests and a cushion."""
    for x in (-0.24, 0.24):
        s.body(loft(x - 0.035, x + 0.035, -0.48, x - 0.03, x + 0.03, -0.08, 0.012), s.dark)
    for x in (-0.26, 0.26):
        s.body(rounded(x - 0.045, -0.99, x + 0.045, -0.4, 0.03))
    back = smooth((-0.3, -0.94), (0, -1.02), (0.3, -0.94), (0.29, -0.68), (0, -0.7), (-0.29, -0.68))
    s.body(back)
    s.pattern(-0.3, -1.02, 0.3, -0.66)
    s.inside(rect(0.12, -1.1, 0.4, -0.5), veil(26))
    s.inside(line(-0.22, -0.92, 0.05, -0.95, 0.03), shine(90))
    s.body(rounded(-0.26, -0.61, 0.26, -0.54, 0.02))
    for x in (-0.31, 0.31):
        s.body(loft(x - 0.045, x + 0.045, -0.4, x - 0.035, x + 0.035, 0, 0.015))
        s.inside(rect(x + 0.01, -0.5, x + 0.1, 0.1), veil(40))
    s.body(loft(-0.28, 0.28, -0.5, -0.39, 0.39, -0.34, 0.02), s.light)
    s.pattern(-0.39, -0.5, 0.39, -0.34)
    s.body(rounded(-0.39, -0.38, 0.39, -0.29, 0.02))
    s.inside(rect(0.1, -0.5, 0.5, 0), veil(30))
    if s.has("cushion"):
        fill = (228, 222, 208) if s.thing.color not in ("white", "yellow") else (120, 128, 142)
        pillow = smooth(
            (-0.29, -0.57), (0, -0.6), (0.29, -0.57), (0.36, -0.48), (0.33, -0.39), (0, -0.36),
            (-0.33, -0.39), (-0.36, -0.48),
        )  # fmt: skip
        s.solid(pillow, fill, mix(fill, HOLLOW, 0.5))
        s.inside(rect(-0.5, -0.44, 0.5, -0.3), veil(30))
        s.inside(ellipse(0, -0.5, 0.022), mix(fill, HOLLOW, 0.5))
    if s.has("armrests"):
        for side in (-1, 1):
            post = side * 0.4
            s.body(rounded(post - 0.03, -0.68, post + 0.03, -0.34, 0.02))
            s.body(stroke(poly((side * 0.27, -0.74), (side * 0.44, -0.68)), 0.085), s.light)


def sign(s: Sketch) -> None:
    """A board on a post, with writing; may have a lantern."""
    wooden = s.thing.surface == "wooden"
    post, rim = ((112, 78, 50), (64, 42, 26)) if wooden else ((150, 152, 156), (88, 90, 96))
    s.solid(rounded(-0.055, -0.98, 0.055, 0, 0.02), post, rim)
    s.inside(rect(0.015, -1.1, 0.1, 0.1), veil(50))
    s.solid(np.concatenate([arc(0, 0, 0.17, 0.06, 180, 360)]), post, rim)
    if s.has("lantern"):
        frame = (66, 64, 70)
        s.solid(stroke(arc(0, -1.3, 0.06, 0.06, 180, 360), 0.025), frame)
        s.solid(loft(-0.06, 0.06, -1.33, -0.15, 0.15, -1.24, 0.015), frame)
        s.solid(rect(-0.11, -1.25, 0.11, -1.03), (255, 228, 138), frame)
        s.inside(ellipse(0, -1.13, 0.06, 0.08), (255, 250, 220))
        for x in (-0.1, 0.0, 0.1):
            s.over(rect(x - 0.014, -1.25, x + 0.014, -1.03), frame)
        s.solid(rounded(-0.14, -1.05, 0.14, -0.99, 0.015), frame)
    s.body(rounded(-0.64, -1.0, 0.64, -0.52, 0.07))
    s.pattern(-0.64, -1.0, 0.64, -0.52)
    s.inside(poly((0.3, -1.1), (0.8, -1.1), (0.8, -0.4), (0.1, -0.4)), veil(22))
    if wooden:
        s.inside(rounded(-0.56, -0.93, 0.56, -0.59, 0.06), (*s.base, 110))
    else:
        s.inside(
            ring(
                rounded(-0.6, -0.96, 0.6, -0.56, 0.055),
                rounded(-0.575, -0.935, 0.575, -0.585, 0.04),
            ),
            s.accent,
        )
    for x in (-0.54, 0.54):
        s.over(ellipse(x, -0.76, 0.02), s.accent)
    if s.thing.text:
        s.write(0, -0.76, 0.98, 0.27)


def house(s: Sketch) -> None:
    """Seen from the front; may have a chimney, with its door open or closed."""
    slate, rim = (98, 104, 118), (56, 60, 72)
    if s.has("chimney"):
        s.solid(rect(0.27, -1.1, 0.43, -0.72), (168, 150, 140), (96, 84, 80))
        for y in (-1.0, -0.92):
            s.inside(rect(0.2, y - 0.007, 0.5, y + 0.007), (120, 104, 98))
        s.solid(rounded(0.245, -1.16, 0.455, -1.09, 0.012), (136, 120, 114), (96, 84, 80))
    s.body(rect(-0.57, -0.72, 0.57, 0))
    s.pattern(-0.57, -0.72, 0.57, 0)
    s.inside(rect(0.3, -1.1, 0.7, 0.1), veil(22))
    s.inside(rect(-0.7, -0.72, 0.7, -0.665), veil(64))
    s.inside(rect(-0.7, -0.04, 0.7, 0.1), veil(50))
    s.solid(poly((-0.4, -1.0), (0.4, -1.0), (0.68, -0.7), (-0.68, -0.7)), slate, rim)
    for row, y in enumerate((-0.9, -0.8)):
        s.inside(rect(-0.7, y - 0.008, 0.7, y + 0.008), rim)
        for at in range(5):
            x = -0.4 + 0.2 * at + 0.1 * row
            s.inside(rect(x - 0.007, y - 0.1, x + 0.007, y), rim)
    s.inside(poly((0.22, -1.0), (0.7, -1.0), (0.7, -0.6), (0.34, -0.6)), veil(36))
    for at in range(s.thing.count):
        x = 0.255 * (at - (s.thing.count - 1) / 2)
        s.over(rect(x - 0.1, -0.62, x + 0.1, -0.395), s.edge)
        s.over(rect(x - 0.086, -0.606, x + 0.086, -0.409), IVORY)
        s.over(rect(x - 0.064, -0.584, x + 0.064, -0.431), (112, 158, 190))
        s.over(poly((x - 0.064, -0.584), (x + 0.03, -0.584), (x - 0.064, -0.47)), (176, 210, 230))
        s.over(rect(x - 0.011, -0.606, x + 0.011, -0.409), IVORY)
    s.over(rect(-0.125, -0.315, 0.125, 0), s.edge)
    s.over(rect(-0.11, -0.3, 0.11, 0), IVORY)
    if s.thing.state == "open":
        s.over(rect(-0.09, -0.28, 0.09, 0), (30, 24, 30))
        s.over(poly((-0.09, 0), (0.09, 0), (0.05, -0.06), (-0.05, -0.06)), (120, 96, 70))
        s.over(poly((0.09, -0.29), (0.26, -0.34), (0.26, 0), (0.09, 0)), s.edge)
        s.over(poly((0.102, -0.274), (0.246, -0.316), (0.246, -0.014), (0.102, -0.014)), s.light)
        s.over(poly((0.13, -0.24), (0.22, -0.26), (0.22, -0.17), (0.13, -0.16)), s.dark)
        s.over(ellipse(0.222, -0.13, 0.018), s.edge)
    else:
        s.over(rect(-0.09, -0.28, 0.09, 0), s.edge)
        s.over(rect(-0.077, -0.267, 0.077, 0), s.light)
        for y in (-0.24, -0.115):
            s.over(rect(-0.055, y, 0.055, y + 0.085), s.dark)
        s.over(ellipse(0.058, -0.135, 0.02), s.edge)


def clock(s: Sketch) -> None:
    """An alarm clock with its hands; may have bells."""
    for side in (-1, 1):
        s.solid(line(side * 0.26, -0.14, side * 0.34, -0.025, 0.075), CHARCOAL, (36, 36, 42))
    if s.has("bells"):
        brass, rim = (190, 188, 182), (98, 96, 94)
        s.solid(line(0, -0.94, 0, -1.1, 0.035), rim)
        s.solid(rounded(-0.07, -1.15, 0.07, -1.07, 0.025), brass, rim)
        for side in (-1, 1):
            dome = np.concatenate([arc(0, 0, 0.21, 0.19, 180, 360)])
            c, n = 0.848, side * 0.53
            turned = np.stack(
                [dome[:, 0] * c - dome[:, 1] * n, dome[:, 0] * n + dome[:, 1] * c], axis=1
            )
            s.solid(moved(turned, side * 0.27, -0.93), brass, rim)
            s.inside(ellipse(side * 0.27 - 0.02, -1.02, 0.05, 0.045), shine(170))
    s.body(ellipse(0, -0.51, 0.49))
    s.pattern(-0.49, -1, 0.49, -0.02)
    s.bulge(0, -0.51, 0.49, 0.49)
    s.over(ellipse(0, -0.51, 0.325), s.edge)
    s.over(ellipse(0, -0.51, 0.305), (250, 248, 240))
    for hour in range(12):
        mark = arc(0, -0.51, 0.255, 0.255, 30 * hour, 30 * hour + 1, 2)[:1]
        size = 0.026 if hour % 3 == 0 else 0.014
        s.over(ellipse(float(mark[0, 0]), float(mark[0, 1]), size), (70, 70, 78))
    s.over(line(0, -0.51, -0.12, -0.59, 0.042), (44, 44, 52))
    s.over(line(0, -0.51, 0.1, -0.69, 0.03), (44, 44, 52))
    s.over(ellipse(0, -0.51, 0.035), (44, 44, 52))


PIPS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0, 0),),
    2: ((-1, -1), (1, 1)),
    3: ((-1, -1), (0, 0), (1, 1)),
    4: ((-1, -1), (1, -1), (-1, 1), (1, 1)),
    5: ((-1, -1), (1, -1), (0, 0), (-1, 1), (1, 1)),
    6: ((-1, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (1, 1)),
}


def die(s: Sketch) -> None:
    """A cube seen from the front, with as many pips as the thing counts."""
    s.body(
        smooth(
            (0.3, -0.78), (0.4, -0.8), (0.56, -0.95), (0.595, -0.94), (0.6, -0.88), (0.6, -0.24),
            (0.58, -0.17), (0.45, -0.03), (0.4, -0.02), (0.3, -0.06),
        ),
        s.dark,
    )  # fmt: skip
    s.body(
        smooth(
            (-0.43, -0.84), (-0.3, -0.97), (-0.22, -1.0), (0.48, -1.0), (0.56, -0.985),
            (0.55, -0.94), (0.4, -0.8), (0.2, -0.76), (-0.3, -0.76),
        ),
        s.light,
    )  # fmt: skip
    s.body(rounded(-0.48, -0.86, 0.42, 0, 0.1))
    s.pattern(-0.48, -0.86, 0.42, 0)
    s.inside(poly((0.42, -0.5), (0.42, 0.1), (-0.3, 0.1)), veil(24))
    s.inside(line(-0.38, -0.8, 0.1, -0.8, 0.03), shine(110))
    for x, y in PIPS.get(s.thing.count, ()):
        cx, cy = -0.03 + 0.25 * x, -0.43 + 0.25 * y
        if s.thing.surface == "wooden":
            s.over(ellipse(cx, cy, 0.105), s.edge)
        s.over(ellipse(cx, cy, 0.088), s.accent)


def dresser(s: Sketch) -> None:
    """With as many drawers as the thing counts; may have a mirror."""
    knob: RGB = (
        (226, 214, 180) if s.thing.color not in ("white", "yellow", "orange") else (96, 88, 84)
    )
    if s.has("mirror"):
        s.body(ellipse(0, -1.26, 0.33, 0.3), s.dark)
        s.over(ellipse(0, -1.26, 0.27, 0.245), s.edge)
        s.over(ellipse(0, -1.26, 0.255, 0.23), GLASS)
        s.over(poly((-0.2, -1.2), (0.0, -1.46), (0.07, -1.45), (-0.16, -1.14)), shine(150))
        s.over(poly((-0.05, -1.1), (0.17, -1.4), (0.2, -1.37), (0.0, -1.07)), shine(120))
    for x in (-0.4, 0.4):
        s.body(loft(x - 0.06, x + 0.06, -0.14, x - 0.035, x + 0.035, 0, 0.01), s.dark)
    s.body(rect(-0.48, -0.96, 0.48, -0.09))
    s.pattern(-0.48, -0.96, 0.48, -0.09)
    s.inside(rect(0.3, -1.1, 0.6, 0.1), veil(22))
    wooden = s.thing.surface == "wooden"
    front: RGB = (156, 104, 60) if wooden else s.base
    count = max(1, s.thing.count)
    pitch = 0.81 / count
    for at in range(count):
        y1 = -0.925 + at * pitch
        y2 = y1 + pitch - 0.035
        s.over(rounded(-0.42, y1, 0.42, y2, 0.02), s.edge)
        s.over(rounded(-0.4, y1 + 0.018, 0.4, y2 - 0.016, 0.012), s.light)
        s.over(rounded(-0.385, y1 + 0.032, 0.4, y2 - 0.016, 0.012), front)
        middle = (y1 + y2) / 2
        if wooden:
            for share, sag in ((0.36, 0.02), (0.76, -0.02)):
                y = y1 + share * (y2 - y1)
                vein = smooth((-0.37, y), (-0.1, y + sag), (0.16, y - sag), (0.39, y), closed=False)
                s.over(stroke(vein, 0.014), (66, 36, 16, 200))
        size = min(0.04, 0.24 * pitch)
        for x in (-0.2, 0.2):
            s.over(ellipse(x, middle + 0.012, size + 0.008), veil(110))
            s.over(ellipse(x, middle, size), knob)
    s.body(rounded(-0.53, -1.0, 0.53, -0.93, 0.02), s.light)
    s.inside(rect(-0.6, -0.955, 0.6, -0.9), veil(30))
