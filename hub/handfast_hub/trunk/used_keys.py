"""What a hub remembers of every QKD key that it ever took: enough to refuse it the second time.

A file of its own, because a KME that gives one key twice must be caught also after the hub's database was
restored from a backup. Nothing of a key can be found out from it: ids and keys are hashed with a salt of
this file.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from handfast.core.errors import KeystoreError, ReplayError


class UsedKeys:
    """A set that only grows, on disk. 32 bytes a key; a key a minute is 17 MB a year."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, mode 0600; KeystoreError."""
        self._path = path
        with self._translated():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for statement in (
                "PRAGMA journal_mode=WAL",
                "PRAGMA synchronous=FULL",
                "CREATE TABLE IF NOT EXISTS salt (one INTEGER PRIMARY KEY CHECK (one = 1), value BLOB)",
                "CREATE TABLE IF NOT EXISTS seen (digest BLOB PRIMARY KEY) WITHOUT ROWID",
            ):
                self._db.execute(statement)
            self._db.execute("INSERT OR IGNORE INTO salt VALUES (1, ?)", (os.urandom(16),))
            (self._salt,) = self._db.execute("SELECT value FROM salt").fetchone()

    def take(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Remember ids and keys, on the disk when it returns; ReplayError when one was here before: then
        none is taken."""
        digests = [
            self._digest(kind, value)
            for key_id, key in keys
            for kind, value in ((b"id", key_id.lower().encode()), (b"key", key))
        ]
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT INTO seen VALUES (?)", [(digest,) for digest in digests])
                self._db.execute("COMMIT")
            except sqlite3.IntegrityError:
                self._db.execute("ROLLBACK")
                raise ReplayError(
                    "the KME gave a key or a key_ID that it gave before; it is not used, ask for a new one"
                ) from None
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _digest(self, kind: bytes, value: bytes) -> bytes:
        return hashlib.blake2b(value, digest_size=16, key=self._salt, person=kind).digest()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise KeystoreError(
                f"the memory of used keys {self._path} should be a writable file: {error}"
            ) from error
