"""What comes over a trunk: readings of another hub are taken in their order, each once.

A reading counts as taken when the transaction that holds its number has committed.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast_hub.registry.retention import trim
from handfast_hub.registry.schema import trunk_readings, trunk_taken

# Old rows are removed after this many new ones.
_TRIM_EVERY = 1024
# How many lives of another hub are remembered for each class: more than anybody restores a hub.
_LIVES_LIMIT = 1024


class Stream(NamedTuple):
    """What is numbered on its own: a class of a trunk."""

    trunk: str
    kind: int


class Arrival(NamedTuple):
    """A reading of another hub's device; `previous` is the number that was sent before it, `floor` the
    one behind which the stream begins in this life of that hub."""

    stream: Stream
    life: int
    number: int
    previous: int
    floor: int
    degraded: bool
    device_id: bytes
    label: str
    channel: int
    data: bytes
    received_at: float


class Taken(NamedTuple):
    """The number up to which a stream is here, and which readings were news."""

    number: int
    new: list[Arrival]


class Arrivals:
    """Takes what follows what was taken."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._grown = 0

    def __call__(self, connection: Connection, items: Sequence[Sequence[Arrival]]) -> list[Taken]:
        found = [self._take(connection, arrivals) for arrivals in items]
        self._grown += sum(len(taken.new) for taken in found)
        if self._grown >= _TRIM_EVERY:
            self._grown = 0
            trim(connection, trunk_readings, self._keep)
        return found

    def _take(self, connection: Connection, arrivals: Sequence[Arrival]) -> Taken:
        first, now = arrivals[0], time.time()
        mark = number = _mark(connection, first.stream, first.life, first.floor)
        new = []
        for item in arrivals:
            # Only what follows: there is nothing between `previous` and its number, and so nothing
            # between what is here and its number. A gap means that something is still on its way.
            if item.previous <= number < item.number:
                number = item.number
                new.append(item)
        if number != mark:
            connection.execute(sa.insert(trunk_readings), [self._row(item, now) for item in new])
            here = sa.and_(of_stream(trunk_taken, first.stream), trunk_taken.c.life == first.life)
            connection.execute(sa.update(trunk_taken).where(here).values(number=number))
        return Taken(number, new)

    def _row(self, item: Arrival, now: float) -> dict[str, object]:
        return {
            **item.stream._asdict(),
            "degraded": int(item.degraded),
            "device_id": item.device_id,
            "label": item.label,
            "channel": item.channel,
            "data": item.data,
            "received_at": item.received_at,
            "arrived_at": now,
        }


def _mark(connection: Connection, stream: Stream, life: int, floor: int) -> int:
    """The number up to which a stream is here; `floor` for a new one, which is noted."""
    here = sa.and_(of_stream(trunk_taken, stream), trunk_taken.c.life == life)
    number = connection.scalar(sa.select(trunk_taken.c.number).where(here))
    if number is None:
        lives = connection.scalars(sa.select(trunk_taken.c.life).where(of_stream(trunk_taken, stream))).all()
        if len(lives) >= _LIVES_LIMIT:
            # Only who means harm has so many, and he has something of his taken twice.
            one = sa.and_(of_stream(trunk_taken, stream), trunk_taken.c.life == max(lives))
            connection.execute(sa.delete(trunk_taken).where(one))
        number = floor
        values = {**stream._asdict(), "life": life, "number": number}
        connection.execute(sa.insert(trunk_taken).values(values))
    return int(number)


def marks(connection: Connection, items: Sequence[tuple[Stream, int, int]]) -> list[int]:
    return [_mark(connection, *item) for item in items]


def of_stream(table: sa.Table, stream: Stream) -> "sa.ColumnElement[bool]":
    """The row of a stream."""
    return sa.and_(table.c.trunk == stream.trunk, table.c.kind == stream.kind)
