"""The guard between a socket and amqtt: only whole, lawful packets of a known size pass.

amqtt reads a packet field by field, trusts the lengths inside it, has no size limit, and deletes the
session of a client id before it has looked at the password. So nothing reaches it that the guard has
not framed, measured and checked against the Rules. What is not lawful ends the connection: the client
is broken or hostile, and MQTT 3.1.1 has no other answer to a PUBLISH.

A message for the hub does not pass amqtt at all, which acknowledges it and loses it when the client
leaves: it is handed over here, and acknowledged when the hub says so.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from amqtt.adapters import ReaderAdapter  # type: ignore[import-untyped]

from handfast_hub.mqtt.plugin import MAX_RECORD, Hello, Rules

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 10, 12, 14

# Flags that MQTT 3.1.1 demands in the first byte; PUBLISH has its own. QoS 2 is not offered.
FLAGS = {CONNECT: 0, PUBACK: 0, SUBSCRIBE: 2, UNSUBSCRIBE: 2, PINGREQ: 0, DISCONNECT: 0}
# Bytes after the fixed header. The topics of a PUBLISH have at most 80.
SIZES = {CONNECT: 512, PUBLISH: MAX_RECORD + 128, PUBACK: 2, SUBSCRIBE: 1024, UNSUBSCRIBE: 1024}
MAX_FILTERS = 8
WRITE_BUFFER = 128 * 1024 * 1024

CONNACK_REFUSED = b"\x20\x02\x00\x05"
# Seconds a client may be silent when it asked for no keep alive, and the longest that it may ask for.
LONGEST_SILENCE = 3600.0


class UnlawfulError(Exception):
    """What the client did; the connection ends."""


class Guard(ReaderAdapter):  # type: ignore[misc]  # amqtt has no types
    """One client's packets. `hello` is None until its CONNECT was read; `last_in` is when it last spoke.

    `room` is awaited before a PUBLISH is let through: so a flood waits in the client's own socket.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        rules: Rules,
        room: asyncio.Event,
        on_unlawful: Callable[["Guard", str], None],
        take: Callable[["Guard", str, bytes, int], bool],
    ) -> None:
        """`take(guard, topic, payload, packet_id)` gets what a device sends; False leaves it to amqtt."""
        self.hello: Hello | None = None
        self.hub = False
        self.last_in = monotonic()
        self.silence = 0.0
        # Messages on their way to this client; kept by the broker.
        self.pending = 0
        self._reader = reader
        self._writer = writer
        self._rules = rules
        self._room = room
        self._on_unlawful = on_unlawful
        self._take = take
        self._received = bytearray()
        self._packet = b""
        self._position = 0

    async def admit(self) -> bool:
        """Read the CONNECT and judge it; afterwards `read` gives it to amqtt. False: hung up."""
        try:
            self._packet = await self._next_packet()
        except ConnectionResetError:
            return False
        # amqtt looks for a PUBACK only after it has waited for the socket to drain, and so misses one
        # that came meanwhile. With a high limit it never waits; the broker bounds what is unsent.
        self._writer.transport.set_write_buffer_limits(high=WRITE_BUFFER)
        return True

    async def read(self, n: int = -1) -> bytes:
        """`n` bytes of the packet that amqtt is reading; at its end the next one is fetched."""
        if n <= 0:
            return b""
        if self._position == len(self._packet):
            self._packet = await self._next_packet()
            self._position = 0
        start, self._position = self._position, self._position + n
        if self._position > len(self._packet):
            # Our reading of the packet and amqtt's differ: what follows could mean anything.
            raise self._end("a packet that can be read in two ways")
        return self._packet[start : self._position]

    def acknowledge(self, packet_id: int) -> None:
        """PUBACK, if the client is still there."""
        if not self._writer.transport.is_closing():
            self._writer.write(b"\x40\x02" + packet_id.to_bytes(2, "big"))

    def feed_eof(self) -> None:
        """Part of amqtt's interface; the stream knows its end itself."""

    def hang_up(self) -> None:
        """Close the connection now."""
        self._writer.transport.abort()

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    async def _next_packet(self) -> bytes:
        # amqtt cancels a read that takes longer than the keep alive, so whatever was received stands
        # in self._received before the next await.
        try:
            while True:
                while (end := self._packet_end()) is None:
                    data = await self._reader.read(65536)
                    if not data:
                        raise ConnectionResetError
                    self.last_in = monotonic()
                    self._received += data
                if self._received[0] >> 4 == PUBLISH and not self.hub:
                    await self._room.wait()
                packet = bytes(self._received[:end])
                del self._received[:end]
                if not self._taken(packet):
                    return packet
        except UnlawfulError as error:
            raise self._end(str(error)) from error

    def _end(self, reason: str) -> ConnectionResetError:
        self._on_unlawful(self, reason)
        if self.hello is None:
            self._writer.write(CONNACK_REFUSED)
            self._writer.close()
        else:
            self.hang_up()
        return ConnectionResetError(reason)

    def _packet_end(self) -> int | None:
        received = self._received
        if len(received) < 2:
            return None
        kind = received[0] >> 4
        if kind not in FLAGS and kind != PUBLISH:
            raise UnlawfulError(f"packet type {kind}")
        if (kind == CONNECT) is not (self.hello is None):
            raise UnlawfulError("no CONNECT first, or a second one")
        length = shift = 0
        position = 1
        while True:
            if position == len(received):
                return None
            length |= (received[position] & 127) << shift
            shift += 7
            position += 1
            if received[position - 1] < 128:
                break
            if shift > 14:
                raise UnlawfulError("a packet of more than 2 MB")
        if length > SIZES.get(kind, 0):
            raise UnlawfulError(
                f"{length} bytes in a packet of type {kind}, at most {SIZES.get(kind, 0)} are allowed"
            )
        return position + length if len(received) >= position + length else None

    def _taken(self, packet: bytes) -> bool:
        """Check a packet; whether it went to the hub."""
        kind, flags = packet[0] >> 4, packet[0] & 15
        body = _Fields(packet)
        if kind == PUBLISH:
            topic, packet_id = self._check_publish(flags, body)
            return not self.hub and self._take(self, topic, body.data(body.left), packet_id)
        if flags != FLAGS[kind]:
            raise UnlawfulError(f"flags {flags} in a packet of type {kind}")
        if kind == CONNECT:
            self._check_connect(body)
        elif kind in (SUBSCRIBE, UNSUBSCRIBE):
            _check_filters(kind, body)
        elif kind == PUBACK:
            body.number(2)
            body.end()
        return False

    def _check_publish(self, flags: int, body: "_Fields") -> tuple[str, int]:
        """The topic and the packet id, 0 at QoS 0."""
        assert self.hello is not None
        if flags & 1:
            raise UnlawfulError("a retained message")
        if flags & 4:
            raise UnlawfulError("a message at QoS 2")
        topic = body.text()
        packet_id = body.number(2) if flags & 2 else 0
        if flags & 2 and not packet_id:
            raise UnlawfulError("packet id 0")
        limit = self._rules.payload_limit(self.hello.client_id, topic)
        if limit is None:
            raise UnlawfulError("a message on a topic that is not its own")
        if body.left > limit:
            raise UnlawfulError(f"{body.left} bytes of payload, at most {limit} are allowed on this topic")
        return topic, packet_id

    def _check_connect(self, body: "_Fields") -> None:
        if body.text() != "MQTT" or body.number(1) != 4:
            raise UnlawfulError("a protocol that is not MQTT 3.1.1")
        flags, keep_alive = body.number(1), body.number(2)
        will, clean_session = bool(flags & 0x04), bool(flags & 0x02)
        if flags & 0x01 or (flags & 0x38 and not will) or (flags & 0x40 and not flags & 0x80):
            raise UnlawfulError(f"connect flags {flags:#x}")
        client_id = body.text()
        if will:
            body.text()
            body.data()
        username = body.text() if flags & 0x80 else None
        password = body.text() if flags & 0x40 else None
        body.end()
        hello = Hello(client_id, clean_session, will, username, password, keep_alive)
        refusal = self._rules.refusal(hello)
        if refusal is not None:
            raise UnlawfulError(refusal)
        self.hello = hello
        self.hub = self._rules.is_hub(client_id)
        self.silence = min(1.5 * keep_alive if keep_alive else LONGEST_SILENCE, LONGEST_SILENCE)


def _check_filters(kind: int, body: "_Fields") -> None:
    """Only the form: the plugin answers each filter of a SUBSCRIBE in the SUBACK."""
    if not body.number(2):
        raise UnlawfulError("packet id 0")
    count = 0
    while body.left:
        body.text()
        if kind == SUBSCRIBE and body.number(1) > 2:
            raise UnlawfulError("a QoS above 2")
        count += 1
    if not 1 <= count <= MAX_FILTERS:
        raise UnlawfulError(f"{count} topic filters in one packet, 1 to {MAX_FILTERS} are allowed")


class _Fields:
    """Reads the fields after the fixed header; UnlawfulError when they are not there."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self._position = 2
        while packet[self._position - 1] > 127:
            self._position += 1

    @property
    def left(self) -> int:
        return len(self._packet) - self._position

    def data(self, length: int | None = None) -> bytes:
        if length is None:
            length = self.number(2)
        if length > self.left:
            raise UnlawfulError("a packet that ends too early")
        start, self._position = self._position, self._position + length
        return self._packet[start : self._position]

    def number(self, length: int) -> int:
        return int.from_bytes(self.data(length), "big")

    def text(self) -> str:
        try:
            value = self.data().decode()
        except UnicodeDecodeError as error:
            raise UnlawfulError("text that is not UTF-8") from error
        if "\x00" in value:
            raise UnlawfulError("text with a zero character")
        return value

    def end(self) -> None:
        if self.left:
            raise UnlawfulError(f"{self.left} bytes after the end of a packet")
