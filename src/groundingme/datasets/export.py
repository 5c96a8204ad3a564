"""Writes any data set in the published layout, as a folder, or as COCO.

=========  ========================================================================================
`parquet`  `data/SPLIT-00000-of-00004.parquet` with the published columns; the Hub's libraries and
           `--data` read it
`folder`   `samples.jsonl` with image paths, beside `images/`; what a person can edit
`coco`     `annotations.json` beside `images/`: images, categories, one annotation a positive
           (`bbox` as x, y, width, height), and `expressions` for all samples, with `annotation_id`
           null where nothing matches
=========  ========================================================================================

Images are written as they are stored, one at a time. An interrupted export goes on: what is
complete stands under its final name, and is not made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from groundingme import geometry
from groundingme.datasets import Dataset
from groundingme.errors import DataError, ImageError, UsageError
from groundingme.registry import unknown
from groundingme.schema import ImageSource, Sample
from groundingme.store import write_atomically

SHARD = 250
"""Rows of one parquet file."""

Tick = Callable[[int], None]


def export(
    dataset: Dataset,
    out: str | Path,
    *,
    layout: str = "parquet",
    split: str = "test",
    workers: int = 1,
    tick: Tick | None = None,
) -> Path:
    """Writes a data set.

    Args:
        dataset: Any; every sample needs an image that can be read.
        out: Folder to write; made where it is missing.
        layout: `parquet`, `folder` or `coco`.
        split: Name of the split in parquet files.
        workers: Processes that read (or draw) images.
        tick: Called with the number of samples that are done.

    Returns:
        What `--data` takes to read it again.

    Raises:
        UsageError: An unknown layout, a folder that cannot be written, or one that holds another
            data set.
        DataError: A sample without a usable image; what is written so far is kept.
    """
    if layout not in _WRITERS:
        raise unknown("layout", layout, _WRITERS)
    for sample in dataset:
        if sample.image is None:
            raise DataError(f"expected an image for sample {sample.id!r}, got none; add its path")
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _claim(folder, dataset, layout)
        return _WRITERS[layout](dataset, folder, split, workers, tick or (lambda done: None))
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {folder} ({error.strerror}); name another"
        ) from None


def _claim(folder: Path, dataset: Dataset, layout: str) -> None:
    """Keeps two data sets from being mixed in one folder."""
    mark = folder / ".groundingme-export.json"
    mine = {"fingerprint": dataset.fingerprint, "layout": layout, "samples": len(dataset)}
    if mark.exists():
        with suppress(ValueError):
            if json.loads(mark.read_text(encoding="utf-8")) == mine:
                return
        raise UsageError(
            f"expected an empty folder, got another data set in {folder}; name another"
        )
    if any(folder.iterdir()):
        raise UsageError(f"expected an empty folder, got files in {folder}; name another")
    write_atomically(mark, json.dumps(mine).encode())


def _read(image: ImageSource) -> bytes | str:
    try:
        return image.read()
    except ImageError as error:
        return str(error)


def _images(samples: Sequence[Sample], workers: int) -> Iterator[bytes]:
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


def _row(sample: Sample) -> dict[str, Any]:
    """The published columns but `image`; whole pixels where the box has them."""
    box = None if sample.target is None else [_short(edge) for edge in sample.target]
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


def _short(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _file_names(samples: Sequence[Sample]) -> list[str]:
    """One file name an image; samples that share an image share its name."""
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


def _write_images(
    dataset: Dataset, folder: Path, names: Sequence[str], workers: int, tick: Tick
) -> None:
    (folder / "images").mkdir(exist_ok=True)
    todo: dict[str, Sample] = {}
    for sample, name in zip(dataset, names, strict=True):
        if not (folder / "images" / name).exists():
            todo.setdefault(name, sample)
    done = len(dataset) - len(todo)
    tick(done)
    for name, data in zip(todo, _images(list(todo.values()), workers), strict=True):
        write_atomically(folder / "images" / name, data)
        done += 1
        tick(done)


def _folder(dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick) -> Path:
    names = _file_names(dataset.samples)
    _write_images(dataset, folder, names, workers, tick)
    lines = [
        json.dumps({**_row(one), "image": f"images/{name}", **one.extra}, ensure_ascii=False)
        for one, name in zip(dataset, names, strict=True)
    ]
    write_atomically(folder / "samples.jsonl", ("\n".join(lines) + "\n").encode())
    return folder


def _coco(dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick) -> Path:
    names = _file_names(dataset.samples)
    _write_images(dataset, folder, names, workers, tick)
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
            x, y, w, h = map(_short, geometry.to_xywh([sample.target])[0].tolist())
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


def _parquet(dataset: Dataset, folder: Path, split: str, workers: int, tick: Tick) -> Path:
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
    names = _file_names(dataset.samples)
    shards = max(1, -(-len(dataset) // SHARD))
    for shard in range(shards):
        path = folder / "data" / f"{split}-{shard:05}-of-{shards:05}.parquet"
        rows = dataset.samples[shard * SHARD : (shard + 1) * SHARD]
        tick(shard * SHARD)
        if path.exists():
            continue
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with pq.ParquetWriter(part, schema, compression="none") as writer:
                images = _images(rows, workers)
                for at, (sample, data) in enumerate(zip(rows, images, strict=True)):
                    row = _row(sample)
                    if whole:
                        row["id"] = int(sample.id)
                    if row["bbox"] is not None:
                        row["bbox"] = [round(edge) for edge in row["bbox"]]
                    row["image"] = {"bytes": data, "path": names[shard * SHARD + at]}
                    writer.write_table(pa.Table.from_pylist([row], schema=schema))
                    tick(shard * SHARD + at + 1)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    tick(len(dataset))
    return folder


_WRITERS: dict[str, Callable[[Dataset, Path, str, int, Tick], Path]] = {
    "parquet": _parquet,
    "folder": _folder,
    "coco": _coco,
}
LAYOUTS = tuple(_WRITERS)
