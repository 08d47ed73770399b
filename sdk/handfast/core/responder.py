"""The hub's side of the handshake (RFC 9528 section 5), sans-IO.

    machine = Responder(crypto, random, identity, suites)
    machine.receive(payload, now)    message_1: GatePresented; the shell answers pass_gate(key)
    machine.answer(now)              one encapsulation and one signature; message_2 is ready
    machine.receive(payload, now)    message_3: CredentialPresented; the shell answers accept()
    machine.next_event()             Authenticated: the shell answers grant() or deny()
    machine.frames_to_send(now)      message_4, which must not leave before it is stored

The order is the defence: nobody costs more than one hash before the gate, and between the gate and
`answer` the shell can look at its caches, its half-open sessions and its token buckets.
"""

from handfast.core import ead, errors, events, messages, offer, root_key, sealed_messages, states
from handfast.core.constants import (
    EAD_DEVINFO,
    EAD_GATE,
    EAD_ROOTC,
    EAD_TOKEN,
    IDENTIFIER_LENGTH,
    ROOT_SECRET_LENGTH,
    SESSION_LIFETIME,
    WANT_VALUE,
)
from handfast.core.credentials import credential_in, id_cred_by_kid, id_cred_by_value
from handfast.core.errors import DecodeError, LocalError, PeerError, UnexpectedMessageError
from handfast.core.key_schedule import KeySchedule
from handfast.core.methods import PRODUCTION
from handfast.core.suites import DEFAULT_SUITES, KEMS, SHA_256, SIGNATURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.core.credentials import Credential, Identity
    from handfast.core.methods import Profile
    from handfast.core.token import Token
    from handfast.ports import Crypto


class Responder:
    """One session with one device.

    `random(n)` gives n bytes; a whole handshake calls it four times. `suites` are those that this
    hub takes, in its order of preference for the answer to a wrong offer.
    """

    def __init__(
        self,
        crypto: "Crypto",
        random: "Callable[[int], bytes]",
        identity: "Identity",
        suites: "tuple[int, ...]" = DEFAULT_SUITES,
        profile: "Profile" = PRODUCTION,
    ) -> None:
        self.state = states.START
        self.c_r = b""
        self._crypto = crypto
        self._random = random
        self._identity = identity
        self._suites = suites
        self._profile = profile
        self._method = profile.method
        self._mandatory = True
        for number in suites:
            row = profile.suites.get(number)
            if row is None:
                raise LocalError("no suite %d; there are %s" % (number, sorted(profile.suites)))
            if not row.mandatory_items:
                self._mandatory = False
            elif row.signature != identity.credential.algorithm:
                raise LocalError("suite %d needs another signature key than ours" % number)
        self._events: "list[object]" = []
        self._outgoing: "list[bytes]" = []
        self._deadline: "float | None" = None
        self._c_i: "bytes | None" = None
        self._items_3: "dict[int, object]" = {}
        self._mix_token: "Token | None" = None
        self._forget()

    # The five verbs ---------------------------------------------------------------------------

    def receive(self, payload: bytes, now: float) -> None:
        """Take one payload of the device; PeerError when it is not what we wait for."""
        self.receive_frame(messages.decode_frame(payload), now)

    def receive_frame(self, frame: "messages.Frame", now: float) -> None:
        """`receive` for a shell that has read the payload already, to find the machine for it."""
        self.handle_timer(now)
        if frame.error is not None:
            # Anybody could have written it: it ends nothing.
            raise UnexpectedMessageError("an error message of code %d is not acted upon" % frame.error.code)
        if self.state == states.START and frame.c_x is None:
            self._message_1(frame.message, now)
        elif self.state == states.WAIT_MESSAGE_3 and frame.c_x == self.c_r:
            self._message_3(frame.message)
        else:
            raise UnexpectedMessageError("this payload is not expected in state %s" % self.state)

    def next_event(self) -> "object | None":
        """The next event, or None."""
        return self._events.pop(0) if self._events else None

    def frames_to_send(self, now: float) -> "list[bytes]":
        """Payloads for the device, oldest first; each is given once."""
        frames, self._outgoing = self._outgoing, []
        return frames

    def timer(self) -> "float | None":
        """When the session expires, or None."""
        return None if self.state in states.FINAL else self._deadline

    def handle_timer(self, now: float) -> None:
        """Give up after SESSION_LIFETIME. A Responder resends only what it is asked for again."""
        if self.state not in states.FINAL and self._deadline is not None and now >= self._deadline:
            text = "the device did not finish within %d s" % SESSION_LIFETIME
            self._fail("expired", errors.LinkTimeout(text))

    # message_1 --------------------------------------------------------------------------------

    def _message_1(self, message_1: bytes, now: float) -> None:
        try:
            message, self._ead_1_at = messages.read_message_1(message_1)
            gate = ead.read_items(1, message.ead_1).get(EAD_GATE)
            if self._mandatory and not isinstance(gate, ead.Gate):
                raise DecodeError("message_1 carries a GATE")
        except PeerError as error:
            # Nobody has passed a gate: no answer.
            self._fail("broken", error)
            raise
        digest = self._crypto.hash(SHA_256, message_1)
        self._received_1 = message
        self._message_1_bytes = message_1
        self._gate = gate
        self._deadline = now + SESSION_LIFETIME
        self.state = states.step(states.RESPONDER, self.state, "message_1")
        kind, token_id = (gate.kind, gate.token_id) if isinstance(gate, ead.Gate) else (None, None)
        self._events.append(events.GatePresented(kind, token_id, digest))

    def pass_gate(self, key: bytes) -> None:
        """Check the GATE with K_gate (32 bytes), the method, the suites and the length of G_X.

        PeerError when one is wrong. After a wrong gate there is no answer; after a wrong suite
        there is an error message with ours.
        """
        after = states.step(states.RESPONDER, self.state, "pass_gate")
        message = self._received_1
        try:
            if isinstance(self._gate, ead.Gate):
                offer.check_gate(self._crypto, key, self._gate, self._message_1_bytes[: self._ead_1_at])
            # From here on there is somebody to answer.
            self._c_i = message.c_i
            self._suite = offer.choose_suite(self._profile, self._suites, message)
        except PeerError as error:
            self._fail("broken", error)
            raise
        self._schedule = KeySchedule(self._crypto, self._suite)
        self.state = after

    # message_2 --------------------------------------------------------------------------------

    def answer(self, now: float) -> None:
        """Encapsulate, sign and make message_2; PeerError when G_X is no key (FIPS 203 7.2)."""
        after = states.step(states.RESPONDER, self.state, "answer")
        schedule, message, identity = self._schedule, self._received_1, self._identity
        own, kem = identity.credential, KEMS[self._suite.kem]
        try:
            g_y, g_xy = self._crypto.encapsulate(kem.name, message.g_x, self._random(kem.randomness))
        except PeerError as error:
            self._fail("broken", error)
            raise
        c_r = self._random(IDENTIFIER_LENGTH)
        wanted = isinstance(self._gate, ead.Gate) and self._gate.want == WANT_VALUE
        id_cred_r = id_cred_by_value(own) if wanted else id_cred_by_kid(own)
        th_2 = schedule.th_2(g_y, self._message_1_bytes)
        prk_2e = schedule.prk_2e(th_2, g_xy)
        prk_3e2m = self._method.prk_3e2m(schedule, prk_2e, th_2, message.g_x, own, identity.seed)
        row = SIGNATURES.get(self._suite.signature)
        randomness = self._random(32 if row is None else row.randomness)
        proof = self._method.authenticate_2(
            schedule, prk_3e2m, th_2, c_r, id_cred_r, identity, b"", randomness
        )
        plaintext_2 = messages.encode_plaintext_2(messages.Plaintext2(c_r, id_cred_r, proof, []))
        message_2 = messages.encode_message_2(g_y, schedule.cipher_2(prk_2e, th_2, plaintext_2))
        th_3 = schedule.th_3(th_2, plaintext_2, own.encoded)
        self._sealing_3 = sealed_messages.sealing_3(schedule, prk_3e2m, th_3)
        self.c_r, self._g_y, self._th_3, self._prk_3e2m = c_r, g_y, th_3, prk_3e2m
        self._message_1_bytes = b""
        self._outgoing.append(messages.encode_frame(messages.Frame(self._c_i, message_2, None)))
        self.state = after

    # message_3 --------------------------------------------------------------------------------

    def _message_3(self, message_3: bytes) -> None:
        ciphertext_3 = messages.decode_message_3(message_3)
        try:
            plaintext_3 = sealed_messages.open_sealed(self._schedule, self._sealing_3, ciphertext_3)
        except PeerError:
            # What does not open was not written by the device of message_1: keep waiting for it.
            self.state = states.step(states.RESPONDER, self.state, "unverified")
            raise
        try:
            plaintext, self._ead_3_at = messages.read_plaintext_3(plaintext_3)
            items = ead.read_items(3, plaintext.ead_3)
            if self._suite.mandatory_items and EAD_ROOTC not in items:
                raise DecodeError("message_3 carries a ROOTC")
            credential = credential_in(self._crypto, plaintext.id_cred_i)
        except PeerError as error:
            self._fail("broken", error)
            raise
        digest = self._crypto.hash(SHA_256, message_3)
        self._received_3, self._items_3 = plaintext, items
        self._plaintext_3, self._digest_3 = plaintext_3, digest
        self.state = states.step(states.RESPONDER, self.state, "message_3")
        proof = items.get(EAD_TOKEN)
        token_id = proof.token_id if isinstance(proof, ead.TokenProof) else None
        self._events.append(events.CredentialPresented(plaintext.id_cred_i, credential, token_id))

    def accept(self, credential: "Credential", token: "Token | None") -> None:
        """Verify that the holder of `credential` signed; Authenticated follows, or Failed.

        `token` is the one whose token_id was presented, None when there was none or it is unknown.
        """
        after = states.step(states.RESPONDER, self.state, "accept")
        schedule, plaintext, th_3 = self._schedule, self._received_3, self._th_3
        proof = self._items_3.get(EAD_TOKEN)
        valid = False
        if isinstance(proof, ead.TokenProof) and token is not None:
            # Known before the signature is, told only after it (docs/protocol.md, STATUS).
            pop = ead.token_pop(self._crypto, token, th_3)
            valid = token.token_id == proof.token_id and self._crypto.equal(pop, proof.pop)
        try:
            if credential.public_key == self._identity.credential.public_key:
                raise DecodeError("the device presents our own credential")
            prk_4e3m = self._method.prk_4e3m(schedule, self._prk_3e2m, th_3, self._g_y, credential, None)
            ead_3, signed = self._plaintext_3[self._ead_3_at :], plaintext.signature_or_mac_3
            self._method.verify_3(schedule, prk_4e3m, th_3, plaintext.id_cred_i, credential, ead_3, signed)
        except PeerError as error:
            self._fail("broken", error)
            return
        th_4 = schedule.th_4(th_3, self._plaintext_3, credential.encoded)
        sealing_4 = sealed_messages.sealing_4(schedule, prk_4e3m, th_4)
        prk_exporter = schedule.prk_exporter(schedule.prk_out(prk_4e3m, th_4))
        self._sealing_4, self._prk_exporter = sealing_4, prk_exporter
        self._credential_i = credential
        self._token_valid = valid
        self._mix_token = token if valid else None
        self._prk_3e2m = b""
        self._sealing_3 = sealed_messages.NO_KEYS
        self.state = after
        self._events.append(self._authenticated(credential, proof, valid))

    def _authenticated(self, credential: "Credential", proof: object, valid: bool) -> object:
        root_c = self._items_3.get(EAD_ROOTC)
        attempt, have = (root_c.attempt, root_c.have) if isinstance(root_c, ead.RootC) else (None, None)
        return events.Authenticated(
            credential,
            attempt,
            have,
            proof.token_id if isinstance(proof, ead.TokenProof) else None,
            valid,
            self._items_3.get(EAD_DEVINFO),
            self.c_r,
            self._digest_3,
        )

    def refuse(self, reason: str) -> None:
        """Nobody here knows the credential that was named: error message 3, and the end."""
        states.step(states.RESPONDER, self.state, "refuse")
        error = messages.ErrorMessage(errors.ERR_UNKNOWN_CREDENTIAL, True)
        self._finish("refuse", events.Failed(errors.RefusedError(reason)))
        self._outgoing = [messages.encode_frame(messages.Frame(self._c_i, None, error))]

    # message_4 --------------------------------------------------------------------------------

    def grant(self, device_id: bytes, epoch: int) -> None:
        """Give the device its keys: Established, and message_4 with ROOTR.

        `device_id` 8 bytes, `epoch` 0..65535. Store the keys and message_4 before it is sent. A
        token that was presented and is not valid cannot be granted: LocalError.
        """
        states.step(states.RESPONDER, self.state, "grant")
        number = self._suite.number
        root_c = self._items_3.get(EAD_ROOTC)
        if not isinstance(root_c, ead.RootC):
            self._message_4([])
            result = events.Established(None, None, None, None, number, self._credential_i, False)
            self._finish("grant", result)
            return
        if EAD_TOKEN in self._items_3 and not self._token_valid:
            raise LocalError("a device with a wrong token is denied, not granted")
        r_h = self._random(ROOT_SECRET_LENGTH)
        attempt, credential = root_c.attempt, self._credential_i
        names = credential.thumbprint, self._identity.credential.thumbprint, attempt
        # Zeros for no token and for a shared one.
        k_mix = root_key.mix(self._crypto, self._mix_token)
        mixed = self._mix_token is not None and not self._mix_token.shared
        keys = root_key.derive(self._schedule, self._prk_exporter, *names, root_c.r_d, r_h, k_mix, epoch)
        self._message_4([ead.encode_rootr(ead.RootR(attempt, r_h, device_id, epoch))])
        result = events.Established(keys, device_id, epoch, attempt, number, credential, mixed)
        self._finish("grant", result)

    def deny(self, code: int, retry_after: int) -> None:
        """Tell the device, authentically, to wait (1) or that it is refused (2): message_4 with STATUS."""
        states.step(states.RESPONDER, self.state, "deny")
        self._message_4([ead.encode_status(ead.Status(code, retry_after))])
        self._finish("deny", events.Refused(code, retry_after))

    def exporter(self, label: int, context: bytes, length: int) -> bytes:
        """EDHOC_Exporter of a finished handshake, `length` bytes (RFC 9528 section 4.2.1)."""
        if not self._prk_exporter:
            raise LocalError("there is nothing to export before message_3 and after the keys were taken")
        return self._schedule.exporter(self._prk_exporter, label, context, length)

    def _message_4(self, items: "list[tuple[int, bytes | None]]") -> None:
        # K_4 and IV_4 are for one plaintext; the state table lets this run once in a session.
        plaintext_4 = messages.encode_plaintext_4(items)
        ciphertext_4 = sealed_messages.seal(self._schedule, self._sealing_4, plaintext_4)
        frame = messages.Frame(self._c_i, messages.encode_message_4(ciphertext_4), None)
        self._outgoing.append(messages.encode_frame(frame))

    # Everything else --------------------------------------------------------------------------

    def _fail(self, event: str, error: "PeerError | errors.LinkTimeout") -> None:
        # At most one error message, and only to a peer that passed the gate.
        answer = None
        if self._c_i is not None and isinstance(error, errors.UnsupportedSuiteError):
            answer = messages.ErrorMessage(errors.ERR_WRONG_SUITE, error.suites)
        elif self._c_i is not None and isinstance(error, PeerError):
            answer = messages.ErrorMessage(errors.ERR_UNSPECIFIED, error.detail)
        self._finish(event, events.Failed(error))
        frame = messages.Frame(self._c_i, None, answer)
        self._outgoing = [] if answer is None else [messages.encode_frame(frame)]

    def _finish(self, event: str, result: object) -> None:
        self.state = states.step(states.RESPONDER, self.state, event)
        if self.state != states.ESTABLISHED or self._suite.mandatory_items:
            self._forget()
        self._events.append(result)

    def _forget(self) -> None:
        self._prk_3e2m = self._th_3 = self._plaintext_3 = self._message_1_bytes = b""
        self._prk_exporter = b""
        self._sealing_3 = self._sealing_4 = sealed_messages.NO_KEYS
        # r_D is in both.
        self._received_3 = messages.Plaintext3(b"", b"", [])
        self._items_3 = {}
        self._mix_token = None
        self._token_valid = False
