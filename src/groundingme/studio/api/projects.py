"""Projects: making, listing, and the queue of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from groundingme.studio import people, projects, queue, views
from groundingme.studio.api import items
from groundingme.studio.fields import Id, Limit, Name, Offset, Parts, Text, Word
from groundingme.studio.models import Project

router = APIRouter(tags=["projects"])
router.include_router(items.router)

Status = Literal["", "open", "annotated", "conflict", "accepted", "rejected", "skipped"]
After = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


class NewProject(BaseModel):
    """What to make a project of.

    `source` is a build's WORK folder, a data set or a folder of images, inside the roots. `kind`
    is found out where it is left out: `images` takes the pictures alone, `presence` asks of each
    description whether anything matches.
    """

    name: Name
    source: Text
    kind: Literal["", "build", "images", "presence"] = ""
    overlap: Annotated[int, Field(ge=1, le=20)] = 1
    blind: bool = False


@router.get("/projects")
def get_projects(
    request: Request, parts: Parts, offset: Offset = 0, limit: Limit = 200
) -> dict[str, Any]:
    """All projects, the newest first."""
    with parts.database.session() as session:
        total = session.scalar(sa.select(sa.func.count()).select_from(Project))
        rows = session.scalars(
            sa.select(Project).order_by(Project.id.desc()).offset(offset).limit(limit)
        )
        return {"items": [views.project(session, one) for one in rows], "total": total}


@router.post("/projects", status_code=201)
def post_projects(body: NewProject, request: Request, parts: Parts) -> dict[str, Any]:
    """Makes a project of all that the source holds."""
    who = people.person(request, "admin")
    id = projects.create(parts, who, **body.model_dump())
    with parts.database.session() as session:
        return views.project(session, projects.find(session, id))


@router.get("/projects/{id}")
def get_project(id: Id, request: Request, parts: Parts) -> dict[str, Any]:
    """One project."""
    with parts.database.session() as session:
        return views.project(session, projects.find(session, id))


@router.get("/projects/{id}/queue")
def get_queue(
    id: Id,
    request: Request,
    parts: Parts,
    mine: bool = False,
    status: Status = "",
    l1: Word = "",
    l2: Word = "",
    label: Word = "",
    offset: Offset = 0,
    limit: Limit = 200,
) -> dict[str, Any]:
    """Items in the order in which people should see them; `mine=1`: given to me or begun by me."""
    who = people.person(request)
    with parts.database.session() as session:
        project = projects.find(session, id)
        rows, total = queue.listed(
            session, project, who, mine=mine, status=status, l1=l1, l2=l2, label=label,
            offset=offset, limit=limit,
        )  # fmt: skip
        items = [
            views.light(one, said, state, parts.pictures, project.kind) for one, said, state in rows
        ]
        return {"items": items, "total": total}


@router.get("/projects/{id}/next")
def get_next(
    id: Id, request: Request, parts: Parts, after: After = None, status: Status = ""
) -> dict[str, Any]:
    """The next item for me, noted as mine; `{"item": null}` where nothing is left.

    With `status`, which reviewers may give, the next one of that status, given to nobody.
    """
    who = people.person(request)
    give = not parts.settings.readonly and not status
    with parts.database.write() if give else parts.database.session() as session:
        project = projects.find(session, id)
        if status:
            people.person(request, "reviewer")
            found = queue.following(session, project, status, after)
        else:
            found = queue.take(session, project, who, after, give=give)
        if found is None:
            return {"item": None}
        return {"item": views.Sight(session, found, who).document(parts.pictures)}
