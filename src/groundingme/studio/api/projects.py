"""Projects: making, the queue, giving out work, the dashboard."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from groundingme.studio import dashboard, people, projects, queue, views
from groundingme.studio.api import files, items
from groundingme.studio.fields import Id, Limit, Name, Offset, Parts, Text, Word
from groundingme.studio.models import Project

router = APIRouter(tags=["projects"])
router.include_router(items.router)
router.include_router(files.router)

Status = Literal["", "open", "annotated", "conflict", "accepted", "rejected", "skipped"]
After = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


async def _asked(
    status: Status = "",
    l1: Word = "",
    l2: Word = "",
    label: Word = "",
    mine: bool = False,
    flag: bool = False,
) -> queue.Filter:
    return queue.Filter(status, l1, l2, label, mine, flag)


Asked = Annotated[queue.Filter, Depends(_asked)]


class NewProject(BaseModel):
    """What to make a project of.

    `source` is a build's WORK folder, a data set or a folder of images, inside the roots. `kind`
    is found out where it is left out: `images` takes the pictures alone, `presence` asks of each
    description whether anything matches.
    """

    name: Name
    source: Text
    kind: Literal["", "build", "data", "images", "presence"] = ""
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
    asked: Asked,
    offset: Offset = 0,
    limit: Limit = 200,
) -> dict[str, Any]:
    """Items in the order in which people should see them; `mine=1`: given to me or begun by me."""
    who = people.person(request)
    with parts.database.session() as session:
        project = projects.find(session, id)
        rows, total = queue.listed(session, project, who, asked, offset=offset, limit=limit)
        items = [views.light(*row, parts.pictures, project.kind) for row in rows]
        return {"items": items, "total": total}


@router.get("/projects/{id}/next")
def get_next(
    id: Id, request: Request, parts: Parts, asked: Asked, after: After = None
) -> dict[str, Any]:
    """The next item for me, noted as mine; `{"item": null}` where nothing is left.

    With filters, the next one of the queue with these filters, given to nobody.
    """
    who = people.person(request)
    filtered = any(asked)
    give = not parts.settings.readonly and not filtered
    with parts.database.write() if give else parts.database.session() as session:
        project = projects.find(session, id)
        if filtered:
            found = queue.following(session, project, who, asked, after)
        else:
            found = queue.take(session, project, who, after, give=give)
        if found is None:
            return {"item": None}
        return {"item": views.Sight(session, found, who).document(parts.pictures)}


class Assignment(BaseModel):
    """Whom to give items to, and how many; which of them is said as for the queue."""

    person: Annotated[int, Field(ge=1, le=2**31 - 1)]
    count: Annotated[int, Field(ge=1, le=10_000)] = 10_000


@router.post("/projects/{id}/assign")
def post_assign(
    id: Id, body: Assignment, request: Request, parts: Parts, asked: Asked
) -> dict[str, Any]:
    """Gives a person the first open items that still want somebody; they stay theirs."""
    who = people.person(request, "reviewer")
    with parts.database.write() as session:
        project = projects.find(session, id)
        to = people.active(session, body.person)
        given = queue.give(session, project, to, who, asked, body.count)
        projects.tell(session, project, who, "assign", {"person": to.id, "given": given})
        return {"given": given}


@router.post("/projects/{id}/take-back")
def post_take_back(id: Id, body: Assignment, request: Request, parts: Parts) -> dict[str, Any]:
    """Takes back all that a person was given and did not begin."""
    who = people.person(request, "reviewer")
    with parts.database.write() as session:
        project = projects.find(session, id)
        taken = queue.take_back(session, project, body.person)
        projects.tell(session, project, who, "take-back", {"person": body.person, "taken": taken})
        return {"taken": taken}


@router.get("/projects/{id}/dashboard")
def get_dashboard(id: Id, request: Request, parts: Parts) -> dict[str, Any]:
    """Throughput, agreement, and human rejection; of a blind project for reviewers."""
    people.person(request)
    with parts.database.session() as session:
        project = projects.find(session, id)
        if project.blind:
            people.person(request, "reviewer")
        return dashboard.dashboard(session, project)
