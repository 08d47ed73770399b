// AES encryption of two blocks at once, bitsliced (FIPS 197).
//
// No table and no branch depends on a secret: an S-box in memory would leak through caches. Eight words hold
// the two blocks; word k holds bit k of every byte, and its byte r holds row r of both states as (column 0 of
// the first block, column 0 of the second, column 1 of the first ...).

#include "kernels.h"

// Exchange bit k of word j with bit j of word k within every byte; twice is the identity.
static void transpose(uint32_t *words) {
    uint32_t mask = 0x55555555;
    for (unsigned distance = 1; distance < 8; distance <<= 1) {
        for (unsigned low = 0; low < 8; low++) {
            if ((low & distance) == 0) {
                uint32_t change = ((words[low] >> distance) ^ words[low + distance]) & mask;
                words[low] ^= change << distance;
                words[low + distance] ^= change;
            }
        }
        mask = distance == 1 ? 0x33333333 : 0x0F0F0F0F;
    }
}

// Word by word little endian, whatever the alignment: column c of block b is word 2 c + b.
static void load(uint32_t *words, const uint8_t *blocks) {
    for (unsigned index = 0; index < 8; index++) {
        const uint8_t *data = blocks + 16 * (index & 1) + 4 * (index >> 1);
        words[index] = data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
    }
    transpose(words);
}

// `words` is spent afterwards.
static void store(uint32_t *words, uint8_t *blocks) {
    transpose(words);
    for (unsigned index = 0; index < 8; index++) {
        uint8_t *data = blocks + 16 * (index & 1) + 4 * (index >> 1);
        for (unsigned byte = 0; byte < 4; byte++) {
            data[byte] = (uint8_t)(words[index] >> 8 * byte);
        }
    }
}

// Section 5.1.4.
static void add_round_key(uint32_t *words, const uint32_t *key) {
    for (unsigned index = 0; index < 8; index++) {
        words[index] ^= key[index];
    }
}

// Section 5.1.2: row r turns by r columns, which are two bits wide here.
static void shift_rows(uint32_t *words) {
    for (unsigned index = 0; index < 8; index++) {
        uint32_t x = words[index];
        words[index] = (x & 0x000000FF) | (x >> 2 & 0x00003F00) | (x & 0x00000300) << 6 |
            (x >> 4 & 0x000F0000) | (x & 0x000F0000) << 4 | (x >> 6 & 0x03000000) | (x & 0x3F000000) << 2;
    }
}

// Section 5.1.3: 2 a0 + 3 a1 + a2 + a3 with a turned word for each next row.
static void mix_columns(uint32_t *words) {
    // What doubling carries out of bit 7 comes back as 0x1B: into bits 0, 1, 3 and 4.
    uint32_t carry = words[7] ^ (words[7] >> 8 | words[7] << 24), last = 0;
    for (unsigned index = 0; index < 8; index++) {
        uint32_t next_row = words[index] >> 8 | words[index] << 24, pair = words[index] ^ next_row;
        words[index] = last ^ next_row ^ (pair >> 16 | pair << 16) ^ (carry & (0u - (0x1Bu >> index & 1)));
        last = pair;
    }
}

// Section 5.1.1 as the circuit of Boyar and Peralta (IACR ePrint 2011/332).
static void sub_bytes(uint32_t *words) {
    uint32_t x0 = words[7], x1 = words[6], x2 = words[5], x3 = words[4];
    uint32_t x4 = words[3], x5 = words[2], x6 = words[1], x7 = words[0];
    // The linear layer above the inversion.
    uint32_t y14 = x3 ^ x5;
    uint32_t y13 = x0 ^ x6;
    uint32_t y9 = x0 ^ x3;
    uint32_t y8 = x0 ^ x5;
    uint32_t t0 = x1 ^ x2;
    uint32_t y1 = t0 ^ x7;
    uint32_t y4 = y1 ^ x3;
    uint32_t y12 = y13 ^ y14;
    uint32_t y2 = y1 ^ x0;
    uint32_t y5 = y1 ^ x6;
    uint32_t y3 = y5 ^ y8;
    uint32_t t1 = x4 ^ y12;
    uint32_t y15 = t1 ^ x5;
    uint32_t y20 = t1 ^ x1;
    uint32_t y6 = y15 ^ x7;
    uint32_t y10 = y15 ^ t0;
    uint32_t y11 = y20 ^ y9;
    uint32_t y7 = x7 ^ y11;
    uint32_t y17 = y10 ^ y11;
    uint32_t y19 = y10 ^ y8;
    uint32_t y16 = t0 ^ y11;
    uint32_t y21 = y13 ^ y16;
    uint32_t y18 = x0 ^ y16;
    // The inversion in GF(2^8).
    uint32_t t2 = y12 & y15;
    uint32_t t4 = (y3 & y6) ^ t2;
    uint32_t t6 = (y4 & x7) ^ t2;
    uint32_t t7 = y13 & y16;
    uint32_t t9 = (y5 & y1) ^ t7;
    uint32_t t11 = (y2 & y7) ^ t7;
    uint32_t t12 = y9 & y11;
    uint32_t t14 = (y14 & y17) ^ t12;
    uint32_t t16 = (y8 & y10) ^ t12;
    uint32_t t21 = t4 ^ t14 ^ y20;
    uint32_t t22 = t6 ^ t16 ^ y19;
    uint32_t t23 = t9 ^ t14 ^ y21;
    uint32_t t24 = t11 ^ t16 ^ y18;
    uint32_t t25 = t21 ^ t22;
    uint32_t t26 = t21 & t23;
    uint32_t t27 = t24 ^ t26;
    uint32_t t29 = (t25 & t27) ^ t22;
    uint32_t t30 = t23 ^ t24;
    uint32_t t33 = ((t22 ^ t26) & t30) ^ t24;
    uint32_t t36 = t24 & (t27 ^ t33);
    uint32_t t37 = t36 ^ t23 ^ t33;
    uint32_t t40 = t25 ^ (t29 & (t27 ^ t36));
    uint32_t t41 = t40 ^ t37;
    uint32_t t42 = t29 ^ t33;
    uint32_t t43 = t29 ^ t40;
    uint32_t t44 = t33 ^ t37;
    uint32_t t45 = t42 ^ t41;
    uint32_t z0 = t44 & y15;
    uint32_t z1 = t37 & y6;
    uint32_t z2 = t33 & x7;
    uint32_t z3 = t43 & y16;
    uint32_t z4 = t40 & y1;
    uint32_t z5 = t29 & y7;
    uint32_t z6 = t42 & y11;
    uint32_t z7 = t45 & y17;
    uint32_t z8 = t41 & y10;
    uint32_t z9 = t44 & y12;
    uint32_t z10 = t37 & y3;
    uint32_t z11 = t33 & y4;
    uint32_t z12 = t43 & y13;
    uint32_t z13 = t40 & y5;
    uint32_t z14 = t29 & y2;
    uint32_t z15 = t42 & y9;
    uint32_t z16 = t45 & y14;
    uint32_t z17 = t41 & y8;
    // The linear layer below it, with the affine constant 0x63 as the NOTs.
    uint32_t t46 = z15 ^ z16;
    uint32_t t48 = z5 ^ z13;
    uint32_t t57 = z2 ^ z12 ^ z0 ^ z3;
    uint32_t t58 = z4 ^ t46;
    uint32_t t59 = z3 ^ z6 ^ z7;
    uint32_t t60 = t46 ^ t57;
    uint32_t t62 = z7 ^ z8 ^ t58;
    uint32_t t63 = z9 ^ z10 ^ t58;
    uint32_t t64 = z4 ^ t59;
    uint32_t t65 = z14 ^ t57 ^ t62;
    uint32_t t66 = z1 ^ t63;
    uint32_t t67 = t64 ^ t65;
    uint32_t s3 = z0 ^ z3 ^ t66;
    words[7] = t59 ^ t63;
    words[6] = ~(t64 ^ s3);
    words[5] = ~(z16 ^ z17 ^ t67);
    words[4] = s3;
    words[3] = z2 ^ z5 ^ t66;
    words[2] = z10 ^ z11 ^ t65;
    words[1] = ~(z12 ^ t48 ^ t62);
    words[0] = ~(t48 ^ t60);
}

// The two blocks of `blocks` under `keys`: 8 words for each of `rounds` + 1 (section 5.1).
void aes_encrypt_pair(uint8_t *blocks, const uint32_t *keys, unsigned rounds) {
    uint32_t words[8];
    load(words, blocks);
    add_round_key(words, keys);
    for (unsigned turn = 1; turn < rounds; turn++) {
        sub_bytes(words);
        shift_rows(words);
        mix_columns(words);
        add_round_key(words, keys + 8 * turn);
    }
    sub_bytes(words);
    shift_rows(words);
    add_round_key(words, keys + 8 * rounds);
    store(words, blocks);
}

// What CCM does with all of `out` in place (RFC 3610 sections 2.2 and 2.3), a pair a step: the first block is the
// key stream of `counter`, counted up before each; the second the CBC-MAC over the plaintext, which is `out`
// before, or, when `opening` is 1, after.
void aes_count_and_mac(
    uint8_t *blocks, const uint32_t *keys, unsigned rounds, uint8_t *counter, uint8_t *out, size_t length,
    unsigned opening) {
    uint8_t mask = (uint8_t)(0u - opening);
    while (length) {
        for (unsigned at = 16; at-- > 0 && ++counter[at] == 0;) {
        }
        for (unsigned at = 0; at < 16; at++) {
            blocks[at] = counter[at];
        }
        aes_encrypt_pair(blocks, keys, rounds);
        size_t count = length < 16 ? length : 16;
        for (unsigned at = 0; at < count; at++) {
            uint8_t x = out[at], y = blocks[at];
            out[at] = x ^ y;
            blocks[at + 16] ^= x ^ (y & mask);
        }
        out += count;
        length -= count;
    }
}

// Section 5.2: the round keys of a key of 16 or 32 bytes, each spread over 8 words as the blocks are; 88 or 120
// words.
void aes_expand(uint32_t *keys, const uint8_t *key, unsigned length) {
    uint8_t bytes[240], blocks[32];
    uint32_t words[8];
    unsigned turn = 0, constant = 1, last = 4 * length + 112;
    wipe(blocks, sizeof blocks);
    for (unsigned at = 0; at < length; at++) {
        bytes[at] = key[at];
    }
    for (unsigned at = length; at < last; at += 4) {
        for (unsigned byte = 0; byte < 4; byte++) {
            blocks[byte] = bytes[at - 4 + (turn == 0 ? (byte + 1) & 3 : byte)];
        }
        if (turn == 0 || (length == 32 && turn == 4)) {
            load(words, blocks);
            sub_bytes(words);
            store(words, blocks);
        }
        if (turn == 0) {
            blocks[0] ^= (uint8_t)constant;
            constant = (constant << 1) ^ ((0u - (constant >> 7)) & 0x11B);
        }
        for (unsigned byte = 0; byte < 4; byte++) {
            bytes[at + byte] = blocks[byte] ^ bytes[at + byte - length];
        }
        turn = 4 * (turn + 1) == length ? 0 : turn + 1;
    }
    for (unsigned at = 0; at < last; at += 16, keys += 8) {
        for (unsigned byte = 0; byte < 32; byte++) {
            blocks[byte] = bytes[at + (byte & 15)];
        }
        load(keys, blocks);
    }
    wipe(bytes, sizeof bytes);
}
