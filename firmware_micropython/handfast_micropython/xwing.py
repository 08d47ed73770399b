"""X-Wing: the KEM MLKEM768-X25519 (draft-connolly-cfrg-xwing-kem section 5).

Encapsulation key pk_M (1184) || pk_X (32), ciphertext ct_M (1088) || ct_X (32), private key a seed
of 32 bytes, randomness m (32) || the scalar (32).
"""

from handfast_micropython.buffers import equal
from handfast_micropython.keccak import sha3_256, shake256
from handfast_micropython.mlkem import ML_KEM
from handfast_micropython.x25519 import public_key as x25519_public_key
from handfast_micropython.x25519 import scalar_multiplication

_ML_KEM_768 = ML_KEM["ML-KEM-768"]
_LABEL = b"\\.//^\\"
_PUBLIC_KEY_M = 1184
_CIPHERTEXT_M = 1088


class XWing:
    """The combination of ML-KEM-768 and X25519; the same face as `mlkem.MlKem`."""

    def __init__(self) -> None:
        # The last pk_X, for the decapsulation that follows; it is found by the hash of its seed.
        self._made = (b"", b"")

    def public_key(self, seed: bytes) -> bytes:
        """pk_M || pk_X of the 32 bytes of `seed`, section 5.2."""
        expanded = shake256(seed, 96)
        pk_x = x25519_public_key(expanded[64:])
        self._made = (sha3_256(seed), pk_x)
        return _ML_KEM_768.public_key(expanded[:64]) + pk_x

    def encapsulate(self, public_key: bytes, randomness: bytes) -> "tuple[bytes, bytes]":
        """(ciphertext, shared secret of 32 bytes), section 5.4; DecodeError as ML-KEM has it."""
        pk_x = public_key[_PUBLIC_KEY_M:]
        ct_m, ss_m = _ML_KEM_768.encapsulate(public_key[:_PUBLIC_KEY_M], randomness[:32])
        ct_x = x25519_public_key(randomness[32:])
        ss_x = scalar_multiplication(randomness[32:], pk_x)
        return ct_m + ct_x, _combine(ss_m, ss_x, ct_x, pk_x)

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """The shared secret, 32 bytes, section 5.5; a wrong one for a wrong ciphertext."""
        expanded = shake256(seed, 96)
        ct_x = ciphertext[_CIPHERTEXT_M:]
        ss_m = _ML_KEM_768.decapsulate(expanded[:64], ciphertext[:_CIPHERTEXT_M])
        ss_x = scalar_multiplication(expanded[64:], ct_x)
        hashed, pk_x = self._made
        self._made = (b"", b"")
        if not equal(hashed, sha3_256(seed)):
            pk_x = x25519_public_key(expanded[64:])
        return _combine(ss_m, ss_x, ct_x, pk_x)


def _combine(ss_m: bytes, ss_x: bytes, ct_x: bytes, pk_x: bytes) -> bytes:
    # Section 5.3.
    return sha3_256(ss_m + ss_x + ct_x + pk_x + _LABEL)


X_WING = XWing()
