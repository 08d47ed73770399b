"""Keys that pass over several links: pads, what a key hangs on, and whom to tell when it is void.

A pad is made of cells that are deleted at both ends, and on both disks, before anything is sent under it; its
bytes live in memory alone. What stays is a row for each key and link (`passed`) with the newest block of the
pad: an alarm on that link within the suspect window voids the key, here and at every KME on its way
(`voided` is the list of whom to tell).
"""

import sqlite3
from collections.abc import Sequence

from handfast.core.errors import KeystoreError
from handfast_kme.cells import Cell
from handfast_kme.issued import Keys


class Voided(KeystoreError):
    """An alarm came over the key while it was on its way."""


class Passing(Keys):
    """Pads of links, and the keys that went under them."""

    def take_pad(
        self, link: str, count: int, newest: bool, key_ids: Sequence[str], expires: float, came: str = ""
    ) -> tuple[tuple[Cell, ...], bytes] | None:
        """Spend `count` cells to send these keys over `link`; None when there are too few.

        `came`: the link on which the keys came here. Voided when they do not stand there any more.
        """
        with self._transaction() as db:
            if came and not self._stand(db, key_ids, came):
                raise Voided("a link on the way of the key raised an alarm")
            cells = self._first(db, link, count, newest)
            if cells is None:
                return None
            pad = self._take(db, link, cells)
            self._pass(db, key_ids, link, cells, expires)
            return tuple(cells), pad

    def give_pad(
        self, link: str, cells: Sequence[Cell], key_ids: Sequence[str], expires: float
    ) -> bytes | list[Cell]:
        """Spend the cells that the other end named: the pad, or those that are not here; then the rest is
        gone too, for the other end has deleted all of them."""
        with self._transaction() as db:
            if any(self._is_issued(db, key_id) for key_id in key_ids):
                raise Voided("that key_ID was used before, or is void")
            missing = [cell for cell in cells if not self._has(db, link, cell)]
            if missing or not cells or len(set(cells)) < len(cells):
                self._drop(db, link, cells)
                return missing or list(cells)
            pad = self._take(db, link, cells)
            self._pass(db, key_ids, link, cells, expires)
            return pad

    def begin(self, keys: dict[str, bytes], master: str, expires: float) -> None:
        """The master's KME drew these keys and is about to send them: state 'assigning'."""
        with self._transaction() as db:
            for key_id, value in keys.items():
                self._enter(db, "", key_id, "assigning", master, [(0, 0)], value, expires)

    def arrive(
        self, keys: dict[str, bytes], master: str, slaves: Sequence[str], links: Sequence[str], expires: float
    ) -> None:
        """The slave's KME got these keys over `links`: store them for their slaves, once. Voided."""
        with self._transaction() as db:
            for link in links:
                if not self._stand(db, list(keys), link):
                    raise Voided("a link on the way of the key raised an alarm")
            for key_id, value in keys.items():
                if self._is_issued(db, key_id):
                    raise Voided("that key_ID was used before, or is void")
                self._enter(db, "", key_id, "waiting", master, [(0, 0)], value, expires)
                self._let(db, key_id, slaves)

    def void(self, link: str, first: int, last: int | None = None) -> int:
        """Delete every cell and every key on its way that hangs on blocks `first` to `last`; how many."""
        until = 2**62 if last is None else last
        arguments = (link, first, until)
        where = "WHERE link = ? AND block BETWEEN ? AND ?"
        with self._transaction() as db:
            gone = db.execute(f"DELETE FROM cells {where}", arguments).rowcount  # noqa: S608
            gone += db.execute(f"DELETE FROM keys {where}", arguments).rowcount  # noqa: S608
            passed = db.execute(f"SELECT key_id FROM passed {where}", arguments).fetchall()  # noqa: S608
            return gone + sum(self._forget(db, key_id, link) for (key_id,) in passed)

    def void_keys(self, link: str, key_ids: Sequence[str]) -> int:
        """The KME at the other end of `link` says that these keys are void; how many were still here."""
        with self._transaction() as db:
            gone = 0
            for key_id in key_ids:
                # Only of keys that came or went over this very link may the other end say so. One that was
                # never here may still be on its way: it is not let in.
                if self._stand(db, [key_id], link) or not self._is_issued(db, key_id):
                    gone += self._forget(db, key_id, link)
            return gone

    def abandon(self, key_ids: Sequence[str]) -> None:
        """What was begun did not arrive, or nobody knows whether it did: give these to nobody, anywhere."""
        with self._transaction() as db:
            for key_id in key_ids:
                self._forget(db, key_id, "")

    def untold(self, link: str, limit: int = 1000) -> list[str]:
        """Void keys of which the KME at the other end of `link` has not heard."""
        with self._transaction() as db:
            rows = db.execute("SELECT key_id FROM voided WHERE link = ? LIMIT ?", (link, limit))
            return [str(key_id) for (key_id,) in rows]

    def told(self, link: str, key_ids: Sequence[str]) -> None:
        """It has heard of these."""
        with self._transaction() as db:
            db.executemany(
                "DELETE FROM voided WHERE link = ? AND key_id = ?", [(link, key_id) for key_id in key_ids]
            )

    def passed(self, link: str) -> int:
        """Keys that went over `link` by relay within the last hour."""
        with self._transaction() as db:
            (count,) = db.execute("SELECT count(*) FROM passed WHERE link = ?", (link,)).fetchone()
            return int(count)

    def expire(self, now: float) -> None:
        """Forget keys that nobody fetched, and what they hung on."""
        with self._transaction() as db:
            db.execute("DELETE FROM keys WHERE expires < ?", (now,))
            db.execute("DELETE FROM passed WHERE expires < ?", (now,))

    # Inside -----------------------------------------------------------------------------------------

    @staticmethod
    def _pass(
        db: sqlite3.Connection, key_ids: Sequence[str], link: str, cells: Sequence[Cell], expires: float
    ) -> None:
        # Voiding always runs to the newest block, so the newest one of the pad decides.
        block = max(block for block, _ in cells)
        db.executemany(
            "INSERT INTO passed VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key_id, link) DO UPDATE SET block = max(block, excluded.block)",
            [(key_id, link, block, expires) for key_id in key_ids],
        )

    @staticmethod
    def _is_issued(db: sqlite3.Connection, key_id: str) -> bool:
        return db.execute("SELECT 1 FROM issued WHERE key_id = ?", (key_id,)).fetchone() is not None

    @staticmethod
    def _stand(db: sqlite3.Connection, key_ids: Sequence[str], link: str) -> bool:
        where = "SELECT 1 FROM passed WHERE key_id = ? AND link = ?"
        return all(db.execute(where, (key_id, link)).fetchone() for key_id in key_ids)

    @staticmethod
    def _forget(db: sqlite3.Connection, key_id: str, link: str) -> int:
        """One void key: nobody gets it, it cannot arrive later, and the other links will be told."""
        gone = db.execute("DELETE FROM keys WHERE key_id = ?", (key_id,)).rowcount
        db.execute("INSERT OR IGNORE INTO issued VALUES (?)", (key_id,))
        db.execute(
            "INSERT OR IGNORE INTO voided SELECT link, key_id FROM passed WHERE key_id = ? AND link <> ?",
            (key_id, link),
        )
        db.execute("DELETE FROM passed WHERE key_id = ?", (key_id,))
        return gone
