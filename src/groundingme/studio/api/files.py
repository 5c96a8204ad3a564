"""Files in and out: tables and lines at once; archives, imports and publishing as jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Path, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from groundingme.build.publish import PublishOptions
from groundingme.errors import UsageError
from groundingme.studio import exporting, importing, people, projects, sheets, views
from groundingme.studio.context import Studio
from groundingme.studio.errors import not_found
from groundingme.studio.fields import Id, Name, Parts, Text, Word
from groundingme.studio.jobs import Job

router = APIRouter()

Archive = Literal["parquet", "folder", "coco", "tsv", "refcoco", "label-studio"]
JobId = Annotated[str, Path(min_length=1, max_length=60)]


@router.get("/projects/{id}/items.csv")
def get_items_csv(
    id: Id, request: Request, parts: Parts, which: exporting.Which = "all"
) -> Response:
    """The items with their documents, as a table."""
    people.person(request, "reviewer")
    with parts.database.session() as session:
        project = projects.find(session, id)
        rows = [_row(one) for one in exporting.finals(session, project, which)]
    text = "".join(sheets.lines(COLUMNS, rows))
    return Response(text, media_type="text/csv", headers=_named(f"{project.name}-items.csv"))


COLUMNS = (
    "id", "name", "picture", "width", "height", "status", "label", "description", "subtask_l1",
    "subtask_l2", "box", "rejection", "rejection_kind", "people", "accepted", "note",
)  # fmt: skip


def _row(one: exporting.Final) -> dict[str, Any]:
    document, rejection = one.document, one.document["rejection"] or {}
    return {
        **{name: document[name] for name in ("label", "description", "subtask_l1", "subtask_l2")},
        "id": one.item.id,
        "name": one.item.name,
        "picture": one.item.target["picture"],
        "width": one.item.target["width"],
        "height": one.item.target["height"],
        "status": one.item.status,
        "box": document["box"] and json.dumps(document["box"]),
        "rejection": rejection.get("description"),
        "rejection_kind": rejection.get("kind"),
        "people": len(one.annotations),
        "accepted": one.item.decision["accept"] if one.item.decision else None,
        "note": document["note"],
    }


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{_plain(name)}"'}


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "project"


@router.get("/projects/{id}/export")
def get_export(
    id: Id,
    request: Request,
    parts: Parts,
    layout: Literal["jsonl"] | Archive = "jsonl",
    which: exporting.Which = "accepted",
) -> Response:
    """JSONL without pictures, with all answers. Other layouts are made by a job: POST."""
    people.person(request, "reviewer")
    if layout != "jsonl":
        raise UsageError(
            f"expected the layout jsonl, got {layout}, which a job makes; send POST to this address"
        )
    with parts.database.session() as session:
        project = projects.find(session, id)
        found = list(exporting.finals(session, project, which))
        named = views.names(session)
    return Response(
        b"".join(exporting.lines(parts.settings, found, named)),
        media_type="application/x-ndjson",
        headers=_named(f"{project.name}.jsonl"),
    )


class Wanted(BaseModel):
    """Which samples to export, and how."""

    layout: Archive
    which: exporting.Which = "accepted"


@router.post("/projects/{id}/export", status_code=202)
def post_export(id: Id, body: Wanted, request: Request, parts: Parts) -> dict[str, Any]:
    """Starts a job that makes a zip of the samples, pictures inside; its `file` is the download."""

    def work(job: Job) -> dict[str, Any]:
        with parts.database.session() as session:
            project = projects.find(session, id)
            found = list(exporting.finals(session, project, body.which))
        name = _plain(project.name)
        made = exporting.archive(parts.settings, name, found, body.layout, job.tick)
        job.file = made.path
        size = made.path.stat().st_size
        return {"name": f"{name}-{body.layout}.zip", "samples": made.samples, "bytes": size}

    return _start(request, parts, id, "export", body.layout, work)


@router.post("/projects/{id}/import", status_code=202)
def post_import(
    id: Id,
    request: Request,
    parts: Parts,
    file: Annotated[UploadFile, File()],
    layout: Annotated[Literal["", "label-studio", "coco", "parquet", "jsonl"], Form()] = "",
    submit: Annotated[bool, Form()] = True,
) -> dict[str, Any]:
    """Starts a job that puts annotations of a file into the project, as mine.

    Nothing there is overwritten. What a job that was cancelled had put there stays.
    """
    who = people.person(request, "reviewer")
    data = file.file.read()

    def work(job: Job) -> dict[str, Any]:
        records = importing.parse(data, layout)
        return importing.put(parts.database, id, who, records, submit=submit, tick=job.tick)

    return _start(request, parts, id, "import", (file.filename or "a file")[:100], work)


class Publication(BaseModel):
    """How accepted items are published: see the section `[publish]` of a build."""

    name: Name
    layouts: Annotated[
        list[Literal["folder", "coco", "tsv", "refcoco", "label-studio"]], Field(max_length=5)
    ] = []
    license: Word = ""
    authors: Annotated[list[Name], Field(max_length=100)] = []
    summary: Text = ""


@router.post("/projects/{id}/publish", status_code=202)
def post_publish(id: Id, body: Publication, request: Request, parts: Parts) -> dict[str, Any]:
    """Starts a job that writes the accepted items as a data set, into the studio's home.

    What was published under the name before stays until the new data set is complete.
    """
    options = PublishOptions(**body.model_dump())

    def work(job: Job) -> dict[str, Any]:
        with parts.database.session() as session:
            project = projects.find(session, id)
            found = list(exporting.finals(session, project, "accepted"))
        return exporting.publish_project(parts.settings, project, found, options, job.tick)

    return _start(request, parts, id, "publish", body.name, work)


def _start(
    request: Request,
    parts: Studio,
    id: int,
    kind: str,
    title: str,
    work: Callable[[Job], dict[str, Any]],
) -> dict[str, Any]:
    who = people.person(request, "reviewer")
    with parts.database.session() as session:
        projects.find(session, id)
    return parts.jobs.start(kind, title, id, who, work).document()


@router.get("/projects/{id}/jobs")
def get_jobs(id: Id, request: Request, parts: Parts) -> dict[str, Any]:
    """Jobs of the project since the server was started, the newest first."""
    people.person(request, "reviewer")
    with parts.database.session() as session:
        projects.find(session, id)
    items = [one.document() for one in parts.jobs.of(id)]
    return {"items": items, "total": len(items)}


@router.get("/jobs/{id}")
def get_job(id: JobId, request: Request, parts: Parts) -> dict[str, Any]:
    """How far a job is; at its end `state` is `done`, `failed` or `cancelled`."""
    people.person(request, "reviewer")
    return parts.jobs.find(id).document()


@router.post("/jobs/{id}/cancel")
def post_cancel(id: JobId, request: Request, parts: Parts) -> dict[str, Any]:
    """Cancels a job, unless it has ended; it ends soon after."""
    people.person(request, "reviewer")
    return parts.jobs.cancel(id).document()


@router.delete("/jobs/{id}", status_code=204)
def delete_job(id: JobId, request: Request, parts: Parts) -> None:
    """Forgets a job that has ended, with its result and its file."""
    people.person(request, "reviewer")
    parts.jobs.forget(id)


@router.get("/jobs/{id}/file")
def get_job_file(id: JobId, request: Request, parts: Parts) -> Response:
    """What an export made; kept for a day, until its maker's next job, or the server's end."""
    people.person(request, "reviewer")
    job = parts.jobs.find(id)
    if job.result is None or job.file is None or not job.file.is_file():
        raise not_found("a file of a job", id)
    return FileResponse(job.file, media_type="application/zip", headers=_named(job.result["name"]))
