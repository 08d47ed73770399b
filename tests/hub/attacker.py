"""A hostile MQTT client on a bare socket: it may send any bytes, and keeps every PUBLISH it gets."""

import asyncio
import contextlib
from collections.abc import Callable


def text(value: str) -> bytes:
    """An MQTT string."""
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def packet(first: int, body: bytes) -> bytes:
    """A packet with the right remaining length."""
    header, length = bytearray([first]), len(body)
    while length > 127:
        header.append(length & 127 | 128)
        length >>= 7
    return bytes(header) + bytes([length]) + body


def connect_packet(
    client_id: str,
    *,
    clean_session: bool = True,
    will: tuple[str, bytes] | None = None,
    username: str | None = None,
    password: str | None = None,
    keep_alive: int = 0,
) -> bytes:
    """A CONNECT; a will is at QoS 1 and retained."""
    flags = 0x02 * clean_session | 0x2C * (will is not None)
    flags |= 0x80 * (username is not None) | 0x40 * (password is not None)
    body = b"\x00\x04MQTT\x04" + bytes([flags]) + keep_alive.to_bytes(2, "big") + text(client_id)
    if will is not None:
        body += text(will[0]) + len(will[1]).to_bytes(2, "big") + will[1]
    for value in (username, password):
        if value is not None:
            body += text(value)
    return packet(0x10, body)


def publish_packet(topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bytes:
    """A PUBLISH with packet id 1."""
    return packet(0x30 | qos << 1 | retain, text(topic) + (b"\x00\x01" if qos else b"") + payload)


def subscribe_packet(*filters: str) -> bytes:
    """A SUBSCRIBE at QoS 1 with packet id 1."""
    return packet(0x82, b"\x00\x01" + b"".join(text(value) + b"\x01" for value in filters))


async def until(condition: Callable[[], bool]) -> None:
    """Let others work until `condition` holds, for at most a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0)


class Attacker:
    """One connection. `published` holds (topic, payload) of each PUBLISH that came in."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []
        self._packets: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()

    async def open(self, host: str, port: int, *, reads: bool = True) -> None:
        """The socket alone."""
        self._reader, self._writer = await asyncio.open_connection(host, port)
        self._task = asyncio.ensure_future(self._read()) if reads else None

    async def connect(self, host: str, port: int, client_id: str, **options: object) -> int:
        """Open and CONNECT: the CONNACK's code, or -1 when the broker hung up instead."""
        await self.open(host, port)
        self.send(connect_packet(client_id, **options))  # type: ignore[arg-type]
        answer = await self._next(0x20)
        return -1 if answer is None else answer[1][1]

    def send(self, data: bytes) -> None:
        """Any bytes."""
        self._writer.write(data)

    async def subscribe(self, *filters: str) -> None:
        """SUBSCRIBE and wait for the answer, whatever it says."""
        self.send(subscribe_packet(*filters))
        await self._next(0x90)

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """PUBLISH and wait until the broker has dealt with it."""
        self.send(publish_packet(topic, payload, qos=qos, retain=retain))
        await self.settle()

    async def settle(self) -> bool:
        """Wait until the broker has read all that was sent; False when it has hung up."""
        self.send(b"\xc0\x00")
        return await self._next(0xD0) is not None

    async def hung_up(self) -> None:
        """Wait for the broker to hang up."""
        while await self._next(None) is not None:
            pass

    async def close(self) -> None:
        """Drop the connection without DISCONNECT, so that a will is due."""
        self._writer.transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _next(self, kind: int | None) -> tuple[int, bytes] | None:
        while True:
            item = await asyncio.wait_for(self._packets.get(), 60)
            if item is None:
                self._packets.put_nowait(None)
                return None
            if item[0] == kind:
                return item

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first = (await self._reader.readexactly(1))[0]
                length = shift = 0
                while True:
                    byte = (await self._reader.readexactly(1))[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                body = await self._reader.readexactly(length)
                if first >> 4 == 3:
                    end = 2 + int.from_bytes(body[:2], "big")
                    self.published.append((body[2:end].decode(), body[end + 2 * bool(first & 6) :]))
                    if first & 6:
                        self.send(b"\x40\x02" + body[end : end + 2])
                else:
                    self._packets.put_nowait((first & 0xF0, body))
        self._packets.put_nowait(None)
