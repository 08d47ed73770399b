"""The Crypto port of a board: every primitive, and the sizes of every argument.

KEMs, signatures, Keccak and what one suite alone uses are loaded when they are first called for: a device
that has the keys of its epoch opens and seals records, and needs none of them.

What a peer sent wrongly is a DecodeError or an AuthenticationError, what our own caller passed wrongly is a
LocalError.
"""

import hashlib

from handfast.core.errors import DecodeError, LocalError
from handfast.core.suites import (
    A256GCM,
    AEADS,
    HASHES,
    KEMS,
    MLKEM768_X25519,
    SHA_256,
    SHA_384,
    SHAKE256,
    SIGNATURES,
    SUITES,
)
from handfast_micropython import phases
from handfast_micropython.buffers import equal, xor_into
from handfast_micropython.tier import TIER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.core.suites import Kem, Signature
    from handfast_micropython.mldsa import MlDsa
    from handfast_micropython.mlkem import MlKem
    from handfast_micropython.xwing import XWing


class Crypto:
    """Every primitive of the suites -21 to -24 (`handfast.ports.Crypto`)."""

    # With the tier: native, viper or bytecode.
    name = "handfast_micropython, " + TIER
    hedged = True

    def pieces(self, pieces: "tuple[bytes, ...]") -> "tuple[bytes, ...]":
        """Hashes, KMAC and signatures take what they are over in pieces, and join nothing."""
        return pieces

    def supports(self, suite: int) -> bool:
        """Whether every primitive of suite number `suite` is there."""
        row = SUITES.get(suite)
        return row is not None and row.signature in SIGNATURES and row.kem in KEMS

    def hash(self, algorithm: int, data: "bytes | tuple[bytes, ...]") -> bytes:
        """SHA-256 (-16), SHA-384 (-43) or 64 bytes of SHAKE256 (-45) of `data`."""
        if algorithm == SHAKE256:
            from handfast_micropython.keccak import shake256

            return shake256(data, HASHES[SHAKE256].length)
        if algorithm == SHA_384:
            from handfast_micropython.sha384 import sha384

            pieces = data if isinstance(data, tuple) else (data,)
            return sha384(b"".join([bytes(piece) for piece in pieces]))
        if algorithm == SHA_256:
            digest = hashlib.sha256()
            for piece in data if isinstance(data, tuple) else (data,):
                digest.update(piece)
            return digest.digest()
        raise LocalError("no hash %d" % algorithm)

    def hmac(self, algorithm: int, key: bytes, data: bytes) -> bytes:
        """HMAC with SHA-256 (-16) or SHA-384 (-43), RFC 2104 section 2."""
        if algorithm not in (SHA_256, SHA_384):
            raise LocalError("no HMAC with hash %d" % algorithm)
        block = 64 if algorithm == SHA_256 else 128
        if len(key) > block:
            key = self.hash(algorithm, key)
        key = bytes(key) + bytes(block - len(key))
        inner = self.hash(algorithm, bytes([byte ^ 0x36 for byte in key]) + data)
        return self.hash(algorithm, bytes([byte ^ 0x5C for byte in key]) + inner)

    def kmac256(self, key: bytes, data: bytes, length: int, custom: bytes) -> bytes:
        """KMAC256, SP 800-185 section 4; `length` in bytes."""
        from handfast_micropython.kmac import kmac256

        return kmac256(key, data, length, custom)

    def xor_kmac256(self, key: bytes, data: bytes, text: memoryview) -> None:
        """XOR as many bytes of KMAC256 as `text` has into `text`."""
        from handfast_micropython.kmac import xor_kmac256

        xor_kmac256(key, data, text)

    def equal(self, left: bytes, right: bytes) -> bool:
        """Compare in constant time."""
        return equal(left, right)

    def xor(self, left: bytes, right: bytes) -> bytes:
        """Both, of one length, combined bit by bit."""
        if len(left) != len(right):
            raise LocalError(
                "xor takes two strings of one length; got %d and %d bytes" % (len(left), len(right))
            )
        combined = bytearray(left)
        xor_into(combined, 0, right, 0, len(combined))
        return bytes(combined)

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """AEAD encryption; the tag stands at the end."""
        tag_length = self._tag_length(algorithm, key, nonce)
        if algorithm == A256GCM:
            from handfast_micropython import aes_gcm

            return aes_gcm.seal(key, nonce, aad, plaintext)
        from handfast_micropython import aes_ccm

        return aes_ccm.seal(key, nonce, aad, plaintext, tag_length)

    def seal_in_place(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, text: memoryview) -> None:
        """AEAD encryption of `text`, which has room for the tag behind the plaintext."""
        tag_length = self._tag_length(algorithm, key, nonce)
        if algorithm == A256GCM:
            text[:] = self.seal(algorithm, key, nonce, aad, bytes(text[:-tag_length]))
        else:
            from handfast_micropython import aes_ccm

            aes_ccm.seal_in_place(key, nonce, aad, text, tag_length)

    def open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """AEAD decryption; AuthenticationError when the tag is wrong."""
        tag_length = self._tag_length(algorithm, key, nonce)
        if algorithm == A256GCM:
            from handfast_micropython import aes_gcm

            return aes_gcm.open_(key, nonce, aad, ciphertext)
        from handfast_micropython import aes_ccm

        return aes_ccm.open_(key, nonce, aad, ciphertext, tag_length)

    def kem_public_key(self, kem: str, seed: bytes) -> bytes:
        """The encapsulation key of the private key `seed` (FIPS 203 algorithm 16)."""
        row, part = _kem(kem)
        _own(row.name, "seed", row.seed, seed)
        return part.public_key(seed)

    def encapsulate(self, kem: str, public_key: bytes, randomness: bytes) -> "tuple[bytes, bytes]":
        """(ciphertext, shared_secret of 32 bytes), FIPS 203 algorithm 17.

        DecodeError when the key has the wrong length or fails the modulus check of section 7.2.
        """
        row, part = _kem(kem)
        _own(row.name, "randomness", row.randomness, randomness)
        _peers(row.name, "encapsulation key", row.public_key, public_key)
        return part.encapsulate(public_key, randomness)

    def decapsulate(self, kem: str, seed: bytes, ciphertext: bytes) -> bytes:
        """The shared secret, 32 bytes (FIPS 203 algorithm 18); DecodeError for a wrong length.

        A wrong ciphertext gives a wrong secret, not an error.
        """
        row, part = _kem(kem)
        _own(row.name, "seed", row.seed, seed)
        _peers(row.name, "ciphertext", row.ciphertext, ciphertext)
        secret = part.decapsulate(seed, ciphertext)
        # A device decapsulates once in a handshake.
        del part
        phases.end(phases.KEM)
        return secret

    def signature_public_key(self, algorithm: int, seed: bytes) -> bytes:
        """The ML-DSA public key of the private key `seed`, 32 bytes (FIPS 204 algorithm 6)."""
        row, part = _signature(algorithm)
        _own(row.name, "seed", row.seed, seed)
        return part.public_key(seed)

    def sign(
        self, algorithm: int, seed: bytes, message: bytes, randomness: bytes, into: "memoryview | None" = None
    ) -> "Any":
        """Hedged ML-DSA, empty context (FIPS 204 algorithm 2); `randomness` is 32 bytes.

        `into` is where the signature shall stand, of its length; it is what comes back then.
        """
        row, part = _signature(algorithm)
        if into is not None:
            _own(row.name, "signature", row.signature, into)
        _own(row.name, "randomness", row.randomness, randomness)
        _own(row.name, "seed", row.seed, seed)
        return part.sign(seed, message, randomness, into)

    def verify(self, algorithm: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """FIPS 204 algorithm 3; False for anything but a valid signature, whatever its length."""
        good = _signature(algorithm)[1].verify(public_key, message, signature)
        # Between this and a signature of our own messages are read and made.
        phases.end(phases.SIGNATURE)
        return good

    def _tag_length(self, algorithm: int, key: bytes, nonce: bytes) -> int:
        row = AEADS.get(algorithm)
        if row is None:
            raise LocalError("no AEAD %d" % algorithm)
        if len(key) != row.key_length or len(nonce) != row.nonce_length:
            raise LocalError("%s takes %d and %d bytes" % (row.name, row.key_length, row.nonce_length))
        return int(row.tag_length)


def _kem(kem: str) -> "tuple[Kem, MlKem | XWing]":
    part: "MlKem | XWing | None"
    phases.end(phases.SIGNATURE)
    phases.end(phases.MESSAGES)
    if kem == MLKEM768_X25519:
        from handfast_micropython.xwing import X_WING

        part = X_WING
    else:
        from handfast_micropython.mlkem import ML_KEM

        part = ML_KEM.get(kem)
    if part is None:
        raise LocalError("no KEM %r" % kem)
    return KEMS[kem], part


def _signature(algorithm: int) -> "tuple[Signature, MlDsa]":
    phases.end(phases.KEM)
    phases.end(phases.MESSAGES)
    from handfast_micropython.mldsa import ML_DSA

    part = ML_DSA.get(algorithm)
    if part is None:
        raise LocalError("no signature %r" % algorithm)
    return SIGNATURES[algorithm], part


def _own(name: str, what: str, length: int, value: "bytes | memoryview") -> None:
    if len(value) != length:
        raise LocalError("%s needs %s of %d bytes; got %d" % (name, what, length, len(value)))


def _peers(name: str, what: str, length: int, value: bytes) -> None:
    if len(value) != length:
        raise DecodeError("%s: the %s must have %d bytes; it has %d" % (name, what, length, len(value)))
