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

from handfast.core import errors, events, initiator_accept, sealed_messages
from handfast.core.constants import (
    ATTEMPT_LENGTH,
    IDENTIFIER_LENGTH,
    MAX_UNVERIFIED_MESSAGES,
    ROOT_SECRET_LENGTH,
    SESSION_LIFETIME,
)
from handfast.core.errors import LocalError, PeerError, UnexpectedMessageError
from handfast.core.key_schedule import KeySchedule
from handfast.core.methods import PRODUCTION
from handfast.core.resend import Resend
from handfast.core.states import START, WAIT_MESSAGE_2, WAIT_MESSAGE_4
from handfast.core.suites import DEFAULT_SUITES, KEMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from handfast.core import messages
    from handfast.core.credentials import Credential, Identity
    from handfast.core.methods import Profile
    from handfast.core.suites import Suite
    from handfast.core.token import Token
    from handfast.ports import Crypto

# What each message needs is loaded with it, in functions that end before a signature is made or verified:
# a small board lets go of it until then (handfast_micropython.phases).

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
        own, row = identity.credential, profile.suites[number]
        if row.mandatory_items and row.signature != own.algorithm:
            raise LocalError("suite %d needs another signature key than ours" % number)
        self.state = START
        self.attempt = b""
        self._crypto = crypto
        self._random = random
        self._identity = identity
        self._thumbprint = own.thumbprint
        self._hub_id = hub_id
        self._hub_credential = hub_credential
        self._suites_i = tuple(suites[: suites.index(number) + 1])
        self._suite = row
        self._method = profile.method
        self._schedule = KeySchedule(crypto, row)
        self._token = token
        self._devinfo: "Any" = None
        if devinfo is not None:
            from handfast.core import ead

            self._devinfo = ead.encode_devinfo(devinfo)
        self._held = held
        self._by_kid = by_kid
        self._received_2: "Any" = None
        # What message_2 came in, when it may be written to.
        self._memory: "memoryview | None" = None
        self._events: "list[object]" = []
        self._outgoing: "list[bytes]" = []
        self._unverified = 0
        self._resend = Resend()
        self._c_i: "bytes | None" = None
        self._g_x: "Any" = b""
        self._frame_1 = b""
        self._forget()

    # The five verbs ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the ephemeral key and message_1; `random` is called three times. `start` does it unless it
        was done: who has little memory does it before there is a link.
        """
        if self.state != START or self._c_i is not None:
            raise LocalError("message_1 is made once, before the start")
        kem = KEMS[self._suite.kem]
        kem_seed, c_i, attempt = [
            self._random(length) for length in (kem.seed, IDENTIFIER_LENGTH, ATTEMPT_LENGTH)
        ]
        g_x = self._crypto.kem_public_key(kem.name, kem_seed)
        from handfast.core import initiator_message_1

        self._frame_1, self._hash_1, self._g_x = initiator_message_1.make(
            self._schedule, self._method.number, self._suites_i, g_x, c_i,
            self._hub_id, self._token, self._hub_credential is not None,
        )  # fmt: skip
        self._kem_seed, self._c_i, self.attempt = kem_seed, c_i, attempt

    def start(self, now: float) -> None:
        """message_1 leaves."""
        if self.state != START:
            self._after("start")
        if self._c_i is None:
            self.prepare()
        assert self._c_i is not None
        self._resend.begin(self._c_i[-1], now)
        self._send(self._frame_1, now)
        self._frame_1 = b""
        self.state = self._after("start")

    def receive(self, payload: "bytes | memoryview", now: float) -> None:
        """Take one payload of the hub; PeerError when it is not what we wait for.

        A memoryview is ours from now on: message_2 is decrypted and message_3 made in the same memory.
        """
        self._expire(now)
        if isinstance(payload, memoryview):
            self._memory = payload if self.state == WAIT_MESSAGE_2 else None
        frame = _frame_in(payload)
        if frame.c_x is None or frame.c_x != self._c_i:
            raise UnexpectedMessageError("a payload for this session begins with its C_I")
        if frame.error is not None:
            from handfast.core import initiator_error

            event, error = initiator_error.believed(self.state, self._suite.number, self._by_kid, frame.error)
            self._fail(event, error)
        elif self.state == WAIT_MESSAGE_2:
            self._message_2(frame.message)
        elif self.state == WAIT_MESSAGE_4:
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
        return self._resend.timer()

    def handle_timer(self, now: float) -> None:
        """Resend the last message byte for byte, or give up after SESSION_LIFETIME."""
        self._expire(now)
        frame = self._resend.due(now)
        if frame is not None:
            self._outgoing.append(frame)

    # Answers of the shell ---------------------------------------------------------------------

    def accept(self, credential: "Credential", now: float) -> None:
        """Trust `credential` for the hub: verify message_2 and make message_3.

        A signature that is wrong leaves the machine waiting, and this returns without an event;
        `random` is called twice when it is right.
        """
        self._after("accept")
        try:
            initiator_accept.verify_message_2(self, credential)
        except errors.AuthenticationError as error:
            self._not_verified(error)
            return
        except PeerError as error:
            self._fail("broken", error)
            return
        self._make_message_3(credential, now)

    def refuse(self, reason: str) -> None:
        """Do not trust the credential of this message_2; another one may still come."""
        self._after("refuse")
        self._not_verified(errors.RefusedError(reason))

    def exporter(self, label: int, context: bytes, length: int) -> bytes:
        """EDHOC_Exporter of a finished handshake, `length` bytes (RFC 9528 section 4.2.1)."""
        if not self._prk_exporter:
            raise LocalError("there is nothing to export before message_3 and after the keys were taken")
        return self._schedule.exporter(self._prk_exporter, label, context, length)

    # message_2 --------------------------------------------------------------------------------

    def _message_2(self, message_2: bytes) -> None:
        # What cannot be one by its length costs nothing, so it is not counted as a try.
        g_y, ciphertext_2 = _split(message_2, self._suite)
        try:
            g_xy = self._crypto.decapsulate(self._suite.kem, self._kem_seed, g_y)
            self._th_2 = self._schedule.th_2_of(g_y, self._hash_1)
            self._prk_2e = self._schedule.prk_2e(self._th_2, g_xy)
            self._plaintext_2 = self._schedule.cipher_2(self._prk_2e, self._th_2, ciphertext_2)
            del ciphertext_2, g_xy
            plaintext, credential = _read(self._crypto, self._plaintext_2)
        except PeerError as error:
            # A wrong ciphertext decapsulates to noise (FIPS 203 section 6.3), so garbage here and a
            # wrong signature later are one and the same: somebody else's message_2.
            self._not_verified(error)
            raise
        self._g_y = g_y
        self._received_2 = plaintext
        self.state = self._after("message_2")
        self._events.append(events.CredentialPresented(plaintext.id_cred_r, credential, None))

    # message_3 --------------------------------------------------------------------------------

    def _make_message_3(self, credential: "Credential", now: float) -> None:
        initiator_accept.make_message_3(self, credential, now)

    def _ead_3(self, th_3: bytes) -> bytes:
        from handfast.core import initiator_message_3

        self._r_d = self._random(ROOT_SECRET_LENGTH)
        return initiator_message_3.encoded_ead(
            self._crypto, self._token, th_3, self._devinfo, self.attempt, self._held, self._r_d
        )

    # message_4 --------------------------------------------------------------------------------

    def _message_4(self, message_4: bytes) -> None:
        from handfast.core import initiator_message_4

        # Nor is a late message_2: the hub answers every copy of message_1, and it is far too long.
        ciphertext_4 = initiator_message_4.ciphertext(message_4)
        try:
            plaintext_4 = sealed_messages.open_sealed(self._schedule, self._sealing_4, ciphertext_4)
        except PeerError as error:
            self._not_verified(error)
            raise
        try:
            answer: "Any" = initiator_message_4.answer(plaintext_4, self._suite.mandatory_items, self.attempt)
        except PeerError as error:
            self._fail("broken", error)
            return
        number, credential = self._suite.number, self._hub_credential
        if answer is None:
            self._finish("root_r", events.Established(None, None, None, None, number, credential, False))
        elif initiator_message_4.is_no(answer):
            self._forget()
            self._finish("status", events.Refused(answer.code, answer.retry_after))
        else:
            names = self._thumbprint, self._hub_id, self.attempt
            keys, mixed = initiator_message_4.keys(
                self._schedule, self._prk_exporter, names, self._r_d, answer, self._token
            )
            self._forget()
            result = events.Established(
                keys, answer.device_id, answer.epoch, self.attempt, number, credential, mixed
            )
            self._finish("root_r", result)

    # Everything else --------------------------------------------------------------------------

    def _after(self, event: str) -> str:
        from handfast.core import states

        return states.step(states.INITIATOR, self.state, event)

    def _send(self, frame: "Any", now: float) -> None:
        self._outgoing.append(frame)
        self._resend.sent(frame, now)

    def _expire(self, now: float) -> None:
        if self._resend.expired(now):
            text = "the hub gave no good answer within %d s" % SESSION_LIFETIME
            self._fail("expired", errors.LinkTimeout(text))

    def _not_verified(self, error: "PeerError | errors.RefusedError") -> None:
        self._unverified += 1
        self._memory = self._received_2 = None
        self._plaintext_2 = b""
        if self._unverified >= MAX_UNVERIFIED_MESSAGES:
            self._fail("broken", error)
        else:
            self.state = self._after("unverified")

    def _fail(self, event: str, error: Exception) -> None:
        self._forget()
        self._finish(event, events.Failed(error))

    def _finish(self, event: str, result: object) -> None:
        self.state = self._after(event)
        self._events.append(result)
        self._outgoing = []
        self._resend.end()

    def _forget(self) -> None:
        self._kem_seed = self._prk_2e = self._prk_3e2m = self._prk_exporter = b""
        self._plaintext_2 = self._r_d = b""
        self._sealing_4 = sealed_messages.NO_KEYS


def _frame_in(payload: "bytes | memoryview") -> "messages.Frame":
    from handfast.core import messages

    return messages.decode_frame(payload)


def _split(message_2: bytes, suite: "Suite") -> "tuple[bytes, bytes]":
    from handfast.core import messages

    return messages.split_message_2(message_2, suite)


def _read(crypto: "Crypto", plaintext_2: bytes) -> "tuple[Any, Credential | None]":
    from handfast.core import initiator_message_2

    return initiator_message_2.read(crypto, plaintext_2)
