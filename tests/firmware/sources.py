"""Quantum sources and serial ports that do what a test says."""

import asyncio

from handfast.core.constants import SOURCE_QUANTUM


class Noise:
    """Bytes that pass every health test and are no secret (xorshift32)."""

    def __init__(self, seed: int = 2463534242) -> None:
        self._state = seed

    def __call__(self, length: int) -> bytes:
        """The next bytes."""
        out = bytearray(length)
        state = self._state
        for at in range(length):
            state ^= state << 13 & 0xFFFFFFFF
            state ^= state >> 17
            state ^= state << 5 & 0xFFFFFFFF
            out[at] = state >> 11 & 0xFF
        self._state = state
        return bytes(out)


class Source:
    """Good noise; `fault(length)` answers the reads from byte `after` on, once it is set."""

    kind = SOURCE_QUANTUM
    model = "scripted"
    min_entropy = 0.9

    def __init__(self, seed: int = 2463534242) -> None:
        self.noise = Noise(seed)
        self.given = bytearray()
        self.after = 0
        self.fault = None
        self.closed = 0

    async def read(self, length: int) -> bytes:
        """Noise, or the fault."""
        if self.fault is not None and len(self.given) >= self.after:
            raw = self.fault(length)
            if raw is None:
                await asyncio.Event().wait()
            return raw
        raw = self.noise(length)
        self.given.extend(raw)
        return raw

    async def close(self) -> None:
        """Count."""
        self.closed += 1


class Port:
    """A serial port in memory: `coming` are the chunks that reads give, then it is silent or gone."""

    def __init__(self, coming: "list[bytes]", gone: bool = False) -> None:
        self.coming = list(coming)
        self.gone = gone
        self.written = bytearray()
        self.stale = 0
        self.closed = 0
        self.bell = asyncio.Event()

    async def read(self, length: int) -> bytes:
        """The next chunk, or what fits of it."""
        while not self.coming:
            if self.gone:
                return b""
            self.bell.clear()
            await self.bell.wait()
        chunk = self.coming.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        if len(chunk) > length:
            self.coming.insert(0, chunk[length:])
        return chunk[:length]

    async def write(self, data: bytes) -> None:
        """Keep it."""
        if self.gone:
            raise OSError(5)
        self.written.extend(data)

    def discard(self) -> None:
        """Count."""
        self.stale += 1

    def close(self) -> None:
        """Who waits for a byte finds the port gone."""
        self.closed += 1
        self.gone = True
        self.bell.set()
