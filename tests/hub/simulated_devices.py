"""Simulated devices at a hub in this process, and an ear on all that the hub sends them."""

import asyncio
from collections.abc import Callable

from handfast import Device
from handfast.core import topics
from handfast.core.records import decode_header
from handfast_cpython.swarm import Simulated, Swarm
from handfast_hub.memory_hub import MemoryHub

Fleet = Callable[..., Swarm]


class Overheard:
    """Every record that a hub sends to devices; `reused` holds nonces that sealed two records."""

    def __init__(self, hub: MemoryHub) -> None:
        self.records: list[tuple[int, int, int]] = []
        self.reused: list[tuple[str, int, int]] = []
        self._seen: dict[tuple[str, int, int], bytes] = {}
        self._publish = hub.broker.publish
        hub.broker.publish = self.publish  # type: ignore[method-assign]

    def publish(self, topic: str, payload: bytes) -> None:
        parsed = topics.parse(topic)
        if parsed.device_id is not None:
            header = decode_header(payload)
            name = (parsed.device_id.hex(), header.epoch, header.piv)
            if self._seen.setdefault(name, payload) != payload:
                self.reused.append(name)
            self.records.append((parsed.channel, header.epoch, header.piv))
        self._publish(topic, payload)


def device(simulated: Simulated) -> Device:
    """The device of the library inside, which is there."""
    assert simulated.device is not None
    return simulated.device


async def kept(hub: MemoryHub) -> list[bytes]:
    """What the registry holds, in the order of delivery."""
    return [reading.data for reading in await hub.operator.readings(0, 100_000)]


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until it holds, by the real clock: the database has threads."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it never came true"
        await asyncio.sleep(0.005)


async def obey(simulated: Simulated, heard: list[bytes]) -> None:
    """Answer every command, and note it."""
    async for message in device(simulated).messages():
        if message.channel == "command":
            heard.append(message.data)
            await message.reply(b"done")


async def start_again(simulated: Simulated) -> None:
    """A power cut: another Device over the same flash."""
    await device(simulated).close()
    simulated.device = Device(simulated.host, simulated.link)
    await simulated.device.onboard()
