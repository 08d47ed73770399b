"""The embedded broker's own guard: what amqtt would choke on, and who takes too much."""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiomqtt
import mosquitto
import pytest
from attacker import Attacker, connect_packet, packet, publish_packet, subscribe_packet, text, until

from handfast.core.errors import LinkClosed, LinkError
from handfast.core.topics import Endpoint, enrolled, hub_subscriptions, onboarding
from handfast_cpython.mqtt import MqttLink
from handfast_hub.mqtt import embedded as module
from handfast_hub.mqtt.embedded import EmbeddedBroker
from handfast_hub.mqtt.ingress import MqttIngress

HUB = bytes(8)
CHAN = onboarding(HUB, b"device-------1")
DEVICE = enrolled(HUB, b"device-1")
OTHER = enrolled(HUB, b"device-2")


class Hub:
    """An embedded broker, its hub and what the hub received."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[tuple[str, bytes, Callable[[], None]]] = asyncio.Queue()
        self.broker: EmbeddedBroker
        self.ingress: MqttIngress

    async def start(self, **options: object) -> "Hub":
        self.broker = EmbeddedBroker(HUB, port=0, **options)  # type: ignore[arg-type]
        await self.broker.start()
        self.ingress = self.broker.ingress()
        await self.ingress.start(hub_subscriptions(HUB), lambda *item: self.inbox.put_nowait(item))
        return self

    async def close(self) -> None:
        await self.ingress.close()
        await self.broker.close()

    async def next(self) -> tuple[str, bytes]:
        topic, payload, acknowledge = await asyncio.wait_for(self.inbox.get(), 60)
        acknowledge()
        return topic, payload

    async def attacker(self, client_id: str = CHAN.client_id, **options: object) -> Attacker:
        attacker = Attacker()
        assert await attacker.connect("127.0.0.1", self.broker.port, client_id, **options) == 0
        return attacker

    async def link(self, endpoint: Endpoint) -> MqttLink:
        link = MqttLink("127.0.0.1", port=self.broker.port)
        await link.connect(endpoint)
        return link

    async def works(self) -> None:
        """An honest device still reaches the hub, and nothing came before it."""
        endpoint = enrolled(HUB, b"honest-1")
        link = await self.link(endpoint)
        await link.send(1, b"honest")
        assert await self.next() == (endpoint.up + "/1", b"honest")
        self.ingress.publish(endpoint.down + "/2", b"command")
        assert await asyncio.wait_for(link.receive(), 60) == (2, b"command")
        await link.close()


@pytest.fixture(autouse=True)
def _frequent_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_INTERVAL", 0.05)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = await Hub().start()
    yield made
    await made.close()


FORGED = publish_packet(DEVICE.down + "/2", b"forged")
UNLAWFUL = {
    "a packet behind a PINGREQ that has a body": packet(0xC0, FORGED),
    "a packet behind a PUBACK that is too long": packet(0x40, b"\x00\x01" + FORGED),
    "a SUBSCRIBE whose filter reaches into the next packet": b"\x82\x05\x00\x01\xff\xff#" + FORGED,
    "a SUBSCRIBE without a filter": packet(0x82, b"\x00\x01"),
    "a SUBSCRIBE with half a filter": packet(0x82, b"\x00\x01" + text(CHAN.down)),
    "a SUBSCRIBE with a hundred filters": packet(0x82, b"\x00\x01" + 100 * (text("a") + b"\x01")),
    "a PUBLISH whose topic reaches into the next packet": b"\x32\x04\x00\xff\x00\x01" + FORGED,
    "a PUBLISH without a topic": packet(0x32, b""),
    "a PUBLISH at QoS 2": publish_packet(CHAN.up, b"", qos=2),
    "a PUBLISH at QoS 3": publish_packet(CHAN.up, b"", qos=3),
    "a PUBLISH that is retained": publish_packet(CHAN.up, b"", retain=True),
    "a PUBLISH with packet id 0": packet(0x32, text(CHAN.up) + b"\x00\x00"),
    "a PUBLISH to a wildcard": publish_packet("handfast/1/+/up/" + CHAN.client_id, b""),
    "a topic that is not UTF-8": packet(0x32, b"\x00\x01\xff\x00\x01"),
    "a topic with a zero": packet(0x32, text(CHAN.up + "\x00") + b"\x00\x01"),
    "a second CONNECT": connect_packet(CHAN.client_id),
    "a PUBREL": packet(0x62, b"\x00\x01"),
    "a CONNACK": b"\x20\x02\x00\x00",
    "packet type 0": b"\x00\x00",
    "packet type 15": b"\xf0\x00",
    "a length of five bytes": b"\x32\xff\xff\xff\xff\x7f",
    "256 MB": b"\x32\xff\xff\xff\x7f",
    "a SUBSCRIBE with the wrong flags": b"\x80" + subscribe_packet(CHAN.down)[1:],
}


@pytest.mark.parametrize("data", UNLAWFUL.values(), ids=UNLAWFUL.keys())
async def test_what_is_not_lawful_ends_the_connection_and_has_no_effect(hub: Hub, data: bytes) -> None:
    link = await hub.link(DEVICE)
    attacker = await hub.attacker()
    attacker.send(data)
    await attacker.hung_up()
    assert hub.broker.unlawful == 1
    await hub.works()
    hub.ingress.publish(DEVICE.down + "/2", b"honest")
    assert await asyncio.wait_for(link.receive(), 60) == (2, b"honest")
    await attacker.close()
    await link.close()


REFUSED = {
    "a will": connect_packet(CHAN.client_id, will=(DEVICE.down + "/2", b"last words")),
    "a session that stays": connect_packet(CHAN.client_id, clean_session=False),
    "no client id": connect_packet(""),
    "a client id of another length": connect_packet("aaaa"),
    "a client id in capitals": connect_packet(CHAN.client_id.upper()),
    "MQTT 3.1": packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x00" + text(CHAN.client_id)),
    "MQTT 5": packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x00\x00" + text(CHAN.client_id)),
    "a reserved flag": packet(0x10, b"\x00\x04MQTT\x04\x03\x00\x00" + text(CHAN.client_id)),
    "a password without a name": packet(
        0x10, b"\x00\x04MQTT\x04\x42\x00\x00" + text(CHAN.client_id) + text("a")
    ),
    "bytes behind the end": packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + text(CHAN.client_id) + b"a"),
    "another packet first": subscribe_packet("#"),
    "a very long CONNECT": connect_packet(CHAN.client_id, username=1000 * "a"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_a_connect_that_is_not_lawful_is_refused(hub: Hub, data: bytes) -> None:
    attacker = Attacker()
    await attacker.open("127.0.0.1", hub.broker.port)
    attacker.send(data)
    answer = await attacker._next(0x20)
    assert answer == (0x20, b"\x00\x05")
    await attacker.hung_up()
    await attacker.close()
    await hub.works()


async def test_random_bytes_do_no_harm(hub: Hub) -> None:
    generator = random.Random(1)
    for number in range(200):
        attacker = Attacker()
        await attacker.open("127.0.0.1", hub.broker.port)
        if number % 2:
            attacker.send(connect_packet(CHAN.client_id))
        first = bytes(
            [generator.choice((0x10, 0x30, 0x32, 0x40, 0x82, 0xA2, 0xC0, 0xE0, generator.randrange(256)))]
        )
        attacker.send(first + generator.randbytes(generator.randrange(300)))
        attacker._writer.write_eof()
        await attacker.hung_up()
        await attacker.close()
    await hub.works()


async def test_a_client_that_never_says_connect_is_hung_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.1)
    for beginning in (b"", b"\x10", connect_packet(CHAN.client_id)[:-1]):
        attacker = Attacker()
        await attacker.open("127.0.0.1", hub.broker.port)
        attacker.send(beginning)
        await attacker.hung_up()
        await attacker.close()
    await until(lambda: hub.broker.connections == 1)


async def test_a_client_that_is_silent_for_longer_than_it_promised_is_hung_up(hub: Hub) -> None:
    attacker = await hub.attacker(keep_alive=1)
    await attacker.hung_up()
    await attacker.close()


async def test_a_second_client_with_the_same_id_ends_the_first(hub: Hub) -> None:
    first = await hub.link(DEVICE)
    second = await hub.link(DEVICE)
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(first.receive(), 60)
    hub.ingress.publish(DEVICE.down + "/0", b"ack")
    assert await asyncio.wait_for(second.receive(), 60) == (0, b"ack")
    await second.send(1, b"reading")
    assert await hub.next() == (DEVICE.up + "/1", b"reading")
    await first.close()
    await second.close()


async def test_a_revoked_device_is_hung_up_and_no_other(hub: Hub) -> None:
    link, other = await hub.link(DEVICE), await hub.link(OTHER)
    assert hub.broker.disconnect(DEVICE.client_id)
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(link.receive(), 60)
    hub.ingress.publish(OTHER.down + "/0", b"still here")
    assert await asyncio.wait_for(other.receive(), 60) == (0, b"still here")
    assert not hub.broker.disconnect("nobody")
    await link.close()
    await other.close()


async def test_everybody_can_be_dropped_once_and_comes_back(hub: Hub) -> None:
    links = [await hub.link(enrolled(HUB, b"device-%d" % number)) for number in range(5)]
    assert hub.broker.disconnect_all() == 5
    for number, link in enumerate(links):
        with pytest.raises(LinkClosed):
            await asyncio.wait_for(link.receive(), 60)
        await link.connect(enrolled(HUB, b"device-%d" % number))
        await link.send(1, b"back")
        assert (await hub.next())[1] == b"back"
        await link.close()
    assert hub.ingress.connected


async def test_connections_are_capped_in_all_and_for_one_address() -> None:
    for options in ({"max_connections": 3}, {"max_per_address": 3}):
        hub = await Hub().start(**options)
        attackers = [
            await hub.attacker(enrolled(HUB, b"client-%d" % number).client_id) for number in range(2)
        ]
        late = Attacker()
        await late.open("127.0.0.1", hub.broker.port)
        await late.hung_up()
        await attackers.pop().close()
        await until(lambda hub=hub: hub.broker.connections == 2)
        await (await hub.attacker()).close()
        await hub.close()


async def test_a_device_that_takes_no_messages_is_hung_up(hub: Hub) -> None:
    attacker = Attacker()
    await attacker.open("127.0.0.1", hub.broker.port, reads=False)
    attacker.send(connect_packet(DEVICE.client_id) + subscribe_packet(DEVICE.down + "/2"))
    assert await attacker._reader.readexactly(4 + 5) == b"\x20\x02\x00\x00\x90\x03\x00\x01\x01"
    for _ in range(module.DEVICE_PENDING + 1):
        hub.ingress.publish(DEVICE.down + "/2", b"never acknowledged")
    await until(lambda: hub.broker.unlawful == 1 and hub.broker.connections == 1)
    await hub.works()
    await attacker.close()


async def test_a_flood_waits_in_the_clients_socket_until_the_hub_has_room(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HUB_PENDING_HIGH", 20)
    monkeypatch.setattr(module, "HUB_PENDING_LOW", 10)
    count = 300
    attacker = await hub.attacker(DEVICE.client_id)
    for number in range(count):
        attacker.send(publish_packet(DEVICE.up + "/1", number.to_bytes(2, "big")))
    most = 0
    for number in range(count):
        _, payload, acknowledge = await asyncio.wait_for(hub.inbox.get(), 60)
        assert payload == number.to_bytes(2, "big")
        most = max(most, hub.inbox.qsize())
        acknowledge()
    assert most <= 25
    await attacker.close()
    await hub.works()


async def test_no_message_is_lost_while_others_subscribe(hub: Hub) -> None:
    """amqtt loses a message when a client subscribes while it walks through the subscriptions."""
    link = await hub.link(DEVICE)

    async def come_and_go(number: int) -> None:
        for turn in range(5):
            attacker = await hub.attacker(enrolled(HUB, b"c%03d-%03d" % (number, turn)).client_id)
            await attacker.subscribe(enrolled(HUB, b"c%03d-%03d" % (number, turn)).down + "/2")
            await attacker.close()

    crowd = asyncio.gather(*[come_and_go(number) for number in range(20)])
    for number in range(100):
        await link.send(1, bytes([number]))
        assert await hub.next() == (DEVICE.up + "/1", bytes([number]))
        hub.ingress.publish(DEVICE.down + "/2", bytes([number]))
        assert await asyncio.wait_for(link.receive(), 60) == (2, bytes([number]))
    await crowd
    await link.close()


async def test_tls_and_the_hubs_own_way_in(tmp_path: Path) -> None:
    ca, tls = mosquitto.make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    hub = await Hub().start(context=context)
    link = MqttLink("127.0.0.1", port=hub.broker.port, ca=ca)
    await link.connect(DEVICE)
    await link.send(1, b"reading")
    assert await hub.next() == (DEVICE.up + "/1", b"reading")
    await link.close()
    with pytest.raises(LinkError):
        await MqttLink("127.0.0.1", port=hub.broker.port, timeout=0.3).connect(DEVICE)
    await hub.close()


async def test_a_port_that_is_taken_is_said(hub: Hub) -> None:
    second = EmbeddedBroker(HUB, port=hub.broker.port)
    with pytest.raises(LinkError, match=r"should listen on 127\.0\.0\.1:\d+ but cannot"):
        await second.start()
    await second.close()
    await hub.works()


async def test_small_packets_leave_at_once(hub: Hub) -> None:
    attacker = await hub.attacker()
    for guard in hub.broker._guards:
        raw = guard._writer.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    await attacker.close()


async def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert EmbeddedBroker(HUB).host == "127.0.0.1"


async def test_another_client_of_the_same_library_works(hub: Hub) -> None:
    """aiomqtt as anybody would use it, without our link."""
    async with aiomqtt.Client("127.0.0.1", hub.broker.port, identifier=DEVICE.client_id) as client:
        await client.subscribe(DEVICE.down + "/2", qos=1)
        await client.publish(DEVICE.up + "/1", b"reading", qos=1)
        assert await hub.next() == (DEVICE.up + "/1", b"reading")
