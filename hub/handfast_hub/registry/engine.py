"""How the registry opens its database; the one place that knows which database it is.

SQLite runs in WAL mode with synchronous = FULL: a commit is on the disk when it returns. Foreign
exceptions of the database are translated here and nowhere else.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url

from handfast.core.errors import Error, LocalError

# How long a transaction waits for another process. Writers hold the lock for milliseconds.
LOCK_SECONDS = 5.0
# A page takes two credentials or some forty keys; measured 15 % cheaper per enrolment than 4096.
_PAGE_BYTES = 8192
# Pages in the write-ahead log before they are copied into the database, 16 MB.
_CHECKPOINT_PAGES = 2000

# Whatever stands in no table of adapters is asked for attributes that bytes do not have, and the
# exceptions cost more than the binding. A view binds the same bytes.
sqlite3.register_adapter(bytes, memoryview)


class RegistryError(Error):
    """The database did not do its work; nothing of the failed transaction was kept."""


class RegistryLocked(RegistryError):
    """Another process holds the database; the same call may succeed later."""

    retryable = True


def database_url(database: str) -> str:
    """A SQLAlchemy URL for `database`, which is a URL already or the path of a SQLite file."""
    return database if "://" in database else f"sqlite:///{database}"


def database_file(database: str) -> Path | None:
    """The file of a SQLite database, or None when it is something else."""
    url = _url(database)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)


def open_engine(database: str) -> Engine:
    """An engine whose transactions take the write lock when they begin; no file is made."""
    url = _url(database)
    if url.get_backend_name() != "sqlite":
        return _open_server(url)
    # mode=rw: a mistyped path must not become an empty database.
    location = f"file:{Path(url.database or '').resolve()}?mode=rw"
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(
            location, uri=True, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
        ),
        poolclass=sa.pool.QueuePool,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _url(database: str) -> URL:
    try:
        return make_url(database_url(database))
    except (exc.ArgumentError, ValueError):
        raise LocalError(
            "'database' in hub.toml should be the path of a file or a URL such as postgresql://host/name"
        ) from None


def _open_server(url: URL) -> Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=True)
    except exc.NoSuchModuleError:
        raise LocalError(
            f"'database' in hub.toml begins {url.drivername}://, which is no database known here;"
            " give the path of a file, or postgresql://"
        ) from None
    except ModuleNotFoundError as error:
        raise LocalError(
            f"'database' in hub.toml needs the Python package {error.name}; install it, or give a file"
        ) from None


def create_database(database: str) -> None:
    """Make the empty file of a SQLite database with mode 0600; other databases exist already."""
    path = database_file(database)
    if path is None:
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise RegistryError(f"{path} exists already and was left as it is") from None
    except OSError as error:
        raise RegistryError(f"cannot create {path}: {error.strerror}") from None


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in (
        f"page_size = {_PAGE_BYTES}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin(connection: Connection) -> None:
    # A deferred transaction that turns from reading to writing fails at once when another writer
    # was faster, whatever the timeout; one that begins as a writer waits for its turn.
    reading = connection.get_execution_options().get("reading", False)
    cursor = connection.connection.cursor()
    cursor.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
    cursor.close()


def foreign_commits(connection: Connection) -> int | None:
    """A number that changes when another connection has committed; None when unknown."""
    if connection.dialect.name != "sqlite":
        return None
    cursor = connection.connection.cursor()
    try:
        cursor.execute("PRAGMA data_version")
        row = cursor.fetchone()
    finally:
        cursor.close()
    return None if row is None else int(row[0])


def quick_check(connection: Connection) -> str:
    """What is wrong with the database as a whole, or the empty string."""
    if connection.dialect.name != "sqlite":
        return ""
    found = connection.exec_driver_sql("PRAGMA quick_check").scalar()
    return "" if found == "ok" else f"damaged: {found}"


@contextmanager
def translated(database: str) -> Iterator[None]:
    """Turn the exceptions of SQLAlchemy and SQLite into ours."""
    try:
        yield
    except (exc.DBAPIError, sqlite3.Error) as error:
        raise explain(error, database) from error


def explain(error: BaseException, database: str) -> RegistryError:
    """One sentence for a failure of the database: what was expected, what came, what to do."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    name = database_file(database) or make_url(database_url(database)).render_as_string()
    code = getattr(cause, "sqlite_errorname", "") or ""
    text = str(cause).lower()
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or "is locked" in text:
        return RegistryLocked(
            f"{name} is locked by another process for more than {LOCK_SECONDS:.0f} s;"
            " end the program that holds it and try again"
        )
    for prefix, sentence in _SENTENCES:
        if code.startswith(prefix):
            return RegistryError(f"{name} {sentence}")
    if "no such table" in text:
        return RegistryError(f"{name} is not a handfast registry; check 'database' in hub.toml")
    return RegistryError(f"{name} failed: {cause}; see 'handfast-hub check'")


_SENTENCES = (
    (
        "SQLITE_READONLY",
        "cannot be written; give this user write access to it, its -wal and -shm files and their folder",
    ),
    ("SQLITE_FULL", "cannot grow: the disk is full; nothing was lost, make room and try again"),
    (
        "SQLITE_IOERR",
        "cannot be read or written: the disk reports an error; look at the disk and its free space",
    ),
    (
        "SQLITE_CANTOPEN",
        "cannot be opened; check 'database' in hub.toml, or run 'handfast-hub init' for a new hub",
    ),
    ("SQLITE_NOTADB", "is not a database; check 'database' in hub.toml or restore a backup"),
    ("SQLITE_CORRUPT", "is damaged; restore a backup with 'handfast-hub restore'"),
)
