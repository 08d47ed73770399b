"""Round trips a second and CPU at a broker with many devices: Mosquitto and the embedded broker.

    PYTHONPATH=sdk:hub:tests/e2e python tests/bench/brokers.py [devices [round trips for each]]

Each device is a bare socket with pre-built packets: it publishes 1 KB at QoS 1, the hub answers with as
much, and then it publishes again. Devices run in a process of their own. CPU is getrusage of the hub
process, which contains the embedded broker, and of the Mosquitto process.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mosquitto
import mqtt_packets as mqtt
import psutil
from mqtt_clients import cpu_seconds

from handfast.core.topics import enrolled, hub_subscriptions
from handfast_hub.mqtt.embedded import EmbeddedBroker
from handfast_hub.mqtt.ingress import MqttIngress

HUB = bytes(8)
PAYLOAD = os.urandom(1000)


async def device(
    port: int, number: int, turns: int, connected: asyncio.Semaphore, barrier: asyncio.Barrier
) -> None:
    """One device: connect, subscribe, wait for all others, then `turns` round trips."""
    endpoint = enrolled(HUB, number.to_bytes(8, "big"))
    async with connected:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(mqtt.connect(endpoint.client_id) + mqtt.subscribe([endpoint.down + "/2"]))
        buffer = bytearray()
        while mqtt.SUBACK not in [kind for kind, _ in mqtt.take(buffer)]:
            buffer += await reader.read(65536)
    await barrier.wait()
    publish = mqtt.publish(endpoint.up + "/1", PAYLOAD)
    for _ in range(turns):
        writer.write(publish)
        answered = False
        while not answered:
            buffer += await reader.read(65536)
            for kind, body in mqtt.take(buffer):
                if kind == mqtt.PUBLISH:
                    writer.write(mqtt.puback(mqtt.read_publish(body)[1]))
                    answered = True
    writer.close()


async def generate(port: int, devices: int, turns: int) -> None:
    """All devices; prints the seconds that the round trips took."""
    connected, barrier = asyncio.Semaphore(50), asyncio.Barrier(devices + 1)
    tasks = [
        asyncio.ensure_future(device(port, number, turns, connected, barrier)) for number in range(devices)
    ]
    await barrier.wait()
    before = time.monotonic()
    await asyncio.gather(*tasks)
    print(time.monotonic() - before)


async def measure(name: str, devices: int, turns: int) -> None:
    """One broker, one line."""
    with tempfile.TemporaryDirectory() as folder:
        external = embedded = None
        if name == "mosquitto":
            external = mosquitto.Mosquitto(Path(folder))
            external.start()
            port = external.port
            hub = MqttIngress(
                "127.0.0.1", port, client_id="hub", username=external.username, password=external.password
            )
        else:
            embedded = EmbeddedBroker(HUB, port=0)
            await embedded.start()
            port = embedded.port
            hub = embedded.ingress()

        def on_publish(topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
            hub.publish(topic.replace("/up/1", "/dn/2"), payload)
            acknowledge()

        await hub.start(hub_subscriptions(HUB), on_publish)
        before = cpu_seconds()
        command = [sys.executable, __file__, "--generate", str(port), str(devices), str(turns)]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        spent = cpu_seconds() - before
        count = devices * turns
        line = f"{name:10} {devices} devices {count / float(output):6.0f} round trips/s, "
        line += f"CPU of each: hub process {spent / count * 1e6:5.0f} us"
        if external is not None and external.process is not None:
            times = psutil.Process(external.process.pid).cpu_times()
            line += f", broker {(times.user + times.system) / count * 1e6:5.0f} us"
        print(line)
        await hub.close()
        if embedded is not None:
            await embedded.close()
        if external is not None:
            external.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--generate"]:
        asyncio.run(generate(*map(int, sys.argv[2:5])))
    else:
        arguments = [int(text) for text in sys.argv[1:3]] + [1000, 10][len(sys.argv) - 1 :]
        for broker_name in ("mosquitto", "embedded"):
            asyncio.run(measure(broker_name, *arguments))
