"""What each suppression policy keeps of a real detector's boxes: precision and recall.

    python bench/policies.py MODEL.onnx PHOTOS [--cache FILE.npz] [--score 0.25] [--iou 0.7]

MODEL is a YOLOv8 detector as Ultralytics exports it to ONNX: input `(1, 3, S, S)`, output
`(1, 4 + classes, anchors)` without suppression, the names of its classes in the metadata. PHOTOS is
a folder with `images/` and `boxes.jsonl`, a row a photo: `image`, and `objects` of `category`,
`bbox` in xyxy pixels and perhaps `iscrowd`. Every class of an anchor that reaches the score makes a
box, as a detector asked for many tags does. Boxes count as COCO counts them, at IoU 0.5; `labelled`
with the right class, `any class` whatever the class. `twice` is the share of the kept boxes whose
true object (IoU 0.5, whatever the class) a surer kept box found already, which is what
suppression is to prevent.
"""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from groundingme import geometry, images
from groundingme.build.agreement import match, tally
from groundingme.build.suppress import POLICIES, suppress

FLOOR = 0.05
"""Lowest score that the cache holds."""


def detect(session: Any, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, classes and scores of one photo, of all anchors and classes above `FLOOR`."""
    picture = images.open_upright(path.read_bytes())
    side = session.get_inputs()[0].shape[2]
    scale = side / max(picture.size)
    small = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    sheet = np.full((side, side, 3), 114, np.uint8)
    left, top = (side - small.width) // 2, (side - small.height) // 2
    sheet[top : top + small.height, left : left + small.width] = np.asarray(small)
    pixels = np.ascontiguousarray(sheet.transpose(2, 0, 1)[None], np.float32) / 255
    (out,) = session.run(None, {session.get_inputs()[0].name: pixels})
    anchors = out[0].T.astype(np.float64)
    at, label = np.nonzero(anchors[:, 4:] >= FLOOR)
    x, y, w, h = anchors[at, :4].T
    boxes = np.column_stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    boxes = (boxes - np.array([left, top, left, top])) / scale
    return geometry.clip(boxes, picture.size), label, anchors[at, 4 + label]


def read_cache(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def make_cache(model: Path, photos: Path, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options)
    found = [detect(session, photos / "images" / row["image"]) for row in rows]
    names = ast.literal_eval(session.get_modelmeta().custom_metadata_map["names"])
    return {
        "names": np.array([names[i] for i in range(len(names))]),
        "lengths": np.array([len(one[1]) for one in found]),
        "boxes": np.concatenate([one[0] for one in found]),
        "labels": np.concatenate([one[1] for one in found]),
        "scores": np.concatenate([one[2] for one in found]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--cache", type=Path, help="keep the detections in this file")
    parser.add_argument("--score", type=float, default=0.25, help="lowest score of a box")
    parser.add_argument("--iou", type=float, default=0.7)
    parser.add_argument("--containment", type=float, default=0.9)
    args = parser.parse_args()
    lines = (args.photos / "boxes.jsonl").read_bytes().splitlines()
    rows = [msgspec.json.decode(line) for line in lines]
    if args.cache and args.cache.exists():
        cache = read_cache(args.cache)
    else:
        cache = make_cache(args.model, args.photos, rows)
        if args.cache:
            np.savez(args.cache, **cache)
    place = {name: i for i, name in enumerate(cache["names"].tolist())}
    ends = np.cumsum(cache["lengths"])
    limits = {"iou": args.iou, "containment": args.containment}
    table = []
    for policy in POLICIES:
        labelled, anyhow, kept, twice, lost = [], [], 0, 0, 0
        for row, end, length in zip(rows, ends, cache["lengths"], strict=True):
            part = slice(end - length, end)
            sure = cache["scores"][part] >= args.score
            boxes, labels, scores = (
                cache[key][part][sure] for key in ("boxes", "labels", "scores")
            )
            keep = suppress(boxes, labels, scores, policy=policy, **limits).keep
            lost += int((~keep).sum())
            boxes, labels, scores = boxes[keep], labels[keep], scores[keep]
            objects = row["objects"]
            truth = [one["bbox"] for one in objects], [place[one["category"]] for one in objects]
            crowd = np.array([bool(one.get("iscrowd")) for one in objects], bool)
            given = {"ignore": crowd}
            labelled.append(match(boxes, labels, scores, *truth, **given))
            anyhow.append(match(boxes, labels, scores, *truth, agnostic=True, **given))
            overlap = geometry.iou_matrix(boxes, truth[0])[:, ~crowd]
            again = (anyhow[-1].truth < 0) & (overlap >= 0.5).any(axis=1)
            kept, twice = kept + len(labels), twice + int(again.sum())
        one, other = (tally(found, len(place)) for found in (labelled, anyhow))
        table.append(
            {
                "policy": policy,
                "kept an image": round(kept / len(rows), 1),
                "precision": round(100 * one.precision, 1),
                "recall": round(100 * one.recall, 1),
                "precision, any class": round(100 * other.precision, 1),
                "recall, any class": round(100 * other.recall, 1),
                "twice": round(100 * twice / max(1, kept), 1),
            }
        )
    print(f"{len(rows)} photos, scores from {args.score}, {limits}, {kept + lost} boxes")
    print("| " + " | ".join(table[0]) + " |")
    print("|---|" + "---:|" * (len(table[0]) - 1))
    for line in table:
        print("| " + " | ".join(map(str, line.values())) + " |")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
