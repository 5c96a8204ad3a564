"""A small data set with hostile text and an 8K picture, and two runs on it, for reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from groundingme import evaluate
from groundingme.datasets import load_dataset
from groundingme.models import Model, Request
from groundingme.schema import Generation

XSS = (
    "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
    "<svg onload='window.pwned = 3'> \u2028 {{7*7}} ${alert(1)}"
)
SUBTASKS = (
    ("Discriminative", "Appearance"), ("Discriminative", "Text"), ("Spatial", "Counting"),
    ("Limited", "Small"), ("Rejection", "Appearance"),
)  # fmt: skip
SAMPLES = 120


class Teller(Model):
    """Answers by rule: `plan` gives what to do with each sample, in the order of their ids."""

    coords = "abs"

    def __init__(self, name: str, plan: dict[str, str], targets: dict[str, Any]) -> None:
        self.name = f"mock/{name}"
        self.plan = plan
        self.targets = targets

    async def generate(self, request: Request) -> Generation:
        target = self.targets[request.id]
        what = self.plan.get(request.id, "right")
        x1, y1, x2, y2 = target or (10, 10, 60, 60)
        texts = {
            "right": json.dumps({"bbox_2d": target}),
            "box": json.dumps({"bbox_2d": [x1, y1, x2, y2]}),
            "null": '{"bbox_2d": null}',
            "sloppy": json.dumps({"bbox_2d": [x1, y1, x1 + (x2 - x1) / 3, y2]}),
            "elsewhere": json.dumps({"bbox_2d": [x2 + 5, y2 + 5, x2 + 25, y2 + 25]}),
            "unparsed": "I see a thing, but I would rather not say where.",
            "xss": XSS,
        }
        return Generation(
            id=request.id,
            text=texts[what],
            reasoning=f"I thought about {what}. {XSS if what == 'xss' else ''}",
            finish_reason="stop",
            confidence=0.9 if what == "right" else 0.6,
            completion_tokens=12,
        )


def draw(path: Path, width: int, height: int, target: list[int] | None, seed: int = 0) -> None:
    picture = Image.new("RGB", (width, height), "#c9d6df")
    pen = ImageDraw.Draw(picture)
    for step in range(0, width, max(20, width // 12)):
        pen.line((step, 0, width - step, height), fill="#8fa3b0", width=3)
    pen.rectangle((seed, 0, seed + 9, 9), fill="#333333")
    if target:
        pen.rectangle(target, fill="#d55e00")
    picture.save(path, quality=85)


PLANS = {
    # Of the 96 positives 6 are wrong, of the 24 negatives 4 are missed.
    "careful": {"s000": "xss", "s001": "unparsed", "s002": "sloppy", "s003": "elsewhere",
                "s005": "null", "s006": "null",
                **{f"s{at:03}": "box" for at in (4, 9, 14, 19)}},
    # Never rejects, and has half of Counting wrong.
    "eager": {**{f"s{at:03}": "box" for at in range(4, SAMPLES, 5)},
              **{f"s{at:03}": "elsewhere" for at in range(2, SAMPLES, 10)}},
}  # fmt: skip


def make_data(folder: Path) -> Path:
    """120 samples of five subtasks; those of `Limited/Small` are 8K pictures of a tiny target."""
    (folder / "images").mkdir(parents=True)
    draw(folder / "images" / "8k.jpg", 7680, 4320, [6000, 3000, 6040, 3030])
    rows = []
    for at in range(SAMPLES):
        l1, l2 = SUBTASKS[at % 5]
        box = None if l1 == "Rejection" else [20 + at, 30, 80 + at, 110]
        name, width, height = f"images/{at:03}.jpg", 320, 240
        if l2 == "Small":
            name, width, height, box = "images/8k.jpg", 7680, 4320, [6000, 3000, 6040, 3030]
        else:
            draw(folder / name, width, height, box, at)
        text = f"the orange thing number {at}" + (XSS if at == 0 else "")
        rows.append({"id": f"s{at:03}", "image": name, "description": text, "bbox": box,
                     "subtask_l1": l1, "subtask_l2": l2, "width": width,
                     "height": height})  # fmt: skip
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def make_runs(data: Path) -> list[Path]:
    """Run folders of `PLANS`, in their order."""
    dataset = load_dataset(str(data))
    targets = {
        one.id: None if one.target is None else [int(edge) for edge in one.target]
        for one in dataset
    }
    found = []
    for name, plan in PLANS.items():
        teller = Teller(name, plan, targets)
        result = evaluate(teller, dataset, out=data.parent / "runs")
        assert result.path
        found.append(result.path)
    return found
