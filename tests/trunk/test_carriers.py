"""TCP and QUIC as carriers of frames, by themselves: what passes, what is dropped, how failures are told."""

import asyncio
import contextlib
import socket

import pytest
from carrier_ends import (
    DIAL,
    DOOR,
    EVERY,
    LISTEN,
    VIENNA,
    Called,
    cross,
    joined,
    listening,
    met,
    record,
    taken,
)
from two_hubs import free_port, until

from handfast.core.errors import DecodeError, LinkClosed
from handfast_hub.trunk.carrier import LONGEST_FRAME, WRITE_LIMIT
from handfast_hub.trunk.policy import CONTROL, NORMAL
from handfast_hub.trunk.quic import LARGEST_FRAME, QuicCarrier


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


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
    async with joined(scheme, host="::1") as ends:
        await cross(*ends)


@EVERY
async def test_a_hub_is_found_at_any_address_of_its_name(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    async with listening(scheme, port) as called:
        known = (socket.AF_INET, 0, 0, "", ("127.0.0.1", port))
        # Nobody listens at the first one, and a datagram there is not answered.
        other = (socket.AF_INET, 0, 0, "", ("127.0.0.2", port))

        async def getaddrinfo(*_: object, **asked: int) -> list[object]:
            return [(family, asked["type"], *rest) for family, _, *rest in (other, known)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        async with met(called, scheme, "hub.example", port) as ends:
            await cross(*ends)


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
        await DIAL[scheme]("127.0.0.1", free_port(), VIENNA)


@EVERY
async def test_a_name_that_is_nobody_s_is_said_in_one_sentence(scheme: str) -> None:
    with pytest.raises(LinkClosed, match=r"no hub answers at .*nowhere.invalid:7301"):
        await DIAL[scheme]("nowhere.invalid", 7301, VIENNA)


@EVERY
async def test_a_port_that_is_taken_is_said_in_one_sentence(scheme: str) -> None:
    port = free_port()
    async with listening(scheme, port):
        with pytest.raises(LinkClosed, match=f"cannot listen for trunks on 127.0.0.1:{port}"):
            await LISTEN[scheme]("127.0.0.1", port, Called().called, DOOR)


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


@EVERY
async def test_a_length_that_no_frame_has_ends_the_carrier(scheme: str) -> None:
    async with joined(scheme) as (near, far):
        near.send([bytes(LONGEST_FRAME + 1)])
        with pytest.raises(DecodeError, match=f"at most {LONGEST_FRAME} bytes"):
            await asyncio.wait_for(far.receive(), 60)


async def test_records_that_are_sent_one_by_one_share_packets_over_quic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Half a second instead of a millisecond: forty turns of the loop take less on any machine.
    monkeypatch.setattr("handfast_hub.trunk.quic.COMPANY", 0.5)
    async with joined("quic") as (near, far):
        assert isinstance(near, QuicCarrier)
        await cross(near, far)
        transport = near._protocol._transport
        packets: list[bytes] = []
        sendto = transport.sendto
        monkeypatch.setattr(
            transport, "sendto", lambda data, addr: (packets.append(data), sendto(data, addr))
        )
        sent = [record(number, 100) for number in range(40)]
        for each in sent:
            near.send([each])
            await asyncio.sleep(0)
        assert await taken(far, 40) == sent
        assert len(packets) < 20


async def test_what_is_sent_in_the_last_moment_of_a_quic_carrier_harms_nobody() -> None:
    async with joined("quic") as (near, far):
        await cross(near, far)
        for carrier in (near, far):
            carrier.send([record(1, 100)])
            await carrier.close()
            await carrier.close()
            assert carrier.send([record(2, 100)]) == 1
