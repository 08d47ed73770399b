"""The registry's part in traffic besides delivery: rings, send bounds, commands, last records.

A ring is read once and then kept by the hub, which moves it forward as records come and go; the
database follows. What it may not do before the database has followed is said at each operation.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core.constants import SEQUENCE_BLOCK
from handfast.core.hub_session import Ring
from handfast_hub.registry.delivery import RingOutOfDate, live_keys
from handfast_hub.registry.enrolment import Refusal
from handfast_hub.registry.keys import root_aad
from handfast_hub.registry.reads import Stored, devices_by_id, rings
from handfast_hub.registry.schema import (
    EXPIRED,
    QUEUED,
    SENT,
    SHUT_OUT,
    UNANSWERED,
    commands,
    devices,
    farewells,
    keys,
)
from handfast_hub.registry.statements import Read
from handfast_hub.vault import Vault


class Command(NamedTuple):
    """A command that waits; `number` is what the operator knows it by."""

    number: int
    device_id: bytes
    data: bytes
    expires_at: float


class Dispatch(NamedTuple):
    """A command that is about to leave in `record`, whose name is (`epoch`, `piv`)."""

    number: int
    epoch: int
    piv: int
    record: bytes
    now: float


class Sent(NamedTuple):
    """A command that was sent and has no answer, with its record."""

    number: int
    device_id: bytes
    epoch: int
    piv: int
    record: bytes
    expires_at: float


class Answer(NamedTuple):
    """R5: the session that a pending key answers, and its message_4, byte for byte."""

    device_id: bytes
    c_r: bytes
    message_3_hash: bytes
    message_4: bytes
    created_at: float


_RESERVE = (
    sa.update(keys)
    .where(
        keys.c.device == sa.bindparam("of_device"),
        keys.c.attempt == sa.bindparam("of_attempt"),
        # A bound of an epoch that the key has left is of no use to anyone.
        keys.c.epoch == sa.bindparam("of_epoch"),
        keys.c.send_bound < sa.bindparam("new_bound"),
    )
    .values(send_bound=sa.bindparam("new_bound"))
)
_ROOTS = (
    sa.select(devices.c.device_id, devices.c.thumbprint, keys.c.attempt, keys.c.suite, keys.c.sealed_root)
    .join(keys, sa.and_(keys.c.device == devices.c.id, keys.c.active == 1))
    .where(devices.c.device_id.in_(sa.bindparam("values", expanding=True)))
)
_WAITING = Read(
    lambda device_ids: (
        sa.select(
            commands.c.id, devices.c.device_id, commands.c.data, commands.c.expires_at, commands.c.epoch
        )
        .join(devices, devices.c.id == commands.c.device)
        .where(
            # What was sent waits again only in another epoch: `waiting_commands`.
            sa.or_(commands.c.state == QUEUED, sa.and_(commands.c.state == SENT, commands.c.repeatable == 1)),
            devices.c.device_id.in_(device_ids),
        )
        .order_by(commands.c.id)
    )
)
_SENT = Read(
    lambda device_ids: (
        sa.select(
            commands.c.id,
            devices.c.device_id,
            commands.c.epoch,
            commands.c.piv,
            commands.c.record,
            commands.c.expires_at,
        )
        .join(devices, devices.c.id == commands.c.device)
        .where(commands.c.state == SENT, commands.c.record.is_not(None), devices.c.device_id.in_(device_ids))
        .order_by(commands.c.id)
    )
)
_STATES = sa.select(
    commands.c.id, commands.c.state, commands.c.expires_at, commands.c.epoch, commands.c.repeatable
).where(commands.c.id.in_(sa.bindparam("values", expanding=True)))
_SEND = (
    sa.update(commands)
    .where(commands.c.id == sa.bindparam("of_command"))
    .values(
        state=SENT,
        epoch=sa.bindparam("new_epoch"),
        piv=sa.bindparam("new_piv"),
        record=sa.bindparam("new_record"),
        sent_at=sa.bindparam("now"),
    )
)
_TAKE_BACK = (
    sa.update(commands)
    .where(
        commands.c.id == sa.bindparam("of_command"),
        commands.c.state == SENT,
        commands.c.epoch == sa.bindparam("of_epoch"),
        commands.c.piv == sa.bindparam("of_piv"),
    )
    .values(
        # An earlier record of a repeatable one may have arrived: nobody may say that it never left.
        state=sa.case((commands.c.repeatable == 1, SENT), else_=QUEUED),
        epoch=None,
        piv=None,
        record=None,
        sent_at=None,
    )
)
_FAREWELLS = (
    sa.select(devices.c.device_id, farewells.c.epoch, farewells.c.record)
    .join(devices, devices.c.id == farewells.c.device)
    .where(
        farewells.c.expires_at > sa.bindparam("now"),
        devices.c.device_id.in_(sa.bindparam("values", expanding=True)),
    )
)


class RingReads:
    """Reads rings, over one vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def __call__(self, connection: Connection, items: Sequence[tuple[bytes, float]]) -> list[Stored | None]:
        """The devices of (device_id, now) with their rings; None for an unknown one."""
        rows = devices_by_id(connection, (device_id for device_id, _ in items))
        now = max((now for _, now in items), default=0.0)
        found = rings(connection, self._vault, list(rows.values()), now)
        answers: list[Stored | None] = []
        for device_id, _ in items:
            row = rows.get(device_id)
            if row is None:
                answers.append(None)
            else:
                answers.append(Stored(device_id, row.thumbprint, row.state, row.label, found[device_id]))
        return answers


def known_devices(connection: Connection, items: Sequence[float]) -> list[set[bytes]]:
    """For each time `now` the device_ids with a key, or with a last record that is still sent."""
    answers = []
    for now in items:
        with_key = sa.exists().where(keys.c.device == devices.c.id)
        owed = sa.exists().where(farewells.c.device == devices.c.id, farewells.c.expires_at > now)
        statement = sa.select(devices.c.device_id).where(sa.or_(with_key, owed))
        answers.append(set(connection.scalars(statement)))
    return answers


class RootReads:
    """Reads K_root of onboarded devices, over one vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def __call__(self, connection: Connection, items: Sequence[bytes]) -> list[tuple[int, bytes] | None]:
        """(suite, K_root) of the active key of each device_id; None when it has none."""
        rows = {row.device_id: row for row in connection.execute(_ROOTS, {"values": list(items)})}
        answers: list[tuple[int, bytes] | None] = []
        for device_id in items:
            row = rows.get(device_id)
            if row is None:
                answers.append(None)
                continue
            aad = root_aad(row.thumbprint, row.attempt)
            answers.append((row.suite, self._vault.open(row.sealed_root, aad)))
        return answers


def reserve(connection: Connection, items: Sequence[Ring]) -> list[Refusal | Exception | None]:
    """Move the stored send bounds on by one block, to those of the active keys; None for done.

    A record beyond the old bound leaves after that, and never when there is a refusal. Of two rings
    that grew from the same bound only one is served: the other would seal under the same nonces.
    """
    live = live_keys(connection, {ring.device_id for ring in items})
    outcomes: list[Refusal | Exception | None] = []
    rows: list[dict[str, Any]] = []
    served: set[tuple[bytes, bytes]] = set()
    for ring in items:
        key = ring.active
        found = None if key is None else live.get(ring.device_id, {}).get(key.attempt)
        if key is None or found is None:
            outcomes.append(Refusal(None, "its key is gone"))
        elif found.state in SHUT_OUT:
            outcomes.append(Refusal(None, f"it was {found.state}"))
        elif (
            found.epoch != key.epoch
            or found.send_bound != key.send_bound - SEQUENCE_BLOCK
            or (ring.device_id, key.attempt) in served
        ):
            outcomes.append(RingOutOfDate("the keys of a device moved on in another process"))
        else:
            served.add((ring.device_id, key.attempt))
            names = {"of_device": found.id, "of_attempt": key.attempt, "of_epoch": key.epoch}
            rows.append({**names, "new_bound": key.send_bound})
            outcomes.append(None)
    if rows:
        connection.execute(_RESERVE, rows)
    return outcomes


def waiting_commands(
    connection: Connection, items: Sequence[tuple[bytes, int, float]]
) -> list[list[Command]]:
    """For each (device_id, epoch in use, now) the commands that wait, oldest first.

    One that never left does, and a repeatable one whose record went out in an epoch before.
    """
    found: dict[bytes, list[tuple[int | None, Command]]] = {}
    for row in _WAITING.rows(connection, [device_id for device_id, _, _ in items]):
        command = Command(row.id, row.device_id, row.data, row.expires_at)
        found.setdefault(row.device_id, []).append((row.epoch, command))
    return [
        [
            command
            for sealed_in, command in found.get(device_id, ())
            if now < command.expires_at and sealed_in != epoch
        ]
        for device_id, epoch, now in items
    ]


def sent_commands(connection: Connection, items: Sequence[tuple[bytes, float]]) -> list[list[Sent]]:
    """For each (device_id, now) the commands that were sent and have no answer yet, oldest first."""
    found: dict[bytes, list[Sent]] = {}
    for row in _SENT.rows(connection, [device_id for device_id, _ in items]):
        found.setdefault(row.device_id, []).append(Sent._make(row))
    return [[sent for sent in found.get(device_id, ()) if now < sent.expires_at] for device_id, now in items]


def dispatch(connection: Connection, items: Sequence[Dispatch]) -> list[bool]:
    """Mark commands as sent, before their records leave; False: it waits no longer, send nothing.

    So a command has one record at most, a repeatable one has one for each epoch. The record is kept: it
    may go out again, also from a later process, because the device takes it once.
    """
    found = {row.id: row for row in connection.execute(_STATES, {"values": [item.number for item in items]})}
    outcomes = []
    rows = []
    for item in items:
        row = found.get(item.number)
        again = row is not None and row.state == SENT and row.repeatable and row.epoch != item.epoch
        ready = row is not None and (row.state == QUEUED or again) and item.now < row.expires_at
        outcomes.append(ready)
        if ready:
            names = {"of_command": item.number, "new_epoch": item.epoch, "new_piv": item.piv}
            rows.append({**names, "new_record": item.record, "now": item.now})
    if rows:
        connection.execute(_SEND, rows)
    return outcomes


def take_back(connection: Connection, items: Sequence[Dispatch]) -> list[None]:
    """Let commands wait again whose records provably never left. Their numbers are not used again."""
    rows = [{"of_command": item.number, "of_epoch": item.epoch, "of_piv": item.piv} for item in items]
    connection.execute(_TAKE_BACK, rows)
    return [None] * len(items)


def expire_commands(connection: Connection, items: Sequence[float]) -> list[int]:
    """End what is older than it should be at `now`; how many there were.

    One that never left is EXPIRED, one that was sent UNANSWERED.
    """
    counts = []
    for now in items:
        late = commands.c.expires_at <= now
        waited = sa.update(commands).where(commands.c.state == QUEUED, late).values(state=EXPIRED)
        sent = sa.update(commands).where(commands.c.state == SENT, late)
        unanswered = sent.values(state=UNANSWERED, record=None)
        counts.append(connection.execute(waited).rowcount + connection.execute(unanswered).rowcount)
    return counts


def answers(connection: Connection, items: Sequence[float]) -> list[list[Answer]]:
    """For each time the answers of the keys that are pending since then."""
    columns = (keys.c[name] for name in Answer._fields[1:])
    statement = sa.select(devices.c.device_id, *columns).join(devices, devices.c.id == keys.c.device)
    statement = statement.where(keys.c.active == 0, keys.c.message_4.is_not(None))
    return [
        [Answer._make(row) for row in connection.execute(statement.where(keys.c.created_at >= since))]
        for since in items
    ]


def last_records(connection: Connection, items: Sequence[tuple[bytes, int, float]]) -> list[list[bytes]]:
    """For each (device_id, epoch, now) the sealed [4, reason] to answer a revoked device with."""
    now = max((item[2] for item in items), default=0.0)
    found: dict[tuple[bytes, int], list[bytes]] = {}
    for row in connection.execute(_FAREWELLS, {"values": [item[0] for item in items], "now": now}):
        found.setdefault((row.device_id, row.epoch), []).append(row.record)
    return [found.get((device_id, epoch), []) for device_id, epoch, _ in items]
