"""TCP and QUIC as carriers of frames, by themselves: what passes, what is dropped, what strangers cost."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection
from shaken_path import ShakenPath
from two_hubs import free_port, until

from handfast.core.errors import DecodeError, Error, LinkClosed
from handfast_hub.trunk import quic_port
from handfast_hub.trunk.carrier import LONGEST_FRAME, WRITE_LIMIT, Carrier, Port
from handfast_hub.trunk.policy import CONTROL, HYBRID, NORMAL
from handfast_hub.trunk.quic import LARGEST_FRAME, Protocol, dial_quic, udp_socket
from handfast_hub.trunk.quic_connection import Connection, configuration
from handfast_hub.trunk.quic_port import QuicPort, listen_quic
from handfast_hub.trunk.tcp import dial_tcp, listen_tcp

KID = b"vienna's"
LISTEN = {"tcp": listen_tcp, "quic": listen_quic}
DIAL = {"tcp": dial_tcp, "quic": dial_quic}
EVERY = pytest.mark.parametrize("scheme", ["tcp", "quic"])


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def record(number: int, length: int, kind: int = NORMAL) -> bytes:
    """A frame that looks like a record of the hybrid lane; carriers look no further."""
    return bytes([HYBRID << 4 | kind]) + number.to_bytes(4, "big") + bytes(length - 5)


class Called:
    """A port, and the carriers that came in there and greeted."""

    def __init__(self) -> None:
        self.carriers: asyncio.Queue[tuple[bytes, Carrier]] = asyncio.Queue()
        self.refused: list[Error] = []
        self.port: Port | None = None

    async def called(self, carrier: Carrier) -> None:
        try:
            self.carriers.put_nowait((await carrier.greeting(), carrier))
        except Error as error:
            self.refused.append(error)
            await carrier.close()


@contextlib.asynccontextmanager
async def listening(scheme: str, port: int) -> AsyncIterator[Called]:
    called = Called()
    called.port = await LISTEN[scheme]("127.0.0.1", port, called.called)
    try:
        yield called
    finally:
        while not called.carriers.empty():
            await called.carriers.get_nowait()[1].close()
        await called.port.close()


@contextlib.asynccontextmanager
async def joined(scheme: str, between: int | None = None) -> AsyncIterator[tuple[Carrier, Carrier]]:
    """Both ends of a carrier; the one that dialled first. It dials `between`, when that is given."""
    port = free_port() if between is None else between + 1
    async with listening(scheme, port) as called:
        near = await DIAL[scheme]("127.0.0.1", between or port, KID)
        kid, far = await asyncio.wait_for(called.carriers.get(), 60)
        assert kid == KID
        try:
            yield near, far
        finally:
            await near.close()
            await far.close()


async def taken(carrier: Carrier, count: int) -> list[bytes]:
    async with asyncio.timeout(120):
        return [await carrier.receive() for _ in range(count)]


@EVERY
async def test_frames_of_every_length_pass_both_ways(scheme: str) -> None:
    lengths = [29, 300, LARGEST_FRAME - 1, LARGEST_FRAME, LARGEST_FRAME + 1, 5000, LONGEST_FRAME]
    sent = [
        record(number, length, kind) for number, length in enumerate(lengths) for kind in (CONTROL, NORMAL)
    ]
    sent.append(b"\x01 an opening message")
    async with joined(scheme) as ends:
        for here, there in (ends, ends[::-1]):
            assert here.send(sent) == 0
            # QUIC has no order between datagrams and its stream.
            assert sorted(await taken(there, len(sent))) == sorted(sent)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@EVERY
async def test_carriers_go_over_ipv6(scheme: str) -> None:
    called, port = Called(), free_port()
    server = await LISTEN[scheme]("::1", port, called.called)
    near = await DIAL[scheme]("::1", port, KID)
    _, far = await asyncio.wait_for(called.carriers.get(), 60)
    near.send([record(1, 100)])
    assert await taken(far, 1) == [record(1, 100)]
    await near.close()
    await far.close()
    await server.close()


@EVERY
async def test_a_hub_is_found_at_any_address_of_its_name(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called, port = Called(), free_port()
    server = await LISTEN[scheme]("127.0.0.1", port, called.called)
    known = (socket.AF_INET, 0, 0, "", ("127.0.0.1", port))
    # Nobody listens at the first one, and a datagram there is not answered.
    other = (socket.AF_INET, 0, 0, "", ("127.0.0.2", port))

    async def getaddrinfo(*_: object, **asked: int) -> list[object]:
        return [(family, asked["type"], *rest) for family, _, *rest in (other, known)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    near = await DIAL[scheme]("hub.example", port, KID)
    _, far = await asyncio.wait_for(called.carriers.get(), 60)
    near.send([record(1, 100)])
    assert await taken(far, 1) == [record(1, 100)]
    await near.close()
    await far.close()
    await server.close()


@EVERY
async def test_the_end_of_a_carrier_is_told(scheme: str) -> None:
    async with joined(scheme) as (near, far):
        await near.close()
        with pytest.raises(LinkClosed):
            await asyncio.wait_for(far.receive(), 60)
        await near.close()
        assert near.send([record(0, 29)]) == 1


async def test_a_caller_who_wants_to_hear_nothing_is_sent_away_and_sending_to_him_fails_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with joined("quic") as (near, far):
        # A stranger stays; ours would go when it hears the answer.
        monkeypatch.setattr(near._protocol, "quic_event_received", lambda event: None)
        near._connection.stop_stream(0, 1)
        near._protocol.transmit()
        sender = far._connection._streams[0].sender
        await until(lambda: sender._reset_error_code is not None)
        assert far.send([record(0, 29, CONTROL)]) == 1
        with pytest.raises(LinkClosed, match="a trunk has one stream"):
            await far.receive()


@EVERY
async def test_nobody_there_is_said_in_one_sentence(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handfast_hub.trunk.quic.DIAL_SECONDS", 0.3)
    with pytest.raises(LinkClosed, match="no hub answers at"):
        await DIAL[scheme]("127.0.0.1", free_port(), KID)


@EVERY
async def test_a_name_that_is_nobody_s_is_said_in_one_sentence(scheme: str) -> None:
    with pytest.raises(LinkClosed, match=r"no hub answers at .*nowhere.invalid:7301"):
        await DIAL[scheme]("nowhere.invalid", 7301, KID)


@EVERY
async def test_a_port_that_is_taken_is_said_in_one_sentence(scheme: str) -> None:
    port = free_port()
    async with listening(scheme, port):
        with pytest.raises(LinkClosed, match=f"cannot listen for trunks on 127.0.0.1:{port}"):
            await LISTEN[scheme]("127.0.0.1", port, Called().called)


@EVERY
async def test_a_peer_that_does_not_keep_up_costs_no_more_than_the_limit(scheme: str) -> None:
    batch = [record(number, 1000) for number in range(1000)]
    async with joined(scheme) as (near, _):
        # Nobody reads at the other end, and the loop never turns: it all has to wait here.
        dropped = sum(near.send(batch) for _ in range(100))
        kept = (100_000 - dropped) * 1000
        # The kernel's own buffers hold some of it too.
        assert WRITE_LIMIT <= kept <= WRITE_LIMIT + 20_000_000
        assert near.send(batch[:1]) == 1


async def test_a_short_frame_overtakes_what_waits_and_its_stale_forerunner() -> None:
    async with joined("quic") as (near, far):
        near.send([record(number, 1000) for number in range(500)])
        near.send_ahead(record(1000, 53, CONTROL))
        near.send_ahead(record(1001, 53, CONTROL))
        numbers = [int.from_bytes(frame[1:5], "big") for frame in await taken(far, 501)]
        assert 1000 not in numbers
        assert numbers.index(1001) < 100


async def test_a_quic_carrier_survives_a_change_of_address() -> None:
    between = free_port()
    relay = ShakenPath(("127.0.0.1", between + 1))
    await relay.open(between)
    try:
        async with joined("quic", between) as (near, far):
            for number in range(5):
                near.send([record(number, 100)])
                assert await taken(far, 1) == [record(number, 100)]
                far.send([record(number, 5000)])
                assert await taken(near, 1) == [record(number, 5000)]
                await relay.move()
    finally:
        relay.close()


async def test_repairs_go_beside_datagrams_while_many_are_lost_and_no_longer() -> None:
    between = free_port()
    relay = ShakenPath(("127.0.0.1", between + 1))
    await relay.open(between)
    try:
        async with joined("quic", between) as (near, far):
            far.proven = near.proven = True

            async def exchange(numbers: range) -> None:
                """Send frames, few at a time, or the buffers of sockets lose some too."""
                for first in numbers[::24]:
                    mark = record(first, 29, CONTROL)
                    near.send([record(number, 500) for number in range(first, first + 24)])
                    # The stream would overtake them.
                    await until(lambda: near._connection.datagram_bytes == 0)
                    near.send([mark])
                    async with asyncio.timeout(120):
                        while await far.receive() != mark:
                            pass

            await exchange(range(960))
            assert near.measured().fec is False
            relay.loss = 0.1
            await exchange(range(960, 2880))
            assert near.measured().fec is True
            assert near.measured().loss > 0.02
            # About 200 frames were lost on their way.
            assert far._decoder.recovered > 20
            relay.loss = 0.0
            async with asyncio.timeout(120):
                while near.measured().fec:
                    await exchange(range(960))
            assert near.measured().rtt > 0
    finally:
        relay.close()


async def test_spoilt_packets_are_lost_packets() -> None:
    between = free_port()
    relay = ShakenPath(("127.0.0.1", between + 1))
    await relay.open(between)
    try:
        async with joined("quic", between) as (near, far):
            relay.spoilt = 0.2
            short = {record(number, 300) for number in range(60)}
            long = {record(number, 3000) for number in range(60)}
            near.send([*short, *long])
            came: set[bytes] = set()
            async with asyncio.timeout(120):
                while not came >= long:
                    came.add(await far.receive())
            assert came <= short | long
    finally:
        relay.close()


# What strangers do at the QUIC port -------------------------------------------------------------


@contextlib.asynccontextmanager
async def stranger(port: int, **options: Any) -> AsyncIterator[Protocol]:
    """A QUIC client that gets no further than it wants to."""
    made = configuration(is_client=True)
    for name, value in options.items():
        setattr(made, name, value)
    protocol = Protocol(Connection(configuration=made), "a stranger")
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
    near = await dial_quic("127.0.0.1", port, KID)
    _, far = await asyncio.wait_for(called.carriers.get(), 60)
    near.send([record(1, 100)])
    assert await taken(far, 1) == [record(1, 100)]
    await near.close()
    await far.close()


async def test_any_bytes_at_the_quic_port_make_no_connection() -> None:
    port, rng = free_port(), random.Random(5)
    async with listening("quic", port) as called:
        quic = called.port
        assert isinstance(quic, QuicPort)
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
    port = free_port()
    async with listening("quic", port) as called:
        quic = called.port
        assert isinstance(quic, QuicPort)
        for _ in range(100):
            client = QuicConnection(configuration=configuration(is_client=True))
            client.connect(("127.0.0.1", port), now=0.0)
            for data, _ in client.datagrams_to_send(now=0.0):
                quic.datagram_received(data, ("127.0.0.1", 9))
        assert not quic._ids
        await still_open(port, called)


async def test_callers_who_never_greet_hold_few_places_and_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quic_port, "UNGREETED_LIMIT", 4)
    port = free_port()
    async with listening("quic", port) as called, contextlib.AsyncExitStack() as stack:
        quic = called.port
        assert isinstance(quic, QuicPort)
        strangers = []
        for _ in range(12):
            strangers.append(await stack.enter_async_context(stranger(port)))
            await strangers[-1].wait_connected()
            assert len(quic._ungreeted) <= 4
        # The oldest had to go.
        await asyncio.wait_for(strangers[0].wait_closed(), 60)
        await still_open(port, called)
        assert len(called.refused) >= 8


async def test_handshakes_have_a_rate_and_who_comes_too_soon_gets_in_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quic_port, "HANDSHAKES_AT_ONCE", 3)
    monkeypatch.setattr(quic_port, "HANDSHAKES_PER_SECOND", 0)
    port = free_port()
    async with listening("quic", port) as called, contextlib.AsyncExitStack() as stack:
        quic = called.port
        assert isinstance(quic, QuicPort)
        for _ in range(3):
            await (await stack.enter_async_context(stranger(port))).wait_connected()
        late = [await stack.enter_async_context(stranger(port)) for _ in range(5)]
        waiting = [asyncio.ensure_future(one.wait_connected()) for one in late]
        await until(lambda: all(one.connection._retry_count for one in late))
        assert len(quic._ids) == 3
        monkeypatch.setattr(quic_port, "HANDSHAKES_PER_SECOND", 1000)
        await asyncio.wait_for(asyncio.gather(*waiting), 60)


async def test_a_caller_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handfast_hub.trunk.quic.GREETING_SECONDS", 0.2)
    port = free_port()
    async with listening("quic", port) as called, stranger(port) as one:
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
    port = free_port()
    async with listening("quic", port) as called, stranger(port) as one:
        await one.wait_connected()
        does(one)
        one.transmit()
        await asyncio.wait_for(one.wait_closed(), 60)
        await still_open(port, called)


@EVERY
async def test_a_length_that_no_frame_has_ends_the_carrier(scheme: str) -> None:
    async with joined(scheme) as (near, far):
        near.send([bytes(LONGEST_FRAME + 1)])
        with pytest.raises(DecodeError, match=f"at most {LONGEST_FRAME} bytes"):
            await asyncio.wait_for(far.receive(), 60)


async def test_a_caller_who_speaks_another_protocol_gets_no_connection() -> None:
    port = free_port()
    async with listening("quic", port) as called, stranger(port, alpn_protocols=["h3"]) as one:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(one.wait_connected(), 60)
        await still_open(port, called)


async def test_a_caller_who_leaves_holes_in_the_stream_costs_little_memory() -> None:
    port = free_port()
    async with listening("quic", port) as called, stranger(port) as one:
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
