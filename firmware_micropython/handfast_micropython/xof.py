"""SHAKE of a short seed (FIPS 202 section 6.2), its output read where it arises: in the state.

Sampling takes one block after the other and drops what it does not need, so nothing is copied.
"""

from handfast_micropython.keccak import RATE_SHAKE128, RATE_SHAKE256, permute, start_shake

_ZEROS = bytes(200)


class Xof:
    """One 200-byte state for many seeds. `state[:rate]` is the block of output that is at hand."""

    def __init__(self) -> None:
        self.state = bytearray(200)

    def start_shake128(self, seed: "bytes | bytearray") -> None:
        """Begin with `seed`, at most 166 bytes; blocks have 168 bytes."""
        start_shake(self.state, RATE_SHAKE128, seed)

    def start_shake256(self, seed: "bytes | bytearray | memoryview") -> None:
        """Begin with `seed`, at most 134 bytes; blocks have 136 bytes."""
        start_shake(self.state, RATE_SHAKE256, seed)

    def next_block(self) -> None:
        """Go on to the next block."""
        permute(self.state)

    def wipe(self) -> None:
        """Leave no secret behind."""
        self.state[:] = _ZEROS
