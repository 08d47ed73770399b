"""The generator of the chip as a source of its own, for boards without a quantum module; labelled so."""

import os

from handfast.core.constants import SOURCE_OPERATING_SYSTEM


class SystemSource:
    """What os.urandom gives: the chip's generator. Conditioned, so it claims full entropy."""

    kind = SOURCE_OPERATING_SYSTEM
    model = "operating system"

    def __init__(self, min_entropy: float = 1.0) -> None:
        """`min_entropy`: claimed bits per bit."""
        self.min_entropy = min_entropy

    async def read(self, length: int) -> bytes:
        """`length` bytes."""
        return os.urandom(length)

    async def close(self) -> None:
        """Nothing is open."""
