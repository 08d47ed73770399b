// The Python face of the kernels: the module handfast_native, which handfast_micropython/*_native.py take apart.
//
// Every buffer is measured before a kernel sees it, so a wrong call ends in a ValueError and not in somebody
// else's memory. Arguments that only make room in the registers of the viper twins are accepted and not read.

#include "py/dynruntime.h"

#include "kernels.h"

// One more, here and in handfast_micropython/tier.py, when a kernel's arguments change: an older .mpy is then
// left alone.
#define INTERFACE 2

static void require(bool fits) {
    if (!fits) {
        mp_raise_ValueError("a kernel was given a buffer or a number that does not fit");
    }
}

static size_t integer(mp_obj_t value) {
    mp_int_t number = mp_obj_get_int(value);
    require(number >= 0);
    return (size_t)number;
}

static uint8_t *all_bytes(mp_obj_t object, size_t *length) {
    mp_buffer_info_t info;
    mp_get_buffer_raise(object, &info, MP_BUFFER_READ);
    *length = info.len;
    return info.buf;
}

static uint8_t *bytes_from(mp_obj_t object, size_t start, size_t length) {
    size_t have;
    uint8_t *data = all_bytes(object, &have);
    require(start <= have && length <= have - start);
    return data + start;
}

static uint8_t *bytes(mp_obj_t object, size_t length) {
    return bytes_from(object, 0, length);
}

static uint32_t *words(mp_obj_t object, size_t count) {
    size_t have;
    uint8_t *data = all_bytes(object, &have);
    require(count <= have / 4 && ((uintptr_t)data & 3) == 0);
    return (uint32_t *)data;
}

#define FUNCTION(name, count) \
    static mp_obj_t name##_function(size_t n_args, const mp_obj_t *args); \
    static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(name##_object, count, count, name##_function); \
    static mp_obj_t name##_function(size_t n_args, const mp_obj_t *args)

FUNCTION(xor_into, 5) {
    size_t at = integer(args[1]), start = integer(args[3]), length = integer(args[4]);
    uint8_t *target = bytes_from(args[0], at, length), *data = bytes_from(args[2], start, length);
    xor_into(target, data, length);
    return mp_const_none;
}

FUNCTION(difference, 3) {
    size_t length = integer(args[2]);
    uint32_t found = difference(bytes(args[0], length), bytes(args[1], length), length);
    return MP_OBJ_NEW_SMALL_INT(found);
}

FUNCTION(zero_words, 2) {
    size_t length = integer(args[1]);
    zero_words(words(args[0], length), length);
    return mp_const_none;
}

FUNCTION(keccak_permute, 1) {
    keccak_permute(words(args[0], KECCAK_WORDS));
    return mp_const_none;
}

FUNCTION(keccak_absorb, 4) {
    size_t length, at = integer(args[0]), rate = integer(args[1]);
    uint32_t *state = words(args[2], KECCAK_WORDS);
    const uint8_t *data = all_bytes(args[3], &length);
    require(at < rate && rate <= 4 * KECCAK_WORDS);
    at = keccak_absorb(state, rate, at, data, length);
    return MP_OBJ_NEW_SMALL_INT(at);
}

FUNCTION(keccak_start_shake, 3) {
    size_t length, rate = integer(args[1]);
    uint32_t *state = words(args[0], KECCAK_WORDS);
    const uint8_t *seed = all_bytes(args[2], &length);
    require(rate <= 4 * KECCAK_WORDS && length < rate);
    keccak_start_shake(state, rate, seed, length);
    return mp_const_none;
}

FUNCTION(coefficients_clear, 2) {
    zero_words(words(args[1], 256), 256);
    return mp_const_none;
}

FUNCTION(coefficients_add, 3) {
    coefficients_add(words(args[1], 256), words(args[2], 256));
    return mp_const_none;
}

FUNCTION(coefficients_pack, 5) {
    size_t at = integer(args[1]), bits = integer(args[4]);
    require(bits >= 1 && bits <= 20);
    coefficients_pack(words(args[2], 256), bytes_from(args[3], at, 32 * bits), bits);
    return mp_const_none;
}

FUNCTION(coefficients_unpack, 5) {
    size_t at = integer(args[1]), bits = integer(args[4]);
    require(bits >= 1 && bits <= 20);
    coefficients_unpack(words(args[2], 256), bytes_from(args[3], at, 32 * bits), bits);
    return mp_const_none;
}

FUNCTION(mlkem_ntt, 4) {
    mlkem_ntt(words(args[2], 256), words(args[3], 128));
    return mp_const_none;
}

FUNCTION(mlkem_inverse_ntt, 4) {
    mlkem_inverse_ntt(words(args[2], 256), words(args[3], 128));
    return mp_const_none;
}

FUNCTION(mlkem_reduce, 2) {
    mlkem_reduce(words(args[1], 256));
    return mp_const_none;
}

FUNCTION(mlkem_sample_ntt, 4) {
    unsigned done = integer(args[0]);
    done = mlkem_sample_ntt(words(args[2], 256), done, bytes(args[3], RATE_SHAKE128));
    return MP_OBJ_NEW_SMALL_INT(done);
}

FUNCTION(mlkem_sample_matrix, 3) {
    mlkem_sample_matrix(words(args[0], KECCAK_WORDS), bytes(args[1], 34), words(args[2], 256));
    return mp_const_none;
}

FUNCTION(mldsa_ntt, 4) {
    mldsa_ntt(words(args[2], 256), words(args[3], 256));
    return mp_const_none;
}

FUNCTION(mldsa_inverse_ntt, 4) {
    mldsa_inverse_ntt(words(args[2], 256), words(args[3], 256));
    return mp_const_none;
}

FUNCTION(mldsa_reduce, 2) {
    mldsa_reduce(words(args[1], 256));
    return mp_const_none;
}

FUNCTION(mldsa_sample_ntt, 4) {
    unsigned done = integer(args[0]);
    done = mldsa_sample_ntt(words(args[2], 256), done, bytes(args[3], RATE_SHAKE128));
    return MP_OBJ_NEW_SMALL_INT(done);
}

FUNCTION(mldsa_sample_matrix, 3) {
    mldsa_sample_matrix(words(args[0], KECCAK_WORDS), bytes(args[1], 34), words(args[2], 256));
    return mp_const_none;
}

FUNCTION(mlkem_twist, 5) {
    mlkem_twist(words(args[2], 256), words(args[3], 128), words(args[4], 128));
    return mp_const_none;
}

FUNCTION(mlkem_multiply_add, 6) {
    mlkem_multiply_add(words(args[2], 256), words(args[3], 256), words(args[4], 256), words(args[5], 128));
    return mp_const_none;
}

FUNCTION(mlkem_subtract, 3) {
    mlkem_subtract(words(args[1], 256), words(args[2], 256));
    return mp_const_none;
}

FUNCTION(mlkem_add_message, 3) {
    mlkem_add_message(words(args[1], 256), bytes(args[2], 32));
    return mp_const_none;
}

FUNCTION(mlkem_compress, 3) {
    mlkem_compress(words(args[1], 256), integer(args[2]));
    return mp_const_none;
}

FUNCTION(mlkem_decompress, 3) {
    mlkem_decompress(words(args[1], 256), integer(args[2]));
    return mp_const_none;
}

FUNCTION(mlkem_not_below_q, 2) {
    unsigned found = mlkem_not_below_q(words(args[1], 256));
    return MP_OBJ_NEW_SMALL_INT(found);
}

FUNCTION(mlkem_sample_binomial_2, 4) {
    mlkem_sample_binomial_2(words(args[2], 256), bytes(args[3], 128));
    return mp_const_none;
}

FUNCTION(mlkem_sample_binomial_3, 4) {
    mlkem_sample_binomial_3(words(args[2], 256), bytes(args[3], 192));
    return mp_const_none;
}

FUNCTION(mlkem_replace_unless_equal, 6) {
    size_t length = integer(args[5]);
    const uint8_t *one = bytes(args[3], length), *two = bytes(args[4], length);
    mlkem_replace_unless_equal(bytes(args[1], 32), bytes(args[2], 32), one, two, length);
    return mp_const_none;
}

FUNCTION(mldsa_multiply_add, 5) {
    mldsa_multiply_add(words(args[2], 256), words(args[3], 256), words(args[4], 256));
    return mp_const_none;
}

FUNCTION(mldsa_subtract_from, 4) {
    mldsa_subtract_from(words(args[2], 256), integer(args[3]));
    return mp_const_none;
}

FUNCTION(mldsa_sample_bounded, 5) {
    unsigned done = integer(args[0]);
    done = mldsa_sample_bounded(words(args[2], 256), done, bytes(args[3], RATE_SHAKE256), integer(args[4]));
    return MP_OBJ_NEW_SMALL_INT(done);
}

FUNCTION(mldsa_sample_secret, 4) {
    mldsa_sample_secret(words(args[0], KECCAK_WORDS), bytes(args[1], 66), words(args[2], 256), integer(args[3]));
    return mp_const_none;
}

FUNCTION(rounding_power_2_round, 4) {
    rounding_power_2_round(words(args[2], 256), words(args[3], 256));
    return mp_const_none;
}

FUNCTION(rounding_shift_13, 2) {
    rounding_shift_13(words(args[1], 256));
    return mp_const_none;
}

FUNCTION(rounding_high_bits, 5) {
    rounding_high_bits(words(args[2], 256), words(args[3], 256), integer(args[4]));
    return mp_const_none;
}

FUNCTION(rounding_not_below, 4) {
    unsigned found = rounding_not_below(words(args[2], 256), integer(args[3]));
    return MP_OBJ_NEW_SMALL_INT(found);
}

FUNCTION(rounding_subtract, 4) {
    rounding_subtract(words(args[2], 256), words(args[3], 256));
    return mp_const_none;
}

FUNCTION(rounding_low_bits, 5) {
    rounding_low_bits(words(args[2], 256), words(args[3], 256), integer(args[4]));
    return mp_const_none;
}

FUNCTION(rounding_make_hints, 5) {
    unsigned count = rounding_make_hints(words(args[2], 256), words(args[3], 256), bytes(args[4], 257));
    return MP_OBJ_NEW_SMALL_INT(count);
}

FUNCTION(rounding_use_hints, 6) {
    size_t start = integer(args[0]), end = integer(args[1]);
    require(start <= end);
    const uint8_t *hints = bytes_from(args[4], start, end - start);
    rounding_use_hints(words(args[2], 256), words(args[3], 256), hints, end - start, integer(args[5]));
    return mp_const_none;
}

FUNCTION(x25519, 2) {
    uint8_t out[32];
    x25519(out, bytes(args[0], 32), bytes(args[1], 32));
    return mp_obj_new_bytes(out, sizeof out);
}

FUNCTION(aes_expand, 4) {
    size_t length = integer(args[2]);
    require(length == 16 || length == 32);
    aes_expand(words(args[0], 2 * length + 56), bytes(args[1], length), length);
    return mp_const_none;
}

FUNCTION(aes_encrypt_pair, 4) {
    size_t rounds = integer(args[2]);
    aes_encrypt_pair(bytes(args[0], 32), words(args[1], 8 * (rounds + 1)), rounds);
    return mp_const_none;
}

FUNCTION(aes_count_and_mac, 7) {
    size_t length, rounds = integer(args[2]), opening = integer(args[6]);
    uint8_t *out = all_bytes(args[5], &length);
    require(opening <= 1);
    aes_count_and_mac(
        bytes(args[0], 32), words(args[1], 8 * (rounds + 1)), rounds, bytes(args[4], 16), out, length, opening);
    return mp_const_none;
}

FUNCTION(ghash_absorb, 4) {
    ghash_absorb(words(args[0], 4), words(args[1], 4), bytes_from(args[2], integer(args[3]), 16));
    return mp_const_none;
}

mp_obj_t mpy_init(mp_obj_fun_bc_t *self, size_t n_args, size_t n_kw, mp_obj_t *args) {
    MP_DYNRUNTIME_INIT_ENTRY

    mp_store_global(MP_QSTR_INTERFACE, MP_OBJ_NEW_SMALL_INT(INTERFACE));
    mp_store_global(MP_QSTR_xor_into, MP_OBJ_FROM_PTR(&xor_into_object));
    mp_store_global(MP_QSTR_difference, MP_OBJ_FROM_PTR(&difference_object));
    mp_store_global(MP_QSTR_zero_words, MP_OBJ_FROM_PTR(&zero_words_object));
    mp_store_global(MP_QSTR_keccak_permute, MP_OBJ_FROM_PTR(&keccak_permute_object));
    mp_store_global(MP_QSTR_keccak_absorb, MP_OBJ_FROM_PTR(&keccak_absorb_object));
    mp_store_global(MP_QSTR_keccak_start_shake, MP_OBJ_FROM_PTR(&keccak_start_shake_object));
    mp_store_global(MP_QSTR_coefficients_clear, MP_OBJ_FROM_PTR(&coefficients_clear_object));
    mp_store_global(MP_QSTR_coefficients_add, MP_OBJ_FROM_PTR(&coefficients_add_object));
    mp_store_global(MP_QSTR_coefficients_pack, MP_OBJ_FROM_PTR(&coefficients_pack_object));
    mp_store_global(MP_QSTR_coefficients_unpack, MP_OBJ_FROM_PTR(&coefficients_unpack_object));
    mp_store_global(MP_QSTR_mlkem_ntt, MP_OBJ_FROM_PTR(&mlkem_ntt_object));
    mp_store_global(MP_QSTR_mlkem_inverse_ntt, MP_OBJ_FROM_PTR(&mlkem_inverse_ntt_object));
    mp_store_global(MP_QSTR_mlkem_reduce, MP_OBJ_FROM_PTR(&mlkem_reduce_object));
    mp_store_global(MP_QSTR_mlkem_sample_ntt, MP_OBJ_FROM_PTR(&mlkem_sample_ntt_object));
    mp_store_global(MP_QSTR_mlkem_sample_matrix, MP_OBJ_FROM_PTR(&mlkem_sample_matrix_object));
    mp_store_global(MP_QSTR_mldsa_ntt, MP_OBJ_FROM_PTR(&mldsa_ntt_object));
    mp_store_global(MP_QSTR_mldsa_inverse_ntt, MP_OBJ_FROM_PTR(&mldsa_inverse_ntt_object));
    mp_store_global(MP_QSTR_mldsa_reduce, MP_OBJ_FROM_PTR(&mldsa_reduce_object));
    mp_store_global(MP_QSTR_mldsa_sample_ntt, MP_OBJ_FROM_PTR(&mldsa_sample_ntt_object));
    mp_store_global(MP_QSTR_mldsa_sample_matrix, MP_OBJ_FROM_PTR(&mldsa_sample_matrix_object));
    mp_store_global(MP_QSTR_mlkem_twist, MP_OBJ_FROM_PTR(&mlkem_twist_object));
    mp_store_global(MP_QSTR_mlkem_multiply_add, MP_OBJ_FROM_PTR(&mlkem_multiply_add_object));
    mp_store_global(MP_QSTR_mlkem_subtract, MP_OBJ_FROM_PTR(&mlkem_subtract_object));
    mp_store_global(MP_QSTR_mlkem_add_message, MP_OBJ_FROM_PTR(&mlkem_add_message_object));
    mp_store_global(MP_QSTR_mlkem_compress, MP_OBJ_FROM_PTR(&mlkem_compress_object));
    mp_store_global(MP_QSTR_mlkem_decompress, MP_OBJ_FROM_PTR(&mlkem_decompress_object));
    mp_store_global(MP_QSTR_mlkem_not_below_q, MP_OBJ_FROM_PTR(&mlkem_not_below_q_object));
    mp_store_global(MP_QSTR_mlkem_sample_binomial_2, MP_OBJ_FROM_PTR(&mlkem_sample_binomial_2_object));
    mp_store_global(MP_QSTR_mlkem_sample_binomial_3, MP_OBJ_FROM_PTR(&mlkem_sample_binomial_3_object));
    mp_store_global(MP_QSTR_mlkem_replace_unless_equal, MP_OBJ_FROM_PTR(&mlkem_replace_unless_equal_object));
    mp_store_global(MP_QSTR_mldsa_multiply_add, MP_OBJ_FROM_PTR(&mldsa_multiply_add_object));
    mp_store_global(MP_QSTR_mldsa_subtract_from, MP_OBJ_FROM_PTR(&mldsa_subtract_from_object));
    mp_store_global(MP_QSTR_mldsa_sample_bounded, MP_OBJ_FROM_PTR(&mldsa_sample_bounded_object));
    mp_store_global(MP_QSTR_mldsa_sample_secret, MP_OBJ_FROM_PTR(&mldsa_sample_secret_object));
    mp_store_global(MP_QSTR_rounding_power_2_round, MP_OBJ_FROM_PTR(&rounding_power_2_round_object));
    mp_store_global(MP_QSTR_rounding_shift_13, MP_OBJ_FROM_PTR(&rounding_shift_13_object));
    mp_store_global(MP_QSTR_rounding_high_bits, MP_OBJ_FROM_PTR(&rounding_high_bits_object));
    mp_store_global(MP_QSTR_rounding_not_below, MP_OBJ_FROM_PTR(&rounding_not_below_object));
    mp_store_global(MP_QSTR_rounding_subtract, MP_OBJ_FROM_PTR(&rounding_subtract_object));
    mp_store_global(MP_QSTR_rounding_low_bits, MP_OBJ_FROM_PTR(&rounding_low_bits_object));
    mp_store_global(MP_QSTR_rounding_make_hints, MP_OBJ_FROM_PTR(&rounding_make_hints_object));
    mp_store_global(MP_QSTR_rounding_use_hints, MP_OBJ_FROM_PTR(&rounding_use_hints_object));
    mp_store_global(MP_QSTR_x25519, MP_OBJ_FROM_PTR(&x25519_object));
    mp_store_global(MP_QSTR_aes_expand, MP_OBJ_FROM_PTR(&aes_expand_object));
    mp_store_global(MP_QSTR_aes_count_and_mac, MP_OBJ_FROM_PTR(&aes_count_and_mac_object));
    mp_store_global(MP_QSTR_aes_encrypt_pair, MP_OBJ_FROM_PTR(&aes_encrypt_pair_object));
    mp_store_global(MP_QSTR_ghash_absorb, MP_OBJ_FROM_PTR(&ghash_absorb_object));

    MP_DYNRUNTIME_INIT_EXIT
}
