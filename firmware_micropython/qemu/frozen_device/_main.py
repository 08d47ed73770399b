"""What the board does when its file system has no main.py: it lives with its hub, once it was set up.

With the option figures=heap or figures=busy it says what each step takes.
"""

import asyncio
import gc

import emulator

from handfast.core.errors import Error
from handfast_micropython import main


class Readings:
    """A number that grows, so that no two readings are alike."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bytes:
        """The next reading."""
        self.count += 1
        return b"reading %d" % self.count


if emulator.option("figures"):
    import figures

    figures.watch(main)
    figures.figure("imported")
try:
    asyncio.run(main.run(Readings(), lambda data: b"done: " + data))
except Error as error:
    print(error.detail)
gc.collect()
