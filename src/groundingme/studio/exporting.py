"""What people made, as samples in files of any layout, or as targets that are published.

An item gives one sample, or two where people added a rejection to it: `NAME` with its box, and
`NAME-KIND`, whose description nothing matches.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import orm

from groundingme.build.publish import DATA, PublishOptions, publish
from groundingme.build.records import Change, Target
from groundingme.build.stage import Context
from groundingme.datasets import Dataset
from groundingme.datasets.export import export
from groundingme.datasets.layouts import as_row
from groundingme.errors import DataError
from groundingme.schema import ImageSource, Sample
from groundingme.store import kept, write_atomically
from groundingme.studio import documents, sources, work
from groundingme.studio.errors import ApiError
from groundingme.studio.jobs import Tick
from groundingme.studio.models import Annotation, Item, Project
from groundingme.studio.settings import Settings
from groundingme.taxonomy import REJECTION

EXPORTS = "exports"
"""Folder of archives, in the studio's home."""
PUBLISHED = "published"
"""Folder of data sets, in the studio's home."""
DAY = 86_400.0
"""Seconds for which an archive is kept."""

Which = Literal["accepted", "annotated", "all"]
"""`accepted`: what reviewers accepted; `annotated`: that, and what was submitted; `all`: as it
stands."""


class Final(NamedTuple):
    """An item and the document that it goes out with."""

    item: Item
    document: dict[str, Any]
    annotations: Sequence[Annotation]


class _Named(msgspec.Struct, frozen=True):
    """A picture under its name in the project."""

    name: str
    image: ImageSource

    def read(self) -> bytes:
        return self.image.read()


def finals(session: orm.Session, project: Project, which: Which) -> Iterator[Final]:
    """The items that go out, in their order."""
    them: dict[int, list[Annotation]] = {}
    rows = session.scalars(
        sa.select(Annotation)
        .join(Item, Item.id == Annotation.item_id)
        .where(Item.project_id == project.id)
        .order_by(Annotation.id)
    )
    for one in rows:
        them.setdefault(one.item_id, []).append(one)
    wanted = {
        "accepted": ("accepted",),
        "annotated": ("accepted", "annotated"),
        "all": [name for name in work.STATUSES if name != "rejected"],
    }[which]
    items = session.scalars(
        sa.select(Item)
        .where(Item.project_id == project.id, Item.status.in_(wanted))
        .order_by(Item.order)
    )
    for item in items:
        mine = them.get(item.id, [])
        yield Final(item, work.best(item, mine, project.kind), mine)


def samples(settings: Settings, found: Sequence[Final]) -> list[Sample]:
    """The samples of items, the id of each the item's name."""
    made = []
    for item, document, _ in found:
        target, rejection = item.target, document["rejection"]
        image = _Named(target["picture"], sources.picture(settings, target["where"]))
        box = document["box"] and tuple(document["box"])
        common: dict[str, Any] = {
            "width": target["width"],
            "height": target["height"],
            "image": image,
            "detection_type": document["label"],
        }
        words = document["description"]
        if not documents.is_rejection(document) and (box or words):
            l1, l2 = document["subtask_l1"], document["subtask_l2"]
            plain = {"description": words, "target": box, "subtask_l1": l1, "subtask_l2": l2}
            made.append(Sample(id=item.name, **plain, **common))
        if rejection is not None:
            said, kind = rejection["description"], rejection["kind"]
            untrue = {"description": said, "subtask_l1": REJECTION, "subtask_l2": kind}
            extra = {"original_description": words, "original_bbox": box and list(box)}
            extra = {key: value for key, value in extra.items() if value}
            id = _rejected(item.name, document)
            made.append(Sample(id=id, target=None, extra=extra, **untrue, **common))
    return made


def _rejected(name: str, document: dict[str, Any]) -> str:
    """The name of the rejection of an item: its own, where it is nothing else."""
    if documents.is_rejection(document):
        return name
    return f"{name}-{document['rejection']['kind'] or REJECTION}"


class Archive(NamedTuple):
    """A zip, and how many samples are in it."""

    path: Path
    samples: int


def archive(
    settings: Settings,
    name: str,
    found: Sequence[Final],
    layout: str,
    tick: Tick = lambda done, total: None,
) -> Archive:
    """A zip with the samples in a layout of `datasets.export`, in the studio's home.

    Args:
        settings: Of the studio.
        name: Of the folder in the zip.
        found: The items.
        layout: Of `datasets.export`.
        tick: Called with the samples that are done; where it raises, nothing is left.

    Raises:
        DataError: There is nothing to write, or a picture cannot be read.
    """
    mine = samples(settings, found)
    if not mine:
        raise DataError("expected samples to export, got none; accept some first, or export all")
    into = settings.home / EXPORTS
    with kept(into):
        into.mkdir(parents=True, exist_ok=True)
    _drop_old(into)
    with tempfile.TemporaryDirectory(dir=into) as folder:
        dataset = Dataset(name=name, source=name, samples=mine)
        export(dataset, Path(folder) / name, layout=layout, tick=lambda done: tick(done, len(mine)))
        part, file = Path(folder) / ".zip", into / f"{Path(folder).name}.zip"
        with kept(file), zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as out:
            # Pictures are compressed as they are.
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    tick(len(mine), len(mine))
                    out.write(path, path.relative_to(folder))
        part.rename(file)
    return Archive(file, len(mine))


def _drop_old(folder: Path) -> None:
    """Removes archives that nobody fetched in a day, and what killed servers left."""
    for one in folder.iterdir():
        with contextlib.suppress(OSError):
            if one.stat().st_mtime < time.time() - DAY:
                shutil.rmtree(one) if one.is_dir() else one.unlink()


def lines(settings: Settings, found: Sequence[Final], named: dict[int, str]) -> Iterator[bytes]:
    """JSONL: the published columns of each sample, and all that people said of its item."""
    for one in found:
        people = [
            {"name": named.get(said.person_id, ""), "state": said.state, "updated": said.updated,
             **said.document}
            for said in one.annotations
        ]  # fmt: skip
        for sample in samples(settings, [one]):
            told = {
                **as_row(sample),
                "image": one.item.target["picture"],
                "status": one.item.status,
                **sample.extra,
                "annotations": people,
                "decision": one.item.decision,
            }
            yield msgspec.json.encode(told) + b"\n"


def targets(found: Sequence[Final]) -> tuple[list[Target], dict[str, int]]:
    """Items as targets of a build, and how many are none, by reason.

    A rejection without a box is none: what it was made from is not known.
    """
    made, left_out = [], {"no-box": 0}
    for item, document, _ in found:
        if document["box"] is None:
            left_out["no-box"] += 1
            continue
        start = msgspec.convert({**item.target, "box": document["box"]}, Target)
        one = msgspec.structs.replace(
            start, id=item.name, label=document["label"] or "object", flags=[], fate="", failure="",
            description=document["description"], subtask_l1=document["subtask_l1"],
            subtask_l2=document["subtask_l2"], original="", changes=[],
        )  # fmt: skip
        if not documents.is_rejection(document):
            made.append(one)
        if document["rejection"] is not None:
            made.append(_untrue(one, item, document))
    return made, {reason: n for reason, n in left_out.items() if n}


def _untrue(one: Target, item: Item, document: dict[str, Any]) -> Target:
    said, kind = document["rejection"]["description"], document["rejection"]["kind"]
    first = documents.first(item.target, "build")
    same = first["rejection"] == document["rejection"] and (
        first["description"] == document["description"]
    )
    changes = (
        msgspec.convert(item.target["changes"], list[Change])
        if same
        else changed_words(document["description"], said, kind)
    )
    return msgspec.structs.replace(
        one, id=_rejected(item.name, document), description=said, subtask_l1=REJECTION,
        subtask_l2=kind, original=document["description"], changes=changes,
    )  # fmt: skip


def changed_words(before: str, after: str, kind: str) -> list[Change]:
    """What people changed in a description to make it untrue, word by word.

    Example:
        >>> changed_words("a red cup", "a blue cup", "Appearance")
        [Change(kind='Appearance', before='red', after='blue', by='people')]
    """
    a, b = before.split(), after.split()
    steps = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return [
        Change(kind=kind, before=" ".join(a[i:j]), after=" ".join(b[m:n]), by="people")
        for tag, i, j, m, n in steps
        if tag != "equal"
    ]


def publish_project(
    settings: Settings,
    project: Project,
    found: Sequence[Final],
    options: PublishOptions,
    tick: Tick = lambda done, total: None,
) -> dict[str, Any]:
    """Publishes the accepted items into a folder of the studio's home.

    It gets its name when it is complete; what had the name before stays until then.

    Args:
        settings: Of the studio.
        project: The items'.
        found: The items.
        options: How.
        tick: Called with the samples that are written; where it raises, nothing is left.

    Returns:
        `folder`, `samples`, `left_out` by reason.

    Raises:
        ApiError: 409 where the same project is being published.
        DataError: Nothing is left to publish, or a picture cannot be read.
    """
    import filelock

    made, left_out = targets(found)
    if not made:
        raise DataError(
            f"expected accepted items with a box, got none of {len(found)}; accept some first"
        )
    for one in made:
        sources.picture(settings, one.where)
    total = len(made) + sum(left_out.values())
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", options.name).strip("-.")[:60] or "data"
    folder = settings.home / PUBLISHED / f"{project.id}-{slug}"
    history = [*project.notes.get("history", ()), {
        "stage": "people", "options": {"overlap": project.overlap, "blind": project.blind},
        "records": total, "goes_on": len(made), "reasons": left_out, "boxes": {},
    }]  # fmt: skip
    with kept(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(_beside(folder, "lock"), timeout=0), _replaced(folder) as part:
            after = publish(made, options, Context(part, history=lambda: history), tick)
            _add_people(part / DATA / "provenance.jsonl", found)
    except filelock.Timeout:
        raise ApiError(409, "busy", "expected a project that is not being published") from None
    for one in after:
        if one.fate:
            left_out[one.fate] = left_out.get(one.fate, 0) + 1
    return {
        "folder": str(folder / DATA),
        "samples": sum(not one.fate for one in after),
        "left_out": left_out,
    }


def mend(settings: Settings) -> None:
    """Removes what servers that were killed while they published left behind."""
    import filelock

    for lock in (settings.home / PUBLISHED).glob(".*.lock"):
        # Not of one that is being published by another server.
        with contextlib.suppress(filelock.Timeout, OSError), filelock.FileLock(lock, timeout=0):
            _mend(lock.with_name(lock.name[1 : -len(".lock")]))


def _mend(folder: Path) -> None:
    part, old = _beside(folder, "part"), _beside(folder, "old")
    if old.exists() and not folder.exists():
        # It ended between the two renames of `_replaced`.
        old.rename(folder)
    for one in (part, old):
        shutil.rmtree(one, ignore_errors=True)


@contextlib.contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A new folder, which takes the place of `folder` when all went well. Needs its lock."""
    part, old = _beside(folder, "part"), _beside(folder, "old")
    with kept(folder):
        _mend(folder)
        part.mkdir()
    try:
        yield part
        with kept(folder):
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
    finally:
        _mend(folder)


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _add_people(path: Path, found: Sequence[Final]) -> None:
    """Adds to each line of the provenance what people did; they are numbers there, not names."""
    by_name = {}
    for one in found:
        told = _people(one)
        by_name[one.item.name] = told
        if one.document["rejection"] is not None:
            by_name[_rejected(one.item.name, one.document)] = told
    lines = []
    for line in path.read_bytes().splitlines():
        said = msgspec.json.decode(line)
        lines.append(msgspec.json.encode({**said, "people": by_name[said["target"]]}))
    with kept(path):
        write_atomically(path, b"\n".join(lines) + b"\n")


def _people(one: Final) -> dict[str, Any]:
    first = documents.first(one.item.target, "build")
    decision = one.item.decision
    return {
        "annotated": [
            {"person": said.person_id, "state": said.state, "updated": said.updated}
            for said in one.annotations
        ],
        "decided": decision and {"person": decision["person"], "time": decision["time"]},
        "changed": {
            name: {"before": first[name], "after": one.document[name]}
            for name in ("box", "label", "description", "subtask_l1", "subtask_l2", "rejection")
            if first[name] != one.document[name]
        },
        "criteria": one.document["criteria"],
    }
