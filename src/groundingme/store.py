"""Run folders: what was asked and every reply, append-only, readable by a person.

    runs/openai-Qwen3-VL-8B-Instruct--groundingme--1a2b3c4d/
        run.json            what was asked of which model (schema.Run)
        generations.jsonl   one line a finished request (schema.Generation), as they finished

What survives what:

=====================  =======================================================================
the process is killed  Every finished request. A line is one `write` to a file opened for
                       appending, and what was written belongs to the kernel.
power is lost          Lines older than `SYNC_EVERY` seconds: so often, and at the end of each
                       session, the file is synced to the disk. Manifest, samples and scores are
                       synced before they take their name.
a half line at the     Cut off when the run is next locked, and its sample is asked again.
end
a damaged line         Left out and counted in `RunFolder.damaged`; the rest is read.
disk full              The half line is taken back, and the run stops with a `JobError`.
folder read-only       A `RunError` before anything is asked.
=====================  =======================================================================
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from groundingme.errors import JobError, RunError
from groundingme.schema import Generation, Run

MANIFEST = "run.json"
GENERATIONS = "generations.jsonl"

SYNC_EVERY = 5.0
"""Seconds after which a line is on the disk and not only with the kernel."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RunFolder:
    """One run on disk.

    Attributes:
        path: The folder.
        run: Its manifest.
        difference: One line on how the run differs from the nearest earlier one; "" where it
            was there before, or where none is near.
        damaged: Numbers, from 1, of the lines that the last reading of the replies left out.
    """

    def __init__(self, path: Path, run: Run, *, difference: str = "") -> None:
        self.path = path
        self.run = run
        self.difference = difference
        self.damaged: tuple[int, ...] = ()
        self._file: int | None = None

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run.

        Raises:
            RunError: There is no run in that folder, or its manifest is damaged.
        """
        path = Path(path)
        try:
            run = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Run)
        except OSError as error:
            raise RunError(
                f"expected a run folder, which holds {MANIFEST}, got {path} "
                f"({error.strerror}); `groundingme ls FOLDER` lists runs"
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RunError(
                f"expected the manifest of a run in {path / MANIFEST}, got a damaged one "
                f"({error}); restore it, or move the folder away"
            ) from None
        return cls(path, run)

    @classmethod
    def find(cls, root: str | Path, run: Run) -> RunFolder | None:
        """The folder in `root` whose run has the same `identity`; None where there is none."""
        return next((one for one in list_runs(root) if identity(one.run) == identity(run)), None)

    @classmethod
    def find_or_create(cls, root: str | Path, run: Run) -> RunFolder:
        """The run's folder in `root`: the one with the same `identity`, or a new one.

        A folder that is found keeps its manifest but for `coords`, which may be declared anew.

        Args:
            root: Folder of runs; made where it is missing.
            run: What is to be asked.

        Raises:
            RunError: The folder cannot be written, or holds a run that its name belies.
            JobError: The disk is full.
        """
        root = Path(root)
        try:
            if folder := cls.find(root, run):
                if folder.run.coords != run.coords:
                    folder.run = msgspec.structs.replace(folder.run, coords=run.coords)
                    folder._write_manifest()
                return folder
            path = root / folder_name(run)
            if (path / MANIFEST).exists():
                raise RunError(
                    f"expected the run of that name in {path}, got a manifest that was changed or "
                    "damaged; restore it, or move the folder away"
                )
            path.mkdir(parents=True, exist_ok=True)
            made = cls(path, run, difference=differences(run, list_runs(root)))
            made._write_manifest()
        except OSError as error:
            if error.errno in _FULL:
                raise _unwritten(root, error) from None
            raise RunError(
                f"expected a folder of runs that can be written, got {root} ({error.strerror}); "
                "free or name another one"
            ) from None
        return made

    def _write_manifest(self) -> None:
        encoded = msgspec.json.format(msgspec.json.encode(self.run), indent=2)
        write_atomically(self.path / MANIFEST, encoded + b"\n", durable=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for writing; a half line that a killed process left is cut off first.

        The lock is the operating system's and ends with the process, however that ends.

        Raises:
            RunError: Another process holds the run, or its folder cannot be written.
            JobError: The disk is full.
        """
        import filelock

        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        holder = self.path / ".holder"
        try:
            lock.acquire()
        except filelock.Timeout:
            who = _read_text(holder) or "another process"
            raise RunError(
                f"expected {self.path} to be free, got it held by {who}; "
                "wait until that has finished, or end it, and run the same command again"
            ) from None
        except OSError as error:
            raise self._cannot_hold(error) from None
        try:
            try:
                holder.write_text(_holder(), encoding="utf-8")
                path = self.path / GENERATIONS
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                _mend_end(self._file)
            except OSError as error:
                raise self._cannot_hold(error) from None
            with _synced(self._file):
                yield
        finally:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            with contextlib.suppress(OSError):
                holder.unlink(missing_ok=True)
            lock.release()

    def _cannot_hold(self, error: OSError) -> JobError | RunError:
        if error.errno in _FULL:
            return _unwritten(self.path, error)
        return RunError(
            f"expected a run folder that can be written, got {self.path} ({error.strerror}); "
            "mend its permissions, or name another folder"
        )

    def append(self, generation: Generation) -> None:
        """Adds one line; the caller holds `lock`.

        Raises:
            JobError: The line could not be written, for instance because the disk is full.
        """
        assert self._file is not None, "append needs the lock"
        line = msgspec.json.encode(generation) + b"\n"
        end = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written < len(line):
                # The rest may still fit; if it does not, the error says why.
                os.write(self._file, line[written:])
        except OSError as error:
            # Where the half line stays, the next session cuts it off.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
            raise _unwritten(self.path / GENERATIONS, error) from None

    def generations(self, trajectory: int = 0) -> dict[str, Generation]:
        """One trajectory of every sample that has one, by sample id: see `trajectories`."""
        return {id: one for (id, index), one in self.trajectories().items() if index == trajectory}

    def trajectories(self) -> dict[tuple[str, int], Generation]:
        """The replies by sample id and trajectory: the latest reply, or else latest failure."""
        found: dict[tuple[str, int], Generation] = {}
        damaged: list[int] = []
        for number, one in read_lines(self.path / GENERATIONS):
            if one is None:
                damaged.append(number)
                continue
            before = found.get((one.id, one.trajectory))
            if before is None or before.failure or not one.failure:
                found[one.id, one.trajectory] = one
        self.damaged = tuple(damaged)
        return found


def list_runs(root: str | Path) -> list[RunFolder]:
    """The readable runs in a folder, the oldest first; none where the folder is missing."""
    runs = []
    for path in Path(root).glob(f"*/{MANIFEST}"):
        with contextlib.suppress(RunError):
            runs.append(RunFolder.open(path.parent))
    return sorted(runs, key=lambda one: (one.run.created, one.path.name))


def identity(run: Run) -> dict[str, Any]:
    """What makes two runs one run: the model, the data, and all that changes what is asked.

    Dates, versions and what the data set was called when it was named are not in it, nor the
    coordinate format, which is read at scoring.
    """
    return {
        "model": run.model,
        "data_fingerprint": run.data_fingerprint,
        "subset": run.subset,
        "limit": run.limit,
        "prompt": run.prompt,
        # As it reads back from the manifest, so that tuples and lists are the same.
        "settings": msgspec.json.decode(msgspec.json.encode(run.settings)),
    }


def folder_name(run: Run) -> str:
    """`MODEL--DATA--HASH`: readable, safe in any file system, and the same for the same run.

    Of a model's name the provider and the last part of its path are kept, 60 characters in all.
    """
    provider, _, rest = run.model.partition("/")
    model = _slug(f"{provider}-{rest.rstrip('/').rpartition('/')[2]}")
    encoded = msgspec.json.encode(identity(run), order="deterministic")
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{model}--{_slug(run.data_name)}--{digest}"


def differences(run: Run, others: Iterable[RunFolder]) -> str:
    """One line on what differs from the nearest run of the same model on the same data.

    Args:
        run: The run in question.
        others: Runs to compare it with.

    Returns:
        Such as `a new run beside NAME: max_tokens is 100, not 20480`; "" where no other run of
        that model and data differs.
    """
    near: tuple[str, list[str]] | None = None
    ours = _flat(run)
    for other in others:
        if (other.run.model, other.run.data_name) != (run.model, run.data_name):
            continue
        theirs = _flat(other.run)
        changed = [
            f"{name} is {_short(ours.get(name))}, not {_short(theirs.get(name))}"
            for name in {**ours, **theirs}
            if ours.get(name) != theirs.get(name)
        ]
        if changed and (near is None or len(changed) <= len(near[1])):
            near = (other.path.name, changed)
    return f"a new run beside {near[0]}: {'; '.join(near[1])}" if near else ""


def _flat(run: Run) -> dict[str, Any]:
    fields = identity(run)
    settings = fields.pop("settings")
    return {**fields, **settings}


def temporary_name(path: Path) -> Path:
    """Where this process writes a file before it takes its name."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replaces a file whole, so that neither a reader nor a kill ever sees half of it.

    Args:
        path: Of the file.
        content: All of it.
        durable: Nor does a loss of power leave half of it.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def remove_strays(folder: Path, name: str = "") -> None:
    """Removes the temporary files that killed processes left.

    Args:
        folder: That nobody else writes to meanwhile.
        name: Of the file whose temporary ones go. Without it all go, at any depth: for folders in
            which every file is ours.
    """
    stray = re.compile(rf"\.{re.escape(name) or '.+'}\.\d+")
    for path in folder.glob(".*") if name else folder.rglob(".*"):
        if stray.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its place when all went well."""
    part = temporary_name(path)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def kept(path: Path) -> Iterator[None]:
    """Writing something that belongs to a run.

    Raises:
        JobError: It could not be written, for instance because the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise _unwritten(path, error) from None


def _unwritten(path: Path, error: OSError) -> JobError:
    return JobError(
        f"expected to write to {path}, got: {error.strerror}; "
        "everything before is kept; mend that, and the same command continues"
    )


def _holder() -> str:
    since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}"


@contextlib.contextmanager
def _synced(file: int) -> Iterator[None]:
    """Brings a file to the disk every `SYNC_EVERY` seconds, in a thread, and at the end."""
    done = threading.Event()

    def sync() -> None:
        before = -1
        while not done.wait(SYNC_EVERY):
            size = os.fstat(file).st_size
            if size != before:
                # What the disk refuses now it refuses at the end as well, where it is said.
                with contextlib.suppress(OSError):
                    os.fsync(file)
                    before = size

    thread = threading.Thread(target=sync, name="groundingme-sync", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        # A device that is no file has nothing to sync.
        with contextlib.suppress(OSError):
            os.fsync(file)


def read_lines(path: Path) -> Iterator[tuple[int, Generation | None]]:
    """Every line with its number; None for one that is damaged."""
    decoder = msgspec.json.Decoder(Generation)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield number, decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield number, None
    except FileNotFoundError:
        return


def _mend_end(file: int) -> None:
    """Cuts off a half line at the end, or ends a whole one that lacks its line break."""
    size = os.fstat(file).st_size
    tail = b""
    while b"\n" not in tail and len(tail) < size:
        start = max(0, size - len(tail) - 65536)
        tail = os.pread(file, size - len(tail) - start, start) + tail
    half = tail[tail.rfind(b"\n") + 1 :]
    if not half:
        return
    try:
        msgspec.json.decode(half, type=Generation)
    except (msgspec.DecodeError, UnicodeDecodeError):
        os.ftruncate(file, size - len(half))
    else:
        os.write(file, b"\n")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "unnamed"


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
