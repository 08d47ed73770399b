"""The MQTT link of a board against a broker that does anything; Mosquitto is in tests/e2e."""

import asyncio

from refusal import refused
from scripted_stream import ScriptedStream, message, packet

from handfast.core import topics
from handfast.core.errors import LinkClosed, LinkError, LinkTimeout, LocalError
from handfast_micropython.mqtt import MqttLink

ONBOARDING = topics.onboarding(bytes(8), bytes(14))
ENROLLED = topics.enrolled(bytes(8), bytes(range(8)))


async def refused_by(error: "type[Exception]", work: "object") -> Exception:
    """The exception of exactly this class that a coroutine raises, within ten seconds."""
    try:
        value = await asyncio.wait_for(work, 10)
    except error as refusal:
        assert type(refusal) is error, "%r instead of %s" % (refusal, error.__name__)
        return refusal
    raise AssertionError("%s was expected, %r came" % (error.__name__, value))


async def joined(endpoint: "object" = ENROLLED, **settings: "object") -> "tuple[MqttLink, ScriptedStream]":
    """A connected link and the broker behind it."""
    stream = ScriptedStream()
    link = MqttLink(opener=stream.open, **settings)
    await link.connect(endpoint)
    return link, stream


async def test_a_link_introduces_itself_and_listens_on_exact_topics() -> None:
    link, stream = await joined(username="user", password="word", keepalive=77)
    name = ENROLLED.client_id.encode()
    connect = b"\x00\x04MQTT\x04\xc2\x00\x4d" + bytes([0, len(name)]) + name + b"\x00\x04user\x00\x04word"
    assert stream.packets[0] == (0x10, connect)
    first, body = stream.packets[1]
    assert first == 0x82 and body.count(b"/dn/") == 6 and b"+" not in body and b"#" not in body
    await link.close()
    await link.close()
    assert stream.packets[2:] == [(0xE0, b"")] and stream.closed
    await refused_by(LinkClosed, link.receive())
    await refused_by(LinkClosed, link.send(1, b""))


async def test_an_onboarding_endpoint_listens_on_one_topic_and_has_no_channel() -> None:
    link, stream = await joined(ONBOARDING)
    down = ONBOARDING.down.encode()
    assert stream.packets[1] == (0x82, b"\x00\x01" + bytes([0, len(down)]) + down + b"\x01")
    stream.send(message(down, b"message_2", 7))
    assert await link.receive() == (None, b"message_2")
    await link.send(None, b"message_1")
    up = ONBOARDING.up.encode()
    assert stream.packets[2:] == [
        (0x40, b"\x00\x07"),
        (0x32, bytes([0, len(up)]) + up + b"\x00\x02message_1"),
    ]
    await refused_by(LocalError, link.send(1, b""))
    await link.close()


async def test_payloads_of_every_size_go_both_ways() -> None:
    link, stream = await joined(limit=66000)
    down, up = ENROLLED.down.encode(), ENROLLED.up.encode()
    for length in (0, 1, 100, 127, 128, 512, 513, 16384, 66000):
        payload = bytes([length & 0xFF]) * length
        stream.send(message(down + b"/2", payload))
        assert await link.receive() == (2, payload)
        await link.send(1, payload)
        sent = [body for first, body in stream.packets if first == 0x32][-1]
        assert sent[2 : 4 + len(up)] == up + b"/1" and sent[6 + len(up) :] == payload
    await refused_by(LocalError, link.send(1, bytes(66001)))
    # Nothing is asked of a stream in one go that a chip would have to buffer.
    assert stream.largest_read == 512
    await link.close()


async def test_a_message_at_qos_0_is_taken_and_not_acknowledged() -> None:
    link, stream = await joined(ONBOARDING)
    down = ONBOARDING.down.encode()
    stream.send(packet(0x30, bytes([0, len(down)]) + down + b"payload"))
    assert await link.receive() == (None, b"payload")
    await link.send(None, b"x")
    assert [first for first, _ in stream.packets] == [0x10, 0x82, 0x32]
    await link.close()


async def test_a_payload_above_the_limit_is_dropped_acknowledged_and_costs_no_memory() -> None:
    link, stream = await joined(limit=1000)
    down = ENROLLED.down.encode()
    stream.send(message(down + b"/2", bytes(1001), 8) + message(down + b"/2", bytes(1000), 9))
    assert await link.receive() == (2, bytes(1000))
    assert link.dropped == 1
    await link.send(1, b"x")
    assert [body for first, body in stream.packets if first == 0x40] == [b"\x00\x08", b"\x00\x09"]
    await link.close()


async def test_payloads_that_nobody_fetches_are_bounded_in_number_and_in_bytes() -> None:
    for queue, limit, length, kept in ((3, 1000, 10, 3), (100, 1000, 300, 3)):
        link, stream = await joined(queue=queue, limit=limit)
        for number in range(10):
            stream.send(message(ENROLLED.down.encode() + b"/2", bytes([number]) * length, number + 1))
        # The acknowledgement comes behind the ten messages.
        await link.send(1, b"x")
        assert link.dropped == 10 - kept
        for number in range(kept):
            assert await link.receive() == (2, bytes([number]) * length)
        await link.close()


async def test_strange_topics_are_dropped_and_a_renaming_bridge_keeps_the_channel() -> None:
    link, stream = await joined()
    for topic in (b"x", b"handfast/1/a/dn", b"handfast/1/a/dn/6", b"\xff\xfe/\xff", b"", b"a/2/"):
        stream.send(message(topic, b"no"))
    stream.send(message(b"site/bridge/5", b"yes"))
    assert await link.receive() == (5, b"yes")
    # A message without a topic is dropped too, though nobody counts it.
    assert link.dropped == 5
    await link.close()


async def test_a_broker_that_refuses_is_told_from_one_that_is_away() -> None:
    for connack, suback, error, text in (
        (b"\x20\x02\x00\x05", None, LinkError, "code 5"),
        (b"\x20\x02\x00\x06", None, LinkClosed, "no MQTT"),
        (b"\x20\x03\x00\x00\x00", None, LinkClosed, "no MQTT"),
        (b"HTTP/1.1 400 Bad", None, LinkClosed, "no MQTT"),
        (b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x80", LinkError, "does not let"),
        (b"\x20\x02\x00\x00", b"\x90\x04\x00\x01\x00\x00", LinkClosed, "2 topics of 1"),
        (b"\x20\x02\x00\x00", b"\x90\x02\x00\x01", LinkClosed, "no MQTT"),
    ):
        stream = ScriptedStream()
        stream.answers[0x10] = lambda body, answer=connack: answer
        stream.answers[0x82] = lambda body, answer=suback: answer
        link = MqttLink(opener=stream.open)
        refusal = await refused_by(error, link.connect(ONBOARDING))
        assert text in refusal.detail and "password" not in refusal.detail.replace(
            "user name and password", ""
        )
        assert stream.closed
        await refused_by(LinkClosed, link.receive())


async def test_a_silent_broker_is_a_timeout_and_not_a_hang() -> None:
    for first, error in ((0x10, LinkClosed), (0x82, LinkTimeout)):
        stream = ScriptedStream()
        stream.answers.pop(first)
        await refused_by(error, MqttLink(opener=stream.open, timeout=0.02).connect(ONBOARDING))
        assert stream.closed
    link, stream = await joined(timeout=0.02)
    answer = stream.answers.pop(0x32)
    await refused_by(LinkTimeout, link.send(1, b"x"))
    # The answer that comes too late belongs to no later message.
    stream.answers[0x32] = lambda body: b"\x40\x02\x00\x02"
    await refused_by(LinkTimeout, link.send(1, b"x"))
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
    link, stream = await joined(timeout=0.02)
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
    await asyncio.wait_for(enough.wait(), 10)
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
                channel, payload = await asyncio.wait_for(link.receive(), 10)
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


async def test_a_message_larger_than_the_free_memory_is_dropped_and_the_next_one_taken() -> None:
    link, stream = await joined()
    client = link._client
    whole = client._fill

    async def scarce(data: bytearray) -> bytearray:
        if len(data) > 1000:
            raise MemoryError
        return await whole(data)

    client._fill = scarce
    down = ENROLLED.down.encode() + b"/1"
    stream.send(message(down, bytes(1001)) + message(down, b"next", 2))
    assert await link.receive() == (1, b"next")
    assert link.dropped == 1
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


def test_settings_that_cannot_be_are_refused() -> None:
    for settings in (
        {},
        {"host": "a b"},
        {"host": "mqtt://a"},
        {"host": "a", "port": 0},
        {"host": "a", "keepalive": 0},
        {"host": "a", "password": "x"},
        {"host": "a", "opener": print},
    ):
        refused(LocalError, lambda settings=settings: MqttLink(**settings))
