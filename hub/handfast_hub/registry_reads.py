"""What several transactions of the registry read: devices, their rings, and tokens.

Reads are batched: one SELECT for a whole group. A transaction that is going to write locks the
devices that it reads, on a database that has such locks.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from handfast.core import hub_session
from handfast.core.hub_session import Key, Ring
from handfast.core.replay import FRESH, decode_window
from handfast_hub import policy
from handfast_hub.schema import bindings, devices, keys, tokens
from handfast_hub.vault import Vault

DeviceRow = Row[Any]

# A device that was bound to its token in time has this long to finish, promotion included: it tries
# again one hour after an enrolment that brought nothing (docs/protocol.md section 2.8).
BOUND_TOKEN_GRACE = 3600.0

_BRIEF = tuple(column for column in devices.c if column is not devices.c.credential)
_BY_THUMBPRINT = sa.select(*_BRIEF).where(devices.c.thumbprint.in_(sa.bindparam("values", expanding=True)))
_BY_DEVICE_ID = sa.select(*_BRIEF).where(devices.c.device_id.in_(sa.bindparam("values", expanding=True)))
_BY_KID = (
    sa.select(devices)
    .where(devices.c.thumbprint.between(sa.bindparam("lowest"), sa.bindparam("highest")))
    .order_by(devices.c.created_at)
    .limit(1)
)
_ORDERS = sa.select(keys.c.device_id, keys.c.attempt, keys.c.active, keys.c.born, keys.c.epoch).where(
    keys.c.device_id.in_(sa.bindparam("values", expanding=True))
)
_KEYS = sa.select(keys).where(keys.c.device_id.in_(sa.bindparam("values", expanding=True)))
# A token with what binds it to one of the devices that ask; one row for each such binding.
_TOKENS = (
    sa.select(tokens, bindings.c.thumbprint)
    .outerjoin(
        bindings,
        sa.and_(
            bindings.c.token_id == tokens.c.token_id,
            bindings.c.thumbprint.in_(sa.bindparam("thumbprints", expanding=True)),
        ),
    )
    .where(tokens.c.token_id.in_(sa.bindparam("token_ids", expanding=True)))
)


def devices_by_thumbprint(connection: Connection, thumbprints: Iterable[bytes]) -> dict[bytes, DeviceRow]:
    """The known ones of `thumbprints` (32 bytes each), without their credentials."""
    values = list(set(thumbprints))
    if not values:
        return {}
    return {row.thumbprint: row for row in connection.execute(_BY_THUMBPRINT, {"values": values})}


def devices_by_id(connection: Connection, device_ids: Iterable[bytes]) -> dict[bytes, DeviceRow]:
    """The known ones of `device_ids` (8 bytes each), without their credentials."""
    values = list(set(device_ids))
    if not values:
        return {}
    return {row.device_id: row for row in connection.execute(_BY_DEVICE_ID, {"values": values})}


def device_by_kid(connection: Connection, kid: bytes) -> DeviceRow | None:
    """The device that came first of those whose thumbprint begins with `kid`, with its credential."""
    rest = 32 - len(kid)
    bounds = {"lowest": kid + bytes(rest), "highest": kid + b"\xff" * rest}
    return connection.execute(_BY_KID, bounds).first()


def orders(connection: Connection, rows: Sequence[DeviceRow]) -> dict[bytes, Ring]:
    """The rings of known devices with what R1 to R3 look at, and no secret."""
    return _rings(connection, rows, _ORDERS, lambda _, key: order(key))


def rings(connection: Connection, vault: Vault, rows: Sequence[DeviceRow], now: float) -> dict[bytes, Ring]:
    """The whole rings of known devices, secrets included; sending goes on from the stored bounds."""
    return _rings(connection, rows, _KEYS, lambda device, key: stored_key(vault, device, key, now))


def stored_key(vault: Vault, device: DeviceRow, row: Row[Any], now: float) -> Key:
    """One key out of its row; the columns that change with every record win over the sealed state."""
    key = hub_session.decode_key(vault.open(row.sealed_state, state_aad(device.thumbprint, row.attempt)), now)
    return Key(
        attempt=key.attempt,
        born=key.born,
        suite=key.suite,
        epoch=key.epoch,
        secret=key.secret,
        send_base=key.send_base,
        send_next=row.send_bound,
        send_bound=row.send_bound,
        window=decode_window(row.window),
        previous=key.previous,
        failures=key.failures,
    )


def state_aad(thumbprint: bytes, attempt: bytes) -> bytes:
    """What the sealed state of a key is bound to."""
    return thumbprint + attempt + b"state"


def root_aad(thumbprint: bytes, attempt: bytes) -> bytes:
    """What a sealed K_root is bound to (docs/protocol.md section 2.6)."""
    return thumbprint + attempt


class TokenState(NamedTuple):
    """A token and the thumbprints, of those that ask, to which it is bound."""

    token_id: bytes
    shared: bool
    quota: int
    used: int
    expires_at: float
    withdrawn: bool
    bound: frozenset[bytes]

    def standing(self, thumbprint: bytes, now: float) -> str:
        """One of the standings in policy.py."""
        if self.withdrawn:
            return policy.WITHDRAWN
        if thumbprint in self.bound:
            alive = now < self.expires_at + BOUND_TOKEN_GRACE
            return policy.BOUND if alive else policy.EXPIRED
        if now >= self.expires_at:
            return policy.EXPIRED
        if self.used >= self.quota:
            return policy.EXHAUSTED if self.shared else policy.ELSEWHERE
        return policy.LIVE


def token_states(
    connection: Connection, asked: Iterable[tuple[bytes | None, bytes]]
) -> dict[bytes, TokenState]:
    """The known ones of the tokens in `asked`, which are pairs of token_id and thumbprint."""
    pairs = [pair for pair in asked if pair[0] is not None]
    if not pairs:
        return {}
    arguments = {
        "token_ids": list({pair[0] for pair in pairs}),
        "thumbprints": list({pair[1] for pair in pairs}),
    }
    found: dict[bytes, list[Row[Any]]] = {}
    for row in connection.execute(_TOKENS, arguments):
        found.setdefault(row.token_id, []).append(row)
    return {token_id: _token_state(same) for token_id, same in found.items()}


def standing(states: dict[bytes, TokenState], token_id: bytes | None, thumbprint: bytes, now: float) -> str:
    """The standing of `token_id`, which may be None or unknown, towards `thumbprint`."""
    if token_id is None:
        return policy.NONE
    state = states.get(token_id)
    return policy.UNKNOWN if state is None else state.standing(thumbprint, now)


def _rings(
    connection: Connection,
    rows: Sequence[DeviceRow],
    statement: sa.Select[Any],
    read: Callable[[DeviceRow, Row[Any]], Key],
) -> dict[bytes, Ring]:
    if not rows:
        return {}
    device_ids = [row.device_id for row in rows]
    found: dict[bytes, list[Row[Any]]] = {device_id: [] for device_id in device_ids}
    for key in connection.execute(statement, {"values": device_ids}):
        found[key.device_id].append(key)
    answer = {}
    for row in rows:
        ordered = sorted(found[row.device_id], key=lambda key: int(key.born))
        active = [read(row, key) for key in ordered if key.active]
        pendings = tuple(read(row, key) for key in ordered if not key.active)
        first = active[0] if active else None
        answer[row.device_id] = Ring(row.device_id, first, pendings, row.highest_epoch, row.lookahead)
    return answer


def order(key: Any) -> Key:
    """A key without secrets, for the rules that compare attempts and ranks."""
    return Key(key.attempt, key.born, 0, key.epoch, b"", 0, 0, 0, FRESH, None, 0)


def _token_state(same: list[Row[Any]]) -> TokenState:
    row = same[0]
    return TokenState(
        token_id=row.token_id,
        shared=bool(row.shared),
        quota=row.quota,
        used=row.used,
        expires_at=row.expires_at,
        withdrawn=row.withdrawn_at is not None,
        bound=frozenset(other.thumbprint for other in same if other.thumbprint is not None),
    )
