"""A mixture: positives and negatives as conversations, ready to be trained on.

    mixtures/
        images/3f2a….jpg        every image once, shared by all ratios
        1-8/train.parquet       one row a sample: see `COLUMNS`
        1-8/manifest.json       what it is made of, and in which convention it is written
        1-4/ ...

`load_mixture` believes nothing: it reads every row and every image before a second of training is
spent, and says in one line what is wrong.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundingme import geometry, images
from groundingme.errors import DataError, ImageError, UnknownNameError
from groundingme.images import FileImage
from groundingme.schema import Box
from groundingme.train.conversation import Convention, convention_of
from groundingme.train.pictures import is_intact

VERSION = 1
TABLE = "train.parquet"
MANIFEST = "manifest.json"
IMAGES = "images"

COLUMNS: dict[str, str] = {
    "id": "unique in the mixture: positive/ID or negative/ID",
    "image": "path relative to the mixture's folder",
    "prompt": "list of {role, content}: one user turn; the image stands before its text",
    "completion": "list of {role, content}: one assistant turn, as the family writes it",
    "positive": "whether something matches",
    "box": "x1, y1, x2, y2 in pixels of the upright original; null where nothing matches",
    "width": "of the upright original, in pixels",
    "height": "likewise",
    "description": "the referring expression",
    "source_id": "id of the sample in its data set",
}


class Turn(msgspec.Struct, frozen=True):
    """What one side says."""

    role: str
    content: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `train.parquet`: see `COLUMNS`."""

    id: str
    image: str
    prompt: list[Turn]
    completion: list[Turn]
    positive: bool
    box: Box | None
    width: int
    height: int
    description: str
    source_id: str


class Mixture(msgspec.Struct, frozen=True):
    """A mixture on disk.

    Attributes:
        folder: With `train.parquet` and `manifest.json`.
        manifest: What the latter says.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def convention(self) -> Convention:
        """How its questions are asked and its answers written."""
        return convention_of(self.manifest)

    def __len__(self) -> int:
        return int(self.manifest["total"])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows in their order, as dicts of `COLUMNS`, with absolute paths of images."""
        for row in read_rows(self.folder):
            row["image"] = os.path.normpath(self.folder.resolve() / row["image"])
            yield row


def load_mixture(folder: str | Path, *, look: bool = True) -> Mixture:
    """A mixture, checked from end to end.

    Args:
        folder: Of one ratio.
        look: Whether images are read as well; without, only rows are checked.

    Raises:
        DataError: It is none; or what a row asks or answers is not what its box and the
            manifest's convention say; or there are other numbers of samples than the manifest
            says; or an image is missing, damaged, or another than it was.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    try:
        convention = convention_of(manifest)
        told = manifest["counts"]
        wanted = {True: int(told["positives"]), False: int(told["negatives"])}
    except (KeyError, TypeError, ValueError, UnknownNameError) as error:
        said = str(error) if isinstance(error, UnknownNameError) else f"no usable {error}"
        raise DataError(
            f"expected a sound manifest in {folder / MANIFEST}: {said}; make the mixture again"
        ) from None
    counts: Counter[bool] = Counter()
    ids: set[str] = set()
    pictures: dict[str, tuple[int, int]] = {}
    for number, plain in enumerate(read_rows(folder), 1):
        place = f"{folder / TABLE}, row {number}"
        row = _row(plain, place)
        if problem := _problem(row, convention, ids, pictures):
            raise DataError(f"{place} ({row.id}): expected {problem}; make the mixture again")
        counts[row.positive] += 1
    if counts != Counter(wanted):
        raise DataError(
            f"expected {wanted[True]:,} positives and {wanted[False]:,} negatives in "
            f"{folder / TABLE}, as its manifest says, got {counts[True]:,} and "
            f"{counts[False]:,}; make the mixture again"
        )
    if look:
        for image, size in pictures.items():
            _check_image(folder, image, size)
    return Mixture(folder, manifest)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        inside = sorted(one.parent.name for one in folder.glob(f"*/{MANIFEST}"))
        raise DataError(
            f"expected a mixture, a folder with {MANIFEST} and {TABLE}, got {folder} "
            + (
                f"with mixtures in it; name one of {', '.join(inside)}"
                if inside
                else f"({error.strerror}); groundingme mix makes them"
            )
        ) from None
    except ValueError as error:
        raise DataError(f"expected a manifest in {path}, got no JSON: {error}") from None
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if version != VERSION:
        raise DataError(
            f"expected a manifest of version {VERSION} in {path}, got {version!r}; make the "
            "mixture again"
        )
    return dict(manifest)


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a mixture as they are stored.

    Raises:
        DataError: There is no such file, or it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / TABLE
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise DataError(
                    f"expected the columns {', '.join(COLUMNS)} in {path}, got none named "
                    f"{', '.join(missing)}; make the mixture again"
                )
            for batch in file.iter_batches(batch_size=1000, columns=list(COLUMNS)):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException, ValueError) as error:
        if isinstance(error, DataError):
            raise
        said = " ".join(str(error).split())[:200]
        raise DataError(f"expected rows of a mixture in {path}, got: {said}") from None


def _row(plain: dict[str, Any], place: str) -> Row:
    try:
        return msgspec.convert(plain, Row)
    except msgspec.ValidationError as error:
        raise DataError(f"{place}: {error}; make the mixture again") from None


def _problem(
    row: Row, convention: Convention, ids: set[str], pictures: dict[str, tuple[int, int]]
) -> str:
    """What a row should be and is not; "" where it is sound. Notes its id and its image."""
    size = (row.width, row.height)
    if row.id in ids:
        return "ids that are unique, got this one again"
    ids.add(row.id)
    if row.positive != (row.box is not None):
        return f"a box on positives alone, got {row.box} with positive={row.positive}"
    if row.box is not None and geometry.validate([row.box])[0] != geometry.FINE:
        return f"a box with x1 < x2 and y1 < y2, got {list(row.box)}"
    if pictures.setdefault(row.image, size) != size:
        return f"one size of {row.image}, got {size} after {pictures[row.image]}"
    asked = [Turn("user", convention.question(row.description))]
    if row.prompt != asked:
        return "the manifest's prompt with the row's description, got another"
    if [one.role for one in row.completion] != ["assistant"]:
        return "one assistant turn as completion, got another"
    wrong = convention.disagrees(row.completion[0].content, row.box, size)
    return wrong and f"the box and the completion to say the same, got {wrong}"


def _check_image(folder: Path, image: str, size: tuple[int, int]) -> None:
    try:
        place = folder.resolve()
        path = os.path.normpath(place / image)
        data = FileImage(path=path, name=image, root=str(place.parent)).read()
        seen = images.probe(data)
    except ImageError as error:
        raise DataError(f"{error}; or make the mixture again") from None
    if (seen.width, seen.height) != size:
        raise DataError(
            f"expected {size[0]} x {size[1]} pixels in {path}, got {seen.width} x {seen.height}; "
            "make the mixture again"
        )
    if not is_intact(os.path.basename(image), data):
        raise DataError(
            f"expected the image that {path} is named by, got other bytes; make the mixture again"
        )
