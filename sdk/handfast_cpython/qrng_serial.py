"""A quantum source behind a serial port: a module that sends raw bytes unasked."""

import asyncio
import threading

import serial

from handfast.core.constants import SOURCE_QUANTUM
from handfast.core.errors import EntropyError

BAUD = 115200
# Seconds that one read of the port may block its thread.
BLOCK = 0.5


class SerialSource:
    """A serial module; 8 data bits, no parity, one stop bit. What waited in the port is thrown away."""

    kind = SOURCE_QUANTUM

    def __init__(self, port: str, min_entropy: float = 0.8, baud: int = BAUD) -> None:
        """The port is opened by the first read. `min_entropy`: claimed bits per bit."""
        self.model = f"serial {port}"[:64]
        self.min_entropy = min_entropy
        self._name = port
        self._baud = baud
        self._port: serial.Serial | None = None
        # A read that was given up goes on in its thread until its half second is over.
        self._busy = threading.Lock()

    async def read(self, length: int) -> bytes:
        """1 to `length` bytes; waits as long as the module sends none. EntropyError when it is gone."""
        while True:
            try:
                raw = await asyncio.to_thread(self._read, length)
            except (OSError, serial.SerialException) as error:
                await self.close()
                raise EntropyError(
                    f"{self._name}: {error}; is the module plugged in, and may this user open the port?"
                ) from error
            if raw:
                return raw

    async def close(self) -> None:
        """Let go of the port; may be called twice."""
        await asyncio.to_thread(self._close)

    def _read(self, length: int) -> bytes:
        with self._busy:
            if self._port is None:
                self._port = serial.Serial(self._name, self._baud, timeout=BLOCK, exclusive=True)
                self._port.reset_input_buffer()
            raw: bytes = self._port.read(min(length, max(1, self._port.in_waiting)))
            return raw

    def _close(self) -> None:
        with self._busy:
            if self._port is not None:
                self._port.close()
                self._port = None
