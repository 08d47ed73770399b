"""Write handfast_micropython/keccak_round_viper.py and keccak_loop_viper.py: Keccak-f[1600] as 32-bit halves.

    python firmware_micropython/generate_keccak.py

FIPS 202 section 3.2 names the steps. A lane is the two words `low` and `high`; on a 64-bit MicroPython a
viper word has 64 bits, so what a left shift pushes above bit 31 must be cut off before a right shift sees it.
The loop is for 32 bits alone and does without.
"""

from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).parent / "handfast_micropython"

# FIPS 202 section 3.2.2, table 2, modulo 64: how far lane x + 5y turns left.
TURNS = (0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14)

TABLE = """
from array import array

import micropython

# FIPS 202 section 3.2.5: the round constants, low word first.
# fmt: off
_CONSTANTS = array("I", (
{constants}
))
# fmt: on
"""

ROUND_HEAD = '''\
"""Keccak-f[1600] in viper, round by round (FIPS 202 section 3.2), for every family of chips.

Written by firmware_micropython/generate_keccak.py: every lane is two 32-bit locals and the round is
unrolled, which costs a quarter of a loop. One call is one round: a body with the loop inside is too
large for armv6m and xtensawin. The state is 200 bytes, little endian, as are the chips.
"""
{table}

@micropython.viper
def _round(t: uint, u: uint, state: ptr32):
    # The first two locals live in registers, so t and u carry what turns. On 32 bits the mask does nothing.
    mask = (uint(0xFFFF) << 16) | uint(0xFFFF)
'''

ROUND_TAIL = '''

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

LOOP_HEAD = '''\
"""Keccak-f[1600] in viper, all rounds in one call (FIPS 202 section 3.2).

Written by firmware_micropython/generate_keccak.py: the lanes stay in locals from round to round, which
saves a fifth. Only for words of 32 bits, and too large for armv6m and xtensawin: see tier.py. The state
is 200 bytes, little endian, as are the chips.
"""
{table}

def permute(state: "bytearray") -> None:
    """Apply Keccak-f[1600] to the 200 bytes of `state` in place."""
    _permute(0, 0, state, _CONSTANTS)


@micropython.viper
def _permute(t: uint, u: uint, state: ptr32, constants: ptr32):
    # The first two locals live in registers, so t and u carry what turns.
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


def load() -> list[str]:
    """All lanes into the locals l0, h0, l1 ..."""
    return [
        f"{half}{lane} = uint(state[{2 * lane + word}])"
        for lane in range(25)
        for word, half in enumerate("lh")
    ]


def theta_rho_pi(mask: str) -> list[str]:
    """From the lanes l and h to p and q; `mask` cuts off what is above 32 bits (sections 3.2.1 to 3.2.3)."""
    lines = []
    for x in range(5):
        for half, column in (("l", "c"), ("h", "d")):
            lines.append(f"{column}{x} = " + " ^ ".join(f"{half}{x + 5 * y}" for y in range(5)))
    for x in range(5):
        here, left = (x + 1) % 5, (x + 4) % 5
        lines += [f"t = c{here}", f"u = d{here}"]
        for change, one, two, column in (("e", "t", "u", "c"), ("f", "u", "t", "d")):
            turned = f"(({one} << 1) | ({two} >> 31)) ^ {column}{left}"
            lines.append(f"{change}{x} = ({turned}){mask}" if mask else f"{change}{x} = {turned}")
    for y in range(5):
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
    return lines


def chi(target: Callable[[int, int], str]) -> list[str]:
    """From p and q into `target` of a lane and 0 or 1 for its low or high word (section 3.2.4)."""
    lines = []
    for y in range(0, 25, 5):
        for x in range(5):
            for word, from_ in enumerate("pq"):
                one, two = y + (x + 1) % 5, y + (x + 2) % 5
                lines.append(f"{target(y + x, word)} = (~{from_}{one} & {from_}{two}) ^ {from_}{y + x}")
    return lines


def indented(lines: list[str], depth: int) -> str:
    """The lines as a block of Python."""
    return "".join(f"{'    ' * depth}{line}\n" for line in lines)


def round_source() -> str:
    """keccak_round_viper.py."""
    body = load() + theta_rho_pi(" & mask") + chi(lambda lane, word: f"state[{2 * lane + word}]")
    return ROUND_HEAD.replace("{table}", table()) + indented(body, 1) + ROUND_TAIL


def loop_source() -> str:
    """keccak_loop_viper.py."""
    turn = theta_rho_pi("") + chi(lambda lane, word: f"{'lh'[word]}{lane}")
    turn += ["l0 = l0 ^ uint(constants[turn])", "h0 = h0 ^ uint(constants[turn + 1])", "turn += 2"]
    store = [
        f"state[{2 * lane + word}] = {half}{lane}" for lane in range(25) for word, half in enumerate("lh")
    ]
    return (
        LOOP_HEAD.replace("{table}", table())
        + indented([*load(), "turn = 0", "while turn < 48:"], 1)
        + indented(turn, 2)
        + indented(store, 1)
    )


def table() -> str:
    """The imports and the constants."""
    words = [word for constant in round_constants() for word in (constant & 0xFFFFFFFF, constant >> 32)]
    rows = [words[at : at + 8] for at in range(0, 48, 8)]
    return TABLE.replace(
        "{constants}", "\n".join("    " + ", ".join(f"0x{word:08X}" for word in row) + "," for row in rows)
    )


FILES = {"keccak_round_viper.py": round_source, "keccak_loop_viper.py": loop_source}

if __name__ == "__main__":
    for name, source in FILES.items():
        (FOLDER / name).write_text(source())
