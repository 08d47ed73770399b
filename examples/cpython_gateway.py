"""A gateway: the sensors of a room speak plain lines over TCP, the gateway speaks handfast for them.

    handfast init --hub HUBCODE --token TOKEN --broker mqtts://hub.example --home /var/lib/gateway
    python cpython_gateway.py /var/lib/gateway mqtts://hub.example 7000

A line that comes in on port 7000 is a reading. What the hub commands goes to every sensor, as a line.
"""

import asyncio
import sys

from handfast import Device, Error, LocalError
from handfast_cpython import Host, MqttLink


async def obey(device: Device, sensors: set[asyncio.StreamWriter]) -> None:
    """Hand each command to the sensors, and tell the hub how many of them it reached."""
    async for message in device.messages():
        for sensor in sensors:
            sensor.write(message.data + b"\n")
        # `hub.command` returns with this answer; without one it ends in LinkTimeout.
        await message.reply(f"sent to {len(sensors)} sensors".encode())


async def main(home: str, broker: str, port: int) -> None:
    """Run until Ctrl-C, or until the hub says that this gateway is not welcome any more."""
    sensors: set[asyncio.StreamWriter] = set()
    async with Device(Host(home), MqttLink.from_url(broker)) as device:

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sensors.add(writer)
            try:
                while line := await reader.readline():
                    # Returns at once: sealed and sent while the link is there, queued while it is away.
                    await device.send(line.strip())
            except (LocalError, ValueError, OSError) as error:
                # Queue full, line too long, sensor gone: hang up, so that the sensor knows.
                print("a sensor was dropped:", error, flush=True)
            finally:
                sensors.discard(writer)
                writer.close()

        await device.onboard()  # enrols on the first day, resumes ever after
        server = await asyncio.start_server(listen, "127.0.0.1", port)
        place = server.sockets[0].getsockname()[1]
        print("gateway", device.claim_code, "listens at port", place, flush=True)
        await obey(device, sensors)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    except Error as error:
        sys.exit(f"the gateway ends: {error.detail}")  # refused, quantum source in alarm, disk full
    except KeyboardInterrupt:
        pass
