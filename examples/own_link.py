"""Your own way to carry payloads: a class with these four methods is a Link, nobody inherits.

    handfast init --hub HUBCODE --token TOKEN --broker mqtt://none --home device
    python own_link.py device 127.0.0.1 7001 "21.5 C"

It speaks to a relay over TCP. That may lose, delay, repeat or change what it likes: handfast protects.
"""

import asyncio
import sys

from handfast import Device, LinkClosed
from handfast.core.topics import Endpoint
from handfast_cpython import Host


class TcpLink:
    """Lines, both ways: topic, space, payload in hex. Our first line has no payload: we listen there."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, endpoint: Endpoint) -> None:
        """Comes once for each attempt to onboard, and once more as the device that it then is."""
        await self.close()
        try:
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=2**18)
        except OSError as error:
            # The device waits and tries again; any other error would end it.
            raise LinkClosed(f"no relay at {self._address}") from error
        self._endpoint = endpoint
        self._writer.write(f"{endpoint.down}\n".encode())

    async def send(self, channel: int | None, payload: bytes) -> None:
        # None while it onboards; an enrolled device sends on channels, each of them a topic.
        topic = self._endpoint.up if channel is None else f"{self._endpoint.up}/{channel}"
        self._writer.write(f"{topic} {payload.hex()}\n".encode())

    async def receive(self) -> tuple[int | None, bytes]:
        try:
            topic, payload = (await self._reader.readline()).decode().split(" ")
            return int(topic.rpartition("/")[2]) if self._endpoint.channels else None, bytes.fromhex(payload)
        except (OSError, ValueError) as error:
            raise LinkClosed("the relay has hung up, or talks nonsense") from error

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


async def main(home: str, host: str, port: str, reading: str) -> None:
    async with Device(Host(home), TcpLink(host, int(port))) as device:
        await device.onboard()
        await device.send(reading.encode())
        await device.drain()  # until the link has it


asyncio.run(main(*sys.argv[1:]))
