"""Arithmetic and sampling of ML-DSA modulo q = 8380417 (FIPS 204), for chips with viper.

A polynomial is 256 words that are never negative: a load of 32 bits keeps the sign on a chip and
loses it on a 64-bit machine. A product of two numbers modulo q has 46 bits and a word has 32, but
x * y - n * q is right modulo 2^32, and n, the quotient, needs only the high halves of x and y: it is
at most 400 too small, so that what is left is below 2^32. Taking q away once for each 2^23 then
leaves less than 1.4 q. Each function says how much it takes and gives. No branch and no index
depends on a secret. The first two arguments of a viper function live in registers; where they are
loop variables, their values at the call do not matter.
mldsa_bytecode is this file without types.
"""

import micropython


@micropython.viper
def ntt(low: int, high: int, polynomial, zetas):
    """FIPS 204 algorithm 41. In and out: below q."""
    p = ptr32(polynomial)
    table = ptr32(zetas)
    k = 1
    length = 128
    while length >= 1:
        low = 0
        while low < 256:
            zeta = uint(table[k])
            scaled = (zeta + (zeta >> 10)) >> 7
            k += 1
            high = low + length
            end = high
            while low < end:
                # Eight layers make a coefficient less than 17 q.
                x = uint(p[high])
                x = x - (x >> 23) * 8380417
                x = x * zeta - (((x >> 8) * scaled) >> 8) * 8380417
                t = int(x - (x >> 23) * 8380417)
                y = p[low]
                p[low] = y + t
                p[high] = y - t + 16760834
                low += 1
                high += 1
            low = high
        length = length >> 1
    reduce(0, polynomial)


@micropython.viper
def inverse_ntt(low: int, high: int, polynomial, zetas):
    """FIPS 204 algorithm 42. In and out: below q."""
    p = ptr32(polynomial)
    table = ptr32(zetas)
    k = 255
    length = 1
    bound = 16760834
    while length < 256:
        if length == 16:
            # Four layers have doubled the bound four times.
            low = 0
            while low < 256:
                y = p[low]
                p[low] = y - (y >> 23) * 8380417
                low += 1
            bound = 16760834
        low = 0
        while low < 256:
            zeta = uint(table[k])
            scaled = (zeta + (zeta >> 10)) >> 7
            k -= 1
            high = low + length
            end = high
            while low < end:
                y = p[low]
                t = p[high]
                p[low] = y + t
                t = t - y + bound
                x = uint(t)
                x = x - (x >> 23) * 8380417
                x = x * zeta - (((x >> 8) * scaled) >> 8) * 8380417
                p[high] = x - (x >> 23) * 8380417
                low += 1
                high += 1
            low = high
        length = length << 1
        bound = bound << 1
    low = 0
    while low < 256:
        # 8347681 is 256^-1.
        x = uint(p[low])
        x = x - (x >> 23) * 8380417
        x = x * 8347681 - (((x >> 8) * 65279) >> 8) * 8380417
        t = int(x - (x >> 23) * 8380417) - 8380417
        p[low] = t + ((t >> 31) & 8380417)
        low += 1


@micropython.viper
def multiply_add(index: int, y: uint, total, left, right):
    """Add left * right in the NTT domain to `total` (FIPS 204 algorithms 45 and 44).

    In: `left` and `right` below q; out: 1.4 q more at most.
    """
    s = ptr32(total)
    a = ptr32(left)
    b = ptr32(right)
    index = 0
    while index < 256:
        y = uint(b[index])
        x = uint(a[index])
        x = x * y - (((x >> 8) * ((y + (y >> 10)) >> 7)) >> 8) * 8380417
        s[index] = s[index] + int(x - (x >> 23) * 8380417)
        index += 1


@micropython.viper
def reduce(index: int, polynomial):
    """In: below 2^31; out: below q."""
    p = ptr32(polynomial)
    index = 0
    while index < 256:
        x = p[index]
        x = x - (x >> 23) * 8380417 - 8380417
        p[index] = x + ((x >> 31) & 8380417)
        index += 1


@micropython.viper
def subtract_from(index: int, x: int, polynomial, constant: int):
    """constant - polynomial. In and out: below q.

    With gamma_1, eta or 2^12 it is what packing needs and unpacking undoes (FIPS 204 algorithms 17, 19).
    """
    p = ptr32(polynomial)
    index = 0
    while index < 256:
        x = constant - p[index]
        p[index] = x + ((x >> 31) & 8380417)
        index += 1


@micropython.viper
def sample_ntt(done: int, at: int, polynomial, block) -> int:
    """FIPS 204 algorithm 30 over one block of SHAKE128, after `done` coefficients; how many there are now.

    Takes only what is below q: `block` is public, and so may decide.
    """
    p = ptr32(polynomial)
    data = ptr8(block)
    at = 0
    while at < 168 and done < 256:
        x = data[at] | (data[at + 1] << 8) | ((data[at + 2] & 127) << 16)
        if x < 8380417:
            p[done] = x
            done += 1
        at += 3
    return done


@micropython.viper
def sample_bounded(done: int, at: int, polynomial, block, eta: int) -> int:
    """FIPS 204 algorithm 31 over one block of SHAKE256, after `done` coefficients; how many there are now.

    In: `eta` 2 or 4; out: below q. Every half byte is written, and counts only when it is accepted: that
    some are refused, and so how many blocks it takes, tells nothing about the others.
    """
    p = ptr32(polynomial)
    data = ptr8(block)
    limit = 9
    fifth = 0
    if eta == 2:
        limit = 15
        fifth = 205
    at = 0
    while at < 272 and done < 256:
        x = (data[at >> 1] >> ((at & 1) << 2)) & 15
        # CoeffFromHalfByte, algorithm 14: x modulo 5 for eta = 2.
        y = eta - x + ((x * fifth) >> 10) * 5
        p[done] = y + ((y >> 31) & 8380417)
        done += ((x - limit) >> 31) & 1
        at += 1
    return done
