"""A broker at the other end of a serial line: a modem or a bridge that carries the line to a TCP port.

The bridge connects anew when the broker has hung up, and loses what is sent in between. So a new
stay at the broker begins a moment after the last one, on a line without old bytes.
"""

import asyncio

from handfast.core.errors import LocalError
from handfast_micropython.serial_port import SerialPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast_micropython.mqtt import Streams

PREFIX = "uart:"
BAUD = 115200
# Seconds that a bridge has to see that the broker hung up, and to connect again.
REST = 1.5


class SerialBroker:
    """Opens the line again and again; give its `open` to a MqttLink as the opener."""

    def __init__(self, spec: str) -> None:
        """`spec` is uart:NUMBER or uart:NUMBER#baud=RATE; LocalError for anything else."""
        place, _, tail = spec.partition("#")
        word, _, rate = tail.partition("=")
        if not place.startswith(PREFIX) or (tail and not (word == "baud" and rate.isdigit())):
            raise LocalError("a broker on a serial line is uart:NUMBER or uart:NUMBER#baud=RATE")
        self._name = place[len(PREFIX) :]
        self._baud = int(rate) if tail else BAUD
        self._used = False

    async def open(self) -> "Streams":
        """The line as (reader, writer); OSError when there is no such port."""
        if self._used:
            await asyncio.sleep(REST)
        self._used = True
        port = SerialPort(self._name, self._baud)
        port.discard()
        # To a MqttLink a stream is what has these methods.
        line: "Any" = Line(port)
        return line, line


class Line:
    """A serial port with the methods of asyncio's streams that the MQTT client calls."""

    def __init__(self, port: SerialPort) -> None:
        self._port = port
        self._waiting: "list[bytes | memoryview]" = []

    async def read(self, length: int) -> bytes:
        """1 to `length` bytes."""
        return await self._port.read(length)

    def write(self, data: "bytes | memoryview") -> None:
        """Taken down; `drain` sends it."""
        self._waiting.append(data)

    async def drain(self) -> None:
        """Send what was written."""
        while self._waiting:
            await self._port.write(self._waiting.pop(0))

    def close(self) -> None:
        """Forget what was not sent."""
        self._waiting = []

    async def wait_closed(self) -> None:
        """Let go of the port."""
        self._port.close()
