"""A UDP relay between two hubs that loses, repeats, reorders and spoils what it carries, or goes dark."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any


class Shaken(asyncio.DatagramProtocol):
    """One direction's socket of a relay: what comes here leaves by `out`, as badly as the relay says."""

    def __init__(self, relay: "ShakenPath", arrived: Any) -> None:
        self._arrived = arrived
        self._relay = relay
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._relay.carry(data, addr, self._arrived)


class ShakenPath:
    """Carries UDP between whoever calls its port and `target`, for one caller."""

    def __init__(self, target: tuple[str, int], seed: int = 1) -> None:
        self.target = target
        self._rng = random.Random(seed)
        self.loss = self.repeats = self.late = self.spoilt = 0.0
        # Seconds that every datagram takes.
        self.delay = 0.0
        self.dark = False
        self.carried = self.lost = 0
        self._caller: Any = None
        self._near: Shaken | None = None
        self._far: Shaken | None = None

    async def open(self, port: int = 0) -> int:
        """Listen; the port."""
        loop = asyncio.get_running_loop()
        _, self._near = await loop.create_datagram_endpoint(
            lambda: Shaken(self, self._forward), local_addr=("127.0.0.1", port)
        )
        await self.move()
        return int(self._near.transport.get_extra_info("sockname")[1])

    async def move(self) -> None:
        """Send from another port from now on, as a NAT does that has forgotten us."""
        if self._far is not None:
            self._far.transport.close()
        _, self._far = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Shaken(self, self._back), local_addr=("127.0.0.1", 0)
        )

    def close(self) -> None:
        for side in (self._near, self._far):
            if side is not None:
                side.transport.close()

    def carry(self, data: bytes, addr: Any, arrived: Any) -> None:
        """Carry a datagram, or lose it, or carry it twice, or after others."""
        self.carried += 1
        if self.dark or self._rng.random() < self.loss:
            self.lost += 1
            return
        if self._rng.random() < self.spoilt:
            at = self._rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ self._rng.randrange(1, 256)]) + data[at + 1 :]
        for _ in range(2 if self._rng.random() < self.repeats else 1):
            delay = self.delay + (self._rng.uniform(0.001, 0.02) if self._rng.random() < self.late else 0.0)
            if delay:
                asyncio.get_running_loop().call_later(delay, arrived, data, addr)
            else:
                arrived(data, addr)

    def _forward(self, data: bytes, addr: Any) -> None:
        self._caller = addr
        if not self._far.transport.is_closing():
            self._far.transport.sendto(data, self.target)

    def _back(self, data: bytes, addr: Any) -> None:
        if self._caller is not None and not self._near.transport.is_closing():
            self._near.transport.sendto(data, self._caller)


@contextlib.asynccontextmanager
async def shaken(target: int, port: int) -> AsyncIterator[ShakenPath]:
    """A relay on `port` before the UDP port `target`."""
    relay = ShakenPath(("127.0.0.1", target))
    await relay.open(port)
    try:
        yield relay
    finally:
        relay.close()
