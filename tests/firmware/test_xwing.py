"""X-Wing of a board: the draft's vectors, and what neither half of it checks by itself."""

from refusal import refused
from vector_file import load

from handfast.core.errors import DecodeError, LocalError
from handfast.core.suites import KEMS, MLKEM768_X25519
from handfast_micropython.crypto import Crypto

crypto = Crypto()
SEED = bytes(range(32))


def test_published_keys_ciphertexts_and_secrets() -> None:
    for vector in load("xwing"):
        fields = vector.fields
        kem = fields["kem"].decode()
        if vector.expect == "DecodeError":
            refused(DecodeError, crypto.encapsulate, kem, fields["public_key"], bytes(64))
            continue
        if "seed" in fields and "public_key" in fields:
            assert crypto.kem_public_key(kem, fields["seed"]) == fields["public_key"], vector.name
        if "seed" in fields:
            secret = crypto.decapsulate(kem, fields["seed"], fields["ciphertext"])
            assert secret == fields["shared_secret"], vector.name
        if "randomness" in fields:
            made = crypto.encapsulate(kem, fields["public_key"], fields["randomness"])
            assert made == (fields["ciphertext"], fields["shared_secret"]), vector.name


def test_each_half_of_a_ciphertext_counts() -> None:
    public_key = crypto.kem_public_key(MLKEM768_X25519, SEED)
    ciphertext, secret = crypto.encapsulate(MLKEM768_X25519, public_key, SEED + SEED)
    assert crypto.decapsulate(MLKEM768_X25519, SEED, ciphertext) == secret
    for at in (0, 1087, 1088, 1118):
        changed = bytearray(ciphertext)
        changed[at] ^= 1
        assert crypto.decapsulate(MLKEM768_X25519, SEED, bytes(changed)) != secret, at


def test_arguments_of_another_length_are_refused() -> None:
    row = KEMS[MLKEM768_X25519]
    for change in (-1, 1):
        name = row.name
        refused(LocalError, crypto.kem_public_key, name, bytes(row.seed + change))
        refused(LocalError, crypto.encapsulate, name, bytes(row.public_key), bytes(row.randomness + change))
        refused(DecodeError, crypto.encapsulate, name, bytes(row.public_key + change), bytes(row.randomness))
        refused(LocalError, crypto.decapsulate, name, bytes(row.seed + change), bytes(row.ciphertext))
        refused(DecodeError, crypto.decapsulate, name, bytes(row.seed), bytes(row.ciphertext + change))
