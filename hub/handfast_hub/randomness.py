"""The hub's random bytes: drawn from its tested source like a device's, ready before they are asked for.

Workers draw from several threads, and a draw cannot wait for a source; so a task keeps the pool
filled, and a hub whose source is in alarm stops answering instead of making keys.
"""

import asyncio
import threading

import structlog

from handfast.core.errors import EntropyError, Error
from handfast_cpython.entropy import Entropy

_LOG = structlog.get_logger("handfast.hub.randomness")

# Draws that are fetched at once, and how few may be left before that. A handshake takes four.
BATCH = 4096
LOW = 2048


class Randomness:
    """A function `random(length)` over an Entropy port."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._lock = threading.Lock()
        self._left = 0
        self._loop = asyncio.get_running_loop()
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Test the source and fill the pool; EntropyError when it is in alarm."""
        await self._fill()

    def __call__(self, length: int) -> bytes:
        """`length` bytes; EntropyError when the source failed. May be called from any thread."""
        with self._lock:
            value = self._entropy.random(length)
            self._left -= 1
            low = self._left == LOW
        if low:
            self._loop.call_soon_threadsafe(self._refill)
        return value

    async def close(self) -> None:
        """Let go of the source."""
        self._closed = True
        if self._refilling is not None:
            await asyncio.gather(self._refilling, return_exceptions=True)
        await self._entropy.close()

    def _refill(self) -> None:
        if not self._closed and (self._refilling is None or self._refilling.done()):
            self._refilling = asyncio.create_task(self._fill_or_log())

    async def _fill_or_log(self) -> None:
        try:
            await self._fill()
        except Error as error:
            _LOG.error("no more randomness for keys", reason=error.detail)

    async def _fill(self) -> None:
        await self._entropy.prepare(BATCH)
        with self._lock:
            self._left = BATCH
