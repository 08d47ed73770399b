// X25519 (RFC 7748 section 5).
//
// A number modulo p = 2^255 - 19 is 20 limbs of 13 bits, a word each, low limb first: twenty products of 26 bits
// add up to less than 2^32, so no product needs more than a word. 2^260 is 608 modulo p, so what leaves limb 19
// comes back into limb 0, 608-fold. Limb 0 may reach 10015, limb 1 8192 and the others 8191: each function takes
// what the others give, and `pack` gives a number below p. An output may be an input too.

#include "kernels.h"

#define LIMBS 20
#define MASK 8191u

typedef uint32_t number[LIMBS];

// The highest bit does not count.
static void unpack(number out, const uint8_t *data) {
    uint32_t held = 0;
    unsigned count = 0, at = 0;
    for (int index = 0; index < LIMBS; index++) {
        while (count < 13 && at < 32) {
            held |= (uint32_t)data[at++] << count;
            count += 8;
        }
        out[index] = held & MASK;
        held >>= 13;
        count -= 13;
    }
    out[19] &= 255;
}

// Carry from limb to limb, beginning with `carry`, and bring what reaches 2^255 back 19-fold.
static void carry_round(number n, uint32_t carry) {
    carry += 19 * (n[19] >> 8);
    n[19] &= 255;
    for (int index = 0; index < LIMBS; index++) {
        carry += n[index];
        n[index] = carry & MASK;
        carry >>= 13;
    }
    // The highest limb keeps what is above 13 bits; in the end there is nothing.
    n[19] += carry << 13;
}

// The 32 bytes of a number below p; `n` is spent.
static void pack(uint8_t *out, number n) {
    carry_round(n, 0);
    carry_round(n, 0);
    // n >= p exactly when n + 19 reaches 2^255, and n + 19 without that bit is n - p.
    uint32_t carry = 19;
    for (int index = 0; index < LIMBS - 1; index++) {
        carry = (carry + n[index]) >> 13;
    }
    carry_round(n, 19 * ((carry + n[19]) >> 8));
    n[19] &= 255;
    uint32_t held = 0;
    unsigned count = 0;
    for (int index = 0, at = 0; at < 32; at++) {
        if (count < 8) {
            held |= n[index++] << count;
            count += 13;
        }
        out[at] = (uint8_t)held;
        held >>= 8;
        count -= 8;
    }
}

static void add(number out, const number left, const number right) {
    uint32_t carry = 0;
#pragma GCC unroll 4
    for (int index = 0; index < LIMBS; index++) {
        carry += left[index] + right[index];
        out[index] = carry & MASK;
        carry >>= 13;
    }
    out[0] += carry * 608;
}

// left - right + 64 p; 64 p written with limbs of 15168 and then 16382, so that none falls below 0.
static void subtract(number out, const number left, const number right) {
    uint32_t carry = 15168u - 16382u;
#pragma GCC unroll 4
    for (int index = 0; index < LIMBS; index++) {
        carry += 16382 + left[index] - right[index];
        out[index] = carry & MASK;
        carry >>= 13;
    }
    out[0] += carry * 608;
}

// left + 121665 * right: the a24 of RFC 7748 section 5.
static void add_121665_times(number out, const number left, const number right) {
    uint32_t carry = 0;
    for (int index = 0; index < LIMBS; index++) {
        carry += left[index] + right[index] * 121665;
        out[index] = carry & MASK;
        carry >>= 13;
    }
    carry *= 608;
    for (int index = 0; index < 3; index++) {
        carry += out[index];
        out[index] = carry & MASK;
        carry >>= 13;
    }
    out[3] += carry;
}

// Exchange two pairs of numbers when `bit` is 1.
static void swap(uint32_t *left, uint32_t *right, uint32_t bit) {
    uint32_t mask = 0u - bit;
    for (int index = 0; index < 2 * LIMBS; index++) {
        uint32_t change = (left[index] ^ right[index]) & mask;
        left[index] ^= change;
        right[index] ^= change;
    }
}

// From 40 limbs to 20: what is above 2^260 comes back 608-fold.
static void fold(number out, const uint32_t *w) {
    uint32_t carry = 0;
#pragma GCC unroll 4
    for (int index = 0; index < LIMBS; index++) {
        carry += w[index] + w[index + LIMBS] * 608;
        out[index] = carry & MASK;
        carry >>= 13;
    }
    carry = carry * 608 + out[0];
    out[0] = carry & MASK;
    out[1] += carry >> 13;
}

// Four columns of a product from column `first` on, each the sum of all products that belong there. Written out
// by the compiler: every limb is loaded once for four columns, and nothing is kept in memory.
#define COLUMNS(first)                                             \
    {                                                              \
        uint32_t c0 = 0, c1 = 0, c2 = 0, c3 = 0;                   \
        _Pragma("GCC unroll 20")                                   \
        for (int index = 0; index < LIMBS; index++) {              \
            int at = (first) - index;                              \
            uint32_t x = left[index];                              \
            if (at >= 0 && at < LIMBS) c0 += x * right[at];        \
            if (at >= -1 && at < LIMBS - 1) c1 += x * right[at + 1]; \
            if (at >= -2 && at < LIMBS - 2) c2 += x * right[at + 2]; \
            if (at >= -3 && at < LIMBS - 3) c3 += x * right[at + 3]; \
        }                                                          \
        KEEP(first, c0) KEEP((first) + 1, c1) KEEP((first) + 2, c2) KEEP((first) + 3, c3) \
    }

#define KEEP(column, sum)        \
    carry += (sum);              \
    w[column] = carry & MASK;    \
    carry >>= 13;

static void multiply(number out, const number left, const number right) {
    uint32_t w[2 * LIMBS], carry = 0;
    COLUMNS(0) COLUMNS(4) COLUMNS(8) COLUMNS(12) COLUMNS(16)
    COLUMNS(20) COLUMNS(24) COLUMNS(28) COLUMNS(32) COLUMNS(36)
    // A number may be a little above 2^260, and then the product has a bit more than 40 limbs.
    w[39] += carry << 13;
    fold(out, w);
}

// The same of a number with itself: what stands beside the diagonal counts twice.
#define HALF_COLUMN(column, sum)                                   \
    {                                                              \
        uint32_t half = 0;                                         \
        _Pragma("GCC unroll 10")                                   \
        for (int index = 0; index < LIMBS / 2; index++) {          \
            int low = (column) < LIMBS ? index : (column) - LIMBS + 1 + index; \
            int high = (column) - low;                             \
            if (low < high) half += n[low] * n[high];              \
        }                                                          \
        sum = half + half;                                         \
        if (((column) & 1) == 0 && (column) < 2 * LIMBS - 1) sum += n[(column) / 2] * n[(column) / 2]; \
    }

#define HALF_COLUMNS(first)                                        \
    {                                                              \
        uint32_t c0, c1, c2, c3;                                   \
        HALF_COLUMN(first, c0) HALF_COLUMN((first) + 1, c1)        \
        HALF_COLUMN((first) + 2, c2) HALF_COLUMN((first) + 3, c3)  \
        KEEP(first, c0) KEEP((first) + 1, c1) KEEP((first) + 2, c2) KEEP((first) + 3, c3) \
    }

static void square(number out, const number n) {
    uint32_t w[2 * LIMBS], carry = 0;
    HALF_COLUMNS(0) HALF_COLUMNS(4) HALF_COLUMNS(8) HALF_COLUMNS(12) HALF_COLUMNS(16)
    HALF_COLUMNS(20) HALF_COLUMNS(24) HALF_COLUMNS(28) HALF_COLUMNS(32) HALF_COLUMNS(36)
    w[39] += carry << 13;
    fold(out, w);
}

// out = n^(2^times), at least one time.
static void squared(number out, const number n, unsigned times) {
    square(out, n);
    while (--times) {
        square(out, out);
    }
}

// z^(p - 2), and 0 for 0; p - 2 = (2^250 - 1) 2^5 + 11.
static void invert(number z) {
    number z_2, z_9, z_11, run, kept;
    squared(z_2, z, 1);
    squared(run, z_2, 2);
    multiply(z_9, run, z);
    multiply(z_11, z_9, z_2);
    squared(run, z_11, 1);
    multiply(run, run, z_9);
    // z^(2^n - 1) for n = 5, and now for 10, 20, 40, 50, 100, 200 and 250.
    squared(kept, run, 5);
    multiply(z_2, kept, run);
    squared(run, z_2, 10);
    multiply(run, run, z_2);
    squared(kept, run, 20);
    multiply(run, kept, run);
    squared(run, run, 10);
    multiply(z_2, run, z_2);
    squared(run, z_2, 50);
    multiply(run, run, z_2);
    squared(kept, run, 100);
    multiply(run, kept, run);
    squared(run, run, 50);
    multiply(run, run, z_2);
    squared(run, run, 5);
    multiply(z, run, z_11);
}

// `scalar` times the point at `u`, 32 bytes each. The sequence of operations is the same for every scalar.
void x25519(uint8_t *out, const uint8_t *scalar, const uint8_t *u) {
    // Names as in RFC 7748; the pairs (x_2, z_2) and (x_3, z_3) for `swap`.
    struct {
        number x_1, pair_2[2], pair_3[2], a, b, c, d;
    } m;
    uint32_t *x_2 = m.pair_2[0], *z_2 = m.pair_2[1], *x_3 = m.pair_3[0], *z_3 = m.pair_3[1];
    uint32_t swapped = 0;
    unpack(m.x_1, u);
    unpack(x_3, u);
    zero_words(x_2, LIMBS);
    zero_words(z_2, LIMBS);
    zero_words(z_3, LIMBS);
    x_2[0] = z_3[0] = 1;
    for (int position = 254; position >= 0; position--) {
        uint32_t bit = scalar[position >> 3] >> (position & 7) & 1u;
        // decodeScalar25519: bits 0, 1 and 2 are 0 and bit 254 is 1.
        bit = position == 254 ? 1 : position < 3 ? 0 : bit;
        swap(m.pair_2[0], m.pair_3[0], swapped ^ bit);
        swapped = bit;
        add(m.a, x_2, z_2);
        subtract(m.b, x_2, z_2);
        add(m.c, x_3, z_3);
        subtract(m.d, x_3, z_3);
        multiply(m.d, m.d, m.a);
        multiply(m.c, m.c, m.b);
        add(x_3, m.d, m.c);
        square(x_3, x_3);
        subtract(z_3, m.d, m.c);
        square(z_3, z_3);
        multiply(z_3, z_3, m.x_1);
        square(m.a, m.a);
        square(m.b, m.b);
        multiply(x_2, m.a, m.b);
        subtract(m.b, m.a, m.b);
        add_121665_times(m.a, m.a, m.b);
        multiply(z_2, m.b, m.a);
    }
    swap(m.pair_2[0], m.pair_3[0], swapped);
    invert(z_2);
    multiply(x_2, x_2, z_2);
    pack(out, x_2);
    wipe(&m, sizeof m);
}
