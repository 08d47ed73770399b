"""The kernels in C build for every family that has a compiler here, and each .mpy is for its family."""

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
