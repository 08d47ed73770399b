"""Privacy amplification by a random Toeplitz matrix, and the hash that tells whether correction succeeded."""

import numpy as np
import scipy.fft  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.poly1305 import Poly1305
from numpy.typing import NDArray

Bits = NDArray[np.uint8]

VERIFICATION_SEED = 16
"""Bytes of the public seed of `verification`."""


def seed_bytes(length: int) -> int:
    """Bytes of random seed to amplify `length` bits."""
    return (length - 1 + 7) // 8


def amplify(bits: Bits, secret: int, seed: bytes) -> bytes:
    """`secret` bits (a multiple of 8) of `bits`: x_1 + T x_2 mod 2, x_1 the first `secret`, x_2 the rest.

    (1 | T) with a random Toeplitz matrix T, T[i, j] = seed bit i - j + n - 1 with n the length of x_2, is as
    universal as a Toeplitz matrix over all bits (Hayashi, Tsurumi, IEEE Trans. Inf. Theory 62, 2213): strings
    that differ in x_2 meet with probability 2^-secret, others never. Its seed is the shorter one.

    The product is a piece of a convolution, so it costs three FFTs. They are as long as the seed: what wraps
    around falls on places that are not read. With 4 * 10^7 bits doubles are off by less than 10^-5 (Percival,
    Math. Comp. 72, 387), and half of one would be needed to round wrongly; floats of 32 bits promise nothing.
    """
    length = len(bits)
    if secret % 8 or not 0 < secret <= length:
        raise ValueError(f"expected a multiple of 8 up to the {length} bits there are, got {secret}")
    if len(seed) != seed_bytes(length):
        raise ValueError(f"expected {seed_bytes(length)} bytes of seed, got {len(seed)}")
    rest = length - secret
    if rest == 0:
        return np.packbits(bits).tobytes()
    diagonals = np.unpackbits(np.frombuffer(seed, np.uint8), count=length - 1)
    size = scipy.fft.next_fast_len(length - 1, real=True)
    product = scipy.fft.rfft(bits[secret:].astype(np.float64), size)
    product *= scipy.fft.rfft(diagonals.astype(np.float64), size)
    whole = scipy.fft.irfft(product, size, overwrite_x=True)
    sums = np.rint(whole[rest - 1 : rest - 1 + secret]).astype(np.int64)
    return np.packbits((sums & 1).astype(np.uint8) ^ bits[:secret]).tobytes()


def verification(bits: Bits, seed: bytes) -> bytes:
    """128 bits that two different strings share with probability below 2^-80 over the seed, 16 bytes.

    Poly1305 with its second half zero is a polynomial hash. The value is public, so it counts as leaked.
    """
    return Poly1305.generate_tag(seed + bytes(16), np.packbits(bits).tobytes())
