"""Time of the board's crypto under MicroPython, and what it allocates.

    micropython -X heapsize=8m tests/bench/micropython_crypto.py .

The least of several runs in milliseconds, and the bytes that one call takes from the heap when nothing
is collected, garbage included.
"""

import gc
import sys
import time

RUNS = 20
SEED = bytes(range(32))
KEMS = (("ML-KEM-512", 64, 32), ("ML-KEM-768", 64, 32), ("ML-KEM-1024", 64, 32), ("MLKEM768-X25519", 32, 64))
SIGNATURES = ((-48, "ML-DSA-44"), (-49, "ML-DSA-65"), (-50, "ML-DSA-87"))


def least(runs: int, call: "object", *arguments: "object") -> "tuple[float, int]":
    """(milliseconds, bytes) of the best of several calls."""
    times = []
    for _ in range(runs):
        gc.collect()
        before = gc.mem_alloc()
        gc.disable()
        start = time.ticks_us()
        call(*arguments)
        times.append(time.ticks_diff(time.ticks_us(), start) / 1000)
        taken = gc.mem_alloc() - before
        gc.enable()
    return min(times), taken


def tell(name: str, result: "tuple[float, int]") -> None:
    """Print one line."""
    print("%-30s %9.2f ms %7d bytes" % (name, result[0], result[1]))


def kems(crypto: "object", runs: int) -> None:
    """Each KEM; a decapsulation without and with the key pair at hand that was made before."""
    for kem, length, coins in KEMS:
        seed, randomness = (SEED + SEED)[:length], (SEED + SEED)[:coins]
        key = crypto.kem_public_key(kem, seed)
        ciphertext = crypto.encapsulate(kem, key, randomness)[0]
        tell(kem + " key", least(runs, crypto.kem_public_key, kem, seed))
        tell(kem + " encapsulate", least(runs, crypto.encapsulate, kem, key, randomness))
        best = None
        for _ in range(runs):
            crypto.kem_public_key(kem, seed)
            result = least(1, crypto.decapsulate, kem, seed, ciphertext)
            best = result if best is None else min(best, result)
        tell(kem + " decapsulate", best)
        tell(kem + " decapsulate later", least(runs, crypto.decapsulate, kem, seed, ciphertext))


def signatures(crypto: "object", runs: int) -> None:
    """Each ML-DSA; signing is the average over 20 fixed values of rnd, for the attempts depend on it."""
    for algorithm, name in SIGNATURES:
        key = crypto.signature_public_key(algorithm, SEED)
        signature = crypto.sign(algorithm, SEED, b"message", SEED)
        tell(name + " key", least(runs, crypto.signature_public_key, algorithm, SEED))
        tell(name + " verify", least(runs, crypto.verify, algorithm, key, b"message", signature))
        results = []
        for number in range(20):
            rnd = bytes([number]) * 32
            results.append(least(1 + runs // 5, crypto.sign, algorithm, SEED, b"message", rnd))
        tell(name + " sign", (sum([time for time, _ in results]) / 20, max([size for _, size in results])))


def main(root: str) -> None:
    """Everything, with machine code where the interpreter compiles it."""
    for source in ("firmware_micropython", "sdk"):
        sys.path.insert(0, root + "/" + source)
    from handfast_micropython.crypto import Crypto

    crypto = Crypto()
    print(crypto.name)
    kems(crypto, RUNS)
    signatures(crypto, RUNS)


if __name__ == "__main__":
    main(sys.argv[1])
