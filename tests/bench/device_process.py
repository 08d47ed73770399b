"""Many devices in one process: the load on a hub that is measured.

    python tests/bench/device_process.py PORT BACK_END HUB_CODE < requests

Each device has a key, a token and a connection of its own, as in life. Everything that can be made
before the run is made before: keys, message_1 and the MQTT packets around it. In the run a device
opens message_2 and signs message_3; that the hub's signature is right is taken for granted here,
because the tests check it and the hub should be what is busy.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import mqtt_packets as mqtt
from child import Answer, answer, read_request

from handfast.core import events, topics
from handfast.core.cbor import encode
from handfast.core.codes import decode_hub_code, decode_token
from handfast.core.constants import DEVINFO_ENTROPY, DEVINFO_FIRMWARE, DEVINFO_HARDWARE
from handfast.core.credentials import Identity, make_ccs
from handfast.core.device_session import DeviceSession, Store, enrol
from handfast.core.initiator import Initiator
from handfast.core.suites import ML_DSA_65
from handfast_cpython.crypto import Crypto

DEVINFO = encode(
    {
        DEVINFO_FIRMWARE: "bench 1.0",
        DEVINFO_HARDWARE: "simulated",
        DEVINFO_ENTROPY: [3, "simulated photonic source", 1000, 0, 0, 4096, ["os"]],
    }
)
HOST = "127.0.0.1"
# No answer for so long: something is broken, and the benchmark says so instead of waiting.
TIMEOUT = 60.0


class ReadyCrypto(Crypto):
    """Keys of devices expanded beforehand, and trust in the hub's signature."""

    def __init__(self, back_end: str) -> None:
        super().__init__(back_end)
        self.signers: dict[bytes, Callable[[bytes, bytes], bytes]] = {}

    def sign(self, algorithm: int, seed: bytes, message: bytes, randomness: bytes) -> bytes:
        return self.signers[seed](message, randomness)

    def verify(self, algorithm: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return True


class Exchange(asyncio.Protocol):
    """One connection of one device: `opening` once it has subscribed, then what `reply` gives until None."""

    def __init__(
        self, client_id: str, listen: Sequence[str], opening: bytes, reply: Callable[[bytes], bytes | None]
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.carried = 0
        self._opening = opening
        self._reply = reply
        self._hello = mqtt.connect(client_id)
        self._subscribe = mqtt.subscribe(listen)
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._write(self._hello)

    def data_received(self, data: bytes) -> None:
        self.carried += len(data)
        self._buffer += data
        for kind, body in mqtt.take(self._buffer):
            if kind == mqtt.CONNACK:
                self._write(self._subscribe)
            elif kind == mqtt.SUBACK:
                self._write(self._opening)
            elif kind == mqtt.PUBLISH:
                self._published(body)

    def _published(self, body: bytes) -> None:
        _, packet_id, payload = mqtt.read_publish(body)
        try:
            following = self._reply(payload)
        except Exception as error:
            self.done.set_exception(error)
            self._transport.close()
            return
        self._write(mqtt.puback(packet_id) + (following or mqtt.DISCONNECT))
        if following is None:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"the broker hung up: {error}"))

    def _write(self, data: bytes) -> None:
        self.carried += len(data)
        self._transport.write(data)


class Device:
    """One device, ready to be switched on. `sizes` are the bytes of its payloads by name."""

    def __init__(self, crypto: ReadyCrypto, hub_id: bytes, token: str, number: int) -> None:
        seed = os.urandom(32)
        crypto.signers[seed] = crypto._expand(ML_DSA_65, seed)
        public_key = crypto.signature_public_key(ML_DSA_65, seed)
        identity = Identity(seed, make_ccs(crypto, f"device {number}", ML_DSA_65, public_key))
        self.sizes: dict[str, int] = {}
        self._crypto = crypto
        self._hub_id = hub_id
        self._machine = Initiator(
            crypto, os.urandom, identity, hub_id, token=decode_token(crypto, token), devinfo=DEVINFO
        )
        self._machine.start(0.0)
        self._endpoint = topics.onboarding(hub_id[:8], os.urandom(topics.CHAN_LENGTH))
        self._opening = self._publish("message_1", self._endpoint.up, self._machine.frames_to_send(0.0)[0])
        self._session: DeviceSession | None = None

    def joining(self) -> Exchange:
        """The connection from message_1 to message_4."""
        return Exchange(self._endpoint.client_id, [self._endpoint.down], self._opening, self._answer)

    def confirming(self) -> Exchange:
        """The connection of fin and ack."""
        assert self._session is not None
        endpoint = topics.enrolled(self._hub_id[:8], self._session.device_id)
        ((channel, record),) = self._session.frames_to_send(0.0)
        opening = self._publish("fin", f"{endpoint.up}/{channel}", record)
        listen = [f"{endpoint.down}/{channel}" for channel in topics.CHANNELS.values()]
        return Exchange(endpoint.client_id, listen, opening, self._confirmed)

    def _publish(self, name: str, topic: str, payload: bytes) -> bytes:
        self.sizes[name] = len(payload)
        return mqtt.publish(topic, payload)

    def _answer(self, payload: bytes) -> bytes | None:
        machine = self._machine
        self.sizes["message_4" if "message_3" in self.sizes else "message_2"] = len(payload)
        machine.receive(payload, 0.0)
        event: Any = machine.next_event()
        if isinstance(event, events.CredentialPresented):
            assert event.credential is not None
            machine.accept(event.credential, 0.0)
            return self._publish("message_3", self._endpoint.up, machine.frames_to_send(0.0)[0])
        if not isinstance(event, events.Established):
            raise RuntimeError(f"the hub answered {event}")
        self._session = session = enrol(
            self._crypto, event.suite, event.device_id, event.attempt, event.epoch, event.keys, 0.0
        )
        store = session.next_event()
        assert isinstance(store, Store)
        session.stored(store.state)
        return None

    def _confirmed(self, payload: bytes) -> bytes | None:
        assert self._session is not None
        self.sizes["ack"] = len(payload)
        self._session.receive(topics.CONTROL, payload, 0.0)
        if not self._session.confirmed:
            raise RuntimeError("the hub did not confirm the key")
        return None


class Fleet:
    """The devices of one run, `at_once` of them on the wire at a time."""

    def __init__(self, port: int, back_end: str, hub_code: str) -> None:
        self._port = port
        self._crypto = ReadyCrypto(back_end)
        self._hub_id = decode_hub_code(self._crypto, hub_code)
        self._made: list[Device] = []
        self._joined: list[Device] = []

    async def make(self, tokens: list[str]) -> Answer:
        """Prepare a device for each token."""
        for token in tokens:
            self._made.append(Device(self._crypto, self._hub_id, token, len(self._made)))
        return {"made": len(self._made)}

    async def join(self, count: int, at_once: int) -> Answer:
        """Onboard the next `count` devices."""
        self._joined, self._made = self._made[:count], self._made[count:]
        return await self._run([device.joining for device in self._joined], at_once)

    async def confirm(self, at_once: int) -> Answer:
        """fin and ack for those who joined last, who are forgotten then."""
        result = await self._run([device.confirming for device in self._joined], at_once)
        return {**result, "sizes": self._joined[0].sizes}

    async def _run(self, exchanges: list[Callable[[], Exchange]], at_once: int) -> Answer:
        loop = asyncio.get_running_loop()
        waiting = iter(exchanges)
        seconds: list[float] = []
        carried = 0

        async def place() -> None:
            nonlocal carried
            for make in waiting:
                began = time.perf_counter()
                exchange = make()
                await loop.create_connection(lambda protocol=exchange: protocol, HOST, self._port)
                await asyncio.wait_for(exchange.done, TIMEOUT)
                seconds.append(time.perf_counter() - began)
                carried += exchange.carried

        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(place() for _ in range(at_once)))
        elapsed = time.perf_counter() - began
        seconds.sort()
        return {
            "seconds": elapsed,
            "cpu": time.process_time() - cpu,
            "carried": carried / len(seconds),
            "p50": seconds[len(seconds) // 2],
            "p95": seconds[len(seconds) * 95 // 100],
        }


async def main(port: int, back_end: str, hub_code: str) -> None:
    fleet = Fleet(port, back_end, hub_code)
    while (request := await asyncio.to_thread(read_request)) is not None:
        answer(**await getattr(fleet, request[0])(**request[1]))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
