"""The carrier for fat, clean paths: TCP, each frame behind its length."""

import asyncio
import contextlib
import os
import socket
import sys

from handfast.core.errors import LinkClosed
from handfast_hub.trunk.carrier import (
    DIAL_SECONDS,
    GREETING_LENGTH,
    GREETING_SECONDS,
    LENGTH,
    WRITE_LIMIT,
    Called,
    Carrier,
    Measured,
    Port,
    checked_length,
    decode_greeting,
    encode_greeting,
    in_stream,
)
from handfast_hub.trunk.greeting import CHALLENGE_LENGTH, Caller, Door

# Connections that the kernel holds until we take them. A flood must not make a hub's SYN be dropped.
_BACKLOG = 1024
# Where the smoothed round-trip time in microseconds stands in Linux's struct tcp_info (linux/tcp.h).
_TCPI_RTT = 68


class TcpCarrier(Carrier):
    """One TCP connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        name: str = "",
        door: Door | None = None,
    ) -> None:
        """`door` knows who may call; None for a connection that we dialled."""
        address, port = (writer.get_extra_info("peername") or ("?", 0))[:2]
        super().__init__(name or f"tcp from {address}:{port}")
        self.address = address
        self._door = door
        self._reader = reader
        self._writer = writer
        self._socket = writer.get_extra_info("socket")
        # A frame is a message: it must not wait for company.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self) -> bytes:
        """The next frame."""
        try:
            length = checked_length(await self._reader.readexactly(LENGTH))
            return await self._reader.readexactly(length)
        except (OSError, EOFError) as error:
            raise LinkClosed(f"the carrier of the trunk ended: {error or type(error).__name__}") from None

    def send(self, frames: list[bytes]) -> int:
        """Queue frames; how many were dropped."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > WRITE_LIMIT:
            return len(frames)
        self._writer.write(in_stream(frames))
        return 0

    def send_ahead(self, frame: bytes) -> None:
        """A stream of bytes has one order: this waits behind what was written."""
        self.send([frame])

    async def greeting(self) -> bytes:
        """The kid of the hub that calls, once it has answered a challenge."""
        if self._door is None:
            raise LinkClosed("nobody greets over a connection that we dialled")
        challenge = os.urandom(CHALLENGE_LENGTH)
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                self._writer.write(challenge)
                said = await self._reader.readexactly(GREETING_LENGTH)
        except (OSError, EOFError, TimeoutError):
            raise LinkClosed("a connection to the trunk port said nothing") from None
        return self._door.check(challenge, decode_greeting(said))

    def measured(self) -> Measured:
        """The round-trip time, where the kernel tells it; losses are its own affair."""
        option = getattr(socket, "TCP_INFO", None)
        if option is None or self._writer.transport.is_closing():
            return Measured()
        with contextlib.suppress(OSError):
            info = self._socket.getsockopt(socket.IPPROTO_TCP, option, _TCPI_RTT + 4)
            return Measured(rtt=int.from_bytes(info[_TCPI_RTT:], sys.byteorder) / 1e6)
        return Measured()

    async def close(self) -> None:
        """Close the connection; what the other end does not take within a moment is dropped."""
        if self._writer.transport.get_write_buffer_size():
            # A path that went dark takes nothing, and would keep the connection open for minutes.
            self._writer.transport.abort()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class TcpPort(Port):
    """A TCP port where other hubs connect."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    def refuse(self) -> None:
        """Take no more connections."""
        self._server.close()

    async def close(self) -> None:
        """Its connections belong to whom they were handed on."""
        self._server.close()


async def dial_tcp(host: str, port: int, caller: Caller) -> Carrier:
    """A connection to the trunk port of another hub, greeted; LinkClosed when there is none."""
    writer = None
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            challenge = await reader.readexactly(CHALLENGE_LENGTH)
    except (OSError, EOFError, TimeoutError) as error:
        if writer is not None:
            writer.close()
        reason = getattr(error, "strerror", None) or str(error) or f"nothing within {DIAL_SECONDS:g} s"
        raise LinkClosed(f"no hub answers at {host}:{port}: {reason}") from None
    except BaseException:
        if writer is not None:
            writer.close()
        raise
    writer.write(encode_greeting(caller.answer(challenge)))
    return TcpCarrier(reader, writer, f"tcp://{host}:{port}")


async def listen_tcp(host: str, port: int, called: Called, door: Door) -> Port:
    """Hear other hubs; each connection goes to `called`. LinkClosed when the port is taken."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await called(TcpCarrier(reader, writer, door=door))

    try:
        return TcpPort(await asyncio.start_server(connected, host, port, backlog=_BACKLOG))
    except OSError as error:
        raise LinkClosed(f"cannot listen for trunks on {host}:{port}: {error.strerror}") from None
