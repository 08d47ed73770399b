"""Combining and comparing bytes, for chips with viper.

No branch depends on what the bytes are. buffers_bytecode is this file without types.
"""

import micropython


@micropython.viper
def xor_into(target, at: int, data, start: int, length: int):
    """XOR `length` bytes of `data` from `start` into `target` from `at`; the caller keeps the bounds."""
    into = ptr8(target)
    other = ptr8(data)
    index = 0
    while index < length:
        into[at + index] = into[at + index] ^ other[start + index]
        index += 1


@micropython.viper
def difference(left, right, length: int) -> int:
    """The OR of the XOR of the first `length` bytes: 0 when they are equal."""
    one = ptr8(left)
    two = ptr8(right)
    found = 0
    index = 0
    while index < length:
        found = found | (one[index] ^ two[index])
        index += 1
    return found


@micropython.viper
def zero_words(target, length: int):
    """Set the first `length` words of `target` to 0."""
    into = ptr32(target)
    index = 0
    while index < length:
        into[index] = 0
        index += 1
