"""ML-KEM and ML-DSA by the liboqs C library, when this machine has it.

The functions are called through ctypes, not through liboqs-python: that package offers neither
derandomised encapsulation nor our randomness for a signature, and importing it where the library
is missing waits five seconds and tries to download and build one. The GIL is released while C runs.

liboqs draws randomness through one function for the whole process. `load` replaces it by one that
hands out what the calling thread has laid ready, and the operating system's bytes otherwise.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from handfast.core import suites
from handfast_cpython.crypto_parts import Kem, Signature

# liboqs 0.14 brought derandomised encapsulation; the number of the file is that of its ABI.
_FILES = ("liboqs.so", "liboqs.so.9", "liboqs.so.8", "liboqs.9.dylib", "liboqs.dylib", "oqs.dll")
_SECRET_KEYS = {
    suites.ML_KEM_512: 1632,
    suites.ML_KEM_768: 2400,
    suites.ML_KEM_1024: 3168,
    suites.ML_DSA_44: 2560,
    suites.ML_DSA_65: 4032,
    suites.ML_DSA_87: 4896,
}

_Draw = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
_ready = threading.local()


def _draw(buffer: int, length: int) -> None:
    """What liboqs calls for `length` random bytes; must not raise, C could not see it."""
    randomness = getattr(_ready, "randomness", None)
    if randomness is None or len(randomness) != length:
        randomness = os.urandom(length)
    else:
        _ready.randomness = None
    ctypes.memmove(buffer, randomness, length)


# Held for ever: C keeps the pointer.
_DRAW = _Draw(_draw)


class Liboqs:
    """The loaded library: `name` for logs, `function` to fetch what it offers."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.OQS_version.restype = ctypes.c_char_p
        version: bytes = library.OQS_version()
        self.name = f"liboqs {version.decode()}"
        library.OQS_init()
        library.OQS_randombytes_custom_algorithm.argtypes = (_Draw,)
        library.OQS_randombytes_custom_algorithm(_DRAW)

    def has(self, name: str) -> bool:
        """Whether the C function `name` was built in."""
        return hasattr(self._library, name)

    def function(self, name: str, *arguments: type) -> Callable[..., int]:
        """The C function `name`, which gives 0 when all went well."""
        found = getattr(self._library, name)
        found.argtypes = arguments
        found.restype = ctypes.c_int
        function: Callable[..., int] = found
        return function


def _candidates() -> Iterator[str]:
    """Where the library may be: the loader's own search first, then where liboqs-python installs it."""
    yield from _FILES
    home = Path(os.environ.get("OQS_INSTALL_PATH") or Path.home() / "_oqs")
    for folder in ("lib", "lib64", "bin"):
        for file in _FILES:
            path = home / folder / file
            if path.exists():
                yield str(path)


@lru_cache(maxsize=1)
def load() -> Liboqs | None:
    """The library of this machine, or None when there is none or it is older than 0.14."""
    for candidate in _candidates():
        try:
            library = ctypes.CDLL(candidate)
        except OSError:
            continue
        if hasattr(library, "OQS_KEM_encaps_derand"):
            return Liboqs(library)
    return None


def _stem(name: str) -> str:
    """What ML-KEM-768 is called inside a C name."""
    return name.lower().replace("-", "_")


class LiboqsKem:
    """One parameter set of ML-KEM; sizes in `suites.KEMS`. ValueError for what FIPS 203 refuses."""

    hedged = True

    def __init__(self, library: Liboqs, kem: str) -> None:
        row = suites.KEMS[kem]
        prefix = f"OQS_KEM_{_stem(kem)}_"
        pointer = ctypes.c_char_p
        self.name = library.name
        self._keypair = library.function(prefix + "keypair_derand", pointer, pointer, pointer)
        self._encaps = library.function(prefix + "encaps_derand", pointer, pointer, pointer, pointer)
        self._decaps = library.function(prefix + "decaps", pointer, pointer, pointer)
        self._public_key_buffer = ctypes.c_char * row.public_key
        self._secret_key_buffer = ctypes.c_char * _SECRET_KEYS[kem]
        self._ciphertext_buffer = ctypes.c_char * row.ciphertext
        self._shared_secret_buffer = ctypes.c_char * 32

    def public_key(self, seed: bytes) -> bytes:
        public_key = self._public_key_buffer()
        if self._keypair(public_key, self._secret_key_buffer(), seed):
            raise ValueError("no key pair from this seed")
        return bytes(public_key)

    def encapsulate(self, public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
        ciphertext, shared_secret = self._ciphertext_buffer(), self._shared_secret_buffer()
        if self._encaps(ciphertext, shared_secret, public_key, randomness):
            raise ValueError("FIPS 203 section 7.2 refuses the encapsulation key")
        return bytes(ciphertext), bytes(shared_secret)

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        secret_key, shared_secret = self._secret_key_buffer(), self._shared_secret_buffer()
        if self._keypair(self._public_key_buffer(), secret_key, seed) or self._decaps(
            shared_secret, ciphertext, secret_key
        ):
            raise ValueError("no shared secret from this seed")
        return bytes(shared_secret)


class LiboqsSignature:
    """One parameter set of ML-DSA; sizes in `suites.SIGNATURES`."""

    hedged = True

    def __init__(self, library: Liboqs, algorithm: int) -> None:
        row = suites.SIGNATURES[algorithm]
        prefix = f"OQS_SIG_{_stem(row.name)}_"
        pointer, size = ctypes.c_char_p, ctypes.c_size_t
        self.name = library.name
        self._lengths = row.public_key, row.signature
        self._keypair = library.function(prefix + "keypair", pointer, pointer)
        self._sign = library.function(prefix + "sign", pointer, ctypes.POINTER(size), pointer, size, pointer)
        self._verify = library.function(prefix + "verify", pointer, size, pointer, size, pointer)
        self._public_key_buffer = ctypes.c_char * row.public_key
        self._secret_key_buffer = ctypes.c_char * _SECRET_KEYS[algorithm]
        self._signature_buffer = ctypes.c_char * row.signature

    def _key_pair(self, seed: bytes) -> tuple[bytes, bytes]:
        """(public key, expanded private key): liboqs draws nothing but the seed (FIPS 204 algorithm 1)."""
        public_key, secret_key = self._public_key_buffer(), self._secret_key_buffer()
        _ready.randomness = seed
        _check(self._keypair(public_key, secret_key))
        return bytes(public_key), bytes(secret_key)

    def public_key(self, seed: bytes) -> bytes:
        return self._key_pair(seed)[0]

    def signer(self, seed: bytes) -> Callable[[bytes, bytes], bytes]:
        """A function (message, randomness) -> signature that holds the expanded private key."""
        secret_key = self._key_pair(seed)[1]

        def sign(message: bytes, randomness: bytes) -> bytes:
            signature, length = self._signature_buffer(), ctypes.c_size_t()
            _ready.randomness = randomness
            _check(self._sign(signature, ctypes.byref(length), message, len(message), secret_key))
            return bytes(signature)

        return sign

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if (len(public_key), len(signature)) != self._lengths:
            return False
        return self._verify(message, len(message), signature, len(signature), public_key) == 0


def _check(status: int) -> None:
    """After a call that had to consume the randomness laid ready, and all of it."""
    unused, _ready.randomness = _ready.randomness, None
    if status or unused is not None:
        raise RuntimeError("liboqs failed, or did not use the randomness that it was given")


def kems() -> dict[str, Kem]:
    """What the library of this machine was built with; nothing when there is none."""
    library, found = load(), {}
    for name in (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024):
        if library is not None and library.has(f"OQS_KEM_{_stem(name)}_encaps_derand"):
            found[name] = LiboqsKem(library, name)
    return dict(found)


def signatures() -> dict[int, Signature]:
    """What the library of this machine was built with; nothing when there is none."""
    library, found = load(), {}
    for number, row in suites.SIGNATURES.items():
        if library is not None and library.has(f"OQS_SIG_{_stem(row.name)}_sign"):
            found[number] = LiboqsSignature(library, number)
    return dict(found)
