"""The arithmetic of ML-DSA in every tier, against its definitions and at its bounds."""

from array import array

from tiers import tiers

from handfast_micropython import mldsa

TIERS = tiers("mldsa")
ROUNDING_TIERS = tiers("mldsa_rounding")
Q = 8380417
# (how many high parts, gamma_2), FIPS 204 table 1.
ROUNDINGS = ((16, 261888), (44, 95232))


def polynomial(kind: int) -> "array[int]":
    """0: all zero; 1: all q - 1; else something irregular with both ends of the range."""
    if kind < 2:
        return array("I", [kind * (Q - 1)] * 256)
    values = [(index * index * 4567 * kind + 8191 * index) % Q for index in range(254)]
    return array("I", values + [Q - 1, Q - 256])


def centred(value: int, modulus: int) -> int:
    """value mod+- modulus, FIPS 204 section 2.3."""
    low = value % modulus
    return low - modulus if low > modulus // 2 else low


def decompose(value: int, gamma_2: int) -> "tuple[int, int]":
    """FIPS 204 algorithm 36."""
    low = centred(value, 2 * gamma_2)
    if value - low == Q - 1:
        return 0, low - 1
    return (value - low) // (2 * gamma_2), low


def awkward(gamma_2: int) -> "array[int]":
    """Where a high part begins and ends, and the ends of the range."""
    values = [0, 1, 2, Q - 1, Q - 2, (Q - 1) // 2, (Q + 1) // 2]
    multiple = 0
    while len(values) < 256:
        edge = (2 * multiple + 1) * gamma_2
        values.extend([(edge + change) % Q for change in (-1, 0, 1, 2)])
        multiple += 1
    return array("I", values[:256])


def test_the_transform_is_that_of_its_definition_at_its_bounds() -> None:
    # FIPS 204 section 2.5: f at zeta^(2 BitRev8(i) + 1).
    for tier in TIERS:
        for kind in (1, 3):
            before = polynomial(kind)
            after = array("I", before)
            tier.ntt(0, 0, after, mldsa._ZETAS)
            for index in (0, 1, 128, 255):
                reversed_bits = sum([(index >> bit & 1) << (7 - bit) for bit in range(8)])
                root = pow(1753, 2 * reversed_bits + 1, Q)
                value, power = 0, 1
                for each in before:
                    value += each * power
                    power = power * root % Q
                assert after[index] == value % Q, (tier.__name__, kind, index)
            tier.inverse_ntt(0, 0, after, mldsa._ZETAS)
            assert after == before, (tier.__name__, kind)


def test_products_and_differences_are_exact_at_their_bounds() -> None:
    for tier in TIERS:
        for one, two in ((1, 1), (1, 3), (3, 5), (0, 1)):
            left, right = polynomial(one), polynomial(two)
            total = array("I", bytes(1024))
            # ML-DSA-87 adds seven products and the one of the challenge.
            for _ in range(8):
                tier.multiply_add(0, 0, total, left, right)
            assert max(total) < 8 * Q * 7 // 5
            tier.reduce(0, total)
            assert list(total) == [8 * x * y % Q for x, y in zip(left, right)], tier.__name__
        for constant in (0, 2, 4096, 1 << 19):
            values = polynomial(3)
            tier.subtract_from(0, 0, values, constant)
            assert list(values) == [(constant - value) % Q for value in polynomial(3)], tier.__name__
        edges = array("I", [(1 << 31) - 1, 0, Q, Q - 1, 2 * Q, 1 << 23] + [255 * Q + 17] * 250)
        values = array("I", edges)
        tier.reduce(0, values)
        assert list(values) == [value % Q for value in edges], tier.__name__


def test_secrets_are_sampled_as_the_standard_says() -> None:
    # FIPS 204 algorithms 14 and 31.
    block = bytes([(index * 37 + (index >> 3)) & 255 for index in range(200)])
    halves = [half for byte in block[:136] for half in (byte & 15, byte >> 4)]
    for eta, limit, modulus in ((2, 15, 5), (4, 9, 16)):
        wanted = [(eta - half % modulus) % Q for half in halves if half < limit][:256]
        for tier in TIERS:
            for start in (0, 250):
                out = array("I", bytes(1024))
                done = tier.sample_bounded(start, 0, out, block, eta)
                assert done == min(256, start + len(wanted)), tier.__name__
                assert list(out)[start:done] == wanted[: done - start], tier.__name__


def test_matrix_entries_are_what_is_below_q() -> None:
    block = bytes([0x00, 0xE0, 0x7F, 0x01, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]) + bytes(range(191))
    candidates = [int.from_bytes(block[at : at + 3], "little") & 0x7FFFFF for at in range(0, 168, 3)]
    wanted = [value for value in candidates if value < Q]
    assert len(wanted) < len(candidates) and wanted[0] == Q - 1
    for tier in TIERS:
        for start in (0, 220):
            out = array("I", bytes(1024))
            done = tier.sample_ntt(start, 0, out, block)
            assert done == min(256, start + len(wanted)), tier.__name__
            assert list(out)[start:done] == wanted[: done - start], tier.__name__


def test_high_and_low_parts_are_those_of_the_standard() -> None:
    for tier in ROUNDING_TIERS:
        for highs, gamma_2 in ROUNDINGS:
            for values in (awkward(gamma_2), polynomial(3)):
                parts = [decompose(value, gamma_2) for value in values]
                out = array("I", bytes(1024))
                tier.high_bits(0, 0, values, out, highs)
                assert list(out) == [high for high, _ in parts], (tier.__name__, highs)
                tier.low_bits(0, 0, values, out, gamma_2)
                assert list(out) == [low % Q for _, low in parts], (tier.__name__, highs)
        # Algorithm 35.
        values = polynomial(3)
        values[0], values[1], values[2] = 4096, 4097, 12288
        high, low = array("I", values), array("I", bytes(1024))
        tier.power_2_round(0, 0, high, low)
        assert list(low) == [4096 - centred(value, 1 << 13) for value in values], tier.__name__
        assert [(one << 13) + 4096 - two for one, two in zip(high, low)] == list(values), tier.__name__


def test_a_bound_is_kept_exactly_on_both_sides() -> None:
    for tier in ROUNDING_TIERS:
        for bound in (1, 78, 261888 - 196, (1 << 19) - 196):
            for value, found in ((bound - 1, 0), (Q - bound + 1, 0), (bound, 1), (Q - bound, 1), (Q // 2, 1)):
                values = polynomial(0)
                values[255] = value
                assert tier.not_below(0, 0, values, bound) == found, (tier.__name__, bound, value)


def test_hints_carry_over_what_was_subtracted() -> None:
    # FIPS 204 section 7.4: UseHint(MakeHint(z, r), r) is HighBits(r + z) when z is at most gamma_2.
    for tier in ROUNDING_TIERS:
        for highs, gamma_2 in ROUNDINGS:
            for change in (0, 1, gamma_2, Q - 1, Q - gamma_2):
                before = awkward(gamma_2)
                after = array("I", [(value + change) % Q for value in before])
                one, two = array("I", bytes(1024)), array("I", bytes(1024))
                tier.high_bits(0, 0, before, one, highs)
                tier.high_bits(0, 0, after, two, highs)
                hints = bytearray(257)
                count = tier.make_hints(0, 0, one, two, hints)
                assert list(hints[:count]) == [index for index in range(256) if one[index] != two[index]]
                tier.use_hints(0, count, one, before, hints, highs)
                assert one == two, (tier.__name__, highs, change)


def test_a_difference_stays_modulo_q() -> None:
    for tier in ROUNDING_TIERS:
        values, others = polynomial(3), polynomial(5)
        tier.subtract(0, 0, values, others)
        wanted = [(one - two) % Q for one, two in zip(polynomial(3), others)]
        assert list(values) == wanted, tier.__name__
        values = array("I", [index * 4 for index in range(255)] + [1023])
        shifted = array("I", values)
        tier.shift_13(0, shifted)
        assert list(shifted) == [value << 13 for value in values], tier.__name__
