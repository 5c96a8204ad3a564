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
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from groundingme.datasets import FORMATS, Dataset, Format
from groundingme.datasets import parquet as pq
from groundingme.datasets.rows import from_xywh, to_box, to_sample, unique
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
        expressions = [answer] if isinstance(answer, str) else list(answer or [None])
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
    for file, number, row in pq.rows(paths):
        place = f"{file.name}:{number}"
        try:
            size = json.loads(row.get("raw_image_info") or "{}")
        except ValueError:
            size = {}
        image = _photo(file.parent, str(row["image_path"]))
        for sentence in row["sentences"] or [{}]:
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


def _from_pickle(path: Path, split: str) -> Iterator[tuple[str, Sample]]:
    try:
        with path.open("rb") as file:
            refs = _PlainUnpickler(file, encoding="latin1").load()
        instances = msgspec.json.decode((path.parent / "instances.json").read_bytes())
        annotations = {one["id"]: one for one in instances["annotations"]}
        images = {one["id"]: one for one in instances["images"]}
        categories = {one["id"]: one["name"] for one in instances.get("categories", ())}
        splits = sorted({ref["split"] for ref in refs})
    except (OSError, pickle.UnpicklingError, EOFError, msgspec.DecodeError) as error:
        raise DataError(f"expected {path} and instances.json beside it, got: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(
            f"expected the refs of RefCOCO in {path}, got another layout: {error!r}"
        ) from None
    if split not in splits:
        raise DataError(f"expected one of the splits {', '.join(splits)} of {path}, got {split!r}")
    for ref in refs:
        if ref["split"] != split:
            continue
        annotation = annotations.get(ref["ann_id"], {})
        photo = images.get(ref["image_id"], {})
        for sentence in ref["sentences"]:
            place = f"sentence {sentence['sent_id']}"
            columns = {
                "id": sentence["sent_id"],
                "description": sentence.get("raw") or sentence["sent"],
                "bbox": from_xywh(to_box(annotation.get("bbox"))),
                "detection_type": categories.get(ref.get("category_id"), ""),
                "width": photo.get("width"),
                "height": photo.get("height"),
                "ref_id": ref["ref_id"],
            }
            problem = ""
            if columns["bbox"] is None:
                problem = f"expected annotation {ref['ann_id']} in instances.json, got none"
            name = photo.get("file_name") or ref.get("file_name") or ""
            image = _photo(path.parent, str(name))
            yield place, to_sample(columns, place=place, image=image, problem=problem)


def _photo(folder: Path, name: str) -> ImageSource:
    """A COCO photo by name, wherever it is kept; where it belongs if it is nowhere."""
    base = Path(name).name
    for root in (folder, *folder.resolve().parents[:3]):
        for place in (*_PLACES, str(Path(name).parent)):
            if (root / place / base).is_file():
                return FileImage(path=str(root / place / base), name=base)
    return FileImage(path=str(folder / "images" / base), name=base)


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
