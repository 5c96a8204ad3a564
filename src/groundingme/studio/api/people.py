"""Logging in, and the people of the studio."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

import groundingme
from groundingme.studio import models, people
from groundingme.studio.context import Studio
from groundingme.studio.errors import ApiError, not_found
from groundingme.studio.fields import Id, Limit, Name, Offset, Parts

router = APIRouter(tags=["people"])

Role = Literal["annotator", "reviewer", "admin"]


class Entry(BaseModel):
    """Who comes in: with a token, or by a name where no login is needed."""

    token: Name | None = None
    name: Name | None = None


class NewPerson(BaseModel):
    """Somebody to add."""

    name: Name
    role: Role = "annotator"


class Changes(BaseModel):
    """What is to be changed of a person; what is left out stays."""

    role: Role | None = None
    active: bool | None = None


def _session(
    request: Request, parts: Studio, who: people.Person | None, cookie: str
) -> dict[str, Any]:
    return {
        "person": None if who is None else {"id": who.id, "name": who.name, "role": who.role},
        "login": parts.settings.needs_login,
        "csrf": people.csrf(parts.settings, cookie),
        "version": groundingme.__version__,
        "readonly": parts.settings.readonly,
    }


@router.get("/session")
def get_session(request: Request, parts: Parts) -> dict[str, Any]:
    """Who is logged in, and what every change must send as `X-CSRF`."""
    return _session(request, parts, request.state.person, request.state.cookie)


@router.post("/session")
def post_session(
    entry: Entry, request: Request, response: Response, parts: Parts
) -> dict[str, Any]:
    """Logs in; without a login on this machine, a new name makes a new admin."""
    with parts.database.write() as session:
        if entry.token is not None:
            one = people.by_token(session, entry.token)
            if one is None:
                raise ApiError(401, "login", "expected a token that is known, got another")
        elif entry.name is None or parts.settings.needs_login:
            raise ApiError(401, "login", "expected a token; ask an admin for one")
        else:
            one = people.named(session, entry.name)
            one = one or people.add(session, entry.name, "admin", by=None)
            if not one.active:
                raise ApiError(403, "forbidden", f"expected somebody active, got {one.name!r}")
        cookie = people.log_in(session, one)
        who = people.Person(one.id, one.name, one.role)
    response.set_cookie(
        people.COOKIE, cookie, max_age=people.DAYS * 86_400, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return _session(request, parts, who, cookie)


@router.delete("/session")
def delete_session(request: Request, response: Response, parts: Parts) -> dict[str, Any]:
    """Logs this browser out."""
    if request.state.cookie:
        digest = people.digest(request.state.cookie)
        with parts.database.write() as session:
            session.execute(sa.delete(models.Login).where(models.Login.digest == digest))
    response.delete_cookie(people.COOKIE, httponly=True, samesite="strict")
    return _session(request, parts, None, "")


@router.get("/people")
def get_people(
    request: Request, parts: Parts, offset: Offset = 0, limit: Limit = 200
) -> dict[str, Any]:
    """Everybody; on this machine without a login, so that one can be chosen."""
    if parts.settings.needs_login:
        people.person(request)
    with parts.database.session() as session:
        total = session.scalar(sa.select(sa.func.count()).select_from(models.Person))
        rows = session.scalars(
            sa.select(models.Person).order_by(models.Person.name).offset(offset).limit(limit)
        )
        return {"items": [people.as_document(one) for one in rows], "total": total}


@router.post("/people", status_code=201)
def post_people(body: NewPerson, request: Request, parts: Parts) -> dict[str, Any]:
    """Adds a person; `POST /people/{id}/token` gives the token."""
    by = people.person(request, "admin")
    with parts.database.write() as session:
        return people.as_document(people.add(session, body.name, body.role, by=by.id))


@router.patch("/people/{id}")
def patch_person(id: Id, body: Changes, request: Request, parts: Parts) -> dict[str, Any]:
    """Changes a role, or shuts a person out."""
    by = people.person(request, "admin")
    with parts.database.write() as session:
        one = session.get(models.Person, id)
        if one is None:
            raise not_found("a person", str(id))
        people.change(session, one, by=by.id, **body.model_dump(exclude_none=True))
        return people.as_document(one)


@router.post("/people/{id}/token")
def post_token(id: Id, request: Request, parts: Parts) -> dict[str, str]:
    """A new token, shown once; the old one no longer works, and browsers are logged out."""
    by = people.person(request, "admin")
    with parts.database.write() as session:
        one = session.get(models.Person, id)
        if one is None:
            raise not_found("a person", str(id))
        return {"token": people.new_token(session, one, by=by.id)}
