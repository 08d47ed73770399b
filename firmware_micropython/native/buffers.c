// Combining and comparing bytes in a time that depends on their lengths alone.

#include "kernels.h"

void xor_into(uint8_t *target, const uint8_t *data, size_t length) {
    for (size_t index = 0; index < length; index++) {
        target[index] ^= data[index];
    }
}

uint32_t difference(const uint8_t *left, const uint8_t *right, size_t length) {
    uint32_t found = 0;
    for (size_t index = 0; index < length; index++) {
        found |= left[index] ^ right[index];
    }
    return found;
}

void zero_words(uint32_t *target, size_t length) {
    for (size_t index = 0; index < length; index++) {
        target[index] = 0;
    }
}
