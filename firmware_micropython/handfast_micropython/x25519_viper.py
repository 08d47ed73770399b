"""X25519 (RFC 7748 section 5) over the arithmetic of x25519_field_viper and x25519_product_viper.

The sequence of operations is the same for every scalar. Every secret bit goes through `swap`.
"""

from handfast_micropython import scratch
from handfast_micropython.x25519_field_viper import (
    add_121665_times,
    pack,
    sum_and_difference,
    swap,
    unpack,
)
from handfast_micropython.x25519_product_viper import multiply, square


def scalar_multiplication(scalar: bytes, u: bytes) -> bytes:
    """The u-coordinate of `scalar` times the point at `u`, 32 bytes each; zero for points of small order."""
    words = scratch.words(80 + 9 * 20)
    try:
        return _ladder(scalar, u, words)
    finally:
        scratch.wipe()


def _ladder(scalar: bytes, u: bytes, words: "memoryview[int]") -> bytes:
    work = words[:80]
    # Names as in RFC 7748; (x_2, z_2) and (x_3, z_3) lie side by side for `swap`.
    x_1, x_2, z_2, x_3, z_3, a, b, c, d = [words[at : at + 20] for at in range(80, 260, 20)]
    second, third = words[100:140], words[140:180]
    for start, value in ((x_2, b"\x01" + bytes(31)), (z_2, bytes(32)), (x_3, u), (z_3, b"\x01" + bytes(31))):
        unpack(0, 0, start, value)
    unpack(0, 0, x_1, u)
    swapped = 0
    for position in range(254, -1, -1):
        bit = scalar[position >> 3] >> (position & 7) & 1
        # decodeScalar25519: bits 0, 1 and 2 are 0 and bit 254 is 1.
        if position == 254:
            bit = 1
        elif position < 3:
            bit = 0
        swap(second, third, swapped ^ bit)
        swapped = bit
        sum_and_difference(0, x_2, z_2, a, b)
        sum_and_difference(0, x_3, z_3, c, d)
        multiply(d, a, d, work)
        multiply(c, b, c, work)
        sum_and_difference(0, d, c, x_3, z_3)
        square(x_3, 0, x_3, work)
        square(z_3, 0, z_3, work)
        multiply(z_3, x_1, z_3, work)
        square(a, 0, a, work)
        square(b, 0, b, work)
        multiply(a, b, x_2, work)
        sum_and_difference(0, a, b, c, d)
        add_121665_times(0, a, d, a)
        multiply(d, a, z_2, work)
    swap(second, third, swapped)
    _invert(z_2, work, a, b, c)
    multiply(x_2, z_2, x_2, work)
    out = bytearray(32)
    pack(0, 0, out, x_2)
    return bytes(out)


def _invert(
    z: "memoryview[int]",
    work: "memoryview[int]",
    base: "memoryview[int]",
    run: "memoryview[int]",
    kept: "memoryview[int]",
) -> None:
    """Replace z by z^(p - 2); 0 stays 0. p - 2 = (2^250 - 1) 2^5 + 11."""

    def squared(times: int) -> None:
        for _ in range(times):
            square(run, 0, run, work)

    # z^2, z^9, z^11 and z^31 = z^(2^5 - 1).
    square(z, 0, base, work)
    run[:] = base
    squared(2)
    multiply(run, z, run, work)
    multiply(base, run, base, work)
    kept[:] = run
    square(base, 0, run, work)
    multiply(run, kept, run, work)
    # z^(2^n - 1) for n = 10, 20, 40, 50, 100, 200, 250; z itself holds n = 10 and then n = 50.
    kept[:] = run
    squared(5)
    multiply(run, kept, run, work)
    z[:] = run
    squared(10)
    multiply(run, z, run, work)
    kept[:] = run
    squared(20)
    multiply(run, kept, run, work)
    squared(10)
    multiply(run, z, run, work)
    z[:] = run
    squared(50)
    multiply(run, z, run, work)
    kept[:] = run
    squared(100)
    multiply(run, kept, run, work)
    squared(50)
    multiply(run, z, run, work)
    squared(5)
    multiply(run, base, z, work)
