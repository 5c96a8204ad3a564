"""GroundingME as published: parquet with one sample a row.

Columns: `id` int64, `description`, `image` (bytes), `bbox` list of four int64 (x1, y1, x2, y2 in
pixels of the original image; null or ignored where nothing matches), `detection_type`,
`subtask_l1`, `subtask_l2`, `width`, `height`. Source: Hub `lirang04/GroundingME`.
"""

from __future__ import annotations

from pathlib import Path

from groundingme.datasets import FORMATS, Dataset, Format
from groundingme.datasets import parquet as pq
from groundingme.datasets.rows import to_sample, unique
from groundingme.errors import DataError

NEEDED = {"id", "description", "bbox", "subtask_l1", "subtask_l2"}


def load(path: Path, split: str | None) -> Dataset:
    """Reads a parquet file, or a folder of them such as a copy of the Hub's repository.

    Raises:
        DataError: There are no such files, or they have other columns.
    """
    missing = NEEDED - pq.columns(path)
    if missing:
        raise DataError(
            f"expected parquet files with the published columns in {path}; "
            f"missing: {', '.join(sorted(missing))}"
        )
    chosen = pq.choose_split(pq.files(path), split, ("test",), path)
    with_images = "image" in pq.columns(path)
    samples = unique(
        (
            f"{file.name}:{number}",
            to_sample(
                row,
                place=f"{file.name}:{number}",
                image=pq.ParquetImage(str(file), number) if with_images else None,
            ),
        )
        for file, number, row in pq.rows(chosen)
    )
    return Dataset(name="groundingme", source=str(path), samples=samples)


def _detects(path: Path) -> bool:
    return pq.columns(path) >= NEEDED


FORMATS.register(
    "groundingme",
    Format(
        summary="GroundingME's parquet, 1,005 samples in twelve subtasks",
        load=load,
        detects=_detects,
        hub="lirang04/GroundingME",
    ),
)
