"""Folders that a command makes: one command's settings each, so that nothing is mixed in them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from groundingme.errors import UsageError
from groundingme.store import write_atomically


def claim(folder: Path, mark: str, settings: dict[str, Any], *, what: str) -> None:
    """Takes a folder for one set of settings, or finds that it is taken for these already.

    Args:
        folder: Made where it is missing.
        mark: Name of the file that keeps the settings.
        settings: Whatever changes what is made.
        what: What the folder is to hold, for messages.

    Raises:
        UsageError: It holds something else, or cannot be written.
    """
    mine = json.loads(json.dumps(settings))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            theirs = _read(folder / mark)
            if theirs == mine:
                return
            changed = [name for name in mine if theirs.get(name) != mine[name]]
            told = f" ({', '.join(changed)})" if changed else ""
            raise UsageError(
                f"expected a folder for {what}, got {folder}, which was made with other "
                f"settings{told}; name another with -o"
            )
        if any(folder.iterdir()):
            raise UsageError(
                f"expected an empty folder for {what}, got files in {folder}; name another with -o"
            )
        write_json(folder / mark, settings)
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {folder} ({error.strerror}); name another"
        ) from None


def _read(path: Path) -> dict[str, Any]:
    with suppress(ValueError):
        told = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(told, dict):
            return told
    return {}


def write_json(path: Path, value: Any) -> None:
    """A JSON file for people and programs; the same value gives the same bytes."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    write_atomically(path, f"{text}\n".encode())
