"""The ticks of a board by hand, and MicroPython's functions of `time` where the interpreter has none."""

import time

if not hasattr(time, "ticks_ms"):
    time.ticks_ms = lambda: time.monotonic_ns() // 1000000 & 0x3FFFFFFF
    time.ticks_us = lambda: time.monotonic_ns() // 1000 & 0x3FFFFFFF
    time.ticks_diff = lambda later, earlier: (later - earlier + 0x20000000 & 0x3FFFFFFF) - 0x20000000


class Ticks:
    """Ticks that start again at 2^30, as those of a chip do; `forward` moves them."""

    PERIOD = 1 << 30

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def forward(self, milliseconds: int) -> None:
        """Let time pass."""
        self._now = (self._now + milliseconds) % self.PERIOD

    def ticks_ms(self) -> int:
        """Milliseconds, from 0 to below 2^30."""
        return self._now

    def ticks_diff(self, later: int, earlier: int) -> int:
        """How many milliseconds lie between two readings; right up to half a period."""
        half = self.PERIOD // 2
        return (later - earlier + half) % self.PERIOD - half
