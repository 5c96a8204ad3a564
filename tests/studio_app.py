"""The studio for tests: an app on a database, people who are logged in, a PostgreSQL of our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from groundingme.studio.app import create_app
from groundingme.studio.settings import Settings

MakeApp = Callable[..., FastAPI]


def enter(app: FastAPI, name: str = "", token: str = "", **options: Any) -> TestClient:
    """A browser of somebody, who is logged in."""
    client = TestClient(app, **options)
    client.headers["X-CSRF"] = client.get("/api/session").json()["csrf"]
    answer = client.post("/api/session", json={"token": token} if token else {"name": name})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF"] = answer.json()["csrf"]
    return client


def give_role(admin: TestClient, client: TestClient, role: str) -> None:
    person = client.get("/api/session").json()["person"]["id"]
    assert admin.patch(f"/api/people/{person}", json={"role": role}).status_code == 200


def ended(client: TestClient, answer: Any) -> dict[str, Any]:
    """The job that an answer started, when it has ended."""
    assert answer.status_code == 202, answer.text
    job = answer.json()
    deadline = time.monotonic() + 300
    while job["ended"] is None:
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
        job = client.get(f"/api/jobs/{job['id']}").json()
    return dict(job)


def finished(client: TestClient, answer: Any) -> dict[str, Any]:
    """What the job gave that an answer started."""
    job = ended(client, answer)
    assert job["state"] == "done", job
    return dict(job["result"])


def document(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What an item's page would save."""
    return {**{k: v for k, v in item["mine"].items() if k not in ("version", "state")}, **changes}


class Postgres:
    """A PostgreSQL server of our own, in a folder of its own, reached by a socket in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = next(
            (Path(one).parent for one in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))),
            None,
        )
        found = shutil.which("initdb")
        if found:
            self._programs = Path(found).resolve().parent
        if self._programs is None:
            pytest.skip("needs PostgreSQL's initdb and postgres")
        self._as: list[str] = []
        if os.geteuid() == 0:
            # It refuses to run as root.
            if not shutil.which("setpriv"):
                pytest.skip("needs setpriv to run PostgreSQL as another than root")
            self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        subprocess.run(
            [*self._as, str(self._programs / "initdb"), "-D", str(data), "-U", "tester",
             "-A", "trust", "-E", "UTF8", "--locale=C"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [*self._as, str(self._programs / "postgres"), "-D", str(data), "-p", str(self.port),
             "-k", str(folder), "-c", "listen_addresses=", "-c", "max_connections=200"],
            cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._made = 0
        deadline = time.monotonic() + 300
        while True:
            with contextlib.suppress(sa.exc.OperationalError):
                self._run("SELECT 1")
                return
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.2)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://tester@/{database}?host={self._folder}&port={self.port}"

    def _run(self, words: str) -> None:
        engine = sa.create_engine(self.url(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(words)
        finally:
            engine.dispose()

    def fresh(self) -> str:
        """The URL of an empty database."""
        self._made += 1
        self._run(f"CREATE DATABASE made{self._made}")
        return self.url(f"made{self._made}")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Paths of sockets are short, so pytest's own folders are too deep.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Of an empty database: of either kind, "" for the file in the studio's home."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres")
    return server.fresh()


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """Makes apps on `tmp_path`, of which `data` is the root; closes their databases."""
    made: list[FastAPI] = []
    (tmp_path / "data").mkdir(exist_ok=True)

    def make(**changes: Any) -> FastAPI:
        told = {
            "runs": tmp_path / "runs", "roots": (tmp_path / "data",), "home": tmp_path / "home",
            **changes,
        }  # fmt: skip
        app = create_app(Settings(**told))
        made.append(app)
        return app

    yield make
    for app in made:
        app.state.studio.jobs.close()
        app.state.studio.database.close()
