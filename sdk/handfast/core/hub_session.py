"""The hub's side of one device: which keys it has, and records in and out (sections 2.8 and 2.9).

A Ring is a value, and every function here gives the ring that follows and changes nothing. So the
caller opens records inside a transaction, commits the ring together with what was delivered, and
drops both when the commit fails. Nothing that depends on a new ring may leave the hub before that
ring is committed.

    R1  accepts_message_3   a message_3 older than any key of this device is dropped in silence
    R2  add_pending         a new pending deletes the others, except the one that the device holds
    R3  promote             promotion deletes the active key and what was born before, nothing later
    R4  candidates          a record names its key by its epoch; no timer deletes a pending

An active key may step into an epoch that a pending was given. `next_epoch` leaves one epoch free
above the active key, which makes that rare, and `candidates` gives every key that bears an epoch,
the active one first: at most the active one and two pendings.
"""

from collections import namedtuple

from handfast.core import constants
from handfast.core.errors import DecodeError, LocalError, PeerError, ReplayError, UnexpectedMessageError
from handfast.core.hidden import Hidden
from handfast.core.plaintexts import encode_control
from handfast.core.records import decode_header
from handfast.core.replay import FRESH, accept, check, overtaken
from handfast.core.root_key import MAX_EPOCH
from handfast.core.topics import CONTROL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.key_cache import KeyCache
    from handfast.core.replay import Window


class Key(
    Hidden,
    namedtuple(
        "Key",
        (
            "attempt",
            "born",
            "suite",
            "epoch",
            "secret",
            "send_base",
            "send_next",
            "send_bound",
            "window",
            "previous",
            "failures",
        ),
    ),
):
    """One enrolment. attempt: 16 bytes. born: the rank of its session, higher is later. suite: its number.

    epoch: 0..65535. secret: T_epoch. send_base: the hub's first PIV in every epoch, 0 unless restored.
    send_next, send_bound: the hub's next PIV and the first one that storage has not reserved. window:
    what was accepted in this epoch. previous: the epoch before, or None. failures: forgeries counted.
    """

    __slots__ = ()


class Previous(Hidden, namedtuple("Previous", ("epoch", "key", "civ", "window", "until"))):
    """The receive key of the epoch before, for records on their way. until: seconds on the clock of `now`."""

    __slots__ = ()


# All keys of one device. active: Key or None. pendings: tuple of Key, oldest first. highest_epoch: the
# highest ever given, -1 at first. lookahead: how many epochs the device may be ahead, 1 unless restored.
Ring = namedtuple("Ring", ("device_id", "active", "pendings", "highest_epoch", "lookahead"))


class Opened(
    Hidden, namedtuple("Opened", ("plaintext", "ring", "epoch", "piv", "attempt", "promoted", "stepped"))
):
    """An opened record. promoted: a pending became active; stepped: the key went to a later epoch.

    Either way `ring` must be committed before anything is delivered.
    """

    __slots__ = ()


# A sealed record. reserved: `ring` has a new bound, to be committed before `record` leaves.
Sealed = namedtuple("Sealed", ("record", "ring", "epoch", "piv", "reserved"))


def empty(device_id: bytes) -> Ring:
    """The ring of a device that has no key yet; `device_id` has 8 bytes."""
    return Ring(device_id, None, (), -1, 1)


def pending_key(attempt: bytes, born: int, suite: int, epoch: int, secret: bytes) -> Key:
    """A key as it is when its handshake grants it: nothing sent, nothing received, a block reserved."""
    return Key(attempt, born, suite, epoch, secret, 0, 0, constants.SEQUENCE_BLOCK, FRESH, None, 0)


def accepts_message_3(ring: Ring, born: int) -> bool:
    """R1. False: drop this message_3 in silence, whatever its signature says."""
    return all(born >= key.born for key in _keys(ring))


def next_epoch(ring: Ring) -> int:
    """The epoch for a new pending: 1 + the highest ever given, and above what the active key may reach.

    After 65535 it begins at 0 again: an epoch only names a key, and each enrolment has keys of its own.
    """
    taken = ring.highest_epoch
    if ring.active is not None:
        taken = max(taken, ring.active.epoch + ring.lookahead)
    return taken + 1 if taken < MAX_EPOCH else 0


def add_pending(ring: Ring, key: Key, have: "bytes | None") -> Ring:
    """R2. The ring with `key` as its newest pending; `have` is the attempt that ROOTC named.

    UnexpectedMessageError when R1 forbids it or the attempt has a key already: one attempt never
    gets a second r_H.
    """
    if not accepts_message_3(ring, key.born):
        raise UnexpectedMessageError("this handshake began before one that has granted a key")
    if any(key.attempt == other.attempt for other in _keys(ring)):
        raise UnexpectedMessageError("this attempt has its key already")
    kept = tuple([other for other in ring.pendings if other.attempt == have])
    return Ring(ring.device_id, ring.active, kept + (key,), key.epoch, ring.lookahead)


def promote(ring: Ring, attempt: bytes) -> Ring:
    """R3. The pending `attempt` becomes active; LocalError when there is none."""
    for key in ring.pendings:
        if key.attempt == attempt:
            later = tuple([other for other in ring.pendings if other.born > key.born])
            return Ring(ring.device_id, key, later, ring.highest_epoch, ring.lookahead)
    raise LocalError("no pending key of that attempt")


def candidates(ring: Ring, epoch: int, now: float) -> "list[tuple[Key, int]]":
    """R4. Every key that may have sealed a record of `epoch`, in the order to try them: (key, steps).

    steps is 0 for the epoch of the key itself, -1 for the one before, 1 and more for later ones.

    Only an active key steps: the device steps when it has heard the hub in an epoch, and the hub
    speaks under active keys only. A ring from an old copy cannot know, and looks ahead everywhere.
    """
    found = []
    active = ring.active
    if active is not None:
        if 0 <= epoch - active.epoch <= ring.lookahead:
            found.append((active, epoch - active.epoch))
        elif active.previous is not None and active.previous.epoch == epoch and now < active.previous.until:
            found.append((active, -1))
    if not ring.pendings:
        return found
    reach = ring.lookahead if ring.lookahead > 1 else 0
    newest_first = reversed(ring.pendings)
    return found + [(key, epoch - key.epoch) for key in newest_first if 0 <= epoch - key.epoch <= reach]


def open_record(keys: "KeyCache", ring: Ring, channel: int, record: bytes, now: float) -> Opened:
    """Open a record of the device that came on `channel`.

    DecodeError for other bytes than a device's record, UnexpectedMessageError when no key bears its
    epoch, ReplayError, AuthenticationError. After AuthenticationError see `count_failure`.
    """
    header = decode_header(record)
    if header.sender != constants.SENDER_DEVICE:
        raise DecodeError("a record for the hub is sealed by the device")
    failure = None
    for key, steps in candidates(ring, header.epoch, now):
        window = key.window if steps == 0 else FRESH if steps > 0 else key.previous.window
        try:
            check(window, header.piv, channel)
            if steps < 0 and overtaken(key.window, channel):
                raise ReplayError("channel %d went on in a later epoch" % channel)
            receiver = keys.get(ring.device_id, key, header.epoch, constants.SENDER_DEVICE)
            plaintext = receiver.open(header, record, channel)
        except PeerError as error:
            failure = error
            continue
        window = accept(window, header.piv, channel)
        if steps > 0:
            after = _stepped(keys, ring.device_id, key, header.epoch, window, now)
        else:
            after = _received(key, steps, window, now)
        promoted = key is not ring.active
        if promoted:
            ring = promote(ring, key.attempt)
        ring = Ring(ring.device_id, after, ring.pendings, ring.highest_epoch, 1)
        return Opened(plaintext, ring, header.epoch, header.piv, after.attempt, promoted, steps > 0)
    if failure is None:
        raise UnexpectedMessageError("no key of this device bears epoch %d" % header.epoch)
    raise failure


def seal_record(keys: "KeyCache", ring: Ring, channel: int, plaintext: bytes) -> Sealed:
    """Seal for the device under the active key; LocalError when there is none."""
    key = ring.active
    if key is None:
        raise LocalError("this device has no active key; nothing can be sent to it yet")
    piv = key.send_next
    record = keys.get(ring.device_id, key, key.epoch, constants.SENDER_HUB).seal(piv, channel, plaintext)
    reserved = piv >= key.send_bound
    bound = piv + constants.SEQUENCE_BLOCK if reserved else key.send_bound
    key = _changed(key, piv + 1, bound, key.window, key.previous, key.failures)
    return Sealed(record, _with_active(ring, key), key.epoch, piv, reserved)


def wants_step(ring: Ring) -> bool:
    """Whether the hub should ask the device for a new epoch, by [2] on channel 0."""
    key = ring.active
    if key is None or key.epoch >= MAX_EPOCH:
        return False
    return bool(
        key.send_next - key.send_base >= constants.MAX_EPOCH_RECORDS
        or key.window.highest >= constants.MAX_EPOCH_RECORDS
        or key.failures >= constants.MAX_EPOCH_FAILURES
    )


def count_failure(ring: Ring) -> Ring:
    """The ring after one record that did not verify; it need not be committed at once."""
    key = ring.active
    if key is None:
        return ring
    key = _changed(key, key.send_next, key.send_bound, key.window, key.previous, key.failures + 1)
    return _with_active(ring, key)


def revoke(keys: "KeyCache", ring: Ring, reason: str) -> "tuple[list[tuple[int, bytes]], Ring]":
    """The last records, as (epoch, record on channel 0), and the ring without any key.

    One record for every key and epoch that the device may be in. Commit both in one transaction; then
    answer each record that still arrives with the notices of its epoch.
    """
    plaintext = encode_control(constants.CONTROL_REVOKED, reason)
    notices = []
    for key in _keys(ring):
        reach = ring.lookahead if key is ring.active or ring.lookahead > 1 else 0
        for epoch in range(key.epoch, min(key.epoch + reach, MAX_EPOCH) + 1):
            piv = key.send_next if epoch == key.epoch else key.send_base
            sender = keys.get(ring.device_id, key, epoch, constants.SENDER_HUB)
            notices.append((epoch, sender.seal(piv, CONTROL, plaintext)))
    keys.forget(ring.device_id)
    return notices, Ring(ring.device_id, None, (), ring.highest_epoch, 1)


def restored(ring: Ring, start: int = 0) -> Ring:
    """The ring out of an old copy of the database: what was sent and received since is not known.

    In this and every later epoch of these keys the hub counts from 2^32 above the old bound, or from
    `start` when that is higher; restoring one copy twice is safe only with a `start` that grows. The
    device may be 64 epochs ahead, and is asked to step: the old windows would accept what came since.
    """
    failures = constants.MAX_EPOCH_FAILURES
    keys = []
    for key in _keys(ring):
        attempt, born, suite, epoch, secret = key[:5]
        base = max(key.send_bound + constants.RESTORED_BOUND_STEP, start)
        keys.append(Key(attempt, born, suite, epoch, secret, base, base, base, key.window, None, failures))
    active = keys.pop(0) if ring.active is not None else None
    return Ring(ring.device_id, active, tuple(keys), ring.highest_epoch, constants.RESTORED_EPOCHS_AHEAD)


def _keys(ring: Ring) -> "list[Key]":
    """All keys, the active one first."""
    return ([] if ring.active is None else [ring.active]) + list(ring.pendings)


def _with_active(ring: Ring, key: Key) -> Ring:
    return Ring(ring.device_id, key, ring.pendings, ring.highest_epoch, ring.lookahead)


def _changed(
    key: Key, send_next: int, send_bound: int, window: "Window", previous: "Previous | None", failures: int
) -> Key:
    """The same key in the same epoch with other counters."""
    return Key(*key[:6], send_next, send_bound, window, previous, failures)


def _received(key: Key, steps: int, window: "Window", now: float) -> Key:
    """The key after a record of its own epoch (steps 0) or of the one before (steps -1)."""
    old = key.previous
    if steps < 0:
        old = Previous(old.epoch, old.key, old.civ, window, old.until)
        window = key.window
    elif old is not None and now >= old.until:
        old = None
    return _changed(key, key.send_next, key.send_bound, window, old, key.failures)


def _stepped(keys: "KeyCache", device_id: bytes, key: Key, epoch: int, window: "Window", now: float) -> Key:
    """The key in a later epoch. T_e goes; what stays of epoch e opens records and can seal none."""
    receiver = keys.get(device_id, key, key.epoch, constants.SENDER_DEVICE)
    until = now + constants.OLD_EPOCH_LIFETIME
    previous = Previous(key.epoch, receiver.key, receiver.civ, key.window, until)
    secret = keys.secret(key, epoch)
    base = key.send_base
    bound = base + constants.SEQUENCE_BLOCK
    return Key(key.attempt, key.born, key.suite, epoch, secret, base, base, bound, window, previous, 0)
