// What polynomials of ML-KEM and ML-DSA have in common: 256 coefficients, a word each, never negative.

#include "kernels.h"

void coefficients_add(uint32_t *polynomial, const uint32_t *other) {
    for (int index = 0; index < 256; index++) {
        polynomial[index] += other[index];
    }
}

// FIPS 203 algorithm 5, FIPS 204 algorithm 16.
void coefficients_pack(const uint32_t *polynomial, uint8_t *out, unsigned bits) {
    uint32_t held = 0;
    unsigned count = 0;
    for (int index = 0; index < 256; index++) {
        held |= polynomial[index] << count;
        count += bits;
        while (count >= 8) {
            *out++ = (uint8_t)held;
            held >>= 8;
            count -= 8;
        }
    }
}

// FIPS 203 algorithm 6, FIPS 204 algorithm 18.
void coefficients_unpack(uint32_t *polynomial, const uint8_t *data, unsigned bits) {
    uint32_t held = 0, mask = (1u << bits) - 1;
    unsigned count = 0;
    for (int index = 0; index < 256; index++) {
        while (count < bits) {
            held |= (uint32_t)*data++ << count;
            count += 8;
        }
        polynomial[index] = held & mask;
        held >>= bits;
        count -= bits;
    }
}
