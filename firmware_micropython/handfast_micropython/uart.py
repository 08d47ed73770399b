"""Link over a serial line: the topics of MQTT without a broker, in the frames of the core.

Each frame carries one CBOR array, [topic tstr, payload bstr], so a gateway at the other end needs no
state to hand it on to a broker or a hub. A serial line promises nothing: a damaged frame is dropped,
and the protocol above sends again.
"""

import asyncio

from handfast.core.cbor import decode, encode
from handfast.core.constants import MAX_STREAM_PAYLOAD
from handfast.core.errors import DecodeError, LinkClosed, LinkError, LinkTimeout, LocalError
from handfast.core.frames import FrameReader, delimit
from handfast.core.topics import CHANNELS
from handfast_micropython.serial_port import CHUNK, SerialPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.core.topics import Endpoint

BAUD = 115_200
# What a board takes unless it is told otherwise: the longest message of onboarding, with room.
LIMIT = 12_288
# Array head 1, topic head 2, payload head 3, and a topic of at most 80 bytes.
ENVELOPE = 86
_LEVELS = {str(channel): channel for channel in CHANNELS.values()}


class UartLink:
    """The Link port over the serial port `port`, 8 data bits, no parity, one stop bit.

    Payloads that wait for `receive` are at most `queue` and hold at most `limit` bytes together;
    others are dropped and counted in `dropped`, as are damaged frames and frames of other endpoints.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int = BAUD,
        timeout: float = 30.0,
        limit: int = LIMIT,
        queue: int = 16,
        open_port: "Callable[[str, int], SerialPort]" = SerialPort,
    ) -> None:
        """`port` as for SerialPort. `timeout`: seconds that writing one payload may take."""
        self.dropped = 0
        self._name = port
        self._baud = baud
        self._timeout = timeout
        self._limit = limit
        self._queue = queue
        self._open_port = open_port
        self._port: "SerialPort | None" = None
        self._endpoint: "Endpoint | None" = None
        self._frames = FrameReader(limit + ENVELOPE)
        self._payloads: "list[tuple[int | None, bytes]]" = []
        self._bell = asyncio.Event()
        self._writing = asyncio.Lock()
        self._reader: "asyncio.Task[None] | None" = None

    async def connect(self, endpoint: "Endpoint") -> None:
        """Open the port, if it is not open, and listen on endpoint.down; leaves a previous endpoint."""
        if self._port is None:
            await self.close()
            try:
                self._port = self._open_port(self._name, self._baud)
            except OSError as error:
                raise LinkError("the serial port %s should open but did not: %s" % (self._name, error))
            self._frames = FrameReader(self._limit + ENVELOPE)
            self._reader = asyncio.create_task(self._read(self._port))
        self._endpoint = endpoint
        self._payloads = []

    async def send(self, channel: "int | None", payload: bytes) -> None:
        """Write `payload` to the line; LinkClosed when the port is gone, LinkTimeout when it is stuck."""
        port, endpoint = self._connected()
        if endpoint.channels is (channel is None):
            raise LocalError("a channel belongs to a payload exactly when the endpoint has channels")
        if len(payload) > MAX_STREAM_PAYLOAD - ENVELOPE:
            raise LocalError("a payload is at most %d bytes" % (MAX_STREAM_PAYLOAD - ENVELOPE))
        topic = endpoint.up if channel is None else "%s/%d" % (endpoint.up, channel)
        frame = delimit(encode([topic, payload]))
        async with self._writing:
            try:
                await asyncio.wait_for(port.write(frame), self._timeout)
            except asyncio.TimeoutError:
                self._hang_up()
                raise LinkTimeout("the serial port %s takes nothing any more" % self._name)
            except OSError as error:
                self._hang_up()
                raise LinkClosed("the serial port %s went away while we wrote: %s" % (self._name, error))

    async def receive(self) -> "tuple[int | None, bytes]":
        """The next payload from the hub with its channel; LinkClosed when the port is gone."""
        while not self._payloads:
            self._connected()
            self._bell = asyncio.Event()
            await self._bell.wait()
        return self._payloads.pop(0)

    async def close(self) -> None:
        """Close the port; may be called twice."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            try:
                await reader
            except asyncio.CancelledError:
                pass
        self._hang_up()
        self._endpoint = None
        self._payloads = []

    def _connected(self) -> "tuple[SerialPort, Endpoint]":
        if self._endpoint is None:
            raise LinkClosed("the link is not connected: call connect first")
        if self._port is None:
            raise LinkClosed("the serial port %s is gone: connect again" % self._name)
        return self._port, self._endpoint

    async def _read(self, port: SerialPort) -> None:
        try:
            while True:
                data = await port.read(CHUNK)
                if not data:
                    break
                before = self._frames.dropped
                for frame in self._frames.receive(data):
                    self._take(frame)
                self.dropped += self._frames.dropped - before
        except (OSError, MemoryError):
            pass
        self._hang_up()

    def _take(self, frame: bytes) -> None:
        item = None
        try:
            item = self._payload(decode(frame))
        except DecodeError:
            pass
        waiting = sum([len(payload) for _, payload in self._payloads])
        if item is None or len(self._payloads) >= self._queue or waiting + len(item[1]) > self._limit:
            self.dropped += 1
        else:
            self._payloads.append(item)
            self._bell.set()

    def _payload(self, value: object) -> "tuple[int | None, bytes] | None":
        if self._endpoint is None or not isinstance(value, list) or len(value) != 2:
            return None
        topic, payload = value
        if not isinstance(topic, str) or not isinstance(payload, bytes):
            return None
        if not self._endpoint.channels:
            return (None, payload) if topic == self._endpoint.down else None
        base, _, level = topic.rpartition("/")
        channel = _LEVELS.get(level)
        return None if base != self._endpoint.down or channel is None else (channel, payload)

    def _hang_up(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            # Nobody may wait for a port that is closed.
            if self._reader is not None and self._reader is not asyncio.current_task():
                self._reader.cancel()
            port.close()
        self._bell.set()
