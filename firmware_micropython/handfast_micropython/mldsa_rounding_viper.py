"""Rounding, bounds and hints of ML-DSA (FIPS 204 section 7.4), for chips with viper.

Coefficients are below q = 8380417. `highs` is how many high parts there are, (q - 1) / (2 gamma_2):
16 or 44. No branch and no index depends on a secret but in `use_hints`, which only verification calls.
The first two arguments of a viper function live in registers; where they are loop variables, their
values at the call do not matter.
mldsa_rounding_bytecode is this file without types.
"""

import micropython


@micropython.viper
def power_2_round(index: int, x: int, polynomial, low):
    """FIPS 204 algorithm 35: t1 stays in `polynomial`, and 2^12 - t0 goes into `low`."""
    p = ptr32(polynomial)
    o = ptr32(low)
    index = 0
    while index < 256:
        x = p[index]
        high = (x + 4095) >> 13
        p[index] = high
        o[index] = 4096 - x + (high << 13)
        index += 1


@micropython.viper
def shift_13(index: int, polynomial):
    """t1 * 2^13. In: below 2^10; out: below q."""
    p = ptr32(polynomial)
    index = 0
    while index < 256:
        p[index] = p[index] << 13
        index += 1


@micropython.viper
def high_bits(index: int, x: int, polynomial, out, highs: int):
    """FIPS 204 algorithm 37. Out: below `highs`."""
    p = ptr32(polynomial)
    o = ptr32(out)
    # Division by 2 gamma_2, exact for all of q; the last interval belongs to the first (algorithm 36).
    factor = 1025
    shift = 22
    if highs == 44:
        factor = 11275
        shift = 24
    half = 1 << (shift - 1)
    index = 0
    while index < 256:
        x = (((p[index] + 127) >> 7) * factor + half) >> shift
        o[index] = x & ((x - highs) >> 31)
        index += 1


@micropython.viper
def not_below(index: int, x: int, polynomial, bound: int) -> int:
    """1 when a coefficient is `bound` or more away from 0 modulo q, else 0 (FIPS 204 section 2.3)."""
    p = ptr32(polynomial)
    found = 0
    index = 0
    while index < 256:
        x = p[index]
        # Both differences are 0 or more exactly when it is too far.
        found = found | (-1 - ((x - bound) | (8380417 - bound - x)))
        index += 1
    return (found >> 31) & 1


@micropython.viper
def subtract(index: int, x: int, polynomial, other):
    """polynomial - other. In and out: below q."""
    p = ptr32(polynomial)
    o = ptr32(other)
    index = 0
    while index < 256:
        x = p[index] - o[index]
        p[index] = x + ((x >> 31) & 8380417)
        index += 1


@micropython.viper
def low_bits(index: int, x: int, polynomial, high, gamma_2: int):
    """FIPS 204 algorithm 38, modulo q: into `high`, which holds the high parts."""
    p = ptr32(polynomial)
    o = ptr32(high)
    index = 0
    while index < 256:
        x = p[index] - o[index] * 2 * gamma_2
        o[index] = x + ((x >> 31) & 8380417)
        index += 1


@micropython.viper
def make_hints(index: int, count: int, one, two, hints) -> int:
    """Where two polynomials of high parts differ: a byte each into `hints` (257 bytes); how many they are.

    FIPS 204 algorithm 39. Every index is written, and counts only where they differ.
    """
    a = ptr32(one)
    b = ptr32(two)
    o = ptr8(hints)
    count = 0
    index = 0
    while index < 256:
        o[count] = index
        count += ((a[index] ^ b[index]) + 63) >> 6
        index += 1
    return count


@micropython.viper
def use_hints(index: int, end: int, high, polynomial, hints, highs: int):
    """FIPS 204 algorithm 40 on the high parts `high` of `polynomial`, for bytes index to end of `hints`."""
    p = ptr32(polynomial)
    o = ptr32(high)
    h = ptr8(hints)
    width = 523776
    if highs == 44:
        width = 190464
    while index < end:
        at = h[index]
        x = o[at]
        low = p[at] - x * width
        # What belongs to high part 0 from above is below it.
        if low > 0 and low < 4190209:
            x += 1
            if x == highs:
                x = 0
        else:
            x -= 1
            if x < 0:
                x = highs - 1
        o[at] = x
        index += 1
