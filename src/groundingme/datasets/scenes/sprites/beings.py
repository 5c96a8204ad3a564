"""Car, robot, cat, bird."""

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
    rounded,
    smooth,
    stroke,
)
from groundingme.datasets.scenes.sprites.toolkit import (
    CHARCOAL,
    GLASS,
    HOLLOW,
    IVORY,
    Sketch,
    mix,
    shine,
    veil,
)


def car(s: Sketch) -> None:
    """Seen from the side; may have a roof rack, lit headlights, and writing on the door."""
    lit = s.thing.state == "lit"
    if lit:
        s.glow(1.3, -0.37, 0.5, 0.32, (255, 228, 120, 230))
        s.glow(1.0, -0.38, 0.36, 0.34, (255, 236, 150, 220))
    if s.has("rack"):
        for x in (-0.4, 0.08):
            s.solid(rect(x - 0.022, -1.1, x + 0.022, -0.94), CHARCOAL)
        s.solid(rounded(-0.56, -1.15, 0.24, -1.08, 0.03), CHARCOAL, (36, 36, 42))
        for x in (-0.5, 0.18):
            s.solid(rect(x - 0.022, -1.22, x + 0.022, -1.1), CHARCOAL)
    shell = smooth(
        (-0.96, -0.2), (-0.99, -0.4), (-0.93, -0.56), (-0.72, -0.6), (-0.56, -0.86), (-0.44, -0.97),
        (-0.1, -1.0), (0.2, -0.97), (0.34, -0.86), (0.52, -0.6), (0.84, -0.53), (0.97, -0.42),
        (0.99, -0.24), (0.93, -0.16), (0.5, -0.14), (0, -0.14), (-0.6, -0.14), (-0.9, -0.15),
    )  # fmt: skip
    s.body(shell)
    s.pattern(-0.98, -1.0, 0.98, -0.14, upright=True)
    s.inside(rect(-1.1, -0.3, 1.1, 0), veil(34))
    s.inside(rect(-1.1, -0.2, 1.1, 0), veil(40))
    s.inside(line(-0.84, -0.53, 0.72, -0.53, 0.03), shine(110))
    s.inside(line(-0.3, -0.945, 0.1, -0.95, 0.03), shine(100))
    glass = mix(GLASS, (90, 110, 130), 0.25)
    for pane in (
        poly((-0.54, -0.6), (-0.42, -0.83), (-0.36, -0.88), (-0.12, -0.9), (-0.12, -0.6)),
        poly((-0.04, -0.6), (-0.04, -0.9), (0.17, -0.88), (0.24, -0.84), (0.38, -0.6)),
    ):
        middle = pane.mean(axis=0)
        s.over((pane - middle) * 1.09 + middle, s.edge)
        s.over(pane, glass)
    s.over(poly((-0.44, -0.62), (-0.28, -0.87), (-0.2, -0.88), (-0.36, -0.62)), shine(120))
    s.over(poly((0.06, -0.62), (0.16, -0.86), (0.21, -0.84), (0.13, -0.62)), shine(120))
    s.over(line(-0.08, -0.55, -0.08, -0.2, 0.014), s.edge)
    s.over(line(-0.24, -0.49, -0.16, -0.49, 0.026), s.edge)
    lens = (255, 240, 140) if lit else (150, 156, 166)
    s.solid(ellipse(0.9, -0.39, 0.085, 0.1), lens, (206, 150, 20) if lit else (70, 74, 84))
    s.inside(ellipse(0.9, -0.39, 0.045, 0.055), (255, 255, 236) if lit else (190, 196, 204))
    s.over(rounded(-0.98, -0.46, -0.9, -0.34, 0.02), (128, 62, 60))
    s.solid(rounded(0.86, -0.22, 1.04, -0.13, 0.03), (168, 172, 178), (96, 100, 108))
    s.solid(rounded(-1.04, -0.22, -0.86, -0.13, 0.03), (168, 172, 178), (96, 100, 108))
    for x in (-0.56, 0.56):
        s.over(ellipse(x, -0.225, 0.235), s.edge)
        s.solid(ellipse(x, -0.19, 0.19), (50, 50, 56), (26, 26, 30))
        s.inside(ellipse(x, -0.19, 0.1), (186, 190, 196))
        s.inside(ellipse(x, -0.19, 0.045), (104, 108, 116))
    s.label(0.1 if s.thing.text else 0, -0.37, 0.34, 0.26)


def robot(s: Sketch) -> None:
    """Seen from the front; may have an antenna, smiles or frowns, with writing on its chest."""
    joint, rim = (126, 130, 138), (70, 74, 82)
    for x in (-0.17, 0.17):
        s.solid(rect(x - 0.06, -0.2, x + 0.06, -0.05), joint, rim)
        s.body(np.concatenate([arc(x, 0, 0.15, 0.1, 180, 360)]))
    for side in (-1, 1):
        s.solid(stroke(smooth((side * 0.34, -0.52), (side * 0.48, -0.44), (side * 0.49, -0.3),
                              closed=False), 0.085), joint, rim)  # fmt: skip
        s.body(ellipse(side * 0.49, -0.25, 0.085))
    s.solid(rect(-0.1, -0.68, 0.1, -0.56), joint, rim)
    if s.has("antenna"):
        s.solid(line(0, -0.98, 0, -1.2, 0.045), joint, rim)
        s.solid(ellipse(0, -1.24, 0.075), (236, 226, 196), (112, 100, 76))
        s.inside(ellipse(-0.02, -1.26, 0.025), shine(200))
    for side in (-1, 1):
        s.solid(rounded(side * 0.4 - 0.05, -0.89, side * 0.4 + 0.05, -0.73, 0.03), joint, rim)
    s.body(rounded(-0.37, -1.0, 0.37, -0.63, 0.09))
    s.pattern(-0.37, -1.0, 0.37, -0.63)
    s.inside(rect(0.2, -1.1, 0.5, -0.5), veil(26))
    s.over(rounded(-0.3, -0.95, 0.3, -0.68, 0.07), s.edge)
    s.over(rounded(-0.285, -0.935, 0.285, -0.695, 0.06), IVORY)
    for x in (-0.14, 0.14):
        s.over(ellipse(x, -0.865, 0.048), (44, 50, 66))
        s.over(ellipse(x - 0.014, -0.88, 0.016), (255, 255, 255))
    if s.thing.state == "frowning":
        mouth = arc(0, -0.705, 0.14, 0.075, 200, 340)
    else:
        mouth = arc(0, -0.8, 0.14, 0.075, 20, 160)
    s.over(stroke(mouth, 0.04), (44, 50, 66))
    s.body(loft(-0.35, 0.35, -0.6, -0.31, 0.31, -0.16, 0.06))
    s.pattern(-0.35, -0.6, 0.35, -0.16)
    s.inside(rect(0.17, -1.1, 0.5, 0.1), veil(26))
    s.inside(line(-0.28, -0.53, -0.26, -0.26, 0.035), shine(95))
    s.label(0, -0.38, 0.34, 0.27)
    if not s.thing.text:
        for x in (-0.12, 0, 0.12):
            s.over(ellipse(x, -0.38, 0.036), s.accent)


def cat(s: Sketch) -> None:
    """Sits; may have a collar, and is awake or asleep."""
    ears = mix(s.base, (232, 168, 170), 0.6)
    s.body(
        stroke(
            smooth((0.2, -0.07), (0.42, -0.07), (0.5, -0.22), (0.42, -0.36), (0.46, -0.48),
                   closed=False),
            0.1,
        )
    )  # fmt: skip
    if s.thing.surface == "striped":
        for x1, y1, x2, y2 in ((0.45, -0.2, 0.55, -0.2), (0.37, -0.36, 0.47, -0.38)):
            s.inside(line(x1, y1, x2, y2, 0.04), s.accent)
    trunk = smooth(
        (0, -0.55), (0.2, -0.46), (0.3, -0.2), (0.29, -0.04), (0.16, 0.0), (-0.16, 0.0),
        (-0.29, -0.04), (-0.3, -0.2), (-0.2, -0.46),
    )  # fmt: skip
    s.body(trunk)
    if s.thing.surface == "dotted":
        for x, y, r in ((-0.18, -0.24, 0.06), (0.17, -0.2, 0.065), (0.02, -0.31, 0.055)):
            s.inside(ellipse(x, y, r), s.accent)
    if s.thing.surface == "striped":
        for side in (-1, 1):
            for y in (-0.34, -0.23, -0.12):
                s.inside(line(side * 0.34, y, side * 0.15, y + 0.015, 0.042), s.accent)
    s.inside(rect(0.12, -0.6, 0.4, 0.1), veil(24))
    for x in (-0.09, 0.09):
        s.inside(rounded(x - 0.075, -0.2, x + 0.075, 0.03, 0.06), s.light)
        s.inside(stroke(arc(x, -0.13, 0.08, 0.08, 180, 360), 0.014), s.dark)
    s.inside(line(0, -0.19, 0, 0, 0.018), s.edge)
    head = smooth(
        (-0.36, -0.7), (-0.35, -0.86), (-0.335, -1.0), (-0.3, -1.0), (-0.16, -0.92), (0, -0.935),
        (0.16, -0.92), (0.3, -1.0), (0.335, -1.0), (0.35, -0.86), (0.36, -0.7), (0.28, -0.51),
        (0, -0.435), (-0.28, -0.51),
    )  # fmt: skip
    if s.has("collar"):
        band = (232, 226, 212) if s.thing.color in ("black", "brown", "purple", "blue", "red",
                                                    "green") else (70, 66, 80)  # fmt: skip
        s.solid(smooth((-0.25, -0.5), (0, -0.43), (0.25, -0.5), (0.24, -0.41), (0, -0.345),
                       (-0.24, -0.41)), band, (60, 56, 66))  # fmt: skip
    s.body(head)
    if s.thing.surface == "dotted":
        for x, y, r in ((-0.24, -0.84, 0.05), (0.22, -0.56, 0.05), (0.08, -0.86, 0.055)):
            s.inside(ellipse(x, y, r), s.accent)
    if s.thing.surface == "striped":
        for x in (-0.09, 0, 0.09):
            s.inside(line(x, -0.95, x * 0.8, -0.82, 0.04), s.accent)
        for side in (-1, 1):
            for y in (-0.68, -0.6):
                s.inside(line(side * 0.38, y, side * 0.26, y + 0.02, 0.036), s.accent)
    s.inside(smooth((0.2, -1.0), (0.4, -0.9), (0.42, -0.6), (0.1, -0.4), (0.3, -0.62)), veil(24))
    for side in (-1, 1):
        s.inside(poly((side * 0.3, -0.95), (side * 0.19, -0.88), (side * 0.31, -0.82)), ears)
    s.over(ellipse(0, -0.575, 0.13, 0.085), s.light)
    for side in (-1, 1):
        x = side * 0.165
        if s.thing.state == "asleep":
            s.over(stroke(arc(x, -0.72, 0.085, 0.065, 15, 165), 0.036),
                   HOLLOW if s.thing.color not in ("black", "brown") else IVORY)  # fmt: skip
        else:
            s.over(ellipse(x, -0.71, 0.096, 0.104), s.edge)
            s.over(ellipse(x, -0.71, 0.08, 0.088), (240, 236, 190))
            s.over(ellipse(x, -0.71, 0.042, 0.08), (28, 28, 34))
            s.over(ellipse(x - 0.02, -0.745, 0.022), (255, 255, 255))
    s.over(smooth((-0.045, -0.62), (0.045, -0.62), (0, -0.57)), (206, 120, 128))
    whisker = (96, 92, 100) if s.thing.color not in ("black", "brown", "grey") else (222, 218, 214)
    for side in (-1, 1):
        s.over(
            stroke(arc(side * 0.045, -0.565, 0.045, 0.035, 0, 180), 0.018), mix(s.edge, HOLLOW, 0.4)
        )
        for y in (-0.03, 0.02):
            s.over(line(side * 0.15, -0.575 + y * 0.4, side * 0.3, -0.57 + y, 0.01), whisker)
    if s.has("collar"):
        s.solid(ellipse(0, -0.36, 0.065), (214, 170, 62), (122, 88, 20))
        s.inside(line(-0.03, -0.35, 0.03, -0.35, 0.016), (122, 88, 20))


def bird(s: Sketch) -> None:
    """Seen from the side; may have a crest, with its wings spread or folded."""
    leg = (130, 96, 66)
    for x in (-0.06, 0.12):
        s.solid(line(x, -0.2, x + 0.01, -0.02, 0.034), leg)
        s.solid(line(x - 0.05, -0.016, x + 0.09, -0.016, 0.032), leg)
    s.body(
        poly((-0.36, -0.5), (-0.82, -0.42), (-0.86, -0.3), (-0.78, -0.24), (-0.34, -0.26)), s.dark
    )
    if s.has("crest"):
        for x, y in ((0.14, -1.2), (0.05, -1.13), (0.0, -1.03)):
            s.body(smooth((0.34, -0.95), ((0.34 + x) / 2 - 0.02, (y - 0.95) / 2 - 0.07), (x, y),
                          ((0.26 + x) / 2, (y - 0.84) / 2 + 0.01), (0.22, -0.86)))  # fmt: skip
    beak = poly((0.5, -0.86), (0.76, -0.755), (0.5, -0.68))
    s.solid(beak, (226, 160, 60), (140, 88, 24))
    s.inside(poly((0.5, -0.77), (0.8, -0.755), (0.5, -0.6)), veil(50))
    spread = s.thing.state == "spread"
    far = smooth((-0.02, -0.5), (-0.16, -0.98), (-0.5, -1.3), (-0.46, -0.9), (-0.36, -0.5))
    if spread:
        s.body(moved(far, 0.15, 0.02), s.dark)
    form = smooth(
        (0.58, -0.76), (0.54, -0.92), (0.37, -1.0), (0.2, -0.94), (0.1, -0.74), (-0.16, -0.58),
        (-0.44, -0.46), (-0.46, -0.36), (-0.26, -0.2), (0.06, -0.14), (0.34, -0.26), (0.5, -0.5),
    )  # fmt: skip
    s.body(form)
    if s.thing.surface == "dotted":
        for x, y in ((0.3, -0.56), (0.38, -0.4), (0.2, -0.28), (0.02, -0.22), (-0.2, -0.3),
                     (0.15, -0.62), (-0.28, -0.44)):  # fmt: skip
            s.inside(ellipse(x, y, 0.045), s.accent)
    s.inside(smooth((0.58, -0.66), (0.36, -0.3), (-0.1, -0.22), (-0.4, -0.36), (-0.2, -0.1),
                    (0.2, -0.06), (0.6, -0.3)), veil(32))  # fmt: skip
    s.inside(ellipse(0.28, -0.93, 0.06, 0.03), shine(110))
    s.over(ellipse(0.41, -0.82, 0.062), IVORY)
    s.over(ellipse(0.42, -0.82, 0.045), (26, 26, 32))
    s.over(ellipse(0.405, -0.835, 0.016), (255, 255, 255))
    if spread:
        s.body(moved(far, -0.05, 0.0))
        for x1, y1, x2, y2 in ((-0.19, -0.56, -0.43, -1.06), (-0.29, -0.54, -0.47, -0.92)):
            s.inside(line(x1, y1, x2, y2, 0.02), s.edge)
        dots: tuple[tuple[float, float], ...] = (
            (-0.19, -0.68),
            (-0.34, -0.88),
            (-0.31, -0.62),
            (-0.42, -1.08),
        )
    else:
        s.body(smooth((0.2, -0.56), (0.22, -0.42), (0.04, -0.28), (-0.3, -0.26), (-0.54, -0.34),
                      (-0.3, -0.44), (-0.04, -0.6)))  # fmt: skip
        s.inside(rect(-0.6, -0.36, 0.4, 0), veil(26))
        for x1, y1, x2, y2 in ((-0.34, -0.34, 0.02, -0.36), (-0.24, -0.42, 0.08, -0.45)):
            s.inside(line(x1, y1, x2, y2, 0.02), s.edge)
        dots = ((0.1, -0.45), (-0.08, -0.4), (-0.28, -0.35))
    if s.thing.surface == "dotted":
        for x, y in dots:
            s.inside(ellipse(x, y, 0.045), s.accent)
