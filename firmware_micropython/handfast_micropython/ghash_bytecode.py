"""Multiplication in the field of GHASH (SP 800-38D section 6.3), where MicroPython compiles no viper.

Bit by bit with masks: no table and no branch depends on the key or on the data.
Written from ghash_viper.
"""


def absorb(state, key, data, start: int):
    """state = (state XOR the 16 bytes of `data` from `start`) times key; words, first bits high."""
    z = state
    h = key
    block = data
    index = 0
    while index < 4:
        at = start + 4 * index
        word = (block[at] << 24) | (block[at + 1] << 16)
        word = word | (block[at + 2] << 8) | block[at + 3]
        z[index] = z[index] ^ word
        index += 1
    v0 = h[0]
    v1 = h[1]
    v2 = h[2]
    v3 = h[3]
    z0 = 0
    z1 = 0
    z2 = 0
    z3 = 0
    # The polynomial x^128 + x^7 + x^2 + x + 1, as algorithm 1 writes it.
    reduction = 0xE1 << 24
    index = 0
    while index < 4:
        word = z[index]
        turn = 31
        while turn >= 0:
            mask = 0 - ((word >> turn) & 1)
            z0 = z0 ^ (v0 & mask)
            z1 = z1 ^ (v1 & mask)
            z2 = z2 ^ (v2 & mask)
            z3 = z3 ^ (v3 & mask)
            mask = 0 - (v3 & 1)
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
