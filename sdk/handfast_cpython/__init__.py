"""The ports of handfast for a CPython machine, twins of `handfast_micropython`.

The names below are loaded when they are first asked for, so that a program which needs one port
does not pay for the libraries behind the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handfast_cpython.crypto import Crypto as Crypto

_HOMES = {
    "Crypto": "handfast_cpython.crypto",
}

__all__ = ["Crypto"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
