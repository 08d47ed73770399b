"""kyber-py and dilithium-py beside the libraries: other people's code, the same bytes.

Three seeds and messages for each parameter set; a pure Python signature takes tens of milliseconds.
"""

import hashlib

import pytest
from crypto_libraries import EVERY_LIBRARY, crypto_of
from interop import pure_python

from handfast.core import suites
from handfast.core.errors import DecodeError
from handfast_cpython.crypto import Crypto

ROUNDS = 3
# By name: the tests of RFC 9529 add rows of their own to the tables of suites.py.
KEMS = (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024, suites.MLKEM768_X25519)
SIGNATURES = (suites.ML_DSA_44, suites.ML_DSA_65, suites.ML_DSA_87)
PURE = Crypto(pure_python)


def drawn(what: str, length: int) -> bytes:
    return hashlib.shake_256(what.encode()).digest(length)


def test_it_says_whose_code_it_is_and_that_it_takes_randomness() -> None:
    assert PURE.name.startswith("kyber-py, ")
    assert PURE.hedged
    assert all(PURE.supports(suite) for suite in (-21, -22, -23, -24))


@EVERY_LIBRARY
@pytest.mark.parametrize("kem", KEMS)
def test_kems_agree(library: str, kem: str) -> None:
    crypto, row = crypto_of(library), suites.KEMS[kem]
    for index in range(ROUNDS):
        seed = drawn(f"{kem} seed {index}", row.seed)
        randomness = drawn(f"{kem} randomness {index}", row.randomness)
        public_key = crypto.kem_public_key(kem, seed)
        assert public_key == PURE.kem_public_key(kem, seed)
        ciphertext, shared_secret = crypto.encapsulate(kem, public_key, randomness)
        assert PURE.decapsulate(kem, seed, ciphertext) == shared_secret
        if crypto.hedged:
            assert PURE.encapsulate(kem, public_key, randomness) == (ciphertext, shared_secret)
        wrong = ciphertext[:-1] + bytes([ciphertext[-1] ^ 0x80])
        rejected = crypto.decapsulate(kem, seed, wrong)
        assert rejected == PURE.decapsulate(kem, seed, wrong)
        assert len(rejected) == 32
        assert rejected != shared_secret


@EVERY_LIBRARY
@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_signatures_agree(library: str, algorithm: int) -> None:
    crypto = crypto_of(library)
    for index in range(ROUNDS):
        seed, randomness = drawn(f"seed {index}", 32), drawn(f"randomness {index}", 32)
        message = drawn(f"message {index}", 100 * index)
        public_key = crypto.signature_public_key(algorithm, seed)
        assert public_key == PURE.signature_public_key(algorithm, seed)
        signature = crypto.sign(algorithm, seed, message, randomness)
        assert PURE.verify(algorithm, public_key, message, signature)
        assert not PURE.verify(algorithm, public_key, message + b"\0", signature)
        if crypto.hedged:
            assert PURE.sign(algorithm, seed, message, randomness) == signature


def test_it_refuses_the_same_encapsulation_keys() -> None:
    for kem in KEMS:
        row = suites.KEMS[kem]
        with pytest.raises(DecodeError):
            PURE.encapsulate(kem, b"\xff" * row.public_key, bytes(row.randomness))
