"""The tiers of one set of kernels that this interpreter has, for tests that hold them against each other.

Bytecode is always there, viper where MicroPython has a native emitter, and C where
handfast_native.mpy lies in sys.path.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def tiers(name: str) -> "tuple[Any, ...]":
    """The modules, bytecode first."""
    found = []
    for tier in ("bytecode", "viper", "native"):
        module = "handfast_micropython." + name + "_" + tier
        try:
            __import__(module)
        except (ImportError, SyntaxError):
            continue
        found.append(sys.modules[module])
    return tuple(found)
