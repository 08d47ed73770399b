"""The asyncio shell of one trunk: two lanes over whatever carriers there are, fed by a KME.

It decides nothing about keys, and nothing about which carrier is used (paths.py). It carries frames,
keeps time, and fetches the keys that the lanes ask for. Only an authentic record makes a carrier
count, so a stranger who connects and names our peer takes nothing away from it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from functools import partial

import structlog

from handfast.core.errors import DecodeError, Error, LinkClosed, LinkError, PeerError, RefusedError
from handfast_hub.trunk.carrier import Carrier
from handfast_hub.trunk.events import (
    Beat,
    Data,
    Established,
    Event,
    Failed,
    Heard,
    KeysAhead,
    KeyWanted,
    Silent,
    Suspect,
)
from handfast_hub.trunk.initiator import Initiator
from handfast_hub.trunk.lane import Lane, is_opening, lane_of
from handfast_hub.trunk.opening import Party
from handfast_hub.trunk.paths import Path, Paths
from handfast_hub.trunk.policy import CLASSES, DEFAULT_TIMING, HYBRID, LANES, Timing
from handfast_hub.trunk.responder import Responder
from handfast_hub.trunk.supply import KeySource
from handfast_hub.trunk.tasks import Tasks

_LOG = structlog.get_logger("handfast.hub.trunk")

# Connections that name one peer and have proven nothing; the oldest goes.
UNPROVEN_LIMIT = 16


class Counts:
    """What `handfast-hub trunk status` shows."""

    def __init__(self) -> None:
        self.sent = self.received = self.refused = self.dropped = 0
        self.epochs = {True: 0, False: 0}
        self.failures = 0


def make_lane(party: Party, now: float, timing: Timing = DEFAULT_TIMING) -> Lane:
    """The end of a lane that this hub is: the lower hub_id is the initiator. DecodeError for ourselves."""
    own = party.identity.credential.thumbprint
    if own == party.peer.hub_id:
        raise DecodeError("a trunk joins two hubs; the hub code of its peer is our own")
    return (Initiator if own < party.peer.hub_id else Responder)(party, now, timing)


class Link:
    """One trunk."""

    def __init__(
        self,
        name: str,
        parties: dict[int, Party],
        kme: KeySource | None,
        deliver: Callable[[int, bytes, bool], None],
        woken: Callable[[], None],
        timing: Timing = DEFAULT_TIMING,
        moved: Callable[[], None] = lambda: None,
        keyed: Callable[[Established | Suspect], None] = lambda event: None,
    ) -> None:
        """`parties` by lane. `kme` None is a trunk without QKD: nothing that fails closed is ever sent.
        `deliver` takes class, data and degraded; `woken` hears that it may be worth sending again, `moved`
        that what is on its way was lost with its carrier, `keyed` of epochs that may have a QKD key."""
        now = time.monotonic()
        self.name = name
        self.counts = Counts()
        self._lanes = {number: make_lane(party, now, timing) for number, party in parties.items()}
        self._kme = kme
        self._deliver = deliver
        self._woken = woken
        self._moved = moved
        self._keyed = keyed
        # The lane whose records bring the control packets of the carriers.
        self._beating = min(parties)
        self._paths = Paths(parties[self._beating].random)
        self._tasks = Tasks(name)
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Begin to keep time."""
        self._tasks.keep(self._keep_time)
        if self._kme is not None:
            self._tasks.keep(partial(self._kme.watch, self.alarm, self._more_ways))

    async def close(self) -> None:
        """Let every carrier go."""
        await self._tasks.close()
        for path in self._paths:
            await path.carrier.close()

    @property
    def up(self) -> bool:
        """Whether the peer is heard."""
        return any(not lane.silent for lane in self._lanes.values())

    def fresh(self) -> bool:
        """Whether classes that fail closed may be sent now."""
        return self._lanes[HYBRID].fresh(time.monotonic())

    def epoch(self, lane: int) -> tuple[int, int] | None:
        """The number of the epoch in use on a lane, and over how many ways its QKD key came, 0 without one;
        or None."""
        current = self._lanes[lane].current
        return None if current is None else (current.number, current.ways)

    @property
    def secret_ways(self) -> int:
        """Over how many ways a QKD key must have come for `secret`, as both hubs have agreed."""
        return self._lanes[HYBRID].secret_ways

    def send(self, kind: int, data: bytes) -> None:
        """Send one record of class `kind`; ClassClosed when it must wait. It may be lost on its way."""
        now = time.monotonic()
        self._lanes[CLASSES[kind].lane].send(kind, data, now)
        self.counts.sent += 1
        self._carry(now)

    def alarm(self) -> None:
        """The QKD keys in use are suspect, and those in reserve."""
        if self._kme is not None:
            self._kme.void()
        self._lanes[HYBRID].alarm(time.monotonic())
        self._flush()

    def supply(self) -> dict[str, object] | None:
        """How many QKD keys there are and how long they last; None without a KME."""
        return None if self._kme is None else self._kme.supply()

    def paths(self) -> list[tuple[Path, bool]]:
        """Every carrier that there is, and whether it is the one in use."""
        return [(path, path is self._paths.current) for path in self._paths]

    async def adopt(self, carrier: Carrier, rank: int | None = None) -> None:
        """Take what comes over `carrier` until it ends; LinkError then. `rank` as in paths.py."""
        path = self._paths.add(carrier, rank, time.monotonic())
        strange = [other.carrier for other in self._paths if other.rank is None and not other.carrier.proven]
        # One that was closed a moment ago may still be among them, and is closed again.
        for oldest in strange[:-UNPROVEN_LIMIT]:
            await oldest.close()
        if self.epoch(self._beating) is not None:
            self._paths.judge(time.monotonic())
        for lane in self._lanes.values():
            lane.new_way(time.monotonic())
        self._flush()
        self._wake.set()
        try:
            while True:
                self._take(await carrier.receive(), path)
        except DecodeError as error:
            # Behind a wrong length nothing can be found again.
            raise LinkClosed(error.detail) from None
        finally:
            self._paths.remove(path, time.monotonic())
            self._flush()
            await carrier.close()

    def _take(self, frame: bytes, path: Path) -> None:
        lane = self._lanes.get(lane_of(frame))
        if lane is None:
            self.counts.refused += 1
            return
        authentic = False
        try:
            lane.receive(frame, time.monotonic())
            authentic = not is_opening(frame)
        except RefusedError as error:
            self.counts.refused += 1
            _LOG.warning("the trunk does not open", trunk=self.name, reason=error.detail)
        except Error:
            self.counts.refused += 1
        events = _drain(lane)
        beats = [event for event in events if isinstance(event, Beat)]
        if authentic:
            self._paths.heard(path, not beats, time.monotonic())
        for beat in beats:
            try:
                self._paths.beat(path, beat.packet, time.monotonic())
            except PeerError:
                self.counts.refused += 1
        for event in events:
            self._do(lane, event)
        if beats or self._paths.moved:
            self._flush()
        else:
            # Most records bring no news of their carrier, and looking for some costs as much as opening them.
            self._carry(time.monotonic())

    def _hear(self, lane: Lane) -> None:
        for event in _drain(lane):
            self._do(lane, event)

    def _do(self, lane: Lane, event: Event) -> None:
        if isinstance(event, Data):
            self.counts.received += 1
            self._deliver(event.kind, event.data, event.degraded)
        elif isinstance(event, KeyWanted):
            self._tasks.spawn(self._fetch(lane, event))
        elif isinstance(event, KeysAhead):
            if self._kme is not None and isinstance(lane, Initiator):
                self._kme.agree(event.key_ids)
            elif self._kme is not None:
                self._tasks.spawn(self._hold(self._kme, lane, event.key_ids))
        elif not isinstance(event, Beat):
            self._note(lane, event)

    def _note(self, lane: Lane, event: Established | Suspect | Silent | Heard | Failed) -> None:
        name = LANES[lane.party.lane]
        if isinstance(event, Established | Suspect) and lane.party.lane == HYBRID:
            self._keyed(event)
        if isinstance(event, Established):
            self.counts.epochs[event.hybrid] += 1
            self._paths.judge(time.monotonic())
            self._wake.set()
            _LOG.info(
                "new epoch", trunk=self.name, lane=name, epoch=event.epoch, qkd=event.hybrid, ways=event.ways
            )
            self._woken()
            if self._kme is not None and isinstance(lane, Initiator) and event.hybrid:
                self._tasks.spawn(self._keep_ahead(self._kme, lane))
        elif isinstance(event, Heard):
            _LOG.info("the other hub is heard", trunk=self.name, lane=name)
            self._woken()
        elif isinstance(event, Suspect):
            _LOG.warning("the QKD key in use is suspect", trunk=self.name, lane=name, epoch=event.epoch)
            if self._kme is not None:
                self._kme.void()
        elif isinstance(event, Silent):
            _LOG.warning("the other hub is silent", trunk=self.name, lane=name)
        else:
            self.counts.failures += 1
            _LOG.warning("no new epoch", trunk=self.name, lane=name, reason=event.reason)

    async def _fetch(self, lane: Lane, wanted: KeyWanted) -> None:
        key_id, key, ways = wanted.key_id, None, 1
        try:
            if self._kme is None:
                pass
            elif key_id is None:
                key_id, key, ways = await self._kme.enc_key(wanted.ways, wanted.least)
            else:
                key = await self._kme.dec_key(key_id)
        except Error as error:
            self.counts.failures += 1
            _LOG.warning("no QKD key", trunk=self.name, reason=error.detail)
            if getattr(error, "reason", "") == "qber_alarm" and lane.trusts_qkd:
                # What was distilled just before the alarm is as suspect as what comes now.
                self.alarm()
        self._attempt(lambda: lane.supply(wanted.ticket, key_id, key, time.monotonic(), ways))
        self._hear(lane)
        self._flush()
        self._wake.set()

    async def _hold(self, kme: KeySource, lane: Lane, key_ids: list[bytes]) -> None:
        if await kme.hold(key_ids):
            lane.ahead(kme.ids(), time.monotonic())
            self._flush()

    def _more_ways(self) -> None:
        lane = self._lanes[HYBRID]
        if isinstance(lane, Initiator):
            lane.more_ways(time.monotonic())
            self._wake.set()

    async def _keep_ahead(self, kme: KeySource, lane: Initiator) -> None:
        key_ids = await kme.top_up(lane.secret_ways)
        if key_ids:
            lane.ahead(key_ids, time.monotonic())
            self._flush()

    def _attempt(self, work: Callable[[], None]) -> None:
        """A hub whose source is in alarm makes no epoch; it keeps the one it has, and tries again."""
        try:
            work()
        except Error as error:
            self.counts.failures += 1
            _LOG.error("no new epoch", trunk=self.name, reason=error.detail)

    def _flush(self) -> None:
        now = time.monotonic()
        if self._paths.moved:
            self._paths.moved = False
            for path in self._paths:
                if path.fallen:
                    path.carrier.forget()
            self._moved()
        self._beat(now)
        self._carry(now)

    def _carry(self, now: float) -> None:
        for lane in self._lanes.values():
            self._hear(lane)
            frames = lane.frames_to_send(now)
            if not frames:
                continue
            current = self._paths.current
            # Which carrier leads to the peer is not known before a record came over one.
            everywhere = current is None or any(is_opening(frame) for frame in frames)
            carriers = [path.carrier for path in self._paths if everywhere or path is current]
            dropped = [carrier.send(frames) for carrier in carriers]
            self.counts.dropped += min(dropped, default=len(frames))

    def _beat(self, now: float) -> None:
        for path, packet in self._paths.packets_to_send(now):
            frame = self._lanes[self._beating].beat(packet)
            if frame is not None:
                path.carrier.send_ahead(frame)

    async def _keep_time(self) -> None:
        while True:
            # What has arrived is taken before anybody is believed to be silent; it is a few turns of the
            # loop from the socket to us, and a busy machine may have kept us from them.
            for _ in range(3):
                await asyncio.sleep(0)
            now = time.monotonic()
            for lane in self._lanes.values():
                if now >= lane.timer():
                    self._attempt(partial(lane.handle_timer, now))
            for path in self._paths.handle_timer(now):
                _LOG.warning("a carrier is given up", trunk=self.name, carrier=path.carrier.name)
                self._tasks.spawn(path.carrier.close())
            self._flush()
            due = min(self._paths.timer(), *(lane.timer() for lane in self._lanes.values()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(due - time.monotonic(), 0.01)):
                    await self._wake.wait()
            self._wake.clear()


def _drain(lane: Lane) -> list[Event]:
    events = []
    while (event := lane.next_event()) is not None:
        events.append(event)
    return events


async def keep_dialling(
    link: Link, connect: Callable[[], Coroutine[None, None, Carrier]], rank: int = 0
) -> None:
    """Connect, and connect again, after 0.5 seconds and then longer, up to 10; for ever."""
    pause = 0.5
    while True:
        began = time.monotonic()
        try:
            await link.adopt(await connect(), rank)
        except LinkError as error:
            _LOG.info("no carrier", trunk=link.name, reason=error.detail)
        pause = 0.5 if time.monotonic() - began > 10.0 else min(2 * pause, 10.0)
        await asyncio.sleep(pause)
