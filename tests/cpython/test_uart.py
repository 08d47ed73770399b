"""UartLink over a pseudo terminal; the test is the gateway at its other end."""

import asyncio
import os
import tty
from collections.abc import Iterator

import pytest

from handfast.core.cbor import decode, encode
from handfast.core.errors import LinkClosed, LinkError, LocalError
from handfast.core.frames import FrameReader, delimit
from handfast.core.topics import enrolled, onboarding
from handfast_cpython.uart import UartLink

HUB = bytes(8)
CHAN = onboarding(HUB, bytes(14))
DEVICE = enrolled(HUB, bytes(8))


class Gateway:
    """The far end of the line."""

    def __init__(self) -> None:
        self.far, near = os.openpty()
        tty.setraw(near)
        self.name = os.ttyname(near)
        self.near = near
        self.reader = FrameReader()

    def send(self, topic: object, payload: object) -> None:
        self.write(delimit(encode([topic, payload])))

    def write(self, data: bytes) -> None:
        os.write(self.far, data)

    async def receive(self) -> list[object]:
        loop = asyncio.get_running_loop()
        frames: list[bytes] = []
        while not frames:
            frames = self.reader.receive(await loop.run_in_executor(None, os.read, self.far, 65536))
        value = decode(frames[0])
        assert isinstance(value, list)
        return value

    def hang_up(self) -> None:
        for descriptor in (self.far, self.near):
            if descriptor >= 0:
                os.close(descriptor)
        self.far = self.near = -1


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    line = Gateway()
    yield line
    line.hang_up()


async def next_payload(link: UartLink) -> tuple[int | None, bytes]:
    return await asyncio.wait_for(link.receive(), 60)


async def test_payloads_go_both_ways_with_their_topics(gateway: Gateway) -> None:
    link = UartLink(gateway.name)
    await link.connect(CHAN)
    await link.send(None, b"message_1")
    assert await gateway.receive() == [CHAN.up, b"message_1"]
    gateway.send(CHAN.down, b"message_2")
    assert await next_payload(link) == (None, b"message_2")
    await link.connect(DEVICE)
    await link.send(5, bytes(range(256)))
    assert await gateway.receive() == [DEVICE.up + "/5", bytes(range(256))]
    gateway.send(DEVICE.down + "/2", b"command")
    assert await next_payload(link) == (2, b"command")
    await link.close()
    await link.close()


async def test_a_whole_message_arrives_though_the_line_takes_little_at_once(gateway: Gateway) -> None:
    link = UartLink(gateway.name)
    await link.connect(CHAN)
    message_3 = os.urandom(10_240)
    sending = asyncio.ensure_future(link.send(None, message_3))
    assert await asyncio.wait_for(gateway.receive(), 60) == [CHAN.up, message_3]
    await sending
    await link.close()


async def test_frames_of_others_and_damaged_ones_are_dropped_and_counted(gateway: Gateway) -> None:
    link = UartLink(gateway.name)
    await link.connect(DEVICE)
    bad: list[tuple[object, object]] = [
        (CHAN.down, b"another endpoint"),
        (DEVICE.down, b"no channel"),
        (DEVICE.down + "/6", b"no such channel"),
        (DEVICE.up + "/0", b"our own direction"),
        (1, b"no topic"),
        (DEVICE.down + "/0", "no bytes"),
    ]
    for topic, payload in bad:
        gateway.send(topic, payload)
    gateway.write(delimit(b"\xff no CBOR"))
    gateway.write(delimit(encode([1])))
    gateway.write(b"line noise\x00")
    gateway.send(DEVICE.down + "/0", b"good")
    assert await next_payload(link) == (0, b"good")
    assert link.dropped == len(bad) + 3
    await link.close()


async def test_the_queue_is_bounded(gateway: Gateway) -> None:
    link = UartLink(gateway.name, queue=2)
    await link.connect(DEVICE)
    gateway.write(b"".join(delimit(encode([DEVICE.down + "/0", bytes([number])])) for number in range(5)))
    assert await next_payload(link) == (0, b"\x00")
    assert await next_payload(link) == (0, b"\x01")
    assert link.dropped == 3
    await link.close()


async def test_a_line_that_is_pulled_out_closes_the_link(gateway: Gateway) -> None:
    link = UartLink(gateway.name)
    await link.connect(CHAN)
    waiting = asyncio.ensure_future(link.receive())
    await asyncio.sleep(0)
    gateway.hang_up()
    with pytest.raises(LinkClosed, match="plug it in"):
        await asyncio.wait_for(waiting, 60)
    with pytest.raises(LinkClosed, match="plug it in"):
        await link.send(None, b"message_1")
    with pytest.raises(LinkClosed, match="plug it in"):
        await link.receive()
    with pytest.raises(LinkError, match="should open but did not"):
        await link.connect(CHAN)
    await link.close()


async def test_a_second_program_cannot_take_the_port(gateway: Gateway) -> None:
    link = UartLink(gateway.name)
    await link.connect(CHAN)
    with pytest.raises(LinkError, match="should open but did not"):
        await UartLink(gateway.name).connect(CHAN)
    await link.close()


async def test_misuse_is_said(gateway: Gateway) -> None:
    link = UartLink(gateway.name)
    with pytest.raises(LinkClosed, match="call connect first"):
        await link.receive()
    with pytest.raises(LinkClosed, match="call connect first"):
        await link.send(None, b"")
    await link.connect(CHAN)
    with pytest.raises(LocalError, match="channel"):
        await link.send(0, b"")
    with pytest.raises(LocalError, match="in parts"):
        await link.send(None, bytes(70_000))
    await link.close()
