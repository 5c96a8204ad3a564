"""The TSV of VLMEvalKit: one sample a line, its image in base64.

Columns: `index`, `image` (base64, or the index of an earlier row with the same image), `question`
(the description), `answer` (the box as text, or null), `width`, `height`, `subtask_l1`,
`subtask_l2`; `image_path` may stand in for `image`. Lines are found by their offsets, so images
are read one at a time.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundingme.datasets import FORMATS, Dataset, Format
from groundingme.datasets.rows import to_sample, unique
from groundingme.errors import DataError, ImageError
from groundingme.images import FileImage
from groundingme.schema import ImageSource, Sample

_NULL = ("", "null", "none", "nan", "[]", "[0, 0, 0, 0]", "[0,0,0,0]")
_POINTER = 64
"""An image cell of at most this many characters names another row; VLMEvalKit's own rule."""

_csv_limit = threading.Lock()


class TsvImage(msgspec.Struct, frozen=True):
    """An image in base64 in a TSV.

    Attributes:
        path: The file.
        index: The row's id, for messages.
        start: Offset of the row in bytes.
        size: Its length in bytes.
        cell: Which cell of the row holds the image.
    """

    path: str
    index: str
    start: int
    size: int
    cell: int

    @property
    def name(self) -> str:
        """`FILE:INDEX`."""
        return f"{Path(self.path).name}:{self.index}"

    def read(self) -> bytes:
        """The encoded bytes.

        Raises:
            ImageError: `missing` for an empty cell, `unreadable` for one that is no base64.
        """
        try:
            with Path(self.path).open("rb") as file:
                file.seek(self.start)
                cells = _cells(file.read(self.size).decode())
            text = cells[self.cell]
            data = base64.b64decode(text, validate=True)
        except (OSError, UnicodeDecodeError, IndexError, binascii.Error, ValueError) as error:
            raise ImageError(
                "unreadable", f"expected an image in base64 in {self.name}, got: {error}"
            ) from None
        if not data:
            raise ImageError("missing", f"expected an image in {self.name}, got an empty cell")
        return data


def load(path: Path, split: str | None) -> Dataset:
    """Reads the file, or the only TSV in a folder.

    Raises:
        DataError: There is no such file, or it lacks a column.
    """
    file = _find(path)
    if file is None or (split and split != file.stem):
        raise DataError(f"expected one TSV in {path}, got none or several; name the file itself")
    records = _records(file)
    try:
        _, _, first = next(records)
    except StopIteration:
        raise DataError(f"expected a TSV with a header in {file}, got an empty file") from None
    header = [name.strip() for name in _cells(first.removeprefix("\ufeff"))]
    missing = {"index", "question", "answer"} - set(header)
    if missing:
        raise DataError(
            f"expected the columns index, question and answer in {file}; "
            f"missing: {', '.join(sorted(missing))}"
        )
    images: dict[str, TsvImage] = {}
    samples = unique(
        (f"row {number}", _sample(file, header, start, record, f"row {number}", images))
        for number, (start, _, record) in enumerate(records, 1)
        if record.strip()
    )
    return Dataset(name=file.stem.lower(), source=str(path), samples=samples)


def _sample(
    file: Path, header: list[str], start: int, record: str, place: str, images: dict[str, TsvImage]
) -> Sample:
    cells = _cells(record)
    if len(cells) != len(header):
        return to_sample(
            {"id": place}, place=place, image=None,
            problem=f"expected {len(header)} cells, got {len(cells)}",
        )  # fmt: skip
    row: dict[str, Any] = dict(zip(header, cells, strict=True))
    index = row.pop("index").strip()
    picture = row.pop("image", "")
    source: ImageSource | None = None
    problem = ""
    if len(picture) > _POINTER:
        size = len(record.encode())
        source = images[index] = TsvImage(str(file), index, start, size, header.index("image"))
    elif picture:
        source = images.get(picture)
        if source is None:
            problem = f"expected image in base64 or the index of an earlier row, got {picture!r}"
    elif row.get("image_path"):
        source = FileImage(path=str(file.parent / row["image_path"]), name=row["image_path"])
    answer = str(row.pop("answer")).strip()
    box: Any = None
    if answer.lower() not in _NULL:
        try:
            box = json.loads(answer)
        except ValueError:
            box = answer
    return to_sample(
        {
            **row,
            "id": index,
            "description": row.pop("question"),
            "bbox": box,
            "width": _number(row.get("width")),
            "height": _number(row.get("height")),
        },
        place=place,
        image=source,
        problem=problem,
    )


def _number(cell: str | None) -> Any:
    if cell is None or not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        return cell


def _cells(record: str) -> list[str]:
    record = record.rstrip("\r\n")
    if '"' not in record:
        return record.split("\t")
    # The module's limit of 131,072 characters a cell is for the whole process.
    with _csv_limit:
        limit = csv.field_size_limit(len(record) + 1)
        try:
            return next(csv.reader(io.StringIO(record, newline=""), delimiter="\t"))
        finally:
            csv.field_size_limit(limit)


def _records(file: Path) -> Iterator[tuple[int, int, str]]:
    """Every record with its offset and length in bytes; quoted cells may hold line breaks."""
    start, held = 0, b""
    try:
        with file.open("rb") as lines:
            for line in lines:
                held += line
                if held.count(b'"') % 2 == 0:
                    yield start, len(held), held.decode()
                    start, held = start + len(held), b""
        if held:
            yield start, len(held), held.decode()
    except OSError as error:
        raise DataError(f"expected a TSV in {file}, got: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"expected a TSV in UTF-8 in {file}, got: {error.reason}") from None


def _find(path: Path) -> Path | None:
    if path.is_file():
        return path
    found = sorted(path.glob("*.tsv"))
    return found[0] if len(found) == 1 else None


def _detects(path: Path) -> bool:
    file = _find(path)
    return file is not None and file.suffix == ".tsv"


FORMATS.register(
    "tsv",
    Format(summary="VLMEvalKit's TSV, images in base64", load=load, detects=_detects),
)
