"""Keccak-f[1600] and the beginning of SHAKE, for chips with viper.

The permutation is written by firmware_micropython/generate_keccak.py, in two lengths.
"""

import micropython

from handfast_micropython.tier import long_functions

if long_functions():
    from handfast_micropython.keccak_loop_viper import permute
else:
    from handfast_micropython.keccak_round_viper import permute

__all__ = ("absorb", "permute", "start_shake")


@micropython.viper
def absorb(at: int, rate: int, state, data) -> int:
    """XOR `data` into `state` from byte `at`, with a permutation after each `rate` bytes; where it ended."""
    s = ptr8(state)
    d = ptr8(data)
    length = int(len(data))  # noqa: RUF046
    index = 0
    while index < length:
        s[at] = s[at] ^ d[index]
        at += 1
        index += 1
        if at == rate:
            permute(state)
            at = 0
    return at


@micropython.viper
def start_shake(state, rate: int, seed):
    """The first `rate` bytes of SHAKE of `seed`, which is shorter, into `state` (FIPS 202 section 6.2)."""
    words = ptr32(state)
    s = ptr8(state)
    d = ptr8(seed)
    index = 0
    while index < 50:
        words[index] = 0
        index += 1
    length = int(len(seed))  # noqa: RUF046
    index = 0
    while index < length:
        s[index] = d[index]
        index += 1
    s[length] = 0x1F
    s[rate - 1] = s[rate - 1] ^ 0x80
    permute(state)
