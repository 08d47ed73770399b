"""AES and GHASH of a board, in every tier."""

from array import array

from refusal import refused
from tiers import tiers

from handfast.core.errors import AuthenticationError
from handfast_micropython import aes, aes_ccm, aes_gcm
from handfast_micropython.aes import BlockPair

AES_TIERS = tiers("aes")
GHASH_TIERS = tiers("ghash")


def multiply(one: int, two: int) -> int:
    """The product in GF(2^8), FIPS 197 section 4.2."""
    product = 0
    while two:
        if two & 1:
            product ^= one
        one = (one << 1) ^ (0x11B if one & 0x80 else 0)
        two >>= 1
    return product


def substitute(byte: int) -> int:
    """The S-box by its definition, FIPS 197 section 5.1.1: inverse, then the affine map."""
    inverse = 1
    for _ in range(254):
        inverse = multiply(inverse, byte)
    result = 0x63
    for turn in range(5):
        result ^= ((inverse << turn) | (inverse >> (8 - turn))) & 0xFF
    return result


def test_the_circuit_is_the_s_box_for_every_byte() -> None:
    for tier in AES_TIERS:
        if not hasattr(tier, "sub_bytes"):
            # In C only whole blocks are seen.
            continue
        for start in range(0, 256, 32):
            blocks = bytearray(range(start, start + 32))
            slices = array("I", bytes(32))
            tier.load(slices, blocks)
            tier.sub_bytes(slices)
            tier.store(slices, blocks)
            assert blocks == bytes([substitute(byte) for byte in range(start, start + 32)]), tier.__name__


def test_both_blocks_are_encrypted_as_fips_197_says() -> None:
    # FIPS 197 appendix B and C.3.
    for key, plaintext, ciphertext in (
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "3243f6a8885a308d313198a2e0370734",
            "3925841d02dc09fbdc118597196a0b32",
        ),
        (bytes(range(32)).hex(), "00112233445566778899aabbccddeeff", "8ea2b7ca516745bfeafc49904b496089"),
    ):
        pair = BlockPair(bytes.fromhex(key))
        pair.blocks[:16] = bytes.fromhex(plaintext)
        pair.encrypt()
        assert bytes(pair.blocks[:16]).hex() == ciphertext
        pair.blocks[:] = bytes(16) + bytes.fromhex(plaintext)
        pair.encrypt()
        assert bytes(pair.blocks[16:]).hex() == ciphertext


def test_the_tiers_of_aes_agree() -> None:
    results = []
    for tier in AES_TIERS:
        slices = array("I", bytes(32))
        keys = array("I", [0x01234567 * (index % 13) for index in range(8 * 15)])
        blocks = bytearray(range(200, 232))
        tier.encrypt_pair(blocks, keys, 14, slices)
        results.append(blocks)
    for result in results:
        assert result == results[0]


def test_each_tier_expands_a_key_as_fips_197_says() -> None:
    # Appendix A.1 and A.3: the last words of the schedule, gathered out of the slices.
    for key, last in (
        ("2b7e151628aed2a6abf7158809cf4f3c", "d014f9a8c9ee2589e13f0cc8b6630ca6"),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "fe4890d1e6188d0b046df344706c631e",
        ),
    ):
        length = len(key) // 2
        for tier in AES_TIERS:
            keys = array("I", bytes(4 * (2 * length + 56)))
            tier.expand(keys, bytes.fromhex(key), length, array("I", bytes(32)))
            found = bytearray(16)
            for place in range(16):
                column, row = place >> 2, place & 3
                for bit in range(8):
                    word = keys[len(keys) - 8 + bit]
                    found[place] |= (word >> (8 * row + 2 * column) & 1) << bit
                    assert word >> (8 * row + 2 * column + 1) & 1 == word >> (8 * row + 2 * column) & 1
            assert found.hex() == last, tier.__name__


def test_a_product_of_ghash_is_that_of_its_definition() -> None:
    # SP 800-38D section 6.3 on integers: the first bit is the highest.
    key, block = 0x66E94BD4EF8A2C3B884CFA59CA342B2E, 0x0388DACE60B6A392F328C2B971B2FE78
    product, turned = 0, key
    for bit in range(127, -1, -1):
        product ^= turned * (block >> bit & 1)
        turned = (turned >> 1) ^ ((0xE1 << 120) * (turned & 1))
    for tier in GHASH_TIERS:
        state = array("I", bytes(16))
        words = array("I", [key >> (96 - 32 * index) & 0xFFFFFFFF for index in range(4)])
        tier.absorb(state, words, b"?" + block.to_bytes(16, "big"), 1)
        assert [state[index] for index in range(4)] == [
            product >> (96 - 32 * index) & 0xFFFFFFFF for index in range(4)
        ], tier.__name__


def test_a_key_of_another_length_is_refused() -> None:
    for length in (0, 15, 17, 24, 33):
        refused(ValueError, BlockPair, bytes(length))


def test_the_counter_of_ccm_carries_and_both_directions_meet() -> None:
    key = bytes(range(16))
    for tier in AES_TIERS:
        slices, keys = array("I", bytes(32)), array("I", bytes(4 * 88))
        tier.expand(keys, key, 16, slices)
        text = bytearray([(7 * index) & 255 for index in range(16 * 3 + 5)])
        counter = bytearray(b"\x01nonce of 13 b" + b"\x00\xfe")
        sealed, blocks = bytearray(text), bytearray(32)
        tier.count_and_mac(blocks, keys, 10, slices, counter, sealed, 0)
        assert counter[14:] == b"\x01\x02", tier.__name__
        # The second block's key stream is that of counter 0x0100.
        pair = bytearray(b"\x01nonce of 13 b" + b"\x01\x00" + bytes(16))
        tier.encrypt_pair(pair, keys, 10, slices)
        assert [one ^ two for one, two in zip(sealed[16:32], text[16:32])] == list(pair[:16]), tier.__name__
        opened, other = bytearray(sealed), bytearray(32)
        counter = bytearray(b"\x01nonce of 13 b" + b"\x00\xfe")
        tier.count_and_mac(other, keys, 10, slices, counter, opened, 1)
        assert opened == text, tier.__name__
        assert other[16:] == blocks[16:], tier.__name__


def test_no_round_key_stays_behind_a_record() -> None:
    for module, tag in ((aes_ccm, (16,)), (aes_gcm, ())):
        key, nonce = bytes(range(32)), bytes(13 if tag else 12)
        sealed = module.seal(key, nonce, b"aad", b"text", *tag)
        assert max(aes._KEYS) == 0
        assert module.open_(key, nonce, b"aad", sealed, *tag) == b"text"
        assert max(aes._KEYS) == 0
        refused(AuthenticationError, module.open_, key, nonce, b"other", sealed, *tag)
        assert max(aes._KEYS) == 0
