"""ML-KEM and ML-DSA by PyCryptodome (mlkem-native and mldsa-native, in C).

Every parameter set, private keys from seeds, and both calls that consume randomness take ours.
The GIL is released while C runs. Derandomised encapsulation (FIPS 203 algorithm 17) is the
private method `MLKEMKey._encaps(coins)`; a test pins it.
"""

from collections.abc import Callable

from Crypto import __version__
from Crypto.PublicKey import MLDSA, MLKEM
from Crypto.Signature import mldsa

from handfast.core import suites
from handfast_cpython.crypto_parts import Kem, Signature

NAME = f"pycryptodome {__version__}"


class PycryptodomeKem:
    """One parameter set of ML-KEM; sizes in `suites.KEMS`. ValueError for what FIPS 203 refuses."""

    name = NAME
    hedged = True

    def __init__(self, kem: str) -> None:
        self._set = MLKEM.ParamSet(kem)

    def public_key(self, seed: bytes) -> bytes:
        return MLKEM.MLKEMKey(param_set=self._set, seed=seed).ek

    def encapsulate(self, public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
        key = MLKEM.MLKEMKey(param_set=self._set, ek=public_key)
        shared_secret, ciphertext = key._encaps(randomness)
        return ciphertext, shared_secret

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        return MLKEM.MLKEMKey(param_set=self._set, seed=seed)._decaps(ciphertext)


class PycryptodomeSignature:
    """One parameter set of ML-DSA; sizes in `suites.SIGNATURES`."""

    name = NAME
    hedged = True

    def __init__(self, algorithm: int) -> None:
        self._set = MLDSA.ParamSet(suites.SIGNATURES[algorithm].name)

    def public_key(self, seed: bytes) -> bytes:
        return MLDSA.MLDSAKey(param_set=self._set, seed=seed).pk

    def signer(self, seed: bytes) -> Callable[[bytes, bytes], bytes]:
        """A function (message, randomness) -> signature that holds the expanded private key."""
        key = MLDSA.MLDSAKey(param_set=self._set, seed=seed)

        def sign(message: bytes, randomness: bytes) -> bytes:
            return mldsa.new(key, randfunc=lambda _: randomness).sign(message)

        return sign

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            key = MLDSA.MLDSAKey(param_set=self._set, pk=public_key)
            mldsa.new(key).verify(message, signature)
        except ValueError:
            return False
        return True


def kems() -> dict[str, Kem]:
    return {
        name: PycryptodomeKem(name) for name in (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024)
    }


def signatures() -> dict[int, Signature]:
    return {number: PycryptodomeSignature(number) for number in suites.SIGNATURES}
