"""RefCOCOg_rej: expressions of RefCOCOg changed so that nothing matches.

Columns: `id` int64, `image` (bytes), `original_exp`, `original_bbox` list of four int64,
`rejected_exp`, `width`, `height`; 30,000 rows in `train`, 11,490 in `validation`. Every row is a
rejection; the expression that it was made from and its box are kept in `Sample.extra`. Source: Hub
`lirang04/RefCOCOg_rej`.
"""

from __future__ import annotations

from pathlib import Path

from groundingme.datasets import FORMATS, Dataset, Format
from groundingme.datasets import parquet as pq
from groundingme.datasets.rows import to_sample, unique
from groundingme.errors import DataError
from groundingme.taxonomy import REJECTION


def load(path: Path, split: str | None) -> Dataset:
    """Reads a parquet file or a folder of them; the usual split is `validation`.

    Raises:
        DataError: There are no such files, or they have other columns.
    """
    if not _detects(path):
        raise DataError(f"expected parquet files with the column rejected_exp in {path}")
    chosen = pq.choose_split(pq.files(path), split, ("validation", "val"), path)
    samples = unique(
        (
            f"{file.name}:{number}",
            to_sample(
                {**row, "description": row.pop("rejected_exp"), "subtask_l1": REJECTION},
                place=f"{file.name}:{number}",
                image=pq.ParquetImage(str(file), number),
            ),
        )
        for file, number, row in pq.rows(chosen)
    )
    return Dataset(name="refcocog_rej", source=str(path), samples=samples)


def _detects(path: Path) -> bool:
    return "rejected_exp" in pq.columns(path)


FORMATS.register(
    "refcocog_rej",
    Format(
        summary="RefCOCOg_rej's parquet: expressions that nothing matches",
        load=load,
        detects=_detects,
        hub="lirang04/RefCOCOg_rej",
    ),
)
