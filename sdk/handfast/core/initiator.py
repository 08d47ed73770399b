"""The device's side of the handshake (RFC 9528 section 5), sans-IO.

    machine = Initiator(crypto, random, identity, hub_id, ...)
    machine.start(now)                       message_1 is ready
    machine.frames_to_send(now)              carry these
    machine.receive(payload, now)            what came back; PeerError when it is not good
    machine.next_event()                     CredentialPresented: answer accept() or refuse()
    machine.timer(), handle_timer(now)       resend, give up

An attacker on the broker can send anything at any time. So a message that does not verify leaves
the machine waiting for the right one (up to MAX_UNVERIFIED_MESSAGES), an error message is believed
only where it can do no more harm than silence, and nothing is deleted or downgraded by either.
"""

from handfast.core import cose, ead, events, messages, root_key, states
from handfast.core.constants import (
    ATTEMPT_LENGTH,
    EAD_ROOTR,
    EAD_STATUS,
    GATE_BY_HUB_ID,
    GATE_BY_TOKEN,
    IDENTIFIER_LENGTH,
    MAX_UNVERIFIED_MESSAGES,
    RESEND_DELAYS,
    RESEND_JITTER,
    ROOT_SECRET_LENGTH,
    SESSION_LIFETIME,
    WANT_KID,
    WANT_VALUE,
)
from handfast.core.credentials import credential_in, id_cred_by_kid, id_cred_by_value
from handfast.core.errors import (
    ERR_UNKNOWN_CREDENTIAL,
    ERR_WRONG_SUITE,
    AuthenticationError,
    DecodeError,
    LinkTimeout,
    LocalError,
    PeerError,
    RefusedError,
    UnexpectedMessageError,
    UnknownCredentialError,
    UnsupportedSuiteError,
)
from handfast.core.key_schedule import KeySchedule, xor
from handfast.core.methods import PRODUCTION
from handfast.core.suites import DEFAULT_SUITES, KEMS, SIGNATURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.core.codes import Token
    from handfast.core.credentials import Credential, Identity
    from handfast.core.methods import Profile
    from handfast.ports import Crypto

# How often one handshake calls `random`; what Entropy.prepare() must be asked for.
DRAWS = 5


class Initiator:
    """One attempt to enrol. Used once; a retry is a new machine with new ephemeral keys.

    `random(n)` gives n bytes. `hub_id` is the pinned thumbprint of the hub, 32 bytes;
    `hub_credential` the hub's credential when it is known, else the hub is asked to send it.
    `suites` are all that this device would ever use, best first; `selected` is the one of this
    attempt. `held` is the attempt (16 bytes) of the key that the device holds, `by_kid` whether
    the hub knows our credential already. `devinfo` is an encoded map of at most 512 bytes.
    """

    def __init__(
        self,
        crypto: "Crypto",
        random: "Callable[[int], bytes]",
        identity: "Identity",
        hub_id: bytes,
        hub_credential: "Credential | None" = None,
        suites: "tuple[int, ...]" = DEFAULT_SUITES,
        selected: "int | None" = None,
        token: "Token | None" = None,
        devinfo: "bytes | None" = None,
        held: "bytes | None" = None,
        by_kid: bool = False,
        profile: "Profile" = PRODUCTION,
    ) -> None:
        number = suites[0] if selected is None else selected
        if number not in suites or number not in profile.suites:
            raise LocalError("suite %d is not one of those that this device allows" % number)
        if profile.suites[number].mandatory_items and (
            profile.suites[number].signature != identity.credential.algorithm
        ):
            raise LocalError("suite %d needs another signature key than ours" % number)
        self.state = states.START
        self.attempt = b""
        self._crypto = crypto
        self._random = random
        self._identity = identity
        self._hub_id = hub_id
        self._hub_credential = hub_credential
        self._suites_i = tuple(suites[: suites.index(number) + 1])
        self._suite = profile.suites[number]
        self._method = profile.method
        self._schedule = KeySchedule(crypto, self._suite)
        self._token = token
        self._devinfo = devinfo
        self._held = held
        own = identity.credential
        self._id_cred_i = id_cred_by_kid(own) if by_kid else id_cred_by_value(own)
        self._events: "list[object]" = []
        self._outgoing: "list[bytes]" = []
        self._unverified = 0
        self._deadline: "float | None" = None
        self._resend_at: "float | None" = None
        self._resends = 0
        self._frame = b""
        self._forget()

    # The five verbs ---------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Make message_1; `random` is called three times."""
        state = states.step(states.INITIATOR, self.state, "start")
        kem = KEMS[self._suite.kem]
        self._kem_seed = self._random(kem.seed)
        self._c_i = self._random(IDENTIFIER_LENGTH)
        self.attempt = self._random(ATTEMPT_LENGTH)
        self._g_x = self._crypto.kem_public_key(kem.name, self._kem_seed)
        message = messages.Message1(self._method.number, self._suites_i, self._g_x, self._c_i, [])
        if self._suite.mandatory_items:
            message = messages.Message1(
                message.method, message.suites_i, message.g_x, message.c_i, [self._gate(message)]
            )
        self._message_1 = messages.encode_message_1(message)
        self._deadline = now + SESSION_LIFETIME
        self._send(messages.Frame(None, self._message_1, None), now)
        self.state = state

    def receive(self, payload: bytes, now: float) -> None:
        """Take one payload of the hub; PeerError when it is not what we wait for."""
        frame = messages.decode_frame(payload)
        if frame.c_x is None or frame.c_x != self._c_i:
            raise UnexpectedMessageError("a payload for this session begins with its C_I")
        if frame.error is not None:
            self._error(frame.error)
        elif self.state == states.WAIT_MESSAGE_2:
            self._message_2(frame.message)
        elif self.state == states.WAIT_MESSAGE_4:
            self._message_4(frame.message)
        else:
            raise UnexpectedMessageError("no message is expected in state %s" % self.state)

    def next_event(self) -> "object | None":
        """The next event, or None."""
        return self._events.pop(0) if self._events else None

    def frames_to_send(self, now: float) -> "list[bytes]":
        """Payloads for the hub, oldest first; each is given once."""
        frames, self._outgoing = self._outgoing, []
        return frames

    def timer(self) -> "float | None":
        """When to call handle_timer, or None."""
        if self.state in states.FINAL or self._deadline is None:
            return None
        if self._resend_at is None:
            return self._deadline
        return min(self._resend_at, self._deadline)

    def handle_timer(self, now: float) -> None:
        """Resend the last message byte for byte, or give up after SESSION_LIFETIME."""
        if self.state in states.FINAL or self._deadline is None:
            return
        if now >= self._deadline:
            self._fail("expired", LinkTimeout("the hub gave no good answer within %d s" % SESSION_LIFETIME))
        elif self._resend_at is not None and now >= self._resend_at:
            self._outgoing.append(self._frame)
            self._resends += 1
            self._schedule_resend(now)

    # Answers of the shell ---------------------------------------------------------------------

    def accept(self, credential: "Credential", now: float) -> None:
        """Trust `credential` for the hub: verify message_2 and make message_3.

        A signature that is wrong leaves the machine waiting, and this returns without an event;
        `random` is called twice when it is right.
        """
        states.step(states.INITIATOR, self.state, "accept")
        try:
            self._verify_message_2(credential)
        except AuthenticationError as error:
            self._not_verified(error)
            return
        except PeerError as error:
            self._fail("broken", error)
            return
        self._make_message_3(credential, now)

    def refuse(self, reason: str) -> None:
        """Do not trust the credential of this message_2; another one may still come."""
        states.step(states.INITIATOR, self.state, "refuse")
        self._not_verified(RefusedError(reason))

    def exporter(self, label: int, context: bytes, length: int) -> bytes:
        """EDHOC_Exporter of a finished handshake, `length` bytes (RFC 9528 section 4.2.1)."""
        if not self._prk_exporter:
            raise LocalError("there is nothing to export before message_3 and after the keys were taken")
        return self._schedule.exporter(self._prk_exporter, label, context, length)

    # message_1 --------------------------------------------------------------------------------

    def _gate(self, message: "messages.Message1") -> "tuple[int, bytes]":
        want = WANT_VALUE if self._hub_credential is None else WANT_KID
        key = ead.gate_key(self._crypto, self._hub_id, self._token)
        mac = ead.gate_mac(self._crypto, key, messages.encode_message_1(message))
        if self._token is None:
            return ead.encode_gate(ead.Gate(GATE_BY_HUB_ID, want, mac, None))
        return ead.encode_gate(ead.Gate(GATE_BY_TOKEN, want, mac, self._token.token_id))

    # message_2 --------------------------------------------------------------------------------

    def _message_2(self, message_2: bytes) -> None:
        try:
            g_y, ciphertext_2 = messages.split_message_2(message_2, self._suite)
            g_xy = self._crypto.decapsulate(self._suite.kem, self._kem_seed, g_y)
            self._th_2 = self._schedule.th_2(g_y, self._message_1)
            self._prk_2e = self._schedule.prk_2e(self._th_2, g_xy)
            keystream = self._schedule.keystream_2(self._prk_2e, self._th_2, len(ciphertext_2))
            self._plaintext_2 = xor(ciphertext_2, keystream)
            plaintext = messages.decode_plaintext_2(self._plaintext_2)
            credential = credential_in(self._crypto, plaintext.id_cred_r)
        except PeerError as error:
            # A wrong ciphertext decapsulates to noise (FIPS 203 section 6.3), so garbage here and a
            # wrong signature later are one and the same: somebody else's message_2.
            self._not_verified(error)
            raise
        self._g_y = g_y
        self._received_2 = plaintext
        self.state = states.step(states.INITIATOR, self.state, "message_2")
        self._events.append(events.CredentialPresented(plaintext.id_cred_r, credential, None))

    def _verify_message_2(self, credential: "Credential") -> None:
        own = self._identity.credential
        if self._suite.mandatory_items and not self._crypto.equal(credential.thumbprint, self._hub_id):
            raise AuthenticationError("the credential is not that of the pinned hub")
        if credential.encoded == own.encoded:
            # RFC 9528 section 9.1: a reflected credential would be a session with ourselves.
            raise DecodeError("the hub presents our own credential")
        plaintext = self._received_2
        self._prk_3e2m = self._method.prk_3e2m(
            self._schedule, self._prk_2e, self._th_2, self._g_x, credential, None
        )
        self._method.verify_2(
            self._schedule,
            self._prk_3e2m,
            self._th_2,
            plaintext.c_r,
            plaintext.id_cred_r,
            credential,
            messages.encode_ead(plaintext.ead_2),
            plaintext.signature_or_mac_2,
        )
        ead.read_items(2, plaintext.ead_2)

    # message_3 --------------------------------------------------------------------------------

    def _make_message_3(self, credential: "Credential", now: float) -> None:
        schedule, crypto = self._schedule, self._crypto
        th_3 = schedule.th_3(self._th_2, self._plaintext_2, credential.encoded)
        prk_4e3m = self._method.prk_4e3m(
            schedule, self._prk_3e2m, th_3, self._g_y, self._identity.credential, self._identity.seed
        )
        ead_3 = self._ead_3(th_3) if self._suite.mandatory_items else []
        encoded_ead_3 = messages.encode_ead(ead_3)
        row = SIGNATURES.get(self._suite.signature)
        signature_or_mac_3 = self._method.authenticate_3(
            schedule,
            prk_4e3m,
            th_3,
            self._id_cred_i,
            self._identity,
            encoded_ead_3,
            self._random(32 if row is None else row.randomness),
        )
        plaintext_3 = messages.encode_plaintext_3(
            messages.Plaintext3(self._id_cred_i, signature_or_mac_3, ead_3)
        )
        ciphertext_3 = crypto.seal(
            self._suite.aead,
            schedule.k_3(self._prk_3e2m, th_3),
            schedule.iv_3(self._prk_3e2m, th_3),
            cose.enc_structure(b"", th_3),
            plaintext_3,
        )
        th_4 = schedule.th_4(th_3, plaintext_3, self._identity.credential.encoded)
        self._aad_4 = cose.enc_structure(b"", th_4)
        self._k_4 = schedule.k_4(prk_4e3m, th_4)
        self._iv_4 = schedule.iv_4(prk_4e3m, th_4)
        self._prk_exporter = schedule.prk_exporter(schedule.prk_out(prk_4e3m, th_4))
        self._hub_credential = credential
        self._unverified = 0
        self._resends = 0
        # Erased before message_3 leaves: whoever takes the device from here on learns nothing of
        # message_2 and message_3.
        self._kem_seed = self._prk_2e = self._prk_3e2m = self._plaintext_2 = b""
        message_3 = messages.encode_message_3(ciphertext_3)
        self._send(messages.Frame(self._received_2.c_r, message_3, None), now)
        self.state = states.step(states.INITIATOR, self.state, "accept")

    def _ead_3(self, th_3: bytes) -> "list[tuple[int, bytes | None]]":
        items: "list[tuple[int, bytes | None]]" = []
        if self._token is not None:
            pop = ead.token_pop(self._crypto, self._token, th_3)
            items.append(ead.encode_token(ead.TokenProof(self._token.token_id, pop)))
        if self._devinfo is not None:
            items.append(ead.encode_devinfo(self._devinfo))
        self._r_d = self._random(ROOT_SECRET_LENGTH)
        items.append(ead.encode_rootc(ead.RootC(self.attempt, self._held, self._r_d)))
        return items

    # message_4 --------------------------------------------------------------------------------

    def _message_4(self, message_4: bytes) -> None:
        try:
            ciphertext_4 = messages.decode_message_4(message_4)
            plaintext_4 = self._crypto.open(
                self._suite.aead, self._k_4, self._iv_4, self._aad_4, ciphertext_4
            )
        except PeerError as error:
            self._not_verified(error)
            raise
        try:
            items = ead.read_items(4, messages.decode_plaintext_4(plaintext_4))
            self._answered(items)
        except PeerError as error:
            self._fail("broken", error)

    def _answered(self, items: "dict[int, object]") -> None:
        root_r, status = items.get(EAD_ROOTR), items.get(EAD_STATUS)
        number, credential = self._suite.number, self._hub_credential
        if not self._suite.mandatory_items:
            self._finish("root_r", events.Established(None, None, None, None, number, credential, False))
            return
        if (root_r is None) == (status is None):
            raise DecodeError("message_4 has exactly one of ROOTR and STATUS")
        if isinstance(status, ead.Status):
            self._forget()
            self._finish("status", events.Refused(status.code, status.retry_after))
            return
        if not isinstance(root_r, ead.RootR) or root_r.attempt != self.attempt:
            raise DecodeError("ROOTR answers another attempt than ours")
        mixed = self._token is not None and not self._token.shared
        keys = root_key.derive(
            self._schedule,
            self._prk_exporter,
            self._identity.credential.thumbprint,
            self._hub_id,
            self.attempt,
            self._r_d,
            root_r.r_h,
            root_key.mix(self._crypto, self._token if mixed else None),
            root_r.epoch,
        )
        self._forget()
        self._finish(
            "root_r",
            events.Established(keys, root_r.device_id, root_r.epoch, self.attempt, number, credential, mixed),
        )

    # Everything else --------------------------------------------------------------------------

    def _error(self, error: "messages.ErrorMessage") -> None:
        # Anybody could have written it. It may end this attempt, which costs what dropping our
        # messages costs; the next attempt is as strong as this one (RFC 9528 section 6.3: the hub
        # sees in SUITES_I when a better suite was passed over, and refuses).
        if error.code == ERR_WRONG_SUITE and self.state == states.WAIT_MESSAGE_2:
            text = "the hub does not take suite %d; it offers %s" % (self._suite.number, list(error.info))
            self._fail("wrong_suite", UnsupportedSuiteError(text, error.info))
        elif error.code == ERR_UNKNOWN_CREDENTIAL and self.state == states.WAIT_MESSAGE_4:
            text = "the hub does not know our credential by its kid"
            self._fail("unknown_credential", UnknownCredentialError(text))
        else:
            raise UnexpectedMessageError("an error message of code %d is not acted upon" % error.code)

    def _send(self, frame: "messages.Frame", now: float) -> None:
        self._frame = messages.encode_frame(frame)
        self._outgoing.append(self._frame)
        self._schedule_resend(now)

    def _schedule_resend(self, now: float) -> None:
        if self._resends >= len(RESEND_DELAYS):
            self._resend_at = None
            return
        # C_I is random and public: a fleet that starts at once does not resend at once.
        jitter = RESEND_JITTER * self._c_i[-1] / 255
        self._resend_at = now + RESEND_DELAYS[self._resends] * (1 + jitter)

    def _not_verified(self, error: "PeerError | RefusedError") -> None:
        self._unverified += 1
        if self._unverified >= MAX_UNVERIFIED_MESSAGES:
            self._fail("broken", error)
        else:
            self.state = states.step(states.INITIATOR, self.state, "unverified")

    def _fail(self, event: str, error: Exception) -> None:
        self._forget()
        self._finish(event, events.Failed(error))

    def _finish(self, event: str, result: object) -> None:
        self.state = states.step(states.INITIATOR, self.state, event)
        self._events.append(result)
        self._outgoing = []
        self._frame = b""
        self._resend_at = None

    def _forget(self) -> None:
        self._kem_seed = self._prk_2e = self._prk_3e2m = self._plaintext_2 = self._r_d = b""
        self._k_4 = self._iv_4 = self._prk_exporter = b""
