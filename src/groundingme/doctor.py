"""What a machine has and lacks for this package, and the command that mends each lack."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess  # nosec B404
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec

from groundingme import __version__, keys
from groundingme.cache import default_path
from groundingme.costs import config_folder
from groundingme.errors import UsageError

State = Literal["ok", "missing", "problem"]

SERVERS = {
    "vLLM": "http://localhost:8000/v1",
    "SGLang": "http://localhost:30000/v1",
    "llama.cpp": "http://localhost:8080/v1",
    "LM Studio": "http://localhost:1234/v1",
    "Ollama": "http://localhost:11434/v1",
}
"""Where servers listen that were started with their defaults."""

HUB_KEY = "HF_TOKEN"
_LEAST_DISK = 5 << 30
_LEAST_FILES = 1024
_SECONDS = 2.0
_MOST_BYTES = 1 << 20
_EXTRAS = {
    "train": "training mixtures and models", "transformers": "models in this process",
    "build": "taggers and detectors of a build", "ray": "workers on a cluster",
    "google": "Gemini", "anthropic": "Claude", "figures": "figures for a paper",
    "postgres": "a studio on PostgreSQL", "inspect": "logs for Inspect", "mlflow": "tracking",
    "wandb": "tracking", "trackio": "tracking", "vips": "large PNG in the studio",
    "docs": "building the documentation", "dev": "the tests",
}  # fmt: skip


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        area: `package`, `extras`, `gpu`, `keys`, `servers` or `disk`.
        name: Of the thing.
        state: `missing` is no fault: it is needed for some work only.
        found: What is there, in a few words; never a key's value.
        fix: The exact command or deed; "" where nothing is to be done.
    """

    area: str
    name: str
    state: State
    found: str
    fix: str = ""


def examine(base_urls: Sequence[str] = (), *, folder: Path = Path()) -> list[Check]:
    """Looks at everything. Asks no server but those on this machine and those named.

    Args:
        base_urls: Further OpenAI-compatible servers, up to and with `/v1`.
        folder: Where runs will be written.
    """
    parts: list[Callable[[], Iterator[Check]]] = [
        _package, _extras, _gpus, _keys, lambda: _servers(base_urls), lambda: _disk(folder)
    ]  # fmt: skip
    return [check for part in parts for check in part()]


def _package() -> Iterator[Check]:
    here = Path(__file__).parent
    yield Check(area="package", name="groundingme", state="ok", found=f"{__version__} in {here}")
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    yield Check(
        area="package", name="Python", state="problem" if old else "ok",
        found=f"{version}, {sys.executable}",
        fix="install Python 3.11 or newer, and groundingme with it" if old else "",
    )  # fmt: skip
    lost = [name for name, extra in _requirements() if not extra and not _version(name)]
    yield Check(
        area="package", name="requirements", state="problem" if lost else "ok",
        found=f"missing: {', '.join(lost)}" if lost else "all there",
        fix=f"pip install {' '.join(lost)}" if lost else "",
    )  # fmt: skip


def _requirements() -> list[tuple[str, str]]:
    """Name and extra of every package that this one requires; "" for the core."""
    try:
        lines = importlib.metadata.requires("groundingme") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        assert name
        found.append((name[0], extra[1] if extra else ""))
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _extras() -> Iterator[Check]:
    needed: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra:
            needed.setdefault(extra, []).append(name)
    order = [*(one for one in _EXTRAS if one in needed), *sorted(set(needed) - set(_EXTRAS))]
    for extra in order:
        names = needed[extra]
        there = [f"{name} {version}" for name in names if (version := _version(name))]
        lost = [name for name in names if not _version(name)]
        use = f" ({_EXTRAS[extra]})" if extra in _EXTRAS else ""
        yield Check(
            area="extras", name=f"{extra}{use}", state="missing" if lost else "ok",
            found=f"missing: {', '.join(lost)}" if lost else ", ".join(there),
            fix=f"pip install 'groundingme[{extra}]'" if lost else "",
        )  # fmt: skip


def _gpus() -> Iterator[Check]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Check(area="gpu", name="NVIDIA", state="missing", found="no nvidia-smi; "
                    "only local models and training want a GPU")  # fmt: skip
        return
    asked = [program, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # nosec B603
            asked, capture_output=True, text=True, timeout=20, check=True
        )
        said = done.stdout
    except (OSError, subprocess.SubprocessError) as error:
        yield Check(area="gpu", name="NVIDIA", state="problem",
                    found=f"nvidia-smi does not answer ({type(error).__name__})",
                    fix="nvidia-smi, and what its message asks for")  # fmt: skip
        return
    rows = [line.split(", ") for line in said.splitlines() if line.count(", ") == 2]
    for number, (name, total, free) in enumerate(rows):
        yield Check(area="gpu", name=f"GPU {number}", state="ok",
                    found=f"{name}, {free} free of {total}")  # fmt: skip
    torch = _version("torch")
    if rows and torch.endswith("+cpu"):
        yield Check(area="gpu", name="torch", state="problem",
                    found=f"torch {torch} cannot use the GPU",
                    fix="pip install --force-reinstall torch")  # fmt: skip


def _keys() -> Iterator[Check]:
    try:
        kept = keys.kept()
    except UsageError as error:
        yield Check(area="keys", name="keyring", state="problem", found=str(error),
                    fix=f"chmod 600 {keys.path_of_keys()}")  # fmt: skip
        kept = {}
    for name in (*keys.KNOWN, HUB_KEY):
        where = "in the environment" if os.environ.get(name, "").strip() else ""
        if not where and name in kept:
            where = f"in {keys.path_of_keys()}"
        # The Hub has a login of its own.
        login = _hub_login()
        if not where and name == HUB_KEY and login.exists():
            where = f"in {login}"
        fix = f"groundingme keys set {name}" if name != HUB_KEY else "hf auth login"
        yield Check(area="keys", name=name, state="ok" if where else "missing",
                    found=where or "not set", fix="" if where else fix)  # fmt: skip


def _hub_home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")


def _hub_login() -> Path:
    return _hub_home() / "token"


def _servers(base_urls: Sequence[str]) -> Iterator[Check]:
    asked = {url: url for url in base_urls} | {f"{name} at {url}": url
                                               for name, url in SERVERS.items()}  # fmt: skip
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        answers = list(pool.map(_served, asked.values()))
    for (name, url), (models, wrong) in zip(asked.items(), answers, strict=True):
        named = url in base_urls
        if models is not None:
            shown = ", ".join(models[:4]) + (f", ... ({len(models)})" if len(models) > 4 else "")
            yield Check(area="servers", name=name, state="ok", found=shown or "no model loaded")
        else:
            fix = f"start it, or check the address: curl {url}/models" if named else ""
            yield Check(area="servers", name=name, state="problem" if named else "missing",
                        found=wrong, fix=fix)  # fmt: skip


def _served(base_url: str) -> tuple[list[str] | None, str]:
    """Names of the models that a server has, or None and why they cannot be had."""
    import urllib.error
    import urllib.request

    address = f"{base_url.rstrip('/')}/models"
    if not address.startswith(("http://", "https://")):
        return None, "no http address"
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as reply:  # nosec B310
            found = msgspec.json.decode(reply.read(_MOST_BYTES))
        return [str(one["id"])[:80] for one in found["data"]], ""
    except urllib.error.HTTPError as error:
        error.close()
        return None, f"answers {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        said = str(getattr(reason, "strerror", None) or reason)
        return None, " ".join(said.split())[:120]
    except (KeyError, TypeError, msgspec.MsgspecError):
        return None, "answers, but not as an OpenAI-compatible server"


def _disk(folder: Path) -> Iterator[Check]:
    places = {
        "this folder": folder.resolve(), "configuration": config_folder(),
        "cache of replies": default_path().parent, "cache of the Hub": _hub_home(),
    }  # fmt: skip
    for name, place in places.items():
        there = next(one for one in (place, *place.parents) if one.exists())
        free = shutil.disk_usage(there).free
        writable = os.access(there, os.W_OK)
        low = free < _LEAST_DISK
        found = f"{place}: {free / (1 << 30):.0f} GB free"
        fix = ""
        if not writable:
            found, fix = f"{place} cannot be written", f"chmod u+w {there}, or use another folder"
        elif low:
            fix = f"make room on the disk of {there}"
        yield Check(area="disk", name=name, state="problem" if fix else "ok", found=found, fix=fix)
    if files := _open_files():
        few = files < _LEAST_FILES
        yield Check(area="disk", name="open files", state="problem" if few else "ok",
                    found=f"{files} at once", fix=f"ulimit -n {_LEAST_FILES}" if few else "")  # fmt: skip  # noqa: E501


def _open_files() -> int | None:
    """How many files a process may have open; None where the system has no such limit."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
