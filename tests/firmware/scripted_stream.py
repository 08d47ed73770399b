"""A broker at the other end of a stream in memory: it does what a test says, and sends any bytes."""

import asyncio

from handfast.core import topics
from handfast_micropython.mqtt import MqttLink

ONBOARDING = topics.onboarding(bytes(8), bytes(14))
ENROLLED = topics.enrolled(bytes(8), bytes(range(8)))


def packet(first: int, body: bytes) -> bytes:
    """An MQTT packet."""
    out = bytearray([first])
    length = len(body)
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    return bytes(out) + body


def message(topic: bytes, payload: bytes, number: int = 1) -> bytes:
    """A PUBLISH at QoS 1."""
    head = len(topic).to_bytes(2, "big") + topic + number.to_bytes(2, "big")
    return packet(0x32, head + payload)


class ScriptedStream:
    """Reader and writer of a client, and the broker behind them.

    `answers` maps the first byte of a packet to what is sent for its body; `packets` are those that
    came. A stream that is `stuck` takes nothing.
    """

    def __init__(self) -> None:
        self.packets: "list[tuple[int, bytes]]" = []
        self.answers = {
            0x10: lambda body: b"\x20\x02\x00\x00",
            0x82: lambda body: packet(0x90, body[:2] + bytes([1]) * body.count(b"handfast/1/")),
            0x32: lambda body: b"\x40\x02" + body[2 + body[1] :][:2],
            0xC0: lambda body: b"\xd0\x00",
        }
        self.stuck = False
        self.closed = 0
        self.largest_read = 0
        self._sent = bytearray()
        self._coming = bytearray()
        self._ended = False
        self._bell = asyncio.Event()

    async def open(self) -> "tuple[ScriptedStream, ScriptedStream]":
        """The opener for an MqttLink."""
        return self, self

    def send(self, data: bytes) -> None:
        """Any bytes to the client."""
        self._coming.extend(data)
        self._bell.set()

    def drop(self) -> None:
        """Hang up."""
        self._ended = True
        self._bell.set()

    async def read(self, length: int) -> bytes:
        """What the client reads."""
        self.largest_read = max(self.largest_read, length)
        while not self._coming and not self._ended:
            self._bell.clear()
            await self._bell.wait()
        part = bytes(self._coming[:length])
        self._coming[:length] = b""
        return part

    def write(self, data: bytes) -> None:
        """What the client writes."""
        if self._ended:
            raise OSError(104, "reset")
        if self.stuck:
            return
        self._sent.extend(data)
        while self._take():
            pass

    async def drain(self) -> None:
        """Never ends when the stream is stuck."""
        if self.stuck:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    def close(self) -> None:
        """Called by the client."""
        self.closed += 1

    async def wait_closed(self) -> None:
        """Nothing to wait for."""

    def _take(self) -> bool:
        length = at = shift = 0
        while True:
            at += 1
            if at >= len(self._sent):
                return False
            length |= (self._sent[at] & 127) << shift
            shift += 7
            if self._sent[at] < 128:
                break
        if len(self._sent) < at + 1 + length:
            return False
        first = self._sent[0]
        body = bytes(self._sent[at + 1 : at + 1 + length])
        self._sent[: at + 1 + length] = b""
        self.packets.append((first, body))
        if first in self.answers:
            self.send(self.answers[first](body))
        return True


async def joined(endpoint: "object" = ENROLLED, **settings: "object") -> "tuple[MqttLink, ScriptedStream]":
    """A connected link and the broker behind it."""
    stream = ScriptedStream()
    link = MqttLink(opener=stream.open, **settings)
    await link.connect(endpoint)
    return link, stream
