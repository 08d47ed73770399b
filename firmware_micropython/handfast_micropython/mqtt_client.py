"""MQTT 3.1.1 (OASIS, 2014) as one device needs it: QoS 1 both ways, clean session, over any stream.

One task reads, so that acknowledgements of the broker, its pings and its messages are taken whatever
else is going on; one request is under way at a time. Whatever bytes come, memory stays within
`limit`, and the only end of it is that the connection counts as lost.
"""

import asyncio
import gc

from handfast.core.errors import DecodeError, LinkClosed, LinkError, LinkTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# First nibble of a packet, section 2.2.1.
CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
# Ours are below 90 bytes; a bridge may rename them.
MAX_TOPIC = 256
# The longest answer that we take: a SUBACK for six topics has 8 bytes.
MAX_ANSWER = 32
# What one read takes, in bytes.
CHUNK = 512
# Half keepalives without a packet of the broker until the connection counts as lost.
PATIENCE = 3
# Seconds for the last packet.
GOODBYE = 2.0


class Client:
    """One stay at one broker. `lost` says why it ended, and is empty before."""

    def __init__(
        self,
        reader: "asyncio.StreamReader",
        writer: "asyncio.StreamWriter",
        take: "Callable[[bytes, bytearray | memoryview | None], None]",
        limit: int,
        timeout: float,
        room: int = 0,
    ) -> None:
        """`take(topic, payload)` hears every message, with None for a payload above `limit` bytes or
        the free memory, and `take(b"", None)` that the connection is lost. `timeout` in seconds.
        The first large message of at most `room` bytes has memory that is taken now, before the heap
        is in pieces."""
        self._room: "memoryview | None" = memoryview(bytearray(room)) if room else None
        self.lost = ""
        self._reader = reader
        self._writer = writer
        self._take = take
        self._limit = limit
        self._timeout = timeout
        self._number = 0
        self._silent = 0
        self._awaited = (0, 0)
        self._answers: "list[bytes]" = []
        self._bell = asyncio.Event()
        self._asking = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._tasks: "list[asyncio.Task[None]]" = []

    async def join(
        self, client_id: str, username: "str | None", password: "str | None", keepalive: int
    ) -> None:
        """Introduce ourselves (3.1). LinkError when the broker refuses, LinkClosed when it does not answer.

        `keepalive` in seconds. After an error call `leave`.
        """
        flags = 2
        fields = [client_id]
        if username is not None:
            flags |= 0x80
            fields.append(username)
        if password is not None:
            flags |= 0x40
            fields.append(password)
        body = b"\x00\x04MQTT\x04" + bytes([flags]) + keepalive.to_bytes(2, "big")
        for field in fields:
            body += _text(field)
        await self._write(b"\x10" + _length(len(body)) + body)
        try:
            answer = await asyncio.wait_for(self._bytes(4), self._timeout)
        except asyncio.TimeoutError:
            raise LinkClosed("it did not answer within %g s" % self._timeout)
        except (OSError, EOFError):
            raise LinkClosed("it closed the connection")
        if answer[:2] != b"\x20\x02" or answer[3] > 5:
            raise LinkClosed("its answer is no MQTT")
        if answer[3]:
            raise LinkError("it refused us with code %d; check user name and password" % answer[3])
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._keep(keepalive / 2))]

    async def subscribe(self, topics: "list[str]") -> bytes:
        """Listen on `topics` at QoS 1 (3.8); the code of the broker for each, 128 and above being a no."""
        number = self._next_number()
        body = number.to_bytes(2, "big") + b"".join([_text(topic) + b"\x01" for topic in topics])
        codes = await self._ask(SUBACK, number, b"\x82" + _length(len(body)) + body)
        if len(codes) != len(topics):
            self._lose("it answered %d topics of %d" % (len(codes), len(topics)))
            raise LinkClosed(self.lost)
        return codes

    async def publish(self, topic: str, payload: bytes) -> None:
        """Hand over `payload` at QoS 1 (3.3) and wait until the broker has it.

        LinkTimeout when the broker does not say so in time, LinkClosed when it went away; in both
        cases it may have it nevertheless.
        """
        number = self._next_number()
        head = _text(topic) + number.to_bytes(2, "big")
        await self._ask(PUBACK, number, b"\x32" + _length(len(head) + len(payload)) + head, payload)

    async def leave(self) -> None:
        """Say goodbye and close the stream; may be called twice."""
        if not self.lost and self._tasks:
            try:
                await asyncio.wait_for(self._write(DISCONNECT), GOODBYE)
            except (LinkError, asyncio.TimeoutError):
                pass
        self._lose("we left")
        if self._tasks:
            runner = self._tasks[0]
            self._tasks = []
            try:
                await runner
            except asyncio.CancelledError:
                pass
        await self._hang_up()

    async def _ask(self, kind: int, number: int, head: bytes, payload: bytes = b"") -> bytes:
        """Send a request and wait for its answer: the bytes after the number."""
        async with self._asking:
            self._answers = []
            self._bell = asyncio.Event()
            self._awaited = (kind, number)
            try:
                await self._write(head, payload)
                await asyncio.wait_for(self._bell.wait(), self._timeout)
            except asyncio.TimeoutError:
                raise LinkTimeout("it did not acknowledge within %g s; send again" % self._timeout)
            finally:
                self._awaited = (0, 0)
            if not self._answers:
                raise LinkClosed(self.lost)
            return self._answers[0]

    async def _write(self, head: bytes, payload: bytes = b"") -> None:
        async with self._writing:
            if self.lost:
                raise LinkClosed(self.lost)
            reason = "it went away while we sent"
            try:
                await asyncio.wait_for(self._carry(head, payload), self._timeout)
                reason = ""
            except asyncio.TimeoutError:
                reason = "it takes nothing any more"
                raise LinkClosed(reason)
            except OSError:
                raise LinkClosed(reason)
            finally:
                # Also when we were cancelled: after half a packet nothing else can follow.
                if reason:
                    self._lose(reason)

    async def _carry(self, head: bytes, payload: bytes) -> None:
        if len(payload) <= CHUNK:
            self._writer.write(head + payload)
        else:
            # Not joined: a copy of a large payload might not fit into the heap.
            # Nor at once: a stream copies what the line does not take yet.
            self._writer.write(head)
            await self._writer.drain()
            view = memoryview(payload)
            for at in range(0, len(payload), CHUNK):
                self._writer.write(view[at : at + CHUNK])
                await self._writer.drain()
            return
        await self._writer.drain()

    async def _run(self) -> None:
        try:
            while True:
                await self._packet()
        except (OSError, EOFError):
            self._lose("it closed the connection")
        except DecodeError as error:
            self._lose("it sent what is no MQTT: " + error.detail)
        except MemoryError:
            self._lose("there is no memory for its messages")
        except (LinkError, asyncio.CancelledError):
            pass
        finally:
            self._lose("we left")
            await self._hang_up()

    async def _keep(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            if self._silent >= PATIENCE:
                self._lose("it is silent")
                return
            self._silent += 1
            try:
                await self._write(PINGREQ)
            except LinkError:
                return

    async def _packet(self) -> None:
        first = (await self._bytes(1))[0]
        length = shift = 0
        while True:
            byte = (await self._bytes(1))[0]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 21:
                raise DecodeError("a length has at most four bytes")
        kind = first >> 4
        if kind == PUBLISH:
            await self._message(first & 15, length)
        elif kind in (PUBACK, SUBACK, PINGRESP) and first & 15 == 0 and length <= MAX_ANSWER:
            body = await self._bytes(length)
            wanted = {PUBACK: length == 2, SUBACK: length >= 3, PINGRESP: length == 0}
            if not wanted[kind]:
                raise DecodeError("packet %d has %d bytes" % (kind, length))
            if length and (kind, body[0] << 8 | body[1]) == self._awaited:
                self._answers = [body[2:]]
                self._bell.set()
        else:
            raise DecodeError("a packet begins with %d and has %d bytes" % (first, length))
        self._silent = 0

    async def _message(self, flags: int, length: int) -> None:
        confirmed = flags >> 1 & 3
        head = 4 if confirmed else 2
        if confirmed > 1 or length < head:
            raise DecodeError("a message has %d bytes and QoS %d" % (length, confirmed))
        topic_length = int.from_bytes(await self._bytes(2), "big")
        if topic_length > min(length - head, MAX_TOPIC):
            raise DecodeError("a message of %d bytes has a topic of %d" % (length, topic_length))
        topic = await self._bytes(topic_length)
        number = await self._bytes(2) if confirmed else b""
        self._take(topic, await self._payload(length - head - topic_length))
        if number:
            await self._write(b"\x40\x02" + number)

    async def _payload(self, length: int) -> "bytearray | memoryview | None":
        memory = self._memory(length)
        if memory is not None:
            return await self._fill(memory)
        while length:
            part = await self._reader.read(min(length, CHUNK))
            if not part:
                raise EOFError
            length -= len(part)
        return None

    def _memory(self, length: int) -> "bytearray | memoryview | None":
        """Room for a payload, before any of it is read; None above the limit or the free memory."""
        if length > self._limit:
            return None
        if length > CHUNK:
            room, self._room = self._room, None
            if room is not None and length <= len(room):
                return room[:length]
            room = None
            gc.collect()
        try:
            return bytearray(length)
        except MemoryError:
            return None

    async def _bytes(self, length: int) -> bytes:
        return bytes(await self._fill(bytearray(length)))

    async def _fill(self, data: "bytearray | memoryview") -> "bytearray | memoryview":
        length = len(data)
        at = 0
        while at < length:
            part = await self._reader.read(min(length - at, CHUNK))
            if not part:
                raise EOFError
            data[at : at + len(part)] = part
            at += len(part)
        return data

    def _next_number(self) -> int:
        self._number = self._number % 0xFFFF + 1
        return self._number

    def _lose(self, reason: str) -> None:
        if self.lost:
            return
        self.lost = reason
        self._bell.set()
        self._take(b"", None)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def _hang_up(self) -> None:
        # A stream must not be closed under somebody who waits for it to take bytes.
        async with self._writing:
            try:
                self._writer.close()
                await self._writer.wait_closed()
            except OSError:
                pass


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _length(length: int) -> bytes:
    """The length of a packet in one to four bytes, section 2.2.3."""
    out = bytearray()
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    return bytes(out)
