"""A device: enrols with its hub once, and from then on sends and receives through it.

    async with Device(host, link) as device:
        await device.onboard()
        await device.send(b"21.5 C")
        async for message in device.messages():
            ...

`host` brings the ports of the machine, `link` carries payloads. Everything that a power cut must
not lose is in the keystore before anything that depends on it leaves the device.
"""

import asyncio

import handfast.identity as identity
from handfast.core import device_session, events, topics
from handfast.core.codes import encode_claim_code
from handfast.core.constants import MAX_PLAINTEXT
from handfast.core.errors import (
    DecodeError,
    EntropyError,
    Error,
    KeystoreError,
    LinkError,
    LocalError,
    PeerError,
    RefusedError,
)
from handfast.core.root_key import application_key
from handfast.core.stored_session import decode_stored
from handfast.enrolment import Enrolment
from handfast.inbox import Inbox
from handfast.message import Message, Messages
from handfast.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.device_session import DeviceSession
    from handfast.core.stored_session import Stored
    from handfast.ports import Host, Link

# What `state` may be.
FACTORY = "factory"
TRYING = "trying"
WAITING = "waiting"
ENROLLED = "enrolled"
ACTIVE = "active"
REFUSED = "refused"


class Device:
    """One device over one host and one link. Make it, `onboard`, use it, `close`."""

    def __init__(self, host: "Host", link: "Link", settings: "Settings | None" = None) -> None:
        self.trouble = ""
        self._host = host
        self._link = link
        self._settings = settings or Settings()
        self._identity = identity.load(host.crypto, host.keystore)
        self._pin = identity.load_pin(host.crypto, host.keystore)
        self._state = FACTORY
        self._session: "DeviceSession | None" = None
        self._inbox: "Inbox | None" = None
        self._outgoing: "list[tuple[int, bytes]]" = []
        self._unsent: "list[tuple[int, bytes]]" = []
        self._messages: "list[Message]" = []
        self._end: "Error | None" = None
        self._closed = False
        self._enrol_again = False
        # Something waits to be carried.
        self._busy = False
        self._changed = asyncio.Event()
        self._task: "asyncio.Task[None] | None" = None

    # What an application asks -----------------------------------------------------------------

    @property
    def state(self) -> str:
        """factory, trying, waiting, enrolled, active or refused."""
        return self._state

    @property
    def claim_code(self) -> str:
        """What an operator approves this device by; no secret."""
        return encode_claim_code(self._host.crypto, self._identity.credential.thumbprint)

    @property
    def thumbprint(self) -> bytes:
        """SHA-256 of the public key of this device, 32 bytes (RFC 9679)."""
        return bytes(self._identity.credential.thumbprint)

    @property
    def device_id(self) -> "bytes | None":
        """8 bytes that the hub has given, or None before."""
        return None if self._session is None else self._session.device_id

    def stored_session(self) -> "Stored | None":
        """What the keystore holds of the last enrolment, to look at; None when there is none."""
        stored = self._host.keystore.load(identity.SESSION)
        return None if stored is None else decode_stored(stored)

    async def onboard(self, retry: bool = False) -> None:
        """Enrol, or resume when this device was enrolled before; returns when data can flow.

        Waits for a broker that is away and for an operator's approval. RefusedError when the hub
        said no, now or before (`retry` asks it again); EntropyError when the quantum source is in
        alarm; KeystoreError.
        """
        if self._task is not None:
            raise LocalError("this device is onboard already")
        keystore = self._host.keystore
        if retry:
            keystore.erase(identity.REFUSED)
        elif keystore.load(identity.REFUSED) is not None:
            self._state = REFUSED
            raise RefusedError("the hub refused this device before; ask it again with retry")
        stored = keystore.load(identity.SESSION)
        if stored is not None:
            self._resume(stored)
        if self._end is not None and not retry:
            raise self._end
        if self._session is None or self._session.state == device_session.REVOKED:
            await self._enrol()
        self._task = asyncio.create_task(self._run())
        while stored is None and self._state == ENROLLED and self._end is None:
            await self._wait_for_change()
        if self._end is not None:
            raise self._end

    async def send(self, data: bytes, channel: str = "telemetry") -> None:
        """Seal `data` (at most 65,000 bytes) for the hub; queued while the link is away.

        `channel` is telemetry, bulk or alarm. LocalError when the queue is full or `data` too
        large, RefusedError once the hub has revoked this device.
        """
        number = topics.CHANNELS.get(channel)
        if number not in (topics.TELEMETRY, topics.BULK, topics.ALARM):
            raise LocalError("send on telemetry, bulk or alarm, not on %s" % channel)
        self._check()
        if len(data) > MAX_PLAINTEXT:
            raise LocalError("a message has at most %d bytes, this has %d" % (MAX_PLAINTEXT, len(data)))
        if len(self._outgoing) >= self._settings.queue:
            raise LocalError("%d messages wait for the link already; send later" % len(self._outgoing))
        self._outgoing.append((number, bytes(data)))
        self._busy = True
        self._ring()

    async def drain(self) -> None:
        """Wait until the broker has everything that was sent or replied."""
        while self._busy:
            self._check()
            await self._wait_for_change()

    async def heard(self) -> None:
        """Wait until the hub has answered since this device started; RefusedError when it was revoked."""
        while self._session is None or not self._session.confirmed:
            self._check()
            await self._wait_for_change()

    def messages(self) -> Messages:
        """What the hub sends, for `async for`; commands among it wait for a `reply`."""
        return Messages(self)

    def key(self, purpose: str) -> bytes:
        """A key of 32 bytes for `purpose` of the application; the hub can make the same one."""
        if self._session is None:
            raise LocalError("there is no key before the device is onboard")
        return application_key(self._host.crypto, self._session.device_key(), purpose)

    async def close(self) -> None:
        """Leave the link. What the hub has given stays in the keystore."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            try:
                await self._task
            except asyncio.CancelledError:
                pass
            self._task = None
        await self._link.close()
        self._notify()

    async def __aenter__(self) -> "Device":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # Enrolling --------------------------------------------------------------------------------

    def _resume(self, stored: bytes) -> None:
        try:
            self._session = device_session.resume(self._host.crypto, stored, self._host.clock.now())
        except DecodeError:
            raise KeystoreError("the session in this keystore is damaged; onboard with retry or reset")
        self._settle()

    async def _enrol(self) -> None:
        held = None if self._session is None else self._session.attempt
        enrolment = Enrolment(
            self._host, self._link, self._identity, self._pin, self._settings, held, self._tell
        )
        try:
            result = await enrolment.run()
        except RefusedError as error:
            self._refused(error)
            raise
        self._adopt(result)

    def _adopt(self, result: "events.Established") -> None:
        self._pin = identity.Pin(self._pin.hub_id, self._pin.token, result.credential)
        self._session = device_session.enrol(
            self._host.crypto,
            result.suite,
            result.device_id,
            result.attempt,
            result.epoch,
            result.keys,
            self._host.clock.now(),
        )
        # What the old key sealed means nothing under the new one.
        self._unsent = []
        self._end = None
        self._settle()
        identity.save_pin(self._host.keystore, self._pin)
        self._host.keystore.erase(identity.REFUSED)

    def _tell(self, state: str, detail: str) -> None:
        if self._session is None:
            self._state = state
        if detail:
            self.trouble = detail
        self._notify()

    def _refused(self, error: RefusedError) -> None:
        self._host.keystore.save(identity.REFUSED, error.detail.encode("utf-8"))
        self._state = REFUSED
        self._end = error
        self._notify()

    # Carrying ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        first, longest = self._settings.retry
        delay = first
        try:
            while self._end is None:
                try:
                    await self._connect()
                    delay = first
                    await self._carry()
                except LinkError as error:
                    self.trouble = error.detail
                if self._enrol_again:
                    await self._enrol_once_more()
                elif self._end is None:
                    await self._host.clock.sleep(delay * (1 + self._identity.credential.kid[0] / 1024))
                    delay = min(delay * 2, longest)
        except Error as error:
            self._end = error
        finally:
            self._notify()

    async def _connect(self) -> None:
        session = self._living()
        await self._link.connect(topics.enrolled(self._pin.hub_id[:8], session.device_id))

    async def _carry(self) -> None:
        clock = self._host.clock
        inbox = self._inbox = Inbox(self._link, clock)
        try:
            while not self._stopping():
                session = self._living()
                session.handle_timer(clock.now())
                await self._pump(session)
                if self._stopping():
                    return
                item = await inbox.wait(session.timer())
                if item is not None and item[0] is not None:
                    try:
                        session.receive(item[0], item[1], clock.now())
                    except PeerError as error:
                        # A forgery never stops a device (docs/protocol.md, records).
                        self.trouble = error.detail
        finally:
            self._inbox = None
            inbox.close()

    async def _pump(self, session: "DeviceSession") -> None:
        """Store, deliver and send until nothing is left to do without waiting."""
        while True:
            self._settle()
            self._unsent.extend(session.frames_to_send(self._host.clock.now()))
            self._settle()
            if self._unsent:
                channel, record = self._unsent[0]
                await self._link.send(channel, record)
                # Gone only now: after a broken link the same bytes go out again, and the hub's
                # window takes them once.
                self._unsent.pop(0)
            elif self._outgoing and self._end is None:
                channel, data = self._outgoing.pop(0)
                session.send(channel, data, self._host.clock.now())
            else:
                self._busy = False
                self._notify()
                return

    def _settle(self) -> None:
        """Answer every event of the session; storing comes first, and nothing is sent before it."""
        session = self._living()
        event = session.next_event()
        while event is not None:
            if isinstance(event, device_session.Store):
                self._host.keystore.save(identity.SESSION, event.state)
                session.stored(event.state)
            elif isinstance(event, device_session.Data):
                self._deliver(event)
            elif isinstance(event, device_session.Confirmed):
                self._forget_token()
            elif isinstance(event, device_session.EnrolAgain):
                self._enrol_again = True
            elif isinstance(event, device_session.Revoked):
                self._refused(RefusedError("the hub has revoked this device: %s" % event.reason))
            event = session.next_event()
        if self._end is None:
            self._state = ACTIVE if session.state == device_session.ACTIVE else ENROLLED

    def _deliver(self, event: "device_session.Data") -> None:
        if len(self._messages) >= self._settings.queue:
            self.trouble = "%d messages wait for the application; one was dropped" % len(self._messages)
            return
        name = topics.CHANNEL_NAMES[event.channel]
        self._messages.append(Message(self, name, event.plaintext, event.epoch, event.piv))

    def _forget_token(self) -> None:
        # From the first record on the hub has consumed it; a stolen device need not hold it.
        if self._pin.token is not None:
            self._pin = identity.Pin(self._pin.hub_id, None, self._pin.credential)
            identity.save_pin(self._host.keystore, self._pin)

    async def _enrol_once_more(self) -> None:
        """One attempt beside the key that we hold, which stays whatever comes of it."""
        self._enrol_again = False
        enrolment = Enrolment(
            self._host,
            self._link,
            self._identity,
            self._pin,
            self._settings,
            self._living().attempt,
            self._tell,
        )
        try:
            result = await enrolment.attempt()
        except (EntropyError, LinkError) as error:
            self.trouble = error.detail
            return
        if isinstance(result, events.Established):
            self._adopt(result)

    def respond(self, request: "tuple[int, int]", status: int, data: bytes) -> None:
        """Answer the command in record (epoch, PIV); `Message.reply` is how applications do it."""
        self._check()
        session = self._living()
        session.respond(request[0], request[1], status, data, self._host.clock.now())
        self._busy = True
        self._ring()

    async def next_message(self) -> "Message | None":
        """The next message, None once closed; `messages()` is how applications read them."""
        while not self._messages:
            if self._closed:
                return None
            if self._end is not None:
                raise self._end
            await self._wait_for_change()
        return self._messages.pop(0)

    # Small things -----------------------------------------------------------------------------

    def _living(self) -> "DeviceSession":
        if self._session is None:
            raise LocalError("onboard this device first")
        return self._session

    def _stopping(self) -> bool:
        return self._end is not None or self._enrol_again

    def _check(self) -> None:
        if self._end is not None:
            raise self._end
        if self._task is None:
            raise LocalError("onboard this device first")

    def _ring(self) -> None:
        if self._inbox is not None:
            self._inbox.ring()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _wait_for_change(self) -> None:
        await self._changed.wait()
