"""A broker that does what a test says: it shows each packet that it got and sends any bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

CONNACK = b"\x20\x02\x00\x00"


class ScriptedBroker:
    """Answers CONNECT with `connack` and SUBSCRIBE with `suback` codes; the rest is the test's."""

    def __init__(self, connack: bytes = CONNACK, suback: int | None = 1) -> None:
        self.connack = connack
        self.suback = suback
        self.packets: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.writer: asyncio.StreamWriter | None = None
        self.tasks: list[asyncio.Task[object]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.writer = writer
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                command = (await reader.readexactly(1))[0]
                length = shift = 0
                while True:
                    byte = (await reader.readexactly(1))[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                body = await reader.readexactly(length)
                if command == 0x10:
                    writer.write(self.connack)
                elif command == 0x82 and self.suback is not None:
                    writer.write(
                        bytes((0x90, 2 + _filters(body))) + body[:2] + bytes([self.suback]) * _filters(body)
                    )
                self.packets.put_nowait((command, body))
        writer.transport.abort()

    async def publish(self) -> tuple[int, bytes]:
        """The next PUBLISH: its first byte and its body."""
        while True:
            command, body = await asyncio.wait_for(self.packets.get(), 60)
            if command & 0xF0 == 0x30:
                return command, body

    def send(self, data: bytes) -> None:
        """Any bytes to the client."""
        assert self.writer is not None
        self.writer.write(data)

    def drop(self) -> None:
        """Hang up."""
        assert self.writer is not None
        self.writer.transport.abort()


def _filters(body: bytes) -> int:
    position, count = 2, 0
    while position < len(body):
        position += 3 + int.from_bytes(body[position : position + 2], "big")
        count += 1
    return count


@contextlib.asynccontextmanager
async def scripted(connack: bytes = CONNACK, suback: int | None = 1) -> AsyncIterator[ScriptedBroker]:
    """A listening ScriptedBroker."""
    broker = ScriptedBroker(connack, suback)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        if broker.writer is not None:
            broker.writer.transport.abort()
        await asyncio.gather(*broker.tasks)
