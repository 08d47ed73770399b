"""The second source of a board: the chip's own generator and timing jitter.

Nothing is claimed for it and nothing is tested: it is there so that a bad quantum source does no
harm. The chip's generator is mixed into every draw besides.
"""

import hashlib
import os
import time

from handfast_micropython.keccak import shake256

CHIP_LENGTH = 64
JITTER_SAMPLES = 512
_BLOCK = bytes(64)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SecondSource:
    """The chip's generator and jitter, hashed together."""

    # For the report; the entropy port adds "os" for the chip's generator.
    names = ("jitter",)

    def __init__(self, clock: "Any" = time) -> None:
        """`clock` has the function ticks_us of MicroPython's module `time`."""
        self._clock = clock

    def read(self, length: int) -> bytes:
        """`length` bytes, in 5 to 50 ms on a chip."""
        return shake256(os.urandom(CHIP_LENGTH) + self._jitter(), length)

    def _jitter(self) -> bytes:
        """How long the same little work takes, again and again, in microseconds."""
        samples = bytearray(JITTER_SAMPLES)
        ticks = self._clock.ticks_us
        # The work is one block of SHA-256, and takes nothing from the heap.
        work = hashlib.sha256().update
        for at in range(JITTER_SAMPLES):
            work(_BLOCK)
            samples[at] = ticks() & 0xFF
        return bytes(samples)
