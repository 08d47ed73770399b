"""A bad network between two hubs: a relay that drops frames, records what it delivered, and plays it again.

It reads the head of each record, which stands in clear, as anybody on the way can: so it counts by
class and epoch what the hubs really sent, whatever they say of it.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter, OrderedDict

from handfast.core.errors import Error, LinkClosed
from handfast_hub.trunk.carrier import Carrier, Port
from handfast_hub.trunk.greeting import Caller, Door
from handfast_hub.trunk.lane import is_opening
from handfast_hub.trunk.policy import CLASSES
from handfast_hub.trunk.quic import QuicCarrier, dial_quic
from handfast_hub.trunk.quic_port import listen_quic
from handfast_hub.trunk.records import Header
from handfast_hub.trunk.tcp import TcpCarrier, dial_tcp, listen_tcp

# Of each epoch so many records are kept, and of so many epochs; enough for any replay.
KEPT_OF_EPOCH = 128
KEPT_EPOCHS = 64

LISTEN = {"tcp": listen_tcp, "quic": listen_quic}
DIAL = {"tcp": dial_tcp, "quic": dial_quic}

# Directions: from the hub that dials, and to it.
UP, DOWN = "up", "down"


class Span:
    """Records of one epoch in a row, of classes that fail closed; `at` is when the first one came."""

    def __init__(self, direction: str, epoch: int, degraded: bool, at: float) -> None:
        self.direction = direction
        self.epoch = epoch
        self.degraded = degraded
        self.at = at
        self.count = 0


class Network:
    """What the network does to a frame, and what was seen of it; it serves any carrier that has frames."""

    def __init__(self, loss: float, rng: random.Random) -> None:
        self.loss = loss
        self._rng = rng
        self.carried: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        # What went of classes that fail closed, lost ones too.
        self.spans: list[Span] = []
        # Delivered records with data by direction and epoch, the newest epoch last.
        self._kept: dict[str, OrderedDict[int, list[bytes]]] = {UP: OrderedDict(), DOWN: OrderedDict()}

    def passes(self, direction: str, frame: bytes) -> bool:
        """Whether this frame arrives."""
        self.carried[direction] += 1
        arrives = self._rng.random() >= self.loss
        self.dropped[direction] += not arrives
        if not is_opening(frame):
            header = Header(frame)
            if header.kind in CLASSES:
                if CLASSES[header.kind].fail_closed:
                    self._span(direction, header)
                if arrives:
                    self._keep(direction, header.epoch, frame)
        return arrives

    def _span(self, direction: str, header: Header) -> None:
        last = self.spans[-1] if self.spans else None
        if last is None or (last.direction, last.epoch, last.degraded) != (
            direction,
            header.epoch,
            header.degraded,
        ):
            last = Span(direction, header.epoch, header.degraded, time.time())
            self.spans.append(last)
        last.count += 1

    def _keep(self, direction: str, epoch: int, frame: bytes) -> None:
        kept = self._kept[direction]
        frames = kept.setdefault(epoch, [])
        # Numbers begin anew when both hubs were killed; the newest epoch is the last one that was used.
        kept.move_to_end(epoch)
        if len(frames) < KEPT_OF_EPOCH:
            frames.append(frame)
        if len(kept) > KEPT_EPOCHS:
            kept.popitem(last=False)

    def recorded(self, direction: str, count: int) -> list[bytes]:
        """`count` records that were delivered, half of them of the newest epoch and half of older ones.

        Some of them more than once when there are few; none when there are none.
        """
        epochs = list(self._kept[direction].values())
        new = [frame for frames in epochs[-1:] for frame in frames]
        old = [frame for frames in epochs[:-1] for frame in frames] or new
        if not new:
            return []
        return self._rng.choices(new, k=count // 2) + self._rng.choices(old, k=count - count // 2)


class Relay:
    """Stands at a port in front of the hub that listens, and holds the pairing secret: over QUIC, whose TLS
    protects nothing here, it could not be in the middle without."""

    def __init__(self, scheme: str, port: int, target: int, network: Network, thief: Caller) -> None:
        self.scheme = scheme
        self.port = port
        self.target = target
        self.network = network
        self.thief = thief
        self._listening: Port | None = None
        # How often a hub was connected, and what leads to each now.
        self.calls = 0
        self._live: dict[str, Carrier] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._listening = await LISTEN[self.scheme]("127.0.0.1", self.port, self._called, Door([self.thief]))

    async def close(self) -> None:
        await self.cut()
        if self._listening is not None:
            await self._listening.close()

    async def cut(self) -> None:
        """End every connection; the hubs dial anew."""
        for carrier in list(self._live.values()):
            await carrier.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def inject(self, direction: str, frames: list[bytes]) -> int:
        """Play frames into the live connection; how many were taken."""
        carrier = self._live.get(direction)
        return 0 if carrier is None else len(frames) - carrier.send(frames)

    async def _called(self, near: Carrier) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far = None
        try:
            await near.greeting()
            far = await DIAL[self.scheme]("127.0.0.1", self.target, self.thief)
            # Nobody proves anything to us, who can open no record; and we have the memory.
            near.proven = far.proven = True
            self.calls += 1
            self._live = {UP: far, DOWN: near}
            pumps = [
                asyncio.ensure_future(self._pump(near, far, UP)),
                asyncio.ensure_future(self._pump(far, near, DOWN)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except (Error, asyncio.CancelledError):
            # The hub behind us is away, or the network goes down.
            pass
        finally:
            self._tasks.discard(task)
            for carrier in (near, far):
                if carrier is not None:
                    await carrier.close()

    async def _pump(self, source: Carrier, sink: Carrier, direction: str) -> None:
        with contextlib.suppress(LinkClosed):
            while True:
                frame = await source.receive()
                if self.network.passes(direction, frame):
                    sink.send([frame])


async def replay_as_thief(scheme: str, port: int, thief: Caller, frames: list[bytes]) -> None:
    """Connect to a hub's trunk port with the pairing secret of its peer, and send it recorded frames."""
    carrier = await DIAL[scheme]("127.0.0.1", port, thief)
    try:
        await _left(carrier)
        carrier.send(frames)
        await _left(carrier)
    finally:
        await carrier.close()


async def _left(carrier: Carrier) -> None:
    """What was sent has left; over QUIC a greeting that is overtaken by a record makes it worthless."""
    async with asyncio.timeout(60.0):
        if isinstance(carrier, QuicCarrier):
            while carrier._connection.backlog(0):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        elif isinstance(carrier, TcpCarrier):
            await carrier._writer.drain()
