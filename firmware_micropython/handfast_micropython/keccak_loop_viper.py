"""Keccak-f[1600] in viper, all rounds in one call (FIPS 202 section 3.2).

Written by firmware_micropython/generate_keccak.py: the lanes stay in locals from round to round, which
saves a fifth. Only for words of 32 bits, and too large for armv6m and xtensawin: see tier.py. The state
is 200 bytes, little endian, as are the chips.
"""

from array import array

import micropython

# FIPS 202 section 3.2.5: the round constants, low word first.
# fmt: off
_CONSTANTS = array("I", (
    0x00000001, 0x00000000, 0x00008082, 0x00000000, 0x0000808A, 0x80000000, 0x80008000, 0x80000000,
    0x0000808B, 0x00000000, 0x80000001, 0x00000000, 0x80008081, 0x80000000, 0x00008009, 0x80000000,
    0x0000008A, 0x00000000, 0x00000088, 0x00000000, 0x80008009, 0x00000000, 0x8000000A, 0x00000000,
    0x8000808B, 0x00000000, 0x0000008B, 0x80000000, 0x00008089, 0x80000000, 0x00008003, 0x80000000,
    0x00008002, 0x80000000, 0x00000080, 0x80000000, 0x0000800A, 0x00000000, 0x8000000A, 0x80000000,
    0x80008081, 0x80000000, 0x00008080, 0x80000000, 0x80000001, 0x00000000, 0x80008008, 0x80000000,
))
# fmt: on


def permute(state: "bytearray") -> None:
    """Apply Keccak-f[1600] to the 200 bytes of `state` in place."""
    _permute(0, 0, state, _CONSTANTS)


@micropython.viper
def _permute(t: uint, u: uint, state: ptr32, constants: ptr32):
    # The first two locals live in registers, so t and u carry what turns.
    l0 = uint(state[0])
    h0 = uint(state[1])
    l1 = uint(state[2])
    h1 = uint(state[3])
    l2 = uint(state[4])
    h2 = uint(state[5])
    l3 = uint(state[6])
    h3 = uint(state[7])
    l4 = uint(state[8])
    h4 = uint(state[9])
    l5 = uint(state[10])
    h5 = uint(state[11])
    l6 = uint(state[12])
    h6 = uint(state[13])
    l7 = uint(state[14])
    h7 = uint(state[15])
    l8 = uint(state[16])
    h8 = uint(state[17])
    l9 = uint(state[18])
    h9 = uint(state[19])
    l10 = uint(state[20])
    h10 = uint(state[21])
    l11 = uint(state[22])
    h11 = uint(state[23])
    l12 = uint(state[24])
    h12 = uint(state[25])
    l13 = uint(state[26])
    h13 = uint(state[27])
    l14 = uint(state[28])
    h14 = uint(state[29])
    l15 = uint(state[30])
    h15 = uint(state[31])
    l16 = uint(state[32])
    h16 = uint(state[33])
    l17 = uint(state[34])
    h17 = uint(state[35])
    l18 = uint(state[36])
    h18 = uint(state[37])
    l19 = uint(state[38])
    h19 = uint(state[39])
    l20 = uint(state[40])
    h20 = uint(state[41])
    l21 = uint(state[42])
    h21 = uint(state[43])
    l22 = uint(state[44])
    h22 = uint(state[45])
    l23 = uint(state[46])
    h23 = uint(state[47])
    l24 = uint(state[48])
    h24 = uint(state[49])
    turn = 0
    while turn < 48:
        c0 = l0 ^ l5 ^ l10 ^ l15 ^ l20
        d0 = h0 ^ h5 ^ h10 ^ h15 ^ h20
        c1 = l1 ^ l6 ^ l11 ^ l16 ^ l21
        d1 = h1 ^ h6 ^ h11 ^ h16 ^ h21
        c2 = l2 ^ l7 ^ l12 ^ l17 ^ l22
        d2 = h2 ^ h7 ^ h12 ^ h17 ^ h22
        c3 = l3 ^ l8 ^ l13 ^ l18 ^ l23
        d3 = h3 ^ h8 ^ h13 ^ h18 ^ h23
        c4 = l4 ^ l9 ^ l14 ^ l19 ^ l24
        d4 = h4 ^ h9 ^ h14 ^ h19 ^ h24
        t = c1
        u = d1
        e0 = ((t << 1) | (u >> 31)) ^ c4
        f0 = ((u << 1) | (t >> 31)) ^ d4
        t = c2
        u = d2
        e1 = ((t << 1) | (u >> 31)) ^ c0
        f1 = ((u << 1) | (t >> 31)) ^ d0
        t = c3
        u = d3
        e2 = ((t << 1) | (u >> 31)) ^ c1
        f2 = ((u << 1) | (t >> 31)) ^ d1
        t = c4
        u = d4
        e3 = ((t << 1) | (u >> 31)) ^ c2
        f3 = ((u << 1) | (t >> 31)) ^ d2
        t = c0
        u = d0
        e4 = ((t << 1) | (u >> 31)) ^ c3
        f4 = ((u << 1) | (t >> 31)) ^ d3
        p0 = l0 ^ e0
        q0 = h0 ^ f0
        t = l1 ^ e1
        u = h1 ^ f1
        p10 = (t << 1) | (u >> 31)
        q10 = (u << 1) | (t >> 31)
        t = l2 ^ e2
        u = h2 ^ f2
        p20 = (u << 30) | (t >> 2)
        q20 = (t << 30) | (u >> 2)
        t = l3 ^ e3
        u = h3 ^ f3
        p5 = (t << 28) | (u >> 4)
        q5 = (u << 28) | (t >> 4)
        t = l4 ^ e4
        u = h4 ^ f4
        p15 = (t << 27) | (u >> 5)
        q15 = (u << 27) | (t >> 5)
        t = l5 ^ e0
        u = h5 ^ f0
        p16 = (u << 4) | (t >> 28)
        q16 = (t << 4) | (u >> 28)
        t = l6 ^ e1
        u = h6 ^ f1
        p1 = (u << 12) | (t >> 20)
        q1 = (t << 12) | (u >> 20)
        t = l7 ^ e2
        u = h7 ^ f2
        p11 = (t << 6) | (u >> 26)
        q11 = (u << 6) | (t >> 26)
        t = l8 ^ e3
        u = h8 ^ f3
        p21 = (u << 23) | (t >> 9)
        q21 = (t << 23) | (u >> 9)
        t = l9 ^ e4
        u = h9 ^ f4
        p6 = (t << 20) | (u >> 12)
        q6 = (u << 20) | (t >> 12)
        t = l10 ^ e0
        u = h10 ^ f0
        p7 = (t << 3) | (u >> 29)
        q7 = (u << 3) | (t >> 29)
        t = l11 ^ e1
        u = h11 ^ f1
        p17 = (t << 10) | (u >> 22)
        q17 = (u << 10) | (t >> 22)
        t = l12 ^ e2
        u = h12 ^ f2
        p2 = (u << 11) | (t >> 21)
        q2 = (t << 11) | (u >> 21)
        t = l13 ^ e3
        u = h13 ^ f3
        p12 = (t << 25) | (u >> 7)
        q12 = (u << 25) | (t >> 7)
        t = l14 ^ e4
        u = h14 ^ f4
        p22 = (u << 7) | (t >> 25)
        q22 = (t << 7) | (u >> 25)
        t = l15 ^ e0
        u = h15 ^ f0
        p23 = (u << 9) | (t >> 23)
        q23 = (t << 9) | (u >> 23)
        t = l16 ^ e1
        u = h16 ^ f1
        p8 = (u << 13) | (t >> 19)
        q8 = (t << 13) | (u >> 19)
        t = l17 ^ e2
        u = h17 ^ f2
        p18 = (t << 15) | (u >> 17)
        q18 = (u << 15) | (t >> 17)
        t = l18 ^ e3
        u = h18 ^ f3
        p3 = (t << 21) | (u >> 11)
        q3 = (u << 21) | (t >> 11)
        t = l19 ^ e4
        u = h19 ^ f4
        p13 = (t << 8) | (u >> 24)
        q13 = (u << 8) | (t >> 24)
        t = l20 ^ e0
        u = h20 ^ f0
        p14 = (t << 18) | (u >> 14)
        q14 = (u << 18) | (t >> 14)
        t = l21 ^ e1
        u = h21 ^ f1
        p24 = (t << 2) | (u >> 30)
        q24 = (u << 2) | (t >> 30)
        t = l22 ^ e2
        u = h22 ^ f2
        p9 = (u << 29) | (t >> 3)
        q9 = (t << 29) | (u >> 3)
        t = l23 ^ e3
        u = h23 ^ f3
        p19 = (u << 24) | (t >> 8)
        q19 = (t << 24) | (u >> 8)
        t = l24 ^ e4
        u = h24 ^ f4
        p4 = (t << 14) | (u >> 18)
        q4 = (u << 14) | (t >> 18)
        l0 = (~p1 & p2) ^ p0
        h0 = (~q1 & q2) ^ q0
        l1 = (~p2 & p3) ^ p1
        h1 = (~q2 & q3) ^ q1
        l2 = (~p3 & p4) ^ p2
        h2 = (~q3 & q4) ^ q2
        l3 = (~p4 & p0) ^ p3
        h3 = (~q4 & q0) ^ q3
        l4 = (~p0 & p1) ^ p4
        h4 = (~q0 & q1) ^ q4
        l5 = (~p6 & p7) ^ p5
        h5 = (~q6 & q7) ^ q5
        l6 = (~p7 & p8) ^ p6
        h6 = (~q7 & q8) ^ q6
        l7 = (~p8 & p9) ^ p7
        h7 = (~q8 & q9) ^ q7
        l8 = (~p9 & p5) ^ p8
        h8 = (~q9 & q5) ^ q8
        l9 = (~p5 & p6) ^ p9
        h9 = (~q5 & q6) ^ q9
        l10 = (~p11 & p12) ^ p10
        h10 = (~q11 & q12) ^ q10
        l11 = (~p12 & p13) ^ p11
        h11 = (~q12 & q13) ^ q11
        l12 = (~p13 & p14) ^ p12
        h12 = (~q13 & q14) ^ q12
        l13 = (~p14 & p10) ^ p13
        h13 = (~q14 & q10) ^ q13
        l14 = (~p10 & p11) ^ p14
        h14 = (~q10 & q11) ^ q14
        l15 = (~p16 & p17) ^ p15
        h15 = (~q16 & q17) ^ q15
        l16 = (~p17 & p18) ^ p16
        h16 = (~q17 & q18) ^ q16
        l17 = (~p18 & p19) ^ p17
        h17 = (~q18 & q19) ^ q17
        l18 = (~p19 & p15) ^ p18
        h18 = (~q19 & q15) ^ q18
        l19 = (~p15 & p16) ^ p19
        h19 = (~q15 & q16) ^ q19
        l20 = (~p21 & p22) ^ p20
        h20 = (~q21 & q22) ^ q20
        l21 = (~p22 & p23) ^ p21
        h21 = (~q22 & q23) ^ q21
        l22 = (~p23 & p24) ^ p22
        h22 = (~q23 & q24) ^ q22
        l23 = (~p24 & p20) ^ p23
        h23 = (~q24 & q20) ^ q23
        l24 = (~p20 & p21) ^ p24
        h24 = (~q20 & q21) ^ q24
        l0 = l0 ^ uint(constants[turn])
        h0 = h0 ^ uint(constants[turn + 1])
        turn += 2
    state[0] = l0
    state[1] = h0
    state[2] = l1
    state[3] = h1
    state[4] = l2
    state[5] = h2
    state[6] = l3
    state[7] = h3
    state[8] = l4
    state[9] = h4
    state[10] = l5
    state[11] = h5
    state[12] = l6
    state[13] = h6
    state[14] = l7
    state[15] = h7
    state[16] = l8
    state[17] = h8
    state[18] = l9
    state[19] = h9
    state[20] = l10
    state[21] = h10
    state[22] = l11
    state[23] = h11
    state[24] = l12
    state[25] = h12
    state[26] = l13
    state[27] = h13
    state[28] = l14
    state[29] = h14
    state[30] = l15
    state[31] = h15
    state[32] = l16
    state[33] = h16
    state[34] = l17
    state[35] = h17
    state[36] = l18
    state[37] = h18
    state[38] = l19
    state[39] = h19
    state[40] = l20
    state[41] = h20
    state[42] = l21
    state[43] = h21
    state[44] = l22
    state[45] = h22
    state[46] = l23
    state[47] = h23
    state[48] = l24
    state[49] = h24
