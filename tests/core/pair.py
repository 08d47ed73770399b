"""Two handshake machines joined back to back, and the shells that answer them.

The fixture of most handshake tests: no socket, no clock, no sleep. `run` lets both talk until nobody
has anything to say; `steps` is the same handshake as ten single calls, to stop or to fail in between.
"""

from handfast.core import ead, events, states
from handfast.core.credentials import Identity, make_ccs
from handfast.core.initiator import Initiator
from handfast.core.responder import Responder
from handfast.core.suites import DEFAULT_SUITES, suite
from handfast.core.token import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import Crypto

HUB_SEED = bytes([0x48]) * 32
DEVICE_SEED = bytes([0x44]) * 32
TOKEN = Token(b"token-id", bytes([0x54]) * 32, False)
SHARED_TOKEN = Token(b"token-id", bytes([0x54]) * 32, True)
DEVICE_ID = b"device-1"
EPOCH = 7

# The handshake as single calls, each with the machine that it is made on.
STEPS = (
    ("initiator", "start"),
    ("responder", "message_1"),
    ("responder", "pass_gate"),
    ("responder", "answer"),
    ("initiator", "message_2"),
    ("initiator", "accept"),
    ("responder", "message_3"),
    ("responder", "accept"),
    ("responder", "decide"),
    ("initiator", "message_4"),
)


class CountingRandom:
    """Random bytes that are a function of `label` and of how often it was called."""

    def __init__(self, crypto: "Crypto", label: bytes) -> None:
        self.count = 0
        self._crypto = crypto
        self._label = label

    def __call__(self, length: int) -> bytes:
        self.count += 1
        return self._crypto.kmac256(self._label, self.count.to_bytes(4, "big"), length, b"test randomness")


def counting_random(crypto: "Crypto", label: bytes) -> CountingRandom:
    """Random bytes for one side of a test."""
    return CountingRandom(crypto, label)


def identity(crypto: "Crypto", algorithm: int, seed: bytes, subject: str) -> Identity:
    """The identity of `seed`, with its credential."""
    return Identity(seed, make_ccs(crypto, subject, algorithm, crypto.signature_public_key(algorithm, seed)))


class Pair:
    """An Initiator and a Responder, and what came out of them.

    `token` is the device's, `known` the hub's under the same id. The answer of the hub is a grant,
    or the STATUS code in `deny`. `initiator` and `responder` may be other classes than the product's,
    for a peer that does not keep the rules.
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
        initiator: "type[Initiator]" = Initiator,
        responder: "type[Responder]" = Responder,
    ) -> None:
        algorithm = suite(number).signature
        self.crypto = crypto
        self.hub = identity(crypto, algorithm, HUB_SEED, "hub.example")
        self.device = identity(crypto, algorithm, DEVICE_SEED, "device.example")
        self.token = token
        self.known = token if known is None else known
        self.deny = deny
        self.device_random = CountingRandom(crypto, name + b" device")
        self.hub_random = CountingRandom(crypto, name + b" hub")
        self.initiator = initiator(
            crypto,
            self.device_random,
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
        self.responder = responder(
            crypto, self.hub_random, self.hub, suites if hub_suites is None else hub_suites
        )
        self.device_events: "list[object]" = []
        self.hub_events: "list[object]" = []
        # Every payload that was carried, message_1 first when nothing was lost or resent.
        self.frames: "list[bytes]" = []
        self._called = 0

    # What the shells do -----------------------------------------------------------------------

    def device_shell(self, now: float = 0.0) -> None:
        """Answer the device's events."""
        event = self.initiator.next_event()
        while event is not None:
            self.device_events.append(event)
            if isinstance(event, events.CredentialPresented):
                self.initiator.accept(self.hub_seen(event), now)
            event = self.initiator.next_event()

    def hub_shell(self, now: float = 0.0) -> None:
        """Answer the hub's events."""
        event = self.responder.next_event()
        while event is not None:
            self.hub_events.append(event)
            if isinstance(event, events.GatePresented):
                self.responder.pass_gate(self.gate_key(event))
                self.responder.answer(now)
            elif isinstance(event, events.CredentialPresented):
                self.responder.accept(*self.looked_up(event))
            elif isinstance(event, events.Authenticated):
                self.decide(event)
            event = self.responder.next_event()

    def hub_seen(self, event: "events.CredentialPresented") -> object:
        """The credential that the device accepts: what came, or what it knows by kid."""
        return event.credential or self.hub.credential

    def gate_key(self, event: "events.GatePresented") -> bytes:
        """K_gate, as the hub looks it up."""
        token = self.known if event.kind else None
        return ead.gate_key(self.crypto, self.hub.credential.thumbprint, token)

    def looked_up(self, event: "events.CredentialPresented") -> "tuple[object, Token | None]":
        """The credential and the token that the hub finds for what was presented."""
        token = self.known if event.token_id is not None else None
        return event.credential or self.device.credential, token

    def decide(self, event: "events.Authenticated") -> None:
        """A wrong token is refused, whatever else is said."""
        if self.deny or (event.token_id is not None and not event.token_valid):
            self.responder.deny(self.deny or 2, 60)
        else:
            self.responder.grant(DEVICE_ID, EPOCH)

    # All at once ------------------------------------------------------------------------------

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

    # Call by call -----------------------------------------------------------------------------

    def call(self, who: str, what: str, now: float = 0.0) -> None:
        """One of STEPS. When it raises, it can be called again."""
        if what == "start":
            self.initiator.start(now)
        elif what in ("message_1", "message_3"):
            self.responder.receive(self.frames[-1], now)
        elif what in ("message_2", "message_4"):
            self.initiator.receive(self.frames[-1], now)
        elif what == "pass_gate":
            self.responder.pass_gate(self.gate_key(self.hub_events[-1]))
        elif what == "answer":
            self.responder.answer(now)
        elif what == "decide":
            self.decide(self.hub_events[-1])
        elif who == "initiator":
            self.initiator.accept(self.hub_seen(self.device_events[-1]), now)
        else:
            self.responder.accept(*self.looked_up(self.hub_events[-1]))
        self._collect(now)

    @property
    def due(self) -> "tuple[str, str]":
        """The call of STEPS that `once` makes."""
        return STEPS[self._called]

    def once(self, now: float = 0.0) -> None:
        """The next call of STEPS."""
        self.call(*self.due, now)
        self._called += 1

    def advance(self, who: str, state: str) -> object:
        """Make the calls of STEPS until that machine is in `state`; gives the machine."""
        machine = getattr(self, who)
        while machine.state != state:
            self.once()
        return machine

    def _collect(self, now: float) -> None:
        for machine, seen in ((self.initiator, self.device_events), (self.responder, self.hub_events)):
            self.frames.extend(machine.frames_to_send(now))
            event = machine.next_event()
            while event is not None:
                seen.append(event)
                event = machine.next_event()


def machine_in(crypto: "Crypto", who: str, state: str) -> "tuple[Pair, object]":
    """A pair whose machine `who` has been brought into `state`, and that machine."""
    pair = Pair(crypto, deny=2 if state == states.REFUSED else 0)
    if state == states.FAILED:
        machine = pair.advance(who, states.WAIT_MESSAGE_2 if who == "initiator" else states.WAIT_MESSAGE_3)
        machine.handle_timer(1e6)
        machine.next_event()
        return pair, machine
    return pair, pair.advance(who, state)
