"""X25519 of a board: RFC 7748 in every tier, and viper's arithmetic against plain integers at its bounds."""

from array import array

from tiers import tiers

from handfast_micropython import x25519, x25519_bytecode

TIERS = tiers("x25519")
try:
    from handfast_micropython import x25519_field_viper as field
    from handfast_micropython import x25519_product_viper as product
except (ImportError, SyntaxError):
    field = None

P = (1 << 255) - 19
# Private keys of RFC 7748 section 6.1.
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"


def number(limbs: "array[int]") -> int:
    return sum([limbs[index] << (13 * index) for index in range(20)])


def operands() -> "list[array[int]]":
    """Limbs as large as the functions leave them: 8191 but for 10015, 8240 and 8200 at the bottom."""
    full = [8191] * 20
    return [
        array("I", bytes(80)),
        array("I", [1] + [0] * 19),
        array("I", [10015, 8240, 8200] + full[3:]),
        # p, p - 1 and 2 p, which are 0, p - 1 and 0 when they are packed.
        array("I", [8192 - 19] + full[:18] + [255]),
        array("I", [8192 - 20] + full[:18] + [255]),
        array("I", [8192 - 38] + full[:18] + [511]),
        array("I", [(index * 4567 + 89) % 8192 for index in range(20)]),
    ]


def test_each_tier_multiplies_as_rfc_7748_says() -> None:
    # Section 5.2; the second u has its highest bit set, which does not count. Section 6.1.
    for scalar, u, product in (
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ):
        for tier in TIERS:
            made = tier.scalar_multiplication(bytes.fromhex(scalar), bytes.fromhex(u))
            assert made.hex() == product, tier.__name__


def test_the_iterations_of_rfc_7748_begin_as_they_should() -> None:
    # Section 5.2: k and u start at 9; the product becomes k, and k becomes u. The first k is published.
    for tier in TIERS:
        k = u = b"\x09" + bytes(31)
        k, u = tier.scalar_multiplication(k, u), k
        assert k.hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079", tier.__name__
        for _ in range(10):
            k, u = tier.scalar_multiplication(k, u), k
        other_k = other_u = b"\x09" + bytes(31)
        for _ in range(11):
            other_k, other_u = x25519_bytecode.scalar_multiplication(other_k, other_u), other_k
        assert (k, u) == (other_k, other_u), tier.__name__


def test_the_two_sides_of_rfc_7748_agree() -> None:
    alice = bytes.fromhex(ALICE)
    bob = bytes.fromhex(BOB)
    assert (
        x25519.public_key(alice).hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    )
    assert x25519.public_key(bob).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert x25519.scalar_multiplication(alice, x25519.public_key(bob)).hex() == shared
    assert x25519.scalar_multiplication(bob, x25519.public_key(alice)).hex() == shared


def test_sums_products_and_packing_are_exact_at_their_bounds() -> None:
    if field is None:
        return
    work = array("I", bytes(320))
    out = array("I", bytes(80))
    packed = bytearray(32)

    def value() -> int:
        assert max(out) <= 10015 and max([out[index] for index in range(2, 20)]) <= 8200
        field.pack(0, 0, packed, array("I", out))
        return int.from_bytes(packed, "little")

    for left in operands():
        product.square(left, 0, out, work)
        assert value() == number(left) * number(left) % P
        for right in operands():
            product.multiply(left, right, out, work)
            assert value() == number(left) * number(right) % P
            field.sum_and_difference(0, left, right, out, work)
            assert value() == (number(left) + number(right)) % P
            field.sum_and_difference(0, left, right, work, out)
            assert value() == (number(left) - number(right)) % P
            field.add_121665_times(0, left, right, out)
            assert value() == (number(left) + 121665 * number(right)) % P


def test_points_of_small_order_give_zero() -> None:
    # RFC 7748 section 6.1; 0, 1, p - 1, p, p + 1 and a point of order 8.
    eight = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"
    points = [bytes(32), b"\x01" + bytes(31), bytes.fromhex(eight)]
    points += [(P + change).to_bytes(32, "little") for change in (-1, 0, 1)]
    for point in points:
        for tier in TIERS:
            assert tier.scalar_multiplication(bytes(range(32)), point) == bytes(32), tier.__name__
