"""Sends payloads to an echo at the broker and compares what comes back. Written for MicroPython alone.

micropython micropython_echo.py ROOT HOST PORT CLIENT_ID UP DOWN
"""

import asyncio
import sys

root, host, port, client_id, up, down = sys.argv[1:]
sys.path[:0] = [root + "/firmware_micropython", root + "/sdk"]

from handfast.core.topics import Endpoint  # noqa: E402
from handfast_micropython.mqtt import MqttLink  # noqa: E402

LENGTHS = (0, 1, 127, 128, 1000, 16384, 65000)


async def main() -> None:
    """Every length on every channel."""
    link = MqttLink(host, port=int(port), limit=66000, keepalive=2)
    for _ in range(2):
        await link.connect(Endpoint(client_id, up, down, True))
        for length in LENGTHS:
            payload = bytes([number * 7 & 0xFF for number in range(length)])
            for channel in range(6):
                await link.send(channel, payload)
                assert await asyncio.wait_for(link.receive(), 60) == (channel, payload)
        # The broker hangs up after one and a half keepalives without a ping.
        await asyncio.sleep(3.5)
        await link.send(1, b"still here")
        assert await link.receive() == (1, b"still here")
    await link.close()
    print("echoed", *LENGTHS)


asyncio.run(main())
