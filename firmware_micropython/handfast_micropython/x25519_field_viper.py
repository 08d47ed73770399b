"""Arithmetic modulo p = 2^255 - 19 for X25519 (RFC 7748), for chips with viper.

A number is 20 limbs of 13 bits, a word each, low limb first: twenty products of 26 bits add up to
less than 2^32. 2^260 is 608 modulo p, so what leaves limb 19 comes back into limb 0, 608-fold. A limb
may be a little above 2^13: each function takes what the others give, and `pack` gives a number below
p. No branch and no index depends on a number. An output may be an input too.

x25519_product_viper has the products. The first two arguments of a viper function live in registers;
where they are loop variables, their values at the call do not matter.
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
