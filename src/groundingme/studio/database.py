"""The database: one SQLite file by default, PostgreSQL by its URL.

SQLite runs in WAL mode, so that reading never waits for writing; one transaction writes at a time,
and what was committed is on the disk. Tables are made and brought up to date by the migrations in
`migrations/`, at every start.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import orm

from groundingme.errors import MissingDependencyError, UsageError
from groundingme.store import temporary_name
from groundingme.studio.models import Base
from groundingme.terminal import visible

MIGRATIONS = Path(__file__).with_name("migrations")
BUSY = 20.0
"""Seconds that a write waits for another process's."""
IDLE = 2.0
"""Seconds after which a connection to PostgreSQL is tried before it is used again."""
_LOCK = 7_305_114_901
"""Advisory lock of PostgreSQL under which tables are brought up to date."""


def _as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_OPTIONS: dict[str, Any] = {
    "pool_size": 20,
    "max_overflow": 40,
    "json_serializer": _as_json,
    "json_deserializer": msgspec.json.decode,
}


def now() -> str:
    """The time, ISO 8601, UTC, with microseconds always written, so that text sorts as time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Database:
    """Connections to one database, up to date.

    Args:
        url: As SQLAlchemy takes it: `sqlite:///studio.sqlite`, `postgresql://name@host/database`.

    Raises:
        UsageError: It cannot be opened, or was written by a newer version.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # Taken before BEGIN: the file has one writer, and waiting here is fair and without polls.
        self._turn = threading.Lock() if self.is_sqlite else contextlib.nullcontext()
        self._writer = self.engine.execution_options(write=True)
        try:
            self._migrate()
        except sa.exc.DatabaseError as error:
            self.close()
            said = " ".join(str(error.orig).split())[:200]
            raise UsageError(
                f"expected a database that can be opened at {shown(url)}, got: {said}; check --db"
            ) from None

    @contextlib.contextmanager
    def session(self) -> Iterator[orm.Session]:
        """Reads: one snapshot, nothing is written."""
        with orm.Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[orm.Session]:
        """One transaction: all of it is kept when the block ends, or nothing where it raises."""
        with (
            self._turn,
            orm.Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Ends all connections."""
        self.engine.dispose()

    def backup(self, path: Path) -> None:
        """Writes everything into a SQLite file, as it stands at one moment.

        The server may run meanwhile. The file can be opened with `--db sqlite:///FILE`, and
        `restore` puts it into another database.

        Raises:
            UsageError: The file cannot be written.
        """
        part = temporary_name(path)
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            if self.is_sqlite:
                with self.engine.connect().execution_options(autocommit=True) as connection:
                    connection.exec_driver_sql("VACUUM INTO ?", (str(part),))
            else:
                copy = Database(f"sqlite:///{part.resolve()}")
                try:
                    _copy(self, copy)
                finally:
                    copy.close()
            # The log of the copy is empty by now: closing the last connection wrote it back.
            part.replace(path)
        except (OSError, sa.exc.OperationalError) as error:
            said = error.strerror if isinstance(error, OSError) else error.orig
            raise UsageError(
                f"expected a file that can be written, got {path} ({said}); name another"
            ) from None
        finally:
            part.unlink(missing_ok=True)

    def restore(self, path: Path) -> None:
        """Puts a backup into this database, which must be empty.

        Raises:
            UsageError: There is no such file, or this database holds something.
        """
        if not path.is_file():
            raise UsageError(f"expected a backup at {path}, got no file; check the path")
        with self.session() as session:
            for table in Base.metadata.sorted_tables:
                if session.execute(sa.select(sa.exists(sa.select(table)))).scalar():
                    raise UsageError(
                        f"expected an empty database, got rows of {table.name} in it; name a new "
                        "one with --db or --home"
                    )
        source = Database(f"sqlite:///{path.resolve()}")
        try:
            _copy(source, self)
        finally:
            source.close()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._turn, self._writer.begin() as connection:
            if not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise UsageError(
                    f"expected a database of this version or an older one, got: {error}; "
                    "upgrade groundingme"
                ) from None


def shown(url: str) -> str:
    """A database's URL without its password, for messages."""
    try:
        return visible(sa.make_url(url).render_as_string(hide_password=True))
    except sa.exc.ArgumentError:
        return "the URL given"


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise _wrong_url() from None
    kind = parsed.get_backend_name()
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:":
        return _sqlite(parsed)
    if kind == "postgresql":
        return _postgres(parsed)
    raise _wrong_url()


def _wrong_url() -> UsageError:
    return UsageError(
        "expected --db as sqlite:///FILE or postgresql://NAME@HOST/DATABASE, got another URL"
    )


def _sqlite(url: sa.URL) -> sa.Engine:
    assert url.database
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"expected a folder for {url.database}, got: {error.strerror}; name another --home"
        ) from None
    engine = sa.create_engine(url, connect_args={"timeout": BUSY}, **_OPTIONS)

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, record: Any) -> None:
        # The driver begins no transaction by itself: `begin` below says which kind.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def _(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("autocommit"):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write") else "BEGIN")

    return engine


def _postgres(url: sa.URL) -> sa.Engine:
    if "+" not in url.drivername:
        url = url.set(drivername="postgresql+psycopg")
    try:
        engine = sa.create_engine(url, **_OPTIONS)
    except ImportError:
        raise MissingDependencyError(
            "expected the PostgreSQL driver, got none; pip install 'groundingme[postgres]'"
        ) from None

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, record: Any) -> None:
        # Of a long queue PostgreSQL takes our questions to be dear, and would spend half a second
        # to compile one that it answers in a few milliseconds.
        connection.autocommit = True
        connection.execute("SET jit = off")
        connection.autocommit = False

    @sa.event.listens_for(engine, "checkin")
    def _(connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def _(connection: Any, record: Any, proxy: Any) -> None:
        # The server may have been restarted meanwhile. To ask each time would cost every edit a
        # trip there and back.
        if time.monotonic() - record.info.get("used", math.inf) > IDLE:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.dbapi.Error:  # type: ignore[union-attr]
                raise sa.exc.DisconnectionError from None

    return engine


def _copy(source: Database, target: Database) -> None:
    """Copies all rows, as they stand at one moment."""
    options = {} if source.is_sqlite else {"isolation_level": "REPEATABLE READ"}
    with (
        source.engine.connect().execution_options(**options) as reading,
        target._writer.begin() as writing,
    ):
        for table in Base.metadata.sorted_tables:
            rows = reading.execution_options(yield_per=1000).execute(
                sa.select(table).order_by(table.c.id)
            )
            for part in rows.mappings().partitions():
                writing.execute(sa.insert(table), [dict(one) for one in part])
            if not target.is_sqlite:
                # Rows came with their numbers; the counter of new ones goes on after them.
                most = sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0) + 1).scalar_subquery()
                place = sa.func.pg_get_serial_sequence(f'"{table.name}"', "id")
                writing.execute(sa.select(sa.func.setval(place, most, False)))
