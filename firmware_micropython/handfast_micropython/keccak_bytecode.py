"""Keccak-f[1600] in plain Python, where MicroPython compiles no viper (FIPS 202 section 3.2).

About forty times slower than keccak_viper. The state is the same: 200 bytes, 25 little-endian lanes.
"""

import struct

_MASK = 0xFFFFFFFFFFFFFFFF
# fmt: off
# FIPS 202 section 3.2.5.
_CONSTANTS = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000,
    0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
    0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)
# Rho and pi walk through all lanes but the first: (lane to go to, how far to turn left).
_STEPS = (
    (10, 1), (7, 3), (11, 6), (17, 10), (18, 15), (3, 21),
    (5, 28), (16, 36), (8, 45), (21, 55), (24, 2), (4, 14),
    (15, 27), (23, 41), (19, 56), (13, 8), (12, 25), (2, 43),
    (20, 62), (14, 18), (22, 39), (9, 61), (6, 20), (1, 44),
)
# fmt: on


def permute(state: bytearray) -> None:
    """Apply Keccak-f[1600] to the 200 bytes of `state` in place."""
    lanes = list(struct.unpack("<25Q", state))
    for constant in _CONSTANTS:
        # Theta, section 3.2.1.
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        for x in range(5):
            turned = columns[(x + 1) % 5]
            change = columns[(x + 4) % 5] ^ ((turned << 1) & _MASK) ^ (turned >> 63)
            for lane in range(x, 25, 5):
                lanes[lane] ^= change
        # Rho and pi, sections 3.2.2 and 3.2.3.
        moving = lanes[1]
        for lane, turn in _STEPS:
            here = lanes[lane]
            lanes[lane] = ((moving << turn) & _MASK) | (moving >> (64 - turn))
            moving = here
        # Chi, section 3.2.4.
        for y in range(0, 25, 5):
            a, b, c, d, e = lanes[y : y + 5]
            lanes[y] = a ^ (~b & c)
            lanes[y + 1] = b ^ (~c & d)
            lanes[y + 2] = c ^ (~d & e)
            lanes[y + 3] = d ^ (~e & a)
            lanes[y + 4] = e ^ (~a & b)
        lanes[0] ^= constant
    struct.pack_into("<25Q", state, 0, *lanes)


def absorb(at: int, rate: int, state: bytearray, data: "bytes | bytearray") -> int:
    """XOR `data` into `state` from byte `at`, with a permutation after each `rate` bytes; where it ended."""
    for byte in data:
        state[at] ^= byte
        at += 1
        if at == rate:
            permute(state)
            at = 0
    return at


def start_shake(state: bytearray, rate: int, seed: "bytes | bytearray") -> None:
    """The first `rate` bytes of SHAKE of `seed`, which is shorter, into `state` (FIPS 202 section 6.2)."""
    state[:] = bytes(200)
    state[: len(seed)] = seed
    state[len(seed)] = 0x1F
    state[rate - 1] ^= 0x80
    permute(state)
