"""A board for tests: what runs at boot, on a unix port of MicroPython. Written for MicroPython alone.

    micropython micropython_device.py ROOT FLASH < JSON

JSON has the configuration; with a hub code in it the board is set up first. The board sends a reading
every second, answers each command with what it said, and says on standard output what happens.
"""

import asyncio
import json
import sys

root, flash = sys.argv[1:]
sys.path[:0] = [root + "/firmware_micropython", root + "/sdk"]

from handfast_micropython import configuration, main  # noqa: E402
from handfast_micropython.board import Board  # noqa: E402
from handfast_micropython.keystore import Keystore  # noqa: E402


class Readings:
    """A number that grows, so that no two readings are alike."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bytes:
        """The next reading."""
        self.count += 1
        return b"reading %d" % self.count


async def live(values: "dict[str, object]") -> None:
    """Set up when asked to, then run for ever."""
    hub = values.pop("hub", None)
    token = values.pop("token", None)
    if hub is not None:
        board = Board(flash, qrng=values["qrng"])
        print("claim", await main.set_up(board, hub, token, "unix board", **values))
        await board.close()
    print("configured", configuration.load(Keystore(flash))["broker"])
    await main.run(Readings(), lambda data: b"done: " + data, path=flash)


asyncio.run(live(json.loads(sys.stdin.read())))
