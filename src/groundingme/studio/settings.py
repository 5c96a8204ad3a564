"""What the studio may read, where it keeps what people write, and who may come in."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
from pathlib import Path

import msgspec

from groundingme.errors import UsageError

MAX_UPLOAD = 64 * 2**20
"""Most bytes of a request's body."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the studio was started.

    Attributes:
        runs: Folder of run folders.
        roots: Folders that projects and data sets may be read from; nothing outside of them is
            read, links followed. The runs' folder is one of them.
        home: Folder of the database, of tiles and of thumbnails.
        database: URL of the database; "" for a SQLite file in `home`.
        models: Specs of models that may be asked, beside the built-in one.
        host: Address that it listens on.
        port: Port that it listens on.
        login: Whether people must log in with a token; always where `host` is not of this machine.
        readonly: Whether nothing can be written.
        secret: Signs keys of pictures and sessions; drawn anew where none is given.
    """

    runs: Path
    roots: tuple[Path, ...] = ()
    home: Path
    database: str = ""
    models: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    login: bool = False
    readonly: bool = False
    secret: str = msgspec.field(default_factory=lambda: secrets.token_hex(32))

    @property
    def database_url(self) -> str:
        """The database's URL, as SQLAlchemy takes it."""
        return self.database or f"sqlite:///{(self.home / 'studio.sqlite').resolve()}"

    @property
    def needs_login(self) -> bool:
        """Whether nobody comes in without a token."""
        return self.login or not is_loopback(self.host)


def kept_secret(home: Path) -> str:
    """The secret of a folder, made on first use: what it signed holds after a restart.

    Only the file's owner can read it.

    Raises:
        UsageError: The folder cannot be written.
    """
    path = home / "secret"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "w") as file:
                file.write(secrets.token_hex(32))
        text = path.read_text().strip()
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {home} ({error.strerror}); name another "
            "with --home"
        ) from None
    # Another process may be writing it right now, or was killed while it did.
    return text if len(text) == 64 else secrets.token_hex(32)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
