"""The hub's ingress against a broker that is absent, silent, refuses, or sends what it should not."""

import asyncio
from collections.abc import Callable

import pytest
from free_ports import free_port
from ingress_inbox import FILTERS, Inbox, publish_packet
from scripted_broker import scripted

from handfast.core.errors import LinkClosed, LinkError, LinkTimeout, LocalError
from handfast_hub.mqtt import ingress as module
from handfast_hub.mqtt.ingress import MqttIngress

pytestmark = pytest.mark.usefixtures("short_goodbyes")


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
        assert (await asyncio.wait_for(broker.packets.get(), 60))[0] == 0x10
        assert (await asyncio.wait_for(broker.packets.get(), 60))[0] == 0x82
        broker.send(publish_packet("a", b"good", 2))
        assert (await inbox.next())[1] == b"good"
        await ingress.close()


async def test_a_broker_that_fell_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEPALIVE", 1)
    monkeypatch.setattr(module, "BACKOFF_FIRST", 0.01)
    async with scripted() as broker:
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub")
        await ingress.start(FILTERS, Inbox())
        commands = [(await asyncio.wait_for(broker.packets.get(), 60))[0] for _ in range(6)]
        assert commands.count(0xC0) >= 2
        assert commands.count(0x10) == 2
        await ingress.close()


async def test_a_payload_that_no_broker_carries_is_refused_here() -> None:
    async with scripted() as broker:
        ingress = MqttIngress("127.0.0.1", broker.port, client_id="hub")
        await ingress.start(FILTERS, Inbox())
        with pytest.raises(LocalError, match="too many"):
            ingress.publish("t", bytes(66_560))
        await ingress.close()
