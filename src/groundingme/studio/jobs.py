"""Work of the server that outlives the page that asked for it: publishing, exports, imports.

A job runs in a thread of its own and tells how far it is. It can be cancelled whenever it does.
Jobs belong to one server and end with it; none leaves half of what it writes under its final name.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groundingme.errors import GroundingMEError
from groundingme.studio.database import now
from groundingme.studio.errors import ApiError, not_found
from groundingme.studio.people import Person

AT_ONCE = 4
"""Jobs that run at the same time, of all projects."""
MOST = 100
"""Jobs that are remembered; beyond it those that ended first go, with their files."""
LAST = 10.0
"""Seconds that a server which ends waits for its jobs to notice."""

Tick = Callable[[int, int], None]
"""Called with how much is done, and of how much. Raises `Cancelled`, which must not be caught."""


class Cancelled(Exception):  # noqa: N818 - no error
    """Somebody cancelled the job."""


class Job:
    """One piece of work.

    Attributes:
        id: Not to be guessed.
        kind: `publish`, `export` or `import`.
        title: What it is about, in a word or two.
        project: Id of its project.
        person: Who asked for it.
        state: `running`, `cancelling`, `done`, `failed` or `cancelled`.
        done: How much is done, of `total`; both 0 before that is known.
        result: What it gave, where it is done.
        error: `kind` and `message`, where it failed.
        file: What can be downloaded, where it is done.
    """

    def __init__(self, kind: str, title: str, project: int, person: Person) -> None:
        self.id = secrets.token_hex(8)
        self.kind, self.title, self.project, self.person = kind, title, project, person
        self.state = "running"
        self.done = self.total = 0
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.file: Path | None = None
        self.started, self.ended = now(), ""

    @property
    def is_at_work(self) -> bool:
        """Whether it has not ended."""
        return not self.ended

    def tick(self, done: int, total: int) -> None:
        """Notes how far it is.

        Raises:
            Cancelled: It is to end.
        """
        self.done, self.total = done, total
        if self.state == "cancelling":
            raise Cancelled

    def document(self) -> dict[str, Any]:
        """What the API says of it."""
        return {
            **{name: getattr(self, name) for name in (
                "id", "kind", "title", "project", "state", "done", "total", "result", "error",
                "started",
            )},
            "person": {"id": self.person.id, "name": self.person.name},
            "ended": self.ended or None,
            "file": f"/api/jobs/{self.id}/file" if self.file else None,
        }  # fmt: skip


class Jobs:
    """The jobs of one server. A project has one at work at most."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def start(
        self, kind: str, title: str, project: int, who: Person, work: Callable[[Job], Any]
    ) -> Job:
        """Starts a job. What the person's last one in the project gave is forgotten.

        Args:
            kind: See `Job`.
            title: See `Job`.
            project: Its id.
            who: Who asks for it.
            work: Gives the result. It calls `tick` of the job often, and may set its `file`.

        Raises:
            ApiError: 409 where the project has a job at work, or the server as many as it runs.
        """
        job = Job(kind, title, project, who)
        with self._lock:
            busy = [one for one in self._jobs.values() if one.is_at_work]
            for one in busy:
                if one.project == project:
                    raise ApiError(
                        409, "busy", f"expected a project without a job, got one at work, "
                        f"{one.kind} by {one.person.name}; wait for it, or cancel it", job=one.id,
                    )  # fmt: skip
            if len(busy) >= AT_ONCE:
                raise ApiError(
                    409, "busy", f"expected fewer than {AT_ONCE} jobs at work in all projects, got "
                    f"{len(busy)}; try again when one has ended",
                )  # fmt: skip
            for one in list(self._jobs.values()):
                if one.ended and (one.project, one.person.id) == (project, who.id):
                    self._forget(one)
            ended = [one for one in self._jobs.values() if one.ended]
            for one in ended[: max(0, len(self._jobs) + 1 - MOST)]:
                self._forget(one)
            self._jobs[job.id] = job
            # A server that is told twice to end does not wait for it.
            thread = threading.Thread(
                target=self._run, args=(job, work), name=f"job-{job.id}", daemon=True
            )
            self._threads[job.id] = thread
            thread.start()
        return job

    def find(self, id: str) -> Job:
        """A job.

        Raises:
            ApiError: 404 where there is none, or it was forgotten.
        """
        found = self._jobs.get(id)
        if found is None:
            raise not_found("a job of this server", id[:60])
        return found

    def of(self, project: int) -> list[Job]:
        """Those of a project, the newest first."""
        with self._lock:
            return [one for one in reversed(self._jobs.values()) if one.project == project]

    def cancel(self, id: str) -> Job:
        """Cancels a job, unless it has ended.

        Raises:
            ApiError: As `find`.
        """
        job = self.find(id)
        with self._lock:
            if job.is_at_work:
                job.state = "cancelling"
        return job

    def forget(self, id: str) -> None:
        """Forgets a job that has ended, and what it gave.

        Raises:
            ApiError: As `find`; 409 where it is at work.
        """
        job = self.find(id)
        with self._lock:
            if job.is_at_work:
                raise ApiError(
                    409, "busy", "expected a job that has ended, got one at work; cancel it first"
                )
            self._forget(job)

    def close(self) -> None:
        """Cancels what is at work, waits a while for it, and forgets all."""
        with self._lock:
            for job in self._jobs.values():
                if job.is_at_work:
                    job.state = "cancelling"
            threads = list(self._threads.values())
        end = time.monotonic() + LAST
        for one in threads:
            one.join(max(0.0, end - time.monotonic()))
        with self._lock:
            for job in list(self._jobs.values()):
                self._forget(job)

    def _run(self, job: Job, work: Callable[[Job], Any]) -> None:
        state = "failed"
        try:
            job.result = work(job)
            state = "done"
        except Cancelled:
            state = "cancelled"
        except ApiError as error:
            job.error = {"kind": error.kind, "message": _line(error), **error.more}
        except GroundingMEError as error:
            job.error = {"kind": "cannot", "message": _line(error)}
        except Exception:
            logging.getLogger(__name__).exception("job %s of project %s", job.kind, job.project)
            said = "expected it to go well, got a fault of the studio; its log has more"
            job.error = {"kind": "fault", "message": said}
        with self._lock:
            job.state, job.ended = state, now()
            self._threads.pop(job.id, None)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        if job.file:
            job.file.unlink(missing_ok=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
