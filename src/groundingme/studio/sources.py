"""Where the items of a project come from: a build, a data set, or a folder of pictures.

Nothing outside of the data roots is read, whatever a path, a link or a table says: a source must
lie in one, and so must each picture, which is checked again whenever it is opened.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from groundingme import files, images
from groundingme.build import tables
from groundingme.build.records import Target
from groundingme.build.sources import SourceOptions, list_pictures, locate, place
from groundingme.datasets import FORMATS, load_dataset
from groundingme.datasets.parquet import ParquetImage
from groundingme.datasets.rows import IGNORED_BOX, to_box
from groundingme.datasets.tsv import TsvImage
from groundingme.errors import DataError, GroundingMEError, ImageError
from groundingme.images import FileImage
from groundingme.schema import ImageSource, Sample
from groundingme.store import write_atomically
from groundingme.studio import builds
from groundingme.studio.errors import ApiError, not_found
from groundingme.studio.settings import Settings

_TABLES = (".parquet", ".jsonl", ".ndjson", ".json", ".tsv", ".csv", ".p")
_HEAD = 2**18
"""First bytes of a file, in which a picture's size is looked for."""
_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}


class Found(NamedTuple):
    """What a source holds.

    Attributes:
        kind: `build` where items are proposals, `data` where they are samples of a data set,
            `images` where they are whole pictures.
        targets: One an item: the fields of a `Target`; `box` is None where there is none yet, and
            `absent` says whether nothing matches the description.
        left_out: How many records are no items, by reason.
        history: Of a build, what each of its stages was told and what became of its records.
    """

    kind: str
    targets: list[dict[str, Any]]
    left_out: dict[str, int]
    history: Sequence[dict[str, Any]] = ()


def read(settings: Settings, source: str, kind: str = "") -> Found:
    """The items of a source.

    Args:
        settings: Of the studio.
        source: A path inside the roots, or `scenes:...`.
        kind: `images` takes the pictures of a folder, whatever else it holds; "" looks what it is.

    Raises:
        ApiError: 404 where it is not there, or not inside the roots.
        DataError: It holds nothing that can be used.
    """
    if source == "scenes" or source.startswith("scenes:"):
        return _samples(settings, source)
    path = inside(settings, source)
    _refuse_links(settings, path)
    if kind != "images":
        if path.is_dir() and (folder := _last_stage(path)):
            return _build(folder)
        if any(FORMATS.get(name).detects(path) for name in FORMATS.names()):
            return _samples(settings, str(path))
    return _pictures(path)


def roots(settings: Settings) -> list[Path]:
    """The folders that may be read."""
    return [*settings.roots, settings.runs, _kept(settings)]


def inside(settings: Settings, source: str) -> Path:
    """A path inside the roots; a relative one is looked for in each root.

    Raises:
        ApiError: 404 where there is none, or it leads out of them, links followed.
    """
    for root in roots(settings):
        try:
            # An absolute path stays what it is.
            path = root / source
            if path.exists() and _is_inside(settings, path):
                return Path(os.path.realpath(path))
        except (OSError, ValueError):
            continue
    raise not_found("a folder or file inside --root", source)


def picture(settings: Settings, where: str) -> ImageSource:
    """The picture of an item.

    Raises:
        ApiError: 404 where it lies outside the roots, links followed.
        DataError: `where` is no place of a picture.
    """
    found = locate(where)
    path = found.path if isinstance(found, FileImage) else found.image.path  # type: ignore[attr-defined]
    if not _is_inside(settings, Path(path)):
        raise not_found("a picture inside --root", os.path.basename(path))
    return found


def _is_inside(settings: Settings, path: Path) -> bool:
    return any(files.is_inside(str(path), str(root)) for root in roots(settings))


def _refuse_links(settings: Settings, path: Path) -> None:
    """A link in a folder must not lead to a table elsewhere, of which errors would tell lines."""
    for one in path.rglob("*") if path.is_dir() else ():
        led_away = one.is_symlink() and (one.suffix in _TABLES or one.is_dir())
        if led_away and not _is_inside(settings, one):
            raise not_found("a file inside --root", one.name)


def _kept(settings: Settings) -> Path:
    return settings.home / "pictures"


def _last_stage(work: Path) -> Path | None:
    """The folder of the last finished stage with targets; of two settings, the newer."""
    found = [folder for _, name, folder in builds.stages(work) if name in builds.WITH_TARGETS]
    if not found and (work / "build.json").is_file():
        raise DataError(
            f"expected targets in the build {work.name}, got none; run it up to select first"
        )
    return found[-1] if found else None


def _build(folder: Path) -> Found:
    left_out: Counter[str] = Counter()
    targets = []
    for path in sorted(folder.glob("[0-9]*.parquet")):
        for one in tables.read_targets(path):
            if one.goes_on:
                targets.append(_as_dict(one, absent=one.is_rejection))
            else:
                left_out[one.fate or "failed"] += 1
    targets.sort(key=lambda one: -one["rank"])
    some = _some(targets, folder.name, left_out)
    return Found("build", some, dict(left_out), builds.history(folder))


def _as_dict(target: Target, *, absent: bool) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(target)
    return {**told, "absent": absent}


def _some(
    targets: list[dict[str, Any]], source: str, left_out: Counter[str]
) -> list[dict[str, Any]]:
    if not targets:
        why = ", ".join(f"{n} {reason}" for reason, n in left_out.items())
        raise DataError(
            f"expected something to annotate in {source}, got nothing" + (f": {why}" * bool(why))
        )
    return targets


def _samples(settings: Settings, source: str) -> Found:
    left_out: Counter[str] = Counter()
    targets = []
    for one in load_dataset(source):
        try:
            if one.problem or one.image is None:
                left_out["broken" if one.problem else "no-picture"] += 1
                continue
            where, size = _settled(settings, one)
        except ImageError as error:
            left_out[error.kind] += 1
            continue
        targets.append(_of_sample(one, where, size))
    return Found("data", _some(targets, source, left_out), dict(left_out))


def _of_sample(sample: Sample, where: str, size: tuple[int, int]) -> dict[str, Any]:
    assert sample.image is not None
    extra = sample.extra
    box = sample.target or to_box(extra.get("original_bbox") or extra.get(IGNORED_BOX))
    original = extra.get("original_description")
    one = Target(
        id=sample.id,
        picture=sample.image.name,
        where=where,
        width=size[0],
        height=size[1],
        box=box or (0.0, 0.0, 0.0, 0.0),
        label=sample.detection_type,
        score=1.0,
        subtask_l1=sample.subtask_l1,
        subtask_l2=sample.subtask_l2,
        description=sample.description,
        original=original if isinstance(original, str) else "",
    )
    told = _as_dict(one, absent=sample.target is None)
    return {**told, "box": None if box is None else list(box)}


def _settled(settings: Settings, sample: Sample) -> tuple[str, tuple[int, int]]:
    """Where a sample's picture is, as a line, and its size; what is drawn on demand is kept."""
    image = sample.image
    size = (sample.width, sample.height)
    if isinstance(image, FileImage):
        path = os.path.abspath(image.path)
        root = os.path.abspath(image.root) if image.root else os.path.dirname(path)
        where = place(root, os.path.relpath(path, root).replace(os.sep, "/"))
    elif isinstance(image, ParquetImage):
        where = _in_table(image.path, "parquet", f"{image.column}:{image.row}")
    elif isinstance(image, TsvImage):
        where = _in_table(image.path, "tsv", f"{image.start}+{image.size}:{image.cell}")
    else:
        assert image is not None
        data = image.read()
        looked = images.probe(data)
        folder = _kept(settings).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(data).hexdigest() + _SUFFIXES.get(looked.format, "")
        write_atomically(folder / name, data)
        return place(str(folder), name), (looked.width, looked.height)
    return where, size if all(size) else _size(image)


def _in_table(path: str, kind: str, at: str) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    return place(folder, name, kind, at)


def _size(image: ImageSource) -> tuple[int, int]:
    """A picture's size, from its first bytes where that is enough.

    Raises:
        ImageError: It is no picture.
    """
    if isinstance(image, FileImage):
        if image.root and not files.is_inside(image.path, image.root):
            raise ImageError("outside", f"expected a picture in {image.root}, got {image.path}")
        try:
            with files.open_regular(image.path) as file:
                head = file.read(_HEAD)
            looked = images.probe(head, whole=len(head) < _HEAD)
        except OSError as error:
            raise ImageError("unreadable", f"{image.path}: {error.strerror}") from None
        except ImageError:
            looked = images.probe(image.read())
    else:
        looked = images.probe(image.read())
    return looked.width, looked.height


def _pictures(path: Path) -> Found:
    left_out: Counter[str] = Counter()
    targets = []
    for one in list_pictures(SourceOptions(path=str(path))):
        if one.failure:
            left_out["unreadable"] += 1
            continue
        try:
            width, height = _size(locate(one.where))
        except GroundingMEError as error:
            left_out[error.kind if isinstance(error, ImageError) else "unreadable"] += 1
            continue
        target = Target(
            id=one.id, picture=one.id, where=one.where, width=width, height=height,
            box=(0.0, 0.0, 0.0, 0.0), label="", score=0.0, subtask_l1="", subtask_l2="",
        )  # fmt: skip
        targets.append({**_as_dict(target, absent=False), "box": None})
    return Found("images", _some(targets, path.name, left_out), dict(left_out))


def names(targets: list[dict[str, Any]]) -> Iterator[str]:
    """A name for each item, unique, and short enough for an index."""
    seen: Counter[str] = Counter()
    for one in targets:
        name = one["id"].replace("\0", "")
        if len(name) > 500:
            name = f"{name[:400]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} ({seen[name]})"


def needs_descriptions(found: Found) -> None:
    """Presence mode asks whether anything matches a description, so there must be some.

    Raises:
        ApiError: There are none.
    """
    if not any(one["description"] for one in found.targets):
        raise ApiError(
            400,
            "invalid",
            "expected samples with descriptions for presence mode, got pictures alone; name a "
            "data set, or a build with descriptions",
        )
