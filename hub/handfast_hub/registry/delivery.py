"""The delivery transaction: records into the database, with promotion and the epoch step.

A record is delivered when the transaction that holds its replay window has committed. That
transaction reads the device's state and its keys, so nothing of a revoked device is delivered after
its revocation, and nothing under a key that another process has deleted.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core import hub_session
from handfast.core.errors import LocalError
from handfast.core.hub_session import Key, Opened, Ring
from handfast.core.plaintexts import Response
from handfast.core.replay import encode_window
from handfast_hub.registry.engine import RegistryError
from handfast_hub.registry.enrolment import Refusal
from handfast_hub.registry.keys import seal_previous, seal_secret
from handfast_hub.registry.reads import BOUND_TOKEN_GRACE, order, ring_of
from handfast_hub.registry.retention import trim
from handfast_hub.registry.schema import (
    ANSWERED,
    ONBOARDED,
    SENT,
    SHUT_OUT,
    UNANSWERED,
    commands,
    devices,
    events,
    keys,
    readings,
    tokens,
)
from handfast_hub.registry.statements import Read, Row, Write
from handfast_hub.registry.trunk_classes import TrunkClasses
from handfast_hub.vault import Vault

# `seen_at` is for the operator; writing it for every record would dirty a page for each.
_SEEN_SECONDS = 60.0
# Old rows are removed after this many new ones.
_TRIM_EVERY = 1024


class RingOutOfDate(RegistryError):
    """The ring in memory is not the one on the disk: read it anew and do the work again."""

    retryable = True


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


# Every key of some devices, each with its device and its token; also a device without keys.
_LIVE = Read(
    lambda values: (
        sa.select(
            devices.c.id,
            devices.c.device_id,
            devices.c.thumbprint,
            devices.c.state,
            devices.c.label,
            devices.c.highest_epoch,
            devices.c.lookahead,
            devices.c.seen_at,
            keys.c.attempt,
            keys.c.active,
            keys.c.born,
            keys.c.epoch,
            keys.c.window,
            keys.c.send_bound,
            keys.c.token_id,
            tokens.c.expires_at,
            tokens.c.withdrawn_at,
        )
        .outerjoin(keys, keys.c.device == devices.c.id)
        .outerjoin(tokens, tokens.c.token_id == keys.c.token_id)
        .where(devices.c.device_id.in_(values))
    )
)
_OF_KEY = sa.and_(keys.c.device == sa.bindparam("of_device"), keys.c.attempt == sa.bindparam("of_attempt"))
_OF_DEVICE = devices.c.id == sa.bindparam("of_device")
_DELETE_KEY = Write(sa.delete(keys).where(_OF_KEY))
_PROMOTE = Write(
    sa.update(keys)
    .where(_OF_KEY)
    .values(window=sa.bindparam("new_window"), active=1, c_r=None, message_3_hash=None, message_4=None)
)
_ONBOARD = Write(
    sa.update(devices)
    .where(_OF_DEVICE)
    .values(state=ONBOARDED, onboarded_at=sa.bindparam("now"), seen_at=sa.bindparam("now"))
)
_CONSUME = Write(
    sa.update(tokens)
    .where(
        tokens.c.token_id == sa.bindparam("of_token"),
        tokens.c.shared == 0,
        # Once: a device that enrols again with it gains no time.
        tokens.c.consumed_at.is_(None),
    )
    .values(consumed_at=sa.bindparam("now"))
)
_STEP = Write(
    sa.update(keys)
    .where(_OF_KEY)
    .values(
        epoch=sa.bindparam("new_epoch"),
        sealed_secret=sa.bindparam("new_secret"),
        send_bound=sa.bindparam("new_bound"),
        failures=sa.bindparam("new_failures"),
    )
)
_KEEP_PREVIOUS = Write(sa.update(keys).where(_OF_KEY).values(sealed_previous=sa.bindparam("new_previous")))
_MOVE = Write(sa.update(keys).where(_OF_KEY).values(window=sa.bindparam("new_window")))
_LOOK = Write(sa.update(devices).where(_OF_DEVICE).values(lookahead=sa.bindparam("new_lookahead")))
_SEE = Write(sa.update(devices).where(_OF_DEVICE).values(seen_at=sa.bindparam("now")))
_READ = Write(sa.insert(readings))
_ANSWER = Write(
    sa.update(commands)
    .where(
        commands.c.device == sa.bindparam("of_device"),
        commands.c.epoch == sa.bindparam("of_epoch"),
        commands.c.piv == sa.bindparam("of_piv"),
        # Late is better than never.
        sa.or_(commands.c.state == SENT, commands.c.state == UNANSWERED),
    )
    .values(
        state=ANSWERED,
        record=None,
        status=sa.bindparam("new_status"),
        answer=sa.bindparam("new_answer"),
        answered_at=sa.bindparam("now"),
    )
)
_NOTE = Write(sa.insert(events))
# The order in which the statements of a group run: promotion, then the state of keys, then the rest.
_STATEMENTS = (
    _DELETE_KEY,
    _PROMOTE,
    _ONBOARD,
    _CONSUME,
    _STEP,
    _KEEP_PREVIOUS,
    _MOVE,
    _LOOK,
    _SEE,
    _READ,
    _ANSWER,
    _NOTE,
)


class DeliveryTransaction:
    """Commits records, over one vault."""

    def __init__(self, vault: Vault, keep_readings: int, keep_events: int, classes: TrunkClasses) -> None:
        """`keep_readings` and `keep_events` are how many rows of each stay in the database; `classes` says
        what of them goes over which trunk."""
        self._vault = vault
        self._classes = classes
        self._keep = {readings: keep_readings, events: keep_events}
        self._grown = {readings: 0, events: 0}

    def __call__(self, connection: Connection, items: Sequence[Delivery]) -> list[Refusal | Exception | None]:
        """Commit windows, epochs, promotions and readings; None for done, else why not.

        An exception is raised to the one who asked.
        """
        live = live_keys(connection, {item.opened.ring.device_id for item in items})
        group = _Group(self._vault, live, partial(self._classes.classes, self._classes.slots(connection)))
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


def live_keys(connection: Connection, device_ids: set[bytes]) -> dict[bytes, dict[bytes, Row]]:
    """The keys of known devices by attempt; a device without a key has an empty dict."""
    found: dict[bytes, dict[bytes, Row]] = {}
    for row in _LIVE.rows(connection, list(device_ids)):
        same = found.setdefault(row.device_id, {})
        if row.attempt is not None:
            same[row.attempt] = row
    return found


class _Group:
    """What the deliveries of one group write; later ones see what earlier ones did."""

    def __init__(
        self,
        vault: Vault,
        live: dict[bytes, dict[bytes, Row]],
        classes: Callable[[str, bytes, int], int],
    ) -> None:
        self._vault = vault
        self._classes = classes
        self._live = live
        self._promoted: set[tuple[bytes, bytes]] = set()
        self._changed: dict[tuple[bytes, bytes], tuple[Key, bool, bool]] = {}
        self._seen: set[bytes] = set()
        self.rows: dict[Write, list[dict[str, Any]]] = {statement: [] for statement in _STATEMENTS}

    def deliver(self, item: Delivery, keep: bool) -> Refusal | Exception | None:
        """Take one delivery into the group, or say why not."""
        opened, device_id = item.opened, item.opened.ring.device_id
        row = self._live.get(device_id, {}).get(opened.attempt)
        if row is None:
            return Refusal(None, "its key is gone")
        if row.state in SHUT_OUT:
            return Refusal(None, f"it was {row.state}")
        if not self._up_to_date(item.before, row):
            return RingOutOfDate("the keys of a device moved on in another process")
        if not row.active and (device_id, opened.attempt) not in self._promoted:
            refusal = self._promote(row, item.now)
            if refusal is not None:
                return refusal
        self._move(item, row.id)
        if device_id not in self._seen and item.now - (row.seen_at or 0.0) >= _SEEN_SECONDS:
            self._seen.add(device_id)
            self.rows[_SEE].append({"of_device": row.id, "now": item.now})
        if item.data is not None and keep:
            self.rows[_READ].append(
                {
                    "device": row.id,
                    "channel": item.channel,
                    "epoch": opened.epoch,
                    "piv": opened.piv,
                    "data": item.data,
                    "received_at": item.now,
                    # By the label that this transaction has read: a new one counts from now on.
                    "classes": self._classes(row.label, device_id, item.channel),
                }
            )
        if item.response is not None:
            epoch, piv, status, data = item.response
            names = {"of_device": row.id, "of_epoch": epoch, "of_piv": piv}
            self.rows[_ANSWER].append({**names, "new_status": status, "new_answer": data, "now": item.now})
        return None

    def execute(self, connection: Connection) -> None:
        """Send everything to the database."""
        for (device_id, attempt), (key, previous, stepped) in self._changed.items():
            row = self._live[device_id][attempt]
            name = {"of_device": row.id, "of_attempt": attempt}
            moved = _PROMOTE if (device_id, attempt) in self._promoted else _MOVE
            self.rows[moved].append({**name, "new_window": encode_window(key.window)})
            if stepped:
                self.rows[_STEP].append(
                    {
                        **name,
                        "new_epoch": key.epoch,
                        "new_secret": seal_secret(self._vault, row.thumbprint, key),
                        "new_bound": key.send_bound,
                        "new_failures": key.failures,
                    }
                )
            if previous:
                sealed = seal_previous(self._vault, row.thumbprint, key)
                self.rows[_KEEP_PREVIOUS].append({**name, "new_previous": sealed})
        for statement in _STATEMENTS:
            statement.many(connection, self.rows[statement])

    def _up_to_date(self, before: Ring, row: Row) -> bool:
        """Whether the record was opened with the epoch and window that are on the disk, or will be.

        A process that was asleep while another one had its lease would deliver what was delivered,
        and put a window back that has moved.
        """
        known = [key for key in (before.active, *before.pendings) if key and key.attempt == row.attempt]
        if not known:
            return False
        key = known[0]
        changed = self._changed.get((row.device_id, row.attempt))
        if changed is not None:
            return bool(changed[0].epoch == key.epoch and changed[0].window == key.window)
        return bool(row.epoch == key.epoch and row.window == encode_window(key.window))

    def _move(self, item: Delivery, number: int) -> None:
        """Remember the newest state of the key, and which of its secrets changed."""
        opened = item.opened
        new = opened.ring.active
        old = item.before.active
        name = (opened.ring.device_id, opened.attempt)
        _, previous, stepped = self._changed.get(name, (new, False, False))
        if old is not None and old.attempt == opened.attempt:
            # The key of the epoch before came, moved its window or went.
            previous = previous or new.previous is not old.previous
        self._changed[name] = (new, previous, stepped or opened.stepped)
        if item.before.lookahead != opened.ring.lookahead:
            row = {"of_device": number, "new_lookahead": opened.ring.lookahead}
            self.rows[_LOOK].append(row)

    def _promote(self, row: Row, now: float) -> Refusal | None:
        """R3 and the end of R6, on the keys that this transaction has read."""
        if row.token_id is not None:
            if row.withdrawn_at is not None:
                return Refusal(None, "its token was withdrawn")
            if row.expires_at is None:
                return Refusal(None, "its token is gone")
            if now >= row.expires_at + BOUND_TOKEN_GRACE:
                return Refusal(None, "its token expired before it spoke")
        same = self._live[row.device_id]
        ring = ring_of(row, same.values(), order)
        try:
            after = hub_session.promote(ring, row.attempt)
        except LocalError as error:
            return Refusal(None, error.detail)
        kept = {row.attempt, *(key.attempt for key in after.pendings)}
        for attempt in [attempt for attempt in same if attempt not in kept]:
            del same[attempt]
            self._changed.pop((row.device_id, attempt), None)
            self.rows[_DELETE_KEY].append({"of_device": row.id, "of_attempt": attempt})
        self._promoted.add((row.device_id, row.attempt))
        self._seen.add(row.device_id)
        self.rows[_ONBOARD].append({"of_device": row.id, "now": now})
        if row.token_id is not None:
            self.rows[_CONSUME].append({"of_token": row.token_id, "now": now})
        self.rows[_NOTE].append(
            {"at": now, "kind": "onboarded", "thumbprint": row.thumbprint, "detail": f"epoch {row.epoch}"}
        )
        return None
