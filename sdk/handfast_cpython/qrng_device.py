"""Sources that are files of this machine: the operating system's generator and character devices."""

import asyncio
import os
import stat
import threading
from pathlib import Path

from handfast.core.constants import SOURCE_OPERATING_SYSTEM, SOURCE_QUANTUM
from handfast.core.errors import EntropyError

# The kernel's own devices. None of them is known to be quantum, whatever feeds them.
KERNEL_DEVICES = ("/dev/hwrng", "/dev/random", "/dev/urandom")
HWRNG_NAME = Path("/sys/class/misc/hw_random/rng_current")
# Seconds between two tries of a device that has nothing yet.
PAUSE = 0.02
# Seconds that a read which was given up may still hold the device.
PATIENCE = 0.5


class SystemSource:
    """The operating system's generator, getrandom(2). Conditioned, so it claims full entropy."""

    kind = SOURCE_OPERATING_SYSTEM
    model = "operating system"

    def __init__(self, min_entropy: float = 1.0) -> None:
        """`min_entropy`: claimed bits per bit."""
        self.min_entropy = min_entropy

    async def read(self, length: int) -> bytes:
        """`length` bytes."""
        return os.urandom(length)

    async def close(self) -> None:
        """Nothing is open."""


class DeviceSource:
    """A character device that gives raw bytes, such as /dev/qrandom0 or /dev/hwrng."""

    def __init__(self, path: str, min_entropy: float = 0.8) -> None:
        """The device is opened by the first read. `min_entropy`: claimed bits per bit."""
        self.kind = SOURCE_OPERATING_SYSTEM if path in KERNEL_DEVICES else SOURCE_QUANTUM
        self.model = _model(path)
        self.min_entropy = min_entropy
        self._path = path
        self._descriptor = -1
        # A read that timed out goes on in its thread: nothing is closed under its feet, or it would read
        # from whatever file gets the number next.
        self._busy = threading.Lock()

    async def read(self, length: int) -> bytes:
        """1 to `length` bytes; waits as long as the device has none. EntropyError when it is gone."""
        while True:
            try:
                # In a thread, because drivers exist that block although they are asked not to.
                raw = await asyncio.to_thread(self._read, length)
            except BlockingIOError:
                await asyncio.sleep(PAUSE)
                continue
            except OSError as error:
                await self.close()
                raise EntropyError(
                    f"{self._path}: {error.strerror or error}; is it plugged in, and may this user read it?"
                ) from error
            if not raw:
                await self.close()
                raise EntropyError(f"{self._path} ended; is the device still plugged in?")
            return raw

    async def close(self) -> None:
        """Let go of the device; may be called twice. A driver that hangs in a read keeps it."""
        await asyncio.to_thread(self._close)

    def _read(self, length: int) -> bytes:
        if not self._busy.acquire(timeout=PATIENCE):
            raise BlockingIOError
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
                if not stat.S_ISCHR(os.fstat(self._descriptor).st_mode):
                    raise EntropyError(
                        f"{self._path} is not a character device; bytes that lie in a file are no entropy"
                    )
            return os.read(self._descriptor, length)
        finally:
            self._busy.release()

    def _close(self) -> None:
        if self._busy.acquire(timeout=PATIENCE):
            descriptor, self._descriptor = self._descriptor, -1
            self._busy.release()
            if descriptor >= 0:
                os.close(descriptor)


def _model(path: str) -> str:
    """The path, and for /dev/hwrng the driver behind it; at most 64 characters."""
    if path == "/dev/hwrng":
        try:
            return f"{path} ({HWRNG_NAME.read_text().strip()})"[:64]
        except OSError:
            return path
    return path[-64:]
