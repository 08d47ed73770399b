"""CPU of one receive and one publish at the hub: gmqtt, paho and our ingress, 4.5 KB at QoS 1.

    PYTHONPATH=sdk:hub:tests/e2e python tests/bench/mqtt_clients.py [messages [client ...]]

A real Mosquitto carries `messages` publishes from a generator process to the client that is
measured; it acknowledges each by hand and publishes an answer of the same size. The generator keeps
at most 64 unanswered. The figure is getrusage (user + system) of the measured process alone.
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import mosquitto
import mqtt_packets as mqtt

PAYLOAD = os.urandom(4500)
WINDOW = 64
UP = f"handfast/1/{mosquitto.HUB}/up/bench"
DOWN = f"handfast/1/{mosquitto.HUB}/dn/bench"


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def generate(host: str, port: int, messages: int) -> None:
    """The device side: pre-built packets on a bare socket, a window of unanswered ones."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(mqtt.connect("bench") + mqtt.subscribe([DOWN]))
    publish = mqtt.publish(UP, PAYLOAD)
    sent = answered = 0
    buffer = bytearray()
    while answered < messages:
        while sent < messages and sent - answered < WINDOW:
            writer.write(publish)
            sent += 1
        buffer += await reader.read(1 << 18)
        for kind, body in mqtt.take(buffer):
            if kind == mqtt.PUBLISH:
                writer.write(mqtt.puback(mqtt.read_publish(body)[1]))
                answered += 1
    writer.close()


def measure_gmqtt(broker: mosquitto.Mosquitto, messages: int, ready: Callable[[], None]) -> float:
    """gmqtt as it comes; its manual acknowledgement wants a coroutine that returns the reason."""
    import gmqtt
    from gmqtt.mqtt.constants import MQTTv311

    async def main() -> float:
        done = asyncio.Event()
        subscribed = asyncio.Event()
        client = gmqtt.Client("hub", optimistic_acknowledgement=False)
        client.set_auth_credentials(broker.username, broker.password)
        seen = 0

        async def on_message(
            client: gmqtt.Client, topic: str, payload: bytes, qos: int, properties: object
        ) -> int:
            nonlocal seen
            client.publish(DOWN, payload, qos=1)
            seen += 1
            if seen == messages:
                done.set()
            return 0

        client.on_message = on_message
        client.on_subscribe = lambda *_: subscribed.set()
        await client.connect(broker.host, broker.port, version=MQTTv311)
        client.subscribe(f"handfast/1/{mosquitto.HUB}/up/+", qos=1)
        await subscribed.wait()
        before = cpu_seconds()
        ready()
        await done.wait()
        spent = cpu_seconds() - before
        await client.disconnect()
        return spent

    return asyncio.run(main())


def measure_paho(broker: mosquitto.Mosquitto, messages: int, ready: Callable[[], None]) -> float:
    """paho in its own loop, with manual acknowledgement: no event loop and no thread hop."""
    import paho.mqtt.client as paho

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "hub", manual_ack=True)
    client.username_pw_set(broker.username, broker.password)
    seen = 0
    before = spent = 0.0

    def on_message(client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        nonlocal seen, spent
        client.publish(DOWN, message.payload, 1)
        client.ack(message.mid, message.qos)
        seen += 1
        if seen == messages:
            spent = cpu_seconds() - before
            client.disconnect()

    def on_subscribe(*_: object) -> None:
        nonlocal before
        before = cpu_seconds()
        ready()

    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.on_connect = lambda *_: client.subscribe(f"handfast/1/{mosquitto.HUB}/up/+", 1)
    client.connect(broker.host, broker.port)
    client.loop_forever()
    return spent


def measure_ingress(broker: mosquitto.Mosquitto, messages: int, ready: Callable[[], None]) -> float:
    """The hub's own ingress."""
    from handfast_hub.mqtt.ingress import MqttIngress

    async def main() -> float:
        done = asyncio.Event()
        ingress = MqttIngress(
            broker.host, broker.port, client_id="hub", username=broker.username, password=broker.password
        )
        seen = 0

        def on_publish(topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
            nonlocal seen
            ingress.publish(DOWN, payload)
            acknowledge()
            seen += 1
            if seen == messages:
                done.set()

        await ingress.start((f"handfast/1/{mosquitto.HUB}/up/+",), on_publish)
        before = cpu_seconds()
        ready()
        await done.wait()
        spent = cpu_seconds() - before
        await ingress.close()
        return spent

    return asyncio.run(main())


CLIENTS = {"gmqtt": measure_gmqtt, "paho": measure_paho, "ingress": measure_ingress}


def main(messages: int, clients: list[str]) -> None:
    """Print one line for each client."""
    with tempfile.TemporaryDirectory() as folder, mosquitto.running(Path(folder)) as broker:
        for name in clients:
            generator: list[subprocess.Popen[bytes]] = []
            command = [sys.executable, __file__, "--generate", broker.host, str(broker.port), str(messages)]

            def ready(
                generator: list[subprocess.Popen[bytes]] = generator, command: list[str] = command
            ) -> None:
                generator.append(subprocess.Popen(command))

            spent = CLIENTS[name](broker, messages, ready)
            generator[0].terminate()
            generator[0].wait()
            print(f"{name:10} {spent / messages * 1e6:6.1f} us, receive and publish of {len(PAYLOAD)} bytes")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--generate"]:
        asyncio.run(generate(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, sys.argv[2:] or list(CLIENTS))
