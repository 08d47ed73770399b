"""What several transactions of the registry read: devices, their rings, and tokens.

Reads are batched: one SELECT for a whole group. A transaction that is going to write locks the
devices that it reads, on a database that has such locks.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core import constants
from handfast.core.hub_session import Key, Ring
from handfast.core.replay import FRESH
from handfast_hub import policy
from handfast_hub.registry.keys import load_key
from handfast_hub.registry.schema import bindings, devices, keys, tokens
from handfast_hub.registry.statements import Read, Row
from handfast_hub.vault import Vault

DeviceRow = Row

# A device that was bound to its token in time has this long to finish, promotion included: it tries
# again one hour after an enrolment that brought nothing (docs/protocol.md section 2.8).
BOUND_TOKEN_GRACE = 3600.0
# How far the clocks of those who make tokens and of the hub may differ, in seconds.
CLOCK_TOLERANCE = 3600.0
# R6: a token is accepted "until ack". The hub cannot see whether its ack was heard; a device that did
# not hear it tries again after each hour, so this is two tries after the promotion.
ACK_GRACE = 2 * constants.ENROL_AGAIN_AFTER

_BRIEF = tuple(column for column in devices.c if column is not devices.c.credential)
_BY_THUMBPRINT = Read(lambda values: sa.select(*_BRIEF).where(devices.c.thumbprint.in_(values)))
_BY_DEVICE_ID = Read(lambda values: sa.select(*_BRIEF).where(devices.c.device_id.in_(values)))
_BY_KID = Read(
    lambda lowest, highest: (
        sa.select(devices)
        .where(devices.c.thumbprint.between(lowest[0], highest[0]))
        .order_by(devices.c.created_at)
    )
)
_ORDERS = Read(
    lambda values: sa.select(keys.c.device, keys.c.attempt, keys.c.active, keys.c.born, keys.c.epoch).where(
        keys.c.device.in_(values)
    )
)
_KEYS = Read(lambda values: sa.select(keys).where(keys.c.device.in_(values)))
_TOKENS = Read(
    lambda values: sa.select(
        tokens.c.token_id,
        tokens.c.shared,
        tokens.c.quota,
        tokens.c.used,
        tokens.c.created_at,
        tokens.c.expires_at,
        tokens.c.withdrawn_at,
        tokens.c.thumbprint,
        tokens.c.consumed_at,
        tokens.c.label,
    ).where(tokens.c.token_id.in_(values))
)
_BINDINGS = Read(
    lambda token_ids, thumbprints: (
        sa.select(bindings.c.token_id, bindings.c.thumbprint, bindings.c.bound_at, devices.c.onboarded_at)
        .outerjoin(devices, devices.c.thumbprint == bindings.c.thumbprint)
        .where(bindings.c.token_id.in_(token_ids), bindings.c.thumbprint.in_(thumbprints))
    )
)


class Stored(NamedTuple):
    """A device as traffic needs it; `ring` has no key when the device was shut out."""

    device_id: bytes
    thumbprint: bytes
    state: str
    label: str
    ring: Ring


def devices_by_thumbprint(connection: Connection, thumbprints: Iterable[bytes]) -> dict[bytes, DeviceRow]:
    """The known ones of `thumbprints` (32 bytes each), without their credentials."""
    values = list(set(thumbprints))
    if not values:
        return {}
    return {row.thumbprint: row for row in _BY_THUMBPRINT.rows(connection, values)}


def devices_by_id(connection: Connection, device_ids: Iterable[bytes]) -> dict[bytes, DeviceRow]:
    """The known ones of `device_ids` (8 bytes each), without their credentials."""
    values = list(set(device_ids))
    if not values:
        return {}
    return {row.device_id: row for row in _BY_DEVICE_ID.rows(connection, values)}


def device_by_kid(connection: Connection, kid: bytes) -> DeviceRow | None:
    """The device that came first of those whose thumbprint begins with `kid`, with its credential."""
    rest = 32 - len(kid)
    found = _BY_KID.rows(connection, [kid + bytes(rest)], [kid + b"\xff" * rest])
    return found[0] if found else None


def orders(connection: Connection, rows: Sequence[DeviceRow]) -> dict[bytes, Ring]:
    """The rings of known devices with what R1 to R3 look at, and no secret."""
    return _rings(connection, rows, _ORDERS, lambda _, key: order(key))


def rings(connection: Connection, vault: Vault, rows: Sequence[DeviceRow], now: float) -> dict[bytes, Ring]:
    """The whole rings of known devices, secrets included; sending goes on from the stored bounds."""
    return _rings(connection, rows, _KEYS, lambda device, key: load_key(vault, device.thumbprint, key, now))


class TokenState:
    """A token, and which of the thumbprints that ask it is bound to."""

    __slots__ = ("bound", "row", "used")

    def __init__(self, row: Row) -> None:
        self.row = row
        # Grows while a transaction binds it to more devices.
        self.used: int = row.used
        # When the key of each bound thumbprint was promoted, None before.
        self.bound: dict[bytes, float | None] = {}
        if row.thumbprint is not None:
            self.bound[row.thumbprint] = row.consumed_at

    def standing(self, thumbprint: bytes, now: float) -> str:
        """One of the standings in policy.py."""
        if self.row.withdrawn_at is not None:
            return policy.WITHDRAWN
        if thumbprint in self.bound:
            if now >= self.row.expires_at + BOUND_TOKEN_GRACE:
                return policy.EXPIRED
            promoted_at = self.bound[thumbprint]
            return policy.BOUND if promoted_at is None or now < promoted_at + ACK_GRACE else policy.USED
        if now >= self.row.expires_at:
            return policy.EXPIRED
        if now < self.row.created_at - CLOCK_TOLERANCE:
            # A clock that was set back would let tokens of long ago live again.
            return policy.EARLY
        if self.used >= self.row.quota:
            return policy.EXHAUSTED if self.row.shared else policy.ELSEWHERE
        return policy.LIVE


def token_states(
    connection: Connection, asked: Iterable[tuple[bytes | None, bytes]]
) -> dict[bytes, TokenState]:
    """The known ones of the tokens in `asked`, which are pairs of token_id and thumbprint."""
    pairs = [pair for pair in asked if pair[0] is not None]
    if not pairs:
        return {}
    rows = _TOKENS.rows(connection, list({pair[0] for pair in pairs}))
    states = {row.token_id: TokenState(row) for row in rows}
    shared = [row.token_id for row in rows if row.shared]
    if shared:
        for row in _BINDINGS.rows(connection, shared, list({pair[1] for pair in pairs})):
            spoke = row.onboarded_at is not None and row.onboarded_at >= row.bound_at
            states[row.token_id].bound[row.thumbprint] = row.onboarded_at if spoke else None
    return states


def standing(states: dict[bytes, TokenState], token_id: bytes | None, thumbprint: bytes, now: float) -> str:
    """The standing of `token_id`, which may be None or unknown, towards `thumbprint`."""
    if token_id is None:
        return policy.NONE
    state = states.get(token_id)
    return policy.UNKNOWN if state is None else state.standing(thumbprint, now)


def _rings(
    connection: Connection,
    rows: Sequence[DeviceRow],
    statement: Read,
    read: Callable[[DeviceRow, Row], Key],
) -> dict[bytes, Ring]:
    if not rows:
        return {}
    found: dict[int, list[Row]] = {row.id: [] for row in rows}
    for key in statement.rows(connection, list(found)):
        found[key.device].append(key)
    return {row.device_id: ring_of(row, found[row.id], partial(read, row)) for row in rows}


def ring_of(row: DeviceRow, found: Collection[Row], read: Callable[[Row], Key]) -> Ring:
    """The ring of the device in `row`, out of the rows of all its keys."""
    ordered = found if len(found) == 1 else sorted(found, key=attrgetter("born"))
    active = None
    pendings = []
    for key in ordered:
        if key.active:
            active = read(key)
        else:
            pendings.append(read(key))
    return Ring(row.device_id, active, tuple(pendings), row.highest_epoch, row.lookahead)


def order(key: Any) -> Key:
    """A key without secrets, for the rules that compare attempts and ranks."""
    return Key(key.attempt, key.born, 0, key.epoch, b"", 0, 0, 0, FRESH, None, 0)
