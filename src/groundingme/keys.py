"""Keys of hosted models: from the environment, or from a file that its owner alone can read.

A key's name is the variable in which its provider looks, such as `OPENAI_API_KEY`. What the
environment has goes before `keys.toml` in the user's configuration folder, which the command
`groundingme keys` writes. Every key that was looked up is remembered, so that it can be masked in
whatever is shown or stored.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
import tomllib
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from groundingme.costs import config_folder
from groundingme.errors import UsageError
from groundingme.registry import unknown
from groundingme.schema import Generation

FILE = "keys.toml"
KNOWN = ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ANTHROPIC_API_KEY")
"""Where providers look by themselves; others are named with `--api-key-env`."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"[\x21-\x7e]+")
_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie", re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r"(api|access|auth|bearer|private)[-_]?(key|token)|secret|password|authorization|credential",
    re.IGNORECASE,
)
_LEAST = 8
"""Fewest characters of what is masked; shorter ones are ordinary words."""

_secrets: set[str] = set()


def find(name: str) -> str:
    """The key of that name; "" where there is none.

    Raises:
        UsageError: It is no key, or the keyring cannot be used; the message never shows a key.
    """
    check_name(name)
    where = f"the variable {name}"
    found = os.environ.get(name, "").strip()
    if not found:
        where = f"{path_of_keys()} under {name}"
        found = kept().get(name, "").strip()
    if found and not _KEY.fullmatch(found):
        raise UsageError(
            f"expected a key of one line in {where}, got line breaks or characters that no key "
            "has; copy it again"
        )
    hide(found)
    return found


def check_name(name: str) -> None:
    """Raises `UsageError`, without showing it, where that can be no variable's name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "expected the name of a variable that holds a key, such as OPENAI_API_KEY, got "
            "something else (not shown, as it may be the key itself)"
        )


def path_of_keys() -> Path:
    """The keyring in the user's configuration."""
    return config_folder() / FILE


def kept() -> dict[str, str]:
    """What the keyring holds, by name; nothing where there is none.

    Raises:
        UsageError: Others may read it, it is somebody else's, or it is damaged.
    """
    path = path_of_keys()
    try:
        with path.open("rb") as file:
            wrong = _exposed(os.fstat(file.fileno()))
            content = b"" if wrong else file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(
            f"expected a keyring that can be read, got {path} ({error.strerror})"
        ) from None
    if wrong:
        raise UsageError(f"expected a keyring that you alone can read, got {path}, {wrong}")
    try:
        return msgspec.convert(tomllib.loads(content.decode()), dict[str, str])
    except (ValueError, msgspec.ValidationError):
        raise UsageError(
            f'expected lines of NAME = "VALUE" in {path}, got something else; mend it, or set the '
            "keys again with groundingme keys set NAME after you have moved it away"
        ) from None


def _exposed(found: os.stat_result) -> str:
    """Who else can read a file, and what to do; "" for nobody. Windows has other rights."""
    if sys.platform == "win32":
        return ""
    if found.st_uid != os.getuid():
        return f"which belongs to the user number {found.st_uid}; make one of your own"
    mode = stat.S_IMODE(found.st_mode)
    return f"which has mode {mode:04o}; chmod 600 it" if mode & 0o077 else ""


def keep(name: str, value: str) -> Path:
    """Writes a key into the keyring, over an earlier one of its name.

    Returns:
        The file, which its owner alone can read.

    Raises:
        UsageError: It is no name or no key, or the keyring cannot be used.
    """
    check_name(name)
    if not _KEY.fullmatch(value):
        raise UsageError(
            f"expected a key of one line for {name}, got "
            f"{'nothing' if not value else 'blanks or characters that no key has'}; copy it again"
        )
    hide(value)
    return _write({**kept(), name: value})


def remove(name: str) -> Path:
    """Takes a key out of the keyring.

    Raises:
        UsageError: None of that name is kept, or the keyring cannot be used.
    """
    check_name(name)
    rows = kept()
    if name not in rows:
        raise unknown("kept key", name, rows)
    del rows[name]
    return _write(rows)


def _write(rows: dict[str, str]) -> Path:
    path = path_of_keys()
    # A JSON string without control characters is a TOML string as well.
    lines = [f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in rows.items()]
    temporary = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise UsageError(
            f"expected a configuration folder that can be written, got {path.parent} "
            f"({error.strerror}); set GROUNDINGME_CONFIG to another"
        ) from None
    return path


def hide(secret: str) -> None:
    """Remembers what `masked` must not let through."""
    if len(secret) >= _LEAST:
        _secrets.add(secret)


def hide_header(name: str, value: str) -> None:
    """Remembers a header's value, and what stands behind its scheme, where it is a secret."""
    if _SECRET_HEADER.search(name):
        hide(value)
        hide(value.rpartition(" ")[2])


def without_secrets(value: Any) -> Any:
    """The same JSON with `***` for text whose name says that it is a secret, masked from now on."""
    if isinstance(value, list):
        return [without_secrets(one) for one in value]
    if not isinstance(value, dict):
        return value
    shown = {}
    for name, one in value.items():
        secret = isinstance(one, str) and _SECRET_FIELD.search(name)
        if secret:
            hide(one)
        shown[name] = "***" if secret else without_secrets(one)
    return shown


def masked(text: str) -> str:
    """The text with `***` for every key that was looked up in this process."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def clean(generation: Generation) -> Generation:
    """The same reply or failure without keys, which some servers repeat."""
    if not _secrets:
        return generation
    return msgspec.structs.replace(
        generation,
        text=masked(generation.text),
        reasoning=masked(generation.reasoning),
        detail=masked(generation.detail),
        finish_reason=masked(generation.finish_reason),
        served_model=masked(generation.served_model),
    )


def show_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """A `sys.excepthook` that masks keys."""
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))
