"""The carrier for lossy and moving paths: QUIC (RFC 9000), with records in DATAGRAM frames (RFC 9221).

Records that fit into a packet go as DATAGRAM frames: none waits for one that was lost. Opening
messages, control records and records that do not fit go on the one stream, each behind its length as
over TCP. QUIC brings congestion control with pacing, and survives a change of address. What is lost
of DATAGRAM frames does not go again here; while more than 0.5 % of them are, repairs go beside them
(fec.py), so that most need not wait for the bridge to notice.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import cast

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.connection import NetworkAddress
from aioquic.quic.packet import QuicErrorCode

from handfast.core.constants import KID_LENGTH
from handfast.core.errors import DecodeError, LinkClosed, PeerError
from handfast_hub.trunk.carrier import (
    DIAL_SECONDS,
    GREETING_LENGTH,
    GREETING_SECONDS,
    LENGTH,
    WRITE_LIMIT,
    Carrier,
    Measured,
    checked_length,
    decode_greeting,
    encode_greeting,
    in_stream,
)
from handfast_hub.trunk.fec import PATIENCE, Decoder, Encoder, is_coded
from handfast_hub.trunk.greeting import Caller
from handfast_hub.trunk.lane import is_control, is_opening
from handfast_hub.trunk.quic_connection import GAP_PROVEN, LARGEST_DATAGRAM, Connection, configuration
from handfast_hub.trunk.udp import resolve, udp_socket

# The client's first bidirectional stream (RFC 9000 section 2.1); a trunk has no other.
_STREAM = 0
# A repair is as long as a packet holds: its head, and a shard with the frame's length before it.
LARGEST_FRAME = (LARGEST_DATAGRAM - 7) // 8 * 8 - 2
# Frames that came and were not taken yet, in bytes; beyond them datagrams are dropped.
READ_LIMIT = 4 * 1024 * 1024
# Between two turns of sending, in seconds. A packet costs ten times what a record in it costs: so what comes
# within a millisecond of the last turn, acknowledgements too, waits for the end of it and leaves together.
COMPANY = 0.001


class QuicCarrier(Carrier):
    """One QUIC connection."""

    def __init__(self, protocol: "Protocol", name: str) -> None:
        super().__init__(name)
        self._protocol = protocol
        self._connection = protocol.connection
        self._encoder: Encoder | None = None
        self._decoder: Decoder | None = None
        self._repairing: asyncio.TimerHandle | None = None
        self._frames: deque[bytes] = deque()
        self._waiting = 0
        self._stream = bytearray()
        self._greeted = asyncio.Event()
        self._kid: bytes | None = None
        self._error: Exception | None = None
        self._wake = asyncio.Event()

    async def receive(self) -> bytes:
        """The next frame."""
        while not self._frames:
            if self._error is not None:
                raise self._error
            self._wake.clear()
            await self._wake.wait()
        frame = self._frames.popleft()
        self._waiting -= len(frame)
        if self.proven:
            self._connection.gap_limit = GAP_PROVEN
        return frame

    def send(self, frames: list[bytes]) -> int:
        """Queue frames; how many were dropped."""
        if self._error is not None or self._connection.backlog(_STREAM) > WRITE_LIMIT:
            return len(frames)
        fits = self._connection.takes_datagrams()
        stream = []
        for frame in frames:
            if fits and _is_data(frame) and len(frame) <= LARGEST_FRAME:
                self._send_datagram(frame)
            else:
                stream.append(frame)
        if stream:
            self._connection.send_stream_data(_STREAM, in_stream(stream))
        self._protocol.transmit_soon()
        return 0

    def send_ahead(self, frame: bytes) -> None:
        """Send a short frame before everything that waits; once, lost or not."""
        if self._error is None:
            self._connection.queue_datagram(frame, ahead=True)
            self._protocol.transmit_soon()

    async def greeting(self) -> bytes:
        """The kid of the hub that calls; the port has checked its answer to a Retry already."""
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                await self._greeted.wait()
        except TimeoutError:
            raise LinkClosed("a connection to the trunk port said nothing") from None
        if self._kid is None:
            raise self._error or LinkClosed("a connection to the trunk port said nothing")
        return self._kid

    async def close(self) -> None:
        """Close the connection."""
        self.end(LinkClosed("the carrier of the trunk was closed"))
        self._protocol.close()
        if self._protocol.owned is not None:
            self._protocol.owned.close()

    def measured(self) -> Measured:
        """What is known of the path now."""
        meter = self._connection.meter
        return Measured(self._connection.rtt, meter.rate, meter.high)

    def forget(self) -> None:
        """Drop the datagrams that wait."""
        self._connection.forget_datagrams()

    def greet(self) -> None:
        """Say who calls, and take frames from then on."""
        self._kid = self._connection.answer[:KID_LENGTH]
        self._connection.send_stream_data(_STREAM, encode_greeting(self._connection.answer))
        self._protocol.transmit_soon()

    # What the protocol tells -------------------------------------------------------------------

    def take_datagram(self, data: bytes) -> None:
        """A DATAGRAM frame came."""
        # Until the greeting is here nobody knows whom to give it to.
        if self._kid is None or self._waiting >= READ_LIMIT:
            return
        if not is_coded(data):
            self._put(data)
        elif self.proven:
            # Nobody else is worth the memory that it takes.
            self._decoder = self._decoder or Decoder()
            with contextlib.suppress(PeerError):
                for frame in self._decoder.receive(data, time.monotonic()):
                    self._put(frame)

    def take_stream(self, data: bytes) -> None:
        """The next bytes of the stream came."""
        self._stream += data
        try:
            if self._kid is None and len(self._stream) >= GREETING_LENGTH:
                answer = decode_greeting(bytes(self._stream[:GREETING_LENGTH]))
                if answer != self._connection.answer:
                    raise DecodeError("a QUIC connection greets as it was opened")
                self._kid = answer[:KID_LENGTH]
                del self._stream[:GREETING_LENGTH]
                self._greeted.set()
            while self._kid is not None and len(self._stream) >= LENGTH:
                end = LENGTH + checked_length(bytes(self._stream[:LENGTH]))
                if len(self._stream) < end:
                    return
                if self._waiting < READ_LIMIT:
                    self._put(bytes(self._stream[LENGTH:end]))
                del self._stream[:end]
        except DecodeError as error:
            # Behind a wrong length nothing can be found again.
            self.end(error)
            self._protocol.close()

    def end(self, error: Exception) -> None:
        """The connection ended, or is no good."""
        self._error = self._error or error
        self._greeted.set()
        self._wake.set()

    def _send_datagram(self, frame: bytes) -> None:
        if not self._connection.meter.high:
            self._connection.queue_datagram(frame)
            return
        self._encoder = self._encoder or Encoder()
        for datagram in self._encoder.add(frame, time.monotonic()):
            self._connection.queue_datagram(datagram)
        if self._repairing is None and self._encoder.timer() < inf:
            self._repairing = asyncio.get_running_loop().call_later(PATIENCE, self._repair)

    def _repair(self) -> None:
        """A group of frames waits no longer for others."""
        self._repairing = None
        if self._encoder is None or self._error is not None:
            return
        now = time.monotonic()
        for datagram in self._encoder.handle_timer(now):
            self._connection.queue_datagram(datagram)
        self._protocol.transmit_soon()
        if (left := self._encoder.timer() - now) < inf:
            self._repairing = asyncio.get_running_loop().call_later(left, self._repair)

    def _put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._waiting += len(frame)
        self._wake.set()


class Protocol(QuicConnectionProtocol):
    """Moves UDP datagrams between a socket and one connection."""

    def __init__(self, connection: Connection, name: str) -> None:
        super().__init__(connection)
        self.connection = connection
        self.carrier = QuicCarrier(self, name)
        self._turn: asyncio.Handle | None = None
        self._turned_at = 0.0
        # The socket, when it is ours alone: that of a connection which we dialled.
        self.owned: asyncio.DatagramTransport | None = None

    def hear(
        self,
        issued: Callable[[bytes], None],
        retired: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        """For who shares a socket: hear of connection ids of ours, and of the end."""
        self._connection_id_issued_handler = issued
        self._connection_id_retired_handler = retired
        self._connection_terminated_handler = ended

    def transmit_soon(self) -> None:
        """Send what there is in the next turn."""
        if self._turn is None:
            wait = self._turned_at + COMPANY - self._loop.time()
            later = self._loop.call_later
            self._turn = later(wait, self._take_turn) if wait > 0 else self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self._transport is not None and not self._transport.is_closing():
            self.transmit()

    def transmit(self) -> None:
        """Send what there is now."""
        self._turned_at = self._loop.time()
        super().transmit()

    def close(self, error_code: int = QuicErrorCode.NO_ERROR, reason_phrase: str = "") -> None:
        """Close the connection, and tell who waits for it now: aioquic tells after a while."""
        self.carrier.end(LinkClosed(f"the QUIC connection was closed: {reason_phrase or 'no longer wanted'}"))
        super().close(error_code, reason_phrase)

    def datagram_received(self, data: bytes | str, addr: NetworkAddress) -> None:
        """Take a UDP datagram. Whatever is wrong with it, no more than this connection ends."""
        try:
            # As in aioquic, but for when the answer leaves.
            self._quic.receive_datagram(cast("bytes", data), addr, now=self._loop.time())
            self._process_events()
            self.transmit_soon()
        except Exception as error:
            # A stranger chose these bytes, and no fault of a library may become ours.
            self.carrier.end(LinkClosed(f"the QUIC connection broke: {type(error).__name__}: {error}"))
            self.close()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        """Hand on what aioquic found in a packet."""
        if isinstance(event, events.DatagramFrameReceived):
            self.carrier.take_datagram(event.data)
        elif isinstance(event, events.StreamDataReceived) and event.stream_id == _STREAM:
            self.connection.taken += len(event.data)
            self.carrier.take_stream(event.data)
            if event.end_stream:
                self.close()
        elif isinstance(event, events.StreamDataReceived | events.StreamReset | events.StopSendingReceived):
            # Behind a STOP_SENDING (RFC 9000 section 3.5) whatever we write to the stream is an error.
            self.close(reason_phrase="a trunk has one stream, without an end")
        elif isinstance(event, events.ConnectionTerminated):
            self.carrier.end(LinkClosed(f"the QUIC connection ended: {event.reason_phrase or 'closed'}"))


async def dial_quic(host: str, port: int, caller: Caller) -> Carrier:
    """A connection to the QUIC port of another hub, greeted; LinkClosed when there is none.

    A name may stand for several addresses and the hub be at one of them: each is tried, in the order of
    the resolver, for its share of the time.
    """
    name = f"quic://{host}:{port}"
    reason = f"nothing within {DIAL_SECONDS:g} s"
    try:
        found = await resolve(host, port)
    except OSError as error:
        raise LinkClosed(f"no hub answers at {name}: {error.strerror or error}") from None
    for family, address in found:
        try:
            protocol = await _connected(family, address, name, caller, DIAL_SECONDS / len(found))
        except TimeoutError:
            continue
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            continue
        protocol.carrier.greet()
        return protocol.carrier
    raise LinkClosed(f"no hub answers at {name}: {reason}")


async def _connected(
    family: int, address: NetworkAddress, name: str, caller: Caller, seconds: float
) -> Protocol:
    """A connection whose handshake is done; OSError or TimeoutError."""
    protocol, connection = None, Connection(configuration=configuration(is_client=True))
    connection.caller = caller
    try:
        async with asyncio.timeout(seconds):
            # Bound to no address of ours, so that packets leave by whichever the machine has now: QUIC
            # goes on when it changes (RFC 9000 section 9).
            transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Protocol(connection, name),
                sock=udp_socket(family, ("", 0)),
            )
            protocol.owned = transport
            protocol.connect(address)
            await protocol.wait_connected()
    except BaseException:
        if protocol is not None:
            # Nobody waits any more for aioquic to say that this came to nothing.
            protocol._connected_waiter = None
            await protocol.carrier.close()
        raise
    return protocol


def _is_data(frame: bytes) -> bool:
    return not is_opening(frame) and not is_control(frame)
