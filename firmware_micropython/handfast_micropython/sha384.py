"""SHA-384 (FIPS 180-4 section 6.5) in plain Python: MicroPython's hashlib stops at SHA-256."""

import struct
from array import array

_MASK = 0xFFFFFFFFFFFFFFFF


def _fractions(root: int, count: int) -> "array[int]":
    """The first 64 bits of the fractional parts of the square or cube roots of the first primes."""
    primes: "list[int]" = []
    number = 2
    while len(primes) < count:
        if all(number % prime for prime in primes):
            primes.append(number)
        number += 1
    # One piece of memory that is there before: integers would each stay where they were made, between what
    # their making left over, and no piece of a 192 KB heap was above 4 KB afterwards.
    fractions = array("Q", bytes(8 * count))
    for index, prime in enumerate(primes):
        fractions[index] = _integer_root(prime << (64 * root), root) & _MASK
    return fractions


def _integer_root(value: int, root: int) -> int:
    """The largest integer whose power of `root` is not above `value`, which is below 2^216."""
    found = 0
    for bit in range(71, -1, -1):
        if (found | 1 << bit) ** root <= value:
            found |= 1 << bit
    return found


class _Constants:
    """FIPS 180-4 sections 4.2.3 and 5.3.4: constants of the first 80 primes, start values of the 9th to 16th.

    Made when they are first needed, for only one suite needs them.
    """

    words = array("Q")
    start = array("Q")

    @classmethod
    def make(cls) -> None:
        """Nothing happens the second time."""
        if not cls.words:
            cls.start = _fractions(2, 16)[8:]
            cls.words = _fractions(3, 80)


def _turn(word: int, by: int) -> int:
    return (word >> by) | ((word << (64 - by)) & _MASK)


def _block(state: "list[int]", data: bytes, start: int) -> None:
    # Section 6.4.2.
    constants = _Constants.words
    words = list(struct.unpack_from(">16Q", data, start))
    for index in range(16, 80):
        x, y = words[index - 15], words[index - 2]
        small0 = _turn(x, 1) ^ _turn(x, 8) ^ (x >> 7)
        small1 = _turn(y, 19) ^ _turn(y, 61) ^ (y >> 6)
        words.append((words[index - 16] + small0 + words[index - 7] + small1) & _MASK)
    a, b, c, d, e, f, g, h = state
    for index in range(80):
        big1 = _turn(e, 14) ^ _turn(e, 18) ^ _turn(e, 41)
        first = h + big1 + ((e & f) ^ (~e & g)) + constants[index] + words[index]
        big0 = _turn(a, 28) ^ _turn(a, 34) ^ _turn(a, 39)
        second = big0 + ((a & b) ^ (a & c) ^ (b & c))
        h, g, f, e = g, f, e, (d + first) & _MASK
        d, c, b, a = c, b, a, (first + second) & _MASK
    for index, word in enumerate((a, b, c, d, e, f, g, h)):
        state[index] = (state[index] + word) & _MASK


def sha384(data: bytes) -> bytes:
    """48 bytes."""
    _Constants.make()
    state = list(_Constants.start)
    whole = len(data) // 128 * 128
    for start in range(0, whole, 128):
        _block(state, data, start)
    # Section 5.1.2: one bit, zeros, and the length in bits as 128 bits.
    rest = bytes(data[whole:]) + b"\x80"
    rest += bytes((-len(rest) - 16) % 128) + (8 * len(data)).to_bytes(16, "big")
    for start in range(0, len(rest), 128):
        _block(state, rest, start)
    return b"".join([word.to_bytes(8, "big") for word in state[:6]])
