"""Boxes that are there already: drawn by people, or found by another program.

    [detect]
    by = "file"
    path = "annotations.json"

==============  ==============================================================================
what it is      what is read
==============  ==============================================================================
COCO json       `images`, `annotations`, `categories`; `bbox` as x y width height; a `score` where
                there is one. Crowd regions (`iscrowd`) are left out: they are no objects
Label Studio    its JSON export: rectangles of the first annotation of each task that was not
                cancelled, else of its first prediction; a turned one as the box around it
JSONL           a line a picture: `image`, and `objects` of `bbox` (x1 y1 x2 y2), `label` or
                `category` and maybe `score`; or `boxes`, `labels` and maybe `scores` side by side
YOLO            a folder with `NAME.txt` for each picture: class, centre and size as shares of the
                picture, maybe a score; polygons become the box around them. The names are in
                `classes`, or in a `classes.txt` in that folder or the one above
==============  ==============================================================================

A picture's boxes are those of its name: the path in the file is the end of the picture's id, or
the other way round, suffixes aside.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from groundingme import files
from groundingme.build.detectors import DETECTORS, Found
from groundingme.build.records import Picture
from groundingme.build.sources.listing import PICTURES
from groundingme.build.taggers.fixed import read_names
from groundingme.datasets.rows import from_xywh, to_box
from groundingme.errors import DataError, UsageError, json_problem
from groundingme.schema import Box

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 2**31
"""Most bytes of a file of boxes."""
LONGEST_LINE = 2**24
_UPLOAD = 9
"""Characters that Label Studio puts before the name of an uploaded file: eight digits and `-`."""


class _Object(msgspec.Struct, frozen=True):
    box: Box
    label: str
    score: float = 1.0


class _Row(msgspec.Struct):
    """What a file says of one picture.

    Attributes:
        name: Of the picture.
        objects: Its boxes, x1 y1 x2 y2.
        shares: Whether they are shares of the picture's width and height, not pixels.
        size: Width and height of the picture that they were drawn on; None where it is not told.
        problem: Why its boxes cannot be used, or "".
    """

    name: str
    objects: list[_Object] = msgspec.field(default_factory=list)
    shares: bool = False
    size: tuple[int, int] | None = None
    problem: str = ""


class FromFile:
    """A detector that looks up what somebody else found.

    Args:
        path: A file, or a folder of YOLO's.
        format: `coco`, `label-studio`, `jsonl` or `yolo`; "" to find it by what is there.
        classes: A text file with a name a line, for YOLO's.
        missing: What a picture without an entry is: `fail`, or `empty` for one without objects.
    """

    needs_image = False
    same_size = False
    files = ("path", "classes")

    def __init__(
        self, *, path: str, format: str = "", classes: str = "", missing: str = "fail"
    ) -> None:
        place = Path(path).expanduser()
        if missing not in ("fail", "empty"):
            raise UsageError(f"expected missing as one of fail, empty, got {missing!r}")
        if not place.exists():
            raise DataError(f"expected boxes at {path}, got no file or folder; check the path")
        self._path = path
        self._missing = missing
        self._rows: dict[str, list[_Row]] = defaultdict(list)
        for row in _rows(place, format, classes):
            self._rows[_last(row.name)].append(row)

    def detect(
        self, pictures: Sequence[Picture], images: Sequence[Image.Image]
    ) -> list[Found | Exception]:
        """What the file says of each picture; see `Detector.detect`."""
        return [self._found(one) for one in pictures]

    def _found(self, picture: Picture) -> Found | Exception:
        name = _bare(picture.id)
        rows = [one for one in self._rows.get(_last(picture.id), ()) if _agree(one.name, name)]
        exact = [one for one in rows if one.name == name]
        if not rows and self._missing == "empty":
            rows = [_Row(name)]
        if len(exact or rows) != 1:
            how_many = f"{len(rows)} entries" if rows else "none"
            return DataError(f"expected one entry for it in {self._path}, got {how_many}")
        row = (exact or rows)[0]
        size = (picture.width, picture.height)
        if row.problem:
            return DataError(f"expected boxes in {self._path}, got {row.problem}")
        if row.size is not None and row.size != size:
            return DataError(
                f"expected boxes for a picture of {size[0]} x {size[1]} pixels, got those of "
                f"{row.size[0]} x {row.size[1]} in {self._path}"
            )
        boxes = np.array([one.box for one in row.objects], np.float64).reshape(-1, 4)
        if row.shares:
            boxes = boxes * (size * 2)
        scores = np.array([one.score for one in row.objects], np.float64)
        return Found(boxes, [one.label for one in row.objects], scores)


def _bare(name: str) -> str:
    """A name with slashes and without the suffix of a picture."""
    name = name.replace("\\", "/").removeprefix("./")
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in PICTURES else name


def _last(name: str) -> str:
    return _bare(name).rpartition("/")[2]


def _agree(one: str, other: str) -> bool:
    """Whether one path is the end of the other."""
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")


def _rows(path: Path, format: str, classes: str) -> Iterator[_Row]:
    if not format:
        format = "yolo" if path.is_dir() else "jsonl" if path.suffix in _LINES else ""
    if format == "yolo":
        return _yolo(path, classes)
    if format == "jsonl":
        return _jsonl(path)
    tree = _json(path)
    if not format:
        format = "label-studio" if isinstance(tree, list) else "coco"
    reader = _READERS.get(format)
    if reader is None:
        raise UsageError(
            f"expected format as one of coco, label-studio, jsonl, yolo, got {format!r}"
        )
    return reader(tree, path)


_LINES = (".jsonl", ".ndjson")


def _json(path: Path) -> Any:
    try:
        data = files.read_bounded(path, MAX_BYTES)
        if data is None:
            raise DataError(f"expected a file of at most {MAX_BYTES} bytes, got {path}; split it")
        return msgspec.json.decode(data)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"expected boxes as JSON in {path}, got: {json_problem(error)}") from None


def _object(box: Any, label: Any, score: Any, place: str) -> _Object:
    """An object from its parts.

    Raises:
        ValueError: One of them is not what it should be; the message says where.
    """
    numbers = to_box(box)
    if numbers is None:
        raise ValueError(f"{place}: a bbox of four numbers expected, got {str(box)[:60]}")
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"{place}: a label expected, got {str(label)[:60]!r}")
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise ValueError(f"{place}: a score expected, got {str(score)[:60]!r}")
    return _Object(numbers, label.strip(), float(score))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    both = isinstance(width, int) and isinstance(height, int)
    return (width, height) if both and width > 0 and height > 0 else None


def _coco(tree: Any, path: Path) -> Iterator[_Row]:
    if not isinstance(tree, dict) or not {"images", "annotations", "categories"} <= set(tree):
        raise DataError(f"expected images, annotations and categories in {path}, got others")
    names = {one.get("id"): one.get("name") for one in _dicts(tree["categories"])}
    rows = {
        one.get("id"): _Row(
            _bare(str(one.get("file_name", ""))), size=_size(one.get("width"), one.get("height"))
        )
        for one in _dicts(tree["images"])
    }
    for number, one in enumerate(_dicts(tree["annotations"]), 1):
        row = rows.get(one.get("image_id"))
        if row is None:
            raise DataError(
                f"expected annotations of the images in {path}, got annotation {number} of "
                f"image {one.get('image_id')!r}"
            )
        if one.get("iscrowd"):
            continue
        try:
            label = names.get(one.get("category_id"))
            box = from_xywh(to_box(one.get("bbox")))
            row.objects.append(_object(box, label, one.get("score", 1.0), f"annotation {number}"))
        except ValueError as error:
            row.problem = str(error)
    yield from rows.values()


def _label_studio(tree: Any, path: Path) -> Iterator[_Row]:
    for number, task in enumerate(_dicts(tree), 1):
        data = task.get("data")
        texts = [one for one in data.values() if isinstance(one, str)] if data else []
        name = next((one for one in texts if one.lower().endswith(PICTURES)), "")
        # An address or a path of the server, of which only the name means something here.
        name = _last(name.rpartition("?d=")[2])
        if len(name) > _UPLOAD and name[_UPLOAD - 1] == "-" and _is_hex(name[: _UPLOAD - 1]):
            name = name[_UPLOAD:]
        done = [one for one in _dicts(task.get("annotations")) if not one.get("was_cancelled")]
        chosen = next(iter([*done, *_dicts(task.get("predictions"))]), {})
        row = _Row(name, shares=True)
        for at, one in enumerate(_dicts(chosen.get("result")), 1):
            if one.get("type") != "rectanglelabels":
                continue
            row.size = _size(one.get("original_width"), one.get("original_height")) or row.size
            try:
                row.objects.append(_rectangle(one, f"task {number}, region {at}"))
            except ValueError as error:
                row.problem = str(error)
        yield row


def _is_hex(text: str) -> bool:
    return all(one in "0123456789abcdef" for one in text)


def _rectangle(region: dict[str, Any], place: str) -> _Object:
    value = region.get("value")
    value = value if isinstance(value, dict) else {}
    labels = value.get("rectanglelabels") or [None]
    percent = to_box([value.get(key) for key in ("x", "y", "width", "height")])
    if percent is None:
        raise ValueError(f"{place}: x, y, width and height expected, got others")
    x, y, w, h = (one / 100 for one in percent)
    turn = value.get("rotation") or 0.0
    if turn:
        # Turned in pixels about the upper left corner, so the picture's shape plays a part.
        size = _size(region.get("original_width"), region.get("original_height"))
        if size is None or isinstance(turn, str):
            raise ValueError(f"{place}: the picture's size expected for a turned rectangle")
        sin, cos, ratio = (
            math.sin(math.radians(turn)),
            math.cos(math.radians(turn)),
            size[0] / size[1],
        )
        corners = [(u * cos - v * sin / ratio, u * sin * ratio + v * cos)
                   for u in (0.0, w) for v in (0.0, h)]  # fmt: skip
        xs, ys = zip(*corners, strict=True)
        x, y, w, h = x + min(xs), y + min(ys), max(xs) - min(xs), max(ys) - min(ys)
    return _object((x, y, x + w, y + h), labels[0], region.get("score") or 1.0, place)


def _jsonl(path: Path) -> Iterator[_Row]:
    try:
        with files.open_regular(path) as opened:
            for number, line in enumerate(files.lines(opened, LONGEST_LINE), 1):
                if line is None or line.strip():
                    yield _line(line, f"line {number}", path)
    except OSError as error:
        raise DataError(f"expected boxes in {path}, got: {error.strerror}") from None


def _line(line: bytes | None, place: str, path: Path) -> _Row:
    try:
        tree = msgspec.json.decode(line or b"")
        name = tree["image"]
        if not isinstance(name, str):
            raise TypeError(name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        raise DataError(
            f"{path}, {place}: expected a JSON object with the name of an image as image"
        ) from None
    row = _Row(_bare(name), size=_size(tree.get("width"), tree.get("height")))
    try:
        for at, (box, label, score) in enumerate(_side_by_side(tree), 1):
            row.objects.append(_object(box, label, score, f"{place}, object {at}"))
    except ValueError as error:
        row.problem = str(error)
    return row


def _side_by_side(tree: dict[str, Any]) -> Iterable[tuple[Any, Any, Any]]:
    if "objects" in tree:
        return [
            (one.get("bbox"), one.get("label", one.get("category")), one.get("score", 1.0))
            for one in _dicts(tree["objects"])
        ]
    boxes, labels = tree.get("boxes"), tree.get("labels")
    if not isinstance(boxes, list) or not isinstance(labels, list):
        raise ValueError("no objects, and no boxes and labels")
    scores = tree.get("scores") or [1.0] * len(boxes)
    return zip(boxes, labels, scores, strict=True)


def _yolo(folder: Path, classes: str) -> Iterator[_Row]:
    if not folder.is_dir():
        raise DataError(f"expected a folder of YOLO's text files, got {folder}")
    named = [Path(classes)] if classes else [folder / "classes.txt", folder.parent / "classes.txt"]
    file = next((one for one in named if one.exists()), named[0])
    names = read_names(file, "classes")
    for path in sorted(folder.rglob("*.txt")):
        if path.resolve() == file.resolve():
            continue
        row = _Row(path.relative_to(folder).with_suffix("").as_posix(), shares=True)
        try:
            data = files.read_bounded(path, LONGEST_LINE) or b""
            for number, line in enumerate(data.decode().splitlines(), 1):
                if line.strip():
                    row.objects.append(_of_yolo(line.split(), names, f"{path.name}, line {number}"))
        except (OSError, ValueError) as error:
            row.problem = str(error)
        yield row


def _of_yolo(words: list[str], names: Sequence[str], place: str) -> _Object:
    try:
        kind, numbers = int(words[0]), [float(one) for one in words[1:]]
        label = names[kind] if kind >= 0 else None
    except (ValueError, IndexError):
        raise ValueError(f"{place}: a known class and numbers expected") from None
    if len(numbers) in (4, 5):
        x, y, w, h, *score = numbers
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        return _object(box, label, score[0] if score else 1.0, place)
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"{place}: four numbers, five, or corners expected, got {len(numbers)}")
    xs, ys = numbers[::2], numbers[1::2]
    return _object((min(xs), min(ys), max(xs), max(ys)), label, 1.0, place)


_READERS: dict[str, Callable[[Any, Path], Iterator[_Row]]] = {
    "coco": _coco,
    "label-studio": _label_studio,
}

DETECTORS.register("file", FromFile)
