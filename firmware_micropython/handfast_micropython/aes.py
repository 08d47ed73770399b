"""AES under one key, two blocks at a time, as CCM and GCM want it (FIPS 197)."""

from array import array

try:
    from handfast_micropython.aes_viper import encrypt, load, store, sub_bytes
except (ImportError, SyntaxError, ValueError):
    # No viper here: a foreign interpreter, a port without a native emitter, or a .mpy of another chip.
    from handfast_micropython.aes_bytecode import encrypt, load, store, sub_bytes


class BlockPair:
    """AES under a key of 16 or 32 bytes; `blocks` is what it works on, two blocks of 16 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) not in (16, 32):
            raise ValueError("an AES key here has 16 or 32 bytes, not %d" % len(key))
        self.blocks = bytearray(32)
        self._slices = array("I", bytes(32))
        self._rounds = len(key) // 4 + 6
        self._keys = array("I", bytes(32 * (self._rounds + 1)))
        self._expand(key)

    def encrypt(self) -> None:
        """Replace both blocks by their encryption."""
        load(self._slices, self.blocks)
        encrypt(self._slices, self._keys, self._rounds)
        store(self._slices, self.blocks)

    def _expand(self, key: bytes) -> None:
        """Write the round keys, each spread over 8 words as the blocks are (section 5.2)."""
        size = len(key) // 4
        words = [bytes(key[4 * index : 4 * index + 4]) for index in range(size)]
        constant = 1
        for index in range(size, 4 * (self._rounds + 1)):
            word = words[index - 1]
            if index % size == 0:
                word = self._substitute(word[1:] + word[:1])
                word = bytes((word[0] ^ constant,)) + word[1:]
                constant = (constant << 1) ^ (0x11B if constant & 0x80 else 0)
            elif size == 8 and index % size == 4:
                word = self._substitute(word)
            words.append(bytes([one ^ two for one, two in zip(word, words[index - size])]))
        for turn in range(self._rounds + 1):
            block = b"".join(words[4 * turn : 4 * turn + 4])
            load(self._slices, block + block)
            self._keys[8 * turn : 8 * turn + 8] = self._slices

    def _substitute(self, word: bytes) -> bytes:
        blocks = bytearray(32)
        blocks[:4] = word
        load(self._slices, blocks)
        sub_bytes(self._slices)
        store(self._slices, blocks)
        return bytes(blocks[:4])
