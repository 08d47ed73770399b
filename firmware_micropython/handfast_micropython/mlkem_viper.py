"""Arithmetic of ML-KEM modulo q = 3329 (FIPS 203), for chips with viper.

A polynomial is 256 words that are never negative: a load of 32 bits keeps the sign on a chip and
loses it on a 64-bit machine. No branch and no index depends on a secret; only products of 32 bits
are taken, which every core multiplies in constant time. What is left above q stays until `reduce`;
each function says how much it takes and gives. In a loop the two indices come first: the first two
arguments of a viper function live in registers, and their values at the call do not matter.
mlkem_bytecode is this file without types.
"""

import micropython


@micropython.viper
def ntt(low: int, high: int, polynomial, zetas):
    """FIPS 203 algorithm 9. In: below q; out: below 15 q. `zetas` holds zeta and zeta * 2^16 / q << 16."""
    p = ptr32(polynomial)
    table = ptr32(zetas)
    k = 1
    length = 128
    while length >= 2:
        low = 0
        while low < 256:
            zeta = uint(table[k])
            scaled = zeta >> 16
            zeta = zeta & 0xFFFF
            k += 1
            high = low + length
            end = high
            while low < end:
                # Below 2 q, because the quotient is at most one too small for a factor below 2^16.
                x = uint(p[high])
                t = int(x * zeta - ((x * scaled) >> 16) * 3329)
                y = p[low]
                p[low] = y + t
                p[high] = y - t + 6658
                low += 1
                high += 1
            low = high
        length = length >> 1


@micropython.viper
def inverse_ntt(low: int, high: int, polynomial, zetas):
    """FIPS 203 algorithm 10. In and out: below q."""
    p = ptr32(polynomial)
    table = ptr32(zetas)
    k = 127
    length = 2
    bound = 3329
    while length <= 128:
        if length == 32:
            # Four layers have doubled q four times, and one more would not fit under 2^16.
            low = 0
            while low < 256:
                y = p[low]
                p[low] = y - ((y * 20158) >> 26) * 3329
                low += 1
            bound = 6658
        low = 0
        while low < 256:
            zeta = uint(table[k])
            scaled = zeta >> 16
            zeta = zeta & 0xFFFF
            k -= 1
            high = low + length
            end = high
            while low < end:
                y = p[low]
                t = p[high]
                p[low] = y + t
                t = t - y + bound
                x = uint(t)
                p[high] = x * zeta - ((x * scaled) >> 16) * 3329
                low += 1
                high += 1
            low = high
        length = length << 1
        bound = bound << 1
    low = 0
    while low < 256:
        # 3303 is 128^-1; 65024 is 3303 * 2^16 / q.
        x = uint(p[low])
        t = int(x * 3303 - ((x * 65024) >> 16) * 3329) - 3329
        p[low] = t + ((t >> 31) & 3329)
        low += 1


@micropython.viper
def twist(index: int, at: int, polynomial, zetas, out):
    """The odd coefficients times gamma (FIPS 203 algorithm 11 line 3): 128 words for `multiply_add`.

    In: below q; out: at most q.
    """
    p = ptr32(polynomial)
    table = ptr32(zetas)
    o = ptr32(out)
    index = 0
    at = 1
    while index < 128:
        zeta = uint(table[64 + (index >> 1)])
        scaled = zeta >> 16
        zeta = zeta & 0xFFFF
        x = uint(p[at])
        # gamma is zeta and -zeta in turn.
        t = int(x * zeta - ((x * scaled) >> 16) * 3329) - 3329
        o[index] = t + ((t >> 31) & 3329)
        x = uint(p[at + 2])
        t = 3329 - int(x * zeta - ((x * scaled) >> 16) * 3329)
        o[index + 1] = t + ((t >> 31) & 3329)
        index += 2
        at += 4


@micropython.viper
def multiply_add(index: int, at: int, total, left, right, twisted):
    """Add left * right in the NTT domain to `total` (FIPS 203 algorithms 11 and 12).

    In: `left` and `right` below q; out: 2 q^2 more at most. `twisted` is the `twist` of `right`.
    """
    s = ptr32(total)
    a = ptr32(left)
    b = ptr32(right)
    turned = ptr32(twisted)
    index = 0
    at = 0
    while index < 128:
        x = a[at]
        y = a[at + 1]
        z = b[at]
        s[at] = s[at] + x * z + y * turned[index]
        at += 1
        s[at] = s[at] + x * b[at] + y * z
        at += 1
        index += 1


@micropython.viper
def reduce(index: int, polynomial):
    """In: below 100,000,000, which is 8 q^2 and more; out: below q."""
    p = ptr32(polynomial)
    index = 0
    while index < 256:
        x = p[index]
        # 20159 is 2^26 / q rounded up, so the quotient may be one too large or one too small.
        x = x - (((x >> 10) * 20159) >> 16) * 3329
        x = x + ((x >> 31) & 3329) - 3329
        p[index] = x + ((x >> 31) & 3329)
        index += 1


@micropython.viper
def subtract(index: int, polynomial, other):
    """polynomial -= other. In: below q; out: below 2 q."""
    p = ptr32(polynomial)
    o = ptr32(other)
    index = 0
    while index < 256:
        p[index] = p[index] - o[index] + 3329
        index += 1


@micropython.viper
def add_message(index: int, polynomial, message):
    """Add Decompress_1 of the 32 bytes of `message`: (q + 1) / 2 for each bit that is set."""
    p = ptr32(polynomial)
    m = ptr8(message)
    index = 0
    while index < 256:
        p[index] = p[index] + ((0 - ((m[index >> 3] >> (index & 7)) & 1)) & 1665)
        index += 1


@micropython.viper
def compress(index: int, polynomial, bits: int):
    """FIPS 203 section 4.2.1 (4.7). In: below 2 q; out: below 2^bits."""
    p = ptr32(polynomial)
    mask = (1 << bits) - 1
    index = 0
    while index < 256:
        x = p[index] - 3329
        x = x + ((x >> 31) & 3329)
        # Division by q: the estimate is at most one too small.
        x = (x << bits) + 1664
        t = ((x >> 8) * 20158) >> 18
        x = x - t * 3329
        p[index] = (t + 1 + ((x - 3329) >> 31)) & mask
        index += 1


@micropython.viper
def decompress(index: int, polynomial, bits: int):
    """FIPS 203 section 4.2.1 (4.8). In: below 2^bits; out: below q."""
    p = ptr32(polynomial)
    half = 1 << (bits - 1)
    index = 0
    while index < 256:
        p[index] = (p[index] * 3329 + half) >> bits
        index += 1


@micropython.viper
def not_below_q(index: int, polynomial) -> int:
    """1 when a coefficient of 12 bits is q or more, else 0 (the modulus check of FIPS 203 section 7.2)."""
    p = ptr32(polynomial)
    found = 0
    index = 0
    while index < 256:
        found = found | (3328 - p[index])
        index += 1
    return (found >> 31) & 1


@micropython.viper
def sample_ntt(done: int, at: int, polynomial, block) -> int:
    """FIPS 203 algorithm 7 over one block of SHAKE128, after `done` coefficients; how many there are now.

    Takes only what is below q: `block` is public, and so may decide.
    """
    p = ptr32(polynomial)
    data = ptr8(block)
    at = 0
    while at < 168:
        middle = data[at + 1]
        x = data[at] | ((middle & 15) << 8)
        if x < 3329 and done < 256:
            p[done] = x
            done += 1
        x = (middle >> 4) | (data[at + 2] << 4)
        if x < 3329 and done < 256:
            p[done] = x
            done += 1
        at += 3
    return done


@micropython.viper
def sample_binomial_2(index: int, at: int, polynomial, data):
    """FIPS 203 algorithm 8 with eta = 2 over 128 bytes; out: below q."""
    p = ptr32(polynomial)
    bits = ptr8(data)
    index = 0
    at = 0
    while at < 128:
        x = bits[at]
        x = (x & 0x55) + ((x >> 1) & 0x55)
        y = (x & 3) - ((x >> 2) & 3)
        p[index] = y + ((y >> 31) & 3329)
        y = ((x >> 4) & 3) - (x >> 6)
        p[index + 1] = y + ((y >> 31) & 3329)
        index += 2
        at += 1


@micropython.viper
def sample_binomial_3(index: int, at: int, polynomial, data):
    """FIPS 203 algorithm 8 with eta = 3 over 192 bytes; out: below q."""
    p = ptr32(polynomial)
    bits = ptr8(data)
    index = 0
    at = 0
    while at < 192:
        x = bits[at] | (bits[at + 1] << 8) | (bits[at + 2] << 16)
        x = (x & 0x249249) + ((x >> 1) & 0x249249) + ((x >> 2) & 0x249249)
        end = index + 4
        while index < end:
            y = (x & 7) - ((x >> 3) & 7)
            p[index] = y + ((y >> 31) & 3329)
            x = x >> 6
            index += 1
        at += 3


@micropython.viper
def replace_unless_equal(index: int, secret, other, one, two, length: int):
    """Put the 32 bytes of `other` into `secret` when `one` and `two` differ, with masks alone."""
    s = ptr8(secret)
    o = ptr8(other)
    a = ptr8(one)
    b = ptr8(two)
    found = 0
    index = 0
    while index < length:
        found = found | (a[index] ^ b[index])
        index += 1
    mask = ((found + 255) >> 8) * 255
    index = 0
    while index < 32:
        s[index] = s[index] ^ ((s[index] ^ o[index]) & mask)
        index += 1
