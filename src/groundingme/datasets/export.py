"""Writes any data set in the published layout, or as other tools read it.

==============  ===================================================================================
`parquet`       `data/SPLIT-00000-of-00004.parquet` with the published columns; the Hub's libraries
                and `--data` read it
`folder`        `samples.jsonl` with image paths, beside `images/`; what a person can edit
`coco`          `annotations.json` beside `images/`: images, categories, one annotation a positive
                (`bbox` as x, y, width, height), and `expressions` for all samples, with
                `annotation_id` null where nothing matches
`tsv`           `SPLIT.tsv` of VLMEvalKit, with images in base64
`refcoco`       `refs(groundingme).p`, `instances.json` and `images/` for the positives;
                `rejected/` with the columns of RefCOCOg_rej for the others
`label-studio`  `tasks.json` with boxes in percent, `config.xml`, and `images/`
==============  ===================================================================================

Images are written as they are stored, one at a time. An interrupted export goes on: what is
complete stands under its final name, and is not made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from groundingme.datasets import Dataset
from groundingme.datasets.layouts import Tick, write_coco, write_folder, write_parquet
from groundingme.datasets.peer_layouts import write_label_studio, write_refcoco, write_tsv
from groundingme.errors import DataError, UsageError
from groundingme.registry import unknown
from groundingme.store import remove_strays, write_atomically


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


_MARK = ".groundingme-export.json"


def mark(folder: Path) -> dict[str, Any]:
    """What was exported into a folder: `fingerprint`, `layout`, `samples`.

    Raises:
        FileNotFoundError: Nothing was.
    """
    with suppress(ValueError):
        told = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        if isinstance(told, dict):
            return told
    return {"fingerprint": ""}


def _claim(folder: Path, dataset: Dataset, layout: str) -> None:
    """Keeps two data sets from being mixed in one folder."""
    mine = {"fingerprint": dataset.fingerprint, "layout": layout, "samples": len(dataset)}
    with suppress(FileNotFoundError):
        if mark(folder) == mine:
            remove_strays(folder)
            return
        raise UsageError(
            f"expected an empty folder, got another data set in {folder}; name another"
        )
    remove_strays(folder, _MARK)
    if any(folder.iterdir()):
        raise UsageError(f"expected an empty folder, got files in {folder}; name another")
    write_atomically(folder / _MARK, json.dumps(mine).encode())


_WRITERS: dict[str, Callable[[Dataset, Path, str, int, Tick], Path]] = {
    "parquet": write_parquet,
    "folder": write_folder,
    "coco": write_coco,
    "tsv": write_tsv,
    "refcoco": write_refcoco,
    "label-studio": write_label_studio,
}
LAYOUTS = tuple(_WRITERS)
