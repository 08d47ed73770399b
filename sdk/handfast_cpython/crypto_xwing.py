"""X-Wing: the KEM MLKEM768-X25519 over any ML-KEM-768 and X25519.

draft-connolly-cfrg-xwing-kem section 5; the same KEM as MLKEM768-X25519 of
draft-irtf-cfrg-concrete-hybrid-kems. Encapsulation key pk_M (1184) || pk_X (32), ciphertext
ct_M (1088) || ct_X (32), private key a seed of 32 bytes, randomness m (32) || the scalar (32).
"""

from hashlib import sha3_256, shake_256

from handfast_cpython.crypto_parts import DiffieHellman, Kem

_LABEL = b"\\.//^\\"
_PUBLIC_KEY_M = 1184
_CIPHERTEXT_M = 1088


class XWing:
    """The combination (`crypto_parts.Kem`); ValueError when FIPS 203 section 7.2 refuses pk_M."""

    def __init__(self, mlkem: Kem, x25519: DiffieHellman) -> None:
        self.name = mlkem.name
        self.hedged = mlkem.hedged
        self._mlkem = mlkem
        self._x25519 = x25519

    def public_key(self, seed: bytes) -> bytes:
        expanded = shake_256(seed).digest(96)
        return self._mlkem.public_key(expanded[:64]) + self._x25519.public_key(expanded[64:])

    def encapsulate(self, public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
        pk_x = public_key[_PUBLIC_KEY_M:]
        ct_m, ss_m = self._mlkem.encapsulate(public_key[:_PUBLIC_KEY_M], randomness[:32])
        ct_x, ss_x = self._x25519.exchange(randomness[32:], pk_x)
        return ct_m + ct_x, sha3_256(ss_m + ss_x + ct_x + pk_x + _LABEL).digest()

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        expanded = shake_256(seed).digest(96)
        ct_x = ciphertext[_CIPHERTEXT_M:]
        ss_m = self._mlkem.decapsulate(expanded[:64], ciphertext[:_CIPHERTEXT_M])
        pk_x, ss_x = self._x25519.exchange(expanded[64:], ct_x)
        return sha3_256(ss_m + ss_x + ct_x + pk_x + _LABEL).digest()
