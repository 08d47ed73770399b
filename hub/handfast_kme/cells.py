"""The pool of a KME: cells of distilled key for each of its links, and the one-time keys of their channels.

A cell is 32 bytes with the same name at both ends of its link. It is gone from the disk before anything is
made of it or sent under it.
"""

import sqlite3
from collections.abc import Sequence

from handfast.core.errors import KeystoreError
from handfast_kme.database import Database

CELL = 32
"""Bytes of a cell."""
A_KEY = 32 // CELL
"""Cells of a key of 256 bits, in which network.toml counts."""

Cell = tuple[int, int]
"""The number of its block on the link, and its place in the block."""

RESERVE = 256
"""One-time keys that a link holds at most."""


class Cells(Database):
    """The cells that nobody has yet."""

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

    @staticmethod
    def _first(db: sqlite3.Connection, link: str, count: int, newest: bool) -> list[Cell] | None:
        """The names of `count` cells, None when there are too few.

        The two KMEs of a link take from different ends, so that they seldom want the same cell.
        """
        order = "DESC" if newest else "ASC"
        rows = db.execute(
            f"SELECT block, place FROM cells WHERE link = ? ORDER BY block {order}, place {order} LIMIT ?",  # noqa: S608
            (link, count),
        ).fetchall()
        return [(int(block), int(place)) for block, place in rows] if len(rows) == count else None

    @staticmethod
    def _has(db: sqlite3.Connection, link: str, cell: Cell) -> bool:
        where = "SELECT 1 FROM cells WHERE link = ? AND block = ? AND place = ?"
        return db.execute(where, (link, *cell)).fetchone() is not None

    @staticmethod
    def _take(db: sqlite3.Connection, link: str, cells: Sequence[Cell]) -> bytes:
        """What is in these cells, which are gone with it; KeystoreError when one is not there."""
        where = "WHERE link = ? AND block = ? AND place = ?"
        pieces = []
        for cell in cells:
            row = db.execute(f"SELECT value FROM cells {where}", (link, *cell)).fetchone()  # noqa: S608
            if row is None:
                raise KeystoreError("a cell vanished inside a transaction")
            pieces.append(bytes(row[0]))
            db.execute(f"DELETE FROM cells {where}", (link, *cell))  # noqa: S608
        return b"".join(pieces)

    @staticmethod
    def _drop(db: sqlite3.Connection, link: str, cells: Sequence[Cell]) -> None:
        db.executemany(
            "DELETE FROM cells WHERE link = ? AND block = ? AND place = ?", [(link, *cell) for cell in cells]
        )

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
