"""Targets for tests of the stages that write and check descriptions."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

from groundingme.build.records import Target
from groundingme.schema import Box

SIZE = (400, 300)


def picture(folder: Path, name: str, boxes: list[Box]) -> str:
    """Where a grey picture with blue rectangles is."""
    image = Image.new("RGB", SIZE, "#aaaaaa")
    for box in boxes:
        ImageDraw.Draw(image).rectangle(box, fill="#3355bb")
    image.save(folder / name, quality=95)
    return f"{folder}/./{name}"


def target(where: str, box: Box, others: list[Box], **fields: object) -> Target:
    """A cup that was chosen for Appearance, but for what is given."""
    name = Path(where).name
    values: dict[str, object] = {
        "id": f"{name}#{int(box[0])}", "picture": name, "where": where, "width": SIZE[0],
        "height": SIZE[1], "box": box, "label": "cup", "score": 0.9,
        "subtask_l1": "Discriminative", "subtask_l2": "Appearance", "others": others,
    }  # fmt: skip
    return Target(**(values | fields))  # type: ignore[arg-type]


def cups(folder: Path, pictures: int, subtask: str = "Appearance") -> list[Target]:
    """Three cups a picture, each a target."""
    boxes: list[Box] = [(20, 100, 80, 180), (150, 110, 220, 190), (300, 90, 350, 170)]
    found = []
    for number in range(pictures):
        where = picture(folder, f"p{number:03}.jpg", boxes)
        for box in boxes:
            rest = [one for one in boxes if one != box]
            found.append(target(where, box, rest, subtask_l2=subtask))
    return found


def coco(shared: Path, subtasks: tuple[str, ...], least: int = 3) -> list[Target]:
    """Real photos with real boxes: every box of a class that has at least so many."""
    found = []
    root = shared / "assets" / "coco"
    for line in (root / "boxes.jsonl").read_text().splitlines():
        row = json.loads(line)
        classes: dict[str, list[Box]] = defaultdict(list)
        for one in row["objects"]:
            classes[one["category"]].append(tuple(map(float, one["bbox"])))
        for label, boxes in classes.items():
            if len(boxes) < least:
                continue
            for at, box in enumerate(boxes):
                found.append(
                    target(
                        f"{root}/./images/{row['image']}", box,
                        [one for number, one in enumerate(boxes) if number != at],
                        id=f"{row['image']}#{label}-{at}", label=label, width=row["width"],
                        height=row["height"], subtask_l2=subtasks[len(found) % len(subtasks)],
                    )
                )  # fmt: skip
    return found
