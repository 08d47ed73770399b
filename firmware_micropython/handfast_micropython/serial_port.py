"""A serial port as a stream: `machine.UART` by its number, or on the unix port a device by its path."""

import asyncio

from handfast.core.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Bytes that the driver keeps for us: at 115200 baud 1024 come in 90 ms.
RECEIVE_BUFFER = 1024
# What one read takes, in bytes.
CHUNK = 256


class SerialPort:
    """8 data bits, no parity, one stop bit. Errors are OSError."""

    def __init__(self, port: str, baud: int) -> None:
        """`port`: the number of a UART, such as "1", or a path that begins with a slash."""
        self._uart: "Any" = _open(port, baud)
        # Reading a path would wait for all that was asked for, and everything else with it.
        self._largest = 1 if port.startswith("/") else CHUNK
        # A stream of MicroPython both reads and writes.
        self._stream: "Any" = None

    async def read(self, length: int) -> bytes:
        """1 to `length` bytes, at most CHUNK; b"" when the port is gone."""
        data: bytes = await self._both().read(min(length, self._largest))
        return data

    async def write(self, data: "bytes | memoryview") -> None:
        """Write all of `data`; one writer at a time."""
        self._both().write(data)
        await self._both().drain()

    def discard(self) -> None:
        """Throw away what waits in the driver. A path has nothing to ask for it."""
        waiting = getattr(self._uart, "any", None)
        while waiting is not None and waiting():
            self._uart.read(CHUNK)

    def close(self) -> None:
        """Let go of the port; may be called twice."""
        end = getattr(self._uart, "deinit", None) or self._uart.close
        end()

    def _both(self) -> "Any":
        if self._stream is None:
            self._stream = asyncio.StreamReader(self._uart)
        return self._stream


def _open(port: str, baud: int) -> object:
    if port.startswith("/"):
        return open(port, "r+b", buffering=0)
    try:
        number = int(port)
    except ValueError:
        raise LocalError("a serial port is the number of a UART or a path, not %r" % port)
    try:
        from machine import UART  # type: ignore[import-not-found]
    except ImportError:
        raise OSError(19, "this machine has no UART")
    try:
        return UART(number, baudrate=baud, timeout=0, rxbuf=RECEIVE_BUFFER)
    except ValueError as error:
        raise OSError(19, str(error))
    except TypeError:
        # Some ports size the buffer themselves.
        return UART(number, baudrate=baud, timeout=0)
