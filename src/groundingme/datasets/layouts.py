"""The layouts in which a data set is written: parquet, folder, COCO.

A writer takes a data set, an empty folder, the split's name, how many processes read images, and
whom to tell; it gives what `--data` takes to read the data set again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from groundingme import geometry
from groundingme.datasets import Dataset
from groundingme.errors import DataError, ImageError
from groundingme.schema import ImageSource, Sample
from groundingme.store import write_atomically, written

SHARD = 250
"""Rows of one parquet file."""

Tick = Callable[[int], None]
"""Called with the number of samples that are done."""


def _read(image: ImageSource) -> bytes | str:
    try:
        return image.read()
    except ImageError as error:
        return str(error)


def encoded(samples: Sequence[Sample], workers: int) -> Generator[bytes, None, None]:
    """The encoded image of each sample, in order; at most a few are held at once."""
    sources = [sample.image for sample in samples if sample.image is not None]
    if workers <= 1 or len(sources) < 4:
        yield from _checked(samples, map(_read, sources))
        return
    # Spawned, not forked: threads of the caller may hold locks.
    import multiprocessing

    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        todo = iter(sources)
        waiting = [pool.submit(_read, one) for one in islice(todo, 2 * workers)]

        def results() -> Iterator[bytes | str]:
            while waiting:
                result = waiting.pop(0).result()
                waiting.extend(pool.submit(_read, one) for one in islice(todo, 1))
                yield result

        try:
            yield from _checked(samples, results())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _checked(samples: Sequence[Sample], results: Iterator[bytes | str]) -> Iterator[bytes]:
    for sample, result in zip(samples, results, strict=True):
        if isinstance(result, str):
            raise DataError(f"expected an image for sample {sample.id!r}, got: {result}")
        yield result


def as_row(sample: Sample) -> dict[str, Any]:
    """The published columns but `image`; whole pixels where the box has them."""
    box = None if sample.target is None else [short(edge) for edge in sample.target]
    return {
        "id": sample.id,
        "description": sample.description,
        "bbox": box,
        "detection_type": sample.detection_type,
        "subtask_l1": sample.subtask_l1,
        "subtask_l2": sample.subtask_l2,
        "width": sample.width,
        "height": sample.height,
    }


def short(value: float) -> int | float:
    """A whole number without its point."""
    return int(value) if float(value).is_integer() else value


def file_names(samples: Sequence[Sample]) -> list[str]:
    """The file name of each sample's image; samples that share an image share its name."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for sample in samples:
        if sample.image is None or sample.image.name in names:
            continue
        base = PurePosixPath(sample.image.name.replace(":", "-").replace("\\", "/")).name
        name = base if base not in taken else f"{sample.id}-{base}"
        taken.add(name)
        names[sample.image.name] = name
    return [names[one.image.name] if one.image else "" for one in samples]


def images_once(samples: Sequence[Sample]) -> list[Sample]:
    """The first sample of every image."""
    seen: dict[str, Sample] = {}
    for one in samples:
        if one.image is not None:
            seen.setdefault(one.image.name, one)
    return list(seen.values())


def write_images(
    dataset: Dataset, folder: Path, names: Sequence[str], workers: int, tick: Tick
) -> None:
    """Writes every image once, under its name, with its original bytes."""
    (folder / "images").mkdir(exist_ok=True)
    todo: dict[str, Sample] = {}
    for sample, name in zip(dataset, names, strict=True):
        if not (folder / "images" / name).exists():
            todo.setdefault(name, sample)
    done = len(dataset) - len(todo)
    tick(done)
    for name, data in zip(todo, encoded(list(todo.values()), workers), strict=True):
        write_atomically(folder / "images" / name, data)
        done += 1
        tick(done)


def write_folder(dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick) -> Path:
    """A JSONL of samples beside a folder of images; returns the JSONL."""
    names = file_names(dataset.samples)
    write_images(dataset, folder, names, workers, tick)
    lines = [
        json.dumps({**as_row(one), "image": f"images/{name}", **one.extra}, ensure_ascii=False)
        for one, name in zip(dataset, names, strict=True)
    ]
    write_atomically(folder / "samples.jsonl", ("\n".join(lines) + "\n").encode())
    return folder


def write_coco(dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick) -> Path:
    """COCO annotations beside a folder of images; returns the annotations."""
    names = file_names(dataset.samples)
    write_images(dataset, folder, names, workers, tick)
    images: dict[str, dict[str, Any]] = {}
    categories: dict[str, int] = {}
    annotations: list[dict[str, Any]] = []
    expressions: list[dict[str, Any]] = []
    for sample, name in zip(dataset, names, strict=True):
        image = images.setdefault(
            name,
            {"id": len(images) + 1, "file_name": name, "width": sample.width,
             "height": sample.height},
        )  # fmt: skip
        annotation = None
        if sample.target is not None:
            kind = sample.detection_type or "object"
            x, y, w, h = map(short, geometry.to_xywh([sample.target])[0].tolist())
            annotation = len(annotations) + 1
            annotations.append(
                {"id": annotation, "image_id": image["id"], "bbox": [x, y, w, h],
                 "area": w * h, "iscrowd": 0, "segmentation": [],
                 "category_id": categories.setdefault(kind, len(categories) + 1)}
            )  # fmt: skip
        expressions.append(
            {"id": sample.id, "image_id": image["id"], "annotation_id": annotation,
             "description": sample.description, "subtask_l1": sample.subtask_l1,
             "subtask_l2": sample.subtask_l2}
        )  # fmt: skip
    document = {
        "info": {"description": f"{dataset.name}, written by groundingme"},
        "images": list(images.values()),
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": annotations,
        "expressions": expressions,
    }
    path = folder / "annotations.json"
    write_atomically(path, json.dumps(document, ensure_ascii=False).encode())
    return path


_FEATURES = {
    "id": {"dtype": "string", "_type": "Value"},
    "description": {"dtype": "string", "_type": "Value"},
    "image": {"_type": "Image"},
    "bbox": {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "List"},
    "detection_type": {"dtype": "string", "_type": "Value"},
    "subtask_l1": {"dtype": "string", "_type": "Value"},
    "subtask_l2": {"dtype": "string", "_type": "Value"},
    "width": {"dtype": "int64", "_type": "Value"},
    "height": {"dtype": "int64", "_type": "Value"},
}


def write_parquet(dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick) -> Path:
    """The published columns with image bytes, in shards; returns the folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = all(one.id.isdigit() and str(int(one.id)) == one.id for one in dataset)
    features: dict[str, Any] = {**_FEATURES}
    if whole:
        features["id"] = {"dtype": "int64", "_type": "Value"}
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {
        "id": pa.int64() if whole else pa.string(), "description": pa.string(),
        "image": image_type, "bbox": pa.list_(pa.int64()), "detection_type": pa.string(),
        "subtask_l1": pa.string(), "subtask_l2": pa.string(), "width": pa.int64(),
        "height": pa.int64(),
    }  # fmt: skip
    hub = json.dumps({"info": {"features": features}})
    schema = pa.schema(list(types.items()), metadata={"huggingface": hub})
    (folder / "data").mkdir(exist_ok=True)
    names = file_names(dataset.samples)
    shards = max(1, -(-len(dataset) // SHARD))
    for shard in range(shards):
        path = folder / "data" / f"{split}-{shard:05}-of-{shards:05}.parquet"
        rows = dataset.samples[shard * SHARD : (shard + 1) * SHARD]
        tick(shard * SHARD)
        if path.exists():
            continue
        with written(path) as part, pq.ParquetWriter(part, schema, compression="none") as writer:
            images = encoded(rows, workers)
            for at, (sample, data) in enumerate(zip(rows, images, strict=True)):
                row = as_row(sample)
                if whole:
                    row["id"] = int(sample.id)
                if row["bbox"] is not None:
                    row["bbox"] = [round(edge) for edge in row["bbox"]]
                row["image"] = {"bytes": data, "path": names[shard * SHARD + at]}
                writer.write_table(pa.Table.from_pylist([row], schema=schema))
                tick(shard * SHARD + at + 1)
    tick(len(dataset))
    return folder
