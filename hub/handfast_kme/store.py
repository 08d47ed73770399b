"""What a KME keeps, in one SQLite file: secret cells, keys on their way, one-time keys, history.

A cell is 32 bytes of distilled key with the same name at both ends of its link. Every method is one
transaction,
on the disk (synchronous FULL) when it returns, so a death at any line neither loses a cell nor gives a key
twice:

    cell -> key 'assigning' at the master's KME -> (the peer has it) -> deleted, then handed out
    cell -> key 'waiting' at the slave's KME, with a row for each SAE that may fetch it once -> deleted

Deleted bytes are overwritten (secure_delete).
"""

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from handfast.core.errors import KeystoreError

CELL = 32
"""Bytes of a cell."""

Cell = tuple[int, int]
"""The number of its block on the link, and its place in the block."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cells (link TEXT, block INTEGER, place INTEGER, value BLOB NOT NULL,
    PRIMARY KEY (link, block, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (key_id TEXT PRIMARY KEY, link TEXT NOT NULL, block INTEGER NOT NULL,
    state TEXT NOT NULL, master TEXT NOT NULL, value BLOB NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (key_id TEXT REFERENCES keys ON DELETE CASCADE, sae TEXT,
    PRIMARY KEY (key_id, sae)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS issued (key_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS one_time (link TEXT, name TEXT, value BLOB NOT NULL,
    PRIMARY KEY (link, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (link TEXT PRIMARY KEY, next_block INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, link TEXT NOT NULL, at REAL NOT NULL,
    facts TEXT NOT NULL);
"""
RESERVE = 256
"""One-time keys that a link holds at most."""
HISTORY = 20_000
"""Rows of history that are kept."""


class Waiting(NamedTuple):
    """A key for the slaves of a KME: what the master's KME tells its peer."""

    key_id: str
    master: str
    slaves: tuple[str, ...]
    cells: tuple[Cell, ...]
    size: int
    """Bytes."""


class Store:
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
            # Whoever asked for these got no answer: nobody knows whether the peer has them.
            db.execute("DELETE FROM keys WHERE state = 'assigning'")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def checkpoint(self) -> None:
        """Carry what the log holds into the file and empty the log."""
        with self._lock, _translated(self.path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # Blocks and cells -------------------------------------------------------------------------------

    def add_block(self, link: str, block: int, key: bytes, one_time: dict[str, bytes]) -> None:
        """Store a distilled block: whole cells of `key`, and one-time keys for the reserve."""
        with self._transaction() as db:
            rows = [(link, block, n, key[n * CELL : n * CELL + CELL]) for n in range(len(key) // CELL)]
            db.executemany("INSERT INTO cells VALUES (?, ?, ?, ?)", rows)
            held = db.execute("SELECT count(*) FROM one_time WHERE link = ?", (link,)).fetchone()[0]
            if held < RESERVE:
                found = [(link, name, value) for name, value in one_time.items()]
                db.executemany("INSERT INTO one_time VALUES (?, ?, ?)", found)

    def count(self, link: str) -> int:
        """Cells that nobody has yet."""
        with self._transaction() as db:
            (count,) = db.execute("SELECT count(*) FROM cells WHERE link = ?", (link,)).fetchone()
            return int(count)

    def blocks(self, link: str) -> list[int]:
        """Numbers of the blocks that still have cells."""
        with self._transaction() as db:
            rows = db.execute("SELECT DISTINCT block FROM cells WHERE link = ? ORDER BY block", (link,))
            return [int(block) for (block,) in rows]

    def void(self, link: str, first: int, last: int | None = None) -> int:
        """Delete every cell and every waiting key of blocks `first` to `last`; how many."""
        until = 2**62 if last is None else last
        with self._transaction() as db:
            arguments = (link, first, until)
            where = "WHERE link = ? AND block BETWEEN ? AND ?"
            gone = db.execute(f"DELETE FROM cells {where}", arguments).rowcount  # noqa: S608
            gone += db.execute(f"DELETE FROM keys {where}", arguments).rowcount  # noqa: S608
            return gone

    def agree(self, link: str, theirs: Sequence[int]) -> int:
        """Drop the cells of blocks that the peer does not have: it died between our commit and its own. How
        many."""
        lost = sorted(set(self.blocks(link)) - set(theirs))
        with self._transaction() as db:
            db.executemany(
                "DELETE FROM cells WHERE link = ? AND block = ?", [(link, block) for block in lost]
            )
        return len(lost)

    def next_block(self, link: str, at_least: int = 0) -> int:
        """A block number that this link never had, not below `at_least`; reserved before it returns."""
        with self._transaction() as db:
            row = db.execute("SELECT next_block FROM links WHERE link = ?", (link,)).fetchone()
            number = max(at_least, row[0] if row else 1)
            db.execute("INSERT OR REPLACE INTO links VALUES (?, ?)", (link, number + 1))
            return int(number)

    # One-time keys of the classical channel ----------------------------------------------------------

    def import_one_time(self, link: str, keys: dict[str, bytes]) -> None:
        """Take the first one-time keys of a new link; a link that was ever used takes none."""
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM links WHERE link = ?", (link,)).fetchone():
                return
            db.execute("INSERT INTO links VALUES (?, 1)", (link,))
            db.executemany(
                "INSERT OR IGNORE INTO one_time VALUES (?, ?, ?)",
                [(link, name, key) for name, key in keys.items()],
            )

    def one_time_names(self, link: str) -> list[str]:
        """Names of the one-time keys that were never used."""
        with self._transaction() as db:
            rows = db.execute("SELECT name FROM one_time WHERE link = ? ORDER BY name", (link,))
            return [str(name) for (name,) in rows]

    def take_one_time(self, link: str, name: str) -> bytes | None:
        """A one-time key, once: it is gone from the disk before it is used."""
        with self._transaction() as db:
            where = "WHERE link = ? AND name = ?"
            row = db.execute(f"SELECT value FROM one_time {where}", (link, name)).fetchone()  # noqa: S608
            db.execute(f"DELETE FROM one_time {where}", (link, name))  # noqa: S608
            return bytes(row[0]) if row else None

    # Keys -------------------------------------------------------------------------------------------

    def reserve(
        self, link: str, key_ids: Sequence[str], size: int, newest: bool, master: str, expires: float
    ) -> dict[str, tuple[Cell, ...]] | None:
        """Turn cells into keys of `size` bytes, state 'assigning'; None when there are too few.

        The two KMEs of a link take from different ends, so that they seldom want the same cell.
        """
        each = -(-size // CELL)
        order = "DESC" if newest else "ASC"
        with self._transaction() as db:
            rows = db.execute(
                f"SELECT block, place FROM cells WHERE link = ? ORDER BY block {order}, place {order} "  # noqa: S608
                "LIMIT ?",
                (link, each * len(key_ids)),
            ).fetchall()
            if len(rows) < each * len(key_ids):
                return None
            made = {}
            for number, key_id in enumerate(key_ids):
                cells = tuple(rows[number * each : (number + 1) * each])
                value = self._take(db, link, cells)
                if value is None:
                    raise KeystoreError("a cell vanished inside a transaction")
                self._enter(db, link, key_id, "assigning", master, cells, value[:size], expires)
                made[key_id] = cells
            return made

    def accept(self, link: str, keys: Sequence[Waiting], expires: float) -> list[Cell]:
        """The peer assigned these: store them for their slaves. The cells that are not here; then nothing
        is done."""
        wanted = [cell for key in keys for cell in key.cells]
        with self._transaction() as db:
            missing = [cell for cell in wanted if not self._has(db, link, cell)]
            if missing or len(set(wanted)) < len(wanted):
                return missing or wanted
            for key in keys:
                value = self._take(db, link, key.cells)
                if value is None or len(value) < key.size:
                    raise KeystoreError("an assigned key is longer than its cells")
                self._enter(
                    db, link, key.key_id, "waiting", key.master, key.cells, value[: key.size], expires
                )
                self._let(db, key.key_id, key.slaves)
            return []

    def hand_out(self, key_ids: Sequence[str], local_slaves: Sequence[str] = ()) -> dict[str, bytes]:
        """The peer has the keys: give them to the master, once. KeystoreError when one was voided meanwhile.

        Slaves at this same KME keep a waiting copy.
        """
        with self._transaction() as db:
            found = {}
            for key_id in key_ids:
                row = db.execute(
                    "SELECT value FROM keys WHERE key_id = ? AND state = 'assigning'", (key_id,)
                ).fetchone()
                if row is None:
                    raise KeystoreError("a key was voided before it was handed out")
                found[key_id] = bytes(row[0])
                if local_slaves:
                    db.execute("UPDATE keys SET state = 'waiting' WHERE key_id = ?", (key_id,))
                    self._let(db, key_id, local_slaves)
                else:
                    db.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))
            return found

    def burn(self, key_ids: Sequence[str], cells: Sequence[Cell] = (), link: str = "") -> None:
        """Nobody will ever get these."""
        with self._transaction() as db:
            db.executemany("DELETE FROM keys WHERE key_id = ?", [(key_id,) for key_id in key_ids])
            db.executemany(
                "DELETE FROM cells WHERE link = ? AND block = ? AND place = ?",
                [(link, *cell) for cell in cells],
            )

    def fetch(self, key_ids: Sequence[str], master: str, sae: str, now: float) -> dict[str, bytes] | str:
        """Give keys to a slave, all or none: the keys, or "unauthorized" or "not found"."""
        with self._transaction() as db:
            self._expire(db, now)
            found = {}
            for key_id in key_ids:
                row = db.execute(
                    "SELECT value, master FROM keys WHERE key_id = ? AND state = 'waiting'", (key_id,)
                ).fetchone()
                if row is None:
                    return "not found"
                if not db.execute(
                    "SELECT 1 FROM waiting WHERE key_id = ? AND sae = ?", (key_id, sae)
                ).fetchone():
                    return "unauthorized"
                if row[1] != master:
                    return "not found"
                found[key_id] = bytes(row[0])
            for key_id in found:
                db.execute("DELETE FROM waiting WHERE key_id = ? AND sae = ?", (key_id, sae))
                if not db.execute("SELECT 1 FROM waiting WHERE key_id = ?", (key_id,)).fetchone():
                    db.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))
            return found

    # History ----------------------------------------------------------------------------------------

    def remember(self, link: str, now: float, facts: dict[str, Any]) -> None:
        """One row of history: what a block showed."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO history (link, at, facts) VALUES (?, ?, ?)", (link, now, json.dumps(facts))
            )
            db.execute("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (HISTORY,))

    def history(self, link: str, limit: int = HISTORY) -> list[dict[str, Any]]:
        """The newest rows of a link, oldest first, each with `at`."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT at, facts FROM history WHERE link = ? ORDER BY id DESC LIMIT ?", (link, limit)
            ).fetchall()
            return [{"at": at, **json.loads(facts)} for at, facts in reversed(rows)]

    # Inside -----------------------------------------------------------------------------------------

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

    @staticmethod
    def _has(db: sqlite3.Connection, link: str, cell: Cell) -> bool:
        where = "SELECT 1 FROM cells WHERE link = ? AND block = ? AND place = ?"
        return db.execute(where, (link, *cell)).fetchone() is not None

    @staticmethod
    def _take(db: sqlite3.Connection, link: str, cells: Sequence[Cell]) -> bytes | None:
        where = "WHERE link = ? AND block = ? AND place = ?"
        pieces = []
        for cell in cells:
            row = db.execute(f"SELECT value FROM cells {where}", (link, *cell)).fetchone()  # noqa: S608
            if row is None:
                return None
            pieces.append(bytes(row[0]))
            db.execute(f"DELETE FROM cells {where}", (link, *cell))  # noqa: S608
        return b"".join(pieces)

    @staticmethod
    def _enter(
        db: sqlite3.Connection,
        link: str,
        key_id: str,
        state: str,
        master: str,
        cells: Sequence[Cell],
        value: bytes,
        expires: float,
    ) -> None:
        # A key of several blocks is suspect when its newest is; voiding always runs to the newest.
        block = max(block for block, _ in cells)
        db.execute("INSERT INTO issued VALUES (?)", (key_id,))
        db.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key_id, link, block, state, master, value, expires),
        )

    @staticmethod
    def _let(db: sqlite3.Connection, key_id: str, slaves: Sequence[str]) -> None:
        db.executemany("INSERT INTO waiting VALUES (?, ?)", [(key_id, sae) for sae in slaves])

    @staticmethod
    def _expire(db: sqlite3.Connection, now: float) -> None:
        db.execute("DELETE FROM keys WHERE expires < ?", (now,))


def wall_clock() -> float:
    """Seconds since 1970; the one clock of stored times."""
    return time.time()


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise KeystoreError(f"the key store {path} should be a writable SQLite file: {error}") from error
