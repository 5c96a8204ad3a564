"""Who comes in, and what they may do.

`Gate` stands before every request of the API. It finds the person by the cookie, asks for a login
where one is needed, checks that a change was asked for by one of our own pages, and slows down
who asks too often. Tokens and cookies are random, and only their digests are kept.

=========== ==============================================================================
`annotator`  annotates items, sees the others' work unless the project is blind
`reviewer`   also decides, adjudicates, imports, exports and publishes
`admin`      also makes projects and people
=========== ==============================================================================
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import orm
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from groundingme.errors import UsageError
from groundingme.studio import models
from groundingme.studio.database import Database, now
from groundingme.studio.errors import ApiError, not_found
from groundingme.studio.settings import Settings

ROLES = ("annotator", "reviewer", "admin")
"""Each may do what those before it may."""

COOKIE = "groundingme"
CSRF = "x-csrf"
DAYS = 30
"""After which a browser must log in again."""

LOGINS = (10, 10 / 60)
"""Tries to log in of one address: at once, and then how many a second."""
WRITES = (200, 20.0)
"""Changes of one person, likewise."""

SEEN = 3.0
"""Seconds for which a browser is not looked up again. Changes made through this server count at
once; of those made elsewhere, as by `groundingme studio person`, one hears after that time."""

_READS = ("GET", "HEAD", "OPTIONS")
_WHO = ("/api/people", "/api/session")
_EXPORTS = re.compile(r"/api/projects/\d+/export|/api/jobs/\w+(/cancel)?")
"""What changes nothing of what people made."""
_MOST = 10_000
"""Most people and addresses whose pace is remembered."""


class Person(msgspec.Struct, frozen=True):
    """Who sent a request.

    Attributes:
        id: Of the table `person`.
        name: Unique.
        role: One of `ROLES`.
    """

    id: int
    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether the person may do what a role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


def person(request: Request, role: str = "annotator") -> Person:
    """Who sent a request.

    Raises:
        ApiError: 401 where nobody is logged in, 403 where the person's role does not do.
    """
    found: Person | None = getattr(request.state, "person", None)
    if found is None:
        raise ApiError(401, "login", "expected somebody with a name, got nobody; log in first")
    if not found.may(role):
        raise ApiError(
            403, "forbidden", f"expected the role {role}, got {found.role}; ask an admin for it"
        )
    return found


def give_token(database: Database, name: str, role: str | None = None) -> str:
    """Adds a person, or gives one a new token; the old ones and all browsers are logged out.

    Args:
        database: Where people are kept.
        name: Of 1 to 100 characters.
        role: One of `ROLES`; None leaves it, and makes a new person an annotator.

    Returns:
        The token, which is kept nowhere.

    Raises:
        UsageError: The name or the role is none.
    """
    if role is not None and role not in ROLES:
        raise UsageError(f"expected a role of {', '.join(ROLES)}, got {role!r}")
    with database.write() as session:
        found = named(session, name) or add(session, name, role or ROLES[0], by=None)
        if role is not None and found.role != role:
            change(session, found, by=None, role=role)
        return new_token(session, found, by=None)


def named(session: orm.Session, name: str) -> models.Person | None:
    """The person of that name."""
    return session.scalar(sa.select(models.Person).where(models.Person.name == name.strip()))


def active(session: orm.Session, id: int) -> Person:
    """Somebody who may work here.

    Raises:
        ApiError: 404 where there is none.
    """
    found = session.get(models.Person, id)
    if found is None or not found.active:
        raise not_found("an active person", str(id))
    return Person(found.id, found.name, found.role)


def add(session: orm.Session, name: str, role: str, *, by: int | None) -> models.Person:
    """A new person.

    Raises:
        UsageError: The name is empty, too long, cannot be printed, or taken.
    """
    name = name.strip()
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise UsageError("expected a name of 1 to 100 characters that can be printed, got another")
    if named(session, name) is not None:
        raise UsageError(f"expected a new name, got {name!r}, which is taken")
    made = models.Person(name=name, role=role, active=True, created=now())
    session.add(made)
    session.flush()
    _tell(session, by, "add", made, None)
    return made


def change(session: orm.Session, one: models.Person, *, by: int | None, **fields: Any) -> None:
    """Changes a person's `role` or `active`; who is no longer active is logged out.

    Raises:
        UsageError: No admin would be left.
    """
    before = as_document(one)
    for key, value in fields.items():
        setattr(one, key, value)
    if before["role"] == "admin" and not (one.role == "admin" and one.active):
        others = sa.select(models.Person.id).where(
            models.Person.role == "admin", models.Person.active, models.Person.id != one.id
        )
        if session.scalar(others.limit(1)) is None:
            raise UsageError("expected an admin who stays, got the last one; make another first")
    if not one.active:
        _log_out(session, one)
    session.flush()
    _tell(session, by, "change", one, before)


def new_token(session: orm.Session, one: models.Person, *, by: int | None) -> str:
    """A new token in place of the old ones."""
    token = f"gm-{secrets.token_urlsafe(32)}"
    session.execute(sa.delete(models.Token).where(models.Token.person_id == one.id))
    _log_out(session, one)
    session.add(models.Token(person_id=one.id, digest=digest(token), created=now()))
    _tell(session, by, "token", one, None)
    return token


def as_document(one: models.Person) -> dict[str, Any]:
    """What the API says of a person."""
    return {"id": one.id, "name": one.name, "role": one.role, "active": one.active,
            "created": one.created}  # fmt: skip


def _log_out(session: orm.Session, one: models.Person) -> None:
    session.execute(sa.delete(models.Login).where(models.Login.person_id == one.id))


def _tell(session: orm.Session, by: int | None, kind: str, one: models.Person, before: Any) -> None:
    after = as_document(one)
    subject = f"person:{one.id}"
    session.add(
        models.Event(
            time=now(), person_id=by, kind=kind, subject=subject, before=before, after=after
        )
    )


def digest(secret: str) -> str:
    """What is kept of a secret of 256 random bits, which no table of guesses holds."""
    return hashlib.sha256(secret.encode()).hexdigest()


def log_in(session: orm.Session, one: models.Person) -> str:
    """A new browser of a person; gives its cookie."""
    cookie = secrets.token_urlsafe(32)
    expires = (datetime.now(UTC) + timedelta(days=DAYS)).isoformat(timespec="microseconds")
    session.execute(sa.delete(models.Login).where(models.Login.expires < now()))
    session.add(
        models.Login(person_id=one.id, digest=digest(cookie), created=now(), expires=expires)
    )
    return cookie


def by_token(session: orm.Session, token: str) -> models.Person | None:
    """The active person whose token it is."""
    return session.scalar(
        sa.select(models.Person)
        .join(models.Token)
        .where(models.Token.digest == digest(token), models.Person.active)
    )


def by_cookie(database: Database, cookie: str) -> Person | None:
    """The active person who is logged in with a cookie."""
    with database.session() as session:
        row = session.execute(
            sa.select(models.Person.id, models.Person.name, models.Person.role)
            .join(models.Login, models.Login.person_id == models.Person.id)
            .where(
                models.Login.digest == digest(cookie),
                models.Login.expires > now(),
                models.Person.active,
            )
        ).one_or_none()
        return None if row is None else Person(*row)


def csrf(settings: Settings, cookie: str) -> str:
    """What our own pages send with every change, and no page of others can read.

    It follows from the cookie alone, so that a page outlives a restart of the server.
    """
    key = cookie or settings.secret
    return hmac.new(key.encode(), b"csrf", hashlib.sha256).hexdigest()


class Pace:
    """How often each of many may ask: a bucket that fills again.

    Args:
        burst: At once.
        rate: And then, a second.
        clock: Gives seconds.
    """

    def __init__(
        self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait(self, who: str) -> float:
        """Counts a request; 0, or after how many seconds the next one may come."""
        with self._lock:
            at = self._clock()
            left, since = self._left.pop(who, (self._burst, at))
            left = min(self._burst, left + (at - since) * self._rate)
            fits = left >= 1
            self._left[who] = (left - 1 if fits else left, at)
            if len(self._left) > _MOST:
                self._left.pop(next(iter(self._left)))
            return 0.0 if fits else (1 - left) / self._rate


class Seen:
    """Who the browsers are that asked within the last `SEEN` seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Person]] = {}
        self._changes = 0

    async def by_cookie(self, database: Database, cookie: str) -> Person | None:
        """`by_cookie`, from memory where that is fresh enough."""
        since, found = self._known.get(cookie, (0.0, None))
        if found is not None and self._clock() - since < SEEN:
            return found
        changes = self._changes
        found = await run_in_threadpool(by_cookie, database, cookie)
        if found is not None and changes == self._changes:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[cookie] = (self._clock(), found)
        return found

    def forget(self) -> None:
        """People changed; also what is being looked up right now is not kept."""
        self._known.clear()
        self._changes += 1


class Paces:
    """Of one app."""

    def __init__(self) -> None:
        self.logins = Pace(*LOGINS)
        self.writes = Pace(*WRITES)


class Gate:
    """Stands before every request: see the top of this file.

    Args:
        app: What comes after it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._paces = Paces()
        self._seen = Seen()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks."""
        if scope["type"] == "http":
            try:
                await self._check(Request(scope))
            except ApiError as error:
                body = {"error": {"kind": error.kind, "message": str(error), **error.more}}
                answer = JSONResponse(body, error.status, headers=_after(error))
                await answer(scope, receive, send)
                return
        try:
            await self._app(scope, receive, send)
        finally:
            if scope.get("method") not in _READS and scope.get("path", "").startswith(_WHO):
                self._seen.forget()

    async def _check(self, request: Request) -> None:
        parts = request.app.state.studio
        if not parts.settings.needs_login:
            _check_host(request)
        if request.url.path.startswith("/api/"):
            cookie = request.cookies.get(COOKIE, "")
            who = await self._seen.by_cookie(parts.database, cookie) if cookie else None
            _admit(request, parts.settings, self._paces, who, cookie)


def _after(error: ApiError) -> dict[str, str]:
    return {"Retry-After": str(error.more["after"])} if "after" in error.more else {}


def _check_host(request: Request) -> None:
    """Without a login, a page of others must not reach us under a name of its own.

    A name that leads to this machine is chosen by whoever owns it, but not a number, nor a name
    without a dot.
    """
    host = request.url.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if "." in host and not host.endswith(".localhost"):
            raise ApiError(
                403, "host", f"expected a local address, got {host[:100]}; start it with --login"
            ) from None


def _admit(
    request: Request, settings: Settings, paces: Paces, who: Person | None, cookie: str
) -> None:
    request.state.person = who
    # A cookie that is no longer good counts as none, or its page could not even log in again.
    request.state.cookie = cookie if who else ""
    path, address = request.url.path, request.client.host if request.client else ""
    entering = path == "/api/session"
    if request.method not in _READS:
        if entering and request.method == "POST" and settings.needs_login:
            _slow_down(paces.logins, address)
        else:
            _slow_down(paces.writes, str(who.id) if who else address)
        wanted = csrf(settings, request.state.cookie)
        if not hmac.compare_digest(request.headers.get(CSRF, "").encode(), wanted.encode()):
            raise ApiError(
                403, "csrf", "expected the header X-CSRF of GET /api/session, got another"
            )
        if settings.readonly and not (entering or _EXPORTS.fullmatch(path)):
            raise ApiError(403, "readonly", "expected no changes: the studio runs with --readonly")
    if settings.needs_login and who is None and not entering:
        raise ApiError(401, "login", "expected somebody who is logged in, got nobody")


def _slow_down(pace: Pace, who: str) -> None:
    wait = pace.wait(who)
    if wait:
        after = max(1, round(wait))
        raise ApiError(
            429, "too-many", f"expected fewer requests; try again in {after} s", after=after
        )
