"""RefCOCO, RefCOCO+ and RefCOCOg: one sample an expression.

Three layouts are known:

1. Hub `lmms-lab/RefCOCO*`: parquet with `question_id`, `image` (bytes), `answer` (the
   expressions), `bbox` (COCO's x, y, width, height), `file_name`; splits `val`, `test`, `testA`,
   `testB`.
2. Hub `jxu124/refcoco*`: parquet without images; `bbox` is x1, y1, x2, y2, `sentences` holds the
   expressions, `image_path` names a COCO 2014 photo, `raw_image_info` its size.
3. The original `refs(unc).p` (or another) with `instances.json`: boxes are COCO's.

COCO photos that are not in the files are looked for beside them: in the folder itself, and in
`images`, `train2014`, `images/train2014`, `images/mscoco/images/train2014` and `coco/train2014` of
it and of its parents up to three levels up.
"""

from __future__ import annotations

import json
import os
import pickle  # nosec B403
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from groundingme import files
from groundingme.datasets import FORMATS, Dataset, Format
from groundingme.datasets import parquet as pq
from groundingme.datasets.rows import from_xywh, shown, to_box, to_sample, unique
from groundingme.errors import DataError
from groundingme.images import FileImage
from groundingme.schema import ImageSource, Sample

_USUAL = ("val", "validation")
_LMMS_LAB = {"question_id", "answer", "bbox", "image"}
_JXU124 = {"ref_id", "sentences", "bbox", "image_path"}
_PLACES = ("", "images", "train2014", "images/train2014", "images/mscoco/images/train2014",
           "coco/train2014", "coco")  # fmt: skip


def load(path: Path, split: str | None) -> Dataset:
    """Reads any of the three layouts; the usual split is `val`.

    Raises:
        DataError: It is none of them, or has no such split.
    """
    refs = _refs(path)
    if refs is not None:
        samples = unique(_from_pickle(refs, split or "val"))
        if not samples:
            raise DataError(f"expected refs of the split {split or 'val'} in {refs}, got none")
    else:
        found = pq.columns(path)
        if not (found >= _LMMS_LAB or found >= _JXU124):
            raise DataError(
                f"expected refs(*).p with instances.json, or parquet of RefCOCO, in {path}"
            )
        chosen = pq.choose_split(pq.files(path), split, _USUAL, path)
        rows = _from_parquet if found >= _LMMS_LAB else _from_parquet_without_images
        samples = unique(rows(chosen))
    return Dataset(name=_name(path), source=str(path), samples=samples)


def _from_parquet(paths: list[Path]) -> Iterator[tuple[str, Sample]]:
    for file, number, row in pq.rows(paths):
        image = pq.ParquetImage(str(file), number)
        # Cut-outs of the box, as polygons of a hundred numbers, are of no use here.
        row.pop("segmentation", None)
        answer = row.pop("answer")
        expressions = answer if isinstance(answer, list) and answer else [answer]
        box = row.pop("bbox")
        for index, expression in enumerate(expressions):
            place = f"{file.name}:{number}"
            columns = {
                **row,
                "id": f"{row['question_id']}-{index}",
                "description": expression,
                "bbox": from_xywh(to_box(box)) or box,
            }
            yield place, to_sample(columns, place=place, image=image)


def _from_parquet_without_images(paths: list[Path]) -> Iterator[tuple[str, Sample]]:
    finders: dict[Path, _Photos] = {}
    for file, number, row in pq.rows(paths):
        place = f"{file.name}:{number}"
        try:
            size = json.loads(row.get("raw_image_info") or "{}")
        except (ValueError, TypeError, RecursionError):
            size = None
        size = size if isinstance(size, dict) else {}
        if file.parent not in finders:
            finders[file.parent] = _Photos(file.parent)
        image = finders[file.parent].photo(str(row["image_path"]))
        sentences = row["sentences"]
        for sentence in sentences if isinstance(sentences, list) and sentences else [{}]:
            if not isinstance(sentence, dict):
                sentence = {"raw": sentence}
            columns = {
                "id": sentence.get("sent_id", f"{row['ref_id']}-{number}"),
                "description": sentence.get("raw") or sentence.get("sent"),
                "bbox": row["bbox"],
                "width": size.get("width"),
                "height": size.get("height"),
                "ref_id": row["ref_id"],
                "category_id": row.get("category_id"),
            }
            yield place, to_sample(columns, place=place, image=image)


class _PlainUnpickler(pickle.Unpickler):
    """Lists, dicts, text and numbers only: a pickle from the net can run no code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it wants to load {module}.{name}")


class _Annotation(msgspec.Struct):
    """What is read of an annotation: its polygons, most of the file, are not kept."""

    id: int
    bbox: Any = None


class _Photo(msgspec.Struct):
    id: int
    file_name: str = ""
    width: Any = None
    height: Any = None


class _Category(msgspec.Struct):
    id: int
    name: str = ""


class _Instances(msgspec.Struct):
    annotations: list[_Annotation]
    images: list[_Photo]
    categories: list[_Category] = []


def _load_pickle(path: Path) -> tuple[list[Any], _Instances]:
    try:
        with files.open_regular(path) as file:
            refs = _PlainUnpickler(file, encoding="latin1").load()
        instances = path.parent / "instances.json"
        with files.open_regular(instances) as file:
            found = msgspec.json.decode(file.read(), type=_Instances)
    # The boundary: hostile opcodes raise whatever comes to hand, and can run nothing.
    except Exception as error:  # noqa: BLE001
        said = shown(str(error) or type(error).__name__).strip("'\"")
        raise DataError(f"expected {path} and instances.json beside it, got: {said}") from None
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise DataError(f"expected the refs of RefCOCO in {path}, got another layout")
    return refs, found


def _from_pickle(path: Path, split: str) -> Iterator[tuple[str, Sample]]:
    refs, instances = _load_pickle(path)
    split = pq.named_split(split, sorted({str(ref.get("split")) for ref in refs}), path)
    annotations = {one.id: one for one in instances.annotations}
    images = {one.id: one for one in instances.images}
    categories = {one.id: one.name for one in instances.categories}
    find = _Photos(path.parent)
    for number, ref in enumerate(refs):
        if ref.get("split") != split:
            continue
        try:
            annotation, photo = annotations.get(ref["ann_id"]), images.get(ref["image_id"])
            name = (photo.file_name if photo else "") or ref.get("file_name") or ""
            for sentence in ref["sentences"]:
                columns = {
                    "id": sentence["sent_id"],
                    "description": sentence.get("raw") or sentence["sent"],
                    "bbox": from_xywh(to_box(annotation.bbox if annotation else None)),
                    "detection_type": categories.get(ref.get("category_id"), ""),
                    "width": photo.width if photo else None,
                    "height": photo.height if photo else None,
                    "ref_id": ref["ref_id"],
                }
                problem = ""
                if columns["bbox"] is None:
                    problem = f"expected annotation {ref['ann_id']} in instances.json, got none"
                place = f"sentence {shown(sentence['sent_id'])}"
                yield (
                    place,
                    to_sample(columns, place=place, image=find.photo(str(name)), problem=problem),
                )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            place = f"ref {number}"
            problem = f"expected a ref with ann_id, image_id and sentences, got {error!r}"
            yield place, to_sample({"id": place}, place=place, image=None, problem=problem[:200])


class _Photos:
    """Finds COCO photos by name beside a folder; the place of the last one is tried first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._roots = (folder, *folder.resolve().parents[:3])
        self._last: tuple[Path, str] | None = None

    def photo(self, name: str) -> ImageSource:
        """The photo, wherever it is kept; where it belongs if it is nowhere."""
        parent, base = os.path.split(name.replace("\\", "/"))
        climbs = os.path.isabs(parent) or ".." in parent.split("/")
        places = _PLACES if climbs else (*_PLACES, parent)
        tried = ((root, place) for root in self._roots for place in places)
        for root, place in chain([self._last] if self._last else [], tried):
            path = os.path.join(root, place, base)
            if base and os.path.isfile(path):
                self._last = root, place
                return FileImage(path=path, name=base, root=str(root))
        return FileImage(
            path=str(self._folder / "images" / base), name=base or name, root=str(self._folder)
        )


def _refs(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix in (".p", ".pkl", ".pickle") else None
    found = sorted(path.glob("refs(*).p"))
    best = [file for file in found if file.name in ("refs(unc).p", "refs(umd).p")]
    return next(iter(best or found), None)


def _name(path: Path) -> str:
    text = str(path).lower()
    for word, name in (("refcoco+", "refcoco+"), ("refcocoplus", "refcoco+"),
                       ("refcocog", "refcocog")):  # fmt: skip
        if word in text:
            return name
    return "refcoco"


def _detects(path: Path) -> bool:
    if _refs(path) is not None:
        return True
    found = pq.columns(path)
    return found >= _LMMS_LAB or found >= _JXU124


for _format, _hub in (
    ("refcoco", "lmms-lab/RefCOCO"),
    ("refcoco+", "lmms-lab/RefCOCOplus"),
    ("refcocog", "lmms-lab/RefCOCOg"),
):
    FORMATS.register(
        _format,
        Format(
            summary=f"{_hub.partition('/')[2]}: Hub parquet, or refs(*).p with instances.json",
            load=load,
            detects=_detects,
            hub=_hub,
        ),
    )
