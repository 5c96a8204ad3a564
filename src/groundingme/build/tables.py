"""Records in parquet files: one file a shard, whole or not there.

Boxes lie in columns of lists (`boxes` is a list of lists of four numbers), so any reader of
parquet sees them. The same records give the same bytes under the same version of pyarrow.
"""

from __future__ import annotations

import contextlib
import functools
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from groundingme.build.records import Detections, Picture, Target
from groundingme.errors import DataError
from groundingme.store import temporary_name

Record = Picture | Target

_PLAIN = ("id", "where", "width", "height", "digest", "hash", "sharpness", "fate", "failure")
"""Columns of a picture that hold one value a row."""


def write(path: Path, records: Sequence[Record], kind: type[Record]) -> None:
    """Writes a shard under a temporary name, then renames it.

    Raises:
        OSError: The disk is full, or the folder cannot be written; no half file stays.
    """
    import pyarrow.parquet as pq

    table = (_pictures_out if kind is Picture else _targets_out)(cast("Any", records))
    temporary = temporary_name(path)
    try:
        # Numbers that hardly repeat are not worth a dictionary.
        repeated = ["labels.list.element", "tags.list.element"] if kind is Picture else True
        pq.write_table(table, temporary, compression="zstd", use_dictionary=repeated)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def read_pictures(path: Path) -> list[Picture]:
    """The pictures of a shard.

    Raises:
        DataError: The file is no such shard.
    """
    table = _read(path)
    try:
        columns = {name: table.column(name).to_pylist() for name in (*_PLAIN, "tags", "tag_scores")}
        found = _detections_in(table)
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(path, error) from None
    return [
        Picture(**{name: values[row] for name, values in columns.items()}, found=found[row])
        for row in range(table.num_rows)
    ]


def read_targets(path: Path) -> list[Target]:
    """The targets of a shard.

    Raises:
        DataError: The file is no such shard.
    """
    try:
        return msgspec.convert(_read(path).to_pylist(), list[Target])
    except msgspec.ValidationError as error:
        raise _damaged(path, error) from None


def _read(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, memory_map=False)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> DataError:
    said = " ".join(str(error).split())[:200]
    return DataError(
        f"expected a shard of this build at {path}, got: {said}; delete the file and run again"
    )


def _lists(values: Any, lengths: Sequence[int]) -> Any:
    """A column of lists from the values of all rows one after another."""
    import pyarrow as pa

    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _pictures_out(pictures: Sequence[Picture]) -> Any:
    import pyarrow as pa

    kinds = {
        "width": pa.int32(),
        "height": pa.int32(),
        "hash": pa.uint64(),
        "sharpness": pa.float64(),
    }
    columns = {
        name: pa.array([getattr(one, name) for one in pictures], kinds.get(name, pa.string()))
        for name in _PLAIN
    }
    columns["tags"] = pa.array([one.tags for one in pictures], pa.list_(pa.string()))
    columns["tag_scores"] = pa.array([one.tag_scores for one in pictures], pa.list_(pa.float64()))
    found = [one.found for one in pictures]
    lengths = [len(one) for one in found]

    def joined(name: str, empty: Any) -> Any:
        return np.concatenate([empty, *(getattr(one, name) for one in found)])

    boxes = joined("boxes", np.empty((0, 4)))
    columns["boxes"] = _lists(_lists(pa.array(boxes.ravel()), [4] * len(boxes)), lengths)
    labels = pa.array([label for one in found for label in one.labels], pa.string())
    columns["labels"] = _lists(labels, lengths)
    columns["scores"] = _lists(pa.array(joined("scores", np.empty(0))), lengths)
    columns["fates"] = _lists(pa.array(joined("fates", np.empty(0, np.int8))), lengths)
    columns["subtasks"] = _lists(pa.array(joined("subtasks", np.empty(0, np.int32))), lengths)
    return pa.table(columns)


def _detections_in(table: Any) -> list[Detections]:
    def column(name: str) -> Any:
        return table.column(name).combine_chunks()

    def flat(name: str) -> Any:
        return column(name).flatten().to_numpy(zero_copy_only=False)

    boxes = column("boxes")
    offsets = boxes.offsets.to_numpy()
    offsets = offsets - offsets[0]
    xyxy = boxes.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, 4)
    labels = column("labels").flatten().to_pylist()
    scores, fates, subtasks = flat("scores"), flat("fates"), flat("subtasks")
    # Copies: what is read from arrow is not writable, and stages change fates in place.
    return [
        Detections(
            xyxy[start:end].copy(),
            labels[start:end],
            scores[start:end].copy(),
            fates[start:end].copy(),
            subtasks[start:end].copy(),
        )
        for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]


def _targets_out(targets: Sequence[Target]) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(
        [msgspec.to_builtins(one) for one in targets], schema=_schema(Target)
    )


@functools.cache
def _schema(kind: type[msgspec.Struct]) -> Any:
    """The arrow schema of a struct, from its annotations."""
    import pyarrow as pa

    return pa.schema([(one.name, _arrow(one.type)) for one in msgspec.structs.fields(kind)])


def _arrow(kind: Any) -> Any:
    import pyarrow as pa

    plain = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    if kind in plain:
        return plain[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return _arrow(next(one for one in inner if one is not types.NoneType))
    if origin in (list, tuple):
        return pa.list_(_arrow(inner[0]))
    return pa.struct([(one.name, _arrow(one.type)) for one in msgspec.structs.fields(kind)])
