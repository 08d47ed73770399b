"""One end of one lane of a trunk, sans-IO: the five verbs of the core, and `send`, `supply`, `alarm`.

    lane.receive(frame, now)       feed one frame of the peer; raises PeerError or RefusedError
    lane.next_event()              KeyWanted, Established, Data, Silent, … or None
    lane.frames_to_send(now)       what a carrier must take now; it may lose, repeat and reorder them
    lane.timer()                   when to call `handle_timer`
    lane.handle_timer(now)         resend, give up, rekey, say that we are here

What both ends do is here; initiator.py and responder.py have the rest. Nothing that an attacker
sends ends an epoch: one goes when a record of its successor was opened.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from handfast.core.errors import DecodeError, LocalError, UnexpectedMessageError
from handfast_hub.trunk import messages
from handfast_hub.trunk.epochs import CHAIN_LENGTH, Epoch, Made
from handfast_hub.trunk.events import (
    Beat,
    Data,
    Established,
    Event,
    Heard,
    KeysAhead,
    KeyWanted,
    Silent,
    Suspect,
)
from handfast_hub.trunk.messages import decode_message, encode_message
from handfast_hub.trunk.opening import Party
from handfast_hub.trunk.policy import CLASSES, CONTROL, DEFAULT_TIMING, HYBRID, Timing
from handfast_hub.trunk.records import Header

# An opening message stands behind the number of its lane, below 16; the first byte of a record is
# not below it, for it begins with that number too (records.py).
_LOWEST_RECORD = 16
_OPENINGS = frozenset((messages.OPEN, messages.ACCEPT, messages.CONFIRM))
_CONTROLS = frozenset(range(messages.REKEY, messages.AHEAD + 1))


def lane_of(frame: bytes) -> int:
    """The number of the lane that a frame belongs to; 0 for an empty frame."""
    first = frame[0] if frame else 0
    return first if first < _LOWEST_RECORD else first >> 4


def is_opening(frame: bytes) -> bool:
    """Whether a frame is an opening message, and no record."""
    return frame[:1] < bytes([_LOWEST_RECORD])


def is_control(frame: bytes) -> bool:
    """Whether a frame is a record with a control message."""
    return not is_opening(frame) and frame[0] & 0x07 == CONTROL


class ClassClosed(LocalError):
    """A class that fails closed has no epoch with a fresh QKD key now, or there is no epoch at all."""

    retryable = True


class Lane(ABC):
    """What both ends do. `supply` and the role's messages are in the subclasses."""

    initiator: ClassVar[bool]
    # What each opening message and each control message does, by role.
    openings: ClassVar[dict[int, Callable[..., None]]]
    controls: ClassVar[dict[int, Callable[..., None]]]

    def __init__(self, party: Party, now: float, timing: Timing = DEFAULT_TIMING) -> None:
        self.party = party
        self.opening = bytes([party.lane])
        self.timing = timing
        self.current: Epoch | None = None
        self.next: Epoch | None = None
        self._previous: Epoch | None = None
        # The highest epoch number ever said; none of them is used again.
        self.highest = -1
        # An alarm came since the last QKD key was asked for: what is made of that key is suspect too.
        self.tainted = False
        self._events: deque[Event] = deque()
        self._frames: list[bytes] = []
        self._ticket = 0
        self._silent = True
        self._heard_at = self._said_at = now

    # What the shell asks ----------------------------------------------------------------------

    def send(self, kind: int, data: bytes, now: float) -> None:
        """Seal `data`, at most 66,000 bytes, of class `kind`; it leaves with `frames_to_send`.

        ClassClosed when the class needs a fresh QKD key and there is none, or before the first epoch.
        """
        epoch, row = self.current, CLASSES.get(kind)
        if row is None or row.lane != self.party.lane:
            raise LocalError(f"lane {self.party.lane} has no class {kind}")
        if epoch is None:
            raise ClassClosed("the trunk has no keys yet; it opens when the other hub answers")
        if row.fail_closed and not self.fresh(now):
            raise ClassClosed(f"class {row.name} waits for an epoch with a fresh QKD key")
        self._seal(epoch, kind, data, now)
        if epoch.sending.records >= self.timing.records or epoch.sending.volume >= self.timing.volume:
            self.renew("volume", now)

    def fresh(self, now: float) -> bool:
        """Whether classes that fail closed may be sent now."""
        epoch = self.current
        return bool(epoch and epoch.sound and now - epoch.born <= self.timing.fresh)

    @property
    def trusts_qkd(self) -> bool:
        """Whether a QKD key is in use that nobody has called suspect."""
        return self.current is not None and self.current.hybrid and not self.current.suspect

    @property
    def secret_ways(self) -> int:
        """Over how many ways a QKD key must have come for classes that fail closed: 1 or 2."""
        return self.party.secret_ways if self.current is None else self.current.needed

    @abstractmethod
    def supply(self, ticket: int, key_id: bytes | None, key: bytes | None, now: float, ways: int = 1) -> None:
        """Answer a KeyWanted: the 16 bytes of a key_ID, its key, and how many ways it came over; or None and
        None."""

    @abstractmethod
    def renew(self, reason: str, now: float) -> None:
        """A new epoch is wanted soon."""

    @abstractmethod
    def early(self, epoch: Epoch, now: float) -> None:
        """Data came under the epoch that is being made."""

    def alarm(self, now: float) -> None:
        """The QKD keys of the last minutes are suspect: tell the peer, close what fails closed, and rekey."""
        self.distrust()
        self._pass_on(now)

    def beat(self, packet: bytes) -> bytes | None:
        """A frame with a BFD control packet, for one certain carrier; None before the first epoch."""
        if self.current is None:
            return None
        return self.current.sending.seal(CONTROL, encode_message(messages.BFD, packet))

    def ahead(self, key_ids: list[bytes], now: float) -> None:
        """Tell the peer which keys are held in reserve here, at most 16; it may be lost."""
        if self.current is not None:
            self.say(self.current, now, messages.AHEAD, key_ids)

    def new_way(self, now: float) -> None:  # noqa: B027
        """There is a carrier that has carried nothing yet: what waits for an answer may go at once."""

    def next_event(self) -> Event | None:
        """The next event, or None."""
        return self._events.popleft() if self._events else None

    def frames_to_send(self, now: float) -> list[bytes]:
        """The frames that wait; asking takes them."""
        frames, self._frames = self._frames, []
        return frames

    def timer(self) -> float:
        """When to call `handle_timer`: something is always due, if only to say that we are here."""
        times = [self._heard_at + self.timing.gone] if not self._silent else []
        times.append(self._said_at + self.timing.alive)
        if self._previous is not None and self._previous.ends is not None:
            times.append(self._previous.ends)
        return min(times)

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        if not self._silent and now - self._heard_at >= self.timing.gone:
            self._silent = True
            self.tell(Silent())
        if self._previous is not None and self._previous.ends is not None and now >= self._previous.ends:
            self._previous = None
        if now - self._said_at >= self.timing.alive:
            self._said_at = now
            if self.current is not None:
                self.say(self.current, now, messages.ALIVE)

    # In ---------------------------------------------------------------------------------------

    def receive(self, frame: bytes, now: float) -> None:
        """Take one frame. PeerError for one that is not lawful, RefusedError for a hub that is not ours."""
        if frame[:1] == self.opening:
            kind, fields = decode_message(frame[1:], _OPENINGS)
            self._handler(self.openings, kind)(self, frame[1:], fields, now)
            return
        header = Header(frame)
        epoch = self._named(header.epoch)
        if epoch is None:
            raise UnexpectedMessageError(f"no epoch {header.epoch} here")
        data = epoch.receiving.open(header, frame)
        self.authentic(now)
        if header.kind == CONTROL:
            kind, fields = decode_message(data, _CONTROLS)
            if kind == messages.BFD:
                self.tell(Beat(fields[0]))
            elif kind != messages.ALIVE:
                self._handler(self.controls, kind)(self, epoch, data, fields, now)
        else:
            self._take(epoch, header, data, now)

    def _handler(self, table: dict[int, Callable[..., None]], kind: int) -> Callable[..., None]:
        handler = table.get(kind)
        if handler is None:
            raise UnexpectedMessageError(f"a trunk message {kind} comes from the other role")
        return handler

    def _named(self, number: int) -> Epoch | None:
        current = self.current
        if current is not None and current.number == number:
            return current
        for epoch in (self.next, self._previous):
            if epoch is not None and epoch.number == number:
                return epoch
        return None

    def _take(self, epoch: Epoch, header: Header, data: bytes, now: float) -> None:
        row = CLASSES.get(header.kind)
        if row is None or row.lane != self.party.lane:
            raise DecodeError(f"lane {self.party.lane} has no class {header.kind}")
        if epoch is self.next:
            self.early(epoch, now)
        if row.fail_closed and not epoch.sound:
            raise UnexpectedMessageError(f"class {row.name} came under an epoch without a sound QKD key")
        self.tell(Data(header.kind, data, header.degraded))

    def authentic(self, now: float) -> None:
        """Something came that only the peer can have sent."""
        self._heard_at = now
        if self._silent:
            self._silent = False
            self.tell(Heard())

    def alarmed(self, epoch: Epoch, raw: bytes, fields: list[Any], now: float) -> None:
        """ALARM: the other end trusts QKD keys no longer, that of `epoch` least of all."""
        self.distrust()
        self.renew("alarm", now)

    def named_ahead(self, epoch: Epoch, raw: bytes, fields: list[Any], now: float) -> None:
        """AHEAD: the keys that the other end holds."""
        self.tell(KeysAhead(fields[0]))

    def _pass_on(self, now: float) -> None:
        if self.current is not None:
            self.say(self.current, now, messages.ALARM, self.current.number)
            self.renew("alarm", now)

    def distrust(self) -> None:
        """No QKD key that was fetched before now is trusted, in whichever epoch it is."""
        # One of the two ends may be an epoch ahead, or be making one of a key that came before the alarm.
        self.tainted = True
        for epoch in (self._previous, self.current, self.next):
            if epoch is not None:
                epoch.suspect = True
        if self.current is not None:
            self.tell(Suspect(self.current.number))

    # For the roles ----------------------------------------------------------------------------

    @property
    def silent(self) -> bool:
        """Whether the peer is not heard now."""
        return self._silent

    def number(self) -> int:
        """An epoch number that was never used."""
        self.highest += 1
        return self.highest

    def epoch(self, made: Made, now: float) -> Epoch:
        """The epoch that was derived, for this end."""
        epoch = Epoch(self.party.crypto, self.party.lane, made, self.initiator, now)
        epoch.suspect = epoch.hybrid and self.tainted
        return epoch

    def promote(self, epoch: Epoch, now: float) -> None:
        """The peer has proven `epoch`: use it, and keep the one before for what is still on its way."""
        self._previous, self.current, self.next = self.current, epoch, None
        if self._previous is not None:
            self._previous.ends = now + self.timing.overlap
            self._previous.chain = bytes(CHAIN_LENGTH)
        self.tell(Established(epoch.number, epoch.hybrid, epoch.take_exporter(), epoch.ways))
        if epoch.suspect:
            # The other end may not have heard of the alarm in the epoch before.
            self._pass_on(now)

    def want_key(self, key_id: bytes | None, ways: int = 1, least: int = 1) -> int:
        """Ask the shell for a key; the ticket of the question. The bulk lane never asks."""
        self._ticket, self.tainted = self._ticket + 1, False
        self.tell(KeyWanted(self._ticket, key_id, ways, least))
        return self._ticket

    @property
    def uses_qkd(self) -> bool:
        """Whether QKD keys are spent on this lane."""
        return self.party.lane == HYBRID

    def say(self, epoch: Epoch, now: float, kind: int, *fields: object) -> None:
        """Send a control message under `epoch`."""
        self._seal(epoch, CONTROL, encode_message(kind, *fields), now)

    def repeat(self, epoch: Epoch, message: bytes, now: float) -> None:
        """Send a control message that is encoded already."""
        self._seal(epoch, CONTROL, message, now)

    def put(self, frame: bytes) -> None:
        """Send a frame as it is."""
        self._frames.append(frame)

    def tell(self, event: Event) -> None:
        """Tell the shell."""
        self._events.append(event)

    def _seal(self, epoch: Epoch, kind: int, data: bytes, now: float) -> None:
        self._frames.append(epoch.sending.seal(kind, data))
        self._said_at = now
