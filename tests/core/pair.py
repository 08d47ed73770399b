"""Two handshake machines joined back to back, and the shells that answer them.

The fixture of most handshake tests: no socket, no clock, no sleep. `Device` and `Hub` here do what
the real shells do with a machine's events, and nothing else.
"""

from handfast.core import ead, events
from handfast.core.codes import Token
from handfast.core.credentials import Identity, make_ccs
from handfast.core.initiator import Initiator
from handfast.core.responder import Responder
from handfast.core.suites import DEFAULT_SUITES, SIGNATURES, suite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.ports import Crypto

HUB_SEED = bytes([0x48]) * 32
DEVICE_SEED = bytes([0x44]) * 32
TOKEN = Token(b"token-id", bytes([0x54]) * 32, False)
DEVICE_ID = b"device-1"
EPOCH = 7


def counting_random(crypto: "Crypto", label: bytes) -> "Callable[[int], bytes]":
    """Random bytes that are a function of `label` and of how often it was called."""
    count = [0]

    def random(length: int) -> bytes:
        count[0] += 1
        return crypto.kmac256(label, count[0].to_bytes(4, "big"), length, b"test randomness")

    return random


def identity(crypto: "Crypto", algorithm: int, seed: bytes, subject: str) -> Identity:
    """The identity of `seed`, with its credential."""
    return Identity(seed, make_ccs(crypto, subject, algorithm, crypto.signature_public_key(algorithm, seed)))


class Pair:
    """An Initiator and a Responder, and what came out of them.

    `token` is the device's, `known` the hub's under the same id. The answer of the hub is a grant,
    or the STATUS code in `deny`.
    """

    def __init__(
        self,
        crypto: "Crypto",
        number: int = -21,
        suites: "tuple[int, ...]" = DEFAULT_SUITES,
        hub_suites: "tuple[int, ...] | None" = None,
        token: "Token | None" = None,
        known: "Token | None" = None,
        deny: int = 0,
        by_kid: bool = False,
        hub_known: bool = False,
        devinfo: "bytes | None" = None,
        held: "bytes | None" = None,
        name: bytes = b"pair",
    ) -> None:
        algorithm = suite(number).signature
        assert algorithm in SIGNATURES
        self.crypto = crypto
        self.hub = identity(crypto, algorithm, HUB_SEED, "hub.example")
        self.device = identity(crypto, algorithm, DEVICE_SEED, "device.example")
        self.token = token
        self.known = token if known is None else known
        self.deny = deny
        self.initiator = Initiator(
            crypto,
            counting_random(crypto, name + b" device"),
            self.device,
            self.hub.credential.thumbprint,
            self.hub.credential if hub_known else None,
            suites,
            number,
            token,
            devinfo,
            held,
            by_kid,
        )
        self.responder = Responder(
            crypto,
            counting_random(crypto, name + b" hub"),
            self.hub,
            suites if hub_suites is None else hub_suites,
        )
        self.device_events: "list[object]" = []
        self.hub_events: "list[object]" = []
        self.frames: "list[bytes]" = []

    def device_shell(self, now: float = 0.0) -> None:
        """Answer the device's events."""
        event = self.initiator.next_event()
        while event is not None:
            self.device_events.append(event)
            if isinstance(event, events.CredentialPresented):
                self.initiator.accept(event.credential or self.hub.credential, now)
            event = self.initiator.next_event()

    def hub_shell(self, now: float = 0.0) -> None:
        """Answer the hub's events."""
        event = self.responder.next_event()
        while event is not None:
            self.hub_events.append(event)
            self.hub_answer(event, now)
            event = self.responder.next_event()

    def hub_answer(self, event: object, now: float) -> None:
        """What a hub does about one event."""
        if isinstance(event, events.GatePresented):
            key = ead.gate_key(
                self.crypto, self.hub.credential.thumbprint, self.known if event.kind else None
            )
            self.responder.pass_gate(key)
            self.responder.answer(now)
        elif isinstance(event, events.CredentialPresented):
            token = self.known if event.token_id is not None else None
            self.responder.accept(event.credential or self.device.credential, token)
        elif isinstance(event, events.Authenticated):
            if self.deny or (event.token_id is not None and not event.token_valid):
                self.responder.deny(self.deny or 2, 60)
            else:
                self.responder.grant(DEVICE_ID, EPOCH)

    def step(self, now: float = 0.0) -> int:
        """Carry what both have to say, once in each direction; gives the number of frames."""
        count = 0
        for frame in self.initiator.frames_to_send(now):
            self.frames.append(frame)
            self.responder.receive(frame, now)
            self.hub_shell(now)
            count += 1
        for frame in self.responder.frames_to_send(now):
            self.frames.append(frame)
            self.initiator.receive(frame, now)
            self.device_shell(now)
            count += 1
        return count

    def run(self, now: float = 0.0) -> "tuple[object, object]":
        """Start, and carry frames until nobody has anything to say; the last event of each side."""
        self.initiator.start(now)
        while self.step(now):
            pass
        return self.device_events[-1], self.hub_events[-1]
