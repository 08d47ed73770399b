"""Multiplication in the field of GHASH (SP 800-38D section 6.3), for chips with viper.

Bit by bit with masks: no table and no branch depends on the key or on the data.
ghash_bytecode is this file without types.
"""

import micropython


@micropython.viper
def absorb(state, key, data, start: int):
    """state = (state XOR the 16 bytes of `data` from `start`) times key; words, first bits high."""
    z = ptr32(state)
    h = ptr32(key)
    block = ptr8(data)
    index = 0
    while index < 4:
        at = start + 4 * index
        word = (uint(block[at]) << 24) | (uint(block[at + 1]) << 16)
        word = word | (uint(block[at + 2]) << 8) | uint(block[at + 3])
        z[index] = z[index] ^ word
        index += 1
    v0 = uint(h[0])
    v1 = uint(h[1])
    v2 = uint(h[2])
    v3 = uint(h[3])
    z0 = uint(0)
    z1 = uint(0)
    z2 = uint(0)
    z3 = uint(0)
    # The polynomial x^128 + x^7 + x^2 + x + 1, as algorithm 1 writes it.
    reduction = uint(0xE1) << 24
    index = 0
    while index < 4:
        word = uint(z[index])
        turn = 31
        while turn >= 0:
            mask = uint(0) - ((word >> turn) & 1)
            z0 = z0 ^ (v0 & mask)
            z1 = z1 ^ (v1 & mask)
            z2 = z2 ^ (v2 & mask)
            z3 = z3 ^ (v3 & mask)
            mask = uint(0) - (v3 & 1)
            v3 = (v3 >> 1) | ((v2 & 1) << 31)
            v2 = (v2 >> 1) | ((v1 & 1) << 31)
            v1 = (v1 >> 1) | ((v0 & 1) << 31)
            v0 = (v0 >> 1) ^ (reduction & mask)
            turn -= 1
        index += 1
    z[0] = z0
    z[1] = z1
    z[2] = z2
    z[3] = z3
