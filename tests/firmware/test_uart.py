"""The link over a serial line of a board; the test is the gateway at its other end."""

import asyncio

from refusal import refused_by
from sources import Noise, Port

from handfast.core.cbor import decode, encode
from handfast.core.errors import LinkClosed, LinkError, LinkTimeout, LocalError
from handfast.core.frames import FrameReader, delimit
from handfast.core.topics import enrolled, onboarding
from handfast_micropython.uart import UartLink

CHAN = onboarding(bytes(8), bytes(14))
DEVICE = enrolled(bytes(8), bytes(8))


async def joined(port: Port, endpoint: "object" = DEVICE, **settings: "object") -> UartLink:
    """A connected link over that port."""
    link = UartLink("1", open_port=lambda name, baud: port, **settings)
    await link.connect(endpoint)
    return link


def come(port: Port, *frames: "bytes") -> None:
    """Bytes from the gateway."""
    port.coming.extend(frames)
    port.bell.set()


def written(port: Port) -> "list[object]":
    """What the gateway has read since the last call."""
    frames = FrameReader().receive(bytes(port.written))
    port.written = bytearray()
    return [decode(frame) for frame in frames]


async def test_payloads_go_both_ways_with_their_topics() -> None:
    port = Port([])
    link = await joined(port, CHAN)
    message_3 = Noise()(10240)
    await link.send(None, message_3)
    assert written(port) == [[CHAN.up, message_3]]
    come(port, delimit(encode([CHAN.down, message_3])))
    assert await link.receive() == (None, message_3)
    await link.connect(DEVICE)
    await link.send(5, bytes(range(256)))
    assert written(port) == [[DEVICE.up + "/5", bytes(range(256))]]
    come(port, delimit(encode([DEVICE.down + "/2", b"command"])))
    assert await link.receive() == (2, b"command")
    await refused_by(LocalError, link.send(None, b""))
    await refused_by(LocalError, link.send(1, bytes(65536)))
    await link.close()
    await link.close()
    assert port.closed == 1
    await refused_by(LinkClosed, link.receive())
    await refused_by(LinkClosed, link.send(1, b""))


async def test_frames_of_others_and_damaged_ones_are_dropped_and_counted() -> None:
    port = Port([])
    link = await joined(port)
    for value in (
        [CHAN.down, b"another endpoint"],
        [DEVICE.down, b"no channel"],
        [DEVICE.down + "/6", b"no such channel"],
        [DEVICE.up + "/0", b"our own direction"],
        [1, b"no topic"],
        [DEVICE.down + "/0", "no bytes"],
        [DEVICE.down + "/0", bytes(12289)],
        [1],
        7,
    ):
        come(port, delimit(encode(value)))
    come(port, delimit(b"\xff no CBOR"), b"line noise\x00", Noise()(1000))
    come(port, delimit(encode([DEVICE.down + "/0", b"good"])))
    assert await link.receive() == (0, b"good")
    assert link.dropped >= 11
    await link.close()


async def test_what_waits_is_bounded_in_number_and_in_bytes() -> None:
    for settings, length, kept in (({"queue": 2}, 1, 2), ({"limit": 1000}, 300, 3)):
        port = Port([])
        link = await joined(port, **settings)
        for number in range(5):
            come(port, delimit(encode([DEVICE.down + "/0", bytes([number]) * length])))
        come(port, b"\x00noise\x00")
        # As many turns as there are chunks to read; a noise of two frames comes last.
        for _ in range(100):
            await asyncio.sleep(0)
        for number in range(kept):
            assert await link.receive() == (0, bytes([number]) * length)
        assert link.dropped == 6 - kept
        await link.close()


async def test_a_line_that_goes_away_closes_the_link_and_opens_again() -> None:
    ports = [Port([]), Port([]), Port([])]
    opened = list(ports)
    link = UartLink("1", open_port=lambda name, baud: opened.pop(0))
    await link.connect(CHAN)
    waiting = asyncio.create_task(link.receive())
    await asyncio.sleep(0)
    ports[0].gone = True
    ports[0].bell.set()
    assert "gone" in (await refused_by(LinkClosed, waiting)).detail
    await refused_by(LinkClosed, link.send(None, b"x"))
    await link.connect(CHAN)
    come(ports[1], OSError(5))
    await refused_by(LinkClosed, link.receive())
    await link.connect(CHAN)
    ports[2].gone = True
    await refused_by(LinkClosed, link.send(None, b"x"))
    await link.close()
    assert [port.closed for port in ports] == [1, 1, 1]


async def test_a_line_that_takes_nothing_is_a_timeout() -> None:
    class Stuck(Port):
        async def write(self, data: bytes) -> None:
            await asyncio.Event().wait()

    port = Stuck([])
    link = await joined(port, timeout=0.02)
    await refused_by(LinkTimeout, link.send(1, b"x"))
    await refused_by(LinkClosed, link.receive())
    assert port.closed == 1
    await link.close()


async def test_a_port_that_does_not_open_is_an_error() -> None:
    assert "should open but did not" in (await refused_by(LinkError, UartLink("9").connect(CHAN))).detail
