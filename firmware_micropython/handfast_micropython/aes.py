"""AES under one key, two blocks at a time, as CCM and GCM want it (FIPS 197)."""

from array import array

from handfast_micropython.buffers import zero_words
from handfast_micropython.tier import kernels

_KERNELS = kernels("aes")
# The round keys of 14 rounds: 480 bytes in one piece, which a heap in pieces may not have for each record.
_KEYS = array("I", range(8 * 15))


class BlockPair:
    """AES under a key of 16 or 32 bytes; `blocks` is what it works on, two blocks of 16 bytes.

    One is at work at a time: the next one takes the memory of its round keys, and `wipe` ends it.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) not in (16, 32):
            raise ValueError("an AES key here has 16 or 32 bytes, not %d" % len(key))
        self.blocks = bytearray(32)
        self._rounds = len(key) // 4 + 6
        self._slices = array("I", bytes(32))
        _KERNELS.expand(_KEYS, key, len(key), self._slices)

    def count_and_mac(self, counter: bytearray, out: "bytearray | memoryview", opening: bool) -> None:
        """The steps of CCM over all of `out`, in place; `counter` stands before the first block of it."""
        _KERNELS.count_and_mac(
            self.blocks, _KEYS, self._rounds, self._slices, counter, out, 1 if opening else 0
        )

    def encrypt(self) -> None:
        """Replace both blocks by their encryption."""
        _KERNELS.encrypt_pair(self.blocks, _KEYS, self._rounds, self._slices)

    def wipe(self) -> None:
        """Leave no round key behind."""
        zero_words(_KEYS, len(_KEYS))
