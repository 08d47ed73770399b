"""The floor: what the cryptography of one enrolment costs when there is nothing around it.

    python tests/bench/floor_process.py BACK_END < requests

The calls that a real hub made (crypto_calls.py) are made again with the same arguments on the bare
libraries, without the port, in one thread, and their CPU time is taken. Only the randomness of a
signature is new each time: how often ML-DSA starts again depends on it, and a few lucky signatures
would make no floor.
"""

import asyncio
import hashlib
import hmac
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import Any

from child import Answer, serve
from crypto_calls import Call, record
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from handfast.core import suites
from handfast_cpython import crypto_cryptography, crypto_liboqs, crypto_pycryptodome
from handfast_cpython.crypto_kmac import kmac256
from handfast_cpython.crypto_xwing import XWing

# Enrolments whose calls are recorded.
RECORDED = 8

Bare = Callable[[], object]

_LIBRARIES: dict[str, Any] = {
    "liboqs": crypto_liboqs,
    "pycryptodome": crypto_pycryptodome,
    "cryptography": crypto_cryptography,
}
_HASHES: dict[int, Callable[[bytes], Any]] = {
    suites.SHA_256: lambda data: hashlib.sha256(data).digest(),
    suites.SHA_384: lambda data: hashlib.sha384(data).digest(),
    suites.SHAKE256: lambda data: hashlib.shake_256(data).digest(64),
}
_HMACS = {suites.SHA_256: "sha256", suites.SHA_384: "sha384"}


class Libraries:
    """The bare call behind each call of the port."""

    def __init__(self, back_end: str) -> None:
        library = _LIBRARIES[back_end]
        self._kems = library.kems()
        x25519 = crypto_cryptography.X25519()
        self._kems[suites.MLKEM768_X25519] = XWing(self._kems[suites.ML_KEM_768], x25519)
        self._signatures = library.signatures()
        self._signers: dict[bytes, Callable[[bytes, bytes], bytes]] = {}

    def bare(self, call: Call) -> Bare:
        """A function without arguments that does what `call` did."""
        name, arguments = call
        made: Bare = getattr(self, "_" + name)(*arguments)
        return made

    def _hash(self, algorithm: int, data: bytes) -> Bare:
        return partial(_HASHES[algorithm], data)

    def _hmac(self, algorithm: int, key: bytes, data: bytes) -> Bare:
        return partial(
            hmac.digest, key, data, {suites.SHA_256: "sha256", suites.SHA_384: "sha384"}[algorithm]
        )

    def _kmac256(self, key: bytes, data: bytes, length: int, custom: bytes) -> Bare:
        return partial(kmac256, key, data, length, custom)

    def _equal(self, left: bytes, right: bytes) -> Bare:
        return partial(hmac.compare_digest, left, right)

    def _seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> Bare:
        return lambda: _aead(algorithm, key).encrypt(nonce, plaintext, aad)

    def _open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> Bare:
        return lambda: _aead(algorithm, key).decrypt(nonce, ciphertext, aad)

    def _encapsulate(self, kem: str, public_key: bytes, randomness: bytes) -> Bare:
        return partial(self._kems[kem].encapsulate, public_key, randomness)

    def _sign(self, algorithm: int, seed: bytes, message: bytes, randomness: bytes) -> Bare:
        if seed not in self._signers:
            self._signers[seed] = self._signatures[algorithm].signer(seed)
        sign, fresh = self._signers[seed], cycle([os.urandom(32) for _ in range(2000)])
        return lambda: sign(message, next(fresh))

    def _verify(self, algorithm: int, public_key: bytes, message: bytes, signature: bytes) -> Bare:
        return partial(self._signatures[algorithm].verify, public_key, message, signature)


def _aead(algorithm: int, key: bytes) -> Any:
    return AESGCM(key) if algorithm == suites.A256GCM else AESCCM(key, suites.AEADS[algorithm].tag_length)


class Floor:
    """What the parent may ask for."""

    def __init__(self, back_end: str) -> None:
        libraries = Libraries(back_end)
        recorded = asyncio.run(record(back_end, RECORDED))
        self._calls = {
            "join": [[(call[0], libraries.bare(call)) for call in each.join] for each in recorded],
            "confirm": [[(call[0], libraries.bare(call)) for call in each.confirm] for each in recorded],
        }

    def run(self, count: int) -> Answer:
        """CPU seconds of the calls of `count` enrolments, by part."""
        return {part: self._run(part, count) for part in self._calls}

    def kinds(self, count: int) -> Answer:
        """[how often, CPU seconds] of each kind of call in one enrolment, by part."""
        return {part: self._kinds(part, count) for part in self._calls}

    def _run(self, part: str, count: int) -> float:
        calls = [[bare for _, bare in each] for each in self._calls[part]]
        spent = time.thread_time()
        for each in islice(cycle(calls), count):
            for bare in each:
                bare()
        return time.thread_time() - spent

    def _kinds(self, part: str, count: int) -> dict[str, list[float]]:
        kinds: dict[str, list[Bare]] = {}
        for each in self._calls[part]:
            for name, bare in each:
                kinds.setdefault(name, []).append(bare)
        found = {}
        for name, bares in kinds.items():
            spent = time.thread_time()
            for bare in islice(cycle(bares), count * len(bares) // RECORDED):
                bare()
            found[name] = [len(bares) / RECORDED, (time.thread_time() - spent) / count]
        return found


if __name__ == "__main__":
    floor = Floor(sys.argv[1])
    serve({"run": floor.run, "kinds": floor.kinds})
