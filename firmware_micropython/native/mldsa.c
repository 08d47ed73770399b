// Arithmetic and sampling of ML-DSA modulo q = 8380417 (FIPS 204).
//
// A product of two numbers modulo q has 46 bits and a word has 32, but x * y - n * q is right modulo 2^32, and
// n, the quotient, needs only the high halves of x and y: it is at most 400 too small, so that what is left is
// below 2^32. Taking q away once for each 2^23 then leaves less than 1.4 q.

#include "kernels.h"

#define Q 8380417u

INLINE uint32_t less(uint32_t x) {
    return x - (x >> 23) * Q;
}

// factor * 2^16 / q, too small by at most 2.
INLINE uint32_t scaled(uint32_t factor) {
    return (factor + (factor >> 10)) >> 7;
}

// x * y modulo q for x below 2^24 and y below q, `n` being scaled(y); out: below 1.4 q.
INLINE uint32_t product(uint32_t x, uint32_t y, uint32_t n) {
    return less(x * y - ((x >> 8) * n >> 8) * Q);
}

// In: below 2^31; out: below q.
INLINE uint32_t reduced(uint32_t x) {
    x = less(x) - Q;
    return x + (mask_of(x) & Q);
}

// Algorithm 41. In and out: below q.
void mldsa_ntt(uint32_t *polynomial, const uint32_t *zetas) {
    for (unsigned length = 128; length >= 1; length >>= 1) {
        for (uint32_t *low = polynomial; low < polynomial + 256; low += 2 * length) {
            uint32_t zeta = *++zetas, n = scaled(zeta);
            uint32_t *end = low + length;
            for (uint32_t *one = low; one < end; one++) {
                // Eight layers make a coefficient less than 17 q.
                uint32_t y = *one, t = product(less(one[length]), zeta, n);
                *one = y + t;
                one[length] = y - t + 2 * Q;
            }
        }
    }
    mldsa_reduce(polynomial);
}

// Algorithm 42. In and out: below q.
void mldsa_inverse_ntt(uint32_t *polynomial, const uint32_t *zetas) {
    uint32_t bound = 2 * Q;
    zetas += 256;
    for (unsigned length = 1; length < 256; length <<= 1) {
        if (length == 16) {
            // Four layers have doubled the bound four times.
            for (int index = 0; index < 256; index++) {
                polynomial[index] = less(polynomial[index]);
            }
            bound = 2 * Q;
        }
        for (uint32_t *low = polynomial; low < polynomial + 256; low += 2 * length) {
            uint32_t zeta = *--zetas, n = scaled(zeta);
            uint32_t *end = low + length;
            for (uint32_t *one = low; one < end; one++) {
                uint32_t y = *one, t = one[length];
                *one = y + t;
                one[length] = product(less(t - y + bound), zeta, n);
            }
        }
        bound <<= 1;
    }
    for (int index = 0; index < 256; index++) {
        // 8347681 is 256^-1, and 65279 is what `scaled` makes of it.
        uint32_t x = product(less(polynomial[index]), 8347681, 65279) - Q;
        polynomial[index] = x + (mask_of(x) & Q);
    }
}

// Algorithms 45 and 44. In: `left` and `right` below q; out: 1.4 q more at most.
void mldsa_multiply_add(uint32_t *total, const uint32_t *left, const uint32_t *right) {
#pragma GCC unroll 2
    for (int index = 0; index < 256; index++) {
        uint32_t y = right[index];
        total[index] += product(left[index], y, scaled(y));
    }
}

void mldsa_reduce(uint32_t *polynomial) {
    for (int index = 0; index < 256; index++) {
        polynomial[index] = reduced(polynomial[index]);
    }
}

// constant - polynomial. In and out: below q.
void mldsa_subtract_from(uint32_t *polynomial, uint32_t constant) {
    for (int index = 0; index < 256; index++) {
        uint32_t x = constant - polynomial[index];
        polynomial[index] = x + (mask_of(x) & Q);
    }
}

// Algorithm 30 over one block, which is public and so may decide.
unsigned mldsa_sample_ntt(uint32_t *polynomial, unsigned done, const uint8_t *block) {
    for (const uint8_t *end = block + RATE_SHAKE128; block < end && done < 256; block += 3) {
        uint32_t x = block[0] | (uint32_t)block[1] << 8 | (block[2] & 127u) << 16;
        if (x < Q) {
            polynomial[done++] = x;
        }
    }
    return done;
}

// Algorithms 31 and 15 over one block. Every half byte is written, and counts only when it is accepted: that
// some are refused, and so how many blocks it takes, tells nothing about the others.
unsigned mldsa_sample_bounded(uint32_t *polynomial, unsigned done, const uint8_t *block, unsigned eta) {
    uint32_t limit = eta == 2 ? 15 : 9, fifth = eta == 2 ? 205 : 0;
    for (unsigned at = 0; at < 2 * RATE_SHAKE256 && done < 256; at++) {
        uint32_t x = block[at >> 1] >> ((at & 1) << 2) & 15u;
        // CoeffFromHalfByte, algorithm 15: x modulo 5 for eta = 2.
        uint32_t y = eta - x + (x * fifth >> 10) * 5;
        polynomial[done] = y + (mask_of(y) & Q);
        done += (x - limit) >> 31;
    }
    return done;
}

// Algorithm 32: `seed` is rho and the two indices, 34 bytes.
void mldsa_sample_matrix(uint32_t *state, const uint8_t *seed, uint32_t *polynomial) {
    keccak_start_shake(state, RATE_SHAKE128, seed, 34);
    unsigned done = mldsa_sample_ntt(polynomial, 0, (const uint8_t *)state);
    while (done < 256) {
        keccak_permute(state);
        done = mldsa_sample_ntt(polynomial, done, (const uint8_t *)state);
    }
}

// Algorithm 33: `seed` is rho' and the number of the polynomial, 66 bytes.
void mldsa_sample_secret(uint32_t *state, const uint8_t *seed, uint32_t *polynomial, unsigned eta) {
    keccak_start_shake(state, RATE_SHAKE256, seed, 66);
    unsigned done = mldsa_sample_bounded(polynomial, 0, (const uint8_t *)state, eta);
    while (done < 256) {
        keccak_permute(state);
        done = mldsa_sample_bounded(polynomial, done, (const uint8_t *)state, eta);
    }
}
