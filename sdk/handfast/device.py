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

from handfast.core import topics
from handfast.core.constants import KID_LENGTH
from handfast.core.errors import DecodeError, EntropyError, KeystoreError, LinkError, LocalError, RefusedError
from handfast.courier import Courier
from handfast.entries import REFUSED as REFUSED_ENTRY
from handfast.entries import SESSION
from handfast.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core import events
    from handfast.core.device_session import DeviceSession
    from handfast.core.stored_session import Stored
    from handfast.enrolment import Enrolment
    from handfast.message import Message, Messages
    from handfast.ports import Host, Link

# Loaded where they are needed, in functions: what a device does when it enrols and what it does with its key
# have no room beside each other on a small board.

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
        # Public keys have two kilobytes each: they are loaded again for an enrolment, and forgotten after it.
        import handfast.identity as identity

        self._thumbprint, self._hub_id, self._has_token = identity.names(host)
        del identity
        self._passed("identity")
        self._state = FACTORY
        self._courier = Courier(host.clock, link, self._settings.queue, self._save, self._hear, self._notify)
        self._end: "Exception | None" = None
        self._closed = False
        self._enrol_again = False
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
        from handfast.core.codes import encode_claim_code

        return encode_claim_code(self._host.crypto, self._thumbprint)

    @property
    def thumbprint(self) -> bytes:
        """SHA-256 of the public key of this device, 32 bytes (RFC 9679)."""
        return self._thumbprint

    @property
    def device_id(self) -> "bytes | None":
        """8 bytes that the hub has given, or None before."""
        return None if self._session is None else self._session.device_id

    @property
    def _session(self) -> "DeviceSession | None":
        return self._courier.session

    def stored_session(self) -> "Stored | None":
        """What the keystore holds of the last enrolment, to look at; None when there is none."""
        from handfast.core.stored_session import decode_stored

        stored = self._host.keystore.load(SESSION)
        return None if stored is None else decode_stored(stored)

    async def onboard(self, retry: bool = False) -> None:
        """Enrol, or resume when this device was enrolled before; returns when data can flow.

        Waits for a broker that is away and for an operator's approval. RefusedError when the hub
        said no, now or before (`retry` asks it again); EntropyError when the quantum source is in
        alarm; KeystoreError.
        """
        if self._closed:
            raise LocalError("this device was closed; make another one")
        if self._task is not None and self._end is None:
            raise LocalError("this device is onboard already")
        keystore = self._host.keystore
        if retry:
            keystore.erase(REFUSED_ENTRY)
        elif keystore.load(REFUSED_ENTRY) is not None:
            self._state = REFUSED
            raise RefusedError("the hub refused this device before; ask it again with retry")
        self._end = None
        resumed = self._resume(retry)
        if resumed:
            self._passed("identity")
        self._task = asyncio.create_task(self._run(not resumed))
        try:
            while not (resumed or self._state == ACTIVE or self._end is not None or self._closed):
                await self._wait_for_change()
        except asyncio.CancelledError:
            await self._stop()
            raise
        if self._end is not None:
            raise self._end
        if self._closed:
            raise LocalError("this device was closed before it was onboard")

    async def send(self, data: bytes, channel: str = "telemetry") -> None:
        """Seal `data` (at most 65,000 bytes) for the hub; queued while the link is away.

        `channel` is telemetry, bulk or alarm. LocalError when the queue is full or `data` too
        large, RefusedError once the hub has revoked this device.
        """
        number = topics.CHANNELS.get(channel)
        if number not in (topics.TELEMETRY, topics.BULK, topics.ALARM):
            raise LocalError("send on telemetry, bulk or alarm, not on %s" % channel)
        self._check()
        self._courier.send(number, data)

    async def drain(self) -> None:
        """Wait until the broker has everything that was sent or replied."""
        while self._courier.busy:
            self._check()
            await self._wait_for_change()

    async def heard(self) -> None:
        """Wait until the hub has answered since this device started; RefusedError when it was revoked."""
        while self._session is None or not self._session.confirmed:
            self._check()
            await self._wait_for_change()

    def messages(self) -> "Messages":
        """What the hub sends, for `async for`; commands among it wait for a `reply`."""
        from handfast.message import Messages

        return Messages(self)

    def key(self, purpose: str) -> bytes:
        """A key of 32 bytes for `purpose` of the application; the hub can make the same one."""
        if self._session is None:
            raise LocalError("there is no key before the device is onboard")
        from handfast.core.root_key import application_key

        return application_key(self._host.crypto, self._session.device_key(), purpose)

    async def close(self) -> None:
        """Leave the link. What the hub has given stays in the keystore."""
        self._closed = True
        await self._stop()
        await self._link.close()
        self._notify("")

    async def __aenter__(self) -> "Device":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # What goes on behind it -------------------------------------------------------------------

    async def _run(self, enrol: bool) -> None:
        """The task of this device, from `onboard` to `close`."""
        try:
            try:
                if enrol:
                    await self._enrol(once=False)
                while self._end is None:
                    await self._carry()
            except RefusedError as error:
                self._refused(error)
        except Exception as error:
            # Ours or not: whoever waits for this device hears it.
            self._end = error
        finally:
            self._notify("")

    async def _carry(self) -> None:
        """Connect and carry until the hub refuses us or another key is due."""
        spread = 1 + self._thumbprint[0] / 1024
        await self._courier.keep(self._hub_id[:KID_LENGTH], self._settings.retry, spread, self._goes_on)
        if self._enrol_again:
            self._enrol_again = False
            await self._enrol_once_more()

    def _goes_on(self) -> bool:
        return self._end is None and not self._enrol_again

    def _resume(self, retry: bool) -> bool:
        """Take up what is stored; False when the device has to enrol."""
        stored = self._host.keystore.load(SESSION)
        if stored is None:
            # Nor do we hold what could not be stored.
            self._courier.session = None
            return False
        from handfast.core import device_session

        try:
            session = device_session.resume(self._host.crypto, stored, self._host.clock.now())
        except DecodeError:
            if retry:
                return False
            raise KeystoreError("the session in this keystore is damaged; onboard with retry or reset")
        self._take(session)
        if not session.revoked:
            return True
        if self._end is not None and not retry:
            raise self._end
        self._end = None
        return False

    def _enrolment(self) -> "Enrolment":
        # Loaded when it is needed: a device that has its key enrols no more.
        from handfast.enrolment import of_device

        session = self._session
        held = None if session is None or session.revoked else session.attempt
        return of_device(self._host, self._link, self._settings, held, self._tell)

    async def _enrol(self, once: bool) -> None:
        """Until there is a key, or one attempt; a board lets go of what it loaded for it, however it ends."""
        try:
            # In one expression: nothing of it is left when the board lets go.
            result = await (self._enrolment().once() if once else self._enrolment().run())
        finally:
            self._passed("enrolled")
        if result is not None:
            self._adopt(result)

    async def _enrol_once_more(self) -> None:
        """Another key beside the one that we hold, which stays unless the hub itself refuses us."""
        try:
            await self._enrol(once=True)
        except (EntropyError, LinkError) as error:
            self._notify(error.detail)

    def _adopt(self, result: "events.Established") -> None:
        from handfast.core import device_session

        # What the hub said before does not hold any more; first, as a power cut may follow.
        self._host.keystore.erase(REFUSED_ENTRY)
        crypto, now = self._host.crypto, self._host.clock.now()
        self._take(
            device_session.enrol(
                crypto, result.suite, result.device_id, result.attempt, result.epoch, result.keys, now
            )
        )
        from handfast.identity import remember_hub

        self._has_token = remember_hub(self._host, result.credential)
        self._passed("identity")

    def _take(self, session: "DeviceSession") -> None:
        self._courier.take(session)
        self._notify("")

    def _save(self, state: bytes) -> None:
        self._host.keystore.save(SESSION, state)

    def _hear(self, event: object) -> None:
        """What the session says, after it was stored."""
        from handfast.core import session_events

        if isinstance(event, session_events.Confirmed):
            if self._has_token:
                # From the first record on the hub has consumed it; a stolen device need not hold it.
                from handfast.identity import forget_token

                forget_token(self._host)
                self._has_token = False
            # Each epoch is confirmed once: what its keys were made with goes too.
            self._passed("identity")
        elif isinstance(event, session_events.EnrolAgain):
            self._enrol_again = True
            self._courier.stop()
        elif isinstance(event, session_events.Revoked):
            self._refused(RefusedError("the hub has revoked this device: %s" % event.reason))
            self._courier.stop()

    def _refused(self, error: RefusedError) -> None:
        self._end = error
        self._host.keystore.save(REFUSED_ENTRY, error.detail.encode("utf-8"))
        self._notify("")

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        # What it has cancelled in its turn ends now.
        await asyncio.sleep(0)

    # What Message and Messages ask ------------------------------------------------------------

    def respond(self, request: "tuple[int, int]", status: int, data: bytes) -> None:
        """Answer the command in record (epoch, PIV); `Message.reply` is how applications do it."""
        self._check()
        self._courier.respond(request, status, data)

    async def next_message(self) -> "Message | None":
        """The next message, None once closed; `messages()` is how applications read them."""
        received = self._courier.received
        while not received:
            if self._closed:
                return None
            if self._end is not None:
                raise self._end
            await self._wait_for_change()
        channel, plaintext, epoch, piv = received.pop(0)
        from handfast.message import Message

        return Message(self, topics.CHANNEL_NAMES[channel], plaintext, epoch, piv)

    # Small things -----------------------------------------------------------------------------

    def _check(self) -> None:
        if self._end is not None:
            raise self._end
        if self._closed:
            raise LocalError("this device was closed")
        if self._task is None:
            raise LocalError("onboard this device first")

    def _passed(self, step: str) -> None:
        """A board lets go of what it had loaded for that step."""
        passed = getattr(self._host, "passed", None)
        if passed is not None:
            passed(step)

    def _tell(self, state: str, trouble: str) -> None:
        if self._session is None or self._session.revoked:
            self._state = state
        self._notify(trouble)

    def _notify(self, trouble: str) -> None:
        """Something changed: whoever waits looks again."""
        if trouble:
            self.trouble = trouble
        if isinstance(self._end, RefusedError):
            self._state = REFUSED
        elif self._session is not None and not self._session.revoked:
            self._state = ACTIVE if self._session.active else ENROLLED
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _wait_for_change(self) -> None:
        await self._changed.wait()
