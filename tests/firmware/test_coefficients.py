"""What polynomials of ML-KEM and ML-DSA have in common, in every tier."""

from array import array

from tiers import tiers

TIERS = tiers("coefficients")


def polynomial(bits: int) -> "array[int]":
    """Something irregular, with both ends of the range."""
    mask = (1 << bits) - 1
    return array(
        "I", [mask, 0] + [(index * index * 4567 + 77 * index) & mask for index in range(253)] + [mask]
    )


def test_each_tier_packs_every_width_in_use_and_unpacks_it() -> None:
    for tier in TIERS:
        for bits in (1, 4, 5, 6, 10, 11, 12, 13, 18, 20):
            values = polynomial(bits)
            packed = bytearray(3 + 32 * bits)
            tier.pack(0, 3, values, packed, bits)
            whole = sum([values[index] << (bits * index) for index in range(256)])
            assert packed == bytes(3) + whole.to_bytes(32 * bits, "little"), (tier.__name__, bits)
            back = array("I", bytes(1024))
            tier.unpack(0, 3, back, packed, bits)
            assert back == values, (tier.__name__, bits)


def test_each_tier_adds_and_clears_every_coefficient() -> None:
    for tier in TIERS:
        values = polynomial(20)
        tier.add(0, values, polynomial(23))
        assert list(values) == [one + two for one, two in zip(polynomial(20), polynomial(23))], tier.__name__
        tier.clear(0, values)
        assert values == array("I", bytes(1024)), tier.__name__
