"""The clock of a board: its ticks, which start again every few days, counted on without end."""

import asyncio
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Seconds of one piece of a long sleep. Ticks of 2^30 ms can be told apart for 6.2 days, and MicroPython's
# asyncio refuses to sleep for longer.
LONGEST_SLEEP = 86400.0


class Clock:
    """Seconds since this object was made; setting the wall clock does not move it.

    It must be read once in six days, which `sleep` does by itself. A chip whose floats have 32 bits
    tells seconds to a sixteenth after twelve days and to whole ones after half a year.
    """

    def __init__(self, source: "Any" = time) -> None:
        """`source` has the functions ticks_ms and ticks_diff of MicroPython's module `time`."""
        self._source = source
        self._ticks = source.ticks_ms()
        self._seconds = 0
        self._milliseconds = 0

    def now(self) -> float:
        """Seconds."""
        ticks = self._source.ticks_ms()
        # The sum is kept as whole numbers: a float of 32 bits would lose what is added.
        self._milliseconds += self._source.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        self._seconds += self._milliseconds // 1000
        self._milliseconds %= 1000
        return self._seconds + self._milliseconds / 1000

    async def sleep(self, seconds: float) -> None:
        """Let others work for that long."""
        while seconds > LONGEST_SLEEP:
            await asyncio.sleep(LONGEST_SLEEP)
            self.now()
            seconds -= LONGEST_SLEEP
        await asyncio.sleep(max(0.0, seconds))
