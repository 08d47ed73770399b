"""The keys of a KME: each is given to its master once, and to every named slave once.

cell -> key 'assigning' at the master's KME -> (the slave's KME has it) -> deleted, then handed out
cell -> key 'waiting' at the slave's KME, with a row for each SAE that may fetch it once -> deleted
"""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from handfast.core.errors import KeystoreError
from handfast_kme.cells import CELL, Cell, Cells

KEY_LIFETIME = 3600.0
"""Seconds after which a key that a slave did not fetch is gone."""


class Waiting(NamedTuple):
    """A key for the slaves of a KME: what the master's KME tells its peer."""

    key_id: str
    master: str
    slaves: tuple[str, ...]
    cells: tuple[Cell, ...]
    size: int
    """Bytes."""


class Keys(Cells):
    """Keys out of the cells of one link, shared with the KME at its other end."""

    def reserve(
        self, link: str, key_ids: Sequence[str], size: int, newest: bool, master: str, expires: float
    ) -> dict[str, tuple[Cell, ...]] | None:
        """Turn cells into keys of `size` bytes, state 'assigning'; None when there are too few."""
        each = -(-size // CELL)
        with self._transaction() as db:
            rows = self._first(db, link, each * len(key_ids), newest)
            if rows is None:
                return None
            made = {}
            for number, key_id in enumerate(key_ids):
                cells = tuple(rows[number * each : (number + 1) * each])
                value = self._take(db, link, cells)
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
                if len(value) < key.size:
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
            self._drop(db, link, cells)

    def waiting(self) -> list[str]:
        """The keys that an SAE may still fetch here."""
        with self._transaction() as db:
            return [str(key_id) for (key_id,) in db.execute("SELECT DISTINCT key_id FROM waiting")]

    def fetch(self, key_ids: Sequence[str], master: str, sae: str, now: float) -> dict[str, bytes] | str:
        """Give keys to a slave, all or none: the keys, or "unauthorized" or "not found"."""
        with self._transaction() as db:
            db.execute("DELETE FROM keys WHERE expires < ?", (now,))
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
