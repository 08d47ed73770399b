"""Link over a serial line: the topics of MQTT without a broker, in the frames of the core.

Each frame carries one CBOR array, [topic tstr, payload bstr], so a gateway at the other end needs no
state to hand it on to a broker or a hub, and `handfast.core.topics.parse` tells it what to allow. A
serial line promises nothing: a damaged frame is dropped, and the protocol above sends again.
"""

import asyncio
import contextlib

import serial

from handfast.core.cbor import decode, encode
from handfast.core.constants import MAX_STREAM_PAYLOAD
from handfast.core.errors import DecodeError, LinkClosed, LinkError, LocalError
from handfast.core.frames import FrameReader, delimit
from handfast.core.topics import CHANNELS, Endpoint

BAUD = 115_200
CHANNEL_LEVELS = {str(channel): channel for channel in CHANNELS.values()}
# Array head 1, topic head 2, payload head 3, and a topic of at most 80 bytes.
ENVELOPE = 86
# What one read of the port takes, in bytes.
CHUNK = 4096


class UartLink:
    """The Link port over the serial port named `port`, 8 data bits, no parity, one stop bit.

    At most `queue` payloads wait for `receive`; later ones are dropped and counted in `dropped`,
    as are damaged frames and frames of other endpoints.
    """

    def __init__(self, port: str, *, baud: int = BAUD, queue: int = 256) -> None:
        self.dropped = 0
        self._name = port
        self._baud = baud
        self._queue_length = queue
        self._port: serial.Serial | None = None
        self._endpoint: Endpoint | None = None
        self._frames = FrameReader()
        self._payloads: asyncio.Queue[tuple[int | None, bytes] | None] = asyncio.Queue()
        self._writing = asyncio.Lock()

    async def connect(self, endpoint: Endpoint) -> None:
        """Open the port, if it is not open, and listen on endpoint.down; leaves a previous endpoint."""
        if self._port is None:
            try:
                # Another program on the same port would take bytes out of our frames.
                self._port = serial.Serial(self._name, self._baud, timeout=0, exclusive=True)
            except (OSError, ValueError) as error:
                raise LinkError(f"the serial port {self._name} should open but did not: {error}") from error
            self._frames = FrameReader()
            asyncio.get_running_loop().add_reader(self._port.fileno(), self._readable, self._port)
        self._endpoint = endpoint
        self._payloads = asyncio.Queue()

    async def send(self, channel: int | None, payload: bytes) -> None:
        """Write `payload` to the line; LinkClosed when the port is gone."""
        port, endpoint = self._connected()
        if endpoint.channels is (channel is None):
            raise LocalError("a channel belongs to a payload exactly when the endpoint has channels")
        if len(payload) > MAX_STREAM_PAYLOAD - ENVELOPE:
            raise LocalError(f"a payload is at most {MAX_STREAM_PAYLOAD - ENVELOPE} bytes: send it in parts")
        topic = endpoint.up if channel is None else f"{endpoint.up}/{channel}"
        frame = delimit(encode([topic, payload]))
        async with self._writing:
            try:
                # 5 KB take half a second at 115200 baud, so the write waits in a thread.
                await asyncio.get_running_loop().run_in_executor(None, port.write, frame)
            except (OSError, TypeError) as error:
                # TypeError: pyserial's file descriptor is None when close was called meanwhile.
                raise LinkClosed(f"the serial port {self._name} went away while we wrote: {error}") from error

    async def receive(self) -> tuple[int | None, bytes]:
        """The next payload from the hub with its channel; LinkClosed when the port is gone."""
        self._connected()
        payloads = self._payloads
        item = await payloads.get()
        if item is None:
            payloads.put_nowait(None)
            raise LinkClosed(f"the serial port {self._name} is gone: plug it in and connect again")
        return item

    async def close(self) -> None:
        """Close the port; may be called twice."""
        self._hang_up()
        self._endpoint = None

    def _connected(self) -> tuple[serial.Serial, Endpoint]:
        if self._endpoint is None:
            raise LinkClosed("the link is not connected: call connect first")
        if self._port is None:
            raise LinkClosed(f"the serial port {self._name} is gone: plug it in and connect again")
        return self._port, self._endpoint

    def _readable(self, port: serial.Serial) -> None:
        try:
            data = port.read(CHUNK)
        except OSError:
            data = b""
        if not data:
            # Readable without a byte is how a serial adapter says that it was pulled out.
            self._hang_up()
            return
        before = self._frames.dropped
        for frame in self._frames.receive(data):
            self._take(frame)
        self.dropped += self._frames.dropped - before

    def _take(self, frame: bytes) -> None:
        item = None
        with contextlib.suppress(DecodeError):
            item = self._read(decode(frame))
        if item is None or self._payloads.qsize() >= self._queue_length:
            self.dropped += 1
        else:
            self._payloads.put_nowait(item)

    def _read(self, value: object) -> tuple[int | None, bytes] | None:
        if self._endpoint is None or not isinstance(value, list) or len(value) != 2:
            return None
        topic, payload = value
        if not isinstance(topic, str) or not isinstance(payload, bytes):
            return None
        if not self._endpoint.channels:
            return (None, payload) if topic == self._endpoint.down else None
        base, _, level = topic.rpartition("/")
        channel = CHANNEL_LEVELS.get(level)
        return None if base != self._endpoint.down or channel is None else (channel, payload)

    def _hang_up(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            asyncio.get_running_loop().remove_reader(port.fileno())
            port.close()
            self._payloads.put_nowait(None)
