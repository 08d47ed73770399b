"""Which tier computes, and what a kernel in C does with what does not fit."""

from array import array

from refusal import refused
from tiers import tiers

from handfast_micropython import tier
from handfast_micropython.crypto import Crypto

KERNELS = {
    "aes": "count_and_mac encrypt_pair expand",
    "buffers": "difference xor_into zero_words",
    "coefficients": "add clear pack unpack",
    "ghash": "absorb",
    "keccak": "absorb permute start_shake",
    "mldsa": "inverse_ntt multiply_add ntt reduce sample_bounded sample_ntt subtract_from",
    "mldsa_rounding": "high_bits low_bits make_hints not_below power_2_round shift_13 subtract use_hints",
    "mlkem": "add_message compress decompress inverse_ntt multiply_add not_below_q ntt reduce "
    "replace_unless_equal sample_binomial_2 sample_binomial_3 sample_ntt subtract twist",
    "x25519": "scalar_multiplication",
}


def test_the_best_tier_is_taken_and_named() -> None:
    best = tiers("buffers")[-1].__name__.split("_")[-1]
    assert best == tier.TIER
    assert Crypto().name == "handfast_micropython, " + best


def test_every_tier_has_every_kernel() -> None:
    for name, kernels in KERNELS.items():
        for module in tiers(name):
            for kernel in kernels.split():
                assert hasattr(module, kernel), (module.__name__, kernel)


def test_a_kernel_in_c_refuses_what_does_not_fit() -> None:
    if tier.TIER != "native":
        return
    import handfast_native as native

    short, whole = array("I", bytes(4 * 255)), array("I", bytes(4 * 256))
    odd = memoryview(bytearray(1028))[1:1025]
    for polynomial in (short, odd):
        refused(ValueError, native.coefficients_clear, 0, polynomial)
        refused(ValueError, native.mlkem_reduce, 0, polynomial)
        refused(ValueError, native.mldsa_multiply_add, 0, 0, whole, polynomial, whole)
    refused(ValueError, native.coefficients_pack, 0, 1, whole, bytearray(384), 12)
    refused(ValueError, native.coefficients_pack, 0, 0, whole, bytearray(1024), 21)
    refused(ValueError, native.xor_into, bytearray(4), 2, b"1234", 0, 3)
    refused(ValueError, native.xor_into, bytearray(4), 0, b"1234", 5, 0)
    refused(ValueError, native.keccak_permute, bytearray(199))
    refused(ValueError, native.keccak_absorb, 136, 136, bytearray(200), b"")
    refused(ValueError, native.keccak_start_shake, bytearray(200), 136, bytes(136))
    refused(ValueError, native.x25519, bytes(31), bytes(32))
    refused(ValueError, native.aes_expand, whole, bytes(24), 24, whole)
    refused(ValueError, native.rounding_use_hints, 5, 4, whole, whole, bytes(80), 16)
    refused(TypeError, native.keccak_permute, 7)
    refused(TypeError, native.keccak_permute)
