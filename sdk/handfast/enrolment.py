"""Enrolling: attempt after attempt until the hub has given this device a key or refused it."""

from handfast.core import events, topics
from handfast.core.cbor import encode
from handfast.core.constants import (
    DEVINFO_ENTROPY,
    DEVINFO_FIRMWARE,
    DEVINFO_HARDWARE,
    SID_LENGTH,
    STATUS_WAITING,
)
from handfast.core.credentials import kid_in
from handfast.core.drawn import Drawn, lengths
from handfast.core.errors import (
    LinkError,
    PeerError,
    RefusedError,
    UnknownCredentialError,
    UnsupportedSuiteError,
)
from handfast.core.initiator import DRAWS, Initiator
from handfast.core.states import WAIT_MESSAGE_4
from handfast.core.suites import SHA_256, suite
from handfast.inbox import Inbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from handfast.core.credentials import Credential, Identity
    from handfast.core.frames import Reassembly
    from handfast.identity import Pin
    from handfast.ports import Host, Link
    from handfast.settings import Settings

# How a fragment begins (docs/protocol.md 2.3); no message of a handshake does.
_FRAGMENT_HEAD = b"\x85"


class Enrolment:
    """Drives one Initiator after the other over a link.

    `held` is the attempt of the key that the device has already, or None. `tell(state, detail)`
    hears what goes on: "trying", "waiting", and why the last attempt came to nothing.
    """

    def __init__(
        self,
        host: "Host",
        link: "Link",
        identity: "Identity",
        pin: "Pin",
        settings: "Settings",
        held: "bytes | None",
        tell: "Callable[[str, str], None]",
    ) -> None:
        self.attempts = 0
        self._host = host
        self._link = link
        self._identity = identity
        self._spread: int = identity.credential.kid[0]
        self._pin = pin
        self._settings = settings
        self._held = held
        self._tell = tell
        self._by_kid = held is not None
        self._selected = settings.suites[0]

    async def run(self) -> "events.Established":
        """The keys, when the hub has given them. RefusedError, EntropyError and KeystoreError end it.

        A broker that is away, a hub that is silent and one that waits for its operator do not: it
        tries again with a growing delay, for ever.
        """
        first, longest = self._settings.retry
        delay = first
        while True:
            self._tell("trying", "")
            pause = delay
            try:
                result = await self.attempt()
                if isinstance(result, events.Established):
                    return result
                if isinstance(result, events.Refused):
                    _raise_if_refused(result)
                    pause = max(first, float(result.retry_after))
                    self._tell("waiting", "the hub waits for its operator to approve this device")
                elif isinstance(result, events.Failed):
                    self._tell("trying", str(result.error))
                    self._learn(result.error)
            except LinkError as error:
                self._tell("trying", error.detail)
            delay = min(delay * 2, longest)
            # The kid spreads a fleet that was switched on at once.
            await self._host.clock.sleep(pause * (1 + self._spread / 1024))

    async def once(self) -> "events.Established | None":
        """One try, for a device that has a key already; None when it came to nothing.

        What the hub answers may call for a second handshake, or a third: by another suite, and with
        the credential by value. RefusedError, EntropyError and LinkError.
        """
        for _ in range(3):
            result = await self.attempt()
            if isinstance(result, events.Established):
                return result
            if not isinstance(result, events.Failed):
                _raise_if_refused(result)
                return None
            self._tell("trying", str(result.error))
            if not self._learn(result.error):
                return None
        return None

    async def attempt(self) -> object:
        """One handshake: Established, Refused or Failed. LinkError, EntropyError."""
        host = self._host
        await host.entropy.prepare(DRAWS + 1)
        endpoint = topics.onboarding(self._pin.hub_id[:8], host.entropy.random(topics.CHAN_LENGTH))
        devinfo = self._devinfo()
        drawn = Drawn(host.entropy.random, lengths(suite(self._selected)))
        machine = Initiator(
            host.crypto,
            drawn.random,
            self._identity,
            self._pin.hub_id,
            self._pin.credential,
            self._settings.suites,
            self._selected,
            self._pin.token,
            devinfo,
            self._held,
            self._by_kid,
        )
        self._passed("drawn")
        # Before there is a link and what it holds.
        machine.prepare()
        self._passed("message_1")
        self.attempts += 1
        try:
            await self._link.connect(endpoint)
            inbox = Inbox(self._link, host.clock)
            try:
                machine.start(host.clock.now())
                return await self._drive(machine, inbox)
            finally:
                inbox.close()
        finally:
            drawn.wipe()

    async def _drive(self, machine: Initiator, inbox: Inbox) -> object:
        clock = self._host.clock
        reassembly: "Any" = None
        while True:
            event = machine.next_event()
            if isinstance(event, events.CredentialPresented):
                self._judge(machine, event)
                continue
            if event is not None:
                return event
            await self._send(machine.frames_to_send(clock.now()))
            item = await inbox.wait(machine.timer())
            # Also when something came: whoever floods the link must not stop a resend or the end.
            machine.handle_timer(clock.now())
            if item is None:
                continue
            try:
                payload: "Any" = item[1]
                if payload[:1] == _FRAGMENT_HEAD:
                    reassembly = reassembly or self._reassembly()
                    payload = reassembly.receive(payload, clock.now())
                # Not kept while the machine works: six kilobytes.
                item = None
                if payload is not None:
                    machine.receive(payload, clock.now())
            except PeerError as error:
                # Anybody on the broker can send it; the machine says itself when it gives up.
                self._tell("trying", error.detail)
            payload = None

    async def _send(self, frames: "list[bytes]") -> None:
        # In a function of its own: while a signature is made nothing of message_1 is left.
        for frame in frames:
            await self._send_one(frame)

    async def _send_one(self, frame: bytes) -> None:
        # A sid out of the hash: a resend has the same one, and the hub can join parts of both.
        limit = self._settings.packet_limit
        if not limit or len(frame) <= limit:
            await self._link.send(None, frame)
            return
        from handfast.core.frames import fragment

        for payload in fragment(frame, limit, self._sha_256(frame)[:SID_LENGTH], self._sha_256):
            await self._link.send(None, payload)

    def _reassembly(self) -> "Reassembly":
        # Loaded for a broker that carries small packets alone.
        from handfast.core.frames import Reassembly

        return Reassembly(self._sha_256)

    def _sha_256(self, data: bytes) -> bytes:
        return self._host.crypto.hash(SHA_256, data)

    def _judge(self, machine: Initiator, event: "events.CredentialPresented") -> None:
        credential: "Credential | None" = event.credential
        if credential is None:
            known = self._pin.credential
            if known is not None and kid_in(event.id_cred) == known.kid:
                credential = known
        if credential is None or credential.thumbprint != self._pin.hub_id:
            machine.refuse("the hub that answered is not the one whose code this device has")
        else:
            machine.accept(credential, self._host.clock.now())
            if machine.state == WAIT_MESSAGE_4:
                self._passed("message_3")

    def _learn(self, error: Exception) -> bool:
        """Whether the next attempt does something differently. A suite is chosen for one attempt only.

        Errors come from anybody: the suite is the best one of ours that is named, and a hub that takes
        a better one of ours refuses it (RFC 9528 section 5.2.3).
        """
        before = self._selected, self._by_kid
        self._selected = self._settings.suites[0]
        if isinstance(error, UnknownCredentialError):
            self._selected, self._by_kid = before[0], False
        elif isinstance(error, UnsupportedSuiteError):
            for number in self._settings.suites:
                if number in error.suites:
                    self._selected = number
                    break
        return before != (self._selected, self._by_kid)

    def _passed(self, step: str) -> None:
        passed = getattr(self._host, "passed", None)
        if passed is not None:
            passed(step)

    def _devinfo(self) -> bytes:
        info: "dict[int, object]" = {DEVINFO_ENTROPY: self._host.entropy.report()}
        if self._settings.firmware:
            info[DEVINFO_FIRMWARE] = self._settings.firmware
        if self._settings.hardware:
            info[DEVINFO_HARDWARE] = self._settings.hardware
        return encode(info)


def of_device(
    host: "Host",
    link: "Link",
    settings: "Settings",
    held: "bytes | None",
    tell: "Callable[[str, str], None]",
) -> Enrolment:
    """The enrolment of the device whose identity and hub the keystore of `host` holds."""
    import handfast.identity as identity

    own: "Any"
    if hasattr(host.crypto, "pieces"):
        from handfast.stored_identity import StoredIdentity

        own = StoredIdentity(host)
    else:
        own = identity.load(host.crypto, host.keystore)
    pin = identity.load_pin(host.crypto, host.keystore)
    return Enrolment(host, link, own, pin, settings, held, tell)


def _raise_if_refused(answer: object) -> None:
    """RefusedError when the hub said no for good; to wait is not no."""
    if isinstance(answer, events.Refused) and answer.code != STATUS_WAITING:
        raise RefusedError("the hub refused this device; ask its operator why")
