// Rounding, bounds and hints of ML-DSA (FIPS 204 section 7.4). Coefficients are below q; `highs` is how many
// high parts there are, (q - 1) / (2 gamma_2): 16 or 44. No branch depends on a secret but in
// rounding_use_hints, which only verification calls.

#include "kernels.h"

#define Q 8380417u

// Algorithm 35: t1 stays in `polynomial`, and 2^12 - t0 goes into `low`.
void rounding_power_2_round(uint32_t *polynomial, uint32_t *low) {
    for (int index = 0; index < 256; index++) {
        uint32_t x = polynomial[index], high = (x + 4095) >> 13;
        polynomial[index] = high;
        low[index] = 4096 - x + (high << 13);
    }
}

void rounding_shift_13(uint32_t *polynomial) {
    for (int index = 0; index < 256; index++) {
        polynomial[index] <<= 13;
    }
}

// Algorithm 37: division by 2 gamma_2, exact for all of q; the last interval belongs to the first (algorithm 36).
void rounding_high_bits(const uint32_t *polynomial, uint32_t *out, unsigned highs) {
    uint32_t factor = highs == 44 ? 11275 : 1025;
    unsigned shift = highs == 44 ? 24 : 22;
    uint32_t half = 1u << (shift - 1);
    for (int index = 0; index < 256; index++) {
        uint32_t x = (((polynomial[index] + 127) >> 7) * factor + half) >> shift;
        out[index] = x & mask_of(x - highs);
    }
}

// 1 when a coefficient is `bound` or more away from 0 modulo q (section 2.3).
unsigned rounding_not_below(const uint32_t *polynomial, uint32_t bound) {
    uint32_t found = 0;
    for (int index = 0; index < 256; index++) {
        uint32_t x = polynomial[index];
        // Both differences are 0 or more exactly when it is too far.
        found |= ~((x - bound) | (Q - bound - x));
    }
    return found >> 31;
}

void rounding_subtract(uint32_t *polynomial, const uint32_t *other) {
    for (int index = 0; index < 256; index++) {
        uint32_t x = polynomial[index] - other[index];
        polynomial[index] = x + (mask_of(x) & Q);
    }
}

// Algorithm 38, modulo q: into `high`, which holds the high parts.
void rounding_low_bits(const uint32_t *polynomial, uint32_t *high, uint32_t gamma_2) {
    for (int index = 0; index < 256; index++) {
        uint32_t x = polynomial[index] - high[index] * 2 * gamma_2;
        high[index] = x + (mask_of(x) & Q);
    }
}

// Algorithm 39: where two polynomials of high parts differ, a byte each; how many. `hints` has 257 bytes: every
// index is written, and counts only where they differ.
unsigned rounding_make_hints(const uint32_t *one, const uint32_t *two, uint8_t *hints) {
    unsigned count = 0;
    for (int index = 0; index < 256; index++) {
        hints[count] = (uint8_t)index;
        count += ((one[index] ^ two[index]) + 63) >> 6;
    }
    return count;
}

// Algorithm 40 on the high parts `high` of `polynomial`.
void rounding_use_hints(
    uint32_t *high, const uint32_t *polynomial, const uint8_t *hints, size_t count, unsigned highs) {
    uint32_t width = highs == 44 ? 190464 : 523776;
    for (size_t index = 0; index < count; index++) {
        uint32_t at = hints[index], x = high[at], low = polynomial[at] - x * width;
        // What belongs to high part 0 from above is below it: as a word it is very large.
        if (low - 1 < 4190208) {
            x = x + 1 == highs ? 0 : x + 1;
        } else {
            x = x == 0 ? highs - 1 : x - 1;
        }
        high[at] = x;
    }
}
