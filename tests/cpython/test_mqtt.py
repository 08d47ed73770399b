"""MqttLink against a real Mosquitto and a scripted broker."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import mosquitto
import pytest
from mosquitto import needs_mosquitto
from scripted_broker import scripted

from handfast.core.errors import LinkClosed, LinkError, LinkTimeout, LocalError
from handfast.core.topics import enrolled, onboarding
from handfast_cpython import mqtt_client
from handfast_cpython.mqtt import MqttLink

HUB = bytes(8)
CHAN = onboarding(HUB, bytes(14))
DEVICE = enrolled(HUB, bytes(8))


@contextlib.asynccontextmanager
async def hub_client(broker: mosquitto.Mosquitto) -> AsyncIterator[aiomqtt.Client]:
    """The hub's rights at the broker, without the hub."""
    async with aiomqtt.Client(
        broker.host, broker.port, username=broker.username, password=broker.password, identifier="hub"
    ) as client:
        yield client


async def next_payload(link: MqttLink) -> tuple[int | None, bytes]:
    return await asyncio.wait_for(link.receive(), 60)


@needs_mosquitto
async def test_an_onboarding_endpoint_has_no_channels_and_a_device_has_six(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        async with hub_client(broker) as hub:
            link = MqttLink(broker.host, port=broker.port)
            await link.connect(CHAN)
            await hub.publish(CHAN.down, b"message_2", qos=1)
            assert await next_payload(link) == (None, b"message_2")
            await link.connect(DEVICE)
            for channel in range(6):
                await hub.publish(f"{DEVICE.down}/{channel}", bytes([channel]), qos=1)
                assert await next_payload(link) == (channel, bytes([channel]))
            await link.close()
            await link.close()


@needs_mosquitto
async def test_another_endpoint_leaves_the_one_before(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        async with hub_client(broker) as hub:
            link = MqttLink(broker.host, port=broker.port)
            await link.connect(CHAN)
            await link.connect(DEVICE)
            await hub.publish(CHAN.down, b"too late", qos=1)
            await hub.publish(DEVICE.down + "/0", b"ack", qos=1)
            assert await next_payload(link) == (0, b"ack")
            await link.close()


@needs_mosquitto
async def test_nothing_is_retained(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        link = MqttLink(broker.host, port=broker.port)
        await link.connect(CHAN)
        await link.send(None, b"message_1")
        await link.close()
        async with hub_client(broker) as hub:
            await hub.subscribe(CHAN.up, qos=1)
            await link.connect(CHAN)
            await link.send(None, b"message_3")
            message = await asyncio.wait_for(anext(aiter(hub.messages)), 60)
            assert (message.payload, message.retain, message.qos) == (b"message_3", False, 1)
        await link.close()


@needs_mosquitto
async def test_a_broker_that_stops_closes_the_link_and_one_that_returns_takes_it(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        link = MqttLink(broker.host, port=broker.port)
        await link.connect(CHAN)
        waiting = asyncio.ensure_future(link.receive())
        broker.stop()
        with pytest.raises(LinkClosed, match="closed the connection; connect again"):
            await asyncio.wait_for(waiting, 60)
        with pytest.raises(LinkClosed):
            await link.receive()
        with pytest.raises(LinkClosed):
            await link.send(None, b"message_1")
        with pytest.raises(LinkClosed, match="should answer but did not"):
            await link.connect(CHAN)
        broker.start()
        await link.connect(CHAN)
        await link.send(None, b"message_1")
        await link.close()


@needs_mosquitto
async def test_tls_verifies_the_authority_and_the_host_name(tmp_path: Path) -> None:
    ca, tls = mosquitto.make_certificates(tmp_path / "right")
    other_ca, _ = mosquitto.make_certificates(tmp_path / "other")
    with mosquitto.running(tmp_path / "broker", tls=tls) as broker:
        link = MqttLink.from_url(f"mqtts://{broker.host}:{broker.port}", ca=ca)
        await link.connect(CHAN)
        await link.send(None, b"message_1")
        await link.close()
        with pytest.raises(LinkError, match="certificate verify failed"):
            await MqttLink(broker.host, port=broker.port, ca=other_ca).connect(CHAN)
        with pytest.raises(LinkError, match="certificate verify failed"):
            await MqttLink(broker.host, port=broker.port, tls=True).connect(CHAN)
    wrong_name_ca, wrong_name = mosquitto.make_certificates(tmp_path / "wrong", "another.example")
    with mosquitto.running(tmp_path / "impostor", tls=wrong_name) as broker:
        with pytest.raises(LinkError, match="certificate verify failed"):
            await MqttLink(broker.host, port=broker.port, ca=wrong_name_ca).connect(CHAN)


@needs_mosquitto
async def test_a_wrong_password_is_said(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        link = MqttLink(broker.host, port=broker.port, username=broker.username, password="wrong")
        with pytest.raises(LinkError, match="refused us.*check user name and password"):
            await link.connect(CHAN)


@needs_mosquitto
async def test_a_wait_that_is_cancelled_loses_no_payload(tmp_path: Path) -> None:
    with mosquitto.running(tmp_path) as broker:
        async with hub_client(broker) as hub:
            link = MqttLink(broker.host, port=broker.port)
            await link.connect(CHAN)
            count = 100

            async def publish_all() -> None:
                for number in range(count):
                    await hub.publish(CHAN.down, bytes([number]), qos=1)

            publishing = asyncio.ensure_future(publish_all())
            received: list[bytes] = []
            cancelled = 0
            while len(received) < count and cancelled < 100_000:
                waiting = asyncio.ensure_future(link.receive())
                # One or two turns of the loop: the wait is cancelled before, while and after it ends.
                for _ in range(1 + cancelled % 3):
                    await asyncio.sleep(0)
                waiting.cancel()
                try:
                    received.append((await waiting)[1])
                except asyncio.CancelledError:
                    cancelled += 1
            await publishing
            assert cancelled > 0
            assert received == [bytes([number]) for number in range(count)]
            await link.close()


async def test_payloads_over_the_caps_are_refused_and_dropped() -> None:
    async with scripted() as broker:
        link = MqttLink("127.0.0.1", port=broker.port, queue=2)
        await link.connect(CHAN)
        with pytest.raises(LocalError, match="at most 66000 bytes"):
            await link.send(None, bytes(66_001))
        broker.send(_publish(CHAN.down, bytes(66_001)) + _publish(CHAN.down, b"small"))
        assert await next_payload(link) == (None, b"small")
        assert link.dropped == 1
        broker.send(b"".join(_publish(CHAN.down, bytes([number])) for number in range(5)))
        # The broker gets its PUBACKs when the link has looked at all five.
        for _ in range(7):
            while (await asyncio.wait_for(broker.packets.get(), 60))[0] != 0x40:
                pass
        assert [await next_payload(link), await next_payload(link)] == [(None, b"\x00"), (None, b"\x01")]
        assert link.dropped == 4
        await link.close()


async def test_a_topic_without_a_channel_is_dropped_on_a_device_endpoint() -> None:
    async with scripted() as broker:
        link = MqttLink("127.0.0.1", port=broker.port)
        await link.connect(DEVICE)
        for topic in (DEVICE.down, DEVICE.down + "/6", DEVICE.down + "/٣"):
            broker.send(_publish(topic, b"bad"))
        broker.send(_publish("renamed/by/a/bridge/2", b"good"))
        assert await next_payload(link) == (2, b"good")
        assert link.dropped == 3
        await link.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x32\x05\x00\x01+\x00\x01",
        b"\x32\x01\x00",
        b"\x32\x05\x00\x01\xff\x00\x01",
        b"\xf0\x00",
        b"\x32\xff\xff\xff\xff\xff",
    ],
    ids=["a wildcard topic", "a short PUBLISH", "not UTF-8", "no such packet", "a length without end"],
)
async def test_a_broker_that_sends_garbage_is_left_and_keeps_no_callback_busy(garbage: bytes) -> None:
    async with scripted() as broker:
        link = MqttLink("127.0.0.1", port=broker.port)
        await link.connect(CHAN)
        broker.send(garbage)
        with pytest.raises(LinkClosed):
            await next_payload(link)
        assert link._connection is not None
        assert link._connection.client._client.socket() is None
        await link.close()


async def test_a_broker_that_never_acknowledges_is_a_timeout() -> None:
    async with scripted() as broker:
        link = MqttLink("127.0.0.1", port=broker.port)
        await link.connect(CHAN)
        link._timeout = 0.2
        with pytest.raises(LinkTimeout, match="did not acknowledge within 0.2 s"):
            await link.send(None, b"message_1")
        await link.close()


async def test_a_broker_that_hangs_up_while_we_send_closes_the_link() -> None:
    async with scripted() as broker:
        link = MqttLink("127.0.0.1", port=broker.port)
        await link.connect(CHAN)
        sending = asyncio.ensure_future(link.send(None, b"message_1"))
        await broker.publish()
        broker.drop()
        with pytest.raises(LinkClosed):
            await sending


async def test_a_broker_that_never_says_connack_is_given_up() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with scripted(connack=b"") as broker:
        with pytest.raises(LinkClosed, match="should answer but did not"):
            await MqttLink("127.0.0.1", port=broker.port, timeout=0.2).connect(CHAN)
        # Our goodbye was to the same broker: nothing of it is left for Python to complain about.
        await asyncio.gather(*mqtt_client._leaving)
    gc.collect()
    assert reported == []


async def test_a_connect_that_is_cancelled_leaves_no_connection_behind() -> None:
    async with scripted(connack=b"") as broker:
        link = MqttLink("127.0.0.1", port=broker.port, timeout=3.0)
        connecting = asyncio.ensure_future(link.connect(CHAN))
        assert (await asyncio.wait_for(broker.packets.get(), 60))[0] == 0x10
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await asyncio.wait_for(asyncio.gather(*broker.tasks), 60)


async def test_a_refused_subscription_is_said() -> None:
    async with scripted(suback=0x80) as broker:
        with pytest.raises(LinkError, match="does not let .* listen"):
            await MqttLink("127.0.0.1", port=broker.port).connect(CHAN)


async def test_small_packets_leave_at_once() -> None:
    async with scripted() as broker:
        link = MqttLink("127.0.0.1", port=broker.port)
        await link.connect(CHAN)
        assert link._connection is not None
        raw = link._connection.client._client.socket()
        assert isinstance(raw, socket.socket)
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        await link.close()


async def test_a_link_that_is_not_connected_says_so() -> None:
    link = MqttLink("127.0.0.1")
    with pytest.raises(LinkClosed, match="call connect first"):
        await link.receive()
    with pytest.raises(LinkClosed, match="call connect first"):
        await link.send(None, b"")


async def test_channels_must_fit_the_endpoint() -> None:
    async with scripted() as broker:
        link = MqttLink("127.0.0.1", port=broker.port)
        await link.connect(CHAN)
        with pytest.raises(LocalError, match="channel"):
            await link.send(0, b"")
        await link.connect(DEVICE)
        with pytest.raises(LocalError, match="channel"):
            await link.send(None, b"")
        await link.close()


def _publish(topic: str, payload: bytes) -> bytes:
    body = len(topic.encode()).to_bytes(2, "big") + topic.encode() + b"\x00\x01" + payload
    length, header = len(body), bytearray(b"\x32")
    while length > 127:
        header.append(length & 127 | 128)
        length >>= 7
    return bytes(header) + bytes([length]) + body
