"""One item: its page, saving, submitting, deciding, who is there, what was changed, undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from groundingme.studio import people, projects, queue, views
from groundingme.studio.documents import Document
from groundingme.studio.fields import Id, Parts, Text, Version
from groundingme.studio.work import Desk, Late

router = APIRouter()

EventId = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Save(BaseModel):
    """An annotation, and the version that was seen."""

    version: Version
    annotation: Document


class Step(BaseModel):
    """Submits or skips; with an annotation, that one."""

    version: Version
    annotation: Document | None = None


class Reopen(BaseModel):
    """Whose annotation to reopen; left out, one's own."""

    person: EventId | None = None


class Decision(BaseModel):
    """A reviewer's: whether the item is kept, and how."""

    version: Version
    accept: bool
    annotation: Document | None = None
    note: Text = ""


class Undo(BaseModel):
    """The change to take back."""

    event: EventId


def _at_desk(
    id: int, request: Request, parts: Parts, do: Callable[[Desk], dict[str, Any] | Late]
) -> dict[str, Any]:
    who = people.person(request)
    with parts.database.write() as session:
        done = do(Desk(session, id, who))
    if isinstance(done, Late):
        raise done.error()
    return done


@router.get("/items/{id}")
def get_item(id: Id, request: Request, parts: Parts) -> dict[str, Any]:
    """An item as I may see it. `mine` is what I go on with; its `version` goes with what I save."""
    who = people.person(request)
    with parts.database.session() as session:
        sight = views.Sight(session, projects.find_item(session, id), who)
        return sight.document(parts.pictures)


@router.put("/items/{id}/annotation")
def put_annotation(id: Id, body: Save, request: Request, parts: Parts) -> dict[str, Any]:
    """Saves what I typed; 409 with both sides where it was changed since `version`."""
    return _at_desk(id, request, parts, lambda desk: desk.put(body.version, body.annotation))


@router.post("/items/{id}/submit")
def post_submit(id: Id, body: Step, request: Request, parts: Parts) -> dict[str, Any]:
    """Says that I am done with it."""
    return _at_desk(
        id, request, parts,
        lambda desk: desk.put(body.version, body.annotation, "submitted", "submit"),
    )  # fmt: skip


@router.post("/items/{id}/skip")
def post_skip(id: Id, body: Step, request: Request, parts: Parts) -> dict[str, Any]:
    """Says that I leave it to somebody else."""
    return _at_desk(
        id, request, parts, lambda desk: desk.put(body.version, body.annotation, "skipped", "skip")
    )


@router.post("/items/{id}/reopen")
def post_reopen(id: Id, body: Reopen, request: Request, parts: Parts) -> dict[str, Any]:
    """Makes my annotation a draft again; a reviewer takes a decision back, or reopens another's."""
    return _at_desk(id, request, parts, lambda desk: desk.reopen(body.person))


@router.post("/items/{id}/decision")
def post_decision(id: Id, body: Decision, request: Request, parts: Parts) -> dict[str, Any]:
    """Accepts or rejects an item, with the document that is published."""
    return _at_desk(
        id, request, parts,
        lambda desk: desk.decide(body.version, body.accept, body.annotation, body.note),
    )  # fmt: skip


@router.post("/items/{id}/undo")
def post_undo(id: Id, body: Undo, request: Request, parts: Parts) -> dict[str, Any]:
    """Takes a change back, if nothing came after it."""
    return _at_desk(id, request, parts, lambda desk: desk.undo(body.event))


@router.get("/items/{id}/history")
def get_history(id: Id, request: Request, parts: Parts) -> dict[str, Any]:
    """Every change: who, when, before, after; and what came too late to be kept as it was."""
    who = people.person(request)
    with parts.database.session() as session:
        rows = views.Sight(session, projects.find_item(session, id), who).history()
        return {"items": rows, "total": len(rows)}


@router.get("/items/{id}/presence")
def get_presence(id: Id, request: Request, parts: Parts) -> dict[str, Any]:
    """Who else has the item before them now."""
    who = people.person(request)
    with parts.database.session() as session:
        sight = views.Sight(session, projects.find_item(session, id), who)
        there = [] if sight.hidden else queue.present(session, id, who)
        return {"items": there, "total": len(there)}


@router.post("/items/{id}/here")
def post_here(id: Id, request: Request, parts: Parts) -> dict[str, Any]:
    """Says that I have the item before me; every 10 s. Answers as `presence`."""
    who = people.person(request)
    with parts.database.write() as session:
        projects.find_item(session, id)
        queue.come(session, id, who)
    return get_presence(id, request, parts)
