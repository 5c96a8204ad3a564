"""Parquet files with images in them: rows at once, images one at a time.

An image is read where it lies in the file, page by page; one page is in memory at a time, however
large the row group is. A page is 1 MB or one image where the file was written with content-defined
chunking, as the Hub's own library does today; else it can be all images of a row group. Reading in
the order of the file reads each page once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundingme.datasets.rows import beside, path_problem
from groundingme.errors import DataError, ImageError, SplitError
from groundingme.images import MAX_BYTES

_SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?$")
_OPEN_FILES = 4
_BATCH = 64
"""Rows read at a time. A text that is stored once and repeated takes its size in every row."""


class ParquetImage(msgspec.Struct, frozen=True):
    """An image in a parquet file.

    Attributes:
        path: The file.
        row: Row in the file, from 0.
        column: Its column: bytes, or the Hub's struct of `bytes` and `path`.
    """

    path: str
    row: int
    column: str = "image"

    @property
    def name(self) -> str:
        """`FILE:ROW`."""
        return f"{Path(self.path).name}:{self.row}"

    def read(self) -> bytes:
        """The encoded bytes, as stored.

        Raises:
            ImageError: `missing` where the cell is empty, `unreadable` where the file is damaged,
                and what a file beside it raises where the cell has only its path.
        """
        value: Any = _cell(self.path, self.column, self.row)
        path: Any = None
        if isinstance(value, dict):
            value, path = value.get("bytes"), value.get("path")
        if value is None and path and not path_problem(path):
            return beside(str(Path(self.path).parent), path).read()
        if not isinstance(value, bytes):
            raise ImageError("missing", f"expected an image in {self.name}, got an empty cell")
        if len(value) > MAX_BYTES:
            raise ImageError(
                "too-large",
                f"expected an image of at most {MAX_BYTES} bytes in {self.name}, got {len(value)}; "
                "make it smaller",
            )
        return value


class _Cursor:
    """Stands at a row of one column of one file, and moves forward cheaply."""

    def __init__(self, path: str, column: str) -> None:
        import pyarrow.parquet as pq

        # Through a small buffer, page by page. A memory-mapped file would stay in the process's
        # memory as far as it was read, and unbuffered reading takes a whole row group.
        self._file = pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False)
        self._column = column
        meta = self._file.metadata
        self._starts = [0]
        for group in range(meta.num_row_groups):
            self._starts.append(self._starts[-1] + meta.row_group(group).num_rows)
        self._group = -1
        self._next = 0
        self._rows: Iterator[Any] = iter(())

    def cell(self, row: int) -> Any:
        group = next(i for i, start in enumerate(self._starts[1:]) if row < start)
        if group != self._group or row < self._next:
            self._group, self._next = group, self._starts[group]
            self._rows = self._file.iter_batches(
                batch_size=1, row_groups=[group], columns=[self._column], use_threads=False
            )
        while True:
            batch = next(self._rows)
            self._next += 1
            if self._next > row:
                return batch.column(0)[0].as_py()

    def close(self) -> None:
        self._rows = iter(())
        self._file.close()


_SAME = {"val": "validation", "validation": "val"}

_lock = threading.Lock()
_cursors: dict[tuple[str, str], _Cursor] = {}


def _cell(path: str, column: str, row: int) -> Any:
    import pyarrow as pa

    with _lock:
        try:
            cursor = _cursors.pop((path, column), None) or _Cursor(path, column)
            value = cursor.cell(row)
        except (OSError, pa.ArrowException, StopIteration, ValueError, MemoryError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise ImageError("unreadable", f"expected an image in {path}:{row}: {said}") from None
        _cursors[path, column] = cursor
        while len(_cursors) > _OPEN_FILES:
            _cursors.pop(next(iter(_cursors))).close()
    return value


def files(path: Path) -> dict[str, list[Path]]:
    """The parquet files under a path by split; "" for a file whose name tells none.

    A split is told by `SPLIT-00000-of-00004.parquet`, `SPLIT.parquet`, or a folder `SPLIT/`.
    """
    found: dict[str, list[Path]] = {}
    for file in [path] if path.is_file() else sorted(path.rglob("*.parquet")):
        shard = _SHARD.match(file.stem)
        split = shard["split"] if shard else file.stem
        if re.fullmatch(r"\d+|part-.*|data", split):
            split = "" if path.is_file() else file.parent.name
        found.setdefault(split, []).append(file)
    return found


def choose_split(
    splits: dict[str, list[Path]], split: str | None, usual: tuple[str, ...], path: Path
) -> list[Path]:
    """The files of a split: the asked one, the only one, or the first that is usual.

    Raises:
        SplitError: There is no such split.
        DataError: There are several and none is usual.
    """
    if split is not None:
        return splits[named_split(split, splits, path)]
    if len(splits) == 1:
        return next(iter(splits.values()))
    for name in usual:
        if name in splits:
            return splits[name]
    raise DataError(f"expected a split of {path}: name one of {', '.join(splits)} with --split")


def named_split(split: str, splits: Iterable[str], path: Path) -> str:
    """The split of that name; `val` and `validation` are the same.

    Raises:
        SplitError: There is none.
    """
    known = tuple(splits)
    for name in (split, _SAME.get(split, split)):
        if name in known:
            return name
    raise SplitError(
        f"expected one of the splits {', '.join(known[:20])} of {path}, got {split!r}", splits=known
    )


def columns(path: Path) -> set[str]:
    """The columns of the first parquet file under a path; none where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = next((f for group in files(path).values() for f in group), None)
    if file is None or file.suffix != ".parquet":
        return set()
    try:
        return set(pq.read_schema(file).names)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"expected a parquet file in {file}, got: {_line(error)}") from None


def rows(paths: list[Path], image: str = "image") -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Every row without images, with its file and its number in it.

    Other columns of bytes are left out as well: they are masks or further pictures, and would fill
    the memory. A text that is no UTF-8 stays bytes.

    Raises:
        DataError: A file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        try:
            with pq.ParquetFile(path, memory_map=True) as file:
                names = [
                    field.name
                    for field in file.schema_arrow
                    if field.name != image and not _holds_bytes(field.type)
                ]
                number = 0
                for batch in file.iter_batches(batch_size=_BATCH, columns=names):
                    for row in _python(batch):
                        yield path, number, row
                        number += 1
        except (OSError, pa.ArrowException, ValueError, MemoryError) as error:
            raise DataError(f"expected a parquet file in {path}, got: {_line(error)}") from None


def _holds_bytes(type: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(type):
        return any(_holds_bytes(type.field(at).type) for at in range(type.num_fields))
    return bool(
        pa.types.is_binary(type)
        or pa.types.is_large_binary(type)
        or pa.types.is_fixed_size_binary(type)
    )


def _python(batch: Any) -> list[dict[str, Any]]:
    import pyarrow as pa

    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
        return rows
    except UnicodeDecodeError:
        pass
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = [_text(cell) for cell in column.cast(pa.large_binary()).to_pylist()]
        else:
            columns[name] = column.to_pylist()
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _text(cell: bytes | None) -> str | bytes | None:
    try:
        return None if cell is None else cell.decode()
    except UnicodeDecodeError:
        return cell


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
