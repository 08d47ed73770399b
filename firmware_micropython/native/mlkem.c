// Arithmetic and sampling of ML-KEM modulo q = 3329 (FIPS 203).

#include "kernels.h"

#define Q 3329u

// x * zeta modulo q, below 2 q for x below 2^16. `scaled` is zeta * 2^16 / q, so the quotient is at most one
// too small.
INLINE uint32_t times(uint32_t x, uint32_t zeta, uint32_t scaled) {
    return x * zeta - (x * scaled >> 16) * Q;
}

// In: below 2 q; out: below q.
INLINE uint32_t once_less(uint32_t x) {
    x -= Q;
    return x + (mask_of(x) & Q);
}

// In: below 100,000,000, which is more than 8 q^2; out: below q. 20159 is 2^26 / q rounded up, so the
// quotient may be one too large or one too small.
INLINE uint32_t reduced(uint32_t x) {
    x -= ((x >> 10) * 20159 >> 16) * Q;
    return once_less(x + (mask_of(x) & Q));
}

// Algorithm 9. In: below q; out: below 15 q.
void mlkem_ntt(uint32_t *polynomial, const uint32_t *zetas) {
    for (unsigned length = 128; length >= 2; length >>= 1) {
        for (uint32_t *low = polynomial; low < polynomial + 256; low += 2 * length) {
            uint32_t zeta = *++zetas & 0xFFFF, scaled = *zetas >> 16;
            uint32_t *end = low + length;
#pragma GCC unroll 2
            for (uint32_t *one = low; one < end; one++) {
                uint32_t y = *one, t = times(one[length], zeta, scaled);
                *one = y + t;
                one[length] = y - t + 2 * Q;
            }
        }
    }
}

// Algorithm 10. In and out: below q.
void mlkem_inverse_ntt(uint32_t *polynomial, const uint32_t *zetas) {
    uint32_t bound = Q;
    zetas += 128;
    for (unsigned length = 2; length <= 128; length <<= 1) {
        if (length == 32) {
            // Four layers have doubled q four times, and one more would not fit under 2^16.
            for (int index = 0; index < 256; index++) {
                uint32_t y = polynomial[index];
                polynomial[index] = y - (y * 20158 >> 26) * Q;
            }
            bound = 2 * Q;
        }
        for (uint32_t *low = polynomial; low < polynomial + 256; low += 2 * length) {
            uint32_t zeta = *--zetas & 0xFFFF, scaled = *zetas >> 16;
            uint32_t *end = low + length;
#pragma GCC unroll 2
            for (uint32_t *one = low; one < end; one++) {
                uint32_t y = *one, t = one[length];
                *one = y + t;
                one[length] = times(t - y + bound, zeta, scaled);
            }
        }
        bound <<= 1;
    }
    for (int index = 0; index < 256; index++) {
        // 3303 is 128^-1; 65024 is 3303 * 2^16 / q.
        polynomial[index] = once_less(times(polynomial[index], 3303, 65024));
    }
}

// The odd coefficients times gamma (algorithm 11 line 3), which is zeta and -zeta in turn. In: below q; out: at
// most q.
void mlkem_twist(const uint32_t *polynomial, const uint32_t *zetas, uint32_t *out) {
    for (int index = 0; index < 128; index += 2) {
        uint32_t zeta = zetas[64 + index / 2] & 0xFFFF, scaled = zetas[64 + index / 2] >> 16;
        out[index] = once_less(times(polynomial[2 * index + 1], zeta, scaled));
        uint32_t t = Q - times(polynomial[2 * index + 3], zeta, scaled);
        out[index + 1] = t + (mask_of(t) & Q);
    }
}

// Algorithms 11 and 12. In: `left` and `right` below q; out: 2 q^2 more at most.
void mlkem_multiply_add(uint32_t *total, const uint32_t *left, const uint32_t *right, const uint32_t *twisted) {
    for (int index = 0; index < 128; index++) {
        uint32_t x = left[0], y = left[1], z = right[0];
        total[0] += x * z + y * *twisted++;
        total[1] += x * right[1] + y * z;
        total += 2, left += 2, right += 2;
    }
}

void mlkem_reduce(uint32_t *polynomial) {
    for (int index = 0; index < 256; index++) {
        polynomial[index] = reduced(polynomial[index]);
    }
}

// In: below q; out: below 2 q.
void mlkem_subtract(uint32_t *polynomial, const uint32_t *other) {
    for (int index = 0; index < 256; index++) {
        polynomial[index] += Q - other[index];
    }
}

// Decompress_1: (q + 1) / 2 for each bit that is set.
void mlkem_add_message(uint32_t *polynomial, const uint8_t *message) {
    for (int index = 0; index < 256; index++) {
        polynomial[index] += (0u - (message[index >> 3] >> (index & 7) & 1u)) & 1665;
    }
}

// Section 4.2.1 (4.7). In: below 2 q; out: below 2^bits. The division by q is an estimate, at most one too
// small, and a correction: a divider would take a time that depends on the secret.
void mlkem_compress(uint32_t *polynomial, unsigned bits) {
    uint32_t mask = (1u << bits) - 1;
    for (int index = 0; index < 256; index++) {
        uint32_t x = (once_less(polynomial[index]) << bits) + 1664;
        uint32_t t = (x >> 8) * 20158 >> 18;
        x -= t * Q;
        polynomial[index] = (t + 1 + mask_of(x - Q)) & mask;
    }
}

// Section 4.2.1 (4.8). In: below 2^bits; out: below q.
void mlkem_decompress(uint32_t *polynomial, unsigned bits) {
    uint32_t half = 1u << (bits - 1);
    for (int index = 0; index < 256; index++) {
        polynomial[index] = (polynomial[index] * Q + half) >> bits;
    }
}

// The modulus check of section 7.2: 1 when a coefficient of 12 bits is q or more.
unsigned mlkem_not_below_q(const uint32_t *polynomial) {
    uint32_t found = 0;
    for (int index = 0; index < 256; index++) {
        found |= Q - 1 - polynomial[index];
    }
    return found >> 31;
}

// Algorithm 7 over one block, which is public and so may decide.
unsigned mlkem_sample_ntt(uint32_t *polynomial, unsigned done, const uint8_t *block) {
    for (const uint8_t *end = block + RATE_SHAKE128; block < end && done < 256; block += 3) {
        uint32_t x = block[0] | (block[1] & 15u) << 8;
        if (x < Q) {
            polynomial[done++] = x;
        }
        x = block[1] >> 4 | (uint32_t)block[2] << 4;
        if (x < Q && done < 256) {
            polynomial[done++] = x;
        }
    }
    return done;
}

// Algorithm 7 with its XOF: `seed` is rho and the two indices, 34 bytes.
void mlkem_sample_matrix(uint32_t *state, const uint8_t *seed, uint32_t *polynomial) {
    keccak_start_shake(state, RATE_SHAKE128, seed, 34);
    unsigned done = mlkem_sample_ntt(polynomial, 0, (const uint8_t *)state);
    while (done < 256) {
        keccak_permute(state);
        done = mlkem_sample_ntt(polynomial, done, (const uint8_t *)state);
    }
}

// The difference of two small counts, modulo q.
INLINE uint32_t difference_of(uint32_t x, uint32_t y) {
    uint32_t t = x - y;
    return t + (mask_of(t) & Q);
}

// Algorithm 8 with eta = 2 over 128 bytes.
void mlkem_sample_binomial_2(uint32_t *polynomial, const uint8_t *data) {
    for (int index = 0; index < 256; index += 2) {
        uint32_t x = *data++;
        x = (x & 0x55) + (x >> 1 & 0x55);
        polynomial[index] = difference_of(x & 3, x >> 2 & 3);
        polynomial[index + 1] = difference_of(x >> 4 & 3, x >> 6);
    }
}

// Algorithm 8 with eta = 3 over 192 bytes.
void mlkem_sample_binomial_3(uint32_t *polynomial, const uint8_t *data) {
    for (int index = 0; index < 256; index += 4, data += 3) {
        uint32_t x = data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16;
        x = (x & 0x249249) + (x >> 1 & 0x249249) + (x >> 2 & 0x249249);
        for (int pair = 0; pair < 4; pair++, x >>= 6) {
            polynomial[index + pair] = difference_of(x & 7, x >> 3 & 7);
        }
    }
}

// The implicit rejection of algorithm 18, with masks alone: 32 bytes.
void mlkem_replace_unless_equal(
    uint8_t *secret, const uint8_t *other, const uint8_t *one, const uint8_t *two, size_t length) {
    uint32_t mask = 0u - ((difference(one, two, length) + 255) >> 8);
    for (int index = 0; index < 32; index++) {
        secret[index] ^= (secret[index] ^ other[index]) & mask;
    }
}
