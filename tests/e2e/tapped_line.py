"""A line to a broker that knows what goes over it, and can stop at one packet of it.

A tap is a TCP server; who connects is connected with the broker. Everything passes as it is.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from handfast.core import topics
from handfast.core.errors import DecodeError

CONNECT, PUBLISH = 1, 3


class Tap:
    """`passed` names what went by: connect, message_1 to message_4, and up and dn with a channel's name.

    The packets of an onboarding are numbered by their first appearance in one stay at the broker.
    """

    def __init__(self, port: int) -> None:
        """`port` of the broker on this machine."""
        self.passed: list[str] = []
        self.port = 0
        self._broker = port
        self._where = ""
        self._deliver = False
        self._reached = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Tap":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop_at(self, name: str, deliver: bool) -> None:
        """Let nothing pass any more when the packet `name` comes, and that one only with `deliver`."""
        self._where, self._deliver = name, deliver
        self._reached.clear()

    def open(self) -> None:
        """Stop nowhere."""
        self._where = ""

    async def reached(self, patience: float) -> None:
        """The packet came."""
        await asyncio.wait_for(self._reached.wait(), patience)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, away = await asyncio.open_connection("127.0.0.1", self._broker)
        except OSError:
            writer.close()
            return
        finally:
            self._tasks.discard(task)
        seen: list[bytes] = []
        for source, sink, direction in ((reader, away, "up"), (there, writer, "dn")):
            carrying = asyncio.create_task(self._carry(source, sink, direction, seen))
            self._tasks.add(carrying)
            carrying.add_done_callback(self._tasks.discard)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str, seen: list[bytes]
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                packet = await self._packet(reader.readexactly)
                name = self._name(packet, direction, seen)
                halt = name != "" and name == self._where
                if not halt or self._deliver:
                    writer.write(packet)
                    await writer.drain()
                self.passed.append(name)
                if halt:
                    self._reached.set()
                    # Whoever is cut off finds out when the line is closed.
                    await asyncio.Event().wait()
        writer.close()

    async def _packet(self, read: Callable[[int], Awaitable[bytes]]) -> bytes:
        head = await read(2)
        while head[-1] & 0x80:
            head += await read(1)
        length = sum((byte & 0x7F) << 7 * at for at, byte in enumerate(head[1:]))
        return head + await read(length)

    def _name(self, packet: bytes, direction: str, seen: list[bytes]) -> str:
        kind, at = packet[0] >> 4, 2
        if kind == CONNECT:
            return "connect"
        if kind != PUBLISH:
            return ""
        while packet[at - 1] & 0x80:
            at += 1
        end = at + 2 + int.from_bytes(packet[at : at + 2], "big")
        try:
            topic = topics.parse(packet[at + 2 : end].decode())
        except DecodeError:
            return ""
        if topic.channel is not None:
            return f"{direction} {topics.CHANNEL_NAMES[topic.channel]}"
        # Behind the topic is the packet's number, which a resend has anew.
        payload = packet[end + 2 :]
        if payload not in seen:
            seen.append(payload)
        return f"message_{seen.index(payload) + 1}"
