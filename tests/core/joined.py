"""A device's session and a hub's ring joined back to back, with the storage of both.

`Device` and `Hub` do what the shells do: save a state before anything that depends on it leaves,
commit a ring before its records are published. `restart` is a power cut: what was stored is all that
is left.
"""

from handfast.core import constants, device_session, hub_session
from handfast.core.hub_session import Key, Previous, Ring
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import decode_control, encode_control
from handfast.core.root_key import RootKeys
from handfast.core.topics import CONTROL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.hub_session import Opened
    from handfast.ports import Crypto

DEVICE_ID = b"device-1"
SUITE = -21


def attempt(number: int) -> bytes:
    return bytes([number]) * 16


def root_keys(number: int) -> RootKeys:
    """What the handshake of attempt `number` gave to both sides."""
    return RootKeys(b"K" + bytes([number]) * 63, b"T" + bytes([number]) * 63)


def read_again(ring: Ring, now: float) -> Ring:
    """A committed ring as it comes out of storage: each key goes on from its bound."""

    def key_again(key: Key) -> Key:
        old = key.previous
        if old is not None:
            old = Previous(old.epoch, old.key, old.civ, old.window, now + constants.OLD_EPOCH_LIFETIME)
        bound = key.send_bound
        return Key(*key[:6], bound, bound, key.window, old, key.failures)

    active = None if ring.active is None else key_again(ring.active)
    pendings = tuple([key_again(key) for key in ring.pendings])
    return Ring(ring.device_id, active, pendings, ring.highest_epoch, ring.lookahead)


class Device:
    """One device: `disk` is its keystore, `events` what its application saw."""

    def __init__(self, crypto: "Crypto", number: int = 1, epoch: int = 0, now: float = 0.0) -> None:
        self.crypto = crypto
        self.disk: "bytes | None" = None
        self.saves = 0
        self.events: "list[object]" = []
        keys = root_keys(number)
        self.session = device_session.enrol(crypto, SUITE, DEVICE_ID, attempt(number), epoch, keys, now)
        self.pump()

    def pump(self) -> None:
        """Answer every event."""
        event = self.session.next_event()
        while event is not None:
            if isinstance(event, device_session.Store):
                self.disk = event.state
                self.saves += 1
                self.session.stored(event.state)
            else:
                self.events.append(event)
            event = self.session.next_event()

    def frames(self, now: float = 0.0) -> "list[tuple[int, bytes]]":
        """What the device sends now."""
        self.pump()
        frames = self.session.frames_to_send(now)
        while not frames and isinstance(self.session.next_event(), device_session.Store):
            self.pump()
            frames = self.session.frames_to_send(now)
        return frames

    def receive(self, channel: int, record: bytes, now: float = 0.0) -> None:
        self.session.receive(channel, record, now)
        self.pump()

    def restart(self, now: float = 0.0) -> None:
        assert self.disk is not None
        self.session = device_session.resume(self.crypto, self.disk, now)
        self.pump()

    def seen(self, kind: type) -> "list[object]":
        """The events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]


class Hub:
    """The hub's half: `disk` holds what was committed, `delivered` what the application got."""

    def __init__(self, crypto: "Crypto") -> None:
        self.crypto = crypto
        self.keys = KeyCache(crypto, 16)
        self.ring = hub_session.empty(DEVICE_ID)
        self.delivered: "list[tuple[int, bytes]]" = []
        self.disk = self.ring

    def grant(self, number: int, born: int, have: "bytes | None" = None) -> int:
        """The pending transaction of attempt `number`; gives the epoch."""
        epoch = hub_session.next_epoch(self.ring)
        key = hub_session.pending_key(attempt(number), born, SUITE, epoch, root_keys(number).traffic_secret)
        self.commit(hub_session.add_pending(self.ring, key, have))
        return epoch

    def commit(self, ring: Ring) -> None:
        self.ring = self.disk = ring

    def restart(self, now: float = 0.0) -> None:
        self.keys = KeyCache(self.crypto, 16)
        self.ring = read_again(self.disk, now)

    def receive(self, channel: int, record: bytes, now: float = 0.0) -> "Opened":
        """Open, commit with what was delivered, answer fin and hello into `outbox`."""
        opened = hub_session.open_record(self.keys, self.ring, channel, record, now)
        self.commit(opened.ring)
        self.delivered.append((channel, opened.plaintext))
        return opened

    def answer(self, opened: "Opened") -> "tuple[int, bytes]":
        """The answer to fin and hello."""
        assert decode_control(opened.plaintext).kind in (constants.CONTROL_FIN, constants.CONTROL_HELLO)
        return CONTROL, self.seal(CONTROL, encode_control(constants.CONTROL_ACK, opened.attempt))

    def seal(self, channel: int, plaintext: bytes) -> bytes:
        sealed = hub_session.seal_record(self.keys, self.ring, channel, plaintext)
        if sealed.reserved:
            self.commit(sealed.ring)
        self.ring = sealed.ring
        return sealed.record


def enrolled(crypto: "Crypto") -> "tuple[Device, Hub]":
    """A device that has stored its key, and the hub with its pending."""
    hub = Hub(crypto)
    epoch = hub.grant(1, 1)
    return Device(crypto, 1, epoch), hub


def meet(device: Device, hub: Hub, now: float = 0.0) -> None:
    """Carry everything the device has to say, and the answers to fin and hello."""
    for channel, record in device.frames(now):
        opened = hub.receive(channel, record, now)
        if channel == CONTROL:
            device.receive(*hub.answer(opened), now)


def active(crypto: "Crypto") -> "tuple[Device, Hub]":
    """A device and a hub that have heard each other."""
    device, hub = enrolled(crypto)
    meet(device, hub)
    return device, hub
