"""Which of three tiers computes on this machine: decided here, once, when this file is imported.

native    C: handfast_native.mpy for this family of chips lies in a folder of sys.path
viper     machine code that MicroPython makes of Python: the *_viper files
bytecode  right everywhere, and slow: the *_bytecode files

A kernel has the same name and the same arguments in all three: `kernels("mlkem")` is the module mlkem_native,
mlkem_viper or mlkem_bytecode.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What the kernels take and give; a module in C from another version is left alone.
_INTERFACE = 2
# The numbers of x86, armv7m to armv7emdp and rv32imc in sys.implementation._mpy, in bits 10 to 13. The others
# have no room for Keccak's loop in one function, or words of 64 bits, for which it is not written.
_TAKES_A_LONG_FUNCTION = (1, 5, 6, 7, 8, 11)


def _best() -> str:
    try:
        import handfast_native

        if handfast_native.INTERFACE == _INTERFACE:
            return "native"
    except (ImportError, ValueError, MemoryError):
        # Not there, made for another chip, or larger than what is left of the heap.
        pass
    try:
        import handfast_micropython.buffers_viper  # noqa: F401
    except (ImportError, SyntaxError, ValueError):
        # A foreign interpreter, a port without a native emitter, or a .mpy of another chip.
        return "bytecode"
    return "viper"


TIER = _best()


def kernels(name: str) -> "Any":
    """The module with the kernels called `name`, of this machine's tier."""
    name = "handfast_micropython." + name + "_" + TIER
    __import__(name)
    return sys.modules[name]


def long_functions() -> bool:
    """Whether viper compiles a function of 6 KB here, with words of 32 bits."""
    return getattr(sys.implementation, "_mpy", 0) >> 10 & 15 in _TAKES_A_LONG_FUNCTION
