"""The second source of a CPython machine: its hardware generator where it has one, and CPU jitter.

Nothing is claimed for it and nothing is tested: it is there so that a bad quantum source does no
harm. The operating system's own generator is mixed into every draw besides.
"""

import hashlib
import os
import time

HWRNG = "/dev/hwrng"
# What a slow chip gives at once; the hash spreads it over the draws of a batch.
HWRNG_LENGTH = 64
JITTER_SAMPLES = 512


class SecondSource:
    """/dev/hwrng, unless it is the quantum source already, and timing jitter, hashed together."""

    def __init__(self, quantum_model: str = "") -> None:
        """`quantum_model`: the model of the quantum source, so that nothing is counted twice."""
        self._hardware = not quantum_model.startswith(HWRNG)
        # What the last read was made of; for the report.
        self.names: list[str] = []

    def read(self, length: int) -> bytes:
        """`length` bytes. Takes a millisecond or so, and longer with a slow chip: call it in a thread."""
        hardware = self._read_hardware() if self._hardware else b""
        self.names = ["hwrng", "jitter"] if hardware else ["jitter"]
        return hashlib.shake_256(hardware + _jitter()).digest(length)

    def _read_hardware(self) -> bytes:
        try:
            descriptor = os.open(HWRNG, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return b""
        try:
            return os.read(descriptor, HWRNG_LENGTH)
        except OSError:
            return b""
        finally:
            os.close(descriptor)


def _jitter() -> bytes:
    """How long the same little work takes, again and again, in nanoseconds."""
    samples = bytearray()
    work = b""
    for _ in range(JITTER_SAMPLES):
        work = hashlib.sha256(work).digest()
        samples += (time.perf_counter_ns() & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(samples)
