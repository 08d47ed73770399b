"""AES encryption of two blocks at once, bitsliced (FIPS 197), for chips with viper.

No table and no branch depends on a secret: an S-box in memory would leak through caches. Eight 32-bit
words hold the two blocks; word k holds bit k of every byte, and its byte r holds row r of both states
as (column 0 of the first block, column 0 of the second, column 1 of the first ...). CTR and CBC-MAC
need one block each per step, so CCM keeps both halves busy.
aes_bytecode is this file without types.
"""

import micropython


@micropython.viper
def load(slices, blocks):
    """Spread the 32 bytes of `blocks` (two blocks) over the 8 words of `slices`."""
    words = ptr32(slices)
    data = ptr8(blocks)
    column = 0
    while column < 4:
        at = 4 * column
        one = uint(data[at]) | (uint(data[at + 1]) << 8)
        words[2 * column] = one | (uint(data[at + 2]) << 16) | (uint(data[at + 3]) << 24)
        at += 16
        two = uint(data[at]) | (uint(data[at + 1]) << 8)
        words[2 * column + 1] = two | (uint(data[at + 2]) << 16) | (uint(data[at + 3]) << 24)
        column += 1
    transpose(slices)


@micropython.viper
def store(slices, blocks):
    """Gather the two blocks again; `slices` is spent afterwards."""
    transpose(slices)
    words = ptr32(slices)
    data = ptr8(blocks)
    column = 0
    while column < 8:
        word = uint(words[column])
        at = 16 * (column & 1) + 4 * (column >> 1)
        data[at] = word & 255
        data[at + 1] = (word >> 8) & 255
        data[at + 2] = (word >> 16) & 255
        data[at + 3] = (word >> 24) & 255
        column += 1


@micropython.viper
def transpose(slices):
    """Exchange bit k of word j with bit j of word k within every byte; twice is the identity."""
    words = ptr32(slices)
    # 0x55555555 is beyond a small integer of a 32-bit chip.
    mask = uint(0x5555)
    mask = mask | (mask << 16)
    distance = 1
    while distance < 8:
        low = 0
        while low < 8:
            if low & distance == 0:
                one = uint(words[low])
                two = uint(words[low + distance])
                change = ((one >> distance) ^ two) & mask
                words[low] = one ^ (change << distance)
                words[low + distance] = two ^ change
            low += 1
        distance = distance << 1
        mask = uint(0x33333333)
        if distance == 4:
            mask = uint(0x0F0F0F0F)


@micropython.viper
def add_round_key(slices, keys, start: int):
    """XOR the 8 words of `keys` from word `start` into `slices` (FIPS 197 section 5.1.4)."""
    words = ptr32(slices)
    key = ptr32(keys)
    index = 0
    while index < 8:
        words[index] = words[index] ^ key[start + index]
        index += 1


@micropython.viper
def shift_rows(x: uint, change: uint, slices):
    """FIPS 197 section 5.1.2: row r turns by r columns, which are two bits wide here.

    Rows 2 and 3 turn by two columns, then rows 1 and 3 by one. What the first two are given is not read:
    they are where a chip has registers.
    """
    words = ptr32(slices)
    index = 0
    while index < 8:
        x = uint(words[index])
        change = ((x >> 4) ^ x) & 0x0F0F0000
        x = x ^ change ^ (change << 4)
        words[index] = (x & 0x00FF00FF) | ((x >> 2) & 0x3F003F00) | ((x & 0x03000300) << 6)
        index += 1


@micropython.viper
def end_round(x: uint, y: uint, slices, keys, start: int):
    """ShiftRows as above, MixColumns and AddRoundKey (FIPS 197 sections 5.1.2 to 5.1.4), word by word.

    MixColumns is 2a0 + 3a1 + a2 + a3 with a turned word for each next row.
    """
    words = ptr32(slices)
    key = ptr32(keys)
    # Word 7 first: what doubling carries out of bit 7 comes back as 0x1B, into bits 0, 1, 3 and 4.
    x = uint(words[7])
    y = ((x >> 4) ^ x) & 0x0F0F0000
    x = x ^ y ^ (y << 4)
    x = (x & 0x00FF00FF) | ((x >> 2) & 0x3F003F00) | ((x & 0x03000300) << 6)
    carry = x ^ ((x >> 8) | ((x & 0xFF) << 24))
    last = carry
    # Bit k says whether word k takes the carry; that of word 0 is `last` already.
    carries = 0b11010
    index = 0
    while index < 8:
        x = uint(words[index])
        y = ((x >> 4) ^ x) & 0x0F0F0000
        x = x ^ y ^ (y << 4)
        x = (x & 0x00FF00FF) | ((x >> 2) & 0x3F003F00) | ((x & 0x03000300) << 6)
        y = (x >> 8) | ((x & 0xFF) << 24)
        x = x ^ y
        y = y ^ last ^ (x >> 16) ^ ((x & 0xFFFF) << 16) ^ uint(key[start + index])
        last = x
        if (carries >> index) & 1:
            y = y ^ carry
        words[index] = y
        index += 1


@micropython.viper
def sub_bytes(slices):
    """FIPS 197 section 5.1.1 as the circuit of Boyar and Peralta (IACR ePrint 2011/332), 117 gates."""
    words = ptr32(slices)
    ones = (uint(0xFFFF) << 16) | uint(0xFFFF)
    x0 = uint(words[7])
    x1 = uint(words[6])
    x2 = uint(words[5])
    x3 = uint(words[4])
    x4 = uint(words[3])
    x5 = uint(words[2])
    x6 = uint(words[1])
    x7 = uint(words[0])
    # The linear layer above the inversion.
    y14 = x3 ^ x5
    y13 = x0 ^ x6
    y9 = x0 ^ x3
    y8 = x0 ^ x5
    t0 = x1 ^ x2
    y1 = t0 ^ x7
    y4 = y1 ^ x3
    y12 = y13 ^ y14
    y2 = y1 ^ x0
    y5 = y1 ^ x6
    y3 = y5 ^ y8
    t1 = x4 ^ y12
    y15 = t1 ^ x5
    y20 = t1 ^ x1
    y6 = y15 ^ x7
    y10 = y15 ^ t0
    y11 = y20 ^ y9
    y7 = x7 ^ y11
    y17 = y10 ^ y11
    y19 = y10 ^ y8
    y16 = t0 ^ y11
    y21 = y13 ^ y16
    y18 = x0 ^ y16
    # The inversion in GF(2^8).
    t2 = y12 & y15
    t4 = (y3 & y6) ^ t2
    t6 = (y4 & x7) ^ t2
    t7 = y13 & y16
    t9 = (y5 & y1) ^ t7
    t11 = (y2 & y7) ^ t7
    t12 = y9 & y11
    t14 = (y14 & y17) ^ t12
    t16 = (y8 & y10) ^ t12
    t21 = t4 ^ t14 ^ y20
    t22 = t6 ^ t16 ^ y19
    t23 = t9 ^ t14 ^ y21
    t24 = t11 ^ t16 ^ y18
    t25 = t21 ^ t22
    t26 = t21 & t23
    t27 = t24 ^ t26
    t29 = (t25 & t27) ^ t22
    t30 = t23 ^ t24
    t33 = ((t22 ^ t26) & t30) ^ t24
    t36 = t24 & (t27 ^ t33)
    t37 = t36 ^ t23 ^ t33
    t40 = t25 ^ (t29 & (t27 ^ t36))
    t41 = t40 ^ t37
    t42 = t29 ^ t33
    t43 = t29 ^ t40
    t44 = t33 ^ t37
    t45 = t42 ^ t41
    z0 = t44 & y15
    z1 = t37 & y6
    z2 = t33 & x7
    z3 = t43 & y16
    z4 = t40 & y1
    z5 = t29 & y7
    z6 = t42 & y11
    z7 = t45 & y17
    z8 = t41 & y10
    z9 = t44 & y12
    z10 = t37 & y3
    z11 = t33 & y4
    z12 = t43 & y13
    z13 = t40 & y5
    z14 = t29 & y2
    z15 = t42 & y9
    z16 = t45 & y14
    z17 = t41 & y8
    # The linear layer below it, with the affine constant 0x63 as the NOTs.
    t46 = z15 ^ z16
    t48 = z5 ^ z13
    t57 = z2 ^ z12 ^ z0 ^ z3
    t58 = z4 ^ t46
    t59 = z3 ^ z6 ^ z7
    t60 = t46 ^ t57
    t62 = z7 ^ z8 ^ t58
    t63 = z9 ^ z10 ^ t58
    t64 = z4 ^ t59
    t65 = z14 ^ t57 ^ t62
    t66 = z1 ^ t63
    t67 = t64 ^ t65
    s3 = z0 ^ z3 ^ t66
    words[7] = t59 ^ t63
    words[6] = t64 ^ s3 ^ ones
    words[5] = z16 ^ z17 ^ t67 ^ ones
    words[4] = s3
    words[3] = z2 ^ z5 ^ t66
    words[2] = z10 ^ z11 ^ t65
    words[1] = z12 ^ t48 ^ t62 ^ ones
    words[0] = t48 ^ t60 ^ ones


@micropython.viper
def encrypt(slices, keys, rounds: int):
    """Encrypt the two blocks in `slices` under `keys`: 8 words for each of `rounds` + 1 (section 5.1)."""
    add_round_key(slices, keys, 0)
    turn = 1
    while turn < rounds:
        sub_bytes(slices)
        end_round(0, 0, slices, keys, 8 * turn)
        turn += 1
    sub_bytes(slices)
    shift_rows(0, 0, slices)
    add_round_key(slices, keys, 8 * rounds)


@micropython.viper
def encrypt_pair(blocks, keys, rounds: int, slices):
    """Encrypt the two blocks of `blocks` under `keys`, in the 8 words of `slices`."""
    load(slices, blocks)
    encrypt(slices, keys, rounds)
    store(slices, blocks)


@micropython.viper
def count_and_mac(blocks, keys, rounds: int, slices, counter, out, opening: int):
    """What CCM does with all of `out` in place (RFC 3610 sections 2.2 and 2.3), a pair a step.

    The key stream of `counter`, counted up before each block, is the first of `blocks`; the second is the
    state of the CBC-MAC over the plaintext, which is `out` before, or, when `opening` is 1, after.
    """
    b = ptr8(blocks)
    c = ptr8(counter)
    o = ptr8(out)
    mask = 0 - opening
    length = int(len(out))  # noqa: RUF046
    start = 0
    while start < length:
        at = 15
        c[15] = (c[15] + 1) & 255
        while c[at] == 0:
            at -= 1
            c[at] = (c[at] + 1) & 255
        at = 0
        while at < 16:
            b[at] = c[at]
            at += 1
        encrypt_pair(blocks, keys, rounds, slices)
        end = length - start
        if end > 16:
            end = 16
        at = 0
        while at < end:
            x = o[start + at]
            y = b[at]
            o[start + at] = x ^ y
            b[at + 16] = b[at + 16] ^ x ^ (y & mask)
            at += 1
        start += 16


@micropython.viper
def expand(keys, key, length: int, slices):
    """The round keys of a key of 16 or 32 bytes, each spread over 8 words as the blocks are (section 5.2).

    First they are all written into the lower half of `keys`, and then spread from the last one on.
    """
    k = ptr32(keys)
    words = ptr32(slices)
    data = ptr8(key)
    size = length >> 2
    index = 0
    while index < size:
        at = 4 * index
        word = uint(data[at]) | (uint(data[at + 1]) << 8)
        k[index] = word | (uint(data[at + 2]) << 16) | (uint(data[at + 3]) << 24)
        index += 1
    constant = 1
    turn = 0
    count = 4 * size + 28
    while index < count:
        word = uint(k[index - 1])
        if turn == 0 or turn + size == 12:
            if turn == 0:
                word = (word >> 8) | ((word & 0xFF) << 24)
            at = 1
            while at < 8:
                words[at] = 0
                at += 1
            words[0] = word
            transpose(slices)
            sub_bytes(slices)
            transpose(slices)
            word = uint(words[0])
            if turn == 0:
                word = word ^ uint(constant)
                constant = (constant << 1) ^ ((constant >> 7) * 0x11B)
        k[index] = word ^ uint(k[index - size])
        turn += 1
        if turn == size:
            turn = 0
        index += 1
    while count > 0:
        count -= 4
        at = 0
        while at < 8:
            words[at] = k[count + (at >> 1)]
            at += 1
        transpose(slices)
        at = 0
        while at < 8:
            k[2 * count + at] = words[at]
            at += 1
