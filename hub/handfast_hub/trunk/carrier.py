"""What carries the frames of a trunk between two machines: TCP, each frame behind its length.

A carrier is trusted with nothing. It says who calls, in the clear and unproven, only so that a hub
with several trunks knows which one is meant; the lanes prove it.
"""

import asyncio
import contextlib
import socket

from handfast.core.constants import KID_LENGTH
from handfast.core.errors import DecodeError, LinkClosed
from handfast_hub.trunk.messages import LONGEST
from handfast_hub.trunk.records import LONGEST_PLAINTEXT, OVERHEAD

_GREETING = b"handfast-trunk-1"
_LENGTH = 3
LONGEST_FRAME = max(LONGEST, LONGEST_PLAINTEXT + OVERHEAD)
# Beyond this many unsent bytes frames are dropped: the lanes and the bridge send again what matters.
WRITE_LIMIT = 4 * 1024 * 1024
GREETING_SECONDS = 10.0


class Carrier:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        # Set once an authentic record came this way.
        self.proven = False
        handle = writer.get_extra_info("socket")
        if handle is not None:
            # A frame is a message: it must not wait for company.
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self) -> bytes:
        """The next frame; LinkClosed at the end, DecodeError for a length that no frame has."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH), "big")
            if length > LONGEST_FRAME:
                raise DecodeError(f"a frame of a trunk has at most {LONGEST_FRAME} bytes, not {length}")
            return await self._reader.readexactly(length)
        except (OSError, EOFError) as error:
            raise LinkClosed(f"the carrier of the trunk ended: {error or type(error).__name__}") from None

    def send(self, frames: list[bytes]) -> int:
        """Queue frames; how many were dropped because the connection does not keep up."""
        transport = self._writer.transport
        if transport.is_closing():
            return len(frames)
        if transport.get_write_buffer_size() > WRITE_LIMIT:
            return len(frames)
        self._writer.write(b"".join(len(frame).to_bytes(_LENGTH, "big") + frame for frame in frames))
        return 0

    async def close(self) -> None:
        """Close the connection; may be called twice."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def greet(self, kid: bytes) -> None:
        """Say which hub is calling, by the 8 bytes of its kid."""
        self._writer.write(_GREETING + kid)

    async def greeting(self) -> bytes:
        """The kid of the hub that says it is calling; DecodeError for anything else than a trunk."""
        try:
            greeting = await asyncio.wait_for(
                self._reader.readexactly(len(_GREETING) + KID_LENGTH), GREETING_SECONDS
            )
        except (OSError, EOFError, TimeoutError):
            raise LinkClosed("a connection to the trunk port said nothing") from None
        if not greeting.startswith(_GREETING):
            raise DecodeError("a connection to the trunk port does not speak handfast-trunk-1")
        return greeting[len(_GREETING) :]


async def dial(host: str, port: int, kid: bytes) -> Carrier:
    """A connection to the trunk port of another hub, greeted; LinkClosed when there is none."""
    try:
        carrier = Carrier(*await asyncio.open_connection(host, port))
    except OSError as error:
        raise LinkClosed(f"no hub answers at {host}:{port}: {error.strerror or error}") from None
    carrier.greet(kid)
    return carrier
