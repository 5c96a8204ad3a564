"""Draws docs/gap.svg, the gap in one picture: python tools/gap.py

What models find where something matches, against what they reject where nothing does: the published
ones from report/published.csv, and the two built-in ones from the demo's line in README.md, which a
test holds against the demo itself.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = {"Discriminative": 204, "Spatial": 300, "Limited": 300}
"""Samples of the categories in which something matches."""

WIDTH, HEIGHT = 560, 500
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 20, 60


class Dot(NamedTuple):
    """One model; both figures in percent.

    Attributes:
        name: Of the model.
        found: Acc@0.5 where something matches.
        rejected: Share of the rejections that it makes.
    """

    name: str
    found: float
    rejected: float


def published() -> list[Dot]:
    """The published models without thinking, as in the paper's main table."""
    path = ROOT / "src/groundingme/report/published.csv"
    lines = [row for row in path.read_text(encoding="utf-8").splitlines() if row[:1] != "#"]
    dots = []
    for row in csv.DictReader(lines):
        if row["thinking"] == "off":
            found = sum(float(row[name]) * n for name, n in WEIGHTS.items())
            found /= sum(WEIGHTS.values())
            dots.append(Dot(row["model"], found, float(row["Rejection"])))
    return dots


def built_in() -> list[Dot]:
    """The two built-in models on Scenes, as the README has them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(
        r"rejects (\d+) of (\d+) .*?finds ([\d.]+) %.*?rejects (\d+) and finds ([\d.]+) %", text
    )
    assert line, "README.md has no line of the demo"
    none, of, without, some, taught = (float(one) for one in line.groups())
    return [
        Dot("taught with positives alone", without, 100 * none / of),
        Dot("taught with negatives", taught, 100 * some / of),
    ]


def _x(value: float) -> float:
    return round(LEFT + value / 100 * (WIDTH - LEFT - RIGHT), 1)


def _y(value: float) -> float:
    return round(HEIGHT - BOTTOM - value / 100 * (HEIGHT - TOP - BOTTOM), 1)


def _text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{style}>{words}</text>'


def _frame() -> list[str]:
    parts = []
    for tick in range(0, 101, 20):
        parts.append(f'<path d="M{LEFT} {_y(tick)}H{WIDTH - RIGHT}" stroke="#e3e3e3"/>')
        parts.append(_text(LEFT - 8, _y(tick) + 5, f"{tick}", anchor="end"))
        parts.append(_text(_x(tick), HEIGHT - BOTTOM + 22, f"{tick}", anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 12, "found where something matches, %", anchor="middle"))
    turned = _text(0, 0, "rejected where nothing matches, %", anchor="middle")
    parts.append(
        f'<g transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)">{turned}</g>'
    )
    return parts


def draw() -> str:
    """The picture as SVG."""
    models, ours = published(), built_in()
    parts = _frame()
    parts += [
        f'<circle cx="{_x(one.found)}" cy="{_y(one.rejected)}" r="6" fill="#b3261e" '
        f'fill-opacity=".55"><title>{one.name}: finds {one.found:.1f} %, rejects '
        f"{one.rejected:.1f} %</title></circle>"
        for one in models
    ]
    for one in ours:
        x, y = _x(one.found), _y(one.rejected)
        parts.append(
            f'<path d="M{x} {y - 9}l9 9l-9 9l-9 -9z" fill="#00695c"><title>{one.name}: finds '
            f"{one.found:.1f} %, rejects {one.rejected:.1f} %</title></path>"
        )
    best, most = max(models, key=lambda m: m.found), max(models, key=lambda m: m.rejected)
    low, high = ours
    parts += [
        _text(_x(2), _y(32), f"{len(models)} published models, on the paper's benchmark,",
              kind="r"),
        _text(_x(2), _y(27), f"find up to {best.found:.0f} % and reject at most "
              f"{most.rejected:.0f} %", kind="r"),
        f'<path d="M{_x(low.found)} {_y(low.rejected + 4)}L{_x(high.found)} '
        f'{_y(high.rejected - 5)}" stroke="#00695c" stroke-width="2" stroke-dasharray="5 4"/>',
        _text(_x(86), _y(high.rejected) + 5, "the same, taught with negatives", anchor="end",
              kind="g"),
        _text(_x(88), _y(6), "built-in model, on Scenes", anchor="end", kind="g"),
    ]  # fmt: skip
    words = f"{len(models)} published models hardly reject; a small one that was taught to does"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{words}</title><style>text{{font:15px system-ui,sans-serif;fill:#333}}"
        ".r{fill:#8c1d18;font-weight:600}.g{fill:#00564b;font-weight:600}</style>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    (ROOT / "docs/gap.svg").write_text(draw(), encoding="utf-8")
