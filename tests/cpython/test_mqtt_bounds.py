"""A hostile broker cannot fill the memory of a device: it is left, and the device comes back later."""

import asyncio
import tracemalloc
from itertools import pairwise

import pytest
from scripted_broker import ScriptedBroker, scripted

from handfast.core import topics
from handfast.core.errors import LinkClosed
from handfast_cpython import mqtt_client
from handfast_cpython.mqtt import MAX_PAYLOAD, MqttLink

DEVICE = topics.enrolled(b"hub-kid!", b"deviceid")
MEGABYTE = 1 << 20


def length(size: int) -> bytes:
    """MQTT's remaining length."""
    digits = bytearray()
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    return bytes(digits) + bytes([size])


def publish(payload: bytes, qos: int, number: int = 1) -> bytes:
    topic = f"{DEVICE.down}/2".encode()
    body = len(topic).to_bytes(2, "big") + topic + (number.to_bytes(2, "big") if qos else b"") + payload
    return bytes([0x30 | qos << 1]) + length(len(body)) + body


async def closed(link: MqttLink) -> None:
    with pytest.raises(LinkClosed):
        async with asyncio.timeout(60):
            while True:
                await link.receive()


async def connected(broker: ScriptedBroker) -> MqttLink:
    link = MqttLink("127.0.0.1", port=broker.port)
    await link.connect(DEVICE)
    return link


@pytest.mark.parametrize("announced", [mqtt_client.PACKET_LIMIT + 1, 256 * MEGABYTE - 1])
async def test_a_packet_that_is_announced_too_large_is_not_read(announced: int) -> None:
    async with scripted() as broker:
        link = await connected(broker)
        tracemalloc.start()
        try:
            broker.send(b"\x32" + length(announced))
            # As much as the device is willing to take from it, and more.
            for _ in range(32):
                broker.send(bytes(MEGABYTE))
            await closed(link)
            # The broker of this test holds 32 MB itself, and an eighth more for what it may still be given.
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 37 * MEGABYTE
        assert link.dropped == 0
        await link.close()


async def test_the_largest_packet_passes_and_the_largest_payload_is_taken() -> None:
    async with scripted() as broker:
        link = await connected(broker)
        topic = 2 + len(f"{DEVICE.down}/2") + 2
        broker.send(publish(bytes(mqtt_client.PACKET_LIMIT - topic), 1))
        broker.send(publish(bytes(MAX_PAYLOAD), 1, 2))
        assert await asyncio.wait_for(link.receive(), 60) == (2, bytes(MAX_PAYLOAD))
        assert link.dropped == 1
        await link.close()


async def test_messages_at_qos_2_are_not_hoarded() -> None:
    async with scripted() as broker:
        link = await connected(broker)
        broker.send(publish(b"never released", 2))
        await closed(link)
        await link.close()


async def test_a_broker_that_sends_and_never_reads_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_client, "UNSENT_LIMIT", 20)
    async with scripted() as broker:
        link = await connected(broker)
        assert link._connection is not None
        client = link._connection.client._client
        # Its window is closed: nothing of ours leaves any more.
        monkeypatch.setattr(client, "_sock_send", _would_block)
        for number in range(1, 200):
            broker.send(publish(b"x", 1, number))
        await closed(link)
        assert len(client._out_packet) <= 20
        await link.close()


def _would_block(_: bytes) -> int:
    raise BlockingIOError


async def test_after_a_hostile_packet_the_device_connects_again_with_growing_pauses() -> None:
    from handfast import Device, Settings, identity
    from handfast.core.codes import encode_hub_code
    from handfast.testing import FakeClock, MemoryHost
    from handfast_cpython.crypto import Crypto

    crypto = Crypto()
    clock = FakeClock()
    host = MemoryHost(crypto, clock, b"one")
    await identity.create(host, -49, "one", encode_hub_code(crypto, bytes(range(32))), None)
    async with scripted() as broker:
        link = MqttLink("127.0.0.1", port=broker.port)
        device = Device(host, link, Settings(retry=(1.0, 8.0)))
        onboarding = asyncio.create_task(device.onboard())
        connects: list[float] = []
        async with asyncio.timeout(60):
            while len(connects) < 5:
                try:
                    command, _ = broker.packets.get_nowait()
                except asyncio.QueueEmpty:
                    await clock.advance(0.25)
                    await asyncio.sleep(0.01)
                    continue
                if command == 0x10:
                    connects.append(clock.now())
                elif command & 0xF0 == 0x30:
                    broker.send(b"\x32" + length(200 * MEGABYTE) + bytes(100_000))
        # A slow machine makes pauses longer, never shorter.
        pauses = [later - earlier for earlier, later in pairwise(connects)]
        assert all(pause >= least for pause, least in zip(pauses, (1, 2, 4, 8), strict=True)), pauses
        await device.close()
        onboarding.cancel()
        await asyncio.gather(onboarding, return_exceptions=True)
