"""Combining and comparing bytes, where MicroPython compiles no viper.

No branch depends on what the bytes are. Written from buffers_viper.
"""


def xor_into(target, at: int, data, start: int, length: int):
    """XOR `length` bytes of `data` from `start` into `target` from `at`; the caller keeps the bounds."""
    into = target
    other = data
    index = 0
    while index < length:
        into[at + index] = into[at + index] ^ other[start + index]
        index += 1


def difference(left, right, length: int) -> int:
    """The OR of the XOR of the first `length` bytes: 0 when they are equal."""
    one = left
    two = right
    found = 0
    index = 0
    while index < length:
        found = found | (one[index] ^ two[index])
        index += 1
    return found


def zero_words(target, length: int):
    """Set the first `length` words of `target` to 0."""
    into = target
    index = 0
    while index < length:
        into[index] = 0
        index += 1
