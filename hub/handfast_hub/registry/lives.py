"""The lives of a registry: which of its readings bear the same number as before it was restored.

A copy numbers on from its own last reading, and so numbers again what was numbered after it was made.
What is in the copy kept its number: it belongs to the life in which it was written, and another hub
that has it knows it by that. What comes after the restore belongs to a new life. A life is named by a
number drawn by chance, because one copy may be restored twice.
"""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast_hub.registry.schema import readings, trunk_lives, trunk_peers, trunk_sent, trunk_taken

# Names of lives are below this; that of a registry that was never restored is 0.
LIVES = 2**31


class Life(NamedTuple):
    """The readings with numbers above `after`, up to where the next life begins; `at` is when, or 0."""

    name: int
    after: int
    at: float


FIRST = Life(0, 0, 0.0)


def begin_life(connection: Connection, now: float) -> None:
    """The registry has just been restored: what is written from now on is of another life."""
    after = connection.scalar(sa.select(sa.func.max(readings.c.id))) or 0
    name = 1 + secrets.randbelow(LIVES - 1)
    connection.execute(sa.insert(trunk_lives).values(name=name, after=after, at=now))


def read_lives(connection: Connection) -> list[Life]:
    """Every life that has readings or may get some, the first one first."""
    rows = connection.execute(sa.select(trunk_lives).order_by(trunk_lives.c.id)).all()
    found = [FIRST]
    for row in rows:
        if row.after <= found[-1].after:
            # Nothing was written in the life before.
            found.pop()
        found.append(Life(row.name, row.after, row.at))
    return found


def life_at(lives: Sequence[Life], number: int) -> int:
    """The place in `lives` of the one that goes on behind reading `number`."""
    return max((place for place, life in enumerate(lives) if life.after <= number), default=0)


def meet(connection: Connection, trunk: str, hub_id: bytes) -> None:
    """A trunk leads to this hub; to another one than before, and nothing of its cursors is meant for it."""
    here = trunk_peers.c.trunk == trunk
    known = connection.scalar(sa.select(trunk_peers.c.hub_id).where(here))
    if known == hub_id:
        return
    if known is not None:
        for table in (trunk_sent, trunk_taken):
            connection.execute(sa.delete(table).where(table.c.trunk == trunk))
        connection.execute(sa.delete(trunk_peers).where(here))
    connection.execute(sa.insert(trunk_peers).values(trunk=trunk, hub_id=hub_id))
