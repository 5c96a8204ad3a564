"""Projects: made from a source, found again, and their pictures."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import orm

from groundingme.schema import ImageSource
from groundingme.studio import sources
from groundingme.studio.context import Studio
from groundingme.studio.database import now
from groundingme.studio.errors import not_found
from groundingme.studio.models import Event, Item, Project
from groundingme.studio.people import Person
from groundingme.studio.views import PICTURE

_ROWS = 1_000
"""Rows that are written at once."""


def create(
    parts: Studio,
    who: Person,
    *,
    name: str,
    source: str,
    kind: str = "",
    overlap: int = 1,
    blind: bool = False,
) -> int:
    """Makes a project of all that its source holds; gives its id.

    Raises:
        ApiError: The source is not inside the roots, or does not suit the kind.
        DataError: It holds nothing that can be used.
    """
    found = sources.read(parts.settings, source, kind)
    targets = found.targets
    if kind == "presence":
        sources.needs_descriptions(found)
        # A source may have its rejections in one place, which would tell them.
        random.Random(0).shuffle(targets)
        blind = True
    with parts.database.write() as session:
        one = Project(
            name=name,
            kind="presence" if kind == "presence" else found.kind,
            source=source,
            overlap=overlap,
            blind=blind,
            notes={"left_out": found.left_out, "history": msgspec.to_builtins(found.history)},
            created=now(),
            created_by=who.id,
        )
        session.add(one)
        session.flush()
        add_items(session, one, targets)
        told = {"name": name, "source": source, "overlap": overlap, "blind": blind}
        tell(session, one, who, "create", told)
        return one.id


def tell(session: orm.Session, one: Project, who: Person, kind: str, after: dict[str, Any]) -> None:
    """Notes in the audit trail what was done with a project."""
    session.add(
        Event(
            time=now(), person_id=who.id, project_id=one.id, kind=kind, subject="project",
            after=after,
        )
    )  # fmt: skip


def add_items(session: orm.Session, one: Project, targets: list[dict[str, Any]]) -> list[int]:
    """Adds an item for each target, after those that are there; gives their ids."""
    start = session.scalar(sa.select(sa.func.count()).where(Item.project_id == one.id)) or 0
    names = list(sources.names(targets))
    made: list[int] = []
    for at in range(0, len(targets), _ROWS):
        rows = [
            {
                "project_id": one.id,
                "name": names[n],
                "order": start + n,
                "status": "open",
                "version": 0,
                "label": plain(targets[n]["label"]),
                "subtask_l1": plain(targets[n]["subtask_l1"]),
                "subtask_l2": plain(targets[n]["subtask_l2"]),
                "target": targets[n],
            }
            for n in range(at, min(at + _ROWS, len(targets)))
        ]
        made += session.scalars(sa.insert(Item).returning(Item.id), rows)
    return made


def plain(text: str) -> str:
    """Text that any database keeps."""
    return text.replace("\0", "")


def find(session: orm.Session, id: int) -> Project:
    """A project.

    Raises:
        ApiError: 404 where there is none.
    """
    found = session.get(Project, id)
    if found is None:
        raise not_found("a project", str(id))
    return found


def find_item(session: orm.Session, id: int) -> Item:
    """An item.

    Raises:
        ApiError: 404 where there is none.
    """
    found = session.get(Item, id)
    if found is None:
        raise not_found("an item", str(id))
    return found


def register(parts: Studio) -> None:
    """Lets pictures of items be asked for by their keys."""

    def resolve(id: str) -> ImageSource:
        with parts.database.session() as session:
            where = find_item(session, int(id)).target["where"]
        return sources.picture(parts.settings, where)

    parts.pictures.register(PICTURE, resolve)
