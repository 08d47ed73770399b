"""A QUIC connection of aioquic with what a trunk needs beside its public face.

Everything here that reaches inside aioquic is in this one class, and pyproject.toml holds aioquic
below its next minor version: the fate of each DATAGRAM frame, how much waits to be sent, a place at
the head of the queue, and a limit to what a peer may make us keep.
"""

import ssl
from typing import Any

from aioquic.buffer import size_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import NetworkAddress, QuicConnection
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder

from handfast_hub.trunk.greeting import Caller
from handfast_hub.trunk.loss import Loss

ALPN = "handfast-trunk-1"
# A UDP payload of 1,200 bytes passes every path that may carry QUIC at all (RFC 9000 section 14).
PACKET = 1200
# What fits into it as one DATAGRAM frame, whatever connection id the peer chose: short header with an
# id of 20 bytes and a packet number of 2, type and length of the frame, tag of the AEAD.
LARGEST_DATAGRAM = PACKET - (1 + 20 + 2) - (1 + 2) - 16
# What is announced to the peer (RFC 9221 section 3): any that fits its packet.
_MAX_DATAGRAM_FRAME = 65535
IDLE_SECONDS = 20.0
# Bytes that may have come over streams with something missing before them: from whom anything may
# come, and from whom an authentic record came. aioquic would keep any number of them.
GAP_UNPROVEN = 256 * 1024
GAP_PROVEN = 8 * 1024 * 1024


def configuration(*, is_client: bool) -> QuicConfiguration:
    """How trunks speak QUIC.

    There is no certificate to verify and nothing to verify it for: TLS protects nothing here that we
    rely on. Whoever sits in the middle can read records, which are sealed, and lose, repeat, reorder
    and make up others, which the lanes refuse; he could do that to TCP or plain UDP too.
    """
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        idle_timeout=IDLE_SECONDS,
        max_datagram_size=PACKET,
        max_datagram_frame_size=_MAX_DATAGRAM_FRAME,
        max_data=GAP_UNPROVEN,
        max_stream_data=GAP_UNPROVEN,
        verify_mode=ssl.CERT_NONE,
        server_name=ALPN if is_client else None,
    )


class Connection(QuicConnection):
    """One QUIC connection."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Who dials, when it is us; and the answer of whoever it is to the token of the Retry.
        self.caller: Caller | None = None
        self.answer = b""
        # Bytes that the streams have handed on, and how many may have come besides.
        self.taken = 0
        self.gap_limit = GAP_UNPROVEN
        self.datagram_bytes = 0
        # Counts DATAGRAM frames by their acknowledgements. Those are as little proven as all of QUIC here:
        # who sits in the middle can have repairs sent, or not.
        self.meter = Loss()
        self._number = 0
        self._ahead = b""

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """Take a UDP datagram; a peer that leaves holes in its streams for ever loses the connection.

        aioquic doubles its windows whenever the highest byte nears them, delivered or not.
        """
        retries = self._retry_count
        super().receive_datagram(data, addr, now)
        if self._retry_count != retries and self.caller is not None:
            # RFC 9000 section 17.2.5.2 has a client send the token of a Retry as it is. Our port takes the
            # answer to it behind it: so a stranger costs it one HMAC, and no handshake.
            self.answer = self.caller.answer(self._peer_token)
            self._peer_token += self.answer
        if self._local_max_data.used - self.taken > self.gap_limit:
            self.close(QuicErrorCode.FLOW_CONTROL_ERROR, reason_phrase="too much came out of order")

    def queue_datagram(self, data: bytes, *, ahead: bool = False) -> None:
        """Send a DATAGRAM frame of at most LARGEST_DATAGRAM bytes, before all others or behind them."""
        if ahead and self._ahead in self._datagrams_pending:
            # It could not leave yet, and is stale by now.
            self._datagrams_pending.remove(self._ahead)
            self.datagram_bytes -= len(self._ahead)
        self.datagram_bytes += len(data)
        if ahead:
            self._datagrams_pending.appendleft(data)
            self._ahead = data
        else:
            self._datagrams_pending.append(data)

    def forget_datagrams(self) -> None:
        """Drop the DATAGRAM frames that wait."""
        self._datagrams_pending.clear()
        self.datagram_bytes = 0

    def backlog(self, stream_id: int) -> int:
        """Bytes that wait: as DATAGRAM frames to be sent, and on a stream to be acknowledged."""
        stream = self._streams.get(stream_id)
        return self.datagram_bytes + (0 if stream is None else len(stream.sender._buffer))

    def takes_datagrams(self) -> bool:
        """Whether the peer takes DATAGRAM frames of any length that we send."""
        return (self._remote_max_datagram_frame_size or 0) > LARGEST_DATAGRAM + 3

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds (RFC 9002 section 5.3), None before the first."""
        return self._loss._rtt_smoothed if self._loss._rtt_initialized else None

    def _write_datagram_frame(self, builder: QuicPacketBuilder, data: bytes, frame_type: int) -> bool:
        # As in aioquic, and with a handler: RFC 9221 section 5.2 lets a sender tell the application
        # that a frame was acknowledged or is believed lost.
        length = len(data)
        buffer = builder.start_frame(
            frame_type,
            capacity=1 + size_uint_var(length) + length,
            handler=self._on_datagram_delivery,
            handler_args=(self._number,),
        )
        # There was room for it: aioquic raises otherwise, and asks again with the next packet.
        self._number += 1
        buffer.push_uint_var(length)
        buffer.push_bytes(data)
        self.datagram_bytes -= length
        return True

    def _on_datagram_delivery(self, delivery: QuicDeliveryState, number: int) -> None:
        if delivery == QuicDeliveryState.ACKED:
            self.meter.count(number)
