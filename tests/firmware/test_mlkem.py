"""ML-KEM of a board: published answers by whatever the board takes, and the arithmetic of every tier."""

from array import array

from refusal import refused
from tiers import tiers
from vector_file import load

from handfast.core.errors import DecodeError, LocalError
from handfast.core.suites import KEMS, ML_KEM_512
from handfast_micropython import mlkem
from handfast_micropython.crypto import Crypto

TIERS = tiers("mlkem")
Q = 3329
SEED = bytes(range(64))
crypto = Crypto()


def polynomial(kind: int) -> "array[int]":
    """0: all zero; 1: all q - 1; else something irregular."""
    if kind < 2:
        return array("I", [kind * (Q - 1)] * 256)
    return array("I", [(index * index * kind + 77 * index) % Q for index in range(256)])


def bits_reversed(number: int) -> int:
    """BitRev7, FIPS 203 section 4.3."""
    return sum([(number >> bit & 1) << (6 - bit) for bit in range(7)])


def test_published_keys_ciphertexts_and_secrets() -> None:
    for vector in load("mlkem"):
        fields = vector.fields
        kem = fields["kem"].decode()
        if vector.expect == "DecodeError":
            refused(DecodeError, crypto.encapsulate, kem, fields["public_key"], bytes(32))
            continue
        if "public_key" in fields:
            assert crypto.kem_public_key(kem, fields["seed"]) == fields["public_key"], vector.name
            made = crypto.encapsulate(kem, fields["public_key"], fields["randomness"])
            assert made == (fields["ciphertext"], fields["shared_secret"]), vector.name
        secret = crypto.decapsulate(kem, fields["seed"], fields["ciphertext"])
        assert secret == fields["shared_secret"], vector.name


def test_a_key_is_found_again_and_made_again() -> None:
    public_key = crypto.kem_public_key(ML_KEM_512, SEED)
    ciphertext, secret = crypto.encapsulate(ML_KEM_512, public_key, SEED[:32])
    # The first time the public key is at hand, the second time it is not, the third it is another's.
    assert crypto.decapsulate(ML_KEM_512, SEED, ciphertext) == secret
    assert crypto.decapsulate(ML_KEM_512, SEED, ciphertext) == secret
    crypto.kem_public_key(ML_KEM_512, SEED[32:] + SEED[:32])
    assert crypto.decapsulate(ML_KEM_512, SEED, ciphertext) == secret


def test_every_changed_byte_of_a_ciphertext_gives_a_secret_of_its_own() -> None:
    public_key = crypto.kem_public_key(ML_KEM_512, SEED)
    ciphertext, secret = crypto.encapsulate(ML_KEM_512, public_key, SEED[:32])
    seen = [secret]
    for at in (0, 400, 767):
        changed = bytearray(ciphertext)
        changed[at] ^= 0x80
        seen.append(crypto.decapsulate(ML_KEM_512, SEED, bytes(changed)))
        again = crypto.decapsulate(ML_KEM_512, SEED, bytes(changed))
        assert again == seen[-1], "implicit rejection is not deterministic"
    assert len(set(seen)) == 4


def test_no_secret_stays_in_the_scratch_memory() -> None:
    from handfast_micropython import scratch

    public_key = crypto.kem_public_key(ML_KEM_512, SEED)
    ciphertext, _ = crypto.encapsulate(ML_KEM_512, public_key, SEED[:32])
    crypto.decapsulate(ML_KEM_512, SEED, ciphertext)
    refused(DecodeError, crypto.encapsulate, ML_KEM_512, b"\xff" * 800, SEED[:32])
    words = scratch.words(2048)
    assert max(words) == 0


def test_arguments_of_another_length_are_refused() -> None:
    for name in mlkem.ML_KEM:
        row = KEMS[name]
        for change in (-1, 1):
            refused(LocalError, crypto.kem_public_key, name, bytes(row.seed + change))
            refused(LocalError, crypto.encapsulate, name, bytes(row.public_key), bytes(32 + change))
            refused(DecodeError, crypto.encapsulate, name, bytes(row.public_key + change), bytes(32))
            refused(LocalError, crypto.decapsulate, name, bytes(row.seed + change), bytes(row.ciphertext))
            refused(DecodeError, crypto.decapsulate, name, bytes(row.seed), bytes(row.ciphertext + change))
    refused(LocalError, crypto.kem_public_key, "ML-KEM-42", SEED)


def test_the_transform_is_that_of_its_definition_at_its_bounds() -> None:
    # FIPS 203 section 4.3 (4.12): f modulo X^2 - zeta^(2 BitRev7(i) + 1).
    for tier in TIERS:
        for kind in (1, 3):
            before = polynomial(kind)
            after = array("I", before)
            tier.ntt(0, 0, after, mlkem._ZETAS)
            assert max(after) < 15 * Q
            tier.reduce(0, after)
            for pair in (0, 1, 64, 127):
                gamma = pow(17, 2 * bits_reversed(pair) + 1, Q)
                for odd in (0, 1):
                    value = sum([before[2 * i + odd] * pow(gamma, i, Q) for i in range(128)])
                    assert after[2 * pair + odd] == value % Q, (tier.__name__, kind, pair)
            tier.inverse_ntt(0, 0, after, mlkem._ZETAS)
            assert after == before, (tier.__name__, kind)


def test_products_are_those_of_their_definition_at_their_bounds() -> None:
    for tier in TIERS:
        for kind in (1, 5):
            left, right = polynomial(kind), polynomial(kind)
            twisted = array("I", bytes(4 * 128))
            total = array("I", bytes(4 * 256))
            tier.twist(0, 0, right, mlkem._ZETAS, twisted)
            # Four terms are as many as ML-KEM-1024 adds.
            for _ in range(4):
                tier.multiply_add(0, 0, total, left, right, twisted)
            assert max(total) <= 8 * Q * Q
            tier.reduce(0, total)
            for pair in range(128):
                gamma = pow(17, 2 * bits_reversed(pair) + 1, Q)
                x, y = left[2 * pair], left[2 * pair + 1]
                assert total[2 * pair] == 4 * (x * x + y * y * gamma) % Q, tier.__name__
                assert total[2 * pair + 1] == 4 * (2 * x * y) % Q, tier.__name__


def test_reduction_and_compression_are_exact() -> None:
    for tier in TIERS:
        inputs = [0, 1, Q - 1, Q, Q + 1, 2 * Q - 1, 99999999, 8 * Q * Q, 8 * Q * Q - 1]
        inputs += [Q * index * 97 for index in range(200)]
        inputs += [Q * (256 + index) - 1 for index in range(256 - len(inputs))]
        values = array("I", inputs)
        tier.reduce(0, values)
        assert list(values) == [value % Q for value in inputs], tier.__name__
        for bits in (1, 4, 5, 10, 11):
            for start in range(0, 2 * Q, 256 if bits in (4, 11) else 1024):
                inputs = [(start + index) % (2 * Q) for index in range(256)]
                values = array("I", inputs)
                tier.compress(0, values, bits)
                # Rounding half up; q is odd, so there is no half.
                wanted = [(((value % Q) << bits) * 2 + Q) // (2 * Q) % (1 << bits) for value in inputs]
                assert list(values) == wanted, (tier.__name__, bits)


def test_the_modulus_check_sees_one_coefficient() -> None:
    for tier in TIERS:
        assert tier.not_below_q(0, polynomial(1)) == 0
        for at in (0, 255):
            for value in (Q, 4095):
                changed = polynomial(1)
                changed[at] = value
                assert tier.not_below_q(0, changed) == 1, tier.__name__


def test_the_tiers_sample_alike() -> None:
    data = bytes([(17 * index * index + 5) & 255 for index in range(200)])
    for name, inputs in (
        ("sample_binomial_2", data),
        ("sample_binomial_3", data),
        ("sample_ntt", data),
    ):
        results = []
        for tier in TIERS:
            out = array("I", bytes(1024))
            returned = getattr(tier, name)(0, 0, out, inputs)
            results.append((returned, out))
        for result in results:
            assert result == results[0], name
        assert max(results[0][1]) < Q


def test_a_secret_is_replaced_exactly_when_two_texts_differ() -> None:
    one = bytes(range(100))
    for tier in TIERS:
        secret = bytearray(b"s" * 32)
        tier.replace_unless_equal(0, secret, b"o" * 32, one, bytearray(one), 100)
        assert secret == b"s" * 32, tier.__name__
        for at in (0, 99):
            for bit in (0, 7):
                other = bytearray(one)
                other[at] ^= 1 << bit
                secret = bytearray(b"s" * 32)
                tier.replace_unless_equal(0, secret, b"o" * 32, one, other, 100)
                assert secret == b"o" * 32, tier.__name__
