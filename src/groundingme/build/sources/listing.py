"""The pictures of a source, one after another, without opening any of them.

What lies in a folder is listed by what each file is: a picture, a tar of pictures (SA-1B's layout,
`sa_1.jpg` beside `sa_1.json`), a parquet file with a column of images (the Hub's layout), or a TSV
with a column `image` of base64 (HR-Bench's, VLMEvalKit's). The order is that of the names, and
inside an archive that of the archive.
"""

from __future__ import annotations

import csv
import fnmatch
import glob
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from groundingme import files
from groundingme.build.records import Picture
from groundingme.build.sources.places import place
from groundingme.datasets.tsv import read_records, split_cells
from groundingme.errors import DataError
from groundingme.images import MAX_PIXELS

PICTURES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".jp2", ".avif"),
    *(".heic", ".heif"),
)
"""Suffixes of pictures; those that cannot be decoded are listed, and fail with the reason."""

_POINTER = 64
"""An image cell of at most this many characters names another row: VLMEvalKit's rule."""
_HUB = re.compile(r"[\w.-]+/[\w.-]+")
_COLUMNS = ("image", "img", "jpg", "png", "picture", "photo")
"""Names that go first where a parquet file has several columns of bytes."""


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the pictures are, and which of them are good enough.

    Attributes:
        path: A folder; a picture, tar, parquet file or TSV; a glob of them (`**` for any depth);
            or an image data set on the Hub, `OWNER/NAME`.
        pattern: Only files whose path below the source's folder matches, such as
            `data/train-*`; "" for all.
        revision: Of a data set on the Hub: branch, tag or commit; "" for the newest.
        column: The column of images in parquet files; "" to find it by its type.
        limit: Most pictures, the first ones; None for all.
        min_side: Shorter side below which a picture is `small`, in pixels.
        min_sharpness: Sharpness below which a picture is `blurred`: see `Picture.sharpness`.
        max_pixels: Pixels that a header may declare; pictures of more fail, undecoded.
    """

    path: str
    pattern: str = ""
    revision: str = ""
    column: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    min_side: Annotated[int, msgspec.Meta(ge=0)] = 0
    min_sharpness: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    max_pixels: Annotated[int, msgspec.Meta(ge=1, le=MAX_PIXELS)] = MAX_PIXELS


class _File(NamedTuple):
    """A file of the source: its folder, and its path below it with slashes."""

    root: str
    inner: str

    @property
    def path(self) -> str:
        return os.path.join(self.root, self.inner)


def list_pictures(options: SourceOptions) -> Iterator[Picture]:
    """The pictures with `id` and `where` alone; a row that cannot be read has a `failure`.

    Raises:
        DataError: There is no picture, or an archive cannot be read.
    """
    count = 0
    for one in islice(_listed(options), options.limit):
        count += 1
        yield one
    if not count:
        raise DataError(
            f"expected pictures in {options.path}, got none"
            + (f" that match {options.pattern!r}" if options.pattern else "")
            + f"; known are {' '.join(PICTURES)} .tar .parquet .tsv"
        )


def _listed(options: SourceOptions) -> Iterator[Picture]:
    for file in _files(options):
        if options.pattern and not fnmatch.fnmatchcase(file.inner, options.pattern):
            continue
        suffix = os.path.splitext(file.inner)[1].lower()
        if _is_text(file.inner):
            yield from _ARCHIVES.get(suffix, _single)(file, options)
        else:
            yield _nameless(file.inner)


def _nameless(name: str) -> Picture:
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    return Picture(shown, "", failure=f"expected a name in UTF-8, got {shown}; rename the file")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(options: SourceOptions) -> Iterator[_File | Any]:
    path = os.path.expanduser(options.path)
    if os.path.isfile(path):
        folder, name = os.path.split(os.path.abspath(path))
        return iter([_File(folder, name)])
    if os.path.isdir(path):
        return _walk(os.path.abspath(path), "")
    if glob.has_magic(path):
        return _matches(path)
    if _HUB.fullmatch(options.path) and not options.path.startswith("."):
        return _walk(_from_hub(options), "")
    raise DataError(
        f"expected a folder, file or glob of pictures, or a data set OWNER/NAME on the Hub, got "
        f"{options.path}, which is not there; check the path"
    )


def _walk(root: str, folder: str) -> Iterator[_File]:
    """Every known file below a folder, in the order of the names; hidden ones are passed over."""
    try:
        with os.scandir(os.path.join(root, folder)) as scan:
            entries = sorted(
                (one for one in scan if not one.name.startswith(".")), key=lambda one: one.name
            )
    except OSError as error:
        raise DataError(
            f"expected a folder that can be read, got {os.path.join(root, folder)}: "
            f"{error.strerror}"
        ) from None
    for entry in entries:
        inner = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, inner)
        elif _is_known(entry.name) or (entry.is_symlink() and entry.is_dir()):
            yield _File(root, inner)


def _is_known(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return suffix in PICTURES or suffix in _ARCHIVES


def _matches(pattern: str) -> Iterator[_File]:
    """What a glob finds; the source's folder is the part before the first wildcard."""
    parts = Path(os.path.abspath(pattern)).parts
    fixed = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    inner = os.path.join(*parts[fixed:])
    found = sorted(glob.iglob(inner, root_dir=root, recursive=True))
    return (_File(str(root), one) for one in found if _is_known(one))


def _from_hub(options: SourceOptions) -> str:
    """Downloads the files of a data set that may hold pictures, or finds them in the cache."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = [f"*{suffix}" for suffix in (*PICTURES, *_ARCHIVES)]
    try:
        return huggingface_hub.snapshot_download(
            options.path,
            repo_type="dataset",
            revision=options.revision or None,
            allow_patterns=[options.pattern] if options.pattern else wanted,
        )
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        said = " ".join(str(error).split()).partition(". ")[0][:200].rstrip(".")
        raise DataError(
            f"expected {options.path} to be a path, or a data set on the Hub; neither could be "
            f"had: {said}; check the name and the connection, or set HF_HOME to a cache that "
            "holds it"
        ) from None


def _single(file: _File, options: SourceOptions) -> Iterator[Picture]:
    if os.path.isdir(file.path):
        problem = f"expected a folder, got the link {file.inner} to one; give its own path"
        yield Picture(file.inner, "", failure=problem)
    else:
        yield Picture(file.inner, place(file.root, file.inner))


def _tar(file: _File, options: SourceOptions) -> Iterator[Picture]:
    seen: set[str] = set()
    try:
        with (
            files.open_regular(file.path) as opened,
            tarfile.open(fileobj=opened, mode="r:") as tar,
        ):
            while member := tar.next():
                # It remembers every member, of which there may be millions.
                tar.members = []  # type: ignore[attr-defined]
                if not member.isreg() or not member.name.lower().endswith(PICTURES):
                    continue
                name = member.name.removeprefix("./")
                if not _is_text(name):
                    yield _nameless(f"{file.inner}/{name}")
                    continue
                id = f"{file.inner}/{name}"
                if id in seen:
                    id = f"{id}@{member.offset_data}"
                seen.add(id)
                at = f"{member.offset_data}+{member.size}"
                yield Picture(id, place(file.root, file.inner, "tar", at))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(
            f"expected a plain tar in {file.path}, got: {error}; copy it again, or unpack a "
            "compressed one"
        ) from None


def _parquet(file: _File, options: SourceOptions) -> Iterator[Picture]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        meta = pq.read_metadata(file.path)
        schema = meta.schema.to_arrow_schema()
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"expected a parquet file in {file.path}, got: {said}") from None
    column = _column(schema, options.column, file)
    for row in range(meta.num_rows if column else 0):
        at = f"{column}:{row}"
        yield Picture(f"{file.inner}:{row}", place(file.root, file.inner, "parquet", at))


def _column(schema: Any, wanted: str, file: _File) -> str:
    """The column that holds images; "" for a table without one, such as one of labels."""
    import pyarrow as pa

    def holds_images(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(holds_images(one.type) for one in kind if one.name == "bytes")
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    if wanted and wanted not in schema.names:
        raise DataError(
            f"expected a column {wanted!r} in {file.path}, got {', '.join(schema.names)}"
        )
    found = [wanted] if wanted else [one.name for one in schema if holds_images(one.type)]
    return next((one for one in _COLUMNS if one in found), found[0] if found else "")


def _tsv(file: _File, options: SourceOptions) -> Iterator[Picture]:
    records = read_records(Path(file.path))
    _, _, first = next(records, (0, 0, None))
    files.check_utf8((first or b"")[:4], file.path)
    try:
        header = split_cells((first or b"").decode("utf-8-sig"))
    except (ValueError, csv.Error) as error:
        raise DataError(f"expected a TSV with a header in {file.path}, got: {error}") from None
    if "image" not in header:
        return
    cell, name = header.index("image"), header.index("index") if "index" in header else None
    seen: set[str] = set()
    for number, (start, end, line) in enumerate(records, 1):
        id = f"{file.inner}:row {number}"
        try:
            cells = split_cells((line or b"").decode())
            image = cells[cell]
            index = cells[name] if name is not None else ""
        except (ValueError, IndexError, csv.Error):
            problem = (
                f"expected {len(header)} cells in UTF-8, got a row that is damaged or too long"
            )
            yield Picture(id, "", failure=problem)
            continue
        if 0 < len(image) <= _POINTER:
            continue
        if index and len(index) <= _POINTER and index not in seen:
            seen.add(index)
            id = f"{file.inner}:{index}"
        at = f"{start}+{end - start}:{cell}"
        yield Picture(id, place(file.root, file.inner, "tsv", at))


_ARCHIVES: dict[str, Callable[[_File, SourceOptions], Iterator[Picture]]] = {
    ".tar": _tar,
    ".parquet": _parquet,
    ".tsv": _tsv,
}
