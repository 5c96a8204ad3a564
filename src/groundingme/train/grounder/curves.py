"""The curves of a run as one picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageDraw

PANELS = (
    ("look", "look: focal loss; what boxes lack in overlap", ("focal", "1 - iou")),
    ("read", "read: loss of kind, state, parts, edges", ("kind", "state", "parts", "edges")),
    ("spell", "spell: loss; share of texts not right", ("loss", "1 - right")),
    ("early", "match, simulated readings: loss of marks; share wrong", ("marks", "1 - right")),
    ("match", "match, with real readings", ("marks", "1 - right")),
    ("match-positive-only", "the same, positives only", ("marks", "1 - right")),
)
_COLORS = ("#1f5fbf", "#c0392b", "#2e8b57", "#8e44ad")
_W, _H, _EDGE = 440, 250, 44
_LOWEST, _HIGHEST = 0.01, 10.0


def read_curve(path: Path) -> list[dict[str, float]]:
    """Lines of a curve; of a resumed run only what was kept."""
    lines: list[dict[str, float]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        # A run that was stopped starts again at the last saved step.
        lines = [one for one in lines if one["step"] < line["step"]]
        lines.append(line)
    return lines


def draw_curves(folder: Path, path: Path) -> None:
    """Writes a PNG with a panel for every net; the upright axis is logarithmic, 0.01 to 10."""
    from PIL import Image, ImageDraw, ImageFont

    present = [panel for panel in PANELS if (folder / f"{panel[0]}.curve.jsonl").exists()]
    rows = -(-len(present) // 2)
    sheet = Image.new("RGB", (2 * _W, max(1, rows) * _H), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, (name, title, figures) in enumerate(present):
        x, y = number % 2 * _W, number // 2 * _H
        lines = read_curve(folder / f"{name}.curve.jsonl")
        _panel(pen, font, (x, y), title, lines, figures)
    sheet.quantize(64).save(path, optimize=True)


def _panel(
    pen: ImageDraw.ImageDraw,
    font: object,
    corner: tuple[int, int],
    title: str,
    lines: Sequence[dict[str, float]],
    figures: Sequence[str],
) -> None:
    left, top = corner[0] + _EDGE, corner[1] + 30
    wide, high = _W - _EDGE - 16, _H - 74
    pen.text((left, corner[1] + 8), title, fill="black", font=font)  # type: ignore[arg-type]
    span = math.log(_HIGHEST / _LOWEST)
    for tick in (0.01, 0.1, 1.0, 10.0):
        y = top + high * (1 - math.log(tick / _LOWEST) / span)
        pen.line((left, y, left + wide, y), fill="#dddddd")
        pen.text((left - 34, y - 7), f"{tick:g}", fill="#555555", font=font)  # type: ignore[arg-type]
    end = max((line["seconds"] for line in lines), default=1.0)
    pen.text(
        (left, top + high + 6),
        f"0 to {end:.0f} s of one core",
        fill="#555555",
        font=font,  # type: ignore[arg-type]
    )
    for place, (figure, color) in enumerate(zip(figures, _COLORS, strict=False)):
        points = []
        for line in lines:
            raw = line[figure.removeprefix("1 - ")]
            value = min(_HIGHEST, max(_LOWEST, raw if raw == line.get(figure) else 1 - raw))
            points.append(
                (
                    left + wide * line["seconds"] / end,
                    top + high * (1 - math.log(value / _LOWEST) / span),
                )
            )
        if len(points) > 1:
            pen.line(points, fill=color, width=2)
        pen.text((left + 150 + 62 * place, top + high + 6), figure, fill=color, font=font)  # type: ignore[arg-type]
