"""`groundingme demo`: the main job on a small data set that is made here."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from PIL import ImageDraw

MODELS = ("baseline/null", "baseline/whole", "baseline/random", "baseline/center")
COLORS = {"red": "#d1495b", "blue": "#2e6f95", "green": "#4f9d69", "yellow": "#edae49"}
SHAPES = ("circle", "square", "triangle")
SIZE = (960, 640)


@click.command("demo")
@click.option("--out", default="demo", show_default=True, help="Folder to write.")
def demo_command(out: str) -> None:
    """Make a small data set, evaluate four baselines on it, and write a page to open."""
    from groundingme.cli.options import print_table
    from groundingme.datasets import load_dataset
    from groundingme.evaluation import evaluate
    from groundingme.report import page

    folder = Path(out)
    make_data(folder / "data")
    dataset = load_dataset(str(folder / "data"))
    results = [evaluate(model, dataset, out=folder / "runs") for model in MODELS]
    print_table(results[-1].table())
    for result in results:
        click.echo(f"{result.run.model:16} Acc@0.5 {100 * result.accuracy:5.1f}")
    report = folder / "report.html"
    page.save(results, dataset, report)
    click.echo(f"Report: {report.resolve().as_uri()}")


def make_data(folder: Path, *, scenes: int = 12, seed: int = 0) -> None:
    """Draws pictures of plain shapes, two samples each, into a folder that `--data` takes.

    Half of the samples are rejections: the description names a colour that no such shape has.
    """
    from PIL import Image, ImageDraw

    rng = random.Random(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number in range(scenes):
        picture = Image.new("RGB", SIZE, "#f4f1ea")
        draw = ImageDraw.Draw(picture)
        kinds = rng.sample([(c, s) for c in COLORS for s in SHAPES], 6)
        for cell, (color, shape) in enumerate(kinds):
            side = rng.randint(90, 200)
            x = cell % 3 * 320 + rng.randint(20, 300 - side)
            y = cell // 3 * 320 + rng.randint(20, 300 - side)
            _draw(draw, shape, COLORS[color], (x, y, x + side, y + side))
            if cell == 0:
                rows.append(_row(number, color, shape, [x, y, x + side, y + side]))
        absent = rng.choice([(c, s) for c in COLORS for s in SHAPES if (c, s) not in kinds])
        rows.append(_row(number, *absent, None))
        picture.save(folder / "images" / f"{number:02}.png")
    lines = (json.dumps({"id": str(i), **row}) for i, row in enumerate(rows))
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _draw(draw: ImageDraw.ImageDraw, shape: str, color: str, box: tuple[int, ...]) -> None:
    x1, y1, x2, y2 = box
    if shape == "circle":
        draw.ellipse((x1, y1, x2, y2), fill=color)
    elif shape == "square":
        draw.rectangle((x1, y1, x2, y2), fill=color)
    else:
        draw.polygon([((x1 + x2) / 2, y1), (x1, y2), (x2, y2)], fill=color)


def _row(number: int, color: str, shape: str, box: list[int] | None) -> dict[str, Any]:
    return {
        "image": f"images/{number:02}.png",
        "description": f"the {color} {shape}",
        "bbox": box,
        "detection_type": shape,
        "subtask_l1": "Discriminative" if box else "Rejection",
        "subtask_l2": "Appearance",
        "width": SIZE[0],
        "height": SIZE[1],
    }
