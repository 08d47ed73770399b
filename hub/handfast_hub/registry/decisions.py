"""What operators do to devices: list, admit, refuse, revoke; and how a stranger comes to wait.

Each operation is one transaction that leaves its line in the audit log, by which the running hub
learns of it. They work with or without a running hub.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core import constants, hub_session
from handfast.core.credentials import Credential
from handfast.core.errors import LocalError
from handfast.core.key_cache import KeyCache
from handfast.ports import Crypto
from handfast_hub.registry.reads import DeviceRow, devices_by_thumbprint, rings
from handfast_hub.registry.schema import (
    ADMITTED,
    EXPIRED,
    JOINING,
    ONBOARDED,
    QUEUED,
    REFUSED,
    REVOKED,
    WAITING,
    commands,
    devices,
    events,
    farewells,
    keys,
)
from handfast_hub.vault import Vault

# Strangers who wait for an operator; the oldest go first when there are more.
WAITING_LIMIT = 1000


class Device(NamedTuple):
    """A device as lists show it; `devinfo` is the CBOR that it sent, or None. Times in seconds or None."""

    thumbprint: bytes
    device_id: bytes
    state: str
    label: str
    reason: str
    devinfo: bytes | None
    created_at: float
    onboarded_at: float | None
    seen_at: float | None


class Ask(NamedTuple):
    """A device whose signature was right and who has to wait; `device_id` is for when it is new."""

    credential: Credential
    device_id: bytes
    devinfo: bytes | None
    now: float


class Decision(NamedTuple):
    """What an operator wants of the device `thumbprint`; `device_id` is for when it is new."""

    thumbprint: bytes
    device_id: bytes
    label: str
    reason: str
    now: float
    # Approve a device that was refused or revoked before.
    again: bool = False


_LIST = sa.select(*(devices.c[name] for name in Device._fields)).order_by(devices.c.created_at)
_SET = (
    sa.update(devices)
    .where(devices.c.thumbprint == sa.bindparam("of_thumbprint"))
    .values(state=sa.bindparam("new_state"), reason=sa.bindparam("new_reason"))
)


def list_devices(connection: Connection, items: Sequence[str | None]) -> list[list[Device]]:
    """For each item all devices in that state, or all devices for None; oldest first."""
    answers = []
    for state in items:
        statement = _LIST if state is None else _LIST.where(devices.c.state == state)
        answers.append([Device(*row) for row in connection.execute(statement)])
    return answers


def find_devices(connection: Connection, items: Sequence[bytes]) -> list[list[Device]]:
    """For each prefix of a thumbprint or a device_id, in bytes, the devices that bear it; at most 10."""
    answers = []
    for prefix in items:
        found = sa.or_(
            *(
                column.between(prefix + bytes(width - len(prefix)), prefix + b"\xff" * (width - len(prefix)))
                for column, width in ((devices.c.thumbprint, 32), (devices.c.device_id, 8))
                if len(prefix) <= width
            )
        )
        answers.append([Device(*row) for row in connection.execute(_LIST.where(found).limit(10))])
    return answers


def ask(connection: Connection, items: Sequence[Ask]) -> list[None]:
    """Let devices wait for an operator; those that are known keep their state."""
    known = devices_by_thumbprint(connection, (item.credential.thumbprint for item in items))
    for item in items:
        thumbprint = item.credential.thumbprint
        if thumbprint in known and known[thumbprint].state in (JOINING, WAITING):
            row = {"of_thumbprint": thumbprint, "new_state": WAITING, "new_reason": "waits for approval"}
            connection.execute(_SET, row)
        elif thumbprint not in known:
            _insert(connection, thumbprint, item.device_id, WAITING, "", "waits for approval", item.now)
            note(connection, item.now, "waiting", thumbprint, item.credential.subject)
        if known.get(thumbprint) is None or known[thumbprint].state in (JOINING, WAITING):
            facts = {"devinfo": item.devinfo, "credential": item.credential.encoded}
            of_device = devices.c.thumbprint == thumbprint
            connection.execute(sa.update(devices).where(of_device).values(facts))
    _bound_waiting(connection)
    return [None] * len(items)


def approve(connection: Connection, items: Sequence[Decision]) -> list[bool | Exception]:
    """Admit devices, known or announced by their claim code; an exception says why not.

    True: it was admitted. False: there was nothing to do but its label, because it was admitted or
    onboarded before; neither goes back a step, and a device that is onboarded stays so.
    """
    known = devices_by_thumbprint(connection, (item.thumbprint for item in items))
    outcomes: list[bool | Exception] = []
    for item in items:
        row = known.get(item.thumbprint)
        if row is not None and row.state in (ADMITTED, ONBOARDED):
            if item.label:
                of_device = devices.c.id == row.id
                connection.execute(sa.update(devices).where(of_device).values(label=item.label))
            outcomes.append(False)
            continue
        if row is not None and row.state in (REFUSED, REVOKED) and not item.again:
            outcomes.append(
                LocalError(
                    f"this device was {row.state} ({row.reason}); approve it with --again if you mean it"
                )
            )
            continue
        _decide(connection, row, item, ADMITTED)
        outcomes.append(True)
    return outcomes


def refuse(connection: Connection, items: Sequence[Decision]) -> list[Exception | None]:
    """Refuse devices that hold no active key; an exception says why not."""
    known = devices_by_thumbprint(connection, (item.thumbprint for item in items))
    outcomes: list[Exception | None] = []
    for item in items:
        row = known.get(item.thumbprint)
        if row is not None and row.state == ONBOARDED:
            outcomes.append(LocalError("this device is onboarded; use 'revoke' to shut it out"))
            continue
        if row is not None:
            connection.execute(sa.delete(keys).where(keys.c.device == row.id))
        _decide(connection, row, item, REFUSED)
        outcomes.append(None)
    return outcomes


class Revocation:
    """The revoking transaction: seals the last records, deletes every key, shuts the device out."""

    def __init__(self, vault: Vault, crypto: Crypto) -> None:
        self._vault = vault
        self._crypto = crypto

    def __call__(self, connection: Connection, items: Sequence[Decision]) -> list[Exception | None]:
        """None for done; nothing of these devices is delivered from the commit on."""
        known = devices_by_thumbprint(connection, (item.thumbprint for item in items))
        for item in items:
            row = known.get(item.thumbprint)
            if row is not None and row.state != REVOKED:
                self._farewell(connection, row, item)
                of_device = row.id
                connection.execute(sa.delete(keys).where(keys.c.device == of_device))
                queued = sa.and_(commands.c.device == of_device, commands.c.state == QUEUED)
                connection.execute(sa.update(commands).where(queued).values(state=EXPIRED))
            _decide(connection, row, item, REVOKED)
        return [None] * len(items)

    def _farewell(self, connection: Connection, row: DeviceRow, item: Decision) -> None:
        """Seal [4, reason] beyond the stored send bounds, which no running hub has passed."""
        ring = rings(connection, self._vault, [row], item.now)[row.device_id]
        records, _ = hub_session.revoke(KeyCache(self._crypto), ring, item.reason)
        expires_at = item.now + constants.REVOKED_NOTICE_LIFETIME
        for epoch, record in records:
            connection.execute(
                sa.insert(farewells).values(device=row.id, epoch=epoch, record=record, expires_at=expires_at)
            )


def note(connection: Connection, now: float, kind: str, thumbprint: bytes | None, detail: str) -> None:
    """One line of the audit log."""
    connection.execute(
        sa.insert(events).values(at=now, kind=kind, thumbprint=thumbprint, detail=detail[:256])
    )


def _decide(connection: Connection, row: DeviceRow | None, item: Decision, state: str) -> None:
    if row is None:
        _insert(connection, item.thumbprint, item.device_id, state, item.label, item.reason, item.now)
    else:
        values = {"state": state, "reason": item.reason, "label": item.label or row.label}
        of_device = devices.c.id == row.id
        connection.execute(sa.update(devices).where(of_device).values(values))
    note(connection, item.now, state, item.thumbprint, item.reason)


def _insert(
    connection: Connection,
    thumbprint: bytes,
    device_id: bytes,
    state: str,
    label: str,
    reason: str,
    now: float,
) -> None:
    values: dict[str, Any] = {
        "device_id": device_id,
        "thumbprint": thumbprint,
        "state": state,
        "label": label,
        "reason": reason,
        "highest_epoch": -1,
        "lookahead": 1,
        "created_at": now,
    }
    connection.execute(sa.insert(devices).values(values))


def _bound_waiting(connection: Connection) -> None:
    waiting = devices.c.state == WAITING
    count = connection.scalar(sa.select(sa.func.count()).select_from(devices).where(waiting)) or 0
    if count > WAITING_LIMIT:
        oldest = (
            sa.select(devices.c.id)
            .where(waiting, ~sa.exists().where(keys.c.device == devices.c.id))
            .order_by(devices.c.created_at)
            .limit(count - WAITING_LIMIT)
        )
        connection.execute(sa.delete(devices).where(devices.c.id.in_(oldest)))
