// Keccak-f[1600] and the beginning of SHAKE (FIPS 202 sections 3.2 and 6.2), lanes as two words of 32 bits.

#include "kernels.h"

// FIPS 202 section 3.2.5, low word first.
static const uint32_t CONSTANTS[48] = {
    0x00000001, 0x00000000, 0x00008082, 0x00000000, 0x0000808A, 0x80000000, 0x80008000, 0x80000000,
    0x0000808B, 0x00000000, 0x80000001, 0x00000000, 0x80008081, 0x80000000, 0x00008009, 0x80000000,
    0x0000008A, 0x00000000, 0x00000088, 0x00000000, 0x80008009, 0x00000000, 0x8000000A, 0x00000000,
    0x8000808B, 0x00000000, 0x0000008B, 0x80000000, 0x00008089, 0x80000000, 0x00008003, 0x80000000,
    0x00008002, 0x80000000, 0x00000080, 0x80000000, 0x0000800A, 0x00000000, 0x8000000A, 0x80000000,
    0x80008081, 0x80000000, 0x00008080, 0x80000000, 0x80000001, 0x00000000, 0x80008008, 0x80000000,
};

// One word of a lane that turns left by `turn` below 32: `here` is this word before, `other` its neighbour.
#define TURNED(here, other, turn) ((here) << (turn) | (other) >> ((32 - (turn)) & 31))

// Theta's change, rho and pi for one lane (sections 3.2.1 to 3.2.3): lane x, y of `from`, turned left.
#define LANE(number, x, y, turn)                                                      \
    {                                                                                 \
        uint32_t low = from[2 * ((x) + 5 * (y))] ^ change[2 * (x)];                   \
        uint32_t high = from[2 * ((x) + 5 * (y)) + 1] ^ change[2 * (x) + 1];          \
        if ((turn) == 0) {                                                            \
            p##number = low, q##number = high;                                        \
        } else if ((turn) < 32) {                                                     \
            p##number = TURNED(low, high, (turn) & 31);                               \
            q##number = TURNED(high, low, (turn) & 31);                               \
        } else {                                                                      \
            p##number = TURNED(high, low, (turn) & 31);                               \
            q##number = TURNED(low, high, (turn) & 31);                               \
        }                                                                             \
    }

// Chi for one plane (section 3.2.4).
#define CHI(y)                            \
    to[10 * (y)] = p0 ^ (~p1 & p2);       \
    to[10 * (y) + 1] = q0 ^ (~q1 & q2);   \
    to[10 * (y) + 2] = p1 ^ (~p2 & p3);   \
    to[10 * (y) + 3] = q1 ^ (~q2 & q3);   \
    to[10 * (y) + 4] = p2 ^ (~p3 & p4);   \
    to[10 * (y) + 5] = q2 ^ (~q3 & q4);   \
    to[10 * (y) + 6] = p3 ^ (~p4 & p0);   \
    to[10 * (y) + 7] = q3 ^ (~q4 & q0);   \
    to[10 * (y) + 8] = p4 ^ (~p0 & p1);   \
    to[10 * (y) + 9] = q4 ^ (~q0 & q1);

// The parity of one column, one word of it.
#define COLUMN(at) (from[at] ^ from[(at) + 10] ^ from[(at) + 20] ^ from[(at) + 30] ^ from[(at) + 40])

#define CHANGE(x, left, right)                                                             \
    change[2 * (x)] = parity[2 * (left)] ^ TURNED(parity[2 * (right)], parity[2 * (right) + 1], 1); \
    change[2 * (x) + 1] = parity[2 * (left) + 1] ^ TURNED(parity[2 * (right) + 1], parity[2 * (right)], 1);

static void round_of(uint32_t *to, const uint32_t *from, const uint32_t *constant) {
    uint32_t parity[10], change[10];
    uint32_t p0, p1, p2, p3, p4, q0, q1, q2, q3, q4;
#pragma GCC unroll 10
    for (int word = 0; word < 10; word++) {
        parity[word] = COLUMN(word);
    }
    CHANGE(0, 4, 1)
    CHANGE(1, 0, 2)
    CHANGE(2, 1, 3)
    CHANGE(3, 2, 4)
    CHANGE(4, 3, 0)
    // Lane x of plane y comes from lane x + 3 y of plane x; the turns are those of table 2, modulo 64.
    LANE(0, 0, 0, 0) LANE(1, 1, 1, 44) LANE(2, 2, 2, 43) LANE(3, 3, 3, 21) LANE(4, 4, 4, 14)
    CHI(0)
    to[0] ^= constant[0];
    to[1] ^= constant[1];
    LANE(0, 3, 0, 28) LANE(1, 4, 1, 20) LANE(2, 0, 2, 3) LANE(3, 1, 3, 45) LANE(4, 2, 4, 61)
    CHI(1)
    LANE(0, 1, 0, 1) LANE(1, 2, 1, 6) LANE(2, 3, 2, 25) LANE(3, 4, 3, 8) LANE(4, 0, 4, 18)
    CHI(2)
    LANE(0, 4, 0, 27) LANE(1, 0, 1, 36) LANE(2, 1, 2, 10) LANE(3, 2, 3, 15) LANE(4, 3, 4, 56)
    CHI(3)
    LANE(0, 2, 0, 62) LANE(1, 3, 1, 55) LANE(2, 4, 2, 39) LANE(3, 0, 3, 41) LANE(4, 1, 4, 2)
    CHI(4)
}

void keccak_permute(uint32_t *state) {
    uint32_t other[KECCAK_WORDS];
    for (int turn = 0; turn < 48; turn += 4) {
        round_of(other, state, CONSTANTS + turn);
        round_of(state, other, CONSTANTS + turn + 2);
    }
}

unsigned keccak_absorb(uint32_t *state, unsigned rate, unsigned at, const uint8_t *data, size_t length) {
    while (length) {
        size_t count = rate - at < length ? rate - at : length;
        xor_into((uint8_t *)state + at, data, count);
        at += count;
        data += count;
        length -= count;
        if (at == rate) {
            keccak_permute(state);
            at = 0;
        }
    }
    return at;
}

void keccak_start_shake(uint32_t *state, unsigned rate, const uint8_t *seed, size_t length) {
    uint8_t *bytes = (uint8_t *)state;
    zero_words(state, KECCAK_WORDS);
    xor_into(bytes, seed, length);
    // The suffix of SHAKE and the first bit of the padding, then its last bit (sections 6.2 and 5.1).
    bytes[length] = 0x1F;
    bytes[rate - 1] ^= 0x80;
    keccak_permute(state);
}
