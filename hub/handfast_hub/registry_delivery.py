"""The delivery transaction: records into the database, with promotion and the epoch step.

A record is delivered when the transaction that holds its replay window has committed. That
transaction reads the device's state and its keys, so nothing of a revoked device is delivered after
its revocation, and nothing under a key that another process has deleted.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core import hub_session
from handfast.core.errors import LocalError
from handfast.core.hub_session import Key, Opened, Ring
from handfast.core.plaintexts import Response
from handfast.core.replay import encode_window
from handfast_hub.registry_enrolment import Refusal
from handfast_hub.registry_reads import BOUND_TOKEN_GRACE, order, state_aad
from handfast_hub.schema import (
    ANSWERED,
    ONBOARDED,
    SENT,
    SHUT_OUT,
    bindings,
    commands,
    devices,
    events,
    keys,
    readings,
    tokens,
)
from handfast_hub.vault import Vault

# `seen_at` is for the operator; writing it for every record would dirty a page for each.
_SEEN_SECONDS = 60.0
# Old rows are removed after this many new ones.
_TRIM_EVERY = 1024


class Delivery(NamedTuple):
    """One opened record. `before` is the ring that it was opened with, `opened` what came out.

    `data` is kept as a reading of `channel`, None keeps nothing. `response` is what the record
    answers, or None.
    """

    before: Ring
    opened: Opened
    channel: int
    data: bytes | None
    response: Response | None
    now: float


class LiveKey(NamedTuple):
    """A key as the transaction finds it, with its device and its token."""

    row: Any
    key: Key


# Every key of some devices, each with its device and its token; also a device without keys.
_LIVE = (
    sa.select(
        devices.c.device_id,
        devices.c.thumbprint,
        devices.c.state,
        devices.c.highest_epoch,
        devices.c.lookahead,
        devices.c.seen_at,
        keys.c.attempt,
        keys.c.active,
        keys.c.born,
        keys.c.epoch,
        keys.c.token_id,
        tokens.c.expires_at,
        tokens.c.withdrawn_at,
    )
    .outerjoin(keys, keys.c.device_id == devices.c.device_id)
    .outerjoin(tokens, tokens.c.token_id == keys.c.token_id)
    .where(devices.c.device_id.in_(sa.bindparam("values", expanding=True)))
)
_OF_KEY = sa.and_(keys.c.device_id == sa.bindparam("of_device"), keys.c.attempt == sa.bindparam("of_attempt"))
_OF_DEVICE = devices.c.device_id == sa.bindparam("of_device")
_DELETE_KEY = sa.delete(keys).where(_OF_KEY)
_PROMOTE = sa.update(keys).where(_OF_KEY).values(active=1, c_r=None, message_3_hash=None, message_4=None)
_ONBOARD = sa.update(devices).where(_OF_DEVICE).values(state=ONBOARDED, onboarded_at=sa.bindparam("now"))
_CONSUME = (
    sa.update(bindings)
    .where(
        bindings.c.token_id == sa.bindparam("of_token"),
        bindings.c.thumbprint == sa.bindparam("of_thumbprint"),
    )
    .values(consumed_at=sa.bindparam("now"))
)
_STEP = (
    sa.update(keys)
    .where(_OF_KEY)
    .values(
        epoch=sa.bindparam("new_epoch"),
        send_bound=sa.bindparam("new_bound"),
        sealed_state=sa.bindparam("new_state"),
    )
)
_SEAL = sa.update(keys).where(_OF_KEY).values(sealed_state=sa.bindparam("new_state"))
_MOVE = sa.update(keys).where(_OF_KEY).values(window=sa.bindparam("new_window"))
_LOOK = sa.update(devices).where(_OF_DEVICE).values(lookahead=sa.bindparam("new_lookahead"))
_SEE = sa.update(devices).where(_OF_DEVICE).values(seen_at=sa.bindparam("now"))
_READ = sa.insert(readings)
_ANSWER = (
    sa.update(commands)
    .where(
        commands.c.device_id == sa.bindparam("of_device"),
        commands.c.epoch == sa.bindparam("of_epoch"),
        commands.c.piv == sa.bindparam("of_piv"),
        commands.c.state == SENT,
    )
    .values(
        state=ANSWERED,
        status=sa.bindparam("new_status"),
        answer=sa.bindparam("new_answer"),
        answered_at=sa.bindparam("now"),
    )
)
_NOTE = sa.insert(events)
# The order in which the statements of a group run: promotion, then the state of keys, then the rest.
_STATEMENTS = (
    _DELETE_KEY,
    _PROMOTE,
    _ONBOARD,
    _CONSUME,
    _STEP,
    _SEAL,
    _MOVE,
    _LOOK,
    _SEE,
    _READ,
    _ANSWER,
    _NOTE,
)


class DeliveryTransaction:
    """Commits records, over one vault."""

    def __init__(self, vault: Vault, keep_readings: int, keep_events: int) -> None:
        """`keep_readings` and `keep_events` are how many rows of each stay in the database."""
        self._vault = vault
        self._keep = {readings: keep_readings, events: keep_events}
        self._grown = {readings: 0, events: 0}

    def __call__(self, connection: Connection, items: Sequence[Delivery]) -> list[Refusal | None]:
        """Commit windows, epochs, promotions and readings; None for done, else why not."""
        group = _Group(self._vault, live_keys(connection, {item.opened.ring.device_id for item in items}))
        outcomes = [group.deliver(item, bool(self._keep[readings])) for item in items]
        group.execute(connection)
        self._trim(connection, group)
        return outcomes

    def _trim(self, connection: Connection, group: "_Group") -> None:
        for table, statement in ((readings, _READ), (events, _NOTE)):
            self._grown[table] += len(group.rows[statement])
            if self._grown[table] >= _TRIM_EVERY:
                self._grown[table] = 0
                trim(connection, table, self._keep[table])


def trim(connection: Connection, table: sa.Table, keep: int) -> None:
    """Remove all but about the newest `keep` rows of a table with a growing id."""
    newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    connection.execute(sa.delete(table).where(table.c.id <= newest - keep))


def live_keys(connection: Connection, device_ids: set[bytes]) -> dict[bytes, dict[bytes, LiveKey]]:
    """The keys of known devices by attempt; a device without a key has an empty dict."""
    found: dict[bytes, dict[bytes, LiveKey]] = {}
    for row in connection.execute(_LIVE, {"values": list(device_ids)}):
        same = found.setdefault(row.device_id, {})
        if row.attempt is not None:
            same[row.attempt] = LiveKey(row, order(row))
    return found


class _Group:
    """What the deliveries of one group write; later ones see what earlier ones did."""

    def __init__(self, vault: Vault, live: dict[bytes, dict[bytes, LiveKey]]) -> None:
        self._vault = vault
        self._live = live
        self._promoted: set[tuple[bytes, bytes]] = set()
        self._changed: dict[tuple[bytes, bytes], tuple[Key, bool, bool]] = {}
        self._seen: set[bytes] = set()
        self.rows: dict[sa.Executable, list[dict[str, Any]]] = {statement: [] for statement in _STATEMENTS}

    def deliver(self, item: Delivery, keep: bool) -> Refusal | None:
        """Take one delivery into the group, or say why not."""
        opened, device_id = item.opened, item.opened.ring.device_id
        found = self._live.get(device_id, {}).get(opened.attempt)
        if found is None:
            return Refusal(None, "its key is gone")
        if found.row.state in SHUT_OUT:
            return Refusal(None, f"it was {found.row.state}")
        if not found.row.active and (device_id, opened.attempt) not in self._promoted:
            refusal = self._promote(found, item.now)
            if refusal is not None:
                return refusal
        self._move(item)
        row = found.row
        if device_id not in self._seen and item.now - (row.seen_at or 0.0) >= _SEEN_SECONDS:
            self._seen.add(device_id)
            self.rows[_SEE].append({"of_device": device_id, "now": item.now})
        if item.data is not None and keep:
            self.rows[_READ].append(
                {
                    "device_id": device_id,
                    "channel": item.channel,
                    "epoch": opened.epoch,
                    "piv": opened.piv,
                    "data": item.data,
                    "received_at": item.now,
                }
            )
        if item.response is not None:
            epoch, piv, status, data = item.response
            names = {"of_device": device_id, "of_epoch": epoch, "of_piv": piv}
            self.rows[_ANSWER].append({**names, "new_status": status, "new_answer": data, "now": item.now})
        return None

    def execute(self, connection: Connection) -> None:
        """Send everything to the database."""
        for (device_id, attempt), (key, sealed, stepped) in self._changed.items():
            name = {"of_device": device_id, "of_attempt": attempt}
            self.rows[_MOVE].append({**name, "new_window": encode_window(key.window)})
            if sealed:
                thumbprint = self._live[device_id][attempt].row.thumbprint
                aad = state_aad(thumbprint, attempt)
                name["new_state"] = self._vault.seal(hub_session.encode_key(key), aad)
                if stepped:
                    self.rows[_STEP].append({**name, "new_epoch": key.epoch, "new_bound": key.send_bound})
                else:
                    self.rows[_SEAL].append(name)
        for statement in _STATEMENTS:
            if self.rows[statement]:
                connection.execute(statement, self.rows[statement])

    def _move(self, item: Delivery) -> None:
        """Remember the newest state of the key; the sealed part only when it changed."""
        opened = item.opened
        new = opened.ring.active
        old = item.before.active
        name = (opened.ring.device_id, opened.attempt)
        _, sealed, stepped = self._changed.get(name, (new, False, False))
        stepped = stepped or opened.stepped
        if old is not None and old.attempt == opened.attempt:
            # The key of the epoch before came, moved its window or went.
            sealed = sealed or new.previous is not old.previous
        self._changed[name] = (new, sealed or stepped, stepped)
        if item.before.lookahead != opened.ring.lookahead:
            row = {"of_device": opened.ring.device_id, "new_lookahead": opened.ring.lookahead}
            self.rows[_LOOK].append(row)

    def _promote(self, found: LiveKey, now: float) -> Refusal | None:
        """R3 and the end of R6, on the keys that this transaction has read."""
        row = found.row
        if row.token_id is not None:
            if row.withdrawn_at is not None:
                return Refusal(None, "its token was withdrawn")
            if now >= row.expires_at + BOUND_TOKEN_GRACE:
                return Refusal(None, "its token expired before it spoke")
        same = self._live[row.device_id]
        ordered = sorted((live.key for live in same.values()), key=lambda key: int(key.born))
        active = [key for key in ordered if same[key.attempt].row.active]
        pendings = tuple(key for key in ordered if not same[key.attempt].row.active)
        ring = Ring(row.device_id, active[0] if active else None, pendings, row.highest_epoch, row.lookahead)
        try:
            after = hub_session.promote(ring, row.attempt)
        except LocalError as error:
            return Refusal(None, error.detail)
        kept = {row.attempt, *(key.attempt for key in after.pendings)}
        for attempt in [attempt for attempt in same if attempt not in kept]:
            del same[attempt]
            self._changed.pop((row.device_id, attempt), None)
            self.rows[_DELETE_KEY].append({"of_device": row.device_id, "of_attempt": attempt})
        self._promoted.add((row.device_id, row.attempt))
        self.rows[_PROMOTE].append({"of_device": row.device_id, "of_attempt": row.attempt})
        self.rows[_ONBOARD].append({"of_device": row.device_id, "now": now})
        if row.token_id is not None:
            names = {"of_token": row.token_id, "of_thumbprint": row.thumbprint}
            self.rows[_CONSUME].append({**names, "now": now})
        self.rows[_NOTE].append(
            {"at": now, "kind": "onboarded", "thumbprint": row.thumbprint, "detail": f"epoch {row.epoch}"}
        )
        return None
