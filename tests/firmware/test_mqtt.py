"""The MQTT link of a board against a broker that does anything; Mosquitto is in tests/e2e."""

from refusal import refused, refused_by
from scripted_stream import ENROLLED, ONBOARDING, ScriptedStream, joined, message, packet

from handfast.core.errors import LinkClosed, LinkError, LocalError
from handfast_micropython import mqtt_client
from handfast_micropython.mqtt import MqttLink


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


async def test_a_message_larger_than_the_free_memory_is_dropped_and_the_next_one_taken() -> None:
    link, stream = await joined()

    def scarce(length: int) -> bytearray:
        if length > 1000:
            raise MemoryError
        return bytearray(length)

    mqtt_client.bytearray = scarce
    try:
        down = ENROLLED.down.encode() + b"/1"
        stream.send(message(down, bytes(1001)) + message(down, b"next", 2))
        assert await link.receive() == (1, b"next")
        assert link.dropped == 1
    finally:
        del mqtt_client.bytearray
    await link.close()


async def test_a_read_that_finds_no_memory_in_the_middle_of_a_message_ends_the_connection() -> None:
    link, stream = await joined()
    read, failed = stream.read, []

    async def scarce(length: int) -> bytes:
        # The second read of the payload, once.
        if length == 1000 - 512 and not failed:
            failed.append(length)
            raise MemoryError
        return await read(length)

    stream.read = scarce
    down = ENROLLED.down.encode() + b"/1"
    # What lies behind the half that was read are no packets.
    stream.send(message(down, bytes(1000)) + message(down, b"next", 2))
    assert "no memory" in (await refused_by(LinkClosed, link.receive())).detail
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
