"""Hostile clients at both brokers: what is tested is what arrives, not what the broker answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import mosquitto
import pytest
from attacker import Attacker, until

from handfast.core.base32 import b32encode
from handfast.core.topics import enrolled, hub_subscriptions, onboarding
from handfast_cpython.mqtt import MqttLink
from handfast_hub.mqtt import mosquitto as mosquitto_files
from handfast_hub.mqtt.embedded import EmbeddedBroker
from handfast_hub.mqtt.ingress import MqttIngress
from handfast_hub.mqtt.plugin import MAX_ONBOARDING, MAX_RECORD

HUB = bytes(8)
BASE = "handfast/1/" + b32encode(HUB)
CHAN = onboarding(HUB, b"victim-------1")
DEVICE = enrolled(HUB, b"victim-1")
# The attacker is a device too: it has a chan and a device_id of its own.
OWN_CHAN = onboarding(HUB, b"attacker-----1")
OWN_DEVICE = enrolled(HUB, b"attacker")

BROKERS = [
    "embedded",
    pytest.param("mosquitto", marks=mosquitto.needs_mosquitto),
]


class Fleet:
    """A broker of either kind, the hub at it, and what the hub received."""

    host = "127.0.0.1"

    def __init__(self, port: int, ingress: MqttIngress) -> None:
        self.port = port
        self.ingress = ingress
        self.inbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def on_publish(self, topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
        acknowledge()
        self.inbox.put_nowait((topic, payload))

    async def next(self) -> tuple[str, bytes]:
        return await asyncio.wait_for(self.inbox.get(), 60)

    async def link(self) -> MqttLink:
        return MqttLink(self.host, port=self.port)

    async def attacker(self, client_id: str, **options: object) -> Attacker:
        attacker = Attacker()
        self.answer = await attacker.connect(self.host, self.port, client_id, **options)
        return attacker

    async def exchange(self, link: MqttLink) -> None:
        """A victim's whole life: both endpoints, both directions, all channels."""
        await link.connect(CHAN)
        await link.send(None, b"message_1")
        assert await self.next() == (CHAN.up, b"message_1")
        self.ingress.publish(CHAN.down, b"message_2")
        assert await asyncio.wait_for(link.receive(), 60) == (None, b"message_2")
        await link.connect(DEVICE)
        for channel in range(6):
            await link.send(channel, b"record")
            assert await self.next() == (f"{DEVICE.up}/{channel}", b"record")
            self.ingress.publish(f"{DEVICE.down}/{channel}", b"answer")
            assert await asyncio.wait_for(link.receive(), 60) == (channel, b"answer")

    async def nothing_reached_the_hub(self) -> None:
        """Whatever was sent before has been dealt with when this honest payload arrives."""
        link = await self.link()
        await link.connect(onboarding(HUB, b"honest-------1"))
        await link.send(None, b"honest")
        assert await self.next() == (onboarding(HUB, b"honest-------1").up, b"honest")
        await link.close()

    async def nothing_reached(self, link: MqttLink, channel: int | None, topic: str) -> None:
        """The next thing that the victim receives is what the hub sends now."""
        self.ingress.publish(topic, b"honest")
        assert await asyncio.wait_for(link.receive(), 60) == (channel, b"honest")


@contextlib.asynccontextmanager
async def running_fleet(kind: str, folder: Path) -> AsyncIterator[Fleet]:
    async with contextlib.AsyncExitStack() as stack:
        if kind == "embedded":
            embedded = EmbeddedBroker(HUB, port=0)
            await embedded.start()
            stack.push_async_callback(embedded.close)
            fleet = Fleet(embedded.port, embedded.ingress())
        else:
            broker = stack.enter_context(mosquitto.running(folder, b32encode(HUB)))
            ingress = MqttIngress(
                broker.host,
                broker.port,
                client_id="hub-of-the-test",
                username=broker.username,
                password=broker.password,
            )
            fleet = Fleet(broker.port, ingress)
        await fleet.ingress.start(hub_subscriptions(HUB), fleet.on_publish)
        stack.push_async_callback(fleet.ingress.close)
        yield fleet


@pytest.fixture(params=BROKERS)
async def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with running_fleet(request.param, tmp_path) as made:
        yield made


EAVESDROPPING = [
    "#",
    "+/#",
    "handfast/#",
    "handfast/1/#",
    BASE + "/#",
    BASE + "/up/+",
    BASE + "/dn/+",
    BASE + "/dev/+/up/+",
    BASE + "/dev/+/dn/+",
    "handfast/1/+/dn/" + CHAN.client_id,
    CHAN.up,
    CHAN.down,
    DEVICE.up + "/1",
    DEVICE.down + "/2",
    DEVICE.down + "/#",
    "$share/spies/#",
    "$share/spies/" + CHAN.down,
    "$share/spies/" + BASE + "/up/+",
    "$SYS/#",
    "+/+/+/+/+",
    "+/+/+/+/+/+/+",
]


@pytest.mark.parametrize("identity", [OWN_CHAN, OWN_DEVICE], ids=["onboarding", "enrolled"])
async def test_an_eavesdropper_hears_its_own_messages_only(
    fleet: Fleet, identity: tuple[str, str, str, bool]
) -> None:
    attacker = await fleet.attacker(identity[0])
    assert fleet.answer == 0
    for topic_filter in EAVESDROPPING:
        await attacker.subscribe(topic_filter)
    own = identity[2] + "/2" if identity[3] else identity[2]
    await attacker.subscribe(own)
    link = await fleet.link()
    await fleet.exchange(link)
    fleet.ingress.publish(own, b"for the attacker itself")
    while not attacker.published:
        assert await attacker.settle()
    # Both brokers hand over in order: had a message of the victim come through, it would stand first.
    assert set(attacker.published) == {(own, b"for the attacker itself")}
    await link.close()
    await attacker.close()


FOREIGN_TOPICS = [
    CHAN.down,
    CHAN.up,
    DEVICE.down + "/2",
    DEVICE.up + "/1",
    OWN_CHAN.down,
    OWN_DEVICE.down + "/2",
    BASE + "/up/" + CHAN.client_id + "/" + OWN_CHAN.client_id,
    BASE + "/up/",
    BASE + "/up",
    "handfast/1/bbbbbbbbbbbbb/dn/" + CHAN.client_id,
    BASE + "/dev/" + DEVICE.client_id + "/up/" + OWN_CHAN.client_id,
    "$SYS/broker/version",
    "/" + CHAN.down,
]


@pytest.mark.parametrize("qos", [0, 1])
async def test_nobody_publishes_for_another(fleet: Fleet, qos: int) -> None:
    onboarding_link, device_link = await fleet.link(), await fleet.link()
    await onboarding_link.connect(CHAN)
    await device_link.connect(DEVICE)
    for identity in (OWN_CHAN, OWN_DEVICE):
        for topic in FOREIGN_TOPICS:
            attacker = await fleet.attacker(identity.client_id)
            assert fleet.answer == 0
            await attacker.publish(topic, b"forged", qos=qos)
            await attacker.close()
    await fleet.nothing_reached_the_hub()
    await fleet.nothing_reached(onboarding_link, None, CHAN.down)
    await fleet.nothing_reached(device_link, 2, DEVICE.down + "/2")
    attacker = await fleet.attacker(OWN_CHAN.client_id)
    await attacker.publish(OWN_CHAN.up, b"its own", qos=qos)
    assert await fleet.next() == (OWN_CHAN.up, b"its own")
    await attacker.close()
    await onboarding_link.close()
    await device_link.close()


async def test_a_will_reaches_nobody_else(fleet: Fleet) -> None:
    link, device_link = await fleet.link(), await fleet.link()
    await link.connect(CHAN)
    await device_link.connect(DEVICE)
    for topic in (CHAN.down, CHAN.up, DEVICE.down + "/2", DEVICE.up + "/1"):
        attacker = await fleet.attacker(OWN_CHAN.client_id, will=(topic, b"last words"))
        await attacker.close()
        # A new connection under the same id: the broker has dealt with the end of the one before.
        attacker = await fleet.attacker(OWN_CHAN.client_id)
        await attacker.settle()
        await attacker.close()
    await fleet.nothing_reached_the_hub()
    await fleet.nothing_reached(link, None, CHAN.down)
    await fleet.nothing_reached(device_link, 2, DEVICE.down + "/2")
    await link.close()
    await device_link.close()


async def test_nothing_is_retained(fleet: Fleet) -> None:
    attacker = await fleet.attacker(OWN_CHAN.client_id)
    await attacker.publish(OWN_CHAN.up, b"retained", retain=True)
    await attacker.close()
    await fleet.nothing_reached_the_hub()
    attacker = await fleet.attacker(OWN_CHAN.client_id)
    await attacker.subscribe(OWN_CHAN.down)
    # The hub subscribes anew: what was retained would come first.
    await fleet.ingress.close()
    await fleet.ingress.start(hub_subscriptions(HUB), fleet.on_publish)
    await fleet.nothing_reached_the_hub()
    assert attacker.published == []
    await attacker.close()


@pytest.mark.parametrize(
    "client_id",
    [
        "+",
        "#",
        "",
        CHAN.client_id + "/" + OWN_CHAN.client_id,
        "../" + CHAN.client_id,
        "+/" + CHAN.client_id,
        "$share",
    ],
)
async def test_a_client_id_that_is_a_pattern_gives_no_rights(fleet: Fleet, client_id: str) -> None:
    link = await fleet.link()
    await link.connect(CHAN)
    attacker = await fleet.attacker(client_id)
    if fleet.answer == 0:
        for topic_filter in (*EAVESDROPPING, BASE + "/dn/" + client_id):
            await attacker.subscribe(topic_filter)
        for topic in (CHAN.up, CHAN.down, BASE + "/up/x"):
            await attacker.publish(topic, b"forged")
    await fleet.nothing_reached_the_hub()
    await fleet.nothing_reached(link, None, CHAN.down)
    await attacker.settle()
    assert attacker.published == []
    await attacker.close()
    await link.close()


@pytest.mark.parametrize("clean_session", [True, False])
async def test_the_hubs_client_id_is_worth_nothing_without_its_password(
    fleet: Fleet, clean_session: bool
) -> None:
    client_id = fleet.ingress._open["client_id"]
    assert isinstance(client_id, str)
    for username, password in (
        (None, None),
        (fleet.ingress._open["username"], "guess"),
        (OWN_CHAN.client_id, ""),
    ):
        attacker = await fleet.attacker(
            client_id, clean_session=clean_session, username=username, password=password
        )
        if fleet.answer == 0:
            await attacker.subscribe(*hub_subscriptions(HUB))
            await attacker.subscribe("#")
        link = await fleet.link()
        await link.connect(CHAN)
        await link.send(None, b"secret")
        await attacker.settle()
        assert attacker.published == []
        await attacker.close()
        await link.close()
        # Mosquitto lets the stranger push the hub out; the hub comes back by itself.
        await until(lambda: fleet.ingress.connected)
    # Drops what came before and shows that the hub still receives.
    link = await fleet.link()
    await link.connect(CHAN)
    await link.send(None, b"end")
    while await fleet.next() != (CHAN.up, b"end"):
        pass
    await link.close()


async def test_an_oversize_record_does_not_pass_and_the_largest_does(fleet: Fleet) -> None:
    attacker = await fleet.attacker(OWN_DEVICE.client_id)
    await attacker.publish(OWN_DEVICE.up + "/4", bytes(MAX_RECORD))
    assert await fleet.next() == (OWN_DEVICE.up + "/4", bytes(MAX_RECORD))
    too_large = mosquitto_files.MAX_PACKET_SIZE
    attacker.send(b"\x32" + _length(too_large) + bytes(too_large))
    await attacker.hung_up()
    await attacker.close()
    await fleet.nothing_reached_the_hub()


@pytest.mark.parametrize("kind", ["embedded"])
async def test_an_oversize_onboarding_payload_does_not_pass_and_the_largest_does(
    kind: str, tmp_path: Path
) -> None:
    """Mosquitto has one limit for all topics; there the hub itself drops what is over its caps."""
    async with running_fleet(kind, tmp_path) as fleet:
        attacker = await fleet.attacker(OWN_CHAN.client_id)
        await attacker.publish(OWN_CHAN.up, bytes(MAX_ONBOARDING))
        assert await fleet.next() == (OWN_CHAN.up, bytes(MAX_ONBOARDING))
        await attacker.publish(OWN_CHAN.up, bytes(MAX_ONBOARDING + 1))
        await attacker.hung_up()
        await attacker.close()
        await fleet.nothing_reached_the_hub()


def _length(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes(encoded) + bytes([value])
