"""What `crypto.Crypto` is put together from; matched by shape, nobody inherits.

The port checks the lengths of what it hands on, so a part need not. A part raises ValueError where
FIPS 203 or 204 refuses a key, and nothing else that a peer could cause.
"""

from collections.abc import Callable
from typing import Protocol


class Kem(Protocol):
    """One KEM; lengths in `handfast.core.suites.KEMS`."""

    # The library and its version, such as "pycryptodome 4.4.0".
    name: str
    # Whether `encapsulate` uses the randomness that it is given.
    hedged: bool

    def public_key(self, seed: bytes) -> bytes:
        """The encapsulation key of the private key `seed`."""

    def encapsulate(self, public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
        """(ciphertext, shared_secret)."""

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """The shared secret; a pseudorandom one for a wrong ciphertext."""


class Signature(Protocol):
    """One signature algorithm; lengths in `handfast.core.suites.SIGNATURES`."""

    name: str
    # Whether a signer uses the randomness that it is given.
    hedged: bool

    def public_key(self, seed: bytes) -> bytes:
        """The public key of the private key `seed`."""

    def signer(self, seed: bytes) -> Callable[[bytes, bytes], bytes]:
        """A function (message, randomness) -> signature that holds the expanded private key."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is valid; False for wrong lengths too, which nobody checked before."""


class BackEnd(Protocol):
    """One library, as a module or an object: what it has of ML-KEM and ML-DSA."""

    def kems(self) -> dict[str, Kem]:
        """By the names of `handfast.core.suites.KEMS`; X-Wing is built from ML-KEM-768."""

    def signatures(self) -> dict[int, Signature]:
        """By the numbers of `handfast.core.suites.SIGNATURES`."""


class DiffieHellman(Protocol):
    """X25519 as X-Wing needs it."""

    def public_key(self, scalar: bytes) -> bytes:
        """The public key of 32 bytes."""

    def exchange(self, scalar: bytes, public_key: bytes) -> tuple[bytes, bytes]:
        """(own public key, shared secret), the scalar loaded once."""
