"""Polynomials of ML-DSA out of seeds (FIPS 204 section 7.3)."""

from handfast_micropython import tier
from handfast_micropython.coefficients import clear, unpack
from handfast_micropython.keccak import RATE_SHAKE256
from handfast_micropython.xof import Xof

kernels = tier.kernels("mldsa")

__all__ = ("MASK_BUFFER", "Q", "kernels", "sample_bounded", "sample_in_ball", "sample_mask", "sample_matrix")

Q = 8380417
# A polynomial of y takes 576 or 640 bytes, five blocks of SHAKE256 either way.
MASK_BUFFER = 5 * RATE_SHAKE256


def sample_matrix(xof: Xof, seed: bytearray, row: int, column: int, out: "memoryview") -> None:
    """One entry of the matrix, algorithm 32: `seed` is rho and two bytes to write to."""
    # The column comes first.
    seed[32] = column
    seed[33] = row
    if tier.TIER == "native":
        kernels.sample_matrix(xof.state, seed, out)
        return
    xof.start_shake128(seed)
    done = kernels.sample_ntt(0, 0, out, xof.state)
    while done < 256:
        xof.next_block()
        done = kernels.sample_ntt(done, 0, out, xof.state)


def sample_bounded(xof: Xof, seed: bytearray, number: int, out: "memoryview", eta: int) -> None:
    """One polynomial of s1 or s2, algorithm 33: `seed` is rho' and two bytes, the second of them 0."""
    seed[64] = number
    if tier.TIER == "native":
        kernels.sample_secret(xof.state, seed, out, eta)
        return
    xof.start_shake256(seed)
    done = kernels.sample_bounded(0, 0, out, xof.state, eta)
    while done < 256:
        xof.next_block()
        done = kernels.sample_bounded(done, 0, out, xof.state, eta)


def sample_mask(
    xof: Xof, seed: bytearray, number: int, out: "memoryview", gamma_1: int, buffer: bytearray
) -> None:
    """One polynomial of y, algorithm 34: `seed` is rho'' and two bytes to write to.

    `buffer` has MASK_BUFFER bytes.
    """
    seed[64] = number & 255
    seed[65] = number >> 8
    xof.start_shake256(seed)
    block = memoryview(xof.state)[:RATE_SHAKE256]
    for start in range(0, MASK_BUFFER, RATE_SHAKE256):
        if start:
            xof.next_block()
        buffer[start : start + RATE_SHAKE256] = block
    unpack(0, 0, out, buffer, 18 if gamma_1 == 1 << 17 else 20)
    kernels.subtract_from(0, 0, out, gamma_1)


def sample_in_ball(xof: Xof, seed: "bytes | bytearray | memoryview", out: "memoryview", tau: int) -> None:
    """The challenge, algorithm 29. It may decide and index: in a signature it is public, and of an attempt
    that fails it is a hash that says nothing about the key.
    """
    state = xof.state
    xof.start_shake256(seed)
    signs = bytes(state[:8])
    clear(0, out)
    at = 8
    for turn in range(tau):
        last = 256 - tau + turn
        position = 256
        while position > last:
            if at == RATE_SHAKE256:
                xof.next_block()
                at = 0
            position = state[at]
            at += 1
        out[last] = out[position]
        out[position] = Q - 1 if signs[turn >> 3] >> (turn & 7) & 1 else 1
