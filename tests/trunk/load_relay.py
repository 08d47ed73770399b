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
from handfast_hub.trunk.carrier import GREETING_LENGTH, Carrier, encode_greeting, in_stream
from handfast_hub.trunk.greeting import CHALLENGE_LENGTH, Caller
from handfast_hub.trunk.lane import is_opening
from handfast_hub.trunk.policy import CLASSES
from handfast_hub.trunk.records import Header
from handfast_hub.trunk.tcp import TcpCarrier

# Of each epoch so many records are kept, and of so many epochs; enough for any replay.
KEPT_OF_EPOCH = 128
KEPT_EPOCHS = 64

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
    """Stands at a TCP port in front of the hub that listens."""

    def __init__(self, port: int, target: int, network: Network) -> None:
        self.port = port
        self.target = target
        self.network = network
        self._server: asyncio.Server | None = None
        # How often a hub was connected, and what leads to each now.
        self.calls = 0
        self._live: dict[str, Carrier] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._called, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

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

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        near, far = TcpCarrier(reader, writer), None
        try:
            far = await self._introduced(reader, writer)
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

    async def _introduced(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Carrier:
        """What leads to the hub that listens, once challenge and answer have passed by us."""
        try:
            behind, ahead = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError as error:
            raise LinkClosed(f"the hub is away: {error}") from None
        try:
            writer.write(await behind.readexactly(CHALLENGE_LENGTH))
            ahead.write(await reader.readexactly(GREETING_LENGTH))
        except (OSError, EOFError) as error:
            ahead.close()
            raise LinkClosed(f"the hub is away: {error}") from None
        return TcpCarrier(behind, ahead)

    async def _pump(self, source: Carrier, sink: Carrier, direction: str) -> None:
        with contextlib.suppress(LinkClosed):
            while True:
                frame = await source.receive()
                if self.network.passes(direction, frame):
                    sink.send([frame])


async def replay_as_thief(port: int, thief: Caller, frames: list[bytes]) -> None:
    """Connect to a hub's trunk port with the pairing secret of its peer, and send it recorded frames."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    challenge = await reader.readexactly(CHALLENGE_LENGTH)
    writer.write(encode_greeting(thief.answer(challenge)) + in_stream(frames))
    # What is queued leaves before the connection ends.
    writer.close()
    await writer.wait_closed()
