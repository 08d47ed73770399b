"""Cipher suites: numbers, sizes, and which calls of the Crypto port each one needs.

A suite row follows the order of the EDHOC registry (RFC 9528 section 10.2): EDHOC AEAD, EDHOC
hash, MAC length for static DH, key exchange, signature, application AEAD, application hash. The
key exchange is always a KEM here (draft-ietf-lake-pqsuites): the encapsulation key travels in
G_X, the ciphertext in G_Y. There is no row without a post-quantum part.
"""

from collections import namedtuple

from handfast.core.errors import LocalError

# COSE algorithm numbers (IANA COSE registry; ML-DSA: RFC 9964).
SHA_256 = -16
SHA_384 = -43
SHAKE256 = -45
A256GCM = 3
AES_CCM_16_64_128 = 10
AES_CCM_16_128_128 = 30
AES_CCM_16_128_256 = 31
ML_DSA_44 = -48
ML_DSA_65 = -49
ML_DSA_87 = -50

# KEM names. COSE has assigned no numbers yet, so the names are the identifiers.
ML_KEM_512 = "ML-KEM-512"
ML_KEM_768 = "ML-KEM-768"
ML_KEM_1024 = "ML-KEM-1024"
MLKEM768_X25519 = "MLKEM768-X25519"

Hash = namedtuple("Hash", ("name", "length"))
Aead = namedtuple("Aead", ("name", "key_length", "nonce_length", "tag_length"))
Kem = namedtuple("Kem", ("name", "public_key", "ciphertext", "seed", "randomness"))
Signature = namedtuple("Signature", ("name", "public_key", "signature", "seed", "randomness"))

# Lengths in bytes; SHAKE256 gives 64 (RFC 9528 section 4.1.1).
HASHES = {
    SHA_256: Hash("SHA-256", 32),
    SHA_384: Hash("SHA-384", 48),
    SHAKE256: Hash("SHAKE256", 64),
}
AEADS = {
    A256GCM: Aead("A256GCM", 32, 12, 16),
    AES_CCM_16_64_128: Aead("AES-CCM-16-64-128", 16, 13, 8),
    AES_CCM_16_128_128: Aead("AES-CCM-16-128-128", 16, 13, 16),
    AES_CCM_16_128_256: Aead("AES-CCM-16-128-256", 32, 13, 16),
}
# FIPS 203 table 3; X-Wing: draft-connolly-cfrg-xwing-kem section 5. `seed` is what a private key
# is stored as (d || z, or the X-Wing seed), `randomness` what encapsulation consumes (m, or
# m || the X25519 scalar).
KEMS = {
    ML_KEM_512: Kem(ML_KEM_512, 800, 768, 64, 32),
    ML_KEM_768: Kem(ML_KEM_768, 1184, 1088, 64, 32),
    ML_KEM_1024: Kem(ML_KEM_1024, 1568, 1568, 64, 32),
    MLKEM768_X25519: Kem(MLKEM768_X25519, 1216, 1120, 32, 64),
}
# FIPS 204 table 2; the private key is the 32-byte seed xi (RFC 9964 section 3).
SIGNATURES = {
    ML_DSA_44: Signature("ML-DSA-44", 1312, 2420, 32, 32),
    ML_DSA_65: Signature("ML-DSA-65", 1952, 3309, 32, 32),
    ML_DSA_87: Signature("ML-DSA-87", 2592, 4627, 32, 32),
}

Suite = namedtuple(
    "Suite",
    (
        "number",
        "aead",
        "hash",
        "mac_length",
        "kem",
        "signature",
        "app_aead",
        "app_hash",
        # What seals the records after the handshake. Differs from app_aead only in -24, whose
        # application AEAD has a 64-bit tag: records never do.
        "record_aead",
        # GATE, ROOTC and one of ROOTR and STATUS must be present. On for every row here; tests
        # bring rows of their own with it off, to meet foreign peers.
        "mandatory_items",
    ),
)

# Private-use values of the EDHOC cipher suite registry (RFC 9528 section 10.2: -24..-21).
SUITES = {
    -21: Suite(-21, 31, SHAKE256, 16, MLKEM768_X25519, ML_DSA_65, 31, SHA_256, AES_CCM_16_128_256, True),
    -22: Suite(-22, 31, SHAKE256, 16, ML_KEM_768, ML_DSA_65, 31, SHA_256, AES_CCM_16_128_256, True),
    -23: Suite(-23, 3, SHA_384, 16, ML_KEM_1024, ML_DSA_87, 3, SHA_384, A256GCM, True),
    -24: Suite(-24, 30, SHAKE256, 16, ML_KEM_512, ML_DSA_44, 10, SHA_256, AES_CCM_16_128_128, True),
}

DEFAULT_SUITES = (-21, -22)


def suite(number: int) -> Suite:
    """The row of suite `number`; LocalError when there is none."""
    row = SUITES.get(number)
    if row is None:
        raise LocalError("no suite %d; there are %s" % (number, sorted(SUITES)))
    return row
