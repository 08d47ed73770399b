"""The hub's random bytes: drawn from its tested source like a device's, ready before they are asked for.

Workers draw from several threads, and a draw cannot wait for a source; so a task keeps the pool
filled, and a hub whose source is in alarm stops answering instead of making keys.
"""

import asyncio
import threading
from collections.abc import Callable

import structlog

from handfast.core.errors import Error, LocalError
from handfast.ports import Crypto
from handfast_cpython.entropy import Entropy
from handfast_cpython.keystore import Keystore
from handfast_cpython.qrng import open_source
from handfast_hub.config import HubConfig

_LOG = structlog.get_logger("handfast.hub.randomness")

# Draws that are fetched at once, and how few may be left before that. A handshake takes one.
BATCH = 4096
LOW = 2048
# After a source that failed it is asked again, the longest pause being the last figure, in seconds.
RETRY_FIRST, RETRY_LONGEST = 1.0, 60.0

# What one handshake uses: coins of the KEM, C_R, the signature's randomness, device_id and r_H.
HANDSHAKE_BYTES = 64 + 8 + 32 + 8 + 32


class Portions:
    """One draw for a whole handshake, handed out in pieces; made when the first piece is asked for.

    A draw of a tested source costs as much as three KDF calls, and who has not passed the gate shall
    cost none.
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._draw: bytes | None = None

    def __call__(self, length: int) -> bytes:
        """The next `length` bytes; LocalError when the draw is used up, EntropyError as `random`."""
        if self._draw is None:
            self._draw = self._random(HANDSHAKE_BYTES)
        if length > len(self._draw):
            raise LocalError("a handshake uses more random bytes than were drawn for it")
        portion, self._draw = self._draw[:length], self._draw[length:]
        return portion


class Randomness:
    """A function `random(length)` over an Entropy port."""

    def __init__(self, entropy: Entropy, keystore: Keystore) -> None:
        self._entropy = entropy
        self._keystore = keystore
        self._lock = threading.Lock()
        self._left = 0
        self._loop = asyncio.get_running_loop()
        # From the call that found the pool low until it is full again.
        self._low = False
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
            low = self._left <= LOW and not self._low
            self._low = self._low or low
        if low:
            self._loop.call_soon_threadsafe(self._refill)
        return value

    async def close(self) -> None:
        """Let go of the source."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)
        await self._entropy.close()
        self._keystore.close()

    def _refill(self) -> None:
        if not self._closed:
            self._refilling = asyncio.create_task(self._fill_at_last())

    async def _fill_at_last(self) -> None:
        pause = RETRY_FIRST
        while True:
            try:
                return await self._fill()
            except Error as error:
                _LOG.error("no more randomness for keys", reason=error.detail)
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_LONGEST)

    async def _fill(self) -> None:
        await self._entropy.prepare(BATCH)
        with self._lock:
            self._left = BATCH
            self._low = False


async def open_randomness(config: HubConfig, crypto: Crypto) -> Randomness:
    """The hub's randomness, its source tested; EntropyError in alarm, KeystoreError for its state."""
    keystore = Keystore(config.entropy.state)
    try:
        entropy = Entropy(crypto, keystore, open_source(config.entropy.source), batch=BATCH)
        randomness = Randomness(entropy, keystore)
        await randomness.start()
    except BaseException:
        keystore.close()
        raise
    return randomness
