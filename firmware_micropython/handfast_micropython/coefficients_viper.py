"""What polynomials of ML-KEM and ML-DSA have in common, for chips with viper.

256 coefficients, a word each, never negative. The first two arguments of a viper function live in
registers; where they are loop variables, their values at the call do not matter.
coefficients_bytecode is this file without types.
"""

import micropython


@micropython.viper
def clear(index: int, polynomial):
    """Set every coefficient to 0."""
    p = ptr32(polynomial)
    index = 0
    while index < 256:
        p[index] = 0
        index += 1


@micropython.viper
def add(index: int, polynomial, other):
    """polynomial += other; the bounds add up."""
    p = ptr32(polynomial)
    o = ptr32(other)
    index = 0
    while index < 256:
        p[index] = p[index] + o[index]
        index += 1


@micropython.viper
def pack(index: int, at: int, polynomial, out, bits: int):
    """Coefficients below 2^bits, the lowest bit first, into `out` from byte `at`; `bits` is at most 20.

    FIPS 203 algorithm 5, FIPS 204 algorithm 16.
    """
    p = ptr32(polynomial)
    o = ptr8(out)
    held = 0
    count = 0
    index = 0
    while index < 256:
        held = held | (p[index] << count)
        count += bits
        while count >= 8:
            o[at] = held & 255
            at += 1
            held = held >> 8
            count -= 8
        index += 1


@micropython.viper
def unpack(index: int, at: int, polynomial, data, bits: int):
    """The coefficients that `pack` put there, from byte `at` of `data`.

    FIPS 203 algorithm 6, FIPS 204 algorithm 18.
    """
    p = ptr32(polynomial)
    d = ptr8(data)
    mask = (1 << bits) - 1
    held = 0
    count = 0
    index = 0
    while index < 256:
        while count < bits:
            held = held | (d[at] << count)
            at += 1
            count += 8
        p[index] = held & mask
        held = held >> bits
        count -= bits
        index += 1
