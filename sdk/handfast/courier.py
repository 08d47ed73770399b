"""Carries an enrolled device's messages: queues on one side, sealed records over a link on the other."""

from handfast.core.constants import MAX_PLAINTEXT
from handfast.core.errors import LinkError, LocalError, PeerError
from handfast.core.topics import COMMAND, enrolled
from handfast.inbox import Inbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.core import session_events
    from handfast.core.device_session import DeviceSession
    from handfast.ports import Clock, Link


class Courier:
    """Serves one DeviceSession after the other. At most `limit` messages wait in each direction.

    `save(state)` stores a session; nothing that depends on it leaves before. `hear(event)` gets its
    other events (Confirmed, EnrolAgain, Revoked), `changed(trouble)` whenever somebody may wait for
    something, with a sentence when something went wrong.
    """

    def __init__(
        self,
        clock: "Clock",
        link: "Link",
        limit: int,
        save: "Callable[[bytes], None]",
        hear: "Callable[[object], None]",
        changed: "Callable[[str], None]",
    ) -> None:
        self.session: "DeviceSession | None" = None
        # Data events for the application, oldest first.
        self.received: "list[session_events.Data]" = []
        # Records of the hub that were good, since this courier was made.
        self.opened = 0
        # Something waits to be carried.
        self.busy = False
        self._clock = clock
        self._link = link
        self._limit = limit
        self._save = save
        self._hear = hear
        self._changed = changed
        self._inbox: "Inbox | None" = None
        self._stopping = False
        self._outgoing: "list[tuple[int, bytes]]" = []
        # Sealed and not yet with the broker; `_sealing` is the message that the last of them holds.
        self._unsent: "list[tuple[int, bytes]]" = []
        self._sealing: "tuple[int, bytes] | None" = None

    def take(self, session: "DeviceSession") -> None:
        """Serve this session from now on; it is stored when this returns."""
        self.session = session
        # What the old key has sealed means nothing under the new one; what it says still counts.
        self._unsent = []
        if self._sealing is not None:
            self._outgoing.insert(0, self._sealing)
            self._sealing = None
        self._settle(session)

    def send(self, channel: int, data: bytes) -> None:
        """Queue `data`; LocalError when it is too large or the queue is full."""
        if len(data) > MAX_PLAINTEXT:
            raise LocalError("a message has at most %d bytes, this has %d" % (MAX_PLAINTEXT, len(data)))
        if len(self._outgoing) >= self._limit:
            raise LocalError("%d messages wait for the link already; send later" % len(self._outgoing))
        self._outgoing.append((channel, bytes(data)))
        self._ring()

    def respond(self, request: "tuple[int, int]", status: int, data: bytes) -> None:
        """Seal the answer to the command in record (epoch, PIV); LocalError when it is too large."""
        session = self.living()
        session.respond(request[0], request[1], status, data, self._clock.now())
        self._ring()

    def living(self) -> "DeviceSession":
        """The session; LocalError before there is one."""
        if self.session is None:
            raise LocalError("onboard this device first")
        return self.session

    def stop(self) -> None:
        """End `carry` as soon as it has finished what it is about."""
        self._stopping = True

    async def keep(
        self, hub_kid: bytes, retry: "tuple[float, float]", spread: float, goes_on: "Callable[[], bool]"
    ) -> None:
        """Connect and carry, again and again, while `goes_on()`.

        `retry`: the first and the longest pause in seconds, `spread` a factor that puts a fleet apart.
        """
        first, longest = retry
        opened, delay = self.opened, first
        while goes_on():
            session = self.living()
            try:
                await self._link.connect(enrolled(hub_kid, session.device_id))
                await self.carry()
            except LinkError as error:
                self._changed(error.detail)
                if self.opened > opened:
                    # The hub was there; a broker that merely takes connections is no reason to hurry.
                    opened, delay = self.opened, first
                await self._clock.sleep(delay * spread)
                delay = min(delay * 2, longest)

    async def carry(self) -> None:
        """Carry over the connected link until `stop`; LinkError when the link breaks."""
        clock, session = self._clock, self.living()
        self._stopping = False
        inbox = self._inbox = Inbox(self._link, clock)
        try:
            while True:
                session.handle_timer(clock.now())
                await self._pump(session)
                if self._stopping:
                    return
                item = await inbox.wait(session.timer())
                if item is None or item[0] is None:
                    continue
                try:
                    session.receive(item[0], item[1], clock.now())
                    self.opened += 1
                except PeerError as error:
                    # A forgery never stops a device (docs/protocol.md, records).
                    self._changed(error.detail)
        finally:
            self._inbox = None
            inbox.close()

    async def _pump(self, session: "DeviceSession") -> None:
        """Store, deliver and send until nothing is left to do without waiting."""
        while True:
            self._settle(session)
            self._unsent.extend(session.frames_to_send(self._clock.now()))
            self._settle(session)
            if self._stopping:
                return
            if self._unsent:
                channel, record = self._unsent[0]
                await self._link.send(channel, record)
                # Gone only now: after a broken link the same bytes go out again, and the hub's
                # window takes them once.
                self._unsent.pop(0)
                continue
            self._sealing = None
            if not self._outgoing:
                self.busy = False
                self._changed("")
                return
            self._sealing = self._outgoing.pop(0)
            session.send(self._sealing[0], self._sealing[1], self._clock.now())

    def _settle(self, session: "DeviceSession") -> None:
        """Answer every event of the session; storing comes first, and nothing is sent before it."""
        # Not at the top: a board that enrols has no room for it before there is a session.
        from handfast.core import session_events

        event = session.next_event()
        while event is not None:
            if isinstance(event, session_events.Store):
                self._save(event.state)
                session.stored(event.state)
            elif not isinstance(event, session_events.Data):
                self._hear(event)
            elif len(self.received) < self._limit:
                self.received.append(event)
            else:
                self._turn_away(session, event)
            event = session.next_event()

    def _turn_away(self, session: "DeviceSession", data: "session_events.Data") -> None:
        """The application is slow. A command is taken once, so the hub has to hear that it is not done."""
        from handfast.core.plaintexts import STATUS_BUSY

        trouble = "%d messages wait for the application" % len(self.received)
        if data.channel == COMMAND:
            answer = trouble.encode("utf-8")
            session.respond(data.epoch, data.piv, STATUS_BUSY, answer, self._clock.now())
            self._changed(trouble + "; a command was refused")
        else:
            self._changed(trouble + "; one was dropped")

    def _ring(self) -> None:
        self.busy = True
        if self._inbox is not None:
            self._inbox.ring()
