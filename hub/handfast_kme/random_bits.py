"""The random bits of one end, health-tested as they are drawn, and how much entropy bits seem to have."""

import math
import os

from handfast.core.errors import EntropyError
from handfast.core.health_tests import HealthTests

# Of every draw that much goes through the health tests of SP 800-90B.
_TESTED = 1024
# Thousandths of a bit a bit, and a false alarm in 2^40 windows.
CLAIM = 900
_EXPONENT = 40
# Fewer bits say nothing about their entropy.
_MIN_BITS = 4096


class CheckedRandom:
    """The operating system's generator for one block. `bias` is fault F4: three bits of four are zero."""

    def __init__(self, bias: float = 0.0) -> None:
        self._bias = bias
        self._tests = HealthTests(CLAIM, _EXPONENT)
        self._ones = self._bits = 0

    def __call__(self, length: int) -> bytes:
        """`length` bytes; EntropyError when a health test fails."""
        drawn = os.urandom(length)
        if self._bias:
            drawn = bytes(byte & 0x11 for byte in drawn)
        self._ones += _ones(drawn)
        self._bits += 8 * length
        if self._tests.test(drawn[:_TESTED]) is not None:
            raise EntropyError("the random numbers of this end failed a health test; no key is made of them")
        return drawn

    @property
    def entropy(self) -> float | None:
        """Bits of min-entropy a bit of all that was drawn, at most; None when too little was."""
        return _min_entropy(self._ones, self._bits)


def entropy_of(key: bytes) -> float | None:
    """Bits of min-entropy a bit of a key, at most; None when it is short."""
    return _min_entropy(_ones(key), 8 * len(key))


def _min_entropy(ones: int, bits: int) -> float | None:
    """The most common value estimate of SP 800-90B, 6.3.1, for bits."""
    if bits < _MIN_BITS:
        return None
    most = max(ones, bits - ones) / bits
    return -math.log2(min(1.0, most + 2.576 * math.sqrt(most * (1 - most) / (bits - 1))))


def _ones(data: bytes) -> int:
    return int.from_bytes(data).bit_count()
