"""A hub of one file around Responder and hub_session; its registry is a few dicts.

It does what a hub has to do (docs/protocol.md 2.7 to 2.9) and nothing else: one decision after the
other, no SQL, no workers, no limits. What it draws depends only on the message_1 that it answers, so
a handshake is the same whatever else goes on, and can be replayed on another interpreter.
"""

from joined import read_again

from handfast.core import constants, ead, events, hub_session, messages, states
from handfast.core.codes import encode_hub_code
from handfast.core.credentials import Identity, kid_in, make_ccs
from handfast.core.errors import PeerError
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import decode_control, decode_response, encode_control, encode_request
from handfast.core.responder import Responder
from handfast.core.root_key import device_key
from handfast.core.suites import DEFAULT_SUITES, SHA_256, suite
from handfast.core.topics import COMMAND, CONTROL, DEVICE_ID_LENGTH, RESPONSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.credentials import Credential
    from handfast.core.hub_session import Ring
    from handfast.core.token import Token
    from handfast.ports import Crypto

HUB_SEED = bytes([0x68]) * 32
RETRY_AFTER = 30


class Known:
    """A device in the registry: `state` is new, waiting, admitted, refused or revoked."""

    def __init__(self, credential: "Credential", device_id: bytes) -> None:
        self.credential = credential
        self.state = "new"
        self.ring = hub_session.empty(device_id)
        self.keys: "dict[bytes, tuple[int, bytes]]" = {}
        self.notices: "list[tuple[int, bytes]]" = []
        self.devinfo: "bytes | None" = None


class SmallHub:
    """`approval`: unknown devices wait for an operator; otherwise they are refused without a token."""

    def __init__(
        self,
        crypto: "Crypto",
        suites: "tuple[int, ...]" = DEFAULT_SUITES,
        approval: bool = False,
        tokens: "tuple[Token, ...]" = (),
    ) -> None:
        self.approval = approval
        self.tokens = {token.token_id: token for token in tokens}
        # token_id: the thumbprint that it is bound to; consumed once that one was promoted.
        self.bound: "dict[bytes, bytes]" = {}
        self.consumed: "list[bytes]" = []
        self.admitted: "list[bytes]" = []
        self.devices: "dict[bytes, Known]" = {}
        self.readings: "list[tuple[bytes, int, bytes]]" = []
        self.responses: "list[object]" = []
        # Which handshake gave what: attempt, suite, K_root, whether a token was mixed in.
        self.granted: "list[events.Established]" = []
        self.opened_gates = 0
        self._crypto = crypto
        self._suites = suites
        algorithm = suite(suites[0]).signature
        public_key = crypto.signature_public_key(algorithm, HUB_SEED)
        self.identity = Identity(HUB_SEED, make_ccs(crypto, "hub.example", algorithm, public_key))
        self._born = 0
        self._cache = KeyCache(crypto)
        self._forget_sessions()

    @property
    def hub_id(self) -> bytes:
        return self.identity.credential.thumbprint

    @property
    def code(self) -> str:
        return encode_hub_code(self._crypto, self.hub_id)

    def restart(self, now: float) -> None:
        """The process dies; what was committed stays."""
        self._cache = KeyCache(self._crypto)
        self._forget_sessions()
        for known in self.devices.values():
            known.ring = read_again(known.ring, now)

    def empty_ring(self, device_id: bytes) -> "Ring":
        """What a registry has of a device without a key."""
        return hub_session.empty(device_id)

    def forget(self, thumbprint: bytes) -> None:
        """The registry loses a device, as one that was restored from an old copy does."""
        del self.devices[thumbprint]

    def _forget_sessions(self) -> None:
        self._sessions: "dict[bytes, tuple[Responder, bytes, int, bytes]]" = {}
        self._seen: "dict[bytes, bytes]" = {}
        self._answers: "dict[bytes, tuple[bytes, bytes]]" = {}

    # Handshakes -------------------------------------------------------------------------------

    def receive(self, chan: object, payload: bytes, now: float) -> "list[bytes]":
        """One payload of a joining device on `chan`; what to answer there."""
        try:
            frame = messages.decode_frame(payload)
            if frame.message is None:
                return []
            if frame.c_x is None:
                return self._message_1(chan, payload, now)
            return self._message_3(chan, frame, payload, now)
        except PeerError:
            return []

    def _message_1(self, chan: object, payload: bytes, now: float) -> "list[bytes]":
        label = b"small hub " + self._crypto.hash(SHA_256, payload)
        machine = Responder(self._crypto, _Random(self._crypto, label), self.identity, self._suites)
        machine.receive(payload, now)
        gate = machine.next_event()
        if gate.digest in self._seen:
            session = self._sessions.get(self._seen[gate.digest])
            return [session[3]] if session is not None and session[1] == chan else []
        token = self.tokens.get(gate.token_id) if gate.kind else None
        if gate.kind and token is None:
            return []
        try:
            machine.pass_gate(ead.gate_key(self._crypto, self.hub_id, token))
            self.opened_gates += 1
            machine.answer(now)
        except PeerError:
            return machine.frames_to_send(now)
        frames = machine.frames_to_send(now)
        self._born += 1
        self._seen[gate.digest] = machine.c_r
        self._sessions[machine.c_r] = (machine, chan, self._born, frames[0])
        return frames

    def _message_3(self, chan: object, frame: "messages.Frame", payload: bytes, now: float) -> "list[bytes]":
        answer = self._answers.get(frame.c_x)
        if answer is not None:
            return [answer[1]] if answer[0] == self._crypto.hash(SHA_256, frame.message) else []
        session = self._sessions.get(frame.c_x)
        if session is None or session[1] != chan:
            return []
        machine, _, born, _ = session
        machine.receive(payload, now)
        presented = machine.next_event()
        if not isinstance(presented, events.CredentialPresented):
            return []
        credential = presented.credential or self._by_kid(kid_in(presented.id_cred))
        if credential is None:
            machine.refuse("nobody here has this credential")
        else:
            machine.accept(credential, self.tokens.get(presented.token_id))
            claim = machine.next_event()
            if isinstance(claim, events.Authenticated) and not self._decide(machine, claim, born):
                return []
        frames = machine.frames_to_send(now)
        if machine.state in (states.ESTABLISHED, states.REFUSED):
            self._answers[machine.c_r] = (claim.digest, frames[0])
        return frames

    def _by_kid(self, kid: "bytes | None") -> "Credential | None":
        found = [known.credential for known in self.devices.values() if known.credential.kid == kid]
        return found[0] if found else None

    def _decide(self, machine: Responder, claim: "events.Authenticated", born: int) -> bool:
        """Grant or deny; False: silence (R1)."""
        thumbprint = claim.credential.thumbprint
        known = self.devices.get(thumbprint)
        if known is None:
            device_id = self._crypto.hash(SHA_256, b"device id" + thumbprint)[:DEVICE_ID_LENGTH]
            known = self.devices[thumbprint] = Known(claim.credential, device_id)
        known.devinfo = claim.devinfo
        code = self._verdict(known, claim)
        if code:
            machine.deny(code, RETRY_AFTER)
            return True
        if not hub_session.accepts_message_3(known.ring, born):
            return False
        epoch = hub_session.next_epoch(known.ring)
        machine.grant(known.ring.device_id, epoch)
        given = machine.next_event()
        key = hub_session.pending_key(claim.attempt, born, given.suite, epoch, given.keys.traffic_secret)
        known.ring = hub_session.add_pending(known.ring, key, claim.have)
        known.keys[claim.attempt] = (given.suite, given.keys.root_key)
        known.state = "admitted"
        if claim.token_id is not None and not self.tokens[claim.token_id].shared:
            self.bound[claim.token_id] = thumbprint
        self.granted.append(given)
        return True

    def _verdict(self, known: Known, claim: "events.Authenticated") -> int:
        """0 for yes, else the code of STATUS."""
        thumbprint = claim.credential.thumbprint
        if known.state in ("refused", "revoked"):
            return constants.STATUS_REFUSED
        if claim.token_id is not None:
            elsewhere = self.bound.get(claim.token_id, thumbprint) != thumbprint
            if not claim.token_valid or elsewhere:
                return constants.STATUS_REFUSED
            return 0
        if known.state == "admitted" or thumbprint in self.admitted:
            return 0
        if not self.approval:
            return constants.STATUS_REFUSED
        known.state = "waiting"
        return constants.STATUS_WAITING

    # Records ----------------------------------------------------------------------------------

    def open(self, device_id: bytes, channel: int, record: bytes, now: float) -> "list[tuple[int, bytes]]":
        """One record of a device; what to answer, as (channel, record)."""
        known = self.by_id(device_id)
        if known is None:
            return []
        if known.state == "revoked":
            return [(CONTROL, notice) for _, notice in known.notices]
        try:
            opened = hub_session.open_record(self._cache, known.ring, channel, record, now)
            control = decode_control(opened.plaintext) if channel == CONTROL else None
            response = decode_response(opened.plaintext) if channel == RESPONSE else None
        except PeerError:
            return []
        known.ring = opened.ring
        if opened.promoted:
            self.consumed.extend(
                [each for each in self.bound if self.bound[each] == known.credential.thumbprint]
            )
        if control is not None:
            ack = encode_control(constants.CONTROL_ACK, opened.attempt)
            return [(CONTROL, self.seal(known, CONTROL, ack))]
        if response is not None:
            self.responses.append(response)
        else:
            self.readings.append((device_id, channel, opened.plaintext))
        return []

    def seal(self, known: Known, channel: int, plaintext: bytes) -> bytes:
        sealed = hub_session.seal_record(self._cache, known.ring, channel, plaintext)
        known.ring = sealed.ring
        return sealed.record

    def command(self, known: Known, data: bytes) -> "tuple[int, bytes]":
        """A command for the device, sealed."""
        return COMMAND, self.seal(known, COMMAND, encode_request(data))

    def revoke(self, known: Known, reason: str) -> "list[tuple[int, bytes]]":
        """Cut a device off; its last records, which it gets for whatever it sends from now on."""
        known.notices, known.ring = hub_session.revoke(self._cache, known.ring, reason)
        known.state = "revoked"
        return [(CONTROL, notice) for _, notice in known.notices]

    def device_key(self, known: Known) -> bytes:
        """K_dev of the active key, as a program of the operator derives it."""
        number, root_key = known.keys[known.ring.active.attempt]
        return device_key(self._crypto, suite(number).hash, root_key)

    def by_id(self, device_id: bytes) -> "Known | None":
        found = [known for known in self.devices.values() if known.ring.device_id == device_id]
        return found[0] if found else None


class _Random:
    """Draws of one handshake of the hub, a function of its message_1."""

    def __init__(self, crypto: "Crypto", label: bytes) -> None:
        self._crypto = crypto
        self._label = label
        self._count = 0

    def __call__(self, length: int) -> bytes:
        self._count += 1
        return self._crypto.kmac256(self._label, self._count.to_bytes(4, "big"), length, b"test randomness")
