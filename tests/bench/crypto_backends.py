"""What each primitive costs with each library, and whether it lets other threads run meanwhile.

    python tests/bench/crypto_backends.py [--seconds 0.2] [--json]

`us` is the CPU time of one call in microseconds, the best of seven rounds. `GIL` says whether a
second thread ran inside a call: released, or held. `2 threads` is how many calls two threads make in
the wall-clock time in which one makes one, the best of seven rounds; it needs two free cores, and on
a busy machine it reads too low. The choices of docs/crypto.md rest on this table.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from Crypto.Cipher import AES
from Crypto.Protocol.DH import key_agreement
from Crypto.PublicKey import ECC
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from handfast.core import suites
from handfast_cpython import crypto_cryptography, crypto_kmac, crypto_liboqs, crypto_pycryptodome
from handfast_cpython.crypto import Crypto, back_ends
from handfast_cpython.crypto_parts import Kem, Signature

MESSAGE = bytes(range(256)) * 8
ROUNDS = 7


class Row(NamedTuple):
    operation: str
    library: str
    microseconds: float
    gil: str
    two_threads: float


def repeat(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def timed(call: Callable[[], object], count: int) -> tuple[float, float]:
    """(CPU seconds, wall-clock seconds) of `count` calls in this thread."""
    cpu, wall = time.thread_time(), time.perf_counter()
    repeat(call, count)
    return time.thread_time() - cpu, time.perf_counter() - wall


def timed_in_two_threads(call: Callable[[], object], count: int) -> float:
    """Wall-clock seconds in which two threads make `count` calls each."""
    ready = threading.Barrier(3)

    def work() -> None:
        ready.wait()
        repeat(call, count)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def releases_gil(call: Callable[[], object], count: int = 200) -> bool:
    """Whether another thread advances during the calls, while none is ever made to give way."""
    turns, stop = [0], threading.Event()

    def run() -> None:
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0)

    other = threading.Thread(target=run)
    interval = sys.getswitchinterval()
    # From here on a thread gives the interpreter away of its own accord or not at all.
    sys.setswitchinterval(1000)
    try:
        other.start()
        while not turns[0]:
            time.sleep(0.001)
        before = turns[0]
        repeat(call, count)
        return turns[0] > before
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        other.join()


def measure(operation: str, library: str, call: Callable[[], object], seconds: float) -> Row:
    repeat(call, 3)
    count = max(5, int(seconds / ROUNDS / max(timed(call, 5)[1] / 5, 1e-7)))
    alone = [timed(call, count) for _ in range(ROUNDS)]
    together = min(timed_in_two_threads(call, count) for _ in range(ROUNDS))
    cpu, wall = (min(times) for times in zip(*alone))
    gil = "released" if releases_gil(call) else "held"
    return Row(operation, library, cpu / count * 1e6, gil, 2 * wall / together)


def kem_calls(name: str, kem: Kem) -> Iterator[tuple[str, Callable[[], object]]]:
    row = suites.KEMS[name]
    seed, randomness = os.urandom(row.seed), os.urandom(row.randomness)
    public_key = kem.public_key(seed)
    ciphertext, _ = kem.encapsulate(public_key, randomness)
    yield f"{name} seed to public key", lambda: kem.public_key(seed)
    yield f"{name} encapsulate", lambda: kem.encapsulate(public_key, randomness)
    yield f"{name} seed and decapsulate", lambda: kem.decapsulate(seed, ciphertext)


def signature_calls(number: int, part: Signature) -> Iterator[tuple[str, Callable[[], object]]]:
    name = suites.SIGNATURES[number].name
    seed = os.urandom(32)
    public_key, sign = part.public_key(seed), part.signer(seed)
    signature = sign(MESSAGE, os.urandom(32))
    yield f"{name} seed to public key", lambda: part.public_key(seed)
    # The number of rejected attempts depends on message and randomness: a fresh one each time.
    yield f"{name} sign", lambda: sign(MESSAGE, os.urandom(32))
    yield f"{name} verify", lambda: part.verify(public_key, MESSAGE, signature)


def pycryptodome_x25519(scalar: bytes, public_key: bytes) -> tuple[bytes, bytes]:
    private = ECC.construct(curve="Curve25519", seed=scalar)
    public = ECC.construct(curve="Curve25519", point_x=int.from_bytes(public_key, "little"))
    own: bytes = private.public_key().export_key(format="raw")
    return own, key_agreement(static_priv=private, eph_pub=public, kdf=bytes)


def pycryptodome_ccm(key: bytes, nonce: bytes, data: bytes, aad: bytes) -> tuple[bytes, bytes]:
    return AES.new(key, AES.MODE_CCM, nonce=nonce).update(aad).encrypt_and_digest(data)


def pycryptodome_gcm(key: bytes, nonce: bytes, data: bytes, aad: bytes) -> tuple[bytes, bytes]:
    return AES.new(key, AES.MODE_GCM, nonce=nonce).update(aad).encrypt_and_digest(data)


def symmetric_calls() -> Iterator[tuple[str, str, Callable[[], object]]]:
    crypto = Crypto("pycryptodome")
    key, nonce, aad, data = os.urandom(32), os.urandom(13), os.urandom(32), os.urandom(256)
    x25519 = crypto_cryptography.X25519()
    public_key = x25519.public_key(os.urandom(32))
    yield "X25519 key pair and exchange", "cryptography", lambda: x25519.exchange(key, public_key)
    yield "X25519 key pair and exchange", "pycryptodome", lambda: pycryptodome_x25519(key, public_key)
    ccm, gcm, iv = AESCCM(key), AESGCM(key), nonce[:12]
    yield "AES-256-CCM seal 256 B, key kept", "cryptography", lambda: ccm.encrypt(nonce, data, aad)
    yield "AES-256-CCM seal 256 B", "cryptography", lambda: AESCCM(key).encrypt(nonce, data, aad)
    yield "AES-256-CCM seal 256 B", "pycryptodome", lambda: pycryptodome_ccm(key, nonce, data, aad)
    yield "AES-256-GCM seal 256 B, key kept", "cryptography", lambda: gcm.encrypt(iv, data, aad)
    yield "AES-256-GCM seal 256 B", "cryptography", lambda: AESGCM(key).encrypt(iv, data, aad)
    yield "AES-256-GCM seal 256 B", "pycryptodome", lambda: pycryptodome_gcm(key, iv, data, aad)
    short = bytes(64)
    yield "KMAC256 64 B", "one call", lambda: crypto_kmac.kmac256_sponge(short, short, 64, b"")
    yield "KMAC256 64 B", "pycryptodome", lambda: crypto_kmac.kmac256_object(short, short, 64, b"")
    for number, row in suites.HASHES.items():
        yield f"{row.name} of 1 KB", "hashlib", partial(crypto.hash, number, MESSAGE[:1024])
    yield "HMAC-SHA-256 64 B", "hashlib", lambda: crypto.hmac(suites.SHA_256, key, short)
    yield "HMAC-SHA-384 64 B", "hashlib", lambda: crypto.hmac(suites.SHA_384, key, short)


def port_calls(back_end: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """The asymmetric calls of one enrolment at the hub, suite -21, through the whole port."""
    crypto = Crypto(back_end)
    kem, signature = suites.MLKEM768_X25519, suites.ML_DSA_65
    public_key = crypto.kem_public_key(kem, os.urandom(32))
    randomness, seed = os.urandom(64), os.urandom(32)
    verification_key = crypto.signature_public_key(signature, seed)
    signed = crypto.sign(signature, seed, MESSAGE, randomness[:32])
    yield "port: X-Wing encapsulate", lambda: crypto.encapsulate(kem, public_key, randomness)
    yield "port: ML-DSA-65 sign", lambda: crypto.sign(signature, seed, MESSAGE, os.urandom(32))
    yield "port: ML-DSA-65 verify", lambda: crypto.verify(signature, verification_key, MESSAGE, signed)


def every_call() -> Iterator[tuple[str, str, Callable[[], object]]]:
    libraries = {
        crypto_pycryptodome.NAME: (crypto_pycryptodome.kems(), crypto_pycryptodome.signatures()),
        crypto_cryptography.NAME: (crypto_cryptography.kems(), crypto_cryptography.signatures()),
    }
    library = crypto_liboqs.load()
    if library is not None:
        libraries[library.name] = (crypto_liboqs.kems(), crypto_liboqs.signatures())
    for name in (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024):
        for label, (kems, _) in libraries.items():
            for operation, call in kem_calls(name, kems[name]) if name in kems else ():
                yield operation, label, call
    for number in suites.SIGNATURES:
        for label, (_, signatures) in libraries.items():
            for operation, call in signature_calls(number, signatures[number]):
                yield operation, label, call
    yield from symmetric_calls()
    for back_end in back_ends():
        for operation, call in port_calls(back_end):
            yield operation, f"Crypto({back_end!r})", call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.2, help="time for each row and column")
    parser.add_argument("--json", action="store_true", help="print rows for a program")
    options = parser.parse_args()
    rows = [measure(*call, options.seconds) for call in every_call()]
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=1))
        return
    print("| operation | library | us | GIL | 2 threads |\n|---|---|---|---|---|")
    for operation, library, microseconds, gil, two_threads in sorted(rows, key=lambda row: row.operation):
        print(f"| {operation} | {library} | {microseconds:.1f} | {gil} | {two_threads:.1f} |")


if __name__ == "__main__":
    main()
