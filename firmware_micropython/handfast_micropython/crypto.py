"""The Crypto port of a board, as far as it goes today: hashes, MACs and AEADs by their COSE numbers.

ML-KEM and ML-DSA are not here yet, and `supports` says so.
"""

import hashlib

from handfast.core.errors import LocalError
from handfast.core.suites import A256GCM, AEADS, HASHES, SHA_256, SHA_384, SHAKE256
from handfast_micropython import aes_ccm, aes_gcm
from handfast_micropython.buffers import equal
from handfast_micropython.keccak import shake256
from handfast_micropython.kmac import kmac256
from handfast_micropython.sha384 import sha384


class Crypto:
    """What `handfast.ports.Crypto` asks for, without the methods of KEMs and signatures."""

    name = "handfast_micropython, symmetric only"
    hedged = True

    def supports(self, suite: int) -> bool:
        """Whether every primitive of suite number `suite` is there: never, before ML-KEM and ML-DSA are."""
        return False

    def hash(self, algorithm: int, data: bytes) -> bytes:
        """SHA-256 (-16), SHA-384 (-43) or 64 bytes of SHAKE256 (-45) of `data`."""
        if algorithm == SHAKE256:
            return shake256(data, HASHES[SHAKE256].length)
        if algorithm == SHA_384:
            return sha384(data)
        if algorithm == SHA_256:
            return hashlib.sha256(data).digest()
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
        return kmac256(key, data, length, custom)

    def equal(self, left: bytes, right: bytes) -> bool:
        """Compare in constant time."""
        return equal(left, right)

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """AEAD encryption; the tag stands at the end."""
        tag_length = self._tag_length(algorithm, key, nonce)
        if algorithm == A256GCM:
            return aes_gcm.seal(key, nonce, aad, plaintext)
        return aes_ccm.seal(key, nonce, aad, plaintext, tag_length)

    def open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """AEAD decryption; AuthenticationError when the tag is wrong."""
        tag_length = self._tag_length(algorithm, key, nonce)
        if algorithm == A256GCM:
            return aes_gcm.open_(key, nonce, aad, ciphertext)
        return aes_ccm.open_(key, nonce, aad, ciphertext, tag_length)

    def _tag_length(self, algorithm: int, key: bytes, nonce: bytes) -> int:
        row = AEADS.get(algorithm)
        if row is None:
            raise LocalError("no AEAD %d" % algorithm)
        if len(key) != row.key_length or len(nonce) != row.nonce_length:
            raise LocalError("%s takes %d and %d bytes" % (row.name, row.key_length, row.nonce_length))
        return int(row.tag_length)
