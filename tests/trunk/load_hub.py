"""One of the two hubs of a load run, as a process.

    python tests/trunk/load_hub.py onboard|source|sink HUB.TOML

`onboard` gives the hub a few devices, by the protocol and a broker in memory, and ends. `source` is a
whole Hub that records readings of them; `sink` is a whole Hub that counts what `bridged()` gives it.
Both talk with load_run.py in JSON lines: ["status"], ["rate", 2000.0] in; objects with "kind" out.

The load enters where a hub's Traffic hands an opened record to the registry: real rings of real
devices, windows moved, one delivery transaction for what waits. What a device's MQTT packet and
its AES-CCM cost is not in it; docs/benchmarks.md has that by itself.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import structlog
from load_audit import last_counts, pack, unpack
from load_plan import DEVICES, SHARES

from handfast.core.hub_session import Opened, Ring
from handfast.core.replay import accept
from handfast.core.topics import CHANNEL_NAMES
from handfast.testing import FakeClock, MemoryBroker
from handfast_cpython.swarm import Swarm
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.registry.delivery import Delivery
from handfast_hub.traffic import Reading
from handfast_hub.trunk.policy import CLASSES

TICK = 0.02
# Readings that wait for their commit; a database that does not keep up slows the load down.
UNCOMMITTED_LIMIT = 4096
CHANNELS = {name: number for number, name in CHANNEL_NAMES.items()}


def say(kind: str, **fields: object) -> None:
    """One line for the parent."""
    sys.stdout.write(json.dumps({"kind": kind, **fields}) + "\n")
    sys.stdout.flush()


class Source:
    """Records readings at a rate, as devices would; goes on with the number after the last committed one."""

    def __init__(self, hub: Hub, database: Path, size: int) -> None:
        self._hub = hub
        self._registry = hub._registry
        self._size = size
        found = last_counts(database, "readings", "channel")
        self.made = {CHANNELS[channel]: found.get(CHANNELS[channel], -1) + 1 for channel, _, _ in SHARES}
        self.committed = dict(self.made)
        self.rate = 0.0
        self._rings: list[Ring] = []
        self._uncommitted = 0
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Which channel comes next, in the shares of the plan, in an order that mixes them.
        self._turns = [CHANNELS[channel] for channel, _, share in SHARES for _ in range(share)]
        random.Random(7).shuffle(self._turns)

    async def run(self) -> None:
        """Until cancelled."""
        for device in await self._hub.operator.devices():
            stored = await self._registry.load(device.device_id, time.time())
            assert stored is not None
            self._rings.append(stored.ring)
        due, then, turn = 0.0, time.monotonic(), 0
        while True:
            await asyncio.sleep(TICK)
            if self._failure is not None:
                raise self._failure
            now = time.monotonic()
            due, then = min(due + self.rate * (now - then), self.rate), now
            while due >= 1.0 and self._uncommitted < UNCOMMITTED_LIMIT:
                due -= 1.0
                turn += 1
                self._record(turn % len(self._rings), self._turns[turn % len(self._turns)])

    def _record(self, number: int, channel: int) -> None:
        before = self._rings[number]
        key = before.active
        assert key is not None
        piv, now = key.window.highest + 1, time.time()
        after = before._replace(active=key._replace(window=accept(key.window, piv, channel)))
        data = pack(self.made[channel], self._size)
        opened = Opened(data, after, key.epoch, piv, key.attempt, promoted=False, stepped=False)
        self._rings[number] = after
        self.made[channel] += 1
        self._uncommitted += 1
        task = asyncio.create_task(self._commit(Delivery(before, opened, channel, data, None, now)))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()

    async def _commit(self, delivery: Delivery) -> None:
        refusal = await self._registry.deliver(delivery)
        assert refusal is None, refusal
        self._uncommitted -= 1
        self.committed[delivery.channel] += 1
        name = CHANNEL_NAMES[delivery.channel]
        self._hub._deliver(Reading(delivery.before.device_id, "", name, delivery.data or b"", delivery.now))

    def counts(self) -> dict[str, int]:
        """How many readings of each class were ever committed."""
        return {traffic: self.committed[CHANNELS[channel]] for channel, traffic, _ in SHARES}

    def begun(self) -> dict[str, int]:
        """The same with those whose commit is under way."""
        return {traffic: self.made[CHANNELS[channel]] for channel, traffic, _ in SHARES}


class Sink:
    """Counts what comes over the trunk; notes whatever is not the number after the one before."""

    def __init__(self, hub: Hub, database: Path) -> None:
        self._hub = hub
        found = last_counts(database, "trunk_readings", "kind")
        self.next = {number: found.get(number, -1) + 1 for number in CLASSES}
        self.wrong: Counter[str] = Counter()

    async def run(self) -> None:
        """Until cancelled."""
        async for arrival in self._hub.bridged():
            kind, count = arrival.stream.kind, unpack(arrival.data)
            if count < self.next[kind]:
                self.wrong["twice or out of order"] += 1
            elif count > self.next[kind]:
                self.wrong["missing"] += count - self.next[kind]
            if CLASSES[kind].fail_closed and arrival.degraded:
                self.wrong["secret and degraded"] += 1
            self.next[kind] = max(self.next[kind], count + 1)

    def counts(self) -> dict[str, int]:
        """How many readings of each class are here."""
        return {CLASSES[kind].name: count for kind, count in self.next.items()}

    begun = counts


async def serve(role: str, file: Path, size: int) -> None:
    """Run one of the two until the parent closes our input."""
    config = load_config(file)
    hub = Hub(config, transport=MemoryBroker())
    tasks: list[asyncio.Task[None]] = []
    sink = Sink(hub, Path(config.database)) if role == "sink" else None
    if sink is not None:
        # It listens before the trunk opens, so nothing passes it by.
        tasks.append(asyncio.create_task(sink.run()))
        await asyncio.sleep(0)
    async with hub:
        part: Any = sink or Source(hub, Path(config.database), size)
        tasks.append(asyncio.create_task(_report(hub, part)))
        if sink is None:
            tasks.append(asyncio.create_task(part.run()))
        tasks.append(asyncio.create_task(_obey(hub, part)))
        say("ready")
        # The end of our input ends `_obey`; a failure of any part ends the hub, and says why.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for task in done:
            task.result()


async def _report(hub: Hub, part: Any) -> None:
    while True:
        say("counts", counts=part.counts(), wrong=dict(getattr(part, "wrong", {})), cpu=time.process_time())
        await asyncio.sleep(0.5)


async def _obey(hub: Hub, part: Any) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        verb, *rest = json.loads(line)
        if verb == "rate":
            part.rate = rest[0]
        else:
            [status] = hub.trunks.status().values()
            say("status", status=status, hub_id=hub.hub_id.hex(), begun=part.begun())


async def onboard(file: Path) -> None:
    """Give the hub its devices."""
    async with (
        MemoryHub(load_config(file), FakeClock()) as hub,
        Swarm(devices=DEVICES, hub=hub, clock=hub.fake_clock, seed=1) as fleet,
    ):
        await fleet.onboard(within=60)
        assert fleet.count("active") == DEVICES


def main() -> None:
    role, file = sys.argv[1], Path(sys.argv[2])
    # What the hub says, line by line, in the folder of the hub: load_audit.py reads its epochs there.
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory((file.parent / "log.jsonl").open("a", buffering=1)),
    )
    asyncio.run(onboard(file) if role == "onboard" else serve(role, file, int(sys.argv[3])))


if __name__ == "__main__":
    main()
