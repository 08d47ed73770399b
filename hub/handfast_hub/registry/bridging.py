"""Transactions of a trunk: readings that go to another hub, and what comes from one.

What goes needs no queue of its own: readings lie in the registry, numbered, and a cursor says how
many of them the other hub has acknowledged. What comes is taken when the transaction that holds its
number has committed, and acknowledged after that; so nothing is lost and nothing is there twice,
whoever is killed when.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core.errors import LocalError
from handfast_hub.registry.arriving import Arrival, Arrivals, Stream, Taken, marks, of_stream
from handfast_hub.registry.group import GroupCommit, Operation
from handfast_hub.registry.lives import Life, meet, read_lives
from handfast_hub.registry.operator import NewCommand, Reading, queue_commands, reading_rows
from handfast_hub.registry.schema import (
    devices,
    readings,
    trunk_commands,
    trunk_readings,
    trunk_sent,
    trunk_status,
)
from handfast_hub.registry.trunk_classes import TrunkClasses, of_class


class Sent(NamedTuple):
    """A stream that goes out: the number behind which it began, and the last that was acknowledged."""

    began: int
    acked: int


class Wanted(NamedTuple):
    """Readings to send: at most `limit` of a stream with numbers above `after`. `channels` are those of its
    class, for what was recorded before the class was."""

    stream: Stream
    channels: tuple[int, ...]
    after: int
    limit: int


class Page(NamedTuple):
    """Readings to send, in order, and the number of the newest reading of any stream that was looked at."""

    readings: list[Reading]
    newest: int


class Bridged(NamedTuple):
    """A reading that came over a trunk, as lists show it."""

    number: int
    trunk: str
    kind: int
    degraded: bool
    device_id: bytes
    label: str
    channel: int
    data: bytes
    received_at: float
    arrived_at: float


class Asked(NamedTuple):
    """A command that came over a trunk, by the id that the other hub gave it, in a record of class `kind`."""

    trunk: str
    kind: int
    command_id: bytes
    command: NewCommand


class Queued(NamedTuple):
    """The number of the command that was queued, and whether it was queued now or before."""

    number: int
    new: bool


class Bridging:
    """The trunks' face of the registry; every call is one transaction."""

    def __init__(
        self, group: GroupCommit, keep: int, changed: Callable[[], None], classes: TrunkClasses
    ) -> None:
        """`keep` is how many readings of other hubs stay in the database; `changed` hears of commands;
        `classes` says what goes as what."""
        self._group = group
        self._changed = changed
        self._classes = classes
        self._cursor = Operation(self._cursors, rank=4)
        self._command = Operation(self._queue, rank=4)
        self._arrive = Operation(Arrivals(keep), rank=4)

    async def lives(self) -> list[Life]:
        """The lives of this registry, the first one first."""
        return await self._group.submit(_LIVES, None)

    async def meet(self, trunk: str, hub_id: bytes) -> None:
        """The hub at the other end of a trunk: with another one than before every stream begins anew."""
        await self._group.submit(_MEET, (trunk, hub_id))

    async def outgoing(self, wanted: Wanted) -> Page:
        """Readings to send, in the order of delivery."""
        return await self._group.submit(_OUTGOING, wanted)

    async def cursor(self, stream: Stream) -> Sent:
        """How far the other hub has acknowledged a stream.

        A new stream begins behind what is there: what was sent before the trunk was made stays here.
        """
        return await self._group.submit(self._cursor, stream)

    async def acknowledged(self, stream: Stream, number: int) -> None:
        """Move the cursor."""
        await self._group.submit(_ACKNOWLEDGED, (stream, number))

    async def taken(self, stream: Stream, life: int, floor: int) -> int:
        """The number up to which a stream of a life of the other hub is here; a new one begins at `floor`."""
        return await self._group.submit(_TAKEN, (stream, life, floor))

    async def arrive(self, arrivals: Sequence[Arrival]) -> Taken:
        """Take the readings of one stream that follow what is here, in this order; at least one is given."""
        return await self._group.submit(self._arrive, arrivals)

    async def arrivals(self, after: int, limit: int) -> list[Bridged]:
        """Readings of other hubs in the order of arrival, with numbers above `after`."""
        return await self._group.submit(_ARRIVALS, (after, limit))

    async def newest_arrival(self) -> int:
        """The number of the newest of them, 0 when there is none."""
        return await self._group.submit(_NEWEST, None)

    async def command(self, asked: Asked) -> Queued:
        """Queue a command unless it was; LocalError for a device that is not onboarded, or that takes
        no command of its class."""
        queued = await self._group.submit(self._command, asked)
        self._changed()
        return queued

    async def say(self, trunk: str, status: str) -> None:
        """Note what the serving hub says of a trunk, as JSON."""
        await self._group.submit(_SAY, (trunk, status))

    async def said(self) -> list[tuple[str, str, float]]:
        """(trunk, JSON, when) of every trunk that was ever served."""
        return await self._group.submit(_SAID, None)

    def _queue(self, connection: Connection, items: Sequence[Asked]) -> list[Queued | Exception]:
        return [self._queue_one(connection, item) for item in items]

    def _queue_one(self, connection: Connection, item: Asked) -> Queued | Exception:
        here = trunk_commands.c.command_id == item.command_id
        row = connection.execute(sa.select(trunk_commands).where(here)).first()
        if row is not None:
            known = row.trunk == item.trunk
            return Queued(row.command, new=False) if known else LocalError("that command_id is taken")
        device_id = item.command.device_id
        label = connection.scalar(sa.select(devices.c.label).where(devices.c.device_id == device_id))
        if label is not None:
            try:
                self._classes.check_command(item.trunk, item.kind, label, device_id)
            except LocalError as error:
                return error
        connection.execute(sa.delete(trunk_commands).where(trunk_commands.c.expires_at < item.command.now))
        number = queue_commands(connection, [item.command])[0]
        if isinstance(number, Exception):
            return number
        connection.execute(
            sa.insert(trunk_commands).values(
                command_id=item.command_id,
                trunk=item.trunk,
                command=number,
                # Whoever asks again later than this has given up himself.
                expires_at=item.command.expires_at + 3600.0,
            )
        )
        return Queued(number, new=True)

    def _cursors(self, connection: Connection, items: Sequence[Stream]) -> list[Sent]:
        # A trunk that takes the slot of another one begins anew.
        self._classes.slots(connection)
        return [_cursor(connection, stream) for stream in items]


def _cursor(connection: Connection, stream: Stream) -> Sent:
    here = of_stream(trunk_sent, stream)
    row = connection.execute(sa.select(trunk_sent.c.began, trunk_sent.c.acked).where(here)).first()
    if row is not None:
        return Sent._make(row)
    newest = connection.scalar(sa.select(sa.func.max(readings.c.id))) or 0
    sent = Sent(newest, newest)
    connection.execute(sa.insert(trunk_sent).values(**stream._asdict(), **sent._asdict()))
    return sent


def _lives(connection: Connection, items: Sequence[None]) -> list[list[Life]]:
    return [read_lives(connection)] * len(items)


def _meet(connection: Connection, items: Sequence[tuple[str, bytes]]) -> list[None]:
    for trunk, hub_id in dict(items).items():
        meet(connection, trunk, hub_id)
    return [None] * len(items)


def _outgoing(connection: Connection, items: Sequence[Wanted]) -> list[Page]:
    pages = []
    for item in items:
        # Before the rows: what is recorded between the two statements is looked at the next time.
        newest = connection.scalar(sa.select(sa.func.max(readings.c.id))) or 0
        condition = of_class(connection, *item.stream, item.channels)
        pages.append(Page(reading_rows(connection, item.after, item.limit, condition), newest))
    return pages


def _acknowledged(connection: Connection, items: Sequence[tuple[Stream, int]]) -> list[None]:
    for stream, number in dict(items).items():
        connection.execute(sa.update(trunk_sent).where(of_stream(trunk_sent, stream)).values(acked=number))
    return [None] * len(items)


def _list_arrivals(connection: Connection, items: Sequence[tuple[int, int]]) -> list[list[Bridged]]:
    statement = sa.select(trunk_readings).order_by(trunk_readings.c.id)
    columns = ("id", *Bridged._fields[1:])
    return [
        [
            Bridged(*(row._mapping[name] for name in columns))._replace(degraded=bool(row.degraded))
            for row in connection.execute(statement.where(trunk_readings.c.id > after).limit(limit))
        ]
        for after, limit in items
    ]


def _newest(connection: Connection, items: Sequence[None]) -> list[int]:
    return [connection.scalar(sa.select(sa.func.max(trunk_readings.c.id))) or 0] * len(items)


def _say(connection: Connection, items: Sequence[tuple[str, str]]) -> list[None]:
    for trunk, status in dict(items).items():
        connection.execute(sa.delete(trunk_status).where(trunk_status.c.trunk == trunk))
        connection.execute(sa.insert(trunk_status).values(trunk=trunk, status=status, at=time.time()))
    return [None] * len(items)


def _said(connection: Connection, items: Sequence[None]) -> list[list[tuple[str, str, float]]]:
    rows = connection.execute(sa.select(trunk_status).order_by(trunk_status.c.trunk)).all()
    return [[(row.trunk, row.status, row.at) for row in rows] for _ in items]


_LIVES = Operation(_lives, reading=True)
# Before all that asks how far its streams have come.
_MEET = Operation(_meet, rank=3)
_OUTGOING = Operation(_outgoing, reading=True)
_TAKEN = Operation(marks, rank=4)
_ACKNOWLEDGED = Operation(_acknowledged, rank=4)
_ARRIVALS = Operation(_list_arrivals, reading=True)
_NEWEST = Operation(_newest, reading=True)
_SAY = Operation(_say, rank=5)
_SAID = Operation(_said, reading=True)
