"""kyber-py and dilithium-py as a back end of Crypto: slow, not constant in time, and written by others.

`Crypto(pure_python)` takes randomness everywhere, so it can make and check frozen handshakes beside
PyCryptodome. The two packages follow FIPS 203 and 204 line by line.
"""

from collections.abc import Callable

from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65, ML_DSA_87
from kyber_py.ml_kem import ML_KEM_512, ML_KEM_768, ML_KEM_1024

from handfast.core import suites
from handfast_cpython.crypto_parts import Kem, Signature

_KEMS = {suites.ML_KEM_512: ML_KEM_512, suites.ML_KEM_768: ML_KEM_768, suites.ML_KEM_1024: ML_KEM_1024}
_SIGNATURES = {suites.ML_DSA_44: ML_DSA_44, suites.ML_DSA_65: ML_DSA_65, suites.ML_DSA_87: ML_DSA_87}
# FIPS 204 algorithm 2: what stands before the message when it is not hashed and the context is empty.
_PURE = b"\0\0"


class PureKem:
    name = "kyber-py"
    hedged = True

    def __init__(self, kem: str) -> None:
        self._kem = _KEMS[kem]

    def public_key(self, seed: bytes) -> bytes:
        return self._kem.key_derive(seed)[0]

    def encapsulate(self, public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
        shared_secret, ciphertext = self._kem._encaps_internal(public_key, randomness)
        return ciphertext, shared_secret

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        return self._kem.decaps(self._kem.key_derive(seed)[1], ciphertext)


class PureSignature:
    name = "dilithium-py"
    hedged = True

    def __init__(self, algorithm: int) -> None:
        self._signature = _SIGNATURES[algorithm]
        self._row = suites.SIGNATURES[algorithm]

    def public_key(self, seed: bytes) -> bytes:
        return self._signature.key_derive(seed)[0]

    def signer(self, seed: bytes) -> Callable[[bytes, bytes], bytes]:
        secret_key = self._signature.key_derive(seed)[1]
        return lambda message, randomness: self._signature._sign_internal(
            secret_key, _PURE + message, randomness
        )

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if (len(public_key), len(signature)) != (self._row.public_key, self._row.signature):
            return False
        return self._signature.verify(public_key, message, signature)


def kems() -> dict[str, Kem]:
    return {name: PureKem(name) for name in _KEMS}


def signatures() -> dict[int, Signature]:
    return {number: PureSignature(number) for number in _SIGNATURES}
