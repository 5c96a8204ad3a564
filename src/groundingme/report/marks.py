"""How runs are told apart: a letter, a colour, a dash and a shape each, never a colour alone."""

from __future__ import annotations

import re

import msgspec

from groundingme.report.markup import Html, join, tag

COLOURS = 7
"""Classes `c0` to `c6` in the style sheet: after Okabe and Ito, without green, the truth's."""

DASHES = ("", "7 4", "2 3", "9 3 2 3")
SHAPES = ("circle", "square", "triangle", "diamond", "cross")


class Mark(msgspec.Struct, frozen=True):
    """What stands for a run.

    Attributes:
        at: Index of the run, as given.
        label: Name of the run.
    """

    at: int
    label: str

    @property
    def letter(self) -> str:
        """A, B, ..., Z, A1, B1, ..."""
        turn, at = divmod(self.at, 26)
        return chr(ord("A") + at) + (str(turn) if turn else "")

    @property
    def colour(self) -> str:
        """Class of the style sheet."""
        return f"c{self.at % COLOURS}"

    @property
    def dash(self) -> str | None:
        """Of lines, in pixels; None for a solid one."""
        return DASHES[self.at % len(DASHES)] or None

    def chip(self) -> Html:
        """The letter in a coloured frame."""
        return tag("span", self.letter, class_=f"chip {self.colour}", aria_hidden="true")

    def column(self) -> Html:
        """The letter alone, for the heads of narrow columns; the name is there for readers."""
        return join([self.chip(), tag("span", self.label, class_="unseen")])

    def name(self) -> Html:
        """Letter and name."""
        return tag("span", self.chip(), " ", tag("span", breakable(self.label), class_="label"),
                   class_="name")  # fmt: skip

    def point(self, x: float, y: float, size: float = 4) -> Html:
        """The run's shape at a place in an SVG."""
        kind = SHAPES[self.at % len(SHAPES)]
        names = f"point {self.colour}"
        if kind == "circle":
            return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=size, class_=names)
        outlines = {
            "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
            "triangle": ((0, -1.25), (1.2, 0.95), (-1.2, 0.95)),
            "diamond": ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
            "cross": ((-1, -0.35), (-0.35, -0.35), (-0.35, -1), (0.35, -1), (0.35, -0.35),
                      (1, -0.35), (1, 0.35), (0.35, 0.35), (0.35, 1), (-0.35, 1), (-0.35, 0.35),
                      (-1, 0.35)),
        }  # fmt: skip
        scale = size * (1.2 if kind == "cross" else 0.95)
        corners = " ".join(f"{x + scale * u:.1f},{y + scale * v:.1f}" for u, v in outlines[kind])
        return tag("polygon", points=corners, class_=names)

    def swatch(self) -> Html:
        """A piece of the run's line with its shape, for legends."""
        line = tag(
            "line",
            x1=1,
            y1=7,
            x2=33,
            y2=7,
            class_=f"line {self.colour}",
            stroke_dasharray=self.dash,
        )
        return tag("svg", line, self.point(17, 7), viewBox="0 0 34 14", class_="swatch",
                   aria_hidden="true")  # fmt: skip


def breakable(name: str) -> Html:
    """A name that may be broken after its marks, and elsewhere only where it must be."""
    return join(re.split(r"(?<=[/_,:-])", name), Html("<wbr>"))


def legend(marks: list[Mark]) -> Html:
    """Every run with its line, letter and name."""
    return tag("ul", *(tag("li", one.swatch(), one.name()) for one in marks), class_="legend")


def box_legend(marks: list[Mark]) -> Html:
    """The frame of the truth and of every run's box, as pictures show them."""

    def frame(colour: str, dash: str | None) -> Html:
        box = tag("rect", x=2, y=2, width=26, height=14, class_=f"frame {colour}",
                  stroke_dasharray=dash)  # fmt: skip
        return tag("svg", box, viewBox="0 0 30 18", class_="swatch", aria_hidden="true")

    rows = [tag("li", frame("true", None), "truth")]
    rows += [tag("li", frame(one.colour, one.dash), one.name()) for one in marks]
    return tag("ul", *rows, class_="legend")
