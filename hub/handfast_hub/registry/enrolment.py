"""The registry's part in an enrolment: what is known of a device, and the pending transaction.

Each operation takes all items of a group and gives one outcome for each (`group.py`). R1
and R2 are applied by handfast.core.hub_session to what the transaction itself has read; R6 is one column of
`tokens`, and the primary key of `bindings` for a token that several devices share.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core import hub_session
from handfast.core.credentials import Credential
from handfast.core.errors import UnexpectedMessageError
from handfast.core.hub_session import Key, Ring
from handfast.core.replay import encode_window
from handfast_hub import policy
from handfast_hub.registry.keys import root_aad, seal_secret
from handfast_hub.registry.reads import (
    DeviceRow,
    Stored,
    TokenState,
    device_by_kid,
    devices_by_thumbprint,
    orders,
    standing,
    token_states,
)
from handfast_hub.registry.schema import (
    ADMITTED,
    JOINING,
    ONBOARDED,
    SHUT_OUT,
    bindings,
    devices,
    keys,
    tokens,
)
from handfast_hub.registry.statements import Write
from handfast_hub.vault import Vault


class Question(NamedTuple):
    """Who asks to join: by `thumbprint` (32 bytes), or by `kid` (8 bytes) when that is what it sent."""

    thumbprint: bytes | None
    kid: bytes | None
    token_id: bytes | None
    now: float


class Standing(NamedTuple):
    """What the registry knows of a device; `thumbprint`, `state`, `device_id` are None when nothing.

    `epoch` is what the next pending key must have. `token` is a standing of policy.py. `credential` is
    the encoded CCS, only for a question by kid: that of the device that came first, because anyone
    may grind a thumbprint that begins with the same 8 bytes.
    """

    thumbprint: bytes | None
    state: str | None
    device_id: bytes | None
    epoch: int
    token: str
    credential: bytes | None


class Pending(NamedTuple):
    """A granted handshake, to be written before its message_4 leaves the hub.

    `device_id` is that of the Standing, or 8 random bytes for a new device. `have` is the attempt of
    ROOTC, or None. `c_r`, `message_3_hash` (SHA-256) and `message_4` (the payload) serve R5. `reason`
    is the policy's, for the operator.
    """

    credential: Credential
    device_id: bytes
    key: Key
    root_key: bytes
    have: bytes | None
    token_id: bytes | None
    c_r: bytes
    message_3_hash: bytes
    message_4: bytes
    devinfo: bytes | None
    reason: str
    now: float

    def __repr__(self) -> str:
        return "<Pending, secret>"


class Pended(NamedTuple):
    """The key is on the disk. `stored` is the device now, or None when older keys have to be loaded."""

    stored: Stored | None


class Refusal(NamedTuple):
    """Nothing was written. `status` is the code of STATUS, None for silence; `reason` is for the log."""

    status: int | None
    reason: str


def admission(connection: Connection, items: Sequence[Question]) -> list[Standing]:
    """Answer each Question; writes nothing."""
    found = devices_by_thumbprint(connection, (item.thumbprint for item in items if item.thumbprint))
    rows = [_find(connection, found, item) for item in items]
    rings = orders(connection, [row for row in rows if row is not None])
    names = [
        row.thumbprint if row is not None else item.thumbprint or b""
        for item, row in zip(items, rows, strict=True)
    ]
    asked = [(item.token_id, name) for item, name in zip(items, names, strict=True)]
    states = token_states(connection, asked)
    answers = []
    for item, row, name in zip(items, rows, names, strict=True):
        token = standing(states, item.token_id, name, item.now)
        if row is None:
            answers.append(Standing(None, None, None, 0, token, None))
            continue
        epoch = hub_session.next_epoch(rings[row.device_id])
        credential = row.credential if item.thumbprint is None else None
        answers.append(Standing(row.thumbprint, row.state, row.device_id, epoch, token, credential))
    return answers


class PendingTransaction:
    """The pending transaction; secrets are sealed by `vault` on their way in."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def __call__(self, connection: Connection, items: Sequence[Pending]) -> list[Pended | Refusal]:
        """Write each pending key with everything that belongs to it, or say why not."""
        known = devices_by_thumbprint(connection, (item.credential.thumbprint for item in items))
        rings = orders(connection, list(known.values()))
        asked = [(item.token_id, item.credential.thumbprint) for item in items]
        states = token_states(connection, asked)
        writes = _Writes(self._vault)
        outcomes: list[Pended | Refusal] = []
        # Of two items in one group that touch the same device or single token the second one waits
        # for its device to try again: it was judged by what the first has changed.
        touched: set[bytes] = set()
        for item in items:
            thumbprint = item.credential.thumbprint
            row = known.get(thumbprint)
            ring = hub_session.empty(item.device_id) if row is None else rings[row.device_id]
            token = standing(states, item.token_id, thumbprint, item.now)
            after = _judge(item, row, ring, token)
            if thumbprint in touched or item.token_id in touched:
                after = Refusal(None, "another handshake of this device or token was faster")
            if isinstance(after, Refusal):
                outcomes.append(after)
                continue
            touched.add(thumbprint)
            if token == policy.LIVE and item.token_id is not None:
                state = states[item.token_id]
                writes.bind(state, item)
                state.used += 1
                if not state.row.shared:
                    touched.add(item.token_id)
            # A token that admits nobody belongs to no key: its end must not be the end of the key.
            if token not in (policy.LIVE, policy.BOUND):
                item = item._replace(token_id=None)  # noqa: PLW2901
            # A device that is new by its token bears the token's label.
            label = "" if item.token_id not in states else states[item.token_id].row.label
            outcomes.append(writes.pend(item, row, ring, after, label if row is None else row.label))
        writes.execute(connection)
        return outcomes


def _find(connection: Connection, found: dict[bytes, DeviceRow], item: Question) -> DeviceRow | None:
    if item.thumbprint is not None:
        return found.get(item.thumbprint)
    return None if item.kid is None else device_by_kid(connection, item.kid)


def _judge(item: Pending, row: DeviceRow | None, ring: Ring, token: str) -> Ring | Refusal:
    """The ring with the new key by R1 and R2, judged by what this transaction has read, or why not."""
    if row is not None and row.state in SHUT_OUT:
        return Refusal(policy.STATUS_REFUSED, f"it was {row.state}")
    admitted = row is not None and row.state in (ADMITTED, ONBOARDED)
    if not admitted and token not in (policy.LIVE, policy.BOUND):
        return Refusal(policy.STATUS_REFUSED, policy.TOKEN_REASONS.get(token, "nothing admits it any more"))
    if ring.device_id != item.device_id or hub_session.next_epoch(ring) != item.key.epoch:
        return Refusal(None, "its keys changed during the handshake")
    try:
        return hub_session.add_pending(ring, item.key, item.have)
    except UnexpectedMessageError as error:
        return Refusal(None, error.detail)


_INSERT_DEVICE = Write(sa.insert(devices))
_UPDATE_DEVICE = Write(
    sa.update(devices)
    .where(devices.c.id == sa.bindparam("of_device"))
    .values(
        state=sa.bindparam("state"),
        reason=sa.bindparam("reason"),
        highest_epoch=sa.bindparam("highest_epoch"),
        devinfo=sa.bindparam("devinfo"),
        credential=sa.bindparam("credential"),
    )
)
_DELETE_KEY = Write(
    sa.delete(keys).where(
        keys.c.device == sa.bindparam("of_device"), keys.c.attempt == sa.bindparam("of_attempt")
    )
)
# A new device has no number yet; the database knows it from the row before.
_INSERT_KEY = Write(
    sa.insert(keys).values(
        device=sa.select(devices.c.id)
        .where(devices.c.device_id == sa.bindparam("of_device"))
        .scalar_subquery()
    )
)
_INSERT_BINDING = Write(sa.insert(bindings))
_USE_SHARED = Write(
    sa.update(tokens).where(tokens.c.token_id == sa.bindparam("of_token")).values(used=sa.bindparam("used"))
)
_USE_SINGLE = Write(
    sa.update(tokens)
    .where(tokens.c.token_id == sa.bindparam("of_token"), tokens.c.thumbprint.is_(None))
    .values(used=1, thumbprint=sa.bindparam("thumbprint"))
)


class _Writes:
    """The rows of one group, one executemany for each statement."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._rows: dict[Write, list[dict[str, Any]]] = {
            _INSERT_DEVICE: [],
            _UPDATE_DEVICE: [],
            _DELETE_KEY: [],
            _INSERT_KEY: [],
            _INSERT_BINDING: [],
            _USE_SHARED: [],
            _USE_SINGLE: [],
        }

    def pend(self, item: Pending, row: DeviceRow | None, ring: Ring, after: Ring, label: str) -> Pended:
        """The rows of one pending key that turns `ring` of the device in `row` into `after`."""
        kept = {key.attempt for key in after.pendings}
        for key in ring.pendings:
            if row is not None and key.attempt not in kept:
                self._rows[_DELETE_KEY].append({"of_device": row.id, "of_attempt": key.attempt})
        state: str = row.state if row is not None and row.state in (ADMITTED, ONBOARDED) else JOINING
        if row is None:
            self._rows[_INSERT_DEVICE].append(_new_device(item, after, label))
        else:
            self._rows[_UPDATE_DEVICE].append(
                {
                    "of_device": row.id,
                    "state": state,
                    "reason": item.reason,
                    "highest_epoch": after.highest_epoch,
                    "devinfo": item.devinfo,
                    "credential": item.credential.encoded,
                }
            )
        self._rows[_INSERT_KEY].append(self._key(item))
        if after.active is not None or len(after.pendings) > 1:
            return Pended(None)
        return Pended(Stored(item.device_id, item.credential.thumbprint, state, label, after))

    def bind(self, token: TokenState, item: Pending) -> None:
        """R6: the token takes this device, a shared one into its next slot."""
        thumbprint = item.credential.thumbprint
        if not token.row.shared:
            self._rows[_USE_SINGLE].append({"of_token": token.row.token_id, "thumbprint": thumbprint})
            return
        self._rows[_INSERT_BINDING].append(
            {
                "token_id": token.row.token_id,
                "slot": token.used,
                "thumbprint": thumbprint,
                "bound_at": item.now,
            }
        )
        self._rows[_USE_SHARED].append({"of_token": token.row.token_id, "used": token.used + 1})

    def execute(self, connection: Connection) -> None:
        """Send everything to the database."""
        for statement, rows in self._rows.items():
            statement.many(connection, rows)

    def _key(self, item: Pending) -> dict[str, Any]:
        key, thumbprint = item.key, item.credential.thumbprint
        return {
            "of_device": item.device_id,
            "attempt": key.attempt,
            "active": 0,
            "born": key.born,
            "epoch": key.epoch,
            "suite": key.suite,
            "sealed_secret": seal_secret(self._vault, thumbprint, key),
            "send_base": key.send_base,
            "send_bound": key.send_bound,
            "window": encode_window(key.window),
            "sealed_previous": None,
            "failures": key.failures,
            "sealed_root": self._vault.seal(item.root_key, root_aad(thumbprint, key.attempt)),
            "c_r": item.c_r,
            "message_3_hash": item.message_3_hash,
            "message_4": item.message_4,
            "token_id": item.token_id,
            "created_at": item.now,
        }


def _new_device(item: Pending, ring: Ring, label: str) -> dict[str, Any]:
    return {
        "device_id": item.device_id,
        "thumbprint": item.credential.thumbprint,
        "state": JOINING,
        "label": label,
        "reason": item.reason,
        "highest_epoch": ring.highest_epoch,
        "lookahead": ring.lookahead,
        "created_at": item.now,
        "onboarded_at": None,
        "seen_at": None,
        "devinfo": item.devinfo,
        "credential": item.credential.encoded,
    }
