"""The layouts of other tools: VLMEvalKit's TSV, RefCOCO's files, Label Studio's tasks."""

from __future__ import annotations

import base64
import csv
import html
import json
import pickle  # nosec B403
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from groundingme import geometry
from groundingme.datasets import Dataset
from groundingme.datasets.layouts import (
    Tick,
    encoded,
    file_names,
    images_once,
    short,
    write_images,
)
from groundingme.schema import Box, Sample
from groundingme.store import write_atomically, written

TSV_COLUMNS = (
    "index", "image", "question", "answer", "width", "height", "subtask_l1", "subtask_l2"
)  # fmt: skip
"""Of VLMEvalKit. `image` is base64, or the index of an earlier row with the same image."""


def write_tsv(dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick) -> Path:
    """`SPLIT.tsv`: one sample a line; an image is in the first of its lines."""
    path = folder / f"{split}.tsv"
    first = images_once(dataset.samples)
    owners = {sample.image.name: sample.id for sample in first if sample.image}
    with written(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(TSV_COLUMNS)
        with closing(encoded(first, workers)) as images:
            for done, sample in enumerate(dataset, 1):
                owner = owners[sample.image.name] if sample.image else ""
                image = owner if owner != sample.id else base64.b64encode(next(images)).decode()
                answer = "null" if sample.target is None else json.dumps(_numbers(sample.target))
                rows.writerow(
                    (sample.id, image, sample.description, answer, sample.width, sample.height,
                     sample.subtask_l1, sample.subtask_l2)
                )  # fmt: skip
                tick(done)
    return path


def write_refcoco(dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick) -> Path:
    """`refs(groundingme).p`, `instances.json` and `images/`, as RefCOCO's own tools read them.

    They know no description that nothing matches; those go into
    `rejected/SPLIT-00000-of-00001.parquet`, with the columns of RefCOCOg_rej. A ref is one object;
    its sentences are the descriptions.
    """
    positives = [one for one in dataset if one.target is not None]
    names = dict(zip((one.id for one in dataset), file_names(dataset.samples), strict=True))
    write_images(dataset, folder, [names[one.id] for one in dataset], workers, tick)
    photos: dict[str, dict[str, Any]] = {}
    categories: dict[str, int] = {}
    annotations: list[dict[str, Any]] = []
    refs: dict[tuple[str, Box], dict[str, Any]] = {}
    for number, sample in enumerate(positives):
        assert sample.target is not None
        name = names[sample.id]
        photo = photos.setdefault(
            name,
            {"id": len(photos) + 1, "file_name": name, "width": sample.width,
             "height": sample.height},
        )  # fmt: skip
        kind = categories.setdefault(sample.detection_type or "object", len(categories) + 1)
        ref = refs.get((name, sample.target))
        if ref is None:
            x, y, w, h = map(short, geometry.to_xywh([sample.target])[0].tolist())
            annotations.append(
                {"id": len(annotations) + 1, "image_id": photo["id"], "category_id": kind,
                 "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, "segmentation": []}
            )  # fmt: skip
            ref = refs[name, sample.target] = {
                "ref_id": len(refs) + 1, "ann_id": len(annotations), "image_id": photo["id"],
                "category_id": kind, "file_name": name, "split": split, "sent_ids": [],
                "sentences": [],
            }  # fmt: skip
        words = sample.description.lower().split()
        ref["sent_ids"].append(number)
        ref["sentences"].append(
            {"sent_id": number, "raw": sample.description, "sent": " ".join(words),
             "tokens": words}
        )  # fmt: skip
    document = {
        "info": {"description": f"{dataset.name}, written by groundingme"},
        "images": list(photos.values()),
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": annotations,
    }
    write_atomically(folder / "instances.json", json.dumps(document, ensure_ascii=False).encode())
    _write_rejected(dataset, folder, split, workers)
    path = folder / "refs(groundingme).p"
    write_atomically(path, pickle.dumps(list(refs.values()), protocol=2))
    return folder


def _write_rejected(dataset: Dataset, folder: Path, split: str, workers: int) -> None:
    rejected = [one for one in dataset if one.target is None]
    if not rejected:
        return
    (folder / "rejected").mkdir(exist_ok=True)
    path = folder / "rejected" / f"{split}-00000-of-00001.parquet"
    with closing(encoded(rejected, workers)) as images:
        write_rejected_rows(path, rejected, range(len(rejected)), images)


def write_rejected_rows(
    path: Path, rejected: Sequence[Sample], ids: Sequence[int | str], images: Iterator[bytes]
) -> None:
    """A parquet file with the columns of RefCOCOg_rej.

    Args:
        path: Of the file.
        rejected: Samples; `original_description` and `original_bbox` in `Sample.extra` say what
            each was made from.
        ids: What the column `id` says of each.
        images: Encoded, one a sample.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = pa.int64() if isinstance(ids[0], int) else pa.string()
    schema = pa.schema(
        {"id": number, "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
         "original_exp": pa.string(), "original_bbox": pa.list_(pa.int64()),
         "rejected_exp": pa.string(), "width": pa.int64(), "height": pa.int64()}
    )  # fmt: skip
    with (
        written(path) as part,
        pq.ParquetWriter(part, schema, compression="none") as writer,
    ):
        for id, sample, data in zip(ids, rejected, images, strict=True):
            box = sample.extra.get("original_bbox")
            row = {
                "id": id,
                "image": {"bytes": data, "path": sample.image.name if sample.image else ""},
                "original_exp": sample.extra.get("original_description"),
                "original_bbox": None if box is None else [round(edge) for edge in box],
                "rejected_exp": sample.description,
                "width": sample.width,
                "height": sample.height,
            }
            writer.write_table(pa.Table.from_pylist([row], schema=schema))


LABEL_CONFIG = """<View>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <RectangleLabels name="box" toName="image">
{labels}
  </RectangleLabels>
  <TextArea name="description" toName="image" value="$description" editable="true"/>
  <Choices name="subtask" toName="image" choice="single">
{subtasks}
  </Choices>
</View>
"""


def write_label_studio(
    dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick
) -> Path:
    """`tasks.json`, the labelling interface `config.xml`, and `images/`.

    Boxes are in percent of the picture, as Label Studio wants them. Its local file storage must
    be on, with `images/` in the folder that it serves.
    """
    names = file_names(dataset.samples)
    write_images(dataset, folder, names, workers, tick)
    tasks = [_task(one, name) for one, name in zip(dataset, names, strict=True)]
    labels = sorted({_label(one) for one in dataset})
    subtasks = sorted({_subtask(one) for one in dataset})
    config = LABEL_CONFIG.format(
        labels="\n".join(_choices("Label", labels)),
        subtasks="\n".join(_choices("Choice", subtasks)),
    )
    write_atomically(folder / "config.xml", config.encode())
    path = folder / "tasks.json"
    write_atomically(path, json.dumps(tasks, ensure_ascii=False).encode())
    return path


def _task(sample: Sample, name: str) -> dict[str, Any]:
    result: list[dict[str, Any]] = []
    about = {
        "to_name": "image", "original_width": sample.width, "original_height": sample.height,
        "image_rotation": 0,
    }  # fmt: skip
    if sample.target is not None:
        x1, y1, x2, y2 = sample.target
        value = {
            "x": 100 * x1 / sample.width, "y": 100 * y1 / sample.height,
            "width": 100 * (x2 - x1) / sample.width, "height": 100 * (y2 - y1) / sample.height,
            "rotation": 0, "rectanglelabels": [_label(sample)],
        }  # fmt: skip
        result.append(
            {"id": f"box-{sample.id}", "from_name": "box", "type": "rectanglelabels",
             "value": value, **about}
        )  # fmt: skip
    result.append(
        {"id": f"text-{sample.id}", "from_name": "description", "type": "textarea",
         "value": {"text": [sample.description]}, **about}
    )  # fmt: skip
    result.append(
        {"id": f"subtask-{sample.id}", "from_name": "subtask", "type": "choices",
         "value": {"choices": [_subtask(sample)]}, **about}
    )  # fmt: skip
    data = {
        "image": f"/data/local-files/?d=images/{name}", "sample": sample.id,
        "description": sample.description,
    }  # fmt: skip
    return {"data": data, "predictions": [{"model_version": "groundingme", "result": result}]}


def _choices(tag: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        yield f'    <{tag} value="{html.escape(value)}"/>'


def _label(sample: Sample) -> str:
    return sample.detection_type or "object"


def _subtask(sample: Sample) -> str:
    return f"{sample.subtask_l1}/{sample.subtask_l2}".strip("/") or "none"


def _numbers(box: Box) -> list[int | float]:
    return [short(edge) for edge in box]
