"""The hub's ingress against a scripted broker: what is acknowledged when, and how much is under way."""

import asyncio
import socket

import pytest
from ingress_inbox import FILTERS, Inbox, publish_packet
from scripted_broker import scripted

from handfast.core.errors import LinkError
from handfast_hub.mqtt import ingress as module
from handfast_hub.mqtt.ingress import MqttIngress

pytestmark = pytest.mark.usefixtures("short_goodbyes")


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
        pubacks = [await asyncio.wait_for(broker.packets.get(), 60) for _ in range(2)]
        assert pubacks == [(0x40, b"\x00\x08"), (0x40, b"\x00\x07")]
        ingress.publish("mark", b"")
        assert (await asyncio.wait_for(broker.packets.get(), 60))[0] == 0x32
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
        command, body = await asyncio.wait_for(broker.packets.get(), 60)
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
            while (await asyncio.wait_for(broker.packets.get(), 60))[0] != 0x40:
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
            commands.append((await asyncio.wait_for(broker.packets.get(), 60))[0])
        assert 0x40 not in commands
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
