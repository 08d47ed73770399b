"""Somebody who owns the broker: hears everything, and then also changes, repeats, reorders and misdirects it.

The hub is a process behind a Mosquitto without any access rule. What must hold without the broker's
help: nobody learns a reading, a command, a key or which device it is, and nothing is taken twice.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import mosquitto
from processes import PATIENCE, HubProcess, crypto, eventually, fleets

import handfast.identity as identity
from handfast.core import codes, topics
from handfast.device import Device
from handfast.testing import MemoryHost
from handfast_cpython.clock import Clock
from handfast_cpython.mqtt_client import Client
from handfast_cpython.swarm import Swarm
from handfast_cpython.swarm_live import LiveHub
from handfast_hub.registry.operator import NewCommand

pytestmark = mosquitto.needs_mosquitto
DEVICES = 12
READINGS = 3
COMMAND = b"open the door of the vault"
# What is shorter may stand somewhere by chance.
SHORTEST = 12


class Heard(NamedTuple):
    """A payload that passed."""

    topic: str
    payload: bytes


class OpenMosquitto(mosquitto.Mosquitto):
    """A broker where everybody may do everything."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        file = folder / "mosquitto.conf"
        kept = [
            line for line in file.read_text().splitlines() if "acl_file" not in line and "passw" not in line
        ]
        file.write_text("\n".join(kept) + "\n")


class Confidant:
    """The machine's crypto, which remembers every secret that goes in or comes out."""

    def __init__(self) -> None:
        self.secrets: set[bytes] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(crypto, name)

    def kmac256(self, key: bytes, data: bytes, length: int, custom: bytes) -> bytes:
        """Key schedule, root keys, and every draw of a seeded device: r_D, attempt, seeds."""
        output = crypto.kmac256(key, data, length, custom)
        # The mac of a GATE and the names of an attempt (C_I, chan) are there to be seen.
        if length > 16 or (custom == b"handfast testing" and length == 16):
            self.secrets.add(output)
        return output

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        self.secrets.update((key, plaintext))
        return crypto.seal(algorithm, key, nonce, aad, plaintext)

    def open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        plaintext = crypto.open(algorithm, key, nonce, aad, ciphertext)
        self.secrets.update((key, plaintext))
        return plaintext

    def decapsulate(self, kem: str, seed: bytes, ciphertext: bytes) -> bytes:
        shared_secret = crypto.decapsulate(kem, seed, ciphertext)
        self.secrets.update((seed, shared_secret))
        return shared_secret

    def sign(self, algorithm: int, seed: bytes, message: bytes, randomness: bytes) -> bytes:
        signature = crypto.sign(algorithm, seed, message, randomness)
        # What is signed names the signer, and so does the signature.
        self.secrets.update((seed, randomness, signature))
        return signature


@contextlib.asynccontextmanager
async def listening(broker: mosquitto.Mosquitto, heard: list[Heard]) -> AsyncIterator[None]:
    """A client with every right, subscribed to everything."""

    async def listen(client: Client) -> None:
        async for message in client.messages:
            heard.append(Heard(str(message.topic), bytes(message.payload)))  # noqa: PERF401

    async with Client(broker.host, broker.port, identifier="eavesdropper") as client:
        await client.subscribe("#", qos=1)
        task = asyncio.create_task(listen(client))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_who_hears_everything_learns_no_reading_no_command_no_key_and_no_device(tmp_path: Path) -> None:
    broker = OpenMosquitto(tmp_path / "broker")
    broker.start()
    heard: list[Heard] = []
    confidant = Confidant()
    said = [f"{number} degrees in the cellar".encode() for number in range(DEVICES)]
    try:
        with HubProcess(tmp_path / "hub", broker) as hub:
            hub.start()
            async with listening(broker, heard):
                tokens = await hub.tokens(DEVICES)
                live = LiveHub(hub.code, hub.address, None, tokens)
                hosts = [MemoryHost(confidant, Clock(), b"spied %d" % number) for number in range(DEVICES)]
                async with Swarm(DEVICES, live, crypto=confidant, host=lambda number: hosts[number]) as swarm:
                    summary = await swarm.onboard(within=PATIENCE)
                    assert summary.onboarded == DEVICES, summary
                    devices = [each.device for each in swarm.devices if each.device is not None]
                    obeying = [asyncio.create_task(obey_once(device)) for device in devices]
                    for device, reading in zip(devices, said):
                        await device.send(reading)
                        await device.drain()
                    await everything_answered(hub, [device.device_id or b"" for device in devices])
                    assert await asyncio.gather(*obeying) == [COMMAND] * DEVICES
                await everything_arrived(hub, set(said))
    finally:
        broker.stop()

    wire = b"\n".join(each.topic.encode() + b"\n" + each.payload for each in heard)
    secrets = {each for each in confidant.secrets if len(each) >= SHORTEST} | {COMMAND, *said}
    for text, device, host in zip(tokens, devices, hosts):
        credential = identity.load(crypto, host.keystore).credential
        secrets |= {codes.decode_token(crypto, text).k_tok, text.encode(), credential.encoded}
        secrets |= {credential.thumbprint, credential.kid, device.claim_code.encode(), device.key("any")}
        secrets |= {credential.public_key[:32], credential.public_key[-32:], *host.keystore.values.values()}
    assert len(secrets) > 30 * DEVICES
    assert [secret for secret in secrets if secret in wire] == []
    # The search would find what is there: a token_id in each GATE, a device_id in each topic, as base32.
    for text, device in zip(tokens, devices):
        assert codes.decode_token(crypto, text).token_id in wire
        assert codes.b32encode(device.device_id or b"").encode() in wire
    places = Counter(each.topic.rpartition("/")[2] for each in heard if "/dev/" in each.topic)
    assert all(places[channel] >= DEVICES for channel in "0123"), places
    assert sum("/dev/" not in each.topic for each in heard) >= 4 * DEVICES


async def obey_once(device: Device) -> bytes:
    """Answer one command, and give what it said."""
    async for message in device.messages():
        if message.channel == "command":
            await message.reply(b"done")
            return message.data
    return b""


async def everything_answered(hub: HubProcess, ids: list[bytes]) -> None:
    """A command for each device, answered by each."""
    async with hub.operator() as operator:
        now = time.time()
        for device_id in ids:
            await operator.command(NewCommand(device_id, COMMAND, now + 600, now))

        async def answered() -> int:
            return sum(1 for each in await operator.commands(len(ids)) if each.state == "answered")

        await eventually(answered, len(ids))


async def everything_arrived(hub: HubProcess, said: set[bytes]) -> None:
    """The hub has taken each reading, and none twice."""
    async with hub.operator() as operator:

        async def taken() -> Counter[bytes]:
            return Counter(each.data for each in await operator.readings(0, 10_000))

        await eventually(taken, Counter(said))


class Middle:
    """The only way between two brokers, one with the devices and one with the hub.

    Each payload goes on, and so do a copy of it, one with a changed bit, one on the topic of somebody
    else, one on another channel, one back to where it came from, and one that passed long ago; all in
    any order, together with what else waits.
    """

    def __init__(self, devices: mosquitto.Mosquitto, hub: mosquitto.Mosquitto, seed: int) -> None:
        self.heard: list[Heard] = []
        self._brokers = devices, hub
        self._chance = random.Random(seed)
        self._waiting: list[Heard] = []
        self._bell = asyncio.Event()
        self._clients: list[Client] = []

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for broker in self._brokers:
                client = Client(broker.host, broker.port, identifier="middle")
                self._clients.append(await stack.enter_async_context(client))
            for client, way in zip(self._clients, ("up", "dn")):
                # Only what comes to us: not what we hand on ourselves.
                for topic in (f"{topics.ROOT}+/{way}/+", f"{topics.ROOT}+/dev/+/{way}/+"):
                    await client.subscribe(topic, qos=1)
            work = [asyncio.create_task(self._listen(client)) for client in self._clients]
            work.append(asyncio.create_task(self._meddle()))
            try:
                yield
            finally:
                for task in work:
                    task.cancel()
                ends = await asyncio.gather(*work, return_exceptions=True)
                assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends

    async def _listen(self, client: Client) -> None:
        async for message in client.messages:
            self._waiting.append(Heard(str(message.topic), bytes(message.payload)))
            self._bell.set()

    async def _meddle(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            batch, self._waiting = self._waiting, []
            self.heard += batch
            copies = [copy for each in batch for copy in self._copies(each)]
            self._chance.shuffle(copies)
            await asyncio.gather(*(self._hand_on(copy) for copy in copies))

    async def replay(self) -> None:
        """Everything that ever passed, latest first, with all that can be made of it."""
        for each in list(reversed(self.heard)):
            await asyncio.gather(*(self._hand_on(copy) for copy in self._copies(each)))

    def _copies(self, heard: Heard) -> list[Heard]:
        topic, payload = heard
        changed = bytearray(payload)
        changed[self._chance.randrange(len(changed))] ^= 1 << self._chance.randrange(8)
        other = self._chance.choice(self.heard)
        if "/dev/" in topic:
            base, _, channel = topic.rpartition("/")
            elsewhere = f"{base}/{(int(channel) + self._chance.randrange(1, 6)) % 6}"
        else:
            # A record in the place of a handshake, and the other way round, never reads as one.
            elsewhere = other.topic
        back = topic.replace("/up", "/dn") if "/up" in topic else topic.replace("/dn", "/up")
        made = [heard, heard, Heard(topic, bytes(changed)), Heard(other.topic, payload), other]
        return [*made, Heard(elsewhere, payload), Heard(back, payload)]

    async def _hand_on(self, heard: Heard) -> None:
        """Upwards to the hub, downwards to the devices."""
        client = self._clients["/up" in heard.topic]
        await client.publish(heard.topic, heard.payload, qos=1, timeout=PATIENCE)


async def test_what_is_changed_repeated_reordered_or_misdirected_is_refused(tmp_path: Path) -> None:
    at_devices, at_hub = OpenMosquitto(tmp_path / "near"), OpenMosquitto(tmp_path / "far")
    at_devices.start()
    at_hub.start()
    middle = Middle(at_devices, at_hub, seed=1)
    address = f"mqtt://{at_devices.host}:{at_devices.port}"
    try:
        with HubProcess(tmp_path / "hub", at_hub) as hub:
            hub.start()
            async with middle(), fleets(1, tmp_path) as (fleet,):
                tokens = await hub.tokens(DEVICES)
                # Who brings a message_1 to the hub on another topic first has stolen that attempt: the hub
                # stays silent, and the device begins another one after a minute, here after six seconds.
                summary = await fleet(
                    "onboard",
                    code=hub.code,
                    broker=address,
                    tokens=tokens,
                    seed=1,
                    within=2 * PATIENCE,
                    rate=10,
                )
                assert summary["onboarded"] == DEVICES, (summary, hub.log[-2000:])
                sent = await fleet("telemetry", count=READINGS)
                await as_many_readings(hub, sent)
                ids = [bytes.fromhex(name) for name in await fleet("ids")]
                await everything_answered(hub, ids)

                await middle.replay()
                # What comes now comes after all of it, and is all that there is to come.
                sent += await fleet("telemetry", count=1)
                await as_many_readings(hub, sent)
                assert sent == DEVICES * (READINGS + 1)
                assert await fleet("heard") == {COMMAND.decode(): DEVICES}
                assert await fleet("states") == {"active": DEVICES}
                assert await fleet("reused") == []
                async with hub.operator() as operator:
                    assert len(await operator.devices()) == DEVICES
                    assert Counter(each.state for each in await operator.tokens()) == {"used": DEVICES}
            assert hub.stop() == 0
            assert "error" not in hub.log, hub.log[-2000:]
    finally:
        at_devices.stop()
        at_hub.stop()


async def as_many_readings(hub: HubProcess, count: int) -> None:
    """As many as were sent arrive, and each is another one."""
    async with hub.operator() as operator:

        async def taken() -> int:
            return len(await operator.readings(0, 10_000))

        await eventually(taken, count)
        data = [reading.data for reading in await operator.readings(0, 10_000)]
        assert len(set(data)) == count
