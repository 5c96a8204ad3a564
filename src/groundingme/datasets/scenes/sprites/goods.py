"""Book, box, umbrella, ball, balloon, backpack, kite, hat."""

from __future__ import annotations

import numpy as np

from groundingme.datasets.scenes.sprites.outlines import (
    arc,
    ellipse,
    line,
    poly,
    rect,
    ring,
    rounded,
    smooth,
    stroke,
)
from groundingme.datasets.scenes.sprites.toolkit import (
    GOLD,
    HOLLOW,
    IVORY,
    RGB,
    Sketch,
    mix,
    shine,
    veil,
)

BRASS: RGB = (140, 104, 30)


def book(s: Sketch) -> None:
    """Closed or open; may have a bookmark."""
    ribbon = (96, 100, 112) if s.thing.color in ("white", "yellow") else IVORY
    paper, paper_edge = (248, 244, 232), (168, 160, 144)

    def mark(x: float) -> None:
        s.solid(
            poly((x - 0.055, -1.2), (x, -1.15), (x + 0.055, -1.2), (x + 0.055, -0.92),
                 (x - 0.055, -0.92)),
            ribbon, (66, 62, 70),
        )  # fmt: skip

    if s.thing.state == "open":
        if s.has("bookmark"):
            mark(0.16)
        s.body(rounded(-0.02, -1, 0.72, 0, 0.03))
        s.pattern(-0.02, -1, 0.72, 0)
        page = smooth(
            (0.0, -0.87), (0.28, -0.91), (0.56, -0.885), (0.575, -0.5), (0.56, -0.11),
            (0.28, -0.13), (0.0, -0.09),
        )  # fmt: skip
        s.solid(page, paper, paper_edge)
        s.inside(rect(-0.1, -1, 0.1, 0), veil(40))
        for row in range(6):
            y = -0.77 + 0.108 * row
            s.inside(line(0.16, y, 0.46 if row < 5 else 0.32, y, 0.028), (150, 146, 142))
        s.body(poly((0, -0.955), (0, -0.02), (-0.72, 0.0), (-0.72, -1.0)))
        s.pattern(-0.72, -1, 0, 0)
        s.inside(rect(-0.12, -1.1, 0.1, 0.1), veil(46))
        s.inside(line(-0.64, -0.86, -0.64, -0.14, 0.035), shine(70))
        return
    if s.has("bookmark"):
        mark(0.18)
    s.solid(rounded(-0.34, -0.985, 0.4, -0.015, 0.02), paper, paper_edge)
    for x in (0.355, 0.38):
        s.inside(rect(x - 0.004, -1, x + 0.004, 0), paper_edge)
    s.body(rounded(-0.4, -1, 0.34, 0, 0.035))
    s.pattern(-0.24, -1, 0.34, 0)
    s.inside(rect(-0.45, -1.1, -0.26, 0.1), s.dark)
    s.inside(rect(-0.27, -1.1, -0.245, 0.1), s.edge)
    s.inside(line(-0.345, -0.9, -0.345, -0.1, 0.03), shine(70))
    s.inside(rect(0.22, -1.1, 0.4, 0.1), veil(24))
    for y in (-0.84, -0.16):
        s.inside(rect(-0.45, y - 0.018, -0.27, y + 0.018), s.accent)
    if s.thing.surface == "plain":
        frame = ring(
            rounded(-0.15, -0.84, 0.25, -0.52, 0.04), rounded(-0.12, -0.81, 0.22, -0.55, 0.03)
        )
        s.over(frame, s.accent)
        s.over(line(-0.04, -0.68, 0.14, -0.68, 0.03), s.accent)


def _bow(s: Sketch, y: float) -> None:
    for side in (-1, 1):
        tail = poly(
            (0, y), (side * 0.24, y + 0.16), (side * 0.17, y + 0.17), (side * 0.15, y + 0.24)
        )
        s.over(tail, BRASS)
        s.over(tail * (0.9, 0.97), GOLD)
        loop = smooth(
            (0, y), (side * 0.12, y - 0.18), (side * 0.3, y - 0.24), (side * 0.38, y - 0.1),
            (side * 0.28, y + 0.03), (side * 0.1, y + 0.02),
        )  # fmt: skip
        s.solid(loop, GOLD, BRASS)
        s.inside(ellipse(side * 0.23, y - 0.1, 0.08, 0.055), BRASS)
    s.solid(rounded(-0.07, y - 0.08, 0.07, y + 0.05, 0.035), (236, 196, 92), BRASS)


def box(s: Sketch) -> None:
    """Open or closed, with writing; may have a bow."""
    opened = s.thing.state == "open"
    top = -0.74 if opened else -0.76
    if opened:
        s.body(
            poly((-0.42, -1.0), (0.42, -1.0), (0.55, top), (-0.55, top)), mix(s.base, HOLLOW, 0.75)
        )
        s.inside(poly((-0.3, -0.9), (0.3, -0.9), (0.38, top), (-0.38, top)), (20, 16, 20, 120))
        for side in (-1, 1):
            s.body(poly((side * 0.42, -1.0), (side * 0.55, top), (side * 0.84, top - 0.12),
                        (side * 0.7, -1.1)), s.light)  # fmt: skip
            if side > 0:
                s.inside(rect(0, -1.2, 1, 0), veil(36))
    s.body(rounded(-0.55, top, 0.55, 0, 0.025))
    s.pattern(-0.55, top, 0.55, 0)
    s.inside(rect(0.3, -1.1, 0.6, 0.1), veil(26))
    s.inside(line(-0.48, -0.6, -0.48, -0.1, 0.03), shine(70))
    s.inside(rect(-0.6, -0.05, 0.6, 0.1), veil(30))
    if opened:
        if s.has("bow"):
            s.inside(rect(-0.6, -0.66, 0.6, -0.57), GOLD)
            _bow(s, -0.6)
        s.label(0, -0.22 if s.has("bow") else -0.36, 0.5, 0.3 if s.has("bow") else 0.4)
        return
    s.inside(rect(-0.6, -0.8, 0.6, -0.7), veil(70))
    if s.has("bow"):
        s.inside(rect(-0.06, -0.8, 0.06, -0.62), GOLD)
    s.body(rounded(-0.61, -1.0, 0.61, -0.72, 0.03))
    s.pattern(-0.61, -1.0, 0.61, -0.72)
    s.inside(rect(0.34, -1.1, 0.7, 0.1), veil(26))
    s.inside(line(-0.54, -0.93, 0.2, -0.93, 0.028), shine(80))
    if s.has("bow"):
        s.inside(rect(-0.06, -1.1, 0.06, -0.5), GOLD)
        _bow(s, -1.0)
    s.label(0, -0.35, 0.5, 0.4)


def umbrella(s: Sketch) -> None:
    """Open or closed, handle down."""
    steel, rim = (120, 120, 126), (66, 66, 72)
    hook = np.concatenate([poly((0, -0.5), (0, -0.11)), arc(0.11, -0.11, 0.11, 0.085, 172, 10)])
    if s.thing.state == "open":
        s.solid(line(0, -1.0, 0, -0.94, 0.045), steel, rim)
        s.solid(stroke(hook, 0.05), steel, rim)
        s.over(stroke(np.concatenate([poly((0, -0.2)), hook[1:]]), 0.05), (84, 70, 62))
        dome = arc(0, -0.45, 0.72, 0.52, 180, 360)
        scallops = [arc(x, -0.45, 0.18, 0.07, 0, -180, 9)[1:] for x in (0.54, 0.18, -0.18, -0.54)]
        s.body(np.concatenate([dome, *scallops]))
        s.pattern(-0.72, -0.97, 0.72, -0.46, upright=True)
        for foot, bend in ((-0.36, -0.28), (0.0, 0.0), (0.36, 0.28)):
            s.inside(stroke(smooth((0, -0.97), (bend, -0.74), (foot, -0.46), closed=False), 0.016),
                     s.edge)  # fmt: skip
        s.inside(
            smooth((0, -1.0), (0.5, -0.85), (0.75, -0.4), (0.38, -0.4), (0.3, -0.75)), veil(34)
        )
        s.inside(smooth((-0.52, -0.62), (-0.36, -0.82), (-0.3, -0.82), (-0.42, -0.6)), shine(90))
        return
    s.solid(line(0, -1.0, 0, -0.86, 0.035), steel, rim)
    s.solid(stroke(hook, 0.05), (84, 70, 62), (48, 38, 36))
    furled = smooth(
        (0, -0.93), (0.075, -0.72), (0.14, -0.4), (0.13, -0.3), (0.07, -0.24), (-0.07, -0.24),
        (-0.13, -0.3), (-0.14, -0.4), (-0.075, -0.72),
    )  # fmt: skip
    s.body(furled)
    s.pattern(-0.14, -0.93, 0.14, -0.22)
    s.inside(poly((0.0, -0.95), (0.05, -0.25), (0.2, -0.2), (0.2, -0.95)), veil(44))
    s.inside(line(-0.02, -0.85, -0.04, -0.3, 0.014), s.edge)
    s.inside(line(-0.045, -0.62, -0.09, -0.36, 0.03), shine(80))
    s.over(poly((-0.13, -0.43), (0.13, -0.47), (0.135, -0.41), (-0.138, -0.37)), s.edge)


def ball(s: Sketch) -> None:
    """A ball with its shine."""
    s.body(ellipse(0, -0.5, 0.5))
    s.pattern(-0.5, -1, 0.5, 0)
    if s.thing.surface == "plain":
        for side in (-1, 1):
            s.inside(stroke(arc(side * 0.62, -0.5, 0.42, 0.62, 0, 350), 0.022), s.dark)
    s.bulge(0, -0.5, 0.5, 0.5)


def balloon(s: Sketch) -> None:
    """With writing; may have a string."""
    if s.has("string"):
        s.solid(
            stroke(smooth((0, 0), (0.07, 0.16), (-0.06, 0.36), (0.06, 0.56), (-0.01, 0.72),
                          closed=False), 0.03),
            (96, 94, 100),
        )  # fmt: skip
    s.body(poly((0, -0.12), (0.075, 0.0), (-0.075, 0.0)))
    skin = smooth(
        (0, -1.0), (0.27, -0.93), (0.42, -0.7), (0.4, -0.47), (0.24, -0.2), (0.03, -0.07),
        (-0.03, -0.07), (-0.24, -0.2), (-0.4, -0.47), (-0.42, -0.7), (-0.27, -0.93),
    )  # fmt: skip
    s.body(skin)
    s.pattern(-0.42, -1, 0.42, -0.08)
    s.bulge(0, -0.6, 0.42, 0.42)
    s.label(0, -0.57, 0.36, 0.36)


def backpack(s: Sketch) -> None:
    """Open or closed; may have a pocket."""
    opened = s.thing.state == "open"
    strap = mix(s.base, (40, 38, 48), 0.45)
    s.solid(stroke(arc(0, -0.93, 0.13, 0.13, 180, 360), 0.055), strap, s.edge)
    for side in (-1, 1):
        s.solid(
            smooth((side * 0.34, -0.5), (side * 0.47, -0.42), (side * 0.49, -0.2),
                   (side * 0.44, -0.05), (side * 0.34, -0.08)),
            strap, s.edge,
        )  # fmt: skip
    if opened:
        s.body(smooth((-0.36, -0.74), (-0.38, -0.96), (-0.2, -1.06), (0.2, -1.06), (0.38, -0.96),
                      (0.36, -0.74)), s.dark)  # fmt: skip
        s.inside(ellipse(0, -0.74, 0.4, 0.14), HOLLOW)
    if opened:
        trunk = np.concatenate(
            [poly((-0.4, -0.74)), arc(0, -0.74, 0.4, 0.1, 180, 0)[1:-1], poly((0.4, -0.74)),
             arc(0.27, -0.13, 0.15, 0.13, 0, 90), arc(-0.27, -0.13, 0.15, 0.13, 90, 180)]
        )  # fmt: skip
        s.solid(rounded(-0.22, -0.86, 0.04, -0.5, 0.02), (240, 236, 224), (150, 144, 132))
        s.solid(line(0.17, -0.6, 0.2, -0.92, 0.06), (200, 180, 130), (120, 100, 60))
    else:
        trunk = np.concatenate(
            [arc(0, -0.62, 0.4, 0.36, 180, 360), arc(0.27, -0.13, 0.15, 0.13, 0, 90),
             arc(-0.27, -0.13, 0.15, 0.13, 90, 180)]
        )  # fmt: skip
    s.body(trunk)
    s.pattern(-0.42, -0.98, 0.42, 0)
    s.inside(rect(0.2, -1.1, 0.5, 0.1), veil(26))
    s.inside(line(-0.32, -0.55, -0.32, -0.2, 0.05), shine(80))
    if not opened:
        flap = np.concatenate(
            [arc(0, -0.62, 0.41, 0.37, 180, 360), poly((0.41, -0.56)),
             arc(0.27, -0.54, 0.14, 0.1, 0, 90), arc(-0.27, -0.54, 0.14, 0.1, 90, 180)]
        )  # fmt: skip
        s.body(flap)
        s.pattern(-0.42, -0.98, 0.42, -0.44)
        s.inside(rect(0.2, -1.1, 0.5, 0.1), veil(26))
        s.inside(line(-0.26, -0.8, -0.1, -0.9, 0.045), shine(80))
    if s.has("pocket"):
        s.body(rounded(-0.27, -0.38, 0.27, -0.06, 0.07))
        s.inside(rect(-0.3, -0.4, 0.3, 0.1), veil(22))
        s.over(line(-0.2, -0.29, 0.2, -0.29, 0.034), s.edge)
        s.over(line(-0.2, -0.29, 0.2, -0.29, 0.016), (214, 214, 220))
        s.over(rounded(0.12, -0.3, 0.17, -0.19, 0.02), (214, 214, 220))
    if not opened:
        s.over(rounded(-0.065, -0.53, 0.065, -0.39, 0.025), (92, 90, 96))
        s.over(rounded(-0.04, -0.505, 0.04, -0.42, 0.015), (222, 222, 226))


def kite(s: Sketch) -> None:
    """A rhombus with its cross; may have a tail."""
    if s.has("tail"):
        tail = smooth((0, 0), (0.09, 0.13), (-0.05, 0.3), (0.07, 0.46), (0.0, 0.62), closed=False)
        s.solid(stroke(tail, 0.026), (96, 94, 100))
        for x, y in ((0.055, 0.16), (-0.02, 0.34), (0.055, 0.5)):
            for side in (-1, 1):
                s.solid(poly((x, y), (x + side * 0.12, y - 0.06), (x + side * 0.12, y + 0.06)),
                        s.light, s.edge)  # fmt: skip
    s.body(poly((0, -1), (0.4, -0.62), (0, 0), (-0.4, -0.62)))
    s.pattern(-0.4, -1, 0.4, 0)
    s.inside(poly((0, -1), (0.4, -0.62), (0, 0)), veil(26))
    s.inside(poly((0, -0.62), (0.4, -0.62), (0, 0)), veil(22))
    spar = (*s.edge, 255 if s.thing.surface == "plain" else 120)
    s.inside(rect(-0.011, -1, 0.011, 0), spar)
    s.inside(rect(-0.4, -0.631, 0.4, -0.609), spar)
    s.inside(poly((-0.07, -0.86), (-0.02, -0.9), (-0.02, -0.68), (-0.26, -0.66)), shine(70))


def hat(s: Sketch) -> None:
    """A brim and a crown with its band; may have a feather."""
    if s.has("feather"):
        plume = smooth(
            (0.3, -0.3), (0.42, -0.62), (0.56, -0.98), (0.7, -1.16), (0.68, -0.86), (0.56, -0.5),
        )  # fmt: skip
        s.solid(plume, (236, 232, 222), (120, 114, 108))
        s.inside(stroke(smooth((0.3, -0.3), (0.5, -0.7), (0.68, -1.12), closed=False), 0.02),
                 (140, 134, 126))  # fmt: skip
        for x, y in ((0.47, -0.55), (0.53, -0.71), (0.59, -0.86)):
            s.inside(line(x, y, x + 0.1, y - 0.08, 0.012), (150, 144, 136))
    s.body(ellipse(0, -0.14, 0.74, 0.14))
    s.inside(ellipse(0.1, -0.06, 0.72, 0.1), veil(36))
    s.inside(stroke(arc(-0.05, -0.14, 0.63, 0.09, 150, 215), 0.03), shine(80))
    crown = np.concatenate(
        [
            arc(0, -0.9, 0.46, 0.1, 180, 360),
            smooth((0.46, -0.88), (0.405, -0.5), (0.42, -0.15), closed=False),
            arc(0, -0.15, 0.42, 0.08, 0, 180),
            smooth((-0.42, -0.15), (-0.405, -0.5), (-0.46, -0.88), closed=False),
        ]
    )
    s.body(crown)
    s.pattern(-0.46, -0.9, 0.46, -0.32)
    s.shade(-0.44, -0.94, 0.44, -0.1)
    band = np.concatenate([arc(0, -0.33, 0.42, 0.07, 0, 180), arc(0, -0.17, 0.44, 0.08, 180, 0)])
    s.inside(band, s.metal if s.thing.color != "grey" else (226, 226, 228))
    s.over(ellipse(0, -0.9, 0.455, 0.097), s.edge)
    s.over(ellipse(0, -0.9, 0.44, 0.085), s.light)
