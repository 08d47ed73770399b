"""The hub's ingress against a real Mosquitto."""

import asyncio
from pathlib import Path

import mosquitto
import pytest
from ingress_inbox import CHAN, FILTERS, HUB, Inbox
from mosquitto import needs_mosquitto

from handfast.core.errors import LinkClosed, LinkError
from handfast.core.topics import enrolled, reply_topic
from handfast_cpython.mqtt import MqttLink
from handfast_cpython.tls import client_context
from handfast_hub.mqtt import ingress as module
from handfast_hub.mqtt.ingress import MqttIngress

pytestmark = pytest.mark.usefixtures("short_goodbyes")


def hub_ingress(broker: mosquitto.Mosquitto, **options: object) -> MqttIngress:
    return MqttIngress(
        broker.host,
        broker.port,
        client_id="hub-of-the-test",
        username=broker.username,
        password=broker.password,
        **options,  # type: ignore[arg-type]
    )


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
        assert await asyncio.wait_for(link.receive(), 60) == (None, b"m2")
        endpoint = enrolled(HUB, bytes(8))
        await link.connect(endpoint)
        await link.send(5, bytes(65_036))
        topic, payload, acknowledge = await inbox.next()
        assert (topic, len(payload)) == (endpoint.up + "/5", 65_036)
        acknowledge()
        ingress.publish(endpoint.down + "/2", bytes(65_036))
        assert await asyncio.wait_for(link.receive(), 60) == (2, bytes(65_036))
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
