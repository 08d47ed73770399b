"""Combining and comparing bytes on a board, in every tier."""

from tiers import tiers

from handfast_micropython.buffers import equal

TIERS = tiers("buffers")


def test_each_tier_xors_what_it_is_told_to_and_no_byte_more() -> None:
    for tier in TIERS:
        target = bytearray(b"\x0f" * 10)
        tier.xor_into(target, 2, bytes(range(16)), 5, 3)
        assert target == b"\x0f\x0f\x0a\x09\x08\x0f\x0f\x0f\x0f\x0f", tier.__name__
        tier.xor_into(target, 10, b"", 0, 0)


def test_each_tier_sees_every_bit_that_differs() -> None:
    text = bytes(range(32))
    for tier in TIERS:
        assert tier.difference(text, bytearray(text), 32) == 0
        for at in (0, 1, 15, 31):
            for bit in range(8):
                other = bytearray(text)
                other[at] ^= 1 << bit
                assert tier.difference(text, other, 32) == 1 << bit, tier.__name__


def test_secrets_of_different_lengths_are_different() -> None:
    assert equal(b"", b"")
    assert equal(b"secret", memoryview(b"secret"))
    assert not equal(b"secret", b"secre")
    assert not equal(b"secre", b"secret")
