"""Write handfast_micropython/keccak_viper.py: one round of Keccak-f[1600], unrolled, as 32-bit halves.

    python firmware_micropython/generate_keccak.py

FIPS 202 section 3.2 names the steps. A lane is the two words `low` and `high`; on a 64-bit MicroPython a
viper word has 64 bits, so what a left shift pushes above bit 31 must be cut off before a right shift sees it.
"""

from pathlib import Path

TARGET = Path(__file__).parent / "handfast_micropython" / "keccak_viper.py"

# FIPS 202 section 3.2.2, table 2, modulo 64: how far lane x + 5y turns left.
TURNS = (0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14)

HEAD = '''\
"""Keccak-f[1600] for chips whose MicroPython compiles viper (FIPS 202 section 3.2).

Written by firmware_micropython/generate_keccak.py: every lane is two 32-bit locals and the round is
unrolled, which costs a quarter of a loop. One call is one round: a body with the loop inside is too
large for armv6m and xtensawin. The state is 200 bytes, little endian, as are the chips.
"""

from array import array

import micropython

# FIPS 202 section 3.2.5: the round constants, low word first.
# fmt: off
_CONSTANTS = array("I", (
{constants}
))
# fmt: on


@micropython.viper
def _round(t: uint, u: uint, state: ptr32):
    # The first two locals live in registers, so t and u carry what turns. On 32 bits the mask does nothing.
    mask = (uint(0xFFFF) << 16) | uint(0xFFFF)
'''

TAIL = '''

@micropython.viper
def permute(state):
    """Apply Keccak-f[1600] to the 200 bytes of `state` in place."""
    # The state travels to _round as an object: a pointer would be boxed as an integer, which may allocate.
    words = ptr32(state)
    constants = ptr32(_CONSTANTS)
    turn = 0
    while turn < 48:
        _round(0, 0, state)
        words[0] = words[0] ^ constants[turn]
        words[1] = words[1] ^ constants[turn + 1]
        turn += 2
'''


def round_constants() -> list[int]:
    """The 24 constants by the shift register of FIPS 202 algorithm 5."""
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


def body() -> list[str]:
    """The statements of one round without iota."""
    lines = [
        f"{half}{lane} = uint(state[{2 * lane + word}])"
        for lane in range(25)
        for word, half in enumerate("lh")
    ]
    for x in range(5):  # theta, section 3.2.1
        for half, column in (("l", "c"), ("h", "d")):
            lines.append(f"{column}{x} = " + " ^ ".join(f"{half}{x + 5 * y}" for y in range(5)))
    for x in range(5):
        here, left = (x + 1) % 5, (x + 4) % 5
        lines += [f"t = c{here}", f"u = d{here}"]
        lines.append(f"e{x} = (((t << 1) | (u >> 31)) ^ c{left}) & mask")
        lines.append(f"f{x} = (((u << 1) | (t >> 31)) ^ d{left}) & mask")
    for y in range(5):  # rho and pi, sections 3.2.2 and 3.2.3
        for x in range(5):
            lane, turn, to = x + 5 * y, TURNS[x + 5 * y], y + 5 * ((2 * x + 3 * y) % 5)
            if turn == 0:
                lines += [f"p{to} = l{lane} ^ e{x}", f"q{to} = h{lane} ^ f{x}"]
                continue
            lines += [f"t = l{lane} ^ e{x}", f"u = h{lane} ^ f{x}"]
            low, high = ("t", "u") if turn < 32 else ("u", "t")
            turn %= 32
            lines.append(f"p{to} = ({low} << {turn}) | ({high} >> {32 - turn})")
            lines.append(f"q{to} = ({high} << {turn}) | ({low} >> {32 - turn})")
    for y in range(0, 25, 5):  # chi, section 3.2.4
        for x in range(5):
            for word, from_ in enumerate("pq"):
                one, two = y + (x + 1) % 5, y + (x + 2) % 5
                lines.append(f"state[{2 * (y + x) + word}] = (~{from_}{one} & {from_}{two}) ^ {from_}{y + x}")
    return lines


def source() -> str:
    """The whole file."""
    words = [word for constant in round_constants() for word in (constant & 0xFFFFFFFF, constant >> 32)]
    rows = [words[at : at + 8] for at in range(0, 48, 8)]
    constants = "\n".join("    " + ", ".join(f"0x{word:08X}" for word in row) + "," for row in rows)
    return HEAD.replace("{constants}", constants) + "".join(f"    {line}\n" for line in body()) + TAIL


if __name__ == "__main__":
    TARGET.write_text(source())
