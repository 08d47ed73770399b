"""A device, its hub and a hostile network as a graph of states, around the real session code.

What is real: device_session, hub_session, records, replay, root_key. What stands in: the handshake is
two messages, message_3 and message_4, and Crypto is a hash. A start of an attempt includes message_1
and message_2: message_3 exists only when the device heard message_2 before it gave the attempt up, so
the order of `born` is the order of attempts. Losing one of the two is an attempt that says nothing.

Every message stays in the network for ever and may be delivered at any time, so loss, delay, reordering
and duplication need no action of their own. A power cut during a write leaves the old or the new value
(the keystore's and the database's duty), so it is one of two: before the step that writes, or after it
and before anything left. The device lets nothing leave in a step that writes; the hub publishes after
its commit, and a step of it has a twin that crashes in between.
"""

import hashlib
from collections import namedtuple
from collections.abc import Iterator

from joined import read_again

from handfast.core import constants, device_session, hub_session
from handfast.core.device_session import DeviceSession, Store
from handfast.core.errors import AuthenticationError, PeerError
from handfast.core.hub_session import Ring
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import decode_control, encode_control
from handfast.core.root_key import RootKeys
from handfast.core.topics import CONTROL, TELEMETRY

SUITE = -21
STEP = encode_control(constants.CONTROL_STEP)
DEVICE_ID = b"device-1"

# `have` and the key of an attempt are functions of these; r_h counts the hub's answers to one attempt.
Message3 = namedtuple("Message3", ("number", "born", "have"))
Message4 = namedtuple("Message4", ("number", "born", "epoch", "r_h"))
Up = namedtuple("Up", ("channel", "record"))
Down = namedtuple("Down", ("channel", "record"))

# trying: the Message3 that waits for its answer. opened: how often fin or hello went out since this epoch
# began or the device started.
Device = namedtuple("Device", ("session", "trying", "opened"))
# waiting: handshakes in memory. answers: the cached message_4 of each key. grants: attempts that got an r_H.
Hub = namedtuple("Hub", ("ring", "waiting", "born", "answers", "grants"))


class HashCrypto:
    """A Crypto port in which everything is one hash. The first half of a tag names (key, nonce)."""

    def kmac256(self, key: bytes, data: bytes, length: int, custom: bytes) -> bytes:
        return hashlib.shake_128(b"%d:%b%d:%b%b" % (len(key), key, len(data), data, custom)).digest(length)

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return plaintext + self._tag(key, nonce, aad, plaintext)

    def open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        plaintext = ciphertext[:-16]
        if self._tag(key, nonce, aad, plaintext) != ciphertext[-16:]:
            raise AuthenticationError
        return plaintext

    def _tag(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        used = hashlib.blake2b(key + nonce, digest_size=8).digest()
        return used + hashlib.blake2b(used + aad + plaintext, digest_size=8).digest()


CRYPTO = HashCrypto()
KEYS = KeyCache(CRYPTO, 64)


def attempt_of(number: int) -> bytes:
    return bytes([number]) * 16


def root_keys(number: int, r_h: int, epoch: int) -> RootKeys:
    """What both sides derive from an attempt and its answer; the first epoch goes into T only."""
    root_key = CRYPTO.kmac256(b"K_root", b"attempt %d, r_H %d" % (number, r_h), 64, b"")
    return RootKeys(root_key, CRYPTO.kmac256(root_key, b"T %d" % epoch, 64, b""))


def nonce_of(record: bytes) -> bytes:
    """What names (key, nonce) in a record of HashCrypto."""
    return record[-16:-8]


# The device


def new_device() -> Device:
    return Device(None, None, 0)


def held(device: Device) -> "bytes | None":
    """The attempt of the key that the device has stored."""
    return None if device.session is None else device.session.attempt


def copy_of(session: DeviceSession) -> DeviceSession:
    twin = object.__new__(DeviceSession)
    twin.__dict__.update(session.__dict__)
    twin._events, twin._frames = list(session._events), list(session._frames)
    return twin


def image(session: "DeviceSession | None") -> object:
    """What makes two sessions the same state: everything but the clock."""
    if session is None:
        return None
    kept = (session._piv, session._window, session._deaf, session._opener_at is None, tuple(session._frames))
    return session._encode(), kept


def settle(session: DeviceSession) -> None:
    """Save what must be saved. Nothing may leave before."""
    event = session.next_event()
    while event is not None:
        if isinstance(event, Store):
            assert session.frames_to_send(1e9) == [], "a frame left before the state was stored"
            session.stored(event.state)
        event = session.next_event()


def flush(session: DeviceSession, now: float) -> "list[Up]":
    """What the device sends at `now`, storing as often as it asks for it."""
    frames = []
    for _ in range(3):
        settle(session)
        frames += [Up(*frame) for frame in session.frames_to_send(now)]
    settle(session)
    return frames


def device_receives(device: Device, message: object) -> "Device | None":
    """The device after `message`, saved; None when it means nothing to it."""
    if isinstance(message, Message4):
        trying = device.trying
        if trying is None or (message.number, message.born) != (trying.number, trying.born):
            return None
        keys = root_keys(message.number, message.r_h, message.epoch)
        attempt = attempt_of(message.number)
        session = device_session.enrol(CRYPTO, SUITE, DEVICE_ID, attempt, message.epoch, keys, 0.0)
        settle(session)
        return Device(session, None, 0)
    if device.session is None:
        return None
    session = copy_of(device.session)
    try:
        session.receive(message.channel, message.record, 0.0)
    except PeerError:
        return None
    settle(session)
    return Device(session, device.trying, device.opened if session.epoch == device.session.epoch else 0)


def device_opens(device: Device) -> "tuple[Device, list[Up]]":
    """The timer: fin or hello once more."""
    session = copy_of(device.session)
    return Device(session, device.trying, device.opened + 1), flush(session, session.timer())


def device_sends(device: Device) -> "tuple[Device, list[Up]]":
    """The application sends something."""
    session = copy_of(device.session)
    session.send(TELEMETRY, b"21.5 C", -1.0)
    return Device(session, device.trying, device.opened), flush(session, -1.0)


def device_restarts(device: Device) -> Device:
    """A power cut: what was stored is left."""
    if device.session is None:
        return new_device()
    session = device_session.resume(CRYPTO, device.session._encode(), 0.0)
    settle(session)
    return Device(session, None, 0)


# The hub


def new_hub() -> Hub:
    return Hub(hub_session.empty(DEVICE_ID), frozenset(), 0, (), ())


def hub_restarts(hub: Hub) -> Hub:
    """Every change of a ring was committed; handshakes in memory and counters are gone."""
    return Hub(read_again(hub.ring, 0.0), frozenset(), hub.born, hub.answers, hub.grants)


def attempts_of(ring: Ring) -> "list[bytes]":
    return [key.attempt for key in ring.pendings] + ([] if ring.active is None else [ring.active.attempt])


def committed(hub: Hub, ring: Ring, **changed: object) -> Hub:
    """The hub after a commit; the cached message_4 goes with its key."""
    fields = {**hub._asdict(), **changed, "ring": ring}
    living = attempts_of(ring)
    fields["answers"] = tuple(m for m in fields["answers"] if attempt_of(m.number) in living)
    return Hub(**fields)


def hub_receives(hub: Hub, message: object, rules: "Rules") -> "tuple[Hub, list[object]] | None":
    """The hub after it committed, and what it then publishes; None when nothing happens."""
    if isinstance(message, Message3):
        return rules.message_3(hub, message)
    try:
        opened = hub_session.open_record(KEYS, hub.ring, message.channel, message.record, 0.0)
    except PeerError:
        return None
    hub = committed(hub, opened.ring)
    if message.channel != CONTROL:
        return hub, []
    kind = decode_control(opened.plaintext).kind
    assert kind in (constants.CONTROL_FIN, constants.CONTROL_HELLO)
    return hub_says(hub, encode_control(constants.CONTROL_ACK, opened.attempt))


def hub_says(hub: Hub, control: bytes) -> "tuple[Hub, list[object]]":
    sealed = hub_session.seal_record(KEYS, hub.ring, CONTROL, control)
    return committed(hub, sealed.ring), [Down(CONTROL, sealed.record)]


class Rules:
    """What the hub does with message_3, by the design; a test drops one rule by overriding it."""

    def message_3(self, hub: Hub, message: Message3) -> "tuple[Hub, list[object]] | None":
        for answer in hub.answers:
            if self.is_duplicate(answer, message):
                return hub, [answer]
        if (message.number, message.born) not in hub.waiting:
            return None
        waiting = hub.waiting - {(message.number, message.born)}
        if not hub_session.accepts_message_3(hub.ring, message.born):
            return hub._replace(waiting=waiting), []
        return self.grant(hub, message, waiting)

    def is_duplicate(self, answer: Message4, message: Message3) -> bool:
        """R5: the byte-identical message_4."""
        return (answer.number, answer.born) == (message.number, message.born)

    def grant(self, hub: Hub, message: Message3, waiting: "frozenset[object]") -> "tuple[Hub, list[object]]":
        epoch = hub_session.next_epoch(hub.ring)
        r_h = hub.grants.count(message.number) + 1
        attempt = attempt_of(message.number)
        secret = root_keys(message.number, r_h, epoch).traffic_secret
        key = hub_session.pending_key(attempt, message.born, SUITE, epoch, secret)
        ring = hub_session.add_pending(hub.ring, key, message.have)
        answer = Message4(message.number, message.born, epoch, r_h)
        answers = tuple(m for m in hub.answers if m.number != message.number) + (answer,)
        grants = tuple(sorted(hub.grants + (message.number,)))
        return committed(hub, ring, waiting=waiting, answers=answers, grants=grants), [answer]

    def cut(self, before: Hub, after: Hub, answers: list[object]) -> tuple[Hub, list[object]]:
        """Power goes between the commit and the publish."""
        return hub_restarts(after), []

    def timers(self, hub: Hub) -> "Iterator[Hub]":
        """R4: there are none."""
        return iter(())


# What must hold


def agree(device: Device, hub: Hub) -> bool:
    """Both sides share an ACTIVE key, and both know."""
    session, key = device.session, hub.ring.active
    return (
        session is not None
        and key is not None
        and session.confirmed
        and (session.attempt, session.epoch) == (key.attempt, key.epoch)
    )


def violated(device: Device, hub: Hub) -> "str | None":
    """The first invariant that does not hold, in words."""
    ring, session = hub.ring, device.session
    if len(ring.pendings) > 2:
        return "more than two pendings"
    if any(hub.grants.count(number) > 1 for number in hub.grants):
        return "a second r_H for one attempt"
    if session is None:
        return None
    active = ring.active
    if session.state == device_session.ACTIVE and (active is None or active.attempt != session.attempt):
        return "two different keys are active"
    for key in ring.pendings + (() if active is None else (active,)):
        if key.attempt == session.attempt:
            ahead = session.epoch - key.epoch
            if not 0 <= ahead <= (key is active):
                return "the epochs are too far apart"
            if KEYS.secret(key, session.epoch) != session._epoch.secret:
                return "one attempt, two root keys"
            return None
    return "the device holds a key that the hub has deleted"


def recovers(device: Device, hub: Hub, rules: Rules) -> bool:
    """Whether both agree after everything under way was lost, when nothing is lost any more.

    With a key the device needs no new attempt. Without one it goes on with its attempt, and then
    begins another.
    """
    for _ in range(2):
        if device.session is None and device.trying is None:
            born = hub.born + 1
            number = 100 + born
            message = Message3(number, born, None)
            device = Device(None, message, 0)
            hub = hub._replace(born=born, waiting=hub.waiting | {(number, born)})
        if device.session is None:
            result = hub_receives(hub, device.trying, rules)
            if result is None or not result[1]:
                device = new_device()
                continue
            hub = result[0]
            device = device_receives(device, result[1][0]) or new_device()
    for _ in range(4):
        if agree(device, hub):
            return True
        if device.session is None or device.session.timer() is None:
            return False
        device, frames = device_opens(device)
        for frame in frames:
            result = hub_receives(hub, frame, rules)
            if result is not None:
                hub = result[0]
                for answer in result[1]:
                    device = device_receives(device, answer) or device
    return False
