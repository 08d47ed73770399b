"""The clock of a CPython machine."""

import asyncio
import time


class Clock:
    """Seconds since the machine started; setting the wall clock does not move it."""

    def now(self) -> float:
        """Seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let others work for that long."""
        await asyncio.sleep(seconds)
