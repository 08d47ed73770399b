"""Rings of keys at the hub, as a test wants them."""

from host_crypto import crypto
from joined import DEVICE_ID, attempt, root_keys

from handfast.core import hub_session
from handfast.core.hub_session import Key, Ring
from handfast.core.key_cache import KeyCache


def key(number: int, born: int, epoch: int) -> Key:
    return hub_session.pending_key(attempt(number), born, -21, epoch, root_keys(number).traffic_secret)


def ring_of(active: "Key | None", *pendings: Key) -> Ring:
    ring = hub_session.empty(DEVICE_ID)
    highest = max([-1] + [other.epoch for other in pendings + (() if active is None else (active,))])
    return Ring(DEVICE_ID, active, pendings, highest, ring.lookahead)


def after(number: int, epoch: int, later: int) -> bytes:
    """T_later of a key that began at `epoch`."""
    return KeyCache(crypto).secret(key(number, 1, epoch), later)
