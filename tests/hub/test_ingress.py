"""The hub's ingress against a scripted broker and a real Mosquitto."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import mosquitto
import pytest
from free_ports import free_port
from mosquitto import needs_mosquitto
from scripted_broker import scripted

from handfast.core.errors import LinkClosed, LinkError, LinkTimeout, LocalError
from handfast.core.topics import enrolled, hub_subscriptions, onboarding, reply_topic
from handfast_cpython.mqtt import MqttLink
from handfast_cpython.tls import client_context
from handfast_hub.mqtt import ingress as module
from handfast_hub.mqtt.ingress import MqttIngress

HUB = bytes(8)
FILTERS = hub_subscriptions(HUB)
CHAN = onboarding(HUB, bytes(14))


@pytest.fixture(autouse=True)
def _short_goodbyes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_GRACE", 0.01)


class Inbox:
    """Collects what `on_publish` was given."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[tuple[str, bytes, Callable[[], None]]] = asyncio.Queue()

    def __call__(self, topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
        self.items.put_nowait((topic, payload, acknowledge))

    async def next(self) -> tuple[str, bytes, Callable[[], None]]:
        return await asyncio.wait_for(self.items.get(), 5)


def hub_ingress(broker: mosquitto.Mosquitto, **options: object) -> MqttIngress:
    return MqttIngress(
        broker.host,
        broker.port,
        client_id="hub-of-the-test",
        username=broker.username,
        password=broker.password,
        **options,  # type: ignore[arg-type]
    )


def publish_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic.encode() + packet_id.to_bytes(2, "big") + payload
    assert len(body) < 128
    return bytes((0x32, len(body))) + body


@needs_mosquitto
async def test_payloads_go_both_ways_with_their_topics(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        inbox = Inbox()
        ingress = hub_ingress(broker)
        await ingress.start(FILTERS, inbox)
        assert ingress.connected
        link = MqttLink(broker.host, port=broker.port)
        await link.connect(CHAN)
        await link.send(None, b"m1")
        topic, payload, acknowledge = await inbox.next()
        assert (topic, payload) == (CHAN.up, b"m1")
        acknowledge()
        ingress.publish(reply_topic(topic), b"m2")
        assert await asyncio.wait_for(link.receive(), 5) == (None, b"m2")
        endpoint = enrolled(HUB, bytes(8))
        await link.connect(endpoint)
        await link.send(5, bytes(65_036))
        topic, payload, acknowledge = await inbox.next()
        assert (topic, len(payload)) == (endpoint.up + "/5", 65_036)
        acknowledge()
        ingress.publish(endpoint.down + "/2", bytes(65_036))
        assert await asyncio.wait_for(link.receive(), 5) == (2, bytes(65_036))
        await link.close()
        await ingress.close()
        assert not ingress.connected


@needs_mosquitto
async def test_a_publish_stays_with_the_broker_until_it_is_acknowledged(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        link = MqttLink(broker.host, port=broker.port)
        await link.connect(CHAN)
        first, inbox = hub_ingress(broker), Inbox()
        await first.start(FILTERS, inbox)
        await link.send(None, b"one")
        await link.send(None, b"two")
        assert (await inbox.next())[1] == b"one"
        _, payload, acknowledge = await inbox.next()
        assert payload == b"two"
        acknowledge()
        await first.close()
        await link.send(None, b"three, while the hub is away")
        second, inbox = hub_ingress(broker), Inbox()
        await second.start(FILTERS, inbox)
        again = [await inbox.next(), await inbox.next()]
        assert [payload for _, payload, _ in again] == [b"one", b"three, while the hub is away"]
        for _, _, acknowledge in again:
            acknowledge()
        await second.close()
        third, inbox = hub_ingress(broker), Inbox()
        await third.start(FILTERS, inbox)
        await link.send(None, b"four")
        assert (await inbox.next())[1] == b"four"
        await third.close()
        await link.close()


@needs_mosquitto
async def test_the_ingress_comes_back_by_itself_when_the_broker_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_FIRST", 0.05)
    with mosquitto.running(tmp_path) as broker:
        inbox = Inbox()
        ingress = hub_ingress(broker)
        await ingress.start(FILTERS, inbox)
        broker.stop()
        link = MqttLink(broker.host, port=broker.port)
        with pytest.raises(LinkClosed):
            await link.connect(CHAN)
        with pytest.raises(LinkClosed, match="away"):
            while True:
                ingress.publish(CHAN.down, b"lost")
                await asyncio.sleep(0)
        broker.start()
        await link.connect(CHAN)
        received = None
        while received is None:
            # Mosquitto forgot the hub's session with its process, so what comes before the hub is lost.
            await link.send(None, b"again")
            try:
                received = await asyncio.wait_for(inbox.items.get(), 0.1)
            except TimeoutError:
                continue
        assert received[1] == b"again"
        await link.close()
        await ingress.close()


@needs_mosquitto
async def test_tls_verifies_the_broker(tmp_path: Path) -> None:
    ca, tls = mosquitto.make_certificates(tmp_path / "right")
    other_ca, _ = mosquitto.make_certificates(tmp_path / "other")
    with mosquitto.running(tmp_path / "broker", tls=tls) as broker:
        ingress = hub_ingress(broker, context=client_context(ca=ca))
        await ingress.start(FILTERS, Inbox())
        assert ingress.connected
        await ingress.close()
        with pytest.raises(LinkError, match="not trusted"):
            await hub_ingress(broker, context=client_context(ca=other_ca)).start(FILTERS, Inbox())


@needs_mosquitto
async def test_a_wrong_password_is_said(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        broker.password = "wrong"
        with pytest.raises(LinkError, match="refused the hub: this user may not connect"):
            await hub_ingress(broker).start(FILTERS, Inbox())


async def test_an_absent_broker_is_said_and_start_may_be_called_again() -> None:
    ingress = MqttIngress("127.0.0.1", free_port(), client_id="hub")
    for _ in range(2):
        with pytest.raises(LinkClosed, match="should accept a connection but did not"):
            await ingress.start(FILTERS, Inbox())
    with pytest.raises(LinkClosed):
        ingress.publish("topic", b"")
    await ingress.close()


async def test_a_broker_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    async with scripted(connack=b"") as broker:
        with pytest.raises(LinkTimeout, match="CONNECT within"):
            await MqttIngress("127.0.0.1", broker.port, client_id="hub").start(FILTERS, Inbox())


async def test_a_refused_subscription_is_an_error() -> None:
    async with scripted(suback=0x80) as broker:
        with pytest.raises(LinkError, match="does not let the hub subscribe"):
            await MqttIngress("127.0.0.1", broker.port, client_id="hub").start(FILTERS, Inbox())


async def test_a_puback_leaves_only_after_acknowledge_and_once() -> None:
    async with scripted() as broker:
        inbox = Inbox()
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub")
        await ingress.start(FILTERS, inbox)
        broker.send(publish_packet("a", b"first", 7) + publish_packet("b", b"second", 8))
        (_, _, acknowledge_first), (_, _, acknowledge_second) = await inbox.next(), await inbox.next()
        ingress.publish("mark", b"")
        await broker.publish()
        acknowledge_second()
        acknowledge_second()
        acknowledge_first()
        pubacks = [await asyncio.wait_for(broker.packets.get(), 5) for _ in range(2)]
        assert pubacks == [(0x40, b"\x00\x08"), (0x40, b"\x00\x07")]
        ingress.publish("mark", b"")
        assert (await asyncio.wait_for(broker.packets.get(), 5))[0] == 0x32
        await ingress.close()


async def test_publish_sends_no_more_than_the_limit_ahead_of_the_pubacks() -> None:
    async with scripted() as broker:
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub", in_flight=2, queued=3)
        await ingress.start(FILTERS, Inbox())
        for number in range(5):
            ingress.publish("t", bytes([number]))
        with pytest.raises(LinkError, match="wait for the broker"):
            ingress.publish("t", b"one too many")
        sent = [await broker.publish(), await broker.publish()]
        for _ in range(3):
            assert broker.packets.empty()
            broker.send(b"\x40\x02" + sent[-1][1][3:5])
            sent.append(await broker.publish())
        assert [(command, body[-1]) for command, body in sent] == [(0x32, number) for number in range(5)]
        await ingress.close()


async def test_what_was_not_acknowledged_is_sent_again_on_the_next_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BACKOFF_FIRST", 0.01)
    async with scripted() as broker:
        inbox = Inbox()
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub", in_flight=1)
        await ingress.start(FILTERS, inbox)
        broker.send(publish_packet("old", b"", 9))
        _, _, acknowledge_old = await inbox.next()
        ingress.publish("t", b"in flight")
        ingress.publish("t", b"queued")
        _, first = await broker.publish()
        broker.drop()
        command, again = await broker.publish()
        assert (command, again) == (0x3A, first)
        # A PUBACK of the lost connection would answer some other message of this one.
        acknowledge_old()
        broker.send(b"\x40\x02" + again[3:5])
        command, body = await asyncio.wait_for(broker.packets.get(), 5)
        assert (command, body[5:]) == (0x32, b"queued")
        await ingress.close()


async def test_reading_stops_while_too_much_is_unacknowledged() -> None:
    count, limit = 500, 10
    async with scripted() as broker:
        inbox = Inbox()
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub", unacknowledged=limit)
        await ingress.start(FILTERS, inbox)
        payload = bytes(4000)
        for number in range(1, count + 1):
            body = b"\x00\x01t" + number.to_bytes(2, "big") + payload
            broker.send(b"\x32" + bytes((len(body) & 127 | 128, len(body) >> 7)) + body)
        most = 0
        for _ in range(count):
            _, _, acknowledge = await inbox.next()
            most = max(most, inbox.items.qsize())
            acknowledge()
            while (await asyncio.wait_for(broker.packets.get(), 5))[0] != 0x40:
                pass
        # What one read brought (64 KiB at most) is handed over, nothing after it.
        assert limit <= most <= limit + 17
        await ingress.close()


async def test_reading_stops_at_qos_0_too_and_no_puback_leaves() -> None:
    count, limit = 500, 10
    async with scripted() as broker:
        inbox = Inbox()
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub", unacknowledged=limit)
        await ingress.start(FILTERS, inbox)
        body = b"\x00\x01t" + bytes(4000)
        broker.send(count * (b"\x30" + bytes((len(body) & 127 | 128, len(body) >> 7)) + body))
        most = 0
        for number in range(count):
            _, _, acknowledge = await inbox.next()
            if number < limit:
                # What one read brought is handed over, nothing after it.
                await asyncio.sleep(0.01)
            most = max(most, inbox.items.qsize())
            acknowledge()
        assert most <= limit + 17
        ingress.publish("mark", b"")
        commands = []
        while 0x32 not in commands:
            commands.append((await asyncio.wait_for(broker.packets.get(), 5))[0])
        assert 0x40 not in commands
        await ingress.close()


async def test_a_message_that_makes_the_hub_fail_is_dropped_and_the_next_one_served() -> None:
    async with scripted() as broker:
        inbox = Inbox()

        def fail_once(topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
            if payload == b"poison":
                raise ZeroDivisionError
            inbox(topic, payload, acknowledge)

        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub")
        await ingress.start(FILTERS, fail_once)
        broker.send(publish_packet("a", b"poison", 1) + publish_packet("a", b"good", 2))
        assert (await inbox.next())[1] == b"good"
        await ingress.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x32\xff\xff\xff\x7f" + bytes(100_000),
        b"\x32\xff\xff\xff\xff\xff\xff" + bytes(100_000),
        b"\x32\x06\x00\x01\xff\x00\x01a",
    ],
    ids=["a packet of 256 MB", "a length without end", "a topic that is not UTF-8"],
)
async def test_a_broker_that_sends_garbage_is_left_and_tried_again(
    garbage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_FIRST", 0.01)
    async with scripted() as broker:
        inbox = Inbox()
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub")
        await ingress.start(FILTERS, inbox)
        while not broker.packets.empty():
            broker.packets.get_nowait()
        broker.send(garbage)
        assert (await asyncio.wait_for(broker.packets.get(), 5))[0] == 0x10
        assert (await asyncio.wait_for(broker.packets.get(), 5))[0] == 0x82
        broker.send(publish_packet("a", b"good", 2))
        assert (await inbox.next())[1] == b"good"
        await ingress.close()


async def test_a_broker_that_fell_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEPALIVE", 1)
    monkeypatch.setattr(module, "BACKOFF_FIRST", 0.01)
    async with scripted() as broker:
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub")
        await ingress.start(FILTERS, Inbox())
        commands = [(await asyncio.wait_for(broker.packets.get(), 5))[0] for _ in range(6)]
        assert commands.count(0xC0) >= 2
        assert commands.count(0x10) == 2
        await ingress.close()


async def test_small_packets_leave_at_once() -> None:
    async with scripted() as broker:
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub")
        await ingress.start(FILTERS, Inbox())
        assert ingress._connection is not None
        transport = ingress._connection._protocol.transport
        assert transport is not None
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        await ingress.close()


async def test_a_payload_that_no_broker_carries_is_refused_here() -> None:
    async with scripted() as broker:
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub")
        await ingress.start(FILTERS, Inbox())
        with pytest.raises(LocalError, match="too many"):
            ingress.publish("t", bytes(66_560))
        await ingress.close()
