"""Privacy amplification by a random Toeplitz matrix, and the hash that tells whether correction succeeded."""

import numpy as np
import scipy.fft  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.poly1305 import Poly1305
from numpy.typing import NDArray

Bits = NDArray[np.uint8]

VERIFICATION_SEED = 16
"""Bytes of the public seed of `verification`."""


def seed_bytes(length: int, secret: int) -> int:
    """Bytes of random seed for a Toeplitz matrix of `secret` rows and `length` columns."""
    return (length + secret - 1 + 7) // 8


def amplify(bits: Bits, secret: int, seed: bytes) -> bytes:
    """`secret` bits (a multiple of 8) out of `bits`: T x mod 2 with T[i, j] = seed bit i - j + n - 1.

    A product with a Toeplitz matrix is a piece of a convolution, so it costs two FFTs. Sums stay below 2^24,
    far from where doubles would round wrongly.
    """
    length = len(bits)
    if secret % 8 or len(seed) != seed_bytes(length, secret):
        raise ValueError(f"expected {seed_bytes(length, secret)} bytes of seed, got {len(seed)}")
    diagonals = np.unpackbits(np.frombuffer(seed, np.uint8))[: length + secret - 1]
    size = scipy.fft.next_fast_len(length + len(diagonals), real=True)
    product = scipy.fft.rfft(bits.astype(np.float64), size)
    product *= scipy.fft.rfft(diagonals.astype(np.float64), size)
    whole = scipy.fft.irfft(product, size)
    counts = np.rint(whole[length - 1 : length - 1 + secret]).astype(np.int64)
    return np.packbits((counts & 1).astype(np.uint8)).tobytes()


def verification(bits: Bits, seed: bytes) -> bytes:
    """128 bits that two different strings share with probability below 2^-80 over the seed, 16 bytes.

    Poly1305 with its second half zero is a polynomial hash. The value is public, so it counts as leaked.
    """
    return Poly1305.generate_tag(seed + bytes(16), np.packbits(bits).tobytes())
