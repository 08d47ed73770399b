"""The UDP port where other hubs connect by QUIC.

Anybody may send anything here. Whoever has not shown by a Retry that he owns his address costs one
AES-GCM and no memory (RFC 9000 section 8.1.2). Whoever has, and does not show with it that he holds the
pairing secret of a trunk (greeting.py), costs one HMAC more. Only behind that there is a handshake; of
those there are only so many a second, and each holds one of few places until it has greeted.
"""

import asyncio
import datetime as dt
import os
from functools import cache
from typing import cast

from aioquic._buffer import Buffer
from aioquic.quic.connection import NetworkAddress
from aioquic.quic.packet import QuicHeader, QuicPacketType, encode_quic_retry, pull_quic_header
from aioquic.quic.retry import QuicRetryTokenHandler
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handfast.core.errors import Error, LinkClosed, PeerError
from handfast_hub.limits import TokenBucket
from handfast_hub.trunk.carrier import Called, Port
from handfast_hub.trunk.greeting import ANSWER_LENGTH, Door
from handfast_hub.trunk.quic import Protocol
from handfast_hub.trunk.quic_connection import ALPN, PACKET, Connection, configuration
from handfast_hub.trunk.udp import resolve, udp_socket

# RFC 9000 section 17.2: the first bit of a packet that may begin a connection.
_LONG_HEADER = 0x80
# Connections that have not greeted; the oldest goes.
UNGREETED_LIMIT = 32
# Connections in all. A hub that is called by its peers needs a few for each.
CONNECTIONS_LIMIT = 1024
# A handshake costs two milliseconds. Who comes too soon is not answered, and asks again.
HANDSHAKES_PER_SECOND = 50
HANDSHAKES_AT_ONCE = 50


class QuicPort(Port, asyncio.DatagramProtocol):
    """One UDP socket, shared by the connections that came in."""

    def __init__(self, called: Called, door: Door) -> None:
        self._called = called
        self._door = door
        self._configuration = configuration(is_client=False)
        self._configuration.private_key, self._configuration.certificate = _certificate()
        self._retry = QuicRetryTokenHandler()
        # By every connection id that the peer may use.
        self._by_id: dict[bytes, Protocol] = {}
        self._ids: dict[Protocol, set[bytes]] = {}
        self._ungreeted: dict[Protocol, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._open = True
        self._handshakes = TokenBucket(
            HANDSHAKES_PER_SECOND, asyncio.get_running_loop().time(), HANDSHAKES_AT_ONCE
        )

    def refuse(self) -> None:
        """Take no more connections."""
        self._open = False

    async def close(self) -> None:
        """Let all connections go, and the socket."""
        self._open = False
        for protocol in list(self._ids):
            protocol.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()

    # The socket -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        # In Python 3.11 the transports of asyncio do not say by their classes what they are.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: NetworkAddress) -> None:
        """Take a UDP datagram of anybody."""
        if data and not data[0] & _LONG_HEADER:
            # RFC 9000 section 17.3.1: a packet of a connection that there is, if its id is one of ours.
            known = self._by_id.get(data[1 : 1 + self._configuration.connection_id_length])
            if known is not None:
                known.datagram_received(data, addr)
            return
        try:
            header = pull_quic_header(Buffer(data=data), self._configuration.connection_id_length)
        except ValueError:
            return
        protocol = self._by_id.get(header.destination_cid)
        if protocol is not None:
            protocol.datagram_received(data, addr)
        elif (
            self._open
            and header.packet_type == QuicPacketType.INITIAL
            # RFC 9000 section 14.1: a smaller one could make us answer with more than came.
            and len(data) >= PACKET
            and header.version in self._configuration.supported_versions
        ):
            self._knock(data, addr, header)

    def _knock(self, data: bytes, addr: NetworkAddress, header: QuicHeader) -> None:
        """An Initial packet of nobody we know: have the address proven, then make a connection."""
        assert self._transport is not None
        assert header.version is not None
        now = asyncio.get_running_loop().time()
        if not header.token:
            own_id = os.urandom(8)
            token = self._retry.create_token(
                address=addr,
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=own_id,
                now=now,
            )
            self._transport.sendto(
                encode_quic_retry(
                    version=header.version,
                    source_cid=own_id,
                    destination_cid=header.source_cid,
                    original_destination_cid=header.destination_cid,
                    retry_token=token,
                ),
                addr,
            )
            return
        token, answer = header.token[:-ANSWER_LENGTH], header.token[-ANSWER_LENGTH:]
        try:
            self._door.check(token, answer)
            original = self._retry.validate_token(
                address=addr, destination_cid=header.destination_cid, token=token, now=now
            )
        except (PeerError, ValueError):
            return
        if len(self._ids) >= CONNECTIONS_LIMIT or not self._handshakes.take(now):
            return
        connection = Connection(
            configuration=self._configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=header.destination_cid,
        )
        connection.answer = answer
        protocol = self._made(connection, addr[0], f"quic from {addr[0]}:{addr[1]}")
        self._issued(protocol, header.destination_cid)
        self._issued(protocol, connection.host_cid)
        protocol.datagram_received(data, addr)

    # Its connections --------------------------------------------------------------------------

    def _made(self, connection: Connection, address: str, name: str) -> Protocol:
        assert self._transport is not None
        protocol = Protocol(connection, name)
        protocol.carrier.address = address
        protocol.connection_made(self._transport)
        protocol.hear(
            issued=lambda name: self._issued(protocol, name),
            retired=lambda name: self._retired(protocol, name),
            ended=lambda: self._ended(protocol),
        )
        self._ids[protocol] = set()
        self._ungreeted[protocol] = None
        if len(self._ungreeted) > UNGREETED_LIMIT:
            # It has no place from now on: its task takes a moment to hear of its end.
            oldest = next(iter(self._ungreeted))
            del self._ungreeted[oldest]
            oldest.close()
        task = asyncio.create_task(self._serve(protocol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return protocol

    async def _serve(self, protocol: Protocol) -> None:
        try:
            await protocol.carrier.greeting()
        except Error:
            pass
        finally:
            self._ungreeted.pop(protocol, None)
        # It hears of what was wrong, and closes the carrier.
        await self._called(protocol.carrier)

    def _issued(self, protocol: Protocol, name: bytes) -> None:
        if protocol in self._ids:
            self._by_id[name] = protocol
            self._ids[protocol].add(name)

    def _retired(self, protocol: Protocol, name: bytes) -> None:
        if protocol in self._ids:
            self._by_id.pop(name, None)
            self._ids[protocol].discard(name)

    def _ended(self, protocol: Protocol) -> None:
        self._ungreeted.pop(protocol, None)
        for name in self._ids.pop(protocol, ()):
            self._by_id.pop(name, None)


async def listen_quic(host: str, port: int, called: Called, door: Door) -> Port:
    """Hear other hubs; each connection goes to `called`. LinkClosed when the port is taken."""
    loop = asyncio.get_running_loop()
    try:
        family, address = (await resolve(host, port))[0]
        _, protocol = await loop.create_datagram_endpoint(
            lambda: QuicPort(called, door), sock=udp_socket(family, address)
        )
    except OSError as error:
        raise LinkClosed(f"cannot listen for trunks on {host}:{port} (UDP): {error.strerror}") from None
    return protocol


@cache
def _certificate() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A key and a certificate of this process alone. QUIC wants one; nobody looks at it (quic_connection)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ALPN)])
    # Dates that say nothing about this machine and its clock.
    start, end = dt.datetime(2026, 1, 1), dt.datetime(9999, 12, 31)  # noqa: DTZ001
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return key, certificate
