"""Puts the studio together: routers, pages, headers, and errors in one line."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import groundingme
from groundingme.errors import GroundingMEError, UsageError
from groundingme.studio import exporting, people, projects
from groundingme.studio.api import ask as ask_api
from groundingme.studio.api import people as people_api
from groundingme.studio.api import pictures as pictures_api
from groundingme.studio.api import projects as projects_api
from groundingme.studio.api import runs as runs_api
from groundingme.studio.context import Studio
from groundingme.studio.database import Database
from groundingme.studio.errors import ApiError
from groundingme.studio.jobs import Jobs
from groundingme.studio.library import Library
from groundingme.studio.pictures import Pictures
from groundingme.studio.settings import MAX_UPLOAD, Settings

STATIC = Path(__file__).with_name("static")

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""No script or style but our own files, no page of others around ours."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(settings: Settings) -> FastAPI:
    """The web app, ready to be served.

    Raises:
        UsageError: A folder or the database cannot be used.
    """
    database = Database(settings.database_url)
    parts = Studio(
        settings=settings,
        library=Library(settings),
        pictures=Pictures(settings),
        database=database,
        jobs=Jobs(),
    )
    projects.register(parts)
    exporting.mend(settings)

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        # Not in the loop, where answers are still on their way out.
        await run_in_threadpool(parts.jobs.close)
        database.close()

    app = FastAPI(
        title="groundingme studio",
        version=groundingme.__version__,
        lifespan=life,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.studio = parts
    for module in (people_api, projects_api, pictures_api, runs_api, ask_api):
        app.include_router(module.router, prefix="/api")
    _serve_pages(app)
    _answer_errors(app)
    app.add_middleware(people.Gate)
    app.add_middleware(_Frame)
    return app


def _serve_pages(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/{path:path}", include_in_schema=False)
    def page(path: str) -> Response:
        """Every address that is no file is the one page, which reads the address itself."""
        if path.startswith("api/"):
            raise ApiError(404, "not-found", f"expected an address of the API, got /{path}")
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


def _answer_errors(app: FastAPI) -> None:
    def answer(status: int, kind: str, message: str, **more: Any) -> JSONResponse:
        line = " ".join(message.split())
        return JSONResponse({"error": {"kind": kind, "message": line, **more}}, status)

    @app.exception_handler(ApiError)
    def _(request: Request, error: ApiError) -> JSONResponse:
        return answer(error.status, error.kind, str(error), **error.more)

    @app.exception_handler(GroundingMEError)
    def _(request: Request, error: GroundingMEError) -> JSONResponse:
        return answer(400 if isinstance(error, UsageError) else 409, "cannot", str(error))

    @app.exception_handler(RequestValidationError)
    def _(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return answer(422, "invalid", f"{place}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def _(request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, "http", str(error.detail))


class _Frame:
    """Refuses bodies that are too long before they are read, and adds our headers to answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        status, kind, said = 413, "too-large", f"expected at most {MAX_UPLOAD} bytes, got {length}"
        if "transfer-encoding" in headers:
            # Nobody can tell how long it will be.
            status, kind, said = (
                411,
                "no-length",
                "expected a body with its length, got one without",
            )
        elif length.isdecimal() and int(length) <= MAX_UPLOAD:
            await self._app(scope, receive, send_with_headers)
            return
        answer = JSONResponse({"error": {"kind": kind, "message": said}}, status)
        await answer(scope, receive, send_with_headers)
