"""ML-KEM, ML-DSA, X25519 and AES by pyca/cryptography (OpenSSL inside the wheel).

ML-KEM and ML-DSA here take private keys from seeds but no randomness of ours, and there is no
ML-KEM-512: `hedged` is False for both, and the table below has no row for it.
"""

from collections.abc import Callable
from typing import Protocol

from cryptography import __version__
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from handfast.core import suites
from handfast.core.errors import AuthenticationError, LocalError
from handfast_cpython.crypto_parts import Kem, Signature

NAME = f"cryptography {__version__}"

_KEMS: dict[
    str,
    tuple[
        type[mlkem.MLKEM768PrivateKey] | type[mlkem.MLKEM1024PrivateKey],
        type[mlkem.MLKEM768PublicKey] | type[mlkem.MLKEM1024PublicKey],
    ],
] = {
    suites.ML_KEM_768: (mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
    suites.ML_KEM_1024: (mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey),
}
_SIGNATURES: dict[
    int,
    tuple[
        type[mldsa.MLDSA44PrivateKey] | type[mldsa.MLDSA65PrivateKey] | type[mldsa.MLDSA87PrivateKey],
        type[mldsa.MLDSA44PublicKey] | type[mldsa.MLDSA65PublicKey] | type[mldsa.MLDSA87PublicKey],
    ],
] = {
    suites.ML_DSA_44: (mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
    suites.ML_DSA_65: (mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
    suites.ML_DSA_87: (mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
}


class CryptographyKem:
    """ML-KEM-768 or -1024; sizes in `suites.KEMS`. KeyError for any other name."""

    name = NAME
    hedged = False

    def __init__(self, kem: str) -> None:
        self._private, self._public = _KEMS[kem]

    def public_key(self, seed: bytes) -> bytes:
        return self._private.from_seed_bytes(seed).public_key().public_bytes_raw()

    def encapsulate(self, public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
        """`randomness` is not used: OpenSSL draws its own."""
        shared_secret, ciphertext = self._public.from_public_bytes(public_key).encapsulate()
        return ciphertext, shared_secret

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        return self._private.from_seed_bytes(seed).decapsulate(ciphertext)


class CryptographySignature:
    """One parameter set of ML-DSA; sizes in `suites.SIGNATURES`."""

    name = NAME
    hedged = False

    def __init__(self, algorithm: int) -> None:
        self._private, self._public = _SIGNATURES[algorithm]

    def public_key(self, seed: bytes) -> bytes:
        return self._private.from_seed_bytes(seed).public_key().public_bytes_raw()

    def signer(self, seed: bytes) -> Callable[[bytes, bytes], bytes]:
        """A function (message, randomness) -> signature; `randomness` is not used."""
        key = self._private.from_seed_bytes(seed)
        return lambda message, randomness: key.sign(message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            self._public.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class X25519:
    """X25519 of RFC 7748 section 5 without the optional check of section 6.1."""

    name = NAME

    def public_key(self, scalar: bytes) -> bytes:
        return X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()

    def exchange(self, scalar: bytes, public_key: bytes) -> tuple[bytes, bytes]:
        """(own public key, shared secret), the scalar loaded once."""
        private = X25519PrivateKey.from_private_bytes(scalar)
        own = private.public_key().public_bytes_raw()
        try:
            return own, private.exchange(X25519PublicKey.from_public_bytes(public_key))
        except ValueError:
            # OpenSSL refuses a point of small order, for which the function of RFC 7748 section 5
            # gives zero. X-Wing is defined with that function and stays secret through ML-KEM.
            return own, bytes(32)


def kems() -> dict[str, Kem]:
    return {name: CryptographyKem(name) for name in _KEMS}


def signatures() -> dict[int, Signature]:
    return {number: CryptographySignature(number) for number in suites.SIGNATURES}


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class CryptographyAead:
    """One AEAD algorithm; sizes in `suites.AEADS`. No key is kept after the call."""

    name = NAME

    def __init__(self, algorithm: int) -> None:
        row = suites.AEADS[algorithm]
        self._name = row.name
        self._key_length = row.key_length
        self._nonce_length = row.nonce_length
        self._tag_length = tag_length = row.tag_length
        # RFC 3610 section 2.1: 15 bytes less the nonce are left for the length. OpenSSL fails on more.
        self._longest = (1 << 31) - 17 if algorithm == suites.A256GCM else 256 ** (15 - row.nonce_length) - 1
        self._load: Callable[[bytes], _Aead] = (
            AESGCM if algorithm == suites.A256GCM else lambda key: AESCCM(key, tag_length)
        )

    def _check(self, key: bytes, nonce: bytes) -> None:
        if len(key) != self._key_length or len(nonce) != self._nonce_length:
            raise LocalError(
                f"{self._name} needs a key of {self._key_length} and a nonce of {self._nonce_length} "
                f"bytes; got {len(key)} and {len(nonce)}"
            )

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        self._check(key, nonce)
        if len(plaintext) > self._longest:
            raise LocalError(f"{self._name} seals {self._longest} bytes at most, not {len(plaintext)}")
        return self._load(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        self._check(key, nonce)
        if len(ciphertext) > self._longest + self._tag_length:
            raise AuthenticationError
        try:
            return self._load(key).decrypt(nonce, ciphertext, aad)
        except InvalidTag:
            raise AuthenticationError from None
