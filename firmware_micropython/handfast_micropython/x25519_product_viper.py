"""Products modulo p = 2^255 - 19 for X25519 (RFC 7748), for chips with viper.

Numbers are those of x25519_field_viper.

Karatsuba's: three products of 10 limbs instead of four. Their columns are written out, one expression each:
a loop would spend twice as long, and a product of 20 limbs would take 11 KB. No branch and no index depends
on a number. An output may be an input too. The first two arguments live in registers: they are the pointers.
"""

import micropython


@micropython.viper
def multiply(a: ptr32, b: ptr32, out, work):
    """a * b, in 80 words of `work`."""
    w = ptr32(work)
    turn = 0
    while turn < 5:
        w[60] = a[0] + a[10]
        w[61] = a[1] + a[11]
        w[70] = b[0] + b[10]
        w[71] = b[1] + b[11]
        a = ptr32(int(a) + 8)
        b = ptr32(int(b) + 8)
        w = ptr32(int(w) + 8)
        turn += 1
    a = ptr32(int(a) - 40)
    b = ptr32(int(b) - 40)
    w = ptr32(int(w) - 40)
    # The low halves, the high halves, and their sums: 19 columns each, and a zero above them.
    turn = 0
    while turn < 3:
        w[0] = a[0] * b[0]
        w[1] = a[0] * b[1] + a[1] * b[0]
        w[2] = a[0] * b[2] + a[1] * b[1] + a[2] * b[0]
        w[3] = a[0] * b[3] + a[1] * b[2] + a[2] * b[1] + a[3] * b[0]
        w[4] = a[0] * b[4] + a[1] * b[3] + a[2] * b[2] + a[3] * b[1] + a[4] * b[0]
        w[5] = a[0] * b[5] + a[1] * b[4] + a[2] * b[3] + a[3] * b[2] + a[4] * b[1] + a[5] * b[0]
        w[6] = a[0] * b[6] + a[1] * b[5] + a[2] * b[4] + a[3] * b[3] + a[4] * b[2] + a[5] * b[1] + a[6] * b[0]
        w[7] = (
            a[0] * b[7]
            + a[1] * b[6]
            + a[2] * b[5]
            + a[3] * b[4]
            + a[4] * b[3]
            + a[5] * b[2]
            + a[6] * b[1]
            + a[7] * b[0]
        )
        w[8] = (
            a[0] * b[8]
            + a[1] * b[7]
            + a[2] * b[6]
            + a[3] * b[5]
            + a[4] * b[4]
            + a[5] * b[3]
            + a[6] * b[2]
            + a[7] * b[1]
            + a[8] * b[0]
        )
        w[9] = (
            a[0] * b[9]
            + a[1] * b[8]
            + a[2] * b[7]
            + a[3] * b[6]
            + a[4] * b[5]
            + a[5] * b[4]
            + a[6] * b[3]
            + a[7] * b[2]
            + a[8] * b[1]
            + a[9] * b[0]
        )
        w[10] = (
            a[1] * b[9]
            + a[2] * b[8]
            + a[3] * b[7]
            + a[4] * b[6]
            + a[5] * b[5]
            + a[6] * b[4]
            + a[7] * b[3]
            + a[8] * b[2]
            + a[9] * b[1]
        )
        w[11] = (
            a[2] * b[9]
            + a[3] * b[8]
            + a[4] * b[7]
            + a[5] * b[6]
            + a[6] * b[5]
            + a[7] * b[4]
            + a[8] * b[3]
            + a[9] * b[2]
        )
        w[12] = (
            a[3] * b[9] + a[4] * b[8] + a[5] * b[7] + a[6] * b[6] + a[7] * b[5] + a[8] * b[4] + a[9] * b[3]
        )
        w[13] = a[4] * b[9] + a[5] * b[8] + a[6] * b[7] + a[7] * b[6] + a[8] * b[5] + a[9] * b[4]
        w[14] = a[5] * b[9] + a[6] * b[8] + a[7] * b[7] + a[8] * b[6] + a[9] * b[5]
        w[15] = a[6] * b[9] + a[7] * b[8] + a[8] * b[7] + a[9] * b[6]
        w[16] = a[7] * b[9] + a[8] * b[8] + a[9] * b[7]
        w[17] = a[8] * b[9] + a[9] * b[8]
        w[18] = a[9] * b[9]
        w[19] = 0
        a = ptr32(int(a) + 40)
        b = ptr32(int(b) + 40)
        w = ptr32(int(w) + 80)
        turn += 1
        if turn == 2:
            a = ptr32(int(w) + 80)
            b = ptr32(int(w) + 120)
    _fold(0, work, out)


@micropython.viper
def square(a: ptr32, half: int, out, work):
    """a * a, in 80 words of `work`: what stands beside the diagonal counts twice."""
    w = ptr32(work)
    turn = 0
    while turn < 5:
        w[60] = a[0] + a[10]
        w[61] = a[1] + a[11]
        a = ptr32(int(a) + 8)
        w = ptr32(int(w) + 8)
        turn += 1
    a = ptr32(int(a) - 40)
    w = ptr32(int(w) - 40)
    turn = 0
    while turn < 3:
        w[0] = a[0] * a[0]
        half = a[0] * a[1]
        w[1] = half + half
        half = a[0] * a[2]
        w[2] = half + half + a[1] * a[1]
        half = a[0] * a[3] + a[1] * a[2]
        w[3] = half + half
        half = a[0] * a[4] + a[1] * a[3]
        w[4] = half + half + a[2] * a[2]
        half = a[0] * a[5] + a[1] * a[4] + a[2] * a[3]
        w[5] = half + half
        half = a[0] * a[6] + a[1] * a[5] + a[2] * a[4]
        w[6] = half + half + a[3] * a[3]
        half = a[0] * a[7] + a[1] * a[6] + a[2] * a[5] + a[3] * a[4]
        w[7] = half + half
        half = a[0] * a[8] + a[1] * a[7] + a[2] * a[6] + a[3] * a[5]
        w[8] = half + half + a[4] * a[4]
        half = a[0] * a[9] + a[1] * a[8] + a[2] * a[7] + a[3] * a[6] + a[4] * a[5]
        w[9] = half + half
        half = a[1] * a[9] + a[2] * a[8] + a[3] * a[7] + a[4] * a[6]
        w[10] = half + half + a[5] * a[5]
        half = a[2] * a[9] + a[3] * a[8] + a[4] * a[7] + a[5] * a[6]
        w[11] = half + half
        half = a[3] * a[9] + a[4] * a[8] + a[5] * a[7]
        w[12] = half + half + a[6] * a[6]
        half = a[4] * a[9] + a[5] * a[8] + a[6] * a[7]
        w[13] = half + half
        half = a[5] * a[9] + a[6] * a[8]
        w[14] = half + half + a[7] * a[7]
        half = a[6] * a[9] + a[7] * a[8]
        w[15] = half + half
        half = a[7] * a[9]
        w[16] = half + half + a[8] * a[8]
        half = a[8] * a[9]
        w[17] = half + half
        w[18] = a[9] * a[9]
        w[19] = 0
        a = ptr32(int(a) + 40)
        w = ptr32(int(w) + 80)
        turn += 1
        if turn == 2:
            a = ptr32(int(w) + 80)
    _fold(0, work, out)


@micropython.viper
def _fold(carry: uint, w: ptr32, out):
    # low + (middle - low - high) * 2^130 + high * 2^260, where all three are 20 columns without carries.
    turn = 0
    while turn < 4:
        w[40] = w[40] - w[0] - w[20]
        w[41] = w[41] - w[1] - w[21]
        w[42] = w[42] - w[2] - w[22]
        w[43] = w[43] - w[3] - w[23]
        w[44] = w[44] - w[4] - w[24]
        w = ptr32(int(w) + 20)
        turn += 1
    w = ptr32(int(w) - 40)
    while turn < 8:
        w[0] = w[0] + w[30]
        w[1] = w[1] + w[31]
        w[2] = w[2] + w[32]
        w[3] = w[3] + w[33]
        w[4] = w[4] + w[34]
        w = ptr32(int(w) + 20)
        turn += 1
    # From column 20 on limbs of 13 bits; a number may be a little above 2^260, and then there is a bit more.
    w = ptr32(int(w) - 40)
    carry = uint(0)
    while turn < 12:
        carry = carry + uint(w[0])
        w[0] = carry & 8191
        carry = carry >> 13
        carry = carry + uint(w[1])
        w[1] = carry & 8191
        carry = carry >> 13
        carry = carry + uint(w[2])
        w[2] = carry & 8191
        carry = carry >> 13
        carry = carry + uint(w[3])
        w[3] = carry & 8191
        carry = carry >> 13
        carry = carry + uint(w[4])
        w[4] = carry & 8191
        carry = carry >> 13
        w = ptr32(int(w) + 20)
        turn += 1
    w = ptr32(int(w) - 80)
    w[19] = w[19] + (carry << 13)
    w = ptr32(int(w) - 80)
    o = ptr32(out)
    carry = uint(0)
    while turn < 16:
        carry = carry + uint(w[0]) + uint(w[20]) * 608
        o[0] = carry & 8191
        carry = carry >> 13
        carry = carry + uint(w[1]) + uint(w[21]) * 608
        o[1] = carry & 8191
        carry = carry >> 13
        carry = carry + uint(w[2]) + uint(w[22]) * 608
        o[2] = carry & 8191
        carry = carry >> 13
        carry = carry + uint(w[3]) + uint(w[23]) * 608
        o[3] = carry & 8191
        carry = carry >> 13
        carry = carry + uint(w[4]) + uint(w[24]) * 608
        o[4] = carry & 8191
        carry = carry >> 13
        w = ptr32(int(w) + 20)
        o = ptr32(int(o) + 20)
        turn += 1
    # The columns below 20 were sums of products, so what leaves the last one is large.
    o = ptr32(out)
    carry = carry * 608 + uint(o[0])
    o[0] = carry & 8191
    carry = (carry >> 13) + uint(o[1])
    o[1] = carry & 8191
    o[2] = uint(o[2]) + (carry >> 13)
