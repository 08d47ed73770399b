"""Arithmetic modulo p = 2^255 - 19 for X25519 (RFC 7748), for chips with viper.

A number is 20 limbs of 13 bits, a word each, low limb first: twenty products of 26 bits add up to
less than 2^32. 2^260 is 608 modulo p, so what leaves limb 19 comes back into limb 0, 608-fold. A limb
may be a little above 2^13: each function takes what the others give, and `pack` gives a number below
p. No branch and no index depends on a number. An output may be an input too.

Products are Karatsuba's: three of 10 limbs instead of four. Their columns are written out, one
expression each: a loop would spend twice as long, and a product of 20 limbs would take 11 KB.
The first two arguments of a viper function live in registers; where they are loop variables, their
values at the call do not matter.
"""

import micropython


@micropython.viper
def unpack(at: int, index: int, out, data):
    """32 bytes, little endian; the highest bit does not count (RFC 7748 section 5)."""
    o = ptr32(out)
    d = ptr8(data)
    held = 0
    count = 0
    at = 0
    index = 0
    while index < 20:
        while count < 13:
            if at < 32:
                held = held | (d[at] << count)
            at += 1
            count += 8
        o[index] = held & 8191
        held = held >> 13
        count -= 13
        index += 1
    o[19] = o[19] & 255


@micropython.viper
def pack(at: int, index: int, out, number):
    """The 32 bytes of `number` modulo p; `number` is spent afterwards."""
    o = ptr8(out)
    n = ptr32(number)
    # Twice to come below 2^255.
    turn = 0
    while turn < 2:
        carry = 19 * (n[19] >> 8)
        n[19] = n[19] & 255
        index = 0
        while index < 20:
            carry = carry + n[index]
            n[index] = carry & 8191
            carry = carry >> 13
            index += 1
        # The highest limb keeps what is above 13 bits for the next turn; there is nothing after the last.
        n[19] = n[19] + (carry << 13)
        turn += 1
    # n >= p exactly when n + 19 reaches 2^255, and n + 19 without that bit is n - p.
    carry = 19
    index = 0
    while index < 19:
        carry = (carry + n[index]) >> 13
        index += 1
    carry = 19 * ((carry + n[19]) >> 8)
    index = 0
    while index < 20:
        carry = carry + n[index]
        n[index] = carry & 8191
        carry = carry >> 13
        index += 1
    n[19] = n[19] & 255
    held = 0
    count = 0
    index = 0
    at = 0
    while at < 32:
        if count < 8:
            held = held | (n[index] << count)
            index += 1
            count += 13
        o[at] = held & 255
        held = held >> 8
        count -= 8
        at += 1


@micropython.viper
def sum_and_difference(carry: int, a: ptr32, b: ptr32, total, difference):
    """a + b, and a - b + 64 p: its limbs are 15168 and then 16382, so that none falls below 0."""
    o = ptr32(total)
    turn = 0
    carry = 0
    while turn < 4:
        carry = carry + a[0] + b[0]
        o[0] = carry & 8191
        carry = carry >> 13
        carry = carry + a[1] + b[1]
        o[1] = carry & 8191
        carry = carry >> 13
        carry = carry + a[2] + b[2]
        o[2] = carry & 8191
        carry = carry >> 13
        carry = carry + a[3] + b[3]
        o[3] = carry & 8191
        carry = carry >> 13
        carry = carry + a[4] + b[4]
        o[4] = carry & 8191
        carry = carry >> 13
        a = ptr32(int(a) + 20)
        b = ptr32(int(b) + 20)
        o = ptr32(int(o) + 20)
        turn += 1
    o = ptr32(total)
    o[0] = o[0] + carry * 608
    a = ptr32(int(a) - 80)
    b = ptr32(int(b) - 80)
    o = ptr32(difference)
    carry = 15168 - 16382
    while turn < 8:
        carry = carry + 16382 + a[0] - b[0]
        o[0] = carry & 8191
        carry = carry >> 13
        carry = carry + 16382 + a[1] - b[1]
        o[1] = carry & 8191
        carry = carry >> 13
        carry = carry + 16382 + a[2] - b[2]
        o[2] = carry & 8191
        carry = carry >> 13
        carry = carry + 16382 + a[3] - b[3]
        o[3] = carry & 8191
        carry = carry >> 13
        carry = carry + 16382 + a[4] - b[4]
        o[4] = carry & 8191
        carry = carry >> 13
        a = ptr32(int(a) + 20)
        b = ptr32(int(b) + 20)
        o = ptr32(int(o) + 20)
        turn += 1
    o = ptr32(difference)
    o[0] = o[0] + carry * 608


@micropython.viper
def add_121665_times(carry: int, a: ptr32, b: ptr32, out):
    """a + 121665 * b: the a24 of RFC 7748 section 5."""
    o = ptr32(out)
    turn = 0
    carry = 0
    while turn < 4:
        carry = carry + a[0] + b[0] * 121665
        o[0] = carry & 8191
        carry = carry >> 13
        carry = carry + a[1] + b[1] * 121665
        o[1] = carry & 8191
        carry = carry >> 13
        carry = carry + a[2] + b[2] * 121665
        o[2] = carry & 8191
        carry = carry >> 13
        carry = carry + a[3] + b[3] * 121665
        o[3] = carry & 8191
        carry = carry >> 13
        carry = carry + a[4] + b[4] * 121665
        o[4] = carry & 8191
        carry = carry >> 13
        a = ptr32(int(a) + 20)
        b = ptr32(int(b) + 20)
        o = ptr32(int(o) + 20)
        turn += 1
    o = ptr32(out)
    carry = carry * 608
    turn = 0
    while turn < 3:
        carry = carry + o[turn]
        o[turn] = carry & 8191
        carry = carry >> 13
        turn += 1
    o[3] = o[3] + carry


@micropython.viper
def swap(a: ptr32, b: ptr32, bit: int):
    """Exchange two pairs of numbers, 40 words, when `bit` is 1."""
    mask = 0 - bit
    turn = 0
    while turn < 10:
        change = (a[0] ^ b[0]) & mask
        a[0] = a[0] ^ change
        b[0] = b[0] ^ change
        change = (a[1] ^ b[1]) & mask
        a[1] = a[1] ^ change
        b[1] = b[1] ^ change
        change = (a[2] ^ b[2]) & mask
        a[2] = a[2] ^ change
        b[2] = b[2] ^ change
        change = (a[3] ^ b[3]) & mask
        a[3] = a[3] ^ change
        b[3] = b[3] ^ change
        a = ptr32(int(a) + 16)
        b = ptr32(int(b) + 16)
        turn += 1


@micropython.viper
def multiply(index: int, at: int, out, left, right, work):
    """left * right, in 80 words of `work`."""
    a = ptr32(left)
    b = ptr32(right)
    w = ptr32(work)
    index = 0
    while index < 10:
        w[index + 60] = a[index] + a[index + 10]
        w[index + 70] = b[index] + b[index + 10]
        index += 1
    _product(left, right, 0, 0, work, 0)
    _product(left, right, 10, 10, work, 20)
    _product(work, work, 60, 70, work, 40)
    _fold(0, work, out)


@micropython.viper
def square(index: int, at: int, out, number, work):
    """number * number, in 80 words of `work`."""
    a = ptr32(number)
    w = ptr32(work)
    index = 0
    while index < 10:
        w[index + 60] = a[index] + a[index + 10]
        index += 1
    _square(number, 0, 0, work, 0)
    _square(number, 0, 10, work, 20)
    _square(work, 0, 60, work, 40)
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
    w = ptr32(int(w) - 120)
    carry = uint(0)
    while turn < 16:
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
    # A number may be a little above 2^260, and then its square has a bit more than 40 limbs.
    w[19] = w[19] + (carry << 13)
    w = ptr32(int(w) - 80)
    o = ptr32(out)
    carry = uint(0)
    while turn < 20:
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
    o = ptr32(out)
    carry = carry * 608 + uint(o[0])
    o[0] = carry & 8191
    o[1] = uint(o[1]) + (carry >> 13)


@micropython.viper
def _product(a: ptr32, b: ptr32, left_at: int, right_at: int, work, at: int):
    # 19 columns, and a zero above them, from limb left_at of a and limb right_at of b.
    w = ptr32(work)
    w = ptr32(int(w) + (at << 2))
    a = ptr32(int(a) + (left_at << 2))
    b = ptr32(int(b) + (right_at << 2))
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
    w[12] = a[3] * b[9] + a[4] * b[8] + a[5] * b[7] + a[6] * b[6] + a[7] * b[5] + a[8] * b[4] + a[9] * b[3]
    w[13] = a[4] * b[9] + a[5] * b[8] + a[6] * b[7] + a[7] * b[6] + a[8] * b[5] + a[9] * b[4]
    w[14] = a[5] * b[9] + a[6] * b[8] + a[7] * b[7] + a[8] * b[6] + a[9] * b[5]
    w[15] = a[6] * b[9] + a[7] * b[8] + a[8] * b[7] + a[9] * b[6]
    w[16] = a[7] * b[9] + a[8] * b[8] + a[9] * b[7]
    w[17] = a[8] * b[9] + a[9] * b[8]
    w[18] = a[9] * b[9]
    w[19] = 0


@micropython.viper
def _square(a: ptr32, half: int, start: int, work, at: int):
    # The same of a number with itself: what stands beside the diagonal counts twice.
    w = ptr32(work)
    w = ptr32(int(w) + (at << 2))
    a = ptr32(int(a) + (start << 2))
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
