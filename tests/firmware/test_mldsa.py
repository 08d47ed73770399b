"""ML-DSA of a board: published answers by whatever the board takes, and forgeries of every part."""

from refusal import refused
from vector_file import load, load_file

from handfast.core.errors import LocalError
from handfast.core.suites import ML_DSA_44, ML_DSA_65, SIGNATURES, SUITES
from handfast_micropython import scratch
from handfast_micropython.crypto import Crypto
from handfast_micropython.mldsa import ML_DSA

crypto = Crypto()
NAMES = {SIGNATURES[number].name: number for number in ML_DSA}
SEED = bytes(range(32))


def test_published_keys_and_signatures() -> None:
    for vector in load("mldsa"):
        fields = vector.fields
        algorithm = NAMES[fields["algorithm"].decode()]
        if crypto.name.endswith("bytecode") and algorithm != ML_DSA_44:
            # npm's build collects no garbage before a test ends, and bytecode makes much.
            continue
        public_key, message, signature = fields["public_key"], fields["message"], fields["signature"]
        assert crypto.signature_public_key(algorithm, fields["seed"]) == public_key, vector.name
        assert crypto.verify(algorithm, public_key, message, signature), vector.name
        made = crypto.sign(algorithm, fields["seed"], message, fields["randomness"])
        assert made == signature, vector.name


def test_a_change_of_any_part_is_refused() -> None:
    # The parts are the challenge, z, the hints and their counts.
    fields = load_file("mldsa", "hedged_ml_dsa_44.txt").fields
    public_key, message, signature = fields["public_key"], fields["message"], fields["signature"]
    for at in (0, 31, 32, 1000, 2335, 2336, 2415, 2416, 2419):
        changed = bytearray(signature)
        changed[at] ^= 1
        assert not crypto.verify(ML_DSA_44, public_key, message, bytes(changed)), at
    for at in (0, 32, 1311):
        changed = bytearray(public_key)
        changed[at] ^= 1
        assert not crypto.verify(ML_DSA_44, bytes(changed), message, signature), at
    assert not crypto.verify(ML_DSA_44, public_key, message + b"\0", signature)
    assert not crypto.verify(ML_DSA_44, public_key, message[:-1], signature)


def test_whatever_has_another_length_is_no_signature() -> None:
    public_key = crypto.signature_public_key(ML_DSA_44, SEED)
    signature = crypto.sign(ML_DSA_44, SEED, b"message", SEED)
    assert crypto.verify(ML_DSA_44, public_key, b"message", signature)
    for wrong in (b"", signature[:-1], signature + b"\0"):
        assert not crypto.verify(ML_DSA_44, public_key, b"message", wrong)
    for wrong in (b"", public_key[:-1], public_key + b"\0"):
        assert not crypto.verify(ML_DSA_44, wrong, b"message", signature)
    assert not crypto.verify(ML_DSA_65, public_key, b"message", signature)


def test_hints_have_one_encoding_only() -> None:
    # FIPS 204 algorithm 21: the counts are the last k bytes of the omega + k.
    check = ML_DSA[ML_DSA_44]._hints_in_order
    positions = bytes([3, 9, 9, 200]) + bytes(76)
    assert check(positions + bytes([2, 2, 3, 4]))
    assert check(bytes(84))
    for counts in ([2, 1, 3, 4], [2, 2, 3, 81], [3, 3, 3, 4], [2, 2, 3, 3], [0, 0, 0, 0]):
        assert not check(positions + bytes(counts)), counts
    assert not check(bytes([9, 3]) + bytes(78) + bytes([2, 2, 2, 2]))
    assert not check(bytes(79) + b"\x01" + bytes(4))


def test_randomness_decides_the_signature_and_not_whether_it_holds() -> None:
    public_key = crypto.signature_public_key(ML_DSA_44, SEED)
    one, two = [crypto.sign(ML_DSA_44, SEED, b"message", byte * 32) for byte in (b"1", b"2")]
    assert one != two
    assert crypto.verify(ML_DSA_44, public_key, b"message", one)
    assert crypto.verify(ML_DSA_44, public_key, b"message", two)
    assert crypto.sign(ML_DSA_44, SEED, b"message", b"1" * 32) == one


def test_no_secret_stays_in_the_scratch_memory() -> None:
    crypto.sign(ML_DSA_44, SEED, b"message", SEED)
    assert max(scratch.words(9 * 256)) == max([max(piece) for piece in scratch.pieces(6)]) == 0
    crypto.signature_public_key(ML_DSA_44, SEED)
    assert max(scratch.words(9 * 256)) == 0


def test_arguments_of_another_length_are_refused() -> None:
    for algorithm in ML_DSA:
        for length in (0, 31, 33):
            refused(LocalError, crypto.signature_public_key, algorithm, bytes(length))
            refused(LocalError, crypto.sign, algorithm, bytes(length), b"", SEED)
            refused(LocalError, crypto.sign, algorithm, SEED, b"", bytes(length))
    refused(LocalError, crypto.signature_public_key, -7, SEED)
    refused(LocalError, crypto.sign, -7, SEED, b"", SEED)
    refused(LocalError, crypto.verify, -7, b"", b"", b"")


def test_every_suite_is_there() -> None:
    for number in SUITES:
        assert crypto.supports(number), number
    assert not crypto.supports(0)
