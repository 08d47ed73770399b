"""The kernels in C build for every family that has a compiler here, and each .mpy is for its family."""

import re
import subprocess
from pathlib import Path

import build_native
import pytest
from micropython_build import BuildError

# py/persistentcode.h: the second byte of an .mpy is the version of its format; the third has the architecture
# in bits 2 to 5 and in its two lowest bits the version of what machine code may call.
ARCHITECTURES = {"x86": 1, "x64": 2, "armv6m": 4, "armv7m": 5, "armv7emsp": 7, "xtensawin": 10, "rv32imc": 11}


@pytest.mark.parametrize("family", build_native.FAMILIES)
def test_the_module_is_built_for_its_family(family: str) -> None:
    try:
        made = build_native.native_module(family)
    except BuildError as error:
        if "is not installed" not in str(error):
            raise
        pytest.skip(str(error))
    head = made.read_bytes()[:3]
    assert head[:2] == b"M\x06"
    assert (head[2] >> 2 & 15, head[2] & 3) == (ARCHITECTURES[family], 3)
    # It is loaded into the heap of a board.
    assert made.stat().st_size < 40000


def test_no_product_in_c_is_longer_than_a_word() -> None:
    # A multiplication to 64 bits takes a time that depends on its operands on a Cortex-M3.
    for path in Path(build_native.HERE).glob("*.[ch]"):
        assert "int64_t" not in path.read_text() and "long long" not in path.read_text(), path.name


# How many loops the kernels have that see secrets and nothing but them.
LOOPS = {
    **dict.fromkeys(
        (
            "mlkem_reduce", "mlkem_compress", "mlkem_twist", "mlkem_multiply_add", "mlkem_add_message",
            "mlkem_subtract", "mlkem_sample_binomial_2", "mlkem_replace_unless_equal", "mlkem_decompress",
            "mldsa_reduce", "mldsa_multiply_add", "mldsa_subtract_from",
            "rounding_subtract", "rounding_not_below", "rounding_low_bits", "rounding_make_hints",
            "rounding_power_2_round",
            "keccak_permute", "coefficients_add", "shift_rows", "fold", "carry_round",
        ),
        1,
    ),
    **dict.fromkeys(("round_of", "multiply", "square", "sub_bytes"), 0),
    "ghash_absorb": 2,
}  # fmt: skip


def test_the_compiler_made_no_branch_of_a_mask() -> None:
    try:
        folder = build_native.native_module("armv7m").parent
    except BuildError as error:
        pytest.skip(str(error))
    found: dict[str, int] = {}
    for path in folder.glob("*.o"):
        command = ["arm-none-eabi-objdump", "-d", str(path)]
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
            if begin := re.match(r"[0-9a-f]+ <(\w+)>:", line):
                name = begin[1]
                found[name] = 0
            elif re.search(r"\t(it[te]*|cbn?z|b(eq|ne|cs|cc|hi|ls|mi|pl|ge|lt|gt|le)(\.[nw])?)\t", line):
                found[name] += 1
    # What is missing was put into its caller.
    seen = {name: count for name, count in found.items() if name in LOOPS}
    assert len(seen) >= len(LOOPS) - 3
    assert seen == {name: LOOPS[name] for name in seen}
