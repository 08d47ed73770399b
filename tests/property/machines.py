"""The real machines of a device and a hub, with as much of a shell as a power cut needs.

`Device` and `Hub` each have what is on disk and what is in memory; `cut` leaves the former. Each step of
them gives the payloads that leave, as (channel, bytes) with channel None during onboarding. A step can
break: a save that fails ends the device as a power cut does, and `cut_before_publish` cuts the hub's power
after its next commit. All random bytes are counted, so one run is a function of its rules.
"""

import hashlib
from typing import Any

from joined import read_again
from pair import CountingRandom, identity

from handfast.core import constants, device_session, ead, events, hub_session, messages, root_key
from handfast.core.device_session import DeviceSession
from handfast.core.errors import PeerError
from handfast.core.hub_session import Ring
from handfast.core.initiator import Initiator
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import decode_control, encode_control
from handfast.core.responder import Responder
from handfast.core.suites import ML_DSA_65
from handfast.core.token import Token
from handfast.core.topics import CONTROL
from handfast_cpython.crypto import Crypto

Payload = tuple[int | None, bytes]

SUITES = (-22,)
DEVICE_ID = b"device-1"
TOKEN = Token(b"token-id", b"k" * 32, False)


class WatchedCrypto(Crypto):
    """Remembers which key and nonce made each ciphertext."""

    def __init__(self) -> None:
        super().__init__()
        self.sealed: dict[bytes, tuple[bytes, bytes]] = {}

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        ciphertext = super().seal(algorithm, key, nonce, aad, plaintext)
        self.sealed[ciphertext] = (key, nonce)
        return ciphertext


class Device:
    """One device and its keystore."""

    def __init__(self, crypto: WatchedCrypto, hub_credential: Any) -> None:
        self.identity = identity(crypto, ML_DSA_65, bytes([0x44]) * 32, "device.example")
        self.disk: bytes | None = None
        self.initiator: Initiator | None = None
        self.session: DeviceSession | None = None
        self.saves_that_work = 1 << 30
        self.delivered: list[bytes] = []
        self._crypto = crypto
        self._hub = hub_credential
        self._random = CountingRandom(crypto, b"device")

    def start(self, now: float) -> list[Payload]:
        """Begin an attempt, giving up the one before."""
        held = None if self.session is None else self.session.attempt
        self.initiator = Initiator(
            self._crypto,
            self._random,
            self.identity,
            self._hub.thumbprint,
            self._hub,
            SUITES,
            SUITES[0],
            TOKEN,
            None,
            held,
        )
        self.initiator.start(now)
        return self.step(now)

    def receive(self, payload: Payload, now: float) -> list[Payload]:
        """What a payload makes it send."""
        channel, data = payload
        try:
            if channel is None:
                if self.initiator is not None:
                    self.initiator.receive(data, now)
            elif self.session is not None:
                self.session.receive(channel, data, now)
        except PeerError:
            pass
        return self.step(now)

    def step(self, now: float) -> list[Payload]:
        """Timers, events, and what leaves."""
        out: list[Payload] = []
        if self.initiator is not None:
            self.initiator.handle_timer(now)
            self._answer_initiator(now)
        if self.initiator is not None:
            out += [(None, frame) for frame in self.initiator.frames_to_send(now)]
        for _ in range(3):
            if self.session is not None:
                self.session.handle_timer(now)
                if not self._save():
                    self.cut(now)
                    return []
                assert self.session is not None
                out += self.session.frames_to_send(now)
        return out

    def cut(self, now: float) -> None:
        """Power goes and comes back."""
        self.saves_that_work = 1 << 30
        self.initiator = None
        self.session = None
        if self.disk is not None:
            self.session = device_session.resume(self._crypto, self.disk, now)

    def _answer_initiator(self, now: float) -> None:
        initiator = self.initiator
        assert initiator is not None
        event: Any = initiator.next_event()
        while event is not None:
            if isinstance(event, events.CredentialPresented):
                initiator.accept(event.credential or self._hub, now)
            elif isinstance(event, events.Established):
                self.session = device_session.enrol(
                    self._crypto, event.suite, event.device_id, event.attempt, event.epoch, event.keys, now
                )
                self.initiator = None
            elif isinstance(event, (events.Failed, events.Refused)):
                self.initiator = None
            event = initiator.next_event()

    def _save(self) -> bool:
        """Store what must be stored; False when the keystore broke."""
        session = self.session
        assert session is not None
        event: Any = session.next_event()
        while event is not None:
            if isinstance(event, device_session.Store):
                if self.saves_that_work <= 0:
                    return False
                self.saves_that_work -= 1
                self.disk = event.state
                session.stored(event.state)
            elif isinstance(event, device_session.Data):
                self.delivered.append(event.plaintext)
            event = session.next_event()
        return True


class Hub:
    """One hub and its database."""

    def __init__(self, crypto: WatchedCrypto) -> None:
        self.identity = identity(crypto, ML_DSA_65, bytes([0x48]) * 32, "hub.example")
        self.born = 0
        self.root_keys: dict[bytes, bytes] = {}
        self.grants: list[bytes] = []
        self.delivered: list[bytes] = []
        self.cut_before_publish = False
        # On disk: the keys of the ring, and message_4 of each by (C_R, hash of message_3).
        self._disk = hub_session.empty(DEVICE_ID)
        self._answers: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}
        self._crypto = crypto
        self._random = CountingRandom(crypto, b"hub")
        self.cut(0.0)

    def cut(self, now: float) -> None:
        """Power goes and comes back."""
        self.cut_before_publish = False
        self.keys = KeyCache(self._crypto, 4)
        self._responders: dict[bytes, tuple[Responder, int]] = {}
        self._seen: dict[bytes, bytes] = {}
        self.ring = read_again(self._disk, now)

    def attempts(self) -> list[bytes]:
        """The attempts of all keys on disk."""
        keys = (self._disk.active, *self._disk.pendings)
        return [key.attempt for key in keys if key is not None]

    def receive(self, payload: Payload, now: float) -> list[Payload]:
        """What a payload makes it send, after its commit."""
        try:
            out = self._record(payload, now) if payload[0] is not None else self._onboarding(payload[1], now)
        except PeerError:
            return []
        if out and self.cut_before_publish:
            self.cut(now)
            return []
        return out

    def say(self, channel: int, plaintext: bytes) -> list[Payload]:
        """Seal for the device; its bound is committed before."""
        sealed = hub_session.seal_record(self.keys, self.ring, channel, plaintext)
        if sealed.reserved:
            self._commit(sealed.ring)
        self.ring = sealed.ring
        return [(channel, sealed.record)]

    def _record(self, payload: Payload, now: float) -> list[Payload]:
        channel, record = payload
        assert channel is not None
        opened = hub_session.open_record(self.keys, self.ring, channel, record, now)
        self._commit(opened.ring)
        if channel != CONTROL:
            self.delivered.append(opened.plaintext)
            return []
        decode_control(opened.plaintext)
        return self.say(CONTROL, encode_control(constants.CONTROL_ACK, opened.attempt))

    def _onboarding(self, payload: bytes, now: float) -> list[Payload]:
        frame = messages.decode_frame(payload)
        digest = hashlib.sha256(payload).digest()
        if frame.c_x is None:
            return self._message_1(payload, digest, now)
        known = self._answers.get((frame.c_x, digest))
        if known is not None:
            return [(None, known[0])]
        if frame.c_x not in self._responders:
            return []
        responder, born = self._responders[frame.c_x]
        responder.receive(payload, now)
        return self._message_3(responder, born, frame.c_x, digest, now)

    def _message_1(self, payload: bytes, digest: bytes, now: float) -> list[Payload]:
        if digest not in self._seen:
            responder = Responder(self._crypto, self._random, self.identity, SUITES)
            responder.receive(payload, now)
            responder.next_event()
            responder.pass_gate(ead.gate_key(self._crypto, self.identity.credential.thumbprint, TOKEN))
            responder.answer(now)
            self.born += 1
            self._responders[responder.c_r] = (responder, self.born)
            self._seen[digest] = responder.frames_to_send(now)[0]
        return [(None, self._seen[digest])]

    def _message_3(
        self, responder: Responder, born: int, c_r: bytes, digest: bytes, now: float
    ) -> list[Payload]:
        presented: Any = responder.next_event()
        responder.accept(presented.credential, TOKEN)
        who: Any = responder.next_event()
        del self._responders[c_r]
        if not isinstance(who, events.Authenticated) or not hub_session.accepts_message_3(self.ring, born):
            return []
        responder.grant(DEVICE_ID, hub_session.next_epoch(self.ring))
        result: Any = responder.next_event()
        self.grants.append(result.attempt)
        secret = result.keys.traffic_secret
        key = hub_session.pending_key(result.attempt, born, result.suite, result.epoch, secret)
        ring = hub_session.add_pending(self.ring, key, who.have)
        (message_4,) = responder.frames_to_send(now)
        self.root_keys[result.attempt] = result.keys.root_key
        self._answers[c_r, digest] = (message_4, result.attempt)
        self._commit(ring)
        return [(None, message_4)]

    def _commit(self, ring: Ring) -> None:
        self.ring = self._disk = ring
        kept = self.attempts()
        self._answers = {name: item for name, item in self._answers.items() if item[1] in kept}


def agree(device: Device, hub: Hub) -> bool:
    """Both hold the same key, both have heard the other under it, and K_dev is the same."""
    session, key = device.session, hub.ring.active
    if session is None or key is None or not session.confirmed or session.attempt != key.attempt:
        return False
    expected = root_key.device_key(device._crypto, -45, hub.root_keys[key.attempt])
    return session.epoch == key.epoch and session.device_key() == expected
