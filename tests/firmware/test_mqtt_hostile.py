"""Bytes of a broker that are no MQTT, or end anywhere."""

import asyncio

from refusal import refused_by
from scripted_stream import ENROLLED, joined, message

from handfast.core.errors import LinkClosed

# Each of these ends the connection; the broker says nothing else afterwards.


HOSTILE = (
    b"\x00\x00",
    b"\x10\x02\x00\x00",
    b"\x20\x02\x00\x00",
    b"\xf0\x00",
    b"\xd0\x01\x00",
    b"\xd1\x00",
    b"\x40\x00",
    b"\x40\x03\x00\x01\x00",
    b"\x42\x02\x00\x01",
    b"\x90\x02\x00\x01",
    b"\x90\xff\xff\xff\x7f",
    b"\x50\x02\x00\x01",
    b"\x62\x02\x00\x01",
    b"\x30\xff\xff\xff\xff\x7f",
    b"\x30\x80\x80\x80\x80\x00",
    b"\x30\x00",
    b"\x30\x01\x00",
    b"\x32\x03\x00\x00\x00",
    b"\x30\x04\x00\x03ab",
    b"\x30\x04\xff\xffab",
    b"\x32\x06\x00\x03abcd",
    b"\x34\x06\x00\x01a\x00\x01x",
    b"\x36\x06\x00\x01a\x00\x01x",
    b"\x30\x84\x04\x01\x01" + bytes(512),
)


async def test_bytes_that_are_no_mqtt_close_the_link_and_nothing_else_happens() -> None:
    for data in HOSTILE:
        link, stream = await joined()
        stream.send(data)
        detail = (await refused_by(LinkClosed, link.receive())).detail
        assert "no MQTT" in detail, (data, detail)
        await refused_by(LinkClosed, link.send(1, b"x"))
        await link.close()
        assert stream.closed


async def test_a_packet_that_is_cut_anywhere_closes_the_link() -> None:
    whole = message(ENROLLED.down.encode() + b"/1", b"payload")
    for end in range(len(whole)):
        link, stream = await joined()
        stream.send(whole[:end])
        stream.drop()
        await refused_by(LinkClosed, link.receive())
        await link.close()


async def test_any_bytes_give_payloads_or_a_closed_link() -> None:
    state = 2463534242
    for _ in range(300):
        data = bytearray()
        for _ in range(40):
            state ^= state << 13 & 0xFFFFFFFF
            state ^= state >> 17
            state ^= state << 5 & 0xFFFFFFFF
            # Mostly small numbers, so that lengths fit and packets go on.
            data.append(state >> 8 & 0xFF if state & 3 else (state >> 8) & 7)
        data[0] = (0x30, 0x32, 0x40, 0x90, 0xD0, data[0])[state % 6]
        link, stream = await joined()
        stream.send(bytes(data))
        stream.drop()
        try:
            while True:
                channel, payload = await asyncio.wait_for(link.receive(), 60)
                assert channel in range(6) and len(payload) < 40
        except LinkClosed:
            pass
        await link.close()


async def test_a_length_of_256_megabytes_takes_no_memory() -> None:
    link, stream = await joined()
    down = ENROLLED.down.encode() + b"/1"
    stream.send(b"\x30\xff\xff\xff\x7f" + len(down).to_bytes(2, "big") + down + bytes(5000))
    stream.drop()
    await refused_by(LinkClosed, link.receive())
    assert link.dropped == 0 and stream.largest_read == 512
    await link.close()
