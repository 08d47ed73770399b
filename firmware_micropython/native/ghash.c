// Multiplication in the field of GHASH (SP 800-38D section 6.3), bit by bit with masks: no table and no branch
// depends on the key or on the data.

#include "kernels.h"

// state = (state XOR the 16 bytes of `block`) times key, four words each, first bits high.
void ghash_absorb(uint32_t *state, const uint32_t *key, const uint8_t *block) {
    uint32_t v0 = key[0], v1 = key[1], v2 = key[2], v3 = key[3];
    uint32_t z0 = 0, z1 = 0, z2 = 0, z3 = 0;
    for (int index = 0; index < 4; index++, block += 4) {
        uint32_t word = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
        word ^= state[index];
        for (int turn = 0; turn < 32; turn++, word <<= 1) {
            uint32_t mask = mask_of(word);
            z0 ^= v0 & mask;
            z1 ^= v1 & mask;
            z2 ^= v2 & mask;
            z3 ^= v3 & mask;
            // The polynomial x^128 + x^7 + x^2 + x + 1, as algorithm 1 writes it.
            mask = 0u - (v3 & 1);
            v3 = v3 >> 1 | v2 << 31;
            v2 = v2 >> 1 | v1 << 31;
            v1 = v1 >> 1 | v0 << 31;
            v0 = v0 >> 1 ^ (0xE1000000u & mask);
        }
    }
    state[0] = z0;
    state[1] = z1;
    state[2] = z2;
    state[3] = z3;
}
