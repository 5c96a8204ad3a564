"""Annotations made elsewhere: Label Studio's JSON, COCO, and our own parquet and JSONL.

A record belongs to the item of its id, or else to one of its picture's; where all items of the
picture are taken, it becomes a new one. Nothing that is there is overwritten: whoever imports
gets an annotation of their own on each item, and keeps one that they have. What was imported
stays when an import is interrupted, and the same file can be imported again.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from groundingme.datasets import load_dataset
from groundingme.datasets.rows import from_xywh, to_box, to_sample
from groundingme.errors import DataError, json_problem
from groundingme.schema import Sample
from groundingme.studio import documents, projects, sources, work
from groundingme.studio.database import Database
from groundingme.studio.errors import ApiError
from groundingme.studio.jobs import Tick
from groundingme.studio.models import Annotation, Item, Project
from groundingme.studio.people import Person
from groundingme.taxonomy import REJECTION, SUBTASKS

LAYOUTS = ("label-studio", "coco", "parquet", "jsonl")
_AT_ONCE = 200
"""Records of one transaction; other people write between two."""
_SHOWN = 20


class Record(NamedTuple):
    """An annotation from elsewhere.

    Attributes:
        sample: As any row is read; its `problem` says what is wrong with it.
        picture: File name of its picture; "" where it is not told.
    """

    sample: Sample
    picture: str


def parse(data: bytes, layout: str = "") -> list[Record]:
    """The records of a file.

    Args:
        data: The file.
        layout: One of `LAYOUTS`; "" looks what it is.

    Raises:
        DataError: It is of no such layout.
    """
    layout = layout or _layout(data)
    if layout in ("parquet", "jsonl"):
        return _table(data, layout)
    try:
        told = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"expected JSON of {layout}, got: {json_problem(error)[:100]}") from None
    rows = _label_studio(told) if layout == "label-studio" else _coco(told)
    return [Record(_sample(row, n), picture) for n, (row, picture) in enumerate(rows, 1)]


def _sample(row: dict[str, Any], number: int) -> Sample:
    """As any row is read, but that other tools' boxes need no description."""
    words = row["description"]
    stand_in = {**row, "description": words or "-"}
    sample = to_sample(stand_in, place=f"record {number}", image=None)
    return sample if words else msgspec.structs.replace(sample, description="")


def _layout(data: bytes) -> str:
    if data.startswith(b"PAR1"):
        return "parquet"
    head = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"["):
        return "label-studio"
    try:
        told = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "jsonl"
    return "coco" if isinstance(told, dict) and "images" in told else "jsonl"


def _table(data: bytes, layout: str) -> list[Record]:
    """Through the readers of data sets, which know files of strangers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"samples.{layout}"
        path.write_bytes(data)
        samples = load_dataset(str(path)).samples
    return [
        Record(one, _file(one.image.name if one.image and layout == "jsonl" else ""))
        for one in samples
    ]


def _file(name: Any) -> str:
    """The last part of a path or address; of Label Studio's `?d=images/a.jpg`, too."""
    text = name if isinstance(name, str) else ""
    return text.replace("\\", "/").rpartition("=")[2].rpartition("/")[2]


def _label_studio(told: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if not isinstance(told, list):
        raise DataError("expected a list of Label Studio's tasks, got something else")
    for number, task in enumerate(told, 1):
        task = task if isinstance(task, dict) else {}
        data = _dict(task.get("data"))
        row: dict[str, Any] = {"id": data.get("sample", f"task {task.get('id', number)}")}
        row["description"] = data.get("description")
        boxes: list[tuple[Any, Any]] = []
        for one in _results(task):
            value = _dict(one.get("value"))
            if one.get("type") == "rectanglelabels":
                boxes.append((_percent(value, one), _first(value.get("rectanglelabels"))))
            elif one.get("type") == "textarea":
                row["description"] = _first(value.get("text")) or row["description"]
            elif one.get("type") == "choices" and isinstance(
                choice := _first(value.get("choices")), str
            ):
                row["subtask_l1"], _, row["subtask_l2"] = choice.partition("/")
        picture = _file(data.get("image"))
        for at, (box, label) in enumerate(boxes or [(None, "")]):
            id = row["id"] if not at else f"{row['id']}-{at + 1}"
            yield {**row, "id": id, "bbox": box, "detection_type": label}, picture


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the first annotation that was not cancelled, or else of the first prediction."""
    for name in ("annotations", "predictions"):
        for one in _list(task.get(name)):
            if isinstance(one, dict) and not one.get("was_cancelled"):
                return [two for two in _list(one.get("result")) if isinstance(two, dict)]
    return []


def _percent(value: dict[str, Any], about: dict[str, Any]) -> Any:
    box = to_box([value.get(name) for name in ("x", "y", "width", "height")])
    size = to_box([about.get("original_width"), about.get("original_height"), 0, 0])
    if box is None or size is None:
        return "no numbers"
    x, y, w, h = box
    return [x * size[0] / 100, y * size[1] / 100, (x + w) * size[0] / 100, (y + h) * size[1] / 100]


def _coco(told: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if not isinstance(told, dict):
        raise DataError("expected COCO's object with images and annotations, got something else")
    images, annotations = _by_id(told.get("images")), _by_id(told.get("annotations"))
    categories = _by_id(told.get("categories"))

    def row(one: dict[str, Any], id: Any, words: dict[str, Any]) -> tuple[dict[str, Any], str]:
        box = to_box(one.get("bbox"))
        label = categories.get(one.get("category_id"), {}).get("name", "")
        image = images.get(one.get("image_id", words.get("image_id")), {})
        said = next(
            (words[name] for name in ("description", "caption", "sentence") if words.get(name)), ""
        )
        made = {
            "id": id, "description": said, "bbox": list(from_xywh(box) or ()) or None,
            "detection_type": label, "subtask_l1": words.get("subtask_l1", ""),
            "subtask_l2": words.get("subtask_l2", ""),
        }  # fmt: skip
        return made, _file(image.get("file_name"))

    if "expressions" in told:
        for one in _list(told["expressions"]):
            words = _dict(one)
            yield row(annotations.get(words.get("annotation_id"), {}), words.get("id"), words)
    else:
        for id, one in annotations.items():
            yield row(one, id, one)


def _by_id(them: Any) -> dict[Any, dict[str, Any]]:
    return {
        one["id"]: one
        for one in _list(them)
        if isinstance(one, dict) and isinstance(one.get("id"), str | int)
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def put(
    database: Database,
    project_id: int,
    who: Person,
    records: list[Record],
    *,
    submit: bool = True,
    tick: Tick = lambda done, total: None,
) -> dict[str, Any]:
    """Puts records into a project as annotations of a person.

    Args:
        database: Of the studio.
        project_id: Of the project.
        who: Whose annotations they become.
        records: Of `parse`.
        submit: Whether those that are complete are submitted; else all are drafts.
        tick: Called between two transactions; what came before it raises stays.

    Returns:
        How many were `imported`, `added` as new items, `kept` because there was one, and of how
        many no picture is here (`unmatched`) or something is wrong (`problems`), with examples.
    """
    fates = ("imported", "added", "kept", "unmatched", "problems")
    told: dict[str, Any] = {"records": len(records), **dict.fromkeys(fates, 0), "examples": []}
    place = _Place(database, project_id, who)
    for at in range(0, len(records), _AT_ONCE):
        tick(at, len(records))
        with database.write() as session:
            project = projects.find(session, project_id)
            for record in records[at : at + _AT_ONCE]:
                fate, why = _one(session, project, who, record, place, submit)
                told[fate] += 1
                if fate == "added":
                    told["imported"] += 1
                if why and len(told["examples"]) < _SHOWN:
                    told["examples"].append(f"{record.sample.id[:60]}: {why[:200]}")
    tick(len(records), len(records))
    return told


def item_name(sample: Sample) -> str:
    """The name of the item of a sample's id."""
    return next(sources.names([{"id": sample.id}]))


class _Place:
    """Which items of a project are free, by name and by picture."""

    def __init__(self, database: Database, project_id: int, who: Person) -> None:
        self.by_name: dict[str, int] = {}
        self.by_picture: dict[str, list[int]] = defaultdict(list)
        with database.session() as session:
            rows = session.execute(
                sa.select(Item.id, Item.name, Item.target, Annotation.id)
                .outerjoin(
                    Annotation,
                    sa.and_(Annotation.item_id == Item.id, Annotation.person_id == who.id),
                )
                .where(Item.project_id == project_id)
                .order_by(Item.order)
            )
            self.mine: set[int] = set()
            for id, name, target, annotation in rows:
                self.by_name[name] = id
                self.by_picture[_file(target["picture"])].append(id)
                if annotation is not None:
                    self.mine.add(id)

    def find(self, record: Record) -> tuple[int | None, bool]:
        """The item of a record, and whether a new one must be made of it."""
        named = self.by_name.get(item_name(record.sample))
        if named is not None:
            return named, False
        there = self.by_picture.get(record.picture, []) if record.picture else []
        free = next((id for id in there if id not in self.mine), None)
        return (free, False) if free is not None else (there[0] if there else None, bool(there))


def _one(
    session: Any, project: Project, who: Person, record: Record, place: _Place, submit: bool
) -> tuple[str, str]:
    sample = record.sample
    if sample.problem:
        return "problems", sample.problem
    id, is_new = place.find(record)
    if id is None:
        return "unmatched", f"no picture {record.picture or 'is named'}"
    if is_new:
        name = item_name(sample)
        like = projects.find_item(session, id)
        blank: dict[str, Any] = {
            "id": name, "box": None, "label": "", "score": 0.0, "subtask_l1": "", "subtask_l2": "",
            "others": [], "drafts": [], "description": "", "original": "", "changes": [],
            "verdicts": [], "flags": [], "rank": 0.0, "absent": False,
        }  # fmt: skip
        (id,) = projects.add_items(session, project, [{**like.target, **blank}])
        place.by_name[name] = id
    elif id in place.mine:
        return "kept", ""
    desk = work.Desk(session, id, who)
    try:
        document = _document(sample, desk.item.target)
        state = "submitted" if submit and not documents.missing(document, project.kind) else "draft"
        version = desk.item.version if desk.shared else 0
        done = desk.put(version, documents.Document.model_validate(document), state, "import")
    except (ApiError, ValueError) as error:
        return "problems", " ".join(str(error).split())
    place.mine.add(id)
    if isinstance(done, work.Late):
        return "kept", ""
    return ("added" if is_new else "imported"), ""


def _document(sample: Sample, target: dict[str, Any]) -> dict[str, Any]:
    """A sample as a document; what it does not say stays as proposed."""
    first = documents.first(target, "build")
    words = sample.description.strip()
    label = projects.plain(sample.detection_type) or first["label"]
    if sample.subtask_l1 == REJECTION:
        kinds = {row.l2 for row in SUBTASKS if row.l1 == REJECTION}
        kind = sample.subtask_l2 if sample.subtask_l2 in kinds else ""
        original = sample.extra.get("original_description")
        return {
            **first, "label": label, "subtask_l1": REJECTION, "subtask_l2": kind,
            "description": original if isinstance(original, str) else first["description"],
            "rejection": {"description": words, "kind": kind},
        }  # fmt: skip
    return {
        **first,
        "box": sample.target or first["box"],
        "label": label,
        "description": words or first["description"],
        "subtask_l1": sample.subtask_l1 or first["subtask_l1"],
        "subtask_l2": sample.subtask_l2 or first["subtask_l2"],
    }
