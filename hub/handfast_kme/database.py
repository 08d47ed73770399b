"""The SQLite file of a KME: its tables, and one transaction for each thing that is done.

Every method of the classes over it is one transaction, on the disk (synchronous FULL) when it returns, so a
death at any line neither loses a cell nor gives a key twice. Deleted bytes are overwritten (secure_delete).
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from handfast.core.errors import KeystoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cells (link TEXT, block INTEGER, place INTEGER, value BLOB NOT NULL,
    PRIMARY KEY (link, block, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (key_id TEXT PRIMARY KEY, link TEXT NOT NULL, block INTEGER NOT NULL,
    state TEXT NOT NULL, master TEXT NOT NULL, value BLOB NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (key_id TEXT REFERENCES keys ON DELETE CASCADE, sae TEXT,
    PRIMARY KEY (key_id, sae)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS issued (key_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS passed (key_id TEXT, link TEXT, block INTEGER NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (key_id, link)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS voided (link TEXT, key_id TEXT, PRIMARY KEY (link, key_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS one_time (link TEXT, name TEXT, value BLOB NOT NULL,
    PRIMARY KEY (link, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (link TEXT PRIMARY KEY, next_block INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, link TEXT NOT NULL, at REAL NOT NULL,
    facts TEXT NOT NULL);
"""


class Database:
    """One KME's file. Calls block for the time of one fsync; any thread may make them."""

    def __init__(self, path: Path, *, only_look: bool = False) -> None:
        """Open or make the file, mode 0600; KeystoreError. `only_look` leaves another process's work
        alone."""
        self._lock = threading.Lock()
        with _translated(path):
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
        self.path = path
        if only_look:
            return
        with self._transaction() as db:
            # Whoever asked for these got no answer: nobody knows whether the peer has them. It will be told.
            db.execute(
                "INSERT OR IGNORE INTO voided SELECT link, key_id FROM passed WHERE key_id IN "
                "(SELECT key_id FROM keys WHERE state = 'assigning')"
            )
            db.execute("DELETE FROM keys WHERE state = 'assigning'")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def checkpoint(self) -> None:
        """Carry what the log holds into the file and empty the log."""
        with self._lock, _translated(self.path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def wall_clock() -> float:
    """Seconds since 1970; the one clock of stored times."""
    return time.time()


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise KeystoreError(f"the key store {path} should be a writable SQLite file: {error}") from error
