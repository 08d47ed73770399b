"""A process full of devices, for tests: reads lines of JSON, does what they say, answers in JSON.

Each device is a real Device over MQTT; only its flash and its quantum source are simulated. It
answers every command with what the command said, and counts how often it has heard it.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence

from handfast import Device
from handfast.core.errors import LocalError, RefusedError
from handfast_cpython.swarm import Simulated, Swarm
from handfast_cpython.swarm_live import LiveHub


class FastClock:
    """A machine's clock that runs `rate` times as fast: timers of a minute end within seconds."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def now(self) -> float:
        """Seconds."""
        return time.monotonic() * self._rate

    async def sleep(self, seconds: float) -> None:
        """Let others work for that long."""
        await asyncio.sleep(seconds / self._rate)


class Fleet:
    """What a test may ask for."""

    def __init__(self) -> None:
        self._swarm: Swarm | None = None
        self._obeying: list[asyncio.Task[None]] = []
        self._commands: Counter[str] = Counter()
        self._sending: asyncio.Task[None] | None = None
        self._sent = 0

    async def onboard(
        self, code: str, broker: str, tokens: Sequence[str], seed: int, within: float, rate: float = 1.0
    ) -> dict[str, object]:
        """One device for each token, whose clocks run `rate` times as fast; the summary."""
        hub = LiveHub(code, broker, None, tokens)
        self._swarm = Swarm(len(tokens), hub, clock=FastClock(rate), seed=seed, at_once=100)
        summary = await self._swarm.onboard(within)
        self._obeying = [asyncio.create_task(self._obey(each)) for each in self._swarm.devices]
        return summary._asdict()

    async def telemetry(self, count: int) -> int:
        """Each device sends `count` readings, and the broker has them all; how many."""
        return sum(await asyncio.gather(*(self._send(each, count) for each in self._onboarded())))

    async def begin(self, pause: float) -> None:
        """From now on each device sends a reading every `pause` seconds."""
        self._sending = asyncio.create_task(self._keep_sending(pause))

    async def end(self) -> int:
        """Send no more and wait until the broker has everything; how many readings there were."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await asyncio.gather(*(device.drain() for device in self._onboarded()))
        return self._sent

    async def heard(self) -> dict[str, int]:
        """How often each command was heard."""
        return dict(self._commands)

    async def states(self) -> dict[str, int]:
        """How many devices are in each state."""
        return dict(Counter(each.state for each in self._devices()))

    async def ids(self) -> list[str]:
        """The device_id of each device."""
        return [(device.device_id or b"").hex() for device in self._onboarded()]

    async def attempts(self) -> int:
        """How many times a device has connected to onboard or to work."""
        return sum(each.link.connects for each in self._devices())

    async def reused(self) -> list[str]:
        """Nonces under which a device sealed two records."""
        return [] if self._swarm is None else self._swarm.reused_nonces()

    async def close(self) -> None:
        """Everybody leaves."""
        for task in self._obeying:
            task.cancel()
        if self._swarm is not None:
            await self._swarm.close()

    def _devices(self) -> list[Simulated]:
        return [] if self._swarm is None else self._swarm.devices

    def _onboarded(self) -> list[Device]:
        return [each.device for each in self._devices() if each.device is not None]

    async def _send(self, device: Device, count: int) -> int:
        sent = 0
        for _ in range(count):
            sent += await self._send_one(device)
        await device.drain()
        return sent

    async def _send_one(self, device: Device) -> int:
        """A reading that names its device and is unlike every other one; 0 when there is no room."""
        try:
            await device.send(f"{device.thumbprint[:6].hex()} {self._sent}".encode())
        except (LocalError, RefusedError):
            return 0
        self._sent += 1
        return 1

    async def _keep_sending(self, pause: float) -> None:
        while True:
            for device in self._onboarded():
                await self._send_one(device)
                await asyncio.sleep(pause / max(1, len(self._onboarded())))

    async def _obey(self, simulated: Simulated) -> None:
        if simulated.device is None:
            return
        try:
            async for message in simulated.device.messages():
                if message.channel == "command":
                    self._commands[message.data.decode()] += 1
                    await message.reply(message.data)
        except RefusedError:
            return


async def main() -> None:
    """Serve the test until the input ends."""
    fleet = Fleet()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            name, arguments = json.loads(line)
            try:
                answer = [True, await getattr(fleet, name)(**arguments)]
            except Exception as error:
                answer = [False, f"{type(error).__name__}: {error}"]
            print(json.dumps(answer), flush=True)
    finally:
        await fleet.close()


if __name__ == "__main__":
    asyncio.run(main())
