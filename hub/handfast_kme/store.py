"""What a KME keeps, in one SQLite file: cells, keys on their way, keys that pass, and what the links did."""

import json
from typing import Any

from handfast_kme.passing import Passing

HISTORY = 20_000
"""Rows of history that are kept."""


class Store(Passing):
    """One KME's file, with everything that may be done to it."""

    def remember(self, link: str, now: float, facts: dict[str, Any]) -> None:
        """One row of history: what a block showed."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO history (link, at, facts) VALUES (?, ?, ?)", (link, now, json.dumps(facts))
            )
            # Of this link alone: the last word of one that is silent says whether it was in alarm.
            db.execute(
                "DELETE FROM history WHERE link = ? AND id <= (SELECT max(id) FROM history) - ?",
                (link, HISTORY),
            )

    def history(self, link: str, limit: int = HISTORY) -> list[dict[str, Any]]:
        """The newest rows of a link, oldest first, each with `at`."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT at, facts FROM history WHERE link = ? ORDER BY id DESC LIMIT ?", (link, limit)
            ).fetchall()
            return [{"at": at, **json.loads(facts)} for at, facts in reversed(rows)]
