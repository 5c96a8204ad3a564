"""A JSONL with image paths beside the images: what a person writes by hand.

    {"id": "a1", "image": "images/a1.jpg", "description": "the red cup", "bbox": [10, 20, 60, 90],
     "subtask_l1": "Discriminative", "subtask_l2": "Appearance", "width": 640, "height": 480}

`description` is needed; `bbox` is x1, y1, x2, y2 in pixels of the upright image, or null where
nothing matches. `image` is relative to the file, and inside its folder (see `files`). The others
may be absent: a missing id is the line's number, a missing size is read from the picture. Further
keys are kept in `Sample.extra`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundingme import files
from groundingme.datasets import FORMATS, Dataset, Format
from groundingme.datasets.rows import MAX_ID, MAX_TEXT, beside, path_problem, to_sample, unique
from groundingme.errors import DataError, json_problem
from groundingme.schema import Box, ImageSource, Sample
from groundingme.taxonomy import REJECTION

FILE = "samples.jsonl"
LONGEST_LINE = 2**24
"""Most bytes of a line: 16 MiB."""
_TOO_LONG = b"a line of more than 16 MiB"


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line without anything unusual, which decodes straight into its columns."""

    id: str | int
    description: str
    image: str | None = None
    bbox: Box | None = None
    detection_type: str = ""
    subtask_l1: str = ""
    subtask_l2: str = ""
    width: int = 0
    height: int = 0


_decode_usual = msgspec.json.Decoder(_Line).decode


def load(path: Path, split: str | None) -> Dataset:
    """Reads the file, or the folder that holds it; with a split, `SPLIT.jsonl` in the folder.

    Raises:
        DataError: There is no such file, or it is empty.
    """
    file = _find(path, split)
    if file is None:
        wanted = f"{split}.jsonl" if split else FILE
        raise DataError(f"expected {wanted} in {path}, got none; name the file itself")
    folder = str(file.parent)
    samples = unique(
        (f"line {number}", _usual(line, folder) or _sample(line, number, folder))
        for number, line in enumerate(_lines(file), 1)
        if line.strip()
    )
    if not samples:
        raise DataError(f"expected one JSON object a line in {file}, got an empty file")
    if all(one.problem and not one.description for one in samples):
        raise DataError(f"{file}, line 1: {samples[0].problem}")
    name = file.resolve().parent.name
    if file.name != FILE:
        name = f"{name}-{file.stem}"
    return Dataset(name=name, source=str(path), samples=samples)


def _lines(file: Path) -> Iterator[bytes]:
    """The lines; one that is too long is cut, so that it is no JSON."""
    try:
        with files.open_regular(file) as opened:
            for number, line in enumerate(files.lines(opened, LONGEST_LINE), 1):
                if number == 1 and line is not None:
                    files.check_utf8(line[:4], file)
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield _TOO_LONG if line is None else line
    except OSError as error:
        raise DataError(f"expected a data set in {file}, got: {error.strerror}") from None


def _usual(line: bytes, folder: str) -> Sample | None:
    """The same sample as `_sample` gives, several times faster; None where something is unusual."""
    try:
        row = _decode_usual(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    name, box = row.image, row.bbox
    if row.id == "" or not row.description.strip() or row.width < 0 or row.height < 0:
        return None
    if name is not None and path_problem(name):
        return None
    if len(row.description) > MAX_TEXT or len(str(row.id)) > MAX_ID:
        return None
    if max(row.width, row.height) >= 1e9:
        return None
    if box and (row.subtask_l1 == REJECTION or not all(map(math.isfinite, box))):
        return None
    return Sample(
        id=str(row.id),
        description=row.description,
        target=box,
        width=row.width,
        height=row.height,
        image=beside(folder, name) if name else None,
        subtask_l1=row.subtask_l1,
        subtask_l2=row.subtask_l2,
        detection_type=row.detection_type,
    )


def _sample(line: bytes, number: int, folder: str) -> Sample:
    place = f"line {number}"
    if line is _TOO_LONG:
        return _broken(place, "expected a line of at most 16 MiB, got a longer one")
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _broken(
            place, f"expected a JSON object, got a line that is none: {json_problem(error)}"
        )
    if not isinstance(row, dict):
        return _broken(place, f"expected a JSON object, got {line[:60].decode(errors='replace')}")
    image, problem = _image(row, folder)
    row.setdefault("id", number)
    return to_sample(row, place=place, image=image, problem=problem)


def _image(row: dict[str, Any], folder: str) -> tuple[ImageSource | None, str]:
    name = row.get("image", row.get("image_path"))
    if name is None:
        return None, ""
    problem = path_problem(name)
    return (None, problem) if problem else (beside(folder, name), "")


def _broken(place: str, problem: str) -> Sample:
    return to_sample({"id": place}, place=place, image=None, problem=problem)


def _find(path: Path, split: str | None) -> Path | None:
    if path.is_file():
        return path
    if split:
        file = path / f"{split}.jsonl"
        return file if file.is_file() else None
    if (path / FILE).is_file():
        return path / FILE
    others = sorted(path.glob("*.jsonl"))
    return others[0] if len(others) == 1 else None


def _detects(path: Path) -> bool:
    if path.is_dir():
        return bool(list(path.glob("*.jsonl"))) and not list(path.glob("**/*.parquet"))
    return path.suffix in (".jsonl", ".ndjson")


FORMATS.register(
    "folder",
    Format(summary="a JSONL with image paths, beside the images", load=load, detects=_detects),
)
