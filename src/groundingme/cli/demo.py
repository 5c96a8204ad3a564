"""`groundingme demo`: the main job on a small data set that is made here."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundingme.cli.options import json_option, print_json, print_table
from groundingme.errors import UsageError
from groundingme.result import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import ImageDraw
    from rich.table import Table

    from groundingme.result import Result

MODELS = ("baseline/null", "baseline/whole", "baseline/random", "baseline/center")
COLORS = {"red": "#d1495b", "blue": "#2e6f95", "green": "#4f9d69", "yellow": "#edae49"}
SHAPES = ("circle", "square", "triangle")
SIZE = (960, 640)


@click.command("demo")
@click.option("--out", default="demo", show_default=True, help="Folder to write.")
@json_option
def demo_command(out: str, as_json: bool) -> None:
    """Make a small data set, evaluate four baselines on it, and write a page to open.

    Nothing is downloaded and no model is needed: the baselines look at no picture, and show what
    a score is worth.
    """
    from groundingme.datasets import load_dataset
    from groundingme.evaluation import evaluate
    from groundingme.progress import Quiet
    from groundingme.report import page

    folder = Path(out)
    try:
        make_data(folder / "shapes")
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {out} ({error.strerror}); name another"
        ) from None
    dataset = load_dataset(str(folder / "shapes"))
    click.echo(f"Drawn: {len(dataset)} samples in {folder / 'shapes'}", err=True)
    results = []
    for model in MODELS:
        click.echo(f"Asking {model} ...", err=True)
        results.append(evaluate(model, dataset, out=folder / "runs", progress=Quiet()))
    report = folder / "report.html"
    page.save(results, dataset, report)
    address = report.resolve().as_uri()
    if as_json:
        print_json({"results": [one.as_dict() for one in results], "report": address})
        return
    print_table(_comparison(results))
    click.echo("Always null is right on every rejection, always pointing on none: one score alone")
    click.echo("tells neither how well a model points nor whether it can say that nothing matches.")
    click.echo(f"Report: {address}")
    click.echo(
        f"Next: groundingme eval openai/MODEL --base-url http://localhost:8000/v1 "
        f"--data {folder / 'shapes'}",
        err=True,
    )


def _comparison(results: Sequence[Result]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    names = [row.name for row in results[0].rows() if row.level < 2]
    table = Table(
        title=f"Acc@0.5 in % on {results[0].run.data_name} · {results[0].protocol}",
        title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    table.add_column("model", no_wrap=True)
    for name in (*names, "box", "rejected", "unparsed", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in results:
        rows = {row.name: row for row in one.rows()}
        counts = rows["all"].outcomes.values()
        shares = (percent(rows[name].acc50) for name in names)
        table.add_row(one.run.model, *shares, *map(str, counts))
    return table


def make_data(folder: Path, *, scenes: int = 24, seed: int = 0) -> None:
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
        # In every third scene the target is large and in the middle, as in many photos.
        central = number % 3 == 0
        for cell, (color, shape) in enumerate(kinds):
            side = rng.randint(90, 200)
            x = cell % 3 * 320 + rng.randint(20, 300 - side)
            y = cell // 3 * 320 + rng.randint(20, 300 - side)
            if central and cell == 0:
                side, x, y = 360, rng.randint(260, 340), rng.randint(110, 170)
            elif central:
                side = rng.randint(60, 110)
                x = rng.randint(10, 130) if cell % 2 else rng.randint(720, 840)
                y = (cell - 1) // 2 * 210 + rng.randint(10, 90)
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
