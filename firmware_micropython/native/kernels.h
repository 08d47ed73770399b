// The kernels that handfast's C tier computes, one file each. What they take and give is what the twins in
// handfast_micropython/*_viper.py take and give, word for word, so their comments hold here too.
//
// Constant time: no branch, no index and no shift depends on a secret. Products are of 32 bits and keep the
// low 32: a longer product takes a time that depends on its operands on a Cortex-M3. There is no division.
// No libc: the module is loaded into a firmware that exports none. No memory but the caller's and a few
// hundred bytes of stack.

#ifndef HANDFAST_KERNELS_H
#define HANDFAST_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

// FIPS 202: 25 lanes, each the low word and the high word; the machine is little endian, as the lanes are.
#define KECCAK_WORDS 50
#define RATE_SHAKE128 168
#define RATE_SHAKE256 136

// All ones when the highest bit of `x` is set, else 0: the mask that stands where a branch would.
INLINE uint32_t mask_of(uint32_t x) {
    return 0u - (x >> 31);
}

// Volatile: a compiler must not drop the wiping of a secret, nor call a memset that is not there.
INLINE void wipe(void *memory, size_t length) {
    volatile uint8_t *bytes = memory;
    while (length--) {
        *bytes++ = 0;
    }
}

// keccak.c
void keccak_permute(uint32_t *state);
unsigned keccak_absorb(uint32_t *state, unsigned rate, unsigned at, const uint8_t *data, size_t length);
void keccak_start_shake(uint32_t *state, unsigned rate, const uint8_t *seed, size_t length);

// buffers.c
void xor_into(uint8_t *target, const uint8_t *data, size_t length);
uint32_t difference(const uint8_t *left, const uint8_t *right, size_t length);
void zero_words(uint32_t *target, size_t length);

// coefficients.c
void coefficients_add(uint32_t *polynomial, const uint32_t *other);
void coefficients_pack(const uint32_t *polynomial, uint8_t *out, unsigned bits);
void coefficients_unpack(uint32_t *polynomial, const uint8_t *data, unsigned bits);

// mlkem.c
void mlkem_ntt(uint32_t *polynomial, const uint32_t *zetas);
void mlkem_inverse_ntt(uint32_t *polynomial, const uint32_t *zetas);
void mlkem_twist(const uint32_t *polynomial, const uint32_t *zetas, uint32_t *out);
void mlkem_multiply_add(uint32_t *total, const uint32_t *left, const uint32_t *right, const uint32_t *twisted);
void mlkem_reduce(uint32_t *polynomial);
void mlkem_subtract(uint32_t *polynomial, const uint32_t *other);
void mlkem_add_message(uint32_t *polynomial, const uint8_t *message);
void mlkem_compress(uint32_t *polynomial, unsigned bits);
void mlkem_decompress(uint32_t *polynomial, unsigned bits);
unsigned mlkem_not_below_q(const uint32_t *polynomial);
unsigned mlkem_sample_ntt(uint32_t *polynomial, unsigned done, const uint8_t *block);
void mlkem_sample_matrix(uint32_t *state, const uint8_t *seed, uint32_t *polynomial);
void mlkem_sample_binomial_2(uint32_t *polynomial, const uint8_t *data);
void mlkem_sample_binomial_3(uint32_t *polynomial, const uint8_t *data);
void mlkem_replace_unless_equal(
    uint8_t *secret, const uint8_t *other, const uint8_t *one, const uint8_t *two, size_t length);

// mldsa.c
void mldsa_ntt(uint32_t *polynomial, const uint32_t *zetas);
void mldsa_inverse_ntt(uint32_t *polynomial, const uint32_t *zetas);
void mldsa_multiply_add(uint32_t *total, const uint32_t *left, const uint32_t *right);
void mldsa_reduce(uint32_t *polynomial);
void mldsa_subtract_from(uint32_t *polynomial, uint32_t constant);
unsigned mldsa_sample_ntt(uint32_t *polynomial, unsigned done, const uint8_t *block);
unsigned mldsa_sample_bounded(uint32_t *polynomial, unsigned done, const uint8_t *block, unsigned eta);
void mldsa_sample_matrix(uint32_t *state, const uint8_t *seed, uint32_t *polynomial);
void mldsa_sample_secret(uint32_t *state, const uint8_t *seed, uint32_t *polynomial, unsigned eta);

// mldsa_rounding.c
void rounding_power_2_round(uint32_t *polynomial, uint32_t *low);
void rounding_shift_13(uint32_t *polynomial);
void rounding_high_bits(const uint32_t *polynomial, uint32_t *out, unsigned highs);
unsigned rounding_not_below(const uint32_t *polynomial, uint32_t bound);
void rounding_subtract(uint32_t *polynomial, const uint32_t *other);
void rounding_low_bits(const uint32_t *polynomial, uint32_t *high, uint32_t gamma_2);
unsigned rounding_make_hints(const uint32_t *one, const uint32_t *two, uint8_t *hints);
void rounding_use_hints(
    uint32_t *high, const uint32_t *polynomial, const uint8_t *hints, size_t count, unsigned highs);

// x25519.c
void x25519(uint8_t *out, const uint8_t *scalar, const uint8_t *u);

// aes.c
void aes_expand(uint32_t *keys, const uint8_t *key, unsigned length);
void aes_encrypt_pair(uint8_t *blocks, const uint32_t *keys, unsigned rounds);
void aes_count_and_mac(
    uint8_t *blocks, const uint32_t *keys, unsigned rounds, uint8_t *counter, uint8_t *out, size_t length,
    unsigned opening);

// ghash.c
void ghash_absorb(uint32_t *state, const uint32_t *key, const uint8_t *block);

#endif
