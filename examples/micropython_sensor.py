"""The /main.py of a board: onboards on its first day, sends a reading every minute, obeys its hub.

Copy this file to the board, and beside it a setup.json with what its operator handed out:

    {"wifi": ["cellar", "password"], "broker": "hub.local", "qrng": "uart:1", "hub": "CODE", "token": "TOKEN"}

The unix port of MicroPython is a board too; its flash is the folder DIR:

    MICROPYPATH=.frozen:firmware_micropython:sdk micropython -X heapsize=8m examples/micropython_sensor.py DIR
"""

import asyncio
import gc
import json
import os
import sys
import time

import handfast.identity as identity
from handfast_micropython import Board, main, wifi

ROOT = sys.argv[1] if len(sys.argv) > 1 else ""
KEYS, SETUP = ROOT + "/handfast", ROOT + "/setup.json"


async def set_up() -> None:
    """On the first day. The power may go at any line of it: the next boot goes on."""
    with open(SETUP) as file:
        values = json.load(file)
    hub, token = values.pop("hub"), values.pop("token", None)
    board = Board(KEYS, qrng=values.get("qrng"))
    if "wifi" in values:
        wifi.save(board.keystore, *values.pop("wifi"))
    if board.keystore.load(identity.IDENTITY) is None:
        # The key is made here and never leaves. Without a token the operator approves the claim code.
        print("claim code", await main.set_up(board, hub, token, "sensor", **values))
    await board.close()
    # The keystore has the token now, and forgets it when the hub has used it up.
    os.remove(SETUP)


def read() -> bytes:
    """One reading, or None for none this time. Your sensor goes here; every board can tell this one."""
    gc.collect()
    return b"%d bytes free" % gc.mem_free()


def handle(command: bytes) -> bytes:
    """What the hub commands; what you raise is answered as failed. Sealed for this board and fresh."""
    if command == b"uptime":
        return b"%d ms" % time.ticks_ms()
    raise ValueError(command)


if "setup.json" in os.listdir(ROOT or "/"):
    asyncio.run(set_up())
asyncio.run(main.run(read, handle, path=KEYS))
