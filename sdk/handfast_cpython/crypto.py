"""The Crypto port of a CPython machine: which library does what, and the sizes of every argument.

The choice is one table per back end, made once; docs/crypto.md has the measurements behind it.
Foreign exceptions end here: what a peer sent wrongly is a DecodeError or an AuthenticationError,
what our own caller passed wrongly is a LocalError.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import NoReturn

from Crypto.Util.strxor import strxor

from handfast.core import suites
from handfast.core.errors import DecodeError, LocalError
from handfast_cpython import crypto_cryptography, crypto_liboqs, crypto_pycryptodome
from handfast_cpython.crypto_kmac import kmac256
from handfast_cpython.crypto_parts import BackEnd, Kem, Signature
from handfast_cpython.crypto_xwing import XWing

# A hub and a device sign with one key each; tests and key rotation with a few.
SIGNING_KEYS_KEPT = 4

# ML-KEM and ML-DSA by library.
_BACK_ENDS: dict[str, BackEnd] = {
    "liboqs": crypto_liboqs,
    "pycryptodome": crypto_pycryptodome,
    "cryptography": crypto_cryptography,
}

_HASHES: dict[int, Callable[[bytes], bytes]] = {
    suites.SHA_256: lambda data: hashlib.sha256(data).digest(),
    suites.SHA_384: lambda data: hashlib.sha384(data).digest(),
    suites.SHAKE256: lambda data: hashlib.shake_256(data).digest(64),
}
_HMACS = {suites.SHA_256: "sha256", suites.SHA_384: "sha384"}


def back_ends() -> list[str]:
    """The names that `Crypto` takes on this machine."""
    return [name for name, back_end in _BACK_ENDS.items() if back_end.kems() or back_end.signatures()]


def default_back_end() -> str:
    """What `Crypto()` takes: liboqs only where somebody asked for it by the extra [oqs].

    Its authors do not recommend it for production, so that a library of that name lies on the
    machine is not enough. The extra's package is looked for and never imported.
    """
    wanted = find_spec("oqs") is not None and "liboqs" in back_ends()
    return "liboqs" if wanted else "pycryptodome"


class Crypto:
    """Every primitive of the suites -21 to -24 (`handfast.ports.Crypto`).

    `back_end` names the library that does ML-KEM and ML-DSA, one of `back_ends()`, or brings one;
    without it `default_back_end()` decides. PyCryptodome does what the chosen one lacks.
    "cryptography" cannot take our randomness, so `hedged` is False there. AES and X25519 are
    cryptography's, KMAC256 is PyCryptodome's and the hashes are hashlib's whatever the choice.
    LocalError for a library that is not here.
    """

    def __init__(self, back_end: str | BackEnd | None = None) -> None:
        chosen = _find(default_back_end() if back_end is None else back_end)
        self._kems = crypto_pycryptodome.kems() | chosen.kems()
        self._kems[suites.MLKEM768_X25519] = XWing(
            self._kems[suites.ML_KEM_768], crypto_cryptography.X25519()
        )
        self._signatures = crypto_pycryptodome.signatures() | chosen.signatures()
        self._aeads = {number: crypto_cryptography.CryptographyAead(number) for number in suites.AEADS}
        # Expanding a key costs a quarter of a signature; lru_cache may be called by several threads.
        self._signer = lru_cache(maxsize=SIGNING_KEYS_KEPT)(self._expand)
        parts: list[Kem | Signature] = [*self._kems.values(), *self._signatures.values()]
        self.hedged = all(part.hedged for part in parts)
        # The library that does most stands first.
        libraries = Counter(part.name for part in parts)
        libraries.update((crypto_cryptography.NAME, crypto_pycryptodome.NAME))
        self.name = ", ".join(name for name, _ in libraries.most_common())

    def supports(self, suite: int) -> bool:
        """Whether every primitive of suite number `suite` is there."""
        row = suites.SUITES.get(suite)
        return row is not None and row.kem in self._kems and row.signature in self._signatures

    def hash(self, algorithm: int, data: bytes) -> bytes:
        """SHA-256 (-16), SHA-384 (-43) or 64 bytes of SHAKE256 (-45) of `data`."""
        try:
            return _HASHES[algorithm](data)
        except KeyError:
            _unknown("hash", algorithm)

    def hmac(self, algorithm: int, key: bytes, data: bytes) -> bytes:
        """HMAC with SHA-256 (-16) or SHA-384 (-43), RFC 2104."""
        try:
            return hmac.digest(key, data, _HMACS[algorithm])
        except KeyError:
            _unknown("HMAC hash", algorithm)

    def kmac256(self, key: bytes, data: bytes, length: int, custom: bytes) -> bytes:
        """KMAC256, SP 800-185 section 4; `length` in bytes."""
        return kmac256(key, data, length, custom)

    def equal(self, left: bytes, right: bytes) -> bool:
        """Compare in constant time; the lengths are no secret."""
        return hmac.compare_digest(left, right)

    def xor(self, left: bytes, right: bytes) -> bytes:
        """Both, of one length, combined bit by bit."""
        if len(left) != len(right):
            raise LocalError(f"xor takes two strings of one length; got {len(left)} and {len(right)} bytes")
        return strxor(left, right) if left else b""

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """AEAD encryption; the tag stands at the end."""
        try:
            aead = self._aeads[algorithm]
        except KeyError:
            _unknown("AEAD", algorithm)
        return aead.seal(key, nonce, aad, plaintext)

    def open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """AEAD decryption; AuthenticationError when the tag is wrong or missing."""
        try:
            aead = self._aeads[algorithm]
        except KeyError:
            _unknown("AEAD", algorithm)
        return aead.open(key, nonce, aad, ciphertext)

    def kem_public_key(self, kem: str, seed: bytes) -> bytes:
        """The encapsulation key of the private key `seed` (FIPS 203 algorithm 16)."""
        row, part = self._kem(kem)
        _own(row.name, "seed", row.seed, seed)
        return part.public_key(seed)

    def encapsulate(self, kem: str, public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
        """(ciphertext, shared_secret of 32 bytes), FIPS 203 algorithm 17.

        DecodeError when the key has the wrong length or fails the modulus check of section 7.2.
        """
        row, part = self._kem(kem)
        _own(row.name, "randomness", row.randomness, randomness)
        _peers(row.name, "encapsulation key", row.public_key, public_key)
        try:
            return part.encapsulate(public_key, randomness)
        except ValueError:
            raise DecodeError(f"{row.name}: the encapsulation key fails the modulus check") from None

    def decapsulate(self, kem: str, seed: bytes, ciphertext: bytes) -> bytes:
        """The shared secret, 32 bytes (FIPS 203 algorithm 18); DecodeError for a wrong length.

        A wrong ciphertext gives a wrong secret, not an error.
        """
        row, part = self._kem(kem)
        _own(row.name, "seed", row.seed, seed)
        _peers(row.name, "ciphertext", row.ciphertext, ciphertext)
        return part.decapsulate(seed, ciphertext)

    def signature_public_key(self, algorithm: int, seed: bytes) -> bytes:
        """The ML-DSA public key of the private key `seed`, 32 bytes (FIPS 204 algorithm 6)."""
        row, part = self._signature(algorithm)
        _own(row.name, "seed", row.seed, seed)
        return part.public_key(seed)

    def sign(self, algorithm: int, seed: bytes, message: bytes, randomness: bytes) -> bytes:
        """Hedged ML-DSA, empty context (FIPS 204 algorithm 2); `randomness` is 32 bytes.

        The expanded private keys of the last `SIGNING_KEYS_KEPT` seeds stay in memory.
        """
        row = self._signature(algorithm)[0]
        _own(row.name, "randomness", row.randomness, randomness)
        return self._signer(algorithm, seed)(message, randomness)

    def verify(self, algorithm: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """FIPS 204 algorithm 3; False for anything but a valid signature, whatever its length."""
        return self._signature(algorithm)[1].verify(public_key, message, signature)

    def _expand(self, algorithm: int, seed: bytes) -> Callable[[bytes, bytes], bytes]:
        row, part = self._signature(algorithm)
        _own(row.name, "seed", row.seed, seed)
        return part.signer(seed)

    def _kem(self, kem: str) -> tuple[suites.Kem, Kem]:
        try:
            return suites.KEMS[kem], self._kems[kem]
        except KeyError:
            _unknown("KEM", kem)

    def _signature(self, algorithm: int) -> tuple[suites.Signature, Signature]:
        try:
            return suites.SIGNATURES[algorithm], self._signatures[algorithm]
        except KeyError:
            _unknown("signature", algorithm)


def _find(back_end: str | BackEnd) -> BackEnd:
    if not isinstance(back_end, str):
        return back_end
    found = _BACK_ENDS.get(back_end)
    if found is None or not (found.kems() or found.signatures()):
        raise LocalError(f"no crypto back end {back_end!r} here; there are {', '.join(back_ends())}")
    return found


def _unknown(kind: str, algorithm: object) -> NoReturn:
    raise LocalError(f"no {kind} {algorithm!r} here; suites.py lists those there are") from None


def _own(name: str, what: str, length: int, value: bytes) -> None:
    if len(value) != length:
        raise LocalError(f"{name} needs {what} of {length} bytes; got {len(value)}")


def _peers(name: str, what: str, length: int, value: bytes) -> None:
    if len(value) != length:
        raise DecodeError(f"{name}: the {what} must have {length} bytes; it has {len(value)}")
