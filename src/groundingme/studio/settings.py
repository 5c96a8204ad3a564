"""What the studio may read, where it keeps what people write, and who may come in."""

from __future__ import annotations

import ipaddress
import secrets
from pathlib import Path

import msgspec

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
