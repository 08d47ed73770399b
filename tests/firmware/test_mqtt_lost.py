"""A broker that is away, silent, stuck or gone, and how a link of a board hears of it."""

import asyncio

from refusal import refused_by
from scripted_stream import ENROLLED, ONBOARDING, ScriptedStream, joined, message

from handfast.core.errors import LinkClosed, LinkTimeout
from handfast_micropython.mqtt import MqttLink


async def test_a_silent_broker_is_a_timeout_and_not_a_hang() -> None:
    # A machine may halt for a while: what is answered has longer than what is not.
    for first, error, timeout in ((0x10, LinkClosed, 0.02), (0x82, LinkTimeout, 1.0)):
        stream = ScriptedStream()
        stream.answers.pop(first)
        await refused_by(error, MqttLink(opener=stream.open, timeout=timeout).connect(ONBOARDING))
        assert stream.closed
    link, stream = await joined()
    client, answer = link._client, stream.answers[0x32]

    # The answer that comes too late belongs to no later message.
    for said in (b"", b"\x40\x02\x00\x02"):

        def late(body: bytes, said: bytes = said) -> bytes:
            client._timeout = 0.02
            return said

        stream.answers[0x32] = late
        await refused_by(LinkTimeout, link.send(1, b"x"))
        client._timeout = 10.0
    stream.answers[0x32] = answer
    await link.send(1, b"x")
    await link.close()


async def test_an_opener_that_fails_or_hangs_is_a_closed_link() -> None:
    async def refuse() -> None:
        raise OSError(111)

    async def hang() -> None:
        await asyncio.sleep(3600)

    for opener in (refuse, hang):
        link = MqttLink(opener=opener, timeout=0.02)
        assert "should answer" in (await refused_by(LinkClosed, link.connect(ONBOARDING))).detail


async def test_a_broker_that_takes_nothing_any_more_closes_the_link() -> None:
    link, stream = await joined()
    link._client._timeout = 0.02
    stream.stuck = True
    await refused_by(LinkClosed, link.send(1, b"x"))
    await refused_by(LinkClosed, link.send(1, b"x"))
    await refused_by(LinkClosed, link.receive())
    await link.close()
    assert stream.closed


async def test_who_waits_for_a_payload_hears_that_the_broker_hung_up() -> None:
    link, stream = await joined()
    waiting = asyncio.create_task(link.receive())
    await asyncio.sleep(0)
    stream.drop()
    assert "closed the connection" in (await refused_by(LinkClosed, waiting)).detail
    await refused_by(LinkClosed, link.send(1, b"x"))
    assert stream.closed
    await link.close()


async def test_what_came_before_the_end_is_still_received() -> None:
    link, stream = await joined()
    stream.send(message(ENROLLED.down.encode() + b"/1", b"last words"))
    stream.drop()
    assert await link.receive() == (1, b"last words")
    await refused_by(LinkClosed, link.receive())
    await link.close()


async def test_a_broker_that_answers_no_ping_is_gone() -> None:
    link, stream = await joined(keepalive=2)
    client = link._client
    client._tasks[1].cancel()
    stream.answers.pop(0xC0)
    keeper = asyncio.create_task(client._keep(0.005))
    assert "silent" in (await refused_by(LinkClosed, link.receive())).detail
    await keeper
    assert [first for first, _ in stream.packets].count(0xC0) == 3
    await link.close()


async def test_a_broker_that_answers_pings_stays() -> None:
    link, stream = await joined()
    client = link._client
    enough = asyncio.Event()

    def answer(body: bytes) -> bytes:
        if [first for first, _ in stream.packets].count(0xC0) == 10:
            enough.set()
        return b"\xd0\x00"

    stream.answers[0xC0] = answer
    keeper = asyncio.create_task(client._keep(0.002))
    await asyncio.wait_for(enough.wait(), 60)
    assert not client.lost
    keeper.cancel()
    await link.close()


async def test_a_link_connects_again_after_anything() -> None:
    stream = ScriptedStream()
    streams = [stream]

    async def opener() -> "object":
        streams.append(ScriptedStream())
        return streams[-1], streams[-1]

    link = MqttLink(opener=opener)
    await link.connect(ONBOARDING)
    streams[-1].send(b"\x00\x00")
    await refused_by(LinkClosed, link.receive())
    await link.connect(ENROLLED)
    streams[-1].send(message(ENROLLED.down.encode() + b"/3", b"x"))
    assert await link.receive() == (3, b"x")
    await link.connect(ONBOARDING)
    assert [one.closed > 0 for one in streams[1:]] == [True, True, False]
    assert streams[2].packets[-1] == (0xE0, b"")
    await link.close()


async def test_a_send_that_is_cancelled_half_way_ends_the_connection() -> None:
    link, stream = await joined()
    stream.stuck = True
    sending = asyncio.create_task(link.send(1, b"x"))
    await asyncio.sleep(0.01)
    sending.cancel()
    try:
        await sending
    except asyncio.CancelledError:
        pass
    await refused_by(LinkClosed, link.receive())
    await link.close()
