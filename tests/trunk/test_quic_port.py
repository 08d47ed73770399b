"""What strangers do at the QUIC port, what it costs, and that another hub still gets in."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection
from carrier_ends import VIENNA, Called, cross, listening, met
from two_hubs import free_port, until

from handfast.core.errors import LinkClosed
from handfast_hub.limits import TokenBucket
from handfast_hub.trunk import quic_port
from handfast_hub.trunk.greeting import Caller
from handfast_hub.trunk.quic import Protocol
from handfast_hub.trunk.quic_connection import Connection, configuration
from handfast_hub.trunk.quic_port import QuicPort
from handfast_hub.trunk.udp import udp_socket


@contextlib.asynccontextmanager
async def quic_listening() -> AsyncIterator[tuple[int, Called, QuicPort]]:
    """A QUIC port: its number, what came in there, and the port itself."""
    port = free_port()
    async with listening("quic", port) as called:
        assert isinstance(called.port, QuicPort)
        yield port, called, called.port


@contextlib.asynccontextmanager
async def stranger(port: int, caller: Caller | None = VIENNA, **options: Any) -> AsyncIterator[Protocol]:
    """A QUIC client that gets no further than it wants to. By default it has stolen the pairing secret."""
    made = configuration(is_client=True)
    for name, value in options.items():
        setattr(made, name, value)
    protocol = Protocol(Connection(configuration=made), "a stranger")
    protocol.connection.caller = caller
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: protocol, sock=udp_socket(socket.AF_INET, ("127.0.0.1", 0))
    )
    try:
        protocol.connect(("127.0.0.1", port))
        yield protocol
    finally:
        protocol.close()
        transport.close()


async def still_open(port: int, called: Called) -> None:
    """Another hub gets in."""
    async with met(called, "quic", "127.0.0.1", port) as ends:
        await cross(*ends)


async def test_any_bytes_at_the_quic_port_make_no_connection() -> None:
    rng = random.Random(5)
    async with quic_listening() as (port, called, quic):
        async with stranger(port) as one:
            await one.wait_connected()
        # Whole packets of a client, out of context, and with bytes changed.
        first = QuicConnection(configuration=configuration(is_client=True))
        first.connect(("127.0.0.1", port), now=0.0)
        initial = first.datagrams_to_send(now=0.0)[0][0]
        for number in range(2000):
            length = rng.choice((0, 1, 20, 100, 1199, 1200, 1400, 9000))
            data = rng.randbytes(length)
            if number % 2:
                # A long header (RFC 9000 section 17.2).
                data = bytes([0xC0 | rng.randrange(64)]) + data
            if number % 5 == 0:
                at = rng.randrange(len(initial))
                data = initial[:at] + rng.randbytes(1) + initial[at + 1 :]
            quic.datagram_received(data, ("127.0.0.1", 9))
        await until(lambda: not quic._ids)
        assert not quic._by_id
        await still_open(port, called)


async def test_a_caller_who_shows_no_address_of_his_own_gets_a_retry_and_no_memory() -> None:
    async with quic_listening() as (port, called, quic):
        for _ in range(100):
            client = QuicConnection(configuration=configuration(is_client=True))
            client.connect(("127.0.0.1", port), now=0.0)
            for data, _ in client.datagrams_to_send(now=0.0):
                quic.datagram_received(data, ("127.0.0.1", 9))
        assert not quic._ids
        await still_open(port, called)


async def test_a_caller_without_the_pairing_secret_gets_no_handshake_and_no_memory() -> None:
    async with quic_listening() as (port, called, quic):
        mallory = VIENNA._replace(key=bytes(32))
        for caller in (None, mallory, VIENNA._replace(kid=b"mallorys")):
            async with stranger(port, caller) as one:
                # He has had his Retry, and sends what answers it, again and again.
                await until(lambda: one.connection._retry_count == 1)
                for data, address in one.connection.datagrams_to_send(one._loop.time() + 60.0):
                    quic.datagram_received(data, address)
                assert not quic._ids
        # What was recorded of a hub that has a trunk is good for its own address and for one connection.
        data, _ = proven_initial(quic, 1)
        quic.datagram_received(data, ("127.0.0.1", 10))
        assert not quic._ids
        await still_open(port, called)


async def test_callers_who_never_greet_hold_few_places_and_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quic_port, "UNGREETED_LIMIT", 4)
    async with quic_listening() as (port, called, quic), contextlib.AsyncExitStack() as stack:
        strangers = []
        for _ in range(12):
            strangers.append(await stack.enter_async_context(stranger(port)))
            await strangers[-1].wait_connected()
            assert len(quic._ungreeted) <= 4
        # The oldest had to go.
        await asyncio.wait_for(strangers[0].wait_closed(), 60)
        await still_open(port, called)
        assert len(called.refused) >= 8


def proven_initial(quic: QuicPort, number: int) -> tuple[bytes, tuple[str, int]]:
    """The Initial packet of a caller that has had its Retry, and where it comes from."""
    address, name = ("127.0.0.1", 9), number.to_bytes(8, "big")
    made = configuration(is_client=True)
    token = quic._retry.create_token(
        address=address,
        original_destination_connection_id=name,
        retry_source_connection_id=name,
        now=asyncio.get_running_loop().time(),
    )
    made.token = token + VIENNA.answer(token)
    client = QuicConnection(configuration=made)
    client._peer_cid.cid = name
    client.connect(address, now=0.0)
    return client.datagrams_to_send(now=0.0)[0][0], address


async def test_callers_who_come_all_at_once_hold_no_more_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_port, "UNGREETED_LIMIT", 4)
    async with quic_listening() as (_, called, quic):
        # None of them has gone before the next one is there: nothing here waits.
        for number in range(12):
            data, address = proven_initial(quic, number)
            quic.datagram_received(data, address)
        assert len(quic._ungreeted) == 4
        await until(lambda: len(called.refused) == 8)
        assert len(quic._ungreeted) == 4


async def test_handshakes_have_a_rate_and_who_comes_too_soon_gets_in_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quic_port, "HANDSHAKES_AT_ONCE", 3)
    monkeypatch.setattr(quic_port, "HANDSHAKES_PER_SECOND", 0)
    async with quic_listening() as (port, _, quic), contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await (await stack.enter_async_context(stranger(port))).wait_connected()
        late = [await stack.enter_async_context(stranger(port)) for _ in range(5)]
        waiting = [asyncio.ensure_future(one.wait_connected()) for one in late]
        await until(lambda: all(one.connection._retry_count for one in late))
        assert len(quic._ids) == 3
        quic._handshakes = TokenBucket(1000, asyncio.get_running_loop().time(), 3)
        await asyncio.wait_for(asyncio.gather(*waiting), 60)


async def test_a_caller_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handfast_hub.trunk.quic.GREETING_SECONDS", 0.2)
    async with quic_listening() as (port, called, _), stranger(port) as one:
        await one.wait_connected()
        await asyncio.wait_for(one.wait_closed(), 60)
        assert isinstance(called.refused[0], LinkClosed)


def strange_stream(one: Protocol) -> None:
    one.connection.send_stream_data(0, b"GET / HTTP/1.1\r\n\r\n" * 4)


def other_stream(one: Protocol) -> None:
    one.connection.send_stream_data(4, b"handfast-trunk-1vienna's")


def no_more(one: Protocol) -> None:
    one.connection.send_stream_data(0, b"handfast", end_stream=True)


def given_up(one: Protocol) -> None:
    one.connection.send_stream_data(0, b"handfast")
    one.connection.reset_stream(0, 1)


@pytest.mark.parametrize("does", [strange_stream, other_stream, no_more, given_up])
async def test_a_caller_who_speaks_something_else_is_sent_away(does: Callable[[Protocol], None]) -> None:
    async with quic_listening() as (port, called, _), stranger(port) as one:
        await one.wait_connected()
        does(one)
        one.transmit()
        await asyncio.wait_for(one.wait_closed(), 60)
        await still_open(port, called)


async def test_a_caller_who_speaks_another_protocol_gets_no_connection() -> None:
    async with quic_listening() as (port, called, _), stranger(port, alpn_protocols=["h3"]) as one:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(one.wait_connected(), 60)
        await still_open(port, called)


async def test_a_caller_who_leaves_holes_in_the_stream_costs_little_memory() -> None:
    async with quic_listening() as (port, called, _), stranger(port) as one:
        await one.wait_connected()
        stream = one.connection._get_or_create_stream_for_send(0)
        sender = stream.sender
        # Nothing but the last byte that the window allows, and again when it has grown.
        for _ in range(10):
            offset = stream.max_stream_data_remote - 1
            sender._buffer_start = sender._buffer_stop = offset
            sender._buffer.clear()
            one.connection.send_stream_data(0, b"x")
            one.transmit()
            await asyncio.sleep(0)
            if one.carrier._error is not None:
                break
            await until(lambda: stream.max_stream_data_remote > offset + 1 or one.carrier._error is not None)  # noqa: B023
        await asyncio.wait_for(one.wait_closed(), 60)
        assert "too much came out of order" in str(one.carrier._error)
        await still_open(port, called)
