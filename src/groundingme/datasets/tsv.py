"""The TSV of VLMEvalKit: one sample a line, its image in base64.

Columns: `index`, `image` (base64, or the index of an earlier row with the same image), `question`
(the description), `answer` (the box as text, or null), `width`, `height`, `subtask_l1`,
`subtask_l2`; `image_path` may stand in for `image`. Lines are found by their offsets, so images
are read one at a time.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import threading
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from groundingme import files
from groundingme.datasets import FORMATS, Dataset, Format
from groundingme.datasets.rows import MAX_ID, beside, path_problem, to_sample, unique
from groundingme.errors import DataError, ImageError
from groundingme.schema import ImageSource, Sample

_NULL = ("", "null", "none", "nan", "[]", "[0, 0, 0, 0]", "[0,0,0,0]")
_POINTER = 64
"""An image cell of at most this many characters names another row; VLMEvalKit's own rule."""

LONGEST_RECORD = 2**27
"""Most bytes of a row, its image included: 128 MiB."""
_MOST_LINES = 100
"""Most lines that one row may take."""

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
            with files.open_regular(self.path) as file:
                file.seek(self.start)
                cells = split_cells(file.read(self.size).decode())
            text = cells[self.cell]
            data = base64.b64decode(text, validate=True)
        except (OSError, ValueError, IndexError, csv.Error) as error:
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
    records = read_records(file)
    _, _, first = next(records, (0, 0, b""))
    if not first:
        raise DataError(f"expected a TSV with a header in {file}, got none")
    files.check_utf8(first[:4], file)
    try:
        header = [name.strip() for name in split_cells(first.decode("utf-8-sig"))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"expected a TSV with a header in UTF-8 in {file}: {error}") from None
    missing = {"index", "question", "answer"} - set(header)
    if missing:
        raise DataError(
            f"expected the columns index, question and answer in {file}; "
            f"missing: {', '.join(sorted(missing))}"
        )
    images: dict[str, TsvImage] = {}
    samples = unique(
        (f"row {number}", _sample(file, header, record, f"row {number}", images))
        for number, record in enumerate(records, 1)
        if record[2] is None or record[2].strip()
    )
    return Dataset(name=file.stem.lower(), source=str(path), samples=samples)


def _sample(
    file: Path, header: list[str], record: Line, place: str, images: dict[str, TsvImage]
) -> Sample:
    start, end, line = record
    problem = ""
    try:
        cells = split_cells(line.decode()) if line is not None else []
        if len(cells) != len(header):
            problem = f"expected {len(header)} cells, got {len(cells)}"
    except (UnicodeDecodeError, csv.Error) as error:
        problem = f"expected a row of UTF-8, got: {error}"
    if line is None:
        problem = f"expected a row of at most {LONGEST_RECORD} bytes, got a longer one"
    if problem:
        return to_sample({"id": place}, place=place, image=None, problem=problem)
    row: dict[str, Any] = dict(zip(header, cells, strict=True))
    index = row.pop("index").strip()
    picture = row.pop("image", "")
    source: ImageSource | None = None
    if len(picture) > _POINTER:
        source = TsvImage(str(file), index[:MAX_ID], start, end - start, header.index("image"))
        images[index] = source
    elif picture:
        source = images.get(picture)
        if source is None:
            problem = f"expected image in base64 or the index of an earlier row, got {picture!r}"
    elif row.get("image_path"):
        problem = path_problem(row["image_path"])
        source = None if problem else beside(str(file.parent), row["image_path"])
    answer = str(row.pop("answer")).strip()
    box: Any = None
    if answer.lower() not in _NULL:
        try:
            box = json.loads(answer)
        except (ValueError, RecursionError):
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


def split_cells(record: str) -> list[str]:
    """The cells of a record.

    Raises:
        csv.Error: Quotes where none may be.
    """
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


Line = tuple[int, int, bytes | None]
"""Offset of its start, offset of its end, and the bytes; None in place of too many."""


def _lines(file: BinaryIO) -> Iterator[Line]:
    start = 0
    for line in files.lines(file, LONGEST_RECORD):
        end = file.tell()
        yield start, end, line
        start = end


def read_records(file: Path) -> Iterator[Line]:
    """Every record, the header first; a quoted cell may hold line breaks.

    Where such a cell does not end within `_MOST_LINES`, its first line alone is the record: a
    stray quote must not swallow the samples behind it.

    Raises:
        DataError: The file cannot be read.
    """
    ahead: deque[Line] = deque()
    try:
        with files.open_regular(file) as opened:
            source = _lines(opened)
            ahead.extend(islice(source, 1))
            while ahead:
                count = _lines_of_record(ahead, source)
                start, end, first = ahead[0][0], ahead[count - 1][1], ahead[0][2]
                taken = [ahead.popleft()[2] or b"" for _ in range(count)]
                yield start, end, None if first is None else b"".join(taken)
                if not ahead:
                    ahead.extend(islice(source, 1))
    except OSError as error:
        raise DataError(f"expected a TSV in {file}, got: {error.strerror}") from None


def _lines_of_record(ahead: deque[Line], source: Iterator[Line]) -> int:
    """How many lines the first record takes; reads as far ahead as that needs."""
    is_open = False
    for at in range(_MOST_LINES):
        if at == len(ahead):
            ahead.extend(islice(source, 1))
        if at == len(ahead) or ahead[at][1] - ahead[0][0] > LONGEST_RECORD:
            return 1
        is_open = _stays_open(ahead[at][2] or b"", is_open)
        if not is_open:
            return at + 1
    return 1


def _stays_open(line: bytes, is_open: bool) -> bool:
    """Whether a quoted cell goes on behind a line, given whether one goes on before it.

    A quote opens a cell where the cell begins; inside of it, two quotes stand for one.
    """
    at = line.find(b'"')
    while at >= 0:
        if is_open and line[at + 1 : at + 2] == b'"':
            at += 1
        elif is_open or at == 0 or line[at - 1 : at] == b"\t":
            is_open = not is_open
        at = line.find(b'"', at + 1)
    return is_open


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
